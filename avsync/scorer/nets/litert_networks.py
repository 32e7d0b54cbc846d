"""The networks on a CPU: LiteRT runs them, from arrays of weights, without torch.

Each network becomes a model of LiteRT's own format, built in memory in milliseconds. `benchmarks/bench_scorer.py` read,
with torch and since: 16 mouth crops to values 2.9 ms and 2.0, lips and sound of a fused block 1.7 and 0.8, the whole
block 7.6 and 4.6 (p50). One picture at a time is as quick as many, and nobody waits for torch to be imported.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import SOUND_UNUSED, Layer, layers_of, weights_of
from avsync.scorer.nets.crop_preparing import prepared
from avsync.scorer.nets.litert_models import model_of
from avsync.scorer.nets.litert_runtime import interpreter_of
from avsync.scorer.nets.weight_files import Arrays

TOGETHER: Final = 16
"""Crops that are prepared at once: enough to be quick, few enough to stay in the cache."""


class LiteNetworks:
    """The networks of a file of weights. Any thread may use them: each has interpreters of its own."""

    def __init__(self, arrays: Arrays, header: dict[str, Any]) -> None:
        """ValueError or KeyError where arrays and header do not fit each other."""
        layers = layers_of(header, len(arrays["usual_spread"]))
        self._stacks = {name: Stack(each, weights_of(arrays, name, each)) for name, each in layers.items()}

    def mouths(self, rois: NDArray[np.uint8]) -> Floats:
        """rois: (T, 96, 96, 3) -> (T, members x values)."""
        stack = self._stacks["mouth"]
        if not len(rois):
            return np.zeros((0, stack.outputs), np.float32)
        some = (rois[first : first + TOGETHER] for first in range(0, len(rois), TOGETHER))
        return np.concatenate([stack(picture[None])[:, 0, 0] for part in some for picture in prepared(part)])

    def lips(self, rows: Floats) -> Floats:
        """(n + 14, features) -> (n, members x embedding)."""
        return self._stacks["lips"].over_time(rows)

    def sound(self, rows: Floats) -> Floats:
        """(2 (n + 14), 40) -> (n, members x embedding)."""
        return self._stacks["sound"].over_time(rows[SOUND_UNUSED : len(rows) - SOUND_UNUSED])


class Stack:
    """Convolutions with a GELU between one and the next: (1, height, width, inputs) -> (1, ..., outputs)."""

    def __init__(self, layers: Iterable[Layer], weights: Iterable[tuple[Floats, Floats]]) -> None:
        layers = list(layers)
        self._model = model_of(layers, weights)
        self._own = threading.local()
        self.outputs = layers[-1].outputs

    def __call__(self, given: Floats) -> Floats:
        own = self._own
        if not hasattr(own, "interpreter"):
            own.interpreter = interpreter_of(self._model)
            own.answer, own.shape = own.interpreter.get_output_details()[0]["index"], None
        interpreter: Any = own.interpreter
        if own.shape != given.shape:  # costs 5 us
            interpreter.resize_tensor_input(0, given.shape)
            interpreter.allocate_tensors()
            own.shape = given.shape
        interpreter.set_tensor(0, given)
        interpreter.invoke()
        found: Floats = interpreter.get_tensor(own.answer)
        return found

    def over_time(self, rows: Floats) -> Floats:
        """(length, inputs) -> (what is left of it, outputs)."""
        return np.asarray(self(rows[None, None])[0, 0], np.float32)
