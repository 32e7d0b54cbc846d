"""The protocol: what is asked of a backend about a clip whose offset is known, and what it answers.

A *trial* is one window of pictures with the sound put off by a known delay. The clip's own offset is taken out first
(its sound is moved by whole samples), so that the truth is minus the delay and the search is centred on the clip's own
offset. Delays move real sound; a trial whose search would reach beyond it is left out. Which windows count is decided
on the clean clip alone, before any backend has seen it: all backends and conditions meet the same ones.

The answers are those of `segment.measure`, as `LipSyncScorer` gives them: `LipEmbeddings` and `SoundEmbeddings` take
the same three steps, and each only once where several trials share a segment of pictures or of sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends.backend import Backend
from avsync.scorer.features.cells import (
    CELL_MS,
    CELL_NS,
    CELL_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    Floats,
    as_mono_float,
)
from avsync.scorer.features.grid import on_grid
from avsync.scorer.features.log_mel import WINDOW_SAMPLES, log_mel
from avsync.scorer.matching.lag_search import best_lag, search_offsets
from avsync.scorer.matching.media_features import PictureFeatures, SoundFeatures, picture_features, sound_features
from avsync.scorer.matching.segment import LipObservation, SoundObservation, compare, observe_lips, observe_sound
from avsync.scorer.score.evidence import between_lags
from avsync.scorer.scorer import SILENCE_DBFS

WINDOWS_MS: Final = (500, 1000, 2000)
EVERY_MS: Final = 240
DELAYS_MS: Final = tuple(range(-160, 161, 40))
SEARCH_MS: Final = 200
STEPS_MS: Final = (40, 20)
OFFSETS_MS: Final = search_offsets(SEARCH_MS, min(STEPS_MS))
RIGHT_MS: Final = 40.0
"""An answer is right when it is off by no more, at any frame rate."""
BEYOND_MS: Final = 400
"""So far beyond the search lies the offset of the `beyond` trials."""
SPEECH_PERCENTILE: Final = 95
SPEECH_RANGE_DB: Final = 25.0
SPEECH_FLOOR_DBFS: Final = -60.0
SPEECH_SHARE: Final = 0.5
FACE_SHARE: Final = 0.95
ISOLATED_SOUND_MS: Final = 300
"""Isolated: sound to either side of the window, and nothing else. (Stream: what `segment.measure` declares.)"""

Mode = Literal["stream", "isolated"]
MODES: Final[tuple[Mode, ...]] = ("stream", "isolated")
Kind = Literal["known", "other", "beyond"]
KINDS: Final[tuple[Kind, ...]] = ("known", "other", "beyond")
"""Trials with a known offset, with somebody else's sound, and with an offset 400 ms beyond the search."""

TRIAL: Final = np.dtype(
    [
        ("clip", "i4"), ("kind", "i1"), ("window_ms", "i4"), ("start_ms", "i4"), ("delay_ms", "i4"), ("step_ms", "i4"),
        ("tracked", "?"), ("found_ms", "f4"), ("error_ms", "f4"), ("best", "f4"), ("margin", "f4"), ("at_edge", "?"),
        ("speech_s", "f4"), ("coverage", "f4"), ("refined_ms", "f4"),
    ]
)  # fmt: skip
"""One answer. `kind`: index in `KINDS`; `tracked`: the face was found in enough of the window; `found_ms`: NaN where
nothing could be said; `refined_ms`: the same refined between lags; `error_ms`: found minus truth, infinite where there
is no answer or no truth; `best`, `margin`, `at_edge`: as in `Peak`; `speech_s`, `coverage`: as in `Measurement`."""

Trials = NDArray[np.void]


class Footage(NamedTuple):
    """A tracked clip. Times are media time, ns."""

    start_ns: NDArray[np.int64]
    """(T,) when each picture appears, rising."""
    end_ns: int
    """When the last one goes."""
    rois: NDArray[np.uint8]
    """(T, 96, 96, 3) RGB, the mouth."""
    landmarks: Floats
    """(T, 468, 2), pixels of the full picture; NaN where no face was found."""
    pcm: NDArray[np.float32]
    """(n,) mono, 16 kHz."""
    pcm_start_ns: int


class AlignedSound(NamedTuple):
    """Whole cells of sound, its clip's own offset taken out."""

    pcm: Floats
    features: SoundFeatures

    @property
    def first(self) -> int:
        return self.features.first_cell

    @property
    def cells(self) -> int:
        return len(self.pcm) // CELL_SAMPLES


class Lips(NamedTuple):
    """A clip's pictures as one backend sees them, and for each cell from `first` on whether a face is seen."""

    features: PictureFeatures
    end_ns: int
    seen: NDArray[np.bool_]
    first: int


class CellSpan(NamedTuple):
    """A segment of cells."""

    start: int
    cells: int


class LipEmbeddings:
    """A clip's pictures as one backend embeds them, window by window, each only once."""

    def __init__(self, backend: Backend, lips: Lips, mode: Mode) -> None:
        self.lips = lips
        self._backend, self._mode = backend, mode
        self._known: dict[CellSpan, tuple[LipObservation, Floats | None]] = {}

    def of(self, window: CellSpan) -> tuple[LipObservation, Floats | None]:
        """The window, and its embedding (n, D): None where it cannot be judged."""
        if window not in self._known:
            pictures, end_ns = _shown(self.lips, window, self._backend.bias_ms, self._mode)
            found = observe_lips(pictures, window.start, window.cells, end_ns=end_ns)
            embed = self._backend.embed_lips
            lips = embed(found.values, found.known, found.window) if found.why is None else None
            self._known[window] = found, lips
        return self._known[window]


class SoundEmbeddings:
    """A sound as one backend embeds it, segment by segment, each only once, whatever it is compared to."""

    def __init__(self, backend: Backend, sound: AlignedSound, mode: Mode) -> None:
        self.sound = sound
        self._backend, self._mode = backend, mode
        self._known: dict[tuple[int, int], tuple[SoundObservation, Floats | None]] = {}

    def of(self, at: int, cells: int) -> tuple[SoundObservation, Floats | None]:
        """The segment from cell `at` of the sound on, and its embedding (m, D): None where it cannot be judged."""
        if (at, cells) not in self._known:
            known = self.sound.features if self._mode == "stream" else isolated(self.sound, at, cells)
            found = observe_sound(known, self.sound.first + at, cells, OFFSETS_MS, silence_dbfs=SILENCE_DBFS)
            sound = self._backend.embed_sound(found.mel, found.near) if found.why is None else None
            self._known[at, cells] = found, sound
        return self._known[at, cells]


def sound_of(pcm: NDArray[np.float32], pcm_start_ns: int, truth_ms: float = 0.0) -> AlignedSound:
    """The sound from its first whole cell on, moved by `truth_ms` so that its clip is in sync."""
    start_ns = pcm_start_ns + round(truth_ms * 1e6)
    first = -((-start_ns) // CELL_NS)
    cut = round((first * CELL_NS - start_ns) * SAMPLE_RATE_HZ / 1e9)
    whole = as_mono_float(pcm)[cut:]
    whole = whole[: len(whole) // CELL_SAMPLES * CELL_SAMPLES]
    return AlignedSound(whole, sound_features(first, whole))


def lips_of(footage: Footage, backend: Backend) -> Lips:
    """The pictures as the backend sees them (its bias moves them); `seen` is the tracker's and knows no bias."""
    features = picture_features(backend, footage.start_ns, footage.rois, footage.landmarks)
    return Lips(features, footage.end_ns + round(backend.bias_ms * 1e6), _seen_cells(footage), _span(footage)[0])


def _span(footage: Footage) -> tuple[int, int]:
    """The cells under the pictures: the first whole one, and the one after the last whole one."""
    return -(-int(footage.start_ns[0]) // CELL_NS), footage.end_ns // CELL_NS


def _seen_cells(footage: Footage) -> NDArray[np.bool_]:
    """(N,) for the cells of `_span`: whether the tracker had a face."""
    known = np.where(np.isnan(footage.landmarks[:, :1, 0]), np.nan, 1.0).astype(np.float32)
    first, last = _span(footage)
    return on_grid(footage.start_ns, known, first, last - first, end_ns=footage.end_ns)[1]


def speech_cells(sound: AlignedSound) -> NDArray[np.bool_]:
    """(M,) whether each cell of sound is speech, by its level over the 40 ms around its centre."""
    power = np.square(sound.pcm, dtype=np.float64).reshape(-1, CELL_SAMPLES // 2).mean(axis=1)
    if len(power) == 0:
        return np.zeros(0, np.bool_)
    halves = np.concatenate([power[:1], power, power[-1:]])
    level = 10 * np.log10(np.lib.stride_tricks.sliding_window_view(halves, 4)[::2].mean(axis=1) + 1e-12)
    loud = np.percentile(level, SPEECH_PERCENTILE)
    return np.asarray((level >= loud - SPEECH_RANGE_DB) & (level > SPEECH_FLOOR_DBFS))


def counted_windows(footage: Footage, sound: AlignedSound, window_ms: int) -> list[CellSpan]:
    """The windows that count: half of their frames are speech (in sync), and nearly all show a face."""
    first, last = _span(footage)
    seen, speech = _seen_cells(footage), speech_cells(sound)
    at = np.arange(first, last) - sound.first
    spoken = np.zeros(len(at), np.bool_)
    inside = (at >= 0) & (at < len(speech))
    spoken[inside] = speech[at[inside]]
    cells = window_ms // CELL_MS
    return [
        CellSpan(first + start, cells)
        for start in range(0, last - first - cells + 1, EVERY_MS // CELL_MS)
        if spoken[start : start + cells].mean() >= SPEECH_SHARE and seen[start : start + cells].mean() >= FACE_SHARE
    ]


def trials_of(
    backend: Backend,
    lips: Lips,
    sound: AlignedSound,
    windows: Sequence[CellSpan],
    *,
    mode: Mode,
    kind: Kind = "known",
    clip: int = 0,
) -> Trials:
    """The answers for all windows and delays of a clip, at both lag steps."""
    return answers_to(
        LipEmbeddings(backend, lips, mode), SoundEmbeddings(backend, sound, mode), windows, kind=kind, clip=clip
    )


def answers_to(
    lip_side: LipEmbeddings,
    sound_side: SoundEmbeddings,
    windows: Sequence[CellSpan],
    *,
    kind: Kind = "known",
    clip: int = 0,
) -> Trials:
    """`trials_of` with what was embedded before.

    `sound_side`: of the clip's own sound, or another's for the kind "other": then only trials whose sound is speech are
    asked.
    """
    delays = {"known": DELAYS_MS, "other": (0,), "beyond": (-SEARCH_MS - BEYOND_MS, SEARCH_MS + BEYOND_MS)}[kind]
    reach = SEARCH_MS // CELL_MS
    lips, sound = lip_side.lips, sound_side.sound
    speech = speech_cells(sound) if kind == "other" else None
    rows: list[tuple[object, ...]] = []
    for window in windows:
        end = window.start + window.cells
        tracked = bool(lips.seen[window.start - lips.first : end - lips.first].mean() >= FACE_SHARE)
        for delay_ms in delays:
            at = window.start - sound.first - delay_ms // CELL_MS
            if at - reach < 0 or at + window.cells + reach > sound.cells:
                continue
            if speech is not None and speech[at : at + window.cells].mean() < SPEECH_SHARE:
                continue
            rho, speech_s, coverage = _measured(lip_side, sound_side, window, at)
            wanted_ms = -float(delay_ms) if kind == "known" else None
            head = (clip, KINDS.index(kind), window.cells * CELL_MS, window.start * CELL_MS, delay_ms)
            for step_ms in STEPS_MS:
                every = step_ms // min(STEPS_MS)
                lags = slice(len(OFFSETS_MS) // 2 % every, None, every)
                answer, refined_ms = _answer(OFFSETS_MS[lags], rho[lags], wanted_ms)
                rows.append((*head, step_ms, tracked, *answer, speech_s, coverage, refined_ms))
    return np.array(rows, TRIAL)


def _measured(
    lip_side: LipEmbeddings, sound_side: SoundEmbeddings, window: CellSpan, at: int
) -> tuple[NDArray[np.float64], float, float]:
    """What `measure` says of a window with the sound from cell `at` on: its lag scores, seconds of speech, coverage."""
    (lips, lip_rows), (sound, sound_rows) = lip_side.of(window), sound_side.of(at, window.cells)
    if lip_rows is None or sound_rows is None:
        return np.full(len(OFFSETS_MS), np.nan), 0.0, 0.0
    found = compare(lips, lip_rows, sound, sound_rows, OFFSETS_MS)
    assert found.scores is not None
    return found.scores.rho, found.speech_s, found.coverage


def _shown(lips: Lips, window: CellSpan, bias_ms: float, mode: Mode) -> tuple[PictureFeatures, int]:
    """The pictures that a trial is given, and when the last of them ends. Isolated: those that begin in the window."""
    if mode == "stream":
        return lips.features, lips.end_ns
    bias_ns = round(bias_ms * 1e6)
    starts = lips.features.start_ns
    bounds = (window.start * CELL_NS + bias_ns, (window.start + window.cells) * CELL_NS + bias_ns)
    first, last = (int(at) for at in np.searchsorted(starts, bounds))
    return lips.features.part(first, last), int(starts[last]) if last < len(starts) else lips.end_ns


def isolated(sound: AlignedSound, at: int, cells: int) -> SoundFeatures:
    """The sound of some cells and 300 ms to either side, as if there were no other: equal to the cut samples' features.

    Only the outermost mel frames look beyond a cut, so only they are computed again.
    """
    around = ISOLATED_SOUND_MS // CELL_MS
    low, high = max(0, at - around), min(sound.cells, at + cells + around)
    part = sound.features.between(sound.first + low, sound.first + high)
    pcm = sound.pcm[low * CELL_SAMPLES : high * CELL_SAMPLES]
    mel = part.mel.copy()
    mel[0] = log_mel(pcm[:WINDOW_SAMPLES])[0]
    hops = -(-WINDOW_SAMPLES // HOP_SAMPLES)
    mel[-1] = log_mel(pcm[-hops * HOP_SAMPLES :])[-1]
    return part._replace(mel=mel)


def _answer(
    offsets_ms: NDArray[np.float64], rho: NDArray[np.float64], wanted_ms: float | None
) -> tuple[tuple[float, float, float, float, bool], float]:
    """The columns `found_ms` to `at_edge`, and `refined_ms`."""
    peak = best_lag(offsets_ms, rho)
    if peak is None:
        return (np.nan, np.inf, 0.0, 0.0, False), np.nan
    error_ms = np.inf if wanted_ms is None else peak.offset_ms - wanted_ms
    return (peak.offset_ms, error_ms, peak.best, peak.margin, peak.at_edge), between_lags(offsets_ms, rho, peak)
