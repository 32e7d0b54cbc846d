"""A short call for driver tests: a producer that pushes, and sinks that push or pull."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

from avsync.adapters.asyncio_driver import AsyncioDriver
from avsync.engine.synchronizer import AvSynchronizer
from avsync.recording.recorder import Recorder
from avsync.types import AUDIO, VIDEO, Answer, InsertSilence, MediaUnit, Present
from avsync.units import NS_PER_S, ms
from tests.virtual_loop import VirtualLoop

SLOT = ms(20)
FRAME = ms(40)


class Told(NamedTuple):
    now_ns: int
    answer: Answer


class Sink:
    """Takes what ``on_answer`` gives and, where the sound is pulled, what ``pull`` returned."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.pulled: list[Told] = []

    def __call__(self, answer: Answer, now_ns: int) -> None:
        self.told.append(Told(now_ns, answer))

    def sound(self) -> list[Told]:
        return [told for told in self.told if is_sound(told.answer)]

    def pictures(self) -> list[Told]:
        return [told for told in self.told if type(told.answer) is Present and told.answer.unit.kind is VIDEO]

    def of(self, kind: type) -> list[Any]:
        return [told.answer for told in self.told if type(told.answer) is kind]


def is_sound(answer: Answer) -> bool:
    return type(answer) is InsertSilence or (type(answer) is Present and answer.unit.kind is AUDIO)


def ends_ns(answer: Any) -> int:
    lasts: int = answer.duration_ns if type(answer) is InsertSilence else answer.unit.duration_ns
    at: int = answer.at_ns
    return at + lasts


def assert_no_hole(answers: list[Answer]) -> None:
    """Output time never stops and never overlaps: each slot begins where the last one ended."""
    for before, after in zip(answers, answers[1:], strict=False):
        assert after.stamp_ns == after.at_ns == ends_ns(before)  # type: ignore[union-attr]


def content(slots: int, *, epoch: int = 0, start: int = 0) -> Iterator[MediaUnit]:
    """``slots`` x 20 ms of sound, a 25 fps picture with every second one. ``start``: the first slot's number."""
    for number in range(start, start + slots):
        yield MediaUnit(AUDIO, number, epoch, number * SLOT, SLOT, size_bytes=80, payload=b"never recorded")
        if number % 2 == 0:
            yield MediaUnit(VIDEO, number // 2, epoch, number * SLOT, FRAME, size_bytes=4000)


async def until(loop: VirtualLoop, at_ns: int) -> None:
    await asyncio.sleep(max(0, at_ns - loop.now_ns) / NS_PER_S)


async def speak(driver: AsyncioDriver, loop: VirtualLoop, slots: int, *, start: int = 0, epoch: int = 0) -> None:
    """Produce in real time: each unit when its content begins, counted from now."""
    begun_ns = loop.now_ns - start * SLOT
    for unit in content(slots, epoch=epoch, start=start):
        await until(loop, begun_ns + unit.pts_ns)
        driver.push(unit)


async def play(driver: AsyncioDriver, sink: Sink, pulls: int) -> None:
    """A sink that pulls: the next slot as soon as it has the last, as an audio track is read."""
    for _ in range(pulls):
        answer = await driver.pull()
        sink.pulled.append(Told(driver.now_ns(), answer))


async def call(loop: VirtualLoop, engine: AvSynchronizer | Recorder, sink: Sink, *, pull: bool) -> None:
    """Three turns: one with a stall of the pictures, one that is interrupted, one to its end; then goodbye."""
    async with AsyncioDriver(engine, on_answer=sink, pull_sound=pull) as driver:
        player = asyncio.ensure_future(play(driver, sink, 10_000)) if pull else None
        begun_ns = loop.now_ns
        for unit in content(150):
            await until(loop, begun_ns + unit.pts_ns)
            if not (unit.kind is VIDEO and ms(1000) <= unit.pts_ns < ms(1700)):
                driver.push(unit)
        for kind in (AUDIO, VIDEO):
            driver.finish(kind, 0)
        await asyncio.sleep(0.1)
        await speak(driver, loop, 60, start=150, epoch=1)
        driver.interrupt(2)
        driver.push(MediaUnit(AUDIO, 999, 1, 211 * SLOT, SLOT))  # a producer that goes on regardless
        driver.push(MediaUnit(AUDIO, 1000, 2, float("nan"), SLOT))  # type: ignore[arg-type]
        await speak(driver, loop, 60, start=220, epoch=2)
        if player is not None:
            player.cancel()
            await asyncio.gather(player, return_exceptions=True)
