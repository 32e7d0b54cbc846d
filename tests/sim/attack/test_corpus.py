"""The corpus: finds that were committed, replayed; and a fixed draw, in which nothing may break that is not on the
list.

The list (``sim/attack/known.toml``) says what is known to be wrong today. What is on it has to show itself in its
case: when it does no more, the fault is gone, its entry is to be deleted, and its case stays as one that must hold.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from avsync.policy import AvSyncPolicy
from sim.attack.features import features, in_words
from sim.attack.finds import kind_of
from sim.attack.known import Known, entry_for, known_finds
from sim.attack.search import Judge
from sim.attack.strategies import drawn
from sim.scenario.scenario import load_scenario

CORPUS = Path(__file__).with_name("corpus")
CASES = sorted(CORPUS.glob("*.yaml"))
KNOWN = known_finds()
EXAMPLES, SEED = 40, 20261201
"""Of the fixed draw: half a minute."""


def broken(data: dict[str, Any], kind: str) -> set[str]:
    judge = Judge(AvSyncPolicy(), regret=kind.startswith("regret"))
    return {breach.kind for breach in judge(data)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_shows_what_the_list_says_and_nothing_where_it_says_nothing(case: Path) -> None:
    load_scenario(case)
    text = case.read_text(encoding="utf-8")
    kind, data = kind_of(text), yaml.safe_load(text)
    assert kind, f"{case.name} does not say for which kind it was committed: a line '# kind: ...'"
    listed = [entry for entry in KNOWN if entry.case == case.name]
    assert all(entry.kind == kind for entry in listed)
    found = broken(data, kind)
    if listed:
        assert kind in found, f"{case.name} shows {kind} no more: delete its entry in sim/attack/known.toml"
    else:
        assert kind not in found, f"{case.name} shows {kind} again, and it is not on the list"


def test_each_entry_of_the_list_has_a_case_and_a_reason() -> None:
    names = {case.name for case in CASES}
    for entry in KNOWN:
        assert entry.case in names, f"{entry.kind}: no case {entry.case!r} in {CORPUS.name}/"
        data = yaml.safe_load((CORPUS / entry.case).read_text(encoding="utf-8"))
        assert entry.needs <= features(data), entry.case
        assert len(entry.says) > 20
    assert len({(entry.kind, entry.needs) for entry in KNOWN}) == len(KNOWN)


def test_a_fixed_draw_breaks_nothing_that_is_not_known() -> None:
    judge = Judge(AvSyncPolicy())
    new = []
    for number, data in enumerate(islice(drawn(SEED), EXAMPLES), 1):
        for breach in judge(data):
            if entry_for(breach.kind, features(data), KNOWN) is None:
                new.append(f"example {number}: {breach.kind}: {breach.words} ({in_words(features(data))})")
    assert new == [], f"avsync attack --seed {SEED} --examples {EXAMPLES} --new makes them small"


def test_an_entry_is_found_by_kind_and_needs() -> None:
    loose = Known("stall_untold at output", frozenset({"hold"}), "a.yaml", "")
    assert entry_for("stall_untold at output", frozenset({"hold", "mute"}), [loose]) is loose
    assert entry_for("stall_untold at output", frozenset({"mute"}), [loose]) is None
    assert entry_for("stall_untold at viewer", frozenset({"hold"}), [loose]) is None
