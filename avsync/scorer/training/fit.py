"""The training loop: embeddings of lips and sound that agree at the true lag and nowhere else.

The loss is a softmax over what a window of lips may belong to: its own sound at each lag within 300 ms (the true one
and its neighbours share the target), the sound of other clips, or *neither*, a threshold that is learned along. Lips
whose own sound is missing must choose neither. What is kept is a running mean of the weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.training.examples import LAG_CELLS, Batch

TARGET_SPREAD_CELLS: Final = 0.8
SHORTEST_CELLS: Final = 20
FOREIGN: Final = 3
"""Other clips of the batch whose sound every window is compared with."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train one member."""

    steps: int = 3000
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-2
    warm_share: float = 0.1
    keep: float = 0.998
    """Of the running mean of the weights, per step."""
    segments: int = 3
    """Windows of several lengths that are cut from each sequence: the embeddings are computed once."""
    foreign_weight: float = 0.3
    """Share of the loss in which sound of other clips and 'neither' stand among the choices."""


class Pair(nn.Module):
    """The two networks that are trained together, the sharpness of their agreement, and the threshold of 'neither'."""

    def __init__(self, lips: nn.Module, sound: nn.Module) -> None:
        super().__init__()
        self.lips, self.sound = lips, sound
        self.sharpness = nn.Parameter(torch.tensor(2.5))
        self.neither = nn.Parameter(torch.tensor(0.3))

    def forward(self, lips: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        return self.lips(lips), self.sound(mel)


def merged(pairs: Sequence[Pair]) -> tuple[LipNet, SoundNet]:
    """Members trained one by one as the groups of one network each for lips and sound."""
    shapes = pairs[0].lips.state_dict()
    hidden, features, _ = shapes["layers.0.weight"].shape
    embedding = len(shapes[list(shapes)[-1]])
    lips = LipNet(features, len(pairs), hidden, embedding)
    sound = SoundNet(len(pairs), hidden, embedding)
    for name, whole in (("lips", lips), ("sound", sound)):
        states = [getattr(pair, name).state_dict() for pair in pairs]
        whole.load_state_dict({key: torch.cat([state[key] for state in states]) for key in states[0]})
    return lips.eval(), sound.eval()


def agreement(lips: Tensor, sound: Tensor, lag_cells: int = LAG_CELLS) -> tuple[Tensor, Tensor]:
    """lips (B, D, n), sound (B, D, n + 2 lag_cells) -> both freed of their mean and of unit length over the window:
    (B, D n) and (B, 2 lag_cells + 1, D n)."""
    size, _, n = lips.shape
    views = sound.unfold(2, n, 1).permute(0, 2, 1, 3)  # (B, lags, D, n)
    views = (views - views.mean(-1, keepdim=True)).reshape(size, 2 * lag_cells + 1, -1)
    flat = (lips - lips.mean(-1, keepdim=True)).reshape(size, -1)
    return nn.functional.normalize(flat, dim=-1, eps=1e-4), nn.functional.normalize(views, dim=-1, eps=1e-4)


def loss_of(pair: Pair, lips: Tensor, sound: Tensor, recipe: Recipe) -> Tensor:
    """lips (B, D, n), sound (B, D, n + 30): the mean loss of a batch of one member."""
    mouth, voice = agreement(lips, sound)
    scale = pair.sharpness.exp()
    own = torch.einsum("bd,bld->bl", mouth, voice) * scale
    wanted = target(own.device)
    loss = -(wanted * own.log_softmax(-1)).sum(-1).mean()
    if recipe.foreign_weight <= 0:
        return loss
    foreign = [torch.einsum("bd,bld->bl", mouth, voice.roll(shift, 0)) * scale for shift in range(1, FOREIGN + 1)]
    neither = (pair.neither * scale).expand(len(own), 1)
    matched = torch.cat([own, neither, *foreign], dim=1).log_softmax(-1)[:, : own.shape[1]]
    with_others = -(wanted * matched).sum(-1).mean()
    alone = -torch.cat([neither, *foreign], dim=1).log_softmax(-1)[:, 0].mean()
    return (1 - recipe.foreign_weight) * loss + recipe.foreign_weight * 0.5 * (with_others + alone)


def target(device: torch.device) -> Tensor:
    """The share of each lag in the answer: most at 0, some at its neighbours; (2 LAG_CELLS + 1,)."""
    lag = torch.arange(-LAG_CELLS, LAG_CELLS + 1, device=device, dtype=torch.float32)
    return torch.softmax(-(lag**2) / (2 * TARGET_SPREAD_CELLS**2), 0)


def fit(
    pair: Pair,
    draw: Callable[[int], Batch],
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    every: int = 500,
    on_step: Callable[[int, float, Pair], None] | None = None,
) -> Pair:
    """Train a pair; returns the running mean of its weights. `on_step(step, loss, mean)` is called now and then."""
    pair.to(device).train()
    mean = copy.deepcopy(pair).eval()
    weights = list(pair.parameters())
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.decay)
    random = np.random.default_rng([seed, 0xC07])
    running = 0.0
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rate_share(step, recipe)
        batch = draw(recipe.batch)
        lips, sound = pair(batch.lips.to(device), batch.mel.to(device))
        loss = torch.stack(
            [
                loss_of(pair, lips[..., first : first + n], sound[..., first : first + n + 2 * LAG_CELLS], recipe)
                for first, n in segments(batch.n, recipe.segments, random)
            ]
        ).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        keep = min(recipe.keep, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, now in zip(mean.parameters(), weights, strict=True):
                kept.lerp_(now, 1 - keep)
        running += (float(loss.detach()) - running) * max(0.02, 1 / (step + 1))
        if on_step is not None and ((step + 1) % every == 0 or step + 1 == recipe.steps):
            on_step(step + 1, running, mean)
    return mean


def segments(n: int, count: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """The whole sequence of n cells, and shorter windows of it: (first cell, length), from 0.4 s on."""
    cut = [(0, n)]
    for _ in range(count - 1):
        length = int(np.exp(random.uniform(np.log(SHORTEST_CELLS), np.log(max(n, SHORTEST_CELLS + 1)))))
        cut.append((int(random.integers(0, n - length + 1)), length))
    return cut


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to 0."""
    warm = max(1, round(recipe.steps * recipe.warm_share))
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm))
