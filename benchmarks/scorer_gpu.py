"""The scorer's benchmark on a GPU: single blocks, batches, and what lies on the device already."""

from __future__ import annotations

import os
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from avsync.scorer.backends.learned import NetBackend
from avsync.scorer.gpu.block_program import BlockShape
from avsync.scorer.gpu.block_scorer import PRECISIONS, BlockScorer
from benchmarks.scorer_table import Row, timed

WARM_UPS, RUNS = 100, 2_000
BATCH, BATCHES = 256, 16
SINGLE: Final = "GPU, one block from host memory to host memory, synchronised"
MANY: Final = "GPU, many blocks"
METHODS: Final = ("pixels", "fused")


def gpu_rows(nets: dict[str, NetBackend], shape: BlockShape, given: dict[str, NDArray[Any]]) -> list[Row]:
    """`given`: pcm, rois and landmarks of one block. Without CUDA all rows are there, and say why they are empty."""
    here = torch.cuda.is_available()
    single, many = [], []
    for method in METHODS:
        own = {name: given[name] for name in ("pcm", "rois", "landmarks") if name != "landmarks" or method == "fused"}
        for precision in PRECISIONS:
            name = f"{method}, {precision}"
            if here:
                single.append(_one(name, nets[method], shape, own, precision))
                many += _batches(name, nets[method], shape, own, precision)
            else:
                single.append(Row(SINGLE, name, aim="p95 < 2 ms, better < 0.5", note="no GPU at hand"))
                aims = (("host copies included", ">= 20,000 a second"), ("on the device already", ""))
                many += [
                    Row(MANY, f"{name}, {how}", unit="blocks/s", aim=aim, note="no GPU at hand") for how, aim in aims
                ]
    return single + many


def _one(name: str, backend: NetBackend, shape: BlockShape, given: dict[str, NDArray[Any]], precision: str) -> Row:
    scorer = BlockScorer(backend, shape, device="cuda", precision=precision)
    block = partial(scorer.score, **{part: array[None] for part, array in given.items()})
    return timed(SINGLE, name, block, RUNS, warm_ups=WARM_UPS, aim="p95 < 2 ms, better < 0.5")


def _batches(
    name: str, backend: NetBackend, shape: BlockShape, given: dict[str, NDArray[Any]], precision: str
) -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)  # the staging buffers are filled by all cores
    scorer = BlockScorer(backend, shape, device="cuda", precision=precision, batch=BATCH)
    blocks = {part: np.repeat(array[None], BATCH * BATCHES, axis=0) for part, array in given.items()}
    scorer.score(**blocks)
    begin = perf_counter()
    scorer.score(**blocks)
    copied = BATCH * BATCHES / (perf_counter() - begin)
    scorer.run_resident(4)
    begin = perf_counter()
    scorer.run_resident(4 * BATCHES)
    resident = 4 * BATCHES * BATCH / (perf_counter() - begin)
    torch.set_num_threads(threads)
    note = f"batches of {BATCH}"
    return [
        Row(MANY, f"{name}, host copies included", rate=copied, unit="blocks/s", aim=">= 20,000 a second", note=note),
        Row(MANY, f"{name}, on the device already", rate=resident, unit="blocks/s", note=note),
    ]
