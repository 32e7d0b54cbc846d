"""Words from outside, such as the names of files, as they may be shown: no terminal and no page acts upon them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def visible(text: str) -> str:
    """Control characters and what is not Unicode as escapes (``a\\x1b[31m``); a line break stays one."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def shell_line(words: Iterable[str]) -> str:
    """A command that can be pasted: quoted where it must be, as ``$'...'`` where a quote would hide a character."""
    return " ".join(_shell_word(word) for word in words)


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + visible(quoted).replace("\n", "\\n") + "'"
