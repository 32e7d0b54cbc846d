"""The closed loop of a session: what a page reports is believed in stats(), taken up by the trim, and bounded."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from avsync.units import ms, to_ms
from avsync.webrtc import AvSyncSession
from avsync.webrtc.viewers.observer import PathConstants
from tests.webrtc.session_story import StoryLoop, Watching, idle_picture, naming, picture, run, slots

pytestmark = pytest.mark.usefixtures("naming")
__all__ = ["naming"]
ORIGINS = (5_000, 4_294_900_000)
LEAD = ms(60)


class Page:
    """Hears what left 60 ms later and sees it 120 ms later: the voice is 60 ms ahead of the lips by the page's word."""

    def __init__(self, session: AvSyncSession, watching: Watching, loop: StoryLoop) -> None:
        self.viewer, self._watching, self._loop = session.viewers[0], watching, loop
        self._number = self._sounds = self._frames = 0
        # What aiortc's senders would be: whoever knows the RTP time of output time 0.
        tracks = (self.viewer.audio_track, self.viewer.video_track)
        for track, origin in zip(tracks, ORIGINS, strict=True):
            setattr(track, "wire", SimpleNamespace(origin=origin, close=lambda: None, sent=_Set()))  # noqa: B010

    def report(self, *, late_ms: float = 0, asked_ms: float | None = 0) -> bool:
        """``late_ms``: by how much one picture in eight is late, and with it those behind it."""
        sounds = [[(ORIGINS[0] + got.ticks) % 2**32, to_ms(got.at_ns + LEAD)] for got in self._watching.sounds]
        frames = [[(ORIGINS[1] + got.ticks) % 2**32, to_ms(got.at_ns + 2 * LEAD)] for got in self._watching.pictures]
        for number in range(len(frames)):
            behind = min(number % 8, 7)
            frames[number][1] += max(0.0, late_ms - 40 * behind) if number >= 8 else 0.0
        now_ms = to_ms(self._loop.now_ns)
        heard, seen = ([each for each in every if each[1] <= now_ms] for every in (sounds, frames))
        self._number += 1
        message: dict[str, Any] = {
            "v": 1, "n": self._number, "now": now_ms, "hidden": False, "frames": seen[self._frames :][-100:],
            "sounds": heard[self._sounds :][-100:], "latency": None, "audio": None, "video": {"decoded": 25},
            "asked": asked_ms, "told": [asked_ms, asked_ms],
        }  # fmt: skip
        self._sounds, self._frames = len(heard), len(seen)
        return self.viewer.on_report(json.dumps(message))


class _Set(asyncio.Event):
    def __init__(self) -> None:
        super().__init__()
        self.set()


async def talk(session: AvSyncSession, seconds: int) -> None:
    turn = session.begin_turn()
    for frame in range(25 * seconds):
        if not (await turn.write_video(picture(1, frame)) and await turn.write_audio(slots(1, 2 * frame, 2))):
            return


def test_a_constant_error_at_the_viewer_is_seen_in_stats_and_slowly_taken_up() -> None:
    async def story(loop: StoryLoop) -> list[tuple[float, float | None]]:
        async with AvSyncSession(idle=idle_picture()) as session:
            watching = Watching(session)
            page = Page(session, watching, loop)
            talking = asyncio.ensure_future(talk(session, 70))
            seen = []
            for _ in range(65):
                await asyncio.sleep(1)
                assert page.report()
                stats = session.stats().as_dict()
                offset = stats["viewers"][0]["offset"]
                seen.append((stats["trim_ms"], offset and offset["offset_ms"]))
            talking.cancel()
        return seen

    seen = run(story)
    assert seen[0][1] is None  # UNKNOWN, not 0
    offset = seen[15][1]
    # Less what a page cannot know: its sound is later than it says by more than its screen, and Opus' 6.5 ms.
    path = PathConstants()
    assert offset == pytest.approx(60 - to_ms(path.sound_ns - path.screen_ns) - 6.5, abs=5)
    trims = [trim for trim, _ in seen]
    assert trims[20] == 0  # a viewer's first 20 s say nothing
    assert trims[-1] > 20
    assert max(after - before for before, after in zip(trims, trims[1:], strict=False)) <= 2.1


def test_without_reports_nothing_is_known_of_the_viewer_and_nothing_is_moved() -> None:
    async def story(loop: StoryLoop) -> dict[str, Any]:
        async with AvSyncSession(idle=idle_picture()) as session:
            page = Page(session, Watching(session), loop)
            talking = asyncio.ensure_future(talk(session, 50))
            await asyncio.sleep(45)
            for bad in (b"\xff", "{}", "[" * 5_000, json.dumps({"v": 1})):
                assert not page.viewer.on_report(bad)
            talking.cancel()
            return session.stats().as_dict()

    stats = run(story)
    assert stats["viewers"][0]["offset"] is None and stats["trim_ms"] == 0


def test_after_an_interrupt_what_a_page_still_says_of_the_old_turn_does_not_count() -> None:
    async def story(loop: StoryLoop) -> tuple[int, int]:
        async with AvSyncSession(idle=idle_picture()) as session:
            page = Page(session, Watching(session), loop)
            talking = asyncio.ensure_future(talk(session, 20))
            for _ in range(8):
                await asyncio.sleep(1)
                page.report()
            await asyncio.sleep(0.5)
            await session.interrupt()
            before = page.viewer.report(loop.now_ns)
            page.report()  # of the half second before
            after = page.viewer.report(loop.now_ns)
            talking.cancel()
            assert before is not None and after is not None
            return before.ignored, after.ignored

    before, after = run(story)
    assert before == 0 and after > 0


def test_a_viewer_whose_pictures_come_late_is_told_to_hold_and_the_trim_stands_still_meanwhile() -> None:
    async def story(loop: StoryLoop) -> tuple[list[str | None], list[float], dict[str, Any]]:
        async with AvSyncSession(idle=idle_picture()) as session:
            page = Page(session, Watching(session), loop)
            talking = asyncio.ensure_future(talk(session, 70))
            answers, trims, asked_ms = [], [], 0.0
            for _ in range(35):
                await asyncio.sleep(1)
                assert page.report(late_ms=150 if asked_ms == 0 else 0, asked_ms=asked_ms)
                answer = page.viewer.answer()
                answers.append(answer)
                if answer is not None and len(answers) > 5:  # the first answers are lost on their way
                    asked_ms = json.loads(answer)["picture"]
                trims.append(session.stats().trim_ms)
            talking.cancel()
            return answers, trims, session.stats().as_dict()["viewers"][0]

    answers, trims, viewer = run(story)
    told = [json.loads(answer) for answer in answers if answer is not None]
    assert answers[0] is None or answers[1] is not None  # after a second or two
    assert told[0]["v"] == 1 and told[0]["sound"] == told[0]["picture"] and 100 <= told[0]["picture"] <= 150
    assert answers[2:6] == [answers[5]] * 4, "said again until the page does so"
    assert set(answers[7:]) == {None}
    assert viewer["receiver_target_ms"] == told[-1]["picture"]
    moved_s = 7
    assert max(trims[: moved_s + 20]) == 0 < max(trims)


def test_a_browser_without_receiver_targets_is_asked_for_nothing_and_stats_say_so() -> None:
    async def story(loop: StoryLoop) -> tuple[list[str | None], dict[str, Any]]:
        async with AvSyncSession(idle=idle_picture()) as session:
            page = Page(session, Watching(session), loop)
            talking = asyncio.ensure_future(talk(session, 20))
            answers = []
            for _ in range(10):
                await asyncio.sleep(1)
                assert page.report(late_ms=150, asked_ms=None)
                answers.append(page.viewer.answer())
            talking.cancel()
            return answers, session.stats().as_dict()["viewers"][0]

    answers, viewer = run(story)
    assert set(answers) == {None} and viewer["receiver_target_ms"] is None
