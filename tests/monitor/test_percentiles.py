"""Percentiles from bins: the sorted list's answer to within half a bin, UNKNOWN below 20."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.monitor.percentiles import BIN_NS, LIMIT_BINS, MIN_SAMPLES, OffsetHistogram, RecentOffsets
from avsync.units import ms, seconds

PCTS = (1, 50, 95, 99, 100)
offsets = st.one_of(st.integers(-ms(300), ms(300)), st.integers(-seconds(20), seconds(20)), st.just(0))


def nearest_rank(values: list[int], pct: int) -> int:
    ordered = sorted(values)
    return next(v for i, v in enumerate(ordered, 1) if 100 * i >= pct * len(ordered))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(offsets, min_size=MIN_SAMPLES, max_size=200))
def test_percentiles_are_those_of_the_sorted_list(values: list[int]) -> None:
    histogram = OffsetHistogram()
    histogram.add_all(values)
    for answers, parts in (
        (histogram.abs_percentiles_ns(*PCTS), [abs(v) for v in values]),
        (histogram.lead_percentiles_ns(*PCTS), [max(v, 0) for v in values]),
        (histogram.lag_percentiles_ns(*PCTS), [max(-v, 0) for v in values]),
    ):
        for pct, answer in zip(PCTS, answers, strict=True):
            exact = nearest_rank(parts, pct)
            assert answer is not None
            if exact < seconds(10) - BIN_NS:
                assert abs(answer - exact) <= BIN_NS // 2
            else:  # the overflow bin answers its extreme
                assert exact <= answer + BIN_NS and answer <= max(parts) + BIN_NS
    assert max(histogram.max_lead_ns, histogram.max_lag_ns) == max(abs(v) for v in values)


def test_fewer_than_twenty_are_unknown() -> None:
    histogram = OffsetHistogram()
    histogram.add_all([ms(80)] * (MIN_SAMPLES - 1))
    assert histogram.abs_percentiles_ns(50, 95) == (None, None) and histogram.lead_percentiles_ns(95) == (None,)
    histogram.add_all([ms(80)])
    assert histogram.abs_percentiles_ns(50, 95) == (ms(80), ms(80)) and histogram.lag_percentiles_ns(95) == (0,)


def test_memory_is_bounded_whatever_comes() -> None:
    histogram = OffsetHistogram()
    histogram.add_all(i * ms(0.1) for i in range(-1_000_000, 1_000_000, 7))
    histogram.add_all([1 << 80, -(1 << 80)])
    assert len(histogram._counts) <= 2 * LIMIT_BINS + 1
    assert histogram.max_lead_ns == histogram.max_lag_ns == 1 << 80


def test_recent_offsets_are_the_last_10_s_sorted_and_the_newest_of_them() -> None:
    recent = RecentOffsets(seconds(10), 500)
    assert recent.newest(0, seconds(1)) is None
    recent.add_all([seconds(n) for n in range(30)], [(-1) ** n * n for n in range(30)])
    assert recent.newest(seconds(29), seconds(2)) is None and len(recent) == 11  # 19 .. 29: too few to be known
    recent.add_all([seconds(29) + n for n in range(1, 20)], [5] * 19)
    newest, everything = recent.newest(seconds(29) + 19, seconds(1) + 19), recent.ordered()
    assert everything == sorted(everything) and len(everything) == 29 and everything[0] == -29
    assert newest == [-29, *[5] * 19]  # not the one of exactly a second before


def test_recent_offsets_are_bounded_however_fast_they_come() -> None:
    recent = RecentOffsets(seconds(10), 500)
    recent.add_all(range(10_000), range(10_000))
    assert recent.newest(10_000, 100) == list(range(9_900, 10_000)) and len(recent) == 500
