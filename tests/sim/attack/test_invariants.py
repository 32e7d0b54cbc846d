"""Each invariant fires on a run that breaks it, made by hand, and is silent on a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avsync.engine.synchronizer import AvSynchronizer
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, Alert, Drop, DropReason, MediaUnit, Present, Reason
from avsync.units import ms, seconds
from sim.attack import invariants as inv
from sim.attack.growth import forced, inserted, kept_ms
from sim.attack.invariants import breaches, is_calm, reports_right
from sim.attack.trial import Crash, Trial, run_trial
from sim.attack.watched import POLLS_AT_ONCE, Ledger, Watched
from sim.scenario.scenario import build
from sim.source.generator import Made
from sim.truth.columns import I64
from sim.truth.logs import ArrivalLog, PresentationLog, SourceLog
from sim.truth.truth import offsets
from sim.truth.unit_measures import added_latency

POLICY = AvSyncPolicy()
HEAD: dict[str, Any] = {"avsync": 1, "about": "A call.", "tags": ["reference"], "duration_s": 10, "viewer": "avsync"}


def made_of(**data: Any) -> dict[str, Any]:
    return {**HEAD, **data}


@pytest.fixture(scope="module")
def good() -> Trial:
    """A call that is interrupted at 4 s, and without a fault."""
    return run_trial(made_of(steps=[{"at_s": 4, "do": "interrupt"}]), POLICY)


def kinds(found: Any) -> list[str]:
    return [breach.kind for breach in found]


def with_row(trial: Trial, **values: float) -> Trial:
    return replace(trial, row={**trial.row, **values})


def test_a_good_call_breaks_nothing(good: Trial) -> None:
    assert kinds(breaches(good)) == []


def test_a_traceback_is_a_find_and_names_its_place() -> None:
    crashed = replace(run_trial(HEAD, POLICY), crash=Crash("KeyError", "sim/run/leg.py:send", "Traceback\nKeyError: 3"))
    assert breaches(crashed) == [inv.Breach("exception KeyError in sim/run/leg.py:send", "KeyError: 3")]


def test_a_scenario_that_raises_is_caught() -> None:
    broken = AvSyncPolicy.preset("default")
    object.__setattr__(broken, "slot_ns", "not a number")
    (breach,) = breaches(run_trial(HEAD, broken))
    assert breach.kind == "exception UsageError in avsync/policy.py:__post_init__"


def test_stamps_that_go_back(good: Trial) -> None:
    assert kinds(inv.pts_in_order(with_row(good, output_pts_violations=2))) == ["pts_order at output"]
    assert kinds(inv.pts_in_order(with_row(good, pts_violations=1))) == ["pts_order at viewer"]
    assert kinds(inv.pts_in_order(good)) == []


def two_turns(interrupted_at_ms: int) -> tuple[SourceLog, PresentationLog]:
    """A second of voice and lips, interrupted, and then another turn of it; nothing has left yet."""
    source, left = SourceLog(), PresentationLog()
    for turn in range(2):
        source.turn(turn, seconds(turn))
        for at in range(0, 1000, 20):
            source.sound(seconds(turn) + ms(at), ms(20), turn, seconds(turn) + ms(at))
        for at in range(0, 1000, 40):
            source.picture(seconds(turn) + ms(at), ms(40), turn, seconds(turn) + ms(at))
    source.interrupted(0, ms(interrupted_at_ms))
    return source, left


def test_stale_sound_and_stale_pictures() -> None:
    source, left = two_turns(500)
    left.heard(ms(480), ms(20), 24, 0, ms(20))
    left.shown(ms(490), 12)
    left.shown(ms(510), -1)
    assert inv.stale_events(source, left) == 0
    left.heard(ms(520), ms(20), 25, 0, ms(20))
    assert inv.stale_events(source, left) == 1
    left.shown(ms(600), 12)  # the old mouth again
    assert inv.stale_events(source, left) == 2
    left.shown(ms(700), 25)  # the new turn's own
    assert inv.stale_events(source, left) == 2


def test_an_old_mouth_that_stays_on_screen() -> None:
    source, left = two_turns(500)
    left.shown(ms(490), 12)
    assert inv.stale_events(source, left) == 1


def test_pauses_of_an_interrupted_turn() -> None:
    source, _ = two_turns(500)
    assert not inv.pauses(source, ms(600))
    late, _ = two_turns(1100)  # the turn had been over for 100 ms
    assert inv.pauses(late, ms(40))
    paused = SourceLog()
    paused.turn(0, 0)
    paused.sound(0, ms(20), 0, 0)
    paused.sound(ms(60), ms(20), 0, ms(60))
    paused.interrupted(0, ms(80))
    assert inv.pauses(paused, ms(40)) and not inv.pauses(paused, ms(41))


def test_every_unit_ends_exactly_once(good: Trial) -> None:
    unit = MediaUnit(AUDIO, 1, 0, 0, ms(20), payload=Made(AUDIO, 0, 0, ms(20), 0, 0, True, False, 0, 0, 1, 1))
    ledger = Ledger()
    ledger.note_push(unit, 0)
    assert (ledger.lost, ledger.ended_twice) == (1, 0)
    ledger.note_answer(Present(unit, 0, 0, 0, Reason.DUE))
    assert (ledger.lost, ledger.ended_twice) == (0, 0)
    ledger.note_answer(Drop(unit, 0, 0, DropReason.LATE))
    assert (ledger.lost, ledger.ended_twice) == (0, 1)
    bad = replace(good, points=(replace(good.points[0], ledger=ledger), good.points[1]))
    assert kinds(inv.accounted_for(bad)) == ["accounting at output"]
    assert kinds(inv.accounted_for(good)) == []


def test_a_queue_beyond_its_bound(good: Trial) -> None:
    point, peak = good.points[0].point, good.points[0].point.queue_peak_units
    assert kinds(inv.queue_bounded(good)) == []
    point.queue_peak_units = POLICY.audio_queue_units + POLICY.video_queue_units + 1
    try:
        assert kinds(inv.queue_bounded(good)) == ["queue at output"]
    finally:
        point.queue_peak_units = peak


def test_an_engine_that_never_waits_is_stopped() -> None:
    class Awake:
        def poll(self, now_ns: int) -> None:
            return None

    watched = Watched(Awake())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="never waits"):
        for _ in range(POLLS_AT_ONCE + 2):
            watched.poll(5)


def test_the_end_of_a_turn_is_a_time_that_an_engine_was_told() -> None:
    """A clock that runs fast tells it after the last poll; closed at an earlier time, the engine would refuse."""
    watched = Watched(AvSynchronizer(POLICY))
    watched.poll(ms(980))
    watched.finish(AUDIO, 0, ms(991))
    watched.close()


# ---- growth


def told(arrive: Callable[[int], int], leave: Callable[[int], int], until_s: int = 120) -> Any:
    """Sounds of one turn, every 20 ms of content: (source, presented, arrivals)."""
    source, left, arrivals = SourceLog(), PresentationLog(), ArrivalLog()
    source.turn(0, 0)
    for at in range(0, until_s * 1000, 20):
        ref = source.sound(ms(at), ms(20), 0, ms(at))
        arrivals.sound(ref, arrive(ms(at)))
        left.heard(leave(ms(at)), ms(20), ref, 0, ms(20))
    return source, left, arrivals


def longer(good: Trial, story: Any) -> Trial:
    """A trial whose two minutes left this behind at the output."""
    source, left, arrivals = story
    assert good.run is not None
    point = good.points[0]
    ledger = Ledger()
    ledger.arrivals = arrivals
    run = replace(good.run, source=source)
    copy = _CopiedPoint(left)
    two_minutes = replace(
        good, run=run,
        points=(replace(point, point=copy, ledger=ledger, latency=added_latency(source, left, arrivals)),),
    )  # fmt: skip
    return replace(good, longer=two_minutes)


class _CopiedPoint:
    def __init__(self, presented: PresentationLog) -> None:
        self.presented = presented


def test_a_latency_that_grows_without_end(good: Trial) -> None:
    steady = told(lambda at: at, lambda at: at + ms(40))
    assert kinds(inv.latency_ends(longer(good, steady))) == []
    slower = told(lambda at: at, lambda at: at + at // 100)  # 10 ms a second
    assert kinds(inv.latency_ends(longer(good, slower))) == ["latency_grows at output"]
    learning = told(lambda at: at, lambda at: at + min(at // 100, ms(300)))
    assert kinds(inv.latency_ends(longer(good, learning))) == []


def test_silence_that_comes_again_and_again(good: Trial) -> None:
    steps = told(lambda at: at, lambda at: at + at // seconds(5) * ms(60))
    assert kinds(inv.silence_ends(longer(good, steps))) == ["silence_grows at output"]
    forced_so = told(lambda at: at + at // seconds(5) * ms(60), lambda at: at + at // seconds(5) * ms(60))
    assert kinds(inv.silence_ends(longer(good, forced_so))) == []
    assert kinds(inv.silence_ends(longer(good, told(lambda at: at, lambda at: at + ms(40))))) == []


def test_without_two_minutes_nothing_is_said_of_growth(good: Trial) -> None:
    assert good.longer is None
    assert kinds((*inv.latency_ends(good), *inv.silence_ends(good), *inv.latency_comes_back(good))) == []


def test_a_delay_that_is_not_given_back() -> None:
    turns = made_of(source={"turns": {"talk_s": 4}})
    whole = run_trial(turns, POLICY)
    assert whole.run is not None
    ledger, latency = whole.points[0].ledger, whole.points[0].latency
    assert ledger is not None and latency is not None
    kept = kept_ms(whole.run.source, latency, ledger.arrivals, 5)
    assert kept is not None and kept == pytest.approx(40, abs=1)
    held = latency._replace(added_ns=latency.added_ns + ms(300))
    kept = kept_ms(whole.run.source, held, ledger.arrivals, 5)
    assert kept is not None and kept == pytest.approx(340, abs=1)
    bad = replace(whole, longer=replace(whole, points=(replace(whole.points[0], latency=held),)))
    # The turns of this short call begin before the second minute: nothing to judge there.
    assert kinds(inv.latency_comes_back(bad)) == []


def test_forced_silence_is_what_comes_later_than_before() -> None:
    came: I64 = np.array([0, 20, 90, 110, 130], dtype=np.int64) * ms(1)
    content: I64 = np.array([0, 20, 40, 60, 80], dtype=np.int64) * ms(1)
    at, more = forced(came, content, np.zeros(5, dtype=np.int64), ms(400))
    assert at.tolist() == [ms(90)] and more.tolist() == [ms(50)]


def test_a_line_that_hangs_longer_than_any_delay_forces_silence_each_time() -> None:
    at = np.arange(0, 30_000, 20, dtype=np.int64)
    hangs = at // 6000 * 6000 + 1500  # every 6 s for 1.5 s
    came: I64 = np.maximum(at, np.where(at >= 6000, hangs, 0)) * ms(1)
    when, more = forced(came, at * ms(1), np.zeros(len(at), dtype=np.int64), ms(400))
    assert when.tolist() == [ms(7500), ms(13_500), ms(19_500), ms(25_500)]
    assert more.tolist() == [ms(1500), ms(1100), ms(1100), ms(1100)]


def test_inserted_silence_leaves_out_what_passed() -> None:
    source, left = two_turns(5000)
    left.heard(0, ms(20), 0, 0, ms(20))
    left.heard(ms(120), ms(20), 1, 0, ms(20))  # 100 ms of silence, no content passed
    left.heard(ms(240), ms(20), 7, 0, ms(20))  # 100 ms again, and 100 ms of content with it
    at, gap = inserted(source, left)
    assert at.tolist() == [ms(120)] and gap.tolist() == [ms(100)]


def test_at_a_bridge_belief_is_judged_from_the_first_picture_that_reports_have_placed() -> None:
    bridged = run_trial(made_of(topology="provider_bridge"), POLICY)
    assert bridged.run is not None
    for one in bridged.points:
        assert seconds(0.5) < inv.placed_ns(bridged.run.source, one.point) < seconds(3)
        one.point.beliefs.clear()
        for at in range(2000, 8000, 20):
            one.point.beliefs.add(ms(at), ms(300))
    assert kinds(inv.belief_true(bridged)) == ["belief at output", "belief at viewer"]
    output = bridged.points[0].point
    assert output.by_reports_from is not None
    first_ns = inv.placed_ns(bridged.run.source, output)
    output.by_reports_from += 100
    assert inv.placed_ns(bridged.run.source, output) >= first_ns + seconds(3)
    for one in bridged.points:
        one.point.by_reports_from = None  # it said "by arrival" all the time
    assert kinds(inv.belief_true(bridged)) == []


# ---- alerts


def stalled(alerts: list[Alert]) -> Trial:
    """Voice without a picture for two of four seconds; these alerts were raised."""
    source, left = SourceLog(), PresentationLog()
    source.turn(0, 0)
    for at in range(0, 4000, 20):
        ref = source.sound(ms(at), ms(20), 0, ms(at))
        left.heard(ms(at), ms(20), ref, 0, ms(20))
    for at in range(0, 4000, 40):
        ref = source.picture(ms(at), ms(40), 0, ms(at))
        if not 1000 <= at < 3000:
            left.shown(ms(at), ref)
    whole = run_trial(HEAD, POLICY)
    point = replace(whole.points[0], samples=offsets(source, left))
    point.point.alerts[:] = alerts
    return replace(whole, points=(point,))


def test_a_stall_without_an_alert() -> None:
    assert kinds(inv.trouble_told(stalled([]))) == ["stall_untold at output"]
    assert kinds(inv.trouble_told(stalled([Alert("stall_video", True, ms(1600), 0, ms(600))]))) == []
    over = [Alert("stall_video", True, ms(200), 0, 1), Alert("stall_video", False, ms(300), 0, 1)]
    assert kinds(inv.trouble_told(stalled(over))) == ["stall_untold at output"]


def test_a_stall_that_one_of_two_still_tells() -> None:
    begun = [Alert("stall_video", True, ms(200), 0, 1)]
    trial = stalled(begun)
    answers = trial.points[0].point.answers
    assert answers is not None
    answers.alerts[:] = [*begun, Alert("stall_video", False, ms(300), 0, 1)]
    assert kinds(inv.trouble_told(trial)) == []
    trial.points[0].point.alerts.clear()
    assert kinds(inv.trouble_told(trial)) == ["stall_untold at output"]


def test_a_lag_without_an_alert() -> None:
    whole = run_trial(made_of(duration_s=14), POLICY)
    assert kinds(inv.trouble_told(whole)) == []
    point = whole.points[0]
    apart = point.samples._replace(e_ns=np.full(len(point.samples.e_ns), seconds(2)))
    bad = replace(whole, points=(replace(point, samples=apart),))
    assert kinds(inv.trouble_told(bad)) == ["lag_untold at output"]
    no_reports = {"topology": "provider_bridge", "network": {"to_bridge": {"sender_reports": "none"}}}
    assert kinds(inv.trouble_told(replace(bad, scenario=build(made_of(**no_reports))))) == [], "nobody can know"
    point.point.alerts.append(Alert("offset_lead_critical", True, seconds(9), 0, seconds(2)))
    assert kinds(inv.trouble_told(bad)) == []


def test_an_alert_in_a_clean_call(good: Trial) -> None:
    alerts = good.points[0].point.alerts
    before = list(alerts)
    alerts.append(Alert("offset_lag_warn", True, seconds(5), 0, ms(100)))
    try:
        assert "false_alert offset_lag_warn at output" in kinds(inv.no_false_alert(good))
        troubled = replace(good, scenario=build(made_of(steps=[{"at_s": 3, "do": "stall", "for_s": 1}])))
        assert kinds(inv.no_false_alert(troubled)) == []
    finally:
        alerts[:] = before


@pytest.mark.parametrize(
    ("data", "calm"),
    [
        ({}, True),
        ({"topology": "provider_bridge", "network": {"to_bridge": {"jitter_ms": 20}}}, True),
        ({"clocks": {"client": {"ppm": 50}}}, True),
        ({"clocks": {"client": {"ppm": 150}}}, False),
        ({"network": {"to_viewer": {"jitter_ms": 80}}}, False),
        ({"network": {"to_viewer": {"loss": 0.01}}}, False),
        ({"source": {"video": {"delay_ms": 20}}}, False),
        ({"steps": [{"at_s": 2, "do": "mute", "for_s": 1}]}, False),
    ],
)
def test_what_a_clean_call_is(data: dict[str, Any], calm: bool) -> None:
    assert is_calm(build(made_of(**data))) is calm


# ---- belief


def test_a_belief_that_is_wrong_for_a_second(good: Trial) -> None:
    assert kinds(inv.belief_true(good)) == []
    beliefs = good.points[0].point.beliefs
    before = list(beliefs)
    beliefs.clear()
    for at, value in before:
        beliefs.add(at, None if value is None else value + (ms(30) if seconds(6) < at < seconds(8) else 0))
    try:
        assert kinds(inv.belief_true(good)) == ["belief at output"]
    finally:
        beliefs.clear()
        for at, value in before:
            beliefs.add(at, value)


def test_a_monitor_that_does_not_know(good: Trial) -> None:
    assert kinds(inv.belief_known(good)) == []
    assert kinds(inv.belief_known(with_row(good, output_monitor_known_pct=80.0))) == ["unknown at output"]
    wrong = build(made_of(topology="provider_bridge", network={"to_bridge": {"sender_reports": "none"}}))
    assert kinds(inv.belief_known(replace(with_row(good, output_monitor_known_pct=80.0), scenario=wrong))) == []


BRIDGE = {"topology": "provider_bridge", "duration_s": 30}


@pytest.mark.parametrize(
    ("data", "right"),
    [
        ({}, True),
        (BRIDGE, True),
        ({"network": {"to_viewer": {"sender_reports": "none"}}}, True),
        ({**BRIDGE, "network": {"to_bridge": {"sender_reports": "none"}}}, False),
        ({**BRIDGE, "clocks": {"provider": {"audio_label_ppm": 100}}}, False),
        ({**BRIDGE, "steps": [{"at_s": 12, "do": "reports", "leg": "to_bridge", "for_s": 5}]}, True),
        ({**BRIDGE, "steps": [{"at_s": 5, "do": "reports", "leg": "to_bridge", "for_s": 5}]}, False),
        ({**BRIDGE, "steps": [{"at_s": 12, "do": "reports", "leg": "to_bridge"}]}, False),
        ({**BRIDGE, "steps": [{"at_s": 5, "do": "clock_step", "clock": "provider", "by_ms": 100}]}, False),
        ({**BRIDGE, "steps": [{"at_s": 12, "do": "clock_step", "clock": "provider", "by_ms": 100}]}, True),
        ({"source": {"loop": {"audio_s": 2, "video_s": 3}}}, False),
    ],
)
def test_where_belief_can_be_judged(data: dict[str, Any], right: bool) -> None:
    assert reports_right(build(made_of(**data))) is right
