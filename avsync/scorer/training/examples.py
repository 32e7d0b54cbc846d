"""Training examples: a pool of synthetic clips, and batches of windows drawn from it.

A *clip* is one utterance through a channel, and the lip values of a mouth that says it, both on the scorer's grid of
cells, exactly as real clips come to the networks: the same log-mel, the same grid, the same running normalisation over
whatever context happens to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsync.scorer.backends import normal_lips, normal_mel, with_context
from avsync.scorer.features import CELLS_PER_S, MEL_PER_CELL, Floats, log_mel
from avsync.scorer.grid import on_grid
from avsync.scorer.networks import CONTEXT_CELLS
from avsync.scorer.training.channel import through_channel
from avsync.scorer.training.mouths import mouth_track
from avsync.scorer.training.seen import seen_geometry
from avsync.scorer.training.speech import Utterance, utterance

LAG_CELLS: Final = 15
"""Training looks 300 ms to either side, so that the 200 ms of the search have something beyond them."""
WINDOW_CELLS: Final = (20, 110)
PAST_CELLS: Final = 300
AHEAD_CELLS: Final = 6
SPOKEN_SHARE: Final = 0.5
SPOKEN_DB: Final = 25.0


@dataclass(frozen=True, slots=True)
class Clip:
    """cells: float32 (N, F), seen: bool (N,), mel: float16 (2 N, 40), spoken: bool (N,)."""

    cells: Floats
    seen: NDArray[np.bool_]
    mel: NDArray[np.float16]
    spoken: NDArray[np.bool_]


class Batch(NamedTuple):
    """lips: (B, 2 F, n + 14); mel: (B, 40, 2 (n + 2 LAG_CELLS + 14)); n cells each."""

    lips: Tensor
    mel: Tensor
    n: int


def make_clip(spoken: Utterance, random: np.random.Generator, others: Sequence[Floats] = ()) -> Clip:
    """One utterance by one mouth through one channel."""
    track = mouth_track(spoken.phonemes, spoken.duration_s, random, level_db=spoken.level_db)
    times_ns, values = seen_geometry(track, random)
    mel = log_mel(through_channel(spoken.pcm, random, others))
    count = min(len(mel) // MEL_PER_CELL, int(len(track.values) / 100 * CELLS_PER_S))
    cells, seen = on_grid(times_ns, values, 0, count)
    loud = spoken.level_db > np.percentile(spoken.level_db, 95) - SPOKEN_DB
    heard = np.resize(loud[::MEL_PER_CELL], count) if len(loud) else np.zeros(count, np.bool_)
    return Clip(cells, seen, mel[: count * MEL_PER_CELL].astype(np.float16), heard)


def make_pool(
    count: int, seed: int, *, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Clip], Floats]:
    """`count` clips, the same for the same seed, and the usual spread (F,) of their lip values."""
    random = np.random.default_rng([seed, 0x5EED])
    clips: list[Clip] = []
    recent: list[Floats] = []
    while len(clips) < count:
        spoken = utterance(random)
        clips.append(make_clip(spoken, random, recent))
        recent = [*recent[-40:], spoken.pcm]
        if progress is not None:
            progress(len(clips), count)
    spread = np.median([clip.cells[clip.seen].std(axis=0) for clip in clips], axis=0)
    return clips, spread.astype(np.float32)


class Sampler:
    """Draws batches from a pool; the same seed gives the same batches."""

    def __init__(self, clips: Sequence[Clip], usual_spread: Floats, seed: int, *, augment: bool = True) -> None:
        self._clips, self._spread, self._augment = clips, usual_spread, augment
        self._random = np.random.default_rng([seed, 0xBA7C])
        self._torch = torch.Generator().manual_seed(seed)

    def batch(self, size: int) -> Batch:
        n = int(self._random.integers(*WINDOW_CELLS))
        lips, mel = zip(*(self._window(n) for _ in range(size)), strict=True)
        drawn = Batch(
            torch.from_numpy(np.stack([each.T for each in lips])), torch.from_numpy(np.stack([m.T for m in mel])), n
        )
        return self._disturbed(drawn) if self._augment else drawn

    def _window(self, n: int) -> tuple[Floats, Floats]:
        """A window with at least half of it spoken, and what is known around it: much, or nothing."""
        random = self._random
        for _ in range(50):
            clip = self._clips[int(random.integers(len(self._clips)))]
            room = len(clip.cells) - n
            if room <= 0:
                continue
            start = int(random.integers(0, room + 1))
            if clip.spoken[start : start + n].mean() >= SPOKEN_SHARE:
                break
        alone = random.random() < 0.25
        past = 0 if alone else int(random.integers(0, PAST_CELLS + 1))
        ahead = 0 if alone else AHEAD_CELLS
        return _inputs(clip, start, n, past, ahead, self._spread)

    def _disturbed(self, batch: Batch) -> Batch:
        """Small errors of measure: gains and noise of values, colour and holes of the spectrum."""
        make = self._torch

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=make)

        size, width, _ = batch.lips.shape
        gain = 1.0 + 0.15 * noise(size, width // 2, 1).repeat(1, 2, 1)
        lips = batch.lips * gain + 0.05 * noise(*batch.lips.shape)
        mel = batch.mel + 0.25 * noise(size, batch.mel.shape[1], 1) + 0.10 * noise(*batch.mel.shape)
        for item in range(size):
            if self._random.random() < 0.3:
                band = int(self._random.integers(0, batch.mel.shape[1] - 6))
                mel[item, band : band + 6] = 0.0
        return Batch(lips, mel, batch.n)


def _inputs(clip: Clip, start: int, n: int, past: int, ahead: int, spread: Floats) -> tuple[Floats, Floats]:
    first, last = max(0, start - past), min(len(clip.cells), start + n + ahead)
    lips = normal_lips(clip.cells[first:last], clip.seen[first:last], spread)
    heard_first, heard_last = max(0, first - LAG_CELLS), min(len(clip.cells), last + LAG_CELLS)
    mel = normal_mel(clip.mel[heard_first * MEL_PER_CELL : heard_last * MEL_PER_CELL].astype(np.float32))
    window = slice(start - first, start - first + n)
    heard = slice(start - LAG_CELLS - heard_first, start + n + LAG_CELLS - heard_first)
    return (
        with_context(lips, window, CONTEXT_CELLS).astype(np.float32),
        with_context(mel, heard, CONTEXT_CELLS, MEL_PER_CELL),
    )
