"""Recorder: every call and every answer of an engine, written down as they happen.

It stands in for an engine and writes one line a call (``avsync.recording.lines`` has the words); it never
opens a file. ``avsync.recording.replay`` proves that a fresh engine answers so again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from avsync.engine.engine import Interrupted
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.recording.lines import END, MAX_ANSWERS_A_LINE, encode, header_of, line_of, plain, row_of_push
from avsync.types import AUDIO, Answer, Kind, MediaUnit, Presented

T = TypeVar("T")


class Recorder:
    """An engine that keeps a diary: use it wherever an ``AvSynchronizer`` is used.

    ``engine`` must be fresh. ``write`` gets whole lines, after the engine has done its work;
    what ``write`` raises reaches the caller. ``end`` when done: a recording without its last line was cut.
    """

    def __init__(self, engine: AvSynchronizer, write: Callable[[str], object]) -> None:
        if engine.started:
            raise UsageError("a recording begins before the engine's first call")
        self._engine = engine
        self._write = write
        self._batch: list[Any] = []  # the polls of one moment, until None
        write(header_of(engine))

    # ---- in

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        row = row_of_push(unit, now_ns, in_order)
        self._note(row, lambda: self._engine.push(unit, now_ns, in_order=in_order))
        self._write(line_of(row))

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        row = ["finish", plain(now_ns), _kind(kind), plain(epoch)]
        self._note(row, lambda: self._engine.finish(kind, epoch, now_ns))
        self._write(line_of(row))

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        row = ["interrupt", plain(now_ns), plain(epoch)]
        interrupted = self._note(row, lambda: self._engine.interrupt(epoch, now_ns))
        self._write(line_of([*row, encode(interrupted)]))
        return interrupted

    def on_presented(self, presented: Presented, now_ns: int) -> None:
        kind, *rest = presented
        row = ["seen", plain(now_ns), _kind(kind), *map(plain, rest)]
        self._note(row, lambda: self._engine.on_presented(presented, now_ns))
        self._write(line_of(row))

    def trim(self, trim_ns: int, now_ns: int) -> None:
        row = ["trim", plain(now_ns), plain(trim_ns)]
        self._note(row, lambda: self._engine.trim(trim_ns, now_ns))
        self._write(line_of(row))

    def picture_head_start(self, head_start_ns: int, now_ns: int) -> None:
        row = ["head_start", plain(now_ns), plain(head_start_ns)]
        self._note(row, lambda: self._engine.picture_head_start(head_start_ns, now_ns))
        self._write(line_of(row))

    def close(self, now_ns: int) -> None:
        row = ["close", plain(now_ns)]
        self._note(row, lambda: self._engine.close(now_ns))
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

    def end(self) -> None:
        """The last line. What the engine is told from here on is not written any more: there is nothing after it."""
        self.flush()
        self._write(line_of([END]))
        self._write = _nowhere

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

    def _note(self, row: list[Any], call: Callable[[], T]) -> T:
        self.flush()
        try:
            return call()
        except Exception as error:  # the last line before a crash is the one that matters most
            self._raised(error, row)
            raise

    def _raised(self, error: Exception, row: list[Any]) -> None:
        self._write(line_of(["raised", type(error).__name__, row]))


def _nowhere(_line: str) -> None:
    """Where lines go after the last one."""


def _kind(kind: Kind) -> str:
    return "audio" if kind is AUDIO else "video"
