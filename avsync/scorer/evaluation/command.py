"""``avsync scorer evaluate``: how often the scorer is right on real clips, and what its confidence is worth."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from avsync.errors import InputError
from avsync.scorer.backends.load import networks_run_on
from avsync.scorer.evaluation.card import check_card, write_card
from avsync.scorer.evaluation.evaluate import (
    CONDITIONS,
    Contender,
    EvaluatedClip,
    EvaluationPlan,
    backend_of,
    evaluate,
    one_thread,
)
from avsync.scorer.evaluation.protocol import MODES, WINDOWS_MS
from avsync.scorer.evaluation.speakers import HALVES, ClipEntry, read_manifest
from avsync.scorer.evaluation.summary import floor_numbers, summary
from avsync.scorer.evaluation.table import print_summary
from avsync.scorer.signal import METHODS

PIPE_WIDTH: Final = 160
MOST_JOBS: Final = 64

EPILOG: Final = """\
examples:
  avsync scorer evaluate --clips clips --floor 76,88,97     the default backend against its floors
  avsync scorer evaluate --clips clips --conditions         also spoiled clips and other picture rates
  avsync scorer evaluate --clips clips --weights a b c      also three trainings, each in a folder
  avsync scorer evaluate --clips clips --half development   only the speakers that may be used to choose
  avsync scorer evaluate --clips clips --conditions --weights a b c --card docs/model_card.md
  avsync scorer evaluate --clips clips --quick              the last line alone, in a third of the time

The folder holds a manifest.csv with the columns file, ref_offset_ms (positive: audio late) and, if wanted, speaker.
Without --json the last line holds the percentages right at 0.5, 1 and 2 s: all clips pooled, the first backend,
stream mode, 40 ms lags. Exit codes: 0 the floor is reached, 1 it is not, 2 bad input.
"""


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``avsync scorer evaluate``."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="a folder of clips with a manifest.csv"
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON on stdout, the rest on stderr")
    parser.add_argument(
        "--floor", type=_floor, metavar="N,N,N", help="exit 1 below these percentages at 0.5, 1 and 2 s"
    )
    parser.add_argument(
        "--backend",
        action="append",
        choices=METHODS,
        help="only this one (more than one may be given; all but syncnet)",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders with geometry.npz and pixels.npz of other trainings, tried beside the shipped ones",
    )
    parser.add_argument("--conditions", action="store_true", help="also spoiled clips, and other picture rates")
    parser.add_argument("--quick", action="store_true", help="in the stream alone, and nobody else's voice")
    parser.add_argument("--half", choices=HALVES, help="only these speakers")
    parser.add_argument(
        "--card", type=Path, metavar="FILE", help="write the tables as Markdown between the two marks of this file"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep tracked faces here, for the next time")


def run_evaluate(args: argparse.Namespace) -> int:
    """0 where the floor is reached or none was given, else 1. Bad input raises before any clip is opened."""
    out = console(stderr=args.json)
    entries = chosen_entries(args.clips, args.half)
    plan = EvaluationPlan(
        contenders(args.backend, args.weights),
        CONDITIONS if args.conditions else (),
        modes=("stream",) if args.quick else MODES,
        strangers=not args.quick,
        cache=args.cache,
    )
    if args.card is not None:
        check_card(args.card)
    for contender in plan.contenders:
        backend_of(contender)  # missing or broken weights are found before anything runs
    done = run_all(out, entries, plan, jobs=checked_jobs(args.jobs))
    found = summary(done, plan)
    main = plan.contenders[0].label
    reached = floor_numbers(done, main)
    met = args.floor is None or all(
        got is not None and got >= least for got, least in zip(reached, args.floor, strict=True)
    )
    found["floor"] = {"backend": main, "reached_pct": reached, "wanted_pct": args.floor, "met": met}
    print_summary(out, found)
    if args.card is not None:
        write_card(args.card, found)
    if not met:
        out.print(f"below the floor: wanted {_line(args.floor)}, got {_line(reached)}", style="bold red")
    if args.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        print(_line(reached))
    return 0 if met else 1


def chosen_entries(folder: Path, half: str | None) -> list[ClipEntry]:
    """The folder's clips, of one half or all. InputError where there are none."""
    entries = [entry for entry in read_manifest(folder) if half is None or entry.half == half]
    if not entries:
        raise InputError(f"no speaker of the {half} half", file=str(folder))
    return entries


def contenders(names: Sequence[str] | None, weights: Sequence[Path]) -> tuple[Contender, ...]:
    """The backends with their shipped weights, the default one first; then one for each folder of weights."""
    usual = ("fused", "geometry", "pixels", "heuristic") if networks_run_on("cpu") else ("heuristic",)
    methods = list(dict.fromkeys(names or usual))
    found = [Contender(method, method) for method in methods]
    for folder in weights:
        files = tuple(
            (net, folder / f"{net}.npz") for net in ("geometry", "pixels") if (folder / f"{net}.npz").is_file()
        )
        if not files:
            raise InputError(
                "holds neither geometry.npz nor pixels.npz", file=str(folder), remedy="avsync scorer train"
            )
        for method in methods:
            needs = {"fused": {"geometry", "pixels"}, "geometry": {"geometry"}, "pixels": {"pixels"}}.get(method)
            if needs and needs <= dict(files).keys():
                found.append(Contender(method, f"{method} {folder.name}", files))
    return tuple(found)


def checked_jobs(jobs: int) -> int:
    """InputError where it is no number of processes."""
    if not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"--jobs is 1 to {MOST_JOBS}, got {jobs}")
    return jobs


def run_all(out: Console, entries: Sequence[ClipEntry], plan: EvaluationPlan, *, jobs: int) -> list[EvaluatedClip]:
    """All clips under a progress bar. InputError where not one could be used."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if jobs == 1:
        one_thread()
    done: list[EvaluatedClip] = []
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("clips", total=len(entries))
        for clip in evaluate(entries, plan, jobs=jobs):
            done.append(clip)
            bar.advance(task)
    if all(clip.left_out for clip in done):
        raise InputError(f"not one clip can be used; the first: {done[0].left_out}")
    return done


def _floor(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(WINDOWS_MS) or not all(0 <= number <= 100 for number in numbers):
        raise argparse.ArgumentTypeError(f"expected three percentages such as 76,88,97, got {text!r}")
    return numbers


def _line(numbers: Sequence[float | None]) -> str:
    """``76.0,88.0,97.0``; rounded down, so that what is printed is never above what was reached."""
    return ",".join("UNKNOWN" if number is None else f"{int(number * 10 + 1e-6) / 10:.1f}" for number in numbers)


def console(*, stderr: bool) -> Console:
    plain: Any = {} if (sys.stderr if stderr else sys.stdout).isatty() else {"width": PIPE_WIDTH}
    return Console(stderr=stderr, highlight=False, **plain)
