"""`avsync serve` and `avsync demo-media` as typed, and the thread between source and loop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from avsync.errors import InputError, UsageError
from avsync.server.app import serve
from avsync.server.command import add_demo_media_arguments, add_serve_arguments, run_demo_media, run_serve
from avsync.server.feed import ThreadFeed
from avsync.server.room import Room, ServerSettings
from avsync.server.sources import FrameWithSound
from avsync.units import ms
from avsync.webrtc.tracks import SyncTrack
from tests.server.server_story import CountingSource, grey, make_clip, number_of


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_serve_arguments(parser)
    return parser.parse_args(words)


def test_serve_needs_nothing_and_help_shows_examples() -> None:
    args = parsed()
    assert (args.source, args.host, args.port, args.mode, args.voice_ahead) == ("", "127.0.0.1", 8080, "avsync", None)
    parser = argparse.ArgumentParser()
    add_serve_arguments(parser)
    text = parser.format_help()
    assert "my_model:talk" in text and "--mode naive-valve" in text and "exit codes" in text


def test_sizes_and_rates_are_read_as_people_write_them() -> None:
    args = parsed("--size", "641x481", "--fps", "30000/1001")
    assert args.size == (640, 480) and args.fps == Fraction(30_000, 1001)


@pytest.mark.parametrize(
    "words", [("--size", "big"), ("--size", "5x5"), ("--fps", "0"), ("--fps", "1/0"), ("--mode", "x")]
)
def test_a_bad_argument_is_refused_by_the_parser(words: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed(*words)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("nowhere.mp4",), "no such file"),
        (("--voice-ahead", "-1"), "--voice-ahead"),
        (("--voice-ahead", "3", "--mode", "naive"), "no valve"),
        (("--speed", "0"), "speed"),
        (("--buffer-ms", "-5"), "buffer_ms"),
        (("--sessions", "0"), "max_viewers"),
        (("--port", "99999"), "port"),
    ],
)
def test_bad_input_is_found_before_anything_listens(words: tuple[str, ...], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run_serve(parsed(*words))


def test_settings_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="mode"):
        ServerSettings(mode="best")


@pytest.mark.parametrize(
    ("given", "hold_ms"),
    [
        ({}, None),
        ({"voice_ahead_frames": 12}, None),  # the valve's own: left bare
        ({"voice_ahead_frames": 12, "hold_voice": True}, {"audio": 480, "video": 0}),
        ({"buffer_ms": 300}, {"audio": 300, "video": 300}),
        ({"voice_ahead_frames": 5, "hold_voice": True, "buffer_ms": 100}, {"audio": 300, "video": 100}),
    ],
)
def test_a_lead_that_was_asked_for_is_held_by_the_voices_receiver_alone(
    given: dict[str, Any], hold_ms: dict[str, float] | None
) -> None:
    assert Room(CountingSource(), ServerSettings(**given)).about()["hold_ms"] == hold_ms


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("mode", "frames", "held_ns"), [("avsync", 12, [ms(480)]), ("avsync", 0, []), ("naive-valve", 12, [])]
)
async def test_the_voice_is_early_because_its_pictures_are_held_unless_a_valve_sends_it_early(
    mode: str, frames: int, held_ns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(SyncTrack, "hold", lambda _track, for_ns: asked.append(for_ns))
    room = Room(CountingSource(), ServerSettings(mode=mode, voice_ahead_frames=frames))
    await room.join()
    await room.close()
    assert asked == held_ns


def test_demo_media_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_demo_media_arguments(parser)
    clip = make_clip(tmp_path / "a.mkv", frames=5, sound_s=0.2)
    assert run_demo_media(parser.parse_args([str(clip), str(tmp_path / "out")])) == 0
    assert capsys.readouterr().out.startswith("5 pictures and 0.20 s of sound")


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_server_cleanly(number: signal.Signals) -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(CountingSource(), ServerSettings(mode="naive", port=0), ready=address.set_result)
    )
    async with aiohttp.ClientSession() as client, client.get(f"{await address}/config") as reply:
        assert (await reply.json())["source"] == "counting"
    signal.raise_signal(number)
    async with asyncio.timeout(10):
        await serving


@pytest.mark.asyncio
async def test_a_port_in_use_is_bad_input_with_a_remedy() -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}"):
            await serve(CountingSource(), ServerSettings(mode="naive", port=port), ready=lambda _address: None)


# ---- the thread


@pytest.mark.asyncio
async def test_shots_come_in_order_and_the_end_is_the_end() -> None:
    feed = ThreadFeed(CountingSource(ends_at=30))
    numbers = []
    while (frame := await feed.next()) is not None:
        numbers.append(number_of(frame.picture))
    assert numbers == list(range(30))
    assert await feed.next() is None


@pytest.mark.asyncio
async def test_what_the_source_raises_reaches_whoever_waits_every_time() -> None:
    feed = ThreadFeed(CountingSource(fails_at=2))
    assert await feed.next() is not None and await feed.next() is not None
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            await feed.next()


class Slow:
    """Counts what was generated; after ``hangs_at`` it hangs until let go."""

    name, fps = "slow", Fraction(25)

    def __init__(self, hangs_at: int | None = None) -> None:
        self.made, self.hangs_at, self.let_go = 0, hangs_at, threading.Event()

    def idle(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return grey(0)

    def frames(self) -> Iterator[FrameWithSound]:
        for number in count():
            if number == self.hangs_at:
                self.let_go.wait(10)
            self.made += 1
            yield FrameWithSound(grey(number), np.zeros(1920, np.int16))


@pytest.mark.asyncio
async def test_a_source_is_never_more_than_a_few_shots_ahead() -> None:
    source = Slow()
    feed = ThreadFeed(source, ahead=4)
    await feed.next()
    await asyncio.sleep(0.3)
    assert source.made <= 1 + 4 + 1
    feed.close()
    thread = feed._thread
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()  # though there was no room for what it had


@pytest.mark.asyncio
async def test_close_does_not_wait_for_a_source_that_hangs() -> None:
    source = Slow(hangs_at=1)
    feed = ThreadFeed(source)
    await feed.next()
    waiting = asyncio.create_task(feed.next())
    await asyncio.sleep(0.05)
    began = time.monotonic()
    feed.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 5  # not the ten that it hangs
    source.let_go.set()
