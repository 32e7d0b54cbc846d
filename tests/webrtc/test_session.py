"""A session's stories: lips and voice leave together, turns queue, viewers come and go."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.types import VIDEO, Alert, Request, Want
from avsync.units import ms, seconds
from avsync.webrtc import AvSyncSession, Turn
from avsync.webrtc.encode import H264, OPUS, VP8
from avsync.webrtc.tracks import HELD_PACKETS
from tests.webrtc.session_story import (
    FRAME,
    IDLE,
    SLOT,
    StoryLoop,
    Watching,
    assert_rising,
    idle_picture,
    naming,
    picture,
    run,
    say,
    slots,
)

pytestmark = pytest.mark.usefixtures("naming")
__all__ = ["naming"]


def test_written_at_once_lips_and_voice_leave_together() -> None:
    async def story(loop: StoryLoop) -> Watching:
        async with AvSyncSession() as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 4)
            await asyncio.sleep(5)
            stats = session.stats()
        assert stats.pts_violations == 0 and stats.refused_writes == 0
        return watching

    watching = run(story)
    assert_rising(watching.sounds)
    assert_rising(watching.pictures)
    assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds))
    assert watching.said(1) == list(range(200))
    assert [got.name.number for got in watching.pictures if got.name.turn == 1][:100] == list(range(100))
    voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
    lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 1}
    for number in range(100):
        assert abs(lips[number].stamp_ns - voice[2 * number].stamp_ns) < ms(0.05)
        assert abs(lips[number].at_ns - voice[2 * number].at_ns) < ms(1)
        assert abs(lips[number].at_ns - lips[number].stamp_ns) < ms(1)


# ---- writing


def test_back_pressure_waits_and_is_released_by_room() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(audio_queue_s=1, video_queue_s=0.4) as session:
            Watching(session)
            turn = session.begin_turn()
            begun = loop.now_ns
            assert await turn.write_audio(slots(1, 0, 50))
            assert loop.now_ns == begun and session.buffered == 1.0
            assert await turn.write_audio(slots(1, 50, 1))
            waited = loop.now_ns - begun  # a turn without a picture waits 300 ms for one
            assert ms(330) < waited < ms(370) and session.buffered <= 1.0
            await turn.end()

    run(story)


@pytest.mark.parametrize("how", ["interrupt", "close"])
def test_a_writer_that_waits_is_released_by_an_interrupt_and_by_close(how: str) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(audio_queue_s=0.2, video_queue_s=0.2) as session:
            turn = session.begin_turn()  # and no viewer: nobody takes anything
            writers = [
                asyncio.ensure_future(turn.write_audio(slots(1, 0, 100))),
                asyncio.ensure_future(write_pictures(turn, 20)),
                asyncio.ensure_future(write_pictures(turn, 20)),
            ]
            await asyncio.sleep(5)
            assert not any(writer.done() for writer in writers)
            begun = loop.now_ns
            await (session.interrupt() if how == "interrupt" else session.close())
            assert await asyncio.gather(*writers) == [False, False, False]
            assert loop.now_ns == begun

    run(story)


async def write_pictures(turn: Turn, count: int) -> bool:
    taken = True
    for number in range(count):
        taken = await turn.write_video(picture(turn.epoch + 1, number))
    return taken


def test_an_interrupt_with_full_queues_leaves_room_for_the_next_turn() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(audio_queue_s=1, video_queue_s=1) as session:
            Watching(session)
            for _ in range(5):
                talking = asyncio.ensure_future(say(session.begin_turn(), 1, 60))
                await asyncio.sleep(1)
                await session.interrupt()
                assert session.buffered == 0
                await talking
            begun = loop.now_ns
            await say(session.begin_turn(), 2, 0.9)
            assert loop.now_ns == begun

    run(story)


@pytest.mark.parametrize("sound_first", [True, False])
def test_a_writer_that_writes_one_kind_after_the_other_is_not_locked_up(sound_first: bool) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(audio_queue_s=2, video_queue_s=1) as session:
            watching = Watching(session)
            for number in range(1, 4):
                async with session.begin_turn() as turn:
                    if sound_first:
                        assert await turn.write_audio(slots(number, 0, 250))
                    assert await write_pictures(turn, 125)
                    if not sound_first:
                        assert await turn.write_audio(slots(number, 0, 250))
            await asyncio.sleep(6)
            for number in range(1, 4):
                assert watching.said(number) == list(range(250))
            assert session.buffered == 0
            assert loop.now_ns < ms(40_000)

    run(story)


def test_short_turns_of_one_kind_after_the_other_lose_nothing() -> None:
    """All sound of a turn, then all its pictures: what every simple source does, and within the queues' bounds."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            async with session.begin_turn() as turn:
                await turn.write_audio(slots(1, 0, 90))
                await write_pictures(turn, 45)
            await asyncio.sleep(3)
            voice = {got.name.number: got for got in watching.sounds}
            lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 1}
            assert sorted(lips) == list(range(45))
            assert all(abs(lips[n].at_ns - voice[2 * n].at_ns) < ms(1) for n in lips)

    run(story)


def test_the_callers_buffers_may_be_used_again() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            sound, seen = np.empty(1920, np.int16), np.empty_like(picture(1, 0))
            ready = av.VideoFrame.from_ndarray(seen, format="rgb24").reformat(format="yuv420p")
            for number in range(10):
                seen[:] = picture(1, number)
                if number % 2:
                    await turn.write_video(seen)
                else:  # in the very format that is sent: nothing needs to be converted
                    made = av.VideoFrame.from_ndarray(seen, format="rgb24").reformat(format="yuv420p")
                    for mine, theirs in zip(ready.planes, made.planes, strict=True):
                        mine.update(bytes(theirs))
                    await turn.write_video(ready)
                sound[:] = slots(1, 2 * number, 2)
                await turn.write_audio(sound)
            sound[:] = 0
            for plane in ready.planes:
                plane.update(bytes(plane.buffer_size))
            await turn.end()
            await asyncio.sleep(1)
            assert watching.said(1) == list(range(20))
            assert watching.shown(1)[:10] == list(range(10))

    run(story)


@pytest.mark.parametrize(
    ("chunk", "names"),
    [(240, 80), (441, 0), (1024, 0), (480, 40), (1440, 0)],
)
def test_stamped_chunks_of_any_size_follow_each_other_without_a_seam(chunk: int, names: int) -> None:
    """5 ms chunks that say where they belong are not each filled up to 20 ms."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            whole = slots(1, 0, 20)
            for at in range(0, len(whole), chunk):
                rounded_to_ms = (at * 1000 // 48000 if at // chunk % 2 else -(-at * 1000 // 48000)) * 1_000_000
                assert await turn.write_audio(whole[at : at + chunk], pts_ns=rounded_to_ms)
            await turn.end()
            await asyncio.sleep(1.5)
            assert watching.said(1) == list(range(20))

    run(story)


@pytest.mark.parametrize("gap_ms", [3, 15, 20, 27, 100, 113, 1000])
def test_a_hole_between_stamps_is_silence_of_its_length_and_the_lips_go_on_with_the_voice(gap_ms: int) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            for number in range(5):
                await turn.write_video(picture(1, number))
                await turn.write_audio(slots(1, 2 * number, 2), pts_ns=number * FRAME)
            resumed = ms(200 + gap_ms)
            # 20 ms that are silent first, so that a slot's first sample tells where it begins.
            for number in range(5, 10):
                at = resumed + (number - 5) * FRAME
                assert await turn.write_video(picture(1, number), pts_ns=at)
                assert await turn.write_audio(slots(1, 2 * number, 2), pts_ns=at)
            await turn.end()
            await asyncio.sleep(2)
            assert_rising(watching.sounds)
            assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds))
            heard = [got for got in watching.sounds if got.name.turn == 1]
            lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 1}
            start = heard[0].stamp_ns
            end = heard[-1].stamp_ns + SLOT - start
            assert abs(end - ms(400 + gap_ms)) < SLOT
            assert abs(lips[9].stamp_ns - start - ms(200 + gap_ms + 160)) < ms(1)
            assert session.stats().output.abs_p95_ns is None or session.stats().output.abs_p95_ns < ms(40)

    run(story)


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
@pytest.mark.parametrize("first", [960, 1000, 1500, 250])
@pytest.mark.parametrize("gap_ms", [1, 3, 15, 20, 27, 39, 113, 1000])
def test_sound_with_a_stamp_lies_where_the_stamp_says_to_the_sample(rate: int, first: int, gap_ms: int) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:  # without a viewer: what was written can be looked at
            turn = session.begin_turn()
            await turn.write_audio(np.full(first, 9000, np.int16), sample_rate=rate)
            resumed_ns = first * 10**9 // rate + ms(gap_ms)
            await turn.write_audio(np.full(rate // 10, -9000, np.int16), sample_rate=rate, pts_ns=resumed_ns)
            await turn.end()
            timeline = np.zeros(96000, np.int16)
            for unit in session._backlog._held:
                at = round(unit.pts_ns * 48 / 1e6)
                assert abs(unit.pts_ns * 48 / 1e6 - at) < 0.01 and unit.pts_ns % SLOT == 0
                timeline[at : at + 960] = unit.payload.to_ndarray().ravel()
            below = np.flatnonzero(timeline < -4500)
            above = np.flatnonzero(timeline > 4500)
            near = 1 if rate == 48000 else 4  # a resampler rounds an edge off
            assert abs(len(above) - first * 48000 / rate) <= near and above[0] == 0
            assert above[-1] == len(above) - 1 and below[-1] - below[0] == len(below) - 1
            assert abs(below[0] - resumed_ns * 48 / 1e6) <= near and abs(len(below) - 4800) <= 2 * near

    run(story)


def test_stamps_that_rewind_repeat_or_are_left_out() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(video_queue_s=30) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            assert await turn.write_video(picture(1, 0), pts_ns=0)
            assert await turn.write_video(picture(1, 1), pts_ns=np.int64(ms(40)))
            assert not await turn.write_video(picture(1, 9), pts_ns=ms(40))
            assert not await turn.write_video(picture(1, 9), pts_ns=0)
            assert not await turn.write_video(picture(1, 9), pts_ns=-1)
            assert await turn.write_video(picture(1, 2))
            assert await turn.write_audio(slots(1, 0, 5), pts_ns=0)
            assert not await turn.write_audio(slots(1, 8, 1), pts_ns=0)
            assert not await turn.write_audio(slots(1, 8, 1), pts_ns=-5)
            assert await turn.write_audio(slots(1, 5, 1), pts_ns=ms(99.4))
            assert await turn.write_audio(slots(1, 6, 1))
            assert not await turn.write_audio(slots(1, 8, 1), pts_ns=ms(1000) * 3600 * 24)
            assert session.stats().refused_writes == 6
            await turn.end()
            await asyncio.sleep(1)
            assert watching.said(1) == list(range(7)) and watching.shown(1)[:3] == [0, 1, 2]

    run(story)


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (lambda s: s.write_audio(np.zeros(960)), "int16 or float32"),
        (lambda s: s.write_audio(np.zeros(960, ">i2")), "int16 or float32"),
        (lambda s: s.write_audio(np.zeros((1, 960), np.int16)), "channels <= 8"),
        (lambda s: s.write_audio(np.zeros((2, 2, 2), np.int16)), "shape"),
        (lambda s: s.write_audio(b"123"), "even"),
        (lambda s: s.write_audio([1, 2]), "ndarray, bytes"),
        (lambda s: s.write_audio(None), "ndarray, bytes"),
        (lambda s: s.write_audio(np.zeros(960, np.int16), sample_rate=100), "sample_rate"),
        (lambda s: s.write_audio(np.zeros(960, np.int16), sample_rate=48000.0), "sample_rate"),
        (lambda s: s.write_audio(np.zeros(960, np.int16), pts_ns=0.5), "pts_ns"),
        (lambda s: s.write_audio(np.zeros(960, np.int16), pts_ns=float("nan")), "pts_ns"),
        (lambda s: s.write_audio(np.zeros(960, np.int16), epoch="one"), "epoch"),
        (lambda s: s.write_video(np.zeros((16, 16), np.uint8)), "uint8"),
        (lambda s: s.write_video(np.zeros((16, 16, 4), np.uint8)), "RGB"),
        (lambda s: s.write_video(np.zeros((16, 16, 3))), "uint8"),
        (lambda s: s.write_video(np.zeros((5000, 16, 3), np.uint8)), "at most 4096"),
        (lambda s: s.write_video("picture"), "ndarray, av.VideoFrame"),
        (lambda s: s.write_video(np.zeros((16, 16, 3), np.uint8), pts_ns=True), "pts_ns"),
    ],
)
def test_what_is_no_sound_and_no_picture_is_refused_by_its_rule(write: Any, rule: str) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            with pytest.raises(UsageError, match=rule):
                await write(session)
            assert await session.write_audio(slots(1, 0))  # and the session goes on

    run(story)


def test_empty_and_odd_pictures() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            assert not await session.write_video(np.zeros((0, 16, 3), np.uint8))
            assert not await session.write_audio(np.zeros(0, np.int16))
            assert not await session.write_audio(b"")
            assert not await session.write_audio(av.Packet(b""))
            assert not await session.write_video(av.Packet(b""))
            for size in ((17, 31), (1, 1), (301, 2), (4096, 16)):
                assert await session.write_video(np.zeros((*size, 3), np.uint8))
            sizes = {(unit.payload.width, unit.payload.height) for unit in session._backlog._held}
            assert sizes == {(30, 16)}  # all in the even size of the first

    run(story)


def test_slots_of_another_length_are_refused_at_construction() -> None:
    async def story(loop: StoryLoop) -> None:
        with pytest.raises(UsageError, match="slot_ns must be 20000000"):
            AvSyncSession(policy=AvSyncPolicy(slot_ns=ms(10)))
        with pytest.raises(UsageError, match="idle picture is empty"):
            AvSyncSession(idle=np.zeros((0, 4, 3), np.uint8))

    run(story)


def test_pictures_are_answered_as_much_earlier_as_their_encoder_takes() -> None:
    async def story(loop: StoryLoop) -> None:
        loop.takes = lambda name: ms(25) if name == "_encode" else 0
        async with AvSyncSession() as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 8)
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
            lips = [got for got in watching.pictures if got.name.turn == 1]
            assert lips[2].at_ns - voice[2 * lips[2].name.number].at_ns > ms(15)  # not known yet
            assert all(abs(got.at_ns - voice[2 * got.name.number].at_ns) < ms(5) for got in lips[-50:])
            assert session.stats().encode_ms == pytest.approx(25, abs=2)

    run(story)


# ---- turns


def test_a_turn_queues_behind_the_tail_of_the_last_and_none_is_lost() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            for number in range(1, 26):
                await say(session.begin_turn(), number, 0.2 + 0.04 * (number % 3))
            await asyncio.sleep(4)
            heard = [got.name for got in watching.sounds if got.name.number >= 0]
            assert heard == sorted(heard) and len({name.turn for name in heard}) == 25
            for number in range(1, 26):
                frames = round((0.2 + 0.04 * (number % 3)) * 25)
                assert watching.said(number) == list(range(2 * frames))
                assert watching.shown(number)[:frames] == list(range(frames))
            assert_rising(watching.pictures)

    run(story)


def test_a_turn_that_nobody_ends_is_over_when_the_next_is_written_and_keeps_its_tail() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            first, second = session.begin_turn(), session.begin_turn()
            await first.write_audio(slots(1, 0, 3)[:-500])
            assert await second.write_audio(slots(2, 0, 3))
            assert not await first.write_audio(slots(1, 3, 1))
            await second.end()
            await asyncio.sleep(1)
            assert watching.said(1) == [0, 1, 2] and watching.said(2) == [0, 1, 2]
            voice = [got.name for got in watching.sounds if got.name.number >= 0]
            assert voice == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]

    run(story)


def test_what_a_turn_that_nobody_ended_lacks_is_not_waited_for() -> None:
    asked: list[Request] = []

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(levers=("skip_to_pts",), on_request=asked.append) as session:
            watching = Watching(session)
            first = session.begin_turn()
            await write_pictures(first, 10)
            await first.write_audio(slots(1, 0, 100))
            await say(session.begin_turn(), 2, 1, end=False)
            await asyncio.sleep(3.0)
            assert asked == [] and len(watching.said(2)) > 40

    run(story)


@pytest.mark.parametrize(
    ("levers", "wanted"), [((), set()), (("skip_to_pts",), {Want.SKIP_TO_PTS}), (("fps",), {Want.FPS})]
)
def test_a_source_is_only_asked_for_what_it_said_that_it_can(levers: tuple[str, ...], wanted: set[Want]) -> None:
    asked: list[Request] = []

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(levers=levers, on_request=asked.append) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await write_pictures(turn, 10)  # they stop after 0.4 s, the voice goes on
            await turn.write_audio(slots(1, 0, 100))
            await asyncio.sleep(1.5)
            assert len(watching.said(1)) > 50
        assert {request.want for request in asked} == wanted

    run(story)


def test_thousands_of_turns_leave_nothing_behind() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(audio_queue_s=0.5) as session:
            for _ in range(3000):  # nobody watches yet, and nothing is written
                await session.begin_turn().end()
            Watching(session)
            for number in range(1500):
                turn = session.begin_turn()
                await turn.write_audio(slots(number % 30, 0, 1)[:700])
                if number % 3:
                    await turn.end()
            await asyncio.sleep(2)
            writing = session._writing
            assert len(session._backlog._starts_ns) <= 30 and len(writing._intakes) <= 1
            assert len(session._backlog._ended) <= 2 and not session._backlog._held
            assert session._engine.queued_units == 0 and session.buffered < 0.02

    run(story)


def test_what_is_asked_of_the_source_counts_from_its_turns_start() -> None:
    asked: list[Request] = []

    def on_request(request: Request) -> None:
        asked.append(request)
        raise RuntimeError("a source's own fault")

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(levers=("skip_to_pts",), on_request=on_request) as session:
            watching = Watching(session)
            heard: list[Request] = []

            async def listen() -> None:
                async for request in session.requests():
                    heard.append(request)

            listening = asyncio.ensure_future(listen())
            await say(session.begin_turn(), 1, 2)
            turn = session.begin_turn()
            for number in range(100):  # its pictures stop after 0.4 s
                if number < 10:
                    await turn.write_video(picture(2, number))
                await turn.write_audio(slots(2, 2 * number, 2))
            for _ in range(400):
                await asyncio.sleep(0.01 if not asked else 0)
            now = next(got for got in reversed(watching.sounds))
            assert now.name.turn == 2
            assert asked[0].want is Want.SKIP_TO_PTS
            assert 0 < asked[0].value - now.name.number * SLOT < ms(400)
            frame = -(-asked[0].value // FRAME)
            session.note_skipped(VIDEO, frame * FRAME)
            for number in range(frame, 60):
                assert await turn.write_video(picture(2, number))
            await asyncio.sleep(2)
            assert len(watching.said(2)) > 90  # the voice went on
            lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 2}
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 2}
            assert abs(lips[55].stamp_ns - voice[110].stamp_ns) < ms(0.05)
        await listening
        assert heard == asked

    run(story)


def test_an_alert_callback_that_raises_does_not_stop_the_voice() -> None:
    def on_alert(alert: Alert) -> None:
        raise RuntimeError("a listener's own fault")

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(on_alert=on_alert) as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 1, end=False)
            await asyncio.sleep(3)  # stalled
            await say(session.begin_turn(), 2, 1)
            await asyncio.sleep(2)
            assert watching.said(2) == list(range(50))

    run(story)


def test_a_stall_is_told_once_though_engine_and_monitor_both_see_it() -> None:
    """It lasts two seconds; the monitor waits another five before it says that it is over."""

    async def story(loop: StoryLoop) -> None:
        told: list[tuple[str, bool, int]] = []

        def on_alert(alert: Alert) -> None:
            told.append((alert.name, alert.active, loop.now_ns))

        async with AvSyncSession(on_alert=on_alert) as session:
            Watching(session)
            turn = session.begin_turn()
            await say(turn, 1, 3, end=False)
            await asyncio.sleep(3 + 2)
            await say(turn, 1, 8, first=75)
            await asyncio.sleep(10)
        (began, over) = told
        assert began[:2] == ("stall_audio", True) and over[:2] == ("stall_audio", False)
        assert seconds(5) < over[2] - began[2] < seconds(8)

    run(story)


def test_a_long_stall_is_summed_up_by_whoever_says_it() -> None:
    async def story(loop: StoryLoop) -> None:
        alerts: list[Alert] = []
        async with AvSyncSession(on_alert=alerts.append) as session:
            Watching(session)
            turn = session.begin_turn()
            for slot in range(75 * 50):  # a voice without any picture
                await turn.write_audio(slots(1, slot % 900))
                await asyncio.sleep(0.02)
        assert [(alert.name, alert.active) for alert in alerts] == [("stall_video", True)] * 2

    run(story)


# ---- underrun, idle


def test_an_underrun_is_silence_and_a_held_picture_and_both_go_on_together() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await say(turn, 1, 1, end=False)
            await asyncio.sleep(2.5)
            await say(turn, 1, 1, first=25)
            await asyncio.sleep(2)
            assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds))
            assert watching.said(1) == list(range(100))
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
            lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 1}
            stood = voice[50].stamp_ns - voice[49].stamp_ns
            assert stood > ms(1000)  # the content clock stopped, output time did not
            assert 25 in lips and voice[49].at_ns < lips[25].at_ns <= voice[50].at_ns
            for number in range(26, 50):
                assert abs(lips[number].stamp_ns - voice[2 * number].stamp_ns) < ms(0.05)
            assert_rising(watching.pictures)

    run(story)


def test_pictures_that_stop_while_the_voice_goes_on_give_way_to_the_idle_one_after_a_second() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await write_pictures(turn, 25)
            await turn.write_audio(slots(1, 0, 300))
            await asyncio.sleep(4)
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
            idle = next(got for got in watching.pictures if got.at_ns > voice[50].at_ns and got.name == IDLE)
            assert ms(980) <= idle.at_ns - voice[50].at_ns <= ms(1060)
            assert session.stats().idle
            repeated = [got for got in watching.pictures if voice[50].at_ns < got.at_ns < idle.at_ns]
            assert {got.name for got in repeated} == {(1, 24)}
            # Still shown again and again, so that a viewer's timing does not forget.
            later = [got.at_ns for got in watching.pictures if got.at_ns > idle.at_ns]
            assert {got.name for got in watching.pictures if got.at_ns > idle.at_ns} == {IDLE}
            assert later and all(b - a <= ms(1050) for a, b in pairwise([idle.at_ns, *later]))

    run(story)


# ---- viewers


def test_output_time_begins_with_the_first_viewer_and_what_was_written_before_is_not_late() -> None:
    async def story(loop: StoryLoop) -> None:
        alerts: list[Alert] = []
        async with AvSyncSession(on_alert=alerts.append) as session:
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(7)
            watching = Watching(session)
            await asyncio.sleep(4)
            assert alerts == []  # that the turn has ended was not forgotten
            assert watching.said(1) == list(range(50)) and watching.shown(1)[:25] == list(range(25))

    run(story)


def test_a_late_joiner_gets_a_key_frame_also_right_after_another_and_while_nothing_moves() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            Watching(session)
            await say(session.begin_turn(), 1, 2)
            await asyncio.sleep(1.0)
            keys = session.stats().key_frames
            joined = [Watching(session.viewer()), Watching(session.viewer())]
            await asyncio.sleep(0.06)
            assert session.stats().key_frames == keys + 1  # one for both
            # Within the time in which a request is taken for the last one's:
            third = Watching(session.viewer())
            await asyncio.sleep(0.06)
            for each in [*joined, third]:
                assert each.pictures and each.pictures[0].is_key
            await asyncio.sleep(3)  # nothing moves
            begun = loop.now_ns
            still = Watching(session.viewer())
            await asyncio.sleep(0.15)
            assert still.pictures and still.pictures[0].is_key and still.pictures[0].at_ns - begun <= ms(110)

    run(story)


def test_many_requests_are_one_key_frame() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = [Watching(session), Watching(session.viewer()), Watching(session.viewer())]
            talking = asyncio.ensure_future(say(session.begin_turn(), 1, 4))
            await asyncio.sleep(1)
            keys = session.stats().key_frames
            for _ in range(25):
                for each in watching:
                    each.viewer.video_track.want_key_frame()
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.04)
            assert session.stats().key_frames == keys + 1
            for each in watching:
                each.viewer.video_track.want_key_frame()
            await asyncio.sleep(0.05)
            # 300 ms after the first: this one is a request of its own.
            await asyncio.sleep(0.1)
            assert session.stats().key_frames <= keys + 2
            await talking

    run(story)


def test_a_viewer_that_stops_reading_does_not_stop_the_others() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            good, bad = Watching(session), session.viewer()
            await bad.video_track.next_packet(VP8)
            await bad.audio_track.next_packet(OPUS)
            keys = session.stats().key_frames
            await say(session.begin_turn(), 1, 10)
            await asyncio.sleep(4)
            assert good.said(1) == list(range(500)) and good.shown(1)[:250] == list(range(250))
            for track in (bad.audio_track, bad.video_track):
                assert len(track._held) <= HELD_PACKETS and track.overflowed >= 1
            assert session.stats().key_frames <= keys + 1  # nobody reads: nobody needs one
            again = Watching(bad)
            await asyncio.sleep(2.5)
            assert again.pictures[0].is_key
            assert again.sounds[-1].at_ns > loop.now_ns - ms(30)

    run(story)


def test_a_viewer_vanishes_and_the_next_one_finds_tracks_again() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            first = Watching(session)
            talking = asyncio.ensure_future(say(session.begin_turn(), 1, 6))
            await asyncio.sleep(1)
            await first.vanish()
            assert session.viewers == ()
            await asyncio.sleep(1)
            gone = session.audio_track, session.video_track
            assert gone[0] is session.audio_track and all(track.readyState == "live" for track in gone)
            second = Watching(session)
            await asyncio.sleep(1)
            assert second.pictures[0].is_key and second.sounds[-1].name.turn == 1
            assert second.sounds[-1].stamp_ns > first.sounds[-1].stamp_ns + ms(1900)
            assert_rising(second.sounds)
            await talking

    run(story)


def test_a_viewer_who_agreed_on_a_codec_that_is_not_sent_is_told_and_harms_nobody() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            other = session.viewer()
            with pytest.raises(UsageError, match="audio/opus, this viewer agreed on audio/pcmu"):
                await other.audio_track.next_packet("audio/pcmu")
            with pytest.raises(UsageError, match="video/vp8 or video/h264"):
                await other.video_track.next_packet("video/av1")
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(2)
            assert watching.said(1) == list(range(50))

    run(story)


def test_two_codecs_are_each_encoded_once() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            viewers = [Watching(session), Watching(session.viewer(), mime=H264), Watching(session.viewer(), mime=H264)]
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(2)
            assert viewers[0].shown(1) == viewers[1].shown(1) == viewers[2].shown(1)
            assert viewers[1].pictures == viewers[2].pictures

    run(story)


def test_recv_gives_packets_to_whoever_is_no_sender() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            picture_packet, sound_packet = await session.video_track.recv(), await session.audio_track.recv()
            assert bytes(picture_packet)[0] == IDLE.turn and sound_packet.pts is not None

    run(story)


# ---- the end


def test_close_ends_tracks_and_iterators_and_is_once() -> None:
    async def story(loop: StoryLoop) -> None:
        session = AvSyncSession()
        watching = Watching(session)
        talking = asyncio.ensure_future(say(session.begin_turn(), 1, 60))
        requests = asyncio.ensure_future(anext(session.requests(), None))
        await asyncio.sleep(1)
        await asyncio.gather(session.close(), session.close())
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("avsync")]
        await session.close()
        await talking
        assert await requests is None
        assert sorted(watching.ended) == ["audio", "video"]
        assert not await session.write_audio(slots(1, 0)) and not await session.write_video(picture(1, 0))
        turn = session.begin_turn()
        assert turn.interrupted
        await turn.end()
        assert (await session.interrupt()).played_ms is None
        with pytest.raises(UsageError, match="closed"):
            session.viewer()
        with pytest.raises(MediaStreamError):
            await session.audio_track.next_packet(OPUS)
        session.stats().as_dict()

    run(story)


def test_close_before_any_viewer_and_while_pictures_are_converted() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession():
            pass
        loop.takes = lambda name: ms(50)
        session = AvSyncSession()
        writers = [asyncio.ensure_future(session.write_video(picture(1, number))) for number in range(5)]
        await asyncio.sleep(0.07)
        begun = loop.now_ns
        await session.close()
        assert loop.now_ns == begun
        assert await asyncio.gather(*writers) == [False] * 5

    run(story)


def test_a_fault_of_our_own_closes_the_session_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("our own fault")

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await turn.write_audio(slots(1, 0, 100))
            monkeypatch.setattr(session._playing.sound, "play", broken)
            assert not await turn.write_audio(slots(1, 100, 900))
            await asyncio.sleep(0.1)
            assert sorted(watching.ended) == ["audio", "video"]
            assert "our own fault" in caplog.text

    run(story)
