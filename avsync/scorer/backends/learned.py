"""The learned backends: geometry, pixels, and both fused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.backends.envelopes import lip_envelopes, sound_envelopes
from avsync.scorer.calibration import bias_ms_of
from avsync.scorer.features.cells import MEL_PER_CELL, Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.features.geometry import geometry as geometry_of
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.features.normalising import level_of, normal_lips, normal_mel, trust_in, with_context
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.nets.litert_networks import LiteNetworks
from avsync.scorer.nets.litert_runtime import litert_is_here
from avsync.scorer.nets.weight_files import Arrays, load_weights, shipped
from avsync.scorer.signal import Method

PIXELS_WEIGHT: Final = 2.0
"""How much what pixels say counts in fused, beside geometry: on the development half of real clips
1 gives 95.0 % of 1 s windows right, 2 gives 96.0, 3 the same."""


class Networks(Protocol):
    """An ensemble's networks, wherever they run."""

    def mouths(self, rois: NDArray[np.uint8]) -> Floats:
        """rois: (T, 96, 96, 3) -> (T, members x values)."""
        ...

    def lips(self, rows: Floats) -> Floats:
        """(n + 14, features) -> (n, members x embedding)."""
        ...

    def sound(self, rows: Floats) -> Floats:
        """(2 (n + 14), 40) -> (n, members x embedding)."""
        ...


class Ensemble:
    """The networks of one file of weights, and what they need to know of their training data.

    Where they do not see pixels, the lip values are the numbers of `geometry`, and their envelopes stand beside what
    the networks say.
    """

    def __init__(self, arrays: Arrays, header: dict[str, Any], *, device: str = "cpu") -> None:
        """KeyError, TypeError, ValueError or RuntimeError where arrays and header do not fit each other."""
        self.arrays, self.header = arrays, header
        self.usual_spread: Floats = arrays["usual_spread"]
        self.members: int = header["members"]
        self.sees_pixels = "mouth" in header
        self.weight = PIXELS_WEIGHT if self.sees_pixels else 1.0
        values = header["mouth"]["members"] * header["mouth"]["values"] if self.sees_pixels else len(GEOMETRY_NAMES)
        if self.usual_spread.shape != (values,):
            raise ValueError(f"usual_spread has shape {self.usual_spread.shape}, wanted ({values},)")
        self.networks = networks_on(device, arrays, header)

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        if self.sees_pixels:
            assert rois is not None
            return self.networks.mouths(rois)
        assert landmarks is not None
        return geometry_of(landmarks)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        normal = normal_lips(cells, seen, self.usual_spread)
        learned = self._level(self.networks.lips(with_context(normal, window, ENCODER_CELLS)))
        if self.sees_pixels:
            return learned
        return np.hstack([learned, lip_envelopes(normal, window)]) * trust_in(cells[seen], self.usual_spread)

    def embed_sound(self, mel: Floats, normal: Floats, window: slice) -> Floats:
        """`normal`: the window's rows as `normal_sound` gives them, the same for all ensembles."""
        learned = self._level(self.networks.sound(normal))
        return learned if self.sees_pixels else np.hstack([learned, sound_envelopes(mel, window)])

    def _level(self, embedded: Floats) -> Floats:
        """(n, members x D) with a mean square of `weight` about its mean, all members together."""
        return level_of(embedded, self.members) * np.float32(np.sqrt(self.weight / self.members))


def networks_on(device: str, arrays: Arrays, header: dict[str, Any]) -> Networks:
    """On a CPU LiteRT runs them, on anything else torch; and torch where there is no LiteRT."""
    if device == "cpu" and litert_is_here():
        return LiteNetworks(arrays, header)
    from avsync.scorer.nets.torch_networks import TorchNetworks

    return TorchNetworks(arrays, header, device)


@dataclass
class NetBackend:
    """One or several ensembles whose embeddings are laid side by side."""

    method: Method
    ensembles: tuple[Ensemble, ...]
    bias_ms: float
    wants: frozenset[str]

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        return np.concatenate([each.picture_values(rois, landmarks) for each in self.ensembles], axis=1)

    def sound_values(self, pcm: Floats) -> Floats:
        return log_mel(pcm)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        widths = np.cumsum([len(each.usual_spread) for each in self.ensembles])[:-1]
        parts = np.split(cells, widths, axis=1)
        return np.hstack(
            [each.embed_lips(part, seen, window) for each, part in zip(self.ensembles, parts, strict=True)]
        )

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        normal = normal_sound(mel, window)
        return np.hstack([each.embed_sound(mel, normal, window) for each in self.ensembles])


def normal_sound(mel: Floats, window: slice) -> Floats:
    """What a network of sound is given of mel (2 M, 40) for the cells of a window: float32 (2 (m + 14), 40)."""
    return with_context(normal_mel(mel), window, ENCODER_CELLS, MEL_PER_CELL)


def read_ensemble(path: Path, *, device: str = "cpu") -> Ensemble:
    """The ensemble in a file of weights. InputError when the file is another's or its shapes do not fit."""
    arrays, header = load_weights(path)
    try:
        if header["net"] == "geometry" and tuple(header["features"]) != GEOMETRY_NAMES:
            raise ValueError("trained on other features than this version computes")
        return Ensemble(arrays, header, device=device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: these weights do not fit this version ({error}); train again") from error


def load_nets(method: Method, *, device: str, weights: dict[str, Path]) -> NetBackend:
    """The backend geometry, pixels or fused, from the shipped weights or the given ones."""
    names: dict[str, tuple[str, ...]] = {
        "geometry": ("geometry",), "pixels": ("pixels",), "fused": ("geometry", "pixels"),
    }  # fmt: skip
    ensembles = tuple(read_ensemble(weights.get(net, shipped(net)), device=device) for net in names[method])
    wants = {"geometry": "landmarks", "pixels": "rois"}
    return NetBackend(method, ensembles, bias_ms_of(method), frozenset(wants[net] for net in names[method]))
