"""Series: what plots need of one run, thinned to what a screen can show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avsync.units import NS_PER_MS, NS_PER_S
from sim.truth import Offsets, State, offsets
from sim.world import Run

MAX_POINTS = 6_000


class Series(NamedTuple):
    """Times in s, offsets and depths in ms. NaN where there is no measured offset. Faults: (start, end) in s."""

    viewer_s: list[float]
    viewer_ms: list[float]
    output_s: list[float]
    output_ms: list[float]
    believed_s: list[float]
    believed_ms: list[float]
    buffer_s: list[float]
    output_buffer_ms: list[float]
    viewer_buffer_ms: list[float]
    faults: list[tuple[float, float]]


def series_of(run: Run) -> Series:
    viewer = _offset(offsets(run.source, run.viewer_glass))
    output = _offset(offsets(run.source, run.output_glass))
    beliefs = [(at, value) for at, value in run.viewer_beliefs if value is not None]
    beliefs = beliefs[:: -(-len(beliefs) // MAX_POINTS) or 1]
    step = -(-len(run.output_buffer_ns) // MAX_POINTS) or 1
    return Series(
        *viewer,
        *output,
        [at / NS_PER_S for at, _ in beliefs],
        [value / NS_PER_MS for _, value in beliefs],
        [at / NS_PER_S for at, _ in run.output_buffer_ns[::step]],
        [depth / NS_PER_MS for _, depth in run.output_buffer_ns[::step]],
        [depth / NS_PER_MS for _, depth in run.viewer_buffer_ns[::step]],
        list(run.scenario.faults),
    )


def _offset(samples: Offsets) -> tuple[list[float], list[float]]:
    step = -(-len(samples.at_ns) // MAX_POINTS) or 1
    at, e, state = samples.at_ns[::step], samples.e_ns[::step], samples.state[::step]
    shown = np.where(state == State.MEASURED, e / NS_PER_MS, np.nan)
    return [round(float(value), 3) for value in at / NS_PER_S], [round(float(value), 3) for value in shown]
