"""`avsync glass`: scenarios in front of a real Chromium, judged where the viewer sees and hears them.

Without arguments a set of short scenarios is run and judged by what this repository promises at the glass. A named
scenario is run beside the lab's prediction for it; ``--impair`` puts a network on the wire without a scenario.
Exit codes: 0 met, 1 missed, 2 bad input, 3 this host was too busy to judge anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from avsync.errors import InputError
from avsync.glass.calibrate import Calibration, NotCalibrated, calibrate, load, store
from avsync.glass.chromium import open_chromium
from avsync.glass.host_health import HostTooBusy
from avsync.server.modes import MODES
from sim.glass.impair import parse_impair
from sim.glass.lab import compare, predict
from sim.glass.lab import table as lab_table
from sim.glass.real_scenario import check_real
from sim.glass.run import LATE_LIMIT_MS, GlassRun, run_real
from sim.glass.verdict import DEFAULT_SET, GlassVerdict, judge
from sim.scenario.files import resolve
from sim.scenario.scenario import Scenario, load_scenario, loads

if TYPE_CHECKING:
    from playwright.async_api import Browser

MET, MISSED, TOO_BUSY = 0, 1, 3
FILE_WIDTH = 150
TRIES = 2
"""A run on a host that was busy for a moment is done once more before it is given up."""

EXAMPLES = """\
examples:
  avsync glass                                 the default set, avsync mode (about 6 minutes)
  avsync glass --mode all                      beside the two naive senders
  avsync glass scenarios/video_stall.yaml      a scenario for real, next to the lab's prediction
  avsync glass --impair "delay=40ms jitter=30ms loss=2%"
                                               a network on the wire, nothing else
  avsync glass glass_clean --buffer-ms 60      the page asks both receivers for a buffer
  avsync glass --recalibrate                   measure this host's zero again (about 150 s)

exit codes: 0 met, 1 missed, 2 bad input or no browser, 3 the host was too busy to judge, 130 interrupted
"""

IMPAIRED = """\
avsync: 1
about: Nothing but a network on the wire.
tags: [reference]
duration_s: 30
network:
  to_viewer: {delay_ms: 0}
expect:
  - {metric: output_pts_violations, at_most: 0}
"""


@dataclass(frozen=True, slots=True)
class Judged:
    run: GlassRun
    verdict: GlassVerdict
    predicted: list[dict[str, float | None]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="shipped names or files (the default set)")
    parser.add_argument("--mode", choices=(*MODES, "all"), default="avsync", help="who sends (avsync)")
    parser.add_argument("--impair", metavar="WORDS", help='a network: "delay=40ms jitter=30ms loss=2%%"')
    parser.add_argument("--buffer-ms", type=float, metavar="MS", help="jitterBufferTarget of both receivers")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the network's and generator's chance (1)")
    parser.add_argument("--recalibrate", action="store_true", help="measure this host's zero again")
    parser.add_argument("--no-lab", action="store_true", help="do not run the lab's prediction beside it")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="where pictures go (./results)"
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON on stdout, the rest on stderr")


def run_command(args: argparse.Namespace) -> int:
    """What the command line asks for; its exit code."""
    console = Console(stderr=args.json)
    if not console.is_terminal:
        console = Console(stderr=args.json, width=FILE_WIDTH)
    scenarios = _scenarios(args)
    for scenario in scenarios:
        check_real(scenario)
    modes = MODES if args.mode == "all" else (args.mode,)
    try:
        judged, calibration = asyncio.run(_all(scenarios, modes, args, console))
    except (HostTooBusy, NotCalibrated) as error:
        console.print(f"avsync: {error}", style="red")
        return TOO_BUSY
    folder = args.out / f"glass-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _draw(judged, folder)
    _tell(judged, console, folder, lab=not args.no_lab)
    found = [as_dict(one) for one in judged]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"calibration": str(calibration), "runs": found}, indent=1)
    (folder / "glass.json").write_text(text + "\n", encoding="utf-8")
    if args.json:
        print(text)
    return exit_code(judged)


def exit_code(judged: Sequence[Judged]) -> int:
    """Only avsync's own runs decide: the naive senders are there to be looked at."""
    ours = [one for one in judged if one.run.mode == "avsync"] or list(judged)
    if any(not one.verdict.met and one.run.healthy for one in ours):
        return MISSED
    return TOO_BUSY if any(not one.run.healthy for one in ours) else MET


def _scenarios(args: argparse.Namespace) -> list[Scenario]:
    if args.impair is not None:
        if args.scenarios:
            raise InputError(
                "--impair is a network of its own", place="--impair", remedy="leave the scenario out, or --impair"
            )
        parse_impair(args.impair)
        return [loads(IMPAIRED, "impair.yaml")]
    names = args.scenarios or list(DEFAULT_SET)
    return [load_scenario(path) for path in resolve(names)]


async def _all(
    scenarios: Sequence[Scenario], modes: Sequence[str], args: argparse.Namespace, console: Console
) -> tuple[list[Judged], Calibration]:
    judged = []
    async with open_chromium() as browser:
        calibration = await _calibration(browser, args, console)
        console.print(str(calibration))
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            total = sum(scenario.duration_s + 2 for scenario in scenarios) * len(modes)
            task = progress.add_task("glass", total=total)
            for scenario in scenarios:
                predicted = [] if args.no_lab else await asyncio.to_thread(predict, scenario)
                for mode in modes:
                    progress.update(task, description=f"{scenario.name} {mode}")
                    run = await _run(scenario, mode, browser, calibration, args, lambda: progress.advance(task))
                    judged.append(Judged(run, judge(run), predicted))
    return judged, calibration


async def _run(
    scenario: Scenario, mode: str, browser: Browser, calibration: Calibration, args: argparse.Namespace, tick: Any
) -> GlassRun:
    for _ in range(TRIES):
        run = await run_real(
            scenario,
            mode=mode,
            seed=args.seed,
            chromium=browser,
            calibration=calibration,
            buffer_ms=args.buffer_ms,
            impair=None if args.impair is None else parse_impair(args.impair),
            on_second=tick,
        )
        if run.healthy:
            break
    return run


async def _calibration(browser: Browser, args: argparse.Namespace, console: Console) -> Calibration:
    known = None if args.recalibrate else load(f"Chromium {browser.version}")
    if known is not None:
        return known
    with console.status("measuring this host's zero with the reference sender: about 150 s, once per host"):
        calibration = await calibrate(chromium=browser)
    store(calibration)
    return calibration


# ---- telling


def as_dict(one: Judged) -> dict[str, Any]:
    run = one.run
    return {
        "scenario": run.scenario,
        "mode": run.mode,
        "verdict": one.verdict.words,
        "met": one.verdict.met,
        "misses": list(one.verdict.misses),
        "healthy": run.healthy,
        "sender_late_p95_ms": run.late_p95_ms,
        "glass": run.columns,
        "settle_ms": one.verdict.settle_ms,
        "lab": one.predicted,
        "reading": run.result.as_dict(),
        "wire": {"packets": run.wire_packets, "pts_violations": run.wire_violations},
        "interrupts": list(run.interrupts),
        "believed": run.believed,
        "stream": run.stats,
        "run": run.about,
    }


def _draw(judged: Sequence[Judged], folder: Path) -> None:
    from avsync.glass.plot import plot

    for one in judged:
        run = one.run
        plot(
            folder / f"{run.scenario}-{run.mode}.png",
            run.result.reading,
            title=f"{run.scenario}, {run.mode}",
            marker_free=run.result.free,
            claims=run.result.claims,
            actions=run.result.recording.actions,
        )


def _tell(judged: Sequence[Judged], console: Console, folder: Path, *, lab: bool) -> None:
    table = Table(title="Offset at the glass, ms; voice ahead is positive. p95 of |offset|, in brackets the lab's.")
    for name, justify in (
        ("scenario", "left"), ("mode", "left"), ("p50", "right"), ("p95", "right"), ("p95 clear", "right"),
        ("marker-free", "right"), ("getStats", "right"), ("believed p95", "right"), ("sender late", "right"),
        ("verdict", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for one in judged:
        run, columns = one.run, one.run.columns
        about = run.result.as_dict()
        believed = None if run.believed is None else run.believed["abs_p95_ms"]
        table.add_row(
            run.scenario,
            run.mode,
            words(columns.get("offset_p50_ms@clear"), signed=True),
            words(columns.get("offset_abs_p95_ms")),
            words(columns.get("offset_abs_p95_ms@clear")) + _lab_p95(one, lab),
            words(about["marker_free_p50_ms"], signed=True),
            words(about["claim_p50_ms"], signed=True),
            words(believed),
            words(run.late_p95_ms),
            one.verdict.words,
        )
    console.print(table)
    for one in judged:
        for miss in one.verdict.misses:
            console.print(f"{one.run.scenario} {one.run.mode}: {miss}")
    if lab and len({one.run.scenario for one in judged}) == 1:
        console.print(lab_table(compare(judged[0].predicted, judged[0].run.columns)))
    if any(not one.run.healthy for one in judged):
        console.print(f"a sender later than {LATE_LIMIT_MS:.0f} ms (p95) is not judged: try again on an idle machine")
    console.print(f"pictures: {folder}/")


def _lab_p95(one: Judged, lab: bool) -> str:
    if not lab or one.run.mode != "avsync":
        return ""
    found = next(iter(compare(one.predicted, one.run.columns, ["offset_abs_p95_ms@clear"])), None)
    return f" ({words(found.lab if found is not None else None)})"


def words(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "UNKNOWN"
    return f"{value:+.0f}" if signed else f"{value:.0f}"
