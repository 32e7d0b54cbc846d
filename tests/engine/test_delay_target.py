"""The delay target against arrivals whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.engine.delay_target import DelayTarget
from avsync.policy import AvSyncPolicy
from avsync.units import NS_PER_S, ms, seconds

POLICY = AvSyncPolicy()
UNIT = ms(20)
PATH = ms(40)


class Path:
    """Sound in units of 20 ms over a path; ``delay(i)`` is unit i's own, in ns."""

    def __init__(self, target: DelayTarget) -> None:
        self.target, self.index, self.shift_ns, self.last_ns = target, 0, 0, 0

    def run(self, length_s: float, delay: Callable[[int], int] = lambda _: PATH, *, speed: int = 1) -> None:
        for _ in range(seconds(length_s) // UNIT):
            at_ns = self.shift_ns + self.index * UNIT // speed + delay(self.index)
            self.last_ns = max(self.last_ns, at_ns)  # a network keeps the order
            self.target.add(self.last_ns, self.index * UNIT)
            self.index += 1

    def stop(self, length_s: float) -> None:
        """The source stands still, then goes on: content later by as much, for ever."""
        self.shift_ns += seconds(length_s)


@pytest.fixture
def path() -> Path:
    return Path(DelayTarget(POLICY))


def jittery(spread_ns: int, name: str = "jitter") -> Callable[[int], int]:
    chance = random.Random(name)
    return lambda _: PATH + round(spread_ns * chance.random())


def test_the_target_starts_where_the_policy_says(path: Path) -> None:
    assert path.target.target_ns() == POLICY.jitter_start_ns and path.target.learned_ns() == 0
    path.run(0.4)
    assert path.target.target_ns() == POLICY.jitter_start_ns


def test_a_clean_path_shrinks_to_the_minimum_no_faster_than_allowed(path: Path) -> None:
    path.run(0.4)
    last = path.target.target_ns()
    for _ in range(300):
        path.run(0.02)
        now = path.target.target_ns()
        assert 0 <= last - now <= ms(0.4)  # 20 ms/s
        last = now
    assert last == POLICY.jitter_min_ns
    assert path.target.learned_ns() == ms(20)


def test_jitter_is_covered_as_soon_as_it_comes_back(path: Path) -> None:
    path.run(0.54)
    assert path.target.target_ns() <= POLICY.jitter_start_ns
    path.run(0.5, lambda n: PATH + (ms(150) if n == 30 else 0))
    assert path.target.target_ns() <= POLICY.jitter_start_ns, "once is no habit"
    path.run(0.5, lambda n: PATH + (ms(150) if n == 55 else 0))
    assert path.target.target_ns() == ms(160)  # the upper end of its bucket


@pytest.mark.parametrize("at", [0, 1, 4, 9])
def test_a_line_that_hung_once_in_a_young_call_is_no_jitter(path: Path, at: int) -> None:
    begin = at * 50 + 2
    path.run(20, lambda n: PATH + max(0, ms(600) - (n - begin) * ms(20)) if n >= begin else PATH)
    assert path.target.target_ns() == POLICY.jitter_min_ns


def test_jitter_that_stays_is_covered(path: Path) -> None:
    path.run(5)
    path.run(5, jittery(ms(150)))
    assert ms(140) <= path.target.target_ns() <= ms(180)


def test_a_queue_that_breathes_is_jitter_although_whole_half_seconds_are_late(path: Path) -> None:
    """A triangle of 2 s and 300 ms: no level, it comes back."""
    path.run(30, lambda n: PATH + ms(300) * min(n % 100, 100 - n % 100) // 50)
    assert ms(280) <= path.target.target_ns() <= ms(340)


def test_the_target_covers_the_wanted_share_of_half_seconds(path: Path) -> None:
    """One spike in eight half seconds is more than 5 %, one in forty is less."""
    path.run(40, lambda n: PATH + (ms(200) if n % 200 == 150 else 0))
    assert ms(180) <= path.target.target_ns() <= ms(220)
    rare = Path(DelayTarget(POLICY))
    rare.run(90, lambda n: PATH + (ms(200) if n % 1000 == 950 else 0))
    assert rare.target.target_ns() == POLICY.jitter_min_ns


def test_the_quantile_is_the_policys() -> None:
    def half_bad(n: int) -> int:
        return PATH + (ms(110) if n % 50 == 25 else 0)  # every second half second

    low, high = (Path(DelayTarget(replace(POLICY, jitter_quantile_pct=pct))) for pct in (40, 60))
    low.run(60, half_bad)
    high.run(60, half_bad)
    assert low.target.learned_ns() == ms(20) and high.target.learned_ns() > ms(100)


def test_the_target_never_leaves_the_policys_bounds(path: Path) -> None:
    path.run(30, jittery(ms(1500)))
    assert path.target.target_ns() == POLICY.jitter_max_ns


def test_what_was_bad_is_forgotten(path: Path) -> None:
    path.run(20, jittery(ms(200)))
    grown = path.target.target_ns()
    assert grown >= ms(180)
    path.run(20)
    assert path.target.target_ns() >= grown - ms(40)  # the quantile remembers for a while...
    path.run(130)
    assert path.target.target_ns() == POLICY.jitter_min_ns  # ...but not for ever


@pytest.mark.parametrize("shrink_ns_per_s", [POLICY.jitter_shrink_ns_per_s, seconds(1)])
def test_a_new_turn_after_a_silence_is_not_delay(shrink_ns_per_s: int) -> None:
    path = Path(DelayTarget(replace(POLICY, jitter_shrink_ns_per_s=shrink_ns_per_s)))
    path.run(4)
    for _ in range(10):
        path.stop(0.3)  # PTS goes on where it was: this would look like 0.3 s of delay
        path.target.on_discontinuity()
        path.run(3)
    assert path.target.target_ns() == POLICY.jitter_min_ns


def test_jitter_before_the_end_of_a_turn_still_counts() -> None:
    path = Path(DelayTarget(replace(POLICY, jitter_quantile_pct=10)))
    for turn in range(200):  # of 0.1 s, five within each half second, the first of five is bad
        path.run(0.1, lambda n: PATH + (ms(120) if n % 5 == 2 and turn % 5 == 0 else 0))  # noqa: B023
        path.target.on_discontinuity()
    assert path.target.learned_ns() >= ms(120)


def test_reordered_and_retransmitted_units_touch_nothing(path: Path) -> None:
    for n in range(1000):
        path.run(0.02)
        path.target.add(n * UNIT + seconds(1), n * UNIT, in_order=False)
    assert path.target.target_ns() == POLICY.jitter_min_ns


@pytest.mark.parametrize("stopped", [False, True], ids=["content passes", "content stands"])
def test_dtx_is_not_jitter(stopped: bool) -> None:
    """Comfort noise every 400 ms, at the source's leisure; with or without the PTS passing meanwhile."""
    target, chance = DelayTarget(POLICY), random.Random("dtx")
    at_ns = pts_ns = 0
    for _ in range(30):
        for _ in range(75):
            target.add(at_ns + PATH, pts_ns)
            at_ns, pts_ns = at_ns + UNIT, pts_ns + UNIT
        for _ in range(4):
            target.add(at_ns + PATH, pts_ns, pause=True)
            rest = ms(400) + round(ms(150) * chance.random())
            at_ns += rest
            pts_ns += UNIT if stopped else ms(400)
    assert target.target_ns() == POLICY.jitter_min_ns


def test_a_long_pause_does_not_wash_out_what_is_known(path: Path) -> None:
    path.run(20, jittery(ms(200)))
    known = path.target.learned_ns()
    for n in range(300):  # two minutes of comfort noise
        path.target.add(path.last_ns + ms(400) * n, path.index * UNIT + ms(400) * n, pause=True)
    assert path.target.learned_ns() == known


@pytest.mark.parametrize("speed", [2, 4])
def test_a_source_faster_than_real_time_needs_no_target(path: Path, speed: int) -> None:
    path.run(60, speed=speed)
    assert path.target.target_ns() == POLICY.jitter_min_ns


def test_a_fast_source_in_blocks_needs_no_target() -> None:
    """Half seconds of sound, four a second: each block's first unit is later than the last one's end, yet early."""
    target = DelayTarget(POLICY)
    for n in range(2000):
        target.add(n // 25 * ms(250), n * UNIT)
    assert target.target_ns() == POLICY.jitter_min_ns


@pytest.mark.parametrize("length_s", [0.6, 1, 1.9, 10])
def test_a_source_that_stalls_and_goes_on_is_later_not_jittery(path: Path, length_s: float) -> None:
    path.run(10, jittery(ms(10)))
    path.stop(length_s)
    path.run(3, jittery(ms(10)))
    assert path.target.target_ns() <= ms(60)


def test_one_stall_with_a_burst_is_below_the_quantile(path: Path) -> None:
    path.run(15)
    path.run(10, lambda n: PATH + max(0, ms(1000) - (n - 750) * UNIT))
    assert path.target.target_ns() == POLICY.jitter_min_ns


def test_a_route_step_up_and_back_is_not_jitter(path: Path) -> None:
    path.run(10, jittery(ms(10)))
    path.run(10, lambda _: PATH + ms(200))
    path.run(20, jittery(ms(10)))
    assert path.target.target_ns() <= ms(60)
    path.run(100, lambda _: PATH + ms(80))  # too small to be called one; the window forgets
    assert path.target.target_ns() == POLICY.jitter_min_ns
    assert len(path.target._lows) <= 5


def test_a_jump_of_the_clock_by_hours_is_survived(path: Path) -> None:
    path.run(5)
    path.stop(7200)
    path.run(10)
    assert path.target.target_ns() == POLICY.jitter_min_ns


def test_large_units_are_measured_too() -> None:
    """One unit a second (a provider's chunks): alone in its period it is jitter, not a new level."""
    target = DelayTarget(POLICY)
    for n in range(60):
        target.add(seconds(n) + (ms(250) if n % 4 == 3 else 0), seconds(n))
    assert target.target_ns() >= ms(250)


@given(
    st.lists(
        st.tuples(st.integers(0, seconds(5)), st.integers(-seconds(5), seconds(5)), st.booleans(), st.booleans()),
        max_size=120,
    )
)
def test_any_history_keeps_bounds_and_slew(history: list[tuple[int, int, bool, bool]]) -> None:
    target = DelayTarget(POLICY)
    at_ns = pts_ns = 0
    last_ns, last_at_ns = target.target_ns(), 0
    for wait_ns, step_ns, pause, cut in history:
        at_ns, pts_ns = at_ns + wait_ns, pts_ns + step_ns
        if cut:
            target.on_discontinuity()
        target.add(at_ns, pts_ns, pause=pause)
        now_ns = target.target_ns()
        assert POLICY.jitter_min_ns <= now_ns <= POLICY.jitter_max_ns
        assert last_ns - now_ns <= (at_ns - last_at_ns) * POLICY.jitter_shrink_ns_per_s // NS_PER_S + 1
        last_ns, last_at_ns = now_ns, at_ns
        assert sum(target._histogram) in (0, 1 << 30)
