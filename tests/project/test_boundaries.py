"""The core needs the standard library and nothing else, so that it runs wherever Python does.

The contracts about clocks, chance and the lab are import-linter's (pyproject.toml): they follow
chains of imports. Here is what it cannot say: "anything but the standard library".
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOORS = {"avsync.cli", "avsync.pytest_plugin"}
"""The modules directly in avsync/ that are not core."""
CORE_ROOMS = ("engine", "last_mile", "monitor", "recording", "timeline")
CORE = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in (ROOT / "avsync", *(ROOT / "avsync" / room for room in CORE_ROOMS))
    for path in sorted(folder.glob("*.py"))
}
CORE = {name: path for name, path in CORE.items() if name not in DOORS}


def imports(source: str) -> Iterator[str]:
    """Dotted names of all modules that this source imports, at the top, in functions, for types."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield f"avsync.{node.module or node.names[0].name}"
        elif isinstance(node, ast.ImportFrom) and node.module == "avsync":
            yield from (f"avsync.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def foreign(source: str) -> list[str]:
    """The imports that a core module must not have."""
    found = []
    for name in imports(source):
        if name not in CORE and name.partition(".")[0] not in sys.stdlib_module_names:
            found.append(name)
    return found


@pytest.mark.parametrize("module", CORE)
def test_core_imports_only_the_standard_library_and_itself(module: str) -> None:
    assert foreign(CORE[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import numpy",
        "def f():\n    import numpy.random as r",
        "from numpy import ndarray",
        "import sim.packets",
        "from avsync.adapters import asyncio_driver",
        "from avsync import cli",
        "from . import pytest_plugin",
        "from .adapters.driver import Driver",
    ],
)
def test_the_check_notices(line: str) -> None:
    assert foreign(line) != []


def test_the_check_lets_the_core_be() -> None:
    assert (
        foreign("import math\nfrom collections.abc import Iterator\nfrom avsync.units import ms\nimport avsync") == []
    )


def test_core_runs_on_a_python_with_nothing_installed() -> None:
    # -S: no site-packages at all. -I: no environment, no current folder.
    lines = [f"import sys; sys.path.insert(0, {str(ROOT)!r})", *(f"import {name}" for name in CORE)]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
