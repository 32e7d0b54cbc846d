"""Buffers of a stream: sound and pictures as they come in, kept in bounded memory until they are scored.

Sound lies on a grid of samples by its PTS, so that chunks may be cut anywhere, come twice, leave gaps or fill them.
Pictures lie in a row by PTS; gaps of `GAP_NS` cut the row into *runs*, and only runs are scored. What is computed from
both is computed in portions that depend on media time alone: however the data came in, the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends.backend import Backend
from avsync.scorer.features.cells import CELL_NS, CELL_SAMPLES, SAMPLE_RATE_HZ, Floats
from avsync.scorer.features.grid import HOLD_MAX_NS, SPAN_NS
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.matching.media_features import PictureFeatures, SoundFeatures, picture_features, sound_features
from avsync.units import NS_PER_S

GAP_NS: Final = NS_PER_S
"""Pictures further apart than this are two runs. Shorter gaps lie inside blocks, as cells without a face."""
PATIENCE_NS: Final = 10 * NS_PER_S
"""So far one stream may run ahead of the other. Beyond it, what is missing counts as not coming."""
JITTER_SAMPLES: Final = SAMPLE_RATE_HZ // 1000
"""A chunk that starts within 1 ms of the last one's end continues it: containers round their times to as much."""
CLOSEST_NS: Final = 3_000_000
"""A picture less than this after the last one is the same again: 250 fps is the fastest rate."""

_LEAP_SAMPLES: Final = 2 * PATIENCE_NS // NS_PER_S * SAMPLE_RATE_HZ
_HOLE: Final = np.float32(-np.inf)
"""In the buffer of samples: nothing came for this place yet. (NaN: something came, and was no sound.)"""


@dataclass(slots=True)
class StreamCounts:
    """What was not used, and why: samples and pictures."""

    samples_duplicate: int = 0
    """Came again for a place that was taken; the first to come stays."""
    samples_late: int = 0
    """Came for a place that had been scored."""
    samples_missing: int = 0
    """Never came, and were scored as silence."""
    pictures_duplicate: int = 0
    """At the last picture's time, or less than 3 ms after it."""
    pictures_late: int = 0
    """Before the last picture's time: pictures are taken in the order of presentation."""
    stale: int = 0
    """Pushes of an epoch that is over."""


class StreamSound:
    """Samples by their place, and what they were described by so far. Memory: what `forget` leaves."""

    def __init__(self, counts: StreamCounts) -> None:
        self._counts = counts
        self._samples: Floats = np.zeros(0, np.float32)
        self._base = 0  # the place of _samples[0]; a whole number of cells
        self._first = 0  # the place of the first sample
        self._features: SoundFeatures | None = None
        self.describe: Callable[[Floats], Floats] = log_mel
        """The backend's, once it is known; nothing is described before."""
        self.end: int | None = None
        """One past the newest sample; None before the first."""

    @property
    def end_ns(self) -> int | None:
        return None if self.end is None else self.end * NS_PER_S // SAMPLE_RATE_HZ

    def push(self, pcm: Floats, pts_ns: int) -> None:
        if len(pcm) == 0:
            return
        at = (2 * pts_ns * SAMPLE_RATE_HZ + NS_PER_S) // (2 * NS_PER_S)
        if self.end is None or self.is_leap(pts_ns):
            self._begin(at)
        elif 0 < abs(at - self.end) <= JITTER_SAMPLES:
            at = self.end
        if at < self._first and self._features is None and self._first - at <= _LEAP_SAMPLES:
            self._grow_back(at)
        scored = self._base if self._features is None else max(self._base, self._features.end_cell * CELL_SAMPLES)
        late = min(max(scored - at, 0), len(pcm))
        self._counts.samples_late += late
        if late < len(pcm):
            self._put(pcm[late:], at + late)

    def is_leap(self, pts_ns: int) -> bool:
        """A gap longer than anything that is kept: the sound before it is let go, so that no gap costs memory."""
        return self.end is not None and pts_ns * SAMPLE_RATE_HZ // NS_PER_S - self.end > _LEAP_SAMPLES

    def _put(self, pcm: Floats, at: int) -> None:
        first, last = at - self._base, at - self._base + len(pcm)
        if last > len(self._samples):
            grown = np.full(max(last, 2 * len(self._samples)), _HOLE, np.float32)
            grown[: len(self._samples)] = self._samples
            self._samples = grown
        free = np.isneginf(self._samples[first:last])
        self._counts.samples_duplicate += len(pcm) - int(free.sum())
        self._samples[first:last][free] = pcm[free]
        assert self.end is not None
        self.end = max(self.end, at + len(pcm))

    def _begin(self, at: int) -> None:
        self._samples = np.zeros(0, np.float32)
        self._base = (at // CELL_SAMPLES) * CELL_SAMPLES
        self._features = None
        self._first = self.end = at

    def _grow_back(self, at: int) -> None:
        """Sound from before the first that came, while nothing has been scored."""
        base = (at // CELL_SAMPLES) * CELL_SAMPLES
        self._samples = np.concatenate([np.full(self._base - base, _HOLE, np.float32), self._samples])
        self._base, self._first = base, at

    def features_until(self, first_cell: int, end_cell: int) -> SoundFeatures:
        """All that is known from `first_cell` (a step's furthest look back) up to `end_cell` at the most.

        A cell counts once its last sample came; computing one reads one cell further, which is why a step waits for it.
        """
        known_end = (self.end if self.end is not None else 0) // CELL_SAMPLES
        end_cell = min(end_cell, known_end)
        start = max(first_cell, self._base // CELL_SAMPLES, -(-self._first // CELL_SAMPLES))
        if self._features is not None and self._features.end_cell >= start:
            start = self._features.end_cell
        else:
            self._features = None
        if end_cell > start:
            portion = self._portion(start, end_cell)
            self._features = portion if self._features is None else self._features.and_then(portion)
        if self._features is None:
            return sound_features(start, np.zeros(0, np.float32), describe=self.describe)
        return self._features.between(first_cell, end_cell)

    def _portion(self, start: int, end: int) -> SoundFeatures:
        first = start * CELL_SAMPLES - self._base
        before = 1 if first >= CELL_SAMPLES else 0
        block = self._samples[first - before * CELL_SAMPLES : (end + 1) * CELL_SAMPLES - self._base]
        short = (end + 1 - start + before) * CELL_SAMPLES - len(block)
        holes = np.isneginf(block)
        self._counts.samples_missing += int(holes[before * CELL_SAMPLES :][: (end - start) * CELL_SAMPLES].sum())
        filled = np.where(holes, np.float32(0.0), block)
        if short:
            filled = np.concatenate([filled, np.zeros(short, np.float32)])
        return sound_features(start - before, filled, before=before, after=1, describe=self.describe)

    def forget(self, before_cell: int) -> None:
        """Nothing before this cell will be asked for again. Samples that were described go, but for one cell.

        Called often; samples are moved once a second has come together.
        """
        if self._features is not None:
            self._features = self._features.between(before_cell, self._features.end_cell)
            before_cell = max(before_cell, self._features.end_cell) - 1
        keep = min(before_cell, (self.end or 0) // CELL_SAMPLES) * CELL_SAMPLES
        if keep - self._base >= SAMPLE_RATE_HZ:  # now and then: it copies
            assert self.end is not None
            self._samples = self._samples[keep - self._base : self.end - self._base].copy()
            self._base = keep


class StreamPictures:
    """Pictures by time, described in portions; memory: what `forget` leaves, and one portion of crops."""

    def __init__(self, backend: Backend, counts: StreamCounts) -> None:
        self._backend, self._counts = backend, counts
        self.bias_ns = round(backend.bias_ms * 1e6)
        self._waiting: list[tuple[int, NDArray[np.uint8] | None, Floats | None]] = []
        self._features: PictureFeatures | None = None
        self._lasts_ns: list[int] = []  # distances of the latest pictures of this run
        self.newest_ns: int | None = None

    def is_new(self, pts_ns: int) -> bool:
        """False, and counted, for what came before or is the same picture again."""
        if self.newest_ns is None or pts_ns - self.newest_ns >= CLOSEST_NS:
            return True
        if pts_ns < self.newest_ns:
            self._counts.pictures_late += 1
        else:
            self._counts.pictures_duplicate += 1
        return False

    def push(self, pts_ns: int, roi: NDArray[np.uint8] | None, landmarks: Floats | None, *, first: bool) -> None:
        """A picture that `is_new`; `first`: it begins a run."""
        if first:
            self._lasts_ns.clear()
        elif self.newest_ns is not None:
            self._lasts_ns.append(pts_ns - self.newest_ns)
            del self._lasts_ns[:-32]
        self.newest_ns = pts_ns
        self._waiting.append((pts_ns, roi, landmarks))

    def shown_ns(self) -> int:
        """When the newest picture began, bias included; asked for after the first only."""
        assert self.newest_ns is not None
        return self.newest_ns + self.bias_ns

    def end_ns(self) -> int:
        """When the newest picture is believed to end, bias included: it lasts as long as the middle of those before."""
        lasts = min(int(np.median(self._lasts_ns)), HOLD_MAX_NS) if self._lasts_ns else SPAN_NS
        return self.shown_ns() + lasts

    def describe(self) -> None:
        """Describe what waits, as one portion."""
        if not self._waiting:
            return
        times = np.array([each[0] for each in self._waiting], np.int64)
        rois = [each[1] for each in self._waiting if each[1] is not None]
        points = [each[2] for each in self._waiting if each[2] is not None]
        portion = picture_features(
            self._backend, times, np.stack(rois) if rois else None, np.stack(points) if points else None
        )  # fmt: skip
        self._features = portion if self._features is None else self._features.and_then(portion)
        self._waiting.clear()

    def features_until(self, end_ns: int) -> PictureFeatures:
        """All that is described and kept of the pictures before `end_ns` (bias included)."""
        assert self._features is not None, "a portion is described before it is asked for"
        return self._features.part(0, int(np.searchsorted(self._features.start_ns, end_ns)))

    def forget(self, before_ns: int) -> None:
        """Nothing before this time (bias included) will be asked for again."""
        if self._features is not None:
            first = int(np.searchsorted(self._features.start_ns, before_ns))
            self._features = self._features.part(first, len(self._features.start_ns))


def cell_at(time_ns: int) -> int:
    """The first cell whose centre is not before a time: a segment consists of the cells whose centres it holds."""
    return -((CELL_NS // 2 - time_ns) // CELL_NS)
