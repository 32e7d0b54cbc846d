"""The server over HTTP and real aiortc peers on loopback: offers, limits, hostile requests, who comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from avsync.server import peers
from avsync.server.app import MAX_OFFER_BYTES, PEERS, ROOM, STATIC, is_loopback, make_app
from avsync.server.peers import OfferRefused, checked_offer
from avsync.server.room import ServerSettings
from tests.server.server_story import CountingSource

pytestmark = pytest.mark.asyncio
WITHIN_S = 10


@asynccontextmanager
async def server(
    source: CountingSource | None = None, settings: ServerSettings | None = None
) -> AsyncIterator[TestClient[Any, Any]]:
    """The app on a free port of loopback; afterwards no task of it may be left."""
    before = asyncio.all_tasks()
    app = make_app(source or CountingSource(), settings or ServerSettings(mode="naive", linger_s=0.1))
    async with TestClient(TestServer(app)) as client:
        yield client
        await app[PEERS].close()
        await app[ROOM].close()
    await asyncio.sleep(0.1)
    left = {task for task in asyncio.all_tasks() - before if "avsync" in repr(task)}
    assert not left


class Viewer:
    """A browser without a browser: counts what it receives."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.channel = self.pc.createDataChannel("avsync")
        self.received = {"audio": 0, "video": 0}
        self.answer: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.add_listener("track", lambda track: self._tasks.append(asyncio.create_task(self._take(track))))

    async def _take(self, track: Any) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                self.received[track.kind] += 1

    async def offer(self) -> dict[str, str]:
        for kind in ("audio", "video"):
            self.pc.addTransceiver(kind, direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return {"type": "offer", "sdp": self.pc.localDescription.sdp}

    async def join(self, client: TestClient[Any, Any]) -> Viewer:
        response = await client.post("/offer", json=await self.offer())
        assert response.status == 200, await response.text()
        self.answer = await response.json()
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=self.answer["sdp"], type="answer"))
        return self

    async def leave(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until(true: Callable[[], bool], what: str) -> None:
    """Real sockets take the time they take."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while not true():  # noqa: ASYNC110  # what is looked at knows nothing of tests
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {WITHIN_S} s: {what}") from None


async def error_of(response: ClientResponse) -> str:
    return str((await response.json())["error"])


# ---- watching


@pytest.mark.parametrize("mode", ["avsync", "naive-valve", "naive"])
async def test_a_viewer_gets_sound_and_pictures_in_every_mode(mode: str) -> None:
    ahead = 12 if mode == "naive-valve" else 0
    async with server(settings=ServerSettings(mode=mode, voice_ahead_frames=ahead, linger_s=0.1)) as client:
        viewer = await Viewer().join(client)
        await until(lambda: viewer.received["audio"] > 10 and viewer.received["video"] > 5, "sound and pictures")
        stats = await (await client.get("/stats", params={"viewer": viewer.answer["viewer"]})).json()
        assert stats["mode"] == mode and stats["known_viewer"] and stats["viewers"] == 1
        assert stats["stream"]["sent_sound"] > 10 and stats["producer"]["state"] == "talking"
        await viewer.leave()


async def test_two_viewers_share_one_talk_and_one_may_leave() -> None:
    async with server() as client:
        one = await Viewer().join(client)
        two = await Viewer().join(client)
        await until(lambda: min(*one.received.values(), *two.received.values()) > 3, "both watch")
        assert client.app is not None and len(client.app[PEERS]) == 2
        turns = (await (await client.get("/stats")).json())["producer"]["turns"]
        assert turns == 1
        await one.leave()
        await until(lambda: client.app is not None and len(client.app[PEERS]) == 1, "the first has gone")
        had = two.received["audio"]
        await until(lambda: two.received["audio"] > had + 20, "the other goes on")
        await two.leave()


async def test_when_all_have_gone_the_room_closes_and_opens_again_for_the_next() -> None:
    async with server() as client:
        assert client.app is not None
        room = client.app[ROOM]
        viewer = await Viewer().join(client)
        await until(lambda: viewer.received["audio"] > 3, "watching")
        await viewer.leave()
        await until(lambda: room.stream is None, "the room is empty and closed")
        again = await Viewer().join(client)
        await until(lambda: again.received["audio"] > 3, "watching again")
        await again.leave()


async def test_a_viewer_that_reloads_finds_the_same_talk() -> None:
    async with server(settings=ServerSettings(mode="naive", linger_s=30)) as client:
        assert client.app is not None
        viewer = await Viewer().join(client)
        await until(lambda: viewer.received["audio"] > 3, "watching")
        stream = client.app[ROOM].stream
        await viewer.leave()
        await until(lambda: client.app is not None and not len(client.app[PEERS]), "gone")
        again = await Viewer().join(client)
        await until(lambda: again.received["audio"] > 3, "watching again")
        assert client.app[ROOM].stream is stream
        await again.leave()


async def test_interrupt_begins_another_turn() -> None:
    async with server(settings=ServerSettings(mode="avsync", linger_s=0.1)) as client:
        reply = await (await client.post("/interrupt")).json()
        assert reply == {"interrupted": False, "epoch": None}
        viewer = await Viewer().join(client)
        await until(lambda: viewer.received["video"] > 3, "watching")
        reply = await (await client.post("/interrupt")).json()
        assert reply["interrupted"] and reply["epoch"] >= 1
        assert client.app is not None
        producer = client.app[ROOM].producer
        assert producer is not None
        await until(lambda: producer.turns == 2, "a second turn")
        assert producer.interrupted == 1
        await viewer.leave()


@pytest.mark.parametrize("mode", ["avsync", "naive"])
async def test_a_producer_that_dies_is_reported_and_the_session_goes_on(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL, logger="avsync.server"):
        async with server(CountingSource(fails_at=15), ServerSettings(mode=mode, linger_s=0.1)) as client:
            viewer = await Viewer().join(client)
            assert client.app is not None
            room = client.app[ROOM]
            await until(lambda: room.producer is not None and room.producer.state == "failed", "the producer dies")
            stats = await (await client.get("/stats")).json()
            assert "run out of memory" in stats["producer"]["error"]
            had = dict(viewer.received)
            await until(lambda: viewer.received["audio"] > had["audio"] + 25, "silence goes on")
            await until(lambda: viewer.received["video"] > had["video"], "idle pictures go on")
            await viewer.leave()


async def test_reports_of_a_viewer_are_handed_on_and_bad_ones_change_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def listen(data: bytes) -> None:
        heard.append(data)
        raise ValueError("not what I expected")

    async with server() as client:
        assert client.app is not None
        viewer = Viewer()
        join = client.app[ROOM].join

        async def joined() -> Any:
            tracks = await join()
            tracks.on_report = listen  # type: ignore[attr-defined]
            return tracks

        monkeypatch.setattr(client.app[ROOM], "join", joined)
        with caplog.at_level(logging.CRITICAL, logger="avsync.server"):
            await viewer.join(client)
            await until(lambda: viewer.channel.readyState == "open", "the channel opens")
            viewer.channel.send("not json")
            viewer.channel.send(b"\x00" * 100)
            await until(lambda: len(heard) == 2, "both arrive")
        assert heard == [b"not json", b"\x00" * 100]
        had = viewer.received["audio"]
        await until(lambda: viewer.received["audio"] > had + 10, "the voice goes on")
        await viewer.leave()


async def test_a_stream_that_closed_itself_is_replaced_for_the_next_viewer(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, logger="avsync.server"):
        async with server(settings=ServerSettings(mode="avsync", linger_s=30)) as client:
            assert client.app is not None
            viewer = await Viewer().join(client)
            await until(lambda: viewer.received["audio"] > 3, "watching")
            stream = client.app[ROOM].stream
            assert stream is not None
            await stream.close()
            again = await Viewer().join(client)
            await until(lambda: again.received["audio"] > 3, "watching a new stream")
            assert client.app[ROOM].stream is not stream
            await viewer.leave()
            await again.leave()


async def test_a_source_that_cannot_even_start_is_our_fault_not_the_offers(caplog: pytest.LogCaptureFixture) -> None:
    source = CountingSource()

    def broken() -> Any:
        raise RuntimeError("no weights")

    source.idle = broken  # type: ignore[method-assign]
    with caplog.at_level(logging.CRITICAL, logger="avsync.server"):
        async with server(source) as client:
            viewer = Viewer()
            response = await client.post("/offer", json=await viewer.offer())
            assert response.status == 500 and "no weights" in await error_of(response)
            assert client.app is not None and not len(client.app[PEERS])
            await viewer.pc.close()


async def test_a_viewer_that_goes_while_its_offer_is_answered_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as client:
        assert client.app is not None
        here, room = client.app[PEERS], client.app[ROOM]
        join = room.join

        async def slow_join() -> Any:
            peer = next(iter(here._peers.values()))
            await here.drop(peer)  # as when its connection closes right now
            return await join()

        monkeypatch.setattr(room, "join", slow_join)
        viewer = Viewer()
        response = await client.post("/offer", json=await viewer.offer())
        assert response.status == 400
        assert not len(here) and room.stats()["viewers"] == 0
        await viewer.pc.close()


# ---- limits


async def test_viewers_are_bounded_and_the_next_is_told_so() -> None:
    async with server(settings=ServerSettings(mode="naive", max_viewers=2, linger_s=0.1)) as client:
        viewers = [await Viewer().join(client) for _ in range(2)]
        await until(lambda: min(viewer.received["audio"] for viewer in viewers) > 0, "both watch")
        third = Viewer()
        response = await client.post("/offer", json=await third.offer())
        assert response.status == 503 and "limit" in await error_of(response)
        assert response.headers["Retry-After"] == "10"
        await viewers[0].leave()
        assert client.app is not None
        await until(lambda: client.app is not None and len(client.app[PEERS]) == 1, "one has gone")
        await third.pc.close()
        fourth = await Viewer().join(client)
        await until(lambda: fourth.received["audio"] > 0, "the fourth watches")
        for viewer in (viewers[1], fourth):
            await viewer.leave()


async def test_an_offer_that_never_connects_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CONNECT_WITHIN_S", 0.2)
    async with server() as client:
        absent = Viewer()
        response = await client.post("/offer", json=await absent.offer())  # and its answer is thrown away
        assert response.status == 200
        await absent.pc.close()
        assert client.app is not None
        await until(lambda: client.app is not None and not len(client.app[PEERS]), "its place is free")


async def test_an_offer_above_the_limit_is_refused() -> None:
    async with server() as client:
        body = '{"type": "offer", "sdp": "v=0' + "x" * MAX_OFFER_BYTES + '"}'
        response = await client.post("/offer", data=body, headers={"Content-Type": "application/json"})
        assert response.status == 413 and str(MAX_OFFER_BYTES) in await error_of(response)


BAD_OFFERS = {
    "no json": b"v=0",
    "not utf-8": b'{"type": "offer", "sdp": "\xff\xfe"}',
    "deep": b"[" * 30_000,
    "a list": b"[]",
    "no sdp": b'{"type": "offer"}',
    "sdp is a number": b'{"type": "offer", "sdp": 5}',
    "an answer": b'{"type": "answer", "sdp": "v=0"}',
    "empty sdp": b'{"type": "offer", "sdp": ""}',
    "no sdp at all": b'{"type": "offer", "sdp": "hello"}',
    "only a version": b'{"type": "offer", "sdp": "v=0\\r\\n"}',
    "broken media": b'{"type": "offer", "sdp": "v=0\\r\\nm=audio x y z\\r\\n"}',
    "nul": b'{"type": "offer", "sdp": "v=0\\r\\nm=\\u0000\\r\\n"}',
    "no fingerprint": b'{"type": "offer", "sdp": "v=0\\r\\nm=audio 9 UDP/TLS/RTP/SAVPF 0\\r\\na=mid:0\\r\\n"}',
    "many media": b'{"type": "offer", "sdp": "v=0\\r\\n' + b"m=audio 9 RTP/AVP 0\\\\r\\\\n" * 3 + b'"}',
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_bad_offer_is_a_400_with_a_reason_and_leaves_nothing_behind(name: str) -> None:
    async with server() as client:
        response = await client.post("/offer", data=BAD_OFFERS[name], headers={"Content-Type": "application/json"})
        assert response.status == 400, await response.text()
        assert await error_of(response)
        assert client.app is not None and not len(client.app[PEERS])


async def test_an_offer_for_sound_alone_or_twice_is_refused() -> None:
    async with server() as client:
        for kinds in (["audio"], ["audio", "audio", "video"]):
            pc = RTCPeerConnection()
            for kind in kinds:
                pc.addTransceiver(kind, direction="recvonly")
            await pc.setLocalDescription(await pc.createOffer())
            response = await client.post("/offer", json={"type": "offer", "sdp": pc.localDescription.sdp})
            assert response.status == 400 and "one sound and one picture" in await error_of(response)
            await pc.close()


async def test_local_candidates_are_stripped_and_counts_are_bounded() -> None:
    local = "a=candidate:1 1 udp 2113937151 5f1a-e2.LOCAL 54321 typ host"
    real = "a=candidate:2 1 udp 2113937151 192.0.2.7 54321 typ host"
    sdp = checked_offer("\r\n".join(["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", local, real, ""]))
    assert "LOCAL" not in sdp and real in sdp and sdp.endswith("\r\n")
    for hostile in (
        "v=0\n" + "a=x\n" * 5000,
        "v=0\n" + "m=audio 9 x 0\n" * 5,
        "v=0\n" + (real + "\n") * 100,
    ):
        with pytest.raises(OfferRefused, match="too many"):
            checked_offer(hostile)


# ---- files and neighbours


PATHS = """
/../app.py /%2e%2e/app.py /..%2fapp.py /static/../../pyproject.toml //etc/passwd /%2fetc%2fpasswd /app.py
/.%00/index.html /index.html%00.js /..\\app.py /nothing.js /%252e%252e/app.py http://127.0.0.1/../app.py
"""


@pytest.mark.parametrize("path", PATHS.split())
async def test_there_is_no_path_out_of_the_static_files(path: str) -> None:
    async with server() as client:
        # By hand: a client would tidy the path up first.
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {client.host}:{client.port}\r\nConnection: close\r\n\r\n".encode())
        reply = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert reply.split()[1] in (b"400", b"404")
        assert b"import" not in reply and b"root:" not in reply


async def test_the_page_and_its_modules_are_served_with_safe_headers() -> None:
    async with server() as client:
        page = await client.get("/")
        assert page.status == 200 and "default-src 'self'" in page.headers["Content-Security-Policy"]
        for file in STATIC.glob("*.js"):
            response = await client.get(f"/{file.name}")
            assert response.status == 200 and response.content_type == "text/javascript"


async def test_another_site_cannot_interrupt_and_cannot_rebind_its_name() -> None:
    async with server() as client:
        response = await client.post("/interrupt", headers={"Origin": "https://elsewhere.example"})
        assert response.status == 403 and "another site" in await error_of(response)
        response = await client.get("/stats", headers={"Host": "elsewhere.example:8080"})
        assert response.status == 403
        own = f"http://{client.host}:{client.port}"
        assert (await client.post("/interrupt", headers={"Origin": own})).status == 200
    async with server(settings=ServerSettings(mode="naive", host="0.0.0.0")) as client:
        assert (await client.get("/stats", headers={"Host": "my-machine:8080"})).status == 200


async def test_only_loopback_is_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "127.0.0.2"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "", "127.example.com"))


async def test_by_default_nobody_but_this_machine_is_served() -> None:
    assert ServerSettings().host == "127.0.0.1" and ServerSettings().max_viewers == 8
