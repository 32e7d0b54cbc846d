"""Draws `problem.png`: a call whose pictures stop for a second, with a common way to pace pictures and with avsync.

    python docs/images/problem.py

Both lines are what a viewer's browser shows in the lab, from the shipped scenario `video_stall`, seed 1.
`problem_narrow.png` is the same for telephones.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sim.judge.series import Curve
from sim.scenario.files import resolve
from sim.sweep.sweep import execute, plan

OURS, OTHERS, INK = "#0b7285", "#d9480f", "#343a40"
FROM_S, TO_S = 16, 40


def main() -> None:
    specs = plan(resolve(["video_stall"]), seeds=[1], viewer="browser", compare=["fps_paced"], with_series=True).specs
    curves = [series.viewer.truth for spec in specs if (series := execute(spec).series) is not None]
    for name, size, wide in (("problem.png", (9, 3.4), True), ("problem_narrow.png", (4.4, 3.6), False)):
        draw(Path(__file__).with_name(name), size, *curves, wide=wide)


def draw(file: Path, size: tuple[float, float], ours: Curve, others: Curve, *, wide: bool) -> None:
    """`wide`: on one line what a telephone gets on two."""
    figure, axes = plt.subplots(figsize=size, dpi=200)
    axes.axvspan(20, 21, color="#dee2e6", lw=0)
    axes.axhspan(-125, 45, color="#e6fcf5", lw=0)
    for curve, colour, width in ((others, OTHERS, 2.0), (ours, OURS, 2.4)):
        shown = (curve.at_s >= FROM_S) & (curve.at_s <= TO_S)
        axes.plot(curve.at_s[shown], smoothed(curve.ms[shown]), color=colour, lw=width, solid_capstyle="round")
    joint, fontsize = (" ", 11) if wide else ("\n", 9.5)
    theirs = f"frames paced at 25 per second:{joint}a second late, for the rest of the call"
    axes.text(30.5, 900, theirs, color=OTHERS, ha="center", va="top", fontsize=fontsize)
    axes.text(
        30.5,
        110,
        f"avsync: in sync with the first{joint}picture after the stall",
        color=OURS,
        ha="center",
        fontsize=fontsize,
    )
    axes.text(20.5, 1130, "the pictures stop\nfor one second", color=INK, ha="center", va="bottom", fontsize=9.5)
    axes.text(39.9, -85, "nobody notices (ITU-R BT.1359)", color="#2b8a3e", ha="right", fontsize=9.5, va="center")
    axes.set(xlim=(FROM_S, TO_S), ylim=(-150, 1100), xlabel="time in the call, s", yticks=[0, 500, 1000])
    axes.set_ylabel("voice ahead of lips, ms")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK)
    figure.tight_layout()
    figure.savefig(file, metadata={"Software": None})
    plt.close(figure)
    print(file.name)


def smoothed(ms: np.ndarray) -> np.ndarray:
    """A running median of a second's fifth: the wobble of a 60 Hz screen is not what this picture is about."""
    padded = np.pad(ms, 5, mode="edge")
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 11), axis=1)


if __name__ == "__main__":
    main()
