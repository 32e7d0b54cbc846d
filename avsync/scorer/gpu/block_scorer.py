"""Blocks by the thousand, or one at once: from arrays in ordinary host memory to scores there, on a GPU.

A GPU's time for one block is that of starting some hundred small operations; so the whole program
(`avsync.scorer.gpu.block_program`) is recorded once as a CUDA graph on buffers that stay where they are, and started as
one. Arrays go through pinned staging buffers, which the GPU fetches by itself; in a batch two slots take turns, one
being filled and read by the CPU while the GPU works on the other. `torch.compile` is not used: what it would save is
mostly the starting, which the graph has saved already.

Without CUDA (`device="cpu"`) the same class runs the same program, without graph and staging; that is what tests see.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsync.errors import UsageError
from avsync.scorer.backends.learned import NetBackend
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.gpu.block_program import BlockProgram, BlockScores, BlockShape, read_scores
from avsync.scorer.matching.lag_search import search_offsets

PRECISIONS: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""Of the networks; log-mel, normalisation and correlation stay float32."""
WARM_UPS: Final = 3
"""Runs before recording, in which libraries choose their kernels and take their workspaces."""
ROI_SIDE: Final = 96


class BlockScorer:
    """Scores blocks of one shape, `batch` of them at once.

    `score` takes N blocks, any N: pcm int16 (N, samples) or float32 where `pcm_dtype` says so; rois uint8
    (N, frames, 96, 96, 3) and landmarks float32 (N, frames, 468, 2), NaN where there is no face, as the backend wants
    them. It says how well lips and sound agree; silence, hidden mouths and confidence are the business of
    `LipSyncScorer`. Not thread-safe: the buffers belong to one call at a time.
    """

    def __init__(
        self,
        backend: NetBackend,
        shape: BlockShape | None = None,
        *,
        device: str = "cuda",
        batch: int = 1,
        precision: str = "float32",
        pcm_dtype: str = "int16",
        search_ms: float = 200.0,
        step_ms: float = 20.0,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if pcm_dtype not in ("int16", "float32"):
            raise UsageError(f"pcm_dtype must be int16 or float32, got {pcm_dtype!r}")
        if batch < 1:
            raise UsageError(f"batch must be >= 1, got {batch}")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UsageError("device is cuda, and torch sees no GPU here; device='cpu' runs everywhere")
        self.shape, self.batch, self.offsets_ms = shape or BlockShape(), batch, search_offsets(search_ms, step_ms)
        self._buffers = _buffers_of(backend, self.shape, pcm_dtype)
        program = BlockProgram(backend, self.shape, self.offsets_ms, device=device, dtype=PRECISIONS[precision])
        self._slots = [_Slot(program, self._buffers, batch, device) for _ in range(2 if batch > 1 else 1)]

    def score(
        self,
        pcm: NDArray[Any],
        rois: NDArray[np.uint8] | None = None,
        landmarks: Floats | None = None,
    ) -> BlockScores:
        """N blocks, from the host to the host; see the class."""
        arrays = self._checked({"pcm": pcm, "rois": rois, "landmarks": landmarks})
        answers = np.empty((len(pcm), 2, len(self.offsets_ms)), np.float32)
        under_way: list[tuple[_Slot, slice]] = []
        for number, first in enumerate(range(0, len(pcm), self.batch)):
            slot, rows = self._slots[number % len(self._slots)], slice(first, min(first + self.batch, len(pcm)))
            if len(under_way) == len(self._slots):
                _collect(*under_way.pop(0), answers)
            slot.fill([array[rows] for array in arrays])
            slot.start()
            under_way.append((slot, rows))
        for slot, rows in under_way:
            _collect(slot, rows, answers)
        return read_scores(self.offsets_ms, answers)

    def run_resident(self, times: int) -> None:
        """Run the program on what lies on the device, without copies, and wait for it: for benchmarks."""
        for _ in range(times):
            self._slots[0].run()
        self._slots[0].wait()

    def _checked(self, given: dict[str, NDArray[Any] | None]) -> list[NDArray[Any]]:
        """The arrays the program wants, in its order. UsageError where one is missing or of another shape."""
        arrays = []
        count = len(given["pcm"]) if given["pcm"] is not None else 0
        for name, buffer in self._buffers.items():
            array, wanted = given[name], (count, *buffer.shape)
            if array is None or array.shape != wanted or array.dtype != buffer.dtype:
                found = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise UsageError(f"{name} must be {buffer.dtype} {wanted}, got {found}")
            arrays.append(array)
        return arrays


class _Buffer(NamedTuple):
    """What one block takes of an input."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _buffers_of(backend: NetBackend, shape: BlockShape, pcm_dtype: str) -> dict[str, _Buffer]:
    buffers = {"pcm": _Buffer((shape.samples,), np.dtype(pcm_dtype))}
    if any(each.sees_pixels for each in backend.ensembles):
        buffers["rois"] = _Buffer((shape.frames, ROI_SIDE, ROI_SIDE, 3), np.dtype(np.uint8))
    if any(not each.sees_pixels for each in backend.ensembles):
        buffers["landmarks"] = _Buffer((shape.frames, LANDMARKS, 2), np.dtype(np.float32))
    return buffers


def _collect(slot: _Slot, rows: slice, answers: Floats) -> None:
    slot.wait()
    answers[rows] = slot.answer.numpy()[: rows.stop - rows.start]


class _Slot:
    """Buffers for one batch on host and device, and the program recorded on them."""

    def __init__(self, program: BlockProgram, buffers: dict[str, _Buffer], batch: int, device: str) -> None:
        self._program, self._names, self._cuda = program, list(buffers), device.startswith("cuda")
        self._given = [
            torch.from_numpy(np.zeros((batch, *buffer.shape), buffer.dtype)) for buffer in buffers.values()
        ]  # fmt: skip
        if self._cuda:
            self._given = [each.pin_memory() for each in self._given]
        self._there = [each.to(device) for each in self._given] if self._cuda else self._given
        self._stream = torch.cuda.Stream(device) if self._cuda else None  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph() if self._cuda else None
        self._answered = self._record()
        self.answer = torch.zeros(self._answered.shape, pin_memory=self._cuda)
        """(batch, 2, L) on the host, once `wait` has returned."""

    def fill(self, arrays: list[NDArray[Any]]) -> None:
        """Put blocks into the staging buffers; fewer than the batch leave older ones behind, which nobody reads."""
        for staging, array in zip(self._given, arrays, strict=True):
            if (
                array.flags.c_contiguous and array.flags.writeable
            ):  # what torch takes as it is, and copies with all cores
                staging[: len(array)].copy_(torch.from_numpy(array))
            else:
                np.copyto(staging[: len(array)].numpy(), array)

    def start(self) -> None:
        """Copy, run, copy back; on a GPU without waiting for any of it."""
        with torch.no_grad(), torch.cuda.stream(self._stream):
            if self._cuda:
                for there, staging in zip(self._there, self._given, strict=True):
                    there.copy_(staging, non_blocking=True)
            self.run()
            self.answer.copy_(self._answered, non_blocking=self._cuda)

    def run(self) -> None:
        """The program alone, on what lies on the device."""
        with torch.cuda.stream(self._stream):
            if self._graph is not None:
                self._graph.replay()
            else:
                self._answered = self._once()

    def wait(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()

    def _record(self) -> Tensor:
        """The program's answer on the device; under CUDA recorded, so that `run` fills it again."""
        if self._graph is None or self._stream is None:
            return self._once()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                self._once()
        self._stream.synchronize()
        with torch.cuda.graph(self._graph, stream=self._stream):
            return self._once()

    def _once(self) -> Tensor:
        given: dict[str, Tensor] = dict(zip(self._names, self._there, strict=True))
        with torch.no_grad():
            return self._program(given["pcm"], given.get("rois"), given.get("landmarks"))
