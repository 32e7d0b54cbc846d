"""Drift against arrivals whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.policy import AvSyncPolicy
from avsync.timeline.drift import DriftEstimator
from avsync.units import NS_PER_S, ms, seconds

POLICY = AvSyncPolicy()
UNIT = ms(20)
PATH = ms(40)


def arrivals(
    name: str, length_s: int, ppm: float, *, step_ms: float = 0, step_at: float = 0.5
) -> Iterator[tuple[int, int]]:
    """Sound over a synthetic path: exponential jitter, a burst of 0.1 to 0.5 s every 8 s, one route step.

    The remote clock runs ``ppm`` fast: unit n leaves at n * 20 ms / (1 + ppm).
    """
    chance = random.Random(name)
    burst_from = chance.expovariate(1 / 8)
    burst_to = burst_from + chance.uniform(0.1, 0.5)
    last = 0.0
    for n in range(length_s * 50):
        sent = n / 50 / (1 + ppm * 1e-6)
        at = sent + 0.04 + chance.expovariate(1 / 0.006)
        if sent >= step_at * length_s:
            at += step_ms / 1000
        while burst_to < at:
            burst_from = burst_to + chance.expovariate(1 / 8)
            burst_to = burst_from + chance.uniform(0.1, 0.5)
        at = max(last, burst_to if at > burst_from else at)
        last = at
        yield round(at * NS_PER_S), n * UNIT


def test_drift_is_found_at_60_s_through_bursts_and_a_route_step() -> None:
    """Hold-out: these seeds chose nothing. The target is 30 ppm for most; a global fit is off by hundreds."""
    errors = []
    for seed in range(12):
        chance = random.Random(f"holdout.{seed}")
        ppm = chance.uniform(-300, 300)
        step_ms = chance.choice([-1, 1]) * chance.uniform(10, 60)
        drift = DriftEstimator()
        at_ns = 0
        for at_ns, pts_ns in arrivals(f"path.{seed}", 62, ppm, step_ms=step_ms, step_at=chance.uniform(0.1, 0.9)):
            drift.add(at_ns, pts_ns)
        found = drift.ppm(at_ns)
        assert found is not None
        errors.append(abs(found - ppm))
    errors.sort()
    assert errors[9] <= 30 and errors[11] <= 100, errors


@pytest.mark.parametrize("ppm", [-2000, -50, 50, 200, 500])
def test_positive_means_that_the_remote_clock_is_fast(ppm: int) -> None:
    drift = DriftEstimator()
    for n in range(70 * 50):
        drift.add(n * UNIT * 1_000_000 // (1_000_000 + ppm) + PATH, n * UNIT)
    found = drift.ppm(seconds(69))
    assert found is not None and abs(found - ppm) <= 1


def test_a_large_drift_is_measured_as_sharply_as_a_small_one() -> None:
    """Lags run from fastest unit to fastest unit, wherever in their seconds these are."""
    drift = DriftEstimator()
    for at_ns, pts_ns in arrivals("sharp", 122, 2000):
        drift.add(at_ns, pts_ns)
    spread_ppm = drift.spread_ppm(at_ns)
    assert spread_ppm is not None and spread_ppm <= 50


def test_ppm_is_rounded_to_the_nearest() -> None:
    drift = DriftEstimator()
    for n in range(62 * 50):
        drift.add(n * UNIT, n * UNIT + n * 14)  # 0.7 ppm
    assert drift.ppm(seconds(62)) == 1


def test_drift_is_reported_from_60_s_and_applied_from_120_s() -> None:
    drift = DriftEstimator()
    for at_ns, pts_ns in arrivals("when", 123, 100):
        drift.add(at_ns, pts_ns)
        assert (drift.ppm(at_ns) is None) == (at_ns < seconds(60))
        assert drift.applicable(at_ns) == (at_ns >= seconds(120))
    spread_ppm = drift.spread_ppm(seconds(123))
    assert spread_ppm is not None and spread_ppm < 100


def test_a_slow_wave_of_the_delay_is_reported_but_never_applied() -> None:
    """Queues that breathe over a minute look like drift both ways; the pair slopes disagree, and say so."""
    drift = DriftEstimator()
    for n in range(200 * 50):
        phase = n % 3000 / 1500  # a triangle of 60 s and 20 ms
        drift.add(n * UNIT + PATH + round(ms(20) * min(phase, 2 - phase)), n * UNIT)
        if n % 50 == 0:
            assert not drift.applicable(n * UNIT)
    assert drift.ppm(seconds(200)) is not None


def test_a_turn_after_a_silence_is_not_drift() -> None:
    """Turns of 7.5 s, silences of 0.3 s in which the content stands: without ``on_pause`` -40 000 ppm."""
    drift = DriftEstimator()
    pts_ns = at_ns = 0
    for _ in range(20):
        for _ in range(375):
            drift.add(at_ns, pts_ns)
            at_ns, pts_ns = at_ns + UNIT, pts_ns + UNIT
        drift.on_pause()
        at_ns += ms(300)
    assert drift.ppm(at_ns) == 0 == drift.spread_ppm(at_ns)


def test_seconds_with_too_few_units_are_left_out() -> None:
    drift = DriftEstimator()
    for n in range(300):
        drift.add(n * ms(250), n * ms(250))
    assert drift.ppm(seconds(75)) is None


def test_what_is_older_than_300_s_is_forgotten() -> None:
    drift = DriftEstimator()
    for n in range(100 * 50):
        drift.add(n * UNIT, n * UNIT)
    assert drift.ppm(seconds(100)) == 0
    assert drift.ppm(seconds(395)) is None
    assert not drift._slopes and not drift._sorted


def test_memory_and_cost_stay_bounded_over_hours() -> None:
    drift = DriftEstimator()
    for n in range(3600 * 5 * 2):  # five units a second are the fewest that count
        drift.add(n * ms(200), n * ms(200) * 1_000_100 // 1_000_000)
    assert drift.ppm(n * ms(200)) == 100
    assert len(drift._lows) <= 301 and len(drift._sorted) == len(drift._slopes) <= 300 * 11


@given(st.lists(st.tuples(st.integers(-seconds(20), seconds(90)), st.integers(-(2**70), 2**70)), max_size=60))
def test_hostile_arrivals_never_raise(history: list[tuple[int, int]]) -> None:
    drift = DriftEstimator()
    at_ns = 0
    for step_ns, pts_ns in history:
        at_ns += step_ns
        for n in range(5):
            drift.add(at_ns + n, pts_ns)
        drift.ppm(at_ns)
        drift.applicable(at_ns)
        if pts_ns % 7 == 0:
            drift.on_pause()
