"""Payload table: what the shipped scorer says at the viewers of the four named scenarios, beside the truth, run by run.

    python -m sim.report.payload_table            writes results/scorer/lab.md

Every scenario with synthetic speech and a face, at both viewers, in three seeds, away from faults. A run agrees if the
p95 of |scorer - truth| over its windows of a second is at most one frame; with too few windows it does not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from avsync.errors import InputError
from avsync.scorer.nets.weight_files import HASHES
from sim.payload.scorer_at_viewer import frame_ms
from sim.payload.speech import check_installed
from sim.report.markdown import fenced, table
from sim.report.report import manifest
from sim.report.summary import BROWSER_NOTE, number
from sim.scenario.files import NAMED, shipped
from sim.scenario.source import PayloadSpec
from sim.sweep.sweep import Result, RunPlan, plan, run_all

SEEDS = (1, 2, 3)
HEADS = ("scenario", "viewer", "seed", "scorer", "windows", "truth p50", "scorer p50", "error p50", "error p95",
         "right %", "answered %", "sure %", "agrees")  # fmt: skip
COLUMNS = ("scorer_windows", "scorer_truth_offset_p50_ms", "scorer_offset_p50_ms", "scorer_error_p50_ms",
           "scorer_error_p95_ms", "scorer_right_pct", "scorer_answered_pct", "scorer_sure_pct")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every run agrees, else 1; 2 where it cannot run."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.report.payload_table", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results/scorer/lab.md"), metavar="FILE", help="where it goes")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=SEEDS,
                        metavar="N,N,...")  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (one per core)")
    parser.add_argument("--scenarios", nargs="+", default=NAMED, metavar="NAME", help="instead of the four")
    args = parser.parse_args(argv)
    out = Console(stderr=True, highlight=False)
    try:
        check_installed(PayloadSpec())
        files = [path for name in args.scenarios if (path := shipped() / f"{name}.yaml").is_file()]
        if not files:
            raise InputError(f"none of these scenarios is shipped: {', '.join(args.scenarios)}")
    except InputError as error:
        print(f"avsync: {error}", file=sys.stderr)
        return 2
    wanted = plan(files, seeds=args.seeds, viewer="both", baselines=False, scorer=True)
    results = list(track(run_all(wanted.specs, args.jobs), "running", len(wanted.specs), console=out, transient=True,
                         disable=not out.is_terminal))  # fmt: skip
    text = report(
        wanted, results, ["python", "-m", "sim.report.payload_table", *(sys.argv[1:] if argv is None else argv)]
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    aside = args.out.with_name(f".{args.out.name}.aside")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, args.out)
    print(text, end="")
    return 0 if all(agrees(wanted, one) for one in results) else 1


def agrees(wanted: RunPlan, result: Result) -> bool:
    """Within one frame, p95 over ``clear``. UNKNOWN is no agreement."""
    error_ms = result.row.get("scorer_error_p95_ms@clear")
    return error_ms is not None and error_ms <= round(frame_ms(wanted.scenarios[result.spec.file]), 1)


def report(wanted: RunPlan, results: Sequence[Result], command: Sequence[str]) -> str:
    """Markdown: a row for every run, in the plan's order, and what made them."""
    about = manifest(wanted, results, command)
    good = sum(agrees(wanted, one) for one in results)
    body = [
        [
            one.scenario, one.spec.viewer, str(one.spec.seed), ", ".join(sorted({each.method for each in one.scored})),
            *(number(one.row.get(f"{name}@clear")) for name in COLUMNS), "yes" if agrees(wanted, one) else "NO",
        ]
        for one in results
    ]  # fmt: skip
    weights = (line.split() for line in HASHES.read_text(encoding="utf-8").splitlines())
    named = ", ".join(f"{name} {digest[:12]}" for digest, name in weights)
    lines = ["# The scorer in the lab, beside the truth", ""]
    lines += [f"{good} of {len(results)} runs agree: p95 of |scorer - truth| over windows of a second, away from"]
    lines += ["faults (`clear`), is at most one frame. Offsets and errors in ms, voice ahead positive; columns as in"]
    lines += ["`docs/payload.md`.", "", *table(HEADS, body, left=(0, 1, 3, len(HEADS) - 1)), ""]
    lines += [f"{BROWSER_NOTE}.", "", *fenced([about["command_line"]]), ""]
    lines += [f"{about['created']}, commit {about['commit'] or 'unknown'}, Python {about['python']}; weights {named}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
