"""`avsync glass`: what is judged, what its exit code says, and one short run before a real browser."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsync.cli import BAD_INPUT, main
from avsync.errors import InputError
from avsync.glass.chromium import find_chromium, open_chromium
from avsync.glass.marker_free import OffsetSeries
from avsync.glass.reading import GlassReading, ReadingState
from avsync.glass.recording import recording
from avsync.glass.result import GlassResult
from sim.glass.command import MET, MISSED, TOO_BUSY, Judged, exit_code
from sim.glass.run import GlassRun, run_real, sound_lost_ms
from sim.glass.verdict import judge
from sim.scenario.scenario import loads

NOTHING = OffsetSeries(np.zeros(0), np.zeros(0))


PAGE = recording(())
"""A page whose clock is the host's, and that has seen nothing."""


def reading(e_ms: float, seconds: float = 60.0) -> GlassReading:
    count = round(seconds * 100)
    at = np.arange(count) * 10.0
    same = np.full(count, e_ms)
    return GlassReading(
        at,
        same,
        np.full(count, ReadingState.MEASURED, np.int8),
        np.zeros(count, np.bool_),
        np.ones(count, np.bool_),
        at,
        at,
    )


def a_run(**changes: Any) -> GlassRun:
    columns = {"offset_p50_ms@clear": 5.0, "offset_abs_p95_ms@clear": 20.0, "offset_abs_p95_ms": 20.0}
    base = GlassRun(
        scenario="glass_clean",
        mode="avsync",
        columns=columns,
        result=GlassResult(reading(5.0), None, NOTHING, (0, 0), 0.0, PAGE),
        late_p95_ms=2.0,
        wire_violations=0,
        wire_packets=1000,
        interrupts=(),
        believed=None,
        stats={},
        about={"generator_late": {"max_ms": 5.0}},
        begun_ns=0,
    )
    return replace(base, **changes)


def test_a_good_run_is_met() -> None:
    assert judge(a_run()).met


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"columns": {"offset_p50_ms@clear": -26.0, "offset_abs_p95_ms@clear": 30.0}}, "|p50|"),
        ({"columns": {"offset_p50_ms@clear": 5.0, "offset_abs_p95_ms@clear": 41.0}}, "p95"),
        ({"columns": {}}, "UNKNOWN"),
        ({"wire_violations": 1}, "PTS"),
        ({"wire_packets": 0}, "no RTP"),
        ({"interrupts": ({"way_ms": 60.0, "glass_to_silence_ms": 101.0, "returned_after_ms": 1.0},)}, "old turn"),
    ],
)
def test_each_promise_that_is_broken_is_named(changes: dict[str, Any], what: str) -> None:
    verdict = judge(a_run(**changes))
    assert not verdict.met and any(what in miss for miss in verdict.misses)


def test_p95_of_other_scenarios_is_the_headline_promise() -> None:
    assert judge(a_run(scenario="glass_stall", columns={"offset_abs_p95_ms@clear": 59.0})).met
    assert not judge(a_run(scenario="glass_stall", columns={"offset_abs_p95_ms@clear": 61.0})).met


def test_what_is_late_for_good_is_judged_from_20_s_on() -> None:
    late = reading(5.0)
    late.e_ms[:1900] = 120.0
    seen = GlassResult(late, None, NOTHING, (0, 0), 0.0, PAGE)
    bad = {"offset_abs_p95_ms@clear": 120.0}
    assert judge(a_run(scenario="glass_late", columns=bad, result=seen)).met
    assert not judge(a_run(scenario="glass_stall", columns=bad, result=seen)).met


@pytest.mark.parametrize(
    "changes", [{"late_p95_ms": 10.0}, {"late_p95_ms": None}, {"about": {"generator_late": {"max_ms": 400.0}}}]
)
def test_a_busy_host_is_not_judged(changes: dict[str, Any]) -> None:
    run = a_run(columns={}, **changes)
    assert not judge(run).judged and judge(run).misses == ()
    assert exit_code([Judged(run, judge(run), [])]) == TOO_BUSY


def test_a_browser_that_loses_sound_is_as_busy_as_a_host_that_sends_late() -> None:
    whole = [{"now_ms": 1000.0 * n, "audio": {"totalSamplesReceived": 48_000 * n}} for n in range(30)]
    holes = [
        {**each, "audio": {"totalSamplesReceived": each["audio"]["totalSamplesReceived"] * 0.99}} for each in whole
    ]
    assert sound_lost_ms(whole) == 0.0 and sound_lost_ms(whole[:2]) == 0.0 and sound_lost_ms([{"now_ms": 0.0}]) == 0.0
    assert sound_lost_ms(holes) == pytest.approx(260.0)
    seen = GlassResult(reading(5.0), None, NOTHING, (0, 0), 0.0, replace(PAGE, stats=tuple(holes)))
    assert not judge(a_run(result=seen)).judged


def test_the_exit_code_is_about_our_own_sender() -> None:
    good, bad = a_run(), a_run(wire_violations=3)
    naive = a_run(mode="naive", wire_violations=3)
    as_judged = [Judged(run, judge(run), []) for run in (good, naive)]
    assert exit_code(as_judged) == MET
    assert exit_code([Judged(bad, judge(bad), [])]) == MISSED


def test_bad_input_is_said_before_anything_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["glass", "glass_clean", "--impair", "delay=40ms"]) == BAD_INPUT
    assert main(["glass", "sleep_resume", "--no-lab"]) == BAD_INPUT
    assert "cannot be put to sleep" in capsys.readouterr().err


def test_no_browser_is_one_clear_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSYNC_CHROMIUM", "/nowhere/chromium")
    assert main(["glass", "glass_clean", "--no-lab"]) == BAD_INPUT
    assert "apt-get install chromium" in capsys.readouterr().err


SHORT = """\
avsync: 1
about: Short, for a test.
tags: [reference]
duration_s: 7
network:
  to_viewer: {delay_ms: 5}
steps:
  - {at_s: 4.5, do: interrupt, pushes_on_ms: 200, reply_after_ms: 500}
expect:
  - {metric: output_pts_violations, at_most: 0}
"""


@pytest.mark.slow
def test_a_scenario_for_real_before_a_real_browser() -> None:
    try:
        find_chromium()
    except InputError as error:
        pytest.skip(f"no browser: {error.rule}")

    async def story() -> GlassRun:
        async with open_chromium() as chromium:
            return await run_real(loads(SHORT, "short.yaml"), mode="avsync", seed=1, chromium=chromium)

    run = asyncio.run(story())
    # No number of milliseconds: the machine of a test run is busy with other tests.
    assert run.wire_packets > 200 and run.wire_violations == 0
    assert np.count_nonzero(run.result.reading.state == ReadingState.MEASURED) > 200
    assert len(run.interrupts) == 1 and run.interrupts[0]["returned_after_ms"] is not None
    assert run.columns["offset_p50_ms"] is not None
    assert run.stats["pts_violations"] == 0
