"""The JSON Schema of a scenario: for editors, and the data behind the whole reference.

``python -m sim.scenario.schema`` writes ``sim/scenario/schema.json`` anew; it is committed, lies in the wheel, and a
test holds it against the models. Descriptions are the docstrings below each field, read from the source here and
not when a scenario is read: that would double the time until a wrong file is answered.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from avsync import policy as policy_module
from avsync.policy import PRESETS as POLICIES
from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.units import NS_PER_MS
from sim.network.presets import PRESETS as NETWORKS
from sim.scenario import model, network, source, steps
from sim.scenario.model import Scenario

SCHEMA_FILE = Path(__file__).with_name("schema.json")
TITLE = "avsync scenario, version 1"
CHOICES: dict[str, type[Enum]] = {"master": Master, "pacing": Pacing}


def schema() -> dict[str, Any]:
    """The schema of version 1 as plain data."""
    data = Scenario.model_json_schema(mode="validation")
    texts = _field_texts(_source(part) for part in (model, network, source, steps))
    for owner, part in {"Scenario": data, **data["$defs"]}.items():
        for key, value in part["properties"].items():
            value.pop("title", None)
            if text := texts.get((owner, key)):
                value["description"] = text
    data["$defs"]["LegSpec"]["properties"]["preset"]["anyOf"][0] = {"enum": list(NETWORKS), "type": "string"}
    data["$defs"]["Policy"] = _policy()
    policy = [{"enum": list(POLICIES), "type": "string"}, {"$ref": "#/$defs/Policy"}]
    for owner in (data, data["$defs"]["Baseline"]):
        owner["properties"]["policy"]["anyOf"] = policy
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE}
    return {**data, **head}


def schema_text() -> str:
    """``schema()`` as committed."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _source(module: ModuleType) -> Path:
    """Its source, which lies beside it where the module is compiled."""
    assert module.__file__ is not None
    path = Path(module.__file__)
    return path.with_name(path.name.partition(".")[0] + ".py")


def _field_texts(files: Iterator[Path]) -> dict[tuple[str, str], str]:
    """(class, field) -> the docstring below the field, a base's fields too. A base stands above its heirs."""
    texts: dict[tuple[str, str], str] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                texts |= {(node.name, field): text for (owner, field), text in texts.items() if owner in bases}
                texts |= {(node.name, field): text for field, text in _own_texts(node)}
    return texts


def _own_texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                yield field.target.id, " ".join(inspect.cleandoc(str(after.value.value)).split())


def spoken_name(field: str) -> str:
    """What people write for a field of the policy: ``late_video_ns -> late_video_ms``."""
    spoken = field.replace("_ns_per_s", "_ms_per_s")
    return spoken[:-3] + "_ms" if spoken.endswith("_ns") else spoken


def _policy() -> dict[str, Any]:
    """A policy as a table: every field that differs from its preset."""
    texts = _field_texts(iter([_source(policy_module)]))
    start = {"enum": list(POLICIES), "type": "string", "default": "default", "description": "What this table changes."}
    properties: dict[str, Any] = {"preset": start}
    default = AvSyncPolicy()
    for field in fields(AvSyncPolicy):
        value = getattr(default, field.name)
        about = {"description": texts["AvSyncPolicy", field.name]}
        if field.name in CHOICES:
            choices = [member.value for member in CHOICES[field.name]]
            properties[field.name] = {**about, "default": value.value, "enum": choices, "type": "string"}
        elif isinstance(value, bool | str):
            kind = "boolean" if isinstance(value, bool) else "string"
            properties[field.name] = {**about, "default": value, "type": kind}
        else:
            in_ms = spoken_name(field.name) != field.name
            spoken: float = value / NS_PER_MS if in_ms else value
            number = {"default": int(spoken) if spoken == int(spoken) else spoken, "minimum": 0, "type": "number"}
            properties[spoken_name(field.name)] = {**about, **number}
    about_table = "A preset's name and what differs from it."
    return {"additionalProperties": False, "description": about_table, "properties": properties, "type": "object"}


def main(argv: list[str]) -> int:
    """``python -m sim.scenario.schema [FILE]``: write it to FILE, or to its place in the package."""
    (Path(argv[0]) if argv else SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
