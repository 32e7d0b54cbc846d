"""The marker-free meter: the offset from RTP timestamps alone, for media that carries no marks.

``rVFC.rtpTimestamp`` says which frame is shown, ``getSynchronizationSources()`` which audio packet is played; with
the RTP timestamps at which both streams' output clock was 0 (the server knows them) both become output time. What
remains is one constant of the machine, fitted once against the marks. Only where stamps are right is it the offset:
content that is stamped wrong looks right to it. Beside it, ``claims``: what getStats says of itself, which believes
the sender reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.glass.reading import FRAME_MS, GlassReading
from avsync.glass.recording import Recording

F64 = npt.NDArray[np.float64]
HALF, FULL = 1 << 31, 1 << 32
AUDIO_TICKS_PER_MS, VIDEO_TICKS_PER_MS = 48.0, 90.0
STALE_MS = 100.0
"""A packet of sound is 20 ms long. Older news than this says that nothing is played, not what is."""
NO_CLAIM_BEYOND_MS = 3_600_000.0
"""One of the two estimates is still 0 until the first sender report of its stream has come."""


class OffsetSeries(NamedTuple):
    """``e_ms``: voice ahead positive, NaN where unknown."""

    at_ms: F64
    e_ms: F64


def rtp_ms(ticks: Sequence[int], origin: int, ticks_per_ms: float) -> F64:
    """RTP timestamps -> ms after ``origin``. Each is taken as the nearest to the one before, so a wrap, and a step
    back, are what they are; the first lies within half a range of the origin."""
    if not len(ticks):
        return np.zeros(0)
    counts = np.array([origin, *ticks], dtype=np.int64)
    return np.asarray(np.cumsum(_signed(counts[1:] - counts[:-1])) / ticks_per_ms)


def went_back(ticks: Iterable[int]) -> int:
    """How often an RTP timestamp is before the one before it: a PTS violation on the wire."""
    counts = np.array(list(ticks), dtype=np.int64)
    return int(np.sum(_signed(counts[1:] - counts[:-1]) < 0))


def _signed(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Differences modulo 2**32 as the nearest signed ones."""
    return np.mod(steps + HALF, FULL) - HALF


def marker_free(
    recorded: Recording, origins: tuple[int, int], times: F64, *, frame_ms: float = FRAME_MS
) -> OffsetSeries:
    """``origins``: (audio, video) RTP timestamps of output time 0; ``times``: of the page, ms. Without the constant."""
    shown = [(frame.display_ms, frame.rtp) for frame in recorded.frames if frame.rtp is not None]
    if not shown or not recorded.sources:
        return OffsetSeries(times, np.full(len(times), np.nan))
    lit = np.maximum.accumulate([at for at, _ in shown])
    lips = rtp_ms([rtp for _, rtp in shown], origins[1], VIDEO_TICKS_PER_MS)
    played = np.array([source.played_ms for source in recorded.sources])
    voice = rtp_ms([source.rtp for source in recorded.sources], origins[0], AUDIO_TICKS_PER_MS)
    row = np.searchsorted(lit, times, "right") - 1
    v = lips[row] + np.minimum(times - lit[row], frame_ms)
    at = np.searchsorted(played, times, "right") - 1
    a = voice[at] + (times - played[at])
    known = (row >= 0) & (at >= 0) & (times - played[at] < STALE_MS)
    return OffsetSeries(times, np.where(known, a - v, np.nan))


def fitted_ms(marked: GlassReading, free: OffsetSeries) -> float | None:
    """The constant: median of (marks - marker-free) where both know; None where they never do."""
    both = ~np.isnan(marked.e_ms) & ~np.isnan(free.e_ms)
    return float(np.median(marked.e_ms[both] - free.e_ms[both])) if both.any() else None


def claims(stats: Iterable[Mapping[str, Any]]) -> OffsetSeries:
    """getStats' own claim: audio's minus video's ``estimatedPlayoutTimestamp``, once a second."""
    at, e = [], []
    for report in stats:
        sides = [report.get(kind, {}).get("estimatedPlayoutTimestamp") for kind in ("audio", "video")]
        if all(isinstance(side, (int, float)) and side > 0 for side in sides):
            claim = float(sides[0]) - float(sides[1])
            if abs(claim) < NO_CLAIM_BEYOND_MS:
                at.append(float(report["now_ms"]))
                e.append(claim)
    return OffsetSeries(np.array(at), np.array(e))
