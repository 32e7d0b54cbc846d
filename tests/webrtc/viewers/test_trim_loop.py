"""The slow trim: what it acts on, how far, how fast, and that it lives in peace with the browser's own loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.engine.trim import Trim
from avsync.policy import AvSyncPolicy
from avsync.units import ms, seconds, to_ms
from avsync.webrtc.viewers.observer import Recent, middle
from avsync.webrtc.viewers.trim_loop import ViewerTrim, fewest
from sim.browser.lip_sync import StreamSync
from tests.webrtc.viewers.viewer_story import Page

LAG_S = 3
"""A sample is settled 2 s after its moment, and a report comes up to 1 s later."""
WINDOW_S, SETTLE_S = 10, 20


class Loop:
    """A session's trim and its viewers in steps of a second: ``base_ns(second)`` is what each would see untrimmed."""

    def __init__(self, *viewers: Callable[[int], int | None], policy: AvSyncPolicy | None = None) -> None:
        self.viewers = viewers
        self.control = ViewerTrim(policy)
        self.engine = Trim((policy or AvSyncPolicy()).trim_slew_ppm)
        self.seen: list[list[int | None]] = []
        self.trims: list[int] = []
        self.answers: list[int | None] = []

    def run(self, until_s: int, *, steady: Callable[[int], bool] = lambda _: True) -> Loop:
        for second in range(len(self.seen), until_s):
            for slot in range(50):
                self.engine.slew(seconds(second) + ms(20) * slot)
            bases = [base(second) for base in self.viewers]
            self.seen.append([None if base is None else base - self.engine.ns for base in bases])
            self.trims.append(self.engine.ns)
            recents = [self.recent(viewer, second) for viewer in range(len(self.viewers))]
            goal = self.control.update(
                recents, trim_ns=self.engine.ns, now_ns=seconds(second + 1), steady=steady(second)
            )  # fmt: skip
            self.answers.append(goal)
            if goal is not None:
                self.engine.go_to(goal, seconds(second + 1))
        return self

    def recent(self, viewer: int, second: int) -> Recent | None:
        last = second - LAG_S
        seen = [each[viewer] for each in self.seen[max(0, last - WINDOW_S + 1) : last + 1]]
        known = [each for each in seen if each is not None]
        if last - WINDOW_S < SETTLE_S or len(known) < WINDOW_S // 2 or self.seen[-1][viewer] is None:
            return None
        older, newer = sorted(known[: len(known) // 2]), sorted(known[len(known) // 2 :])
        return Recent(
            middle(sorted(known)), middle(older), middle(newer), seconds(last - WINDOW_S + 1), seconds(last + 1)
        )  # fmt: skip

    @property
    def now(self) -> list[int | None]:
        return self.seen[-1]

    @property
    def turns(self) -> int:
        """How often the trim changed its direction."""
        steps = [b - a for a, b in zip(self.trims, self.trims[1:], strict=False) if b != a]
        return sum((a > 0) != (b > 0) for a, b in zip(steps, steps[1:], strict=False))


@pytest.mark.parametrize("base_ms", [-90, -40, -25, 25, 40, 90])
def test_the_sign_a_voice_ahead_makes_the_pictures_earlier_until_it_is_gone(base_ms: int) -> None:
    loop = Loop(lambda _: ms(base_ms)).run(160)
    assert (loop.engine.ns > 0) == (base_ms > 0)
    assert abs(loop.now[0] or 0) <= ms(6) and loop.turns == 0
    assert max(abs(b - a) for a, b in zip(loop.trims, loop.trims[1:], strict=False)) <= ms(2.001)


@pytest.mark.parametrize("base_ms", [-20, -10, 0, 10, 20])
def test_within_20_ms_it_does_nothing(base_ms: int) -> None:
    assert set(Loop(lambda _: ms(base_ms)).run(300).answers) == {None}


def test_not_in_a_viewers_first_20_s_and_not_before_ten_more_are_seen() -> None:
    loop = Loop(lambda _: ms(80)).run(SETTLE_S + WINDOW_S)
    assert set(loop.answers) == {None}
    loop.run(SETTLE_S + WINDOW_S + LAG_S + 5)
    assert loop.engine.ns > 0


def test_a_single_bad_second_and_a_bad_five_move_nothing() -> None:
    loop = Loop(lambda second: ms(400) if second == 60 or 90 <= second < 95 else 0).run(150)
    assert set(loop.answers) == {None}


def test_beyond_its_bound_it_stays_at_its_bound() -> None:
    loop = Loop(lambda _: ms(900)).run(200)
    assert ms(98) <= loop.engine.ns <= ms(100)
    policy = AvSyncPolicy(trim_max_ns=ms(30))
    assert abs(Loop(lambda _: -ms(900), policy=policy).run(200).engine.ns) <= ms(30)


def test_when_reports_stop_it_stays_where_it_is() -> None:
    loop = Loop(lambda second: ms(90) if second < 45 else None).run(200)
    stopped = loop.trims[46]
    assert 0 < stopped < ms(40) and loop.trims[-1] == pytest.approx(stopped, abs=ms(2))


def test_a_stall_freezes_it_and_so_does_the_time_in_which_buffers_settle() -> None:
    loop = Loop(lambda _: ms(90)).run(200, steady=lambda second: not 50 <= second < 60)
    assert loop.trims[79] - loop.trims[51] <= ms(2)
    assert loop.trims[70] > 0 and abs(loop.now[0] or 0) <= ms(6)


def test_it_does_not_take_its_own_work_for_news() -> None:
    """Samples are up to 13 s old while it moves 2 ms a second: an integrator of them would overshoot by 25 ms."""
    loop = Loop(lambda _: ms(60)).run(300)
    assert max(loop.trims) <= ms(61) and loop.turns == 0


def test_a_trim_that_is_not_needed_any_more_is_taken_back_from_10_ms_on() -> None:
    loop = Loop(lambda second: ms(45) if second < 100 else ms(25) if second < 200 else 0).run(400)
    assert ms(39) <= loop.trims[99] <= ms(46)
    assert ms(20) <= loop.trims[199] <= ms(31)
    assert abs(loop.trims[-1]) <= ms(10) and loop.turns == 1


def test_when_all_viewers_have_gone_the_trim_was_theirs() -> None:
    loop = Loop(lambda _: ms(60)).run(120)
    loop.viewers = ()
    for second in range(120, 200):
        for slot in range(50):
            loop.engine.slew(seconds(second) + ms(20) * slot)
        goal = loop.control.update([], trim_ns=loop.engine.ns, now_ns=seconds(second + 1))
        if goal is not None:
            loop.engine.go_to(goal, seconds(second + 1))
    assert loop.engine.ns == 0


def test_several_viewers_of_one_stream_get_what_is_good_for_most_of_them() -> None:
    assert abs(Loop(lambda _: ms(80), lambda _: 0, lambda _: ms(5)).run(200).engine.ns) <= ms(5)
    assert Loop(lambda _: ms(80), lambda _: ms(40), lambda _: ms(50)).run(200).engine.ns == pytest.approx(
        ms(50), abs=ms(6)
    )
    assert Loop(lambda _: ms(80), lambda _: -ms(80)).run(200).engine.ns == 0
    assert Loop(lambda _: ms(100), lambda _: None).run(200).engine.ns == pytest.approx(ms(100), abs=ms(6))


@pytest.mark.parametrize(
    ("values", "middle_value"), [([3], 3), ([3, 9], 3), ([-3, -9], -3), ([-3, 9], 0), ([0, 9], 0), ([-50, 2, 60], 2)]
)
def test_of_two_the_smaller_counts_and_none_where_they_disagree(values: list[int], middle_value: int) -> None:
    assert fewest(values) == middle_value


# ---- with the browser's own loop in series


class Browser:
    """libwebrtc's loop once a second over two buffers; it sees stamps, so it never sees the trim.

    ``picture_ms`` later in the network and ``hidden_ms`` later where the browser cannot look (the
    screen, the decoder of a television): what is seen is both, less what the loop has taken away.
    """

    def __init__(self, picture_ms: Callable[[int], int], hidden_ms: int = 0, noise: int = 0) -> None:
        self.sync, self.picture_ms, self.hidden_ms, self.noise = StreamSync(), picture_ms, hidden_ms, noise
        self.sound_least = self.picture_least = 0
        self.moves = 0

    def __call__(self, second: int) -> int:
        wobble = (second * 7919 % 11 - 5) * self.noise
        sound, picture = max(60, self.sound_least), max(40, self.picture_least)
        relative = self.picture_ms(second) + wobble
        delays = self.sync.delays_ms(relative, sound, picture)
        if delays is not None:
            self.moves += 1
            self.sound_least, self.picture_least = delays
        return ms(picture + relative - sound + self.hidden_ms)


@pytest.mark.parametrize("late_ms", [-150, -45, 0, 20, 45, 60, 150, 300])
@pytest.mark.parametrize("hidden_ms", [-60, 0, 35, 80])
@pytest.mark.parametrize("noise", [0, 2])
def test_with_the_browsers_loop_it_ends_within_20_ms_and_at_rest(late_ms: int, hidden_ms: int, noise: int) -> None:
    browser = Browser(lambda _: late_ms, hidden_ms, noise)
    loop = Loop(browser).run(300)
    moves = browser.moves
    loop.run(400)
    assert all(abs(seen) <= ms(20 + 5 * noise + 10) for (seen,) in loop.seen[-50:] if seen is not None)
    assert middle(sorted(seen for (seen,) in loop.seen[-50:] if seen is not None)) in range(-ms(21), ms(21))
    assert loop.turns <= 1 and browser.moves - moves <= (0 if noise == 0 else 4)
    assert len(set(loop.trims[-60:])) == 1, "at rest"


def test_what_the_browser_repairs_itself_late_does_not_leave_a_wrong_trim() -> None:
    """Pictures get 90 ms later at 60 s: both begin to work; what the browser has done is taken out of the trim."""
    loop = Loop(Browser(lambda second: 20 if second < 60 else 110)).run(300)
    assert to_ms(loop.now[0] or 0) == pytest.approx(0, abs=20)
    assert loop.turns <= 2 and len(set(loop.trims[-60:])) == 1
    alone = Browser(lambda second: 20 if second < 60 else 110)
    assert [alone(second) for second in range(300)][-1] >= ms(0), "the loop alone"


@given(
    bases=st.lists(st.integers(-200, 200) | st.none(), min_size=5, max_size=25),
    every_s=st.integers(1, 20),
    stalls=st.lists(st.integers(0, 100), max_size=3),
)
def test_whatever_viewers_see_it_stays_within_its_bounds_and_its_rate(
    bases: list[int | None], every_s: int, stalls: list[int]
) -> None:
    def base(second: int) -> int | None:
        value = bases[second // every_s % len(bases)]
        return None if value is None else ms(value)

    loop = Loop(base).run(150, steady=lambda second: second not in stalls)
    assert all(goal is None or abs(goal) <= ms(100) for goal in loop.answers)
    assert max((abs(b - a) for a, b in zip(loop.trims, loop.trims[1:], strict=False)), default=0) <= ms(2.001)
    known = [abs(ms(value)) for value in bases if value is not None]
    assert max(map(abs, loop.trims)) <= max(known, default=0) + ms(5), "never more than was ever wrong"


# ---- through the whole chain: reports, belief, trim, content


@pytest.mark.parametrize("late_ms", [-45, 45])
def test_from_the_page_to_the_content_and_back(late_ms: int) -> None:
    page = Page(picture_ns=lambda _: ms(100 + late_ms), sound_ns=lambda _: ms(100))
    control, engine = ViewerTrim(), Trim(2_000)
    for second in range(110):
        for slot in range(50):
            engine.slew(seconds(second) + ms(20) * slot)
        page.trim_ns = engine.ns  # what leaves now shows content that is later by the trim
        page.send(seconds(second + 1))
        goal = control.update([page.observer.recent(page.now_ns)], trim_ns=engine.ns, now_ns=page.now_ns)
        if goal is not None:
            engine.go_to(goal, seconds(second + 1))
    report: Any = page.observer.report(page.now_ns)
    assert engine.ns == pytest.approx(ms(late_ms), abs=ms(6))
    assert report.offset_ns == pytest.approx(0, abs=ms(6))
