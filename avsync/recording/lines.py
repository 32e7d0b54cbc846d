"""What a line of a recording may say: an engine's call and its answers as one JSON line, and back.

A recording is JSON lines. The first says how the engine was made; every other is one call, an
array of a word, its arguments and what was answered:

    ["push", now_ns, kind, seq, epoch, pts_ns, duration_ns, size_bytes, flags]
    ["poll", now_ns, answer, ...]        polled until None; "part": so many times, and no None
    ["wake", next_wakeup_ns]
    ["finish", now_ns, kind, epoch]  ["interrupt", now_ns, epoch, [epoch, played_pts_ns, dropped_units]]
    ["seen", now_ns, kind, epoch, pts_ns, duration_ns, at_ns, source, what]  ["close", now_ns]
    ["trim", now_ns, trim_ns]  ["head_start", now_ns, head_start_ns]
    ["raised", "UsageError", [call]]     what the engine refused
    ["end"]                              the last line: without it the recording was cut

An answer is its type's name and its fields, a unit in it as (kind, seq, pts_ns). Payloads are
never written. Numbers are whole; a number that is none (a broken stamp) is written as text.
What is read is checked field by field and bounded: anything else is one ``InputError``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, NoReturn, TypeVar, get_args

from avsync.engine.engine import Interrupted
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import AvSyncError, InputError
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, Answer, Heard, Kind, MediaUnit, ObservedBy, Presented, Want
from avsync.units import seconds
from avsync.version import VERSION

FORMAT = 1
MAX_LINE_CHARS = 1 << 20
MAX_LINES = 50_000_000
"""About two days of one call: more is not a recording but a trap."""
MAX_ANSWERS_A_LINE = 256
MAX_TEXT = 64
MAX_INT = 1 << 63
MAX_QUEUE_UNITS = 100_000
"""What a foreign recording may make an engine keep."""

E = TypeVar("E", bound=Enum)

END = "end"
KEY, DROPPABLE, PAUSE, IN_ORDER = 1, 2, 4, 8

CALLS: dict[str, tuple[str, ...]] = {
    "push": ("now_ns", "kind", "seq", "epoch", "pts_ns", "duration_ns", "size_bytes", "flags"),
    "finish": ("now_ns", "kind", "epoch"),
    "interrupt": ("now_ns", "epoch"),
    "seen": ("now_ns", "kind", "epoch", "pts_ns", "duration_ns", "at_ns", "source", "what"),
    "trim": ("now_ns", "trim_ns"),
    "head_start": ("now_ns", "head_start_ns"),
    "close": ("now_ns",),
    "poll": ("now_ns",),
    "part": ("now_ns",),
    "wake": (),
    "end": (),
}
_METHODS = {"seen": "on_presented", "part": "poll", "head_start": "picture_head_start"}
_WORDS = frozenset({"kind", "reason", "want", "name", "source", "what"})
_ODD = frozenset({"seq", "epoch", "pts_ns", "duration_ns", "size_bytes", "at_ns", "trim_ns", "head_start_ns"})
"""A source may have put anything there: the engine's answer to it is part of the recording."""


def _answer_fields() -> dict[str, tuple[str, ...]]:
    unit = ("kind", "seq", "pts_ns")
    return {
        answer.__name__: tuple(name for field in answer._fields for name in (unit if field == "unit" else (field,)))
        for answer in get_args(Answer)
    }


ANSWERS = _answer_fields()
INTERRUPTED = ("epoch", "played_pts_ns", "dropped_units")


class RecordedCall(NamedTuple):
    """One call as it was recorded. ``expected``: what it answered, in order (None: nothing more)."""

    line: int
    row: list[Any]
    name: str
    now_ns: Any
    args: tuple[Any, ...]
    expected: list[Any]
    in_order: bool = True


# ---- writing

_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def line_of(row: list[Any]) -> str:
    return _dumps(row) + "\n"


def header_of(engine: AvSynchronizer) -> str:
    """The first line: all that is needed to make the same engine again."""
    header = {
        "avsync_recording": FORMAT,
        "version": VERSION,
        "policy": engine.policy.to_dict(),
        "network": engine.network,
        "levers": sorted(want.value for want in engine.levers),
        "picture_tick_ns": engine.picture_tick_ns,
    }
    return _dumps(header) + "\n"


def plain(value: Any) -> Any:
    """As JSON holds it without loss of meaning: whole numbers as such, any other as text."""
    kind = type(value)
    if kind is int:
        return value if -MAX_INT <= value <= MAX_INT else MAX_INT if value > 0 else -MAX_INT
    if value is None or kind is bool:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if kind is float:
        return repr(value)
    if isinstance(value, str):
        return value[:MAX_TEXT]
    return f"<{kind.__name__[: MAX_TEXT - 2]}>"


def row_of_push(unit: MediaUnit, now_ns: int, in_order: bool) -> list[Any]:
    flags = KEY * bool(unit.is_key) | DROPPABLE * bool(unit.droppable) | PAUSE * bool(unit.pause)
    kind = "audio" if unit.kind is AUDIO else "video"
    numbers = (unit.seq, unit.epoch, unit.pts_ns, unit.duration_ns, unit.size_bytes)
    return ["push", plain(now_ns), kind, *map(plain, numbers), flags | IN_ORDER * bool(in_order)]


def encode(outcome: Any) -> Any:
    """What a call answered, as its line says it."""
    if outcome is None or type(outcome) is int:
        return plain(outcome)
    if isinstance(outcome, Interrupted):
        return [plain(value) for value in outcome]
    row: list[Any] = [type(outcome).__name__]
    for value in outcome:
        if isinstance(value, MediaUnit):
            row += ("audio" if value.kind is AUDIO else "video", plain(value.seq), plain(value.pts_ns))
        else:
            row.append(plain(value))
    return row


# ---- reading


class _BrokenLine(Exception):
    """A broken rule, before it is known where."""


def read(lines: Iterable[str], file: str = "") -> tuple[AvSynchronizer, Iterator[RecordedCall]]:
    """A fresh engine made as the first line says, and the calls to make, one line at a time."""
    numbered = _bounded(lines, file)
    for line, text in numbered:
        try:
            return _engine_of(_parse(text)), _calls(numbered, file)
        except _BrokenLine as bad:
            _refuse(bad, file, line)
    raise InputError("the recording is empty", file=file, remedy="its first line says how the engine was made")


def repeat(engine: AvSynchronizer, call: RecordedCall, now_ns: Any = None) -> Any:
    """Make one recorded call (of a poll: once), and encode what it answers, be it an exception.

    ``now_ns``: another clock's reading of the same moment; by default the recorded one.
    """
    now_ns = call.now_ns if now_ns is None else now_ns
    try:
        if call.name == "push":
            return encode(engine.push(call.args[0], now_ns, in_order=call.in_order))  # type: ignore[func-returns-value]
        if call.name == "wake":
            return encode(engine.next_wakeup_ns())
        method: Callable[..., Any] = getattr(engine, _METHODS.get(call.name, call.name))
        return encode(method(*call.args, now_ns))
    except Exception as error:  # whatever it raises is what it answers
        return ["raised", type(error).__name__]


def _bounded(lines: Iterable[str], file: str) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(lines, 1):
        if len(text) > MAX_LINE_CHARS:
            raise InputError(f"a line of more than {MAX_LINE_CHARS} characters is not a recording's", file=file,
                             place=str(number), remedy="is this another kind of file?")  # fmt: skip
        if number > MAX_LINES:
            raise InputError(f"more than {MAX_LINES} lines", file=file, place=str(number), remedy="replay a part of it")
        yield number, text


def _refuse(bad: _BrokenLine, file: str, line: int) -> NoReturn:
    remedy = "if this is the last line, the writer was cut off: remove it, the rest is good"
    if line == 1:
        remedy = "is this another kind of file, or written by a newer avsync?"
    raise InputError(str(bad)[:300], file=file, place=str(line), remedy=remedy) from None


def _calls(numbered: Iterator[tuple[int, str]], file: str) -> Iterator[RecordedCall]:
    ended = False
    for line, text in numbered:
        try:
            if ended:
                raise _BrokenLine("something comes after the last line")
            call = _call_of(_parse(text), line)
            ended = call.name == END
            yield call
        except _BrokenLine as bad:
            _refuse(bad, file, line)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        shown = text[:40].rstrip("\n")
        raise _BrokenLine(f"not a line of JSON: {shown!r}" if shown else "an empty line") from None


def _engine_of(header: Any) -> AvSynchronizer:
    if not isinstance(header, dict) or "avsync_recording" not in header:
        raise _BrokenLine("a recording begins with {\"avsync_recording\": 1, ...}")  # fmt: skip
    if header["avsync_recording"] != FORMAT or type(header["avsync_recording"]) is not int:
        raise _BrokenLine(f"recordings of version {str(header['avsync_recording'])[:40]} are not known, only {FORMAT}")
    network, levers, tick_ns = (header.get(name) for name in ("network", "levers", "picture_tick_ns"))
    if type(network) is not bool:
        raise _BrokenLine("network must be true or false")
    if not isinstance(levers, list) or len(levers) > len(Want):
        raise _BrokenLine("levers must be a list of what the source can do")
    if type(tick_ns) is not int or not 0 <= tick_ns <= seconds(1):
        raise _BrokenLine("picture_tick_ns must be whole, from 0 to a second")
    policy = header.get("policy")
    try:
        made = AvSyncPolicy.from_plain(policy if isinstance(policy, Mapping) else {})
    except AvSyncError as error:
        raise _BrokenLine(f"policy: {error}") from None
    if max(made.audio_queue_units, made.video_queue_units) > MAX_QUEUE_UNITS:
        raise _BrokenLine(f"a policy with queues of more than {MAX_QUEUE_UNITS} units is not replayed")
    wants = [_member(Want, lever, "lever") for lever in levers]
    return AvSynchronizer(made, network=network, levers=wants, picture_tick_ns=tick_ns)


def _call_of(row: Any, line: int) -> RecordedCall:
    raised = None
    call = row
    if isinstance(row, list) and len(row) == 3 and row[0] == "raised":
        raised, call = row[1], row[2]
        _check("name", raised)
    if not isinstance(call, list) or not call or not isinstance(call[0], str) or call[0] not in CALLS:
        raise _BrokenLine(f"expected a call ({', '.join(CALLS)}), got {_shown(call)}")
    name = call[0]
    fields = CALLS[name]
    values, rest = call[1 : 1 + len(fields)], call[1 + len(fields) :]
    if len(values) < len(fields):
        raise _BrokenLine(f"{name} has {len(fields)} arguments, got {len(values)}")
    for field, value in zip(fields, values, strict=True):
        _check(field, value, odd=raised is not None)
    expected = _expected(name, rest) if raised is None else [["raised", raised]]
    if raised is not None and (rest or name == END):
        raise _BrokenLine(f"{name} was refused and has no answers")
    now_ns, args = _arguments(name, values)
    return RecordedCall(line, call, name, now_ns, args, expected, name != "push" or bool(values[-1] & IN_ORDER))


def _expected(name: str, rest: list[Any]) -> list[Any]:
    """What the line says was answered, checked."""
    if name in ("poll", "part"):
        if len(rest) > MAX_ANSWERS_A_LINE or (name == "part" and not rest):
            raise _BrokenLine(f"{name} cannot have {len(rest)} answers")
        for answer in rest:
            _check_answer(answer)
        return rest if name == "part" else [*rest, None]
    if name == END and not rest:
        return []  # nobody was asked
    if name not in ("interrupt", "wake"):
        if rest:
            raise _BrokenLine(f"{name} answers nothing")
        return [None]
    if len(rest) != 1:
        raise _BrokenLine(f"{name} has one answer, got {len(rest)}")
    answer = rest[0]
    if name == "interrupt":
        if not isinstance(answer, list) or len(answer) != len(INTERRUPTED):
            raise _BrokenLine(f"interrupt answers {list(INTERRUPTED)}, got {_shown(answer)}")
        for value in answer:
            _check("epoch", value)
    elif answer is not None:
        _check("next_wakeup_ns", answer)
    return [answer]


def _check_answer(answer: Any) -> None:
    if not isinstance(answer, list) or not answer or not isinstance(answer[0], str) or answer[0] not in ANSWERS:
        raise _BrokenLine(f"expected an answer ({', '.join(ANSWERS)}), got {_shown(answer)}")
    fields = ANSWERS[answer[0]]
    if len(answer) != 1 + len(fields):
        raise _BrokenLine(f"{answer[0]} has {len(fields)} fields, got {len(answer) - 1}")
    for field, value in zip(fields, answer[1:], strict=True):
        _check(field, value)


def _check(field: str, value: Any, *, odd: bool = False) -> None:
    kind = type(value)
    if kind is str:
        good = (field in _WORDS or field in _ODD or (odd and field == "now_ns")) and len(value) <= MAX_TEXT
    elif kind is int:
        good = field not in _WORDS and field != "active" and -MAX_INT <= value <= MAX_INT
    else:
        good = (kind is bool or value is None) and (field in _ODD or odd or (kind is bool and field == "active"))
    if not good or (field == "flags" and kind is not int):
        raise _BrokenLine(f"{field} cannot be {_shown(value)}")


def _arguments(name: str, values: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The time and the other arguments as the engine's method takes them."""
    if name in ("wake", END):
        return None, ()
    if name in ("interrupt", "trim", "head_start"):
        return _number(values[0]), (_number(values[1]),)
    if name == "finish":
        return _number(values[0]), (_member(Kind, values[1], "kind"), _number(values[2]))
    if name == "push":
        now, kind, seq, *numbers, flags = values
        epoch, pts_ns, duration_ns, size_bytes = map(_number, numbers)
        unit = MediaUnit(
            _member(Kind, kind, "kind"), seq, epoch, pts_ns, duration_ns, size_bytes,
            bool(flags & KEY), bool(flags & DROPPABLE), bool(flags & PAUSE),
        )  # fmt: skip
        return _number(now), (unit,)
    if name == "seen":
        now, kind, *numbers, source, what = values
        epoch, pts_ns, duration_ns, at_ns = map(_number, numbers)
        whence, heard = _member(ObservedBy, source, "source"), _member(Heard, what, "what")
        presented = Presented(_member(Kind, kind, "kind"), epoch, pts_ns, duration_ns, at_ns, whence, heard)
        return _number(now), (presented,)
    return _number(values[0]), ()


def _number(value: Any) -> Any:
    """The inverse of ``plain``: text that names a number (0.5, nan) was that number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _member(choices: type[E], value: Any, name: str) -> E:
    for member in choices:
        if member.value == value:
            return member
    raise _BrokenLine(f"{name} cannot be {_shown(value)}")


def _shown(value: Any) -> str:
    """At most 60 characters, and nothing large is turned into text for them."""
    if isinstance(value, list | dict):
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}" + (
            f" that begins with {_shown(value[0])}"
            if isinstance(value, list) and value and type(value[0]) is str
            else ""
        )
    return repr(value[:50] if isinstance(value, str) else value)[:60]
