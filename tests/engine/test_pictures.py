"""Pictures: when a frame is shown, and the ladder that is climbed when the one that is due is not there."""

from __future__ import annotations

import pytest

from avsync.engine.key_frame_request import KEYFRAME_AGAIN_NS
from avsync.engine.late_ladder import Decision, decide
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, VIDEO, Alert, Drop, DropReason, Kind, MediaUnit, Present, Reason, Repeat, Request, Want
from avsync.units import ms, seconds
from tests.engine.engine_driver import FRAME, SLOT, Player, speak

POLICY = AvSyncPolicy()
DELAY = POLICY.playout_delay_ns
S = seconds(1)
DUE = S + DELAY  # of the first picture that is missing below


@pytest.mark.parametrize(
    ("late_ms", "newer_due", "idle", "decision"),
    [
        (0, False, False, Decision.SHOW),
        (45, True, True, Decision.SHOW),
        (46, False, False, Decision.SHOW_LATE),
        (46, True, False, Decision.MAKE_WAY),
        (46, False, True, Decision.TOO_LATE),
        (120, False, False, Decision.SHOW_LATE),
        (121, False, False, Decision.TOO_LATE),
        (10_000, True, False, Decision.MAKE_WAY),
    ],
)
def test_the_table_of_late_pictures(late_ms: int, newer_due: bool, idle: bool, decision: Decision) -> None:
    assert decide(ms(late_ms), newer_due=newer_due, idle=idle, policy=POLICY) is decision


def stalled_player(levers: frozenset[Want] = frozenset(), until: int = 4 * S) -> Player:
    """The voice goes on; the last picture is the one before ``S``, so something is missing from ``DUE`` on."""
    player = Player(levers=levers)
    speak(player, until, pictures=lambda pts: None if pts >= S else 0)
    return player


def test_the_ladder_repeat_degrade_alert_idle_at_the_slots_after_120_250_500_1000_ms() -> None:
    player = stalled_player(until=3 * S)
    first = player.of(Repeat)[0]
    assert (first.at_ns, first.stamp_ns, first.reason) == (DUE + ms(120), DUE, Reason.MISSING)
    assert [(at - DUE, step) for at, step in player.ladder()] == [
        (ms(260), "degrade 1"),
        (ms(500), "stall_video on"),
        (ms(1000), "degrade 2"),
    ]


def test_repeats_are_stamped_where_the_missing_pictures_belong() -> None:
    player = stalled_player()
    stamps = [repeat.stamp_ns for repeat in player.of(Repeat)]
    assert stamps == [DUE + n * FRAME for n in range(len(stamps))] and len(stamps) > 60
    assert all(repeat.at_ns - repeat.stamp_ns < ms(120) + SLOT for repeat in player.of(Repeat))
    assert {repeat.unit.pts_ns for repeat in player.of(Repeat)} == {S - FRAME}


@pytest.mark.parametrize(
    ("late_ms", "reason"), [(0, Reason.DUE), (30, Reason.DUE), (45, Reason.DUE), (46, Reason.LATE), (119, Reason.LATE)]
)
def test_a_late_picture_is_shown_under_its_own_stamp(late_ms: int, reason: Reason) -> None:
    player = stalled_player(until=S)
    for pts in range(S, S + ms(200), SLOT):
        player.sound(pts)
    player.advance_to(DUE + ms(late_ms))
    player.picture(S)
    shown = player.presents(VIDEO)[-1]
    assert (shown.unit.pts_ns, shown.at_ns, shown.stamp_ns, shown.reason) == (S, DUE + ms(late_ms), DUE, reason)
    assert player.of(Repeat) == []


def test_later_than_120_ms_a_picture_is_not_worth_its_stamp() -> None:
    player = stalled_player(until=S)
    for pts in range(S, S + ms(200), SLOT):
        player.sound(pts)
    player.advance_to(DUE + ms(121))
    player.picture(S)
    assert player.drops() == {"late": 1}
    assert [repeat.stamp_ns for repeat in player.of(Repeat)] == [DUE]


def test_a_picture_whose_place_was_taken_by_a_repeat_is_not_sent_backwards() -> None:
    player = stalled_player(until=S)
    for pts in range(S, S + ms(300), SLOT):
        player.sound(pts)
    player.advance_to(DUE + ms(120))
    assert player.of(Repeat)[-1].stamp_ns == DUE
    player.picture(S)  # late by 120 ms: worth showing, if its place were free
    assert player.drops() == {"stamp_order": 1}


def test_lips_are_back_with_the_first_picture_on_time_and_not_before() -> None:
    player = stalled_player(until=3 * S)
    player.advance_to(3 * S)
    on_time = 3 * S - DELAY
    player.picture(on_time - ms(80))  # late by 80 ms: not out of the idle picture
    assert player.drops() == {"late": 1}
    player.picture(on_time - ms(40))
    assert [step for _, step in player.ladder()][-3:] == ["degrade 2", "degrade 0", "stall_video off"]
    assert player.presents(VIDEO)[-1].unit.pts_ns == on_time - ms(40)


def test_from_level_1_a_late_picture_is_enough() -> None:
    player = stalled_player(until=S + ms(400))
    player.picture(player.now - DELAY - ms(80))
    assert [step for _, step in player.ladder()] == ["degrade 1", "degrade 0"]


def test_no_lever_no_request_but_the_idle_picture() -> None:
    assert stalled_player().of(Request) == []
    requests = stalled_player(frozenset({Want.SKIP_TO_PTS})).of(Request)
    assert requests and requests[0].at_ns == DUE + ms(60), "the first slot that finds 45 ms missing"


def test_a_skip_target_contains_the_time_it_takes_to_obey() -> None:
    request = stalled_player(frozenset({Want.SKIP_TO_PTS})).of(Request)[0]
    assert request.value == S + ms(60) + POLICY.request_latency_ns + POLICY.skip_margin_ns
    again = stalled_player(frozenset({Want.SKIP_TO_PTS})).of(Request)[1]
    assert again.at_ns - request.at_ns == POLICY.skip_again_after_ns


def test_the_gap_that_a_skip_leaves_is_no_reason_to_ask_again() -> None:
    """Else each answer would cause the next request, for ever."""
    player = stalled_player(frozenset({Want.SKIP_TO_PTS}), until=S + ms(400))
    for pts in range(S + ms(400), 3 * S, SLOT):
        player.sound(pts)
    asked = player.of(Request)[-1]
    content = asked.value + ms(25)  # where its next frame begins
    start = content + DELAY - ms(60)  # it obeys, and its pictures come 60 ms before they are due
    speak(player, 2 * S, pts=content, start=start, sound=lambda pts: None)
    assert [r for r in player.of(Request) if r.at_ns >= start] == []
    assert player.presents(VIDEO)[-1].unit.pts_ns > asked.value


def test_nothing_is_missing_after_the_last_picture_of_a_finished_turn() -> None:
    player = Player()
    speak(player, S)
    player.engine.finish(VIDEO, 0, player.now)
    speak(player, 3 * S, pts=S, pictures=lambda pts: None)
    assert player.of(Repeat) == [] and player.ladder() == []


def test_a_turn_that_ends_while_pictures_are_missing_ends_the_alert() -> None:
    player = stalled_player(until=2 * S)
    player.finish()
    assert [step for _, step in player.ladder()][-2:] == ["stall_video on", "stall_video off"]


def test_an_interrupt_ends_the_alert() -> None:
    player = stalled_player(until=2 * S)
    player.interrupt(1)
    assert [step for _, step in player.ladder()][-3:] == ["stall_video on", "stall_video off", "degrade 2"]


def test_pictures_are_held_until_due_and_a_ticking_sink_takes_the_nearest_tick() -> None:
    for tick in (0, ms(16), ms(33)):
        player = Player(picture_tick_ns=tick)
        for pts in range(0, S, SLOT):
            player.sound(pts)
        for pts in range(0, S, FRAME):
            player.picture(pts)
        player.advance_to(2 * S)
        early = [p.stamp_ns - p.at_ns for p in player.presents(VIDEO)]
        assert early[1:] == [tick // 2] * 24, "no earlier than half a tick before due"
        assert early[0] == 0, "nothing of a turn before its first sound"
        assert [p.stamp_ns for p in player.presents(VIDEO)] == [DELAY + n * FRAME for n in range(25)]


def test_one_picture_a_second_is_no_stall_where_it_says_so() -> None:
    player = Player()
    speak(player, 10 * S, fps=1)
    assert player.ladder() == [] and player.of(Repeat) == []


# ---- coded pictures that others depend on


def frame(number: int, *, key: bool = False, raw: bool = False) -> MediaUnit:
    return MediaUnit(VIDEO, number, 0, number * FRAME, FRAME, 1000, key, raw)


def decodable(player: Player) -> bool:
    """Every picture shown could be decoded from what was sent before it: nothing it needs was dropped."""
    whole = False
    fate = {id(a.unit): isinstance(a, Present) for _, a in player.answers if isinstance(a, Present | Drop)}
    for unit in sorted((u for u in player.pushed if u.kind is VIDEO), key=lambda u: u.seq):
        if unit.is_key:
            whole = True
        if fate.get(id(unit)) and not whole:
            return False
        if not fate.get(id(unit), True) and not unit.droppable:
            whole = False
    return True


def coded_player(group: int, missing: range, until: int = 150) -> Player:
    """Coded pictures, a key frame each ``group``; those in ``missing`` come late, all at once after the last."""
    player = Player(levers={Want.KEYFRAME})
    for n in range(until):
        player.advance_to(n * FRAME)
        player.burst([(AUDIO, n * FRAME), (AUDIO, n * FRAME + SLOT)])
        if n in missing:
            continue
        if n == missing.stop:
            for each in missing:
                player.push(frame(each, key=each % group == 0), pump=False)
        player.push(frame(n, key=n % group == 0), pump=False)
        player.pump()
    player.advance_to(player.now + S)
    return player


def test_coded_pictures_are_dropped_through_to_the_next_key_frame_and_one_is_asked_for() -> None:
    player = coded_player(50, range(20, 45))
    assert decodable(player)
    shown = [p.unit.seq for p in player.presents(VIDEO)]
    assert shown == [*range(20), *range(50, 150)]
    assert player.drops() == {"late": 1, "dependency": 29}
    asked = [r.at_ns for r in player.of(Request)]
    assert asked[0] == 45 * FRAME and {r.want for r in player.of(Request)} == {Want.KEYFRAME}


def test_a_key_frame_that_does_not_come_is_asked_for_again_but_not_all_the_time() -> None:
    player = coded_player(1000, range(20, 45))
    asked = [r.at_ns for r in player.of(Request)]
    assert len(asked) > 3
    assert min(b - a for a, b in zip(asked, asked[1:], strict=False)) >= KEYFRAME_AGAIN_NS


def test_a_late_picture_makes_way_only_for_a_key_frame_if_others_need_it() -> None:
    player = coded_player(10, range(20, 24))
    assert decodable(player)
    assert [p.unit.seq for p in player.presents(VIDEO)][-100:] == list(range(50, 150))


@pytest.mark.parametrize("raw", [True, False])
def test_one_that_nothing_depends_on_may_go_alone(raw: bool) -> None:
    player = Player(levers={Want.KEYFRAME})
    player.burst([(AUDIO, n * SLOT) for n in range(100)])
    player.push(frame(0, key=True))
    player.push(frame(25, key=True))
    player.advance_to(28 * FRAME + DELAY + ms(80))
    for n in (26, 27, 28):
        player.push(frame(n, raw=raw), pump=False)
    player.pump()
    assert player.drops() == ({"late_newer": 2} if raw else {"late": 1, "dependency": 2})
    assert decodable(player)


def test_a_coded_picture_with_a_bad_stamp_breaks_what_follows_it_and_not_what_came_before() -> None:
    player = Player(levers={Want.KEYFRAME})
    player.burst([(AUDIO, n * SLOT) for n in range(100)])
    for n in range(40):
        unit = frame(n, key=n in (0, 30))
        player.push(unit._replace(pts_ns=-5) if n == 10 else unit, pump=False)
    player.advance_to(3 * S)
    assert [p.unit.seq for p in player.presents(VIDEO)] == [*range(10), *range(30, 40)]
    assert player.drops() == {"bad_pts": 1, "dependency": 19}


def test_a_coded_picture_overtaken_by_the_one_after_it_breaks_the_chain() -> None:
    player = Player(levers={Want.KEYFRAME})
    player.burst([(AUDIO, n * SLOT) for n in range(100)])
    for n in (0, 1, 3):
        player.push(frame(n, key=n == 0), pump=False)
    player.advance_to(DELAY + 3 * FRAME)
    player.push(frame(2))
    player.push(frame(4))
    player.advance_to(S)
    assert [(d.unit.seq, d.reason) for d in player.of(Drop)] == [(2, DropReason.LATE), (4, DropReason.DEPENDENCY)]


BARGE_IN = S - ms(10)  # one picture waits


def interrupted_coded(
    reply_key: int | None, *, pushed_on: int = 0, levers: frozenset[Want] = frozenset({Want.KEYFRAME})
) -> Player:
    """Coded pictures, one key frame at the start, an interrupt just before 1 s, a reply of which ``reply_key`` is one.

    ``pushed_on`` of the old turn come after the interrupt. The reply's sound and pictures follow without a gap.
    """
    player = Player(levers=levers)
    for n in range(150):
        if n == 25:
            player.advance_to(BARGE_IN)
            player.interrupt(1)
        player.advance_to(n * FRAME)
        epoch = int(n >= 25)
        player.burst([(AUDIO, n * FRAME), (AUDIO, n * FRAME + SLOT)], epoch=epoch)
        player.push(frame(n, key=n in (0, reply_key))._replace(epoch=int(n >= 25 + pushed_on)))
    player.advance_to(player.now + 2 * S)
    return player


@pytest.mark.parametrize("pushed_on", [0, 4])
def test_after_an_interrupt_no_picture_is_shown_whose_reference_was_dropped_with_the_old_turn(pushed_on: int) -> None:
    player = interrupted_coded(40, pushed_on=pushed_on)
    assert decodable(player) and player.drops()["stale_epoch"] >= max(pushed_on, 1)
    assert [p.unit.seq for p in player.presents(VIDEO) if p.epoch == 1] == list(range(40, 150))
    asked = [request.at_ns for request in player.of(Request)]
    assert asked[0] == BARGE_IN, "at once: what waited was dropped with the turn"
    assert asked[1] == S + pushed_on * FRAME, "and again when the reply turns out to begin without a key frame"
    assert all(later - sooner >= KEYFRAME_AGAIN_NS for sooner, later in zip(asked[1:], asked[2:], strict=False))


def test_a_reply_that_begins_with_a_key_frame_is_shown_from_it_on() -> None:
    player = interrupted_coded(25)
    assert [p.unit.seq for p in player.presents(VIDEO) if p.epoch == 1] == list(range(25, 150))
    assert len(player.of(Request)) == 1, "what it needs is not known before"


def test_what_comes_late_of_the_old_turn_breaks_nothing_behind_a_key_frame_of_the_reply() -> None:
    player = Player(levers={Want.KEYFRAME})
    player.burst([(AUDIO, n * SLOT) for n in range(150)], epoch=1)
    player.interrupt(1)
    player.push(frame(10, key=True)._replace(epoch=1))
    player.push(frame(9))  # of the old turn: overtaken
    player.push(frame(11)._replace(epoch=1))
    player.advance_to(DELAY + 11 * FRAME)
    player.push(frame(8))
    player.push(frame(12)._replace(epoch=1))
    player.push(frame(7, raw=True))
    player.advance_to(2 * S)
    assert [p.unit.seq for p in player.presents(VIDEO)] == [10, 11, 12] and player.of(Request) == []
    raw = Player(levers={Want.KEYFRAME})
    raw.burst([(AUDIO, n * SLOT) for n in range(50)], epoch=1)
    raw.interrupt(1)
    raw.push(frame(9, raw=True))
    raw.push(frame(10)._replace(epoch=1))
    raw.advance_to(S)
    assert [p.unit.seq for p in raw.presents(VIDEO)] == [10], "nothing depends on a raw one"


def test_what_comes_late_of_the_old_turn_breaks_what_waits_before_a_key_frame_and_what_follows_none() -> None:
    player = Player(levers={Want.KEYFRAME})
    player.burst([(AUDIO, n * SLOT) for n in range(100)], epoch=1)
    player.interrupt(1)
    player.push(frame(10)._replace(epoch=1))
    player.push(frame(12, key=True)._replace(epoch=1))
    player.push(frame(9))
    player.push(frame(13)._replace(epoch=1))
    player.advance_to(DELAY + 14 * FRAME)
    assert [p.unit.seq for p in player.presents(VIDEO)] == [12, 13] and player.drops()["dependency"] == 1
    player.interrupt(2)
    player.burst([(AUDIO, n * SLOT) for n in range(100, 200)], epoch=2)
    player.push(frame(52)._replace(epoch=2))  # nobody knows yet that one is missing before it
    player.advance_to(player.now + DELAY + 2 * FRAME)
    player.push(frame(51)._replace(epoch=1))
    player.push(frame(53)._replace(epoch=2))
    player.advance_to(player.now + S)
    assert [p.unit.seq for p in player.presents(VIDEO)] == [12, 13, 52]


def test_each_turn_has_its_own_half_second_before_it_is_told_that_nothing_can_be_shown() -> None:
    player = Player(levers=())
    for n in range(50):
        player.advance_to(n * FRAME)
        if n in (10, 20, 30):
            player.push(frame(n - 1)._replace(epoch=n // 10 - 1, pts_ns=n * FRAME - 1))
            player.interrupt(n // 10)
        player.burst([(AUDIO, n * FRAME), (AUDIO, n * FRAME + SLOT)], epoch=min(n // 10, 3))
        if n < 40:
            player.push(frame(n, key=n == 0)._replace(epoch=n // 10))
    assert player.drops()["dependency"] > 20 and [a for a in player.of(Alert) if a.name == "stall_video"] == []


def test_a_timeline_that_begins_again_does_not_count_a_key_frame_of_the_one_before() -> None:
    player = Player(levers={Want.KEYFRAME})
    far = 5000  # frames: 200 s, more than the engine follows back without a new timeline
    for first, until in ((far, far + 25), (0, 25)):
        for n in range(first, until):
            player.advance_to(player.now + FRAME)
            player.burst([(AUDIO, n * FRAME), (AUDIO, n * FRAME + SLOT)])
            player.push(frame(n, key=n == far))
        player.advance_to(player.now + (S if first else 0))
    assert player.presents(VIDEO)[-1].unit.seq < 25, "the new timeline is played"
    player.interrupt(1)
    player.burst([(AUDIO, n * SLOT) for n in range(50, 100)], epoch=1)
    player.push(frame(25)._replace(epoch=1))
    player.advance_to(player.now + 2 * S)
    assert player.drops()["stale_epoch"] > 0
    assert [p for p in player.presents(VIDEO) if p.epoch == 1] == [], "what it needs was dropped"


@pytest.mark.parametrize("levers", [frozenset(), frozenset({Want.KEYFRAME})])
def test_pictures_that_come_and_cannot_be_shown_are_told_after_half_a_second(levers: frozenset[Want]) -> None:
    """Nobody gives a key frame, asked or not, and no picture is missing: the source sends every one."""
    player = interrupted_coded(100, levers=levers)
    alerts = [
        (at, answer.active)
        for at, answer in player.answers
        if isinstance(answer, Alert) and answer.name == "stall_video"
    ]
    assert [active for _, active in alerts] == [True, False]
    begun, ended = (at for at, _ in alerts)
    assert S + player.engine.policy.stall_alert_after_ns <= begun <= S + ms(700)
    assert ended == next(p.at_ns for p in player.presents(VIDEO) if p.unit.seq == 100)


def test_a_key_frame_that_comes_soon_is_no_stall() -> None:
    player = interrupted_coded(36)
    assert [alert for alert in player.of(Alert) if alert.name == "stall_video"] == []
    twice = Player(levers={Want.KEYFRAME})
    twice.burst([(AUDIO, n * SLOT) for n in range(100)])
    for n in range(40):
        unit = frame(n, key=n in (0, 15, 35))
        twice.push(unit._replace(pts_ns=-5) if n in (10, 30) else unit, pump=False)
    twice.advance_to(39 * FRAME)
    assert twice.drops()["dependency"] == 8 and twice.of(Alert) == [], "twice 200 ms is not once 1 s"


def test_pictures_out_of_order_are_put_in_order() -> None:
    player = Player()
    player.burst([(AUDIO, n * SLOT) for n in range(50)])
    for n in (3, 0, 2, 1, 4, 2):
        player.push(frame(n, raw=True), pump=False)
    player.advance_to(S)
    assert [p.unit.seq for p in player.presents(VIDEO)] == [0, 1, 2, 3, 4]
    assert player.drops() == {"duplicate": 1}


def test_pictures_left_over_from_the_turn_before_make_way_for_the_new_one() -> None:
    player = Player()
    player.burst([(AUDIO, n * SLOT) for n in range(10)])
    player.burst([(VIDEO, n * FRAME) for n in range(20)])
    player.finish()
    kinds: list[tuple[Kind, int]] = [(AUDIO, S + n * SLOT) for n in range(10)]
    player.burst(kinds + [(VIDEO, S + n * FRAME) for n in range(5)], epoch=1)
    player.advance_to(4 * S)
    assert player.drops() == {}, "its tail is content: it passes before the next turn"
    assert [p.epoch for p in player.presents(VIDEO)] == [0] * 20 + [1] * 5


def test_a_reply_whose_stamps_went_back_is_shown_all_the_same() -> None:
    """A provider that began its timeline anew, less than a discontinuity back. An old picture is told by its epoch."""
    player = Player(levers=frozenset({Want.KEYFRAME}))
    base = 10 * S
    for n in range(50):
        player.advance_to(n * FRAME)
        player.burst([(AUDIO, base + n * FRAME), (AUDIO, base + n * FRAME + SLOT)])
        player.picture(base + n * FRAME, key=n == 0, raw=False)
    player.interrupt(1)
    for n in range(75):
        player.advance_to(2 * S + n * FRAME)
        at = base + ms(500) + n * FRAME
        player.burst([(AUDIO, at), (AUDIO, at + SLOT)], epoch=1)
        player.picture(at, epoch=1, key=n == 0, raw=False)
        if n == 5:
            player.picture(base + 2 * S, epoch=0, key=False, raw=False)  # overtaken by the reply's key frame
    player.advance_to(6 * S)
    assert len([shown for shown in player.presents(VIDEO) if shown.epoch == 1]) >= 73
    assert [request.epoch for request in player.of(Request)] == [0], "at the interrupt, and not again"
