"""Growth: what a delay and the inserted silence do over a run, against what the sound's own arrivals force."""

from __future__ import annotations

from collections import deque

import numpy as np

from avsync.policy import AvSyncPolicy
from avsync.units import NS_PER_S, seconds
from sim.truth.columns import I64, NEVER
from sim.truth.logs import ArrivalLog, PresentationLog, SourceLog
from sim.truth.unit_measures import Latency
from sim.truth.windows import ENOUGH

MEMORY_NS = seconds(10)


def most_delay_ns(policy: AvSyncPolicy) -> int:
    """What a policy may ever delay: by its jitter buffer, or for late pictures."""
    return max(policy.playout_delay_max_ns, policy.jitter_max_ns)


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


def forced(came_ns: I64, content_ns: I64, turn: I64, most_ns: int) -> tuple[I64, I64]:
    """(when, how long) of each silence that the arrivals of a turn's sound force on any player.

    The player that is compared with has all of hindsight but no more delay than ``most_ns`` above the earliest, and
    remembers for 10 s: it stops where a sound comes later than that.
    """
    at, more = [], []
    order = np.argsort(came_ns, kind="stable")
    order = order[came_ns[order] < NEVER]
    lows, highs = _Extreme(-1), _Extreme(1)
    current, delay = -1, 0
    for came, late, own in zip(
        came_ns[order].tolist(), (came_ns - content_ns)[order].tolist(), turn[order].tolist(), strict=True
    ):
        if own != current:
            current, delay = own, late
            lows, highs = _Extreme(-1), _Extreme(1)
        elif late > delay:
            at.append(came)
            more.append(late - delay)
            delay = late
        else:  # with hindsight it gives back what it need not have, but skips nothing that has come
            delay = max(late, min(delay, lows.at(came) + most_ns, highs.at(came)))
        lows.add(came, late)
        highs.add(came, late)
    return np.array(at, dtype=np.int64), np.array(more, dtype=np.int64)


class _Extreme:
    """The largest (``sign`` 1) or smallest (-1) value of the last 10 s; the last one if there is none so young."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._kept: deque[tuple[int, int]] = deque()

    def add(self, at_ns: int, value: int) -> None:
        kept, value = self._kept, value * self._sign
        while kept and kept[-1][1] <= value:
            kept.pop()
        kept.append((at_ns, value))

    def at(self, now_ns: int) -> int:
        while len(self._kept) > 1 and self._kept[0][0] < now_ns - MEMORY_NS:
            self._kept.popleft()
        return self._kept[0][1] * self._sign


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
    source: SourceLog,
    presented: PresentationLog,
    arrivals: ArrivalLog,
    spans_s: list[tuple[float, float]],
    policy: AvSyncPolicy,
) -> list[float]:
    """Per span: silence inserted in it, minus what arrivals in it, or up to 5 s before it, forced."""
    made = source.table()
    gap_at, gap_ns = inserted(source, presented)
    came, _ = arrivals.first(made)
    late_at, late_ns = forced(came, made.sounds.content_ns, made.sounds.turn, most_delay_ns(policy))
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
