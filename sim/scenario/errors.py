"""From what the validator found to what the author should read: the place, the rule, the remedy.

A mistyped key or word is answered with the nearest right one; a broken bound with the bound.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sim.scenario.types import near, near_ones, nearest, shown
from sim.scenario.yaml_places import Path, Problem

MOST = 200
"""A file with more mistakes is told of these first: what fits together in it is not worth asking yet."""

_BOUNDS = {"greater_than": ">", "greater_than_equal": ">=", "less_than": "<", "less_than_equal": "<="}
_KINDS = {
    "float_type": "a number", "int_type": "a whole number", "bool_type": "true or false",
    "string_type": "text", "tuple_type": "a list", "model_type": "a mapping", "dict_type": "a mapping",
    "model_attributes_type": "a mapping", "finite_number": "a finite number",
}  # fmt: skip
_UNIT = re.compile(r"[-+]?[0-9.]+ ?(ms|s|%|kbps|kbit/s|ppm|fps|hz)", re.IGNORECASE)


class Finding(NamedTuple):
    """One mistake: what the author reads, and what it takes to go on without it (``sim.scenario.mending``)."""

    problem: Problem
    kind: str
    """key: an unknown one; word: not one of those known; missing; rule: broken in the part at ``where``; value."""
    where: Path
    key: str
    """The missing key, the key that breaks the rule, or the unknown word."""
    known: Sequence[str]


def findings(error: ValidationError, data: object, model: type[BaseModel]) -> list[Finding]:
    """Each finding of ``error`` on ``data``, which should have been a ``model``; the first ``MOST`` with a remedy."""
    errors = error.errors(include_url=False, include_context=True, include_input=True)
    found: list[dict[str, Any]] = [item for item in map(dict, errors) if not _follows(item)]
    if len(found) > MOST:  # nobody reads a thousandth remedy, and looking for each takes as long as reading the file
        found.sort(key=lambda item: _reading_order(item["loc"], data))
    told = _without_mistyped([_finding(item, data, model) for item in found[:MOST]])
    return told + [Finding(Problem(_data_path(item["loc"], data), ""), "value", (), "", ()) for item in found[MOST:]]


def _without_mistyped(found: list[Finding]) -> list[Finding]:
    """A key that is missing because it stands there mistyped is one mistake."""
    mistyped = {
        (one.where[:-1], word) for one in found if one.kind == "key" for word in near_ones(one.where[-1], one.known)
    }
    return [one for one in found if one.kind != "missing" or (one.where, one.key) not in mistyped]


def _reading_order(loc: Sequence[str | int], data: object) -> tuple[int, ...]:
    """Where ``loc`` is met when the data is read: the number of each key in its mapping."""
    order: list[int] = []
    here: Any = data
    for part in _data_path(loc, data):
        order.append(part if isinstance(part, int) else list(here).index(part))
        here = here[part]
    return tuple(order)


def _follows(item: dict[str, Any]) -> bool:
    """A list that is only too short because its items, reported beside it, are wrong."""
    return bool(item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"])


def _finding(item: dict[str, Any], data: object, model: type[BaseModel]) -> Finding:
    kind, loc = item["type"], tuple(item["loc"])
    context: dict[str, Any] = item.get("ctx") or {}
    problem, path = _explain(item, data, model), _data_path(loc, data)
    if kind == "extra_forbidden":
        return Finding(problem, "key", path, "", _keys_at(loc[:-1], model))
    if kind == "union_tag_invalid":
        tags = re.findall(r"'([^']*)'", context["expected_tags"])
        return Finding(problem, "word", (*path, "do"), str(context["tag"]), tags)
    if kind == "literal_error":
        return Finding(problem, "word", path, str(item.get("input")), re.findall(r"'([^']*)'", context["expected"]))
    if kind in ("missing", "union_tag_not_found"):
        return Finding(problem, "missing", path, str(loc[-1]) if kind == "missing" else "do", ())
    return Finding(problem, "rule" if kind == "rule" else "value", path, context.get("key", ""), ())


def _explain(item: dict[str, Any], data: object, model: type[BaseModel]) -> Problem:
    kind, loc, value = item["type"], tuple(item["loc"]), item.get("input")
    context: dict[str, Any] = item.get("ctx") or {}
    path = _data_path(loc, data)
    name = _spoken(path)
    if kind == "rule":
        key = context.get("key", "")
        return Problem((*path, key) if key else path, context["rule"], context["hint"])
    if kind == "extra_forbidden":
        known = _keys_at(loc[:-1], model)
        return Problem(path, f"unknown key {str(loc[-1])[:60]!r}", nearest(str(loc[-1]), known), on_key=True)
    if kind in ("missing", "union_tag_not_found"):
        missing = str(loc[-1]) if kind == "missing" else "do"
        if isinstance(loc[-1], int) and kind == "missing":
            return Problem(path, f"{name} needs {loc[-1] + 1} or more values, got {loc[-1]}")
        hint = "say what happens: 'do: stall', 'do: interrupt', ..." if missing == "do" else f"add '{missing}: ...'"
        return Problem(path, f"{missing!r} is missing", hint)
    if kind == "union_tag_invalid":
        words = re.findall(r"'([^']*)'", context["expected_tags"])
        tag = str(context["tag"])[:40]
        return Problem((*path, "do"), f"no step is called {tag!r}", nearest(tag, words))
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return Problem(
            path, f"{name} must be {context['expected']}, got {shown(value)}", _word_hint(name, value, choices)
        )
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        rule = f"{name} must be {_BOUNDS[kind]} {bound:g}, got {shown(value)}"
        return Problem(path, rule, _bound_hint(name, value, kind, bound))
    if kind in _KINDS:
        hint = _kind_hint(kind, value, name)
        return Problem(path, f"{name} must be {_KINDS[kind]}, got {shown(value)}", hint)
    if kind == "string_pattern_mismatch":
        return Problem(path, f"{name}: not a plain lower-case word: {shown(value)}", "use a-z, 0-9, - and _")
    if kind in ("too_short", "string_too_short"):
        return Problem(path, f"{name} must not be empty")
    if kind in ("too_long", "string_too_long"):
        return Problem(path, f"{name} must not have more than {context['max_length']} items or characters")
    return Problem(path, f"{name}: {item['msg']}")


def _spoken(path: Path) -> str:
    """``("steps", 3) -> steps[3]``, ``("steps", 3, "at_s") -> at_s``."""
    last = max((at for at, part in enumerate(path) if isinstance(part, str)), default=None)
    return "the scenario" if last is None else str(path[last]) + "".join(f"[{part}]" for part in path[last + 1 :])


def _data_path(loc: Sequence[str | int], data: object) -> Path:
    """The validator's place without what is not in the data: union tags, and a missing last key."""
    path: list[str | int] = []
    here: Any = data
    for part in loc:
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        )
        if inside:
            path.append(part)
            here = here[part]
    return tuple(path)


def _keys_at(loc: Iterable[str | int], model: type[BaseModel]) -> list[str]:
    """The keys that are known where ``loc`` (with its union tags) leads."""
    here: Any = model
    for part in loc:
        here = _inside(here, part)
    here = _bare(here)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _inside(kind: Any, part: str | int) -> Any:
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    for member in get_args(kind):  # a union whose members are known by 'do'
        if get_args(member.model_fields["do"].annotation) == (part,):
            return member
    return None


def _bare(kind: Any) -> Any:
    """Without ``Annotated`` and ``| None``."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else kind
    return None if get_origin(kind) is Literal else kind


def _word_hint(name: str, value: object, choices: Sequence[str]) -> str:
    if name == "viewer" and "browser" in choices and str(value).lower() in _BROWSERS:
        return "write browser: it is a model of Chromium; avsync glass measures at a real one"
    return near(str(value), choices) or (f"write one of these, such as {name}: {choices[0]}" if choices else "")


_BROWSERS = ("chrome", "chromium", "firefox", "safari", "edge", "webkit", "webrtc", "web", "page")


def _bound_hint(name: str, value: object, kind: str, bound: float) -> str:
    if name in ("loss", "reorder", "duplicate") and isinstance(value, int | float) and 1 < value <= 100:
        return f"a share of 1, not per cent: write {value / 100:g}"
    if name == "duration_s" and kind.startswith("less"):
        return f"at most {bound:g} s, which are {bound / 3600:g} hours; for more of the same, add seeds"
    if name in ("for_s", "for_ms") and kind.startswith("greater"):
        return f"how long it lasts: {bound:g} or more; what should begin earlier has an earlier at_s"
    side = "more" if kind.startswith("greater") else "less"
    return f"write {bound:g} or {side}" if kind.endswith("equal") else f"write a number {_BOUNDS[kind]} {bound:g}"


def _kind_hint(kind: str, value: object, name: str) -> str:
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "on", "no", "off"):
        return f"write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    if kind == "int_type" and isinstance(value, float):
        return f"write {int(value)}" if value.is_integer() else f"write it without a fraction, such as {int(value)}"
    if kind in ("float_type", "int_type") and isinstance(value, str):
        if _UNIT.fullmatch(value):
            return "write the number alone; its unit is in the key's name"
        return "write it without quotes, underscores and units"
    if value is None:
        return "give it a value, or delete the line"
    if kind == "tuple_type":
        return f"write it as a list: {name}: [...]"
    return ""
