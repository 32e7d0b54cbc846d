"""A scenario for real: the lab's generator against a stream that only writes down, on a loop in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from avsync.errors import InputError
from avsync.glass import marks
from avsync.types import VIDEO, Reason, Request, Want
from avsync.units import NS_PER_S, ms, seconds, to_ms
from avsync.webrtc import InterruptResult
from sim.glass.real_scenario import MarkedMedia, RealScenario, check_real, levers_of, relay_for
from sim.glass.realtime import RealTime
from sim.network.link import Link
from sim.scenario.scenario import Scenario, load_scenario
from sim.virtual_time import VirtualTime
from tests.sim.small_world import small, varied
from tests.virtual_loop import VirtualLoop, run


class Written(NamedTuple):
    at_ms: float
    epoch: int
    pts_ns: int | None
    first: int  # of a sound: its first sample's number; of a picture: its content in ns
    samples: int
    rate_hz: int


class Numbers:
    """ContentMedia that says its position in the plainest way."""

    def picture(self, content_ns: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(content_ns.to_bytes(8, "big"), np.uint8)

    def sound(self, from_sample: int, count: int) -> npt.NDArray[np.int16]:
        return np.frombuffer(from_sample.to_bytes(8, "big") * count, np.int16)[:count]


class Notes:
    """A stream that writes down what it gets. ``stuck_until_s``: it takes no picture before."""

    def __init__(self, stuck_until_s: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.sounds: list[Written] = []
        self.pictures: list[Written] = []
        self.turns: list[NoteTurn] = []
        self.ended: list[int] = []
        self.buffered = 0.0
        self.epoch = -1
        self.oldest = 0
        self.stuck_until_s = stuck_until_s

    def begin_turn(self) -> NoteTurn:
        self.epoch += 1
        self.turns.append(NoteTurn(self, self.epoch))
        return self.turns[-1]

    async def interrupt(self) -> InterruptResult:
        self.oldest = self.epoch + 1
        await asyncio.sleep(0.03)
        return InterruptResult(self.oldest, None, 0)

    def at_ms(self) -> float:
        return self.loop.time() * 1000


class NoteTurn:
    def __init__(self, notes: Notes, epoch: int) -> None:
        self.notes, self.epoch = notes, epoch

    async def write_audio(self, sound: Any, *, sample_rate: int = 48_000, pts_ns: int | None = None) -> bool:
        first = int.from_bytes(np.ascontiguousarray(sound[:4]).tobytes(), "big")
        self.notes.sounds.append(Written(self.notes.at_ms(), self.epoch, pts_ns, first, len(sound), sample_rate))
        return self.epoch >= self.notes.oldest

    async def write_video(self, picture: Any, *, pts_ns: int | None = None) -> bool:
        if self.notes.loop.time() < self.notes.stuck_until_s:
            await asyncio.sleep(self.notes.stuck_until_s - self.notes.loop.time())
        content = int.from_bytes(picture.tobytes(), "big")
        self.notes.pictures.append(Written(self.notes.at_ms(), self.epoch, pts_ns, content, 1, 0))
        return self.epoch >= self.notes.oldest

    async def end(self) -> None:
        self.notes.ended.append(self.epoch)


class Begun:
    """A wire that notes which link it was given."""

    def __init__(self) -> None:
        self.links: list[Link] = []

    def begin(self, link: Link) -> None:
        self.links.append(link)


Played = tuple[RealScenario, Notes, Begun]


def play(scenario: Scenario, *, ask: tuple[float, Request] | None = None, **of_notes: Any) -> Played:
    async def story(loop: VirtualLoop) -> Played:
        notes, wire = Notes(**of_notes), Begun()
        real = RealScenario(scenario, seed=1, wire=wire, media=Numbers())
        if ask is not None:
            loop.call_at(ask[0], real.on_request, ask[1])
        await real.run(notes)
        return real, notes, wire

    return run(story)


# ------------------------------------------------------------------------------------ real time


def test_events_happen_at_their_time_and_never_early() -> None:
    async def story(loop: VirtualLoop) -> tuple[list[tuple[int, int]], RealTime]:
        loop.advance(seconds(7))  # the loop's clock is not the scenario's
        env = VirtualTime(0)
        seen: list[tuple[int, int]] = []
        time = RealTime(env)
        for at in (0, ms(3), ms(3), ms(3.4), seconds(2)):
            env.timeout(at).callbacks.append(lambda _event: seen.append((env.now, time.now_ns())))
        await time.run(seconds(3))
        assert time.now_ns() == pytest.approx(seconds(3), abs=1_000)
        return seen, time

    seen, _ = run(story)
    assert [planned for planned, _ in seen] == [0, ms(3), ms(3), ms(3.4), seconds(2)]
    assert all(0 <= real - planned < ms(0.01) for planned, real in seen)


def test_a_late_host_is_noticed_and_nothing_is_left_out() -> None:
    late = iter([ms(30)] * 10_000)

    async def story(_loop: VirtualLoop) -> tuple[int, RealTime]:
        env, count = VirtualTime(0), 0

        def tick(_event: Any) -> None:
            nonlocal count
            count += 1

        for i in range(100):
            env.timeout(i * ms(100)).callbacks.append(tick)
        time = RealTime(env)
        await time.run(seconds(10))
        return count, time

    count, time = run(story, late_ns=lambda: next(late))
    assert count == 100 and time.late.ms(95) == pytest.approx(30, abs=1)


def test_an_event_from_outside_wakes_a_time_in_which_nothing_is_planned() -> None:
    async def story(loop: VirtualLoop) -> list[int]:
        env = VirtualTime(0)
        seen: list[int] = []
        time = RealTime(env)
        loop.call_at(1.5, lambda: time.call(lambda: seen.append(time.now_ns()), ms(80)))
        await time.run(seconds(4))
        return seen

    (at,) = run(story)
    assert at == pytest.approx(ms(1580), abs=1_000)


def test_what_an_event_raises_comes_out_of_run() -> None:
    async def story(_loop: VirtualLoop) -> None:
        env = VirtualTime(0)

        def breaks(_event: Any) -> None:
            raise ZeroDivisionError

        env.timeout(ms(5)).callbacks.append(breaks)
        await RealTime(env).run(seconds(1))

    with pytest.raises(ZeroDivisionError):
        run(story)


# ------------------------------------------------------------------------------------ the source


def test_sound_and_pictures_come_on_time_and_say_their_place() -> None:
    real, notes, wire = play(small(4.0))
    assert len(wire.links) == 1
    begun_ms = real.time.begun_s * 1000
    assert len(notes.sounds) == 125 and len(notes.pictures) == 63  # 2.5 s from 0.5 s on
    for i, sound in enumerate(notes.sounds):
        assert sound.at_ms - begun_ms == pytest.approx(500 + 20 * i, abs=0.1)
        assert (sound.first, sound.samples, sound.pts_ns) == (960 * i, 960, None)
    for i, picture in enumerate(notes.pictures):
        assert picture.at_ms - begun_ms == pytest.approx(500 + 40 * i, abs=0.1)
        assert picture.first == picture.pts_ns == 40 * NS_PER_S * i // 1000
    assert notes.ended == [0]
    assert real.done.written == {"audio": 125, "video": 63} and not real.done.not_written


def test_the_truth_is_the_labs_own() -> None:
    real, notes, _ = play(varied("video_stall", duration_s=26))
    made = real.source.table()
    assert [picture.first for picture in notes.pictures] == made.pictures.content_ns.tolist()
    written_ms = np.array([picture.at_ms for picture in notes.pictures]) - real.time.begun_s * 1000
    assert np.abs(written_ms - made.pictures.made_ns / 1e6).max() < 0.1
    assert real.faults_ns == [(seconds(20), seconds(21))]
    gaps = np.diff([picture.at_ms for picture in notes.pictures])
    assert max(gaps) > 990 and sum(gap < 0.1 for gap in gaps) >= 23, "they stop for a second and come at once"


def test_turns_follow_each_other_and_each_counts_from_its_own_start() -> None:
    scenario = small(8.0, source={"turns": {"talk_s": 2, "gap_s": 0.5}})
    real, notes, _ = play(scenario)
    assert notes.ended == [0, 1, 2]
    firsts = [next(sound for sound in notes.sounds if sound.epoch == epoch) for epoch in range(3)]
    assert [sound.first for sound in firsts] == [0, 96_000, 192_000], "the content goes on"
    assert [next(p.pts_ns for p in notes.pictures if p.epoch == epoch) for epoch in range(3)] == [0, 0, 0]
    assert len(real.source.table().turns) == 3


def test_an_interrupted_turn_is_pushed_on_through_itself_and_refused() -> None:
    scenario = small(8.0, steps=[{"at_s": 3.007, "do": "interrupt", "pushes_on_ms": 300, "reply_after_ms": 500}])
    real, notes, _ = play(scenario)
    (interruption,) = real.done.interruptions
    assert to_ms(interruption.called_ns) == pytest.approx(3007, abs=0.1)
    assert interruption.returned_ns is not None
    assert to_ms(interruption.returned_ns - interruption.called_ns) == pytest.approx(30, abs=0.1)
    stale = [sound for sound in notes.sounds if sound.epoch == 0 and sound.at_ms / 1000 - real.time.begun_s > 3.007]
    assert len(stale) == 15 == real.done.refused["audio"]
    reply = next(sound for sound in notes.sounds if sound.epoch == 1)
    assert reply.at_ms / 1000 - real.time.begun_s == pytest.approx(3.507, abs=0.001)
    assert notes.ended == [1]


def test_a_live_stall_names_the_place_where_the_sound_goes_on() -> None:
    _, notes, _ = play(small(6.0, steps=[{"at_s": 2.0, "do": "stall", "for_s": 1.0, "resume": "live"}]))
    named = [sound for sound in notes.sounds if sound.pts_ns is not None]
    assert [sound.pts_ns for sound in named] == [seconds(2.5)]
    assert named[0].first == 2.5 * 48_000


def test_a_marked_pause_is_written_as_silence_and_nothing_is_missing() -> None:
    _, notes, _ = play(small(6.0, steps=[{"at_s": 2.01, "do": "pause", "for_s": 1.0}]))
    quiet = [sound for sound in notes.sounds if sound.samples != 960]
    assert [sound.samples for sound in quiet] == [19_200, 19_200, 9_600]
    assert all(sound.pts_ns is None for sound in notes.sounds)
    assert sum(sound.samples for sound in notes.sounds) == 4.5 * 48_000


def test_another_sample_rate_is_the_same_sound() -> None:
    _, notes, _ = play(small(4.0, steps=[{"at_s": 2.0, "do": "rate", "to_hz": 24_000}]))
    assert {(sound.rate_hz, sound.samples) for sound in notes.sounds} == {(48_000, 960), (24_000, 480)}
    marked = MarkedMedia(160, 96)
    assert marked.picture(0).shape == (96, 160, 3)
    real = RealScenario.__new__(RealScenario)
    real._media = marked
    exact, half = marks.sound(4_800, 960), real._sound(ms(100), 480, 24_000)
    assert half.dtype == np.int16 and np.array_equal(half, exact[::2])


def test_a_request_is_obeyed_late_and_in_the_content_of_its_own_turn() -> None:
    lazy = {"turns": {"talk_s": 3, "gap_s": 0.5}, "video": {"can_skip": True, "obeys_after_ms": 120}}
    skip = Request(Want.SKIP_TO_PTS, seconds(2), 0, 1, Reason.BEHIND)
    real, notes, _ = play(small(9.0, source=lazy), ask=(4.5, skip))
    pictures = [picture for picture in notes.pictures if picture.epoch == 1]
    jump = max(range(1, len(pictures)), key=lambda i: pictures[i].first - pictures[i - 1].first)
    assert pictures[jump].pts_ns == seconds(2) and pictures[jump].first == seconds(3) + seconds(2)
    before_ms = pictures[jump - 1].at_ms
    assert 4500 + 60 < before_ms <= 4500 + 121
    assert len(real.done.requests) == 1


def test_requests_of_a_turn_that_nobody_knows_change_nothing() -> None:
    skip = Request(Want.SKIP_TO_PTS, seconds(3), 0, 77, Reason.BEHIND)
    _, notes, _ = play(small(5.0, source={"video": {"can_skip": True}}), ask=(1.5, skip))
    assert len(notes.pictures) == 88


def test_a_stream_that_takes_nothing_holds_up_only_its_own_kind_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.glass.real_scenario.MAX_WAITING", 10)
    real, notes, _ = play(small(6.0), stuck_until_s=3.0)
    assert len(notes.sounds) == 225 and notes.sounds[-1].at_ms - real.time.begun_s * 1000 < 5_000
    assert real.done.not_written == 63 - 1 - 10
    assert real.handed_late.as_dict()["max_ms"] == pytest.approx(2_500, abs=50)


def test_what_the_stream_raises_ends_the_run_and_leaves_no_task() -> None:
    async def story(_loop: VirtualLoop) -> None:
        notes = Notes()

        def broken() -> NoteTurn:
            turn = NoteTurn(notes, 0)
            turn.write_video = None  # type: ignore[assignment]
            return turn

        notes.begin_turn = broken  # type: ignore[method-assign]
        await RealScenario(small(4.0), seed=1, media=Numbers()).run(notes)

    with pytest.raises(TypeError):
        run(story)


def test_a_step_on_the_wire_changes_the_link_the_wire_was_given() -> None:
    steps = [
        {"at_s": 1.0, "do": "impair", "delay_ms": 100, "loss": 1.0, "only": "video", "for_s": 1.0},
        {"at_s": 3.0, "do": "route_step", "by_ms": 30},
        {"at_s": 4.0, "do": "hold", "for_ms": 500},
    ]

    async def story(loop: VirtualLoop) -> list[tuple[int, ...]]:
        wire = Begun()
        real = RealScenario(small(6.0, steps=steps), seed=1, wire=wire, media=Numbers())
        seen: list[tuple[int, ...]] = []
        for at_s in (0.5, 1.5, 2.5, 3.5, 4.2):
            now = seconds(at_s)

            def send(now: int = now) -> None:
                seen.append(tuple(at - now for at in wire.links[0].send(99, now, VIDEO)))

            loop.call_at(at_s + 0.0001, send)
        await real.run(Notes())
        return seen

    assert run(story) == [(ms(20),), (), (ms(20),), (ms(50),), (ms(300),)]


# ------------------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"topology": "provider_bridge"}, "topology"),
        ({"viewer": "avsync"}, "viewer"),
        ({"clocks": {"client": {"ppm": 40}}}, "clocks.client"),
        ({"source": {"video": {"encoded": True}}}, "source.video.encoded"),
        ({"source": {"clip": "x.mp4"}}, "source.clip"),
        ({"network": {"to_viewer": {"sender_reports": "none"}}}, "network.to_viewer.sender_reports"),
        ({"network": {"to_viewer": {"rtp_start": {"seq": 5}}}}, "network.to_viewer.rtp_start"),
        ({"steps": [{"at_s": 1, "do": "sleep", "for_s": 1, "host": "viewer"}]}, "steps[0] (sleep)"),
        ({"steps": [{"at_s": 1, "do": "clock_step", "by_ms": 5, "clock": "provider"}]}, "steps[0] (clock_step)"),
        ({"steps": [{"at_s": 1, "do": "reports", "for_s": 1}]}, "steps[0] (reports)"),
    ],
)
def test_what_cannot_be_done_for_real_is_refused_by_name(data: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError) as caught:
        check_real(small(8.0, **data))
    assert place in str(caught.value) and "avsync run" in str(caught.value)


def test_a_step_on_the_wire_needs_a_wire() -> None:
    scenario = small(8.0, steps=[{"at_s": 1, "do": "hold", "for_ms": 100}])
    check_real(scenario)
    with pytest.raises(InputError, match="no relay"):
        check_real(scenario, wired=False)
    check_real(small(8.0, steps=[{"at_s": 1, "do": "hold", "for_ms": 100, "leg": "source"}]), wired=False)


def test_most_scenarios_with_a_sender_of_our_own_can_be_run() -> None:
    possible = []
    for path in sorted(Path("scenarios").glob("*.yaml")):
        scenario = load_scenario(path)
        try:
            check_real(scenario)
        except InputError:
            ours_alone = path.stem in ("sleep_resume", "coded_barge_in", "wifi_at_home_own_viewer")
            assert scenario.topology != "local_encode" or ours_alone, path.stem
        else:
            possible.append(path.stem)
    assert {"clean", "video_stall", "barge_in", "generator_slow", "viewer_jitter", "both_stall_burst"} <= set(possible)


def test_a_relay_begins_like_the_scenarios_leg_and_levers_are_the_sources() -> None:
    scenario = small(8.0, network={"to_viewer": {"delay_ms": 35}}, source={"video": {"can_skip": True}})

    async def story(_loop: VirtualLoop) -> tuple[int, ...]:
        async with relay_for(scenario, 1) as relay:
            return relay.to_viewer.link.send(10, 0, VIDEO)

    assert run(story) == (ms(35),)
    assert levers_of(scenario) == (Want.SKIP_TO_PTS,)
