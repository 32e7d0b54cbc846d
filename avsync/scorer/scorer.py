"""LipSyncScorer: pictures of a mouth and sound in, `LipSyncSignal` out: blocks, windows, batches, streams.

    scorer = LipSyncScorer()
    signal = scorer.score_block(pcm, rois, fps=30, pcm_start_ms=-200, landmarks=landmarks)
    signal.offset_ms, signal.confidence, signal.label          # +80.0, 0.93, "voice_ahead"

    for chunk in call:                                          # or as a stream, in any interleaving
        signals += scorer.push_audio(chunk.pcm, chunk.pts_ns, epoch)
        signals += scorer.push_video(chunk.rois, chunk.picture_pts_ns, epoch, chunk.landmarks)
    signals += scorer.flush()

Offsets are positive when the voice is ahead of the lips. Nothing here reads a clock. On a CPU LiteRT runs the networks;
the heuristic needs numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.errors import UsageError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.backends.load import load_backend
from avsync.scorer.calibration import curve_of
from avsync.scorer.features.cells import CELL_MS, CELL_SAMPLES
from avsync.scorer.matching.confidence import signal_of
from avsync.scorer.matching.input_checks import (
    LONGEST_S,
    check_wants,
    epoch_of,
    fps_of,
    pcm_of,
    pictures_of,
    pts_of,
    start_ms_of,
)
from avsync.scorer.matching.lag_search import search_offsets
from avsync.scorer.matching.media_features import picture_features, sound_features
from avsync.scorer.matching.segment import CONTEXT_CELLS, STATISTICS_CELLS, Measurement, measure
from avsync.scorer.matching.stream_buffers import StreamCounts, cell_at
from avsync.scorer.signal import LipSyncSignal
from avsync.scorer.stream import LipSyncStream, ScoredSegment
from avsync.units import ticks_to_ns

SILENCE_DBFS: Final = -50.0
"""Sound below this RMS is silence: speech is mastered near -20 dBFS, rarely below -40; a quiet room is near -60."""
SOUND_SHARE: Final = 0.5
"""A block must have sound for so much of it; with less, sound and pictures are not of the same segment."""


class Block(NamedTuple):
    """One item of `score_batch`: the arguments of `score_block`."""

    pcm: Any
    rois: Any = None
    fps: float = 25.0
    pcm_start_ms: float = 0.0
    landmarks: Any = None


class LipSyncScorer:
    """Scores how well lips and voice agree, and by how much they are apart.

    `backend`: "auto" (fused when crops and landmarks are given, pixels for crops alone, geometry for landmarks alone;
    heuristic where no network can run), "fused", "pixels", "geometry", "heuristic", "syncnet", or a `Backend` that
    several scorers share. `device`: as torch names it. `search_ms`, `step_ms`: the offsets that are compared,
    -search..+search; "frame" is one picture (a stream then needs `fps`). `silence_dbfs`: RMS below which there is
    nothing to judge. `block_ms` (None: no blocks), `window_ms`, `gather_s`: of the stream, see `avsync.scorer.stream`.
    `weights`: files in place of the shipped ones. Raises UsageError for values out of range, InputError where a file,
    or what runs its networks, is missing.
    """

    def __init__(
        self,
        backend: str | Backend = "auto",
        *,
        device: str = "cpu",
        search_ms: float = 200.0,
        step_ms: float | Literal["frame"] = 20.0,
        fps: float | None = None,
        silence_dbfs: float = SILENCE_DBFS,
        block_ms: int | None = 400,
        window_ms: int = 1000,
        gather_s: float = 4.0,
        weights: dict[str, Path] | None = None,
    ) -> None:
        _within("search_ms", search_ms, 60.0, 2000.0)
        if step_ms != "frame":
            _within("step_ms", step_ms, 5.0, min(100.0, search_ms))
        _within("silence_dbfs", silence_dbfs, -100.0, 0.0)
        _within("gather_s", gather_s, 0.0, 60.0)
        if block_ms is not None:
            _cells("block_ms", block_ms, 240, 560)
        _cells("window_ms", window_ms, 800, 2000)
        self.search_ms, self.step_ms, self.silence_dbfs = search_ms, step_ms, silence_dbfs
        self._fps = None if fps is None else fps_of(fps)
        self._lengths: dict[str, Any] = {"block_ms": block_ms, "window_ms": window_ms, "gather_s": gather_s}
        self._device, self._weights = device, weights
        self._loaded: dict[str, Backend] = {}
        self._backend: str | Backend = backend
        if isinstance(backend, str) and backend != "auto":
            self._load(backend)
        self._stream: LipSyncStream | None = None

    # ---- one at a time

    def score_block(
        self,
        pcm: Any,
        rois: Any = None,
        *,
        fps: float,
        pcm_start_ms: float = 0.0,
        landmarks: Any = None,
        pts_ns: int = 0,
        epoch: int = 0,
    ) -> LipSyncSignal:
        """A block of pictures (8 to 16 at 30 fps) with its sound.

        pcm: mono 16 kHz, (n,) int16 or float32/float64 in [-1, 1]; `pcm_start_ms`: its first sample minus the first
        picture. Best with the search and `CONTEXT_MS` (160 ms) of sound on both sides; more, up to 6 s before, makes
        the normalisation better; with less the overlap is used, and the confidence falls.
        rois: uint8 RGB (T, 96, 96, 3), eye-aligned mouth crops; landmarks: float32 (T, 468, 2), pixels of the full
        picture, NaN where no face was found; either or both, as the backend wants. `pts_ns`, `epoch`: handed through.

        UsageError for a wrong type, shape or rate; wrong content (NaN, clipped, too short, nothing that moves, sound
        and pictures of different times) gives a null score with its label.
        """
        return self._score(pcm, rois, fps, pcm_start_ms, landmarks, pts_of(pts_ns), epoch_of(epoch)).signal

    def score_window(
        self,
        pcm: Any,
        rois: Any = None,
        *,
        fps: float,
        pcm_start_ms: float = 0.0,
        landmarks: Any = None,
        pts_ns: int = 0,
        epoch: int = 0,
    ) -> LipSyncSignal:
        """A window of pictures (0.8 to 1.2 s, at most 30 s) with its sound; everything else as in `score_block`."""
        return self._score(pcm, rois, fps, pcm_start_ms, landmarks, pts_of(pts_ns), epoch_of(epoch), "window").signal

    def score_batch(self, blocks: Iterable[Block]) -> list[LipSyncSignal]:
        """Blocks that have nothing to do with each other, of any lengths; the results in their order, as `score_block`
        gives them. They are scored one after the other: a call less, not a shorter one.

        Blocks of one shape whose lags alone are wanted (no labels, no confidence) are computed together by
        `avsync.scorer.gpu.block_scorer.BlockScorer` on a GPU; on a CPU that gains nothing.
        """
        return [self._score(*Block(*block)).signal for block in blocks]

    # ---- as a stream

    def stream(self) -> LipSyncStream:
        """A stream of its own, which shares the networks: one scorer serves many callers. Returns `ScoredSegment`."""
        if self.step_ms == "frame" and self._fps is None:
            raise UsageError('a stream with step_ms="frame" needs fps=...')
        offsets_ms = self._offsets_ms(float(self._fps or 25))
        return LipSyncStream(self._backend_for, offsets_ms, silence_dbfs=self.silence_dbfs, **self._lengths)

    def push_audio(self, pcm: Any, pts_ns: int, epoch: int = 0) -> list[LipSyncSignal]:
        """Sound of the scorer's own stream, mono 16 kHz; `pts_ns`: of its first sample. Returns what became ready."""
        return _signals(self._own().push_audio(pcm, pts_ns, epoch))

    def push_video(self, rois: Any, pts_ns: Any, epoch: int = 0, landmarks: Any = None) -> list[LipSyncSignal]:
        """Pictures of the scorer's own stream, one PTS for each. Returns what became ready: blocks (`block_ms` or
        less) and windows (`window_ms`, at the end of a run at least 0.8 s), told apart by `duration_ns`."""
        return _signals(self._own().push_video(rois, pts_ns, epoch, landmarks))

    def flush(self) -> list[LipSyncSignal]:
        """The stream's end: the rest comes out, and everything is forgotten."""
        return _signals(self._own().flush())

    @property
    def counts(self) -> StreamCounts:
        """What the scorer's own stream did not use, and why."""
        return self._own().counts

    def _own(self) -> LipSyncStream:
        if self._stream is None:
            self._stream = self.stream()
        return self._stream

    # ---- inside

    def _score(
        self,
        pcm: Any,
        rois: Any,
        fps: float,
        pcm_start_ms: float,
        landmarks: Any,
        pts_ns: int = 0,
        epoch: int = 0,
        kind: Literal["block", "window"] = "block",
    ) -> ScoredSegment:
        rate, start_ms, sound = fps_of(fps), start_ms_of(pcm_start_ms), pcm_of(pcm)
        crops, points, count = pictures_of(rois, landmarks)
        if count > LONGEST_S * rate:
            raise UsageError(f"{count} pictures are more than {LONGEST_S:g} s at {float(rate):g} fps: use the stream")
        given = frozenset(name for name, value in (("rois", crops), ("landmarks", points)) if value is not None)
        backend = self._backend_for(given)
        check_wants(backend.method, backend.wants, crops, points)
        # Time 0 is the first sample, so that the sound lies on the grid of cells as it is.
        times = np.array([ticks_to_ns(n, rate) for n in range(count + 1)], np.int64) - round(start_ms * 1e6)
        curve = curve_of(backend.method)
        if count < 2 or len(sound) == 0:
            measured = Measurement("bad_input", None, 0.0, 0.0, False)
        else:
            pictures = picture_features(backend, times[:-1], crops, points)
            end_ns = int(times[-1]) + round(backend.bias_ms * 1e6)
            first = cell_at(int(pictures.start_ns[0]))
            cells = max(cell_at(end_ns) - first, 0)
            offsets_ms = self._offsets_ms(float(rate))
            known = sound_features(*_needed(sound, first, cells, offsets_ms), describe=backend.sound_values)
            if len(known.between(first, first + cells).mean) < SOUND_SHARE * cells:
                measured = Measurement("bad_input", None, 0.0, 0.0, False)
            else:
                measured = measure(
                    backend, pictures, known, first, cells, offsets_ms, silence_dbfs=self.silence_dbfs, end_ns=end_ns
                )
        signal = signal_of(measured, curve, pts_ns=pts_ns, duration_ns=ticks_to_ns(count, rate), epoch=epoch)
        return ScoredSegment(kind, signal, measured.scores, measured.speech_s)

    def _offsets_ms(self, fps: float) -> NDArray[np.float64]:
        return search_offsets(self.search_ms, 1000.0 / fps if self.step_ms == "frame" else float(self.step_ms))

    def _backend_for(self, given: frozenset[str]) -> Backend:
        if not isinstance(self._backend, str):
            return self._backend
        if self._backend != "auto":
            return self._load(self._backend)
        if "auto" not in self._loaded:  # nothing to run networks with: the heuristic, whatever is given
            self._loaded["auto"] = load_backend("auto", device=self._device, weights=self._weights)
            self._loaded.setdefault(self._loaded["auto"].method, self._loaded["auto"])
        best = self._loaded["auto"]
        if best.method != "fused" or given == {"rois", "landmarks"}:
            return best
        return self._load("pixels" if "rois" in given else "geometry")

    def _load(self, name: str) -> Backend:
        if name not in self._loaded:
            self._loaded[name] = load_backend(name, device=self._device, weights=self._weights)
        return self._loaded[name]


def _needed(
    pcm: NDArray[np.float32], first: int, cells: int, offsets_ms: NDArray[np.float64]
) -> tuple[int, NDArray[np.float32]]:
    """The part of the sound that matters for a segment, from the start of a cell on: (first cell, samples)."""
    reach = math.ceil(float(np.abs(offsets_ms).max()) / CELL_MS)
    start = max(0, first - reach - STATISTICS_CELLS)
    end = max(start, first + cells + reach + CONTEXT_CELLS)
    return start, pcm[start * CELL_SAMPLES : end * CELL_SAMPLES]


def _signals(scored: list[ScoredSegment]) -> list[LipSyncSignal]:
    return [each.signal for each in scored]


def _within(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{name} must be {least:g} to {most:g}, got {value!r}")


def _cells(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most or value % CELL_MS:
        raise UsageError(f"{name} must be {least} to {most} in steps of {CELL_MS}, got {value!r}")
