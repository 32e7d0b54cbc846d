"""The networks on a CPU: LiteRT runs them, from arrays of weights, without torch.

Each network becomes a model of LiteRT's own format, built in memory in milliseconds. `benchmarks/bench_scorer.py` read,
with torch and since: 16 mouth crops to values 2.9 ms and 2.0, lips and sound of a fused block 1.7 and 0.8, the whole
block 7.6 and 4.6 (p50). One picture at a time is as quick as many, and nobody waits for torch to be imported.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.features import Floats
from avsync.scorer.nets.architecture import (
    GREY_PX,
    LUMA,
    NEARBY_PX,
    REGION_PX,
    SMALLEST_CONTRAST,
    SMALLEST_DETAIL,
    SOUND_UNUSED,
    Layer,
    layers_of,
    weights_of,
)
from avsync.scorer.nets.litert_runtime import PACKAGE, interpreter_of
from avsync.scorer.nets.weight_files import Arrays

FILE_IDENTIFIER: Final = b"TFL3"
SCHEMA_VERSION: Final = 3
TOGETHER: Final = 16
"""Crops that are prepared at once: enough to be quick, few enough to stay in the cache."""
CONV_2D_VERSION: Final = 6
"""The first that knows groups."""


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


def prepared(rois: NDArray[np.uint8]) -> Floats:
    """Crops as their network sees them, as `torch_mouth_network.prepared`: (T, 96, 96, 3) -> (T, 48, 48, 2).

    The picture free of its brightness and contrast, and its detail.
    """
    luma = rois.reshape(-1, 3).astype(np.float32) @ (np.array(LUMA, np.float32) / 4)
    luma = luma.reshape(len(rois), GREY_PX, 2, GREY_PX, 2)
    grey = luma[:, :, 0, :, 0] + luma[:, :, 0, :, 1] + luma[:, :, 1, :, 0] + luma[:, :, 1, :, 1]
    level = grey - grey.mean(axis=(1, 2), keepdims=True)
    level /= np.sqrt(np.square(level).mean(axis=(1, 2), keepdims=True)) + np.float32(SMALLEST_CONTRAST)
    detail = level - _NEARBY @ level @ _NEARBY.T
    detail /= np.sqrt(_REGION @ np.square(detail) @ _REGION.T + np.float32(SMALLEST_DETAIL))
    return np.stack([level, detail], axis=3)


def averaging(size: int) -> Floats:
    """(48, 48): each row the mean of `size` neighbours, those beyond the edge left out. A blur of a picture from both
    sides; as products of matrices it costs a sixth of a pooling."""
    at = np.arange(GREY_PX)
    near = (np.abs(at[:, None] - at[None]) <= size // 2).astype(np.float32)
    return np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)


_NEARBY: Final = averaging(NEARBY_PX)
_REGION: Final = averaging(REGION_PX)


# ------------------------------------------------------------------------------------------------ the model


def model_of(layers: Iterable[Layer], weights: Iterable[tuple[Floats, Floats]]) -> bytes:
    """A LiteRT model (a flatbuffer) of a stack. Its input is tensor 0, which may be resized."""
    return _Model().stack(list(layers), list(weights))


class _Model:
    """A model under construction, in the objects of LiteRT's own schema."""

    def __init__(self) -> None:
        self._schema: Any = importlib.import_module(f"{PACKAGE}.schema_py_generated")
        self._graph = self._schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers = [self._schema.BufferT()]  # by agreement the first one is empty
        self._codes: list[Any] = []

    def stack(self, layers: list[Layer], weights: list[tuple[Floats, Floats]]) -> bytes:
        first = layers[0]
        height, width = (GREY_PX, GREY_PX) if first.square else (1, 64)
        at = self._tensor((1, height, width, first.inputs))
        self._graph.inputs = [at]
        for number, (layer, (weight, bias)) in enumerate(zip(layers, weights, strict=True)):
            if number:
                at = self._gelu(at)
            at = self._convolution(at, layer, weight, bias)
        self._graph.outputs = [at]
        return self._packed()

    def _convolution(self, at: int, layer: Layer, weight: Floats, bias: Floats) -> int:
        schema = self._schema
        if layer.padding:
            at = self._padded(at, layer.padding)
        _, height, width, _ = self._graph.tensors[at].shape
        high = (height - layer.kernel) // layer.stride + 1 if layer.square else height
        wide = (width - layer.kernel) // layer.stride + 1
        # torch: (outputs, inputs, height, width); here: (outputs, height, width, inputs)
        kernel = np.moveaxis(weight if layer.square else weight[:, :, None], 1, 3)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH, options.strideW = layer.stride if layer.square else 1, layer.stride
        options.dilationHFactor = options.dilationWFactor = 1
        given = [at, self._constant(kernel), self._constant(bias)]
        return self._operator("CONV_2D", given, (1, high, wide, layer.outputs), options, CONV_2D_VERSION)

    def _padded(self, at: int, by: int) -> int:
        _, height, width, channels = self._graph.tensors[at].shape
        around = self._constant(np.array([[0, 0], [by, by], [by, by], [0, 0]], np.int32))
        shape = (1, height + 2 * by, width + 2 * by, channels)
        return self._operator("PAD", [at, around], shape, self._schema.PadOptionsT())

    def _gelu(self, at: int) -> int:
        options = self._schema.GeluOptionsT()
        options.approximate = False
        return self._operator("GELU", [at], tuple(self._graph.tensors[at].shape), options)

    def _operator(self, name: str, given: list[int], shape: tuple[int, ...], options: Any, version: int = 1) -> int:
        schema = self._schema
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name), version)
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        operator.builtinOptions = options
        operator.inputs, operator.outputs = given, [self._tensor(shape)]
        self._graph.operators.append(operator)
        return int(operator.outputs[0])

    def _code(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self._codes):
            if code.builtinCode == builtin:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        code.deprecatedBuiltinCode = min(builtin, 127)
        self._codes.append(code)
        return len(self._codes) - 1

    def _constant(self, values: NDArray[Any]) -> int:
        at = self._tensor(values.shape, values.dtype.name.upper())
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._buffers.append(buffer)
        self._graph.tensors[at].buffer = len(self._buffers) - 1
        return at

    def _tensor(self, shape: tuple[int, ...], kind: str = "FLOAT32") -> int:
        tensor = self._schema.TensorT()
        tensor.shape, tensor.name = list(shape), b"%d" % len(self._graph.tensors)
        tensor.type = getattr(self._schema.TensorType, kind)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _packed(self) -> bytes:
        flatbuffers = importlib.import_module("flatbuffers")
        model = self._schema.ModelT()
        model.version, model.buffers, model.operatorCodes = SCHEMA_VERSION, self._buffers, self._codes
        model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())
