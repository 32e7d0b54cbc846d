"""Replay: the proof that an engine answers as it did when it was recorded.

``replay`` gives a fresh engine every call of a recording, from the recording alone, and stops at
the first answer that differs. A live call thus becomes a test, bit for bit.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsync.errors import InputError
from avsync.recording.lines import (
    ANSWERS,
    CALLS,
    END,
    INTERRUPTED,
    MAX_LINE_CHARS,
    read,
    repeat,
)
from avsync.units import to_ms


@dataclass(frozen=True, slots=True)
class Difference:
    """The first answer that is not what was recorded; ``recorded`` and ``now`` as lines say them."""

    file: str
    line: int
    call: list[Any]
    recorded: Any
    now: Any

    def __str__(self) -> str:
        rows = [
            f"differs at {self.file}:{self.line}" if self.file else f"differs at line {self.line}",
            f"  call      {_spoken(self.call)}",
            f"  recorded  {_spoken(self.recorded)}",
            f"  now       {_spoken(self.now)}",
        ]
        changed = _changed(self.recorded, self.now)
        return "\n".join([*rows, f"  that is   {changed}"] if changed else rows)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found: calls made, answers that were as recorded, and where it stopped, if it did.

    ``whole``: the recording's last line was reached. Without it nobody knows what came after: it was cut.
    """

    calls: int
    answers: int
    difference: Difference | None
    whole: bool = True

    @property
    def same(self) -> bool:
        """All of a whole recording was answered as before."""
        return self.difference is None and self.whole

    def __str__(self) -> str:
        if self.same:
            return f"the same: {self.calls} calls, {self.answers} answers"
        if self.difference is None:
            cut = "cut: its last line, which says that it is the last, is missing; the writer was stopped, or the file"
            return f"{cut}\n  up to there {self.calls} calls and {self.answers} answers were the same"
        return f"{self.difference}\n  before it {self.calls} calls and {self.answers} answers were the same"


def replay(lines: Iterable[str], file: str = "") -> Replay:
    """Tell a fresh engine what a recording says; ``InputError`` where it is none. Holds one line at a time."""
    engine, recorded_calls = read(lines, file)
    calls = answers = 0
    whole = False
    for call in recorded_calls:
        whole = call.name == END
        for recorded in call.expected:
            now = repeat(engine, call)
            if now != recorded:
                return Replay(calls, answers, Difference(file, call.line, call.row, recorded, now))
            answers += recorded is not None
        calls += not whole
    return Replay(calls, answers, None, whole)


def _fields(row: Any) -> list[tuple[str, Any]]:
    """A call or an answer as (field, value); what is neither has no fields."""
    if not isinstance(row, list) or not row:
        return []
    if isinstance(row[0], str):
        return list(zip((CALLS | ANSWERS).get(row[0], ()), row[1:], strict=False))
    return list(zip(INTERRUPTED, row, strict=False))


def _spoken(row: Any) -> str:
    """``Present audio 51 pts_ns=1020000000 ...``: in one line, every number named."""
    if row is None:
        return "nothing"
    if not isinstance(row, list):
        return str(row)
    if row and row[0] == "raised":
        return f"raised {row[1]}"
    words = [str(row[0])] if isinstance(row[0], str) else ["interrupted"]
    for field, value in _fields(row):
        words.append(str(value) if field in ("kind", "seq") else f"{field}={value}")
    return " ".join(words)


def _changed(recorded: Any, now: Any) -> str:
    """Which fields differ, and times by how much."""
    if isinstance(recorded, int) and isinstance(now, int):
        return f"{to_ms(now - recorded):+.3f} ms"
    before, after = _fields(recorded), _fields(now)
    if [name for name, _ in before] != [name for name, _ in after]:
        return ""
    words = []
    for (name, old), (_, new) in zip(before, after, strict=True):
        if old != new and name.endswith("_ns") and type(old) is type(new) is int:
            words.append(f"{name} {to_ms(new - old):+.6g} ms")
        elif old != new:
            words.append(f"{name} {old} -> {new}")
    return ", ".join(words)


# ---- the only part that opens a file


def replay_file(path: str | Path) -> Replay:
    """Replay a recording from a file, plain or gzipped (its first bytes say which)."""
    name = str(path)[:200]
    with closing(_lines_of(path, name)) as lines:
        return replay(lines, name)


def _lines_of(path: str | Path, name: str) -> Generator[str, None, None]:
    """Lines as text, each read only up to the bound."""
    import gzip
    import zlib

    number = 1
    try:
        with Path(path).open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            readline = gzip.GzipFile(fileobj=raw).readline if packed else raw.readline
            # Bytes, so that one line never takes in more than the bound.
            while line := readline(MAX_LINE_CHARS + 2):
                yield line.decode("utf-8")
                number += 1
    except UnicodeDecodeError:
        raise InputError("not text", file=name, place=str(number), remedy="a recording is JSON lines") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("the gzip data is cut off or damaged", file=name, place=str(number),
                         remedy="unpack what can be had (gzip -dc) and remove its last line") from None  # fmt: skip
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file that can be read"
        raise InputError(f"cannot read the recording: {why}", file=name) from None
