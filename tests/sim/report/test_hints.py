"""Under a missed limit stands what the truth says went wrong, and what to try; what beats ours is in red."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sim.judge.judge import Limit
from sim.report.hints import hint
from sim.report.html import report
from sim.report.markdown import summary
from sim.report.summary import beaten, groups_of
from sim.report.table import print_results
from sim.scenario.metric_names import Window
from sim.scenario.scenario import Scenario, loads
from tests.sim.report.results_story import Story, good_row

HEAD = "avsync: 1\nabout: A call.\n"
MANIFEST = {
    "command_line": "avsync run", "created": "now", "commit": None, "python": "3.12", "versions": {}, "runs": 1,
}  # fmt: skip


def call(more: str = "") -> Scenario:
    return loads(HEAD + more)


def limit(metric: str, window: Window = "all") -> Limit:
    return Limit(metric, window, 45.0, None)


def offsets(lead: float = 0.0, lag: float = 0.0, median: float = 0.0, prefix: str = "output_") -> dict[str, float]:
    return {
        f"{prefix}offset_lead_p95_ms": lead,
        f"{prefix}offset_lag_p95_ms": lag,
        f"{prefix}offset_abs_p50_ms": median,
        f"{prefix}offset_abs_p95_ms": max(lead, lag),
    }


CAN_SKIP = "source: {video: {can_skip: true}}"


@pytest.mark.parametrize(
    ("row", "more", "words"),
    [
        (offsets(lead=430, median=400), "", "pictures were 430 ms late nearly always at our output: try policy: {"),
        (offsets(lead=430, median=400), "", "playout_delay_ms: 400}"),
        (offsets(lead=100, median=50), "", "100 ms late often at our output: try policy: {preset: default, playout_"),
        (offsets(lead=100, median=50), "", "playout_delay_ms: 140}"),
        (offsets(lead=430, median=10), "", f"late now and then at our output: try {CAN_SKIP}"),
        (offsets(lead=430, median=10), CAN_SKIP, "now and then at our output: try policy:"),
        (offsets(lead=430, median=400), "source: {video: {speed: 0.9}}", "a generator that makes 0.9 of real time"),
        (offsets(lag=200, median=190), "", "the voice was 200 ms late nearly always at our output: are the stamps"),
        (offsets(), "", ""),
    ],
)
def test_an_offset_says_which_stream_was_late_and_how_often(row: dict[str, float], more: str, words: str) -> None:
    said = hint(limit("output_offset_abs_p95_ms"), good_row(**row), call(more))
    assert words in said and bool(words) == bool(said)


NARROW = "network: {to_viewer: {preset: webrtc-3g-good}}"


def test_a_way_that_carries_less_than_the_source_makes_comes_before_any_other_advice() -> None:
    row = good_row(**offsets(lead=4000, median=3000, prefix=""), **offsets(lead=4000, median=3000))
    said = hint(limit("offset_abs_p95_ms"), row, call(NARROW))
    assert said == "to_viewer carries 850 kbit/s and the source makes 1032: try source: {video: {bitrate_kbps: 648}}"
    assert "850" not in hint(limit("output_offset_abs_p95_ms"), row, call(NARROW)), "our output stands before it"
    slower = call(NARROW + "\nsource: {video: {bitrate_kbps: 648}}")
    assert "carries" not in hint(limit("offset_abs_p95_ms"), row, slower)


def test_what_was_in_sync_at_our_output_is_lost_on_the_way() -> None:
    row = good_row(**offsets(lead=90, median=80, prefix=""), **offsets(lead=3))
    said = hint(limit("offset_abs_p95_ms"), row, call())
    assert "90 ms late nearly always at the viewer, and 3 ms where they left us: try viewer: avsync" in said


def test_the_window_of_the_limit_is_the_one_looked_at() -> None:
    row = good_row(**offsets(lead=500, median=400), output_offset_lead_p95_ms_at_clear=60.0)
    said = hint(limit("output_offset_abs_p95_ms", "clear"), row, call())
    assert said.startswith("pictures were 60 ms late now and then")


@pytest.mark.parametrize(
    ("metric", "row", "more", "words"),
    [
        ("recovery_ms", {"recovery_ms": float("inf")}, "", "never in sync again after a fault: try source"),
        ("recovery_ms", {"recovery_ms": 1430.0}, CAN_SKIP, "1430 ms out of sync"),
        ("content_heard_pct", {"late_packets": 12.0}, "", "12 packets of sound came too late: try policy"),
        ("content_heard_pct", {"late_packets": 0.0}, "", ""),
        ("output_added_latency_p95_ms", {"output_jitter_buffer_p50_ms": 80.0}, "", "its jitter buffer held 80 ms"),
        ("degraded_pct", {}, "steps: [{at_s: 9, do: stall, for_s: 2}]", "in a fault of 2 s"),
        ("degraded_pct", {}, "", ""),
        ("pts_violations", {}, "", ""),
        ("offset_abs_p95_ms", {"offset_lead_p95_ms": None}, "", "too little was measured"),
    ],
)
def test_other_misses_have_a_hint_or_none(metric: str, row: dict[str, float | None], more: str, words: str) -> None:
    said = hint(limit(metric), good_row(**row), call(more))
    assert words in said and bool(words) == bool(said)


SLOW = "source: {video: {speed: 0.9}}"


@pytest.mark.parametrize(
    ("metric", "row", "more", "remedy"),
    [
        ("output_offset_abs_p95_ms", offsets(lead=430, median=400), SLOW, "source: {video: {can_fps: true}}"),
        ("output_offset_abs_p95_ms", offsets(lead=430, median=10), "", CAN_SKIP),
        ("recovery_ms", {"recovery_ms": 1430.0}, "", CAN_SKIP),
        ("recovery_ms", {"recovery_ms": 1430.0}, CAN_SKIP, "resume: live, or policy: patient"),
        ("content_heard_pct", {"late_packets": 12.0}, "", "policy: {jitter_start_ms: 160, jitter_min_ms: 80}"),
        ("added_latency_p95_ms", {}, "", "policy: {playout_delay_ms: 20}"),
        ("freeze_longest_ms", {}, SLOW, "source: {video: {can_fps: true}}"),
    ],
)
def test_each_hint_names_the_lever_that_mends_it(
    metric: str, row: dict[str, float | None], more: str, remedy: str
) -> None:
    """A source that lost time skips; one that never keeps up makes fewer pictures; late packets want a buffer."""
    _, _, said = hint(limit(metric), good_row(**row), call(more)).partition(": try ")
    assert said.startswith(remedy)


def test_every_remedy_that_is_yaml_can_stand_in_a_scenario() -> None:
    rows = [offsets(lead=430, median=400), offsets(lead=430, median=10)]
    said = [hint(limit("output_offset_abs_p95_ms"), good_row(**row), call()) for row in rows]
    said.append(hint(limit("content_heard_pct"), good_row(late_packets=3.0), call()))
    said.append(hint(limit("output_added_latency_p95_ms"), good_row(), call()))
    for one in said:
        call(one.partition(": try ")[2].partition(", so that")[0])


def printed(story: Story) -> str:
    out = io.StringIO()
    print_results(Console(file=out, width=160, force_terminal=True, color_system="standard"), story.plan, story.results)
    return out.getvalue()


def test_the_terminal_the_summary_and_the_page_show_the_hint(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.ran(story.scenario("stall"), seeds=(1, 2), **offsets(lead=430, median=400))
    groups = groups_of(story.plan, story.results)
    for said in (printed(story), summary(groups, MANIFEST), report(groups, MANIFEST, {})):
        assert said.count("pictures were 430 ms late nearly always") == 1


def test_a_policy_that_does_better_than_ours_is_told_of_in_red(tmp_path: Path) -> None:
    story = Story(tmp_path)
    file = story.scenario("stall")
    story.ran(file, recovery_ms=430.0)
    story.ran(file, role="compare", policy="fps_paced", recovery_ms=200.0, offset_abs_p95_ms=300.0)
    story.ran(file, role="compare", policy="two_clocks", recovery_ms=340.0, **offsets(lead=0))
    (group,) = groups_of(story.plan, story.results)
    assert beaten(group) == ["fps_paced is better at recovery_ms: 200, default 430"], "less than anybody notices"
    said, red = printed(story), "\x1b[1;31m"
    assert f"{red}stall at browser: fps_paced is better at recovery_ms: 200, default 430" in said
    assert red in next(line for line in said.splitlines() if "fps_paced" in line)
    assert "🔴 **stall at browser: fps_paced is better at recovery" in summary([group], MANIFEST)
    page = report([group], MANIFEST, {})
    assert '<li class="fail">fps_paced is better at recovery_ms' in page and 'class="n left fail">200<' in page
