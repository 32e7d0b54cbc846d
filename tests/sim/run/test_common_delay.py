"""The common delay in mid-turn: what piles up is given up, what is always late is waited for."""

from __future__ import annotations

from typing import Any

from sim.judge.row import Row, measure
from sim.run.world import simulate
from sim.scenario.scenario import build


def bridged(seed: int = 1, **changes: Any) -> Row:
    scenario = build(
        {
            "avsync": 1, "about": "A provider and our bridge.", "tags": ["reference"], "duration_s": 25,
            "topology": "provider_bridge", "network": {"to_bridge": {"delay_ms": 30, "jitter_ms": 3}}, **changes,
        }
    )  # fmt: skip
    return measure(simulate(scenario, policy=scenario.engine_policy, viewer="avsync", seed=seed))


def test_a_backlog_of_seconds_is_not_talked_through() -> None:
    row = bridged(steps=[{"at_s": 5, "do": "hold", "leg": "to_bridge", "for_ms": 4000}])
    held = row["output_jitter_buffer_p50_ms"]
    assert held is not None and held <= 200


def test_pictures_that_are_always_late_by_their_way_are_waited_for_once() -> None:
    row = bridged(source={"video": {"delay_ms": 150}})
    late, silence = row["output_offset_abs_p50_ms"], row["output_silence_inserted_ms"]
    assert late is not None and late <= 20
    assert silence is not None and 0 < silence <= 200


def test_stamps_stay_in_order_and_apart_through_an_outage() -> None:
    row = bridged(2, duration_s=60, steps=[{"at_s": 20, "do": "hold", "leg": "to_bridge", "for_ms": 4000}])
    assert row["output_pts_violations"] == 0
