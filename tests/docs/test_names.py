"""What a page names is there: files and folders, modules and what is in them, targets of links."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT
from tests.docs.shell import check_line

ALL = [*PAGES, *sorted(ROOT.glob("examples/*/README.md"))]
FOLDERS = ("avsync", "sim", "docs", "examples", "tests", "benchmarks", "scenarios", "results")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```text\n(.*?)^```", re.M | re.S)
IN_DRAWING = re.compile(rf"\b(?:{'|'.join(FOLDERS)})(?:/[\w.]+)+")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*|[\w/.-]+\.py")
MODULE = re.compile(r"(?:avsync|sim|benchmarks)(?:\.\w+)+")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)|(?:src|srcset)=\"([^\"]+)\"")


def missing(page: Path, text: str) -> list[str]:
    """Names on a page that name nothing, in the order of the page."""
    wrong = []
    drawn = [name for block in BLOCK.findall(text) for name in IN_DRAWING.findall(block)]
    for name in (*CODE.findall(text), *drawn):
        if PATH.fullmatch(name):
            if not any((base / name.rstrip("/")).exists() for base in (ROOT, page.parent)):
                wrong.append(name)
        elif MODULE.fullmatch(name) and not is_there(name):
            wrong.append(name)
    for targets in LINK.findall(text):
        target = targets[0] or targets[1]
        if "://" not in target and not (page.parent / target).exists():
            wrong.append(target)
    return wrong


COMMAND = re.compile(r"(?:avsync|tox|pytest|python -m|mkdocs) [^…|]*")


def wrong_commands(text: str) -> list[str]:
    """Commands inside a sentence that the real parser, or this repository, does not know. They are not run."""
    wrong = []
    for command in CODE.findall(text):
        if COMMAND.fullmatch(command):
            try:
                check_line(command)
            except (AssertionError, SystemExit) as error:
                if not names_a_subcommand(command):
                    wrong.append(f"{command}: {error}")
    return wrong


def names_a_subcommand(command: str) -> bool:
    """``avsync scorer train``: the name of one, its arguments left out. Its own help knows it."""
    if not re.fullmatch(r"avsync( [a-z-]+){1,2}", command):
        return False
    try:
        check_line(f"{command} --help")
    except SystemExit as end:
        return end.code == 0
    return False


def is_there(dotted: str) -> bool:
    """``avsync.policy.AvSyncPolicy``: a module that can be found, and what is in it."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if found:
            value: object = importlib.import_module(name) if length < len(parts) else None
            for attribute in parts[length:]:
                if not hasattr(value, attribute):
                    return False
                value = getattr(value, attribute)
            return True
    return False


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    assert missing(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_in_a_sentence_is_one_that_works(page: Path) -> None:
    assert wrong_commands(page.read_text(encoding="utf-8")) == []


def test_a_command_that_does_not_work_is_noticed() -> None:
    assert wrong_commands("`tox -e tests` `avsync run my_call.yaml` `python -m sim.report.baseline_table`") == []
    bad = [
        "avsync scorer trian",
        "tox -e typos",
        "avsync run --polcy default",
        "python -m sim.nowhere",
        "pytest tests/nowhere",
    ]
    assert len(wrong_commands("".join(f"`{command}` " for command in bad))) == len(bad)


def test_a_name_of_nothing_is_noticed() -> None:
    page = ROOT / "docs" / "page.md"
    good = ("avsync/engine/synchronizer.py", "sim/run", "avsync.policy.AvSyncPolicy", "sim.report.html", "my_call.yaml")
    assert missing(page, "".join(f"`{name}` " for name in good) + "[x](engine.md)") == []
    bad = ["voice.py", "avsync/voice.py", "avsync.voice", "avsync.policy.AvSyncPolicies", "sim/weather/"]
    assert missing(page, "".join(f"`{name}` " for name in bad) + "[x](nowhere.md)") == [*bad, "nowhere.md"]
    assert missing(page, "```text\na ─▶ avsync/gone.py ─▶ sim/run\n```\n") == ["avsync/gone.py"]
