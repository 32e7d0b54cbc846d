"""The baselines in virtual time: honest copies of what ships, faults included. Each fault is what it is known for."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from avsync.errors import InputError, UsageError
from avsync.server.heartbeat import Heartbeat, heartbeat_line
from avsync.server.modes import check_voice_ahead, make_stream
from avsync.server.naive import NaiveStream, NaiveTrack, NaiveViewer
from avsync.types import Kind
from avsync.units import ms
from tests.server.server_story import grey
from tests.virtual_loop import VirtualLoop, run

FPS = Fraction(25)
CHUNK = np.zeros(1920, dtype=np.int16)


def stream(loop: VirtualLoop, ahead: int | None = None) -> NaiveStream:
    return NaiveStream(fps=FPS, voice_ahead_frames=ahead, clock=loop.time)


async def pull(track: NaiveTrack, left: list[tuple[float, int]], loop: VirtualLoop) -> None:
    """An aiortc sender without an encoder."""
    try:
        while True:
            frame = await track.recv()
            assert frame.pts is not None and frame.time_base is not None
            left.append((loop.time(), round(float(frame.pts * frame.time_base) * 1e9)))
    except MediaStreamError:
        pass


class Watching:
    """A viewer whose two tracks are pulled; ``sounds`` and ``pictures``: (time, pts ns) of what left."""

    def __init__(self, viewer: NaiveViewer, loop: VirtualLoop) -> None:
        self.viewer = viewer
        self.sounds: list[tuple[float, int]] = []
        self.pictures: list[tuple[float, int]] = []
        self._tasks = [
            asyncio.create_task(pull(viewer.audio_track, self.sounds, loop)),
            asyncio.create_task(pull(viewer.video_track, self.pictures, loop)),
        ]

    async def close(self) -> None:
        self.viewer.close()
        await asyncio.gather(*self._tasks)


async def speak(
    to: NaiveStream, frames: int, *, every_s: float = 0.0, kinds: tuple[str, ...] = ("audio", "video")
) -> list[int]:
    turn = to.begin_turn()

    async def one(kind: str) -> int:
        taken = 0
        for _ in range(frames):
            ok = await (turn.write_audio(CHUNK) if kind == "audio" else turn.write_video(grey(1)))
            if not ok:
                break
            taken += 1
            await asyncio.sleep(every_s)
        return taken

    return await asyncio.gather(*(one(kind) for kind in kinds))


def offset_ms(watching: Watching) -> float:
    """By how much the voice leaves before the picture of the same content, at the end."""
    at_picture, pts = watching.pictures[-1]
    at_sound = next(at for at, sound_pts in watching.sounds if sound_pts == pts)
    return round(1000 * (at_picture - at_sound), 1)


def test_each_track_sends_at_its_own_start_plus_n_times_its_period() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        watching = Watching(made.viewer(), loop)
        await speak(made, 50)
        await asyncio.sleep(2)
        assert [at for at, _ in watching.sounds] == pytest.approx([0.02 * number for number in range(100)])
        assert [at for at, _ in watching.pictures] == pytest.approx([0.04 * number for number in range(50)])
        assert [pts for _, pts in watching.sounds] == [ms(20) * number for number in range(100)]
        await watching.close()
        await made.close()

    run(story)


def test_a_late_timer_is_made_up_for_by_the_next_unit() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        watching = Watching(made.viewer(), loop)
        writing = asyncio.create_task(speak(made, 1000))
        await asyncio.sleep(20)
        at, pts = watching.sounds[-1]
        assert at - watching.sounds[0][0] - pts / 1e9 < 0.01
        await watching.close()
        await made.close()
        await writing

    run(story, late_ns=lambda: ms(1))


def test_a_generator_that_stops_leaves_the_pictures_late_for_ever() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        watching = Watching(made.viewer(), loop)
        turn = made.begin_turn()
        for number in range(100):
            await turn.write_audio(CHUNK)
            if number < 25 or number >= 50:  # for a second there are no pictures: they are lost, not late
                await turn.write_video(grey(1))
            await asyncio.sleep(0.04)
        assert watching.sounds[-1][1] - watching.pictures[-1][1] > ms(900)
        await watching.close()
        await made.close()

    run(story)


def test_queues_block_at_a_hundred_units_and_pictures_much_earlier() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        viewer = made.viewer()  # nobody pulls yet
        writing = asyncio.create_task(speak(made, 500))
        await asyncio.sleep(1)
        assert viewer.audio_track.queue.qsize() == 100 and made.buffered == 2.0
        assert 5 <= viewer.video_track.queue.qsize() <= 12
        await made.close()
        assert await writing != [500, 500]  # released, and refused

    run(story)


def test_an_interrupt_stops_only_what_was_not_queued_yet() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        watching = Watching(made.viewer(), loop)
        writing = asyncio.create_task(speak(made, 500))
        await asyncio.sleep(1)
        said = len(watching.sounds)
        await made.interrupt()
        at = loop.time()
        await asyncio.sleep(4)
        assert watching.sounds[-1][0] - at == pytest.approx(2.0, abs=0.1)  # two seconds of the old turn still come
        assert len(watching.sounds) - said >= 100
        assert (await writing)[0] < 500
        await watching.close()
        await made.close()

    run(story)


def test_the_valve_lets_the_voice_out_twelve_frames_early() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop, ahead=12)
        watching = Watching(made.viewer(), loop)
        writing = asyncio.create_task(speak(made, 100))
        await asyncio.sleep(3)
        assert offset_ms(watching) == pytest.approx(480, abs=1)
        assert np.diff([at for at, _ in watching.sounds]) == pytest.approx(0.02)
        assert np.diff([at for at, _ in watching.pictures]) == pytest.approx(0.04)
        await watching.close()
        await made.close()
        await writing

    run(story)


def test_the_valve_does_not_drift_when_timers_are_late() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop, ahead=0)
        watching = Watching(made.viewer(), loop)
        writing = asyncio.create_task(speak(made, 5000))
        await asyncio.sleep(60)
        assert len(watching.sounds) == pytest.approx(3000, abs=2)
        assert made.stats().as_dict()["lateness_p95_ms"] == pytest.approx(2, abs=0.1)
        await watching.close()
        await made.close()
        await writing

    run(story, late_ns=lambda: ms(2))


def test_a_tick_that_finds_nothing_is_lost_for_ever() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop, ahead=0)
        watching = Watching(made.viewer(), loop)
        turn = made.begin_turn()
        for number in range(100):
            await turn.write_audio(CHUNK)
            if not 25 <= number < 50:
                await turn.write_video(grey(1))
            await asyncio.sleep(0.04)
        last_sound, last_picture = watching.sounds[-1], watching.pictures[-1]
        assert last_sound[1] - last_picture[1] > ms(900)  # stamped by counting: a second behind, and it stays there
        await watching.close()
        await made.close()

    run(story)


def test_a_viewer_that_leaves_frees_the_writers() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        slow, quick = made.viewer(), Watching(made.viewer(), loop)
        writing = asyncio.create_task(speak(made, 300))
        await asyncio.sleep(5)
        held = len(quick.sounds)
        assert held <= 101  # a viewer that does not pull holds everybody up
        slow.close()
        await asyncio.sleep(5)
        assert len(quick.sounds) > held + 200
        await quick.close()
        await made.close()
        await writing

    run(story)


def test_what_left_is_written_down_for_those_who_look_on() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        watching = Watching(made.viewer(), loop)
        await speak(made, 50)
        await asyncio.sleep(2)
        log = watching.viewer.sent_log
        sound, picture = log.audio(ms(1000)), log.video(ms(1000))
        assert sound is not None and picture is not None
        assert sound.pts_ns == picture.pts_ns == ms(1000)
        assert log.newest_ns(Kind.VIDEO) == ms(1960)
        await watching.close()
        await made.close()

    run(story)


def test_sound_of_any_kind_is_sliced_into_960_samples() -> None:
    async def story(loop: VirtualLoop) -> None:
        made = stream(loop)
        viewer = made.viewer()
        turn = made.begin_turn()
        await turn.write_audio(np.zeros(700, np.int16).tobytes())
        await turn.write_audio(np.zeros((700, 2), np.float32))
        await turn.write_audio(np.zeros(800, np.int16), sample_rate=16_000)
        assert viewer.audio_track.queue.qsize() == (700 + 700 + 2400) // 960
        with pytest.raises(InputError, match="sample rate"):
            await turn.write_audio(CHUNK, sample_rate=1)
        await made.close()
        with pytest.raises(UsageError):
            made.viewer()

    run(story)


# ---- which valve


@pytest.mark.parametrize(("mode", "asked", "ahead"), [
    ("avsync", None, 0), ("naive-valve", None, 12), ("naive", None, 0), ("avsync", 6, 6), ("naive-valve", 0, 0),
])  # fmt: skip
def test_the_voice_is_twelve_frames_early_only_with_the_valve(mode: str, asked: int | None, ahead: int) -> None:
    assert check_voice_ahead(mode, asked) == ahead


@pytest.mark.parametrize(("mode", "ahead"), [("naive", 3), ("avsync", -1), ("avsync", 25), ("other", 0)])
def test_a_voice_that_cannot_be_so_early_is_refused(mode: str, ahead: int) -> None:
    with pytest.raises(InputError):
        check_voice_ahead(mode, ahead)


def test_the_modes_make_their_streams() -> None:
    async def story(_loop: VirtualLoop) -> None:
        for mode in ("naive", "naive-valve"):
            made = make_stream(mode, fps=FPS, voice_ahead_frames=check_voice_ahead(mode, None))
            assert isinstance(made, NaiveStream)
            await made.close()

    run(story)


def test_the_heartbeat_is_a_line_a_second_also_after_hours_and_says_unknown() -> None:
    seen: list[float] = []

    async def story(loop: VirtualLoop) -> None:
        def look() -> dict[str, float]:
            seen.append(loop.time())
            return {"sent_pictures": round(25 * loop.time())}

        heart = Heartbeat(look)
        heart.start()
        await asyncio.sleep(3600)
        await heart.close()
        assert heart.pictures_per_s == pytest.approx(25, abs=0.1)

    run(story, late_ns=lambda: ms(3))
    assert len(seen) in (3600, 3601)
    assert "unknown" in heartbeat_line({}, 0.0)
