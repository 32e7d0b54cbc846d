"""The study of traces: what a trace was like during the call, what counts as a loss of sync, and what is told."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from avsync.units import ms, seconds
from benchmarks import study_traces
from benchmarks.study_tables import Outcome, is_miss, misses, report, spread, tables
from benchmarks.study_traces import (
    Task,
    call,
    capacity_bps,
    episodes,
    impairments,
    in_sync_pct,
    lost_share,
    main,
    media_bps,
)
from sim.network.traces.trace import NetworkTrace
from sim.truth.truth import Offsets, OffsetState

SECOND = seconds(1)


def rates(*mbps: float) -> NetworkTrace:
    """A second of each."""
    times = tuple(range(0, len(mbps) * SECOND, SECOND))
    bps = tuple(round(rate * 1e6) for rate in mbps)
    return NetworkTrace("test", "test", len(mbps) * SECOND, times_ns=times, rate_bps=bps)


def task(duration_s: float = 10.0) -> Task:
    return Task("", "", "to_bridge", ("default",), ("avsync",), (1,), duration_s)


# ------------------------------------------------------------------------------------ the trace


def test_the_capacity_of_each_second_starts_where_the_call_does_and_loops() -> None:
    assert capacity_bps(rates(1, 0, 4), 0, 4) == pytest.approx([1e6, 0, 4e6, 1e6])
    assert capacity_bps(rates(1, 0, 4), ms(2500), 2) == pytest.approx([2.5e6, 0.5e6])


def test_an_opportunity_is_1500_bytes() -> None:
    trace = NetworkTrace("test", "test", SECOND, opportunities_ns=tuple(ms(100 * i) for i in range(10)))
    assert sum(capacity_bps(trace, ms(350), 3)) == pytest.approx(3 * 10 * 12_000, rel=0.1)


def test_a_trace_without_a_rate_limits_nothing() -> None:
    trace = NetworkTrace("test", "test", SECOND, times_ns=(0,), delay_ns=(ms(5),))
    assert capacity_bps(trace, 0, 10) == []
    assert impairments(trace, task(), 1, 1e6)[:3] == ("enough", None, 0)


def test_what_carries_less_than_1_3_times_the_media_is_starved_however_fast_it_is_elsewhere() -> None:
    need = media_bps(call("to_bridge", 10.0))
    assert 1_032_000 < need < 1_150_000, "headers are part of it"
    assert impairments(rates(1.31 * need / 1e6), task(), 1, need).kind == "enough"
    assert impairments(rates(1.29 * need / 1e6), task(), 1, need).kind == "starved"
    changing = rates(*[0.5] * 3000, *[100.0] * 3000)  # each seed meets another part of it
    met = [impairments(changing, task(), seed, need) for seed in range(1, 21)]
    found = {(sky.kind, round(sky.capacity_mbps or 0, 6), sky.short_s) for sky in met}
    assert found >= {("starved", 0.5, 10), ("enough", 100.0, 0)}
    one_short = impairments(rates(*[100.0] * 8, *[0.9 * need / 1e6] * 2), task(), 1, need)
    assert one_short.kind == "starved" and one_short.short_s == 1, "a second that carries too little is not made up for"


def test_what_loses_more_than_5_percent_of_the_call_is_lossy() -> None:
    def losing(ppm: int) -> NetworkTrace:
        return NetworkTrace("test", "test", 2 * SECOND, times_ns=(0, SECOND), loss_ppm=(ppm, 0))

    assert lost_share(losing(1_000_000), 0, 3) == pytest.approx(2 / 3, abs=0.01)
    assert lost_share(losing(1_000_000), ms(1500), 1) == pytest.approx(1 / 2, abs=0.01)
    assert impairments(losing(120_000), task(), 1, 1e6).kind == "lossy"
    assert impairments(losing(80_000), task(), 1, 1e6).kind == "enough"
    assert impairments(losing(80_000), task(), 1, 1e6).lost_pct == pytest.approx(4.0, abs=0.1)
    both = NetworkTrace("test", "test", SECOND, times_ns=(0,), rate_bps=(100_000,), loss_ppm=(500_000,))
    assert impairments(both, task(), 1, 1e6).kind == "starved", "what fits through comes first"


# ----------------------------------------------------------------------------- losses of sync


def samples(*parts: tuple[float, float | OffsetState]) -> Offsets:
    """(seconds, offset in ms or a state) after each other."""
    state: list[int] = []
    e_ns: list[int] = []
    for length_s, what in parts:
        count = round(100 * length_s)
        state += [what if isinstance(what, OffsetState) else OffsetState.MEASURED] * count
        e_ns += [0 if isinstance(what, OffsetState) else ms(what)] * count
    n = len(state)
    return Offsets(
        np.arange(n, dtype=np.int64) * ms(10), np.array(e_ns, np.int64), np.array(state, np.int8),
        np.zeros(n, np.int32), np.zeros(n, np.bool_), ms(10),
    )  # fmt: skip


def test_a_loss_of_sync_begins_after_sync_was_found_and_ends_with_a_whole_second_of_it() -> None:
    assert episodes(samples((5, 0))) == (0, 0)
    assert episodes(samples((0.5, OffsetState.NO_PICTURE), (5, 44))) == (0, 500), "the beginning is no loss"
    assert episodes(samples((2, 0), (1, 46), (0.9, 0), (1, -46), (2, 0))) == (1, 2900)
    assert episodes(samples((2, 0), (1, OffsetState.DEGRADED), (1, 0), (0.1, -60), (2, 0))) == (2, 1000)
    assert episodes(samples((2, 0), (3, 100))) == (1, 3000), "it need not end"
    assert episodes(samples((3, 100))) == (0, 3000), "never found"


def test_time_without_lips_is_not_in_sync() -> None:
    assert in_sync_pct(samples((1, 0), (1, OffsetState.DEGRADED), (1, -46), (1, OffsetState.NO_PICTURE))) == 25


def test_too_little_to_judge_is_unknown() -> None:
    assert episodes(samples((0.9, 0))) == (0, None)
    assert in_sync_pct(samples()) is None


# -------------------------------------------------------------------------------------- telling


def outcome(trace: str = "a", output: float | None = 0.0, viewer: float | None = 0.0, **more: object) -> Outcome:
    values = {"policy": "default", "viewer": "avsync", "kind": "enough", "capacity_mbps": None, **more}
    fields = {"leg": "to_bridge", "seed": 1, "short_s": 0, "lost_pct": 0.0, **values}
    return Outcome(trace=trace, output_p95_ms=output, viewer_p95_ms=viewer, **fields)  # type: ignore[arg-type]


def test_a_spread_is_by_nearest_rank_and_unknown_is_not_zero() -> None:
    values: Sequence[float | None] = [float(i) for i in range(1, 11)]
    assert [spread(values, percent) for percent in (50, 90, 100)] == [5, 9, 10]
    assert spread([None, 7.0], 50) == 7
    assert spread([None], 100) is None


def test_unknown_is_counted_beside_the_percentiles() -> None:
    text = tables([outcome("a", None, None), outcome("b", 12, 30), outcome("c", None, 5), outcome("d", 7, None)])
    assert "to_bridge, viewer avsync, enough: 4 replays" in text
    assert "| default | 7 / 12 / 12 | 5 / 30 / 30 | 3 |" in text


def test_the_worst_share_in_sync_is_the_smallest() -> None:
    text = tables(
        [outcome(trace, viewer_in_sync_pct=share) for trace, share in (("a", 99.0), ("b", 40.0), ("c", 98.0))]
    )
    assert "| 0 | 98 % / 40 % |" in text


def test_classes_are_never_mixed() -> None:
    text = tables([outcome("a", 3, 3), outcome("b", 900, 900, kind="starved"), outcome("c", 50, 50, kind="lossy")])
    assert text.count("1 replays") == 3
    assert text.index("enough") < text.index("starved") < text.index("lossy")


@pytest.mark.parametrize(
    ("output", "viewer", "miss"),
    [(25, 45, False), (25.1, 0, True), (0, 45.1, True), (None, 0, True), (0, None, True)],
)
def test_a_miss_is_above_25_at_the_output_or_45_at_the_viewer_or_unknown(
    output: float | None, viewer: float | None, miss: bool
) -> None:
    assert is_miss(outcome("a", output, viewer)) is miss


def test_the_misses_are_those_of_one_policy_where_the_network_was_enough() -> None:
    found = [
        outcome("small", 30, 0),
        outcome("large", 90, 0),
        outcome("other", 90, 0, policy="fps_paced"),
        outcome("poor", 90, 0, kind="starved"),
    ]
    text = misses(found, "default")
    assert "other" not in text and "poor" not in text
    assert text.index("large") < text.index("small")
    assert misses([outcome()], "default") == "None."


def test_what_broke_is_told() -> None:
    text = report([outcome(broke="KeyError: 3 (x.py:1)")], [("notes.txt", "no trace")], "default", 1.1)
    assert "a (to_bridge, default, avsync): KeyError: 3 (x.py:1)" in text
    assert "1 files are no network trace" in text and "- notes.txt: no trace" in text


# ------------------------------------------------------------------------------ the whole of it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tiny networks and a file that is none, one of them a folder deeper."""
    traces = tmp_path / "traces"
    (traces / "deep").mkdir(parents=True)
    (traces / "good.csv").write_text("time_s,mbps\n" + "".join(f"{t},9\n" for t in range(8)))
    (traces / "poor.csv").write_text("time_s,mbps\n" + "".join(f"{t},0.3\n" for t in range(8)))
    wave = (40 + 30 * math.sin(i / 3) for i in range(80))
    rows = "".join(f"{i / 10:.1f},{2 * delay:.3f}\n" for i, delay in enumerate(wave))
    (traces / "deep" / "probes.csv").write_text("t_s,rtt_ms\n" + rows)
    (traces / "notes.txt").write_text("nothing of interest\n")
    return traces


def test_every_trace_below_the_folder_is_replayed_and_written_down(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [str(folder), "--policies", "default", "two_clocks", "--seconds", "6", "--jobs", "1", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    text = (out / "traces.md").read_text()
    data = json.loads((out / "traces.json").read_text())
    assert said == text + "\n"
    assert str(tmp_path) not in text + json.dumps(data), "results name traces relative to the folder"
    runs = {(run["trace"], run["policy"]): run for run in data["runs"]}
    assert set(runs) == {(t, p) for t in ("deep/probes.csv", "good.csv", "poor.csv") for p in ("default", "two_clocks")}
    assert [name for name, _ in data["not_traces"]] == ["notes.txt"]
    assert {run["kind"] for (trace, _), run in runs.items() if trace == "poor.csv"} == {"starved"}
    good = runs["good.csv", "default"]
    assert good["kind"] == "enough" and good["capacity_mbps"] == pytest.approx(9) and not good["broke"]
    assert good["output_p95_ms"] <= 25 and good["viewer_p95_ms"] <= 45 and good["heard_pct"] == 100
    assert runs["deep/probes.csv", "default"]["capacity_mbps"] is None
    assert "### to_bridge, viewer avsync, starved: 1 replays" in text


def test_the_other_leg_and_both_viewers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(folder / "deep"), "--leg", "both", "--viewer", "both", "--policies", "default", "--seconds", "4"]
    assert main([*words, "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    for leg in ("to_bridge", "to_viewer"):
        for viewer in ("browser", "avsync"):
            assert f"### {leg}, viewer {viewer}, enough: 1 replays" in said


def test_a_run_that_breaks_is_a_finding_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = study_traces.simulate

    def breaks(*args: object, **how: object) -> object:
        if how["policy"].name == "two_clocks":  # type: ignore[attr-defined]
            raise KeyError("lost")
        return real(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(study_traces, "simulate", breaks)
    words = [str(folder / "deep"), "--policies", "default", "two_clocks", "--seconds", "4", "--jobs", "1"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "KeyError: 'lost'" in said and "| default | " in said


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        (["--policies", "defualt"], "no policy is named 'defualt'"),
        (["--seconds", "-1"], "duration_s"),
        (["--jobs", "0"], "--jobs and --seeds must be at least 1"),
        (["--seeds", "0"], "--jobs and --seeds must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_2(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], rule: str
) -> None:
    assert main([str(folder), *more]) == 2
    said = capsys.readouterr()
    assert rule in said.err and said.err.startswith("study_traces: ") and not said.out


def test_a_folder_without_traces_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no network trace below this folder" in capsys.readouterr().err
    assert main([str(tmp_path / "missing")]) == 2
    assert "is not a folder" in capsys.readouterr().err
