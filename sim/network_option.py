"""Networks given on the command line: ``FILE@LEG``, read and held against the scenarios before anything runs.

A trace that could have no effect, or that contradicts a scenario, is refused here: a result that
was measured on another network than its command says is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from avsync.errors import InputError
from sim.network.traces.load import load_trace
from sim.network.traces.trace import NetworkTrace
from sim.scenario.scenario import Scenario
from sim.scenario.steps import Impair

LEGS = ("to_viewer", "to_bridge")


class Given(NamedTuple):
    """One ``--network``: which leg, which file, what it says of itself."""

    leg: str
    path: str
    about: str


def networks_for(words: Sequence[str], scenarios: Sequence[Scenario]) -> list[Given]:
    """What each ``--network`` means, having checked it, and the scenarios' own traces, against their steps.

    ``InputError`` where one means nothing, or not what it seems to.
    """
    wanted: dict[str, str] = {}
    for word in words:
        leg, path = _parse(word)
        if leg in wanted:
            raise InputError(f"--network: {leg} is given twice", remedy="one trace for each leg")
        wanted[leg] = path
    traces = {leg: load_trace(Path(path), leg=leg) for leg, path in wanted.items()}
    for leg, path in wanted.items():
        if not any(leg in legs_of(scenario) for scenario in scenarios):
            names = ", ".join(scenario.name for scenario in scenarios[:5])
            rule = f"--network: nothing crosses {leg} in {names}: no provider there"
            raise InputError(rule, file=path, remedy=f"write {path}@to_viewer, or name a scenario with a bridge")
    for scenario in scenarios:
        for leg in legs_of(scenario):
            own = getattr(scenario.network, leg).trace
            if leg in wanted:
                _check_steps(scenario, leg, traces[leg], wanted[leg])
            elif own is not None:
                path = str(scenario.file(own))
                _check_steps(scenario, leg, _own_trace(scenario, leg, path), path)
    return [Given(leg, path, traces[leg].about) for leg, path in wanted.items()]


def _own_trace(scenario: Scenario, leg: str, path: str) -> NetworkTrace:
    """The trace that a scenario names itself; what is wrong with it says whose it is."""
    try:
        return load_trace(path, leg=leg)
    except InputError as error:
        rule = f"{error.rule} (network.{leg}.trace of {scenario.name})"
        raise InputError(rule, file=error.file, place=error.place, remedy=error.remedy) from None


def legs_of(scenario: Scenario) -> tuple[str, ...]:
    """The legs that media crosses in this scenario."""
    return LEGS if scenario.topology == "provider_bridge" else LEGS[:1]


def _parse(word: str) -> tuple[str, str]:
    """(leg, path) of ``FILE@LEG``, or of ``FILE``, which means the way to the viewer."""
    path, at, leg = word.rpartition("@")
    if not at or leg not in LEGS:
        if at and not Path(word).exists():
            raise InputError(f"--network: no leg is named {leg!r}", remedy="write FILE@to_viewer or FILE@to_bridge")
        path, leg = word, LEGS[0]
    if not path:
        raise InputError(f"--network: no file in {word!r}", remedy="write FILE@to_viewer or FILE@to_bridge")
    return leg, path


def _check_steps(scenario: Scenario, leg: str, trace: NetworkTrace, path: str) -> None:
    """A step cannot set the rate of a leg whose rate the trace tells."""
    for number, step in enumerate(scenario.steps, 1):
        if trace.limits_rate and isinstance(step, Impair) and step.leg == leg and step.rate_kbps is not None:
            raise InputError(
                f"step {number} of {scenario.name} sets rate_kbps on {leg}, and this trace says what {leg} carries",
                file=path,
                remedy="take a trace of delays, another leg, or a scenario without that step",
            )
