"""The weights of the pixels' ensemble, from nothing but espeak-ng and this repository.

Three steps: the networks that read mouths off pictures learn it from the renderer (pixel_mouth.py); the pool's clips
are filmed and read by each of them (pixel_clips.py); lips and sound of each member learn to agree (fit.py). What they
say side by side is one file of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import EMBEDDING, HIDDEN
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_mouth_network import MouthNet, packed
from avsync.scorer.nets.torch_networks import arrays_of
from avsync.scorer.nets.weight_files import Arrays
from avsync.scorer.training.examples import Sampler, TrainingClip, TrainingVoice, usual_spread
from avsync.scorer.training.fit import Pair, Recipe, fit
from avsync.scorer.training.pixel_clips import clips_of, film_pool, tracks_of
from avsync.scorer.training.pixel_mouth import MouthRecipe, fit_mouths
from avsync.scorer.training.progress import Progress

MEMBERS = 4
"""Beside geometry it hardly matters how many there are: two give 88.3 / 96.0 / 99.6, six 88.9 / 96.1 / 99.6."""
SPEAKERS = 2
"""Mouths an utterance of the pool is said by while the pictures' networks learn."""


@dataclass(frozen=True, slots=True)
class PixelRecipe:
    """How to train the ensemble."""

    mouth: MouthRecipe = field(default_factory=MouthRecipe)
    pair: Recipe = field(default_factory=lambda: Recipe(steps=200, keep=0.99))
    members: int = MEMBERS
    hidden: int = HIDDEN
    embedding: int = EMBEDDING


@dataclass(frozen=True, slots=True)
class Member:
    """One trained network of each kind."""

    mouth: MouthNet
    pair: Pair
    usual_spread: Floats


def train_pixels(
    voices: Sequence[TrainingVoice],
    recipe: PixelRecipe,
    seed: int,
    *,
    device: str = "cpu",
    work: Path | None = None,
    progress: Progress = lambda what, done, of: None,
    on_step: Callable[[int, int, float, Member], None] | None = None,
) -> list[Member]:
    """The members of the ensemble, trained on the sound of `voices`.

    `work`: a folder that keeps what is done, so that a training that was stopped goes on. `on_step(member, step, loss,
    so far)` is called now and then while lips and sound learn to agree.
    """
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    seeds = [1000 * seed + member for member in range(recipe.members)]
    mouths = fit_mouths(
        tracks_of(voices, seed, SPEAKERS),
        recipe.mouth,
        seeds,
        device=device,
        work=None if work is None else work / "mouths.pt",
        every=25,
        on_step=lambda step, losses, means: progress("mouths", step, recipe.mouth.steps),
    )
    films = film_pool(voices, tracks_of(voices, seed + 1), seed, progress=lambda done, of: progress("films", done, of))
    members = []
    for index, (mouth, own) in enumerate(zip(mouths, seeds, strict=True)):
        clips = clips_of(mouth, films, device=device)
        members.append(_agree(index, own, mouth, clips, recipe, device, progress, on_step))
    return members


def _agree(
    index: int,
    seed: int,
    mouth: MouthNet,
    clips: Sequence[TrainingClip],
    recipe: PixelRecipe,
    device: str,
    progress: Progress,
    on_step: Callable[[int, int, float, Member], None] | None,
) -> Member:
    """Lips and sound of one member."""
    spread = usual_spread(clips)
    torch.manual_seed(seed)
    lips = LipNet(2 * len(spread), 1, recipe.hidden, recipe.embedding)
    pair = Pair(lips, SoundNet(1, recipe.hidden, recipe.embedding))

    def tell(step: int, loss: float, mean: Pair) -> None:
        progress(f"lips and sound {index + 1}", step, recipe.pair.steps)
        if on_step is not None:
            on_step(index, step, loss, Member(mouth, mean, spread))

    mean = fit(pair, Sampler(clips, spread, seed).batch, recipe.pair, seed=seed, device=device, every=50, on_step=tell)
    return Member(mouth.cpu(), mean.cpu().eval(), spread)


def pixel_weights(members: Sequence[Member]) -> tuple[Arrays, dict[str, Any]]:
    """The members side by side as one file of weights: its arrays and header (`save_weights`)."""
    mouth = packed([member.mouth for member in members])
    first = members[0]
    lips, sound = first.pair.lips, first.pair.sound
    assert isinstance(lips, LipNet) and isinstance(sound, SoundNet)
    hidden, embedding = _width(sound.layers)
    spread = np.concatenate([member.usual_spread for member in members])
    together = LipNet(2 * len(spread), len(members), hidden, embedding)
    _lay(together.layers, [member.pair.lips.get_submodule("layers") for member in members], own_inputs=True)
    sounds = SoundNet(len(members), hidden, embedding)
    _lay(sounds.layers, [member.pair.sound.get_submodule("layers") for member in members], own_inputs=False)
    header = {
        "net": "pixels",
        "members": len(members),
        "hidden": hidden,
        "embedding": embedding,
        "mouth": {"members": len(members), "values": mouth.values, "channels": list(mouth.channels)},
    }
    return arrays_of(together, sounds, mouth, spread), header


def _convolutions(layers: nn.Module) -> list[nn.Conv1d]:
    return [layer for layer in layers.children() if isinstance(layer, nn.Conv1d)]


def _width(layers: nn.Module) -> tuple[int, int]:
    found = _convolutions(layers)
    return found[0].out_channels, found[-1].out_channels


def _lay(together: nn.Module, apart: Sequence[nn.Module], *, own_inputs: bool) -> None:
    """Copy the convolutions of the members into the groups of one. `own_inputs`: each member of a LipNet sees only its
    own values, so that the first layer, which is not cut into groups, is zero elsewhere."""
    members = [_convolutions(each) for each in apart]
    with torch.no_grad():
        for index, target in enumerate(_convolutions(together)):
            weights = [member[index].weight for member in members]
            if index == 0 and own_inputs:
                weights = [_placed(weight, at, len(members)) for at, weight in enumerate(weights)]
            target.weight.copy_(torch.cat(weights))
            assert target.bias is not None
            biases = [member[index].bias for member in members]
            target.bias.copy_(torch.cat([bias for bias in biases if bias is not None]))


def _placed(weight: Tensor, member: int, members: int) -> Tensor:
    """A first layer (hidden, 2 V, 5) among the levels and slopes of all members' values: (hidden, 2 members V, 5)."""
    hidden, both, size = weight.shape
    values = both // 2
    wide = torch.zeros(hidden, 2, members, values, size)
    wide[:, :, member] = weight.reshape(hidden, 2, values, size)
    return wide.reshape(hidden, 2 * members * values, size)
