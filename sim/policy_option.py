"""Policies given on the command line: the name of a preset, or a TOML file of your own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from avsync.errors import InputError
from avsync.policy import PRESETS, AvSyncPolicy


def policy_named(word: str) -> AvSyncPolicy:
    """A preset, or what ``word`` leads to if it ends in ``.toml`` or has a slash: a file.

    A file that gives no name is called as it is called itself. ``InputError`` names file and key.
    """
    if not is_file(word):
        return AvSyncPolicy.preset(word)
    policy = AvSyncPolicy.load(word)
    unnamed = policy.name in PRESETS and policy != AvSyncPolicy.preset(policy.name)
    return replace(policy, name=Path(word).stem) if unnamed else policy


def is_file(word: str) -> bool:
    """``mine.toml`` and ``policies/mine`` are files; a plain word is a preset."""
    return word.endswith(".toml") or "/" in word


def digest(policy: AvSyncPolicy) -> str:
    """sha256 of every number of it, the name left out: what it decides by."""
    numbers = {key: value for key, value in policy.to_dict().items() if key != "name"}
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def check_policies(words: Iterable[str]) -> None:
    """Read each; two that share a name and differ would stand in one column of every table."""
    seen: dict[str, tuple[str, AvSyncPolicy]] = {}
    for word in words:
        policy = policy_named(word)
        other, first = seen.setdefault(policy.name, (word, policy))
        if policy != first:
            raise InputError(f"{other} and {word} are both named {policy.name!r}", remedy='write name = "..." in one')
        if policy.name in PRESETS and policy != AvSyncPolicy.preset(policy.name):
            raise InputError(f"{policy.name!r} is the name of a preset, and this is another policy", file=word)
