"""The README's table of the glass: what was measured, nothing where it was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.glass.table import main


def a_run(mode: str, p95: float | None, *, healthy: bool = True, scenario: str = "glass_clean") -> dict[str, Any]:
    return {
        "scenario": scenario, "mode": mode, "met": True, "misses": [], "healthy": healthy, "sender_late_p95_ms": 2.0,
        "settle_ms": 10.0, "wire": {}, "interrupts": [], "believed": {"abs_p95_ms": 29.4} if mode == "avsync" else None,
        "glass": {"offset_p50_ms@clear": -3.4, "offset_abs_p95_ms@clear": p95}, "reading": {"claim_p50_ms": -12.0},
        "lab": [{"offset_abs_p95_ms@clear": value} for value in (37.0, 30.0, 44.0)],
    }  # fmt: skip


def test_a_later_run_counts_a_busy_host_does_not_and_unknown_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = [a_run("avsync", 99.0), a_run("naive", 21.0, healthy=False)]
    runs = first, [a_run("avsync", 33.2), a_run("naive-valve", None)]
    for number, each in enumerate(runs):
        Path(f"{number}.json").write_text(json.dumps({"calibration": "zero", "runs": each}), encoding="utf-8")
    assert main(["0.json", "1.json"]) == 0
    table = Path("results/glass/table.md").read_text(encoding="utf-8")
    assert "| glass_clean | -3 / 33 | -3 / UNKNOWN | not measured | 37 | 29 |" in table
    rows = [json.loads(line) for line in Path("results/glass/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"calibration": "zero"} and len(rows) == 4
