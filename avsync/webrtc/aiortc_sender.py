"""The one place that touches aiortc's insides: what a ``PacketTrack`` gives leaves untouched, with true sender reports.

aiortc's RTCRtpSender pairs, in its sender reports, the time at which the last packet was *sent*
with that packet's RTP time. A picture's encode time (20 ms at 720p, far more under load) so reaches
the browser as lip-sync error. Here a report pairs *now* with the output clock of now, whatever was
sent when. It also answers a viewer's request for a key frame, and tells when a packet has left.

Four methods of RTCRtpSender are wrapped, once, on the class; senders of other tracks are not
touched. ``install`` refuses, by name, an aiortc whose insides look different.

A step of the wall clock reaches neither a report nor the round trip. What still carries it is the
abs-send-time of a packet: a browser turns that into a bandwidth estimate, which nobody here obeys.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any, TypeAlias

import aiortc
from aiortc import rtcrtpsender
from aiortc.codecs import get_encoder
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket
from av.packet import Packet as AnyPacket

from avsync.errors import AvSyncError

SUPPORTED = ("1.14", "1.15", "1.16")
"""Versions of aiortc this was tested with (tox -e aiortc-114 ...). Others are tried, if their insides look the same."""

EARLY_REPORTS_S = (0.05, 0.2, 0.45, 0.5)
"""Pauses before the first reports. libwebrtc needs two per stream before it begins to align them; aiortc's own
come every 0.5 to 1.5 s, so a viewer would be without lip sync for its first two or three seconds."""

_METHODS = {
    "_next_encoded_frame": ["self", "codec"],
    "_send_rtcp": ["self", "packets"],
    "_send_keyframe": ["self"],
    "_handle_rtcp_packet": ["self", "packet"],
}
_FIELDS = ("rtp_timestamp", "packet_count", "octet_count", "lsr", "lsr_time")
_FRAME = ["self", "payloads", "timestamp", "audio_level"]
_MASK = 0xFFFFFFFF

Packet: TypeAlias = "AnyPacket[Any]"


class UnknownAiortc(AvSyncError):
    """This aiortc's RTCRtpSender is not the one this adapter was written for."""


class PacketTrack(MediaStreamTrack):
    """A track that gives encoded packets to exactly one sender, and is told what becomes of them."""

    wire: Wire | None = None

    async def next_packet(self, mime: str) -> tuple[Packet, int]:
        """The next packet for this codec, and its stamp in ticks of the RTP clock from the session's start."""
        raise NotImplementedError

    def report_now(self) -> tuple[int, int]:
        """(NTP, ticks) of one same instant: now."""
        raise NotImplementedError

    def want_key_frame(self) -> None:
        """The viewer cannot go on without one."""


class Wire:
    """One sender and its track: which RTP time the output clock began at, and whether something is on its way out."""

    def __init__(self, sender: RTCRtpSender, track: PacketTrack, codec: Any) -> None:
        self.sender, self.track, self.mime = sender, track, codec.mimeType.lower()
        self.packer = get_encoder(codec)
        self.origin: int | None = None
        self.sent = asyncio.Event()  # nothing is on its way: the sender waits for the next packet
        self._ticks: int | None = None
        self._reported_s = 0.0
        self._early: asyncio.Task[None] | None = None

    def waits(self) -> None:
        """The sender came back: what it took before has left as a whole."""
        self.sent.set()
        if self.origin is None and self._ticks is not None:
            self.origin = (_get(self.sender, "rtp_timestamp") - self._ticks) & _MASK
            self._early = asyncio.ensure_future(self._report_early())

    def takes(self, packet: Packet, ticks: int) -> Any:
        """What aiortc sends for this packet; None: nothing."""
        payloads, _ = self.packer.pack(packet)
        if not payloads:
            return None
        self.sent.clear()
        self._ticks = ticks
        return rtcrtpsender.RTCEncodedFrame(payloads, ticks, None)  # type: ignore[arg-type]  # no audio level: no header

    def close(self) -> None:
        self.sent.set()
        if self._early is not None:
            self._early.cancel()

    def correct(self, report: RtcpSrPacket) -> bool:
        """Make this report tell the truth; False: nothing can be told, not yet or no more."""
        if self.origin is None or self.track.readyState != "live":
            return False
        ntp, ticks = self.track.report_now()
        report.sender_info.ntp_timestamp = ntp
        report.sender_info.rtp_timestamp = (self.origin + ticks) & _MASK
        # What a receiver's report will quote; without it aiortc could not measure the round trip.
        _set(self.sender, "lsr", (ntp >> 16) & _MASK)
        self._reported_s = time.monotonic()
        self.heard()
        return True

    def heard(self) -> None:
        """A receiver's report has come (or ours goes out): aiortc is told when ours went, by the wall clock of now."""
        _set(self.sender, "lsr_time", time.time() - (time.monotonic() - self._reported_s))

    async def _report_early(self) -> None:
        for pause_s in EARLY_REPORTS_S:
            await asyncio.sleep(pause_s)
            info = RtcpSenderInfo(
                ntp_timestamp=0,
                rtp_timestamp=0,
                packet_count=_get(self.sender, "packet_count") & _MASK,
                octet_count=_get(self.sender, "octet_count") & _MASK,
            )
            await self.sender._send_rtcp([RtcpSrPacket(ssrc=self.sender._ssrc, sender_info=info)])


def install() -> None:
    """Wrap the methods. Any number of calls is one; ``UnknownAiortc`` where they are not as expected."""
    if hasattr(RTCRtpSender, "_avsync"):
        return
    _check()
    next_frame, send_rtcp, send_keyframe, handle = (getattr(RTCRtpSender, name) for name in _METHODS)

    async def _next_encoded_frame(self: RTCRtpSender, codec: Any) -> Any:
        track = self.track
        if not isinstance(track, PacketTrack):
            self._avsync_wire = None  # type: ignore[attr-defined]
            return await next_frame(self, codec)
        wire = track.wire
        if wire is None:
            wire = track.wire = Wire(self, track, codec)
        elif wire.sender is not self:
            raise MediaStreamError(f"this {track.kind} track already has a sender: each viewer needs tracks of its own")
        self._avsync_wire = wire  # type: ignore[attr-defined]
        wire.waits()
        packet, ticks = await track.next_packet(wire.mime)
        return wire.takes(packet, ticks) if self._enabled else None

    async def _send_rtcp(self: RTCRtpSender, packets: list[Any]) -> None:
        wire = _wire_of(self)
        if wire is not None:
            packets = [each for each in packets if not isinstance(each, RtcpSrPacket) or wire.correct(each)]
        if packets:
            await send_rtcp(self, packets)

    def _send_keyframe(self: RTCRtpSender) -> None:
        wire = _wire_of(self)
        if wire is None:
            send_keyframe(self)
        else:
            wire.track.want_key_frame()

    async def _handle_rtcp_packet(self: RTCRtpSender, packet: Any) -> None:
        wire = _wire_of(self)
        if wire is not None:
            wire.heard()
        await handle(self, packet)

    for wrapped in (_next_encoded_frame, _send_rtcp, _send_keyframe, _handle_rtcp_packet):
        setattr(RTCRtpSender, wrapped.__name__, wrapped)
    RTCRtpSender._avsync = True  # type: ignore[attr-defined]


def _check() -> None:
    """Everything of aiortc's insides that is used here, before any of it is."""
    for name, arguments in _METHODS.items():
        method = getattr(RTCRtpSender, name, None)
        if method is None or list(inspect.signature(method).parameters) != arguments:
            raise UnknownAiortc(_unknown(f"RTCRtpSender.{name}({', '.join(arguments)}) is not there"))
        if inspect.iscoroutinefunction(method) is (name == "_send_keyframe"):
            raise UnknownAiortc(_unknown(f"RTCRtpSender.{name} is awaited where it was called, or the other way round"))
    made = RTCRtpSender.__init__.__code__.co_names
    for field in [*(f"_RTCRtpSender__{field}" for field in _FIELDS), "_ssrc", "_enabled"]:
        if field not in made:
            raise UnknownAiortc(_unknown(f"RTCRtpSender has no {field.removeprefix('_RTCRtpSender')}"))
    frame = getattr(rtcrtpsender, "RTCEncodedFrame", None)
    if frame is None or list(inspect.signature(frame.__init__).parameters) != _FRAME:
        raise UnknownAiortc(_unknown("RTCEncodedFrame(payloads, timestamp, audio_level) is not there"))


def _wire_of(sender: RTCRtpSender) -> Wire | None:
    return getattr(sender, "_avsync_wire", None)


def newest_rtp_time(sender: RTCRtpSender) -> int:
    """RTP time of the last packet that this sender, of any track, has sent; 0: none has left, or it cannot be read."""
    return getattr(sender, "_RTCRtpSender__rtp_timestamp", 0)


def _get(sender: RTCRtpSender, field: str) -> int:
    return getattr(sender, f"_RTCRtpSender__{field}")  # type: ignore[no-any-return]


def _set(sender: RTCRtpSender, field: str, value: float) -> None:
    setattr(sender, f"_RTCRtpSender__{field}", value)


def _unknown(what: str) -> str:
    versions = ", ".join(SUPPORTED)
    return (
        f"aiortc {aiortc.__version__}: {what}\n"
        f"  avsync needs it for true sender reports; it was tested with aiortc {versions}"
    )
