"""A real clip: frame sizes and durations read from a media file, so that the lab's frames weigh what real ones do.

Only the file itself is read, never what it may refer to, and at most ``MAX_FRAMES`` frames of it.
Nothing is decoded. Whatever is wrong with it ends as one ``InputError`` that names the file.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from avsync.errors import InputError
from avsync.units import Rate

MAX_FRAMES = 20_000
MAX_PACKETS = 400_000  # of all streams, on the way to those frames: an hour of a talk
MIN_FPS, MAX_FPS = Fraction(1), Fraction(240)
A_FACE = "give a clip with a face that talks"


class ClipSizes(NamedTuple):
    """``frame_bytes``: coded size of each frame, in order; ``fps``: nominal; ``about``: one line for people."""

    fps: Rate
    frame_bytes: tuple[int, ...]
    duration_s: float
    about: str


def load_clip(path: Path) -> ClipSizes:
    """Read a media file with PyAV. ``InputError`` if it is none, or has no pictures in motion."""
    file = str(path)
    try:
        import av  # the lab works without it as long as no clip is asked for
    except ImportError:
        raise InputError("reading a clip needs PyAV", file=file, remedy="pip install 'avsync[lab]'") from None
    _check_file(path)
    try:
        # An open file instead of its name, and no protocol: a playlist cannot lead to other files, or to a server.
        with (
            path.open("rb") as opened,
            av.open(opened, metadata_errors="replace", options={"protocol_whitelist": "none"}) as container,
        ):
            rate, sizes, cut = _read(container, file)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"not a media file that can be read: {why}", file=file) from None
    fps: Rate = int(rate) if rate.denominator == 1 else rate
    seconds = float(len(sizes) / rate)
    kbps = sum(sizes) * 8 / seconds / 1000
    about = f"{path.name}: {len(sizes)} frames at {float(rate):.6g} fps, {seconds:.1f} s, {kbps:.0f} kbit/s"
    return ClipSizes(fps, tuple(sizes), seconds, about + f" (the first {len(sizes)} frames are taken)" * cut)


def _check_file(path: Path) -> None:
    """A file that exists: no address, no pipe that would be waited for, no folder."""
    try:
        if path.is_file():
            return
        why = "it is not a file" if path.exists() else "there is no such file"
    except OSError as error:
        why = error.strerror or "not a file name"
    raise InputError(f"cannot be read: {why}", file=str(path))


def _read(container: Any, file: str) -> tuple[Fraction, list[int], bool]:
    """(frame rate, coded size of each frame, whether there would have been more)."""
    from av.stream import Disposition

    moving = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not moving:
        what = "a cover picture, but no video" if container.streams.video else "no video stream"
        raise InputError(f"has {what}", file=file, remedy=A_FACE)
    stream = moving[0]
    sizes: list[int] = []
    cut = False
    for count, packet in enumerate(container.demux()):
        if packet.stream_index != stream.index or not packet.size:  # an empty one only says that this is the end
            cut = count >= MAX_PACKETS
        elif len(sizes) < MAX_FRAMES:
            sizes.append(packet.size)
        else:
            cut = True
        if cut:
            break
    if not sizes:
        raise InputError("has no frames", file=file, remedy=A_FACE)
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    if not MIN_FPS <= rate <= MAX_FPS:
        rule = f"says that it has {float(rate):.6g} frames a second; {MIN_FPS} to {MAX_FPS} can be"
        raise InputError(rule, file=file, remedy=A_FACE)
    return rate, sizes, cut
