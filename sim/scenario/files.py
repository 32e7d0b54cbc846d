"""Where scenarios are found: in a checkout, in the installed wheel, and wherever you keep yours.

A word such as ``video_stall`` names a shipped scenario and works from any folder; anything with
a slash or a suffix is a path of yours. No file is opened here.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from avsync.errors import InputError
from sim.scenario.words import visible

SUFFIXES = (".yaml", ".yml")
NAMED = ("video_stall", "audio_stall", "jitter_burst", "bridge_clock_drift")
"""Run where nothing is named: one of each sort of trouble. The README quotes them."""


def shipped() -> Path:
    """The folder of the scenarios that came with this installation.

    In the wheel they lie inside this package; a checkout has them beside it.
    """
    here = Path(__file__).resolve().parent.parent
    inside = here / "_scenarios"
    return inside if inside.is_dir() else here.parent / "scenarios"


def resolve(args: Sequence[str] = ()) -> list[Path]:
    """What ``avsync run`` was given -> scenario files, each once, in the order given.

    ``scenarios/`` (or nothing at all) is the folder of that name here, or else the shipped one;
    a folder stands for its ``*.yaml`` and ``*.yml`` by name, not for what lies below them.
    ``InputError`` if one of the arguments leads to no file.
    """
    found: dict[Path, Path] = {}
    for arg in args or ("scenarios/",):
        for path in _one(arg):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _one(arg: str) -> list[Path]:
    try:
        check_name(arg)
        path = Path(arg)
        is_word = path.name == arg and not path.suffix
        if is_word and not path.is_file() and (named := shipped() / f"{arg}.yaml").is_file():
            return [named]
        if not path.exists() and path == Path("scenarios"):
            path = shipped()
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return [path]
        if path.exists():
            raise InputError("not a regular file", file=visible(arg))
        what = "scenario" if is_word else "scenario file"
        raise InputError(f"there is no {what} {_short(arg)}", remedy=_suggest(path, is_word))
    except (OSError, ValueError) as error:  # a name too long, a NUL in it, a folder we may not read
        why = getattr(error, "strerror", None) or "not a file name"
        raise InputError(f"cannot look for {_short(arg)}: {why}") from None


def _folder(path: Path) -> list[Path]:
    inside = _scenarios_in(path)
    if not inside:
        raise InputError("no scenario in this folder", file=str(path), remedy="expected files that end in .yaml")
    for file in inside:
        check_name(str(file))
    return inside


def check_name(name: str) -> None:
    """Results are written in these names: an empty one, or one that is not UTF-8, is refused before anything runs."""
    if not name:
        raise InputError("a name is empty", remedy="is a variable of your shell unset?")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the name {_short(name)} is not UTF-8", remedy="rename the file") from None


def _scenarios_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name[0] != "." and path.is_file()
    )


def _suggest(path: Path, is_word: bool) -> str:
    """The nearest name: for a file among its neighbours, then among the shipped ones."""
    neighbours = [] if is_word else _scenarios_in(path.parent)
    for known, as_file in ((neighbours, True), (_scenarios_in(shipped()), False)):
        near = difflib.get_close_matches(path.stem[:80], [other.stem for other in known], n=1)
        if near:
            name = next(other.name for other in known if other.stem == near[0])
            return f"did you mean {str(path.with_name(name)) if as_file else near[0]!r}?"
    return "shipped: " + ", ".join(other.stem for other in _scenarios_in(shipped()))


def _short(arg: str) -> str:
    return repr(arg if len(arg) <= 120 else arg[:117] + "...")
