"""What every part of a scenario is built from: strict numbers with a unit, rates, turns of talk, policies.

A number is a number: text, ``true`` and ``.inf`` are refused, and every quantity has a bound, so
that a typing error cannot ask for a year of simulation. The docstring under a field is its
documentation, in editors too (``sim/scenario/schema.json``, made by ``sim.scenario.schema``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy

MAX_DURATION_S = 90_000
"""A day and an hour: a soak of 24 h with its faults."""
MAX_FPS = 240


def _number(*, ge: float | None = None, gt: float | None = None, le: float) -> Any:
    return Field(strict=True, allow_inf_nan=False, ge=ge, gt=gt, le=le)


Seconds = Annotated[float, _number(ge=0, le=MAX_DURATION_S)]
SomeSeconds = Annotated[float, _number(ge=0.001, le=MAX_DURATION_S)]
Ms = Annotated[float, _number(ge=0, le=60_000)]
SomeMs = Annotated[float, _number(ge=0.1, le=60_000)]
SignedMs = Annotated[float, _number(ge=-86_400_000, le=86_400_000)]
Ppm = Annotated[float, _number(ge=-100_000, le=100_000)]
Kbps = Annotated[float, _number(ge=1, le=10_000_000)]
Share = Annotated[float, _number(ge=0, le=1)]
Speed = Annotated[float, _number(gt=0, le=100)]
RateHz = Annotated[int, Field(strict=True, ge=8_000, le=192_000)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, Field(strict=True)]
Words = Annotated[str, Field(min_length=1, max_length=4_000)]
FileName = Annotated[str, Field(min_length=1, max_length=1_000)]

Only = Literal["audio", "video"]
Resume = Literal["live", "burst", "continue"]
WhichLeg = Literal["to_bridge", "to_viewer"]


class SpecPart(BaseModel):
    """Base of all parts: unknown keys are refused, values are frozen, defaults are checked too."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def bad(rule: str, hint: str = "", *, key: str = "") -> PydanticCustomError:
    """A broken rule and its remedy, in the words that the author will read; ``key``: where inside the part."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "hint": hint, "key": key})


def shown(value: object) -> str:
    """A value as the author may have written it, short enough for one line."""
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return f"text {value[:40]!r}"
    return str(value)[:40]


def nearest(word: str, known: Sequence[str]) -> str:
    """``did you mean 'duration_s'?``, or all that is known here."""
    return near(word, known) or ("known here: " + ", ".join(known) if known else "")


def near(word: str, known: Sequence[str]) -> str:
    """The nearest of them as a question; empty where none is near."""
    found = near_ones(word, known)
    return f"did you mean {found[0]!r}?" if found else ""


def near_ones(word: object, known: Sequence[str]) -> list[str]:
    """The nearest of them, if one is near at all."""
    return difflib.get_close_matches(str(word)[:60], known, n=1, cutoff=0.5)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 53


def _fps(value: object) -> Fraction:
    remedy = f"write 25, 23.976 or '30000/1001', above 0 and at most {MAX_FPS}"
    if isinstance(value, Fraction):
        rate = value
    elif isinstance(value, str) and value.count("/") <= 1 and len(value) <= 20:
        parts = value.split("/")
        if not all(part.isascii() and part.isdigit() for part in parts) or int(parts[-1]) == 0:
            raise bad(f"not a frame rate: {shown(value)}", remedy)
        rate = Fraction(int(parts[0]), int(parts[1]) if len(parts) == 2 else 1)
    elif _is_number(value):
        rate = Fraction(repr(value))  # 23.976 as spoken, not its nearest binary float
    else:
        raise bad(f"not a frame rate: {shown(value)}", remedy)
    if not Fraction(1, 10) <= rate <= MAX_FPS or rate.denominator > 1_000_000:
        raise bad(f"not a frame rate that can be: {shown(value)}", remedy)
    return rate


def _fps_out(rate: Fraction) -> int | str:
    return rate.numerator if rate.denominator == 1 else str(rate)


Fps = Annotated[
    Fraction,
    PlainValidator(_fps, json_schema_input_type=float | str),
    PlainSerializer(_fps_out, return_type=int | str),
]
"""Frames per second, exact: 25, 23.976 or ``30000/1001``."""

MIN_TALK_S = 0.2


def _talk(value: object) -> float | tuple[float, ...] | None:
    remedy = "write 20, [4, 6.5, 3], or null for one turn to the end"
    if value is None:
        return None
    many = isinstance(value, list | tuple)
    turns: list[Any] = list(value) if many else [value]  # type: ignore[call-overload]
    for turn in turns:
        if not _is_number(turn):
            raise bad(f"a turn's length is a number of seconds, got {shown(turn)}", remedy)
        if not MIN_TALK_S <= turn <= MAX_DURATION_S:
            raise bad(f"a turn lasts {MIN_TALK_S} to {MAX_DURATION_S} s, got {turn:g}", remedy)
    if many and not 1 <= len(turns) <= 10_000:
        raise bad("a list of turns has 1 to 10000 of them", remedy)
    return tuple(float(turn) for turn in turns) if many else float(turns[0])


Talk = Annotated[
    float | tuple[float, ...] | None,
    PlainValidator(_talk, json_schema_input_type=float | list[float] | None),
    PlainSerializer(lambda talk: list(talk) if isinstance(talk, tuple) else talk, return_type=Any),
]


def policy_of(spec: str | Mapping[str, Any]) -> AvSyncPolicy:
    """A preset's name, or ``{preset: default, playout_delay_ms: 120}``; ``InputError`` otherwise."""
    return AvSyncPolicy.preset(spec) if isinstance(spec, str) else AvSyncPolicy.from_dict(spec)


def _policy(value: object) -> str | dict[str, Any]:
    if isinstance(value, Mapping):
        odd = [key for key, item in value.items() if not isinstance(item, str | bool) and not _is_number(item)]
        if odd:
            raise bad(f"policy {str(odd[0])[:40]!r} must be one number or word, got {shown(value[odd[0]])}")
    elif not isinstance(value, str):
        raise bad(f"a policy is a name or a table, got {shown(value)}", "write 'default' or {preset: default, ...}")
    spec = value if isinstance(value, str) else dict(value)
    try:
        policy_of(spec)
    except InputError as error:
        raise bad(error.rule[:200], error.remedy) from None
    return spec


PolicySpec = Annotated[
    str | dict[str, Any],
    PlainValidator(_policy, json_schema_input_type=str | dict[str, float | bool | str]),
]
