"""The committed table of the scorer in the lab: a row for every run, and who does not agree is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.payload import speech as payload_speech
from sim.report import payload_table
from tests.sim.payload.payload_story import Reader, marked


def written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lies_ms: float, windows: int = 1000, scenario: str = "clean"
) -> tuple[int, str]:
    """Marks instead of speech: neither espeak-ng nor nets."""

    def scored(run: Any, part: Any) -> Any:
        return payload_speech.score(run, marked(run), Reader(lies_ms=lies_ms if run.seed == 2 else 0.0))[:windows]

    monkeypatch.setattr(payload_speech, "scored_run", scored)
    monkeypatch.setattr(payload_table, "check_installed", lambda _: None)
    file = tmp_path / "new" / "lab.md"
    code = payload_table.main(["--out", str(file), "--scenarios", scenario, "--seeds", "1,2", "--jobs", "1"])
    return code, file.read_text(encoding="utf-8") if file.exists() else ""


def test_every_run_has_a_row_and_one_frame_is_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = written(tmp_path, monkeypatch, lies_ms=-37.0)
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| clean")
    ]
    assert code == 0 and "4 of 4 runs agree" in text and "python -m sim.report.payload_table" in text
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        ("browser", "1", "yes"), ("browser", "2", "yes"), ("avsync", "1", "yes"), ("avsync", "2", "yes"),
    ]  # fmt: skip
    of = dict(zip(payload_table.HEADS, rows[3], strict=True))
    assert of["scorer"] == "marks" and int(of["windows"]) >= 20
    assert float(of["scorer p50"]) == pytest.approx(-37, abs=2) and of["truth p50"] in {"0", "<0.1", ">-0.1"}


def test_a_run_that_is_more_than_a_frame_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = written(tmp_path, monkeypatch, lies_ms=60.0)
    assert code == 1 and "2 of 4 runs agree" in text
    assert [line.split("|")[3].strip() for line in text.splitlines() if line.endswith("| NO     |")] == ["2", "2"]


def test_too_few_windows_are_no_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = written(tmp_path, monkeypatch, lies_ms=0.0, windows=19)
    assert code == 1 and "0 of 4 runs agree" in text and text.count("UNKNOWN") >= 4


def test_nothing_to_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(tmp_path, monkeypatch, lies_ms=0.0, scenario="no_such_call") == (2, "")
