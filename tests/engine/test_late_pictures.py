"""Pictures that come late for good: a lag is waited for once, a slow source is not, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avsync.engine.synchronizer import EVERY_LEVER
from avsync.engine.voice import RATE_DEADBAND_NS
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, VIDEO, Alert, InsertSilence, Reason, Request, Want
from avsync.units import ms, seconds
from tests.engine.engine_driver import SLOT, Player, speak

POLICY = AvSyncPolicy()
S = seconds(1)
STARTED_WITH_NS = POLICY.jitter_start_ns - POLICY.jitter_min_ns  # on a calm line a pause may give this back
LEVERS = [frozenset[Want](), frozenset({Want.SKIP_TO_PTS}), frozenset({Want.FPS}), EVERY_LEVER]


def held_ns(player: Player) -> int:
    return sum(each.duration_ns for each in player.of(InsertSilence) if each.reason is Reason.HOLD)


def late_ns(player: Player, *, since: int) -> list[int]:
    """How much later than the sound of the same content each picture left."""
    return [shown.at_ns - shown.stamp_ns for shown in player.presents(VIDEO) if shown.at_ns >= since]


@pytest.mark.parametrize("levers", LEVERS)
@pytest.mark.parametrize("lag_ms", [150, 240, 380])
def test_over_a_network_a_constant_lag_is_waited_for_once(lag_ms: int, levers: frozenset[Want]) -> None:
    player = Player(network=True, levers=levers)
    speak(player, 20 * S, pictures=lambda _pts: ms(lag_ms))
    late = late_ns(player, since=5 * S)
    assert len(late) > 14 * 25 and max(late) <= ms(25)
    assert 0 < held_ns(player) <= POLICY.playout_delay_max_ns
    asked = [request for request in player.of(Request) if request.reason is not Reason.RECOVERED]
    assert all(request.at_ns < 3 * S for request in asked), "what changes nothing is not asked for any more"


def blocks(of: int, late: int) -> Callable[[int], int]:
    """Pictures made ``of`` at a time, the first of them ``late`` after its sound."""
    return lambda pts: late - pts % (of * ms(40))


def test_pictures_that_come_in_blocks_are_waited_for_by_the_first_of_a_block() -> None:
    player = Player(network=True, levers=())
    speak(player, 20 * S, pictures=blocks(8, ms(320)))
    late = late_ns(player, since=5 * S)
    assert len(late) > 14 * 25 and max(late) <= POLICY.late_video_ns
    assert sorted(late)[len(late) * 95 // 100] <= ms(25)


def test_where_a_picture_in_twenty_is_sent_again_the_delay_covers_it() -> None:
    player = Player(network=True, levers=())
    speak(player, 60 * S, pictures=lambda pts: ms(230) if pts // ms(40) % 20 == 7 else 0)
    assert max(late_ns(player, since=15 * S)) <= ms(25)
    assert held_ns(player) <= ms(240)


def test_one_stall_of_a_second_is_no_lag() -> None:
    player = Player(network=True, levers=())
    speak(player, 20 * S, pictures=lambda pts: max(0, 6 * S - pts) if pts >= 5 * S else 0)
    assert held_ns(player) == 0


@pytest.mark.parametrize("rate", [0.98, 0.88, 0.6])
def test_for_a_source_that_falls_behind_the_voice_never_pays_more_than_the_policy_allows(rate: float) -> None:
    player = Player(levers=())
    speak(player, 60 * S, pictures=lambda pts: round(pts / rate) - pts)
    assert held_ns(player) <= POLICY.playout_delay_max_ns
    alerts = [alert for alert in player.of(Alert) if alert.name == "late_video"]
    assert [alert.active for alert in alerts] == [True], "it is told once, and stays so"


def test_a_lag_beyond_the_delay_is_told_and_the_next_turn_waits_for_its_first_picture() -> None:
    player = Player(levers=())
    for turn in range(3):
        speak(player, (turn + 1) * 6 * S, epoch=turn, pts=turn * 6 * S, pictures=lambda _pts: ms(800))
        player.finish(turn)
        player.advance_to(player.now + 3 * S)
    alerts = [(alert.at_ns, alert.active) for alert in player.of(Alert) if alert.name == "late_video"]
    assert [active for _, active in alerts] == [True, False] and alerts[0][0] <= 2 * S
    assert held_ns(player) == 0
    later = [shown for shown in player.presents(VIDEO) if shown.epoch > 0]
    assert len(later) > 2 * 6 * 24 and max(shown.at_ns - shown.stamp_ns for shown in later) <= ms(25)


def ahead(most_s: float, speed: float) -> Callable[[int], int]:
    """Sound sent ``speed`` times as fast as it is heard, at most ``most_s`` ahead: how much later it comes (< 0)."""
    return lambda pts: -min(round(pts * (1 - 1 / speed)), seconds(most_s))


@pytest.mark.parametrize("most_s", [0.03, 0.1, 0.15, 0.5, 2, 8])
def test_sound_that_is_sent_ahead_of_its_pictures_waits_for_its_time(most_s: float) -> None:
    player = Player(network=True, levers=())
    speak(player, 60 * S, sound=ahead(most_s, 1.7))
    assert player.drops() == {} and held_ns(player) == 0
    assert max(late_ns(player, since=0)) <= ms(25)
    assert moved_ns(player) <= RATE_DEADBAND_NS + ms(20), "what is ahead of its time is no clock's drift"


def test_sound_that_is_less_ahead_than_before_is_not_slowed_down() -> None:
    player = Player(network=True, levers=())
    speak(player, 60 * S, sound=lambda pts: -ms(900) if 5 * S <= pts < 20 * S else -ms(200) if pts >= 5 * S else 0)
    assert moved_ns(player) <= ms(1)


@pytest.mark.parametrize(("late_ms", "for_s"), [(60, 10), (120, 1), (180, 10)])
def test_a_way_that_became_shorter_after_the_start_leaves_no_delay(late_ms: int, for_s: int) -> None:
    def late(pts: int) -> int:
        return ms(late_ms) if pts < for_s * S else 0

    player = Player(network=True, levers=())
    speak(player, 250 * S, sound=late, pictures=late)
    assert shift_ns(player, 0) - shift_ns(player, -1) >= ms(late_ms) - ms(20)
    assert max(late_ns(player, since=5 * S)) <= ms(25)


def test_the_same_without_any_pictures() -> None:
    player = Player(network=True, levers=())
    speak(player, 150 * S, sound=lambda pts: ms(120) if pts < S else 0, pictures=lambda _pts: None)
    assert shift_ns(player, 0) - shift_ns(player, -1) >= ms(100)


def test_what_a_hold_made_the_delay_is_given_back_slowly_by_sound_that_is_sent_ahead_too() -> None:
    player = Player(network=True, levers=())
    speak(player, 90 * S, sound=lambda pts: -ms(900) if pts >= 8 * S else max(0, ms(3600) - pts) if pts >= 3 * S else 0)
    shifts = [present.at_ns - present.unit.pts_ns for present in player.presents(AUDIO)]
    assert ms(60) <= max(shifts) - shifts[-1] <= ms(90), "1 ms a second"


def test_a_backlog_after_an_outage_is_still_not_talked_through() -> None:
    player = Player(network=True, levers=())
    speak(player, 20 * S, sound=lambda pts: max(0, 9 * S - pts) if pts >= 5 * S else 0)
    assert player.drops()["late"] > 50
    assert player.engine.jitter_buffer_ns < seconds(1)


def test_after_an_outage_only_what_is_late_is_given_up_not_what_is_sent_ahead() -> None:
    player = Player(network=True, levers=())
    speak(player, 30 * S, sound=lambda pts: 9 * S - pts if 5 * S <= pts < 14 * S else -5 * S if pts >= 14 * S else 0)
    assert 50 < player.drops()["late"] <= 4 * 50
    assert abs(shift_ns(player, -1) - shift_ns(player, 0)) <= ms(1)


def shift_ns(player: Player, index: int) -> int:
    """When the sound left, less its content."""
    present = player.presents(AUDIO)[index]
    return present.at_ns - present.unit.pts_ns


def moved_ns(player: Player) -> int:
    """How far the voice moved against its own schedule."""
    shifts = [present.at_ns - present.unit.pts_ns for present in player.presents(AUDIO)]
    return max(shifts) - min(shifts)


def talk(
    player: Player,
    until: int,
    *,
    marked: bool,
    sound: Callable[[int], int] = lambda _pts: 0,
    pictures: Callable[[int], int] = lambda _pts: 0,
) -> None:
    """5 s of talk, 1 s of pause, and so on, ``marked`` or not; the pictures go on."""
    marks = range(5 * S, until, 6 * S) if marked else ()
    speak(
        player,
        until,
        sound=lambda pts: sound(pts) if pts % (6 * S) < 5 * S or pts in marks else None,
        pictures=pictures,
        marked=marks,
    )


def test_what_a_hold_made_the_delay_is_given_back_in_the_pauses_that_nobody_marks() -> None:
    player = Player(network=True, levers=())
    talk(player, 90 * S, marked=False, sound=lambda pts: max(0, ms(3600) - pts) if pts >= 3 * S else 0)
    shifts = [present.at_ns - present.unit.pts_ns for present in player.presents(AUDIO)]
    assert max(shifts) - shifts[0] >= ms(480), "the voice stood while nothing came"
    assert shifts[-1] - shifts[0] <= ms(20), "and waits no longer than before"
    late = sorted(late_ns(player, since=6 * S))
    assert late[len(late) * 99 // 100] == 0 and late[-1] <= POLICY.late_video_ns, "the pictures go with it"


def test_a_delay_that_the_pictures_need_is_kept_over_marked_pauses() -> None:
    player = Player(network=True, levers=())
    talk(player, 60 * S, marked=True, pictures=lambda _pts: ms(240))
    assert max(late_ns(player, since=5 * S)) <= ms(25)
    shifts = [present.at_ns - present.unit.pts_ns for present in player.presents(AUDIO) if present.at_ns > 5 * S]
    assert max(shifts) - min(shifts) <= ms(2), "it is waited for once"


def test_what_a_pause_gave_back_is_not_taken_again_by_a_slower_voice() -> None:
    player = Player(network=True, levers=())
    talk(player, 60 * S, marked=True)
    assert shift_ns(player, 0) - shift_ns(player, -1) == STARTED_WITH_NS
    assert {present.stretch_ppm for present in player.presents(AUDIO)} == {0}


def test_a_marked_pause_is_not_cut_because_the_sound_is_sent_ahead() -> None:
    player = Player(network=True, levers=())
    talk(player, 30 * S, marked=True, sound=lambda pts: -ms(900) if pts >= 3 * S else 0)
    assert moved_ns(player) <= STARTED_WITH_NS + ms(1)


def test_a_pause_is_never_shortened_to_less_than_its_half() -> None:
    player = Player(network=True, levers=())
    talk(player, 12 * S, marked=False, sound=lambda pts: max(0, ms(4400) - pts) if pts >= ms(3600) else 0)
    sounds = player.presents(AUDIO)
    pauses = [b.at_ns - a.at_ns - SLOT for a, b in zip(sounds, sounds[1:], strict=False) if b.at_ns - a.at_ns > SLOT]
    assert max(pauses) >= ms(500) and [pause for pause in pauses if ms(40) < pause < ms(500)] == []


def test_a_clock_that_was_slow_for_long_is_no_delay_that_a_pause_could_give_back() -> None:
    player = Player(network=True, levers=())
    slow = 300 * S
    speak(player, slow, sound=lambda pts: pts // 2_000, pictures=lambda pts: pts // 2_000)
    before = shift_ns(player, -1)
    assert before - shift_ns(player, 0) > ms(100), "the voice follows it"
    speak(
        player, slow + 9 * S, pts=slow, start=slow, marked=(slow + 5 * S,),
        sound=lambda pts: None if 5 * S < pts - slow < 6 * S else slow // 2_000 - ms(900),
        pictures=lambda _pts: slow // 2_000,
    )  # fmt: skip
    player.advance_to(player.now + S)
    assert before - shift_ns(player, -1) <= STARTED_WITH_NS + ms(1)


def stopping(*, voice_at: int, pictures_at: int) -> Player:
    """Both streams of a provider, each until it says no more; and then four seconds in which nobody says why."""
    player = Player(network=True)
    speak(
        player, 6 * S,
        sound=lambda pts: 0 if pts < voice_at else None, pictures=lambda pts: 0 if pts < pictures_at else None,
    )  # fmt: skip
    player.advance_to(8 * S)
    return player


def alerts(player: Player) -> list[tuple[str, bool]]:
    return [(alert.name, alert.active) for alert in player.of(Alert)]


def test_over_a_network_both_streams_may_end_without_a_word() -> None:
    """A talk's end, for all that an engine can know; pictures may go on for as long as a jitter buffer holds."""
    for pictures_at in (4 * S - ms(200), 4 * S, 4 * S + ms(400)):
        assert alerts(stopping(voice_at=4 * S, pictures_at=pictures_at)) == []


def test_over_a_network_a_voice_that_pictures_leave_behind_has_stalled() -> None:
    player = stopping(voice_at=4 * S, pictures_at=6 * S)
    assert alerts(player) == [("stall_audio", True)]
    (told,) = player.of(Alert)
    assert 4 * S + ms(500) <= told.at_ns <= 4 * S + ms(800)


def test_over_a_network_pictures_that_stop_are_the_monitors_to_tell() -> None:
    """Only who knows what was sent can tell speech from the silence after a turn, which comes in packets as well."""
    player = stopping(voice_at=6 * S, pictures_at=4 * S)
    assert alerts(player) == [] and [step for _, step in player.ladder() if "degrade" in step] != []
