"""The reference: every word of a scenario with unit, values, default, meaning and an example.

One table for all who look something up: ``avsync explain`` and ``avsync list``, and the pages of the documentation.
Keys, steps and the fields of a policy come from ``schema.json`` beside this file, which is made from the models;
metrics, networks and the words of the docs from their own tables. Nothing here needs the models, so an answer comes
at once.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sim.scenario.glossary import WORDS
from sim.scenario.metric_names import BELIEVED, METRICS, NEED_INTERRUPT, OUTPUT, SCORED, Metric
from sim.scenario.reference_examples import LIMITS, POLICIES, POLICY_FIELDS, of_key, of_step

Sort = Literal["key", "step", "metric", "network", "policy", "policy field", "word"]
SORTS: dict[str, Sort] = {
    "keys": "key", "steps": "step", "metrics": "metric", "networks": "network", "policies": "policy",
    "policy-fields": "policy field", "words": "word",
}  # fmt: skip
"""What ``avsync list`` calls them."""

_UNITS = {
    "_ms_per_s": "ms/s", "_ms": "ms", "_s": "s", "_kbps": "kbit/s", "_hz": "Hz", "_ppm": "ppm", "_pct": "%",
    "_units": "units", "_packets": "packets", "fps": "frames/s",
}  # fmt: skip
_SHARES = ("loss", "reorder", "duplicate")


class Entry(NamedTuple):
    """One word. ``name``: a dotted path for a key (``source.audio.jitter_ms``), ``stall.for_s`` for a step's key."""

    sort: Sort
    name: str
    about: str
    unit: str = ""
    """Empty: it has none."""
    values: str = ""
    """What may be written: ``0 to 60000``, ``audio or video``."""
    default: str = ""
    """As it would be written; empty: it has to be given, or there is none."""
    example: str = ""
    """YAML that can stand in a scenario as it is; for a network or a policy also the command."""
    parts: tuple[Entry, ...] = ()
    """The keys of a step, or of a key that holds others."""

    @property
    def word(self) -> str:
        """The last part of its name: what stands in a file."""
        return self.name.rpartition(".")[2]


def schema_text() -> str:
    """The JSON Schema, as shipped: for editors."""
    return Path(__file__).with_name("schema.json").read_text(encoding="utf-8")


@functools.cache
def keys() -> tuple[Entry, ...]:
    """The keys of a scenario, each under its outermost key; steps and policies have lists of their own."""
    return tuple(_keys(_schema()["properties"], "", of_key, _schema()["required"]))


@functools.cache
def steps() -> tuple[Entry, ...]:
    """Every step with its keys."""
    found = []
    for name, ref in _schema()["properties"]["steps"]["items"]["discriminator"]["mapping"].items():
        spec = _followed({"$ref": ref})
        parts = tuple(_keys(spec["properties"], name, of_step, spec.get("required", ())))
        found.append(Entry("step", name, spec["description"], example=of_step(name), parts=parts))
    return tuple(found)


@functools.cache
def metrics() -> tuple[Entry, ...]:
    """Every metric under its plain name, as measured at a viewer, or at our output where it is only limited there."""
    return tuple(_metric(row) for row in (*METRICS.values(), *SCORED.values()))


@functools.cache
def networks() -> tuple[Entry, ...]:
    """Every network with a name, and where its numbers come from."""
    from sim.network.presets import PRESETS, Preset, in_words  # brings numpy, which nothing else here needs

    def about(preset: Preset) -> str:
        return f"to_viewer {in_words(preset.to_viewer)}; to_bridge {in_words(preset.to_bridge)}. {preset.source}."

    return tuple(
        Entry("network", name, about(preset), example=f"network: {{to_viewer: {{preset: {name}}}}}")
        for name, preset in PRESETS.items()
    )


@functools.cache
def policies() -> tuple[Entry, ...]:
    """Every policy that has a name: what it does, and when it is the right one."""
    return tuple(
        Entry("policy", name, about, example=f"policy: {name}    # or: avsync run clean --policy {name}")
        for name, about in POLICIES.items()
    )


@functools.cache
def policy_fields() -> tuple[Entry, ...]:
    """Every number and choice of a policy, in the units that people write."""
    found = []
    for name, spec in _schema()["$defs"]["Policy"]["properties"].items():
        value = POLICY_FIELDS.get(name, _shown(spec.get("default")))
        example = f"policy: {{preset: default, {name}: {value}}}" if name != "preset" else "policy: {preset: patient}"
        found.append(Entry("policy field", name, spec["description"], _unit(name), _values(spec),
                           _shown(spec.get("default")), example))  # fmt: skip
    return tuple(found)


@functools.cache
def words() -> tuple[Entry, ...]:
    """What the docs and the tables speak of, and no file."""
    return tuple(Entry("word", name, about) for name, about in WORDS.items())


def entries(sort: Sort) -> tuple[Entry, ...]:
    """All of one sort, in the order of their table."""
    tables = {"key": keys, "step": steps, "metric": metrics, "network": networks, "policy": policies, "word": words}
    return policy_fields() if sort == "policy field" else tables[sort]()


def everything() -> tuple[Entry, ...]:
    """All of it, parts beside what they belong to."""
    found: list[Entry] = []
    for sort in SORTS.values():
        for entry in entries(sort):
            found += _with_parts(entry)
    return tuple(found)


def find(word: str) -> tuple[Entry, ...]:
    """What ``word`` may mean: a whole name, or the last part of one. A step comes before its own keys."""
    plain = word.removeprefix("policy.")
    known = everything()
    whole = tuple(entry for entry in known if entry.name in (word, plain))
    if "." in word or any(entry.sort not in ("key", "policy field", "word") for entry in whole):
        return whole
    more = tuple(entry for entry in known if entry.word == plain and entry not in whole)
    return (*whole, *more) or _at_other_point(word)


def nearest_words(word: str, most: int = 3) -> list[str]:
    """The words that ``word`` may have been meant for, the nearest first: alike as a whole or in a part."""
    known = dict.fromkeys(name for entry in everything() for name in (entry.word, entry.name))
    likeness = {name: _likeness(word[:80], name) for name in known}
    near = [name for name in known if likeness[name] >= 0.6]
    return sorted(near, key=lambda name: -likeness[name])[:most]


def _likeness(word: str, name: str) -> float:
    """0 to 1. A part alone counts less: ``lateny`` is nearer to ``added_latency_p95_ms`` than to ``late_ms``."""
    matcher = difflib.SequenceMatcher(b=word)
    best = 0.0
    for text, share in ((name, 1.0), *((part, 0.9) for part in re.split(r"[._-]", name) if len(part) > 3)):
        matcher.set_seq1(text)
        if share * matcher.quick_ratio() > best:
            best = max(best, share * matcher.ratio())
    return best


def _at_other_point(word: str) -> tuple[Entry, ...]:
    """``output_...`` and ``believed_...``: the same metric, elsewhere."""
    bare = word.removeprefix(BELIEVED)
    row = METRICS.get(bare.removeprefix(OUTPUT))
    if row is None or (word.startswith(BELIEVED) and not row.believed):
        return ()
    entry = _metric(row)
    point = "at our output" if bare.startswith(OUTPUT) else "at the viewer"
    if word.startswith(BELIEVED):
        about = (
            f"What the SDK's monitor said {point}, beside the truth; a column of results, never a limit. {row.about}"
        )
        return (entry._replace(name=word, about=about, example="", values=""),)
    return (entry._replace(name=word, about=f"{row.about} Measured {point}.", example=_limit(row, word)),)


def _metric(row: Metric) -> Entry:
    name = row.name if row.at_viewer else OUTPUT + row.name
    good = {"lower": "the lower the better", "higher": "the higher the better", "either": "as wanted"}[row.better]
    windows = "window " + ", ".join(row.windows)
    guard = "; a guard: limited in every scenario that does not limit it itself" if row.guard else ""
    return Entry("metric", row.name, row.about, row.unit, f"{good}; {windows}{guard}", example=_limit(row, name))


def _limit(row: Metric, name: str) -> str:
    side = "at_least" if row.better == "higher" else "at_most"
    only = f", viewer: {row.only_viewer}" if row.only_viewer is not None and not name.startswith(OUTPUT) else ""
    limit = f"expect: [{{metric: {name}, {side}: {LIMITS[row.name]}{only}}}]"
    return f"{of_step('interrupt')}\n{limit}" if row.name in NEED_INTERRUPT else limit


def _with_parts(entry: Entry) -> Iterator[Entry]:
    yield entry
    for part in entry.parts:
        yield from _with_parts(part)


@functools.cache
def _schema() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(schema_text())
    return data


def _followed(spec: dict[str, Any]) -> dict[str, Any]:
    """What a key holds, if it holds a mapping (or a list of them): the mapping's own schema."""
    for one in (spec, *spec.get("anyOf", ()), spec.get("items", {})):
        if "$ref" in one:
            found: dict[str, Any] = _schema()["$defs"][one["$ref"].rpartition("/")[2]]
            return found
    return {}


def _keys(
    properties: dict[str, Any], inside: str, example: Callable[[str], str], required: Sequence[str]
) -> Iterator[Entry]:
    for key, spec in properties.items():
        if key == "do":
            continue
        name = f"{inside}.{key}" if inside else key
        held = {} if key in ("steps", "policy") else _followed(spec)
        parts = tuple(_keys(held.get("properties", {}), name, example, held.get("required", ())))
        default = "" if held or key in required else _shown(spec.get("default"))
        about = spec.get("description") or held["description"]
        yield Entry("key", name, about, "" if held else _unit(key), _values(spec), default, example(name), parts)


def _unit(key: str) -> str:
    if key in _SHARES:
        return "share of 1"
    return next((unit for end, unit in _UNITS.items() if key.endswith(end) and not key.startswith("can_")), "")


def _values(spec: dict[str, Any]) -> str:
    """What may be written for a schema, in words."""
    if "enum" in spec or "const" in spec:
        choices = [_shown(one) for one in spec.get("enum", [spec.get("const")])]
        if len(choices) > 12:
            return f"one of {len(choices)} names"
        return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
    if "anyOf" in spec:
        return " or ".join(dict.fromkeys(filter(None, map(_values, spec["anyOf"]))))
    if "$ref" in spec:
        return "a table"
    kind = spec.get("type")
    if kind == "array":
        if "prefixItems" in spec:
            return f"a list of {len(spec['prefixItems'])}: each {_values(spec['prefixItems'][0])}"
        return f"a list: each {_values(spec['items'])}"
    if kind in ("number", "integer"):
        return _range(spec, "a number" if kind == "number" else "a whole number")
    return {"boolean": "true or false", "string": "text", "null": "null", "object": "a table"}.get(kind or "", "")


def _range(spec: dict[str, Any], kind: str) -> str:
    low, high = spec.get("minimum"), spec.get("maximum", spec.get("exclusiveMaximum"))
    above = spec.get("exclusiveMinimum")
    start = f" from {low}" if low is not None else f" above {above}" if above is not None else ""
    return kind + start + (f" to {high}" if high is not None else "")


def _shown(value: object) -> str:
    """As it is written in YAML."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
