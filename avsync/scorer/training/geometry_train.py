"""The weights of the geometry ensemble, from nothing but espeak-ng and this repository.

Each member has speech and channels in common with the others, but mouths, batches and first weights of its own. What
a member has learned is kept in the work folder, so that a training that was stopped goes on with the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_networks import arrays_of
from avsync.scorer.nets.weight_files import Arrays
from avsync.scorer.training.examples import (
    Sampler,
    TrainingClip,
    TrainingVoice,
    make_clip,
    make_voice,
    substream,
    usual_spread,
)
from avsync.scorer.training.fit import Pair, Recipe, fit, merged
from avsync.scorer.training.progress import Progress

CLIPS: Final = 1200
"""Utterances in the pool, 2.8 h of them."""


@dataclass(frozen=True, slots=True)
class GeometryRecipe:
    """How to train the ensemble. Small and soon done on purpose: what transfers to real faces is learned in the first
    200 to 400 steps; members twice as wide, and steps beyond that, learn what is true of synthetic speech alone."""

    pair: Recipe = field(default_factory=lambda: Recipe(steps=400, keep=0.99))
    members: int = 4
    hidden: int = 32
    embedding: int = 16


def voice_pool(count: int, seed: int, *, progress: Progress = lambda what, done, of: None) -> list[TrainingVoice]:
    """The sound of `count` clips; the same for the same seed and espeak-ng, made first thing in a fresh process."""
    pool: list[TrainingVoice] = []
    recent: list[Floats] = []
    for index in range(count):
        voice = make_voice(seed, index, recent)
        recent = [*recent[-40:], voice.spoken.pcm]
        pool.append(voice)
        progress("speech", index + 1, count)
    return pool


def train_geometry(
    voices: Sequence[TrainingVoice],
    recipe: GeometryRecipe,
    seed: int,
    *,
    device: str = "cpu",
    work: Path | None = None,
    progress: Progress = lambda what, done, of: None,
    on_step: Callable[[int, int, float, Pair, Floats], None] | None = None,
) -> tuple[list[Pair], Floats]:
    """The members of the ensemble, trained on the sound of `voices`, and the usual spread of their lip values.

    `work`: a folder that keeps finished members, each under the recipe, seed and size of pool that made it.
    `on_step(member, step, loss, so far, usual spread)` is called every 50 steps.
    """
    members: list[Pair] = []
    spread = usual_spread(_clips(voices[:400], seed, 0))
    for index in range(recipe.members):
        kept = None if work is None else work / f"geometry-{_made_by(recipe, seed, len(voices))}-{index}.pt"
        pair = _fresh(recipe, 1000 * seed + index)
        if kept is not None and kept.exists():
            pair.load_state_dict(torch.load(kept, weights_only=True))
        else:
            pair = _member(index, pair, voices, spread, recipe, seed, device, progress, on_step)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save(pair.state_dict(), kept)
        members.append(pair.cpu().eval())
    return members, spread


def _made_by(recipe: GeometryRecipe, seed: int, clips: int) -> str:
    """A short name for all that a member's training depends on: another recipe never goes on with this one's."""
    return hashlib.sha256(repr((replace(recipe, members=0), seed, clips)).encode()).hexdigest()[:12]


def _fresh(recipe: GeometryRecipe, seed: int) -> Pair:
    torch.manual_seed(seed)
    lips = LipNet(2 * len(GEOMETRY_NAMES), 1, recipe.hidden, recipe.embedding)
    return Pair(lips, SoundNet(1, recipe.hidden, recipe.embedding))


def _member(
    index: int,
    pair: Pair,
    voices: Sequence[TrainingVoice],
    spread: Floats,
    recipe: GeometryRecipe,
    seed: int,
    device: str,
    progress: Progress,
    on_step: Callable[[int, int, float, Pair, Floats], None] | None,
) -> Pair:
    own = 1000 * seed + index
    clips = _clips(voices, seed, index)

    def tell(step: int, loss: float, mean: Pair) -> None:
        progress(f"member {index + 1} of {recipe.members}", step, recipe.pair.steps)
        if on_step is not None:
            on_step(index, step, loss, mean, spread)

    return fit(pair, Sampler(clips, spread, own).batch, recipe.pair, seed=own, device=device, every=50, on_step=tell)


def _clips(voices: Sequence[TrainingVoice], seed: int, member: int) -> list[TrainingClip]:
    return [make_clip(each, substream(seed, index, f"mouth {member}")) for index, each in enumerate(voices)]


def geometry_weights(members: Sequence[Pair], spread: Floats, recipe: GeometryRecipe) -> tuple[Arrays, dict[str, Any]]:
    """The members side by side as one file of weights: its arrays and header (`save_weights`)."""
    lips, sound = merged(members)
    header = {
        "net": "geometry",
        "members": len(members),
        "hidden": recipe.hidden,
        "embedding": recipe.embedding,
        "features": list(GEOMETRY_NAMES),
    }
    return arrays_of(lips, sound, None, np.asarray(spread, np.float32)), header
