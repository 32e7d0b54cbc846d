"""What the lip-sync scorer costs: a block of 16 pictures at 30 fps with its sound, and a whole clip.

On one thread of the CPU: each stage, then whole blocks of every backend. On a GPU, where there is one: single blocks
and batches, from arrays in ordinary host memory to scores there. Beside both, in the same run, the public SyncNet
architecture (random weights) on the same half second. Writes `bench.json` and `bench.md` to `results/scorer/`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avsync.errors import InputError
from avsync.scorer.backends.learned import NetBackend
from avsync.scorer.backends.load import load_backend
from avsync.scorer.backends.syncnet import COLUMNS, PICTURES, SIDE, SyncNet, distances, mfcc
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES, geometry
from avsync.scorer.features.grid import on_grid
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.gpu.block_program import BlockShape
from avsync.scorer.gpu.block_scorer import BlockScorer
from avsync.scorer.matching.lag_search import lag_scores, search_offsets
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.scorer import LipSyncScorer
from avsync.scorer.signal import Method
from benchmarks.scorer_clip import clip_row
from benchmarks.scorer_gpu import gpu_rows
from benchmarks.scorer_table import Row, timed, write
from tests.scorer.gpu.block_story import ensemble

ROOT: Final = Path(__file__).resolve().parent.parent
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SHAPE: Final = BlockShape()
CELLS: Final = slice(0, 27)
"""Of the block; its sound is searched 10 cells further on either side, from cell 8 of what is given on."""
NEAR: Final = slice(8, 8 + 10 + 27 + 10)
OFFSETS: Final = search_offsets()
STACKS: Final = 13
"""SyncNet embeds 25 stacks of pictures a second: 13 in 533 ms; and as much sound, with 5 more on either side."""
SOUNDS: Final = STACKS + 10
STAGES: Final = "one CPU thread, the stages of a block"
BLOCKS: Final = "one CPU thread, a whole block"
SYNCNET: Final = "SyncNet's architecture on the same half second"
BUSY: Final = (
    "p50, p95 and p99 are of wall time, neighbours on the same cores included. Of CPU time (the thread's own, what an "
    "idle core would take) there is p95."
)
AIMS: Final = {"geometry": "p95 <= 2 ms", "fused": "p95 <= 10 ms"}
METHODS: Final[tuple[Method, ...]] = ("geometry", "pixels", "fused")

MEMBERS: Final = 4

Nets = dict[str, NetBackend]


class Given(NamedTuple):
    """A block that the scorer judges: neither silent nor still nor hidden."""

    pcm: NDArray[np.int16]
    rois: NDArray[np.uint8]
    landmarks: Floats


def given_block() -> Given:
    rng = np.random.default_rng(1)
    loud = np.abs(np.sin(np.arange(SHAPE.samples) / 1600))
    mouth = np.zeros((96, 96, 1))
    mouth[40:60, 30:66] = 40
    lit = np.linspace(60, 180, 96)[:, None] + rng.integers(-9, 10, (96, 96, 3))
    face = lit - mouth * np.abs(np.sin(np.arange(SHAPE.frames) / 3.0))[:, None, None, None]
    mesh = rng.normal(300, 60, (468, 2)) + rng.normal(size=(SHAPE.frames, 468, 2)) * 2
    sound = (rng.normal(size=SHAPE.samples) * 4000 * loud).astype(np.int16)
    return Given(sound, face.astype(np.uint8), mesh.astype(np.float32))


def nets_of(weights: str) -> tuple[Nets, str]:
    """The shipped networks ("shipped") or ones of their usual size with random weights ("random"), and a remark."""
    if weights == "shipped":
        try:
            nets = {method: load_backend(method) for method in METHODS}
            return {name: net for name, net in nets.items() if isinstance(net, NetBackend)}, ""
        except InputError:
            pass
    torch.manual_seed(1)
    mouth = MouthNet(MEMBERS)
    landmarks = ensemble(MEMBERS, np.full(len(GEOMETRY_NAMES), 0.05, np.float32))
    pixels = ensemble(MEMBERS, np.full(mouth.members * mouth.values, 0.05, np.float32), mouth)
    made: Nets = {
        "geometry": NetBackend("geometry", (landmarks,), 0.0, frozenset({"landmarks"})),
        "pixels": NetBackend("pixels", (pixels,), 0.0, frozenset({"rois"})),
        "fused": NetBackend("fused", (landmarks, pixels), 0.0, frozenset({"rois", "landmarks"})),
    }
    return made, f"Networks of the usual size ({MEMBERS} members each), random weights: speed does not depend on them."


# ------------------------------------------------------------------------------------- the CPU


def stage_rows(nets: Nets, given: Given, runs: int) -> list[Row]:
    """Features, networks and lags, each alone."""

    def stage(name: str, work: Callable[[], object]) -> Row:
        return timed(STAGES, name, work, runs)

    rows = [
        stage("features: log-mel of its sound", partial(log_mel, given.pcm)),
        stage("features: numbers from landmarks", partial(geometry, given.landmarks)),
    ]
    starts = (np.arange(SHAPE.frames) / SHAPE.fps * 1e9).astype(np.int64)
    mel = log_mel(given.pcm)
    for method, backend in nets.items():
        cells, seen = on_grid(starts, backend.picture_values(given.rois, given.landmarks), 0, CELLS.stop)
        lips, sound = backend.embed_lips(cells, seen, CELLS), backend.embed_sound(mel, NEAR)
        if method == "pixels":
            rows.append(stage("pixels: network, crops to values", partial(backend.picture_values, given.rois, None)))
        if method != "fused":
            rows.append(stage(f"{method}: network, lips", partial(backend.embed_lips, cells, seen, CELLS)))
            rows.append(stage(f"{method}: network, sound", partial(backend.embed_sound, mel, NEAR)))
        search = partial(lag_scores, lips, sound, 10, OFFSETS, seen=seen)
        rows.append(stage(f"{method}: {len(OFFSETS)} lags, {lips.shape[1]} dimensions", search))
    return rows


def block_rows(nets: Nets, given: Given, runs: int) -> list[Row]:
    """Whole blocks through `LipSyncScorer.score_block`: checks, features, networks, lags, the result."""
    rows = []
    for name, backend in (*nets.items(), ("heuristic", load_backend("heuristic"))):
        block = partial(
            LipSyncScorer(backend).score_block,
            given.pcm,
            None if name == "geometry" else given.rois,
            fps=SHAPE.fps,
            pcm_start_ms=SHAPE.pcm_start_ms,
            landmarks=None if name == "pixels" else given.landmarks,
        )
        signal = block()
        assert signal.score_best is not None, f"{name} did not judge the block: {signal.label}"
        rows.append(timed(BLOCKS, name, block, runs, aim=AIMS.get(name, "")))
    one = {name: array[None] for name, array in given._asdict().items()}
    whole = partial(BlockScorer(nets["fused"], SHAPE, device="cpu").score, **one)
    rows.append(timed(BLOCKS, "fused, lags alone, as one program (`avsync.scorer.gpu.block_program`)", whole, runs))
    return rows


def syncnet_rows(given: Given, fused_p50_ms: float, runs: int) -> list[Row]:
    """On one CPU thread, and on the GPU if there is one."""
    row = timed(SYNCNET, "one CPU thread", syncnet_work(given, "cpu", at_once=1), runs, warm_ups=1)
    assert row.p50_ms is not None
    beside = f"{runs} runs; {row.p50_ms / fused_p50_ms:.0f} x a fused block's p50"
    rows = [row._replace(note=beside)]
    if torch.cuda.is_available():
        work = syncnet_work(given, "cuda", at_once=STACKS)
        return [*rows, timed(SYNCNET, "GPU, float32, from host memory to host memory", work, 200)]
    return [*rows, Row(SYNCNET, "GPU, float32, from host memory to host memory", note="no GPU at hand")]


def syncnet_work(given: Given, device: str, *, at_once: int) -> Callable[[], object]:
    """What SyncNet does for a block: MFCC, stacks of five faces, 200 ms of sound, the distances of 11 shifts."""
    net = SyncNet().to(device).eval()
    faces = torch.zeros(STACKS, 3, PICTURES, SIDE, SIDE)

    def work() -> object:
        columns = mfcc(given.pcm)
        sounds = np.stack([columns[4 * at : 4 * at + COLUMNS].T[None] for at in range(SOUNDS)])
        with torch.inference_mode():
            seen = [net.lips(stacks.to(device)).cpu().numpy() for stacks in torch.split(faces, at_once)]
            heard = net.sound(torch.from_numpy(sounds).to(device)).cpu().numpy()
        return distances(np.concatenate(seen), heard[5:-5], range(-5, 6))

    return work


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "scorer", help="folder for bench.json, bench.md")
    parser.add_argument("--runs", type=int, default=500, help="of each row on the CPU (500)")
    parser.add_argument(
        "--clip-s",
        type=float,
        nargs="*",
        default=(60.0, 20.0, 10.0),
        metavar="S",
        help="lengths of the clips (60 20 10)",
    )
    parser.add_argument("--weights", choices=("shipped", "random"), default="shipped", help="of the networks (shipped)")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    given = given_block()
    nets, remark = nets_of(args.weights)
    rows = stage_rows(nets, given, args.runs)
    blocks = block_rows(nets, given, args.runs)
    fused_p50_ms = next(row.p50_ms for row in blocks if row.name == "fused")
    rows += blocks + syncnet_rows(given, fused_p50_ms or np.nan, max(1, args.runs // 50))
    rows += gpu_rows(nets, SHAPE, given._asdict())
    rows += [clip_row(seconds) for seconds in args.clip_s]
    block = (
        f"A block is {SHAPE.frames} pictures at {SHAPE.fps:g} fps (533 ms) with {SHAPE.samples / 16_000:.2f} s of sound"
        f" around it, searched at {len(OFFSETS)} lags within ±200 ms; crops and landmarks are given."
    )
    print(write(args.out, rows, [part for part in (block, BUSY, remark) if part]))
    return 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):  # read when the libraries load
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    sys.exit(main())
