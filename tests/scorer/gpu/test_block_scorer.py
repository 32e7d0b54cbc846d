"""`BlockScorer`: slots that take turns lose and mix up nothing, and what does not fit is refused by name.

Here it runs on the CPU, the same code without graph and staging; the last story needs a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from avsync.errors import UsageError
from avsync.scorer.gpu.block_program import BlockShape
from avsync.scorer.gpu.block_scorer import BlockScorer
from tests.scorer.gpu.block_story import Block, backend

SHAPE = BlockShape()


def stacked(count: int) -> dict[str, np.ndarray[Any, Any]]:
    blocks = [Block(SHAPE, seed) for seed in range(count)]
    return {name: np.stack([getattr(block, name) for block in blocks]) for name in ("pcm", "rois", "landmarks")}


@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_blocks_come_back_in_their_order_whatever_the_batch(count: int) -> None:
    """Batches of 3 in two slots: an odd one, a full one, and a last one that leaves old blocks behind in its slot."""
    nets, given = backend(), stacked(count)
    alone = BlockScorer(nets, SHAPE, device="cpu")
    together = BlockScorer(nets, SHAPE, device="cpu", batch=3).score(**given)
    for number in range(count):
        one = alone.score(**{name: each[number : number + 1] for name, each in given.items()})
        np.testing.assert_allclose(together.rho[number], one.rho[0], atol=1e-4)
    assert len(together.best) == count
    assert np.ptp(together.rho, axis=0).min() > 1e-4 or count == 1, "blocks that all read alike would prove nothing"


def test_arrays_that_are_views_or_read_only_are_copied_all_the_same() -> None:
    nets, given = backend(), stacked(2)
    scorer = BlockScorer(nets, SHAPE, device="cpu", batch=2)
    wanted = scorer.score(**given).rho
    given["rois"] = np.ascontiguousarray(given["rois"][..., ::-1])[..., ::-1]
    given["pcm"].flags.writeable = False
    np.testing.assert_array_equal(scorer.score(**given).rho, wanted)


def test_only_what_the_backend_wants_must_be_given() -> None:
    given = stacked(1)
    assert BlockScorer(backend("pixels"), SHAPE, device="cpu").score(given["pcm"], given["rois"]).best.shape == (1,)
    with pytest.raises(UsageError, match="landmarks must be float32 .* got nothing"):
        BlockScorer(backend("geometry"), SHAPE, device="cpu").score(given["pcm"], given["rois"])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pcm", lambda pcm: pcm.astype(np.float32)),
        ("pcm", lambda pcm: pcm[:, :-1]),
        ("rois", lambda rois: rois[:, :, :48]),
        ("rois", lambda rois: rois.astype(np.float32)),
        ("landmarks", lambda landmarks: landmarks[:1]),
    ],
)
def test_another_shape_or_type_is_refused_by_name(name: str, wrong: Any) -> None:
    given = stacked(2)
    given[name] = wrong(given[name])
    with pytest.raises(UsageError, match=f"{name} must be"):
        BlockScorer(backend(), SHAPE, device="cpu").score(**given)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "int8"}, "precision must be one of float32, float16, bfloat16, got 'int8'"),
        ({"pcm_dtype": "float64"}, "pcm_dtype must be int16 or float32"),
        ({"batch": 0}, "batch must be >= 1, got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        BlockScorer(backend(), SHAPE, device="cpu", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="no GPU here"):
        BlockScorer(backend(), SHAPE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_recorded_graph_answers_what_the_cpu_answers(precision: str, batch: int) -> None:
    """TF32 in convolutions: 2^-11 of a number, much as float16."""
    nets, given = backend(), stacked(11)
    wanted = BlockScorer(nets, SHAPE, device="cpu").score(**given).rho
    scorer = BlockScorer(nets, SHAPE, device="cuda", batch=batch, precision=precision)
    for _ in range(2):
        np.testing.assert_allclose(scorer.score(**given).rho, wanted, atol=0.03)
