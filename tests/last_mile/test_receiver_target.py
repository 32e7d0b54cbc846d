"""How long a viewer's receivers are asked to hold: what makes it longer, what does not, and how it shrinks again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.last_mile.receiver_target import MOST_SHOWN, ReceiverReport, ReceiverTarget, Shown
from avsync.policy import AvSyncPolicy
from avsync.units import ms, seconds, to_ms

PICTURES = 25
PERIOD_NS = ms(40)
WAY_NS = ms(73)
"""Another clock, another machine: only what changes of it is known."""
OWN_HOLD_NS = ms(20)
STRETCH_NS = ms(50)
"""A second's change of the target, at most: a voice cannot be stretched faster."""


class Watching:
    """A browser in steps of a second. ``late_ns(n)``: how much later than usual picture ``n`` is there."""

    def __init__(self, late_ns: Callable[[int], int], *, max_ms: int = 400, has_lever: bool = True) -> None:
        self.control = ReceiverTarget(AvSyncPolicy(receiver_target_max_ns=ms(max_ms)))
        self.late_ns, self.has_lever = late_ns, has_lever
        self.left_late_ns: Callable[[int], int] = lambda _: 0  # how late our own source was with it
        self.second = 0
        self.asked_ns = 0
        self.targets: list[tuple[int, float]] = []
        self.late_pct: list[float] = []
        self._before_ns = 0
        self._there_ns = self._shown_ns = 0

    def run(self, until_s: int) -> Watching:
        while self.second < until_s:
            self._look_on()
            self.second += 1
        return self

    @property
    def target_ms(self) -> float:
        return to_ms(self.control.target_ns)

    def _look_on(self) -> None:
        goal_ns = self.control.target_ns
        asked_ns = self.asked_ns + max(-STRETCH_NS, min(STRETCH_NS, goal_ns - self.asked_ns))
        hold_ns = max(asked_ns, OWN_HOLD_NS)
        before_ns, self._before_ns, self.asked_ns = self._before_ns or hold_ns, hold_ns, asked_ns
        first = self.second * PICTURES
        shown: list[Shown] = []
        late_ns = 0
        for number in range(first, first + PICTURES):
            held_ns = before_ns + (hold_ns - before_ns) * (number - first) // PICTURES
            due_ns = number * PERIOD_NS + held_ns
            self._there_ns = max(self._there_ns, number * PERIOD_NS + self.late_ns(number))  # each needs the one before
            at_ns = max(due_ns, self._there_ns)
            late_ns += min(PERIOD_NS, max(0, at_ns - due_ns - ms(30)))
            if shown and at_ns - shown[-1].at_ns + WAY_NS < ms(16):
                shown.pop()  # both in one refresh: the newer one is seen
            next_ns = (number + 1) * PERIOD_NS + self.left_late_ns(number + 1)
            shown.append(Shown(number * PERIOD_NS, at_ns + WAY_NS, next_ns))
        self.late_pct.append(100 * late_ns / seconds(1))
        asked = asked_ns if self.has_lever else None
        if self.control.take(ReceiverReport(tuple(shown), OWN_HOLD_NS, asked), seconds(self.second + 1)):
            assert self.control.targets == (self.control.target_ns, self.control.target_ns)
            self.targets.append((self.second + 1, self.target_ms))


def calm(_number: int) -> int:
    return 0


def sent_again(after_ms: float, *, one_in: int = 8) -> Callable[[int], int]:
    return lambda number: ms(after_ms) if number % one_in == one_in - 1 else 0


def test_on_a_calm_line_nothing_is_ever_asked_for() -> None:
    assert Watching(calm).run(120).targets == []


def test_pictures_that_are_sent_again_are_waited_for_after_the_first_reports_that_show_them() -> None:
    page = Watching(sent_again(150)).run(20)
    at_s, first_ms = page.targets[0]
    assert at_s <= 2
    assert 100 <= first_ms <= 150
    assert 110 <= page.target_ms <= 150  # what they are late by, less what nobody sees
    assert max(page.late_pct[:3]) > 20
    assert max(page.late_pct[8:]) <= 5  # a p95 does not see it


@pytest.mark.parametrize("after_ms", [100, 200, 300])
def test_it_holds_for_as_long_as_they_need_and_no_longer(after_ms: int) -> None:
    assert after_ms - 40 <= Watching(sent_again(after_ms)).run(20).target_ms <= after_ms


def test_an_outage_and_a_few_late_pictures_are_no_spread() -> None:
    def rough(number: int) -> int:
        return {100: ms(1_000), 200: ms(250), 300: ms(250), 400: ms(250)}.get(number, 0)

    assert Watching(rough).run(40).targets == []


def test_what_was_lost_twice_does_not_decide() -> None:
    def lost(number: int) -> int:
        return ms(350) if number in (20, 200, 330) else sent_again(120)(number)

    assert Watching(lost).run(20).target_ms <= 150


def test_what_the_source_itself_was_late_by_is_not_the_ways_fault() -> None:
    def stalls(number: int) -> int:
        return ms(200) if number % 100 > 80 else 0

    page = Watching(stalls)
    page.left_late_ns = stalls
    assert page.run(40).targets == []


@pytest.mark.parametrize("longer", [True, False])
def test_a_way_that_changes_for_good_is_no_spread(longer: bool) -> None:
    """Wherever within a second it changes: lips are moved by that once, and a hold would not bring them back."""
    for change in range(250, 275, 3):
        page = Watching(lambda number, change=change: ms(150) if (number >= change) is longer else 0).run(20)
        assert page.targets == []


def test_after_half_a_minute_of_calm_it_shrinks_by_a_tenth_each_time() -> None:
    page = Watching(lambda number: sent_again(250)(number) if number < 20 * PICTURES else 0).run(20)
    high_ms = page.target_ms
    assert high_ms >= 200
    page.run(50)
    assert high_ms * 0.85 <= page.target_ms < high_ms
    page.run(1_500)
    assert page.target_ms == 0
    steps = page.targets[-10:]
    assert all(later - earlier >= 30 for (earlier, _), (later, _) in zip(steps, steps[1:], strict=False))


def test_where_it_had_shrunk_too_far_it_is_back_at_once_and_tries_again_later() -> None:
    page = Watching(sent_again(200, one_in=4)).run(400)
    less = [at for (_, before), (at, after) in zip(page.targets, page.targets[1:], strict=False) if after < before]
    assert len(less) >= 2
    assert less[1] - less[0] >= 60
    assert sum(pct > 30 for pct in page.late_pct[20:]) == 0  # a tenth less is hardly seen


def test_never_more_than_the_policy_allows() -> None:
    assert Watching(sent_again(300), max_ms=200).run(30).target_ms == 200


def test_one_field_turns_it_off() -> None:
    assert Watching(sent_again(300), max_ms=0).run(30).targets == []


def test_a_browser_without_the_lever_is_known_as_such_and_asked_for_nothing() -> None:
    page = Watching(sent_again(150), has_lever=False).run(30)
    assert page.targets == []
    assert page.control.supported is False


def test_it_says_how_long_the_target_has_stood_still() -> None:
    page = Watching(sent_again(150))
    assert page.control.settled(0, seconds(20))
    page.run(10)
    last_s = page.targets[-1][0]
    moved_ns = page.control.moved_ns
    assert moved_ns is not None
    assert moved_ns > seconds(last_s)  # it was on its way for two more seconds
    assert not page.control.settled(moved_ns + seconds(19), seconds(20))
    assert page.control.settled(moved_ns + seconds(20), seconds(20))


def test_time_does_not_go_back() -> None:
    control = ReceiverTarget(AvSyncPolicy())
    control.take(ReceiverReport((), None, 0), seconds(2))
    with pytest.raises(UsageError):
        control.take(ReceiverReport((), None, 0), seconds(1))


WHOLE = st.integers(-(10**13), 10**13)
REPORTS = st.lists(
    st.tuples(
        st.lists(st.builds(Shown, WHOLE, WHOLE, st.none() | WHOLE), max_size=8),
        st.none() | st.integers(0, ms(60_000)),
        st.none() | st.integers(0, ms(60_000)),
    ),
    max_size=20,
)


@given(REPORTS)
def test_whatever_a_page_says_the_target_stays_within_its_bounds(reports: list[tuple[list[Shown], int, int]]) -> None:
    control = ReceiverTarget(AvSyncPolicy())
    for second, (shown, held_ns, asked_ns) in enumerate(reports):
        control.take(ReceiverReport(tuple(shown), held_ns, asked_ns), seconds(second))
        assert 0 <= control.target_ns <= ms(400)
        assert control.target_ns % ms(10) == 0


def test_a_page_whose_clock_hardly_moves_fills_no_memory() -> None:
    control = ReceiverTarget(AvSyncPolicy())
    for n in range(400):
        at_ns = ms(n) // 100
        shown = tuple(Shown(ms(40) * k, at_ns + k, ms(40) * (k + 1)) for k in range(25))
        control.take(ReceiverReport(shown, OWN_HOLD_NS, 0), seconds(n))
    assert len(control._stood) <= MOST_SHOWN
