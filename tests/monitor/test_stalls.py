"""Stalls: whose fault it is that nothing moves, and for how long."""

from __future__ import annotations

from avsync.monitor.stalls import Stalls
from avsync.types import Heard
from avsync.units import ms, seconds


def talking(until_ns: int, *, epoch: int = 0) -> Stalls:
    stalls = Stalls()
    stalls.hear(Heard.CONTENT, epoch, 0, until_ns)
    stalls.see(0, ms(40))
    return stalls


def test_a_voice_without_a_fresh_picture_is_a_video_stall() -> None:
    stalls = talking(seconds(1))
    assert stalls.lengths_ns(ms(500)) == (ms(460), 0)
    stalls.see(0, ms(540))  # the same again
    assert stalls.lengths_ns(ms(500)) == (ms(460), 0)
    stalls.see(ms(500), ms(540))
    assert stalls.lengths_ns(ms(500)) == (0, 0)


def test_time_in_which_nobody_listened_is_no_stall() -> None:
    assert talking(seconds(1)).lengths_ns(seconds(60)) == (ms(960), 0)


def test_a_new_turn_stalls_from_its_own_first_sound() -> None:
    stalls = talking(seconds(1))
    stalls.hear(Heard.CONTENT, 1, seconds(1), ms(1020))
    assert stalls.epoch == 1 and stalls.lengths_ns(ms(1020)) == (ms(20), 0)
    stalls.hear(Heard.IDLE, 1, ms(1020), ms(1040))
    assert stalls.lengths_ns(seconds(9)) == (0, 0)
    stalls.hear(Heard.CONTENT, 1, seconds(10), ms(10_020))
    assert stalls.lengths_ns(ms(10_020)) == (ms(20), 0)


def test_a_late_observation_does_not_take_time_back() -> None:
    stalls = talking(seconds(1))
    stalls.hear(Heard.STOPPED, 0, ms(500), ms(520))
    stalls.hear(Heard.IDLE, 0, ms(520), ms(540))
    assert stalls.in_turn and stalls.lengths_ns(seconds(1)) == (ms(960), 0)
    stalls.see(ms(40), ms(80))
    stalls.see(ms(20), ms(60))
    assert stalls.lengths_ns(seconds(1)) == (ms(920), 0)


def test_a_standing_voice_stalls_alone_and_a_passing_one_does_not() -> None:
    stalls = talking(ms(40))
    stalls.hear(Heard.STOPPED, 0, ms(40), ms(740))
    assert stalls.lengths_ns(ms(540)) == (0, ms(500))
    stalls.hear(Heard.PASSING, 0, ms(740), ms(940))
    assert stalls.lengths_ns(ms(940)) == (ms(200), 0)


def test_without_any_picture_a_video_stall_is_unknown() -> None:
    stalls = Stalls()
    assert stalls.lengths_ns(0) == (None, 0)
    stalls.hear(Heard.CONTENT, 0, 0, seconds(1))
    assert stalls.lengths_ns(seconds(1)) == (None, 0)


def standing(stalls: Stalls, from_ns: int, until_ns: int) -> None:
    for at_ns in range(from_ns, until_ns, ms(20)):
        stalls.hear(Heard.STOPPED, 0, at_ns, at_ns + ms(20))


def test_where_nobody_tells_the_end_a_voice_that_stands_is_unknown() -> None:
    stalls = Stalls(ends_told=False)
    stalls.hear(Heard.CONTENT, 0, 0, ms(40))
    stalls.see(0, ms(40))
    standing(stalls, ms(40), seconds(9))
    assert stalls.lengths_ns(seconds(9)) == (0, None)
    stalls.hear(Heard.IDLE, 0, seconds(9), seconds(10))
    assert stalls.lengths_ns(seconds(10)) == (0, 0)


def test_a_silence_of_more_than_a_second_is_told_when_the_voice_goes_on() -> None:
    """Also where ends are told: a host that slept sees it in one piece, and nobody looked while it lasted."""
    for ends_told in (False, True):
        for lasts, told in ((seconds(3), seconds(3)), (seconds(1), 0)):
            stalls = Stalls(ends_told=ends_told)
            stalls.hear(Heard.CONTENT, 0, 0, ms(40))
            stalls.see(0, ms(40))
            standing(stalls, ms(40), ms(40) + lasts)
            for number in range(12):
                at = ms(40) + lasts + ms(20) * number
                stalls.hear(Heard.CONTENT, 0, at, at + ms(20))
                assert stalls.lengths_ns(at + ms(20))[1] == (told if number <= 10 else 0)


def test_a_silence_before_a_turn_or_before_an_interrupt_is_not_told_afterwards() -> None:
    for heard in (Heard.IDLE, None):
        stalls = Stalls(ends_told=False)
        stalls.hear(Heard.CONTENT, 0, 0, ms(40))
        standing(stalls, ms(40), seconds(3))
        if heard is not None:
            stalls.hear(heard, 0, seconds(3), seconds(4))
        stalls.hear(Heard.CONTENT, 0 if heard else 1, seconds(4), ms(4020))
        assert stalls.lengths_ns(ms(4020))[1] == 0
        stalls.hear(Heard.CONTENT, 0 if heard else 1, ms(4020), ms(4040))
        assert stalls.lengths_ns(ms(4040))[1] == 0, "it was another turn's"


def test_a_voice_that_nobody_ever_saw_a_picture_of() -> None:
    stalls = Stalls()
    assert stalls.unseen_ns(0) is None
    stalls.hear(Heard.CONTENT, 0, 0, seconds(2))
    assert stalls.unseen_ns(ms(800)) is None, "a first picture may be on its way"
    assert stalls.unseen_ns(ms(820)) == ms(820)
    standing(stalls, seconds(2), seconds(3))
    assert stalls.unseen_ns(seconds(3)) == seconds(2), "perhaps it was over"
    stalls.hear(Heard.CONTENT, 0, seconds(3), ms(3020))
    assert stalls.unseen_ns(ms(3020)) == ms(3020), "it was only chopped"
    stalls.see(0, ms(40))
    assert stalls.unseen_ns(seconds(3)) is None
    stalls = Stalls()
    stalls.hear(Heard.CONTENT, 0, seconds(5), seconds(7))
    assert stalls.unseen_ns(seconds(7)) == seconds(2), "from its own first sound"
    stalls.hear(Heard.IDLE, 0, seconds(7), seconds(8))
    assert stalls.unseen_ns(seconds(8)) is None


def unseen(*, stood: int, spoke: int, ends_told: bool = True) -> Stalls:
    """A second of voice with a picture at its end; it stands, speaks without lips, and lips are back. Nobody looked."""
    stalls = Stalls(ends_told=ends_told)
    stalls.hear(Heard.CONTENT, 0, 0, seconds(1))
    stalls.see(ms(960), seconds(1), ms(960))
    back_at = seconds(1) + stood + spoke
    standing(stalls, seconds(1), seconds(1) + stood)
    if spoke:
        stalls.hear(Heard.CONTENT, 0, seconds(1) + stood, back_at)
    stalls.hear(Heard.CONTENT, 0, back_at, back_at + ms(20))
    stalls.see(seconds(1), back_at + ms(40), back_at)
    assert stalls.lengths_ns(back_at + ms(20)) == stalls.lengths_ns(back_at + ms(20)), "looking changes nothing"
    return stalls


def test_lips_that_are_back_say_how_long_they_were_gone() -> None:
    stalls = unseen(stood=0, spoke=seconds(2))
    assert stalls.lengths_ns(ms(3020)) == (seconds(2), 0)
    stalls.hear(Heard.CONTENT, 0, ms(3020), ms(3240))
    stalls.see(ms(1040), ms(3280), ms(3240))
    assert stalls.lengths_ns(ms(3240)) == (0, 0)
    assert unseen(stood=0, spoke=seconds(1)).lengths_ns(ms(2020)) == (0, 0)


def test_a_time_without_lips_is_the_voices_where_it_stood_for_most_of_it() -> None:
    assert unseen(stood=ms(900), spoke=ms(300)).lengths_ns(ms(2220)) == (0, ms(1200))
    assert unseen(stood=ms(300), spoke=ms(900)).lengths_ns(ms(2220)) == (ms(1200), 0)
    assert unseen(stood=ms(900), spoke=ms(300), ends_told=False).lengths_ns(ms(2220)) == (0, 0)


def test_a_stop_that_somebody_knows_to_be_no_end_is_a_stall_at_once() -> None:
    stalls = Stalls(ends_told=False)
    stalls.hear(Heard.CONTENT, 0, 0, ms(40))
    standing(stalls, ms(40), seconds(1))
    assert stalls.lengths_ns(seconds(1))[1] is None
    stalls.no_end = True
    assert stalls.lengths_ns(seconds(1))[1] == ms(960)


def test_between_turns_nobody_misses_lips() -> None:
    for first in ("voice", "picture"):
        stalls = unseen(stood=0, spoke=0)
        stalls.hear(Heard.IDLE, 0, ms(2020), seconds(6))
        if first == "picture":
            stalls.see(seconds(2), ms(6040), seconds(6))
        stalls.hear(Heard.CONTENT, 0, seconds(6), ms(6100))
        stalls.see(ms(2040), ms(6120), ms(6080))
        assert stalls.lengths_ns(ms(6100)) == (0, 0)


def test_each_time_without_lips_counts_how_long_the_voice_stood_in_it() -> None:
    stalls = unseen(stood=ms(900), spoke=ms(300))
    stalls.hear(Heard.CONTENT, 0, ms(2220), ms(3600))
    stalls.see(ms(1040), ms(2200), ms(2230))  # late; it does not take time back
    stalls.see(ms(2360), ms(3640), ms(3560))
    assert stalls.lengths_ns(ms(3600)) == (ms(1320), 0)
