"""`avsync attack`: looks for calls that nobody scripted and that go wrong, and writes each kind down as a scenario.

Exit codes: 0 nothing found; 1 an invariant broken, or with ``--regret`` a regret; 2 bad input. Finds that are on the
list (``sim/attack/known.toml``) count as well, unless ``--new`` asks for others only.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from avsync.errors import InputError
from sim.attack.features import COUNTED, LEAST_SHARE, Counts, in_words
from sim.attack.known import Known, entry_for, known_finds
from sim.attack.search import Attack, Find, Judge, attack
from sim.console import console, say
from sim.policy_option import is_file, policy_named
from sim.scenario.files import check_name
from sim.scenario.scenario import build
from sim.scenario.sentences import what_happens
from sim.scenario.words import shell_line

NOTHING, FOUND = 0, 1
BUDGET_S = 60.0
BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

EXAMPLES = """\
examples:
  avsync attack                                  a minute: both topologies, both viewers, the default policy
  avsync attack --examples 500 --seed 7          the same five hundred scenarios each time, and the same finds
  avsync attack --budget 1h --regret             also: where would a baseline have been clearly better?
  avsync attack --topology provider_bridge --viewer avsync --policy mine.toml
  avsync attack --examples 200 --new             exit 1 only for what is not on the list of known finds

a find is written as a scenario with the fewest steps and keys, a picture and the panel's row: docs/attack.md

exit codes: 0 nothing found, 1 a find, 2 bad input, 70 our own fault, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--policy", default="default", metavar="NAME|FILE", help="a preset or a TOML file (default)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--budget", type=_budget, metavar="TIME", help="how long: 60s, 10m, 1h (60s)")
    length.add_argument("--examples", type=_some, metavar="N", help="how many scenarios, however long it takes")
    parser.add_argument("--seed", type=_whole, default=1, metavar="N", help="which scenarios (1)")
    parser.add_argument("--topology", choices=("local_encode", "provider_bridge"), help="one of them (both)")
    parser.add_argument("--viewer", choices=("browser", "avsync"), help="one of them (both)")
    parser.add_argument("--regret", action="store_true", help="also where a baseline would have been clearly better")
    parser.add_argument("--new", action="store_true", help="known finds are counted, not looked at, and do not fail")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where finds go (./results)")
    parser.add_argument("--no-plots", action="store_true", help="no pictures beside the scenarios")


def run_command(args: argparse.Namespace) -> int:
    """What the command line asks for; its exit code. ``InputError`` before anything runs."""
    for word in (args.policy, str(args.out)):
        check_name(word)
    policy = policy_named(args.policy)
    if args.out.exists() and not args.out.is_dir():
        raise InputError("--out must be a folder", file=str(args.out))
    from sim.attack.strategies import drawn  # Hypothesis: only once all else is right

    out, listed = console(), known_finds()
    scenarios = (_under(data, args.policy) for data in drawn(args.seed, args.topology, args.viewer))
    clock = time.monotonic()
    budget_s = None if args.examples is not None else args.budget or BUDGET_S
    until: Callable[[], bool] = (lambda: time.monotonic() - clock > budget_s) if budget_s is not None else lambda: False
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("attack", total=args.examples or budget_s, words="")

        def tell(number: int, found: Attack, words: str) -> None:
            done = number if args.examples else time.monotonic() - clock
            bar.update(task, completed=done, words=f"example {number}, {len(found.finds)} finds, {words}")

        def is_known(kind: str, features: frozenset[str]) -> bool:
            return args.new and entry_for(kind, features, listed) is not None

        judge = Judge(policy, regret=args.regret)
        found = attack(scenarios, judge, examples=args.examples, until=until, is_known=is_known, tell=tell)
    _tell(found, listed, args, out)
    if found.finds:
        _write(found.finds, policy, args, out)
    return FOUND if any(not is_known(find.kind, find.needs) for find in found.finds) else NOTHING


def _under(data: dict[str, Any], policy: str) -> dict[str, Any]:
    """The scenario says which policy it was found with, so that the file alone shows it again."""
    if policy == "default":
        return data
    return {**data, "policy": tomllib.loads(Path(policy).read_text("utf-8")) if is_file(policy) else policy}


# ---- what is said


def _tell(found: Attack, listed: list[Known], args: argparse.Namespace, out: Console) -> None:
    counts = found.counts
    why = " (the budget is spent)" if found.stopped else ""
    say(out, f"{counts.scenarios} scenarios{why}, seed {args.seed}: {len(found.finds)} kinds of find")
    if counts.scenarios:
        _tell_counts(counts, out)
    if found.known:
        known_times = ", ".join(f"{kind} {times}" for kind, times in sorted(found.known.items()))
        say(out, f"known, and passed over: {known_times}")
    if not found.finds:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("find", "needs", "times", "steps", "known", "seen"):
        table.add_column(column, justify="right" if column in ("times", "steps") else "left", overflow="fold")
    for find in found.finds:
        known = "yes" if entry_for(find.kind, find.needs, listed) is not None else "NEW"
        cells = (find.kind, in_words(find.needs), str(find.count), str(find.steps), known, find.breach.words)
        table.add_row(*map(Text, cells))
    out.print(table)
    for find in found.finds:
        if (entry := entry_for(find.kind, find.needs, listed)) is not None:
            say(out, f"known: {find.name}: {entry.says}")
    for find in found.finds:
        if entry_for(find.kind, find.needs, listed) is None:
            say(out, f"\nNEW: {find.name}\n  {find.breach.words}")
            for sentence in what_happens(build(find.data, name="find")):
                say(out, f"  - {sentence}")


def _tell_counts(counts: Counts, out: Console) -> None:
    """How often what was drawn; the rarest of all pairs."""
    shares = ", ".join(f"{name} {100 * counts.single[name] / counts.scenarios:.0f}" for name in COUNTED)
    say(out, f"drawn, in % of the scenarios: {shares}")
    name, share = counts.rarest()
    few = "" if share >= LEAST_SHARE else f"; below {LEAST_SHARE:.0%}: {len(counts.rare())} (a longer run draws them)"
    say(out, f"rarest of them and of their pairs: {name} {share:.1%}{few}")


# ---- what is written


def _write(finds: list[Find], policy: Any, args: argparse.Namespace, out: Console) -> None:
    """All finds aside, and then renamed: a folder of finds is always whole."""
    from sim.attack.finds import write_find

    args.out.mkdir(parents=True, exist_ok=True)
    command = _command(args)
    aside = Path(tempfile.mkdtemp(prefix=".avsync-", dir=args.out))
    try:
        for find in finds:
            write_find(find, aside, policy, command, plots=not args.no_plots)
        folder = _free(args.out / f"attack-{args.seed}")
        aside.chmod(0o755)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    say(out, f"finds: {folder}/   (scenario, picture and the panel's row of each)")


def _command(args: argparse.Namespace) -> str:
    """What finds these again: with the time left out, in which another machine comes less far."""
    words = ["avsync", "attack", "--seed", str(args.seed)]
    for name in ("topology", "viewer"):
        if getattr(args, name):
            words += [f"--{name}", getattr(args, name)]
    if args.policy != "default":
        words += ["--policy", args.policy]
    return shell_line([*words, *(["--regret"] if args.regret else [])])


def _free(folder: Path) -> Path:
    """This name, or the first free one with a number behind it: nothing is ever overwritten."""
    names = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 10_000)))
    return next(name for name in names if not name.exists())


# ---- arguments


def _budget(text: str) -> float:
    found = BUDGET.fullmatch(text)
    if found is None or not (value := float(found[1]) * SECONDS[found[2]]):
        raise argparse.ArgumentTypeError(f"expected a time such as 60s, 10m or 1h, got {text!r}")
    return value


def _some(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:20]) > 1 << 40:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 on, got {text!r}")
    return int(text)
