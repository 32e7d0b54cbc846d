"""What the build hook would compile exists, and its compiler is the pinned one. (To run the hook needs hatchling.)"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOK = ROOT / "hatch_build.py"


def constant(name: str) -> tuple[str, ...]:
    """The tuple of texts that the hook assigns to ``name``."""
    for node in ast.parse(HOOK.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return tuple(ast.literal_eval(node.value))
    raise AssertionError(f"{name} is not in {HOOK.name}")


@pytest.mark.parametrize("wanted", constant("COMPILED"))
def test_each_entry_of_the_list_names_modules_that_exist(wanted: str) -> None:
    assert list(ROOT.glob(wanted))


def test_the_compiler_is_the_pinned_one() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [need for need in constant("NEEDS") if "==" in need and need not in pins] == []
