"""A backend by name, and what there is on this machine to run it with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from avsync.errors import InputError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.backends.heuristic import HeuristicBackend
from avsync.scorer.backends.learned import load_nets
from avsync.scorer.nets.litert_runtime import litert_is_here
from avsync.scorer.signal import Method

LEARNED: Final[dict[str, Method]] = {"fused": "fused", "pixels": "pixels", "geometry": "geometry"}
"""What has networks of our own, by its name."""


def load_backend(name: str = "auto", *, device: str = "cpu", weights: dict[str, Path] | None = None) -> Backend:
    """A backend by name; "auto" is the best that can answer: fused where networks can run, else the heuristic.

    On a CPU LiteRT runs them, and torch where that is missing; other devices and SyncNet need torch. `weights`: files
    in place of the shipped ones, by net ("geometry", "pixels", "syncnet"). InputError when the name is unknown, or what
    it needs is missing.
    """
    if name == "auto":
        name = "fused" if networks_run_on(device) else "heuristic"
    if name == "heuristic":
        return HeuristicBackend()
    if name != "syncnet" and name not in LEARNED:
        raise InputError(f"no backend {name!r}; there are auto, fused, pixels, geometry, heuristic, syncnet")
    if not (torch_is_here() if name == "syncnet" else networks_run_on(device)):
        where = "" if name == "syncnet" or device == "cpu" else f" on {device}"
        raise InputError(
            f"the {name} backend needs torch{where}: pip install 'avsync[scorer]'; the heuristic one does not"
        )
    if name == "syncnet":
        from avsync.scorer.backends.syncnet import load_syncnet  # imports torch

        return load_syncnet(device=device, weights=weights or {})
    return load_nets(LEARNED[name], device=device, weights=weights or {})


def networks_run_on(device: str) -> bool:
    """Whether there is anything to run the learned backends with."""
    return (device == "cpu" and litert_is_here()) or torch_is_here()


def torch_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None
