"""Reduce: the smallest scenario that still shows what was found: fewest steps, fewest keys, round numbers.

Delta debugging over the scenario language itself, greedy and without chance. Hypothesis could shrink its own choices,
but it knows nothing of what they mean: it needs several hundred runs where this needs some forty, and a find would wait
for minutes. Whatever is tried goes through the loader; what the loader refuses is passed over.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor, log10
from typing import Any

from avsync.errors import InputError
from sim.scenario.scenario import build

Data = dict[str, Any]
Path = tuple[str | int, ...]
KEPT = ("avsync", "about", "tags", "duration_s", "seeds", "viewer", "policy")
"""Left alone, or only made simpler."""
NAMED = ("rate_hz", "to_hz", "unit_ms", "fps", "to", "obeys_after_ms", "audio_rtp", "video_rtp", "seq")
"""Numbers that are what they are: a rate of 40 kHz is rounder than 44.1, and nobody has it."""
MOST_TRIES = 160
"""Runs spent on one find: half a minute on one core, five times what a find with two steps takes."""


def reduced(data: Mapping[str, Any], still: Callable[[Data], bool], *, most: int = MOST_TRIES) -> tuple[Data, int]:
    """The smallest data found for which ``still`` holds, and how many were asked. ``data`` itself must be one of them.

    ``still`` is asked about valid scenarios only, and about none twice.
    """
    best = copy.deepcopy(dict(data))
    asked: set[str] = {repr(best)}
    improved = True
    while improved:
        improved = False
        for smaller in _smaller(best):
            if len(asked) > most:
                return best, len(asked) - 1
            if (text := repr(smaller)) in asked or not _valid(smaller):
                continue
            asked.add(text)
            if still(smaller):
                best, improved = smaller, True
                break
    return best, len(asked) - 1


def _valid(data: Data) -> bool:
    try:
        build(data)
    except InputError:
        return False
    return True


def _smaller(data: Data) -> Iterator[Data]:
    """What to try next, the largest cuts first."""
    steps: Sequence[Any] = data.get("steps", ())
    parts = [key for key in data if key not in KEPT and key != "steps"]
    if steps and parts:
        yield _without(data, *((part,) for part in parts))
    for part in (*parts, *(["steps"] if steps else ())):
        yield _without(data, (part,))
    if len(steps) > 3:
        half = len(steps) // 2
        yield {**data, "steps": steps[:half]}
        yield {**data, "steps": steps[half:]}
    for index in range(len(steps) - 1, -1, -1):
        yield _without(data, ("steps", index))
    for path in _keys(data):
        yield _without(data, path)
    if data["seeds"] != [1]:
        yield {**data, "seeds": [1]}
    for path, value in _numbers(data):
        for simpler in _simpler(value):
            yield _with(data, path, simpler)


def _keys(data: Data) -> list[Path]:
    """Every key of every part, outer ones first; ``at_s`` and ``do`` belong to their step."""
    found: list[Path] = []
    for name, part in data.items():
        if name == "steps":
            found += [("steps", at, key) for at, step in enumerate(part) for key in step if key not in ("at_s", "do")]
        elif name not in KEPT and isinstance(part, dict):
            inner = list(_inside(part, (name,)))
            found += sorted(inner, key=len)
    return found


def _inside(part: Mapping[str, Any], above: Path) -> Iterator[Path]:
    for key, value in part.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _inside(value, (*above, key))


def _numbers(data: Data) -> list[tuple[Path, float]]:
    found: list[tuple[Path, float]] = [(("duration_s",), data["duration_s"])]
    for path in [*_keys(data), *((("steps", at, "at_s")) for at in range(len(data.get("steps", ()))))]:
        value = _at(data, path)
        if isinstance(value, int | float) and not isinstance(value, bool) and path[-1] not in NAMED:
            found.append((path, value))
    return found


def _simpler(value: float) -> list[float]:
    """Rounder numbers, nearer to 0 and so inside every bound, the roundest first: 1234 -> 1000, 1200; 0.37 -> 0.3."""
    if not value:
        return []
    size = 10 ** floor(log10(abs(value)))
    found = []
    for unit in (size, size / 2, size / 10):
        rounded = round(int(round(value / unit, 6)) * unit, 6)
        rounded = int(rounded) if rounded == int(rounded) else rounded
        if rounded and rounded != value and rounded not in found:
            found.append(rounded)
    # A number that is round already stays: 20 must not become 19.5.
    return found if len(f"{value:g}".strip("-0.").replace(".", "").strip("0")) > 1 else []


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _without(data: Data, *paths: Path) -> Data:
    """A copy without these; what is left empty goes too."""
    found: Data = copy.deepcopy(data)
    for path in paths:
        del _at(found, path[:-1])[path[-1]]
        for end in range(len(path) - 1, 0, -1):
            if _at(found, path[:end]) in ({}, []):
                del _at(found, path[: end - 1])[path[end - 1]]
    return _still_local(found)


def _still_local(data: Data) -> Data:
    """Without its topology nothing of a bridge can stay."""
    if "topology" in data:
        return data
    found = copy.deepcopy(data)
    for name, key in (("network", "to_bridge"), ("clocks", "bridge")):
        found.get(name, {}).pop(key, None)
        if name in found and not found[name]:
            del found[name]
    for step in found.get("steps", ()):
        if step.get("leg") == "to_bridge":
            del step["leg"]
    return found


def _with(data: Data, path: Path, value: float) -> Data:
    found: Data = copy.deepcopy(data)
    _at(found, path[:-1])[path[-1]] = value
    return found
