"""The asyncio driver in virtual time: one timer, slots that neither drift nor burst, sinks that push or pull."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import cycle, pairwise
from typing import Any

import pytest

from avsync.adapters.asyncio_driver import AsyncioDriver
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import AvSyncError, UsageError
from avsync.types import (
    AUDIO,
    VIDEO,
    Answer,
    Drop,
    InsertSilence,
    MediaUnit,
    Present,
)
from avsync.units import ms, seconds
from tests.adapters.driver_story import SLOT, Sink, assert_no_hole, call, content, ends_ns, is_sound, play, speak, until
from tests.virtual_loop import VirtualLoop, run


def jitter(seed: int, up_to_ns: int) -> Callable[[], int]:
    chance = random.Random(seed)
    return lambda: chance.randrange(up_to_ns)


# ---- a sink that pushes


def test_a_turn_reaches_a_pushing_sink_in_time_and_whole() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink) as driver:
            await speak(driver, loop, 100)
            await asyncio.sleep(1)

    run(story)
    assert_no_hole([told.answer for told in sink.sound()])
    shown = [told.answer.unit.seq for told in sink.pictures()]  # type: ignore[union-attr]
    assert shown == list(range(50))
    voice = {told.answer.unit.pts_ns: told.now_ns for told in sink.sound() if type(told.answer) is Present}
    assert len(voice) == 100
    for told in sink.pictures():
        assert told.now_ns == voice[told.answer.unit.pts_ns]  # type: ignore[union-attr]


def test_there_is_one_timer_and_none_after_close() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=Sink()) as driver:
            for unit in content(100):
                driver.push(unit)
                assert len(loop.timers(driver)) == 1
            for number in range(100, 150):
                await until(loop, number * ms(13) - seconds(1))
                # The voice is 40 ms behind the push: this is due in 3 ms, before the slot that is waited for.
                driver.push(MediaUnit(VIDEO, number, 0, loop.now_ns - ms(37), ms(1)))
                assert len(loop.timers(driver)) == 1
        assert loop.timers(driver) == []

    run(story)


def test_timers_are_not_set_anew_for_every_push() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=Sink()) as driver:
            before = len(loop.handles)
            for unit in content(500):
                driver.push(unit)
            assert len(loop.handles) - before <= 1

    run(story)


def test_wall_clock_steps_are_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(step: bool) -> str:
        sink = Sink()
        if step:
            walls = cycle([3600.0, -3600.0, 0.09, -0.09])
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + next(walls))
            monkeypatch.setattr(time, "time_ns", lambda: round((real() + next(walls)) * 1e9))
        run(lambda loop: call(loop, AvSynchronizer(), sink, pull=False))
        return repr(sink.told)  # text: a broken stamp among them is NaN

    assert answers(step=False) == answers(step=True)


def test_a_clock_that_goes_backwards_is_refused_and_no_answer_is_lost() -> None:
    now = [seconds(5)]
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        driver = AsyncioDriver(AvSynchronizer(), on_answer=sink, clock=lambda: now[0])
        first, second, *_ = content(4)
        driver.push(first)
        now[0] -= ms(90)
        with pytest.raises(UsageError, match="backwards"):
            driver.push(second)
        now[0] += ms(90)
        driver.push(second)
        driver.close()

    run(story)
    assert {drop.unit.kind for drop in sink.of(Drop)} == {AUDIO, VIDEO}


@pytest.mark.parametrize("stall_ms", [50, 250, 1000, 5000])
@pytest.mark.parametrize("at_ms", [1000, 1013])
def test_a_loop_stall_skips_the_missed_slots_without_a_burst(stall_ms: int, at_ms: int) -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink) as driver:
            loop.call_at(at_ms / 1000, loop.advance, ms(stall_ms))
            await speak(driver, loop, 500)

    run(story)
    sound = sink.sound()
    assert_no_hole([told.answer for told in sound])
    woke_ns = ms(at_ms + stall_ms)
    after = [told for told in sound if told.now_ns >= woke_ns]
    missed = [told.answer for told in after if ends_ns(told.answer) <= told.now_ns]
    assert len(missed) == 1, "the missed slots are one silence"
    assert type(missed[0]) is InsertSilence and missed[0].duration_ns > ms(stall_ms) - 2 * SLOT
    # From then on one slot at a time: nothing plays before its slot has begun.
    assert all(told.now_ns >= told.answer.at_ns for told in after)
    rest = [told.now_ns for told in after if told.answer is not missed[0]]
    assert rest[1] - rest[0] <= SLOT and all(later - earlier == SLOT for earlier, later in pairwise(rest[1:]))


@pytest.mark.parametrize("pull", [False, True])
def test_a_millisecond_of_callback_lateness_does_not_add_up(pull: bool) -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink, pull_sound=pull) as driver:
            if pull:
                await play(driver, sink, 3001)
            else:
                await until(loop, seconds(60) + ms(5))

    run(story, late_ns=lambda: ms(1))
    sound = sink.pulled if pull else sink.sound()
    assert len(sound) == 3001  # 60 s and the slot that has just begun: not 2.86 s fewer
    assert [told.answer.stamp_ns for told in sound] == [number * SLOT for number in range(3001)]  # type: ignore[union-attr]
    assert max(told.now_ns - told.answer.stamp_ns for told in sound) == ms(1)  # type: ignore[union-attr]


def test_what_on_answer_takes_does_not_make_the_next_slot_late() -> None:
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        def slow(answer: Answer, now_ns: int) -> None:
            sink(answer, now_ns)
            loop.advance(ms(6))

        async with AsyncioDriver(AvSynchronizer(), on_answer=slow) as driver:
            await until(loop, seconds(2))
            assert driver.now_ns() >= seconds(2)

    run(story)
    assert all(told.now_ns == told.answer.stamp_ns for told in sink.sound())  # type: ignore[union-attr]


def test_the_loops_float_seconds_do_not_make_a_timer_spin() -> None:
    """400 days of uptime: a nanosecond is below what the loop's time can say."""
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        loop.now_ns = 86_400 * 400 * seconds(1) + 7
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink) as driver:
            await speak(driver, loop, 100)
        assert len(loop.handles) < 1000

    run(story)
    assert_no_hole([told.answer for told in sink.sound()])


def test_a_timer_that_fires_a_trifle_early_does_not_spin() -> None:
    """asyncio lets a timer go when its clock's resolution says that it is about time."""
    sink = Sink()

    async def story(loop: VirtualLoop) -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink) as driver:
            await speak(driver, loop, 100)
        assert len(loop.handles) < 600

    run(story, late_ns=lambda: -50)
    assert_no_hole([told.answer for told in sink.sound()])


# ---- what on_answer may do


def test_on_answer_may_call_the_driver() -> None:
    """A request is obeyed on the spot; a picture on screen makes the viewer barge in."""
    told: list[Answer] = []
    inside = False

    async def story(loop: VirtualLoop) -> None:
        def on_answer(answer: Answer, now_ns: int) -> None:
            nonlocal inside
            assert not inside, "told of the next thing before it is done with this one"
            told.append(answer)
            inside = True
            if type(answer) is Present and answer.unit.seq == 10 and answer.unit.kind is AUDIO:
                driver.interrupt(1)
                for unit in content(10, epoch=1, start=500):
                    driver.push(unit)
            inside = False

        async with AsyncioDriver(AvSynchronizer(), on_answer=on_answer) as driver:
            for unit in content(100):
                driver.push(unit)
            await asyncio.sleep(2)

    run(story)
    at = next(i for i, answer in enumerate(told) if type(answer) is Present and answer.unit.seq == 10)
    after = [answer for answer in told[at + 1 :] if type(answer) is Present]
    assert {answer.epoch for answer in after} == {1}
    assert len([answer for answer in after if answer.unit.kind is AUDIO]) == 10


def test_on_answer_may_close() -> None:
    told: list[Answer] = []

    async def story(loop: VirtualLoop) -> None:
        def on_answer(answer: Answer, now_ns: int) -> None:
            told.append(answer)
            if type(answer) is Present:
                driver.close()

        driver = AsyncioDriver(AvSynchronizer(), on_answer=on_answer)
        for unit in content(10):
            driver.push(unit)
        await asyncio.sleep(1)
        assert loop.timers(driver) == []

    run(story)
    assert len([answer for answer in told if type(answer) is Present]) == 1
    assert len([answer for answer in told if type(answer) is Drop]) == 14


def test_an_exception_in_on_answer_surfaces_from_the_call_it_happened_in() -> None:
    async def story(loop: VirtualLoop) -> None:
        def on_answer(answer: Answer, now_ns: int) -> None:
            raise ZeroDivisionError("the sink is broken")

        driver = AsyncioDriver(AvSynchronizer(), on_answer=on_answer)
        unit = next(content(1))
        with pytest.raises(ZeroDivisionError):
            driver.push(unit)
        with pytest.raises(AvSyncError, match="the sink is broken"):
            driver.push(unit)
        driver.close()
        assert loop.timers(driver) == []

    run(story)


def test_an_exception_in_a_timer_surfaces_at_once_and_at_the_end() -> None:
    async def story(loop: VirtualLoop) -> None:
        sink = Sink()

        def on_answer(answer: Answer, now_ns: int) -> None:
            sink(answer, now_ns)
            if len(sink.told) == 3:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            async with AsyncioDriver(AvSynchronizer(), on_answer=on_answer) as driver:
                await asyncio.sleep(1)
                assert len(sink.told) == 3, "a driver that failed goes on"
                assert [type(error["exception"]) for error in loop.errors] == [ZeroDivisionError]
                assert loop.timers(driver) == []
                loop.errors.clear()

    run(story)


def test_an_exception_in_a_timer_reaches_who_pulls() -> None:
    async def story(loop: VirtualLoop) -> None:
        def on_answer(answer: Answer, now_ns: int) -> None:
            raise ZeroDivisionError

        async with AsyncioDriver(AvSynchronizer(), on_answer=on_answer, pull_sound=True) as driver:
            driver.push(MediaUnit(VIDEO, 0, 0, ms(7), ms(40)))  # between two slots: a timer's
            driver.push(MediaUnit(AUDIO, 0, 0, 0, SLOT))
            with pytest.raises(ZeroDivisionError):
                await play(driver, Sink(), 100)

    run(story)


def test_a_coroutine_function_as_on_answer_is_refused() -> None:
    async def story(loop: VirtualLoop) -> None:
        async def on_answer(answer: Answer, now_ns: int) -> None: ...

        with pytest.raises(UsageError, match="not awaited"):
            AsyncioDriver(AvSynchronizer(), on_answer=on_answer)

    run(story)


# ---- the whole


@pytest.mark.parametrize("pull", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_whole_call_on_a_jittery_loop_ends_every_unit_once(pull: bool, seed: int) -> None:
    sink = Sink()
    run(lambda loop: call(loop, AvSynchronizer(), sink, pull=pull), late_ns=jitter(seed, ms(15)))
    ended: dict[tuple[Any, int], int] = {}
    for told in [*sink.told, *sink.pulled]:
        if type(told.answer) in (Present, Drop):
            key = (told.answer.unit.kind, told.answer.unit.seq)  # type: ignore[union-attr]
            ended[key] = ended.get(key, 0) + 1
    assert set(ended.values()) == {1}
    assert sum(kind is AUDIO for kind, _ in ended) == 150 + 60 + 2 + 60
    sound = sorted(
        (told.answer for told in [*sink.told, *sink.pulled] if is_sound(told.answer)),
        key=lambda answer: answer.at_ns,
    )
    assert_no_hole(sound)


def test_the_loops_own_clock_is_the_default() -> None:
    """On a real loop, without waiting: the first slot comes at once, stamped with monotonic time."""
    sink = Sink()

    async def story() -> None:
        async with AsyncioDriver(AvSynchronizer(), on_answer=sink) as driver:
            assert abs(driver.now_ns() - time.monotonic_ns()) < seconds(60)

    asyncio.run(story())
    assert type(sink.told[0].answer) is InsertSilence
