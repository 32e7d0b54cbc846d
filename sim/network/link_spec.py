"""What a link is like: ``LinkSpec``, plain numbers, checked by name at construction.

Jitter is delay on top of ``delay_ns``, never less than none: min(|N(0, jitter_ns)|, cap), so
``jitter_ns`` is the sigma and the mean extra delay is 0.8 of it. It is correlated in time
(lag 1 of 10 ms) and, unless ``allow_reorder``, changes no packet's place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avsync.errors import UsageError
from avsync.units import ms, seconds
from sim.network.impairments import check_burst
from sim.network.traces.trace import MAX_DELAY_NS, MAX_RATE_BPS, NetworkTrace

_JITTER_CAP_SIGMAS = 3  # RMCAT "gentle": sigma 5 ms, cap 15 ms


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One direction of a network. Everything off unless said.

    ``rate_bps``: the bottleneck; None: unlimited. Its drop-tail queue is at most one of
    ``queue_bytes``, ``queue_ns`` (that much time at the rate; with a trace, at its mean rate) and
    ``queue_packets``; none of them: 10 s. ``jitter_cap_ns`` 0 means three sigmas.
    ``jitter_correlation_pct``: lag-1 correlation of the 10 ms grid of jitter, 0 to 99; measured
    links show 65 to 89. ``loss_ppm``: mean; ``burst_packets``: mean burst of Gilbert-Elliott
    loss (to a thousandth), 1 for independent. ``reorder_ppm`` of the packets come ``reorder_by_ns`` later without
    holding up the others. ``duplicate_ppm`` of them arrive twice. ``hold_every_ns`` and
    ``hold_for_ns``: hold and release, each drawn evenly within plus or minus its spread.
    ``outage_every_ns`` and ``outage_for_ns``: all that is sent meanwhile is lost. ``trace``: see
    ``NetworkTrace``; its delay adds to ``delay_ns``. It starts at ``trace_from_ns`` of the trace,
    or at a place drawn from the seed (None), and loops.
    """

    rate_bps: int | None = None
    queue_bytes: int | None = None
    queue_ns: int | None = None
    queue_packets: int | None = None
    delay_ns: int = 0
    jitter_ns: int = 0
    jitter_cap_ns: int = 0
    jitter_correlation_pct: int = 75
    allow_reorder: bool = False
    loss_ppm: int = 0
    burst_packets: float = 1
    reorder_ppm: int = 0
    reorder_by_ns: int = ms(20)
    duplicate_ppm: int = 0
    hold_every_ns: int = 0
    hold_for_ns: int = 0
    hold_every_spread_pct: int = 50
    hold_for_spread_pct: int = 10
    outage_every_ns: int = 0
    outage_for_ns: int = 0
    trace: NetworkTrace | None = None
    trace_from_ns: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if type(value) is not int or not low <= value <= high:
                raise UsageError(f"{name} must be an int of at least {low} and at most {high}, got {value!r}")
        if sum(getattr(self, name) is not None for name in _QUEUES) > 1:
            raise UsageError("at most one of queue_bytes, queue_ns and queue_packets can be given")
        if self.rate_bps is not None and self.trace is not None and self.trace.limits_rate:
            raise UsageError("rate_bps and a trace of bandwidth contradict each other: leave one out")
        if bool(self.hold_every_ns) != bool(self.hold_for_ns):
            raise UsageError("hold_every_ns and hold_for_ns go together")
        if bool(self.outage_every_ns) != bool(self.outage_for_ns):
            raise UsageError("outage_every_ns and outage_for_ns go together")
        if 0 < self.hold_every_ns < ms(10) or 0 < self.outage_every_ns < ms(10):
            raise UsageError("hold_every_ns and outage_every_ns must be at least 10 ms")
        if self.hold_for_ns > self.hold_every_ns or self.outage_for_ns > self.outage_every_ns:
            raise UsageError("what recurs must be shorter than the time after which it recurs")
        if not 1 <= self.burst_packets <= 1_000_000:
            raise UsageError(f"burst_packets must be at least 1 and at most 1000000, got {self.burst_packets!r}")
        check_burst(self.loss_ppm, self.burst_packets)

    @property
    def jitter_limit_ns(self) -> int:
        """The most that jitter ever adds."""
        return self.jitter_cap_ns or _JITTER_CAP_SIGMAS * self.jitter_ns

    @property
    def hold(self) -> tuple[int, int, int, int]:
        """Every (ns), for (ns), and the spread of each in percent."""
        return self.hold_every_ns, self.hold_for_ns, self.hold_every_spread_pct, self.hold_for_spread_pct


_QUEUES = ("queue_bytes", "queue_ns", "queue_packets")
_OPTIONAL = {"rate_bps", "trace_from_ns", *_QUEUES}
_MILLION = 1_000_000
_DAY_NS = seconds(86_400)
_BOUNDS = {
    "rate_bps": (1, MAX_RATE_BPS),
    "queue_bytes": (1, 1 << 40),
    "queue_ns": (1, _DAY_NS),
    "queue_packets": (1, 1_000_000),
    "delay_ns": (0, MAX_DELAY_NS),
    "jitter_ns": (0, MAX_DELAY_NS),
    "jitter_cap_ns": (0, MAX_DELAY_NS),
    "jitter_correlation_pct": (0, 99),
    "loss_ppm": (0, _MILLION),
    "reorder_ppm": (0, _MILLION),
    "reorder_by_ns": (0, MAX_DELAY_NS),
    "duplicate_ppm": (0, _MILLION),
    "hold_every_ns": (0, _DAY_NS),
    "hold_for_ns": (0, MAX_DELAY_NS),
    "hold_every_spread_pct": (0, 90),
    "hold_for_spread_pct": (0, 90),
    "outage_every_ns": (0, _DAY_NS),
    "outage_for_ns": (0, MAX_DELAY_NS),
    "trace_from_ns": (0, _DAY_NS * 7),
}

_SHARED_FIELDS = {"rate_bps", *_QUEUES, "trace", "trace_from_ns", "jitter_correlation_pct"}
PATH_FIELDS = frozenset(field.name for field in dataclasses.fields(LinkSpec)) - _SHARED_FIELDS
"""Fields that can differ between sound and pictures; the others describe what they share."""


def changed(spec: LinkSpec, changes: Mapping[str, Any]) -> LinkSpec:
    """``spec`` with some fields replaced. A new queue limit replaces one of another unit."""
    known = {field.name for field in dataclasses.fields(LinkSpec)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise UsageError(f"a link has no {unknown[0]}; it has {', '.join(sorted(known))}")
    values = dict(changes)
    if any(changes.get(name) is not None for name in _QUEUES):
        values = {**dict.fromkeys(_QUEUES), **values}
    return dataclasses.replace(spec, **values) if values else spec
