"""Pipe: one direction of the relay without its sockets: packets in, packets out when the lab's link lets them.

RTP and RTCP meet everything the link does. STUN and DTLS wait like them but are never lost: how a call is set up
is not what is measured, and an outage is not to end it. Sound and pictures are told apart by payload type, RTCP by
the SSRC that sent RTP before; all else travels with the sound, whose order it keeps. What is under way is bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avsync.monitor.percentiles import OffsetHistogram
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import ms, to_ms
from sim.network.link import Link

IP_UDP_BYTES = 28
"""What the wire adds to a payload that is RTP already: IPv4 and UDP."""
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_SSRCS = 64
EARLY_NS = ms(0.5)
"""Packets due within this are sent along: an event loop's timers have whole milliseconds, so this centres the error."""
_HANDSHAKE, _RTP, _RTCP = range(3)


@dataclass(slots=True)
class PipeCounts:
    """Of RTP, RTCP and handshake packets together; by kind where it says so."""

    accepted: int = 0
    delivered: int = 0
    duplicated: int = 0
    handshakes: int = 0
    unknown_payloads: int = 0
    overflowed: int = 0
    """Dropped by the relay itself, because more was under way than it keeps. Not the network's doing."""
    peak_waiting_bytes: int = 0
    media: dict[Kind, int] = field(default_factory=lambda: {AUDIO: 0, VIDEO: 0})
    lost: dict[Kind, int] = field(default_factory=lambda: {AUDIO: 0, VIDEO: 0})


class Under(NamedTuple):
    """A packet under way. Ordered by arrival, then by when it came in."""

    at_ns: int
    number: int
    data: bytes
    way: Any


class Pipe:
    """Times in ns since the relay's start, never going back. ``payloads``: RTP payload type -> kind.

    ``on_packet`` is called with each packet as it comes in, before the link touches it.
    """

    def __init__(
        self, link: Link, *, handshake_delay_ns: int, on_packet: Callable[[bytes], None] | None = None
    ) -> None:
        self.link = link
        self._on_packet = on_packet
        self.counts = PipeCounts()
        self.payloads: dict[int, Kind] = {}
        self._begun_ns = 0  # the link's time 0
        self._handshake_delay_ns = handshake_delay_ns
        self._late = OffsetHistogram()
        self._ssrcs: dict[bytes, Kind] = {}
        self._waiting: list[Under] = []
        self._waiting_bytes = 0
        self._number = 0

    def begin(self, link: Link, now_ns: int) -> None:
        """Another link from now on, in whose time this is 0. What is under way arrives as it was told."""
        self.link, self._begun_ns = link, now_ns

    def link_ns(self, now_ns: int) -> int:
        """``now_ns`` in the link's own time."""
        return now_ns - self._begun_ns

    def put(self, data: bytes, way: Any, now_ns: int) -> None:
        """A packet came in; ``way`` comes back with it."""
        if self._on_packet is not None:
            self._on_packet(data)
        counts = self.counts
        counts.accepted += 1
        what, kind = self._sort(data)
        begun_ns = self._begun_ns
        fates = self.link.send(len(data) + IP_UDP_BYTES, now_ns - begun_ns, kind)
        arrivals = tuple(begun_ns + at_ns for at_ns in fates)
        if what == _HANDSHAKE:
            counts.handshakes += 1
            arrivals = arrivals[:1] or (now_ns + self._handshake_delay_ns,)
        else:
            counts.media[kind] += what == _RTP
            counts.lost[kind] += not arrivals
            counts.duplicated += len(arrivals) > 1
        for at_ns in arrivals:
            if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
                counts.overflowed += 1
                continue
            self._number += 1
            heapq.heappush(self._waiting, Under(at_ns, self._number, data, way))
            self._waiting_bytes += len(data)
        counts.peak_waiting_bytes = max(counts.peak_waiting_bytes, self._waiting_bytes)

    def next_ns(self) -> int | None:
        """When to call ``take``; None: nothing is under way."""
        return self._waiting[0].at_ns - EARLY_NS if self._waiting else None

    def take(self, now_ns: int) -> list[tuple[bytes, Any]]:
        """What arrives now: (data, way) in the order of arrival."""
        out: list[tuple[bytes, Any]] = []
        late = []
        while self._waiting and self._waiting[0].at_ns <= now_ns + EARLY_NS:
            one = heapq.heappop(self._waiting)
            self._waiting_bytes -= len(one.data)
            late.append(now_ns - one.at_ns)
            out.append((one.data, one.way))
        self.counts.delivered += len(out)
        self._late.add_all(late)
        return out

    def forget(self) -> None:
        """The call is over: what is under way, and who sent what, is forgotten. The counts stay."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._ssrcs.clear()

    def late_abs_ms(self, pct: int) -> float | None:
        """|leaving - what the link said|, the relay's own jitter; None below 20 packets."""
        (value,) = self._late.abs_percentiles_ns(pct)
        return None if value is None else to_ms(value)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = self.counts
        plain = {name: getattr(counts, name) for name in PipeCounts.__slots__ if name not in ("media", "lost")}
        by_kind = {
            f"{name}_{kind.value}": number
            for name, numbers in (("media", counts.media), ("lost", counts.lost))
            for kind, number in numbers.items()
        }
        return {**plain, **by_kind, "late_abs_p50_ms": self.late_abs_ms(50), "late_abs_p95_ms": self.late_abs_ms(95)}

    def _sort(self, data: bytes) -> tuple[int, Kind]:
        """(handshake, RTP or RTCP; kind) of a packet: RFC 7983 by its first byte, RFC 5761 by its second."""
        if len(data) < 8 or not 128 <= data[0] <= 191:
            return _HANDSHAKE, AUDIO
        if 192 <= data[1] <= 223:
            return _RTCP, self._ssrcs.get(data[4:8], AUDIO)
        kind = self.payloads.get(data[1] & 0x7F)
        if kind is None:
            self.counts.unknown_payloads += 1
            return _RTP, AUDIO
        ssrc = data[8:12]
        if len(ssrc) == 4 and (len(self._ssrcs) < MAX_SSRCS or ssrc in self._ssrcs):
            self._ssrcs[ssrc] = kind
        return _RTP, kind
