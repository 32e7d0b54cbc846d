"""Changes: does the offset step or drift during the clip?

A change is claimed only where both of its sides are sure by themselves, contradict each other, and the windows prefer
it by far: noise splits a clip as well, but not into two sure halves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.score.evidence import SURE, Array, OffsetPart, Windows

LEAST_CHANGE_MS = 50.0
"""Smaller changes are not told from the spread of windows: one picture at 25 fps is 40 ms."""

LEAST_SIDE = 3
"""Windows on either side of a change."""

LEAST_DRIFT = 10
"""Windows for a drift: clocks drift by a few ms a second at most, and less shows nothing of that."""

CHANGE_T = 2.0
"""How many standard errors the windows must prefer the change by. Simulated with windows of much noise (its spread 0.4,
the hill 0.5 high): without this 15 of 120 steady clips "changed", with it none; 41 of 60 real steps are still told."""

CHANGE_COST = 1.0
"""What a change must win in summed score before it is looked at: about two or three good windows of one second."""

MOST_PARTS = 8
"""A clip that seems to change more often is not described by steps; the window table is."""

DRIFT_WINDOWS = 400
"""A line is searched on at most so many windows, evenly taken: hours do not make a drift clearer than this."""


def changes(whole: Windows) -> tuple[OffsetPart, ...]:
    """Two parts or more: steps. One part: a drift over the whole windows. None: one offset, or nothing sure."""
    count = len(whole.rho)
    if count < 2 * LEAST_SIDE or len(whole.lags_ms) < 5:
        return ()
    steps = _steps(whole)
    line = _line(whole)
    if _drifts(whole, line, steps):
        sure = min(side.confidence() for side in _halves(whole.straightened(line)))
        if sure >= SURE:
            return (_part(whole, float(line[0]), float(line[-1]), sure),)
    if not 2 <= len(steps) <= MOST_PARTS or not _far_better(_stepped(whole, steps) - _own_fit(whole)):
        return ()
    return tuple(_flat_part(whole.part(first, end)) for first, end in steps)


def _drifts(whole: Windows, line: Array, steps: list[tuple[int, int]]) -> bool:
    """The line explains the windows far better than one offset, and no worse than steps do."""
    if len(line) < LEAST_DRIFT or abs(line[-1] - line[0]) < LEAST_CHANGE_MS:
        return False
    along = _fit(whole, line)
    return _far_better(along - _own_fit(whole)) and float(along.sum()) >= float(_stepped(whole, steps).sum())


def _stepped(whole: Windows, steps: list[tuple[int, int]]) -> Array:
    return np.concatenate([_own_fit(whole.part(first, end)) for first, end in steps])


def _steps(whole: Windows) -> list[tuple[int, int]]:
    """[first, end) of each segment with an offset of its own; a single one where nothing sure contradicts."""
    ends = _runs(cheapest_path(np.nan_to_num(whole.rho)))
    while len(ends) > 1:
        parts = [whole.part(*pair) for pair in ends]
        weak = [len(part.rho) < LEAST_SIDE or part.confidence() < SURE for part in parts]
        offsets_ms = [part.offset_ms() for part in parts]
        gaps_ms = [abs(after - before) for before, after in zip(offsets_ms, offsets_ms[1:], strict=False)]
        # The two neighbours to be joined: those that hardly differ, else the shortest weak one with its likest.
        joint = int(np.argmin(gaps_ms))
        if gaps_ms[joint] >= LEAST_CHANGE_MS:
            if not any(weak):
                break
            at = min((place for place in range(len(ends)) if weak[place]), key=lambda place: len(parts[place].rho))
            sides = [place for place in (at - 1, at) if 0 <= place < len(gaps_ms)]
            joint = min(sides, key=lambda place: gaps_ms[place])
        ends[joint : joint + 2] = [(ends[joint][0], ends[joint + 1][1])]
    return ends


def cheapest_path(rho: Array) -> NDArray[np.int64]:
    """(W, L) scores -> (W,) the lag of each window: most score in sum, where each change of lag costs `CHANGE_COST`."""
    count, lags = rho.shape
    came_from = np.empty((count, lags), np.int64)
    best, stay = rho[0], np.arange(lags)
    for row in range(1, count):
        top = int(best.argmax())
        moved = best[top] - CHANGE_COST > best
        came_from[row] = np.where(moved, top, stay)
        best = np.where(moved, best[top] - CHANGE_COST, best) + rho[row]
    path = np.empty(count, np.int64)
    path[-1] = best.argmax()
    for row in range(count - 1, 0, -1):
        path[row - 1] = came_from[row, path[row]]
    return path


def _runs(path: NDArray[np.int64]) -> list[tuple[int, int]]:
    cuts = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def _line(whole: Windows) -> Array:
    """(W,) offsets (ms) on the straight line over time along which the windows score best, between inner lags."""
    every = -(-len(whole.rho) // DRIFT_WINDOWS)
    some = whole._replace(rho=whole.rho[::every], start_ms=whole.start_ms[::every], end_ms=whole.end_ms[::every])
    span_ms = max(float(whole.at_ms[-1] - whole.at_ms[0]), 1.0)
    share = (some.at_ms - whole.at_ms[0]) / span_ms
    inner = whole.lags_ms[1:-1]
    fits = np.array([[_fit(some, start + (end - start) * share).sum() for end in inner] for start in inner])
    row, column = np.unravel_index(int(fits.argmax()), fits.shape)
    return np.asarray(inner[row] + (inner[column] - inner[row]) * (whole.at_ms - whole.at_ms[0]) / span_ms)


def _fit(windows: Windows, offsets_ms: Array) -> Array:
    """(W,) offsets -> (W,) each window's score there, linear between lags; 0 where not scored."""
    step = windows.lags_ms[1] - windows.lags_ms[0]
    place = np.clip((offsets_ms - windows.lags_ms[0]) / step, 0, len(windows.lags_ms) - 1)
    low = np.minimum(place.astype(np.int64), len(windows.lags_ms) - 2)
    rows, share, rho = np.arange(len(place)), place - low, np.nan_to_num(windows.rho)
    return np.asarray(rho[rows, low] * (1 - share) + rho[rows, low + 1] * share)


def _own_fit(windows: Windows) -> Array:
    return _fit(windows, np.full(len(windows.rho), windows.offset_ms()))


def _far_better(gain: Array) -> bool:
    """The windows on which the two models differ prefer the second by `CHANGE_T` standard errors of their spread."""
    gain = gain[gain != 0]
    if len(gain) == 0:
        return False
    error = float(gain.std()) / len(gain) ** 0.5
    return bool(gain.mean() > max(CHANGE_T * error, 1e-9))


def _halves(windows: Windows) -> tuple[Windows, Windows]:
    middle = len(windows.rho) // 2
    return windows.part(0, middle), windows.part(middle, len(windows.rho))


def _flat_part(windows: Windows) -> OffsetPart:
    offset_ms = windows.offset_ms()
    return _part(windows, offset_ms, offset_ms, windows.confidence())


def _part(windows: Windows, from_ms: float, to_ms: float, confidence: float) -> OffsetPart:
    return OffsetPart(float(windows.start_ms[0]), float(windows.end_ms[-1]), from_ms, to_ms, confidence)
