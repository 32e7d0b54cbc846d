"""Baseline table: what the README quotes, made again by ``python -m sim.report.baseline_table``.

Four named scenarios, ours beside what others ship, on the same network. Writes ``table.md``,
``rows.jsonl`` (the columns that the table and its checks need), ``manifest.json`` and one picture
into ``results/baseline/``; all of it is written aside first, so a failure changes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from avsync.errors import InputError
from sim.report.markdown import comparison
from sim.report.report import manifest
from sim.report.summary import BROWSER_NOTE, Group, groups_of
from sim.report.table import print_results
from sim.scenario.files import NAMED, shipped
from sim.sweep.sweep import Result, RunPlan, plan, run_all

OTHERS = ("pass_through", "fps_paced", "arrival_delay")
PICTURE = "video_stall"
COLUMNS = (
    "output_offset_abs_p50_ms", "output_offset_abs_p95_ms", "output_offset_abs_max_ms", "output_recovery_ms",
    "output_outside_bt1359_pct", "output_added_latency_p95_ms", "output_degraded_pct", "output_content_heard_pct",
    "offset_abs_p50_ms", "offset_abs_p95_ms", "offset_abs_p95_ms@clear", "offset_abs_max_ms", "recovery_ms",
    "outside_bt1359_pct", "degraded_pct", "believed_output_offset_abs_p95_ms", "believed_offset_abs_p95_ms",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every limit was met by the tested policy, else 1; 2 where there is nothing to run."""
    parser = argparse.ArgumentParser(prog="python -m sim.report.baseline_table", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/baseline"), metavar="DIR", help="where it goes")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], metavar="N,N,...")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (one per core)")
    parser.add_argument("--scenarios", nargs="+", default=NAMED, metavar="NAME", help="instead of the four")
    args = parser.parse_args(argv)
    out = Console(stderr=True, highlight=False)
    try:
        wanted = planned(args.scenarios, args.seeds)
    except InputError as error:
        print(f"avsync: {error}", file=sys.stderr)
        return 2
    runs = track(run_all(wanted.specs, args.jobs), "running", len(wanted.specs), console=out, transient=True,
                 disable=not out.is_terminal)  # fmt: skip
    results = list(runs)
    print_results(out, wanted, results)
    command = ["python", "-m", "sim.report.baseline_table", *(sys.argv[1:] if argv is None else argv)]
    write(args.out, wanted, results, command)
    print((args.out / "table.md").read_text(encoding="utf-8"), end="")
    return 0 if all(result.passed for result in results if result.spec.role == "main") else 1


def planned(names: Sequence[str], seeds: Sequence[int] | None) -> RunPlan:
    """Those of the scenarios that are shipped; only the picture's keeps a series."""
    files = [path for name in names if (path := shipped() / f"{name}.yaml").is_file()]
    if not files:
        raise InputError(f"none of these scenarios is shipped: {', '.join(names)}")
    wanted = plan(files, seeds=seeds, compare=OTHERS, with_series=True)
    specs = [replace(spec, with_series=spec.with_series and Path(spec.file).stem == PICTURE) for spec in wanted.specs]
    return wanted._replace(specs=tuple(specs))


def write(folder: Path, wanted: RunPlan, results: Sequence[Result], command: Sequence[str]) -> None:
    """Everything aside, then each file into its place."""
    groups = groups_of(wanted, results)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".aside-") as name:
        aside = Path(name)
        about = json.dumps(manifest(wanted, results, command), indent=1, ensure_ascii=False)
        (aside / "manifest.json").write_text(about + "\n", encoding="utf-8")
        (aside / "rows.jsonl").write_text("".join(json.dumps(row(one)) + "\n" for one in results), encoding="utf-8")
        (aside / "table.md").write_text(
            "\n".join([*comparison(groups), "", f"{BROWSER_NOTE}."]) + "\n", encoding="utf-8"
        )
        _picture(groups, aside / f"{PICTURE}.png")
        for file in sorted(aside.iterdir()):
            os.replace(file, folder / file.name)


def row(result: Result) -> dict[str, Any]:
    """One run, in few columns. A recovery never reached is ``"never"``; UNKNOWN is null."""
    head = {
        "scenario": result.scenario,
        "policy": result.policy,
        "viewer": result.spec.viewer,
        "seed": result.spec.seed,
    }
    values = {name: result.row.get(name) for name in COLUMNS}
    return {**head, **{name: _short(value) for name, value in values.items()}}


def _short(value: float | None) -> float | str | None:
    if value is None or math.isnan(value):
        return None
    return "never" if math.isinf(value) else round(value, 3)


def _picture(groups: Sequence[Group], file: Path) -> None:
    from sim.report.plots import draw

    mine = [group for group in groups if group.scenario.name == PICTURE]
    if mine:
        draw(mine, file)


if __name__ == "__main__":
    sys.exit(main())
