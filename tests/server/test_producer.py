"""The producer in virtual time: pace, bursts, turns, interrupts, requests, and sources that die."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.server.producer import SLACK_NS, Pace, Producer, Schedule
from avsync.types import Reason, Request, Want
from avsync.units import NS_PER_S, ms, seconds, ticks_to_ns
from tests.server.server_story import CountingSource, IterFeed, ListeningStream, grey
from tests.virtual_loop import VirtualLoop, run

FPS = Fraction(25)
Story = Callable[[VirtualLoop], Awaitable[None]]


def producer(
    stream: ListeningStream, source: CountingSource | None = None, pace: Pace | None = None, *, fill: bool = False
) -> Producer:
    source = source or CountingSource()
    return Producer(IterFeed(source), stream, fps=source.fps, pace=pace, fill=grey(29) if fill else None)


async def play(made: Producer, for_s: float) -> None:
    made.start()
    await asyncio.sleep(for_s)
    await made.close()


def test_sound_is_cut_into_exact_40_ms_and_stamped_by_counting() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream), 2.01)

    run(story)
    sounds, pictures = stream.of("audio"), stream.of("video")
    assert {write.samples for write in sounds} == {1920}
    assert [write.pts_ns for write in sounds] == [ms(40) * number for number in range(50)]
    assert [write.pts_ns for write in pictures] == [ms(40) * number for number in range(50)]


def test_at_an_odd_rate_the_stamps_still_come_from_totals() -> None:
    stream, fps = ListeningStream(), Fraction(30_000, 1001)

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, CountingSource(fps)), 60)

    run(story)
    for kind in ("audio", "video"):
        last = stream.of(kind)[-1]
        number = len(stream.of(kind)) - 1
        assert last.pts_ns is not None
        assert abs(last.pts_ns - ticks_to_ns(number, fps)) < ms(0.05)


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 250), (0.9, 225), (4.0, 1000)])
def test_speed_is_what_it_says(speed: float, expected: int) -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(speed=speed)), 10.001)

    run(story)
    assert len(stream.of("audio")) == len(stream.of("video")) == expected


def test_timers_that_are_late_each_time_do_not_add_up() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream), 60.01)

    run(story, late_ns=lambda: ms(1))
    assert len(stream.of("audio")) == 1500


def test_slow_pictures_do_not_hold_the_sound_up() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(picture_speed=0.88)), 10.01)

    run(story)
    assert len(stream.of("audio")) == 250
    assert len(stream.of("video")) == 220


def test_a_burst_comes_at_once_and_then_nothing() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(burst_s=0.48)), 4.9)

    run(story)
    moments = sorted({write.at_s for write in stream.of("audio")})
    assert moments == pytest.approx([0.48 * number for number in range(1, 11)])
    assert len(stream.of("audio")) == 120


def test_back_pressure_holds_a_fast_producer_and_gives_no_credit() -> None:
    stream = ListeningStream(room_s=1.0)
    made = producer(stream, pace=Pace(speed=4))

    async def story(_loop: VirtualLoop) -> None:
        await play(made, 20)

    run(story)
    ahead = [write.pts_ns / NS_PER_S - write.at_s for write in stream.of("audio") if write.pts_ns is not None]
    assert max(ahead) < 1.1
    assert isinstance(made._feed, IterFeed)  # what was generated and not taken is bounded
    assert made._feed.taken - len(stream.of("video")) <= 2 * 25 + 3


@given(
    speed=st.sampled_from([0.5, 1.0, 4.0]),
    burst_s=st.sampled_from([0.0, 0.2, 1.0]),
    waits=st.lists(st.integers(0, seconds(3)), max_size=60),
)
def test_no_unit_is_there_before_it_can_have_been_generated(speed: float, burst_s: float, waits: list[int]) -> None:
    schedule, now, cost = Schedule(FPS, speed, burst_s), 0, round(NS_PER_S / (25 * speed))
    group = max(1, round(burst_s * 25))
    for number, wait_ns in enumerate(waits):
        due = schedule.next_due_ns(now)
        assert due >= (number // group + 1) * group * cost  # never faster than the speed, whole lumps only
        if number % group == 0:
            assert due >= now - SLACK_NS + group * cost  # being kept waiting is no time to work ahead in
        now = max(now, due) + wait_ns  # taken late: back-pressure, or a busy loop


# ---- turns


def test_turns_follow_one_another_with_a_pause_between_and_each_counts_from_its_start() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(talk_s=1, pause_s=0.5)), 3.9)

    run(story)
    assert sorted({write.epoch for write in stream.writes}) == [1, 2, 3]
    assert stream.ended == [1, 2]
    for epoch in (1, 2):
        said = [write for write in stream.of("audio") if write.epoch == epoch]
        assert len(said) == 25 and said[0].pts_ns == 0
    starts = [next(write.at_s for write in stream.writes if write.epoch == epoch) for epoch in (1, 2, 3)]
    assert np.diff(starts) == pytest.approx([1.5, 1.5], abs=0.1)


def test_a_pause_is_counted_from_when_the_turn_was_heard_out() -> None:
    stream = ListeningStream()
    stream.plays_s = 3.0

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(speed=100, talk_s=1, pause_s=2)), 6)

    run(story)
    second = next(write.at_s for write in stream.writes if write.epoch == 2)
    assert second == pytest.approx(3 + 2, abs=0.1)


def test_after_an_interrupt_nothing_more_of_the_turn_comes_and_then_a_new_one() -> None:
    stream = ListeningStream()
    made = producer(stream, pace=Pace(reaction_s=0.7))

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(1.01)
        stream.interrupt()
        await asyncio.sleep(2)
        await made.close()

    run(story)
    assert max(write.at_s for write in stream.writes if write.epoch == 1) <= 1.01
    second = [write for write in stream.of("audio") if write.epoch == 3]
    assert second[0].at_s == pytest.approx(1.04 + 0.7 + 0.04, abs=0.05) and second[0].pts_ns == 0
    assert made.interrupted == 1 and stream.ended == []


def test_pauses_are_filled_in_real_time_where_the_stream_has_no_idle_picture() -> None:
    stream = ListeningStream()

    async def story(_loop: VirtualLoop) -> None:
        await play(producer(stream, pace=Pace(speed=4, talk_s=1, pause_s=1), fill=True), 1.2)

    run(story)
    idle = [write for write in stream.of("video") if write.epoch == 2]
    assert {write.value for write in idle} == {29}
    assert np.diff([write.at_s for write in idle]) == pytest.approx(0.04)
    assert {write.value for write in stream.of("audio") if write.epoch == 2} == {0}


# ---- requests


def ask(want: Want, value: int, epoch: int = 1) -> Request:
    return Request(want, value, 0, epoch, Reason.BEHIND)


def test_a_skip_leaves_pictures_out_and_never_sound() -> None:
    stream = ListeningStream()
    made = producer(stream, pace=Pace(picture_speed=0.5))

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(1.01)  # the pictures are half a second behind
        made.on_request(ask(Want.SKIP_TO_PTS, seconds(1.2)))
        await asyncio.sleep(1)
        await made.close()

    run(story)
    assert len(stream.of("audio")) == 50
    stamps = [write.pts_ns for write in stream.of("video")]
    assert stamps[:12] == [ms(40) * number for number in range(12)]
    # Number 12 was being generated; then nothing before 1.2 s is.
    assert stamps[13] == seconds(1.2) and made.skipped == 17


def test_a_skip_of_an_interrupted_turn_means_nothing_to_the_next() -> None:
    stream = ListeningStream()
    made = producer(stream)

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(0.5)
        made.on_request(ask(Want.SKIP_TO_PTS, seconds(3), epoch=0))
        await asyncio.sleep(0.5)
        await made.close()

    run(story)
    assert made.skipped == 0


def test_a_lower_fps_leaves_pictures_out_evenly_and_zero_gives_all_back() -> None:
    stream = ListeningStream()
    made = producer(stream)

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(1.01)
        made.on_request(ask(Want.FPS, 10))
        await asyncio.sleep(2)
        made.on_request(ask(Want.FPS, 0))
        await asyncio.sleep(1)
        await made.close()

    run(story)
    stamps = [write.pts_ns for write in stream.of("video") if write.pts_ns is not None]
    slow = [stamp for stamp in stamps if seconds(1) <= stamp < seconds(2.9)]
    assert len(slow) in (19, 20)
    assert max(np.diff(slow)) <= ms(120)
    assert len(stream.of("audio")) == 100


# ---- sources that die


def test_a_source_that_raises_is_reported_once_and_idle_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stream = ListeningStream()
    made = producer(stream, CountingSource(fails_at=10), fill=True)

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(3)
        assert made.stats()["state"] == "failed"
        assert made.stats()["error"] == "RuntimeError: the model has run out of memory"
        await made.close()

    with caplog.at_level(logging.ERROR):
        run(story)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert stream.of("video")[-1].value == 29 and stream.of("video")[-1].at_s > 2.9


def test_a_source_that_ends_is_heard_out() -> None:
    stream = ListeningStream()
    made = producer(stream, CountingSource(ends_at=30), Pace(pause_s=0))

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(3)
        assert made.stats()["state"] == "ended"
        await made.close()

    run(story)
    assert len(stream.of("audio")) == len(stream.of("video")) == 30
    assert stream.ended == [1]


def test_a_stream_that_refuses_everything_is_not_asked_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    stream = ListeningStream()
    stream.refuse_all = True
    made = producer(stream)

    async def story(_loop: VirtualLoop) -> None:
        made.start()
        await asyncio.sleep(30)
        assert "refuses" in made.stats()["error"]
        await made.close()

    with caplog.at_level(logging.CRITICAL):
        run(story)
    assert made.turns == 3


def test_close_while_everything_waits_leaves_no_task() -> None:
    stream = ListeningStream(room_s=0.0)

    async def story(_loop: VirtualLoop) -> None:
        made = producer(stream, pace=Pace(speed=100))
        await play(made, 0.5)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(story)


@pytest.mark.parametrize("bad", [{"speed": 0}, {"speed": -1}, {"burst_s": -0.1}, {"talk_s": 0}, {"picture_speed": 0}])
def test_a_bad_pace_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        Pace(**bad)
