"""The world: whole runs, and what holds of each whatever the scenario: impairments, time, turns, loss, clocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import PRESETS
from avsync.units import ms, seconds
from sim.judge.row import Row, measure
from sim.run.host import EngineDriver, Host, Timer
from sim.run.world import Run
from sim.virtual_time import VirtualTime
from tests.sim.small_world import belief_ms, heard, run, shown, small, truth_ms

BOTH = ("avsync", "browser")
TOPOLOGIES = ("local_encode", "provider_bridge")
ROUGH = {"delay_ms": 30, "jitter_ms": 40, "loss": 0.02, "burst": 2, "reorder": 0.05, "reorder_by_ms": 25}


# ---- the same impairments for everybody


@cache
def arrivals_at_the_bridge(policy: str, seed: int) -> tuple[list[int], list[int]]:
    one = run(small(5.0, topology="provider_bridge", network={"to_bridge": ROUGH}), policy=policy, seed=seed)
    sounds, pictures = one.arrivals.first(one.source.table())
    return sounds.tolist(), pictures.tolist()


@pytest.mark.parametrize("policy", sorted(set(PRESETS) - {"default"}))
def test_two_policies_meet_the_same_impairments(policy: str) -> None:
    assert arrivals_at_the_bridge(policy, 1) == arrivals_at_the_bridge("default", 1)


def test_another_seed_is_another_network() -> None:
    assert arrivals_at_the_bridge("default", 1) != arrivals_at_the_bridge("default", 2)


def test_the_same_arguments_give_the_same_run() -> None:
    scenario = small(4.0, network={"to_viewer": ROUGH})
    one, again = (run(scenario, viewer="browser") for _ in range(2))
    assert measure(one) == measure(again) and one.at_viewer.beliefs == again.at_viewer.beliefs


def test_the_whole_run_of_every_engine_is_seen_by_a_wrapper_and_not_changed_by_it() -> None:
    names = []

    def look(engine: AvSynchronizer, name: str) -> AvSynchronizer:
        names.append(name)
        return engine

    scenario = small(3.0, topology="provider_bridge")
    assert measure(run(scenario, wrap_engine=look)) == measure(run(scenario))
    assert names == ["bridge", "viewer"]


# ---- virtual time


def test_a_float_in_virtual_time_is_found_although_the_run_ends_at_an_int() -> None:
    env = VirtualTime(0)

    def again(_event: object) -> None:
        env.timeout(10.5).callbacks.append(again)

    again(None)
    env.run(until=100)
    assert type(env.now) is int and not env.is_whole()
    assert VirtualTime(0).is_whole()


def test_an_engine_that_asks_to_be_woken_at_a_float_is_refused() -> None:
    class Vague(AvSynchronizer):
        def next_wakeup_ns(self) -> int | None:
            return (super().next_wakeup_ns() or 0) + 0.5  # type: ignore[return-value]

    with pytest.raises(UsageError, match="now_ns"):
        run(small(2.0), wrap_engine=lambda engine, _name: Vague(engine.policy))


def test_a_timer_is_alive_once_however_often_it_is_armed() -> None:
    env = VirtualTime(0)
    fired: list[int] = []
    timer = Timer(Host(env), lambda: fired.append(env.now))
    for at in (50, 80, 30, 30, 90):
        timer.arm(at)
    env.run(until=100)
    assert fired == [30]  # the earliest; who is called arms again
    timer.arm(None)
    timer.arm(20)  # in the past: now
    env.run(until=200)
    assert fired == [30, 100]


def test_one_live_timer_per_engine() -> None:
    """With more than one, each push would add a chain of polls that never ends."""
    env = VirtualTime(0)
    polled: list[int] = []

    class Counting(AvSynchronizer):
        def next_wakeup_ns(self) -> int | None:
            polled.append(env.now)
            return env.now + ms(20)

    driver = EngineDriver(Host(env), Counting(), lambda _answer, _now: None)
    for _ in range(50):
        driver.pump()
    polled.clear()
    env.run(until=seconds(1))
    assert len(polled) <= 1000 // 20


@given(ppm=st.integers(-5000, 5000), at=st.integers(0, seconds(100_000)))
def test_a_hosts_time_and_true_time_are_inverse_to_the_nanosecond(ppm: int, at: int) -> None:
    host = Host(VirtualTime(0), ppm)
    true = host.true_ns(at)
    assert host.local_ns(true) >= at > host.local_ns(true - 1)
    assert abs(host.local_ns(seconds(1000)) - seconds(1000) - ms(ppm)) <= 1


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clients_clock_changes_neither_the_offset_nor_the_voice(ppm: int) -> None:
    one = run(small(6.0, clocks={"client": {"ppm": ppm}}))
    assert np.max(np.abs(truth_ms(one, "viewer", after_s=2))) < 2
    at, _, content, _ = heard(one, "viewer")[-1]
    begin = heard(one, "viewer")[0]
    ran = (at - begin[0]) / (content - begin[2])
    assert measure(one)["content_heard_pct"] == 100 and ran == pytest.approx(1, abs=0.002)


# ---- knowing and believing


def test_truth_and_belief_stand_in_columns_of_their_own() -> None:
    one = run(small(6.0))
    row = measure(one)
    believed = {name for name in row if name.startswith("believed_")}
    assert {"believed_offset_abs_p95_ms", "believed_output_offset_abs_p95_ms"} <= believed
    one.at_output.beliefs.clear()
    one.at_viewer.beliefs.clear()
    blind = measure(one)
    changed = {name for name in row if row[name] != blind[name]}
    assert changed and all(name.removeprefix("output_").startswith("monitor_") for name in changed)
    assert belief_ms(one, "viewer").size == 0


@pytest.mark.parametrize("viewer", BOTH)
def test_each_point_tells_of_its_own_jitter_buffer(viewer: str) -> None:
    """A line with more jitter makes a viewer hold more sound; what our output holds does not know of it."""
    calm, rough = (
        measure(run(small(8.0, network={"to_viewer": {"delay_ms": 30, "jitter_ms": jitter_ms}}), viewer=viewer))
        for jitter_ms in (0, 60)
    )
    at_viewer = [row["jitter_buffer_p50_ms"] or 0 for row in (calm, rough)]
    assert 40 <= at_viewer[0] + 15 <= at_viewer[1] <= 200
    assert calm["output_jitter_buffer_p50_ms"] == rough["output_jitter_buffer_p50_ms"] == 40


# ---- barge-in


@cache
def barge_in(topology: str, viewer: str, policy: str = "default") -> Run:
    steps = [{"at_s": 3.0, "do": "interrupt", "pushes_on_ms": 300, "reply_after_ms": 500}]
    return run(small(7.0, topology=topology, steps=steps), viewer=viewer, policy=policy)


@pytest.mark.parametrize("viewer", BOTH)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_nothing_stale_leaves_us_although_the_old_turn_is_pushed_for_300_ms_more(topology: str, viewer: str) -> None:
    one = barge_in(topology, viewer)
    row = measure(one)
    made = one.source.table()
    assert int((made.sounds.made_ns[made.sounds.turn == 0]).max()) > seconds(3.25)  # it was pushed on indeed
    assert row["output_stale_units_leaked"] == 0
    assert (row["output_interrupt_to_silence_ms"] or 0) <= 40
    assert row["output_pts_violations"] == row["pts_violations"] == 0
    assert row["output_content_heard_pct"] == 100  # of the new turn, and of the old one until the interrupt


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_after_an_interrupt_the_old_mouth_is_off_the_screen(topology: str) -> None:
    one = barge_in(topology, "avsync")
    made = one.source.table()
    for at, ref in shown(one, "output"):
        if 3050 < at < 3600:
            assert ref < 0 or made.pictures.turn[ref] == 1


def test_who_has_no_epochs_leaks() -> None:
    assert (measure(barge_in("local_encode", "avsync", "two_clocks"))["output_stale_units_leaked"] or 0) > 5


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_who_is_interrupted_again_before_the_reply_has_begun_never_says_that_one(topology: str) -> None:
    steps = [
        {"at_s": 2.0, "do": "interrupt", "reply_after_ms": 600},
        {"at_s": 2.3, "do": "interrupt", "reply_after_ms": 700},
    ]
    one = run(small(6.0, topology=topology, steps=steps))
    made = one.source.table()
    assert len(made.turns) == 2, "one reply"
    assert not [at for at, *_ in heard(one, "output") if 2100 < at < 3000], "700 ms after the second interrupt"
    row = measure(one)
    assert row["output_stale_units_leaked"] == 0 and row["output_pts_violations"] == 0


# ---- hosts that sleep


def test_a_sender_that_slept_sends_no_burst() -> None:
    steps = [{"at_s": 2.0, "do": "sleep", "for_s": 1.0, "host": "sender"}]
    one = run(small(6.0, source={"video": {"resume": "burst"}}, steps=steps))
    row = measure(one)
    times = [at for at, *_ in heard(one, "output")]
    assert not [at for at in times if 2020 < at < 3000]
    assert min(np.diff(times)) >= 20
    assert row["output_pts_violations"] == 0 and row["output_silence_inserted_ms"] == pytest.approx(1000, abs=21)
    assert np.max(np.abs(truth_ms(one, "output", after_s=3.1))) <= 25


@pytest.mark.parametrize("viewer", BOTH)
def test_a_viewer_that_sleeps_shows_nothing_meanwhile_and_has_lost_nothing_when_it_wakes(viewer: str) -> None:
    steps = [{"at_s": 3.0, "do": "sleep", "for_s": 1.0, "host": "viewer"}]
    one = run(small(8.0, steps=steps), viewer=viewer)
    assert not [at for at, _ in shown(one, "viewer") if 3050 < at < 3990]
    assert len({ref for _, ref in shown(one, "viewer")}) >= 150  # of a heap a screen shows the newest
    assert measure(one)["pts_violations"] == 0
    if viewer == "avsync":  # a browser's sound buffer takes seconds to forget that everything came a second late
        assert np.max(np.abs(truth_ms(one, "viewer", after_s=4.5))) < 30


# ---- loss


@cache
def with_one_sound_lost(topology: str, leg: str, viewer: str, lost: bool) -> Run:
    step = {"at_s": 3.99, "do": "impair", "for_s": 0.02, "only": "audio", "loss": 1.0, "leg": leg}
    return run(small(7.0, topology=topology, steps=[step] if lost else []), viewer=viewer)


@pytest.mark.parametrize("viewer", BOTH)
@pytest.mark.parametrize(
    ("topology", "leg"),
    [("local_encode", "to_viewer"), ("provider_bridge", "to_bridge"), ("provider_bridge", "to_viewer")],
)
def test_one_sound_packet_lost_costs_one_packet_and_no_latency(topology: str, leg: str, viewer: str) -> None:
    lossy, whole = (with_one_sound_lost(topology, leg, viewer, lost) for lost in (True, False))
    said = [sum(to - start for _, _, start, to in heard(one, "viewer")) for one in (lossy, whole)]
    assert said[1] - said[0] == pytest.approx(20, abs=0.5)
    late = [np.median([at - start for at, _, start, _ in heard(one, "viewer") if at > 5000]) for one in (lossy, whole)]
    assert late[0] == pytest.approx(late[1], abs=0.5)
    assert measure(lossy)["silence_inserted_ms"] == pytest.approx(0, abs=1)  # the content passed


@pytest.mark.parametrize("viewer", BOTH)
@pytest.mark.parametrize("leg", ["to_bridge", "to_viewer"])
def test_a_packet_that_comes_twice_is_used_once(leg: str, viewer: str) -> None:
    scenario = small(5.0, topology="provider_bridge", network={leg: {"duplicate": 0.3}})
    twice, once = run(scenario, viewer=viewer), run(small(5.0, topology="provider_bridge"), viewer=viewer)
    assert heard(twice, "viewer") == heard(once, "viewer")
    assert shown(twice, "viewer") == shown(once, "viewer")
    assert measure(twice)["output_pts_violations"] == 0


@pytest.mark.parametrize("viewer", BOTH)
def test_packets_that_overtake_each_other_cost_nothing_but_time(viewer: str) -> None:
    scenario = small(6.0, network={"to_viewer": {"reorder": 0.1, "reorder_by_ms": 30}})
    row = measure(run(scenario, viewer=viewer))
    assert row["content_heard_pct"] == 100 and row["frames_dropped_pct"] == 0 and row["pts_violations"] == 0


@pytest.mark.parametrize("viewer", BOTH)
def test_what_depends_on_a_lost_picture_is_not_shown_before_the_next_key_frame(viewer: str) -> None:
    """All packets of 0.9 s are lost, the first of them too often to be sent again; the viewer asks for a key frame."""
    step = {"at_s": 3.0, "do": "impair", "for_s": 0.9, "only": "video", "loss": 1.0}
    one = run(small(12.0, steps=[step]), viewer=viewer)
    seen = [at for at, ref in shown(one, "viewer") if ref >= 0]
    gap = max(np.diff(seen))
    assert gap > 900  # longer than the loss itself: frames came that nobody could decode
    assert np.median(np.abs(truth_ms(one, "viewer", after_s=9))) < 45
    assert measure(one)["output_frames_dropped_pct"] == 0


# ---- sender reports


def lips_150_ms_late(viewer: str, *reports: dict[str, object], after_s: float = 18.0) -> float:
    """The picture's way is 150 ms longer from the first packet on; the median offset in the end."""
    steps = [{"at_s": 0.0, "do": "impair", "only": "video", "delay_ms": 150}, *reports]
    return float(np.median(truth_ms(run(small(22.0, steps=steps), viewer=viewer), "viewer", after_s=after_s)))


def test_a_browser_corrects_by_reports_alone() -> None:
    assert abs(lips_150_ms_late("browser")) < 60
    missing = {"at_s": 0.0, "do": "reports", "mode": "missing"}
    # Uncorrected: 150 ms, less the 37 by which a browser's sound is later than its pictures anyway.
    assert lips_150_ms_late("browser", missing) > 105
    assert lips_150_ms_late("browser", {**missing, "only": "video"}) > 105


def test_late_reports_say_the_same() -> None:
    late = {"at_s": 0.0, "do": "reports", "mode": "late", "by_ms": 300}
    assert lips_150_ms_late("browser", late) == pytest.approx(lips_150_ms_late("browser"), abs=12)


def test_reports_that_lie_make_a_browser_wrong_by_their_lie() -> None:
    lie = {"at_s": 0.0, "do": "reports", "mode": "wrong", "by_ms": 200, "only": "video"}
    both = {"at_s": 0.0, "do": "reports", "mode": "wrong", "by_ms": 200}
    assert lips_150_ms_late("browser", lie) == pytest.approx(200, abs=45)  # it lets ±30 be
    assert lips_150_ms_late("browser", both) == pytest.approx(lips_150_ms_late("browser"), abs=12)


# ---- counters


@cache
def wrapped(start: int, seq: int) -> Row:
    counters = {"audio_rtp": start, "video_rtp": start, "seq": seq}
    legs = {leg: {**ROUGH, "rtp_start": counters} for leg in ("to_bridge", "to_viewer")}
    return measure(run(small(6.0, topology="provider_bridge", network=legs)))


def test_counters_that_wrap_on_both_legs_change_nothing() -> None:
    """2^32 - 48 000 is one second of sound before the wrap, 65 500 some frames before the other."""
    assert wrapped((1 << 32) - 48_000, 65_500) == wrapped(1 << 30, 1_000)


def test_where_the_counters_start_impairs_nothing() -> None:
    """Fixed starts take as many draws as random ones, so nothing else moves."""
    by_chance = dict.fromkeys(("to_bridge", "to_viewer"), ROUGH)
    assert measure(run(small(6.0, topology="provider_bridge", network=by_chance))) == wrapped(1 << 30, 1_000)


# ---- requests


@pytest.mark.parametrize("obeys_after_ms", [80, 400])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_source_obeys_as_late_as_it_says_and_a_provider_a_leg_later(topology: str, obeys_after_ms: int) -> None:
    video = {"resume": "continue", "can_skip": True, "obeys_after_ms": obeys_after_ms}
    step = {"at_s": 2.0, "do": "stall", "only": "video", "for_s": 1.0}
    one = run(small(7.0, topology=topology, source={"video": video}, steps=[step]))
    assert one.at_output.answers is not None
    asked_ns = one.at_output.answers.requests[0].at_ns
    made = one.source.table().pictures
    (first, *_) = np.flatnonzero(np.diff(made.content_ns) > ms(40))
    obeyed_ns = int(made.made_ns[first + 1])
    way_ms = 20 if topology == "provider_bridge" else 0
    assert 0 <= obeyed_ns - max(asked_ns + ms(obeys_after_ms + way_ms), seconds(3)) <= ms(45)
