"""Recording: everything an engine was told and answered, and the proof that it answers so again.

``Recorder`` stands in for an engine and writes down each call (``avsync.recording.recording_lines`` has the
words); it never opens a file. ``replay`` tells a fresh engine the same, from the recording alone,
and stops at the first answer that differs. A live call thus becomes a test, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from avsync.engine.synchronizer import AvSynchronizer, Interrupted
from avsync.errors import InputError, UsageError
from avsync.policy import AvSyncPolicy
from avsync.recording.recording_lines import (
    ANSWERS,
    CALLS,
    INTERRUPTED,
    MAX_ANSWERS_A_LINE,
    MAX_LINE_CHARS,
    encode,
    header_of,
    line_of,
    plain,
    read,
    row_of_push,
    tell,
)
from avsync.types import AUDIO, Answer, Kind, MediaUnit, Presented
from avsync.units import to_ms

T = TypeVar("T")


class Recorder:
    """An engine that keeps a diary: use it wherever an ``AvSynchronizer`` is used.

    ``engine`` must be fresh. ``write`` gets whole lines, after the engine has done its work;
    what ``write`` raises reaches the caller. ``flush`` when done without ``close``.
    """

    def __init__(self, engine: AvSynchronizer, write: Callable[[str], object]) -> None:
        if engine.next_wakeup_ns() != AvSynchronizer(engine.policy).next_wakeup_ns():
            raise UsageError("a recording begins before the engine is told anything")
        self._engine = engine
        self._write = write
        self._batch: list[Any] = []  # the polls of one moment, until None
        write(header_of(engine))

    # ---- in

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        row = row_of_push(unit, now_ns, in_order)
        self._told(row, lambda: self._engine.push(unit, now_ns, in_order=in_order))
        self._write(line_of(row))

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        row = ["finish", plain(now_ns), _kind(kind), plain(epoch)]
        self._told(row, lambda: self._engine.finish(kind, epoch, now_ns))
        self._write(line_of(row))

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        row = ["interrupt", plain(now_ns), plain(epoch)]
        interrupted = self._told(row, lambda: self._engine.interrupt(epoch, now_ns))
        self._write(line_of([*row, encode(interrupted)]))
        return interrupted

    def on_presented(self, presented: Presented, now_ns: int) -> None:
        kind, *rest = presented
        row = ["seen", plain(now_ns), _kind(kind), *map(plain, rest)]
        self._told(row, lambda: self._engine.on_presented(presented, now_ns))
        self._write(line_of(row))

    def trim(self, trim_ns: int, now_ns: int) -> None:
        row = ["trim", plain(now_ns), plain(trim_ns)]
        self._told(row, lambda: self._engine.trim(trim_ns, now_ns))
        self._write(line_of(row))

    def picture_lead(self, lead_ns: int, now_ns: int) -> None:
        row = ["lead", plain(now_ns), plain(lead_ns)]
        self._told(row, lambda: self._engine.picture_lead(lead_ns, now_ns))
        self._write(line_of(row))

    def close(self, now_ns: int) -> None:
        row = ["close", plain(now_ns)]
        self._told(row, lambda: self._engine.close(now_ns))
        self._write(line_of(row))

    # ---- out

    def poll(self, now_ns: int) -> Answer | None:
        if self._batch and self._batch[1] != now_ns:
            self.flush()
        try:
            answer = self._engine.poll(now_ns)
        except Exception as error:
            self.flush()
            self._raised(error, ["poll", plain(now_ns)])
            raise
        batch = self._batch = self._batch or ["part", plain(now_ns)]
        if answer is None:
            batch[0] = "poll"
            self.flush()
        else:
            batch.append(encode(answer))
            if len(batch) >= MAX_ANSWERS_A_LINE:
                self.flush()
        return answer

    def next_wakeup_ns(self) -> int | None:
        wake_ns = self._engine.next_wakeup_ns()
        self.flush()
        self._write(line_of(["wake", plain(wake_ns)]))
        return wake_ns

    def flush(self) -> None:
        """Write down the polls of a moment that were not yet followed by anything."""
        if self._batch:
            row, self._batch = self._batch, []
            self._write(line_of(row))

    # ---- for whoever looks; not recorded

    @property
    def policy(self) -> AvSyncPolicy:
        return self._engine.policy

    @property
    def jitter_buffer_ns(self) -> int:
        return self._engine.jitter_buffer_ns

    @property
    def queued_units(self) -> int:
        return self._engine.queued_units

    @property
    def queued_pictures(self) -> int:
        return self._engine.queued_pictures

    @property
    def epoch(self) -> int:
        return self._engine.epoch

    @property
    def trim_ns(self) -> int:
        return self._engine.trim_ns

    def position_ns(self, now_ns: int) -> int | None:
        return self._engine.position_ns(now_ns)

    # ---- inside

    def _told(self, row: list[Any], call: Callable[[], T]) -> T:
        self.flush()
        try:
            return call()
        except Exception as error:  # the last line before a crash is the one that matters most
            self._raised(error, row)
            raise

    def _raised(self, error: Exception, row: list[Any]) -> None:
        self._write(line_of(["raised", type(error).__name__, row]))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first answer that is not what was recorded; ``recorded`` and ``now`` as lines say them."""

    file: str
    line: int
    told: list[Any]
    recorded: Any
    now: Any

    def __str__(self) -> str:
        rows = [
            f"differs at {self.file}:{self.line}" if self.file else f"differs at line {self.line}",
            f"  told      {_spoken(self.told)}",
            f"  recorded  {_spoken(self.recorded)}",
            f"  now       {_spoken(self.now)}",
        ]
        changed = _changed(self.recorded, self.now)
        return "\n".join([*rows, f"  that is   {changed}"] if changed else rows)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found: lines told, answers that were as recorded, and where it stopped, if it did."""

    calls: int
    answers: int
    difference: Difference | None

    def __str__(self) -> str:
        if self.difference is None:
            return f"the same: {self.calls} calls, {self.answers} answers"
        return f"{self.difference}\n  before it {self.calls} calls and {self.answers} answers were the same"


def replay(lines: Iterable[str], file: str = "") -> Replay:
    """Tell a fresh engine what a recording says; ``InputError`` where it is none. Holds one line at a time."""
    engine, calls = read(lines, file)
    told = answers = 0
    for call in calls:
        for recorded in call.expected:
            now = tell(engine, call)
            if now != recorded:
                return Replay(told, answers, Difference(file, call.line, call.row, recorded, now))
            answers += recorded is not None
        told += 1
    return Replay(told, answers, None)


def _kind(kind: Kind) -> str:
    return "audio" if kind is AUDIO else "video"


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
    """Replay a recording from a file, plain or gzipped (told by its first bytes)."""
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
