"""`avsync score`: are lips and voice together in these clips, which way are they off, and how sure is that?

Exit codes are made for scripts: an unsure answer (3) is neither in sync (0) nor out of sync (1). With several clips the
worst counts: bad input (2), then out of sync, then unsure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from avsync.errors import InputError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.score.report import ClipReport, Outcome, as_dict, error_dict, exit_code
from avsync.scorer.score.score_clip import Options, load_for, score_clip
from avsync.scorer.score.table import print_report, say
from avsync.scorer.threads import keep_to_one_thread

PIPE_WIDTH = 160
SEARCH_MS = (60.0, 1000.0)
"""Narrower than the margin's ±40 ms needs, or wider than lips can be told from the next syllable's."""
STEP_MS = (5.0, 40.0)
BACKENDS = ("auto", "fused", "pixels", "geometry", "heuristic")

EXAMPLES = """\
examples:
  avsync score talk.mp4                       a row per second, and the verdict
  avsync score talk.mp4 --plot talk.png       and a picture of offset and score over time
  avsync score *.mp4 --json | jq -c '[.file, .outcome, .offset_ms, .confidence]'
                                              one JSON object per clip and line
  avsync score panel.mp4 --face 2             not the face that fits the sound best, but this one
  avsync score late.mp4 --search-ms 400       when the answer lies at the edge of the search

offsets are positive when the voice is ahead of the lips.

exit codes: 0 in sync (sure), 1 out of sync by more than --limit-ms (sure), 2 bad input (no sound, no face, too short,
not a clip), 3 not sure, 70 our own fault, 130 interrupted. With several clips 2 goes before 1, 1 before 3, 3 before 0.
"""


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="media files with a face and its voice")
    parser.add_argument(
        "--face", type=int, metavar="N", help="this face, as the table numbers them (the one that fits)"
    )
    parser.add_argument("--limit-ms", type=float, default=40.0, metavar="MS", help="in sync up to here, both ways (40)")
    parser.add_argument(
        "--search-ms", type=float, default=200.0, metavar="MS", help="offsets searched, both ways (200)"
    )
    parser.add_argument(
        "--step", type=_step, default=20.0, metavar="MS|frame", help="from one offset to the next: ms, or frame (20)"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="who answers (auto: the best there is)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="where networks run: cpu, cuda (cpu)")
    parser.add_argument("--blocks", action="store_true", help="also score each block of 0.4 s, and list them")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write a picture; with several clips a folder of them"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object per clip on stdout, the rest on stderr")


def run_score(args: argparse.Namespace) -> int:
    """What the command line asks for; its exit code. `InputError` where the wish itself is wrong."""
    out = _console(stderr=args.json)
    options = _options(args)
    pictures = _pictures(args.clips, args.plot)
    outcomes: list[Outcome] = []
    bad = 0
    with ThreadPoolExecutor(1) as loader:
        backend = loader.submit(load_for, options)
        for clip, picture in zip(args.clips, pictures, strict=True):
            try:
                report = _with_bar(clip, options, lambda: _on_one_thread(backend.result()), out)
            except InputError as error:
                if backend.done() and backend.exception() is error:
                    raise  # no clip can be scored without it
                bad += 1
                print(f"avsync: {error}", file=sys.stderr)
                if args.json:
                    print(json.dumps(error_dict(str(clip), error)))
                continue
            outcomes.append(report.outcome)
            _tell(out, report, picture, args, more=len(args.clips) > 1)
    return exit_code(outcomes, bad)


def _on_one_thread(backend: Backend) -> Backend:
    """Decoding and tracking keep the other cores busy."""
    keep_to_one_thread()
    return backend


def _tell(out: Console, report: ClipReport, picture: Path | None, args: argparse.Namespace, *, more: bool) -> None:
    if args.json:
        print(json.dumps(as_dict(report), allow_nan=False), flush=True)
    else:
        print_report(out, report, blocks=args.blocks)
    if picture is not None:
        from avsync.scorer.score.plot import plot

        say(out, f"picture: {plot(picture, report)}", "dim")
    if more and not args.json:
        say(out, "")


def _options(args: argparse.Namespace) -> Options:
    for name, value, (least, most) in (
        ("--search-ms", args.search_ms, SEARCH_MS),
        ("--limit-ms", args.limit_ms, (0.0, args.search_ms)),
        ("--face", args.face, (1, 1000)),
        ("--step", args.step, STEP_MS),
    ):
        if value is not None and value != "frame" and not least <= value <= most:
            raise InputError(f"{name} must lie between {least:g} and {most:g}, got {value:g}")
    return Options(
        backend=args.backend,
        device=args.device,
        face=args.face,
        search_ms=args.search_ms,
        step_ms=args.step,
        limit_ms=args.limit_ms,
        blocks=args.blocks,
    )


def _step(text: str) -> float | Literal["frame"]:
    if text == "frame":
        return "frame"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ms such as 20, or frame, got {text!r}") from None


def _pictures(clips: Sequence[Path], wanted: Path | None) -> list[Path | None]:
    """Where each clip's picture goes. One clip: the file named; several, or a folder: one each, named like the clip."""
    if wanted is None:
        return [None] * len(clips)
    if len(clips) == 1 and not wanted.is_dir():
        return [wanted]
    if wanted.exists() and not wanted.is_dir():
        raise InputError("several clips need a folder for their pictures", file=str(wanted), place="--plot")
    names = [clip.stem for clip in clips]
    return [
        wanted / f"{name}{f'-{number}' if names.count(name) > 1 else ''}.png" for number, name in enumerate(names, 1)
    ]


def _with_bar(clip: Path, options: Options, backend: Callable[[], Backend], out: Console) -> ClipReport:
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=out, transient=True, disable=not out.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(clip.name, total=None)

        def reached(at_ms: float, of_ms: float | None) -> None:
            bar.update(task, completed=at_ms, total=of_ms)

        return score_clip(clip, options, backend, reached)


def _console(*, stderr: bool) -> Console:
    """A pipe or a log has no width of its own: wide enough there for every table."""
    out = Console(stderr=stderr, highlight=False)
    if out.is_terminal or "COLUMNS" in os.environ:
        return out
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)
