"""Models in LiteRT's own format (a flatbuffer), built in memory from layers and their weights."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import GREY_PX, Layer
from avsync.scorer.nets.litert_runtime import PACKAGE

FILE_IDENTIFIER: Final = b"TFL3"
SCHEMA_VERSION: Final = 3
CONV_2D_VERSION: Final = 6
"""The first that knows groups."""


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
