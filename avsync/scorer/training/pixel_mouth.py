"""Learning to read a mouth off a picture: MouthNet against the renderer, picture by picture, without any sound.

The renderer knows the true shape of every mouth it draws, so the network is asked for it: jaw, lips, rounding, tongue.
Only how the shape *changes* among the pictures of one face counts, because what is steady about a face is taken off
later anyway. Many faces with few pictures each teach more than few with many. All members of an ensemble learn from
the same pictures, which cost more to draw than to learn from; each starts elsewhere and sees them disturbed otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import CHANNELS
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.synthetic.mouths import COLUMNS
from avsync.scorer.synthetic.renderer import render
from avsync.scorer.training.examples import substream
from avsync.scorer.training.fit import Recipe, rate_share

SHAPES: Final = (
    "jaw", "inner_open", "outer_height", "outer_width", "inner_width", "round", "upper_raise", "lower_drop", "press",
    "tuck", "tongue", "smile",
)  # fmt: skip
"""The columns of the tracks that are asked for."""
_AT: Final = [COLUMNS.index(name) for name in SHAPES]
AGAIN: Final = 60
"""Each batch of pictures is met once fresh, and about once more among the last so many, mirrored or shifted anew."""


@dataclass(frozen=True, slots=True)
class MouthRecipe:
    """How to train the pictures' networks."""

    steps: int = 200
    """Batches of fresh pictures. Longer learns the renderer better, but no real face better: ensembles of six on the
    development half 86.7 / 96.0 / 99.6 % after 200, 85.2 / 94.5 / 99.3 after 300; a single network after 300, 600 and
    1200 of 2400 planned 82.2 / 92.5 / 99.2, 83.5 / 92.3 / 98.3 and 80.2 / 89.6 / 96.2."""
    planned: int = 800
    """The learning rate falls as if so many steps were to come. Stopped early, at a high rate, the running mean of the
    weights did no worse on real faces of the development half than after a rate brought down to nothing."""
    faces: int = 48
    pictures: int = 6
    """Of each face."""
    rate: float = 3e-3
    decay: float = 2e-2
    keep: float = 0.99
    """Of the running mean of the weights, per update."""
    values: int = 32
    channels: tuple[int, ...] = CHANNELS


class Reader(nn.Module):
    """A MouthNet and what says its values in the renderer's words."""

    def __init__(self, recipe: MouthRecipe) -> None:
        super().__init__()
        self.mouth = MouthNet(1, recipe.values, recipe.channels, training_form=True)
        self.shape = nn.Linear(recipe.values, len(SHAPES))

    def forward(self, grey: Tensor) -> Tensor:
        """grey: (N, 48, 48), 0..255 -> (N, len(SHAPES))."""
        said: Tensor = self.shape(self.mouth.of_grey(grey))
        return said


OnStep = Callable[[int, list[float], list[Reader]], None]


def fit_mouths(
    tracks: Sequence[Floats],
    recipe: MouthRecipe,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    work: Path | None = None,
    every: int = 100,
    on_step: OnStep | None = None,
) -> list[MouthNet]:
    """One MouthNet per seed, in its training form, from tracks of mouths.

    tracks: float32 (n, columns) each, 100 rows a second. `work`: a file that keeps the state each `every` steps and
    from which the training goes on when it is there. `on_step(step, losses, means)` is called as often.
    """
    learners = [_Learner(recipe, seed, device) for seed in seeds]
    usual = torch.from_numpy(np.mean([track[:, _AT].std(axis=0) for track in tracks], axis=0) + 1e-3).float()
    recent: list[tuple[Tensor, Tensor]] = []
    first = _resume(work, learners, recipe)
    for step in range(first, recipe.steps):
        random = substream(seeds[0], step, "pictures")
        grey, shape = draw_pictures(tracks, recipe, random)
        wanted = ((shape - shape.mean(1, keepdim=True)) / usual).clamp(-4, 4)
        recent = [*recent[1 - AGAIN :], (grey, wanted)]
        for learner in learners:
            own = substream(learner.seed, step, "disturbed")
            learner.learn(grey, wanted, step, own, fresh=True)
            learner.learn(*recent[int(own.integers(len(recent)))], step, own, fresh=False)
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            _keep(work, learners, recipe, step + 1)
            if on_step is not None:
                on_step(step + 1, [learner.loss for learner in learners], [learner.mean for learner in learners])
    return [learner.mean.mouth.cpu() for learner in learners]


def draw_pictures(tracks: Sequence[Floats], recipe: MouthRecipe, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures at random times of random mouths: uint8 (faces, pictures, 48, 48), and their shapes (..., SHAPES)."""
    rows = []
    for _ in range(recipe.faces):
        track = tracks[int(random.integers(len(tracks)))]
        at = random.integers(0, len(track) - 3, recipe.pictures)
        rows.append(np.mean([track[at + late] for late in range(3)], axis=0))  # an exposure of 30 ms
    values = np.stack(rows).astype(np.float32)
    with torch.no_grad():
        pictures = render(values, random, strength=float(random.uniform(0.1, 1.0)))
    return (pictures * 255).round().to(torch.uint8), torch.from_numpy(values[:, :, _AT])


class _Learner:
    """One member while it is trained."""

    def __init__(self, recipe: MouthRecipe, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.reader = Reader(recipe).to(device).train()
        self.mean = copy.deepcopy(self.reader).eval()
        self.loss = 0.0
        self._weights = list(self.reader.parameters())
        self.optimiser = torch.optim.AdamW(self._weights, lr=recipe.rate, weight_decay=recipe.decay)

    def learn(self, grey: Tensor, wanted: Tensor, step: int, random: np.random.Generator, *, fresh: bool) -> None:
        """One update from pictures (faces, pictures, 48, 48) and their shapes' changes (faces, pictures, SHAPES)."""
        pace = Recipe(steps=self.recipe.planned)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * rate_share(step, pace)
        torch.manual_seed(int(random.integers(1 << 31)))
        x = grey.to(self.device).float().flatten(0, 1)
        if random.random() < 0.5:
            x = x.flip(-1)
        if not fresh:
            shift = tuple(int(each) for each in random.integers(-1, 2, 2))
            x = x.roll(shift, (-2, -1)) * float(np.exp(random.normal(0.0, 0.1)))
            x = x + float(random.uniform(0.0, 3.0)) * torch.randn_like(x)
        said = self.reader(x).unflatten(0, grey.shape[:2])
        said = said - said.mean(1, keepdim=True)
        loss = nn.functional.smooth_l1_loss(said, wanted.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        self.optimiser.step()
        self._follow(min(self.recipe.keep, (1 + 2 * step) / (10 + 2 * step)))
        if fresh:
            self.loss += (float(loss.detach()) - self.loss) * max(0.03, 1 / (step + 1))

    def _follow(self, keep: float) -> None:
        """The running mean of the weights, and of the normalisation's statistics."""
        with torch.no_grad():
            for kept, now in zip(self.mean.state_dict().values(), self.reader.state_dict().values(), strict=True):
                if kept.dtype.is_floating_point:
                    kept.lerp_(now, 1 - keep)

    def state(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "reader": self.reader.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "loss": self.loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.reader.load_state_dict(state["reader"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.loss = state["loss"]


def _keep(work: Path | None, learners: Sequence[_Learner], recipe: MouthRecipe, step: int) -> None:
    if work is None:
        return
    unfinished = work.with_suffix(work.suffix + ".new")
    torch.save({"recipe": repr(recipe), "step": step, "learners": [each.state() for each in learners]}, unfinished)
    unfinished.replace(work)


def _resume(work: Path | None, learners: Sequence[_Learner], recipe: MouthRecipe) -> int:
    """The step to go on with: 0, unless `work` holds the state of this very training."""
    if work is None or not work.exists():
        return 0
    state = torch.load(work, weights_only=True)
    seeds = [each["seed"] for each in state["learners"]]
    if state["recipe"] != repr(recipe) or seeds != [learner.seed for learner in learners]:
        return 0
    for learner, each in zip(learners, state["learners"], strict=True):
        learner.restore(each)
    return int(state["step"])
