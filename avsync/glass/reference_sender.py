"""The reference sender: the least that can send marked media, with sender reports that are exact.

It shares no line with ``avsync.webrtc``: what calibrates the probe must not be what the probe judges. Two plain
aiortc tracks hand out packets encoded ahead of time, each at its stamp on one media clock; each sender report
announces (wall clock, media clock) of the moment it leaves, whatever was sent last and however late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from aiohttp import web
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtcpSrPacket

from avsync.glass.reference_media import FRAME_NS, SLOT_NS, ReferenceMedia
from avsync.units import NS_PER_S, PICTURE_HZ, SOUND_HZ, ns_to_ticks

NTP_EPOCH_S = 2_208_988_800  # 1970 in seconds since 1900
U32 = (1 << 32) - 1
MAX_OFFER_BYTES = 64 * 1024


@dataclass(slots=True)
class MediaClock:
    """One clock for both tracks; it starts when the first of them is asked for its first packet.

    The wall clock is read once, as a label: nothing is paced by it and a step of it changes nothing.
    """

    start_ns: int | None = None
    wall_ns: int = 0

    def elapsed_ns(self) -> int:
        now_ns = time.monotonic_ns()
        if self.start_ns is None:
            self.start_ns, self.wall_ns = now_ns, time.time_ns()
        return now_ns - self.start_ns

    def ntp(self, elapsed_ns: int) -> int:
        """64-bit NTP label of a moment of this clock."""
        total_ns = self.wall_ns + elapsed_ns
        return (total_ns // NS_PER_S + NTP_EPOCH_S) << 32 | (total_ns % NS_PER_S << 32) // NS_PER_S


class ReferenceTrack(MediaStreamTrack):
    """Encoded packets, each handed out at its stamp. ``late_ns``: how late each one was."""

    def __init__(self, kind: str, packets: tuple[bytes, ...], every_ns: int, rate_hz: int, clock: MediaClock) -> None:
        self.kind = kind
        super().__init__()
        self._packets, self._every_ns, self._rate_hz, self._clock = packets, every_ns, rate_hz, clock
        self._next = 0
        self.late_ns: list[int] = []

    async def recv(self) -> av.Packet[Any]:
        if self.readyState != "live" or self._next >= len(self._packets):
            raise MediaStreamError
        due_ns = self._next * self._every_ns
        wait_ns = due_ns - self._clock.elapsed_ns()
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / NS_PER_S)
        self.late_ns.append(max(0, self._clock.elapsed_ns() - due_ns))
        packet = av.Packet(self._packets[self._next])
        packet.pts, packet.time_base = ns_to_ticks(due_ns, self._rate_hz), Fraction(1, self._rate_hz)
        self._next += 1
        return packet


@dataclass(slots=True)
class ExactReports:
    """Replaces what one ``RTCRtpSender`` puts into its sender reports; learns its RTP origin on the way.

    Two private places of aiortc 1.16: ``_send_rtcp`` gets the packets of a report to change, and when
    ``_next_encoded_frame`` is called again, ``__rtp_timestamp`` is that of the frame before.
    """

    sender: RTCRtpSender
    clock: MediaClock
    rate_hz: int
    origin: int | None = None
    last_pts: int | None = None
    reports: int = 0

    def install(self) -> None:
        sender: Any = self.sender
        next_frame, send_rtcp = sender._next_encoded_frame, sender._send_rtcp

        async def next_encoded_frame(codec: Any) -> Any:
            if self.origin is None and self.last_pts is not None:
                self.origin = (sender._RTCRtpSender__rtp_timestamp - self.last_pts) & U32
            frame = await next_frame(codec)
            if frame is not None:
                self.last_pts = frame.timestamp
            return frame

        async def send_exact(packets: list[Any]) -> None:
            if any(isinstance(packet, RtcpSrPacket) for packet in packets):
                if self.origin is None:
                    return  # nothing has left yet: better no report than a wrong one
                self._correct(packets)
            await send_rtcp(packets)

        sender._next_encoded_frame, sender._send_rtcp = next_encoded_frame, send_exact

    def _correct(self, packets: list[Any]) -> None:
        elapsed_ns = self.clock.elapsed_ns()
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                assert self.origin is not None
                packet.sender_info.ntp_timestamp = self.clock.ntp(elapsed_ns)
                packet.sender_info.rtp_timestamp = (self.origin + ns_to_ticks(elapsed_ns, self.rate_hz)) & U32
                self.reports += 1


@dataclass(slots=True)
class ReferenceServer:
    """``offer_url`` answers one viewer at a time, each from the beginning of the media."""

    media: ReferenceMedia
    offer_url: str = ""
    clock: MediaClock = field(default_factory=MediaClock)
    tracks: list[ReferenceTrack] = field(default_factory=list)
    reports: list[ExactReports] = field(default_factory=list)
    connection: RTCPeerConnection | None = None

    def late_ns(self) -> list[int]:
        """How late each packet of the last viewer left, ns; picture and sound together."""
        return [late for track in self.tracks for late in track.late_ns]

    def rtp_origins(self) -> tuple[int | None, int | None]:
        """(audio, video) RTP timestamps of stamp 0, modulo 2**32; None before the second packet."""
        if len(self.reports) != 2:
            return None, None
        return self.reports[0].origin, self.reports[1].origin

    async def offer(self, request: web.Request) -> web.Response:
        body = await request.json()
        offer = RTCSessionDescription(sdp=without_local_candidates(body["sdp"]), type=body["type"])
        await self.close()
        self.clock = MediaClock()
        self.connection = connection = RTCPeerConnection()
        self.tracks = [
            ReferenceTrack("audio", self.media.audio, SLOT_NS, SOUND_HZ, self.clock),
            ReferenceTrack("video", self.media.video, FRAME_NS, PICTURE_HZ, self.clock),
        ]
        await connection.setRemoteDescription(offer)
        senders = [connection.addTrack(track) for track in self.tracks]
        self.reports = [
            ExactReports(sender, self.clock, rate) for sender, rate in zip(senders, (SOUND_HZ, PICTURE_HZ), strict=True)
        ]
        for report in self.reports:
            report.install()
        _only_vp8(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        local = connection.localDescription
        return web.json_response({"sdp": local.sdp, "type": local.type})

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()
            self.connection = None


def without_local_candidates(sdp: str) -> str:
    """Chromium hides its address behind a .local name; resolving it would cost aiortc a second."""
    lines = sdp.split("\r\n")
    return "\r\n".join(line for line in lines if not (line.startswith("a=candidate:") and ".local " in line))


def _only_vp8(connection: RTCPeerConnection) -> None:
    """The media is VP8: the answer must take nothing else, whatever the browser likes best."""
    vp8 = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType == "video/VP8"]
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(vp8)


@asynccontextmanager
async def reference_server(media: ReferenceMedia) -> AsyncIterator[ReferenceServer]:
    """A server on a free port of the loopback."""
    server = ReferenceServer(media)
    app = web.Application(client_max_size=MAX_OFFER_BYTES)
    app.router.add_post("/offer", server.offer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.offer_url = f"http://127.0.0.1:{runner.addresses[0][1]}/offer"
        yield server
    finally:
        await server.close()
        await runner.cleanup()
