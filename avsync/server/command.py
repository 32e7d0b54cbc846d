"""Command: the arguments of ``avsync serve`` and ``avsync demo-media``, and what they do."""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
from fractions import Fraction
from pathlib import Path

from avsync.errors import InputError, UsageError
from avsync.server.app import is_loopback, serve
from avsync.server.modes import MODES, check_voice_ahead
from avsync.server.open_source import open_source
from avsync.server.producer import Pace
from avsync.server.room import ServerSettings

MET = 0

SERVE_EXAMPLES = """\
examples:
  avsync serve                            a generated talking face; open http://localhost:8080
  avsync serve talk.mp4                   any clip, over and over
  avsync serve FOLDER                     FOLDER/frames/frame_0001.jpg … and FOLDER/audio.wav
  avsync serve my_model:talk              a Python function that yields (picture, sound)
  avsync serve --mode naive-valve         what servers commonly do: see the voice run ahead of the lips
  avsync serve --speed 4 --burst 0.5      a model four times faster than real time, in lumps of half a second
  avsync serve --picture-speed 0.88       22 of 25 pictures per second
  avsync serve --buffer-ms 300            ask both receivers to hold 300 ms

modes:
  avsync       one clock for voice and lips, true sender reports
  naive-valve  strict rate, the voice --voice-ahead frames early (12), the sender reports of the library
  naive        a queue and a clock per track

exit codes: 0 stopped (Ctrl-C, SIGTERM), 2 bad input, 70 our own fault
"""

DEMO_EXAMPLES = """\
example:
  avsync demo-media talk.mp4 OUT          writes OUT/frames/frame_0001.jpg … and OUT/audio.wav (48 kHz, mono)
  avsync serve OUT
"""


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = SERVE_EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", nargs="?", default="", metavar="SOURCE", help="a clip, a folder, or module:function")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="8080; 0: any free one")
    parser.add_argument("--mode", choices=MODES, default="avsync", help="how voice and lips are let out (avsync)")
    parser.add_argument(
        "--voice-ahead", type=int, metavar="FRAMES", help="send the voice so many frames early, and have it held (0)"
    )
    parser.add_argument("--buffer-ms", type=int, metavar="MS", help="jitterBufferTarget of both receivers")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="generation speed: 1 is real time")
    parser.add_argument("--picture-speed", type=float, metavar="X", help="of the pictures, where it differs")
    parser.add_argument("--burst", type=float, default=0.0, metavar="S", help="generate in lumps of S seconds")
    parser.add_argument("--talk", type=float, metavar="S", help="turns of S seconds (one endless turn)")
    parser.add_argument("--pause", type=float, default=2.0, metavar="S", help="silence between turns (2)")
    parser.add_argument("--once", action="store_true", help="play the source once instead of over and over")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the pictures (as the source, at most 1280)")
    parser.add_argument("--fps", type=_fps, metavar="N", help="frames per second (as the clip; else 25)")
    parser.add_argument("--sessions", type=int, default=8, metavar="N", help="at most so many viewers (8)")
    parser.add_argument("--quiet", action="store_true", help="no line per second")


def run_serve(args: argparse.Namespace) -> int:
    """Serve until interrupted; the exit code. Bad input raises ``InputError`` before anything listens."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("avsync").setLevel(logging.WARNING if args.quiet else logging.INFO)
    source = open_source(args.source, fps=args.fps, size=args.size, loop=not args.once)
    voice_ahead_frames = check_voice_ahead(args.mode, args.voice_ahead)
    try:
        settings = ServerSettings(
            mode=args.mode,
            voice_ahead_frames=voice_ahead_frames,
            # The valve's own 12 frames are left bare: that is what the mode is there to show.
            hold_voice=bool(args.voice_ahead),
            buffer_ms=args.buffer_ms,
            max_viewers=args.sessions,
            host=args.host,
            port=args.port,
            pace=Pace(
                speed=args.speed, picture_speed=args.picture_speed, burst_s=args.burst, talk_s=args.talk,
                pause_s=args.pause,
            ),
        )  # fmt: skip
    except UsageError as error:
        raise InputError(str(error)) from None
    if not is_loopback(args.host):
        print(f"warning: anybody who reaches {args.host} can watch and interrupt", file=sys.stderr)

    def ready(address: str) -> None:
        print(f"{source.name}, mode {settings.mode}: open {address}  (Ctrl-C stops)", flush=True)

    asyncio.run(serve(source, settings, ready=ready))
    return MET


def add_demo_media_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = DEMO_EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("clip", type=Path, metavar="CLIP", help="any media file")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder; made if missing")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the pictures (as the clip, at most 1280)")
    parser.add_argument("--fps", type=_fps, metavar="N", help="frames per second (as the clip)")


def run_demo_media(args: argparse.Namespace) -> int:
    from avsync.server.demo_media import write_demo_media

    frames, seconds = write_demo_media(args.clip, args.out, fps=args.fps, size=args.size)
    print(f"{frames} pictures and {seconds:.2f} s of sound in {args.out}")
    return MET


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not match or not all(16 <= int(side) <= 4096 for side in match.groups()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 512x512, got {text!r}")
    width, height = int(match[1]), int(match[2])
    return width - width % 2, height - height % 2


def _fps(text: str) -> Fraction:
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"expected frames per second such as 25 or 30000/1001, got {text!r}") from None
    if not 1 <= fps <= 60 or fps.denominator > 1001:
        raise argparse.ArgumentTypeError(f"between 1 and 60 frames per second, got {text}")
    return fps
