"""Blocks: every fenced block of a page, found by Sybil and checked by its language. One that nobody checks is an error.

    python   runs, in the page's own namespace; ``await`` is allowed at the top
    yaml     a scenario; it is replayed with one seed and must meet its limits
    toml     a policy
    sh       every line is known: ``avsync`` runs in the page's own folder, or is parsed (see ``PARSED``)
    js       what it imports is exported by the file that its comment names
    text     what the block right above it printed

A comment right above a block says what else there is to know of it:

    <!-- file: my_call.yaml -->     the block is also written to that file, for the lines below it
    <!-- excerpt: scenario -->      yaml: keys of a scenario, completed here and validated, not run
    <!-- drawing -->                text: nothing printed it; its paths are looked up as everywhere (test_names.py)
    <!-- avsync run barge_in -->    text: printed by this line, which is run

A comment ``<!-- invisible-code-block: python ... -->`` is code that a reader does not need to see. It runs too.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from avsync.cli import main
from avsync.policy import AvSyncPolicy
from sim.scenario.scenario import loads
from tests.docs.shell import check_line, lines_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md")  # the examples' own pages: tests/examples
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
BASE = "avsync: 1\nabout: An excerpt of a page.\nduration_s: 60\nseeds: [1]\n"
"""What an excerpt of a scenario leaves out, where it does."""
CHILD_S = 120
"""A child that hangs is an error, not a stuck job."""
CHILD_ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
}
CHILD_S = 120
"""A child that hangs is an error, not a stuck job."""
CHILD_ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
}
MARK = re.compile(r"<!-- (.*?) -->\n\Z")


def parse_blocks(document: Document) -> Iterable[Region]:
    """A Sybil parser that leaves nothing out: all fenced blocks, whatever language they name, and invisible code."""
    fenced = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))
    hidden = DirectiveInHTMLCommentLexer(
        "invisible-code-block", "python", mapping={"arguments": "language", "source": "source"}
    )
    for region in (*fenced(document), *hidden(document)):
        mark = MARK.search(document.text[: region.start])
        region.parsed = (region.lexemes["language"].strip(), mark[1] if mark else "", str(region.lexemes["source"]))
        region.evaluator = check_block
        yield region


def blocks_of(page: Path) -> list[Example]:
    return list(Sybil([parse_blocks]).parse(page).examples())


def check_page(page: Path, folder: Path) -> list[str]:
    """Check all blocks of a page in their order, in ``folder``; what is wrong, one text per block."""
    wrong = []
    with contextlib.chdir(folder), asyncio.Runner() as runner:
        for block in blocks_of(page):
            block.namespace["_runner"] = runner
            try:
                block.evaluate()
            except (Exception, SystemExit) as error:
                wrong.append(f"{page.name}:{block.line}: {type(error).__name__}: {error}")
    return wrong


def check_block(example: Example) -> None:
    """A Sybil evaluator. What a block printed is kept in the namespace for the block of ``text`` below it."""
    language, mark, source = example.parsed
    check = CHECKS.get(language)
    if check is None:
        raise AssertionError(f"nobody checks a block of {language!r}; known: {', '.join(CHECKS)}")
    if mark.startswith("file: "):
        Path(mark.removeprefix("file: ")).write_text(source, encoding="utf-8")
    if language != "text":
        example.namespace["_printed"] = ""
    check(example, mark, source)


# ---- by language


def check_python(example: Example, _mark: str, source: str) -> None:
    # As many empty lines first as stand above it, so that a traceback names the page's own line.
    code = compile("\n" * example.line + source, str(example.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    namespace = example.namespace
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            namespace["_runner"].run(eval(code, namespace))
        else:
            exec(code, namespace)
    namespace["_printed"] = printed.getvalue()


def check_yaml(example: Example, mark: str, source: str) -> None:
    if mark == "excerpt: scenario":
        given = {line.partition(":")[0] for line in source.splitlines()}
        base = "".join(line for line in BASE.splitlines(keepends=True) if line.partition(":")[0] not in given)
        loads(base + source, f"{example.path}:{example.line}")
        return
    name = mark.removeprefix("file: ") if mark.startswith("file: ") else "block.yaml"
    Path(name).write_text(source, encoding="utf-8")
    _run(example, f"avsync run {name}")


def check_toml(example: Example, mark: str, source: str) -> None:
    if not mark.startswith("file: "):
        raise AssertionError("a policy has a name: <!-- file: my_policy.toml -->")
    AvSyncPolicy.load(mark.removeprefix("file: "))


def check_sh(example: Example, _mark: str, source: str) -> None:
    lines = lines_of(source)
    if not lines:
        raise AssertionError("there is no command in it")
    for line in lines:
        if (words := check_line(line)) is not None:
            _run(example, line, words)


def check_js(example: Example, _mark: str, source: str) -> None:
    """``import { report } from "/viewer.js"; // avsync/webrtc/static/viewer.js``"""
    found = re.findall(r"^import \{ (.*?) \} from .*?; // (\S+\.js)", source, re.M)
    if not found:
        raise AssertionError("no import whose file a comment names")
    for names, file in found:
        exported = set(
            re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", (ROOT / file).read_text("utf-8"), re.M)
        )
        missing = set(re.split(r",\s*", names)) - exported
        if missing:
            raise AssertionError(f"{file} does not export {', '.join(sorted(missing))}")


def check_text(example: Example, mark: str, source: str) -> None:
    if mark == "drawing":
        return
    if mark.startswith("avsync "):
        _run(example, mark)
    printed = example.namespace.get("_printed", "")
    if not printed:
        raise AssertionError("no block above printed this; a drawing is marked <!-- drawing -->")
    if _plain(printed) != _plain(source):
        raise AssertionError(f"the page says\n{source}\nand printed was\n{printed}")


CHECKS = {
    "python": check_python,
    "yaml": check_yaml,
    "toml": check_toml,
    "sh": check_sh,
    "js": check_js,
    "text": check_text,
}


def _plain(text: str) -> list[str]:
    """Lines to be compared: how long something took is not part of what it says."""
    return [re.sub(r"\b\d+\.\d+s\b", "0.00s", line.rstrip()) for line in text.strip().splitlines()]


def _run(example: Example, line: str, words: list[str] | None = None) -> None:
    """Run one line: ``avsync`` in this process, else a child. The exit code is 0, or the one its comment names."""
    words = check_line(line) if words is None else words
    assert words is not None
    ran = example.namespace.setdefault("_ran", {})
    if (printed_before := ran.get(tuple(words))) is not None:  # a scenario's own block has just run it
        example.namespace["_printed"] = printed_before
        return
    says = re.search(r"#.*\bexit (\d+)$", line)
    wanted = int(says[1]) if says else 0
    if words[0] == "avsync":
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            code = main(words[1:])
        out, err = printed.getvalue(), errors.getvalue()
    else:
        program = [sys.executable] if words[0] == "python" else [words[0]]
        done = subprocess.run([*program, *words[1:]], capture_output=True, text=True, timeout=CHILD_S, env=CHILD_ENV)
        code, out, err = done.returncode, done.stdout, done.stderr
    if code != wanted:
        raise AssertionError(f"{line}: exit {code}, wanted {wanted}\n{out}{err}")
    example.namespace["_printed"] = ran[tuple(words)] = out
