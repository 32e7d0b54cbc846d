"""Sound and pictures that are differently late for good: which receiver holds longer, and when it is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.last_mile.receiver_balance import VOICE_LATER_NS, ReceiverBalance, Seen, offset_of
from avsync.units import ms, seconds

SOUND_HELD, PICTURE_HELD = ms(40), ms(25)


class Receivers:
    """``offset_ns``: the voice's lead without targets. A second after one is asked for, it is there."""

    def __init__(self, offset_ms: float, *, claim_off_ms: float = 10) -> None:
        self.balance = ReceiverBalance(ms(400))
        self.bare_ns, self.claim_off_ns = ms(offset_ms), ms(claim_off_ms)
        self.moves: list[int] = []
        self.second = 0

    @property
    def held_ns(self) -> tuple[int, int]:
        return max(SOUND_HELD, self.balance.sound_ns), max(PICTURE_HELD, self.balance.picture_ns)

    @property
    def offset_ns(self) -> int:
        sound_ns, picture_ns = self.held_ns
        return self.bare_ns - (sound_ns - SOUND_HELD) + (picture_ns - PICTURE_HELD)

    def run(self, until_s: int) -> Receivers:
        while self.second < until_s:
            self.second += 1
            seen = Seen(self.offset_ns, self.offset_ns - self.claim_off_ns, *self.held_ns)
            if self.balance.take(seen, seconds(self.second)):
                self.moves.append(self.second)
        return self


@pytest.mark.parametrize("late_ms", [30, 50, 120, 250])
def test_a_voice_that_is_ahead_is_held_until_its_pictures_are_there(late_ms: int) -> None:
    receivers = Receivers(late_ms).run(20)
    assert receivers.offset_ns == 0
    assert receivers.balance.picture_ns == 0
    assert receivers.moves == [3], "three reports that say alike, and then it stands"


def test_pictures_that_are_ahead_are_held_and_the_voice_pays_nothing() -> None:
    receivers = Receivers(-40).run(20)
    assert receivers.offset_ns == -VOICE_LATER_NS
    assert receivers.balance.sound_ns == 0


@pytest.mark.parametrize("offset_ms", [-20, 0, 20])
def test_what_nobody_can_see_is_left_alone(offset_ms: int) -> None:
    assert Receivers(offset_ms).run(60).moves == []


def test_what_is_not_needed_any_more_is_given_back_first() -> None:
    receivers = Receivers(120).run(20)
    receivers.bare_ns = ms(-40)
    receivers.run(40)
    assert receivers.offset_ns <= 0
    assert receivers.balance.sound_ns < SOUND_HELD


def test_where_the_browsers_own_reckoning_says_otherwise_reports_are_wrong_and_it_keeps_out() -> None:
    assert Receivers(120, claim_off_ms=200).run(60).moves == []
    assert Receivers(120, claim_off_ms=-200).run(60).moves == []


def test_what_is_on_the_move_decides_nothing() -> None:
    balance = ReceiverBalance(ms(400))
    for second, offset_ms in enumerate((60, 60, 0, 60, -60, 60, 60, None, 60, 60, 90, 130, 170, 140, 100, 60, 30)):
        offset_ns = None if offset_ms is None else ms(offset_ms)
        assert not balance.take(Seen(offset_ns, offset_ns, SOUND_HELD, PICTURE_HELD), seconds(second))


def test_what_it_cannot_mend_it_does_not_chase() -> None:
    balance, moves = ReceiverBalance(ms(400)), 0
    for second in range(300):  # the browser holds nothing longer, whatever it is asked
        moves += balance.take(Seen(ms(50), ms(40), ms(40), ms(25)), seconds(second))
    assert balance.sound_ns <= ms(400)
    assert moves <= 8


def test_without_what_it_needs_to_know_it_does_nothing() -> None:
    for seen in (Seen(None, 0, 0, 0), Seen(ms(60), None, 0, 0), Seen(ms(60), ms(50), None, 0)):
        balance = ReceiverBalance(ms(400))
        assert not any(balance.take(seen, seconds(second)) for second in range(10))


def test_pictures_that_are_late_now_and_then_are_no_difference_of_ways() -> None:
    assert offset_of([ms(100)] * 8 + [ms(300)] * 12, ms(105)) == 0
    assert offset_of([ms(100)] * 20, ms(60)) == ms(40)
    assert offset_of([ms(100)] * 15 + [ms(300)] * 5, ms(140)) == -ms(40)


OFFSETS = st.none() | st.integers(-(10**12), 10**12)


@given(st.lists(st.tuples(OFFSETS, st.integers(-ms(50), ms(50)), st.integers(0, 10**12), st.integers(0, 10**12))))
def test_whatever_is_reported_it_stays_within_the_policys_bound(told: list[tuple[int | None, int, int, int]]) -> None:
    balance = ReceiverBalance(ms(400))
    for second, (offset_ns, off_ns, sound_ns, picture_ns) in enumerate(told):
        claim_ns = None if offset_ns is None else offset_ns + off_ns
        balance.take(Seen(offset_ns, claim_ns, sound_ns, picture_ns), seconds(5 * second))
        assert 0 <= balance.sound_ns <= ms(400) and 0 <= balance.picture_ns <= ms(400)


def test_pictures_that_were_held_go_back_before_the_voice_is_held_and_without_a_long_wait() -> None:
    receivers = Receivers(-60).run(4)
    assert receivers.balance.picture_ns > PICTURE_HELD
    receivers.bare_ns = 0  # the voice caught up: it is ahead now by what pictures are held
    receivers.run(10)
    assert receivers.balance.sound_ns == 0
    assert abs(receivers.offset_ns) <= ms(20)


def test_each_time_it_acts_it_waits_twice_as_long_before_it_asks_for_more() -> None:
    balance, moves = ReceiverBalance(ms(400)), []
    for second in range(60):
        if balance.take(Seen(ms(50), ms(40), ms(40), ms(25)), seconds(second)):
            moves.append(second)
    gaps = [later - earlier for earlier, later in zip(moves, moves[1:], strict=False)]
    assert len(gaps) >= 2
    assert all(later >= 2 * earlier for earlier, later in zip(gaps, gaps[1:], strict=False))
