"""Running: what ``avsync run`` does once all was read: a plan, its runs, verdicts as they come, tables, a folder.

Results are written aside and renamed, so a folder in ``results/`` is always whole.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from avsync.errors import InputError
from sim.console import say
from sim.report.table import print_results, verdict_line
from sim.scenario.words import visible
from sim.sweep.sweep import Result, RunPlan, check_recordings, plan, run_all


def run_and_report(
    files: Sequence[Path], networks: Sequence[tuple[str, str]], args: argparse.Namespace, out: Console
) -> bool:
    """True if every limit was met and every baseline missed."""
    aside = _made_inside(args.out)
    try:
        wanted = _planned(files, networks, args, aside)
        check_recordings(wanted)
        if why := _no_baselines(wanted, args):
            say(out, why)
        results = _run_with_bar(wanted, args.jobs, out)
        passed = all(result.passed for result in results if result.spec.role != "compare")
        folder = args.out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        print_results(out, wanted, results)
        if args.json:
            for result in results:
                print(json.dumps(result.flat()))
        _write(aside, wanted, results, args, out)
        aside.chmod(0o777 & ~_umask())
        aside.rename(folder)
        say(out, f"results: {folder}{os.sep}")
        if not args.no_plots:
            say(out, f"report:  {folder / 'report.html'}")
        return passed
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _planned(
    files: Sequence[Path], networks: Sequence[tuple[str, str]], args: argparse.Namespace, aside: Path
) -> RunPlan:
    wanted = plan(
        files,
        seeds=args.seeds or ([args.seed] if args.seed is not None else None),
        viewer=args.viewer,
        policy=args.policy,
        compare=args.compare,
        networks=networks,
        clip=str(args.clip) if args.clip else None,
        record_to=str(aside / "recordings") if args.record else None,
        with_series=not args.no_plots,
        scorer=args.scorer,
        # A policy, a network or a clip of your own: the baseline was named for the scenario's.
        baselines=not (args.no_baselines or args.policy or networks or args.clip),
    )
    return wanted if args.no_plots else _with_baselines_drawn(wanted)


def _no_baselines(wanted: RunPlan, args: argparse.Namespace) -> str:
    """A line where baselines that the scenarios name do not run, unless that was asked for."""
    named = any(scenario.baseline is not None for scenario in wanted.scenarios.values())
    if args.no_baselines or not named or any(spec.role == "baseline" for spec in wanted.specs):
        return ""
    given = [f"--{name}" for name in ("policy", "network", "clip", "compare") if getattr(args, name)]
    return f"no baselines with {', '.join(given)}: they were named for the scenario as it is"


def _umask() -> int:
    """The mask can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _with_baselines_drawn(wanted: RunPlan) -> RunPlan:
    """Pictures show the baseline behind the policy under test, in the same seeds."""
    drawn = {(spec.file, spec.viewer, spec.seed) for spec in wanted.specs if spec.with_series}
    return wanted._replace(
        specs=tuple(replace(spec, with_series=(spec.file, spec.viewer, spec.seed) in drawn) for spec in wanted.specs)
    )


def _made_inside(out: Path) -> Path:
    """A folder of our own in the results folder, which is made where it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".avsync-", dir=out))
    except OSError as error:
        raise InputError(f"cannot make the results folder: {error.strerror}", file=str(out)[:200]) from None


def _run_with_bar(wanted: RunPlan, jobs: int | None, out: Console) -> list[Result]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=out, transient=True, disable=not out.is_terminal,
    )  # fmt: skip
    results: list[Result] = []
    several = len(wanted.scenarios) > 1
    last_of = {spec.file: index for index, spec in enumerate(wanted.specs)}
    with bar:
        task = bar.add_task("running", total=len(wanted.specs))
        for index, result in enumerate(run_all(wanted.specs, jobs)):
            results.append(result)
            if several and last_of[result.spec.file] == index:
                out.print(verdict_line(wanted, [one for one in results if one.spec.file == result.spec.file]))
            bar.update(task, advance=1, description=escape(f"{visible(result.scenario)} ({result.spec.viewer})"))
    return results


def _write(aside: Path, wanted: RunPlan, results: list[Result], args: argparse.Namespace, out: Console) -> None:
    from sim.report.report import write_report

    write_report(aside, wanted, results, command=["avsync", *args.words], plots=not args.no_plots, console=out)
