"""Measures over single units: was it heard, shown, leaked, repeated, how late. Same terms as ``sim.truth.measures``.

What a point owes is decided by one idea, the *ideal time* of a unit: with no buffer at all, it leaves when its
content comes after everything made (or arrived) before it, ``content + max over j <= i of (ready(j) - content(j))``,
behind the tail of the turn before. Added latency is measured against it; so is what is still on its way when a turn
is interrupted or the run ends, and therefore not missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from avsync.units import NS_PER_S, ms, to_ms
from sim.truth.columns import I64, NEVER, Bool
from sim.truth.logs import ArrivalLog, PresentationLog, SourceLog
from sim.truth.tables import PresentationTable, SourceTable, Units, first_of
from sim.truth.windows import ENOUGH, Measure, Within, everywhere, percentile, percentile_ms, share_pct

ON_ITS_WAY_NS = ms(1000)
"""What was to leave less than this before an interrupt or the run's end is not missing: links and buffers hold it."""
FIRST_PICTURES_NS = NS_PER_S
NS_PER_MINUTE = 60 * NS_PER_S
MAX_BINS = 240
GROWN_FIRST_NS, GROWN_LAST_NS, GROWN_AFTER_NS = 2 * NS_PER_S, 5 * NS_PER_S, 10 * NS_PER_S


def content_heard_pct(source: SourceLog, presented: PresentationLog, *, run_end_ns: int | None = None) -> Measure:
    """Of the content sound made, not interrupted and not in a marked pause: the share of its time that left."""
    made, left = source.table(), presented.table(source.table())
    owed = _owed(made, left, made.sounds, left.first_heard_ns, presented.local, run_end_ns)
    owed &= ~_paused(made)
    said = np.zeros(len(owed), np.int64)
    alive = left.at_ns <= left.stale_ns[left.turn]
    np.add.at(said, left.ref[alive], (left.to_ns - left.from_ns)[alive])
    whole = made.sounds.duration_ns[owed]
    return share_pct(int(np.minimum(said[owed], whole).sum()), int(whole.sum()))


def frames_dropped_pct(source: SourceLog, presented: PresentationLog, *, run_end_ns: int | None = None) -> Measure:
    """Of the frames made and not interrupted: the share that was never shown."""
    made, left = source.table(), presented.table(source.table())
    owed = _owed(made, left, made.pictures, left.first_shown_ns, presented.local, run_end_ns)
    dropped = owed & (left.first_shown_ns > np.minimum(left.stale_ns[made.pictures.turn], NEVER - 1))
    return share_pct(int(np.count_nonzero(dropped)), int(np.count_nonzero(owed)))


def frames_repeated_pct(source: SourceLog, presented: PresentationLog) -> Measure:
    """Of all showings of a frame with lips: the share that showed it again."""
    left = presented.table(source.table())
    fresh = int(np.count_nonzero(left.first_shown_ns < NEVER))
    return share_pct(left.showings - fresh, left.showings)


def silence_inserted_ms(source: SourceLog, presented: PresentationLog) -> Measure:
    """Between a turn's first and last content sample: time in which no content left, minus the content that passed.

    Gap by gap and never below 0: content skipped later does not take back the silence inserted before.
    """
    left = presented.table(source.table())
    alive = left.at_ns <= left.stale_ns[left.turn]
    turn = left.turn[alive]
    if not len(turn):
        return None
    order = np.argsort(turn, kind="stable")
    before, after = order[:-1], order[1:]
    silent = left.at_ns[alive][after] - left.end_ns[alive][before]
    passed = left.from_ns[alive][after] - left.to_ns[alive][before]
    inserted = np.maximum(silent - np.maximum(passed, 0), 0)
    return to_ms(int(inserted[turn[before] == turn[after]].sum()))


def interrupt_to_silence_ms(source: SourceLog, presented: PresentationLog) -> Measure:
    """Worst interrupt: from the call until the last content of that turn, or one before it, has left. None without."""
    made, left = source.table(), presented.table(source.table())
    called = presented.local(made.interrupted_ns)
    worst = [
        max(int(left.end_ns[left.turn <= turn].max(initial=-NEVER)) - int(called[turn]), 0)
        for turn in np.flatnonzero(called < NEVER)
    ]
    return to_ms(max(worst)) if worst else None


def stale_units_leaked(source: SourceLog, presented: PresentationLog) -> int:
    """Units of an interrupted turn, or one before it, that first left after the interrupt. 0 if nobody interrupts."""
    made, left = source.table(), presented.table(source.table())
    return sum(
        int(np.count_nonzero((first < NEVER) & (first > left.stale_ns[units.turn])))
        for first, units in ((left.first_heard_ns, made.sounds), (left.first_shown_ns, made.pictures))
    )


class Latency(NamedTuple):
    """One row per sound heard, in the order it was made: when it began to leave, and how much later than ideal."""

    at_ns: I64
    added_ns: I64


def added_latency(source: SourceLog, presented: PresentationLog, arrivals: ArrivalLog) -> Latency:
    """Sound against an oracle player without a buffer on the same arrivals, turn by turn.

    T(i) = pts(i) + max(max over sound j <= i of (arrival(j) - pts(j)), the same over the pictures of the turn's first
    second, without those that were sent again). One voice says one thing at a time: a turn made ahead begins, for the
    oracle too, after the last one. It keeps its maximum: after a stall it is as late as the stall made it, so a delay
    that is kept for nothing is seen by ``latency``, not here.
    """
    made, left = source.table(), presented.table(source.table())
    sound_ns, picture_ns = arrivals.first(made)
    start = np.full(len(sound_ns), NEVER)
    np.minimum.at(start, left.ref, left.at_ns - (left.from_ns - made.sounds.content_ns[left.ref]))
    lag = picture_ns - made.pictures.content_ns
    early = made.pictures.content_ns < made.start_ns[made.pictures.turn] + FIRST_PICTURES_NS
    early &= (picture_ns < NEVER) & ~arrivals.waited(made)
    floor = np.full(len(made.turns), -NEVER)
    np.maximum.at(floor, made.pictures.turn[early], lag[early])
    ideal = _ideal(made, left, made.sounds, sound_ns, floor)
    heard = (start < NEVER) & (sound_ns < NEVER)
    return Latency(start[heard], (start - ideal)[heard])


def latency(source: SourceLog, presented: PresentationLog, arrivals: ArrivalLog) -> Latency:
    """Leaving minus arrival of each sound that came to our engine and was heard here: what it was held for."""
    made, left = source.table(), presented.table(source.table())
    came_ns, _ = arrivals.first(made)
    both = (came_ns < NEVER) & (left.first_heard_ns < NEVER)
    return Latency(left.first_heard_ns[both], (left.first_heard_ns - came_ns)[both])


def held_measures(held: Latency, inside: Within = everywhere) -> dict[str, Measure]:
    """Over the sounds that left within a window: no length of run is needed, and no beginning to compare with."""
    within = held.added_ns[inside(held.at_ns)]
    return {"latency_p50_ms": percentile_ms(within, 50), "latency_p95_ms": percentile_ms(within, 95)}


def latency_measures(latency: Latency) -> dict[str, Measure]:
    return {
        "added_latency_p50_ms": percentile_ms(latency.added_ns, 50),
        "added_latency_p95_ms": percentile_ms(latency.added_ns, 95),
    }


def delay_grown_ms(latency: Latency) -> Measure:
    """How much later the voice left in the last 5 s of sound than in the first 2 s, medians; UNKNOWN below 10 s."""
    if not len(latency.at_ns):
        return None
    begin, end = int(latency.at_ns.min()), int(latency.at_ns.max())
    if end - begin < GROWN_AFTER_NS:
        return None
    first = latency.added_ns[latency.at_ns < begin + GROWN_FIRST_NS]
    last = latency.added_ns[latency.at_ns > end - GROWN_LAST_NS]
    return to_ms(percentile(last, 50) - percentile(first, 50))


def latency_growth_ms_per_min(latency: Latency, run_ns: int) -> Measure:
    """Theil-Sen slope of added latency, over medians of equal bins of at least 1 s; UNKNOWN for runs below 60 s."""
    if run_ns < NS_PER_MINUTE or not len(latency.at_ns):
        return None
    begin = int(latency.at_ns.min())
    width = max(-(-(int(latency.at_ns.max()) + 1 - begin) // MAX_BINS), NS_PER_S)
    bins = (latency.at_ns - begin) // width
    order = np.argsort(bins, kind="stable")
    edges = np.flatnonzero(np.diff(bins[order])) + 1
    parts = np.split(latency.added_ns[order], edges)
    if len(parts) < ENOUGH:
        return None
    x = np.unique(bins)
    y = np.array([percentile(part, 50) for part in parts], dtype=np.int64)
    low, high = np.triu_indices(len(x), 1)
    slopes = np.sort((y[high] - y[low]) / (x[high] - x[low]))  # ns per bin
    return float(slopes[(len(slopes) - 1) // 2]) * NS_PER_MINUTE / width / ms(1)


def _ideal(made: SourceTable, left: PresentationTable, units: Units, ready_ns: I64, floor_ns: I64) -> I64:
    """The ideal time of each unit that was ready (else NEVER); ``floor_ns``: per turn, the least ready - content."""
    ideal = np.full(len(ready_ns), NEVER)
    tail = -NEVER  # when the turn before is over
    order = np.argsort(units.turn, kind="stable")
    order = order[ready_ns[order] < NEVER]
    bounds = np.searchsorted(units.turn[order], np.arange(len(made.turns) + 1))
    for turn in range(len(made.turns)):
        own = order[bounds[turn] : bounds[turn + 1]]
        if len(own):
            content = units.content_ns[own]
            floor = max(int(floor_ns[turn]), tail - int(content[0]) if tail > -NEVER else -NEVER)
            ideal[own] = content + np.maximum.accumulate(np.maximum(ready_ns[own] - content, floor))
            tail = max(tail, int(ideal[own[-1]] + units.duration_ns[own[-1]]))
        tail = min(tail, int(left.stale_ns[turn]))
    return ideal


def _owed(
    made: SourceTable,
    left: PresentationTable,
    units: Units,
    first_left_ns: I64,
    local: Callable[[I64], I64],
    run_end_ns: int | None,
) -> Bool:
    """Which units are owed: due a second before the turn was interrupted or the run ended, or passed over.

    Due is the ideal time, moved by what this point's first unit of the turn took to get here.
    """
    in_time = first_left_ns <= left.stale_ns[units.turn]
    count = len(made.turns)
    begun = first_of(units.turn[in_time], first_left_ns[in_time], count)
    floor = np.full(count, -NEVER)
    first = in_time & (first_left_ns == begun[units.turn]) & (first_left_ns < NEVER)
    np.maximum.at(floor, units.turn[first], (first_left_ns - units.content_ns)[first])
    due = _ideal(made, left, units, local(units.made_ns), floor)
    end = np.minimum(left.stale_ns, NEVER if run_end_ns is None else run_end_ns)[units.turn]
    reached = np.full(count, -NEVER)
    gone = first_left_ns <= np.minimum(end, NEVER - 1)
    np.maximum.at(reached, units.turn[gone], units.content_ns[gone])
    owed: Bool = (due + units.duration_ns + ON_ITS_WAY_NS <= end) | (units.content_ns <= reached[units.turn])
    return owed


def _paused(made: SourceTable) -> Bool:
    """Sounds that begin inside a marked pause."""
    if not len(made.pauses):
        return np.zeros(len(made.sounds.turn), np.bool_)
    until = np.concatenate([[-NEVER], np.maximum.accumulate(made.pauses[:, 1])])
    return made.sounds.content_ns < until[np.searchsorted(made.pauses[:, 0], made.sounds.content_ns, "right")]
