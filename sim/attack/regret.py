"""Regret: on the same weather, would a baseline, or we ourselves with another setting, have been clearly better?

Issue 11 has the rule, and each limit here is from there. It is asked at our output, and at the viewer where our
engine is the viewer too. Delay is leaving minus arrival of each sound. Random scenarios state no limits, so these are
all there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from avsync.policy import AvSyncPolicy
from avsync.units import ms, to_ms
from sim.attack.invariants import Breach
from sim.attack.trial import PointTrial, Trial, run_trial

GOOD_MS = 25.0
"""What we promise at our own output; better by less than this is not clearly better."""
ALLOWED_DELAY_MS = 400.0
"""A member that bought its offset with more delay than this is no example (the guard on added latency)."""
HEARD_PCT, MEASURED_PCT = 2.0, 5.0
"""Clearly worse in what was heard, and in how long lips were shown."""
IN_SYNC_MS = 60.0
"""The card's limit: a member within it is in sync, however good we are."""
DELAY_MS = 150.0
"""So much less delay at the same offset is clearly better."""


class Figures(NamedTuple):
    """One member at one point. None is UNKNOWN."""

    p95_ms: float | None
    heard_pct: float | None
    measured_pct: float | None
    delay_ms: float | None


class Member(NamedTuple):
    """Who runs on the same weather: a policy, and the scenario as the engine meets it."""

    name: str
    policy: AvSyncPolicy
    change: Callable[[Mapping[str, Any]], dict[str, Any]]


Panel = dict[str, dict[str, Figures]]
"""By member, then by point."""


def members(policy: AvSyncPolicy) -> tuple[Member, ...]:
    """The panel that the issue names; ``policy`` is the one under attack, which "the default" stands for."""
    presets = ("pass_through", "fps_paced", "arrival_delay")
    shipped = [Member(name, AvSyncPolicy.preset(name), dict) for name in presets]
    delays = [
        Member(f"playout_delay_ms {delay}", _delayed(policy, delay), dict) for delay in (100, 250, 400)
    ]  # fmt: skip
    return (*shipped, Member("no levers", policy, without_levers), *delays)


def without_levers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same source, which cannot be asked for anything but key frames."""
    source = dict(data.get("source", {}))
    if "video" in source:
        source["video"] = {key: value for key, value in source["video"].items() if key not in ("can_skip", "can_fps")}
    return {**data, "source": source} if source else dict(data)


def _delayed(policy: AvSyncPolicy, delay_ms: int) -> AvSyncPolicy:
    delay_ns = ms(delay_ms)
    return replace(policy, playout_delay_ns=delay_ns, playout_delay_max_ns=max(policy.playout_delay_max_ns, delay_ns))


def figures(trial: Trial) -> dict[str, Figures]:
    """Of each point at which an engine of ours works; nothing of a trial that crashed."""
    return {one.name: _figures(trial, one) for one in trial.points if one.ledger is not None}


def _figures(trial: Trial, one: PointTrial) -> Figures:
    assert trial.run is not None
    prefix = "output_" if one.name == "output" else ""
    delays = one.delays_ns(trial.run)
    delay_ms = to_ms(int(np.quantile(delays, 0.95))) if len(delays) >= 20 else None
    row = trial.row
    return Figures(
        row[prefix + "offset_abs_p95_ms"], row[prefix + "content_heard_pct"], row[prefix + "measured_pct"], delay_ms
    )


def regrets(data: Mapping[str, Any], trial: Trial, policy: AvSyncPolicy, only: str | None = None) -> list[Breach]:
    """What this trial is to be regretted for. The panel, or ``only`` one member of it, runs where one could be
    better."""
    ours = figures(trial)
    if not any(could_be_better(figure) for figure in ours.values()):
        return []
    found: dict[str, Breach] = {}
    for name, theirs in panel(data, policy, only).items():
        for point, figure in ours.items():
            if point in theirs:
                for breach in compare(figure, theirs[point], name, point):
                    found.setdefault(breach.kind, breach)
    return list(found.values())


def panel(data: Mapping[str, Any], policy: AvSyncPolicy, only: str | None = None) -> Panel:
    """Every member, or ``only`` this one, on the same weather and seed."""
    return {
        member.name: figures(run_trial(member.change(data), member.policy, long_too=False))
        for member in members(policy)
        if only is None or member.name == only
    }


def member_of(breach: Breach) -> str | None:
    """Which member was better; None where the breach is no regret."""
    return breach.words.partition(":")[0] if breach.kind.startswith("regret") else None


def could_be_better(ours: Figures) -> bool:
    """Whether the rule can hold against these figures for any member: where it cannot, seven runs are saved."""
    return (
        (ours.p95_ms or 0.0) > GOOD_MS
        or (ours.heard_pct if ours.heard_pct is not None else 100.0) < 100 - HEARD_PCT
        or (ours.measured_pct if ours.measured_pct is not None else 100.0) < 100 - MEASURED_PCT
        or (ours.delay_ms or 0.0) > DELAY_MS
    )


def compare(ours: Figures, theirs: Figures, name: str, point: str) -> Iterator[Breach]:
    """The rule: in which way this member is clearly better."""
    worse_heard = _less(theirs.heard_pct, ours.heard_pct, HEARD_PCT)
    worse_measured = _less(theirs.measured_pct, ours.measured_pct, MEASURED_PCT)
    delay_ms = theirs.delay_ms if theirs.delay_ms is not None else 0.0
    if ours.p95_ms is not None and theirs.p95_ms is not None and ours.p95_ms > GOOD_MS:
        if delay_ms <= ALLOWED_DELAY_MS and not worse_heard and not worse_measured:
            if ours.p95_ms - theirs.p95_ms > GOOD_MS:
                yield _breach("offset", point, name, f"p95 {theirs.p95_ms:.0f} ms, ours {ours.p95_ms:.0f}")
    if theirs.p95_ms is not None:
        near = theirs.p95_ms <= IN_SYNC_MS or (ours.p95_ms is not None and theirs.p95_ms - ours.p95_ms <= GOOD_MS)
        if near and _less(ours.heard_pct, theirs.heard_pct, HEARD_PCT):
            yield _breach("heard", point, name, f"{theirs.heard_pct:.0f} % heard, ours {ours.heard_pct:.0f}")
        if near and _less(ours.measured_pct, theirs.measured_pct, MEASURED_PCT):
            yield _breach(
                "measured", point, name, f"lips for {theirs.measured_pct:.0f} %, ours {ours.measured_pct:.0f}"
            )
    met = all(figure is not None and figure <= GOOD_MS for figure in (ours.p95_ms, theirs.p95_ms))
    if (
        met
        and ours.delay_ms is not None
        and theirs.delay_ms is not None
        and ours.delay_ms - theirs.delay_ms >= DELAY_MS
    ):
        yield _breach("delay", point, name, f"delay p95 {theirs.delay_ms:.0f} ms, ours {ours.delay_ms:.0f}")


def _less(one: float | None, other: float | None, by: float) -> bool:
    """Whether ``one`` is smaller than ``other`` by more than ``by``; UNKNOWN is not smaller than anything."""
    return one is not None and other is not None and other - one > by


def _breach(what: str, point: str, name: str, words: str) -> Breach:
    return Breach(f"regret_{what} at {point}", f"{name}: {words}")
