"""A link: one direction of a network, from sending time to arrival times, without an event.

``Link.send`` answers at once and by arithmetic when a packet will arrive: (), it is lost; one
time; or two, it was duplicated. Sound and pictures share one bottleneck (first in, first out,
drop-tail). Packets keep their order unless reordering is asked for; jitter alone never reorders.
Its impairments (loss, jitter, holds) belong to the seed: see ``sim/network/impairments.py``.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from avsync.errors import UsageError, check_now
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import FAR_NS, seconds
from sim.network.bottleneck import Opportunities, RateSchedule
from sim.network.impairments import HALF_NORMAL_MILLIONTHS, SLOT_NS, JitterLevel, Loss, Recurring, end_of, recurring
from sim.network.link_spec import PATH_FIELDS, LinkSpec, changed
from sim.network.traces.playback import TracePlayback
from sim.network.traces.trace import NetworkTrace
from sim.rng import Draws, substream

__all__ = ["FrameFate", "Link", "LinkSpec", "trace_start_ns"]

MAX_WAIT_NS: Final = seconds(10)
"""No packet waits longer in any queue, however large; a router would have dropped it. It keeps
what is under way bounded when a bandwidth trace falls silent for minutes."""

_BYTE_NS: Final = 8_000_000_000


class FrameFate(NamedTuple):
    """What became of a frame's packets: first and last arrival, indexes of those lost.

    ``first_ns`` and ``last_ns`` are None when every packet was lost.
    """

    first_ns: int | None
    last_ns: int | None
    lost: tuple[int, ...] = ()
    duplicated: tuple[int, ...] = ()


class _Flow:
    """How one kind of media fares: its spec in force, its own draws, its place in the order."""

    def __init__(self, seed: int, name: str, spec: LinkSpec) -> None:
        self.spec = spec
        self.plain = True  # delay, jitter and rate only
        self.static_ns = 0  # delay without jitter
        self.jitter_ns = 0  # jitter of this slot
        self.jitter_cap_ns = 0
        self.loss = Loss(substream(seed, f"{name}.loss"))
        self.reorders: Draws = substream(seed, f"{name}.reorder")
        self.duplicates: Draws = substream(seed, f"{name}.duplicate")
        self.jitter_draws: Draws = substream(seed, f"{name}.jitter")
        self.trace_loss: Draws = substream(seed, f"{name}.trace_loss")
        self.holds: list[tuple[int, int]] = []
        self.recurring: Recurring | None = None
        self.outage: Recurring | None = None
        self.own_order = False


class _Layer(NamedTuple):
    kind: Kind | None
    changes: dict[str, Any]
    by_ns: int


class Link:
    """One direction of a network. ``now_ns`` (true time) never goes back from call to call.

    Changes return a token that ``restore`` takes back. They hold for packets sent from then on;
    what was sent before keeps the arrival times already answered.
    """

    def __init__(self, spec: LinkSpec, *, seed: int, name: str) -> None:
        self.name = name
        self._seed, self._base = seed, spec
        self._layers: dict[int, _Layer] = {}
        self._tokens = 0
        self._now_ns = 0
        self._busy_ns = 0  # the bottleneck is taken until then
        self._queue: deque[tuple[int, int]] = deque()  # (departure, size); where bytes alone do not tell
        self._queued_bytes = 0
        self._audio, self._video = (_Flow(seed, f"{name}.{kind.value}", spec) for kind in (AUDIO, VIDEO))
        self._last_ns = {AUDIO: 0, VIDEO: 0}
        self._shared_last_ns = 0
        self._level = JitterLevel(substream(seed, f"{name}.jitter"))
        self._slot_end_ns = 0
        self._playback: TracePlayback | None = None
        self._server: RateSchedule | Opportunities | None = None
        self._trace: NetworkTrace | None = None
        self._trace_from_ns: int | None = None
        self._refresh()

    # ---------------------------------------------------------------------------------- sending

    def send(self, size_bytes: int, now_ns: int, kind: Kind) -> tuple[int, ...]:
        """Arrival times (ns) of a packet sent now: () lost, two when duplicated."""
        if now_ns < self._now_ns or type(now_ns) is not int:
            check_now(now_ns, self._now_ns)
        self._now_ns = now_ns
        flow = self._audio if kind is AUDIO else self._video
        if now_ns >= self._slot_end_ns:
            self._turn_slot(now_ns)
        rate = self._rate_bps
        if not flow.plain or rate < 0:
            return self._send_rough(flow, size_bytes, now_ns, kind)
        if rate:
            cost = size_bytes * _BYTE_NS // rate
            if self._busy_ns > now_ns:
                if self._busy_ns - now_ns + cost > self._limit_ns:
                    return ()
                departure = self._busy_ns = self._busy_ns + cost
            else:
                departure = self._busy_ns = now_ns + cost
        else:
            departure = now_ns
        arrival = departure + flow.static_ns + flow.jitter_ns
        if flow.own_order:
            return (self._in_own_order(arrival, kind),)
        if arrival < self._shared_last_ns:
            arrival = self._shared_last_ns
        self._shared_last_ns = arrival
        return (arrival,)

    def send_frame(self, packets: int, size_bytes: int, now_ns: int, kind: Kind = VIDEO) -> FrameFate:
        """All packets of a frame, handed over at once; the same as ``send`` for each of them.

        ``size_bytes`` is the total; the first ``size_bytes % packets`` packets are a byte larger.
        """
        small, larger = divmod(size_bytes, packets)
        flow = self._audio if kind is AUDIO else self._video
        rate = self._rate_bps
        if flow.plain and rate >= 0 and not flow.own_order and packets > 1:
            cost = small * _BYTE_NS // rate if rate else 0
            cost_larger = (small + 1) * _BYTE_NS // rate if rate else 0
            total = cost * (packets - larger) + cost_larger * larger
            if max(self._busy_ns - now_ns, 0) + total <= self._limit_ns:
                (first,) = self.send(small + (larger > 0), now_ns, kind)
                if rate:
                    self._busy_ns += total - (cost_larger if larger else cost)
                    last = max(first, self._busy_ns + flow.static_ns + flow.jitter_ns)
                    self._shared_last_ns = last
                    return FrameFate(first, last)
                return FrameFate(first, first)
        arrivals: list[int] = []
        lost: list[int] = []
        duplicated: list[int] = []
        for i in range(packets):
            times = self.send(small + (i < larger), now_ns, kind)
            if not times:
                lost.append(i)
            elif len(times) > 1:
                duplicated.append(i)
            arrivals.extend(times[:1])
        if not arrivals:
            return FrameFate(None, None, tuple(lost))
        return FrameFate(min(arrivals), max(arrivals), tuple(lost), tuple(duplicated))

    def _send_rough(self, flow: _Flow, size_bytes: int, now_ns: int, kind: Kind) -> tuple[int, ...]:
        """``send`` with everything. Chance is drawn first, so that a full queue changes no draw."""
        spec, playback = flow.spec, self._playback
        lost = flow.loss.lost() if spec.loss_ppm else False
        reordered = flow.reorders.chance(spec.reorder_ppm) if spec.reorder_ppm else False
        duplicated = flow.duplicates.chance(spec.duplicate_ppm) if spec.duplicate_ppm else False
        if playback is not None and playback.loses:
            lost = flow.trace_loss.chance(playback.loss_ppm(now_ns)) or lost
        if flow.outage is not None and flow.outage.end_of(now_ns, now_ns) != now_ns:
            lost = True
        jitter_ns = flow.jitter_ns
        if spec.allow_reorder:  # each packet for itself, as netem does
            jitter_ns = self._jitter_ns(flow, flow.jitter_draws.below(len(HALF_NORMAL_MILLIONTHS)), now_ns)
        departure = self._depart(size_bytes, now_ns)
        if departure < 0 or lost:
            return ()
        arrival = departure + flow.static_ns + jitter_ns
        if playback is not None:
            arrival += playback.delay_ns(now_ns)
        if reordered:  # overtaken by those behind: it does not hold them up
            arrival = self._release(flow, arrival + spec.reorder_by_ns, now_ns)
        else:
            arrival = self._release(flow, arrival, now_ns)
            if not spec.allow_reorder:
                arrival = self._in_own_order(arrival, kind) if flow.own_order else self._in_order(arrival)
        return (arrival, arrival) if duplicated else (arrival,)

    def _in_order(self, arrival: int) -> int:
        self._shared_last_ns = max(arrival, self._shared_last_ns)
        return self._shared_last_ns

    def _in_own_order(self, arrival: int, kind: Kind) -> int:
        self._last_ns[kind] = max(arrival, self._last_ns[kind])
        return self._last_ns[kind]

    def _release(self, flow: _Flow, arrival: int, now_ns: int) -> int:
        """``arrival``, or the end of the holds that cover it."""
        if flow.holds or flow.recurring is not None:
            before = -1
            while arrival != before:  # the end of one hold may lie in another
                before = arrival
                arrival = end_of(flow.holds, arrival)
                if flow.recurring is not None:
                    arrival = flow.recurring.end_of(arrival, now_ns)
        return arrival

    def _depart(self, size_bytes: int, now_ns: int) -> int:
        """When the packet has left the bottleneck; -1: the queue was full."""
        rate = self._rate_bps
        if not rate:
            return now_ns
        busy_ns, limit_bytes, limit_packets = self._busy_ns, self._limit_bytes, self._limit_packets
        if limit_bytes or limit_packets:
            queue = self._queue
            while queue and queue[0][0] <= now_ns:
                self._queued_bytes -= queue.popleft()[1]
            if queue and limit_packets and len(queue) >= limit_packets:
                return -1
            if queue and limit_bytes and self._queued_bytes + size_bytes > limit_bytes:
                return -1
        if self._server is not None:
            departure = self._server.departure(size_bytes, now_ns, busy_ns, now_ns + MAX_WAIT_NS)
            if departure < 0:
                return -1
        else:
            cost = size_bytes * _BYTE_NS // self._spec_rate_bps
            if busy_ns > now_ns and busy_ns - now_ns + cost > self._limit_ns:
                return -1
            departure = max(busy_ns, now_ns) + cost
        self._busy_ns = departure
        if limit_bytes or limit_packets:
            self._queue.append((departure, size_bytes))
            self._queued_bytes += size_bytes
        return departure

    # ---------------------------------------------------------------------------------- changes

    @property
    def delay_ns(self) -> int:
        """What a packet of sound takes without jitter, queues and a recorded network's own delay."""
        return self._audio.spec.delay_ns

    @property
    def spread_ns(self) -> int:
        """The jitter that it was given, on top of that."""
        return self._audio.spec.jitter_ns

    def set(self, **changes: Any) -> int:
        """Replace fields of the spec in force, for everything; a token for ``restore``."""
        return self._add_layer(_Layer(None, changes, 0))

    def set_only(self, kind: Kind, **changes: Any) -> int:
        """Replace fields for one kind. Rate, queue and trace are one for both: not here."""
        shared = sorted(set(changes) - PATH_FIELDS)
        if shared:
            raise UsageError(f"{shared[0]} cannot be set for one kind only: sound and pictures share the bottleneck")
        return self._add_layer(_Layer(kind, changes, 0))

    def add_delay(self, by_ns: int, kind: Kind | None = None) -> int:
        """A route step, up or down (never below 0 in all). Order is kept when it shrinks."""
        return self._add_layer(_Layer(kind, {}, by_ns))

    def restore(self, token: int) -> None:
        """Take one change back; the others stay."""
        if token not in self._layers:
            raise UsageError(f"nothing to restore on {self.name}: change {token} is not in force")
        layer = self._layers.pop(token)
        try:
            self._refresh()
        except UsageError:
            self._layers = dict(sorted([*self._layers.items(), (token, layer)]))
            raise

    def hold(self, from_ns: int, until_ns: int, kind: Kind | None = None) -> None:
        """Nothing arrives from ``from_ns`` until ``until_ns``; then all of it at once, in order.

        What was sent before this call keeps its arrival time, so announce a hold before it begins.
        """
        if not 0 <= from_ns < until_ns:
            raise UsageError(f"a hold must end after it starts, got {from_ns} to {until_ns}")
        for flow_kind, flow in ((AUDIO, self._audio), (VIDEO, self._video)):
            if kind is None or kind is flow_kind:
                flow.holds = sorted([*(w for w in flow.holds if w[1] > self._now_ns), (from_ns, until_ns)])
                flow.plain = False
        if kind is not None:
            self._part_ways()

    def _add_layer(self, layer: _Layer) -> int:
        self._tokens += 1
        self._layers[self._tokens] = layer
        try:
            self._refresh()
        except UsageError:
            del self._layers[self._tokens]
            raise
        if layer.kind is not None and (layer.by_ns or set(layer.changes) & _ORDER_FIELDS):
            self._part_ways()
        return self._tokens

    def _part_ways(self) -> None:
        """From now on each kind keeps its own order: one of them is treated alone.

        For good, even if the change is taken back: its last packets may still be under way, and
        must not hold up the other kind's.
        """
        for kind, flow in ((AUDIO, self._audio), (VIDEO, self._video)):
            if not flow.own_order:
                flow.own_order = True
                self._last_ns[kind] = self._shared_last_ns

    def _in_force(self, kind: Kind | None) -> tuple[LinkSpec, int]:
        """Base and layers in the order they came: the spec, and the route steps added to its delay."""
        spec, by_ns = self._base, 0
        for layer in self._layers.values():
            if layer.kind is None or layer.kind is kind:
                spec = changed(spec, layer.changes)
                by_ns += layer.by_ns
        return spec, max(by_ns, -spec.delay_ns)

    def _refresh(self) -> None:
        """Put in force what base and layers say; nothing changes where they contradict each other."""
        common = self._in_force(None)
        alike = all(layer.kind is None for layer in self._layers.values())
        audio, video = (common if alike else self._in_force(kind) for kind in (AUDIO, VIDEO))
        self._refresh_bottleneck(common[0])
        self._level.tune(common[0].jitter_correlation_pct)
        self._refresh_flow(self._audio, *audio)
        self._refresh_flow(self._video, *video)
        self._slot_end_ns = 0

    def _refresh_bottleneck(self, spec: LinkSpec) -> None:
        trace = spec.trace
        if trace is not self._trace or spec.trace_from_ns != self._trace_from_ns:
            self._trace, self._trace_from_ns = trace, spec.trace_from_ns
            self._server = self._playback = None
            if trace is not None:
                from_ns = spec.trace_from_ns
                if from_ns is None:
                    from_ns = trace_start_ns(trace, self._seed, self.name)
                if trace.rate_bps:
                    self._server = RateSchedule(trace, from_ns)
                elif trace.opportunities_ns:
                    self._server = Opportunities(trace, from_ns)
                self._playback = TracePlayback(trace, from_ns)
        self._spec_rate_bps = spec.rate_bps or 0
        mean_bps = trace.mean_bps if trace is not None and trace.limits_rate else self._spec_rate_bps
        self._limit_packets = (spec.queue_packets or 0) if mean_bps else 0  # without a rate nothing waits
        self._limit_ns = MAX_WAIT_NS
        self._limit_bytes = 0
        if self._server is None and mean_bps:
            if spec.queue_ns is not None:
                self._limit_ns = min(spec.queue_ns, MAX_WAIT_NS)
            elif spec.queue_bytes is not None:
                self._limit_ns = min(spec.queue_bytes * _BYTE_NS // mean_bps, MAX_WAIT_NS)
        elif self._server is not None:  # drop-tail counts bytes; a trace's time is worth its mean rate
            self._limit_bytes = spec.queue_bytes or -(-(spec.queue_ns or 0) * mean_bps // _BYTE_NS)
        # The rate of the short cut: 0 no limit, -1 go the long way.
        self._rate_bps = -1 if self._server is not None or self._limit_packets else self._spec_rate_bps

    def _refresh_flow(self, flow: _Flow, spec: LinkSpec, by_ns: int) -> None:
        flow.spec = spec
        flow.static_ns = spec.delay_ns + by_ns
        flow.jitter_cap_ns = spec.jitter_limit_ns
        flow.loss.tune(spec.loss_ppm, spec.burst_packets)
        # Both are functions of the seed and of time since 0: making them anew changes nothing.
        flow.recurring = recurring(self._seed, f"{self.name}.hold", *spec.hold)
        flow.outage = recurring(self._seed, f"{self.name}.outage", spec.outage_every_ns, spec.outage_for_ns, 0, 0)
        playback = self._playback
        traced = playback is not None and (playback.delays or playback.loses)
        moody = spec.loss_ppm or spec.reorder_ppm or spec.duplicate_ppm or spec.allow_reorder
        flow.plain = not (moody or traced or flow.holds or flow.recurring or flow.outage)

    # ----------------------------------------------------------------------------------- jitter

    def _turn_slot(self, now_ns: int) -> None:
        """A new slot of 10 ms: the jitter of both flows for its length."""
        playback = self._playback
        if not (
            self._audio.spec.jitter_ns or self._video.spec.jitter_ns or (playback is not None and playback.jitters)
        ):
            self._audio.jitter_ns = self._video.jitter_ns = 0
            self._slot_end_ns = FAR_NS
            return
        slot = now_ns // SLOT_NS
        level = self._level.at(slot)
        jitter_ns = self._audio.jitter_ns = self._jitter_ns(self._audio, level, now_ns)
        alike = self._video.spec is self._audio.spec
        self._video.jitter_ns = jitter_ns if alike else self._jitter_ns(self._video, level, now_ns)
        self._slot_end_ns = (slot + 1) * SLOT_NS

    def _jitter_ns(self, flow: _Flow, level: int, now_ns: int) -> int:
        """What this level of probability delays: half-normal up to its cap, or as the trace says."""
        jitter_ns = HALF_NORMAL_MILLIONTHS[level] * flow.spec.jitter_ns // 1_000_000
        if jitter_ns > flow.jitter_cap_ns:
            jitter_ns = flow.jitter_cap_ns
        if self._playback is not None and self._playback.jitters:
            jitter_ns += self._playback.jitter_ns(level, now_ns)
        return jitter_ns


def trace_start_ns(trace: NetworkTrace, seed: int, name: str) -> int:
    """Where in its trace the link of this name begins, unless its spec says: each seed sees another part."""
    return substream(seed, f"{name}.trace").below(trace.duration_ns)


_ORDER_FIELDS: Final = PATH_FIELDS - {"loss_ppm", "burst_packets", "duplicate_ppm", "outage_every_ns", "outage_for_ns"}
