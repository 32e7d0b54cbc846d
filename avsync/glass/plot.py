"""One picture: the offset at the glass, what the marker-free meter says, and what getStats claims.

Importing this file imports matplotlib, so it is imported only where something is drawn. No global state is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avsync.glass.figures import SETTLED_MS, figures
from avsync.glass.marker_free import OffsetSeries
from avsync.glass.reading import GlassReading, ReadingState
from avsync.glass.recording import ActionDone

GLASS, FREE, CLAIM, FAULT = "#0173b2", "#de8f05", "#222222", "#c1121f"
WIDTH_IN, HIGH_IN, DPI = 11.0, 4.2, 100
LEAST_REACH_MS = 100.0
SHADES = ((ReadingState.DEGRADED, "#ece133", "degraded"), (ReadingState.UNKNOWN, "#bbbbbb", "unknown"))


def plot(
    path: Path,
    reading: GlassReading,
    *,
    title: str,
    marker_free: OffsetSeries | None = None,
    claims: OffsetSeries | None = None,
    actions: Sequence[ActionDone] = (),
) -> Path:
    """Write a PNG (or what the name ends with). Time is in seconds from the first row; returns ``path``."""
    figure = Figure(figsize=(WIDTH_IN, HIGH_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    zero_ms = float(reading.at_ms[0]) if len(reading.at_ms) else 0.0
    axes.axhspan(-SETTLED_MS, SETTLED_MS, color="#2a9d8f", alpha=0.08, lw=0, label=f"within ±{SETTLED_MS:.0f} ms")
    axes.axhline(0, color="#888888", lw=0.8)
    _shade(axes, reading, zero_ms)
    axes.plot((reading.at_ms - zero_ms) / 1000, reading.e_ms, color=GLASS, lw=1.0, label="at the glass")
    if marker_free is not None:
        axes.plot((marker_free.at_ms - zero_ms) / 1000, marker_free.e_ms, color=FREE, lw=0.9, label="marker-free")
    if claims is not None and len(claims.at_ms):
        axes.plot(
            (claims.at_ms - zero_ms) / 1000, claims.e_ms, "o-", color=CLAIM, ms=3, lw=0.8, label="getStats claims"
        )
    for action in actions:
        at_s = (action.at_ms - zero_ms) / 1000
        axes.axvline(at_s, color=FAULT, lw=0.9, ls="--")
        axes.annotate(action.name, (at_s, 0.98), xycoords=("data", "axes fraction"), color=FAULT, va="top", rotation=90)
    _dress(axes, reading, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _shade(axes: Axes, reading: GlassReading, zero_ms: float) -> None:
    """Where the glass showed no lips on purpose, or could not be read."""
    for state, colour, name in SHADES:
        inside = np.concatenate([[False], reading.state == state, [False]]).astype(np.int8)
        edges = np.flatnonzero(inside[1:] - inside[:-1])
        for number, (first, end) in enumerate(edges.reshape(-1, 2)):
            last = min(int(end), len(reading.at_ms) - 1)
            begin_s, end_s = ((reading.at_ms[row] - zero_ms) / 1000 for row in (int(first), last))
            axes.axvspan(begin_s, end_s, color=colour, alpha=0.3, lw=0, label=name if number == 0 else None)


def _dress(axes: Axes, reading: GlassReading, title: str) -> None:
    said = figures(reading)
    reach = max(LEAST_REACH_MS, 1.15 * (said.abs_p99_ms or 0.0))
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("seconds")
    axes.set_ylabel("voice ahead of lips, ms")
    numbers = "too little to judge"
    if said.p50_ms is not None:
        numbers = f"p50 {said.p50_ms:+.0f} ms, p95 |e| {said.abs_p95_ms:.0f} ms"
    axes.set_title(f"{title}: {numbers}", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize="small", ncols=3, frameon=False)
