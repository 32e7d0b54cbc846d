"""Glass table: the README's table out of what `avsync glass --mode all` wrote.

    python -m sim.glass.table results/glass-20261121T020000Z/glass.json

writes ``results/glass/table.md`` and, with every figure it shows, ``results/glass/rows.jsonl``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsync.server.modes import MODES

FOLDER = Path("results") / "glass"
KEPT = ("scenario", "mode", "met", "misses", "healthy", "sender_late_p95_ms", "settle_ms", "wire", "interrupts")
COLUMNS = (
    "offset_p50_ms@clear",
    "offset_abs_p95_ms@clear",
    "offset_abs_p95_ms",
    "measured_pct",
    "degraded_pct",
    "unknown_pct",
)
LAB = "lab_abs_p95_ms@clear"


def row(run: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one run that are quoted; the lab's p95 is the median of its seeds."""
    lab = sorted(value for seed in run["lab"] if (value := seed.get("offset_abs_p95_ms@clear")) is not None)
    believed = run["believed"]
    return {
        **{name: run[name] for name in KEPT},
        **{name: run["glass"].get(name) for name in COLUMNS},
        "claim_p50_ms": run["reading"]["claim_p50_ms"],
        LAB: lab[len(lab) // 2] if lab else None,
        "believed_abs_p95_ms": None if believed is None else believed["abs_p95_ms"],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: p50 / p95 over ``clear`` per mode; then what the lab predicted and what our monitor believed."""
    out = [
        "Over `clear`, in ms: median offset (voice ahead positive) / p95 of \\|offset\\|.",
        "",
        "| scenario | " + " | ".join(MODES) + " | the lab's p95 | believed p95 (all) |",
        "| --- |" + " ---: |" * (len(MODES) + 2),
    ]
    for name in dict.fromkeys(each["scenario"] for each in rows):
        of = {each["mode"]: each for each in rows if each["scenario"] == name}
        ours = of.get("avsync", {})
        cells = [_cell(of.get(mode)) for mode in MODES]
        cells += [_number(ours.get(LAB)), _number(ours.get("believed_abs_p95_ms"))]
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def _cell(each: Mapping[str, Any] | None) -> str:
    if each is None or not each["healthy"]:
        return "not measured"
    p50 = each["offset_p50_ms@clear"]
    signed = "UNKNOWN" if p50 is None else f"{p50:+.0f}"
    return f"{signed} / {_number(each['offset_abs_p95_ms@clear'])}"


def _number(value: float | None) -> str:
    return "UNKNOWN" if value is None else f"{value:.0f}"


def main(argv: Sequence[str]) -> int:
    """Reads one or more files; of a scenario and mode that come twice, the later run counts."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    calibration = ""
    for name in argv:
        told = json.loads(Path(name).read_text(encoding="utf-8"))
        calibration = told["calibration"]
        for run in told["runs"]:
            fresh, place = row(run), (run["scenario"], run["mode"])
            if not run["lab"] and place in rows:  # --no-lab: the prediction is the scenario's, not the run's
                fresh[LAB] = rows[place][LAB]
            rows[place] = fresh
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"calibration": calibration}), *(json.dumps(each, sort_keys=True) for each in rows.values())]
    (FOLDER / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (FOLDER / "table.md").write_text(table(list(rows.values())), encoding="utf-8")
    print(table(list(rows.values())), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
