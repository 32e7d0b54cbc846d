"""Blocks for the stories of the block in one go: networks of random weights, random sound and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsync.scorer.backends.learned import Ensemble, NetBackend
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.gpu.block_program import BlockShape
from avsync.scorer.nets.architecture import EMBEDDING, HIDDEN
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.nets.torch_networks import arrays_of
from avsync.scorer.signal import Method


def ensemble(members: int, usual_spread: Floats, mouth: MouthNet | None = None) -> Ensemble:
    """Random weights, drawn from torch's generator as it stands."""
    lips, sound = LipNet(2 * len(usual_spread), members), SoundNet(members)
    header: dict[str, Any] = {"members": members, "hidden": HIDDEN, "embedding": EMBEDDING}
    if mouth is not None:
        header["mouth"] = {"members": mouth.members, "values": mouth.values, "channels": mouth.channels}
    return Ensemble(arrays_of(lips, sound, mouth, usual_spread), header)


def backend(method: Method = "fused", bias_ms: float = 7.0) -> NetBackend:
    """Networks of random weights, as many as the method has."""
    torch.manual_seed(3)
    usual = np.linspace(0.02, 0.2, len(GEOMETRY_NAMES)).astype(np.float32)
    landmarks = ensemble(3, usual)
    pixels = ensemble(2, np.full(8, 0.05, np.float32), MouthNet(2, 4, (4, 6, 8, 8)))
    given: dict[str, tuple[Ensemble, ...]] = {
        "geometry": (landmarks,), "pixels": (pixels,), "fused": (landmarks, pixels),
    }  # fmt: skip
    wants = {"geometry": {"landmarks"}, "pixels": {"rois"}, "fused": {"rois", "landmarks"}}
    return NetBackend(method, given[method], bias_ms, frozenset(wants[method]))


class Block:
    """Random sound, and pictures that change a little from one to the next, of a shape."""

    def __init__(self, shape: BlockShape, seed: int, *, unseen: tuple[int, ...] = ()) -> None:
        rng = np.random.default_rng(seed)
        self.shape = shape
        loud = np.abs(np.sin(np.arange(shape.samples) / 900))
        self.pcm: NDArray[Any] = (rng.normal(size=shape.samples) * 3000 * loud).astype(np.int16)
        face = np.linspace(60, 180, 96)[:, None] + rng.integers(-9, 10, (96, 96, 3))  # lit from one side: not hidden
        mouth = np.zeros((96, 96, 1))
        mouth[40:60, 30:66] = 40.0
        self.rois = (face + mouth * rng.uniform(-1, 1, (shape.frames, 1, 1, 3))).astype(np.uint8)
        mesh = rng.normal(300, 50, (468, 2))
        self.landmarks = (mesh + rng.normal(size=(shape.frames, 468, 2))).astype(np.float32)
        self.landmarks[list(unseen)] = np.nan

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        pcm, rois, landmarks = (torch.from_numpy(each)[None] for each in (self.pcm, self.rois, self.landmarks))
        return pcm, rois, landmarks
