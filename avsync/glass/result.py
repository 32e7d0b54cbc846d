"""What a run at the glass says: the three series beside each other, absolute, and figures of any part of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from avsync.glass.calibrate import Calibration
from avsync.glass.figures import Figures, figures, settle_ms
from avsync.glass.marker_free import OffsetSeries, claims, marker_free, went_back
from avsync.glass.marks import sound
from avsync.glass.reading import FRAME_MS, GlassReading, read
from avsync.glass.recording import Recording


@dataclass(frozen=True, slots=True)
class GlassResult:
    """``reading`` and ``free`` are absolute where there is a calibration, else raw (``zero_ms`` 0).

    ``claims``: what getStats says, as it says it. ``pts_violations``: RTP timestamps that went back, (audio, video).
    """

    reading: GlassReading
    free: OffsetSeries | None
    claims: OffsetSeries
    pts_violations: tuple[int, int]
    zero_ms: float
    recording: Recording

    def figures(self, parts: Iterable[tuple[float, float]] | None = None) -> Figures:
        """Over the [from, to) of the page's ms in ``parts``; None: over everything."""
        return figures(self.reading if parts is None else self.reading.where(self.inside(parts)))

    def inside(self, parts: Iterable[tuple[float, float]]) -> np.typing.NDArray[np.bool_]:
        """The rows of the reading that lie in any of ``parts``."""
        at = self.reading.at_ms
        rows = np.zeros(len(at), np.bool_)
        for from_ms, to_ms in parts:
            rows |= (at >= from_ms) & (at < to_ms)
        return rows

    def as_dict(self) -> Mapping[str, Any]:
        """JSON-able: figures of the whole, the claim's and the marker-free meter's medians, the constant used."""
        free = None if self.free is None else self.free.e_ms[~np.isnan(self.free.e_ms)]
        settled = settle_ms(self.reading)
        return {
            "figures": self.figures()._asdict(),
            "settle_ms": "never" if settled == math.inf else settled,
            "marker_free_p50_ms": float(np.median(free)) if free is not None and len(free) else None,
            "claim_p50_ms": float(np.median(self.claims.e_ms)) if len(self.claims.e_ms) else None,
            "pts_violations": list(self.pts_violations),
            "unreadable_frames": self.reading.unreadable_frames,
            "zero_ms": self.zero_ms,
            "browser": self.recording.browser,
        }


def read_result(
    recorded: Recording,
    *,
    calibration: Calibration | None = None,
    origins: tuple[int | None, int | None] | None = None,
    frame_ms: float = FRAME_MS,
) -> GlassResult:
    """Read a recording of marked media. ``origins``: RTP timestamps of output time 0, (audio, video), if known.

    A minute takes a second or two of computing: run it outside of an event loop that sends.
    """
    zero_ms = calibration.zero_ms if calibration is not None else 0.0
    reading = read(recorded, frame_ms=frame_ms, reference=sound).calibrated(zero_ms)
    free = None
    if origins is not None and origins[0] is not None and origins[1] is not None:
        free = marker_free(recorded, (origins[0], origins[1]), reading.at_ms, frame_ms=frame_ms)
        constant_ms = calibration.free_ms if calibration is not None else 0.0
        free = OffsetSeries(free.at_ms, free.e_ms + constant_ms - zero_ms)
    violations = (
        went_back(source.rtp for source in recorded.sources),
        went_back(frame.rtp for frame in recorded.frames if frame.rtp is not None),
    )
    return GlassResult(reading, free, claims(recorded.stats), violations, zero_ms, recorded)
