"""What a viewer's page reports (``avsync/webrtc/static/viewer.js``), hostile until parsed.

One JSON object of at most 16 KB, about once a second::

    {"v": 1, "n": 7, "now": 81234.5, "hidden": false,
     "frames": [[rtp, displayed], ...],     null: this browser cannot tell
     "sounds": [[rtp, played], ...],        the first moment at which each packet was played from
     "asked": 0, "told": [0, 0],            jitterBufferTarget of its pictures, null: this browser has none;
                                            what it was told last for (sound, pictures)
     "latency": null,                       of the page's AudioContext, if it plays through one
     "audio": {"depth", "target", "minimum", "playout", "lost", "samples", "concealed", "silent"} or null,
     "video": {"depth", "target", "minimum", "playout", "lost", "decoded", "dropped", "freezes", "frozen"} or null}

Times are milliseconds of the page's own clock (``performance.now()``); ``playout`` is what getStats claims, an NTP
time. Counters are what was added since the last report. Whatever the browser does not tell is null, never 0.
``parse`` answers a ``ViewerReport`` or a ``Refusal`` and never raises; ``ReportGate`` also holds the rate.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from avsync.errors import check_now
from avsync.units import FAR_NS, NS_PER_MS, NS_PER_S, seconds

VIEWER_JS: Final = Path(__file__).parent.parent / "static" / "viewer.js"
"""The ES module that a page imports: it writes these reports."""

MAX_BYTES = 16_384
MAX_ENTRIES = 256
"""Per kind. A page sends at most 130: two seconds of a 60 Hz screen."""
MAX_NOW_MS = 1e11
"""Three years of an open page."""
MAX_COUNT = 1 << 53
"""JavaScript's whole numbers."""
LONGEST_PAST_NS, LONGEST_FUTURE_NS = seconds(10), NS_PER_S // 4
"""An entry is of the time since the last report, at most this long ago; a display time lies a refresh or two ahead."""
RATE_PER_S, BURST = 2, 4
"""Reports taken per second. More is a flood: counted, not looked at."""


class Refusal(NamedTuple):
    """Why something is no report. ``reason`` is one of a few words, to be counted; ``detail`` is for people."""

    reason: str
    detail: str


class ReportEntry(NamedTuple):
    """A frame on screen or a packet played: its RTP time, and the page's time."""

    rtp: int
    page_ns: int


@dataclass(frozen=True, slots=True)
class Side:
    """What getStats says of one stream: delays and claims in ms, counters since the last report. None: not told."""

    depth_ms: float | None
    target_ms: float | None
    minimum_ms: float | None
    playout_ms: float | None
    counts: dict[str, float]

    def as_dict(self) -> dict[str, float | None]:
        return {
            "depth_ms": self.depth_ms, "target_ms": self.target_ms, "minimum_ms": self.minimum_ms, **self.counts,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ViewerReport:
    """One report, checked. ``frames`` None: this browser has no ``requestVideoFrameCallback``."""

    number: int
    page_ns: int
    hidden: bool
    frames: tuple[ReportEntry, ...] | None
    sounds: tuple[ReportEntry, ...]
    asked_ms: float | None
    told_ms: tuple[float | None, float | None]
    latency_ms: float | None
    audio: Side | None
    video: Side | None


_COUNTS = {
    "audio": ("lost", "samples", "concealed", "silent"),
    "video": ("lost", "decoded", "dropped", "freezes", "frozen"),
}


class _Bad(Exception):
    """A broken rule: reason, detail."""


def parse(data: object) -> ViewerReport | Refusal:
    """Bytes or text of one message -> what it says. Costs at most a millisecond and some 100 KB, whatever it is."""
    try:
        return _report_of(_json_of(data))
    except _Bad as bad:
        reason, detail = bad.args
        return Refusal(reason, detail)


class ReportGate:
    """One viewer's messages: ``take`` each as it comes; counts what is not a report, and why."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: dict[str, int] = {}
        self.last_refusal = ""
        self._now_ns = -FAR_NS
        self._allowance = BURST * NS_PER_S  # in reports times 1e9, so that it stays whole
        self._number = -1
        self._page_ns = -1

    def take(self, data: object, now_ns: int) -> ViewerReport | None:
        """The report in it, or None: it is none, it came out of turn, or too many come."""
        first = self.accepted == 0 and not self.refused
        elapsed_ns = 0 if first else now_ns - self._now_ns
        self._now_ns = check_now(now_ns, self._now_ns)
        self._allowance = min(BURST * NS_PER_S, self._allowance + min(elapsed_ns, seconds(60)) * RATE_PER_S)
        if self._allowance < NS_PER_S:
            self._refuse(Refusal("flood", f"more than {RATE_PER_S} a second"))
            return None
        self._allowance -= NS_PER_S
        report = parse(data)
        if isinstance(report, Refusal):
            self._refuse(report)
            return None
        if report.number <= self._number or report.page_ns <= self._page_ns:
            self._refuse(Refusal("order", "its number or its time is not after the last one"))
            return None
        self._number, self._page_ns = report.number, report.page_ns
        self.accepted += 1
        return report

    def _refuse(self, refusal: Refusal) -> None:
        self.refused[refusal.reason] = self.refused.get(refusal.reason, 0) + 1
        self.last_refusal = f"{refusal.reason}: {refusal.detail}"


def _json_of(data: object) -> Any:
    if not isinstance(data, bytes | str):
        raise _Bad("type", f"a message is bytes or text, not {type(data).__name__}")
    if len(data) > MAX_BYTES:
        raise _Bad("size", f"{len(data)} bytes, at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Bad("json", "not JSON, or not nearly") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _report_of(told: Any) -> ViewerReport:
    if not isinstance(told, dict):
        raise _Bad("shape", "not an object")
    if told.get("v") != 1 or type(told["v"]) is not int:
        raise _Bad("version", "only v 1 is known: is the page's viewer.js of another version?")
    page_ns = _page_ns("now", told.get("now"))
    hidden = told.get("hidden")
    if type(hidden) is not bool:
        raise _Bad("shape", "hidden must be true or false")
    frames = told.get("frames")
    return ViewerReport(
        number=_whole("n", told.get("n"), MAX_COUNT),
        page_ns=page_ns,
        hidden=hidden,
        frames=None if frames is None else _entries("frames", frames, page_ns),
        sounds=_entries("sounds", told.get("sounds"), page_ns),
        asked_ms=_optional("asked", told.get("asked"), 60_000),
        told_ms=_pair("told", told.get("told")),
        latency_ms=_optional("latency", told.get("latency"), 10_000),
        audio=_side("audio", told.get("audio")),
        video=_side("video", told.get("video")),
    )


def _entries(name: str, told: Any, page_ns: int) -> tuple[ReportEntry, ...]:
    if not isinstance(told, list) or len(told) > MAX_ENTRIES:
        raise _Bad("shape", f"{name} must be a list of at most {MAX_ENTRIES}")
    entries: list[ReportEntry] = []
    for pair in told:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Bad("shape", f"{name} must be pairs of RTP time and page time")
        at_ns = _page_ns(name, pair[1])
        if not -LONGEST_PAST_NS <= at_ns - page_ns <= LONGEST_FUTURE_NS:
            raise _Bad("range", f"{name}: not of the time since the last report")
        entries.append(ReportEntry(_whole(name, pair[0], (1 << 32) - 1), at_ns))
    return tuple(entries)


def _pair(name: str, told: Any) -> tuple[float | None, float | None]:
    if told is None:
        return 0.0, 0.0
    if not isinstance(told, list) or len(told) != 2:
        raise _Bad("shape", f"{name} must be a pair")
    sound, picture = (_optional(name, each, 60_000) for each in told)
    return sound, picture


def _side(name: str, told: Any) -> Side | None:
    if told is None:
        return None
    if not isinstance(told, dict):
        raise _Bad("shape", f"{name} must be an object or null")
    counts = {key: _optional(f"{name}.{key}", told.get(key), MAX_COUNT) for key in _COUNTS[name]}
    return Side(
        depth_ms=_optional(f"{name}.depth", told.get("depth"), 60_000),
        target_ms=_optional(f"{name}.target", told.get("target"), 60_000),
        minimum_ms=_optional(f"{name}.minimum", told.get("minimum"), 60_000),
        playout_ms=_optional(f"{name}.playout", told.get("playout"), 1e13),
        counts={key: value for key, value in counts.items() if value is not None},
    )


def _page_ns(name: str, value: Any) -> int:
    found = _optional(name, value, MAX_NOW_MS)
    if found is None:
        raise _Bad("shape", f"{name}: a time is missing")
    return round(found * NS_PER_MS)


def _optional(name: str, value: Any, most: float) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float):
        raise _Bad("shape", f"{name} must be a number or null")
    if not 0 <= value <= most or not math.isfinite(value):
        raise _Bad("range", f"{name} must be from 0 to {most:g}")
    return float(value)


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int:
        raise _Bad("shape", f"{name} must be a whole number")
    if not 0 <= value <= most:
        raise _Bad("range", f"{name} must be from 0 to {most}")
    return value
