"""A recording: what one page at the glass wrote down, in the page's own time (``performance.now()``, milliseconds).

Raw: nothing here is judged or calibrated. Floats in milliseconds are what browsers give; the only whole numbers are
counts (samples, RTP ticks). ``host_ns`` turns a page's time into this machine's monotonic clock and back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.errors import InputError
from avsync.glass.strip import Mark, read_levels
from avsync.units import NS_PER_MS

I16 = npt.NDArray[np.int16]


class FrameSeen(NamedTuple):
    """A new frame on screen. ``display_ms``: when the browser expects it to light up; ``rtp``: None where not told."""

    now_ms: float
    presentation_ms: float
    display_ms: float
    media_time_s: float
    presented: int
    rtp: int | None
    mark: Mark | None


class ClockPair(NamedTuple):
    """The sample of the audio context that plays, and when: ``AudioContext.getOutputTimestamp()``."""

    context_s: float
    at_ms: float


class SourceSeen(NamedTuple):
    """The newest audio packet that has been played from: ``getSynchronizationSources()``."""

    now_ms: float
    played_ms: float
    rtp: int


class ActionDone(NamedTuple):
    """Something the probe did to the sender while it recorded."""

    name: str
    at_ms: float


@dataclass(frozen=True, slots=True)
class Recording:
    """``pcm``: everything heard, 48 kHz mono; ``pcm_first``: the context's frame of its first sample.

    ``gaps``: samples that the page lost, filled with zeros. ``page_zero_ns``: monotonic ns at the page's 0 ms.
    """

    frames: tuple[FrameSeen, ...]
    pcm: I16
    pcm_first: int
    gaps: int
    clock: tuple[ClockPair, ...]
    sources: tuple[SourceSeen, ...]
    stats: tuple[Mapping[str, Any], ...]
    actions: tuple[ActionDone, ...]
    page_zero_ns: int
    browser: str

    def host_ns(self, at_ms: float) -> int:
        """A time of the page, in ns of ``time.monotonic_ns()`` on this machine."""
        return self.page_zero_ns + round(at_ms * NS_PER_MS)

    def page_ms(self, host_ns: int) -> float:
        return (host_ns - self.page_zero_ns) / NS_PER_MS


def recording(
    taken: Iterable[Mapping[str, Any]], *, actions: Iterable[ActionDone] = (), page_zero_ns: int = 0, browser: str = ""
) -> Recording:
    """Put together what the page handed over, take by take. ``InputError`` where it is not what the page writes."""
    frames, clock, sources, stats, pieces = [], [], [], [], []
    try:
        for part in taken:
            frames += [_frame(row) for row in part["frames"]]
            clock += [ClockPair(float(row[0]), float(row[1])) for row in part["clock"]]
            origin_ms = float(part["time_origin_ms"])
            sources += [SourceSeen(float(r[0]), float(r[1]) - origin_ms, int(r[2])) for r in part["sources"]]
            stats += list(part["stats"])
            pieces += [
                (int(first), np.frombuffer(base64.b64decode(text, validate=True), "<i2")) for first, text in part["pcm"]
            ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"not what the glass page writes: {error!r}") from None
    pcm, first, gaps = _joined(pieces)
    return Recording(
        tuple(frames),
        pcm,
        first,
        gaps,
        tuple(clock),
        tuple(sources),
        tuple(stats),
        tuple(actions),
        page_zero_ns,
        browser,
    )


def _frame(row: list[Any]) -> FrameSeen:
    now, presentation, display, media, presented, rtp, blocks = row
    levels = np.frombuffer(bytes.fromhex(blocks), np.uint8).astype(np.float64)
    mark = read_levels(levels) if len(levels) == 40 else None
    return FrameSeen(
        float(now),
        float(presentation),
        float(display),
        float(media),
        int(presented),
        None if rtp is None else int(rtp),
        mark,
    )


def _joined(pieces: list[tuple[int, I16]]) -> tuple[I16, int, int]:
    """(samples in a row, frame of the first, samples that were missing)."""
    if not pieces:
        return np.zeros(0, np.int16), 0, 0
    first = min(at for at, _ in pieces)
    end = max(at + len(samples) for at, samples in pieces)
    if end - first > 48_000 * 4 * 3600:
        raise InputError(f"not what the glass page writes: sound from frame {first} to {end}")
    out = np.zeros(end - first, np.int16)
    for at, samples in pieces:
        out[at - first : at - first + len(samples)] = samples
    return out, first, max(0, end - first - sum(len(samples) for _, samples in pieces))
