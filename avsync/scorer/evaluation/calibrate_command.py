"""``avsync scorer calibrate``: set the bias and the confidence curve of each backend from the development half."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from avsync.errors import InputError
from avsync.scorer.calibration import CALIBRATION, curve_of, read_calibration
from avsync.scorer.evaluation.calibrate import Fit, as_numbers, fit, in_sync_reading_ms
from avsync.scorer.evaluation.command import checked_jobs, chosen_entries, console, contenders, run_all
from avsync.scorer.evaluation.evaluate import Contender, EvaluatedClip, EvaluationPlan, backend_of
from avsync.scorer.evaluation.protocol import Trials
from avsync.scorer.signal import METHODS

EPILOG: Final = """\
example:
  avsync scorer calibrate --clips clips            all backends, into the package's own calibration.json

Only clips of the development half of the speakers are opened. Run it again whenever weights have changed; then
`avsync scorer evaluate` shows what the curve is worth on the other half.
"""


def add_calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``avsync scorer calibrate``."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="DIR", help="a folder of clips with a manifest.csv"
    )
    parser.add_argument(
        "--backend", action="append", choices=METHODS, help="only this one (more than one may be given)"
    )
    parser.add_argument("--out", type=Path, default=CALIBRATION, metavar="FILE", help="what is written (the package's)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep tracked faces here, for the next time")


def run_calibrate(args: argparse.Namespace) -> int:
    """Prints what was fitted and writes it; other methods' numbers in the file stay. Bad input raises before that."""
    out = console(stderr=False)
    entries = chosen_entries(args.clips, "development")
    speakers = {index: entry.speaker for index, entry in enumerate(entries)}
    kept = read_calibration(args.out)
    plain = contenders(args.backend, ())
    for contender in plain:
        backend_of(contender)
    jobs = checked_jobs(args.jobs)
    numbers = dict(kept)
    biases: dict[str, float] = {}
    # Twice: an answer that is 25 ms off by the bias alone must not count as wrong when the curve is fitted.
    first = run_all(
        out,
        entries,
        EvaluationPlan(
            tuple(one._replace(bias_ms=0.0) for one in plain), modes=("stream",), cache=args.cache, strangers=False
        ),
        jobs=jobs,
    )
    for contender in plain:
        biases[contender.method] = -in_sync_reading_ms(_trials(first, contender), speakers)
    moved = tuple(one._replace(bias_ms=round(biases[one.method], 1)) for one in plain)
    second = run_all(out, entries, EvaluationPlan(moved, modes=("stream",), cache=args.cache), jobs=jobs)
    for contender in moved:
        trials = _trials(second, contender)
        left = in_sync_reading_ms(trials, speakers)
        found = fit(backend_of(contender).method, trials, speakers, contender.bias_ms or 0.0)
        _say(out, contender, found, left)
        numbers[contender.method] = as_numbers(found.curve, len(trials), len(set(speakers.values())))
    _write(args.out, numbers)
    curve_of.cache_clear()
    out.print(f"written: {args.out}", soft_wrap=True)
    return 0


def _trials(done: Sequence[EvaluatedClip], contender: Contender) -> Trials:
    found = [answers.trials for clip in done for answers in clip.answers if answers.label == contender.label]
    return np.concatenate(found)


def _say(out: Console, contender: Contender, found: Fit, left_ms: float) -> None:
    out.print(f"{contender.method}: bias {found.curve.bias_ms:+.1f} ms (with it, {left_ms:+.1f} ms are left)")
    for window_ms, fitted in found.sure.items():
        others, strange = found.held_out[window_ms], found.unrelated[window_ms]
        words = (
            f"{window_ms / 1000:g} s: sure (> 0.8) in {_pct(fitted.covered_pct)} %, wrong {_pct(fitted.wrong_pct)} %",
            f"speakers left out: {_pct(others.covered_pct)} %, wrong {_pct(others.wrong_pct)} %",
            f"other voices and beyond the search: {_pct(strange.covered_pct)} %",
        )
        out.print(f"  {'; '.join(words)}", soft_wrap=True)


def _pct(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _write(file: Path, numbers: Mapping[str, object]) -> None:
    aside = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=str(file), remedy="give --out") from error
