"""The block in one go agrees with the path through numpy: every step alone, whole blocks, batches, half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.scorer.backends.learned import NetBackend
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import geometry
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.features.normalising import trust_columns
from avsync.scorer.gpu.block_program import TOLERANCE, BlockProgram, BlockShape, read_scores
from avsync.scorer.matching.lag_search import best_lag, lag_scores, search_offsets
from avsync.scorer.scorer import LipSyncScorer
from avsync.scorer.signal import Method
from tests.scorer.gpu.block_story import Block, backend

OFFSETS = search_offsets()


def through_numpy(nets: NetBackend, block: Block, step_ms: float = 20.0) -> NDArray[np.float64]:
    """The same block by the path that `LipSyncScorer` takes."""
    scorer = LipSyncScorer(nets, step_ms=step_ms, silence_dbfs=-100.0)
    shape = block.shape
    scored = scorer._score(block.pcm, block.rois, shape.fps, shape.pcm_start_ms, block.landmarks)
    assert scored.scores is not None, scored.signal.label
    return scored.scores.rho


def in_one_go(
    nets: NetBackend, block: Block, offsets_ms: NDArray[np.float64] = OFFSETS, **options: Any
) -> NDArray[np.float32]:
    with torch.inference_mode():
        return BlockProgram(nets, block.shape, offsets_ms, **options)(*block.tensors())[0, 0].numpy()


@pytest.mark.parametrize("method", ["geometry", "pixels", "fused"])
@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_a_block_in_one_go_scores_every_lag_as_the_path_through_numpy(method: Method, fps: float) -> None:
    nets = backend(method)
    block = Block(BlockShape(fps=fps), seed=int(fps))
    wanted = through_numpy(nets, block)
    np.testing.assert_allclose(in_one_go(nets, block), wanted, atol=TOLERANCE)
    assert np.nanstd(wanted) > 20 * TOLERANCE, "lags that all read alike would prove nothing"


def test_sound_that_starts_between_cells_and_ends_early_is_placed_and_left_out_alike() -> None:
    nets = backend()
    for start_ms in (-51.0, 33.3, 240.0):
        block = Block(BlockShape(samples=9_200, pcm_start_ms=start_ms), seed=4)
        wanted = through_numpy(nets, block)
        np.testing.assert_allclose(in_one_go(nets, block), wanted, atol=TOLERANCE)
        assert np.isnan(wanted).any() == (start_ms == 240.0)


def test_pictures_too_slow_to_be_believed_until_the_next_are_held_alike() -> None:
    nets, block = backend(), Block(BlockShape(fps=8.0, samples=44_000), seed=13)
    np.testing.assert_allclose(in_one_go(nets, block), through_numpy(nets, block), atol=TOLERANCE)


def test_pictures_without_a_face_are_left_out_alike() -> None:
    nets = backend("geometry")
    for unseen in ((0,), (3, 4, 5, 11), (0, 1, 14, 15)):
        block = Block(BlockShape(), seed=5, unseen=unseen)
        np.testing.assert_allclose(in_one_go(nets, block), through_numpy(nets, block), atol=TOLERANCE)
    for lost in (13, 16):
        assert np.isnan(in_one_go(nets, Block(BlockShape(), seed=5, unseen=tuple(range(lost))))).all()


def test_a_running_mean_is_taken_off_long_segments_alike() -> None:
    nets = backend("geometry")
    for unseen in ((), (0, 1), (7, 8, 9)):
        block = Block(BlockShape(fps=12.5, samples=36_000), seed=21, unseen=unseen)  # 1.28 s of pictures
        np.testing.assert_allclose(in_one_go(nets, block), through_numpy(nets, block), atol=TOLERANCE)


def test_a_mouth_that_hardly_moves_counts_less_beside_pixels_alike() -> None:
    nets, read = backend("fused"), []
    for share in (1.0, 0.2):
        block = Block(BlockShape(), seed=22)
        block.landmarks[:] = block.landmarks.mean(axis=0) + share * (block.landmarks - block.landmarks.mean(axis=0))
        spread = geometry(block.landmarks).std(axis=0)[trust_columns()]
        for each in nets.ensembles[:1]:
            each.usual_spread[trust_columns()] = spread / share
        read.append(in_one_go(nets, block))
        np.testing.assert_allclose(read[-1], through_numpy(nets, block), atol=TOLERANCE)
    pixels_alone = NetBackend("fused", nets.ensembles[1:], nets.bias_ms, frozenset({"rois"}))
    alone = through_numpy(pixels_alone, Block(BlockShape(), seed=22))
    moving, still = (np.abs(each - alone).max() for each in read)
    assert still < 0.3 * moving


@pytest.mark.parametrize("bias_ms", [-45.0, -8.5, 61.0])
def test_a_bias_moves_the_pictures_alike(bias_ms: float) -> None:
    nets, block = backend(bias_ms=bias_ms), Block(BlockShape(), seed=11)
    np.testing.assert_allclose(in_one_go(nets, block), through_numpy(nets, block), atol=TOLERANCE)


def test_sound_far_beyond_the_search_is_left_out_alike() -> None:
    nets, block = backend(), Block(BlockShape(samples=160_000, pcm_start_ms=-7000.0), seed=12)
    block.pcm[:12_000] //= 100
    block.pcm[130_000:] //= 100
    np.testing.assert_allclose(in_one_go(nets, block), through_numpy(nets, block), atol=TOLERANCE)


@pytest.mark.parametrize("step_ms", [40.0, 100.0 / 3, 7.0])
def test_lags_between_cells_are_interpolated_alike(step_ms: float) -> None:
    nets, block = backend(), Block(BlockShape(), seed=6)
    found = in_one_go(nets, block, search_offsets(200, step_ms))
    np.testing.assert_allclose(found, through_numpy(nets, block, step_ms), atol=TOLERANCE)


def test_a_block_scores_the_same_alone_and_among_others() -> None:
    nets = backend()
    blocks = [Block(BlockShape(), seed=seed, unseen=(seed,)) for seed in range(3)]
    program = BlockProgram(nets, BlockShape(), OFFSETS)
    with torch.inference_mode():
        together = program(*(torch.cat(each) for each in zip(*(block.tensors() for block in blocks), strict=True)))
    for block, found in zip(blocks, together[:, 0].numpy(), strict=True):
        np.testing.assert_allclose(found, in_one_go(nets, block), atol=1e-4)


def test_float_sound_and_int16_sound_are_the_same() -> None:
    nets, block = backend(), Block(BlockShape(), seed=7)
    wanted = in_one_go(nets, block)
    block.pcm = (block.pcm / 32768).astype(np.float32)
    np.testing.assert_allclose(in_one_go(nets, block), wanted, atol=1e-5)


def test_half_precision_stays_within_what_its_mantissa_allows() -> None:
    nets, block = backend(), Block(BlockShape(), seed=8)
    wanted = in_one_go(nets, block)
    found = in_one_go(nets, block, dtype=torch.bfloat16)
    assert 1e-6 < np.abs(found - wanted).max() < 0.03


def test_log_mel_and_geometry_alone_agree() -> None:
    block = Block(BlockShape(), seed=9)
    program = BlockProgram(backend(), block.shape, OFFSETS)
    pcm, _, landmarks = block.tensors()
    np.testing.assert_allclose(program.log_mel(pcm)[0].numpy(), log_mel(block.pcm), atol=2e-4)
    np.testing.assert_allclose(program.geometry(landmarks)[0].numpy(), geometry(block.landmarks), rtol=1e-5)


def test_a_shape_without_sound_at_its_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match="no sound at the time"):
        BlockProgram(backend(), BlockShape(samples=3200, pcm_start_ms=5000.0), OFFSETS)


# ---------------------------------------------------------------------------------- the answer


def test_the_best_lag_and_its_margin_are_those_of_the_lag_search() -> None:
    rng = np.random.default_rng(10)
    rho = rng.normal(size=(40, len(OFFSETS))).astype(np.float32)
    rho[rng.random(rho.shape) < 0.3] = np.nan
    rho[3], rho[4, 2:18] = np.nan, 5.0  # nothing scored; many bests alike
    scores = read_scores(OFFSETS, np.stack([rho, np.ones_like(rho)], axis=1))
    for row, best, margin in zip(rho, scores.best, scores.margin, strict=True):
        peak = best_lag(OFFSETS, row.astype(np.float64))
        if peak is None:
            assert best == -1 and np.isnan(margin)
        else:
            assert best == peak.lag and margin == pytest.approx(peak.margin, abs=1e-6)


def one_lag(lips: Floats, sound: Floats, at: int, offset_ms: float, seen: NDArray[np.bool_]) -> float:
    """One correlation, cell by cell, as its definition says."""
    pairs = []
    for cell in np.flatnonzero(seen):
        place = at + cell - offset_ms / 20
        low = int(np.floor(place + 1e-9))
        part = max(place - low, 0.0) if place - low > 1e-6 else 0.0
        if low >= 0 and low + (part > 0) < len(sound):
            pairs.append((lips[cell], (1 - part) * sound[low] + (part * sound[low + 1] if part else 0.0)))
    if len(pairs) < 0.5 * len(lips):
        return np.nan
    if len(pairs) < 2:
        return 0.0  # one cell has no correlation
    a, b = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(2, 20), st.integers(2, 30), st.integers(-12, 12), st.sampled_from([20.0, 33.0])
)
def test_the_quick_sums_of_the_lag_search_are_correlations_cell_by_cell(
    seed: int, n: int, m: int, at: int, step_ms: float
) -> None:
    rng = np.random.default_rng(seed)
    lips, sound = (rng.normal(3, 1, (rows, 4)).astype(np.float32) for rows in (n, m))
    seen = rng.random(n) < 0.8
    offsets_ms = search_offsets(120, step_ms)
    found = lag_scores(lips, sound, at, offsets_ms, seen=seen).rho
    wanted = [one_lag(lips, sound, at, offset_ms, seen) for offset_ms in offsets_ms]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
