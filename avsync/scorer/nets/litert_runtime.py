"""LiteRT: an interpreter for a model's bytes, on one thread. It runs the face models and our own networks."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

PACKAGE: Final = "ai_edge_litert"
_QUIET: Final = threading.Lock()


def litert_is_here() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def interpreter_of(content: bytes) -> Any:
    """Ready to be given its tensors. It keeps buffers, so it must not be used by two threads at a time.

    ImportError where LiteRT is not installed.
    """
    interpreter_class = importlib.import_module(f"{PACKAGE}.interpreter").Interpreter
    with _quiet():
        interpreter = interpreter_class(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()  # the first run says something, too, and takes longer
    return interpreter


@contextmanager
def _quiet() -> Iterator[None]:
    """LiteRT says "Created TensorFlow Lite XNNPACK delegate" on the process's stderr and has no switch for it."""
    with _QUIET:
        try:
            sys.stderr.flush()
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        except (OSError, AttributeError):  # no stderr at all
            yield
            return
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
