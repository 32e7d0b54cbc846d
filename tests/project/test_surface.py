"""The surface: what ``from avsync import …`` promises is enough, is explained, and can be checked by others."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import avsync
from avsync import Answer

HERE = Path(__file__).parent
PROGRAM = HERE / "foreign_program.py"
PRINTS = """\
  1140 ms  please SKIP_TO_PTS 1260000000
  1340 ms  please SKIP_TO_PTS 1460000000
  1340 ms  show the last picture
  1400 ms  show lips
  2000 ms  interrupted at 1900 ms of content
  2000 ms  show the idle picture
offset p95 220 ms; 6 pictures came too late, 81 units were stale
"""
CLASSES = [one for one in (getattr(avsync, name) for name in avsync.__all__) if inspect.isclass(one)]


def test_every_answer_that_poll_can_give_is_promised() -> None:
    assert set(get_args(Answer)) <= set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_promised_class_needs_none_that_is_not(cls: type) -> None:
    """What its fields, arguments and answers are made of can be imported from ``avsync`` itself."""
    members = [cls.__init__, *(getattr(each, "fget", each) for name, each in vars(cls).items() if name[0] != "_")]
    hints = [get_type_hints(cls), *(get_type_hints(member) for member in members if inspect.isfunction(member))]
    used = {part for hint in hints for given in hint.values() for part in (given, *get_args(given))}
    ours = {one for one in used if inspect.isclass(one) and one.__module__.startswith("avsync")}
    assert ours - {Answer} <= set(CLASSES)


@pytest.mark.parametrize("name", [name for name in avsync.__all__ if name not in ("Answer", "__version__")])
def test_what_is_promised_is_explained(name: str) -> None:
    """A docstring of its own on each class, and on each method that is its own and public."""
    one: Any = getattr(avsync, name)
    assert (one.__doc__ or "").strip() and one.__doc__ not in (Enum.__doc__, tuple.__doc__)
    assert not one.__doc__.startswith(f"{one.__name__}("), "made up by NamedTuple or dataclass"
    if inspect.isclass(one):
        own = {name: each for name, each in vars(one).items() if name[0] != "_" and not isinstance(each, Enum)}
        silent = [name for name, each in own.items() if callable(each) and not (each.__doc__ or "").strip()]
        silent += [name for name, each in own.items() if isinstance(each, property) and not each.__doc__]
        assert silent == []


def test_what_is_imported_when_it_is_asked_for_looks_as_if_it_were_there() -> None:
    """``import avsync`` alone brings no engine; a star, ``dir`` and an unknown name answer as ever."""
    code = """
import sys, avsync
print([name for name in ("engine", "monitor", "timeline") if f"avsync.{name}" in sys.modules])
print(sorted({*avsync.__all__} - {*dir(avsync)}))
names = {}
exec("from avsync import *", names)
print(sorted({*avsync.__all__} - {*names}), avsync.AvSyncClock is names["AvSyncClock"])
print(hasattr(avsync, "AvSyncClok"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]", "[] True", "False"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(avsync.__file__).parent / "py.typed").is_file()


def test_a_program_of_somebody_else_runs_as_it_stands() -> None:
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, env=_environment())
    assert (done.stdout, done.stderr, done.returncode) == (PRINTS, "", 0)


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed here; tox -e tests runs this")
def test_it_is_clean_under_mypy_strict(tmp_path: Path) -> None:
    """From another folder and without our settings, as its author would."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(PROGRAM)], capture_output=True, text=True, cwd=tmp_path, env=_environment("MYPYPATH")
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _environment(*also: str) -> dict[str, str]:
    """The avsync under test, installed or not."""
    root = Path(avsync.__file__).resolve().parents[1]
    if root.name == "site-packages":
        return dict(os.environ)
    return {**os.environ, **dict.fromkeys(("PYTHONPATH", *also), str(root))}
