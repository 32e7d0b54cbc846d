"""Pytest plugin: scenario files as tests, one item per viewer and seed, and one per baseline.

    pytest scenarios/                                        what the ini option avsync_scenarios names
    pytest my_call.yaml                                      any file with a top-level key ``avsync:``
    pytest scenarios/video_stall.yaml::browser-seed=3        one run
    pytest scenarios/ -k "browser-seed-3 and not baseline"   ``=`` has a meaning in -k, so ``-`` stands for it

Pytest loads this module wherever avsync is installed: it imports nothing heavy, and opens no file
that was not selected. The lab runs in a child interpreter (``sim/pytest_items.py``), started at the
first scenario, because other repositories have a ``sim`` of their own, which pytest puts first.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

SUFFIXES = (".yaml", ".yml")
HEAD_BYTES = 65_536
KEY = re.compile(rb"""^(?:\xef\xbb\xbf)?(?:\{\s*)?["']?avsync["']?\s*:""", re.MULTILINE)
"""A top-level key in block style, or the first one in flow style."""

ROOT = Path(__file__).absolute().parent.parent
"""Where ``avsync`` lies, and ``sim`` beside it: a checkout or site-packages."""

# The lab's own path goes between the standard library and site-packages: before an editable install
# of a repository with a `sim` of its own, behind everything that a stray file there could shadow.
CHILD = """\
import sys
sys.path.append({root!r})
import site
site.main()
try:
    from sim.pytest_items import main
except ImportError as error:
    sys.exit(f"the lab needs {{error.name}}, which is not installed\\n  pip install 'avsync[lab]'")
main()
"""
NOT_INSTALLED = "the lab needs "


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("avsync")
    group.addoption("--avsync-slow", action="store_true", help="also scenarios tagged slow")
    parser.addini("avsync_scenarios", "folders, files or globs of scenarios to collect", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LAB] = Lab(config.invocation_params.dir)
    config.stash[LISTED] = _listed(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (lab := config.stash.get(LAB, None)) is not None:
        lab.stop()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    if file_path.suffix not in SUFFIXES:
        return None
    listed = parent.config.stash[LISTED]
    if not listed.isdisjoint((file_path, *file_path.parents)):
        return ScenarioFile.from_parent(parent, path=file_path)
    if parent.session.isinitpath(file_path) and _has_key(file_path):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


class ScenarioFile(pytest.File):
    """One file. Bad input is an error of its collection, with file, line, column, rule and remedy."""

    def collect(self) -> Iterator[pytest.Item]:
        file = _shown(self.path, self.config.invocation_params.dir)
        said = self._ask({"do": "list", "file": file})
        left_out = "slow" in said["tags"] and not self.config.option.avsync_slow
        if left_out and not self.session.isinitpath(self.path):
            self.add_marker(pytest.mark.skip(reason="tagged slow: add --avsync-slow, or name the file"))
        for viewer in said["viewers"]:
            for seed in said["seeds"]:
                for role in ("main", "baseline") if said["baseline"] else ("main",):
                    request = {"do": "run", "file": file, "viewer": viewer, "seed": seed, "role": role}
                    tail = "" if role == "main" else "-baseline"
                    item = ScenarioRun.from_parent(self, name=f"{viewer}-seed={seed}{tail}", request=request)
                    item.extra_keyword_matches.update((f"{viewer}-seed-{seed}{tail}", *said["tags"]))
                    yield item

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.config.stash[LAB].ask(request)
        except NoAnswerError as error:
            raise self.CollectError(str(error)) from None


class ScenarioRun(pytest.Item):
    """One run of one scenario. Its measures go into the report's ``user_properties``."""

    def __init__(self, *, request: dict[str, Any], **more: Any) -> None:
        super().__init__(**more)
        self.request = request

    def runtest(self) -> None:
        said = self.config.stash[LAB].ask(self.request)
        self.user_properties += [(name, value) for name, value in said["properties"]]
        if said["missed"]:
            raise MissedError(said["missed"])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A missed limit is no place in the source: what was wanted, what came, how to see it again."""
        if isinstance(excinfo.value, MissedError | NoAnswerError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.stem}: {self.name}"


class MissedError(Exception):
    """A limit was missed, or a baseline met what it has to miss. The text says all."""


class NoAnswerError(Exception):
    """The lab is not installed, refused the file, or broke. The text says all."""


class Lab:
    """The child interpreter: started when first asked, and again after it died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[str] | None = None
        self._stderr: Any = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer; ``NoAnswerError`` where there is none."""
        if self._child is None:
            self._start()
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        try:
            try:
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                line = ""
        except BaseException:  # Ctrl-C or a time limit: the answer to this would be taken for the next one's
            self.stop()
            raise
        if not line.endswith("\n"):
            self._died()
        said: dict[str, Any] = json.loads(line)
        if "refused" in said:
            raise NoAnswerError(said["refused"])
        if "broken" in said:
            raise NoAnswerError(f"this is a fault of avsync itself, not of the scenario\n{said['broken']}")
        return said

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed by stop()
        self._child = subprocess.Popen(
            # -I -S: no PYTHONPATH, no current folder, and site-packages only when CHILD says so.
            [sys.executable, "-I", "-S", "-c", CHILD.format(root=str(ROOT))],
            cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, encoding="utf-8",
        )  # fmt: skip

    def _died(self) -> NoReturn:
        assert self._child is not None
        status = self._child.wait()
        self._stderr.seek(0)
        said = self._stderr.read().strip()
        self.stop()
        if said.startswith(NOT_INSTALLED):
            raise NoAnswerError(said)
        raise NoAnswerError(f"the lab's process ended with status {status}\n{said}".rstrip())

    def stop(self) -> None:
        """Nothing is left behind, not even a run under way."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()
            self._stderr.close()


LAB = pytest.StashKey[Lab]()
LISTED = pytest.StashKey[frozenset[Path]]()


def _listed(config: pytest.Config) -> frozenset[Path]:
    """What the ini option names, relative to the ini file; folders stand for all below them."""
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    found: set[Path] = set()
    for pattern in config.getini("avsync_scenarios"):
        paths = [base / name for name in glob.glob(pattern, root_dir=base, recursive=True)]
        if not paths:
            raise pytest.UsageError(f"avsync_scenarios: nothing is named {pattern!r} in {base}")
        found.update(Path(os.path.normpath(path)) for path in paths)
    return frozenset(found)


def _has_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return KEY.search(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def _shown(path: Path, folder: Path) -> str:
    """As a person standing in ``folder`` would name it."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
