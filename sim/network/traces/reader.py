"""Reading a file from outside, bounded: at most 64 MiB of text, lines and records counted.

Whatever is wrong with it ends as one ``InputError`` that names file, line, rule and remedy.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from avsync.errors import InputError
from avsync.units import NS_PER_S

MAX_BYTES = 64 << 20
MAX_LINE_CHARS = 1 << 20
MAX_RECORDS = 2_000_000

NS_PER = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
_JSON = re.compile(r"\s*(?:\{|\[\s*(?:[\[{\]\"]|$))")
_SEPARATORS = re.compile(r"[,;\s]+")
_TIME_WORD = re.compile(r"^(t|time|timestamp)(_\w+)?$", re.IGNORECASE)
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A text file: ``lines`` are (number, stripped text), without blank ones and comments (#, %).

    A comment that is the header of the table under it ("# t_s rtt_ms") is a line all the same.
    """

    file: str
    text: str
    lines: tuple[tuple[int, str], ...]

    def refuse(self, rule: str, line: int | None = None, remedy: str = "") -> NoReturn:
        place = "" if line is None else f"line {line}"
        raise InputError(rule, file=self.file, place=place, remedy=remedy)

    def number(self, text: str, line: int, what: str, low: float = -1e15, high: float = 1e15) -> float:
        """``text`` as a finite number within [low, high]."""
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.refuse(f"{what} must be a number, got {_shown(text)}", line)
        if not low <= value <= high:
            self.refuse(f"{what} must lie within {low:g} and {high:g}, got {_shown(text)}", line)
        return value

    def time_ns(self, text: str, line: int, unit: str = "s", what: str = "the time") -> int:
        """``text`` in ``unit`` as ns; exact to the nanosecond for whole numbers."""
        value = self.number(text, line, what, high=1e19 / NS_PER[unit])
        return int(value) * NS_PER[unit] if value.is_integer() else round(value * NS_PER[unit])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def read_source(path: str | Path) -> TraceFile:
    """The text of a plain or gzip file; UTF-8, with or without a byte-order mark."""
    file = str(path)
    data = _read_bytes(Path(path), file)
    if b"\0" in data:
        raise InputError("this is not a text file", file=file, remedy="network traces are text, plain or .gz")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"line {data.count(bytes([10]), 0, error.start) + 1}"
        raise InputError("this is not UTF-8 text", file=file, place=place, remedy="save it as UTF-8") from None
    if text.count("\n") + text.count("\r") > 2 * MAX_RECORDS:
        raise InputError(f"more than {MAX_RECORDS} lines", file=file, remedy="cut out the part that matters")
    if looks_like_json(text):
        return TraceFile(file, text, ((1, text.lstrip()[0]),))
    lines: list[tuple[int, str]] = []
    comment = (0, "")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_LINE_CHARS:
            raise InputError(f"a line of more than {MAX_LINE_CHARS} characters", file=file, place=f"line {number}")
        stripped = line.strip()
        if stripped and stripped[0] not in "#%":
            if not lines and _is_header(comment[1], stripped):
                lines.append(comment)
            lines.append((number, stripped))
        elif stripped and not lines:
            comment = number, stripped.lstrip("#% \t")
    if len(lines) > MAX_RECORDS:
        raise InputError(f"more than {MAX_RECORDS} lines", file=file, remedy="cut out the part that matters")
    if not lines:
        raise InputError("nothing to read: the file is empty or holds only comments", file=file)
    return TraceFile(file, text, tuple(lines))


def looks_like_json(text: str) -> bool:
    """Then it may well be a single long line. (A log of ping -D also starts with a bracket.)"""
    return _JSON.match(text) is not None


def _is_header(comment: str, first: str) -> bool:
    """A comment just above numbers, with as many words as they are, one of them a time."""
    words, cells = _SEPARATORS.split(comment.strip(" ,;\t")), _SEPARATORS.split(first.strip(" ,;\t"))
    return len(words) == len(cells) > 1 and any(_TIME_WORD.match(word) for word in words) and "=" not in comment


def _read_bytes(path: Path, file: str) -> bytes:
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if data[:2] == _GZIP_MAGIC:
            with gzip.open(path) as packed:
                data = packed.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("the gzip file is damaged or cut off", file=file, remedy="fetch or pack it again") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=file) from None
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MiB", file=file, remedy="cut out the part that matters")
    return data
