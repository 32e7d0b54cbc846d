"""AvSynchronizer, told as stories: what a viewer hears and sees when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avsync.engine.engine import CONFIRM_UNITS
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy, Master
from avsync.types import (
    AUDIO,
    MAX_PTS_NS,
    VIDEO,
    Degrade,
    Drop,
    DropReason,
    Heard,
    InsertSilence,
    MediaUnit,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Repeat,
)
from avsync.units import ms, seconds
from tests.engine.engine_driver import FRAME, SLOT, Player, speak

DELAY = AvSyncPolicy().playout_delay_ns
S = seconds(1)


def silence_in(player: Player, *reasons: Reason) -> int:
    return sum(answer.duration_ns for answer in player.of(InsertSilence) if answer.reason in reasons)


def left_at(player: Player, pts: int) -> int:
    """When the sound of this content left."""
    return next(present.at_ns for present in player.presents(AUDIO) if present.unit.pts_ns == pts)


def shown_at(player: Player, pts: int) -> int:
    return next(present.at_ns for present in player.presents(VIDEO) if present.unit.pts_ns == pts)


def stalled(start: int, end: int) -> Callable[[int], int]:
    """Nothing comes from ``start`` to ``end``; then the source goes on where it stopped, this much behind."""
    return lambda pts: end - start if pts >= start else 0


def held(start: int, end: int) -> Callable[[int], int]:
    """What is made from ``start`` to ``end`` comes at ``end``, all at once."""
    return lambda pts: max(0, end - pts) if pts >= start else 0


def lost(start: int, end: int) -> Callable[[int], int | None]:
    return lambda pts: None if start <= pts < end else 0


# ---- nothing goes wrong


def test_a_clean_turn_is_in_sync_from_the_first_word_to_the_last() -> None:
    player = Player()
    speak(player, 3 * S)
    player.finish()
    player.advance_to(5 * S)
    assert set(player.offsets()) == {0}
    assert player.drops() == {} and player.ladder() == []
    assert [p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO)] == [DELAY] * 150
    assert [p.stamp_ns for p in player.presents(VIDEO)] == [DELAY + n * FRAME for n in range(75)]
    assert silence_in(player, Reason.UNDERRUN, Reason.LOSS) == 0


def test_the_voice_waits_a_bounded_time_for_the_first_picture() -> None:
    late = Player()
    speak(late, S, pictures=lambda pts: ms(150))
    assert left_at(late, 0) == ms(200)  # 150 + 40, on the next slot
    assert set(late.offsets()) == {0}
    never = Player()
    speak(never, S, pictures=lambda pts: None)
    assert left_at(never, 0) == ms(340)


def test_a_late_picture_track_joins_and_neither_rewinds_nor_delays_the_voice() -> None:
    player = Player()
    speak(player, 8 * S, pictures=lambda pts: None if pts < 5 * S else 0)
    assert {p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO)} == {ms(340)}
    assert set(player.offsets()) == {0}
    assert player.presents(VIDEO)[0].unit.pts_ns == 5 * S


def test_pictures_first_wait_for_their_voice() -> None:
    player = Player()
    speak(player, 3 * S, sound=lambda pts: ms(250))
    assert shown_at(player, 0) == left_at(player, 0) == ms(300)
    assert set(player.offsets()) == {0}


def test_a_turn_without_sound_is_shown_and_one_without_pictures_is_heard() -> None:
    for kinds in ({"sound": lambda pts: None}, {"pictures": lambda pts: None}):
        player = Player()
        speak(player, 2 * S, **kinds)  # type: ignore[arg-type]
        player.finish()
        player.advance_to(4 * S)
        shown = player.of(Present)
        assert len(shown) == len(player.pushed)
        steps = {(b.at_ns - a.at_ns, b.unit.pts_ns - a.unit.pts_ns) for a, b in zip(shown, shown[1:], strict=False)}
        assert steps in ({(FRAME, FRAME)}, {(SLOT, SLOT)})
        assert not player.of(Degrade)


def test_a_turn_without_sound_after_one_with_sound_is_shown_too() -> None:
    player = Player()
    speak(player, S)
    player.finish()
    speak(player, 2 * S, epoch=1, pts=S, sound=lambda pts: None)
    player.finish(1)
    player.advance_to(4 * S)
    assert len(player.presents(VIDEO)) == 50


def test_sound_that_joins_a_silent_turn_is_in_sync() -> None:
    player = Player()
    speak(player, 3 * S, sound=lambda pts: None if pts < 2 * S else 0)
    assert set(player.offsets()) == {0}
    assert len(player.presents(VIDEO)) > 60
    assert silence_in(player, Reason.UNDERRUN) == 0


# ---- stalls


@pytest.mark.parametrize("resume", [stalled(S, 2 * S), held(S, 2 * S)], ids=["continue", "burst"])
def test_an_audio_stall_holds_the_video_and_both_go_on_in_sync(resume: Callable[[int], int]) -> None:
    player = Player()
    speak(player, 3 * S, sound=resume)
    player.advance_to(5 * S)
    stood = [a for a in player.of(InsertSilence) if a.reason is Reason.UNDERRUN and a.at_ns < 3 * S]
    assert sum(answer.duration_ns for answer in stood) == S - DELAY
    assert set(player.offsets()) == {0}
    assert player.drops() == {} and len(player.presents(VIDEO)) == 75
    assert [step for _, step in player.ladder()] == ["stall_audio on", "stall_audio off", "stall_audio on"]
    # The slots of the silence were sent: output time went on, the content did not.
    assert left_at(player, S) == 2 * S and shown_at(player, S + FRAME) == 2 * S + FRAME


def test_a_voice_that_resumes_live_costs_what_was_lost_and_leaves_no_latency() -> None:
    player = Player()
    speak(player, 3 * S, sound=lost(S, 2 * S))
    assert left_at(player, 2 * S) == 2 * S + DELAY
    assert set(player.offsets()) == {0}
    assert set(player.drops()) == {"late_newer"}


def test_an_underrun_in_the_middle_of_a_word_shifts_the_rest_and_the_lips_with_it() -> None:
    player = Player()
    speak(player, 2 * S, sound=lambda pts: ms(100) if pts >= S else 0)
    player.advance_to(3 * S)
    assert left_at(player, S) == S + ms(100)  # 60 ms of silence; it arrived 60 ms too late
    assert set(player.offsets()) == {0}
    assert player.drops() == {}


def test_a_video_stall_never_stops_a_word_and_a_burst_shows_only_the_newest() -> None:
    player = Player()
    speak(player, 2 * S, pictures=lambda pts: None if pts >= S else 0)
    player.now = 2 * S
    player.burst([(VIDEO, pts) for pts in range(S, 2 * S, FRAME)])
    after = [p for p in player.presents(VIDEO) if p.at_ns >= 2 * S]
    assert [p.unit.pts_ns for p in after] == [2 * S - 2 * FRAME, 2 * S - FRAME], "no more than 45 ms late"
    assert player.drops() == {"late_newer": 23}
    assert silence_in(player, Reason.UNDERRUN, Reason.HOLD, Reason.LOSS) == 0
    assert [p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO)] == [DELAY] * 99


def test_both_stall_and_come_back_in_a_burst_in_sync() -> None:
    player = Player()
    speak(player, 4 * S, sound=held(S, 2 * S), pictures=held(S, 2 * S))
    player.advance_to(6 * S)
    assert set(player.offsets()) == {0}
    assert not player.of(Repeat), "the voice stood, so no picture was missing"


def test_both_stalls_and_no_picture_after_it_is_no_burst_of_repeats() -> None:
    player = Player()
    speak(player, 5 * S, sound=stalled(S, 3 * S), pictures=lambda pts: None if pts >= S else 0)
    repeats = player.of(Repeat)
    assert repeats and len(repeats) == len({repeat.at_ns for repeat in repeats})
    # Each is stamped where the missing picture's sound left, the first one 120 ms before it is sent.
    assert {repeat.at_ns - repeat.stamp_ns for repeat in repeats} == {ms(120)}
    assert repeats[0].stamp_ns == left_at(player, S)


# ---- loss, pauses


@pytest.mark.parametrize("count", [1, 5])
def test_lost_sound_costs_what_was_lost_and_leaves_no_latency(count: int) -> None:
    player = Player()
    speak(player, 2 * S, sound=lost(S, S + count * SLOT))
    assert left_at(player, 2 * S - 4 * SLOT) == 2 * S - 4 * SLOT + DELAY
    assert silence_in(player, Reason.LOSS, Reason.UNDERRUN) == count * SLOT
    assert set(player.offsets()) == {0}


def test_what_was_given_up_as_lost_and_comes_after_all_leaves_no_latency() -> None:
    player = Player()
    player.picture(0)
    for n in range(100):
        player.advance_to(n * SLOT)
        if n % 10 != 5:
            player.sound(n * SLOT)
        if n % 10 == 8:
            player.sound((n - 3) * SLOT)  # retransmitted, 20 ms after its slot
    last = player.presents(AUDIO)[-1]
    assert last.at_ns - last.unit.pts_ns == left_at(player, 0)
    assert player.drops() == {"late": 10}


@pytest.mark.parametrize("lasts", [ms(10), ms(30), ms(60)])
def test_lost_units_of_any_length_leave_no_latency(lasts: int) -> None:
    """Sound does not always come in units of 20 ms."""
    player = Player()
    for n in range(200):
        if n % 20 != 10:
            player.sound(n * lasts, lasts=lasts)
        if n % 4 == 0:
            player.picture(n * lasts, lasts=4 * lasts)
        player.advance_to((n + 1) * lasts)
    last = player.presents(AUDIO)[-1]
    assert last.at_ns - last.unit.pts_ns == left_at(player, 0)
    assert silence_in(player, Reason.LOSS, Reason.UNDERRUN) == 10 * lasts


def test_a_marked_pause_passes_and_the_pictures_go_on() -> None:
    player = Player()
    speak(player, S)
    player.sound(S, pause=True)
    speak(player, 4 * S, pts=S, sound=lambda pts: None if pts < 3 * S else 0)
    assert silence_in(player, Reason.PAUSE) == 2 * S - SLOT
    assert silence_in(player, Reason.UNDERRUN) == 0
    assert {p.at_ns - p.unit.pts_ns for p in player.presents(VIDEO)} == {DELAY}
    assert player.drops() == {} and player.ladder() == []


def test_an_unmarked_pause_is_a_stall_and_the_lips_wait() -> None:
    player = Player()
    speak(player, 4 * S, sound=lost(S, 3 * S))
    assert silence_in(player, Reason.PAUSE) == 0
    assert not [p for p in player.presents(VIDEO) if S + DELAY + FRAME < p.at_ns < 3 * S]
    assert left_at(player, 3 * S) == 3 * S + DELAY
    assert set(player.offsets()) == {0}


def test_a_policy_that_is_blind_to_marks_takes_a_pause_for_a_stall() -> None:
    player = Player(AvSyncPolicy.preset("dtx_as_stall"))
    speak(player, S)
    player.sound(S, pause=True)
    speak(player, 3 * S, pts=S, sound=lambda pts: None if pts < 2 * S else 0)
    assert silence_in(player, Reason.PAUSE) == 0
    assert silence_in(player, Reason.UNDERRUN) > S - ms(100)


def test_mute_and_unmute_again_and_again_adds_nothing() -> None:
    player = Player()
    at = 0
    for _ in range(30):
        speak(player, at + 5 * SLOT, pts=at, start=at, pictures=lambda pts: None)
        player.sound(at + 5 * SLOT, pause=True)
        at += 15 * SLOT
        player.advance_to(at)
    assert {p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO)} == {left_at(player, 0)}


def test_a_pause_is_resized_to_bring_a_grown_delay_back_down() -> None:
    player = Player(network=True)
    speak(player, 4 * S, sound=lambda pts: ms(300) if S <= pts < 2 * S else 0)  # a route steps there and back
    grown = left_at(player, 3 * S) - 3 * S
    player.sound(4 * S, pause=True)
    speak(player, 8 * S, pts=5 * S, start=5 * S)
    shrunk = left_at(player, 7 * S) - 7 * S
    assert shrunk < grown - ms(100)
    assert silence_in(player, Reason.UNDERRUN) < ms(400)


# ---- the driver


def test_a_driver_that_is_late_by_a_second_skips_whole_slots_without_a_burst() -> None:
    for late in (ms(50), ms(250), S, 5 * S):
        player = Player()
        speak(player, 2 * S)
        # The generator is another machine: it goes on meanwhile.
        slept = player.now
        for pts in range(2 * S, 2 * S + late, SLOT):
            player.engine.push(MediaUnit(AUDIO, 0, 0, pts, SLOT), slept)
        player.sleep_to(slept + late)
        burst = [answer for at, answer in player.answers if at == player.now and isinstance(answer, Present)]
        assert len([answer for answer in burst if answer.unit.kind is AUDIO]) <= 1
        skipped = [answer for answer in player.of(InsertSilence) if answer.reason is Reason.UNDERRUN]
        assert [answer.duration_ns % SLOT for answer in skipped] == [0]
        assert late - 2 * SLOT < skipped[0].duration_ns <= late


def test_slots_slept_through_while_nobody_speaks_are_no_stall() -> None:
    player = Player()
    speak(player, S)
    player.finish()
    player.advance_to(2 * S)
    player.sleep_to(10 * S)
    player.advance_to(12 * S)
    assert silence_in(player, Reason.UNDERRUN) == 0 and player.ladder() == []


def test_sound_already_here_is_not_skipped_while_the_driver_sleeps_after_the_last_push() -> None:
    player = Player()
    for pts in range(0, S, SLOT):
        player.sound(pts)
    for pts in range(0, S, FRAME):
        player.picture(pts)
    player.finish()
    player.advance_to(ms(500))
    player.sleep_to(ms(900))
    player.advance_to(3 * S)
    assert len(player.presents(AUDIO)) == 50 and len(player.presents(VIDEO)) == 25
    assert set(player.offsets()) == {0}


def test_a_callback_that_is_always_a_millisecond_late_does_not_add_up() -> None:
    player = Player()
    speak(player, ms(500), pictures=lambda pts: None)
    start = left_at(player, 0)
    for pts in range(ms(500), 20 * S, SLOT):
        player.sound(pts)
        player.sleep_to((player.engine.next_wakeup_ns() or 0) + ms(1))
    last = player.presents(AUDIO)[-1]
    assert last.stamp_ns - last.unit.pts_ns == start
    assert silence_in(player, Reason.UNDERRUN) == 0


def test_now_may_stand_or_jump_by_hours_but_never_go_back() -> None:
    player = Player(start_ns=5 * S)
    player.advance_to(5 * S)
    player.pump()
    player.sleep_to(5 * S + seconds(3 * 3600))
    assert max(answer.duration_ns for answer in player.of(InsertSilence)) == seconds(3 * 3600) - SLOT
    for call in calls(player.engine):
        for wrong in (player.now - 1, float(player.now), True, None, "0"):
            with pytest.raises(UsageError):
                call(wrong)
    assert player.engine.poll(player.now) is None


def calls(engine: AvSynchronizer) -> list[Callable[[Any], Any]]:
    unit = MediaUnit(AUDIO, 0, 9, 0, SLOT)
    return [
        engine.poll,
        lambda now: engine.push(unit, now),
        lambda now: engine.finish(AUDIO, 0, now),
        lambda now: engine.interrupt(99, now),
        lambda now: engine.on_presented(Presented(AUDIO, 0, 0, SLOT, 0, ObservedBy.SIM), now),
        engine.close,
    ]


def test_a_day_of_slots_stays_exact_and_queues_stay_small() -> None:
    """24 h in which the generator sends a second of each half hour; nothing is rounded away."""
    player = Player()
    day = seconds(24 * 3600)
    for start in range(0, day, seconds(1800)):
        player.sleep_to(start)
        speak(player, start + S, pts=start, start=start, epoch=start // seconds(1800))
        player.finish(start // seconds(1800))
    player.sleep_to(day - S)
    player.advance_to(day)
    total = sum(answer.duration_ns for answer in player.of(InsertSilence)) + SLOT * len(player.presents(AUDIO))
    assert total // SLOT * SLOT == total == day + SLOT
    assert {p.at_ns % SLOT for p in player.presents(AUDIO)} == {0}
    assert set(player.offsets()) == {0}
    assert player.engine.queued_units == 0


# ---- turns and interrupts


def test_interrupted_speech_never_reaches_the_output_and_the_next_slot_is_silent() -> None:
    player = Player()
    for pts in range(0, 5 * S, SLOT):  # a fast generator: five seconds are in hand
        player.sound(pts)
    for pts in range(0, 5 * S, FRAME):
        player.picture(pts)
    player.advance_to(S + ms(7))
    before = len(player.answers)
    found = player.interrupt(1)
    assert found.epoch == 1 and found.played_pts_ns == S - DELAY
    assert found.dropped_units == player.drops()["stale_epoch"]
    player.sound(5 * S, epoch=0)  # the producer has not noticed
    player.advance_to(2 * S)
    assert not [answer for _, answer in player.answers[before:] if isinstance(answer, Present | Repeat)]
    first = next(answer for _, answer in player.answers[before:] if isinstance(answer, InsertSilence))
    assert first.at_ns <= S + ms(7) + SLOT
    assert [(at, step) for at, step in player.ladder()] == [(S + ms(7), "degrade 2")], "no mouth stays open"


def test_played_position_is_what_was_heard_where_a_sink_says_so() -> None:
    """What was sent is not yet what was heard."""
    player = Player()
    speak(player, 2 * S)
    for what, pts in ((Heard.CONTENT, S), (Heard.STOPPED, None)):
        player.engine.on_presented(Presented(AUDIO, 0, pts, SLOT, player.now, ObservedBy.DEVICE, what), player.now)
    assert player.interrupt(1).played_pts_ns == S


def test_two_interrupts_in_a_row_and_one_with_nothing_to_drop() -> None:
    player = Player()
    speak(player, S)
    assert player.interrupt(1).dropped_units > 0
    assert player.interrupt(2).dropped_units == 0
    player.advance_to(2 * S)
    assert player.interrupt(3).dropped_units == 0
    for old in (3, 2, -1, 2.5, True, None):
        with pytest.raises(UsageError):
            player.engine.interrupt(old, player.now)  # type: ignore[arg-type]
    speak(player, 3 * S, pts=2 * S, epoch=3)
    assert set(player.offsets()) == {0}


def test_an_interrupt_before_the_first_sound_and_in_the_start_gate() -> None:
    player = Player()
    player.interrupt(1)
    player.advance_to(S)
    player.sound(0, epoch=1)
    player.advance_to(S + SLOT)
    assert player.of(InsertSilence)[-1].reason is Reason.WAITING
    assert player.interrupt(2).dropped_units == 1
    player.advance_to(2 * S)
    assert player.presents(AUDIO) == []
    speak(player, S, pts=SLOT, epoch=2)
    assert left_at(player, SLOT) == 2 * S + DELAY
    assert set(player.offsets()) == {0}


def test_a_picture_decided_upon_but_not_yet_polled_is_stale_after_an_interrupt() -> None:
    player = Player()
    speak(player, S)
    speak(player, 3 * S, pts=S, pictures=lambda pts: None)  # degraded by now
    at = player.now
    unit = MediaUnit(VIDEO, 9, 0, at - DELAY, FRAME)
    player.engine.push(unit, at)
    answer = player.engine.poll(at)
    while answer is not None and not (isinstance(answer, Degrade) and answer.level == 0):
        player._note(answer)
        answer = player.engine.poll(at)
    assert answer is not None
    player.engine.interrupt(1, at)
    rest = []
    while (answer := player.engine.poll(at)) is not None:
        rest.append(answer)
    assert not [each for each in rest if isinstance(each, Present | Repeat)]
    assert [each.reason for each in rest if isinstance(each, Drop) and each.unit is unit] == [DropReason.STALE_EPOCH]


def test_after_an_interrupt_no_mouth_of_the_old_turn_is_repeated() -> None:
    player = Player()
    speak(player, 2 * S, pictures=lambda pts: None if pts >= S else 0)
    assert player.of(Repeat)
    repeats = len(player.of(Repeat))
    player.interrupt(1)
    speak(player, 4 * S, pts=2 * S, epoch=1, pictures=lambda pts: None)
    assert len(player.of(Repeat)) == repeats


def test_after_an_interrupt_stamps_and_pts_go_on() -> None:
    player = Player()
    speak(player, S)
    player.interrupt(1)
    speak(player, 2 * S, pts=S, epoch=1)
    player.advance_to(3 * S)
    assert set(player.offsets()) == {0}
    assert [step for _, step in player.ladder()][:2] == ["degrade 2", "degrade 0"]


def test_a_new_turn_queues_behind_the_tail_of_the_last() -> None:
    player = Player()
    for pts in range(0, S, SLOT):
        player.sound(pts)
    for pts in range(0, S, FRAME):
        player.picture(pts)
    player.finish()
    for pts in range(S, 2 * S, SLOT):
        player.sound(pts, epoch=1)
    for pts in range(S, 2 * S, FRAME):
        player.picture(pts, epoch=1)
    player.finish(1)
    player.advance_to(4 * S)
    assert [p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO)] == [DELAY] * 100
    assert player.drops() == {} and set(player.offsets()) == {0}
    assert [p.reason for p in player.presents(AUDIO)].count(Reason.FIRST) == 2


@pytest.mark.parametrize("told", ["at once", "late"])
def test_the_pictures_of_a_tail_pass_before_the_next_turn_that_begins_at_the_cut(told: str) -> None:
    """The cut is the later of both streams: 400 ms of pictures go on after the last sound."""
    player = Player()
    speak(player, S)
    if told == "at once":
        player.finish()
    speak(player, S + ms(400), pts=S, start=S, sound=lambda pts: None)
    player.finish()
    speak(player, 3 * S, pts=S + ms(400), epoch=1)
    player.finish(1)
    player.advance_to(6 * S)
    assert player.drops() == {}
    assert set(player.offsets()) == {0}
    assert len(player.presents(VIDEO)) == 75
    late = left_at(player, S + ms(400)) - S - ms(400) - DELAY
    assert abs(late) <= SLOT if told == "at once" else late > ms(300), "told late, the pictures stood till then"


def test_two_turns_pushed_at_once_each_get_their_delay() -> None:
    player = Player()
    player.burst([(AUDIO, 0), (VIDEO, 0)])
    player.burst([(AUDIO, SLOT), (VIDEO, FRAME)], epoch=1)
    player.advance_to(S)
    assert left_at(player, 0) == DELAY


def test_a_stall_that_turns_out_to_be_the_end_alarms_nobody_for_ever() -> None:
    player = Player()
    speak(player, S)
    player.advance_to(S + ms(200))  # ran out, unannounced
    player.finish()
    player.advance_to(5 * S)
    assert player.ladder() == []
    never = Player()
    speak(never, S)
    never.advance_to(30 * S)  # nobody ever says that it is over
    assert [step for _, step in never.ladder() if "audio" in step] == ["stall_audio on", "stall_audio off"]


# ---- stamps that cannot be


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, 10**30, None, 1.0, True, "7"])
@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
def test_bad_stamps_are_dropped_and_poison_nothing(kind: Any, bad: Any) -> None:
    player = Player()
    speak(player, S)
    player.push(MediaUnit(kind, 0, 0, bad, SLOT))
    player.push(MediaUnit(kind, 0, 0, S, bad))
    speak(player, 2 * S, pts=S)
    assert player.drops() == {"bad_pts": 2}
    assert set(player.offsets()) == {0} and player.ladder() == []


def test_sound_that_lasts_for_nothing_or_for_ever_cannot_hold_the_output() -> None:
    player = Player()
    for lasts in (0, seconds(11), MAX_PTS_NS):
        player.sound(0, lasts=lasts)
    assert player.drops() == {"bad_pts": 3}


def test_a_picture_that_does_not_say_how_long_it_lasts_is_taken_for_a_25th() -> None:
    player = Player()
    speak(player, S, pictures=lambda pts: None)
    player.picture(S, lasts=0)
    speak(player, 3 * S, pts=S, pictures=lambda pts: None)
    stamps = [repeat.stamp_ns for repeat in player.of(Repeat)]
    assert len(stamps) > 10 and {b - a for a, b in zip(stamps, stamps[1:], strict=False)} == {FRAME}


@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("far", [seconds(3600), -seconds(60)], ids=["ahead", "back"])
def test_one_far_stamp_does_not_derail(kind: Any, far: int) -> None:
    player = Player()
    speak(player, 61 * S, pictures=lambda pts: None if pts % S else 0)
    player.push(MediaUnit(kind, 0, 0, 61 * S + far, SLOT))
    speak(player, 63 * S, pts=61 * S)
    assert player.drops()["bad_pts"] == 1
    assert player.presents(AUDIO)[-1].at_ns - player.presents(AUDIO)[-1].unit.pts_ns == left_at(player, 0)
    assert player.offsets()[-1] == 0


@pytest.mark.parametrize("far", [seconds(3600), -seconds(60)], ids=["ahead", "back"])
def test_five_in_a_row_are_a_new_timeline_and_the_lips_follow(far: int) -> None:
    player = Player()
    speak(player, 61 * S, pictures=lambda pts: None if pts % S else 0)
    speak(player, 64 * S + far, pts=61 * S + far)
    assert player.presents(AUDIO)[-1].unit.pts_ns >= 64 * S + far - ms(500)
    assert player.presents(VIDEO)[-1].unit.pts_ns >= 64 * S + far - ms(500)
    assert player.offsets()[-10:] == [0] * 10
    assert "bad_pts" not in player.drops()


def test_a_first_stamp_that_is_nonsense_does_not_decide_the_timeline() -> None:
    player = Player()
    player.sound(seconds(80_000))
    player.picture(seconds(80_000))
    speak(player, 2 * S)
    assert player.presents(AUDIO)[-1].unit.pts_ns >= 2 * S - ms(500)
    assert player.offsets()[-10:] == [0] * 10


def test_fewer_than_enough_in_a_row_are_not_believed() -> None:
    player = Player()
    speak(player, S)
    for n in range(CONFIRM_UNITS - 1):
        player.sound(seconds(1000) + n * SLOT)
    speak(player, 2 * S, pts=S)
    assert player.drops() == {"bad_pts": CONFIRM_UNITS - 1}


def test_a_pause_of_a_minute_is_no_discontinuity() -> None:
    player = Player()
    speak(player, S)
    player.sound(S, pause=True)
    player.advance_to(61 * S)
    speak(player, 62 * S, pts=61 * S, start=61 * S)
    assert left_at(player, 61 * S) == 61 * S + DELAY, "the first word after it is not held back"


def test_the_same_stamp_twice_is_one_unit() -> None:
    player = Player()
    for kind in (player.sound, player.picture):
        kind(0)
        kind(0)
    player.advance_to(S)
    player.sound(0)
    player.picture(0)
    assert player.drops() == {"duplicate": 4}


# ---- bounds


def test_queues_are_bounded_and_the_oldest_goes_by_name() -> None:
    policy = AvSyncPolicy(audio_queue_units=10, video_queue_units=4)
    player = Player(policy)
    player.burst([(AUDIO, n * SLOT) for n in range(30)] + [(VIDEO, n * FRAME) for n in range(9)])
    assert player.engine.queued_units == 14
    assert player.drops() == {"queue_full": 25}
    player.close()
    assert player.drops() == {"queue_full": 25, "closed": 14}


def test_after_close_nothing_leaves_and_what_comes_is_dropped_by_name() -> None:
    player = Player()
    speak(player, S)
    player.close()
    before = len(player.of(Present))
    player.sound(S)
    player.close()
    player.advance_to(2 * S)
    assert player.engine.next_wakeup_ns() is None
    assert len(player.of(Present)) == before
    assert len(player.of(Present)) + len(player.of(Drop)) == len(player.pushed)


# ---- a network


def test_rate_correction_is_bounded_and_drains_a_backlog_that_drifts_in() -> None:
    """A source that is 500 ppm fast. Played at 1.0 its backlog would grow by 30 ms a minute."""
    player = Player(network=True)
    depth = []
    for pts in range(0, 240 * S, SLOT):
        player.advance_to(pts - pts * 500 // 1_000_000)
        player.sound(pts)
        if pts % FRAME == 0:
            player.picture(pts)
        if pts % S == 0:
            depth.append(player.engine.jitter_buffer_ns)
    stretches = [present.stretch_ppm for present in player.presents(AUDIO)]
    assert 400 < max(stretches) <= 1000
    assert max(depth[-60:]) <= max(depth[30:90]) + ms(20), "what drifts in is drained"
    assert max(map(abs, player.offsets()[10:])) < ms(5)
    assert player.drops() == {}


def test_no_rate_is_touched_where_the_source_is_local() -> None:
    player = Player()
    speak(player, 20 * S, sound=lambda pts: -pts // 100)
    assert {present.stretch_ppm for present in player.presents(AUDIO)} == {0}


def test_sound_with_jitter_gets_a_delay_at_the_next_turn_not_in_the_middle_of_a_word() -> None:
    player = Player(network=True)
    at, delays = 0, []
    for epoch in range(6):
        start = player.now
        speak(player, at + 3 * S, pts=at, epoch=epoch, sound=lambda pts: max(0, ms(150) - (pts + ms(300)) % ms(600)))
        player.finish(epoch)
        player.advance_to(player.now + S)
        delays.append(left_at(player, at) - start)
        at += 3 * S
    assert delays[0] < ms(110) < ms(150) <= delays[-1]
    assert max(delays) <= AvSyncPolicy().playout_delay_max_ns + SLOT
    gaps = [a for a in player.of(InsertSilence) if a.reason is Reason.UNDERRUN and a.at_ns > 12 * S]
    assert gaps == []


# ---- video master


def test_video_master_holds_the_voice_for_a_missing_picture() -> None:
    player = Player(AvSyncPolicy(master=Master.VIDEO))
    speak(player, 3 * S, pictures=stalled(S, 2 * S))
    player.advance_to(5 * S)
    assert silence_in(player, Reason.HOLD) >= ms(900)
    assert max(map(abs, player.offsets())) <= SLOT
    assert player.drops() == {}


# ---- drivers


def test_before_the_first_call_there_is_no_timer_to_set() -> None:
    """It said "146 years ago": a loop that sleeps until then, and then until 20 ms later, never got to now."""
    engine = AvSynchronizer()
    assert not engine.started and engine.next_wakeup_ns() is None
    assert engine.poll(S) is not None, "output time begins with the first call"
    assert engine.started and engine.next_wakeup_ns() == S + SLOT
