"""Lag: lateness that comes back is the pictures' way; one stall and the heap behind it is not."""

from __future__ import annotations

import pytest

from avsync.engine.lag import Lag
from avsync.units import ms, seconds

LEAST, LARGE = ms(25), ms(120)


def fed(*late_ms: int) -> Lag:
    """A ``Lag`` that saw one picture per half second, each so late."""
    lag = Lag(LEAST, LARGE)
    for number, late in enumerate((*late_ms, 0)):  # the last one closes the half second before it
        lag.add(ms(late), number * ms(500))
    return lag


@pytest.mark.parametrize(
    ("late_ms", "needed_ms"),
    [
        ((), 0),
        ((240, 240), 0),
        ((240, 250, 230), 240),
        ((0, 0, 240, 119, 250), 0),
        ((40, 40, 40, 40), 0),
        ((40, 45, 41, 42, 43), 41),
        ((24, 24, 24, 24, 24, 24), 0),
        ((200, 0, 190, 0, 205, 0, 210), 0),
        ((200, 0, 190, 0, 205, 0, 210, 0, 180), 190),
        ((1000, 400, 0, 0, 0, 0, 0, 0, 0, 0), 0),
    ],
)
def test_lateness_is_a_lag_once_it_came_back_often_enough(late_ms: tuple[int, ...], needed_ms: int) -> None:
    assert fed(*late_ms).needed_ns() == ms(needed_ms)


def test_a_heap_of_late_pictures_counts_as_one() -> None:
    lag = Lag(LEAST, LARGE)
    for number in range(25):
        lag.add(ms(1000 - 40 * number), seconds(1) + ms(number))
    for number in range(1, 4):
        lag.add(0, seconds(1) + number * ms(600))
    assert lag.needed_ns() == 0


def test_what_is_more_than_5_s_ago_is_forgotten_and_so_is_all_after_a_reset() -> None:
    lag = fed(*[240] * 5, *[0] * 6)
    assert lag.needed_ns() == 0
    lag = fed(*[240] * 5)
    assert lag.needed_ns() == ms(240)
    lag.reset()
    assert lag.needed_ns() == 0
