"""Every block of every page is what it says: it runs, it is valid, it prints what stands below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, blocks_of, check_page
from tests.docs.talking_clip import write_talking_clip

WITH_BLOCKS = [page for page in PAGES if blocks_of(page)]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_are_what_they_say(page: Path, tmp_path: Path) -> None:
    if any("talk.mp4" in str(block.parsed) for block in blocks_of(page)):
        write_talking_clip(tmp_path / "talk.mp4")
    assert check_page(page, tmp_path) == []


def test_no_page_is_without_a_title() -> None:
    assert [page.name for page in PAGES if not page.read_text("utf-8").lstrip().startswith(("# ", "---"))] == []


FENCE = "```"
PLANTED = {
    "a language that nobody checks": ("ruby", "", "puts 1", "nobody checks a block of 'ruby'"),
    "no language": ("", "", "x", "nobody checks a block of ''"),
    "python that raises": ("python", "", "1 / 0", "ZeroDivisionError"),
    "python that names nothing": ("python", "", "from avsync import AvSynchroniser", "ImportError"),
    "python that awaits nothing": ("python", "", "import asyncio\nawait asyncio.sleeep(0)", "AttributeError"),
    "a scenario with a wrong key": ("yaml", "", "avsync: 1\nabuot: x\nduration_s: 5\n", "exit 2"),
    "an excerpt with a wrong key": ("yaml", "excerpt: scenario", "network:\n  to_veiwer: {delay_ms: 5}\n", "to_viewer"),
    "a policy with a wrong name": ("toml", "file: p.toml", "late_vidoe_ms = 45", "late_video_ms"),
    "a policy without a name": ("toml", "", "late_video_ms = 45", "a policy has a name"),
    "an option that does not exist": ("sh", "", "avsync serve --mood avsync", "SystemExit"),
    "a command that does not exist": ("sh", "", "avsync sreve", "SystemExit"),
    "another program": ("sh", "", "curl example.org", "nobody checks"),
    "a scenario that is not shipped": ("sh", "", "avsync run vidoe_stall", "exit 2"),
    "an extra that does not exist": ("sh", "", "pip install 'avsync[labs]'", "no such extra"),
    "a version that is not pinned": ("sh", "", "pip install numpy==1.0", "not the pinned version"),
    "tests that are not there": ("sh", "", "pytest tests/nowhere", "no such tests"),
    "a tox environment that is not there": ("sh", "", "tox -e tset", "no environment"),
    "a module that is not there": ("sh", "", "python -m sim.nowhere", "no module"),
    "no command at all": ("sh", "", "# nothing", "no command"),
    "a name that a script does not export": (
        "js", "", 'import { rapport } from "/viewer.js"; // avsync/webrtc/static/viewer.js', "does not export rapport",
    ),
    "an output that nothing printed": ("text", "", "42", "no block above printed this"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_an_error_in_a_block_is_noticed(planted: str, tmp_path: Path) -> None:
    language, mark, source, said = PLANTED[planted]
    page = tmp_path / "page.md"
    comment = f"<!-- {mark} -->\n" if mark else ""
    page.write_text(f"# A page\n\n{comment}{FENCE}{language}\n{source}\n{FENCE}\n", encoding="utf-8")
    wrong = check_page(page, tmp_path)
    assert len(wrong) == 1 and said in wrong[0] and wrong[0].startswith(f"page.md:{4 if mark else 3}: ")


def test_an_output_that_differs_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{FENCE}python\nprint(41)\n{FENCE}\n\n{FENCE}text\n42\n{FENCE}\n", encoding="utf-8")
    assert len(check_page(page, tmp_path)) == 1


def test_code_that_a_reader_does_not_see_runs_too(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    hidden = "<!-- invisible-code-block: python\nanswer = 42\n-->\n"
    page.write_text(
        f"# A page\n\n{hidden}\n{FENCE}python\nprint(answer)\n{FENCE}\n\n{FENCE}text\n42\n{FENCE}\n", "utf-8"
    )
    assert check_page(page, tmp_path) == []
