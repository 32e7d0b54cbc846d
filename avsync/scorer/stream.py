"""The stream: sound and pictures in, in any interleaving and any chunks; blocks and windows out. No clock, no thread.

What is defined, and tested with random chunkings:

- **Blocks** of `block_ms` (None: no blocks) and **windows** of `window_ms`, one every second, lie in a row from the
  first picture of a run on. A result comes out of the push that brings the last of what it needs: pictures to its end +
  `CONTEXT_MS` (160 ms) and sound to its end + the search (200 ms) + `CONTEXT_MS`. A block speaks for itself. A window
  adds the lag scores of the windows of the last `gather_s` seconds, unless they contradict it: so confidence grows with
  evidence.
- **Any chunking gives the same results**, as long as neither stream runs ahead of the other by more than 10 s
  (`PATIENCE_NS`). After that, what is missing counts as not coming.
- **Gaps.** Missing sound is silence. Missing pictures hold the last one for 100 ms, then there is no face; a gap of
  more than a second ends the run (its last, shorter block and window come out), the next picture begins another; for
  the gap itself nothing is said. A leap of the sound by more than 20 s ends the run, too.
- **Cuts** to another face or pose inside a run: what does not look like this mouth in the last second is hidden
  (`occlusion`), so the segment that holds the cut is "occluded", and from the next second on the new picture is judged.
  Statistics reach back over the cut for 6 s; the best offset stands out a little less until then.
- **Duplicates.** The first sample for a place stays. A picture less than 3 ms after the last one is the same again.
- **Late.** Samples fill holes until that place is scored. A picture before the last one is dropped. All are counted.
- **Epochs.** A push with a newer epoch forgets everything of the older one, results included; older pushes are dropped.
- **Memory** is bounded by the above: 10 s of patience, 6 s of statistics, a window, the search.

`flush` ends the stream: the rest comes out (with the sound there is; what is shorter than 160 ms gives nothing), and
everything is forgotten, so that the next push may begin anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.errors import UsageError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.calibration import ConfidenceCurve, curve_of
from avsync.scorer.features.cells import CELL_MS, CELL_NS, Floats
from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.matching.confidence import signal_of
from avsync.scorer.matching.gathering import Gathering, LagWindow
from avsync.scorer.matching.input_checks import check_wants, epoch_of, pcm_of, picture_pts_of, pictures_of, pts_of
from avsync.scorer.matching.lag_search import LagScores
from avsync.scorer.matching.segment import CONTEXT_CELLS, SHORTEST_CELLS, STATISTICS_CELLS, measure
from avsync.scorer.matching.stream_buffers import (
    GAP_NS,
    PATIENCE_NS,
    StreamCounts,
    StreamPictures,
    StreamSound,
    cell_at,
)
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.signal import LipSyncSignal
from avsync.units import ms, seconds

WINDOW_EVERY_MS: Final = 1000
LAST_WINDOW_MS: Final = 800
"""A run shorter than a window still gives one, if it lasts this long."""
LAST_SHARE_MS: Final = 200
"""A run's last window is not given for less than this much that no window held yet."""

MOST_RUNS: Final = 64
"""Runs that wait for sound: pictures seconds apart, of which each is a run, shall not pile up."""


class ScoredSegment(NamedTuple):
    """A result, and what it came from: for tools that weigh windows themselves."""

    kind: Literal["block", "window"]
    signal: LipSyncSignal
    scores: LagScores | None
    """The segment's own lag scores, nothing gathered; None where it could not be judged."""
    speech_s: float


class _Run:
    """Pictures without a gap, and which of its blocks and windows are out. Ends are in cells, bias included."""

    def __init__(self, start_ns: int, first_cell: int) -> None:
        self.start_ns, self.first_cell = start_ns, first_cell
        self.gaps_ns = 0  # how much media time the gaps after it took
        self.end_cell: int | None = None  # known once the run is over
        self.blocks = self.windows = 0
        self.scored_cells = 0  # how much of it windows have held


class _Face(NamedTuple):
    """An epoch's pictures, and what scores them: settled by the first that come."""

    backend: Backend
    curve: ConfidenceCurve
    pictures: StreamPictures
    gathering: Gathering
    with_crops: bool
    with_points: bool

    def as_it_began(
        self, crops: NDArray[np.uint8] | None, points: Floats | None, count: int
    ) -> tuple[NDArray[np.uint8] | None, Floats | None]:
        """What comes later, as it began; landmarks that stop coming are a face that was lost."""
        if self.with_crops and crops is None:
            raise UsageError("rois came with the first pictures of this epoch: give them with every picture")
        if self.with_points and points is None:
            points = np.full((count, LANDMARKS, 2), np.nan, np.float32)
        return (crops if self.with_crops else None), (points if self.with_points else None)


class _Step(NamedTuple):
    kind: Literal["block", "window"]
    first: int
    """In cells from the run's first."""
    cells: int

    @property
    def end(self) -> int:
        return self.first + self.cells


class LipSyncStream:
    """`push_audio` and `push_video` return the results that became ready, in the order of their ends.

    `backend_for`: asked once an epoch, with what its first pictures bring of "rois" and "landmarks".
    """

    def __init__(
        self,
        backend_for: Callable[[frozenset[str]], Backend],
        offsets_ms: NDArray[np.float64],
        *,
        block_ms: int | None = 400,
        window_ms: int = 1000,
        gather_s: float = 4.0,
        silence_dbfs: float = -50.0,
        curve: ConfidenceCurve | None = None,
    ) -> None:
        self._backend_for, self._offsets_ms, self._silence_dbfs = backend_for, offsets_ms, silence_dbfs
        self._given_curve = curve
        self._block = None if block_ms is None else block_ms // CELL_MS
        self._window, self._every = window_ms // CELL_MS, WINDOW_EVERY_MS // CELL_MS
        self._reach = int(-(-float(np.abs(offsets_ms).max()) // CELL_MS))
        self._gather_ns = seconds(gather_s)
        self.counts = StreamCounts()
        self.epoch: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._sound = StreamSound(self.counts)
        self._face: _Face | None = None
        self._runs: deque[_Run] = deque()
        self._open: _Run | None = None
        self._portion_end_ns = 0  # pictures before this are one portion; PTS

    # ---- in

    def push_audio(self, pcm: Any, pts_ns: int, epoch: int = 0) -> list[ScoredSegment]:
        """Mono 16 kHz sound, (n,) int16 or float in [-1, 1]; `pts_ns`: media time of its first sample."""
        samples, at_ns = pcm_of(pcm), pts_of(pts_ns)
        if not self._admits(epoch):
            return []
        out: list[ScoredSegment] = []
        if self._sound.is_leap(at_ns):
            self._close()
            out = self._ready(sound_is_over=True)
        self._sound.push(samples, at_ns)
        newest_ns = None if self._face is None else self._face.pictures.newest_ns
        if newest_ns is not None and self._sound.end_ns is not None and self._sound.end_ns - newest_ns > PATIENCE_NS:
            self._close()
        return out + self._ready()

    def push_video(self, rois: Any, pts_ns: Any, epoch: int = 0, landmarks: Any = None) -> list[ScoredSegment]:
        """Pictures: `rois` uint8 (T, 96, 96, 3) or None, `landmarks` float32 (T, 468, 2) or None, one PTS for each."""
        crops, points, count = pictures_of(rois, landmarks)
        times = picture_pts_of(pts_ns, count)
        if not self._admits(epoch) or count == 0:
            return []
        face = self._face if self._face is not None else self._new_face(crops, points)
        crops, points = face.as_it_began(crops, points, count)
        out: list[ScoredSegment] = []
        for at, time_ns in enumerate(times):
            if face.pictures.is_new(time_ns):
                # Copies: a view would keep the whole of the caller's array.
                roi = None if crops is None else crops[at].copy()
                out += self._picture(face.pictures, time_ns, roi, None if points is None else points[at].copy())
        return out

    def flush(self) -> list[ScoredSegment]:
        """The rest, and an end: whatever is pushed next begins a new stream of any epoch."""
        self._close()
        out = self._ready(sound_is_over=True)
        self.epoch = None
        self._begin()
        return out

    def _admits(self, epoch: int) -> bool:
        number = epoch_of(epoch)
        if self.epoch is None or number > self.epoch:
            if self.epoch is not None:
                self._begin()
            self.epoch = number
        if number < self.epoch:
            self.counts.stale += 1
        return number == self.epoch

    def _new_face(self, crops: NDArray[np.uint8] | None, points: Floats | None) -> _Face:
        given = {name for name, value in (("rois", crops), ("landmarks", points)) if value is not None}
        backend = self._backend_for(frozenset(given))
        check_wants(backend.method, backend.wants, crops, points)
        self._sound.describe = backend.sound_values
        curve = self._given_curve if self._given_curve is not None else curve_of(backend.method)
        self._face = _Face(
            backend,
            curve,
            StreamPictures(backend, self.counts),
            Gathering(self._offsets_ms, self._gather_ns, curve),
            crops is not None,
            points is not None,
        )
        return self._face

    def _picture(
        self, pictures: StreamPictures, time_ns: int, roi: NDArray[np.uint8] | None, points: Floats | None
    ) -> list[ScoredSegment]:
        newest = pictures.newest_ns
        if self._open is not None and newest is not None and time_ns - newest > GAP_NS:
            self._close()
            for over in self._runs:
                over.gaps_ns += time_ns - newest
        run, first = self._open, self._open is None
        if run is None:
            run = self._open = _Run(time_ns, cell_at(time_ns + pictures.bias_ns))
            self._runs.append(run)
        elif time_ns >= self._portion_end_ns:
            pictures.describe()
        pictures.push(time_ns, roi, points, first=first)
        if first or time_ns >= self._portion_end_ns:
            self._portion_end_ns = self._next_portion_end_ns(run, time_ns + pictures.bias_ns) - pictures.bias_ns
        return self._ready()

    def _close(self) -> None:
        """The run's last picture has come."""
        if self._open is None or self._face is None:
            return
        self._face.pictures.describe()
        self._open.end_cell = max(cell_at(self._face.pictures.end_ns()), self._open.first_cell)
        self._open = None

    def _next_portion_end_ns(self, run: _Run, time_ns: int) -> int:
        """The first end + context of a block or a window that lies after a picture: up to there is one portion."""
        least = time_ns // CELL_NS - run.first_cell - CONTEXT_CELLS + 1
        end = self._window + -(-max(least - self._window, 0) // self._every) * self._every
        if self._block is not None:
            end = min(end, -(-max(least, 1) // self._block) * self._block)
        return (run.first_cell + end + CONTEXT_CELLS) * CELL_NS

    # ---- out

    def _ready(self, *, sound_is_over: bool = False) -> list[ScoredSegment]:
        out: list[ScoredSegment] = []
        while self._runs:
            run = self._runs[0]
            step = self._next_step(run)
            if step is None:
                if run.end_cell is None:
                    break
                self._runs.popleft()
                continue
            if not self._has_come(run, step, sound_is_over):
                break
            out.append(self._score(run, step))
        if out or not self._runs:
            self._forget()
        return out

    def _next_step(self, run: _Run) -> _Step | None:
        """The block or window that ends next; of two that end together the block. None when there is no more."""
        block = None if self._block is None else _Step("block", run.blocks * self._block, self._block)
        window = _Step("window", run.windows * self._every, self._window)
        steps: list[_Step | None] = [block, window]
        if run.end_cell is not None:
            length = run.end_cell - run.first_cell
            steps = [block and _cut(block, length, SHORTEST_CELLS), self._last_window(run, window, length)]
        return min((step for step in steps if step), key=lambda step: (step.end, step.kind), default=None)

    def _last_window(self, run: _Run, window: _Step, length: int) -> _Step | None:
        if window.end <= length:
            return window
        cells = min(self._window, length)
        fresh = length - run.scored_cells
        if cells < min(LAST_WINDOW_MS // CELL_MS, self._window) or fresh < LAST_SHARE_MS // CELL_MS:
            return None
        return _Step("window", length - cells, cells)

    def _has_come(self, run: _Run, step: _Step, sound_is_over: bool) -> bool:
        assert self._face is not None
        newest, sound_ns = self._face.pictures.shown_ns(), self._sound.end_ns
        end_cell = run.first_cell + step.end
        if run.end_cell is None and newest < (end_cell + CONTEXT_CELLS) * CELL_NS:
            return False
        needed_ns = (end_cell + self._reach + CONTEXT_CELLS) * CELL_NS
        # Patience is counted in pictures that came, not in gaps between runs: the sound may be about to leap, too.
        waited_ns = newest - run.gaps_ns - needed_ns
        over = sound_is_over or waited_ns > PATIENCE_NS or len(self._runs) > MOST_RUNS
        return over or (sound_ns is not None and sound_ns >= needed_ns)

    def _score(self, run: _Run, step: _Step) -> ScoredSegment:
        assert self._face is not None
        backend, curve, pictures, gathering = self._face[:4]
        first = run.first_cell + step.first
        end = first + step.cells
        seen = pictures.features_until((end + CONTEXT_CELLS) * CELL_NS)
        sound = self._sound.features_until(first - self._reach - STATISTICS_CELLS, end + self._reach + ENCODER_CELLS)
        measured = measure(backend, seen, sound, first, step.cells, self._offsets_ms, silence_dbfs=self._silence_dbfs)
        gathered = None
        if step.kind == "block":
            run.blocks += 1
        else:
            run.windows += 1
            fresh = (step.end - max(run.scored_cells, step.first)) / step.cells
            run.scored_cells = step.end
            if measured.scores is not None:
                window = LagWindow(end * CELL_NS, measured.scores.rho, measured.speech_s * fresh)
                gathered = gathering.add(window)
        signal = signal_of(
            measured,
            curve,
            pts_ns=run.start_ns + ms(step.first * CELL_MS),
            duration_ns=ms(step.cells * CELL_MS),
            epoch=self.epoch or 0,
            rho=None if gathered is None else gathered.rho,
            evidence_s=None if gathered is None else gathered.speech_s,
        )
        return ScoredSegment(step.kind, signal, measured.scores, measured.speech_s)

    def _forget(self) -> None:
        """What no step will ask for again goes."""
        if self._runs:
            run = self._runs[0]
            # A run's last window may reach back into the one before it.
            out = run.windows * self._every
            if self._block is not None:
                out = min(out, run.blocks * self._block)
            oldest = run.first_cell + out - self._window
        else:
            newest_ns = self._sound.end_ns or 0
            if self._face is not None:
                newest_ns = max(newest_ns, self._face.pictures.shown_ns())
            oldest = (newest_ns - PATIENCE_NS) // CELL_NS
        self._sound.forget(oldest - self._reach - STATISTICS_CELLS - CONTEXT_CELLS)
        if self._face is not None:
            self._face.pictures.forget((oldest - STATISTICS_CELLS - CONTEXT_CELLS) * CELL_NS)


def _cut(step: _Step, length: int, shortest: int) -> _Step | None:
    """The step as far as the run goes; None when too little of it is left."""
    cells = min(step.end, length) - step.first
    return step._replace(cells=cells) if cells >= min(shortest, step.cells) else None
