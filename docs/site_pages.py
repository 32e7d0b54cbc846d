"""A hook of MkDocs (mkdocs.yml): pages that are made when the site is built, and links that leave ``docs/``.

* ``reference/``: every key, step, metric, network, policy, policy field and word, from ``sim.scenario.reference``;
* ``api/``: one page per room of the SDK, filled from its docstrings by mkdocstrings;
* pages that lie elsewhere in the repository (examples, the changelog, results): taken in, their links made to fit.

A link to a file that is no page of the site (source code) becomes its name. Pages stay readable where they lie.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sim.scenario import reference
from sim.scenario.reference import Entry, Sort

ROOT = Path(__file__).resolve().parents[1]
TAKEN_IN = ("CONTRIBUTING.md", "CHANGELOG.md", "examples/*/README.md", "results/[bgs]*/*.md", "results/[bgs]*/*.png")
"""Besides docs/."""
ROOMS = ("timeline", "engine", "monitor", "last_mile", "recording", "adapters")
"""Of the core: each gets a page with all of its modules."""
PARTS = ("webrtc", "scorer")
"""Each gets a page with what its ``__init__`` lists."""
SINGLE = ("types", "units", "policy", "errors")
FOREIGN = re.compile(r"<(?:script|link|img|iframe|source)[^>]*(?:src|href|srcset)=\"((?:https?:)?//[^\"]*)\"")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")

PAGES: dict[str, tuple[Sort, str, str]] = {
    "keys": ("key", "Keys", "What may stand in a scenario. A key with a dot stands inside another one."),
    "steps": ("step", "Steps", "What happens during a run: `steps`, each with `at_s` and `do`."),
    "metrics": (
        "metric", "Metrics",
        "What a run is measured by, and what `expect` may limit. A plain name is measured at the viewer. With the "
        "prefix `output_` the same is measured at our own output. With `believed_` it is what the SDK's monitor said: "
        "a column beside the truth, never a limit. Too little data is UNKNOWN, never 0.",
    ),
    "networks": ("network", "Networks", "Presets for `network`, by name, each with its source."),
    "policies": ("policy", "Policies", "Presets for `policy`. Which one when: [Policies](../policies.md)."),
    "policy_fields": (
        "policy field", "Policy fields",
        "What a policy decides by. In YAML, TOML and on the command line people write milliseconds; in Python the same "
        "fields end in `_ns` and hold nanoseconds.",
    ),
    "words": ("word", "Words", "What the pages, tables and reports mean by a word that stands in no file."),
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for pattern in TAKEN_IN:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for name, text in generated():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links are written for the repository; here they are made to fit the site."""
    place = page.file.src_uri
    if place == "README.md":
        page.meta["hide"] = ["navigation"]  # one entry is no navigation
    taken_in = (ROOT / place).is_file() and not (ROOT / "docs" / place).is_file()
    folder = posixpath.dirname(place if taken_in else posixpath.join("docs", place))

    def fitted(match: re.Match[str]) -> str:
        bang, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        there = posixpath.normpath(posixpath.join(folder, target))
        uri = there.removeprefix("docs/")
        if files.get_file_from_path(uri) is not None:
            return f"{bang}[{text}]({posixpath.relpath(uri, posixpath.dirname(place) or '.')}{anchor})"
        if (ROOT / there).exists():
            return text
        return match[0]  # not there: the strict build says so

    return LINK.sub(fitted, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """No page loads anything from another host: the site also works where there is no network."""
    for page in Path(config.site_dir).rglob("*.html"):
        foreign = FOREIGN.findall(page.read_text(encoding="utf-8"))
        if foreign:
            raise PluginError(f"{page.name} loads {foreign[0]}")


def generated() -> Iterable[tuple[str, str]]:
    """(path in the site, Markdown) of every page that is made from code."""
    for name, (sort, title, about) in PAGES.items():
        yield f"reference/{name}.md", f"# {title}\n\n{about}\n\n" + "".join(map(_entry, reference.entries(sort)))
    yield (
        "api/avsync.md",
        _module("avsync", "avsync", "What `avsync/__init__.py` lists is a promise; everything else may move."),
    )
    for name in SINGLE:
        yield f"api/{name}.md", _module(f"avsync.{name}", f"avsync.{name}")
    for name in PARTS:
        yield f"api/{name}.md", _module(f"avsync.{name}", f"avsync.{name}")
    for room in ROOMS:
        modules = sorted((ROOT / "avsync" / room).glob("[!_]*.py"))
        parts = "".join(f"::: avsync.{room}.{path.stem}\n    options:\n      heading_level: 2\n\n" for path in modules)
        yield f"api/{room}.md", f"# avsync.{room}\n\n{parts}"


def _module(title: str, name: str, about: str = "") -> str:
    return f"# {title}\n\n{about}\n\n::: {name}\n    options:\n      show_root_heading: false\n      heading_level: 2\n"


def _entry(entry: Entry, level: int = 2) -> str:
    """A heading, the meaning, what may be written, an example that can stand as it is; then its parts in a table."""
    facts = [("unit", entry.unit), ("values", entry.values), ("default", f"`{entry.default}`" if entry.default else "")]
    said = " · ".join(f"{name}: {_cell(text)}" for name, text in facts if text)
    example = f"```yaml\n{entry.example}\n```\n\n" if entry.example else ""
    parts = _parts(list(_flat(entry.parts)), entry) if entry.parts else ""
    said = f"<small>{said}</small>\n\n" if said else ""
    return f"{'#' * level} `{entry.name}` {{ #{_anchor(entry.name)} }}\n\n{entry.about}\n\n{said}{example}{parts}"


def _flat(entries: Iterable[Entry]) -> Iterable[Entry]:
    for entry in entries:
        yield entry
        yield from _flat(entry.parts)


def _parts(parts: Sequence[Entry], above: Entry) -> str:
    """A table. An example that stands above it already is not repeated."""
    names = ["key", "meaning", "unit", "values", "default", "example"]
    rows = [
        [
            f"`{part.name.removeprefix(above.name + '.')}`",
            part.about,
            part.unit,
            part.values,
            f"`{part.default}`" if part.default else "",
            f"`{part.example}`" if part.example and part.example != above.example else "",
        ]
        for part in parts
    ]
    used = [column for column in range(len(names)) if any(row[column] for row in rows)]
    lines = [
        [names[column] for column in used],
        ["---"] * len(used),
        *([row[column] for column in used] for row in rows),
    ]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _anchor(name: str) -> str:
    return re.sub(r"\W", "-", name)
