"""Command: what ``avsync run`` does: check everything, run with a progress bar, print, then draw.

Nothing is written before everything was read; results are written aside and renamed, so a folder
in ``results/`` is always whole.
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy
from sim.network_option import networks_for
from sim.report.table import print_results
from sim.scenario.files import resolve, shipped
from sim.scenario.scenario import load_scenario
from sim.scenario.source import PayloadSpec
from sim.source.clip import load_clip
from sim.sweep.sweep import Plan, Result, plan, run_all

PIPE_WIDTH = 160


def run_command(args: argparse.Namespace) -> bool:
    """True if every limit was met and every baseline missed. Bad input raises before anything runs."""
    out = _console(stderr=args.json)
    files = _files(args.scenarios, slow=args.slow)
    for name in [*args.compare, *([args.policy] if args.policy else [])]:
        AvSyncPolicy.preset(name)
    scenarios = [load_scenario(path) for path in files]
    scorer: bool = getattr(args, "scorer", False)
    given = networks_for(args.network, scenarios)
    networks = [(leg, path) for leg, path, _ in given]
    for leg, path, about in given:
        _say(out, f"{path}@{leg}: {about}")
    if args.clip is not None:
        _say(out, load_clip(args.clip).about)
    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {args.jobs}")
    if payloads := [one.source.payload or PayloadSpec() for one in scenarios if one.source.payload or scorer]:
        from sim.payload.speech import check_installed  # the scorer and its nets: only where they are wanted

        for payload in payloads:
            check_installed(payload)
    _check_out(args.out)
    aside = Path(tempfile.mkdtemp(prefix=".avsync-", dir=_made(args.out)))
    try:
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
            scorer=scorer,
            # A policy, a network or a clip of your own: the baseline was named for the scenario's.
            baselines=not (args.no_baselines or args.policy or networks or args.clip),
        )
        if not args.no_plots:
            wanted = _with_baselines_drawn(wanted)
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
        _say(out, f"results: {folder}{os.sep}")
        if not args.no_plots:
            _say(out, f"report:  {folder / 'report.html'}")
        return passed
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def list_command() -> None:
    out = _console()
    for path in resolve([str(shipped())]):
        scenario = load_scenario(path)
        tags = f" [{', '.join(scenario.tags)}]" if scenario.tags else ""
        out.print(Text.assemble((scenario.name, "bold"), f"{tags}\n    {scenario.about}"), soft_wrap=True)


def _console(*, stderr: bool = False) -> Console:
    """A pipe or a log has no width of its own: wide enough there for every table."""
    out = Console(stderr=stderr, highlight=False)
    if out.is_terminal or "COLUMNS" in os.environ:
        return out
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def _say(out: Console, text: str) -> None:
    """A line as it is: no markup in it, and no break, so that paths can be copied."""
    out.print(Text(text), soft_wrap=True)


def _umask() -> int:
    """The mask can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _with_baselines_drawn(wanted: Plan) -> Plan:
    """Pictures show the baseline behind the policy under test, in the same seeds."""
    drawn = {(spec.file, spec.viewer, spec.seed) for spec in wanted.specs if spec.with_series}
    return wanted._replace(
        specs=tuple(replace(spec, with_series=(spec.file, spec.viewer, spec.seed) in drawn) for spec in wanted.specs)
    )


def _files(words: Sequence[str], *, slow: bool) -> list[Path]:
    """Scenarios of a folder leave the slow ones out; a name or a file is always meant."""
    files: list[Path] = []
    for word in words or ("scenarios/",):
        found = resolve([word])
        by_name = len(found) == 1 and (Path(word).is_file() or Path(word).name == word)
        files += [path for path in found if by_name or slow or "slow" not in load_scenario(path).tags]
    unique = list(dict.fromkeys(files))
    for path in unique:
        load_scenario(path)
    if not unique:
        raise InputError("only slow scenarios here", remedy="add --slow, or name one")
    return unique


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError("--out must be a folder", file=str(out))


def _made(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the results folder: {error.strerror}", file=str(out)) from None
    return out


def _run_with_bar(wanted: Plan, jobs: int | None, out: Console) -> list[Result]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=out, transient=True, disable=not out.is_terminal,
    )  # fmt: skip
    results: list[Result] = []
    with bar:
        task = bar.add_task("running", total=len(wanted.specs))
        for result in run_all(wanted.specs, jobs):
            results.append(result)
            bar.update(task, advance=1, description=f"{result.scenario} ({result.spec.viewer})")
    return results


def _write(aside: Path, wanted: Plan, results: list[Result], args: argparse.Namespace, out: Console) -> None:
    from sim.report.report import write_report

    write_report(aside, wanted, results, command=["avsync", *args.words], plots=not args.no_plots, console=out)
