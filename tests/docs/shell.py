"""Shell: what stands in a page's ``sh`` blocks, line by line. A line that is not known here is an error.

``check_line`` answers the words of a command that is to be run (``avsync …``, and in an example's folder its programs),
or None where looking at the line is all: commands that serve, train, or need a browser are given to the real argument
parser; what installs names extras that exist and pinned versions; what starts a tool of this repository names what is
there.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

from avsync.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
PARSED = ("attack", "glass", "scorer", "serve")
"""They search, serve, train, or need a browser."""
ONE_SEED, QUIET = ("--seeds", "1"), ("--no-plots", "--jobs", "1")
FEW = ("--viewer", "browser", "--no-baselines")
"""Added to `avsync run` where a line does not say otherwise: a page shows what to type, a test need not wait for all of
it. What runs more than one scenario is also not compared with its baselines."""


def lines_of(source: str) -> list[str]:
    """Commands, each on a line: continuations joined, comments and ``$ `` left out where they stand alone."""
    joined = re.sub(r"\\\n\s*", "", source)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def check_line(line: str) -> list[str] | None:
    """Words to be run, or None. ``AssertionError`` or ``SystemExit``: the line is wrong."""
    code = line.partition("  #")[0].strip()
    loop = re.fullmatch(r"for (\w+) in ([\w ]+); do (.*); done", code)
    if loop:
        for value in loop[2].split():
            check_line(re.sub(rf"\${loop[1]}\b", value, loop[3]))
        return None
    words: list[str] | None = None
    for part in code.split("&&"):
        words = _check_command(part.strip())
    return words


def _check_command(code: str) -> list[str] | None:
    words = shlex.split(re.sub(r" \d?>>? ?\S+", "", code))
    command = Path(words[0]).name if words[0].startswith(".venv/bin/") else words[0]
    checks: dict[str, Callable[[list[str]], list[str] | None]] = {
        "avsync": _avsync, "pip": _pip, "python": _python, "python3": _python, "pytest": _pytest, "tox": _tox,
        "cat": _cat, "cd": _known, "git": _known, "mkdocs": _known, "ruff": _known, "mypy": _known,
    }  # fmt: skip
    if command not in checks:
        raise AssertionError(f"nobody checks {code!r}")
    return checks[command](words[1:])


def _avsync(words: list[str]) -> list[str] | None:
    args = _parser(words[0] if words else "").parse_args(words)
    if args.command in PARSED:
        return None
    if args.command != "run":
        return ["avsync", *words]
    seeds = () if any(word.startswith("--seed") for word in words) else ONE_SEED
    few = FEW if len(args.scenarios) != 1 and len(words) == 1 + len(args.scenarios) else ()
    return ["avsync", *words, *seeds, *few, *QUIET]


def _pip(words: list[str]) -> None:
    """Extras exist; a version is the pinned one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert words[0] == "install", words
    for word in words[1:]:
        if match := re.fullmatch(r"(?:avsync|\.)\[(.*)\]", word):
            unknown = set(match[1].split(",")) - set(project["optional-dependencies"])
            assert not unknown, f"no such extra: {unknown}"
        elif "==" in word:
            assert word in pins, f"{word} is not the pinned version"
        else:
            named = word.startswith("-") or word in ("avsync", "constraints.txt", ".")
            assert named or any(pin.partition("==")[0] == word for pin in pins), f"{word} is not pinned"


def _cat(words: list[str]) -> list[str]:
    return ["cat", *words]


def _python(words: list[str]) -> list[str] | None:
    if words[:2] == ["-m", "venv"]:
        return None
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None, f"no module {words[1]}"
        return None
    if Path(words[0]).is_file():  # an example, in its own folder; what serves is told to end by itself
        serves = "--check" not in words and "--check" in Path(words[0]).read_text("utf-8")
        return None if serves else ["python", *words]
    there = ROOT / words[0]
    assert there.exists(), f"no file {words[0]}"
    if there.name == "benchmarks":
        missing = [name for name in words[1:] if not list(there.glob(f"*{name}*.py"))]
        assert not missing, f"no benchmark {missing}"
    return None


def _pytest(words: list[str]) -> list[str] | None:
    if Path("pytest.ini").is_file():  # an example that is a repository of its own
        return ["python", "-m", "pytest", "-p", "no:cacheprovider", *words]
    paths = [word.partition("::")[0] for word in words if not word.startswith("-") and ("/" in word or "." in word)]
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing, f"no such tests: {missing}"
    return None


def _tox(words: list[str]) -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    known = {name.removeprefix("testenv:") for name in tox.sections()}
    for listed in tox["tox"]["env_list"].split():
        start, brace, choices = listed.partition("{")
        known |= {start + choice for choice in choices.rstrip("}").split(",")} if brace else {listed}
    for flag, value in zip(words, words[1:], strict=False):
        if flag == "-e":
            unknown = set(value.split(",")) - known
            assert not unknown, f"no environment {unknown}"


def _known(_words: list[str]) -> None:
    """Of other people's: what stands here is what is meant."""
