"""Pytest set-up for the whole repository: hypothesis profiles, and ``--core-only``.

Property tests are derandomized, so a red run is red again. ``HYPOTHESIS_PROFILE=explore`` looks
for new examples and prints the seed and the blob that reproduce what it finds.

One thread multiplies matrices, in every test from the first to the last: the last digits of a product depend on how
many there are, some commands settle on one, and what was computed before is compared with what comes after.

``--core-only`` is for an environment without extras: it leaves out the tests that import the lab
or anything not installed, and says which. Without the option a missing module is an error, so no
test can vanish by accident.
"""

from __future__ import annotations

import ast
import os
import platform
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy reads it when it is loaded: after this file

try:
    import hypothesis
except ImportError:  # `pytest scenarios/` needs the lab only
    PROFILE = ""
else:
    PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
    hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
    hypothesis.settings.register_profile("few", derandomize=True, deadline=None, max_examples=10)
    hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
    hypothesis.settings.load_profile(PROFILE)

TESTS = Path(__file__).parent / "tests"
OPTIONAL = ("avsync.webrtc", "avsync.server", "avsync.glass", "avsync.scorer")
"""Parts of avsync that need an extra; importing any of their files imports the part."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.hasplugin("avsync"):  # a checkout that is not installed, as in tox's boundaries
        pluginmanager.import_plugin("avsync.pytest_plugin")
    parser.addoption("--core-only", action="store_true", help="only tests that need neither the lab nor any extra")


def pytest_report_header(config: pytest.Config) -> list[str]:
    lines = []
    if PROFILE:
        fixed = PROFILE in ("ci", "few")
        chance = "derandomized: the same examples every time" if fixed else "random, see --hypothesis-seed"
        lines.append(f"hypothesis: profile {PROFILE} ({chance})")
    if config.getoption("core_only"):
        left_out = [
            str(path.relative_to(TESTS)) for path in sorted(TESTS.rglob("test_*.py")) if needs_more_than_core(path)
        ]
        lines.append(f"core only: Python {platform.python_version()}, without {' '.join(left_out) or 'exception'}")
    return lines


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("core_only") and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return True if needs_more_than_core(collection_path) else None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("core_only"):
        lab = [item for item in items if item.get_closest_marker("lab")]
        config.hook.pytest_deselected(items=lab)
        items[:] = [item for item in items if item not in lab]


def needs_more_than_core(path: Path) -> bool:
    """True if this test file, or a neighbour it imports, imports the lab or what is not installed."""
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module)
    for name in roots:
        root = name.partition(".")[0]
        neighbour = TESTS.parent / f"{name.replace('.', '/')}.py"
        if root == "tests" and neighbour.is_file():
            if needs_more_than_core(neighbour):
                return True
        elif root in ("sim", "benchmarks") or find_spec(root) is None or name.startswith(OPTIONAL):
            return True
    return False
