"""Pictures that come late for good: a lag is waited for once, a slow source is not, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avsync.engine.synchronizer import EVERY_LEVER
from avsync.policy import AvSyncPolicy
from avsync.types import VIDEO, Alert, InsertSilence, Reason, Request, Want
from avsync.units import ms, seconds
from tests.engine.engine_driver import Player, speak

POLICY = AvSyncPolicy()
S = seconds(1)
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


@pytest.mark.parametrize("most_s", [0.5, 2, 8])
def test_sound_that_is_sent_ahead_of_its_pictures_waits_for_its_time(most_s: float) -> None:
    player = Player(network=True, levers=())
    speak(player, 40 * S, sound=ahead(most_s, 1.7))
    assert player.drops() == {} and held_ns(player) == 0
    assert max(late_ns(player, since=0)) <= ms(25)


def test_a_backlog_after_an_outage_is_still_not_talked_through() -> None:
    player = Player(network=True, levers=())
    speak(player, 20 * S, sound=lambda pts: max(0, 9 * S - pts) if pts >= 5 * S else 0)
    assert player.drops()["late"] > 50
    assert player.engine.jitter_buffer_ns < seconds(1)
