"""Your own model in a browser: frames and PCM in, a page that shows and hears them in sync.

    python main.py            serve; open http://127.0.0.1:8080
    python main.py --check    be the browser too, for two seconds, and say what arrived

Needs `pip install 'avsync[server]'`. Replace `my_model` by yours.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path

import aiohttp
import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from avsync.webrtc import AvSyncSession

FPS, RATE_HZ = 25, 24_000
PAGE = Path(__file__).with_name("page.html")
SESSION = web.AppKey("session", AvSyncSession)
PEERS = web.AppKey("peers", set[RTCPeerConnection])
VIEWER_JS = resources.files("avsync.webrtc") / "static" / "viewer.js"


def my_model() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields a picture (RGB, uint8) and the sound of its 40 ms (mono, int16). A mouth that opens with the tone."""
    time_s = np.arange(RATE_HZ // FPS) / RATE_HZ
    for number in range(10 * FPS):
        opening = abs(np.sin(number / 5))
        picture = np.full((240, 320, 3), (226, 190, 160), np.uint8)
        picture[150 - int(30 * opening) : 152 + int(30 * opening), 120:200] = (120, 40, 40)
        tone = np.sin(2 * np.pi * 220 * (time_s + number / FPS)) * opening * 8000
        yield picture, tone.astype(np.int16)


async def talk(session: AvSyncSession) -> None:
    """Say the same thing for ever. A write waits when enough is queued, so the model may be faster than real time."""
    while True:
        async with session.begin_turn() as turn:
            for picture, sound in my_model():
                await turn.write_video(picture)
                await turn.write_audio(sound, sample_rate=RATE_HZ)


async def offer(request: web.Request) -> web.Response:
    """One viewer: an SDP offer in, an answer out."""
    viewer, peer = request.app[SESSION].viewer(), RTCPeerConnection()
    request.app[PEERS].add(peer)
    peer.on("datachannel", lambda channel: channel.on("message", viewer.on_report))

    async def state_changed() -> None:
        if peer.connectionState in ("failed", "closed"):
            viewer.close()
            request.app[PEERS].discard(peer)

    peer.on("connectionstatechange", state_changed)
    peer.addTrack(viewer.audio_track)
    peer.addTrack(viewer.video_track)
    await peer.setRemoteDescription(RTCSessionDescription(**await request.json()))
    await peer.setLocalDescription(await peer.createAnswer())
    return web.json_response({"sdp": peer.localDescription.sdp, "type": peer.localDescription.type})


async def page(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE)


async def viewer_js(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(str(VIEWER_JS))


async def run(app: web.Application) -> AsyncIterator[None]:
    """Everything that lives as long as the server; aiohttp calls it."""
    async with AvSyncSession(video_rate=FPS) as session:
        app[SESSION] = session
        talking = asyncio.create_task(talk(session))
        yield
        talking.cancel()
        peers = app[PEERS]
        await asyncio.gather(*(peer.close() for peer in tuple(peers)))


def make_app() -> web.Application:
    app = web.Application()
    app[PEERS] = set()
    app.cleanup_ctx.append(run)
    app.router.add_get("/", page)
    app.router.add_get("/viewer.js", viewer_js)
    app.router.add_post("/offer", offer)
    return app


async def check() -> None:
    """A browser without a browser: connect, take what comes, ask the session how far apart it left."""
    app = make_app()
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    received, enough = {"audio": 0, "video": 0}, asyncio.Event()

    async def take(track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                received[track.kind] += 1
                if received["audio"] >= 100 and received["video"] >= 25:
                    enough.set()

    peer, tasks = RTCPeerConnection(), []
    peer.on("track", lambda track: tasks.append(asyncio.create_task(take(track))))
    peer.addTransceiver("audio", direction="recvonly")
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession() as http:
        html = await (await http.get(address)).text()
        script = await (await http.get(f"{address}/viewer.js")).text()
        description = {"sdp": peer.localDescription.sdp, "type": "offer"}
        answer = await (await http.post(f"{address}/offer", json=description)).json()
    await peer.setRemoteDescription(RTCSessionDescription(**answer))
    async with asyncio.timeout(30):
        await enough.wait()
    offset_ns = app[SESSION].stats().output.offset_ns
    print("the page and its script are served:", "/offer" in html and "report" in script)
    print("sound and pictures arrived:", received["audio"] >= 100 and received["video"] >= 25)
    print("lips and voice left within 45 ms of each other:", offset_ns is not None and abs(offset_ns) < 45_000_000)
    await peer.close()
    await asyncio.gather(*tasks)
    await runner.cleanup()


if __name__ == "__main__":
    if "--check" in sys.argv:
        asyncio.run(check())
    else:
        web.run_app(make_app(), host="127.0.0.1", port=8080)
