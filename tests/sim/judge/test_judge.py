"""Judge: what must hold in which scenario, who states otherwise, and when a baseline has missed enough."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sim.judge.judge import Limit, baseline_misses, check, guards, limits_of
from sim.judge.row import Row, measure
from sim.scenario.metric_names import GUARDS, OUTPUT
from sim.scenario.scenario import Scenario, build
from tests.sim.small_world import run, small

BASELINE = {"policy": "fps_paced", "misses": ["output_offset_abs_p95_ms"]}
STALL = {"at_s": 20.0, "do": "stall", "for_s": 3.0}
FAULTY = (
    {"metric": "output_offset_abs_p95_ms", "at_most": 25, "window": "clear"},
    {"metric": "output_recovery_ms", "at_most": 1000},
)
"""What the language wants to be limited besides, where there is a fault."""


def judged(
    name: str = "story", *, steps: tuple[dict[str, Any], ...] = (), expect: tuple[Any, ...] = (), **more: Any
) -> Scenario:
    """60 s with a baseline, as every scenario has."""
    limits = [{"metric": "output_offset_abs_p95_ms", "at_most": 25}, *expect]
    head = {"avsync": 1, "about": "To be judged.", "baseline": BASELINE, "steps": list(steps), "expect": limits}
    return build({**head, **more}, name=name)


def guard(scenario: Scenario, metric: str) -> float:
    (found,) = [limit for limit in guards(scenario) if limit.metric == metric]
    return found.value


def at_most(value: float, metric: str = "recovery_ms") -> Limit:
    return Limit(metric, "all", value, None)


def at_least(value: float, metric: str = "content_heard_pct") -> Limit:
    return Limit(metric, "all", None, value)


# ---- limits


def test_a_limit_is_met_by_its_own_value_and_by_nothing_worse() -> None:
    assert at_most(25).met_by(25) and not at_most(25).met_by(25.0001)
    assert at_least(97).met_by(97) and not at_least(97).met_by(96.9999)


@pytest.mark.parametrize("limit", [at_most(25), at_least(97)])
@pytest.mark.parametrize("nothing", [None, math.nan])
def test_unknown_is_a_miss_whichever_side_the_limit_is_on(limit: Limit, nothing: float | None) -> None:
    assert not limit.met_by(nothing)
    assert not limit.missed_clearly(nothing)  # but it proves nothing about a baseline


def test_never_is_a_miss() -> None:
    assert not at_most(1000).met_by(math.inf) and at_most(1000).missed_clearly(math.inf)


def test_a_check_says_what_was_wanted_and_what_came() -> None:
    limits = [at_most(25, "offset_abs_p95_ms"), at_least(99.5), Limit("offset_abs_p95_ms", "clear", 5, None)]
    row: Row = {"offset_abs_p95_ms": 26.0, "content_heard_pct": 100.0, "offset_abs_p95_ms@clear": 4.0}
    assert [one.passed for one in check(row, limits)] == [False, True, True]
    assert [one.limit.words for one in check(row, limits)] == [
        "offset_abs_p95_ms <= 25", "content_heard_pct >= 99.5", "offset_abs_p95_ms (clear) <= 5",
    ]  # fmt: skip


# ---- guards


def test_every_guard_of_the_table_is_made_and_no_other() -> None:
    made = {limit.metric.removeprefix(OUTPUT) for limit in guards(judged())}
    assert made == GUARDS
    at_both = GUARDS - {"settle_ms", "added_latency_p95_ms"}
    names = [limit.metric for limit in guards(judged())]
    assert sorted(names) == sorted(
        {"settle_ms", OUTPUT + "added_latency_p95_ms", *at_both, *(OUTPUT + n for n in at_both)}
    )


def test_clean_is_held_to_less_delay_and_less_idling() -> None:
    clean = build({"avsync": 1, "about": "Clean."}, name="clean")
    assert guard(clean, "output_added_latency_p95_ms") == 60 and guard(clean, "degraded_pct") == 1
    assert guard(judged(), "output_added_latency_p95_ms") == 400 and guard(judged(), "degraded_pct") == 2


def test_a_fault_in_the_pictures_excuses_idling_and_stillness_and_no_silence() -> None:
    scenario = judged(steps=({**STALL, "only": "video"},), expect=FAULTY)
    assert guard(scenario, "degraded_pct") == pytest.approx(5 + 2)  # 3 of 60 s
    assert guard(scenario, "freeze_longest_ms") == 3000 + 1000
    assert guard(scenario, "content_heard_pct") == 99.5
    assert guard(scenario, "silence_inserted_ms") == 200


@pytest.mark.parametrize(
    "step",
    [STALL, {**STALL, "only": "audio"}, {"at_s": 20.0, "do": "impair", "for_s": 3.0, "loss": 0.5},
     {"at_s": 20.0, "do": "sleep", "for_s": 3.0, "host": "sender"}, {"at_s": 20.0, "do": "hold", "for_ms": 3000},
     {"at_s": 20.0, "do": "pause", "for_s": 3.0, "marked": False}],
)  # fmt: skip
def test_a_fault_in_the_sound_excuses_its_own_length_of_silence(step: dict[str, Any]) -> None:
    scenario = judged(steps=(step,), expect=FAULTY)
    assert guard(scenario, "silence_inserted_ms") == pytest.approx(3200)
    assert guard(scenario, "content_heard_pct") == pytest.approx(100 - 5 - 1)


@pytest.mark.parametrize(
    "step",
    [{"at_s": 20.0, "do": "interrupt"}, {"at_s": 20.0, "do": "mute", "for_s": 3.0},
     {"at_s": 20.0, "do": "fps", "to": 20}, {"at_s": 20.0, "do": "rate", "to_hz": 24_000},
     {"at_s": 20.0, "do": "pause", "for_s": 3.0}],
)  # fmt: skip
def test_what_belongs_to_a_call_excuses_nothing(step: dict[str, Any]) -> None:
    assert guards(judged(steps=(step,))) == guards(judged())


def test_the_longest_single_fault_sets_the_freeze_and_their_sum_the_silence() -> None:
    scenario = judged(steps=(STALL, {**STALL, "at_s": 30.0, "for_s": 1.0}), expect=FAULTY)
    assert guard(scenario, "freeze_longest_ms") == 4000
    assert guard(scenario, "silence_inserted_ms") == pytest.approx(4200)


def test_a_fault_for_good_lasts_to_the_end_and_a_standing_loss_counts_as_one() -> None:
    for_good = judged(steps=({"at_s": 45.0, "do": "impair", "loss": 0.1},), expect=FAULTY)
    assert guard(for_good, "content_heard_pct") == pytest.approx(100 - 25 - 1)
    lossy = judged(network={"to_viewer": {"loss": 0.04}})
    assert guard(lossy, "content_heard_pct") == pytest.approx(100 - 4 - 1)


def test_what_a_scenario_states_replaces_the_guard_of_that_metric_and_no_other() -> None:
    scenario = judged(expect=({"metric": "degraded_pct", "at_most": 30},))
    limits = limits_of(scenario, "avsync")
    assert [limit.value for limit in limits if limit.metric == "degraded_pct"] == [30]
    assert [limit.guard for limit in limits if limit.metric == "output_degraded_pct"] == [True]


def test_what_is_stated_for_one_viewer_leaves_the_guard_to_the_other() -> None:
    scenario = judged(expect=({"metric": "degraded_pct", "at_most": 30, "viewer": "browser"},))
    stated = {
        viewer: [x for x in limits_of(scenario, viewer) if x.metric == "degraded_pct"]
        for viewer in ("browser", "avsync")
    }
    assert [limit.value for limit in stated["browser"]] == [30]
    assert [limit.value for limit in stated["avsync"]] == [2]


def test_a_reference_has_no_guards() -> None:
    assert limits_of(small(), "browser") == []


# ---- baselines


def missed(value: float | None, limit: Limit) -> bool:
    return limit.missed_clearly(value)


def test_a_baseline_misses_by_one_and_a_half_times() -> None:
    assert missed(37.5, at_most(25)) and not missed(37.4, at_most(25))
    assert not missed(25, at_most(25))


def test_a_limit_of_0_is_missed_by_1() -> None:
    assert missed(1, at_most(0)) and not missed(0.9, at_most(0)) and not missed(0, at_most(0))


def test_shares_count_from_100_per_cent_down() -> None:
    assert missed(99.25, at_least(99.5)) and not missed(99.3, at_least(99.5))
    assert not missed(100, at_least(100)) and missed(99, at_least(100)) and not missed(99.5, at_least(100))


def test_other_sums_from_below_count_by_one_and_a_half_times_too() -> None:
    assert missed(19, at_least(30, "jitter_buffer_p50_ms")) and not missed(21, at_least(30, "jitter_buffer_p50_ms"))


def with_recovery(baseline: dict[str, Any]) -> Scenario:
    return judged(steps=(STALL,), expect=FAULTY, baseline=baseline)


def test_a_recovery_never_reached_counts_to_the_runs_end() -> None:
    scenario = with_recovery({"policy": "fps_paced", "misses": ["output_recovery_ms"]})
    never: Row = {"output_recovery_ms": math.inf, "output_recovery_counted_ms": 36_000.0}
    assert baseline_misses(never, scenario, "avsync") == {"output_recovery_ms": True}
    # It is never, but the run ended right after the fault: that proves nothing.
    at_the_end: Row = {"output_recovery_ms": math.inf, "output_recovery_counted_ms": 900.0}
    assert baseline_misses(at_the_end, scenario, "avsync") == {"output_recovery_ms": False}


def test_each_named_metric_must_miss_and_one_of_its_limits_is_enough() -> None:
    scenario = judged(
        steps=(STALL,),
        expect=(
            {"metric": "offset_abs_p95_ms", "at_most": 60},
            {"metric": "offset_abs_p95_ms", "at_most": 45, "window": "clear"},
            {"metric": "recovery_ms", "at_most": 1000},
            *FAULTY,
        ),
        baseline={"policy": "fps_paced", "misses": ["offset_abs_p95_ms", "recovery_ms"]},
    )
    row: Row = {"offset_abs_p95_ms": 50.0, "offset_abs_p95_ms@clear": 70.0, "recovery_counted_ms": 1400.0}
    assert baseline_misses(row, scenario, "avsync") == {"offset_abs_p95_ms": True, "recovery_ms": False}


def test_a_real_baseline_misses_and_ours_does_not() -> None:
    """The same 20 s call, a video stall that comes back in a burst, under two policies."""
    step = {"at_s": 8.0, "do": "stall", "only": "video", "for_s": 1.0, "resume": "burst"}
    limits = [*FAULTY, {"metric": "output_offset_abs_p50_ms", "at_most": 25}]
    names = ["output_recovery_ms", "output_offset_abs_p50_ms"]
    scenario = build(
        {"avsync": 1, "about": "One stall.", "duration_s": 20.0, "steps": [step], "expect": limits,
         "baseline": {"policy": "fps_paced", "misses": names}}
    )  # fmt: skip
    ours, theirs = measure(run(scenario)), measure(run(scenario, policy="fps_paced"))
    assert all(one.passed for one in check(ours, limits_of(scenario, "avsync")))
    assert baseline_misses(theirs, scenario, "avsync") == dict.fromkeys(names, True)
    assert baseline_misses(ours, scenario, "avsync") == dict.fromkeys(names, False)


@pytest.mark.parametrize(
    ("silence", "grown", "passes"),
    [(380.0, 360.0, True), (380.0, 100.0, False), (380.0, None, False), (900.0, 2000.0, False), (150.0, -80.0, True)],
)
def test_silence_that_only_made_the_delay_longer_is_forgiven_once(
    silence: float, grown: float | None, passes: bool
) -> None:
    scenario = judged()
    limits = [limit for limit in guards(scenario) if limit.metric == "output_silence_inserted_ms"]
    row = {"output_silence_inserted_ms": silence, "output_delay_grown_ms": grown}
    assert [one.passed for one in check(row, limits)] == [passes]
    stated = [limit._replace(guard=False) for limit in limits]
    assert [one.passed for one in check(row, stated)] == [silence <= 200], (
        "a limit that a scenario states is as it says"
    )
