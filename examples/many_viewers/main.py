"""Many viewers of one avatar: everything is encoded once, and each viewer gets a pair of tracks.

    python main.py

Needs `pip install 'avsync[webrtc]'`. The viewers are peer connections in this process.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from avsync.webrtc import AvSyncSession, Viewer


class Watching:
    """One viewer on loopback: counts what it receives. In your program this is a browser."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer, self.received = viewer, {"audio": 0, "video": 0}
        self.news = asyncio.Condition()
        self.sends, self.watches = RTCPeerConnection(), RTCPeerConnection()
        self.watches.on("track", lambda track: asyncio.ensure_future(self.take(track)))

    async def connect(self) -> None:
        self.sends.addTrack(self.viewer.audio_track)
        self.sends.addTrack(self.viewer.video_track)
        await self.sends.setLocalDescription(await self.sends.createOffer())
        await self.watches.setRemoteDescription(self.sends.localDescription)
        await self.watches.setLocalDescription(await self.watches.createAnswer())
        await self.sends.setRemoteDescription(self.watches.localDescription)

    async def take(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                async with self.news:
                    self.received[track.kind] += 1
                    self.news.notify_all()

    async def leave(self) -> None:
        self.viewer.close()
        await asyncio.gather(self.sends.close(), self.watches.close())

    def got(self, pictures: int) -> bool:
        return self.received["video"] >= pictures and self.received["audio"] >= pictures

    async def until(self, pictures: int) -> None:
        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(lambda: self.got(pictures))


async def talk(session: AvSyncSession) -> None:
    turn = session.begin_turn()
    picture, sound = np.full((240, 320, 3), 128, np.uint8), np.zeros(1920, np.int16)
    while await turn.write_video(picture) and await turn.write_audio(sound):
        pass


async def main() -> None:
    async with AvSyncSession(video_rate=25) as session:
        talking = asyncio.create_task(talk(session))
        viewers = [Watching(session.viewer()) for _ in range(3)]
        await asyncio.gather(*(each.connect() for each in viewers))
        await asyncio.gather(*(each.until(pictures=25) for each in viewers))
        print("three viewers watch:", sum(viewer.connected for viewer in session.viewers) == 3)
        sent, received = session.stats().sent_pictures, sum(each.received["video"] for each in viewers)
        print("pictures were encoded once for all of them:", sent < received)

        await viewers.pop().leave()
        await asyncio.gather(*(each.until(pictures=50) for each in viewers))
        print("one left, the others go on:", sum(viewer.connected for viewer in session.viewers) == 2)

        late = Watching(session.viewer())
        await late.connect()
        await late.until(pictures=10)
        print("one who joined late sees pictures too:", late.got(10))
        talking.cancel()
        await asyncio.gather(*(each.leave() for each in (*viewers, late)))


if __name__ == "__main__":
    asyncio.run(main())
