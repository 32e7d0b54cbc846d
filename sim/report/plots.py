"""Plots: one picture per scenario: truth beside belief at each point, how it is distributed, the buffers.

Importing this file imports matplotlib and seaborn, so it is imported only where something is drawn.
No global state is touched: no pyplot figure, no style, no display.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sim.judge.judge import limits_of
from sim.judge.series import PlotCurve, PointSeries, RunSeries
from sim.report.summary import Group
from sim.scenario.metric_names import OUTPUT
from sim.scenario.scenario import Scenario
from sim.scenario.steps import Interrupt
from sim.sweep.sweep import Result

DPI = 100
WIDTH_IN = 11.0
COLOURS_KEPT = 200  # of the PNG's palette: a third of the size, and no difference that one can see
LINEAR_TO_MS = 100.0
"""Offsets are drawn on a linear scale to here, on a logarithmic one beyond: a peak of 1 s must not hide 30 ms."""
LINEAR_REACH_MS = 200.0
TICKS_MS = (10, 45, 100, 300, 1000, 3000, 10_000)

_PALETTE = sns.color_palette("colorblind", 10).as_hex()
OUTPUT_COLOUR, BROWSER_COLOUR, AVSYNC_COLOUR = _PALETTE[0], _PALETTE[1], _PALETTE[2]
FAULT_COLOUR, BASELINE_COLOUR, BELIEF_COLOUR = "#c1121f", "#8c8c8c", "#222222"
_VIEWER_COLOURS = {"browser": BROWSER_COLOUR, "avsync": AVSYNC_COLOUR}
_POLICY_COLOURS = [_PALETTE[0], _PALETTE[1], _PALETTE[4], _PALETTE[2], _PALETTE[5], _PALETTE[9]]
SOLID, DASHED, FINE = "-", (0, (5, 3)), (0, (2, 2))
_POLICY_STYLES = [SOLID, (0, (6, 2)), (0, (3, 2)), (0, (6, 2, 1, 2))]
"""Policies that fail alike lie on one another: dashes let the lower one through."""
_VIEWER_STYLES = {"browser": (0, (6, 2)), "avsync": (0, (2, 2))}


@dataclass(frozen=True, slots=True)
class Line:
    """One run at one point, and how it is drawn."""

    label: str
    colour: str
    point: PointSeries
    believed: bool
    strong: bool
    style: Any = SOLID


@dataclass(frozen=True, slots=True)
class Row:
    """One panel over time with its distribution beside it."""

    title: str
    lines: list[Line]
    limit_ms: float | None


@dataclass(frozen=True, slots=True)
class Buffer:
    """How much sound waited somewhere, over time."""

    label: str
    colour: str
    style: Any
    curve: PlotCurve


def draw(groups: Sequence[Group], file: Path) -> bool:
    """Draw the groups of one scenario (its viewers) into a PNG. False: no run kept anything to draw."""
    rows = _rows(groups)
    if not any(line.point.truth.at_s.size for row in rows for line in row.lines):
        return False
    scenario = groups[0].scenario
    with sns.axes_style("whitegrid", {"grid.color": "#e6e6e6", "axes.edgecolor": "#888888"}), _small_fonts():
        figure = Figure(figsize=(WIDTH_IN, 1.95 * len(rows) + 1.75), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(
            len(rows) + 1, 2, width_ratios=[3.1, 1], height_ratios=[1.0] * len(rows) + [0.6], wspace=0.03
        )
        range_ms = _range_ms(rows)
        for index, row in enumerate(rows):
            _over_time(figure.add_subplot(grid[index, 0]), row, scenario, range_ms)
            _distribution(
                figure.add_subplot(grid[index, 1]), row, max(-range_ms[0], range_ms[1]), last=index == len(rows) - 1
            )
        _over_buffers(figure.add_subplot(grid[len(rows), 0]), _buffers(groups), scenario)
        _legend(figure.add_subplot(grid[len(rows), 1]), rows, scenario)
        title = f"{groups[0].label}: offset between voice and lips, seed {_seed(groups)}"
        figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
        _save(figure, file)
    return True


def _small_fonts() -> sns.plotting_context:
    sizes = {"font.size": 8.5, "axes.labelsize": 8.5, "axes.titlesize": 9, "legend.fontsize": 8}
    return sns.plotting_context("paper", rc={**sizes, "xtick.labelsize": 8, "ytick.labelsize": 8})


def _save(figure: Figure, file: Path) -> None:
    pillow: Any = importlib.import_module("PIL.Image")  # comes with matplotlib; untyped, as all of it is here
    raw = io.BytesIO()
    figure.savefig(raw, format="png")
    image = pillow.open(raw).convert("RGB")
    small = image.quantize(COLOURS_KEPT, method=pillow.Quantize.MEDIANCUT, dither=pillow.Dither.NONE)
    small.save(file, format="PNG", optimize=True)


# ----------------------------------------------------------------------------- what is drawn


def _shown(results: Sequence[Result]) -> tuple[Result, RunSeries] | None:
    return next(((result, result.series) for result in results if result.series is not None), None)


def _seed(groups: Sequence[Group]) -> int:
    found = _shown([result for group in groups for result in group.main])
    return found[0].spec.seed if found else 0


def _rows(groups: Sequence[Group]) -> list[Row]:
    """Our output (of the first viewer's run), then each viewer."""
    rows = [Row("at our output", _lines(groups[0], OUTPUT_COLOUR, True), _limit(groups[0], OUTPUT))]
    for group in groups:
        title = f"at the viewer: {group.viewer}"
        rows.append(Row(title, _lines(group, _VIEWER_COLOURS[group.viewer], False), _limit(group, "")))
    return rows


def _lines(group: Group, colour: str, at_output: bool) -> list[Line]:
    """The tested policy with its belief over the baseline; or the compared policies."""

    def line(label: str, results: Sequence[Result], shade: str, believed: bool, strong: bool) -> list[Line]:
        found = _shown(results)
        if found is None:
            return []
        return [Line(label, shade, found[1].output if at_output else found[1].viewer, believed, strong)]

    if group.compare:
        tested, *named = group.policies.items()
        others = [
            replace(one, style=_POLICY_STYLES[index % len(_POLICY_STYLES)])
            for index, (name, results) in enumerate(named)
            for one in line(name, results, _POLICY_COLOURS[1 + index % (len(_POLICY_COLOURS) - 1)], False, False)
        ]
        return [*others, *line(f"{tested[0]} (tested)", tested[1], _POLICY_COLOURS[0], False, True)]
    label = group.baseline[0].policy if group.baseline else ""
    below = line(f"baseline {label}", group.baseline, BASELINE_COLOUR, False, False)
    return [*below, *line("truth", group.main, colour, True, True)]


def _limit(group: Group, prefix: str) -> float | None:
    """The limit on the 95th percentile, over all if there is one."""
    limits = [
        limit for limit in limits_of(group.scenario, group.viewer) if limit.metric == f"{prefix}offset_abs_p95_ms"
    ]
    chosen = sorted(limits, key=lambda limit: ("all", "clear", "after_fault").index(limit.window))
    return chosen[0].value if chosen else None


def _buffers(groups: Sequence[Group]) -> list[Buffer]:
    """Of the tested policy. Where colours stand for policies, dashes tell the points apart."""
    compared = bool(groups[0].compare)
    found = _shown(groups[0].main)
    curves = (
        [Buffer("our engine", BELIEF_COLOUR if compared else OUTPUT_COLOUR, SOLID, found[1].output_buffer)]
        if found
        else []
    )
    for group in groups:
        if (mine := _shown(group.main)) is not None:
            colour = BELIEF_COLOUR if compared else _VIEWER_COLOURS[group.viewer]
            style = _VIEWER_STYLES[group.viewer] if compared else SOLID
            curves.append(Buffer(group.viewer, colour, style, mine[1].viewer_buffer))
    return curves


def _range_ms(rows: Sequence[Row]) -> tuple[float, float]:
    """The lowest and highest offset in the picture: all panels share one scale, and none is mostly empty."""
    seen = [line.point.truth.ms for row in rows for line in row.lines if line.point.abs_ms.size]
    limits = [row.limit_ms for row in rows if row.limit_ms is not None]
    low = min([-60.0, *(-limit for limit in limits), *(float(np.nanmin(ms)) for ms in seen)])
    high = max([60.0, *limits, *(float(np.nanmax(ms)) for ms in seen)])
    return low, high


# ------------------------------------------------------------------------------- the panels


def _over_time(axes: Axes, row: Row, scenario: Scenario, range_ms: tuple[float, float]) -> None:
    _scale(axes, *range_ms)
    _events(axes, scenario)
    axes.axhspan(-125, 45, color=_PALETTE[2], alpha=0.07, linewidth=0)
    axes.axhline(0, color="#666666", linewidth=0.7)
    if row.limit_ms is not None:
        for sign in (-1, 1):
            axes.axhline(sign * row.limit_ms, color=FAULT_COLOUR, linewidth=0.9, linestyle=DASHED)
    for line in row.lines:
        width, alpha = (1.7, 1.0) if line.strong else (1.2, 0.9)
        truth = line.point.truth
        axes.plot(truth.at_s, truth.ms, color=line.colour, linewidth=width, alpha=alpha, linestyle=line.style)
        if line.believed:
            belief = line.point.belief
            axes.plot(belief.at_s, belief.ms, color=BELIEF_COLOUR, linewidth=0.8, linestyle=FINE)
        if line.strong:
            for start, end in line.point.degraded:
                axes.axvspan(start, end, ymax=0.035, color="#7b3294", linewidth=0)
    axes.set_xlim(0, scenario.duration_s)
    axes.tick_params(labelbottom=False)
    limit = "" if row.limit_ms is None else f"  (limit ±{row.limit_ms:g} ms in 95 % of the time)"
    axes.set_title(row.title + limit, loc="left", fontweight="bold")
    axes.set_ylabel("offset, ms")
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8}
    note: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 7.5, "color": "#555555", "ha": "left", "bbox": box}
    axes.text(0.006, 0.96, "▲ voice ahead of lips", va="top", **note)
    axes.text(0.006, 0.05, "▼ voice behind", va="bottom", **note)


def _scale(axes: Axes, low_ms: float, high_ms: float) -> None:
    """Linear while everything is small; beyond 200 ms symmetric-logarithmic, with marks where limits are."""
    if max(-low_ms, high_ms) <= LINEAR_REACH_MS:
        axes.set_ylim(1.2 * low_ms, 1.2 * high_ms)
        return
    axes.set_yscale("symlog", linthresh=LINEAR_TO_MS, linscale=1.4)
    low_ms, high_ms = 1.6 * min(low_ms, -90), 1.6 * max(high_ms, 90)
    axes.set_ylim(low_ms, high_ms)
    ticks = [sign * tick for tick in TICKS_MS for sign in (-1, 1) if tick not in (10, 100)]
    axes.yaxis.set_major_locator(FixedLocator([0, *(tick for tick in ticks if low_ms <= tick <= high_ms)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0f}" if value else "0"))


def _events(axes: Axes, scenario: Scenario) -> None:
    for start, end in scenario.faults[:200]:
        if end - start < scenario.duration_s / 600:  # too short to be seen as an area
            axes.axvline((start + end) / 2, color=FAULT_COLOUR, alpha=0.35, linewidth=1.5)
        else:
            axes.axvspan(start, end, color=FAULT_COLOUR, alpha=0.18, linewidth=0)
    for step in scenario.steps[:200]:
        if isinstance(step, Interrupt):
            axes.axvline(step.at_s, color="#555555", linestyle=":", linewidth=1)


def _distribution(axes: Axes, row: Row, reach_ms: float, *, last: bool) -> None:
    """How much of the time |offset| was below a value."""
    wide = reach_ms > LINEAR_REACH_MS
    axes.set_xscale("symlog", linthresh=LINEAR_TO_MS, linscale=1.4) if wide else None
    right = 1.6 * reach_ms if wide else max(70.0, 1.15 * reach_ms)
    axes.set_xlim(-0.02 * right if not wide else -5, right)  # perfection stands on 0, beside the frame
    for line in row.lines:
        if line.point.abs_ms.size:
            width = 1.7 if line.strong else 1.2
            sns.ecdfplot(x=line.point.abs_ms, ax=axes, color=line.colour, linewidth=width, linestyle=line.style)
        if line.believed and line.point.believed_abs_ms.size:
            sns.ecdfplot(x=line.point.believed_abs_ms, ax=axes, color=BELIEF_COLOUR, linewidth=0.8, linestyle=FINE)
    if row.limit_ms is not None:
        axes.plot([row.limit_ms] * 2, [0, 0.95], color=FAULT_COLOUR, linewidth=0.9, linestyle=DASHED)
        axes.plot([0, row.limit_ms], [0.95] * 2, color=FAULT_COLOUR, linewidth=0.9, linestyle=DASHED)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 0.95]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.set_ylabel("")
    axes.set_title("share of time below |offset|", loc="left")
    ticks = [tick for tick in TICKS_MS if 45 <= tick <= 1.6 * reach_ms] if wide else [0, 25, 45, 60, 100, 150, 200]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= axes.get_xlim()[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("|offset|, ms" if last else "")


def _over_buffers(axes: Axes, buffers: Sequence[Buffer], scenario: Scenario) -> None:
    _events(axes, scenario)
    for buffer in buffers:
        if buffer.curve.at_s.size:
            sns.lineplot(
                x=buffer.curve.at_s, y=buffer.curve.ms, ax=axes, color=buffer.colour, linestyle=buffer.style,
                linewidth=1.3, label=buffer.label, estimator=None, errorbar=None,
            )  # fmt: skip
    if axes.get_legend() is not None:
        axes.legend(loc="upper right", ncols=3, frameon=True, framealpha=0.8, edgecolor="none", borderpad=0.1)
    peak = max([80.0, *(float(np.nanmax(one.curve.ms)) for one in buffers if np.isfinite(one.curve.ms).any())])
    axes.set_xlim(0, scenario.duration_s)
    axes.set_ylim(0, 1.35 * peak)
    axes.set_title("sound held in the jitter buffers", loc="left", fontweight="bold")
    axes.set_ylabel("ms")
    axes.set_xlabel("time in the call, s")


def _legend(axes: Axes, rows: Sequence[Row], scenario: Scenario) -> None:
    """One legend for all panels, in the corner that is free."""
    axes.axis("off")
    entries: dict[str, dict[str, Any]] = {}
    compared = not any(line.believed for row in rows for line in row.lines)
    for row in rows:
        for line in reversed(row.lines):
            if compared or not line.strong:
                entries[line.label] = {
                    "color": line.colour,
                    "linewidth": 1.8 if line.strong else 1.2,
                    "linestyle": line.style,
                }
    if not compared:
        names = [row.title.removeprefix("at the ").removeprefix("at ") for row in rows]
        truths = {f"truth, {name}": row.lines[-1].colour for name, row in zip(names, rows, strict=True) if row.lines}
        entries = {
            **{name: {"color": colour, "linewidth": 1.8} for name, colour in truths.items()},
            "what the monitor believed": {"color": BELIEF_COLOUR, "linewidth": 0.9, "linestyle": FINE},
            **entries,
        }
    if any(row.limit_ms is not None for row in rows):
        entries["± limit on the 95th percentile"] = {"color": FAULT_COLOUR, "linestyle": DASHED}
    for label, style in entries.items():
        axes.plot([], [], label=label, **style)
    axes.fill_between([], [], color=_PALETTE[2], alpha=0.1, label="not noticed (BT.1359: +45/-125 ms)")
    if scenario.faults:
        axes.fill_between([], [], color=FAULT_COLOUR, alpha=0.18, label="fault")
    if any(isinstance(step, Interrupt) for step in scenario.steps):
        axes.plot([], [], color="#555555", linestyle=":", label="interrupt")
    if any(line.strong and line.point.degraded for row in rows for line in row.lines):
        axes.fill_between([], [], color="#7b3294", label="idle picture on purpose (degraded)")
    axes.legend(loc="center left", frameon=False, borderaxespad=0, handlelength=1.8, labelspacing=0.3)
