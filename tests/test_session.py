"""A session's stories: lips and voice leave together, turns queue, viewers come and go."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from avsync.units import ms
from avsync.webrtc import AvSyncSession
from tests.session_story import StoryLoop, Watching, assert_rising, naming, run, say

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
