"""Markup: HTML from calls, escaped by default.

``tag("td", "<b>", class_="n")`` is ``<td class="n">&lt;b&gt;</td>``: a plain str is text, and only
what ``tag`` returned is markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

VOID = frozenset({"meta", "img", "input", "br"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Iterable[str]


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """One element. Attributes: ``class_`` is class, ``data_v`` is data-v; True stands alone, None and False are left
    out."""
    words = [name]
    for key, value in attributes.items():
        spoken = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(spoken)
        elif value is not None and value is not False:
            words.append(f'{spoken}="{html.escape(value, quote=True)}"')
    start = f"<{' '.join(words)}>"
    return Html(start if name in VOID else f"{start}{text(*children)}</{name}>")


def text(*children: Child) -> Html:
    """Children in a row, escaped where they are not markup."""
    parts = []
    for child in children:
        if isinstance(child, str):
            parts.append(child if isinstance(child, Html) else html.escape(child, quote=False))
        else:
            parts.append(text(*child))
    return Html("".join(parts))


def page(title: str, *body: Child) -> str:
    """A whole page with the report's own style and script; it may load nothing at all."""
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", title),
        tag("style", Html(style)),
    )
    content = tag("body", tag("main", *body), tag("script", Html(script)))
    return f"<!doctype html>\n{tag('html', head, content, lang='en')}\n"
