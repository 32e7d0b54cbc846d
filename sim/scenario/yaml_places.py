"""YAML with places: plain data out of untrusted text, and where every piece of it stands.

Reads the part of YAML 1.2 that a scenario needs: mappings, lists and scalars, in one document.
``1e3`` is a number, ``on`` and ``yes`` are words. Anchors, aliases, tags, directives, duplicate
keys, tabs, ``.nan`` and ``.inf`` are refused, and size, depth and count are bounded, so no file
can cost more than a few seconds. Whatever is wrong is an ``InputError`` with file, line and column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import yaml

from avsync.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_KEYS = 200
"""In one mapping: the language's largest has a quarter of them, and a file of another sort is answered at once."""
MAX_INT = 1 << 53
"""Beyond this a float cannot hold a whole number; nothing in a scenario is that large."""
SHOWN_PROBLEMS = 10
SHOWN_COLUMNS = 100

Path = tuple[str | int, ...]
"""Where in the data: ``("steps", 0, "at_s")``."""

_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
# All but what YAML calls printable; nor the tab, the byte order mark and the line breaks of YAML 1.1. Written as what
# is odd, not as what is not: that set takes ten times as long to compile, which a wrong file would wait for.
_ODD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

_HINTS = {
    "mapping values are not allowed": "text that contains ': ' needs quotes, or the indentation is off",
    "could not find expected ':'": "each line is 'key: value'; long text needs quotes or a '>' block",
    "cannot start any token": "text that begins with this character needs quotes",
    "expected <block end>": "keys of the same level start in the same column",
    "expected ',' or": "close the bracket, or put a comma between the values",
    "while scanning a quoted scalar": "close the quotes",
}


class Problem(NamedTuple):
    """Something wrong at ``path``; with ``on_key`` the caret points at the key, not at its value."""

    path: Path
    rule: str
    hint: str = ""
    on_key: bool = False


class TextPlace(NamedTuple):
    """A character in the text."""

    line: int  # from 0
    column: int  # from 0, in characters


@dataclass(slots=True)
class Document:
    """Plain data, and the place of each key and value by path."""

    file: str
    lines: list[str]
    data: Any = None
    values: dict[Path, TextPlace] = field(default_factory=dict)
    keys: dict[Path, TextPlace] = field(default_factory=dict)
    problems: list[tuple[TextPlace, Problem]] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    """Places whose value could not be read, which ``problems`` says; the data has ``None`` there."""

    def place(self, problem: Problem) -> TextPlace:
        """Where to point: the key or value itself, or the nearest thing around it."""
        path = problem.path
        if problem.on_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, TextPlace(0, 0))

    def error(self, problems: list[Problem]) -> InputError:
        """All that is wrong with this file, in reading order, as one error."""
        placed = self.problems + [(self.place(problem), problem) for problem in problems]
        return located(self.file, self.lines, sorted(placed, key=lambda item: item[0]))


def located(file: str, lines: list[str], placed: list[tuple[TextPlace, Problem]]) -> InputError:
    """``file:line:col: rule``, the line, a caret and the remedy, for each problem up to ten."""
    first_place, first = placed[0]
    text = _excerpt(lines, first_place, first.hint)
    for (_, before), (place, problem) in pairwise(placed[:SHOWN_PROBLEMS]):
        more = _excerpt(lines, place, problem.hint if problem.hint != before.hint else "")
        text += f"\n{file}:{_spot(place)}: {problem.rule}" + (f"\n  {more}" if more else "")
    if len(placed) > SHOWN_PROBLEMS:
        text += f"\nand {len(placed) - SHOWN_PROBLEMS} more"
    return InputError(first.rule, file=file, place=_spot(first_place), remedy=text)


def _spot(place: TextPlace) -> str:
    return f"{place.line + 1}:{place.column + 1}"


def _excerpt(lines: list[str], place: TextPlace, hint: str) -> str:
    line = lines[place.line] if place.line < len(lines) else ""
    start = max(0, min(place.column, len(line)) - SHOWN_COLUMNS // 2)
    shown = "".join(char if char.isprintable() else "?" for char in line[start : start + SHOWN_COLUMNS])
    caret = " " * max(0, place.column - start) + "^"
    pointed = ["  " + shown.rstrip(), "  " + caret] if shown.strip() else []
    return "\n  ".join([*pointed, *([hint] if hint else [])])


def read(text: str | bytes, file: str) -> Document:
    """Parse ``text``. Duplicate and odd keys are collected in ``problems``; all else is raised."""
    clean = _clean(text, file)
    document = Document(file, clean.split("\n"))
    # PyYAML's own parser, not libyaml: the two disagree about odd files, and a file must not mean
    # something else on another machine. A scenario takes 2 ms, the worst megabyte 1 s.
    reader = _Reader(document, yaml.SafeLoader(clean))
    try:
        reader.document()
    except yaml.YAMLError as error:
        raise _syntax(document, error) from None
    except (ValueError, OverflowError) as error:  # PyYAML's scanner lets "\\Uffffffff" through to chr()
        place = reader.place()
        raise located(file, document.lines, [(place, Problem((), f"not valid YAML: {error}"))]) from None
    return document


def _clean(text: str | bytes, file: str) -> str:
    """UTF-8 text with only ``\\n`` breaks and printable characters, or ``InputError``."""
    if len(text) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES // 1_000_000} MB; a scenario is a page of text", file=file)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start)
            rule = f"not UTF-8 (byte 0x{error.object[error.start]:02x} at offset {error.start})"
            raise InputError(rule, file=file, place=f"{line + 1}:1", remedy="save the file as UTF-8") from None
    if text.startswith("\ufeff"):
        raise InputError("begins with a byte order mark", file=file, place="1:1", remedy="save it without BOM")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    odd = _ODD.search(text)
    if odd is None:
        return text
    line, column = text.count("\n", 0, odd.start()), odd.start() - (text.rfind("\n", 0, odd.start()) + 1)
    if odd.group() == "\t":
        problem = Problem((), "a tab character", "use spaces")
    else:
        problem = Problem((), f"a character that cannot be shown (U+{ord(odd.group()):04X})", "delete it")
    raise located(file, text.split("\n"), [(TextPlace(line, column), problem)])


def _syntax(document: Document, error: yaml.YAMLError) -> InputError:
    marks: list[Any] = [getattr(error, "problem_mark", None), getattr(error, "context_mark", None)]
    place = next((TextPlace(mark.line, mark.column) for mark in marks if mark is not None), TextPlace(0, 0))
    said = [str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    rule = "not valid YAML: " + (", ".join(said) or "cannot be parsed")
    hint = next((hint for sign, hint in _HINTS.items() if sign in rule), "")
    return located(document.file, document.lines, [(place, Problem((), rule, hint))])


def _place(event: Any) -> TextPlace:
    return TextPlace(event.start_mark.line, event.start_mark.column)


class _Reader:
    """Turns the parser's events into data, one pull at a time, refusing as soon as it can."""

    def __init__(self, document: Document, parser: Any) -> None:
        self._document = document
        self._parser = parser
        self._nodes = 0

    def document(self) -> None:
        self._parser.get_event()  # stream start
        event = self._parser.get_event()
        if isinstance(event, yaml.StreamEndEvent):
            return
        if event.version or event.tags:
            self._refuse(event, "directives (%YAML, %TAG) are not used here", "delete the line")
        self._document.data = self._value(self._parser.get_event(), (), 0)
        self._parser.get_event()  # document end
        event = self._parser.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "a second document begins here", "one scenario per file")

    def place(self) -> TextPlace:
        """How far the parser has come."""
        return TextPlace(self._parser.line, self._parser.column)

    def _refuse(self, event: yaml.Event, rule: str, hint: str = "") -> NoReturn:
        raise located(self._document.file, self._document.lines, [(_place(event), Problem((), rule, hint))])

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        self._document.values[path] = _place(event)
        self._check(event, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(item := self._parser.get_event(), yaml.SequenceEndEvent):
                items.append(self._value(item, (*path, len(items)), depth + 1))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        return self._scalar(event, path)

    def _check(self, event: Any, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse(
                event, "anchors and aliases (&, *) are not used here", "write the value out, or quote the text"
            )
        if event.tag is not None:
            self._refuse(event, "tags (!) are not used here", "write the value alone, or quote the text")

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            self._check(event, depth + 1)
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key must be a word, not a list or a mapping", "is a quote or a colon missing?")
            name = self._scalar(event, None)
            place = _place(event)
            key = name if isinstance(name, str) else event.value
            if not isinstance(name, str):
                problem = Problem((*path, key), f"a key must be a word, got {key or 'nothing'}")
                self._document.problems.append((place, problem))
                self._value(self._parser.get_event(), (*path, key, "odd"), depth + 1)
                continue
            if key in found:
                line = self._document.keys[*path, key].line + 1
                problem = Problem((*path, key), f"{key!r} is given twice", f"the first is in line {line}")
                self._document.problems.append((place, problem))
                self._value(self._parser.get_event(), (*path, key, "twice"), depth + 1)
                continue
            if len(found) == MAX_KEYS:
                rule = f"more than {MAX_KEYS} keys in one mapping; the rest was not read"
                self._refuse(event, rule, "no part of a scenario has so many: is this another file?")
            self._document.keys[*path, key] = place
            found[key] = self._value(self._parser.get_event(), (*path, key), depth + 1)
        return found

    def _scalar(self, event: Any, path: Path | None) -> str | int | float | bool | None:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block of text
            odd = _ODD.search(text)
            if odd and odd.group() != "\t":
                self._unread(event, path, f"an escape that cannot be shown (U+{ord(odd.group()):04X})", "delete it")
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            self._unread(event, path, f"{text} is not a number here", "write a finite number, or leave it out")
            return None
        number: int | float
        if _INT.fullmatch(text):
            # The length is asked first: a million digits would take seconds to convert.
            number = int(text) if len(text) <= 20 else MAX_INT + 1
        elif _BASED.fullmatch(text):
            number = int(text, 0) if len(text) <= 20 else MAX_INT + 1
        elif _FLOAT.fullmatch(text):
            number = float(text)
        else:
            return text
        if abs(number) > MAX_INT:
            self._unread(event, path, f"{text[:30]} is absurdly large")
            return None
        return number

    def _unread(self, event: yaml.Event, path: Path | None, rule: str, hint: str = "") -> None:
        """A value that is none is reported with everything else; a key (no path) that is none ends it."""
        if path is None:
            self._refuse(event, rule, hint)
        self._document.problems.append((_place(event), Problem(path, rule, hint)))
        self._document.unread.append(path)
