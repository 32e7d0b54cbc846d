"""Search: draws scenarios, tries each, makes what breaks small, and tells finds apart.

A find's kind is the invariant that broke (or the regret), where, and the features that the smallest scenario still
needs. Whatever breaks the same invariant later with all of these features in it is counted as the same find and not
looked at again, so that a long run goes on looking for others. With a number of examples the result depends on seed,
versions and arguments alone; with a budget of time it ends where the time does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from avsync.policy import AvSyncPolicy
from sim.attack.features import Counts, features, in_words
from sim.attack.invariants import Breach, breaches
from sim.attack.reduce import reduced
from sim.attack.regret import member_of, regrets
from sim.attack.trial import run_trial

Data = dict[str, Any]


@dataclass
class Find:
    """One kind of fault. ``data``: the smallest scenario found that shows it."""

    breach: Breach
    needs: frozenset[str]
    data: Data
    example: int
    tries: int
    count: int = 1

    @property
    def kind(self) -> str:
        return self.breach.kind

    @property
    def name(self) -> str:
        """``stall_untold at output: sleep``."""
        return f"{self.kind}: {in_words(self.needs)}"

    @property
    def steps(self) -> int:
        return len(self.data.get("steps", ()))

    def covers(self, kind: str, drawn: frozenset[str]) -> bool:
        """Whether a scenario that breaks ``kind`` with these features is taken for this find again."""
        return kind == self.kind and self.needs <= drawn


@dataclass
class Attack:
    """What came of it. ``stopped``: the time was over before the examples were."""

    finds: list[Find] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    stopped: bool = False
    known: Counter[str] = field(default_factory=Counter)
    """By kind: breaches that somebody else had on a list, and that were not looked at."""


class Judge:
    """Which invariants a scenario breaks, and with ``regret`` also what is to be regretted, under one policy."""

    def __init__(self, policy: AvSyncPolicy, *, regret: bool = False) -> None:
        self.policy, self.regret = policy, regret
        self.runs = 0

    def __call__(self, data: Mapping[str, Any]) -> list[Breach]:
        self.runs += 1
        trial = run_trial(data, self.policy)
        found = breaches(trial)
        if self.regret and trial.crash is None:
            found += regrets(data, trial, self.policy)
        return found

    def only(self, breach: Breach) -> Judge:
        """The same for one breach: a member of the panel, and two minutes, only where it is about them."""
        return _Only(self.policy, breach)


class _Only(Judge):
    def __init__(self, policy: AvSyncPolicy, breach: Breach) -> None:
        self._member = member_of(breach)
        super().__init__(policy, regret=self._member is not None)
        self._long = breach.kind.startswith(("latency", "silence", "exception"))

    def __call__(self, data: Mapping[str, Any]) -> list[Breach]:
        trial = run_trial(data, self.policy, long_too=self._long)
        if self.regret:
            return regrets(data, trial, self.policy, self._member) if trial.crash is None else []
        return breaches(trial)


def attack(
    scenarios: Iterator[Data],
    judge: Judge,
    *,
    examples: int | None = None,
    until: Callable[[], bool] = lambda: False,
    is_known: Callable[[str, frozenset[str]], bool] = lambda _kind, _features: False,
    tell: Callable[[int, Attack, str], None] = lambda _number, _attack, _words: None,
) -> Attack:
    """Try scenarios until there were so many ``examples``, or ``until`` says that the time is over.

    ``is_known``: of a kind and the features of the scenario that broke it; what is known is counted and not made small.
    ``tell`` is called with the number of the example, what was found so far, and what is going on.
    """
    found = Attack()
    for number, data in enumerate(scenarios, 1):
        if examples is not None and number > examples:
            break
        if until():
            found.stopped = True
            break
        found.counts.add(data)
        tell(number, found, "trying")
        drawn = features(data)
        for breach in judge(data):
            if is_known(breach.kind, drawn):
                found.known[breach.kind] += 1
                continue
            same = next((find for find in found.finds if find.covers(breach.kind, drawn)), None)
            if same is not None:
                same.count += 1
                continue
            tell(number, found, f"making small: {breach.kind}")
            _take(found, smallest(data, breach, judge, number, until))
    return found


def smallest(
    data: Data, breach: Breach, judge: Judge, number: int = 0, until: Callable[[], bool] = lambda: False
) -> Find:
    """The find that this scenario shows, made small. Where the time is over it stays as large as it then is."""
    only = judge.only(breach)
    seen = {repr(data): breach}

    def still(smaller: Data) -> bool:
        if until():
            return False
        for one in only(smaller):
            if one.kind == breach.kind:
                seen[repr(smaller)] = one
                return True
        return False

    small, tries = reduced(data, still)
    return Find(seen[repr(small)], features(small), small, number, tries)


def _take(found: Attack, find: Find) -> None:
    """A new find, or, now that it is small, one that is known."""
    for known in found.finds:
        if known.covers(find.kind, find.needs):
            known.count += 1
            return
    found.finds.append(find)
