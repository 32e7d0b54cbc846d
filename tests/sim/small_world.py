"""Small worlds: short scenarios for stories about the lab, and what they left behind, in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.policy import AvSyncPolicy
from sim.run.world import Run, simulate
from sim.scenario.scenario import Scenario, build, load_scenario
from sim.truth.truth import OffsetState, PresentationLog, offsets

F64 = npt.NDArray[np.float64]


def small(duration_s: float = 8.0, *, name: str = "", **data: Any) -> Scenario:
    """A scenario that nobody judges; keys of the scenario language."""
    head: dict[str, Any] = {"avsync": 1, "about": "A small world.", "tags": ["reference"], "duration_s": duration_s}
    return build({**head, **data}, name=name)


def varied(file: str, **changes: Any) -> Scenario:
    """A scenario of the repository, with some of its keys replaced; its name, limits and guards stay."""
    whole = load_scenario(f"scenarios/{file}.yaml")
    return build({**whole.to_dict(), **changes}, name=whole.name)


def run(
    scenario: Scenario, *, policy: str | AvSyncPolicy = "default", viewer: str = "avsync", seed: int = 1, **tools: Any
) -> Run:
    chosen = AvSyncPolicy.preset(policy) if isinstance(policy, str) else policy
    return simulate(scenario, policy=chosen, viewer=viewer, seed=seed, **tools)


def glass_of(one: Run, point: str) -> PresentationLog:
    return one.at_output.presented if point == "output" else one.at_viewer.presented


def truth_ms(one: Run, point: str, *, after_s: float = 0.0, until_s: float = 1e6) -> F64:
    """e(t) of the measured samples, in ms."""
    samples = offsets(one.source, glass_of(one, point))
    inside = (samples.at_ns >= after_s * 1e9) & (samples.at_ns < until_s * 1e9)
    wanted = (samples.state == OffsetState.MEASURED) & inside
    e_ms: F64 = samples.e_ns[wanted] / 1e6
    return e_ms


def belief_ms(one: Run, point: str, *, after_s: float = 0.0, until_s: float = 1e6) -> F64:
    """What the monitor said was true meanwhile, in ms."""
    beliefs = one.at_output.beliefs if point == "output" else one.at_viewer.beliefs
    return np.array([e for at, e in beliefs if e is not None and after_s * 1e9 <= at < until_s * 1e9]) / 1e6


def heard(one: Run, point: str) -> list[tuple[float, float, float, float]]:
    """(when, until, from content, to content) of each piece of content that left, in ms."""
    left = glass_of(one, point).table(one.source.table())
    return [
        (float(a), float(b), float(c), float(d))
        for a, b, c, d in np.stack([left.at_ns, left.end_ns, left.from_ns, left.to_ns], axis=1) / 1e6
    ]


def shown(one: Run, point: str) -> list[tuple[float, int]]:
    """(when in ms, picture) of each change on screen."""
    left = glass_of(one, point).table(one.source.table())
    return list(zip((left.shown_ns / 1e6).tolist(), left.shown_ref.tolist(), strict=True))
