"""Calibration: what the probe reads on this machine when voice and lips are in step. Never by the SDK under test.

Five connections to the reference sender, whose sender reports are exact. In each the marks switch between 0, +80
and -80 ms every 1.25 s: the differences must be read within 5 ms or the probe is not fit. The zero is the median of
the five connections' medians. A browser does not hold a connection in exact step either: it leaves +-30 ms alone
and moves slowly, so the five differ, and ``zeros_ms`` says by how much. ``behind_claim_ms`` is the reading minus
what getStats claims at the time: with exact reports that claim is what the browser really aims at.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsync.errors import AvSyncError
from avsync.glass.chromium import open_chromium
from avsync.glass.host_health import check_host
from avsync.glass.marker_free import claims, fitted_ms, marker_free
from avsync.glass.probe import measure
from avsync.glass.reading import GlassReading, read
from avsync.glass.recording import Recording
from avsync.glass.reference_media import ReferenceMedia, Shift, reference_media
from avsync.glass.reference_sender import ReferenceServer, reference_server
from avsync.units import NS_PER_MS, ms, seconds, to_ms

if TYPE_CHECKING:
    from playwright.async_api import Browser

CONNECTIONS = 5
SECONDS = 27.0
SETTLED_S = 5.0
"""The first seconds of a viewer are not judged anywhere."""
SEGMENT_S = 1.25
STEPS_MS = (80, -80)
STEP_TOLERANCE_MS = 5.0
EDGE_MS = 200.0
"""Rows this near to a switch are left out: what is heard and shown then are of both sides."""
ENOUGH_ROWS = 50


class NotCalibrated(AvSyncError):
    """The probe does not read a known difference on this machine: no figure of it can be trusted."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """``zero_ms``: what to take from a raw reading; ``free_ms``: what to add to the marker-free one to get a raw one.

    ``steps_ms``: what +80 and -80 ms were read as. ``zeros_ms``: each connection's own zero.
    """

    zero_ms: float
    zeros_ms: tuple[float, ...]
    steps_ms: tuple[float, float]
    free_ms: float
    behind_claim_ms: float | None
    late_p95_ms: float
    host: str
    browser: str

    def __str__(self) -> str:
        zeros = ", ".join(f"{zero:+.1f}" for zero in self.zeros_ms)
        steps = ", ".join(f"{wanted:+d} reads {got:+.1f}" for wanted, got in zip(STEPS_MS, self.steps_ms, strict=True))
        claim = "" if self.behind_claim_ms is None else f"; {self.behind_claim_ms:+.1f} ms from what getStats claims"
        return (
            f"calibration of {self.host} with {self.browser}: zero {self.zero_ms:+.1f} ms ({zeros}); {steps}"
            f"{claim}; marker-free {self.free_ms:+.1f} ms; sender lateness p95 {self.late_p95_ms:.1f} ms"
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """What one connection to the reference sender says, ms. ``steps_ms``: (wanted, read) of each switch."""

    zero_ms: float
    steps_ms: tuple[tuple[int, float], ...]
    free_ms: float | None
    behind_claim_ms: float | None


async def calibrate(
    *, connections: int = CONNECTIONS, seconds: float = SECONDS, chromium: Browser | None = None
) -> Calibration:
    """Measure the reference sender. ``HostTooBusy``, ``NotCalibrated``, or ``InputError`` where there is no browser."""
    media = await asyncio.to_thread(calibration_media, seconds + 6)
    late_ns: list[int] = []
    seen: list[Connection] = []
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(open_chromium()) if chromium is None else chromium
        server = await stack.enter_async_context(reference_server(media))
        for _ in range(connections):
            recorded = await measure(server.offer_url, seconds=seconds, chromium=browser)
            late_ns += server.late_ns()
            seen.append(await asyncio.to_thread(connection, recorded, media, _origins(server)))
        name = f"Chromium {browser.version}"
    late_p95_ns = check_host(late_ns)
    return judged(seen, late_p95_ms=to_ms(late_p95_ns), host=platform.node(), browser=name)


def calibration_media(length_s: float) -> ReferenceMedia:
    """0, +80, 0, -80 ms and so on, from where a viewer has settled."""
    count = int((length_s - SETTLED_S) / SEGMENT_S)
    sizes = (0, STEPS_MS[0], 0, STEPS_MS[1])
    return reference_media(
        length_s, [Shift(seconds(SETTLED_S + place * SEGMENT_S), ms(sizes[place % 4])) for place in range(count)]
    )


def connection(recorded: Recording, media: ReferenceMedia, origins: tuple[int, int] | None) -> Connection:
    """Read one recording of the reference sender. ``NotCalibrated`` where too little of it can be read."""
    reading = read(recorded)
    spans = segments(reading, media.shifts)
    if len(spans) < 6:
        raise NotCalibrated(f"only {len(spans)} of the reference sender's {len(media.shifts)} switches could be read")
    own = [read_ms - shift_ms for shift_ms, read_ms, _ in spans]
    steps = [
        (round(here[0] - before[0]), here[1] - (before[1] + after[1]) / 2)
        for before, here, after in zip(spans, spans[1:], spans[2:], strict=False)
        if before[0] == after[0] == 0 and here[0]
    ]
    plain = np.zeros(len(reading.at_ms), np.bool_)
    for shift_ms, _, rows in spans:
        plain[rows] = not shift_ms
    unshifted = reading.where(plain)
    free = None if origins is None else fitted_ms(unshifted, marker_free(recorded, origins, unshifted.at_ms))
    claim = claims(recorded.stats)
    behind = None
    if len(claim.at_ms) and plain.any():
        behind = float(np.median(unshifted.e_ms - np.interp(unshifted.at_ms, claim.at_ms, claim.e_ms)))
    return Connection(float(np.median(own)), tuple(steps), free, behind)


def segments(reading: GlassReading, shifts: Sequence[Shift]) -> list[tuple[float, float, np.typing.NDArray[np.int64]]]:
    """(shift, median reading, its rows) of each segment that can be read, ms.

    The voice is never shifted, so the position heard is the sender's own time.
    """
    edges = [shift.from_ns / NS_PER_MS for shift in shifts]
    found = []
    for shift, start, end in zip(shifts, edges, [*edges[1:], np.inf], strict=True):
        inside = (reading.a_ms >= start + EDGE_MS) & (reading.a_ms < end - EDGE_MS) & ~np.isnan(reading.e_ms)
        rows = np.flatnonzero(inside)
        if len(rows) >= ENOUGH_ROWS and np.isfinite(end):
            found.append((shift.shift_ns / NS_PER_MS, float(np.median(reading.e_ms[rows])), rows))
    return found


def judged(seen: Sequence[Connection], *, late_p95_ms: float, host: str, browser: str) -> Calibration:
    """Medians over connections; ``NotCalibrated`` where a known difference was not read within 5 ms."""
    steps = [
        float(np.median([got for one in seen for size, got in one.steps_ms if size == wanted] or [np.nan]))
        for wanted in STEPS_MS
    ]
    for wanted, got in zip(STEPS_MS, steps, strict=True):
        if not abs(got - wanted) <= STEP_TOLERANCE_MS:
            raise NotCalibrated(
                f"a known difference of {wanted:+d} ms was read as {got:+.1f} ms "
                f"({STEP_TOLERANCE_MS:.0f} ms off at most is fit to judge)"
            )
    free = [one.free_ms for one in seen if one.free_ms is not None]
    behind = [one.behind_claim_ms for one in seen if one.behind_claim_ms is not None]
    zeros = tuple(round(one.zero_ms, 2) for one in seen)
    return Calibration(
        zero_ms=round(float(np.median(zeros)), 2),
        zeros_ms=zeros,
        steps_ms=(round(steps[0], 2), round(steps[1], 2)),
        free_ms=round(float(np.median(free)), 2) if free else 0.0,
        behind_claim_ms=round(float(np.median(behind)), 2) if behind else None,
        late_p95_ms=round(late_p95_ms, 2),
        host=host,
        browser=browser,
    )


def _origins(server: ReferenceServer) -> tuple[int, int] | None:
    audio, video = server.rtp_origins()
    return None if audio is None or video is None else (audio, video)


# ------------------------------------------------------------------------------------- storage


def store_path(environment: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CACHE_HOME/avsync/glass.json``, or the same under ``~/.cache``."""
    environment = os.environ if environment is None else environment
    root = environment.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "avsync" / "glass.json"


def store(calibration: Calibration, path: Path | None = None) -> Path:
    """Keep it beside those of other hosts and browsers; returns where."""
    path = path or store_path()
    known = _load_all(path)
    known[_key(calibration.host, calibration.browser)] = asdict(calibration)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def load(browser: str, *, host: str | None = None, path: Path | None = None) -> Calibration | None:
    """The stored calibration of this host and browser; None where there is none, or it cannot be read."""
    entry = _load_all(path or store_path()).get(_key(host or platform.node(), browser))
    try:
        return None if entry is None else _from_json(entry)
    except (KeyError, TypeError, ValueError):
        return None


def _from_json(entry: Mapping[str, Any]) -> Calibration:
    behind = entry["behind_claim_ms"]
    up, down = entry["steps_ms"]
    return Calibration(
        zero_ms=float(entry["zero_ms"]),
        zeros_ms=tuple(float(zero) for zero in entry["zeros_ms"]),
        steps_ms=(float(up), float(down)),
        free_ms=float(entry["free_ms"]),
        behind_claim_ms=None if behind is None else float(behind),
        late_p95_ms=float(entry["late_p95_ms"]),
        host=str(entry["host"]),
        browser=str(entry["browser"]),
    )


def _key(host: str, browser: str) -> str:
    return f"{host} | {browser}"


def _load_all(path: Path) -> dict[str, Any]:
    """Everything stored; a cache that cannot be read is an empty one."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
