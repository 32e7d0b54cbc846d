"""The learned backends: geometry, pixels, and both fused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.backends import level_of, normal_lips, normal_mel, trust_in, with_context
from avsync.scorer.envelopes import lip_envelopes, sound_envelopes
from avsync.scorer.features import MEL_PER_CELL, Floats
from avsync.scorer.geometry import GEOMETRY_NAMES
from avsync.scorer.geometry import geometry as geometry_of
from avsync.scorer.mouthnet import MouthNet
from avsync.scorer.networks import CONTEXT_CELLS, LipNet, SoundNet
from avsync.scorer.products import products_of
from avsync.scorer.signal import Method
from avsync.scorer.weights import Arrays, load_weights, shipped

PIXELS_WEIGHT: Final = 2.0
"""How much what pixels say counts in fused, beside geometry: on the development half of real clips
1 gives 95.0 % of 1 s windows right, 2 gives 96.0, 3 the same."""


class Ensemble:
    """The networks of one file of weights, and what they need to know of their training data.

    `mouth` is there when the lip values come from pixels; without it they are the numbers of `geometry`, and their
    envelopes stand beside what the networks say.
    """

    def __init__(
        self, lips: LipNet, sound: SoundNet, mouth: MouthNet | None, usual_spread: Floats, members: int, device: str
    ) -> None:
        self.lips, self.sound = lips.to(device).eval(), sound.to(device).eval()
        self.mouth = mouth.to(device).eval() if mouth is not None else None
        self.usual_spread, self.members, self.device = usual_spread, members, device
        self.weight = 1.0 if mouth is None else PIXELS_WEIGHT
        self._products = {net: products_of(net, members) for net in (self.lips, self.sound) if device == "cpu"}

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        if self.mouth is None:
            assert landmarks is not None
            return geometry_of(landmarks)
        assert rois is not None
        with torch.inference_mode():
            return np.asarray(self.mouth.values_of(rois, self.device), np.float32)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        normal = normal_lips(cells, seen, self.usual_spread)
        learned = self._run(self.lips, with_context(normal, window, CONTEXT_CELLS))
        if self.mouth is not None:
            return learned
        return np.hstack([learned, lip_envelopes(normal, window)]) * trust_in(cells[seen], self.usual_spread)

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        learned = self._run(self.sound, with_context(normal_mel(mel), window, CONTEXT_CELLS, MEL_PER_CELL))
        return learned if self.mouth is not None else np.hstack([learned, sound_envelopes(mel, window)])

    def _run(self, net: LipNet | SoundNet, rows: Floats) -> Floats:
        """(n, members x D) with a mean square of `weight` about its mean, all members together."""
        with torch.inference_mode():
            products = self._products.get(net)
            if products is not None:
                found = products(torch.from_numpy(rows)).numpy()
            else:
                given = torch.from_numpy(np.ascontiguousarray(rows.T))[None].to(self.device)
                found = net(given)[0].T.float().cpu().numpy()
        return level_of(found, self.members) * np.float32(np.sqrt(self.weight / self.members))


@dataclass
class NetBackend:
    """One or several ensembles whose embeddings are laid side by side."""

    method: Method
    ensembles: tuple[Ensemble, ...]
    zero_ms: float
    wants: frozenset[str]

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        return np.concatenate([each.picture_values(rois, landmarks) for each in self.ensembles], axis=1)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        widths = np.cumsum([len(each.usual_spread) for each in self.ensembles])[:-1]
        parts = np.split(cells, widths, axis=1)
        return np.hstack(
            [each.embed_lips(part, seen, window) for each, part in zip(self.ensembles, parts, strict=True)]
        )

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        return np.hstack([each.embed_sound(mel, window) for each in self.ensembles])


def read_ensemble(path: Path, *, device: str = "cpu") -> Ensemble:
    """The ensemble in a file of weights. InputError when the file is another's or its shapes do not fit."""
    arrays, header = load_weights(path)
    try:
        members, hidden, embedding = header["members"], header["hidden"], header["embedding"]
        usual_spread = arrays.pop("usual_spread")
        if header["net"] == "geometry" and tuple(header["features"]) != GEOMETRY_NAMES:
            raise ValueError("trained on other features than this version computes")
        mouth = MouthNet(**header["mouth"]) if "mouth" in header else None
        lips = LipNet(2 * len(usual_spread), members, hidden, embedding)
        sound = SoundNet(members, hidden, embedding)
        for name, module in (("lips", lips), ("sound", sound), ("mouth", mouth)):
            if module is not None:
                module.load_state_dict(_part(arrays, name))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: these weights do not fit this version ({error}); train again") from error
    return Ensemble(lips, sound, mouth, usual_spread, members, device)


def _part(arrays: dict[str, NDArray[np.float32]], name: str) -> dict[str, torch.Tensor]:
    prefix = name + "."
    return {
        key.removeprefix(prefix): torch.from_numpy(value) for key, value in arrays.items() if key.startswith(prefix)
    }


def ensemble_arrays(lips: LipNet, sound: SoundNet, mouth: MouthNet | None, usual_spread: Floats) -> Arrays:
    """The arrays of an ensemble, named as `read_ensemble` expects them."""
    arrays: Arrays = {"usual_spread": usual_spread}
    for name, module in (("lips", lips), ("sound", sound), ("mouth", mouth)):
        if module is not None:
            arrays |= {f"{name}.{key}": value.detach().cpu().numpy() for key, value in module.state_dict().items()}
    return arrays


def load_nets(method: Method, *, device: str, weights: dict[str, Path]) -> NetBackend:
    """The backend geometry, pixels or fused, from the shipped weights or the given ones."""
    from avsync.scorer.confidence import zero_ms_of

    names: dict[str, tuple[str, ...]] = {
        "geometry": ("geometry",), "pixels": ("pixels",), "fused": ("geometry", "pixels"),
    }  # fmt: skip
    ensembles = tuple(read_ensemble(weights.get(net, shipped(net)), device=device) for net in names[method])
    wants = {"geometry": "landmarks", "pixels": "rois"}
    return NetBackend(method, ensembles, zero_ms_of(method), frozenset(wants[net] for net in names[method]))
