"""The protocol: what is asked of a backend about a clip whose offset is known, and what it answers.

A *trial* is one window of pictures with the sound put off by a known delay. The clip's own offset is taken out first
(its sound is moved by whole samples), so that the truth is minus the delay and the search is centred on the clip's own
offset. Delays move real sound; a trial whose search would reach beyond it is left out. Which windows count is decided
on the clean clip alone, before any backend has seen it: all backends and conditions meet the same ones.

The answers come from `stretch.measure`, as those of `LipSyncScorer` do; here only what is the same for several trials
is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends import Backend
from avsync.scorer.features import (
    CELL_MS,
    CELL_NS,
    CELL_SAMPLES,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    Floats,
    as_mono_float,
    log_mel,
)
from avsync.scorer.grid import on_grid
from avsync.scorer.lags import best_lag, search_offsets
from avsync.scorer.score.evidence import between_lags
from avsync.scorer.scorer import SILENCE_DBFS
from avsync.scorer.signal import Method
from avsync.scorer.stretch import Heard, Looked, hear, look, measure

WINDOWS_MS: Final = (500, 1000, 2000)
EVERY_MS: Final = 240
DELAYS_MS: Final = tuple(range(-160, 161, 40))
SEARCH_MS: Final = 200
STEPS_MS: Final = (40, 20)
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
"""Isolated: sound to either side of the window, and nothing else. (Stream: what `stretch.measure` declares.)"""

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
is no answer or no truth; `best`, `margin`, `at_edge`: as in `Peak`; `speech_s`, `coverage`: as in `Measured`."""

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


class Sound(NamedTuple):
    """Whole cells of sound, its clip's own offset taken out."""

    pcm: Floats
    heard: Heard

    @property
    def first(self) -> int:
        return self.heard.first_cell

    @property
    def cells(self) -> int:
        return len(self.pcm) // CELL_SAMPLES


class Lips(NamedTuple):
    """A clip's pictures as one backend sees them, and for each cell from `first` on whether a face is seen."""

    looked: Looked
    end_ns: int
    seen: NDArray[np.bool_]
    first: int


class Window(NamedTuple):
    """A stretch of cells."""

    start: int
    cells: int


class Remembering:
    """A backend that embeds the same stretch only once; `lips_key` and `sound_key` say which one comes next."""

    def __init__(self, backend: Backend) -> None:
        self.method: Method = backend.method
        self.zero_ms, self.wants = backend.zero_ms, backend.wants
        self.lips_key: tuple[int, ...] = ()
        self.sound_key: tuple[int, ...] = ()
        self._backend = backend
        self._lips: dict[tuple[int, ...], Floats] = {}
        self._sound: dict[tuple[int, ...], Floats] = {}

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        return self._backend.picture_values(rois, landmarks)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        if self.lips_key not in self._lips:
            self._lips = {self.lips_key: self._backend.embed_lips(cells, seen, window)}
        return self._lips[self.lips_key]

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        if self.sound_key not in self._sound:
            self._sound[self.sound_key] = self._backend.embed_sound(mel, window)
        return self._sound[self.sound_key]


def sound_of(pcm: NDArray[np.float32], pcm_start_ns: int, truth_ms: float = 0.0) -> Sound:
    """The sound from its first whole cell on, moved by `truth_ms` so that its clip is in sync."""
    start_ns = pcm_start_ns + round(truth_ms * 1e6)
    first = -((-start_ns) // CELL_NS)
    cut = round((first * CELL_NS - start_ns) * SAMPLE_RATE_HZ / 1e9)
    whole = as_mono_float(pcm)[cut:]
    whole = whole[: len(whole) // CELL_SAMPLES * CELL_SAMPLES]
    return Sound(whole, hear(first, whole))


def lips_of(footage: Footage, backend: Backend) -> Lips:
    """The pictures as the backend sees them (its zero moves them); `seen` is the tracker's and knows no zero."""
    looked = look(backend, footage.start_ns, footage.rois, footage.landmarks)
    return Lips(looked, footage.end_ns + round(backend.zero_ms * 1e6), _seen_cells(footage), _span(footage)[0])


def _span(footage: Footage) -> tuple[int, int]:
    """The cells under the pictures: the first whole one, and the one after the last whole one."""
    return -(-int(footage.start_ns[0]) // CELL_NS), footage.end_ns // CELL_NS


def _seen_cells(footage: Footage) -> NDArray[np.bool_]:
    """(N,) for the cells of `_span`: whether the tracker had a face."""
    known = np.where(np.isnan(footage.landmarks[:, :1, 0]), np.nan, 1.0).astype(np.float32)
    first, last = _span(footage)
    return on_grid(footage.start_ns, known, first, last - first, end_ns=footage.end_ns)[1]


def speech_cells(sound: Sound) -> NDArray[np.bool_]:
    """(M,) whether each cell of sound is speech, by its level over the 40 ms around its centre."""
    power = np.square(sound.pcm, dtype=np.float64).reshape(-1, CELL_SAMPLES // 2).mean(axis=1)
    if len(power) == 0:
        return np.zeros(0, np.bool_)
    halves = np.concatenate([power[:1], power, power[-1:]])
    level = 10 * np.log10(np.lib.stride_tricks.sliding_window_view(halves, 4)[::2].mean(axis=1) + 1e-12)
    loud = np.percentile(level, SPEECH_PERCENTILE)
    return np.asarray((level >= loud - SPEECH_RANGE_DB) & (level > SPEECH_FLOOR_DBFS))


def counted_windows(footage: Footage, sound: Sound, window_ms: int) -> list[Window]:
    """The windows that count: half of their frames are speech (in sync), and nearly all show a face."""
    first, last = _span(footage)
    seen, speech = _seen_cells(footage), speech_cells(sound)
    at = np.arange(first, last) - sound.first
    spoken = np.zeros(len(at), np.bool_)
    inside = (at >= 0) & (at < len(speech))
    spoken[inside] = speech[at[inside]]
    cells = window_ms // CELL_MS
    return [
        Window(first + start, cells)
        for start in range(0, last - first - cells + 1, EVERY_MS // CELL_MS)
        if spoken[start : start + cells].mean() >= SPEECH_SHARE and seen[start : start + cells].mean() >= FACE_SHARE
    ]


def trials_of(
    backend: Backend,
    lips: Lips,
    sound: Sound,
    windows: Sequence[Window],
    *,
    mode: Mode,
    kind: Kind = "known",
    clip: int = 0,
) -> Trials:
    """The answers for all windows and delays of a clip, at both lag steps.

    `sound`: the clip's own, or another's for the kind "other": then only trials whose sound is speech are asked.
    """
    delays = {"known": DELAYS_MS, "other": (0,), "beyond": (-SEARCH_MS - BEYOND_MS, SEARCH_MS + BEYOND_MS)}[kind]
    offsets_ms = search_offsets(SEARCH_MS, min(STEPS_MS))
    reach = SEARCH_MS // CELL_MS
    speech = speech_cells(sound) if kind == "other" else None
    once = Remembering(backend)
    rows: list[tuple[object, ...]] = []
    for window in windows:
        end = window.start + window.cells
        tracked = bool(lips.seen[window.start - lips.first : end - lips.first].mean() >= FACE_SHARE)
        looked, end_ns = _shown(lips, window, backend.zero_ms, mode)
        for delay_ms in delays:
            at = window.start - sound.first - delay_ms // CELL_MS
            if at - reach < 0 or at + window.cells + reach > sound.cells:
                continue
            if speech is not None and speech[at : at + window.cells].mean() < SPEECH_SHARE:
                continue
            heard = sound.heard if mode == "stream" else isolated(sound, at, window.cells)
            heard = heard._replace(first_cell=heard.first_cell + delay_ms // CELL_MS)
            once.lips_key, once.sound_key = (window.start, window.cells), (at, window.cells)
            found = measure(
                once, looked, heard, window.start, window.cells, offsets_ms, silence_dbfs=SILENCE_DBFS, end_ns=end_ns
            )
            rho = np.full(len(offsets_ms), np.nan) if found.scores is None else found.scores.rho
            wanted_ms = -float(delay_ms) if kind == "known" else None
            head = (clip, KINDS.index(kind), window.cells * CELL_MS, window.start * CELL_MS, delay_ms)
            for step_ms in STEPS_MS:
                every = step_ms // min(STEPS_MS)
                lags = slice(len(offsets_ms) // 2 % every, None, every)
                answer, refined_ms = _answer(offsets_ms[lags], rho[lags], wanted_ms)
                rows.append((*head, step_ms, tracked, *answer, found.speech_s, found.coverage, refined_ms))
    return np.array(rows, TRIAL)


def _shown(lips: Lips, window: Window, zero_ms: float, mode: Mode) -> tuple[Looked, int]:
    """The pictures that a trial is given, and when the last of them ends. Isolated: those that begin in the window."""
    if mode == "stream":
        return lips.looked, lips.end_ns
    zero_ns = round(zero_ms * 1e6)
    starts = lips.looked.start_ns
    bounds = (window.start * CELL_NS + zero_ns, (window.start + window.cells) * CELL_NS + zero_ns)
    first, last = (int(at) for at in np.searchsorted(starts, bounds))
    return lips.looked.part(first, last), int(starts[last]) if last < len(starts) else lips.end_ns


def isolated(sound: Sound, at: int, cells: int) -> Heard:
    """The sound of some cells and 300 ms to either side, as if there were no other: equal to `hear` of the cut samples.

    Only the outermost mel frames look beyond a cut, so only they are computed again.
    """
    around = ISOLATED_SOUND_MS // CELL_MS
    low, high = max(0, at - around), min(sound.cells, at + cells + around)
    part = sound.heard.between(sound.first + low, sound.first + high)
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
