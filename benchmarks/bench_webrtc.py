"""What a session costs beside plain aiortc tracks, and whose sender reports tell the truth, in one run.

Both send the same 512x512 pictures at 25 fps and the same sound through aiortc's own senders into a
transport that encrypts nothing and goes nowhere, in real time. ``--seconds`` of each; ``--busy``
burns the other core meanwhile, as a model would.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtcpParameters, RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import RtcpPacket, RtcpSrPacket, RtpPacket, is_rtcp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avsync.engine.synchronizer import AvSynchronizer
from avsync.webrtc import AvSyncSession

FPS, SLOT = 25, 960
OPUS_AHEAD = 312  # libopus codes 6.5 ms ahead: in a stream's first packet of sound, content begins only there
SILENT_BYTES = 12
OPUS = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48_000, channels=2, payloadType=96)
VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97)


class Nowhere:
    """What RTCRtpSender needs of a DTLS transport; keeps the RTP time of the first content, and every report."""

    def __init__(self) -> None:
        self.state, self._stats_id = "connected", "nowhere"
        self.reports: list[RtcpSrPacket] = []
        self.first: int | None = None

    def _register_rtp_sender(self, sender: object, parameters: object) -> None: ...

    def _unregister_rtp_sender(self, sender: object) -> None: ...

    async def _send_rtp(self, data: bytes) -> None:
        if is_rtcp(data):
            self.reports += [packet for packet in RtcpPacket.parse(data) if isinstance(packet, RtcpSrPacket)]
        elif self.first is None:
            packet = RtpPacket.parse(data)
            if len(packet.payload) > SILENT_BYTES:
                self.first = packet.timestamp


async def send(track: MediaStreamTrack, codec: RTCRtpCodecParameters) -> tuple[RTCRtpSender, Nowhere]:
    nowhere = Nowhere()
    sender = RTCRtpSender(track, nowhere)  # type: ignore[arg-type]
    await sender.send(RTCRtpSendParameters(codecs=[codec], muxId="", rtcp=RTCRtcpParameters(cname="bench")))
    return sender, nowhere


class Plain(MediaStreamTrack):
    """What people write first: raw frames on a clock of its own, aiortc encodes."""

    def __init__(self, kind: str, make: Callable[[int], Any], per_s: Fraction, start: float) -> None:
        super().__init__()
        self.kind, self._make, self._per_s, self._start, self._n = kind, make, per_s, start, 0

    async def recv(self) -> Any:
        due = self._start + float(self._n / self._per_s)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = self._make(self._n)
        rate = 48_000 if self.kind == "audio" else 90_000
        frame.pts, frame.time_base = int(self._n * rate / self._per_s), Fraction(1, rate)
        self._n += 1
        return frame


def pictures(width: int, height: int) -> Callable[[int], np.ndarray]:
    """A head-sized blob that moves before noise: work for an encoder, and none for us."""
    wall = np.random.default_rng(1).integers(60, 120, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    made = []
    for n in range(FPS):
        picture = wall.copy()
        left = width // 3 + round(width / 20 * np.sin(2 * np.pi * n / FPS))
        picture[height // 4 : 3 * height // 4, left : left + width // 3] = (220, 170, 150)
        picture[height * 5 // 8 : height * 5 // 8 + 4 + n % 12, left + width // 9 : left + width // 5] = (120, 30, 40)
        made.append(np.ascontiguousarray(picture))
    return lambda n: made[n % FPS]


def sound(n: int) -> np.ndarray:
    t = np.arange(n * SLOT, (n + 1) * SLOT)
    return (6000 * np.sin(t * 0.03) * (1.1 + np.sin(t * 0.0004))).astype(np.int16)


async def plain(seconds: float, size: tuple[int, int]) -> tuple[float, list[Nowhere]]:
    picture = pictures(*size)

    def sound_frame(n: int) -> av.AudioFrame:
        frame = av.AudioFrame.from_ndarray(sound(n)[None, :], format="s16", layout="mono")
        frame.sample_rate = 48_000
        return frame

    start = time.monotonic()
    tracks = [
        (Plain("audio", sound_frame, Fraction(50), start), OPUS),
        (Plain("video", lambda n: av.VideoFrame.from_ndarray(picture(n), format="rgb24"), Fraction(FPS), start), VP8),
    ]
    return await measure([await send(track, codec) for track, codec in tracks], seconds)


async def ours(seconds: float, size: tuple[int, int], viewers: int = 1) -> tuple[float, list[Nowhere]]:
    picture = pictures(*size)
    async with AvSyncSession(video_rate=FPS, layout="mono") as session:
        watching = [session.viewers[0], *(session.viewer() for _ in range(viewers - 1))]
        senders = [
            await send(track, codec)
            for viewer in watching
            for track, codec in ((viewer.audio_track, OPUS), (viewer.video_track, VP8))
        ]

        async def produce() -> None:
            start = time.monotonic()
            async with session.begin_turn() as turn:
                for n in range(round(seconds + 2) * FPS):
                    await asyncio.sleep(max(0.0, start + n / FPS - time.monotonic()))
                    await turn.write_video(picture(n))
                    await turn.write_audio(np.concatenate([sound(2 * n), sound(2 * n + 1)]))

        producing = asyncio.create_task(produce())
        measured = await measure(senders, seconds)
        producing.cancel()
        return measured


async def measure(senders: list[tuple[RTCRtpSender, Nowhere]], seconds: float) -> tuple[float, list[Nowhere]]:
    """Share of a core used, in per cent, after a second of warming up."""
    await asyncio.sleep(1)
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
    for sender, _ in senders:
        await sender.stop()
    return share, [nowhere for _, nowhere in senders]


def report_errors_ms(sound: Nowhere, picture: Nowhere) -> list[float]:
    """Announced minus true relation: at which NTP times do both streams' reports place the same content?"""
    assert sound.first is not None and picture.first is not None

    def start_s(report: RtcpSrPacket, first: int, rate: int) -> float:
        """When, by this report, the stream's first content was taken."""
        since = (report.sender_info.rtp_timestamp - first + (1 << 31)) % (1 << 32) - (1 << 31)
        return report.sender_info.ntp_timestamp / 2**32 - since / rate

    sounds = [start_s(report, sound.first + OPUS_AHEAD, 48_000) for report in sound.reports]
    middle = median(sounds)
    return [abs(1000 * (start_s(report, picture.first, 90_000) - middle)) for report in picture.reports]


def engine_share(run: Callable[[], Any]) -> tuple[Any, float]:
    """What ``run`` returns, and the seconds it spent inside the engine and its monitor."""
    from avsync.monitor.monitor import AvSyncMonitor

    spent = 0.0
    originals = []
    for owner, names in ((AvSynchronizer, ("push", "poll", "next_wakeup_ns")), (AvSyncMonitor, ("observe", "poll"))):
        for name in names:
            original = getattr(owner, name)
            originals.append((owner, name, original))

            def timed(*args: Any, _original: Any = original, **options: Any) -> Any:
                nonlocal spent
                begin = time.perf_counter()
                result = _original(*args, **options)
                spent += time.perf_counter() - begin
                return result

            setattr(owner, name, timed)
    try:
        return run(), spent
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def burn() -> None:
    while True:
        sum(range(10_000))


def p95(values: list[float]) -> str:
    if len(values) < 5:
        return "not measured"
    return f"{sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]:.2f} ms of {len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--busy", action="store_true", help="burn a core meanwhile")
    args = parser.parse_args()
    burning = [multiprocessing.Process(target=burn, daemon=True)] if args.busy else []
    for process in burning:
        process.start()
    size = (512, 512)
    theirs, _ = asyncio.run(plain(args.seconds, size))
    (mine, _), spent = engine_share(lambda: asyncio.run(ours(args.seconds, size)))
    wall_s = args.seconds + 1
    print(f"512x512, 25 fps, VP8, one viewer: plain aiortc tracks {theirs:.1f} % of a core, a session {mine:.1f} %")
    print(f"  ratio {mine / theirs:.2f}; sessions a core {100 / mine:.1f} (plain {100 / theirs:.1f})")
    print(f"  engine and monitor: {100 * spent / (mine / 100 * wall_s):.1f} % of the session's CPU")
    for viewers in (16, 48):
        share, _ = asyncio.run(ours(args.seconds, size, viewers))
        each = (share - mine) / (viewers - 1)
        print(f"  {viewers} viewers of one session: {share:.1f} %, {each:.2f} % for each further viewer")
    seconds = max(args.seconds, 12.0)
    for name, run in (("plain aiortc", plain), ("a session", ours)):
        _, (sound_out, picture_out) = asyncio.run(run(seconds, (1280, 720)))
        errors = report_errors_ms(sound_out, picture_out)
        print(f"sender reports at 720p, announced minus true, {name}: p95 {p95(errors)}")
    for process in burning:
        process.kill()


if __name__ == "__main__":
    main()
