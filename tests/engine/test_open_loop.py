"""Open loops: the baselines must do what the shipping synchronizers do, or they prove nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avsync.engine.open_loop import REBASE_NS, OpenLoop
from avsync.policy import AvSyncPolicy, Pacing
from avsync.types import AUDIO, VIDEO, Degrade, Repeat, Request
from avsync.units import ms, seconds
from tests.engine.engine_driver import FRAME, SLOT, Player, speak

S = seconds(1)
BASELINES = ["pass_through", "fps_paced", "arrival_delay", "two_clocks"]


def dues(pacing: Pacing, arrivals: list[int], *, buffered: int = 0) -> list[int]:
    loop = OpenLoop(pacing)
    return [loop.due_ns(at, n * FRAME, FRAME, buffered) for n, at in enumerate(arrivals)]


def test_on_arrival_is_at_once() -> None:
    assert dues(Pacing.ON_ARRIVAL, [5, 5, 900]) == [5, 5, 900]


def test_fps_paced_catches_up_when_little_behind() -> None:
    stall = [0, FRAME, FRAME + REBASE_NS, *range(FRAME + REBASE_NS, 2 * S, FRAME)]
    late = [due - n * FRAME for n, due in enumerate(dues(Pacing.FPS_PACED, stall))]
    assert late[1] == 0 and max(late) == REBASE_NS - FRAME, "300 ms are no reason to re-base"
    burst = [0, FRAME, *[FRAME + ms(250)] * 5, *range(7 * FRAME, 2 * S, FRAME)]
    assert dues(Pacing.FPS_PACED, burst)[-1] == burst[-1], "back on its own clock"


def test_fps_paced_gives_the_lost_time_up_for_ever_when_far_behind() -> None:
    stall = [0, *[S] * 24, *range(25 * FRAME, 10 * S, FRAME)]
    late = [due - n * FRAME for n, due in enumerate(dues(Pacing.FPS_PACED, stall))]
    assert late[0] == 0
    assert set(late[1:]) == {S - FRAME}, "as late ten seconds later as at first"


def test_arrival_delay_adds_what_the_sound_has_to_play_one_picture_a_tick() -> None:
    assert dues(Pacing.ARRIVAL_DELAY, [0, FRAME], buffered=ms(200)) == [ms(200), ms(240)]
    assert dues(Pacing.ARRIVAL_DELAY, [0, 0, 0]) == [0, FRAME, 2 * FRAME]


def test_two_clocks_goes_by_its_own_stamps_and_catches_up_in_a_burst() -> None:
    stall = [0, *[S] * 25, *range(26 * FRAME, 2 * S, FRAME)]
    assert dues(Pacing.TWO_CLOCKS, stall) == stall


def test_after_an_interrupt_each_begins_again() -> None:
    for pacing in Pacing:
        if pacing is not Pacing.CONTENT_CLOCK:
            loop = OpenLoop(pacing)
            for n in range(100):
                loop.due_ns(0, n * FRAME, FRAME, 0)
            loop.flush()
            assert loop.due_ns(S, 100 * FRAME, FRAME, 0) == S


# ---- the same, in the engine


def turn(name: str, **late: Callable[[int], int | None]) -> Player:
    player = Player(AvSyncPolicy.preset(name))
    speak(player, 6 * S, **late)  # type: ignore[arg-type]
    player.advance_to(8 * S)
    return player


def offset_at_end(player: Player) -> int:
    """Of the last picture shown while sound left, with the freeze before it: content, sound - picture."""
    return player.offsets()[-1]


@pytest.mark.parametrize("name", BASELINES)
def test_on_a_good_day_a_baseline_is_nearly_as_good(name: str) -> None:
    player = turn(name)
    assert max(map(abs, player.offsets())) <= FRAME
    assert player.drops() == {}


def test_a_second_of_video_stall_leaves_fps_paced_a_second_behind_and_two_clocks_not() -> None:
    burst = {"pictures": lambda pts: max(0, 2 * S - pts) if pts >= S else 0}
    assert offset_at_end(turn("fps_paced", **burst)) > ms(900)
    assert abs(offset_at_end(turn("two_clocks", **burst))) <= FRAME
    assert abs(offset_at_end(turn("pass_through", **burst))) <= FRAME
    assert abs(offset_at_end(turn("default", **burst))) == 0


def test_a_second_of_video_stall_that_continues_leaves_every_baseline_a_second_behind() -> None:
    for name in BASELINES:
        assert offset_at_end(turn(name, pictures=lambda pts: S if pts >= S else 0)) > ms(900), name


def test_a_second_of_sound_stall_leaves_every_baseline_a_second_ahead() -> None:
    for name in BASELINES:
        assert offset_at_end(turn(name, sound=lambda pts: S if pts >= S else 0)) < -ms(900), name
    assert offset_at_end(turn("default", sound=lambda pts: S if pts >= S else 0)) == 0


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_never_drop_repeat_degrade_or_ask(name: str) -> None:
    player = turn(name, pictures=lambda pts: S if pts >= S else 0)
    assert player.drops() == {} and not player.of(Repeat) and not player.of(Degrade) and not player.of(Request)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_knows_no_epochs_and_plays_what_comes_after_an_interrupt(name: str) -> None:
    player = Player(AvSyncPolicy.preset(name))
    for pts in range(0, S, SLOT):
        player.sound(pts)
    player.advance_to(ms(500))
    assert player.interrupt(1).dropped_units > 0, "the queues are emptied"
    before = len(player.presents(AUDIO))
    for pts in range(S, S + ms(200), SLOT):
        player.sound(pts)  # the old turn goes on
    player.picture(S)
    player.advance_to(2 * S)
    assert len(player.presents(AUDIO)) == before + 10
    assert player.presents(VIDEO)[-1].unit.epoch == 0


def test_two_clocks_do_not_see_that_one_of_them_drifts() -> None:
    """Each on its own stamps; 1 % of drift between the labels and the time is never noticed."""
    player = Player(AvSyncPolicy.preset("two_clocks"))
    for n in range(1500):
        player.advance_to(n * SLOT)
        player.sound(n * SLOT)
        if n % 2 == 0:
            player.picture(n * SLOT + n * SLOT // 100)
    shown = player.presents(VIDEO)[-1]
    assert shown.unit.pts_ns == shown.at_ns, "by its own labels"
    assert len(player.presents(VIDEO)) < 748, "and so it is late by its content"
