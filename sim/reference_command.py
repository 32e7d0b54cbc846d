"""Commands that run nothing: ``avsync list``, ``explain``, ``new`` and ``show``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avsync.errors import InputError
from sim.console import console, say
from sim.scenario import reference
from sim.scenario.files import resolve, shipped
from sim.scenario.reference import SORTS, Entry
from sim.scenario.words import shell_line, visible

MOST_PLACES = 8
"""Places of one word that ``explain`` shows in full."""


def list_command(args: argparse.Namespace) -> None:
    """What there is, with a sentence each."""
    if args.what == "schema":
        sys.stdout.write(reference.schema_text())
        return
    out = console()
    if args.what == "scenarios":
        _list_scenarios(out)
        return
    entries = reference.entries(SORTS[args.what])
    found = [one for entry in entries for one in _leaves(entry)] if args.what == "keys" else list(entries)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column(args.what, no_wrap=True)
    with_units = any(entry.unit for entry in found)
    with_values = args.what in ("keys", "metrics", "policy-fields")
    if with_units:
        table.add_column("unit", no_wrap=True)
    table.add_column("meaning")
    if with_values:
        table.add_column("limited over" if args.what == "metrics" else "values (default)")
    for entry in found:
        units = [entry.unit] if with_units else []
        values = [f"{entry.values} ({entry.default})" if entry.default else entry.values] if with_values else []
        table.add_row(*map(Text, (entry.name, *units, entry.about, *values)))
    out.print(table)
    if args.what != "words":
        say(out, f"avsync explain {found[0].name}   says more, with an example")


def _leaves(entry: Entry) -> list[Entry]:
    return [leaf for part in entry.parts for leaf in _leaves(part)] if entry.parts else [entry]


def _list_scenarios(out: Console) -> None:
    from sim.scenario.scenario import load_scenario

    for path in resolve([str(shipped())]):
        scenario = load_scenario(path)
        tags = f" [{', '.join(scenario.tags)}]" if scenario.tags else ""
        out.print(Text.assemble((scenario.name, "bold"), f"{tags}\n    {scenario.about}"), soft_wrap=True)


def explain_command(args: argparse.Namespace) -> None:
    """Unit, values, default, meaning and an example of a word."""
    found = reference.find(args.word)
    if not found:
        near = reference.nearest_words(args.word)
        remedy = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else "see avsync list keys, metrics, steps, ..."
        )
        raise InputError(f"no metric, step, network, policy or key is called {args.word[:80]!r}", remedy=remedy)
    out = console()
    same = {entry._replace(name="", example="") for entry in found}
    for index, entry in enumerate(found[:MOST_PLACES]):
        if len(same) == 1 and index:
            break
        _explain(out, entry)
    if len(same) == 1 and len(found) > 1:
        say(out, f"the same in {', '.join(entry.name for entry in found[1:])}")


def _explain(out: Console, entry: Entry) -> None:
    out.print(Text.assemble((entry.name, "bold"), f"  ({entry.sort})"), soft_wrap=True)
    say(out, f"  {entry.about}")
    if entry.unit:
        say(out, f"  unit:     {entry.unit}")
    if entry.values:
        say(out, f"  {'limit:  ' if entry.sort == 'metric' else 'values: '}  {entry.values}")
    if entry.default:
        say(out, f"  default:  {entry.default}")
    for part in entry.parts:
        unit = f" [{part.unit}]" if part.unit else ""
        default = f" (default {part.default})" if part.default else ""
        say(out, f"    {part.word}{unit}: {part.about}{default}")
    for index, line in enumerate(entry.example.splitlines()):
        say(out, f"  {'example:' if index == 0 else '        '}  {line}")


def new_command(args: argparse.Namespace) -> None:
    """Write a commented scenario; nothing is ever overwritten."""
    from sim.scenario.template import scenario_text

    path = Path(args.name if args.name.endswith((".yaml", ".yml")) else f"{args.name}.yaml")
    try:
        if not args.name.isprintable() or not Path(args.name).name.strip(" ."):
            raise ValueError
        path.name.encode("utf-8")
        with path.open("x", encoding="utf-8") as file:
            file.write(scenario_text(visible(str(path))))
    except FileExistsError:
        raise InputError("this file exists", file=str(path), remedy="name another one; nothing was written") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file name"
        raise InputError(f"cannot write the scenario: {why}", file=ascii(str(path)[:200])[1:-1]) from None
    out = console()
    say(out, f"wrote {path}; now:")
    word = path if path.parts[0][0] != "-" else Path(f"./{path}")
    say(out, f"  {shell_line(['avsync', 'show', str(word)])}\n  {shell_line(['avsync', 'run', str(word)])}")


def show_command(args: argparse.Namespace) -> None:
    """The timeline of a scenario as text, and as a picture where one is wanted."""
    from sim.report.timeline import LEGEND, timeline_lines
    from sim.scenario.scenario import load_scenario
    from sim.scenario.sentences import what_happens

    files = resolve([args.file])
    if len(files) > 1:
        raise InputError("show draws one scenario, and this is a folder", file=args.file, remedy="name one file")
    scenario = load_scenario(files[0])
    if args.plot is not None and not args.plot.parent.is_dir():
        raise InputError("there is no such folder", file=str(args.plot.parent), remedy="make it, or name another file")
    if args.plot is not None:
        from sim.report.timeline_plot import check_picture_name

        check_picture_name(args.plot)
    out = console()
    out.print(Text.assemble((visible(scenario.name), "bold"), f"  {scenario.about}"), soft_wrap=True)
    viewers, seeds = " and ".join(scenario.viewers), ", ".join(map(str, scenario.seeds[:10]))
    say(out, f"policy {scenario.engine_policy.name}; viewer {viewers}; seeds {seeds}\n")
    for line in timeline_lines(scenario, min(out.width, 140)):
        say(out, line)
    say(out, f"{LEGEND}\n")
    for sentence in what_happens(scenario):
        say(out, f"- {sentence}")
    for limit in scenario.expect:
        where = f" over {limit.window}" if limit.window != "all" else ""
        say(out, f"wanted: {limit.metric}{where} {'<=' if limit.at_most is not None else '>='} {limit.limit:g}")
    if args.plot is not None:
        from sim.report.timeline_plot import draw_timeline

        try:
            draw_timeline(scenario, args.plot)
        except OSError as error:
            raise InputError(f"cannot write the picture: {error.strerror}", file=str(args.plot)) from None
        say(out, f"picture: {args.plot}")
