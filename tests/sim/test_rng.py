"""Named chance: the same integers everywhere and for ever, one draw per question."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import PCG64, SeedSequence

from avsync.errors import UsageError
from sim.rng import CHUNK, EXPONENTIAL_MILLIONTHS, NORMAL_MILLIONTHS, Draws, substream

MILLION = 1_000_000


def test_streams_are_pinned_so_that_a_seed_means_the_same_next_year() -> None:
    draws = substream(42, "to_viewer.loss")
    assert [draws.raw() for _ in range(3)] == [5977768434624954983, 4222266164235768603, 11137028647130209752]
    draws = substream(42, "to_viewer.jitter")
    assert [draws.gaussian(MILLION) for _ in range(4)] == [274829, 73809, 370925, -648971]


def test_tables_are_the_same_on_every_platform() -> None:
    assert zlib.crc32(repr(NORMAL_MILLIONTHS).encode()) == 3084335786
    assert zlib.crc32(repr(EXPONENTIAL_MILLIONTHS).encode()) == 458845175


def test_streams_do_not_depend_on_the_hash_seed() -> None:
    code = "from sim.rng import substream; print(substream(7, 'a.b').raw())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert outputs == {f"{substream(7, 'a.b').raw()}\n"}


def test_fetching_in_chunks_changes_nothing() -> None:
    plain = PCG64(SeedSequence([3, zlib.crc32(b"x")])).random_raw(2 * CHUNK + 3).tolist()
    draws = substream(3, "x")
    assert [draws.raw() for _ in plain] == plain


def test_streams_differ_by_name_and_by_seed() -> None:
    firsts = {substream(seed, name).raw() for seed in range(20) for name in ("a", "b", "a.b")}
    assert len(firsts) == 60


@pytest.mark.parametrize(
    "ask",
    [
        lambda draws: draws.below(10),
        lambda draws: draws.chance(0),
        lambda draws: draws.chance(MILLION),
        lambda draws: draws.gaussian(5),
        lambda draws: draws.exponential(5),
        lambda draws: draws.between_ns(0, 9),
    ],
)
def test_every_question_costs_one_draw_whatever_the_answer(ask: Callable[[Draws], object]) -> None:
    asked, plain = substream(1, "x"), substream(1, "x")
    for _ in range(5):
        ask(asked)
        plain.raw()
    assert asked.raw() == plain.raw()


def test_answers_stay_in_their_bounds_and_are_ints() -> None:
    draws = substream(9, "x")
    assert {draws.below(3) for _ in range(200)} == {0, 1, 2}
    assert {draws.between_ns(-1, 1) for _ in range(200)} == {-1, 0, 1}
    assert not any(draws.chance(0) for _ in range(200))
    assert all(draws.chance(MILLION) for _ in range(200))
    assert type(draws.gaussian(1000)) is int and type(draws.exponential(1000)) is int


class Always:
    """Raw bits that are always the same."""

    def __init__(self, raw: int) -> None:
        self._raw = raw

    def random_raw(self, n: int) -> np.ndarray:
        return np.full(n, self._raw, dtype=np.uint64)


def test_chance_is_exact_at_both_ends() -> None:
    lowest, highest = Draws(Always(0)), Draws(Always(2**64 - 1))  # type: ignore[arg-type]
    assert not lowest.chance(0) and lowest.chance(1)
    assert highest.chance(MILLION) and not highest.chance(MILLION - 1)
    assert highest.below(7) == 6 and highest.between_ns(3, 9) == 9 and lowest.between_ns(3, 9) == 3


def test_distributions_have_the_moments_they_promise() -> None:
    draws, n = substream(5, "x"), 40_000
    gaussian = [draws.gaussian(MILLION) for _ in range(n)]
    assert abs(sum(gaussian)) < 0.02 * MILLION * n
    assert sum(value * value for value in gaussian) == pytest.approx(n * MILLION**2, rel=0.02)
    exponential = [draws.exponential(MILLION) for _ in range(n)]
    assert min(exponential) >= 0 and sum(exponential) == pytest.approx(n * MILLION, rel=0.02)
    assert sum(draws.chance(20_000) for _ in range(n)) == pytest.approx(0.02 * n, rel=0.1)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1"])
def test_a_seed_is_a_whole_number(seed: int) -> None:
    with pytest.raises(UsageError, match="seed must be an int"):
        substream(seed, "x")
