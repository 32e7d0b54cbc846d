"""Sinks that pull, one slot per call (an aiortc audio track): early, late, cancelled, interrupted, closed."""

from __future__ import annotations

import asyncio
import random

import pytest

from avsync.adapters.asyncio_driver import AsyncioDriver, DriverClosed
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.recording.recorder import Recorder
from avsync.types import (
    AUDIO,
    VIDEO,
    Answer,
    Degrade,
    Drop,
    DropReason,
    InsertSilence,
    MediaUnit,
    Present,
    Reason,
)
from avsync.units import ms, seconds
from tests.adapters.driver_story import SLOT, Sink, assert_no_hole, content, play, speak, until
from tests.virtual_loop import VirtualLoop, run


def test_each_pull_is_one_slot_and_the_pictures_come_beside_it() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            await asyncio.gather(speak(driver, loop, 100), play(driver, sink, 130))

    run(story)
    assert sink.sound() == []
    assert_no_hole([told.answer for told in sink.pulled])
    assert [told.now_ns for told in sink.pulled] == [number * SLOT for number in range(130)]
    assert [told.answer.unit.seq for told in sink.pulled if type(told.answer) is Present] == list(range(100))
    assert len(sink.pictures()) == 50
    voice = {told.answer.unit.pts_ns: told.now_ns for told in sink.pulled if type(told.answer) is Present}
    for told in sink.pictures():
        assert told.now_ns == voice[told.answer.unit.pts_ns]  # type: ignore[union-attr]


def test_pictures_between_two_slots_do_not_wait_for_a_pull() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for number in range(100):
                driver.push(MediaUnit(AUDIO, number, 0, number * SLOT, SLOT))
            for number in range(50):
                driver.push(MediaUnit(VIDEO, number, 0, number * ms(40) + ms(7), ms(40)))
            for _ in range(110):
                sink.pulled.append((driver.now_ns(), await driver.pull()))  # type: ignore[arg-type]
                await asyncio.sleep(0.015)  # busy with it until shortly before the next slot

    run(story)
    assert {told.now_ns % SLOT for told in sink.pictures()} == {ms(7)}
    assert len(sink.pictures()) == 50


@pytest.mark.parametrize("late_ms", [1, 10, 19])
def test_a_pull_that_is_late_by_less_than_a_slot_skips_nothing(late_ms: int) -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for unit in content(100):
                driver.push(unit)
            for number in range(110):
                await until(loop, number * SLOT + ms(late_ms if number % 3 == 0 else 0) + ms(100))
                await play(driver, sink, 1)

    run(story)
    assert_no_hole([told.answer for told in sink.pulled])
    assert len([told for told in sink.pulled if type(told.answer) is Present]) == 100
    assert sink.sound() == []


def test_short_units_each_get_a_pull_of_their_own_however_late() -> None:
    """Two units of 10 ms have begun when a late pull comes: it takes one, and the next pull the other."""
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for number in range(100):
                driver.push(MediaUnit(AUDIO, number, 0, number * ms(10), ms(10)))
            await play(driver, sink, 1)
            for number in range(80):
                await until(loop, seconds(1) + number * SLOT + ms(15))
                await play(driver, sink, 2)

    run(story)
    heard = [told.answer.unit.seq for told in sink.pulled if type(told.answer) is Present]
    assert heard == list(range(100))


@pytest.mark.parametrize("late_ms", [21, 59, 60, 250, 5000])
def test_a_pull_that_missed_whole_slots_gets_the_one_under_way(late_ms: int) -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for unit in content(100):
                driver.push(unit)
            await play(driver, sink, 20)
            await until(loop, 20 * SLOT + ms(late_ms))  # slot 20 began at 400 ms
            await play(driver, sink, 100)

    run(story)
    (missed,) = sink.sound()
    assert type(missed.answer) is InsertSilence
    assert missed.answer.duration_ns == late_ms // 20 * SLOT
    late = sink.pulled[20]
    assert late.now_ns - late.answer.stamp_ns < SLOT  # type: ignore[union-attr]
    assert_no_hole([*(told.answer for told in sink.pulled[:20]), missed.answer, *(t.answer for t in sink.pulled[20:])])
    heard = [told.answer.unit.seq for told in sink.pulled if type(told.answer) is Present]
    assert heard == list(range(len(heard))), "inserted silence stops the content: nothing of it is lost"


def test_nothing_leaves_while_nobody_pulls() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for unit in content(20):
                driver.push(unit)
            await asyncio.sleep(10)
            assert sink.told == [] and loop.timers(driver) == []
            await play(driver, sink, 5)
            shown = len(sink.pictures())
            await asyncio.sleep(10)
            assert len(sink.pictures()) <= shown + 1 and loop.timers(driver) == []

    run(story)


def test_a_cancelled_pull_has_taken_nothing() -> None:
    sink = Sink()
    chance = random.Random(5)

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for unit in content(200):
                driver.push(unit)
            while len(sink.pulled) < 220:
                pulling = asyncio.ensure_future(play(driver, sink, 1))
                # Cancelled while it waits, in the very turn of the loop that wakes it, or not at all.
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.choice([0, 0.005, 0.02]))
                    pulling.cancel()
                await asyncio.gather(pulling, return_exceptions=True)

    run(story)
    assert_no_hole([told.answer for told in sink.pulled])
    heard = [told.answer.unit.seq for told in sink.pulled if type(told.answer) is Present]
    assert heard == list(range(200))


def test_a_pull_cancelled_when_a_picture_is_due_does_not_hold_the_picture_up() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for number in range(10):
                driver.push(MediaUnit(AUDIO, number, 0, number * SLOT, SLOT))
                driver.push(MediaUnit(VIDEO, number, 0, number * SLOT + ms(7), SLOT))
            await play(driver, sink, 6)
            pulling = asyncio.ensure_future(driver.pull())
            await asyncio.sleep(0)
            shown = len(sink.pictures())
            loop.call_at(loop.time() + 0.007, pulling.cancel)
            await asyncio.gather(pulling, return_exceptions=True)
            assert pulling.cancelled()
            assert len(sink.pictures()) == shown + 1

    run(story)


def test_close_releases_a_waiting_pull_and_its_timer() -> None:
    sink = Sink()
    lines: list[str] = []

    async def story(loop: VirtualLoop) -> None:
        driver = AsyncioDriver(Recorder(AvSynchronizer(), lines.append), on_answer=sink, pull_sound=True)
        for unit in content(10):
            driver.push(unit)
        pulling = asyncio.ensure_future(play(driver, sink, 100))
        await asyncio.sleep(0.05)
        assert len(loop.timers(driver)) == 1
        driver.close()
        driver.close()
        assert loop.timers(driver) == []
        with pytest.raises(DriverClosed):
            await pulling
        with pytest.raises(DriverClosed):
            await driver.pull()
        driver.push(MediaUnit(AUDIO, 99, 0, seconds(1), SLOT))  # a producer that has not heard of it

    run(story)
    played = [told.answer.unit for told in sink.pulled if type(told.answer) is Present]
    played += [told.answer.unit for told in sink.pictures()]  # type: ignore[union-attr]
    drops = sink.of(Drop)
    assert {drop.reason for drop in drops} == {DropReason.CLOSED}
    assert len(drops) + len(played) == 16
    assert len([line for line in lines if '"close"' in line]) == 1


def test_one_pull_at_a_time_and_only_where_it_was_agreed() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=Sink()) as pushing:
            with pytest.raises(UsageError, match="pull_sound"):
                await pushing.pull()
        async with AsyncioDriver(AvSynchronizer(), on_answer=Sink(), pull_sound=True) as driver:
            await driver.pull()
            first = asyncio.ensure_future(driver.pull())
            await asyncio.sleep(0)
            with pytest.raises(UsageError, match="one pull at a time"):
                await driver.pull()
            await first

    run(story)


def test_an_interrupt_silences_the_next_pull_and_nothing_old_follows() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=True) as driver:
            for unit in content(100):
                driver.push(unit)
            player = asyncio.ensure_future(play(driver, sink, 60))
            await until(loop, ms(507))
            driver.interrupt(1)
            assert type(sink.told[-1].answer) is Degrade, "the neutral picture does not wait for a slot"
            await player

    run(story)
    after = [told.answer for told in sink.pulled if told.now_ns > ms(507)]
    assert after and all(type(answer) is InsertSilence for answer in after)


def test_an_interrupt_out_of_a_pictures_answer_takes_back_the_slots_sound() -> None:
    """The picture of the same moment is told before ``pull`` returns: the old voice must not leave after it."""
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        def on_answer(answer: Answer, now_ns: int) -> None:
            sink(answer, now_ns)
            if type(answer) is Present and answer.unit.seq == 10:
                driver.interrupt(1)

        async with AsyncioDriver(AvSynchronizer(), on_answer=on_answer, pull_sound=True) as driver:
            for unit in content(100):
                driver.push(unit)
            await play(driver, sink, 60)

    run(story)
    heard = [told.answer for told in sink.pulled if type(told.answer) is Present]
    assert [answer.unit.seq for answer in heard] == list(range(20))
    assert_no_hole([told.answer for told in sink.pulled])
    (instead,) = (told.answer for told in sink.pulled if told.answer.reason is Reason.INTERRUPTED)  # type: ignore[union-attr]
    assert instead.epoch == 1
    assert len([drop for drop in sink.of(Drop) if drop.unit.kind is AUDIO and drop.unit.seq == 20]) == 1


@pytest.mark.parametrize("network", [False, True])
def test_the_drivers_idea_of_the_next_slot_is_the_engines(network: bool) -> None:
    """Units of 10 and 60 ms, pauses and a stretched voice: no slot comes before it is pulled, none too late."""
    sink = Sink()
    slots: list[int] = []

    async def story(loop: VirtualLoop) -> None:
        engine = AvSynchronizer(AvSyncPolicy(), network=network)
        async with AsyncioDriver(engine, on_answer=sink, pull_sound=True) as driver:
            pts = 0
            for number in range(400):
                duration = ms((10, 20, 60)[number % 3])
                pause = number % 50 == 49
                driver.push(MediaUnit(AUDIO, number, 0, pts, duration, pause=pause))
                pts += duration + (ms(100) if pause else 0)
                if number > 20:
                    answer = await driver.pull()
                    sink.pulled.append((driver.now_ns(), answer))  # type: ignore[arg-type]
                    assert driver._slot_ns is not None
                    slots.append(engine._engine._voice.slot_ns - driver._slot_ns)  # type: ignore[operator]

    run(story)
    assert len(slots) > 300 and set(slots) == {0}
    if network:
        assert any(type(answer) is Present and answer.stretch_ppm for _, answer in sink.pulled), "the case it is about"
