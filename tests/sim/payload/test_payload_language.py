"""The scenario language's payload: who asks for sound and pictures gets a scorer's columns, others no change."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avsync.errors import InputError
from sim.judge.judge import Limit, limits_of, value_of
from sim.payload import speech as payload_speech
from sim.report import scorer_table
from sim.report.markdown import summary
from sim.report.report import manifest, write_report
from sim.report.summary import groups_of, reproduce
from sim.scenario.scenario import build, load_scenario, loads
from sim.scenario.sentences import what_happens
from sim.sweep.sweep import Result, RunPlan, Spec, execute, plan
from tests.sim.payload.payload_story import Reader, marked
from tests.sim.small_world import run, small

HEAD = "avsync: 1\nabout: A call that can be seen and heard.\ntags: [reference]\n"
SPOKEN = HEAD + "duration_s: 29\nsource: {payload: {voice: de+f3, speaker: 7, scorer: heuristic}}\n"
LIMITED = SPOKEN + "expect:\n  - {metric: scorer_error_p95_ms, at_most: 40, window: clear}\n"


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        loads(text)
    return str(caught.value)


@pytest.fixture
def with_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks instead of speech: no espeak-ng, no nets."""

    def scored(run: Any, part: Any) -> Any:
        return payload_speech.score(run, marked(run), Reader())

    monkeypatch.setattr(payload_speech, "scored_run", scored)


def results_of(tmp_path: Path, text: str, **how: Any) -> tuple[RunPlan, list[Result]]:
    file = tmp_path / "spoken.yaml"
    file.write_text(text)
    wanted = plan([file], viewer="avsync", seeds=[1, 2], **how)
    return wanted, [execute(spec) for spec in wanted.specs]


def test_a_payload_is_read_as_written_and_has_defaults() -> None:
    payload = loads(SPOKEN).source.payload
    assert payload is not None and (payload.voice, payload.speaker, payload.scorer) == ("de+f3", 7, "heuristic")
    plain = loads(HEAD + "source: {payload: {}}\n").source.payload
    assert plain is not None and (plain.voice, plain.speaker, plain.scorer) == ("en-us", None, "auto")
    assert "speaks as de+f3" in " ".join(what_happens(loads(SPOKEN)))


def test_a_payload_that_cannot_be_is_answered_with_a_remedy() -> None:
    assert "scorer" in refused(HEAD + "source: {payload: {scorer: guess}}\n")
    assert "voice" in refused(HEAD + "source: {payload: {voice: 'en us; rm'}}\n")
    assert "did you mean 'voice'" in refused(HEAD + "source: {payload: {vocie: de}}\n")


def test_scenarios_without_a_payload_keep_their_digest_and_their_data() -> None:
    """Digests of results that were written before there were payloads must not change."""
    scenario = load_scenario("scenarios/clean.yaml")
    assert "payload" not in scenario.to_dict()["source"]
    spoken = loads(SPOKEN)
    again = build(spoken.to_dict(), name="again")
    assert again.digest == spoken.digest and again.source.payload == spoken.source.payload
    assert spoken.digest != build({**spoken.to_dict(), "source": {}}, name="again").digest


def test_a_limit_on_the_scorer_needs_something_to_see() -> None:
    assert loads(LIMITED).expect[0].metric == "scorer_error_p95_ms"
    without = refused(LIMITED.replace("source: {payload: {voice: de+f3, speaker: 7, scorer: heuristic}}\n", ""))
    assert "needs real sound and pictures" in without and "payload: {}" in without
    assert "no metric is named 'output_scorer_error_p95_ms'" in refused(LIMITED.replace("scorer_e", "output_scorer_e"))
    based = LIMITED + "baseline: {policy: fps_paced, misses: [scorer_error_p95_ms]}\n"
    assert "a baseline cannot miss it" in refused(based)


def test_a_scorer_that_never_looked_is_unknown_and_misses() -> None:
    """Whoever measures a payload's scenario without a scorer gets UNKNOWN, not a crash and not a pass."""
    limit = limits_of(loads(LIMITED), "avsync")[0]
    assert value_of({}, limit) is None and not limit.met_by(value_of({}, limit))
    with pytest.raises(KeyError):
        value_of({}, Limit("offset_abs_p95_ms", "all", 1, None))


@pytest.mark.usefixtures("with_marks")
def test_columns_and_verdict_come_with_a_payload(tmp_path: Path) -> None:
    _, (first, _) = results_of(tmp_path, LIMITED)
    row = first.flat()
    assert row["scorer_error_p95_ms@clear"] < 2 and row["scorer_windows@clear"] >= 20 and first.passed
    assert [check.limit.metric for check in first.checks] == ["scorer_error_p95_ms"]


@pytest.mark.usefixtures("with_marks")
def test_without_a_payload_there_is_no_column_unless_asked(tmp_path: Path) -> None:
    text = HEAD + "duration_s: 6\n"
    _, (plain, _) = results_of(tmp_path, text)
    assert plain.scored == [] and not [name for name in plain.row if "scorer" in name]
    _, (asked, _) = results_of(tmp_path, text, scorer=True)
    assert asked.scored and "scorer_error_p95_ms" in asked.row
    assert {name: asked.row[name] for name in plain.row} == plain.row, "the run itself is the same"


@pytest.mark.usefixtures("with_marks")
def test_a_baseline_is_not_looked_at() -> None:
    spec = Spec("scenarios/video_stall.yaml", "avsync", 1, role="baseline", policy="fps_paced", scorer=True)
    assert execute(spec).scored == []


@pytest.mark.usefixtures("with_marks")
def test_table_summary_and_windows_tell_belief_beside_truth(tmp_path: Path) -> None:
    wanted, results = results_of(tmp_path, LIMITED)
    (row,) = scorer_table.rows(groups_of(wanted, results))
    cells = dict(zip(scorer_table.HEADS, row, strict=True))
    assert cells["scorer"] == "marks" and cells["right %"] == "100" and int(cells["windows"]) >= 40
    assert scorer_table.TITLE in summary(groups_of(wanted, results), manifest(wanted, results, ["avsync"]))
    from rich.console import Console

    write_report(tmp_path, wanted, results, command=["avsync"], plots=False, console=Console(quiet=True))
    records = [json.loads(line) for line in (tmp_path / "scorer.jsonl").read_text().splitlines()]
    assert {record["seed"] for record in records} == {1, 2}
    assert all({"scorer_offset_ms", "truth_offset_ms", "clear"} <= set(record) for record in records)


def test_a_run_without_payloads_leaves_no_empty_file(tmp_path: Path) -> None:
    from rich.console import Console

    wanted, results = results_of(tmp_path, HEAD + "duration_s: 4\n")
    write_report(tmp_path, wanted, results, command=["avsync"], plots=False, console=Console(quiet=True))
    assert not (tmp_path / "scorer.jsonl").exists()
    assert scorer_table.rows(groups_of(wanted, results)) == []


def test_what_is_missing_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sim.command import run_command

    def missing(*_: object, **__: object) -> None:
        raise InputError("espeak-ng is not installed", remedy="apt-get install espeak-ng")

    monkeypatch.setattr(payload_speech, "check_installed", missing)
    file = tmp_path / "spoken.yaml"
    file.write_text(SPOKEN)
    args = Namespace(scenarios=[str(file)], all=False, scorer=False, json=False, slow=False, compare=[], policy=None,
                     network=[], clip=None,
                     jobs=1, out=tmp_path / "results", seeds=None, seed=1, viewer="avsync", record=False,
                     no_plots=True, no_baselines=True)  # fmt: skip
    with pytest.raises(InputError, match="espeak-ng is not installed"):
        run_command(args)
    assert not (tmp_path / "results").exists()


def test_the_command_that_shows_it_again_asks_for_the_scorer_too() -> None:
    spec = Spec("scenarios/clean.yaml", "avsync", 3, scorer=True)
    assert reproduce(spec).endswith("--scorer") and "--scorer" not in reproduce(replace(spec, scorer=False))


def test_small_worlds_speak_too() -> None:
    """A payload changes nothing in the run: the same logs with and without."""
    plain, spoken = (run(small(4.0, source=source)) for source in ({}, {"payload": {}}))
    tables = [one.at_viewer.presented.table(one.source.table()) for one in (plain, spoken)]
    assert (tables[0].shown_ns == tables[1].shown_ns).all() and (tables[0].at_ns == tables[1].at_ns).all()
