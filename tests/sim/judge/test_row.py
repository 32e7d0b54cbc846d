"""Rows: one column per metric, point and window; faults where the scenario has them; UNKNOWN is None."""

from __future__ import annotations

import math
from functools import cache

import pytest

from avsync.units import ms, seconds
from sim.judge.row import Row, faults_ns, key, measure
from sim.run.sinks import Sink
from sim.scenario.metric_names import BELIEVED_COLUMNS, METRICS, OUTPUT, base_name
from tests.sim.small_world import run, small

STALL = {"at_s": 3.0, "do": "stall", "only": "video", "for_s": 1.0, "resume": "burst"}


@cache
def row_of(viewer: str = "avsync", topology: str = "local_encode", faulty: bool = True) -> Row:
    return measure(run(small(10.0, topology=topology, steps=[STALL] if faulty else []), viewer=viewer))


@pytest.mark.parametrize("viewer", ["avsync", "browser"])
@pytest.mark.parametrize("topology", ["local_encode", "provider_bridge"])
def test_every_metric_of_the_language_has_a_column_at_each_point_and_window(viewer: str, topology: str) -> None:
    row = row_of(viewer, topology)
    points = [prefix + name for name in METRICS for prefix in ("", OUTPUT)]
    assert {key(name, window) for name in points for window in METRICS[base_name(name)].windows} <= set(row)
    assert all(value is None or isinstance(value, int | float) for value in row.values())


def test_belief_has_columns_of_its_own() -> None:
    assert {name for name in BELIEVED_COLUMNS if "outside" not in name} <= set(row_of())


def test_a_fault_is_where_the_scenario_has_it() -> None:
    steps = [STALL, {"at_s": 6.5, "do": "hold", "for_ms": 250}, {"at_s": 7.0, "do": "interrupt"}]
    assert faults_ns(run(small(8.5, steps=steps))) == [(seconds(3), seconds(4)), (seconds(6.5), seconds(6.75))]


def test_the_stall_is_in_all_and_not_in_clear() -> None:
    row = row_of()
    assert (row["output_offset_abs_max_ms"] or 0) > 900 and row["output_offset_abs_max_ms@clear"] == 0
    assert (row["output_freeze_longest_ms"] or 0) > 200 and row["output_freeze_longest_ms@clear"] == 0
    assert row["output_recovery_ms"] is not None and row["output_recovery_ms"] <= 1000


def test_without_a_fault_clear_is_all_at_our_output_and_nothing_is_after_it() -> None:
    row = row_of(faulty=False)
    assert row["output_offset_abs_p95_ms@clear"] == row["output_offset_abs_p95_ms"]
    assert row["output_measured_pct@clear"] == row["output_measured_pct"]
    assert row["output_offset_abs_p95_ms@after_fault"] is None  # UNKNOWN, not 0
    assert row["recovery_ms"] is None and row["output_recovery_ms"] is None


def test_at_a_viewer_clear_begins_5_s_after_it_joined() -> None:
    short = measure(run(small(5.0)))
    assert short["offset_abs_p95_ms"] is not None and short["offset_abs_p95_ms@clear"] is None
    assert short["output_offset_abs_p95_ms@clear"] is not None


def test_the_three_shares_add_up() -> None:
    row = row_of()
    for prefix in ("", OUTPUT):
        shares = [row[prefix + name] for name in ("measured_pct", "no_picture_pct", "degraded_pct")]
        assert sum(share or 0 for share in shares) == pytest.approx(100)
        both = row[prefix + "measured_or_degraded_pct"]
        assert both == pytest.approx(100 - (shares[1] or 0))


def test_a_call_in_which_hardly_anybody_speaks_is_unknown_and_not_perfect() -> None:
    row = measure(run(small(4.0, source={"turns": {"first_at_s": 2.9}})))
    for name in ("offset_abs_p95_ms", "measured_pct", "monitor_error_p95_ms", "monitor_known_pct"):
        assert row[name] is None and row["believed_offset_abs_p95_ms"] is None
    assert row["settle_ms"] == math.inf  # there was a picture, and never a second in sync


def test_counters_come_from_those_who_count() -> None:
    one = run(small(10.0, steps=[STALL]), policy="fps_paced")
    row = measure(one)
    assert one.at_output.answers is not None
    assert row["output_pts_violations"] == one.at_output.answers.violations + one.at_output.rtp_violations
    assert row["output_queue_peak_units"] == one.at_output.queue_peak_units > 20  # a burst of 25 frames
    assert row["queue_peak_units"] is not None
    assert row_of("browser")["queue_peak_units"] is None  # nobody can look into that one


def test_what_is_believed_at_a_point_is_what_its_own_monitor_says() -> None:
    """A page whose screen lies by 200 ms; our own output is seen as it was."""
    row = measure(run(small(4.0), viewer_sink=Sink(picture_lie_ns=ms(200))))
    assert row["believed_offset_abs_p50_ms"] == pytest.approx(200, abs=5)
    assert row["believed_output_offset_abs_p95_ms"] == row["output_offset_abs_p95_ms"] == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pictures_that_are_sent_again_take_nothing_off_the_added_latency(seed: int) -> None:
    """Nothing stalls here, so what a sound is held for is what is added, whatever pictures had to be sent again."""
    lossy = small(12.0, topology="provider_bridge", viewer="avsync",
                  network={"to_bridge": {"delay_ms": 150, "loss": 0.05}})  # fmt: skip
    row = measure(run(lossy, seed=seed))
    assert row["output_added_latency_p50_ms"] == pytest.approx(row["output_latency_p50_ms"] or 0, abs=5)
    assert (row["output_latency_p50_ms"] or 0) > 20 and row["output_latency_p95_ms@clear"] is not None


def test_a_delay_kept_after_a_stall_is_seen_in_its_window() -> None:
    stall = {"at_s": 9, "do": "stall", "for_s": 1, "only": "audio", "resume": "burst"}
    row = measure(run(small(14.0, viewer="avsync", steps=[stall])))
    before, after = row["output_latency_p50_ms"], row["output_latency_p50_ms@after_fault"]
    assert before is not None and before < 100
    assert after == pytest.approx(1000, abs=100) and (row["output_added_latency_p95_ms"] or 0) < 100
