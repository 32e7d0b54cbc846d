"""Known: finds that are on the list, by kind, with the words of whoever found them first.

``known.toml`` beside this file holds them. A find is known where an entry has its kind, and everything that the entry
``needs`` is among what the find needs. An entry is taken off the list when its case (a file of the corpus) shows it
no more: the replay says so (``tests/sim/attack``), and the case stays, as one that must hold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("known.toml")


class Known(NamedTuple):
    """One fault that is known. ``case``: the file of the corpus that shows it; empty where another entry's does."""

    kind: str
    needs: frozenset[str]
    case: str
    says: str


def known_finds(file: Path = FILE) -> list[Known]:
    """The list, in its order."""
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return [
        Known(one["kind"], frozenset(one.get("needs", ())), one.get("case", ""), one["says"])
        for one in data.get("known", ())
    ]


def entry_for(kind: str, needs: frozenset[str], known: Sequence[Known]) -> Known | None:
    """The entry that this is, if it is one. ``needs``: of a find, or all features of a scenario that broke ``kind``."""
    return next((one for one in known if one.kind == kind and one.needs <= needs), None)
