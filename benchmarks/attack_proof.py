"""The attack proves itself: five planted faults, each found and made small within five minutes of a seed's scenarios.

``python benchmarks/attack_proof.py [--plant NAME …] [--seeds 1,2,3,4,5] [--minutes 5]``: by hand, on the last commit
that touched the engine; an hour on one core. A fault is planted by replacing one method of the engine. It is found
where a scenario breaks an invariant, or is to be regretted, with the fault and not without it: what is wrong with the
engine anyway does not count. The shipped ``clean`` must pass with each: a fault that ``clean`` sees needs no attack.

Exit 0: each was found with at most three steps for all seeds but one; 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avsync.engine.delay_target import DelayTarget
from avsync.engine.pictures import STAMP_STEP_NS, Pictures
from avsync.engine.playout import ClockState, PlayoutClock
from avsync.policy import AvSyncPolicy
from avsync.timeline.rtp_wrap import Unwrapper
from avsync.timeline.sender_report_mapping import RtpNtpMap
from avsync.types import Reason, Repeat
from sim.attack.features import features, in_words
from sim.attack.invariants import Breach, breaches
from sim.attack.regret import member_of, regrets
from sim.attack.search import Find, Judge, smallest
from sim.attack.strategies import drawn
from sim.attack.trial import run_trial
from sim.judge.judge import check, limits_of
from sim.judge.row import measure
from sim.run.world import simulate
from sim.scenario.scenario import load_scenario

MOST_STEPS = 3
Plant = dict[tuple[type, str], Callable[..., Any]]
"""By class and name of a method: what stands in its place."""


def old_mouth() -> Plant:
    """An interrupt that falls into a video stall shows the old turn's mouth again, instead of none."""
    before, neutral_before = Pictures.interrupt, Pictures.neutral
    mouths: dict[int, Any] = {}

    def interrupt(self: Any, epoch: int) -> Any:
        mouths[id(self)] = self._shown if self._level == 1 else None
        return before(self, epoch)

    def neutral(self: Any, epoch: int, now_ns: int) -> None:
        if (mouth := mouths[id(self)]) is None:
            neutral_before(self, epoch, now_ns)
            return
        self._last_stamp_ns += STAMP_STEP_NS
        self._pending.append(Repeat(mouth, now_ns + 1, self._last_stamp_ns, epoch, Reason.MISSING))

    return {(Pictures, "interrupt"): interrupt, (Pictures, "neutral"): neutral}


def clock_runs_on() -> Plant:
    """The content clock runs through inserted silence."""

    def stand(self: Any, at_ns: int) -> None:
        if self.state is ClockState.RUNNING:
            self.state = ClockState.PASSING

    return {(PlayoutClock, "stand"): stand}


def wrapped() -> Plant:
    """One reordered packet is read as a counter that wrapped."""
    before = Unwrapper.unwrap

    def unwrap(self: Any, value: int) -> int:
        last = self._last
        result = before(self, value)
        if last is not None and self._mask == 0xFFFF_FFFF and result < last:
            self._last, result = last, result + self._mask + 1
        return result

    return {(Unwrapper, "unwrap"): unwrap}


def never_shrinks() -> Plant:
    """The delay does not come down again after a hold."""

    def shrink(self: Any, at_ns: int) -> None:
        self._shrunk_at_ns = at_ns

    return {(DelayTarget, "_shrink"): shrink}


def never_rebuilt() -> Plant:
    """Sender reports that no longer fit, because the sender's clock stepped, are rejected for ever."""
    return {(RtpNtpMap, "_suspect"): lambda self, pair, now_ns: None}


PLANTS: dict[str, Callable[[], Plant]] = {
    plant.__name__: plant for plant in (old_mouth, clock_runs_on, wrapped, never_shrinks, never_rebuilt)
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The engine with one fault."""
    faults = PLANTS[name]()
    healthy = {(owner, method): getattr(owner, method) for owner, method in faults}
    try:
        for (owner, method), fault in faults.items():
            setattr(owner, method, fault)
        yield
    finally:
        for (owner, method), sound in healthy.items():
            setattr(owner, method, sound)


class PlantedJudge(Judge):
    """What a scenario breaks with the fault, and does not break without it."""

    def __init__(self, plant: str, only: Breach | None = None) -> None:
        super().__init__(AvSyncPolicy(), regret=only is None or only.kind.startswith("regret"))
        self.plant, self.kind = plant, only.kind if only is not None else ""
        self._member = member_of(only) if only is not None else None

    def __call__(self, data: Mapping[str, Any]) -> list[Breach]:
        with planted(self.plant):
            ill = run_trial(data, self.policy, long_too=False)
        well = run_trial(data, self.policy, long_too=False)
        if ill.crash is None and ill.row == well.row:
            return []  # the fault did not show itself in anything that is measured
        with planted(self.plant):
            found = self._all(data)
        if not found:
            return []
        healthy = {breach.kind for breach in self._all(data)}
        return [breach for breach in found if breach.kind not in healthy]

    def only(self, breach: Breach) -> Judge:
        return PlantedJudge(self.plant, breach)

    def _all(self, data: Mapping[str, Any]) -> list[Breach]:
        self.runs += 1
        trial = run_trial(data, self.policy, long_too=not self.kind or self.kind.startswith(("latency", "silence")))
        found = breaches(trial)
        if trial.crash is None and self.regret:
            found += regrets(data, trial, self.policy, self._member)
        return [breach for breach in found if not self.kind or breach.kind == self.kind]


def clean_passes(plant: str) -> bool:
    scenario = load_scenario(Path(__file__).resolve().parents[1] / "scenarios" / "clean.yaml")
    with planted(plant):
        for viewer in scenario.viewers:
            run = simulate(scenario, policy=scenario.engine_policy, viewer=viewer, seed=scenario.seeds[0])
            if not all(one.passed for one in check(measure(run), limits_of(scenario, viewer))):
                return False
    return True


def hunt(plant: str, seed: int, minutes: float) -> tuple[Find | None, int, float]:
    """The first find of this fault with few enough steps, how many scenarios that took, and how many minutes."""
    began, judge = time.monotonic(), PlantedJudge(plant)
    number, best = 0, None
    for number, data in enumerate(drawn(seed), 1):
        if time.monotonic() - began > minutes * 60:
            break
        for breach in judge(data):
            find = smallest(data, breach, judge, number, lambda: time.monotonic() - began > minutes * 60)
            if best is None or find.steps < best.steps:
                best = find
            if best.steps <= MOST_STEPS:
                return best, number, (time.monotonic() - began) / 60
    return best, number, minutes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plant", nargs="+", choices=tuple(PLANTS), default=list(PLANTS))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    print(f"{'fault':16} {'clean':6} {'seed':>4} {'min':>5} {'tried':>5} {'steps':>5}  found as")
    good = True
    for plant in args.plant:
        clean = clean_passes(plant)
        hits = 0
        for seed in seeds:
            find, tried, minutes = hunt(plant, seed, args.minutes)
            hit = find is not None and find.steps <= MOST_STEPS
            hits += hit
            words = f"{find.kind}: {in_words(features(find.data))}" if find is not None else "NOT FOUND"
            steps = find.steps if find is not None else "-"
            verdict = "passes" if clean else "FAILS"
            print(f"{plant:16} {verdict:6} {seed:4} {minutes:5.1f} {tried:5} {steps!s:>5}  {words}", flush=True)
        good &= clean and hits >= max(1, len(seeds) - 1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
