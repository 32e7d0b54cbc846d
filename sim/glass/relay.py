"""Relay: the lab's link on a real wire, a UDP relay on this host between a browser and the sender of its stream.

``offer`` and ``answer`` pass a call's two descriptions on with the relay as the only candidate, so that all packets of
the call cross it; each direction is a ``Pipe`` over a ``sim.network.link.Link`` in the wall time of the event loop. The
link can be changed while it runs, as in the lab. What the relay adds by itself is measured (``late_abs_p95_ms``).

Like the lab's, the network is impaired on the way to the viewer; the way back has the delay alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from avsync.errors import InputError, UsageError
from avsync.types import Kind
from avsync.units import NS_PER_S, to_ms
from sim.glass.impair import Impairment
from sim.glass.relay_pipe import Pipe
from sim.glass.relay_sdp import Address, hosts, payload_kinds, redirected
from sim.network.link import Link
from sim.network.link_spec import LinkSpec

MAX_FLOWS = 8
"""Addresses a browser may send from: one per network interface. More is somebody else."""
SOCKET_BYTES = 1 << 20
"""Of the kernel's buffers: a key frame comes as a burst."""
MAX_PACKET_BYTES = 1 << 16
MAX_READS = 64
"""Packets read in one turn of the loop; the rest waits its turn."""


class _Flow:
    """One address of the browser, and the socket that stands for it before the sender."""

    __slots__ = ("back", "viewer")

    def __init__(self, back: socket.socket) -> None:
        self.back = back
        self.viewer: Address | None = None


class Relay:
    """One call at a time; a new ``offer`` ends the one before. Use it with ``async with`` in a running event loop."""

    def __init__(
        self,
        to_viewer: Link,
        *,
        back_delay_ns: int = 0,
        host: str = "127.0.0.1",
        on_packet: Callable[[bytes], None] | None = None,
    ) -> None:
        """``back_delay_ns``: of the way from the viewer, and of STUN and DTLS that the link would have lost.

        ``on_packet`` is called with each packet of the sender's, before the network touches it.
        """
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._host = host
        self.to_viewer = Pipe(to_viewer, handshake_delay_ns=back_delay_ns, on_packet=on_packet)
        back = Link(LinkSpec(delay_ns=back_delay_ns), seed=0, name="from_viewer")
        self.from_viewer = Pipe(back, handshake_delay_ns=back_delay_ns)
        self._timers: dict[Pipe, asyncio.TimerHandle] = {}
        self._front: socket.socket | None = None
        self._flows: list[_Flow] = []
        self._sender: Address | None = None
        self.refused = 0  # packets from nobody this call is with
        self._closed = False

    @classmethod
    def of(
        cls,
        network: Impairment,
        *,
        seed: int = 1,
        host: str = "127.0.0.1",
        on_packet: Callable[[bytes], None] | None = None,
    ) -> Self:
        """A relay that does what ``--impair`` says; the way back has the same plain delay."""
        link = network.link(seed=seed)
        return cls(link, back_delay_ns=network.spec.delay_ns, host=host, on_packet=on_packet)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Sockets and timers are gone when it returns; what was under way is lost."""
        self._closed = True
        self._hang_up()

    # ---------------------------------------------------------------------------------- signalling

    def offer(self, sdp: str) -> str:
        """The viewer's offer, as the sender is to get it: the relay is where the viewer seems to be."""
        if self._closed:
            raise UsageError("this relay is closed")
        payload_kinds(sdp)  # refuses what is no description, before anything is opened
        self._hang_up()
        self._front = self._open()
        self._loop.add_reader(self._front, self._drain, self._front, self._from_viewer)
        return redirected(sdp, _address(self._new_flow().back))

    def answer(self, sdp: str) -> str:
        """The sender's answer, as the viewer is to get it. ``InputError`` if the sender has no address we can reach."""
        if self._front is None:
            raise UsageError("an answer without an offer: call offer() first")
        family = ":" in self._host
        reachable = [address for address in hosts(sdp) if (":" in address[0]) == family]
        if not reachable:
            rule = f"the answer has no host candidate for IPv{6 if family else 4}"
            raise InputError(rule, place="relay", remedy="gather candidates before answering, on this host")
        self._sender = reachable[0]
        kinds = payload_kinds(sdp)
        self.to_viewer.payloads = self.from_viewer.payloads = kinds
        return redirected(sdp, _address(self._front))

    # ------------------------------------------------------------------------------- live changes

    def begin(self, link: Link) -> None:
        """From now on this link is the way to the viewer, and its time 0 is now: a scenario begins."""
        self.to_viewer.begin(link, self.now_ns())

    def now_ns(self) -> int:
        """ns since the relay was made."""
        return round((self._loop.time() - self._start_s) * NS_PER_S)

    def set(self, **changes: Any) -> int:
        """Replace fields of the way to the viewer; a token for ``restore``. See ``Link.set``."""
        return self.to_viewer.link.set(**changes)

    def set_only(self, kind: Kind, **changes: Any) -> int:
        """The same for one kind of media."""
        return self.to_viewer.link.set_only(kind, **changes)

    def add_delay(self, by_ns: int, kind: Kind | None = None) -> int:
        """A route step."""
        return self.to_viewer.link.add_delay(by_ns, kind)

    def hold(self, for_ns: int, kind: Kind | None = None) -> None:
        """From now on nothing arrives for so long, and then all of it at once."""
        now_ns = self.to_viewer.link_ns(self.now_ns())
        self.to_viewer.link.hold(now_ns, now_ns + for_ns, kind)

    def restore(self, token: int) -> None:
        """Take one change back."""
        self.to_viewer.link.restore(token)

    def stats(self) -> dict[str, Any]:
        """For JSON: the counts of both directions and the relay's own jitter."""
        return {
            "to_viewer": self.to_viewer.as_dict(),
            "from_viewer": self.from_viewer.as_dict(),
            "flows": len(self._flows),
            "refused": self.refused,
            "seconds": to_ms(self.now_ns()) / 1000,
        }

    # ------------------------------------------------------------------------------------ packets

    def _from_viewer(self, data: bytes, viewer: Address) -> None:
        flow = next((flow for flow in self._flows if flow.viewer == viewer), None)
        if flow is None:
            flow = next((flow for flow in self._flows if flow.viewer is None), None)
            if flow is None:
                if len(self._flows) >= MAX_FLOWS:
                    self.refused += 1
                    return
                flow = self._new_flow()
            flow.viewer = viewer
        self._put(self.from_viewer, data, flow)

    def _from_sender(self, flow: _Flow, data: bytes, sender: Address) -> None:
        if flow.viewer is None or self._sender is None or sender[0] != self._sender[0]:
            self.refused += 1  # nobody to give it to yet; ICE asks again
            return
        self._put(self.to_viewer, data, flow)

    def _put(self, pipe: Pipe, data: bytes, flow: _Flow) -> None:
        pipe.put(data, flow, self.now_ns())
        self._deliver(pipe)

    def _deliver(self, pipe: Pipe) -> None:
        """Send what arrives by now, and set the one timer of this direction."""
        for data, flow in pipe.take(self.now_ns()):
            sock = self._front if pipe is self.to_viewer else flow.back
            to = flow.viewer if pipe is self.to_viewer else self._sender
            if sock is None or to is None:
                self.refused += 1
                continue
            try:
                sock.sendto(data, to)
            except BlockingIOError:
                pipe.counts.overflowed += 1
            except OSError:  # the other side is gone, or not on this host
                self.refused += 1
        timer = self._timers.pop(pipe, None)
        at_ns = pipe.next_ns()
        if timer is not None:
            timer.cancel()
        if at_ns is not None:
            self._timers[pipe] = self._loop.call_at(self._start_s + at_ns / NS_PER_S, self._deliver, pipe)

    # ------------------------------------------------------------------------------------ sockets

    def _open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
            sock.bind((self._host, 0))
        except OSError:
            sock.close()
            raise
        return sock

    def _new_flow(self) -> _Flow:
        flow = _Flow(self._open())
        self._flows.append(flow)
        self._loop.add_reader(flow.back, self._drain, flow.back, partial(self._from_sender, flow))
        return flow

    def _drain(self, sock: socket.socket, received: Callable[[bytes, Address], None]) -> None:
        for _ in range(MAX_READS):
            try:
                data, address = sock.recvfrom(MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # ICMP: the other side is gone, and ICE will notice
                continue
            received(data, (address[0], address[1]))
            if sock.fileno() < 0:  # what was received ended the call
                return

    def _hang_up(self) -> None:
        flows, self._flows = self._flows, []
        front, self._front, self._sender = self._front, None, None
        for sock in (*([front] if front else []), *(flow.back for flow in flows)):
            self._loop.remove_reader(sock)
            sock.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for pipe in (self.to_viewer, self.from_viewer):
            pipe.forget()


def _address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return host, port
