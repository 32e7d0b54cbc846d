"""Barge-in: the listener speaks, the avatar stops at once, and says the next thing.

    python main.py

Needs `pip install 'avsync[webrtc]'`. The viewer is a second peer connection in this process.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from avsync.webrtc import AvSyncSession, Turn

PICTURE = np.full((240, 320, 3), 128, np.uint8)
SOUND_40_MS = np.zeros(1920, np.int16)


async def say(turn: Turn, seconds: int) -> int:
    """A model that is faster than real time. Returns how many pictures were taken before it was refused."""
    for number in range(25 * seconds):
        taken = await turn.write_video(PICTURE) and await turn.write_audio(SOUND_40_MS)
        if not taken:  # interrupted: stop generating
            return number
    await turn.end()
    return 25 * seconds


async def main() -> None:
    async with AvSyncSession(idle=PICTURE) as session:
        peers = await connect(session)

        first = session.begin_turn()
        saying = asyncio.create_task(say(first, seconds=60))
        await asyncio.sleep(2)
        flushed = await session.interrupt()
        taken = await saying
        print("the first turn was interrupted:", first.interrupted)
        print("it was heard for about two seconds:", 1000 < (flushed.played_ms or 0) < 3000)
        print("what was queued is not played:", flushed.dropped_units > 0)
        print("its producer was told to stop:", taken < 25 * 60)

        second = session.begin_turn()
        taken = await say(second, seconds=1)
        await asyncio.sleep(session.buffered + 0.5)
        print("the next turn was said to its end:", taken == 25 and not second.interrupted)
        for peer in peers:
            await peer.close()


async def connect(session: AvSyncSession) -> tuple[RTCPeerConnection, RTCPeerConnection]:
    """A viewer on loopback. In your program this is your signalling, and the viewer is a browser."""
    sends, watches, connected = RTCPeerConnection(), RTCPeerConnection(), asyncio.Event()

    def state_changed() -> None:
        if sends.connectionState == "connected":
            connected.set()

    sends.on("connectionstatechange", state_changed)
    watches.on("track", lambda track: asyncio.ensure_future(take(track)))
    sends.addTrack(session.audio_track)
    sends.addTrack(session.video_track)
    await sends.setLocalDescription(await sends.createOffer())
    await watches.setRemoteDescription(sends.localDescription)
    await watches.setLocalDescription(await watches.createAnswer())
    await sends.setRemoteDescription(watches.localDescription)
    async with asyncio.timeout(30):
        await connected.wait()
    return sends, watches


async def take(track: MediaStreamTrack) -> None:
    with suppress(MediaStreamError):
        while True:
            await track.recv()


if __name__ == "__main__":
    asyncio.run(main())
