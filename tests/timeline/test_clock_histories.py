"""AvSyncClock against hostile sources and arbitrary histories: nothing it is told breaks a promise."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.timeline.clock import AvSyncClock
from avsync.timeline.stream_position import MAX_STEP_NS
from avsync.types import AUDIO, MAX_PTS_NS, VIDEO, DropReason, Kind, MediaUnit
from avsync.units import NS_PER_S, Rate, ms, ticks_to_ns

HOUR_S = 3600
NTSC = Fraction(30_000, 1001)


def must(unit: MediaUnit | None) -> MediaUnit:
    assert unit is not None
    return unit


NONSENSE = [float("nan"), float("inf"), 1e9, -1, -(10**30), 10**30, 10**5000, "960", True, Fraction(1, 2), b""]


@pytest.mark.parametrize("bad", NONSENSE, ids=lambda bad: type(bad).__name__)
def test_nonsense_is_refused_counted_and_forgotten(bad: Any) -> None:
    clock = AvSyncClock()
    clock.stamp_audio(441)
    clock.stamp_frame()
    answers = [
        clock.stamp_audio(bad),
        clock.stamp_frame(pts_ns=bad),
        clock.stamp_frame(duration_ns=bad),
        clock.stamp_packet(VIDEO, b"x", pts_ns=bad),
        clock.stamp_packet(AUDIO, b"x", duration_ns=bad),
        clock.stamp_rtp_ticks(VIDEO, bad, 90_000),
        clock.stamp_rtp_ticks(VIDEO, 0, 90_000, duration_ticks=bad),
        clock.stamp_rtp_ticks(VIDEO, 0, 90_000, base_ticks=bad),
        clock.skip(VIDEO, bad) or None,
        clock.skip_ticks(VIDEO, bad) or None,
    ]
    # 1e9, the float, is as much nonsense as NaN: who hands over floats has already rounded.
    assert answers == [None] * 10
    assert sum(clock.refused.values()) == 10
    assert must(clock.stamp_audio(441)) == MediaUnit(AUDIO, 1, 0, 9_187_500, 9_187_500)
    assert must(clock.stamp_frame()) == MediaUnit(VIDEO, 1, 0, ms(40), ms(40))


def test_zero_samples_and_zero_durations_would_give_two_units_one_pts() -> None:
    clock = AvSyncClock()
    assert clock.stamp_audio(0) is None
    assert clock.stamp_frame(duration_ns=0) is None
    assert clock.refused == {DropReason.BAD_PTS: 2}


def test_numpy_like_integers_become_python_integers() -> None:
    class Int64:
        def __index__(self) -> int:
            return 960

    unit = must(AvSyncClock().stamp_audio(Int64()))  # type: ignore[arg-type]
    assert type(unit.duration_ns) is int and unit.duration_ns == ms(20)


def test_no_single_jump_is_longer_than_an_hour_and_no_content_longer_than_a_year() -> None:
    clock = AvSyncClock(audio_rate=1)
    assert clock.stamp_frame(pts_ns=MAX_STEP_NS + 1) is None
    assert clock.skip(VIDEO, MAX_STEP_NS + 1) == 0
    assert clock.stamp_audio(HOUR_S + 1) is None
    assert must(clock.stamp_frame(pts_ns=MAX_STEP_NS)).pts_ns == MAX_STEP_NS
    hours = MAX_PTS_NS // MAX_STEP_NS
    assert [clock.stamp_audio(HOUR_S) is None for _ in range(hours + 1)] == [False] * hours + [True]
    assert clock.skip_ticks(AUDIO, 1) == 0
    assert clock.next_pts_ns(AUDIO) == MAX_PTS_NS


@pytest.mark.parametrize("rate", [0, -25, 29.97, float("nan"), "25", True, None, 10**9 + 1, Fraction(1, 3601)])
def test_rates_are_exact_and_sane_or_refused_by_name(rate: Any) -> None:
    with pytest.raises(UsageError, match="audio_rate"):
        AvSyncClock(audio_rate=rate)
    clock = AvSyncClock()
    with pytest.raises(UsageError, match="audio_rate"):
        clock.set_audio_rate(rate)
    with pytest.raises(UsageError, match="rate_hz"):
        clock.stamp_rtp_ticks(AUDIO, 0, rate)
    if rate is not None:
        with pytest.raises(UsageError, match="video_rate"):
            clock.set_video_rate(rate)
    assert must(clock.stamp_audio(960)).pts_ns == 0


AUDIO_RATES: list[Rate] = [8000, 11_025, 44_100, 48_000, Fraction(48_000 * 1001, 1000)]
VIDEO_RATES: list[Rate] = [7, 24, 25, NTSC, 60]


class Slow:
    """The same promises, written naively: positions are Fractions from the first unit to the last."""

    def __init__(self) -> None:
        self.at: dict[Kind, Fraction] = {AUDIO: Fraction(0), VIDEO: Fraction(0)}
        self.rate: dict[Kind, Rate] = {AUDIO: 48_000, VIDEO: 25}
        self.current = self.oldest = self.open = 0
        self.start = Fraction(0)

    def enters(self, epoch: int) -> bool:
        if epoch < self.oldest or epoch < self.open:
            return False
        if epoch > self.open:
            self.open = epoch
            self.align()
        return True

    def align(self) -> None:
        self.start = self.at[AUDIO] = self.at[VIDEO] = max(self.at.values())

    def count(self, kind: Kind, ticks: int) -> tuple[int, int]:
        return self.last(kind, ticks * NS_PER_S / Fraction(self.rate[kind]))

    def last(self, kind: Kind, length: Fraction) -> tuple[int, int]:
        pts_ns = self.at[kind] // 1
        self.at[kind] += length
        return pts_ns, self.at[kind] // 1 - pts_ns


ages = st.integers(0, 3)  # how many epochs ago a writer's turn began
steps = st.one_of(
    st.tuples(st.just("audio"), ages, st.integers(1, 5000)),
    st.tuples(st.just("frame"), ages, st.just(1)),
    st.tuples(st.just("lasting"), ages, st.integers(1, ms(300))),
    st.tuples(st.just("at"), ages, st.integers(0, ms(400))),
    st.tuples(st.just("begin"), st.just(0), st.just(0)),
    st.tuples(st.just("interrupt"), st.just(0), st.just(0)),
    st.tuples(st.just("seam"), ages, st.just(0)),
    st.tuples(st.just("skip_audio"), ages, st.integers(-ms(100), ms(300))),
    st.tuples(st.just("skip_video"), ages, st.integers(-ms(100), ms(300))),
    st.tuples(st.just("skip_frames"), ages, st.integers(0, 40)),
    st.tuples(st.just("audio_rate"), st.just(0), st.integers(0, 4)),
    st.tuples(st.just("video_rate"), st.just(0), st.integers(0, 4)),
    st.tuples(st.just("nonsense"), ages, st.sampled_from(NONSENSE)),
)


def apply(clock: AvSyncClock, slow: Slow, what: str, age: int, value: Any) -> tuple[MediaUnit | None, Any]:
    """One step on both. Answers the unit and what the slow one expects: (pts, duration), None, or no answer."""
    epoch = max(0, slow.current - age)
    nothing = (None, None)
    if what == "audio_rate":
        clock.set_audio_rate(AUDIO_RATES[value])
        slow.rate[AUDIO] = AUDIO_RATES[value]
        return nothing
    if what == "video_rate":
        clock.set_video_rate(VIDEO_RATES[value])
        slow.rate[VIDEO] = VIDEO_RATES[value]
        return nothing
    if what in ("begin", "interrupt"):
        slow.current += 1
        slow.oldest = slow.current if what == "interrupt" else slow.oldest
        assert (clock.begin_turn() if what == "begin" else clock.interrupt()) == slow.current
        return nothing
    enters = slow.enters(epoch)
    if what == "audio":
        return clock.stamp_audio(value, epoch=epoch), slow.count(AUDIO, value) if enters else None
    if what == "frame":
        return clock.stamp_frame(epoch=epoch), slow.count(VIDEO, 1) if enters else None
    if what == "lasting":
        return clock.stamp_frame(duration_ns=value, epoch=epoch), slow.last(VIDEO, Fraction(value)) if enters else None
    if what == "at":
        relative = slow.at[VIDEO] // 1 - slow.start // 1 + value
        if enters:
            slow.at[VIDEO] = Fraction(slow.start // 1 + relative)
        unit = clock.stamp_frame(pts_ns=relative, duration_ns=ms(40), epoch=epoch)
        return unit, slow.last(VIDEO, Fraction(ms(40))) if enters else None
    if what == "seam":
        assert (clock.loop_seam(epoch=epoch) is None) == (not enters)
        if enters:
            slow.align()
    elif what == "skip_frames":
        clock.skip_ticks(VIDEO, value, epoch=epoch)
        if enters:
            slow.count(VIDEO, value)
    elif what == "nonsense":
        assert clock.stamp_audio(value, epoch=epoch) is None
        assert clock.stamp_frame(pts_ns=value, epoch=epoch) is None
    else:
        kind = AUDIO if what == "skip_audio" else VIDEO
        to_ns = slow.at[kind] // 1 + value
        clock.skip(kind, to_ns, epoch=epoch)
        if enters and value > 0:
            slow.at[kind] = Fraction(to_ns)
    return nothing


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=60))
def test_arbitrary_histories_give_what_the_slow_clock_gives(history: list[tuple[str, int, Any]]) -> None:
    clock, slow = AvSyncClock(), Slow()
    last: dict[Kind, MediaUnit] = {}
    for what, age, value in history:
        before = {kind: clock.next_pts_ns(kind) for kind in (AUDIO, VIDEO)}
        open_before = slow.open
        unit, expected = apply(clock, slow, what, age, value)
        assert (unit and (unit.pts_ns, unit.duration_ns)) == expected
        assert clock.next_pts_ns(AUDIO) == slow.at[AUDIO] // 1 >= before[AUDIO]
        assert clock.next_pts_ns(VIDEO) == slow.at[VIDEO] // 1 >= before[VIDEO]
        if unit is None:
            continue
        assert slow.oldest <= unit.epoch <= slow.current
        assert unit.duration_ns > 0
        previous = last.get(unit.kind)
        if previous is not None:
            assert unit.pts_ns >= previous.pts_ns + previous.duration_ns
            assert unit.seq == previous.seq + 1 and unit.epoch >= previous.epoch
        last[unit.kind] = unit
        if slow.open != open_before and what != "at":
            assert unit.pts_ns == max(before.values())
        if unit.epoch == clock.epoch:
            assert clock.turn_start_ns == slow.start // 1
        older = [other for other in last.values() if other.epoch < unit.epoch]
        assert all(other.pts_ns + other.duration_ns <= slow.start for other in older)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=40), st.sampled_from([8000, 48_000, 90_000]))
def test_arbitrary_rtp_times_never_go_back(stamps: list[int], rate_hz: int) -> None:
    clock = AvSyncClock()
    last_ns = -1
    for raw in stamps:
        unit = clock.stamp_rtp_ticks(VIDEO, raw, rate_hz)
        if unit is not None:
            assert unit.pts_ns > last_ns
            last_ns = unit.pts_ns


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-5000, 2**30), max_size=40), st.integers(0, 2**32 - 1))
def test_rtp_times_are_what_their_unwrapped_totals_say(deltas: list[int], first: int) -> None:
    clock = AvSyncClock()
    must(clock.stamp_rtp_ticks(AUDIO, first, 48_000, duration_ticks=960))
    total = 0
    for delta in deltas:
        unit = clock.stamp_rtp_ticks(AUDIO, (first + total + delta) % 2**32, 48_000, duration_ticks=960)
        jumped_ns = ticks_to_ns(total + delta, 48_000) - ticks_to_ns(total + 960, 48_000)
        assert (unit is None) == (delta <= 0 or jumped_ns > MAX_STEP_NS)
        if unit is not None:
            total += delta
            assert unit.pts_ns == ticks_to_ns(total, 48_000)
