"""Draws `problem.png`: a call whose pictures stop for a second, with a common way to pace pictures and with avsync.

    python docs/images/problem.py

Both lines are what a viewer's browser shows in the lab, from the shipped scenario `video_stall`, seed 1.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sim.scenario.files import resolve
from sim.sweep.sweep import execute, plan

OURS, OTHERS, FAULT, INK = "#0b7285", "#d9480f", "#f1f3f5", "#343a40"
FROM_S, TO_S = 16, 40


def main() -> None:
    specs = plan(resolve(["video_stall"]), seeds=[1], viewer="browser", compare=["fps_paced"], with_series=True).specs
    ours, others = (execute(spec).series for spec in specs)
    assert ours is not None and others is not None
    figure, axes = plt.subplots(figsize=(9, 3.4), dpi=200)
    axes.axvspan(20, 21, color="#dee2e6", lw=0)
    axes.axhspan(-125, 45, color="#e6fcf5", lw=0)
    for series, colour, width in ((others, OTHERS, 2.0), (ours, OURS, 2.4)):
        curve = series.viewer.truth
        shown = (curve.at_s >= FROM_S) & (curve.at_s <= TO_S)
        axes.plot(curve.at_s[shown], smoothed(curve.ms[shown]), color=colour, lw=width, solid_capstyle="round")
    text = {"fontsize": 11, "va": "center"}
    axes.text(30.5, 860, "frames paced at 25 per second: a second late, for the rest of the call", color=OTHERS, ha="center", **text)
    axes.text(30.5, 150, "avsync: in sync with the first picture after the stall", color=OURS, ha="center", **text)
    axes.text(20.5, 1130, "the pictures stop\nfor one second", color=INK, ha="center", va="bottom", fontsize=9)
    axes.text(39.9, -85, "nobody notices (ITU-R BT.1359)", color="#2b8a3e", ha="right", fontsize=9, va="center")
    axes.set(xlim=(FROM_S, TO_S), ylim=(-150, 1100), xlabel="time in the call, s", yticks=[0, 500, 1000])
    axes.set_ylabel("voice ahead of lips, ms")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK)
    figure.tight_layout()
    file = Path(__file__).with_suffix(".png")
    figure.savefig(file, metadata={"Software": None})
    print(file.name)


def smoothed(ms: np.ndarray) -> np.ndarray:
    """A running median of a second's fifth: the wobble of a 60 Hz screen is not what this picture is about."""
    padded = np.pad(ms, 5, mode="edge")
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 11), axis=1)


if __name__ == "__main__":
    main()
