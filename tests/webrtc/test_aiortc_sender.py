"""The adapter against the installed aiortc: true sender reports, early ones, key frames, and a loud refusal.

Two peer connections in one process, for two seconds of real time. ``tox -e aiortc-114`` (115, 116)
runs this file with that version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiortc
import numpy as np
import pytest
from aiortc import RTCPeerConnection, clock, rtcrtpsender
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket, RtpPacket

from avsync.units import ticks_to_ns, us
from avsync.webrtc import AvSyncSession, aiortc_sender
from avsync.webrtc.aiortc_sender import UnknownAiortc, install
from avsync.webrtc.encode import CODED_AHEAD, PictureEncoder

HOOKS = ("_next_encoded_frame", "_send_rtcp", "_send_keyframe", "_handle_rtcp_packet")


class Report(NamedTuple):
    at_s: float
    ssrc: int
    ntp_s: float
    rtp: int


class Wiretap:
    """Everything that leaves either connection, parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reports: list[Report] = []
        self.byes: list[int] = []
        self.rtp: list[tuple[float, RtpPacket]] = []
        send = RTCDtlsTransport._send_rtp
        wiretap = self

        async def _send_rtp(transport: RTCDtlsTransport, data: bytes) -> None:
            wiretap.take(data)
            await send(transport, data)

        monkeypatch.setattr(RTCDtlsTransport, "_send_rtp", _send_rtp)

    def take(self, data: bytes) -> None:
        now = time.monotonic()
        if 192 <= data[1] <= 208:
            for packet in RtcpPacket.parse(data):
                if isinstance(packet, RtcpSrPacket):
                    info = packet.sender_info
                    self.reports.append(Report(now, packet.ssrc, info.ntp_timestamp / 2**32, info.rtp_timestamp))
                elif isinstance(packet, RtcpByePacket):
                    self.byes += packet.sources
        else:
            self.rtp.append((now, RtpPacket.parse(data)))


class Call:
    """A session, a peer connection that sends it, and one that watches."""

    def __init__(self, session: AvSyncSession) -> None:
        self.session = session
        self.sends, self.watches = RTCPeerConnection(), RTCPeerConnection()

    async def connect(self) -> None:
        viewer = self.session.viewer()
        self.viewer = viewer
        self.audio, self.video = self.sends.addTrack(viewer.audio_track), self.sends.addTrack(viewer.video_track)
        await self.sends.setLocalDescription(await self.sends.createOffer())
        await self.watches.setRemoteDescription(self.sends.localDescription)
        await self.watches.setLocalDescription(await self.watches.createAnswer())
        await self.sends.setRemoteDescription(self.watches.localDescription)

    async def close(self) -> None:
        await asyncio.gather(self.sends.close(), self.watches.close())


def slow_encoder(monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    encode = PictureEncoder.encode

    def slowly(self: PictureEncoder, *args: Any, **options: Any) -> Any:
        time.sleep(by_s)
        return encode(self, *args, **options)

    monkeypatch.setattr(PictureEncoder, "encode", slowly)


async def speak(session: AvSyncSession, seconds: float) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    async with session.begin_turn() as turn:
        for frame in range(round(seconds * 25)):
            await turn.write_video(picture + np.uint8(frame))
            await turn.write_audio(np.full(1920, frame, np.int16))


def step_the_wall_clock(monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    """The sender's; the receiver, in the same process, keeps its own."""
    stepped = SimpleNamespace(time=lambda: time.time() + by_s, monotonic=time.monotonic)
    ntp = SimpleNamespace(
        current_ntp_time=lambda: clock.current_ntp_time() + (round(by_s) << 32), current_datetime=clock.current_datetime
    )
    monkeypatch.setattr(rtcrtpsender, "time", stepped)
    monkeypatch.setattr(rtcrtpsender, "clock", ntp)
    monkeypatch.setattr(aiortc_sender, "time", stepped)


def test_every_report_announces_the_output_clock_even_when_a_picture_takes_50_ms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encode time must not reach the viewer as lip-sync error; nor when it was sent;
    nor a wall clock that is stepped by an hour meanwhile, which the round trip does not notice either."""
    wiretap = Wiretap(monkeypatch)
    slow_encoder(monkeypatch, 0.05)

    async def story() -> None:
        async with AvSyncSession() as session:
            call = Call(session)
            await call.connect()
            talking = asyncio.ensure_future(speak(session, 3))
            await asyncio.sleep(1.2)
            step_the_wall_clock(monkeypatch, 3600)
            for sender in (call.audio, call.video):  # an answer to a report of before the step
                answer = RtcpReceiverInfo(
                    sender._ssrc, 0, 0, 0, 0, lsr=sender._RTCRtpSender__lsr, dlsr=65536 // 100
                )  # fmt: skip
                await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[answer]))
            await asyncio.sleep(1.4)
            talking.cancel()
            await asyncio.wait([talking])
            audio, video = call.audio._ssrc, call.video._ssrc
            origins = dict(zip((audio, video), call.viewer.rtp_origins, strict=True))
            rates = {audio: 48000, video: 90000}
            first = min(at for at, packet in wiretap.rtp)
            sent = {packet.timestamp: packet.ssrc for _, packet in wiretap.rtp if packet.ssrc in origins}
            assert len(sent) > 100
            for stamp, ssrc in sent.items():  # what a viewer says of an RTP time can be told what it was
                ticks = (stamp - origins[ssrc] + 2**31) % 2**32 - 2**31
                ahead, look_up = (CODED_AHEAD, session.sent_log.audio) if ssrc == audio else (0, session.sent_log.video)
                at_ns = ticks_to_ns(ticks + ahead, rates[ssrc])
                found = look_up(at_ns + us(15))  # a tick is 11 or 21 us
                assert found is not None and abs(found.stamp_ns - at_ns) <= us(15)
            trips = [
                stat.roundTripTime
                for sender in (call.audio, call.video)
                for stat in (await sender.getStats()).values()
                if stat.type == "remote-inbound-rtp"
            ]
            await call.close()

        at: dict[int, list[float]] = {audio: [], video: []}
        offset: dict[int, list[float]] = {audio: [], video: []}  # NTP at which the output clock began, by each report
        for report in wiretap.reports:
            if report.ssrc not in origins:
                continue  # the watching side
            ticks = (report.rtp - origins[report.ssrc] + 2**31) % 2**32 - 2**31
            offset[report.ssrc].append(report.ntp_s - ticks / rates[report.ssrc])
            at[report.ssrc].append(report.at_s - first)
        everything = offset[audio] + offset[video]
        assert max(everything) - min(everything) < 0.001
        for ssrc in (audio, video):
            assert sum(when < 1.0 for when in at[ssrc]) >= 2, at
        # The answers claim to have waited 10 ms; the report may have been younger than that.
        assert trips and all(trip is not None and -0.011 <= trip < 0.5 for trip in trips)
        assert {audio, video} <= set(wiretap.byes)  # Who goes says so

    asyncio.run(story())


def test_a_viewer_that_lost_a_picture_gets_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with AvSyncSession() as session:
            call = Call(session)
            await call.connect()
            talking = asyncio.ensure_future(speak(session, 3))
            await asyncio.sleep(1.5)
            before = session.stats().key_frames
            [receiver] = [each for each in call.watches.getReceivers() if each.track.kind == "video"]
            await receiver._send_rtcp_pli(call.video._ssrc)
            await asyncio.sleep(0.3)
            assert session.stats().key_frames == before + 1
            talking.cancel()
            await asyncio.wait([talking])
            await call.close()
            assert not call.viewer.live

    asyncio.run(story())


def test_senders_of_other_tracks_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    wiretap = Wiretap(monkeypatch)
    install()

    async def story() -> None:
        sends, watches = RTCPeerConnection(), RTCPeerConnection()
        sends.addTrack(AudioStreamTrack())
        await sends.setLocalDescription(await sends.createOffer())
        await watches.setRemoteDescription(sends.localDescription)
        await watches.setLocalDescription(await watches.createAnswer())
        await sends.setRemoteDescription(watches.localDescription)
        await asyncio.sleep(0.4)
        await asyncio.gather(sends.close(), watches.close())

    asyncio.run(story())
    assert len(wiretap.rtp) > 10


# ---- an aiortc whose insides look different


@pytest.fixture
def fresh() -> Iterator[Callable[[], None]]:
    """aiortc as it was before anything was wrapped; put back afterwards."""
    install()
    wrapped = {name: getattr(RTCRtpSender, name) for name in HOOKS}
    for name, method in wrapped.items():
        [original] = [
            cell.cell_contents
            for cell in method.__closure__
            if getattr(cell.cell_contents, "__qualname__", "").startswith("RTCRtpSender.")
        ]
        setattr(RTCRtpSender, name, original)
    del RTCRtpSender._avsync  # type: ignore[attr-defined]
    yield install
    for name, method in wrapped.items():
        setattr(RTCRtpSender, name, method)
    RTCRtpSender._avsync = True  # type: ignore[attr-defined]


def test_install_takes_the_aiortc_that_is_there(fresh: Callable[[], None]) -> None:
    fresh()
    once = RTCRtpSender._send_rtcp
    fresh()
    assert RTCRtpSender._send_rtcp is once


@pytest.mark.parametrize("name", HOOKS)
def test_a_renamed_hook_is_refused_by_name_and_version(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(RTCRtpSender, name)
    with pytest.raises(UnknownAiortc, match=name) as refused:
        fresh()
    assert f"aiortc {aiortc.__version__}" in str(refused.value)
    assert not hasattr(RTCRtpSender, "_avsync")


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_with_other_arguments_is_refused(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def other(self: object, one: int, two: int) -> None: ...

    monkeypatch.setattr(RTCRtpSender, name, other)
    with pytest.raises(UnknownAiortc, match=name):
        fresh()


def test_a_hook_that_became_a_plain_function_is_refused(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def _send_rtcp(self: object, packets: list[object]) -> None: ...

    monkeypatch.setattr(RTCRtpSender, "_send_rtcp", _send_rtcp)
    with pytest.raises(UnknownAiortc, match="_send_rtcp is awaited"):
        fresh()


@pytest.mark.parametrize("field", ["_RTCRtpSender__lsr", "_RTCRtpSender__rtp_timestamp", "_ssrc"])
def test_a_missing_private_field_is_refused(
    fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def __init__(self: RTCRtpSender) -> None: ...

    names = tuple(name for name in RTCRtpSender.__init__.__code__.co_names if name != field)
    __init__.__code__ = __init__.__code__.replace(co_names=names)
    monkeypatch.setattr(RTCRtpSender, "__init__", __init__)
    with pytest.raises(UnknownAiortc, match=field.removeprefix("_RTCRtpSender")):
        fresh()


def test_a_frame_that_is_made_otherwise_is_refused(fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiortc_sender.rtcrtpsender, "RTCEncodedFrame")
    with pytest.raises(UnknownAiortc, match="RTCEncodedFrame"):
        fresh()
