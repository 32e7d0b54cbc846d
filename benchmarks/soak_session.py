"""An hour of a short loop through a real session: does the seam add up, does memory grow?

A folder of 101 pictures (4.04 s) and 3.99 s of sound plays over and over through producer, session and
aiortc's senders into nowhere, in real time. The first picture of each pass is white and its sound
begins with a click; both are found again in the *packets*, decoded, so no clock of ours is believed:
what is printed is how far apart the two stamps lie, pass by pass. ``--minutes 60``.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
import wave
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avsync.server.feed import ThreadFeed
from avsync.server.producer import Pace, Producer
from avsync.server.sources import FolderSource
from avsync.webrtc import AvSyncSession
from avsync.webrtc.tracks import SyncTrack

PICTURES, SAMPLES, FPS = 101, 191_520, 25
LOUD, WHITE = 8_000, 180
SIZE = (160, 96)


def write_loop(folder: Path) -> None:
    (folder / "frames").mkdir()
    for number in range(PICTURES):
        picture = np.full((SIZE[1], SIZE[0], 3), 235 if number == 0 else 40 + number % 20, np.uint8)
        path = folder / "frames" / f"frame_{number + 1:04d}.jpg"
        with av.open(str(path), "w", format="image2") as file:
            stream = file.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode(None))
    sound = (300 * np.sin(np.arange(SAMPLES) * 0.02)).astype(np.int16)
    sound[:480] = 20_000 * np.sin(np.arange(480) * 0.4)
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(sound.tobytes())


class Seams:
    """Stamps (s of output time) at which a pass begins, as decoded from one track's packets."""

    def __init__(self, track: SyncTrack) -> None:
        self.track, self.at_s = track, list[float]()

    async def listen(self) -> None:
        sound = self.track.kind == "audio"
        codec: Any = av.CodecContext.create("libopus" if sound else "libvpx", "r")
        rate, last = (48_000, -1.0) if sound else (90_000, -1.0)
        mime = "audio/opus" if sound else "video/vp8"
        while True:
            packet, ticks = await self.track.next_packet(mime)
            fresh = av.Packet(bytes(packet))
            fresh.pts, fresh.time_base = ticks, Fraction(1, rate)
            for frame in codec.decode(fresh):
                samples = frame.to_ndarray()
                if sound:
                    scale = 1 if samples.dtype == np.int16 else 32_768
                    if not frame.format.is_planar:
                        samples = samples.reshape(-1, frame.layout.nb_channels).T
                    loud = np.flatnonzero(np.abs(samples.astype(np.float32)).max(axis=0) * scale > LOUD)
                    at_s = (ticks + (int(loud[0]) if len(loud) else 0)) / rate
                    found = bool(len(loud))
                else:
                    at_s, found = ticks / rate, samples[: frame.height].mean() > WHITE
                if found and at_s - last > 1.0:
                    self.at_s.append(at_s)
                if found:
                    last = at_s


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def soak(minutes: float, folder: Path) -> None:
    source = FolderSource(folder)
    async with AvSyncSession(video_rate=FPS, idle=source.idle()) as session:
        seams = [Seams(session.audio_track), Seams(session.video_track)]
        listening = [asyncio.create_task(each.listen()) for each in seams]
        producer = Producer(ThreadFeed(source), session, fps=Fraction(FPS), pace=Pace())
        producer.start()
        begun = time.monotonic()
        memory = []
        while time.monotonic() - begun < 60 * minutes:
            await asyncio.sleep(min(60.0, 60 * minutes))
            memory.append(rss_mb())
            print(line(seams, memory[-1], session), flush=True)
        await producer.close()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        print(f"resident memory: {memory[0]:.1f} MB after a minute, {memory[-1]:.1f} MB at the end")


def apart_ms(seams: list[Seams]) -> list[float]:
    """sound - picture of each pass, in stamps: > 0, the click is stamped later than the white picture."""
    sounds, pictures = (each.at_s for each in seams)
    return [
        1000 * (min(sounds, key=lambda at: abs(at - picture)) - picture)
        for picture in pictures[:-1]
        if sounds and min(abs(at - picture) for at in sounds) < 2
    ]


def line(seams: list[Seams], memory: float, session: AvSyncSession) -> str:
    apart = apart_ms(seams)
    if len(apart) < 10:
        return f"{len(apart)} passes so far, {memory:.1f} MB"
    first, last = median(apart[:10]), median(apart[-10:])
    stats = session.stats()
    return (
        f"{len(apart)} passes: sound - picture {first:+.2f} ms in the first ten, {last:+.2f} in the last ten, "
        f"range {min(apart):+.2f} to {max(apart):+.2f}; {memory:.1f} MB; sender late p95 {stats.lateness_p95_ms}; "
        f"buffered {stats.buffered_ms:.0f} ms, {stats.pictures_queued} pictures"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_loop(Path(folder))
        asyncio.run(soak(args.minutes, Path(folder)))


if __name__ == "__main__":
    main()
