"""Barge-in: from the moment ``interrupt`` returns nothing of the old turn leaves, wherever it was."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest

from avsync.timeline.epoch import EpochGate
from avsync.types import VIDEO, Kind
from avsync.units import ms
from avsync.webrtc import AvSyncSession
from avsync.webrtc.interrupt import InterruptResult
from avsync.webrtc.tracks import Coded, SyncTrack
from tests.webrtc.session_story import (
    IDLE,
    SILENT,
    StoryLoop,
    Watching,
    assert_rising,
    idle_picture,
    naming,
    picture,
    run,
    say,
    slots,
    until_ns,
)

__all__ = ["naming"]
named = pytest.mark.usefixtures("naming")


def after(watching: Watching, at_ns: int, turn: int) -> list[object]:
    """What of this turn was handed over later than that."""
    return [got for got in watching.sounds + watching.pictures if got.at_ns > at_ns and got.name.turn == turn]


@named
@pytest.mark.parametrize("at_ms", [503, 510, 519, 520, 1007])
def test_a_producer_that_pushes_the_old_turn_for_300_ms_more_is_not_heard(at_ms: int) -> None:
    """Nothing old leaves, neither from a queue nor as a repeated picture; the producer is refused."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            old = session.begin_turn()
            writes: list[tuple[int, bool]] = []

            async def push_on() -> None:
                frame = 0
                while loop.now_ns < ms(at_ms + 300):
                    writes.append((loop.now_ns, await old.write_video(picture(1, frame))))
                    writes.append((loop.now_ns, await old.write_audio(slots(1, 2 * frame, 2))))
                    frame += 1
                    await asyncio.sleep(0.01)

            producer = asyncio.ensure_future(push_on())
            await until_ns(loop, ms(at_ms))
            called = loop.now_ns
            found = await session.interrupt()
            returned = loop.now_ns
            assert old.interrupted
            new = session.begin_turn()
            assert new.epoch == found.epoch
            await say(new, 2, 1)
            await producer
            await asyncio.sleep(2)
            assert returned - called <= ms(100)
            assert not after(watching, returned, 1)
            assert max(got.at_ns for got in watching.sounds if got.name.turn == 1) <= called
            silent = next(got for got in watching.sounds if got.at_ns > called)
            assert silent.name == SILENT and silent.at_ns - called <= ms(40)
            assert not any(taken for at, taken in writes if at >= called)
            first = next(got for got in watching.pictures if got.at_ns >= called)
            assert first.name == IDLE and first.is_key
            assert watching.said(2) == list(range(50)) and watching.shown(2)[:25] == list(range(25))
            assert_rising(watching.sounds)
            assert_rising(watching.pictures)
            assert session.stats().pts_violations == 0

    run(story)


@named
def test_stamps_go_on_and_the_next_turn_keeps_its_lips() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            for turn in range(1, 6):
                await say(session.begin_turn(), turn, 1.4)
                await asyncio.sleep(0.633)
                await session.interrupt()
                await asyncio.sleep(0.21)
            assert_rising(watching.sounds)
            assert_rising(watching.pictures)
            for turn in range(1, 6):
                voice = {got.name.number: got for got in watching.sounds if got.name.turn == turn}
                shown = [got for got in watching.pictures if got.name.turn == turn]
                assert len(shown) >= 10
                assert all(abs(got.stamp_ns - voice[2 * got.name.number].stamp_ns) < ms(0.05) for got in shown)
            assert session.stats().pts_violations == 0

    run(story)


@named
@pytest.mark.parametrize("stage", ["video_frame", "blurred", "_encode"])
def test_a_picture_in_a_thread_when_the_interrupt_comes(stage: str) -> None:
    async def story(loop: StoryLoop) -> None:
        loop.takes = lambda name: ms(35) if name == stage else 0
        idle = None if stage == "blurred" else idle_picture()
        async with AvSyncSession(idle=idle) as session:
            watching = Watching(session)
            old = session.begin_turn()
            await old.write_audio(slots(1, 0, 40))
            pictures = asyncio.ensure_future(say_pictures(old))
            at_ns = ms(100 if stage != "blurred" else 20)
            await until_ns(loop, at_ns)
            await session.interrupt()
            assert not after(watching, loop.now_ns, 1)
            await say(session.begin_turn(), 2, 1)
            await pictures
            await asyncio.sleep(2)
            assert not after(watching, at_ns, 1)
            new = [got for got in watching.pictures if got.at_ns >= at_ns and got.name.turn != 1]
            assert new[0].is_key
            assert watching.shown(2)[-1] == 24
            # What was stopped is not believed to have left.
            left = [sent for sent in session.sent_log._pictures._entries if sent.pts_ns is not None]
            assert len([sent for sent in left if sent.epoch == old.epoch]) == len(watching.shown(1))
            assert_rising(watching.pictures)

    async def say_pictures(turn: object) -> None:
        for frame in range(20):
            await turn.write_video(picture(1, frame))  # type: ignore[attr-defined]

    run(story)


@named
def test_old_pictures_that_wait_for_the_converting_thread_do_not_delay_the_new_turn() -> None:
    async def story(loop: StoryLoop) -> None:
        loop.takes = lambda name: ms(30) if name == "video_frame" else 0
        async with AvSyncSession(idle=idle_picture()) as session:
            old = session.begin_turn()
            many = [asyncio.ensure_future(old.write_video(picture(1, number))) for number in range(30)]
            await asyncio.sleep(0.045)
            await session.interrupt()
            begun = loop.now_ns
            assert await session.begin_turn().write_video(picture(2, 0))
            assert loop.now_ns - begun <= ms(60)  # the one that was in the thread, and this one
            assert sum(await asyncio.gather(*many)) <= 2

    run(story)


@named
def test_the_idle_picture_comes_also_where_the_last_mouth_was_sent_ahead_of_its_time() -> None:
    """Pictures are answered before they are due; one stamped in the future must not keep the idle one away."""

    async def story(loop: StoryLoop) -> None:
        loop.takes = lambda name: ms(25) if name == "_encode" else 0
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            for turn in range(1, 20):
                talking = asyncio.ensure_future(say(session.begin_turn(), turn % 30, 3))
                await asyncio.sleep(1.2 + 0.003 * turn)
                called = loop.now_ns
                await session.interrupt()
                await talking
                await asyncio.sleep(0.3)
                shown = [got for got in watching.pictures if got.at_ns > called]
                assert shown and shown[0].name == IDLE, turn
            assert session.stats().pts_violations == 0

    run(story)


def test_the_encoder_does_not_carry_the_old_turn_over() -> None:
    """Opus holds the last 6.5 ms it was given; after an interrupt silence is silent."""

    async def story(loop: StoryLoop) -> list[tuple[int, bytes]]:
        async with AvSyncSession() as session:
            packets: list[tuple[int, bytes]] = []

            async def listen() -> None:
                while True:
                    packet, _ = await session.audio_track.next_packet("audio/opus")
                    packets.append((loop.now_ns, bytes(packet)))

            listening = asyncio.ensure_future(listen())
            loud = (np.sin(np.arange(48000 * 2) / 11) * 20000).astype(np.int16)
            await session.begin_turn().write_audio(loud)
            await asyncio.sleep(0.5)
            called = loop.now_ns
            await session.interrupt()
            await asyncio.sleep(0.3)
            listening.cancel()
            await asyncio.wait([listening])
        return [(int(at > called), data) for at, data in packets]

    packets = run(story)
    assert loudest(data for late, data in packets if not late) > 10000
    assert loudest(data for late, data in packets if late) <= 1  # decoded alone: nothing of it is in them


def loudest(packets: object) -> int:
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"
    peak = 0
    for data in packets:  # type: ignore[attr-defined]
        for frame in decoder.decode(av.Packet(data)):
            peak = max(peak, int(np.abs(frame.to_ndarray().astype(np.int32)).max()))
    return peak


@named
def test_a_resamplers_tail_is_kept_at_the_natural_end_and_dropped_at_an_interrupt() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await turn.write_audio(np.full(1000, 1001, np.int16), sample_rate=48000)
            await turn.end()
            await asyncio.sleep(1)
            assert watching.said(1) == [0, 0]  # 960 and the 40 that were left
            turn = session.begin_turn()
            await turn.write_audio(np.full(1000, 2001, np.int16), sample_rate=48000)
            await session.interrupt()
            assert session.buffered == 0
            new = session.begin_turn()
            await new.write_audio(slots(3, 0, 2))
            await asyncio.sleep(1)
            assert watching.said(2) == [] and watching.said(3) == [0, 1]

    run(story)


@named
def test_writes_without_a_turn_are_dropped_between_interrupt_and_begin_for_those_who_begin_turns() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            session.begin_turn()
            assert await session.write_audio(slots(1, 0, 2))
            await session.interrupt()
            assert not await session.write_audio(slots(2, 0, 2))
            assert not await session.write_video(picture(2, 0))
            session.begin_turn()
            assert await session.write_audio(slots(3, 0, 2))
            await asyncio.sleep(1)
            assert watching.said(2) == [] and watching.said(3) == [0, 1]
            assert session.stats().refused_writes == 2

    run(story)


@named
def test_who_never_begins_a_turn_goes_on_with_the_next_one() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            assert await session.write_audio(slots(1, 0, 50))
            await asyncio.sleep(0.6)
            found = await session.interrupt()
            assert found.turn == 0 and found.played_ms is not None
            assert await session.write_audio(slots(2, 0, 10))
            await session.end_turn()
            await asyncio.sleep(1)
            assert watching.said(2) == list(range(10)) and 0 < len(watching.said(1)) < 20

    run(story)


@named
def test_a_turn_begun_after_writes_without_one_is_a_turn_of_its_own() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            await session.write_audio(slots(1, 0)[:100])  # not a slot yet: no unit of it exists
            turn = session.begin_turn()
            assert turn.epoch == 1

    run(story)


@named
def test_the_place_in_the_turn_is_what_was_played() -> None:
    """Not what was written; and of the turn that was heard, whatever is queued behind it."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(video_queue_s=10) as session:
            watching = Watching(session)
            assert (await session.interrupt()).played_ms is None
            for turn in range(1, 5):
                await say(session.begin_turn(), turn, 1)
            await asyncio.sleep(1.5)
            found = await session.interrupt()
            last = [got for got in watching.sounds if got.name != SILENT][-1]
            assert last.name.turn == 2 and found.turn == 2
            assert found.played_ms == last.name.number * 20
            assert found.dropped_units > 100
            again = await session.interrupt()
            assert again == InterruptResult(found.epoch + 1, None, 0)
            session.begin_turn()
            await session.write_audio(slots(5, 0, 3))
            assert (await session.interrupt()).played_ms is None  # written, not heard

    run(story)


@named
def test_interrupts_before_any_viewer_twice_and_with_empty_queues() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            assert (await session.interrupt()).epoch == 1
            await say(session.begin_turn(), 1, 0.5)
            first, second = session.interrupt(), session.interrupt()
            assert (await second).epoch == 3 and (await first).dropped_units > 20
            watching = Watching(session)
            await asyncio.sleep(0.3)
            await session.interrupt()
            await say(session.begin_turn(), 2, 0.5)
            await asyncio.sleep(1)
            assert watching.said(1) == [] and watching.said(2) == list(range(24))
            assert watching.shown(1) == []

    run(story)


@named
def test_what_was_interrupted_before_any_viewer_does_not_hold_the_next_turn_up() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            await say(session.begin_turn(), 1, 1.5)
            await session.interrupt()
            await say(session.begin_turn(), 2, 1)
            watching = Watching(session)
            await asyncio.sleep(0.2)
            assert watching.said(2)[:3] == [0, 1, 2]

    run(story)


class Nobody:
    """Owns a track, and lets it be."""

    def report_now(self, kind: Kind) -> tuple[int, int]:
        return 0, 0

    def track_connected(self, track: SyncTrack) -> None: ...
    def key_frame_wanted(self, track: SyncTrack) -> None: ...
    def track_stopped(self, track: SyncTrack) -> None: ...


def test_a_picture_that_needs_one_that_was_taken_out_is_taken_out_as_well() -> None:
    async def story(loop: StoryLoop) -> None:
        gate = EpochGate()
        track = SyncTrack(VIDEO, gate, Nobody())
        for ticks, (epoch, key) in enumerate([(None, True), (0, False), (None, False), (0, True), (None, False)]):
            track.put(Coded.make(VIDEO, b"x", ticks, epoch, is_key=key))
        gate.interrupt()
        assert track.purge() == 4 and [held.ticks for held in track._held] == [0]
        track.put(Coded.make(VIDEO, b"x", 5, None, is_key=False))
        track.put(Coded.make(VIDEO, b"x", 6, 1, is_key=True))
        gate.interrupt()  # and without being told
        track.put(Coded.make(VIDEO, b"x", 7, None, is_key=True))
        assert [(await track.next_packet("video/vp8"))[1] for _ in range(2)] == [0, 7]
        track.stop()

    run(story)


@named
def test_an_interrupt_that_nobody_awaits_is_one_as_well() -> None:
    """From a callback that cannot wait; and it says nothing of a coroutine that was never awaited."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(0.4)
            session.interrupt()
            called = loop.now_ns
            await asyncio.sleep(0.5)
            assert not after(watching, called, 1)

    run(story)


@named
def test_what_a_viewers_track_still_holds_is_taken_out_and_a_key_frame_follows() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            Watching(session)
            slow = session.viewer()
            await say(session.begin_turn(), 1, 2)
            got = [await slow.video_track.next_packet("video/vp8")]
            await asyncio.sleep(0.3)  # it reads nothing meanwhile
            await session.interrupt()
            assert not [held for held in slow.video_track._held if held.epoch == 0]
            await asyncio.sleep(0.3)
            taken = asyncio.ensure_future(slow.video_track.next_packet("video/vp8"))
            await asyncio.sleep(1.2)
            name = bytes((await taken)[0])
            assert name[0] == IDLE.turn and name[4] == 1, got

    run(story)


@named
def test_a_slow_wire_holds_an_interrupt_up_for_no_more_than_100_ms() -> None:
    class Busy:
        def __init__(self) -> None:
            self.sent = asyncio.Event()

        def close(self) -> None: ...

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            Watching(session)
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(0.2)
            busy = Busy()
            session.video_track.wire = busy  # type: ignore[assignment]
            begun = loop.now_ns
            waiting = asyncio.ensure_future(_await(session))
            await asyncio.sleep(0.03)
            assert not waiting.done()
            busy.sent.set()
            await waiting
            assert loop.now_ns - begun < ms(40)
            busy.sent.clear()
            begun = loop.now_ns
            await session.interrupt()
            assert ms(99) < loop.now_ns - begun < ms(110)

    async def _await(session: AvSyncSession) -> InterruptResult:
        return await session.interrupt()

    run(story)


@named
def test_ending_a_turn_twice_or_after_its_interrupt_harms_nobody() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            first = session.begin_turn()
            await say(first, 1, 0.4)
            await first.end()
            second = session.begin_turn()
            await say(second, 2, 0.4, end=False)
            await session.interrupt()
            await second.end()
            await first.end()
            await say(session.begin_turn(), 3, 0.4)
            await asyncio.sleep(1)
            assert watching.said(3) == list(range(20))
            assert session.stats().output.alerts == ()

    run(story)


@named
def test_a_session_closed_in_the_moment_of_an_interrupt_ends() -> None:
    """The idle picture and the end come to the picture task in one step: it must not take only the first."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(0.51)
            session.interrupt()
        assert sorted(watching.ended) == ["audio", "video"]

    run(story)


def test_interrupt_has_the_name_that_other_synchronizers_give_it_as_well() -> None:
    assert AvSyncSession.flush is AvSyncSession.interrupt
