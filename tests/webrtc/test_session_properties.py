"""Arbitrary histories of a session: whatever happens in whatever order, stamps rise and nothing stale leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.units import ms
from avsync.webrtc import AvSyncSession, Turn
from tests.webrtc.session_story import (
    NamingPictureEncoder,
    NamingSoundEncoder,
    StoryLoop,
    Watching,
    assert_rising,
    idle_picture,
    picture,
    run,
    slots,
)

MAX_TURNS = 28

whats = st.one_of(
    st.tuples(st.just("speak"), st.integers(1, 40)),
    st.tuples(st.just("speak"), st.integers(1, 40)),
    st.tuples(st.just("begin"), st.none()),
    st.tuples(st.just("sound"), st.integers(1, 60)),
    st.tuples(st.just("pictures"), st.integers(1, 30)),
    st.tuples(st.just("old"), st.integers(1, 20)),
    st.tuples(st.just("end"), st.none()),
    st.tuples(st.just("interrupt"), st.booleans()),
    st.tuples(st.just("join"), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 3)),
    st.tuples(st.just("block"), st.integers(1, 1500)),
    st.tuples(st.just("key"), st.none()),
)
steps = st.tuples(whats, st.sampled_from([0, 0, 1, 20, 133, 400, 1000]))
Step = tuple[tuple[str, Any], int]


class History:
    """Performs steps on one session; producers run beside each other, as they do."""

    def __init__(self, loop: StoryLoop, session: AvSyncSession) -> None:
        self.loop, self.session = loop, session
        self.watching: list[Watching] = []
        self.interrupted: list[tuple[int, int]] = []  # (when interrupt returned, the oldest epoch that may leave)
        self.turns: list[Turn] = []
        self.counts: dict[tuple[int, str], int] = {}
        self.tasks: list[asyncio.Task[Any]] = []

    async def step(self, what: str, how: Any) -> None:
        session = self.session
        match what:
            case "speak":
                self.spawn(self.write(self.turns[-1], "sound", 2 * how))
                self.spawn(self.write(self.turns[-1], "pictures", how))
            case "sound" | "pictures":
                self.spawn(self.write(self.turns[-1], what, how))
            case "old":
                if len(self.turns) > 1:
                    self.spawn(self.write(self.turns[-2], "sound", how))
                    self.spawn(self.write(self.turns[0], "pictures", how))
            case "begin":
                if len(self.turns) < MAX_TURNS and session.clock.epoch < MAX_TURNS:
                    self.turns.append(session.begin_turn())
            case "end":
                self.spawn(self.turns[-1].end())
            case "interrupt":
                if session.clock.epoch < MAX_TURNS:
                    pending = session.interrupt()
                    self.interrupted.append((self.loop.now_ns, session.clock.epoch))
                    if how:
                        await pending
            case "join":
                self.watching.append(Watching(session.viewer()))
            case "leave":
                if self.watching:
                    await self.watching[how % len(self.watching)].vanish()
            case "block":
                self.loop.advance(ms(how))
            case "key":
                for each in self.watching:
                    each.viewer.video_track.want_key_frame()

    def spawn(self, doing: Any) -> None:
        self.tasks.append(asyncio.ensure_future(doing))

    async def write(self, turn: Turn, what: str, count: int) -> None:
        for _ in range(count):
            number = self.counts.get((turn.epoch, what), 0)
            self.counts[turn.epoch, what] = number + 1
            if what == "sound":
                await turn.write_audio(slots(turn.epoch + 1, number % 900))
            else:
                await turn.write_video(picture(turn.epoch + 1, number % 900))

    def check(self) -> None:
        for each in self.watching:
            assert_rising(each.sounds)
            assert_rising(each.pictures)
            for at_ns, oldest in self.interrupted:
                for got in each.sounds + each.pictures:
                    named = got.name.number >= 0 and got.name.turn <= MAX_TURNS + 1
                    assert not (named and got.at_ns > at_ns and got.name.turn - 1 < oldest), (got, at_ns, oldest)
            if each.pictures:
                assert each.pictures[0].is_key
            heard = [got.name for got in each.sounds if got.name.number >= 0]
            assert len(set(heard)) == len(heard)  # nothing is said twice
        assert self.session.stats().pts_violations == 0
        assert self.session.buffered <= 2.2 + 0.02 * len(self.tasks)


def perform(history: list[Step], converting_ms: int, encoding_ms: int, late_ms: int) -> int:
    """How many packets of content the viewers got."""

    async def story(loop: StoryLoop) -> int:
        loop.takes = lambda name: ms(encoding_ms if name == "_encode" else converting_ms)
        loop.late_ns = lambda: ms(late_ms)
        async with AvSyncSession(audio_queue_s=2, video_queue_s=1, idle=idle_picture()) as session:
            told = History(loop, session)
            for (what, how), wait_ms in [(("begin", None), 0), (("join", None), 0), *history]:
                await told.step(what, how)
                await asyncio.sleep(wait_ms / 1000)
            told.check()
        results = await asyncio.gather(*told.tasks, return_exceptions=True)
        assert not [each for each in results if isinstance(each, BaseException)]
        for each in told.watching:
            await asyncio.gather(*each.tasks, return_exceptions=True)
        assert session.viewers == ()
        return sum(got.name.number >= 0 for each in told.watching for got in each.sounds + each.pictures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("avsync.webrtc.sound_out.SoundEncoder", NamingSoundEncoder)
        patch.setattr("avsync.webrtc.picture_out.PictureEncoder", NamingPictureEncoder)
        return run(story)


@settings(max_examples=80)
@given(
    st.lists(steps, min_size=8, max_size=40),
    st.sampled_from([0, 5, 45]),
    st.sampled_from([0, 12, 70]),
    st.integers(0, 3),
)
def test_stamps_rise_nothing_stale_leaves_nothing_waits_for_ever(
    history: list[Step], converting_ms: int, encoding_ms: int, late_ms: int
) -> None:
    perform(history, converting_ms, encoding_ms, late_ms)


def test_a_busy_history_is_not_empty() -> None:
    """What the histories above are made of does make packets."""
    speak, begin, interrupt = ("speak", 40), ("begin", None), ("interrupt", True)
    history = [
        (speak, 1000),
        (begin, 0),
        (speak, 400),
        (("join", None), 1000),
        (interrupt, 0),
        (begin, 0),
        (speak, 2000),
    ]
    assert perform(history, 5, 12, 1) > 200
