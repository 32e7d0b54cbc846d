"""What goes wrong around a session: a blocked loop, a stepped wall clock, sources that encode for themselves."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import av
import pytest

from avsync.types import Request, Want
from avsync.units import ms, seconds
from avsync.webrtc import AvSyncSession
from avsync.webrtc.encode import H264, OPUS_SILENCE, VP8
from tests.webrtc.session_story import (
    IDLE,
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

pytestmark = pytest.mark.usefixtures("naming")
__all__ = ["naming"]


# ---- clocks


@pytest.mark.parametrize("blocked_ms", [15, 50, 250, 1000, 5003])
def test_a_blocked_loop_skips_slots_and_makes_up_for_none(blocked_ms: int) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            talking = asyncio.ensure_future(say(session.begin_turn(), 1, 6))
            await until_ns(loop, ms(1000))
            heard, shown = len(watching.sounds), len(watching.pictures)
            loop.advance(ms(blocked_ms))
            await until_ns(loop, loop.now_ns + ms(100))
            assert len(watching.sounds) - heard <= 7  # 100 ms and the slot that was due, but no burst
            assert len(watching.pictures) - shown <= 7
            await asyncio.sleep(1)
            assert_rising(watching.sounds)
            assert_rising(watching.pictures)
            steps = [(after.ticks - before.ticks) for before, after in pairwise(watching.sounds)]
            missed = max(0, blocked_ms // 20 - 1)
            assert sum(step // 960 - 1 for step in steps) in range(missed, missed + 3)
            assert all(step % 960 == 0 for step in steps)
            assert max(got.at_ns - got.stamp_ns for got in watching.sounds) < ms(20)  # what was missed is not sent
            # Output time is real time again, not late by what was missed.
            assert abs(watching.sounds[-1].at_ns - watching.sounds[-1].stamp_ns) <= ms(20)
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
            lips = [got for got in watching.pictures if got.name.turn == 1 and got.at_ns > loop.now_ns - ms(500)]
            assert lips and all(abs(got.stamp_ns - voice[2 * got.name.number].stamp_ns) < ms(1) for got in lips)
            await session.interrupt()
            await talking
            assert session.stats().pts_violations == 0

    run(story)


def test_a_loop_that_is_always_a_little_late_does_not_fall_behind() -> None:
    async def story(loop: StoryLoop) -> None:
        loop.late_ns = lambda: ms(1)
        async with AvSyncSession() as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 20)
            assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds))
            assert watching.sounds[-1].at_ns - watching.sounds[-1].stamp_ns <= ms(3)
            late = session.stats().lateness_p95_ms
            assert late is not None and 0.5 < late < 3

    run(story)


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 0.09])
def test_a_step_of_the_wall_clock_is_not_noticed(monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    wall = time.time

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            talking = asyncio.ensure_future(say(session.begin_turn(), 1, 2))
            await asyncio.sleep(1)
            before = {track: track.report_now() for track in (session.audio_track, session.video_track)}
            monkeypatch.setattr(time, "time", lambda: wall() + by_s)
            monkeypatch.setattr(time, "time_ns", lambda: round((wall() + by_s) * 1e9))
            await asyncio.sleep(2)
            for (track, (ntp, ticks)), rate in zip(before.items(), (48000, 90000), strict=True):
                later_ntp, later_ticks = track.report_now()
                assert later_ntp - ntp == pytest.approx(2 << 32, abs=10) and later_ticks - ticks == 2 * rate
            assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds))
            assert watching.said(1) == list(range(100))
            await talking

    run(story)


def test_both_reports_tell_the_same_clock() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 1)
            await asyncio.sleep(1.2345)
            ntp, ticks = session.audio_track.report_now()
            ntp_too, ticks_too = session.video_track.report_now()
            assert ntp == ntp_too and abs(ticks / 48000 - ticks_too / 90000) < 3e-5
            # and it is the clock of the stamps: what leaves now is stamped now
            last = watching.sounds[-1]
            assert abs(last.stamp_ns - round(ticks / 48000 * 1e9)) <= ms(21)

    run(story)


# ---- sources


def test_a_producer_that_dies_leaves_silence_and_the_next_turn_is_whole() -> None:
    async def dying(session: AvSyncSession) -> None:
        async with session.begin_turn() as turn:
            await say(turn, 1, 1, end=False)
            raise RuntimeError("the model has gone")

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            with pytest.raises(RuntimeError, match="model"):
                await dying(session)
            await asyncio.sleep(3)
            assert session.stats().output.alerts == ()  # the turn was ended, so its silence is no stall
            cancelled = asyncio.ensure_future(say(session.begin_turn(), 2, 60))
            await asyncio.sleep(1)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            await session.interrupt()
            await say(session.begin_turn(), 3, 1)
            await asyncio.sleep(2)
            assert watching.said(1) == list(range(50)) and watching.said(3) == list(range(50))

    run(story)


def opus(number: int) -> av.Packet:
    return av.Packet(b"\xf8" + bytes([number]) * 40)


def vp8(number: int, *, key: bool = False) -> av.Packet:
    """The lowest bit of a VP8 picture says whether it needs others."""
    return av.Packet(bytes([0x10 if key else 0x11]) + bytes([number]) * 60)


def test_coded_packets_pass_byte_for_byte_and_leave_together() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            async with session.begin_turn() as turn:
                for number in range(50):
                    assert await turn.write_video(vp8(number, key=number == 0))
                    assert await turn.write_audio(opus(2 * number))
                    assert await turn.write_audio(opus(2 * number + 1))
            await asyncio.sleep(4)
            heard = [got for got in watching.sounds if len(got.data) == 41]
            shown = watching.pictures
            assert [got.data for got in heard] == [bytes(opus(number)) for number in range(100)]
            assert [got.data for got in shown] == [bytes(vp8(number, key=number == 0)) for number in range(50)]
            for number in range(50):
                assert abs(shown[number].ticks / 90000 - heard[2 * number].ticks / 48000) < 1e-4
            # The silence after them follows in their own time, not in our encoder's, which is 6.5 ms earlier.
            at = watching.sounds.index(heard[0])
            assert all(after.ticks - before.ticks == 960 for before, after in pairwise(watching.sounds[at:]))
            assert {got.data for got in watching.sounds[at + 100 :]} == {OPUS_SILENCE}

    run(story)


def test_coded_pictures_are_never_repeated() -> None:
    """For pictures that need each other: decoded twice they would be something else."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            for number in range(10):
                await turn.write_video(vp8(number, key=number == 0))
            await turn.write_audio(slots(1, 0, 200))
            await asyncio.sleep(3)
            assert [got.data[1] for got in watching.pictures] == list(range(10))

    run(story)


def test_coded_pictures_are_not_thinned_out_behind_a_blocked_loop() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            turn = session.begin_turn()
            for number in range(50):
                await turn.write_video(vp8(number, key=number == 0))
                await turn.write_audio(slots(1, 2 * number, 2))
            await asyncio.sleep(0.5)
            loop.advance(ms(700))
            await asyncio.sleep(4)
            assert [got.data[1] for got in watching.pictures] == list(range(50))
            assert_rising(watching.pictures)

    run(story)


def test_coded_pictures_that_come_late_are_left_out_up_to_a_key_frame() -> None:
    asked: list[Request] = []

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(levers=("keyframe",), on_request=asked.append) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await turn.write_audio(slots(1, 0, 200))
            for number in range(100):
                if number == 12:
                    await asyncio.sleep(1.1)  # to 0.6 s behind the voice, and then all at once
                await turn.write_video(vp8(number, key=number % 15 == 0))
            await asyncio.sleep(4)
            shown = [got.data[1] for got in watching.pictures]
            assert shown[:12] == list(range(12)) and shown[-1] == 99 and 12 not in shown
            for before, number in pairwise(shown):
                assert number == before + 1 or number % 15 == 0, shown
            assert Want.KEYFRAME in {request.want for request in asked}

    run(story)


def test_coded_pictures_that_come_in_a_heap_all_leave() -> None:
    """More at once than raw ones may wait for the encoder: these wait for nothing, and need each other."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(video_rate=60) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            await turn.write_audio(slots(1, 0, 60))
            for number in range(60):
                if number == 12:
                    await asyncio.sleep(0.325)  # 100 ms later than these are due
                await turn.write_video(vp8(number, key=number == 0))
            await asyncio.sleep(2)
            assert [got.data[1] for got in watching.pictures] == list(range(60))
            assert len([got for got in watching.pictures if got.at_ns == watching.pictures[12].at_ns]) > 4

    run(story)


def test_after_an_interrupt_a_coded_turn_waits_for_its_sources_key_frame_and_asks_for_it() -> None:
    asked: list[Request] = []

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(on_request=asked.append) as session:
            watching = Watching(session)
            old = session.begin_turn()
            for number in range(25):
                await old.write_video(vp8(number, key=number == 0))
                await old.write_audio(slots(1, 2 * number, 2))
            await asyncio.sleep(0.5)
            asked_before = len(asked)
            await session.interrupt()  # asks for it at once
            called = loop.now_ns
            new = session.begin_turn()
            for number in range(100, 150):  # the encoder goes on as if nothing had happened, and hears late
                await new.write_video(vp8(number, key=number == 120))
                await new.write_audio(slots(2, 2 * (number - 100), 2))
            await asyncio.sleep(3)
            assert watching.said(2) == list(range(100))
            shown = [got.data[1] for got in watching.pictures if got.at_ns > called]
            assert shown == list(range(120, 150))
            requests = asked[asked_before:]
            assert {request.want for request in requests} == {Want.KEYFRAME} and 1 <= len(requests) <= 4

    run(story)


def test_an_idle_picture_between_coded_ones_can_be_decoded_and_so_can_what_follows() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            turn = session.begin_turn()
            for number in range(10):
                await turn.write_video(vp8(number, key=number == 0))
            await turn.write_audio(slots(1, 0, 200))
            await asyncio.sleep(2)
            assert watching.pictures[-1].name == IDLE
            for number in range(60, 90):
                await turn.write_video(vp8(number, key=number == 70), pts_ns=number * ms(40))
            await asyncio.sleep(3)
            ours = [got for got in watching.pictures if got.name == IDLE]
            assert ours[0].is_key and next(got for got in ours if got.at_ns > ms(500)).is_key
            assert [got.data[1] for got in watching.pictures if len(got.data) == 61] == [
                *range(10), *range(70, 90),
            ]  # fmt: skip

    run(story)


def test_the_viewers_key_frame_requests_reach_a_source_that_encodes_as_one_now_and_then() -> None:
    asked: list[Request] = []

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession(on_request=asked.append) as session:
            first = Watching(session)
            turn = session.begin_turn()
            for number in range(50):
                await turn.write_video(vp8(number, key=number == 0))
            await turn.write_audio(slots(1, 0, 100))
            await asyncio.sleep(0.2)
            assert first.pictures[0].data[0] == 0x10
            first.viewer.video_track.want_key_frame()  # sent before it had that key frame
            await asyncio.sleep(0.3)
            assert asked == []
            late = [Watching(session.viewer()), Watching(session.viewer())]
            await asyncio.sleep(0.25)
            assert [request.want for request in asked] == [Want.KEYFRAME]
            await asyncio.sleep(0.2)
            assert len(asked) == 2  # it did not come: once more
            assert late[0].pictures == late[1].pictures == []

    run(story)


def test_coded_pictures_go_only_to_those_who_agreed_on_their_codec(caplog: pytest.LogCaptureFixture) -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            one, other = Watching(session, mime=VP8), Watching(session.viewer(), mime=H264)
            turn = session.begin_turn()
            for number in range(20):
                unit = b"\0\0\0\1\x67ab\0\0\0\1\x65" if number == 0 else b"\0\0\1\x41"
                await turn.write_video(av.Packet(unit + bytes([1, number])))
            await turn.write_audio(slots(1, 0, 40))
            await asyncio.sleep(2)
            assert one.pictures == [] and len(other.pictures) == 20
            told = [record for record in caplog.records if "see none of them" in record.message]
            assert len(told) == 1 and "video/h264" in told[0].message  # once

    run(story)


def test_a_turn_may_change_from_coded_to_raw_and_back() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            async with session.begin_turn() as turn:
                for number in range(20):
                    coded = number // 5 % 2 == 0
                    await turn.write_video(vp8(number, key=number % 5 == 0) if coded else picture(1, number))
                    await turn.write_audio(opus(number) if coded else slots(1, number))
                    await turn.write_audio(opus(number) if coded else slots(1, number))
            await asyncio.sleep(2)
            assert_rising(watching.sounds)
            assert_rising(watching.pictures)
            assert session.stats().pts_violations == 0
            raw = [got for got in watching.pictures if got.name.turn == 1]
            assert [got.name.number for got in raw][:10] == [5, 6, 7, 8, 9, 15, 16, 17, 18, 19]
            assert raw[0].is_key and raw[5].is_key
            assert sorted({got.data[1] for got in watching.pictures if len(got.data) == 61}) == [
                0, 1, 2, 3, 4, 10, 11, 12, 13, 14,
            ]  # fmt: skip

    run(story)


def test_a_malformed_opus_packet_is_refused_and_the_turn_goes_on() -> None:
    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            turn = session.begin_turn()
            assert not await turn.write_audio(av.Packet(b"\x03\x00"))
            assert await turn.write_audio(opus(1))

    run(story)


def test_a_slow_encoder_loses_pictures_not_time() -> None:
    async def story(loop: StoryLoop) -> None:
        loop.takes = lambda name: ms(55) if name == "_encode" else 0  # 18 of 25 pictures a second
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            await say(session.begin_turn(), 1, 6)
            voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
            lips = [got for got in watching.pictures if got.name.turn == 1]
            assert len(lips) >= 60
            for got in lips:
                assert abs(got.stamp_ns - voice[2 * got.name.number].stamp_ns) < ms(0.05)
                assert got.at_ns - got.stamp_ns <= ms(55 * 4)
            assert session.stats().suppressed_pictures > 0 and session.stats().pts_violations == 0

    run(story)


@pytest.mark.slow
def test_an_hour_of_short_turns_has_no_memory() -> None:
    """As far as a test has time for: five minutes."""

    async def story(loop: StoryLoop) -> None:
        async with AvSyncSession() as session:
            watching = Watching(session)
            for number in range(60):
                turn = session.begin_turn()
                await turn.write_audio(slots(number % 30, 0, 250)[: 250 * 960 - 411])
                for frame in range(125):
                    await turn.write_video(picture(number % 30, frame))
                await turn.end()
            await asyncio.sleep(10)
            assert loop.now_ns < seconds(320)
            assert len(watching.sounds) * 20 <= loop.now_ns / 1e6 + 20
            assert session._engine.queued_units == 0 and session.stats().pts_violations == 0

    run(story)
