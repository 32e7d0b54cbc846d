"""Files of weights as torch modules, and back: to train them, and to run them where LiteRT does not (a GPU)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import layers_of
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.nets.weight_files import Arrays


class Modules(NamedTuple):
    """An ensemble's networks, ready to be used (`eval`)."""

    lips: LipNet
    sound: SoundNet
    mouth: MouthNet | None
    """None where the lip values are the numbers of `geometry`."""


def modules_of(arrays: Arrays, header: dict[str, Any]) -> Modules:
    """The networks of a file of weights. KeyError, TypeError or RuntimeError where arrays and header do not fit."""
    members, hidden, embedding = header["members"], header["hidden"], header["embedding"]
    features = layers_of(header, len(arrays["usual_spread"]))["lips"][0].inputs
    mouth = MouthNet(**header["mouth"]) if "mouth" in header else None
    found = Modules(LipNet(features, members, hidden, embedding), SoundNet(members, hidden, embedding), mouth)
    for name, module in found._asdict().items():
        if module is not None:
            module.load_state_dict(_part(arrays, name))
            module.eval()
    return found


def arrays_of(lips: LipNet, sound: SoundNet, mouth: MouthNet | None, usual_spread: Floats) -> Arrays:
    """The arrays of an ensemble, as `modules_of` and `litert_networks.LiteNetworks` expect them."""
    arrays: Arrays = {"usual_spread": usual_spread}
    for name, module in (("lips", lips), ("sound", sound), ("mouth", mouth)):
        if module is not None:
            arrays |= {f"{name}.{key}": value.detach().cpu().numpy() for key, value in module.state_dict().items()}
    return arrays


class TorchNetworks:
    """The networks of a file of weights on a device, as `litert_networks.LiteNetworks` on a CPU."""

    def __init__(self, arrays: Arrays, header: dict[str, Any], device: str) -> None:
        found = modules_of(arrays, header)
        self._lips, self._sound = found.lips.to(device), found.sound.to(device)
        self._mouth = None if found.mouth is None else found.mouth.to(device)
        self._device = device

    def mouths(self, rois: NDArray[np.uint8]) -> Floats:
        """rois: (T, 96, 96, 3) -> (T, members x values)."""
        assert self._mouth is not None, "these networks read landmarks"
        return self._mouth.values_of(rois, self._device)

    def lips(self, rows: Floats) -> Floats:
        """(n + 14, features) -> (n, members x embedding)."""
        return self._embedded(self._lips, rows)

    def sound(self, rows: Floats) -> Floats:
        """(2 (n + 14), 40) -> (n, members x embedding)."""
        return self._embedded(self._sound, rows)

    def _embedded(self, net: LipNet | SoundNet, rows: Floats) -> Floats:
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(rows.T))[None].to(self._device)
            return np.asarray(net(given)[0].T.float().cpu().numpy(), np.float32)


def _part(arrays: Arrays, name: str) -> dict[str, torch.Tensor]:
    prefix = name + "."
    return {
        key.removeprefix(prefix): torch.from_numpy(value) for key, value in arrays.items() if key.startswith(prefix)
    }
