"""Command: what ``avsync run`` does: read and check everything, then run and report (``sim.running``).

Nothing is written before everything was read. What runs, draws and judges is imported after that: a wrong file is
answered without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from avsync.errors import InputError
from sim.policy_option import check_policies
from sim.scenario.files import NAMED, check_name, resolve, shipped
from sim.scenario.scenario import Scenario, load_scenario, together
from sim.scenario.source import PayloadSpec


def run_command(args: argparse.Namespace) -> bool:
    """True if every limit was met and every baseline missed. Bad input raises before anything runs."""
    policies = [*args.compare, *([args.policy] if args.policy is not None else [])]
    for word in (*policies, *args.scenarios, str(args.out)):
        check_name(word)
    check_policies(policies)
    if args.all and args.scenarios:
        raise InputError("--all is every shipped scenario; names or --all, not both")
    words = args.scenarios or ([str(shipped())] if args.all else NAMED)
    scenarios = read_all(words, slow=args.slow)
    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {args.jobs}")
    _check_out(args.out)
    _check_payloads(scenarios.values(), scorer=args.scorer)

    from sim.console import console, say
    from sim.network_option import networks_for
    from sim.running import run_and_report

    out = console(stderr=args.json)
    given = networks_for(args.network, list(scenarios.values()))
    for leg, path, about in given:
        say(out, f"{path}@{leg}: {about}")
    if args.clip is not None:
        from sim.source.clip import load_clip

        say(out, load_clip(args.clip).about)
    return run_and_report(list(scenarios), [(leg, path) for leg, path, _ in given], args, out)


def read_all(words: Sequence[str], *, slow: bool) -> dict[Path, Scenario]:
    """Every scenario that these words mean, by its file. One ``InputError`` tells what is wrong with all of them.

    Scenarios of a folder leave the slow ones out; a name or a file is always meant.
    """
    found: dict[Path, Scenario] = {}
    seen: set[Path] = set()
    errors: list[InputError] = []
    for word in words:
        try:
            files = resolve([word])
        except InputError as error:
            errors.append(error)
            continue
        by_name = len(files) == 1 and (Path(word).is_file() or Path(word).name == word)
        for path in files:
            if (where := path.resolve()) in seen:
                continue
            seen.add(where)
            try:
                scenario = load_scenario(path)
            except InputError as error:
                errors.append(error)
                continue
            if by_name or slow or "slow" not in scenario.tags:
                found[path] = scenario
            else:
                seen.discard(where)  # it may still be named
    if errors:
        raise together(errors)
    if not found:
        raise InputError("only slow scenarios here", remedy="add --slow, or name one")
    return found


def _check_payloads(scenarios: Iterable[Scenario], *, scorer: bool) -> None:
    if payloads := [one.source.payload or PayloadSpec() for one in scenarios if one.source.payload or scorer]:
        from sim.payload.speech import check_installed  # the scorer and its nets: only where they are wanted

        for payload in payloads:
            check_installed(payload)


def _check_out(out: Path) -> None:
    try:
        if out.exists() and not out.is_dir():
            raise InputError("--out must be a folder", file=str(out))
    except OSError as error:  # a name too long, a folder we may not look into
        raise InputError(f"--out must be a folder: {error.strerror}", file=str(out)[:200]) from None
