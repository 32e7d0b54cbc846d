"""Peers: offers in, answers out, and one WebRTC connection per viewer until it is gone.

An offer is hostile until parsed: its length, lines and sections are bounded before aiortc sees it, and
whatever aiortc then says of it becomes one clear refusal. Connections are bounded, one that does not
come up is dropped, and the browser's ``.local`` candidates are taken out: they would cost a second
of waiting for a name nobody here can resolve.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any, Protocol

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from avsync.errors import AvSyncError
from avsync.server.stream_protocol import StreamViewer
from avsync.units import NS_PER_S
from avsync.webrtc.session_stats import offsets

log = logging.getLogger("avsync.server")

CHANNEL = "avsync"
MAX_LINES, MAX_SECTIONS, MAX_CANDIDATES = 1000, 4, 64
"""A browser's offer for one picture, one sound and a data channel has about 250 lines and 3 sections."""
ANSWER_WITHIN_S, CONNECT_WITHIN_S, CLOSE_WITHIN_S = 10, 20, 5
MAX_REPORT_BYTES = 65_536


class OfferRefused(AvSyncError):
    """This offer cannot be answered; the text says why."""


class Full(AvSyncError):
    """As many viewers as allowed are here already."""


class RoomBroken(AvSyncError):
    """Nothing is wrong with the offer; the stream behind it could not be started."""


class JoinedRoom(Protocol):
    """Where viewers come from and go to: a ``Room``."""

    async def join(self) -> StreamViewer: ...
    async def leave(self, viewer: StreamViewer) -> None: ...


class Peer:
    """One viewer's connection."""

    def __init__(self, viewer: StreamViewer | None = None) -> None:
        self.name = secrets.token_urlsafe(9)
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.viewer = viewer
        self.reports = 0
        self.broken = False
        """A report of its could not be used, and that was logged: once is enough."""

    def seen(self) -> dict[str, Any] | None:
        """What this viewer's own reports say of the offset; None: it has sent none."""
        if self.viewer is None:
            return None
        report = self.viewer.report(round(asyncio.get_running_loop().time() * NS_PER_S))
        return offsets(report) if report is not None else None


class Peers:
    """All viewers' connections into one room, ``max_viewers`` at most."""

    def __init__(self, room: JoinedRoom, *, max_viewers: int) -> None:
        self._room, self._max_viewers = room, max_viewers
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, name: str) -> Peer | None:
        return self._peers.get(name)

    async def answer(self, offer: str) -> tuple[Peer, str]:
        """One more viewer: (peer, SDP of the answer). Raises ``OfferRefused``, ``Full`` or ``RoomBroken``."""
        sdp = checked_offer(offer)
        if len(self._peers) >= self._max_viewers:
            raise Full(f"{len(self._peers)} viewers are here already, and that is the limit (--sessions)")
        peer = Peer()
        self._peers[peer.name] = peer
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await self._negotiate(peer, sdp)
            if peer.name not in self._peers:
                raise OfferRefused("the viewer has gone meanwhile")
        except (OfferRefused, RoomBroken, asyncio.CancelledError):
            await self._end(peer)
            raise
        except Exception as error:  # aiortc raises a dozen kinds for SDP it cannot use
            await self._end(peer)
            log.info("an offer was refused: %s: %s", type(error).__name__, error)
            raise OfferRefused(f"this offer cannot be used ({type(error).__name__}: {str(error)[:200]})") from error
        asyncio.get_running_loop().call_later(CONNECT_WITHIN_S, self._drop_unless_connected, peer)
        return peer, answer

    async def _negotiate(self, peer: Peer, sdp: str) -> str:
        connection = peer.connection
        connection.add_listener("connectionstatechange", lambda: self._on_state(peer))
        connection.add_listener("datachannel", lambda channel: self._on_channel(peer, channel))
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        kinds = sorted(transceiver.kind for transceiver in connection.getTransceivers())
        if kinds != ["audio", "video"]:
            raise OfferRefused(f"an offer must ask for one sound and one picture, this one has {kinds or 'nothing'}")
        try:
            viewer = peer.viewer = await self._room.join()
        except Exception as error:
            log.exception("the stream cannot start")
            raise RoomBroken(f"the stream cannot start ({type(error).__name__}: {error})") from error
        viewer.add_to(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    def _on_state(self, peer: Peer) -> None:
        state = peer.connection.connectionState
        log.info("viewer %s: %s", peer.name, state)
        if state in ("failed", "closed"):
            self._later(peer)

    def _drop_unless_connected(self, peer: Peer) -> None:
        if peer.name in self._peers and peer.connection.connectionState != "connected":
            log.info("viewer %s: no connection within %d s", peer.name, CONNECT_WITHIN_S)
            self._later(peer)

    def _later(self, peer: Peer) -> None:
        if peer.name in self._peers:
            task = asyncio.get_running_loop().create_task(self.drop(peer), name="avsync viewer leaves")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _on_channel(self, peer: Peer, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL:
            channel.close()
            return

        def on_message(message: str | bytes) -> None:
            if len(message) > MAX_REPORT_BYTES:
                return
            peer.reports += 1
            if peer.viewer is not None:
                try:
                    taken = peer.viewer.on_report(message if isinstance(message, bytes) else message.encode())
                    # One answer under way at a time, and none to what was refused: a page may flood, and not listen.
                    if taken and channel.readyState == "open" and not channel.bufferedAmount:
                        answer = peer.viewer.answer()
                        if answer is not None:
                            channel.send(answer)
                except Exception:
                    if not peer.broken:
                        log.exception("viewer %s: its report could not be used", peer.name)
                    peer.broken = True

        channel.add_listener("message", on_message)

    async def drop(self, peer: Peer) -> None:
        """The viewer has gone, or is sent away; twice is once."""
        if peer.name in self._peers:
            await self._end(peer)

    async def _end(self, peer: Peer) -> None:
        self._peers.pop(peer.name, None)
        if peer.viewer is not None:
            await self._room.leave(peer.viewer)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await peer.connection.close()

    async def close(self) -> None:
        for peer in tuple(self._peers.values()):
            await self.drop(peer)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_WITHIN_S)


def checked_offer(offer: str) -> str:
    """The offer without what costs only time. Raises ``OfferRefused``."""
    lines = offer.splitlines()
    if not lines or not lines[0].startswith("v=0"):
        raise OfferRefused("this is no SDP: it must begin with v=0")
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    sections = sum(line.startswith("m=") for line in lines)
    for what, number, most in (
        ("lines", len(lines), MAX_LINES),
        ("media sections", sections, MAX_SECTIONS),
        ("candidates", len(candidates), MAX_CANDIDATES),
    ):
        if number > most:
            raise OfferRefused(f"{number} {what} are too many for one viewer, at most {most}")
    return "\r\n".join(line for line in lines if not _is_local(line)) + "\r\n"


def _is_local(line: str) -> bool:
    """A candidate whose address is an mDNS name: ``a=candidate:1 1 udp 2113937151 5f…e2.local 54321 typ host``."""
    parts = line.split()
    return line.startswith("a=candidate:") and len(parts) > 4 and parts[4].lower().endswith(".local")
