"""A viewer whose pictures are held: its voice leads, its stamps stay true, and an interrupt holds there too."""

from __future__ import annotations

import asyncio

import pytest

from avsync.units import ms
from avsync.webrtc import AvSyncSession
from tests.webrtc.session_story import StoryLoop, Watching, idle_picture, naming, run, say

pytestmark = pytest.mark.usefixtures("naming")
__all__ = ["naming"]
LEAD = ms(480)


def test_held_pictures_leave_later_under_the_stamps_of_their_sound() -> None:
    async def story(_loop: StoryLoop) -> Watching:
        async with AvSyncSession() as session:
            session.viewers[0].hold_pictures(LEAD)
            watching = Watching(session)
            await say(session.begin_turn(), 1, 2)
            await asyncio.sleep(4)
        return watching

    watching = run(story)
    voice = {got.name.number: got for got in watching.sounds if got.name.turn == 1}
    lips = {got.name.number: got for got in reversed(watching.pictures) if got.name.turn == 1}
    for number in range(2, 50):
        assert abs(lips[number].stamp_ns - voice[2 * number].stamp_ns) < ms(0.05)
        assert abs(lips[number].at_ns - voice[2 * number].at_ns - LEAD) < ms(2)


def test_pictures_that_are_held_when_an_interrupt_comes_never_leave() -> None:
    async def story(loop: StoryLoop) -> tuple[Watching, int]:
        async with AvSyncSession(idle=idle_picture()) as session:
            session.viewers[0].hold_pictures(LEAD)
            watching = Watching(session)
            await say(session.begin_turn(), 1, 2, end=False)
            await asyncio.sleep(1)
            await session.interrupt()
            at_ns = loop.now_ns
            await asyncio.sleep(2)
        return watching, at_ns

    watching, at_ns = run(story)
    assert any(got.name.turn == 1 for got in watching.pictures)
    assert not [got for got in watching.pictures if got.name.turn == 1 and got.at_ns > at_ns]
