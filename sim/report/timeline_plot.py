"""The timeline of a scenario as a picture. Importing this file imports matplotlib."""

from __future__ import annotations

from pathlib import Path

import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avsync.errors import InputError
from sim.report.timeline import timeline
from sim.scenario.scenario import Scenario
from sim.scenario.words import visible

COLOURS = {"turn": "#0173b2", "fault": "#c1121f", "event": "#de8f05", "window": "#8c8c8c"}
WIDTH_IN = 11.0
MOMENT_SHARE = 0.004
"""A moment is drawn this wide, as a share of the run, so that it can be seen."""

NO_PICTURES = {"pgf", "raw", "rgba"}
"""What matplotlib also writes: input for TeX, and bare pixels that no viewer opens."""


def check_picture_name(file: Path) -> None:
    """``InputError`` unless its suffix is one of a picture that matplotlib can write."""
    known = sorted(FigureCanvasAgg(Figure()).get_supported_filetypes().keys() - NO_PICTURES)
    if file.suffix.lower().removeprefix(".") not in known:
        raise InputError(
            "this is no picture's name", file=str(file), remedy=f"end it in .png, or in {', '.join(known)}"
        )


def draw_timeline(scenario: Scenario, file: Path) -> None:
    """One row of bars for turns, each kind of step and each window; ``file`` says by its end which sort of picture."""
    rows = timeline(scenario)
    with sns.axes_style("whitegrid", {"grid.color": "#e6e6e6", "axes.edgecolor": "#888888"}):
        figure = Figure(figsize=(WIDTH_IN, 1.3 + 0.36 * len(rows)), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        least = MOMENT_SHARE * scenario.duration_s
        for index, row in enumerate(rows):
            bars = [(start, max(end - start, least)) for start, end in row.spans]
            axes.broken_barh(bars, (index - 0.36, 0.72), color=COLOURS[row.sort])
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, scenario.duration_s)
        axes.set_xlabel("s")
        axes.grid(visible=False, axis="y")
        title = f"{visible(scenario.name)}: turns blue, faults red, other steps (and what stays) orange, windows grey"
        figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
        figure.savefig(file, format=file.suffix.lower().removeprefix("."))
