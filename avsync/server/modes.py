"""Modes: what lets media out, by name.

Each has its own valve:

- ``avsync``: the session's engine. It holds sound and pictures to one output clock.
- ``naive-valve``: a plain one that lets the sound out some frames early (``naive.py``).
- ``naive``: none; each track runs by itself.

``lead`` (in frames) sends the voice that much before its picture. What it does to lip sync depends on
who announces it. With aiortc's own sender reports (the baselines) the browser believes that both
belong together as they come: 12 frames of lead are a voice 440 ms ahead of the lips, for ever. With
true reports (``avsync``) the browser holds the voice back by itself, in steps: +440 ms became +80 in
half a minute, and stayed there.

So the page, where a lead was asked for, has the voice's receiver hold it for as long and the picture's
for nothing (``jitterBufferTarget`` of both): with true reports that fits from the first seconds. The right
tool against a voice that runs dry is no lead at all but a receive buffer, the same on both: ``--buffer-ms``.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from avsync.errors import InputError
from avsync.server.decode import Rgb
from avsync.server.naive import VALVE_LEAD, NaiveStream
from avsync.server.stream_protocol import AvatarStream, ViewerTracks
from avsync.types import Request
from avsync.units import ticks_to_ns

if TYPE_CHECKING:
    from avsync.webrtc.viewers.viewer import Viewer

MODES = ("avsync", "naive-valve", "naive")
MAX_LEAD = 20
"""Frames. A track holds 25 packets; a second of lead is a second in which nobody can be interrupted."""


def check_lead(mode: str, lead: int | None) -> int:
    """The lead in frames for a mode: as asked, else 12 for the valve and none otherwise."""
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if lead is None:
        return VALVE_LEAD if mode == "naive-valve" else 0
    if not 0 <= lead <= MAX_LEAD:
        raise InputError(f"--lead must be between 0 and {MAX_LEAD} frames, got {lead}")
    if lead and mode == "naive":
        raise InputError("mode naive has no valve that could lead", remedy="use --mode naive-valve or avsync")
    return lead


def make_stream(
    mode: str, *, fps: Fraction, lead: int = 0, idle: Rgb | None = None,
    on_request: Callable[[Request], object] | None = None,
) -> AvatarStream:  # fmt: skip
    """A fresh stream of this mode; call it where the event loop runs."""
    if mode == "naive":
        return NaiveStream(fps=fps)
    if mode == "naive-valve":
        return NaiveStream(fps=fps, lead=lead)
    from avsync.webrtc.session import AvSyncSession

    rate = fps.numerator if fps.denominator == 1 else fps
    return AvSyncSession(video_rate=rate, idle=idle, on_request=on_request, levers=("skip_to_pts", "fps"))


def lead_viewer(viewer: ViewerTracks, mode: str, *, lead: int, fps: Fraction) -> None:
    """In avsync mode: this viewer's pictures leave ``lead`` frames after their time, under their own stamps."""
    if lead and mode == "avsync":
        cast("Viewer", viewer).hold_pictures(ticks_to_ns(lead, fps))
