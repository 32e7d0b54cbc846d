"""Percentiles in bounded memory: a histogram of signed offsets in bins of half a millisecond.

An offset counts in the nearest bin, so a percentile is exact to a quarter of a millisecond,
and what lies beyond ten seconds is answered by the exact extreme. Below ``MIN_SAMPLES`` the
answer is None, never 0. Memory: one dictionary entry per bin ever used, at most 40 001.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from avsync.units import ms, seconds

BIN_NS: Final = ms(0.5)
"""Well below the 10 ms that the monitor may be wrong by; what cannot be seen need not be stored."""
LIMIT_BINS: Final = seconds(10) // BIN_NS
MIN_SAMPLES: Final = 20
"""Fewer samples than this have no 95th percentile: the answer is UNKNOWN (None)."""


def rank(samples: int, pct: int) -> int:
    """Nearest rank, from 1: the ``pct`` percentile of n sorted values is the ``ceil(n * pct / 100)``-th."""
    return max(1, -(-samples * pct // 100))


class OffsetHistogram:
    """Counts of signed offsets; percentiles of |e|, of the lead max(e, 0) and of the lag max(-e, 0)."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.samples = 0
        self.max_lead_ns = 0
        self.max_lag_ns = 0

    def add_all(self, offsets_ns: Iterable[int]) -> None:
        """Count each offset (ns, signed)."""
        counts, samples, lead_ns, lag_ns = self._counts, self.samples, self.max_lead_ns, self.max_lag_ns
        for offset_ns in offsets_ns:
            samples += 1
            if offset_ns > lead_ns:
                lead_ns = offset_ns
            elif -offset_ns > lag_ns:
                lag_ns = -offset_ns
            number = (offset_ns + BIN_NS // 2) // BIN_NS
            if not -LIMIT_BINS < number < LIMIT_BINS:
                number = LIMIT_BINS if number > 0 else -LIMIT_BINS
            counts[number] = counts.get(number, 0) + 1
        self.samples, self.max_lead_ns, self.max_lag_ns = samples, lead_ns, lag_ns

    def abs_percentiles_ns(self, *pcts: int) -> tuple[int | None, ...]:
        """Percentiles of |offset|."""
        folded: dict[int, int] = {}
        for number, count in self._counts.items():
            folded[abs(number)] = folded.get(abs(number), 0) + count
        return self._walk(folded, pcts, max(self.max_lead_ns, self.max_lag_ns))

    def lead_percentiles_ns(self, *pcts: int) -> tuple[int | None, ...]:
        """Percentiles of how far the voice was ahead of the lips, 0 where it was not."""
        ahead = {number: count for number, count in self._counts.items() if number > 0}
        return self._walk(ahead, pcts, self.max_lead_ns)

    def lag_percentiles_ns(self, *pcts: int) -> tuple[int | None, ...]:
        """Percentiles of how far the voice was behind the lips, 0 where it was not."""
        behind = {-number: count for number, count in self._counts.items() if number < 0}
        return self._walk(behind, pcts, self.max_lag_ns)

    def _walk(self, counts: dict[int, int], pcts: tuple[int, ...], extreme_ns: int) -> tuple[int | None, ...]:
        """``counts``: bin >= 0 -> count; what is missing from the total counts as 0."""
        if self.samples < MIN_SAMPLES:
            return (None,) * len(pcts)
        answers: list[int | None] = []
        bins = sorted(counts)
        below_all = self.samples - sum(counts.values())
        for pct in pcts:
            wanted, seen, value = rank(self.samples, pct), below_all, 0
            for number in bins:
                if seen >= wanted:
                    break
                seen += counts[number]
                value = extreme_ns if number == LIMIT_BINS else number * BIN_NS
            answers.append(value)
        return tuple(answers)


class RecentOffsets:
    """The offsets of the last ``keep_ns``, exact, at most ``limit`` of them.

    When and what are kept apart: sorting plain ints takes a third of sorting what samples hold.
    """

    def __init__(self, keep_ns: int, limit: int) -> None:
        self._keep_ns = keep_ns
        self._at_ns: deque[int] = deque(maxlen=limit)
        self._offset_ns: deque[int] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._at_ns)

    def add_all(self, at_ns: Iterable[int], offset_ns: Iterable[int]) -> None:
        """Both equally long, in growing order of time."""
        self._at_ns.extend(at_ns)
        self._offset_ns.extend(offset_ns)

    def ordered(self) -> list[int]:
        """All of them, sorted."""
        return sorted(self._offset_ns)

    def newest(self, now_ns: int, newest_ns: int) -> list[int] | None:
        """Forget what is too old; those of the last ``newest_ns`` before the newest. None below ``MIN_SAMPLES``."""
        times, offsets = self._at_ns, self._offset_ns
        while times and times[0] < now_ns - self._keep_ns:
            times.popleft()
            offsets.popleft()
        if len(times) < MIN_SAMPLES:
            return None
        return list(islice(offsets, bisect_right(times, times[-1] - newest_ns), None))
