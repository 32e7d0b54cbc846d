"""Growth: what a delay and the inserted silence do over a run, against what the sound's own arrivals force."""

from __future__ import annotations

from collections import deque

import numpy as np

from avsync.units import NS_PER_S, seconds
from sim.truth.columns import I64, NEVER
from sim.truth.logs import ArrivalLog, PresentationLog, SourceLog
from sim.truth.unit_measures import Latency
from sim.truth.windows import ENOUGH


def inserted(source: SourceLog, presented: PresentationLog) -> tuple[I64, I64]:
    """(when, how long) of each silence between two pieces of one turn's voice, without the content that passed."""
    left = presented.table(source.table())
    order = np.argsort(left.turn, kind="stable")
    before, after = order[:-1], order[1:]
    silent = left.at_ns[after] - left.end_ns[before]
    passed = np.maximum(left.from_ns[after] - left.to_ns[before], 0)
    same = left.turn[before] == left.turn[after]
    gap = np.maximum(silent - passed, 0)[same]
    return left.at_ns[after][same][gap > 0], gap[gap > 0]


def forced(came_ns: I64, content_ns: I64, turn: I64, memory_ns: int = seconds(10)) -> tuple[I64, I64]:
    """(when, by how much) each sound came later, against its content, than any of its turn in the time before it."""
    at, more = [], []
    order = np.argsort(came_ns, kind="stable")
    order = order[came_ns[order] < NEVER]
    recent: deque[tuple[int, int]] = deque()  # (came, late), late falling
    current = -1
    for came, late, own in zip(
        came_ns[order].tolist(), (came_ns - content_ns)[order].tolist(), turn[order].tolist(), strict=True
    ):
        if own != current:
            current = own
            recent.clear()
        while recent and recent[0][0] < came - memory_ns:
            recent.popleft()
        if recent and late > recent[0][1]:
            at.append(came)
            more.append(late - recent[0][1])
        while recent and recent[-1][1] <= late:
            recent.pop()
        recent.append((came, late))
    return np.array(at, dtype=np.int64), np.array(more, dtype=np.int64)


def medians(at_ns: I64, values: I64, edges_s: tuple[float, ...]) -> list[float] | None:
    found = []
    for low, high in zip(edges_s, edges_s[1:], strict=False):
        inside = values[(at_ns >= low * NS_PER_S) & (at_ns < high * NS_PER_S)]
        if len(inside) < 20:
            return None
        found.append(float(np.median(inside)))
    return found


def between(at_ns: I64, values: I64, low_s: float, high_s: float) -> int:
    return int(values[(at_ns >= low_s * NS_PER_S) & (at_ns < high_s * NS_PER_S)].sum())


def unforced_ms(
    source: SourceLog, presented: PresentationLog, arrivals: ArrivalLog, spans_s: list[tuple[float, float]]
) -> list[float]:
    """Per span: silence inserted in it, minus what arrivals in it, or up to 5 s before it, forced."""
    made = source.table()
    gap_at, gap_ns = inserted(source, presented)
    came, _ = arrivals.first(made)
    late_at, late_ns = forced(came, made.sounds.content_ns, made.sounds.turn)
    return [(between(gap_at, gap_ns, a, b) - between(late_at, late_ns, a - 5, b)) / 1e6 for a, b in spans_s]


def kept_ms(source: SourceLog, latency: Latency, arrivals: ArrivalLog, from_s: float) -> float | None:
    """By how much the added latency of the turns that begin after ``from_s`` is more than their own arrivals need.

    What they need is how much later than its earliest the sound of a turn comes. None where no such turn was heard.
    """
    made = source.table()
    came, _ = arrivals.first(made)
    arrived = came < NEVER
    turns = np.flatnonzero(_first_by(made.sounds.turn[arrived], came[arrived], len(made.turns)) >= from_s * NS_PER_S)
    late = came - made.sounds.content_ns
    spread_ns, begins = 0, NEVER
    for turn in turns:
        own = late[arrived & (made.sounds.turn == turn)]
        if len(own):
            spread_ns = max(spread_ns, int(np.quantile(own - own.min(), 0.99)))
            begins = min(begins, int(came[arrived & (made.sounds.turn == turn)].min()))
    added = latency.added_ns[latency.at_ns >= begins]
    return (float(np.median(added)) - spread_ns) / 1e6 if len(added) >= ENOUGH else None


def _first_by(turn: I64, at_ns: I64, count: int) -> I64:
    first = np.full(count, NEVER)
    np.minimum.at(first, turn, at_ns)
    return np.where(first < NEVER, first, -1)
