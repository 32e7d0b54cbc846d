"""Modes: what lets media out, by name.

Each has its own valve:

- ``avsync``: the session's engine. It holds sound and pictures to one output clock.
- ``naive-valve``: a plain one that lets the sound out some frames early (``naive.py``).
- ``naive``: none; each track runs by itself.

``voice_ahead_frames`` sends the voice that much before its picture. What it does to lip sync depends on
who announces it. With aiortc's own sender reports (the baselines) the browser believes that both
belong together as they come: 12 frames early are a voice 440 ms ahead of the lips, for ever. With
true reports (``avsync``) the browser holds the voice back by itself, in steps: +440 ms became +80 in
half a minute, and stayed there.

So the page, where this was asked for, has the voice's receiver hold it for as long and the picture's
for nothing (``jitterBufferTarget`` of both): with true reports that fits from the first seconds. The right
tool against a voice that runs dry is no early voice at all but a receive buffer, the same on both: ``--buffer-ms``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy
from avsync.server.decode import Rgb
from avsync.server.naive import VALVE_FRAMES, NaiveStream
from avsync.server.stream_protocol import AvatarStream, StreamViewer
from avsync.types import Request, Want
from avsync.units import ticks_to_ns
from avsync.webrtc.session import AvSyncSession
from avsync.webrtc.viewers.viewer import Viewer

MODES = ("avsync", "naive-valve", "naive")
LEVERS = (Want.SKIP_TO_PTS, Want.FPS)
"""What the server's own producer can be asked for."""
MAX_VOICE_AHEAD = 20
"""Frames. A track holds 25 packets; a voice a second early is a second in which nobody can be interrupted."""


def check_mode(mode: str) -> str:
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    return mode


def check_voice_ahead(mode: str, frames: int | None) -> int:
    """How many frames early a mode sends the voice: as asked, else 12 for the valve and none otherwise."""
    check_mode(mode)
    if frames is None:
        return VALVE_FRAMES if mode == "naive-valve" else 0
    if not 0 <= frames <= MAX_VOICE_AHEAD:
        raise InputError(f"--voice-ahead must be between 0 and {MAX_VOICE_AHEAD} frames, got {frames}")
    if frames and mode == "naive":
        raise InputError("mode naive has no valve to send the voice early", remedy="use --mode naive-valve or avsync")
    return frames


def make_stream(
    mode: str, *, fps: Fraction, voice_ahead_frames: int = 0, idle: Rgb | None = None,
    policy: AvSyncPolicy | None = None, levers: Iterable[Want] = LEVERS,
    on_request: Callable[[Request], object] | None = None,
) -> AvatarStream:  # fmt: skip
    """A fresh stream of this mode; call it where the event loop runs. What the baselines do not know is left out."""
    match check_mode(mode):
        case "naive":
            return NaiveStream(fps=fps)
        case "naive-valve":
            return NaiveStream(fps=fps, voice_ahead_frames=voice_ahead_frames)
    rate = fps.numerator if fps.denominator == 1 else fps
    return AvSyncSession(policy=policy, video_rate=rate, idle=idle, levers=levers, on_request=on_request)


def hold_pictures(viewer: StreamViewer, *, voice_ahead_frames: int, fps: Fraction) -> None:
    """A session's viewer gets its pictures so many frames after their time; the valve sends its voice early itself."""
    if voice_ahead_frames and isinstance(viewer, Viewer):
        viewer.hold_pictures(ticks_to_ns(voice_ahead_frames, fps))
