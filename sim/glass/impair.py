"""Impair: a network in one line of words, ``delay=40ms jitter=30ms loss=2% burst=3 video.delay=150ms``.

What ``avsync glass --impair`` understands. The words mean what the scenario language means by them
(``sim.network.link_spec``); ``audio.`` and ``video.`` before a word make it hold for one stream only.
Whatever cannot be understood ends as one ``InputError`` that names the word, the rule and the remedy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avsync.errors import InputError, UsageError
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import ms, seconds, us
from sim.network.link import Link
from sim.network.link_spec import PATH_FIELDS, LinkSpec, changed
from sim.network.presets import PRESETS

MAX_CHARACTERS = 2_000
MAX_DIGITS = 15

_KINDS: dict[str, Kind] = {"audio": AUDIO, "video": VIDEO}
_NUMBER = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}}(?:\.[0-9]{{1,{MAX_DIGITS}}})?)([a-z%]*)")


@dataclass(frozen=True, slots=True)
class Impairment:
    """A network: what holds for all of it, and the fields that differ for one kind of media."""

    spec: LinkSpec
    only: Mapping[Kind, Mapping[str, Any]] = field(default_factory=dict)

    def link(self, *, seed: int, name: str = "to_viewer") -> Link:
        """A link like that, with the impairments of this seed and name."""
        link = Link(self.spec, seed=seed, name=name)
        for kind, changes in self.only.items():
            link.set_only(kind, **changes)
        return link

    def spec_of(self, kind: Kind) -> LinkSpec:
        """What one kind of media meets."""
        return changed(self.spec, self.only.get(kind, {}))


def parse_impair(text: str) -> Impairment:
    """The network that these words describe; ``InputError`` if one of them means nothing, or nothing here.

    No words: a wire that changes nothing. Words are separated by blanks or commas, in any order;
    each may come once.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"at most {MAX_CHARACTERS} characters, got {len(text)}", place="--impair")
    spec = LinkSpec()
    common: dict[str, Any] = {}
    only: dict[Kind, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for word in re.split(r"[\s,]+", text.strip()):
        if not word:
            continue
        key, value = _split(word)
        if key in seen:
            raise _bad(word, f"{key} was given already: {seen[key]}", "leave one of them out")
        seen[key] = word
        if key == "preset":
            spec = _preset(word, value)
            continue
        prefix, dot, name = key.rpartition(".")
        term = _TERMS[name]
        if dot and term.field not in PATH_FIELDS:
            rule = f"{name} cannot differ between sound and pictures: they share the bottleneck"
            raise _bad(word, rule, f"write {name}=... without {prefix}.")
        into = only.setdefault(_KINDS[prefix], {}) if dot else common
        other = next((seen[k] for k in seen if k != key and k in _QUEUES and key in _QUEUES), None)
        if other is not None:
            raise _bad(word, f"one queue has one bound, and {other} is there already", "leave one of them out")
        into[term.field] = term.read(word, value)
    _check_idle_words(seen, spec, common, only)
    try:
        whole = Impairment(changed(spec, common), only)
        for kind in (AUDIO, VIDEO):
            whole.spec_of(kind)
    except UsageError as error:
        raise InputError(f"{text.strip()!r}: {error}", place="--impair") from None
    return whole


class _Term(NamedTuple):
    """A word: the field of ``LinkSpec`` it sets, how its value is read, another word it needs (or its prefix)."""

    field: str
    read: Callable[[str, str], Any]
    needs: str = ""


def _read(units: dict[str, Callable[[float], int]], example: str) -> Callable[[str, str], int]:
    def read(word: str, value: str) -> int:
        found = _NUMBER.fullmatch(value)
        if found is None or found[2] not in units:
            if value in ("0", "0.0") and "" not in units:
                return 0
            known = ", ".join(unit for unit in units if unit) or "no unit"
            raise _bad(word, f"{value[:40]!r} is not a value of this kind (units: {known})", f"write {example}")
        return units[found[2]](float(found[1]))

    return read


def _burst(word: str, value: str) -> float:
    found = _NUMBER.fullmatch(value)
    if found is None or found[2]:
        raise _bad(word, f"{value[:40]!r} is not a number of packets", "write burst=3")
    return float(found[1])


_TIME = {"ms": ms, "s": seconds, "us": us}
_RATE: dict[str, Callable[[float], int]] = {
    "kbps": lambda value: round(value * 1e3),
    "mbps": lambda value: round(value * 1e6),
    "bps": round,
}
_PPM: dict[str, Callable[[float], int]] = {"%": lambda value: round(value * 1e4), "ppm": round}


def _time(example: str) -> Callable[[str, str], int]:
    return _read(_TIME, example)


_TERMS: dict[str, _Term] = {
    "delay": _Term("delay_ns", _time("delay=40ms")),
    "jitter": _Term("jitter_ns", _time("jitter=30ms")),
    "jitter_cap": _Term("jitter_cap_ns", _time("jitter_cap=90ms"), "jitter"),
    "correlation": _Term("jitter_correlation_pct", _read({"%": round}, "correlation=75%"), "jitter"),
    "loss": _Term("loss_ppm", _read(_PPM, "loss=2%")),
    "burst": _Term("burst_packets", _burst, "loss"),
    "reorder": _Term("reorder_ppm", _read(_PPM, "reorder=1%")),
    "reorder_by": _Term("reorder_by_ns", _time("reorder_by=20ms"), "reorder"),
    "dup": _Term("duplicate_ppm", _read(_PPM, "dup=1%")),
    "rate": _Term("rate_bps", _read(_RATE, "rate=2mbps")),
    "queue": _Term("queue_ns", _time("queue=300ms"), "rate"),
    "queue_packets": _Term("queue_packets", _read({"": round}, "queue_packets=100"), "rate"),
    "hold": _Term("hold_for_ns", _time("hold=400ms"), "hold_every"),
    "hold_every": _Term("hold_every_ns", _time("hold_every=5s"), "hold"),
    "outage": _Term("outage_for_ns", _time("outage=1s"), "outage_every"),
    "outage_every": _Term("outage_every_ns", _time("outage_every=20s"), "outage"),
}
_QUEUES = ("queue", "queue_packets")
WORDS = (*_TERMS, "preset", *(f"{kind}.{name}" for kind in _KINDS for name in _TERMS))


def _split(word: str) -> tuple[str, str]:
    key, equals, value = word.lower().partition("=")
    if key in WORDS and equals and value:
        return key, value
    if key in WORDS:
        raise _bad(word, "a word and its value are joined by '='", f"write {key}=...")
    near = difflib.get_close_matches(key[:40], WORDS, n=1, cutoff=0.5)
    known = ", ".join((*_TERMS, "preset")) + ", with audio. or video. before them for one stream"
    raise _bad(word, f"unknown word {key[:40]!r}", f"did you mean {near[0]!r}?" if near else f"known here: {known}")


def _preset(word: str, name: str) -> LinkSpec:
    found = PRESETS.get(name)
    if found is None:
        near = difflib.get_close_matches(name[:60], PRESETS, n=1, cutoff=0)
        raise _bad(word, f"no network is named {name[:60]!r}", f"did you mean {near[0]!r}?" if near else "")
    return found.to_viewer


def _check_idle_words(
    seen: Mapping[str, str], spec: LinkSpec, common: Mapping[str, Any], only: Mapping[Kind, Mapping[str, Any]]
) -> None:
    """A word that could change nothing is a mistake: ``burst`` where nothing is lost."""
    for key, word in seen.items():
        prefix, dot, name = key.rpartition(".")
        needs = "" if key == "preset" else _TERMS[name].needs
        if not needs:
            continue
        needed = _TERMS[needs].field
        general = common.get(needed, getattr(spec, needed))
        concerned = [_KINDS[prefix]] if dot else [AUDIO, VIDEO]
        if not any(only.get(kind, {}).get(needed, general) for kind in concerned):
            raise _bad(word, f"{name} does nothing without {needs}", f"add {needs}=..., or leave {name} out")


def _bad(word: str, rule: str, remedy: str) -> InputError:
    return InputError(f"{word[:60]!r}: {rule}", place="--impair", remedy=remedy)
