"""Plot: one picture of a clip: the offset over time, the scores under it.

What is sure is opaque, what is a guess is faint; segments that nothing can be said of are shaded by reason. Importing
this file imports matplotlib, so it is imported only where something is drawn. No global state is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avsync.errors import InputError
from avsync.scorer.score.evidence import UNJUDGED
from avsync.scorer.score.report import ClipReport
from avsync.scorer.score.verdict_words import MARKS
from avsync.scorer.signal import Label, LipSyncSignal
from avsync.units import to_ms

OFFSET, AT_ZERO, BEST, ANSWER, LIMIT = "#0173b2", "#de8f05", "#56b4e9", "#222222", "#2a9d8f"
SHADES: dict[Label, str] = {
    "silence": "#9e9e9e",
    "no_face": "#cc78bc",
    "occluded": "#d55e00",
    "still": "#ece133",
    "bad_input": "#c1121f",
}
WIDTH_IN, HIGH_IN, DPI = 11.0, 5.6, 100
FAINTEST = 0.12
"""A guess without any confidence can still be found in the picture."""
LEAST_REACH_MS = 120.0


def plot(path: Path, report: ClipReport) -> Path:
    """Write a picture, of the kind that the name ends with (PNG where it has no ending). Returns where it is."""
    path = path if path.suffix else path.with_suffix(".png")
    figure = Figure(figsize=(WIDTH_IN, HIGH_IN), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if path.suffix[1:].lower() not in canvas.get_supported_filetypes():
        kinds = ", ".join(sorted(canvas.get_supported_filetypes()))
        raise InputError(f"no picture is written as {path.suffix}", file=str(path), remedy=f"one of: {kinds}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    windows = report.face.windows
    _draw_evidence(upper, report)
    _draw_offsets(upper, report, windows)
    _draw_scores(lower, windows)
    for axes in (upper, lower):
        _shade(axes, windows, named=axes is upper)
        axes.grid(alpha=0.25)
        axes.set_xlim(0, max(report.media.duration_ms, 1.0) / 1000)
    _dress(upper, lower, report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise InputError(f"the picture cannot be written: {error.strerror or error}", file=str(path)) from None
    return path


def _draw_evidence(axes: Axes, report: ClipReport) -> None:
    """How well each offset fits in each window, behind everything else: the darker the better."""
    count = len(report.answer.curve)
    if count < 2:
        return
    search_ms = report.settings.search_ms
    edges_ms = np.linspace(-search_ms, search_ms, count)
    half_ms = (edges_ms[1] - edges_ms[0]) / 2
    places_ms = np.append(edges_ms - half_ms, edges_ms[-1] + half_ms)
    for window in report.face.evidence:
        if window.rho is not None and len(window.rho) == count and window.label not in UNJUDGED:
            shown = np.clip(np.nan_to_num(window.rho), 0, 1)[:, None]
            axes.pcolormesh(
                [window.start_ms / 1000, window.end_ms / 1000], places_ms, shown,
                cmap="Greys", vmin=0, vmax=1.6, zorder=-1, rasterized=True,
            )  # fmt: skip


def _draw_offsets(axes: Axes, report: ClipReport, windows: Sequence[LipSyncSignal]) -> None:
    """A bar per window, as long as the window; confidence as opacity."""
    limit_ms = report.settings.limit_ms
    axes.axhspan(-limit_ms, limit_ms, color=LIMIT, alpha=0.10, lw=0, label=f"in sync (±{limit_ms:.0f} ms)")
    axes.axhline(0, color="#888888", lw=0.8)
    rows = [signal for signal in windows if signal.offset_ms is not None and signal.label not in UNJUDGED]
    for number, signal in enumerate(rows):
        start_s, end_s = _span_s(signal)
        axes.plot(
            [start_s, end_s],
            [signal.offset_ms or 0.0] * 2,
            color=OFFSET,
            alpha=FAINTEST + (1 - FAINTEST) * signal.confidence,
            lw=4,
            ls=":" if signal.label in ("out_of_range", "unrelated") else "-",
            solid_capstyle="butt",
            label="a window (faint: unsure)" if number == 0 else None,
        )
    answer = report.answer
    if answer.offset_ms is None:
        return
    whole = ((0.0, report.media.duration_ms, answer.offset_ms, answer.offset_ms),)
    lines = [(part.start_ms, part.end_ms, part.from_offset_ms, part.to_offset_ms) for part in answer.parts] or whole
    for number, (start_ms, end_ms, from_ms, to_ms_) in enumerate(lines):
        axes.plot([start_ms / 1000, end_ms / 1000], [from_ms, to_ms_], color=ANSWER, lw=1.2,
                  ls="--" if answer.sure else ":", label="the whole clip" if number == 0 else None)  # fmt: skip


def _draw_scores(axes: Axes, windows: Sequence[LipSyncSignal]) -> None:
    """Score at offset 0 and at the best offset, in the middle of each window; a gap where nothing was judged."""
    at_s = np.array([sum(_span_s(signal)) / 2 for signal in windows])
    for name, colour, width, values in (
        ("at its best offset", BEST, 1.0, [signal.score_best for signal in windows]),
        ("at offset 0", AT_ZERO, 1.6, [signal.score for signal in windows]),
    ):
        known = np.array([np.nan if value is None else value for value in values], np.float64)
        axes.plot(at_s, known, "o-", color=colour, lw=width, ms=3, label=name)
    axes.set_ylim(0, 1)


def _shade(axes: Axes, windows: Sequence[LipSyncSignal], *, named: bool) -> None:
    """Why nothing, or less, can be said there; neighbours of one kind are one span."""
    seen: set[Label] = set()
    for kind, start_s, end_s in _spans(windows):
        label = MARKS[kind] if named and kind not in seen else None
        seen.add(kind)
        colour = SHADES[kind]
        axes.axvspan(start_s, end_s, facecolor=(colour, 0.15), edgecolor=(colour, 0.5), hatch="//", lw=0, label=label)


def _spans(windows: Sequence[LipSyncSignal]) -> Iterator[tuple[Label, float, float]]:
    current: tuple[Label, float, float] | None = None
    for signal in windows:
        kind: Label | None = signal.label if signal.label in SHADES else "occluded" if signal.occluded else None
        start_s, end_s = _span_s(signal)
        if current is not None and current[0] == kind and start_s <= current[2] + 1e-6:
            current = (kind, current[1], end_s)
            continue
        if current is not None:
            yield current
        current = None if kind is None else (kind, start_s, end_s)
    if current is not None:
        yield current


def _span_s(signal: LipSyncSignal) -> tuple[float, float]:
    start_s = to_ms(signal.pts_ns) / 1000
    return start_s, start_s + to_ms(signal.duration_ns) / 1000


def _dress(upper: Axes, lower: Axes, report: ClipReport) -> None:
    found = [abs(signal.offset_ms) for signal in report.face.windows if signal.offset_ms is not None]
    reach = max([LEAST_REACH_MS, *found, report.settings.search_ms if found else 0.0])
    upper.set_ylim(-1.08 * reach, 1.08 * reach)
    upper.set_ylabel("voice ahead of the lips, ms")
    lower.set_ylabel("similarity")
    lower.set_xlabel("seconds")
    face = f", face {report.chosen} of {len(report.faces)}" if len(report.faces) > 1 else ""
    upper.set_title(f"{Path(report.file).name}{face} ({report.settings.method})\n{report.verdict}", loc="left",
                    fontsize="medium", wrap=True, parse_math=False)  # fmt: skip
    for axes, place, columns in ((upper, "lower right", 4), (lower, "upper right", 2)):
        axes.legend(loc=place, fontsize="small", ncols=columns, frameon=True, framealpha=0.7, edgecolor="none")
