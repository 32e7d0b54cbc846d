"""RunSeries: what plots need of one run, thinned to what a screen can show without losing a peak.

An offset is drawn from at most ``MAX_POINTS`` points; where there are more samples, the smallest
and the largest of each part stay. A distribution is made of all samples, before thinning.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.units import NS_PER_MS, NS_PER_S
from sim.run.world import Run
from sim.truth.beliefs import Beliefs
from sim.truth.columns import I64, Bool
from sim.truth.truth import Offsets, OffsetState, offsets

MAX_POINTS = 4_000
QUANTILES = 400
MAX_SPANS = 200
BELIEF_GAP_NS = 1_000_000_000  # a monitor that said nothing for a second is not drawn as a line

F32 = npt.NDArray[np.float32]


class PlotCurve(NamedTuple):
    """A line over time: s and ms, equally long. NaN where nothing was known or measured."""

    at_s: F32
    ms: F32


class PointSeries(NamedTuple):
    """One point of the chain: what was true there, and what the monitor there said.

    ``abs_ms``: |offset| at ``QUANTILES`` equal steps from the smallest to the largest; empty where nothing was
    measured. ``degraded``: (start, end) in s of pictures without lips, at most ``MAX_SPANS``.
    """

    truth: PlotCurve
    belief: PlotCurve
    abs_ms: F32
    believed_abs_ms: F32
    degraded: tuple[tuple[float, float], ...]


class RunSeries(NamedTuple):
    """One run. Buffers: how much sound the jitter buffers held."""

    output: PointSeries
    viewer: PointSeries
    output_buffer: PlotCurve
    viewer_buffer: PlotCurve


def series_of(run: Run) -> RunSeries:
    return RunSeries(
        _point(offsets(run.source, run.at_output.presented), run.at_output.beliefs),
        _point(offsets(run.source, run.at_viewer.presented), run.at_viewer.beliefs),
        _buffer(run.at_output.buffer_ns),
        _buffer(run.at_viewer.buffer_ns),
    )


def _point(samples: Offsets, beliefs: Beliefs) -> PointSeries:
    measured = samples.state == OffsetState.MEASURED
    e_ms = np.where(measured, samples.e_ns / NS_PER_MS, np.nan)
    at, value_ns, known = beliefs.columns()
    believed = np.where(known, value_ns / NS_PER_MS, np.nan)
    return PointSeries(
        truth=_thinned(samples.at_ns, e_ms, gap_ns=3 * samples.step_ns),
        belief=_thinned(at, believed, gap_ns=BELIEF_GAP_NS),
        abs_ms=_quantiles(np.abs(e_ms[measured])),
        believed_abs_ms=_quantiles(np.abs(believed[~np.isnan(believed)])),
        degraded=_spans(samples.at_ns, samples.state == OffsetState.DEGRADED, samples.step_ns),
    )


def _buffer(samples: Beliefs) -> PlotCurve:
    at, depth_ns, _ = samples.columns()
    return _thinned(at, depth_ns / NS_PER_MS, gap_ns=10 * BELIEF_GAP_NS)


def _thinned(at_ns: I64, values: npt.NDArray[np.float64], *, gap_ns: int) -> PlotCurve:
    """Both (N,) -> a curve of at most MAX_POINTS, and a NaN in every hole of the time longer than ``gap_ns``."""
    if len(at_ns) > MAX_POINTS:
        size = -(-2 * len(at_ns) // MAX_POINTS)
        starts = np.arange(0, len(at_ns), size)
        low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
        at_ns, values = np.repeat(at_ns[starts], 2), np.stack((low, high), axis=1).ravel()
        gap_ns *= size
    holes = np.flatnonzero(np.diff(at_ns) > gap_ns) + 1
    values = np.insert(values, holes, np.nan)
    at_ns = np.insert(at_ns, holes, at_ns[holes - 1])
    return PlotCurve((at_ns / NS_PER_S).astype(np.float32), values.astype(np.float32))


def _quantiles(values: npt.NDArray[np.float64]) -> F32:
    if not len(values):
        return np.empty(0, np.float32)
    return np.quantile(values, np.linspace(0, 1, QUANTILES)).astype(np.float32)


def _spans(at_ns: I64, wanted: Bool, step_ns: int) -> tuple[tuple[float, float], ...]:
    """Where ``wanted`` holds, as (start, end) in s."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False])).astype(np.int8)))
    pairs = edges.reshape(-1, 2)[:MAX_SPANS]
    return tuple((float(at_ns[a]) / NS_PER_S, float(at_ns[b - 1] + step_ns) / NS_PER_S) for a, b in pairs)
