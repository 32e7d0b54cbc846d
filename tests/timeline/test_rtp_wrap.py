"""RTP wrap: one rule for all counters, whatever order their values come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.timeline.rtp_wrap import Unwrapper, signed


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_rtp_wrap_is_crossed_in_both_directions(bits: int) -> None:
    turn = 1 << bits
    counter = Unwrapper(bits)
    assert counter.unwrap(turn - 10) == turn - 10
    assert counter.unwrap(5) == turn + 5
    assert counter.unwrap(turn - 3) == turn - 3  # overtaken by the one before it
    assert counter.unwrap(20) == turn + 20


def test_a_question_does_not_move_the_counter() -> None:
    asked, unasked = Unwrapper(32), Unwrapper(32)
    for value in (4_294_967_000, 100, 900):
        asked.peek((value + (1 << 31) - 1) & 0xFFFFFFFF)  # alone this would be half a turn ahead
        assert asked.unwrap(value) == unasked.unwrap(value)
    fresh = Unwrapper(32)
    assert fresh.peek(7) == 7 and not fresh.started


def test_a_report_before_the_first_packet_starts_the_counter() -> None:
    """Peeked instead, the report and the media would be a whole turn apart after this wrap."""
    counter = Unwrapper(32)
    report = counter.unwrap(0xFFFFFF00)
    assert counter.unwrap(0x100) - report == 0x200


def test_a_step_back_is_not_almost_a_turn_ahead() -> None:
    counter = Unwrapper(32)
    counter.unwrap(500_000)
    assert counter.unwrap(499_040) == 499_040
    assert counter.unwrap(500_960) == 500_960


def test_a_step_back_before_the_start_is_negative_not_huge() -> None:
    counter = Unwrapper(16)
    counter.unwrap(2)
    assert counter.unwrap(65_534) == -2
    assert counter.unwrap(3) == 3


def test_the_same_timestamp_again_is_the_same_time() -> None:
    counter = Unwrapper(32)
    assert [counter.unwrap(value) for value in (9, 9, 9)] == [9, 9, 9]


def test_zero_is_a_timestamp_like_any_other() -> None:
    counter = Unwrapper(32)
    counter.unwrap(0)
    assert counter.started and counter.unwrap(0xFFFFFFFF) == -1


def test_a_month_of_ticks_stays_exact() -> None:
    counter = Unwrapper(32)
    step = 1_800_000_007  # less than half a turn
    for n in range(5_000):
        assert counter.unwrap((n * step) & 0xFFFFFFFF) == n * step


@given(st.integers(2, 10), st.lists(st.integers(-5, 2000), max_size=30))
def test_unwrapping_is_the_nearest_value_that_wraps_to_this(bits: int, values: list[int]) -> None:
    counter, turn, last = Unwrapper(bits), 1 << bits, None
    for value in values:
        if last is None:
            expected = value % turn
        else:
            near = [n for n in range(last - turn // 2, last + turn // 2) if (n - value) % turn == 0]
            assert len(near) == 1
            expected = near[0]
        assert counter.peek(value) == expected
        assert counter.unwrap(value) == expected
        last = expected


@pytest.mark.parametrize(
    ("later", "step"),
    [((1 << 31) - 1, (1 << 31) - 1), (1 << 31, -(1 << 31)), ((1 << 31) + 1, 1 - (1 << 31)), ((1 << 32) - 1, -1)],
)
def test_half_a_turn_away_is_a_step_back_for_both_who_ask(later: int, step: int) -> None:
    """The clock of the writing side has no ``Unwrapper``, but the same rule."""
    counter = Unwrapper(32)
    counter.unwrap(0)
    assert signed(later) == counter.peek(later) == counter.unwrap(later) == step


def test_a_counter_without_bits_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="bits must be >= 1, got 0"):
        Unwrapper(0)
