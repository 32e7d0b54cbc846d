"""Training examples: a pool of synthetic clips, and batches of windows drawn from it.

A *clip* is one utterance through a channel, and the lip values of a mouth that says it, both on the scorer's grid of
cells, exactly as real clips come to the networks: the same log-mel, the same grid, the same running normalisation over
whatever context happens to be known.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsync.scorer.features.cells import CELLS_PER_S, MEL_PER_CELL, Floats
from avsync.scorer.features.grid import on_grid
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.features.normalising import normal_lips, normal_mel, with_context
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.synthetic.mouths import TRACK_HZ, mouth_track
from avsync.scorer.synthetic.speech import Utterance, utterance
from avsync.scorer.training.channel import through_channel
from avsync.scorer.training.tracker_errors import tracked_geometry

LAG_CELLS: Final = 15
"""Training looks 300 ms to either side, so that the 200 ms of the search have something beyond them."""
WINDOW_CELLS: Final = (60, 111)
PAST_CELLS: Final = 300
AHEAD_CELLS: Final = 6
SPOKEN_SHARE: Final = 0.5
SPOKEN_DB: Final = 25.0


@dataclass(frozen=True, slots=True)
class TrainingClip:
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


class TrainingVoice(NamedTuple):
    """The sound of a clip: an utterance through a channel. mel: float16 (2 N, 40)."""

    spoken: Utterance
    mel: NDArray[np.float16]


def make_voice(seed: int, index: int, others: Sequence[Floats] = ()) -> TrainingVoice:
    """The sound of clip `index` of the pool `seed`: one utterance through one channel."""
    spoken = utterance(substream(seed, index, "speech"))
    pcm = through_channel(spoken.pcm, substream(seed, index, "channel"), others)
    return TrainingVoice(spoken, log_mel(pcm).astype(np.float16))


def make_clip(voice: TrainingVoice, random: np.random.Generator) -> TrainingClip:
    """A voice, said by some mouth and measured by some tracker."""
    spoken = voice.spoken
    track = mouth_track(spoken.phonemes, spoken.duration_s, random, level_db=spoken.level_db)
    times_ns, values = tracked_geometry(track, random)
    count = min(len(voice.mel) // MEL_PER_CELL, len(track.values) * CELLS_PER_S // TRACK_HZ)
    cells, seen = on_grid(times_ns, values, 0, count)
    loud = spoken.level_db > np.percentile(spoken.level_db, 95) - SPOKEN_DB
    return TrainingClip(cells, seen, voice.mel[: count * MEL_PER_CELL], np.resize(loud[::MEL_PER_CELL], count))


def usual_spread(clips: Sequence[TrainingClip]) -> Floats:
    """The middle of the clips' spreads of their lip values: (F,)."""
    return np.asarray(np.median([clip.cells[clip.seen].std(axis=0) for clip in clips], axis=0), np.float32)


def substream(seed: int, index: int, cause: str) -> np.random.Generator:
    """Chance has a name: one stream per clip and cause, so that another mouth leaves the speech as it was."""
    return np.random.default_rng([seed, index, zlib.crc32(cause.encode())])


class Sampler:
    """Draws batches from a pool; the same seed gives the same batches."""

    def __init__(
        self, clips: Sequence[TrainingClip], usual_spread: Floats, seed: int, *, strength: float = 1.0
    ) -> None:
        self._clips, self._spread, self._strength = clips, usual_spread, strength
        self._random = np.random.default_rng([seed, 0xBA7C])
        self._torch = torch.Generator().manual_seed(seed)

    def batch(self, size: int) -> Batch:
        n = int(self._random.integers(*WINDOW_CELLS))
        lips, mel = zip(*(self._window(n) for _ in range(size)), strict=True)
        drawn = Batch(
            torch.from_numpy(np.stack([each.T for each in lips])), torch.from_numpy(np.stack([m.T for m in mel])), n
        )
        return self._disturbed(drawn) if self._strength > 0 else drawn

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
        """What synthetic speech and mouths do not know of real ones, drawn at random: measures that are off, mouths
        that move for reasons of their own, voices of another tract, sounds that are louder or duller than expected."""
        make, strength = self._torch, self._strength
        size, width, length = batch.lips.shape
        half = width // 2

        def each(*shape: int) -> Tensor:
            return strength * torch.rand(size, *shape, generator=make)

        wander = smooth_noise((size, half, length), 1, 6, make) * each(half, 1) * 0.5
        together = smooth_noise((size, 1, length), 1, 6, make) * each(1, 1) * 0.5
        level = batch.lips[:, :half] * (1.0 + 0.15 * torch.randn(size, half, 1, generator=make))
        level = level + wander + together + 0.05 * torch.randn(size, half, length, generator=make)
        level = level * (torch.rand(size, half, 1, generator=make) > 0.15 * strength)
        lips = torch.cat([level, 2.0 * torch.gradient(level, dim=2)[0]], dim=1)
        mel = other_tract(batch.mel, 1.5 * strength, make)
        mel = mel + smooth_noise(tuple(mel.shape), 8, 10, make) * each(1, 1) * 0.5
        mel = mel + 0.25 * torch.randn(size, mel.shape[1], 1, generator=make)
        mel = mel + 0.10 * torch.randn(*mel.shape, generator=make)
        for item in range(size):
            if self._random.random() < 0.3:
                band, wide = int(self._random.integers(0, mel.shape[1] - 10)), int(self._random.integers(3, 11))
                mel[item, band : band + wide] = 0.0
        return Batch(lips, mel, batch.n)


def smooth_noise(shape: tuple[int, ...], per_row: int, per_column: int, make: torch.Generator) -> Tensor:
    """Noise of about unit spread over (B, rows, columns) that changes every so many rows and columns."""
    size, rows, columns = shape
    coarse = torch.randn(size, 1, -(-rows // per_row) + 1, -(-columns // per_column) + 1, generator=make)
    if per_row == 1:
        coarse = coarse[:, :, :rows]
    fine = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bilinear", align_corners=True)
    return fine[:, 0] * 1.3


def other_tract(mel: Tensor, most_bands: float, make: torch.Generator) -> Tensor:
    """mel (B, 40, T) as of a shorter or longer vocal tract: its bands moved by up to so many, and stretched."""
    size, bands, _ = mel.shape
    moved = most_bands * (2 * torch.rand(size, 1, generator=make) - 1)
    scale = 1.0 + 0.06 * most_bands * (2 * torch.rand(size, 1, generator=make) - 1)
    at = (torch.arange(bands) - bands / 2)[None] * scale + bands / 2 + moved
    at = at.clamp(0, bands - 1.001)
    below = at.floor().long()
    part = (at - below)[:, :, None]
    pick = torch.arange(size)[:, None]
    return mel[pick, below] * (1 - part) + mel[pick, below + 1] * part


def _inputs(clip: TrainingClip, start: int, n: int, past: int, ahead: int, spread: Floats) -> tuple[Floats, Floats]:
    first, last = max(0, start - past), min(len(clip.cells), start + n + ahead)
    lips = normal_lips(clip.cells[first:last], clip.seen[first:last], spread)
    sound_first, sound_last = max(0, first - LAG_CELLS), min(len(clip.cells), last + LAG_CELLS)
    mel = normal_mel(clip.mel[sound_first * MEL_PER_CELL : sound_last * MEL_PER_CELL].astype(np.float32))
    window = slice(start - first, start - first + n)
    sound = slice(start - LAG_CELLS - sound_first, start + n + LAG_CELLS - sound_first)
    return (
        with_context(lips, window, ENCODER_CELLS).astype(np.float32),
        with_context(mel, sound, ENCODER_CELLS, MEL_PER_CELL),
    )
