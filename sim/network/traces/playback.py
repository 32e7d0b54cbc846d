"""Delay, jitter and loss of a trace at a moment, for a link that asks with time going forward."""

from __future__ import annotations

from bisect import bisect_right

from sim.network.impairments import HALF_NORMAL_MILLIONTHS
from sim.network.traces.trace import NetworkTrace
from sim.rng import NORMAL_MILLIONTHS

_JITTER_CAP_SIGMAS = 3


class TracePlayback:
    """``now_ns`` is the link's time; the trace is read from ``from_ns`` on, and loops.

    The entry in force is kept until it ends, so that most questions cost one comparison.
    """

    __slots__ = ("_end_ns", "_from_ns", "_i", "_start_ns", "_trace", "delays", "jitters", "loses")

    def __init__(self, trace: NetworkTrace, from_ns: int) -> None:
        self._trace, self._from_ns = trace, from_ns
        self.delays = bool(trace.delay_ns)
        self.jitters = bool(trace.jitter_ns or trace.delay_quantiles_ns)
        self.loses = bool(trace.loss_ppm)
        self._i = 0
        self._start_ns = self._end_ns = 0

    def _find(self, now_ns: int) -> int:
        if not self._start_ns <= now_ns < self._end_ns:
            trace = self._trace
            loops, at_ns = divmod(now_ns + self._from_ns, trace.duration_ns)
            base_ns = loops * trace.duration_ns - self._from_ns
            i = self._i = bisect_right(trace.times_ns, at_ns) - 1
            self._start_ns = base_ns + trace.times_ns[i]
            self._end_ns = base_ns + (trace.times_ns[i + 1] if i + 1 < len(trace.times_ns) else trace.duration_ns)
        return self._i

    def delay_ns(self, now_ns: int) -> int:
        delays = self._trace.delay_ns
        if not delays:
            return 0
        i = self._find(now_ns)
        if not self._trace.between or i + 1 == len(delays):
            return delays[i]
        here = delays[i]
        return here + (delays[i + 1] - here) * (now_ns - self._start_ns) // (self._end_ns - self._start_ns)

    def loss_ppm(self, now_ns: int) -> int:
        return self._trace.loss_ppm[self._find(now_ns)]

    def jitter_ns(self, level: int, now_ns: int) -> int:
        """Extra delay at this level of probability (0..4095)."""
        trace = self._trace
        extra_ns = 0
        if trace.jitter_ns:
            sigma_ns = trace.jitter_ns[self._find(now_ns)]
            extra_ns = min(HALF_NORMAL_MILLIONTHS[level] * sigma_ns // 1_000_000, _JITTER_CAP_SIGMAS * sigma_ns)
        quantiles = trace.delay_quantiles_ns
        if quantiles:
            extra_ns += quantiles[level * len(quantiles) // len(NORMAL_MILLIONTHS)]
        return extra_ns
