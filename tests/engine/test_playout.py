"""PlayoutClock: which content leaves when, whatever the sound does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avsync.engine.playout import EXTRAPOLATE_NS, SEGMENTS_KEPT, STEP_NS, ClockState, PlayoutClock
from avsync.units import ms, seconds

SLOT = ms(20)


def play(clock: PlayoutClock, pts: int, at: int, slots: int = 1) -> int:
    for n in range(slots):
        clock.play(pts + n * SLOT, at + n * SLOT, SLOT)
    return at + slots * SLOT


def test_nobody_plays_nobody_knows() -> None:
    clock = PlayoutClock()
    assert clock.position_ns(0) is None and clock.reaches_ns(0, 0) is None
    play(clock, 0, 0)
    clock.invalidate()
    assert clock.position_ns(0) is None and clock.reaches_ns(0, 0) is None


def test_content_and_time_are_each_others_inverse_while_it_plays() -> None:
    clock = PlayoutClock()
    play(clock, seconds(5), ms(100), 50)
    for at in range(ms(1080), ms(1120), ms(1)):
        position = clock.position_ns(at)
        assert position == seconds(5) + at - ms(100)
        assert clock.reaches_ns(position, ms(1070)) == at


def test_inserted_silence_stops_the_content_and_the_rest_leaves_later() -> None:
    clock = PlayoutClock()
    end = play(clock, 0, 0, 10)
    clock.stand(end)
    clock.stand(end + SLOT)  # told again with each slot of silence
    assert clock.position_ns(end + seconds(3)) == end
    now = end + seconds(1)
    assert clock.reaches_ns(end, now) == now, "the picture of this very moment still has its place"
    assert clock.reaches_ns(end + 1, now) is None, "what comes after it: nobody knows"
    play(clock, end, end + seconds(3))
    assert clock.reaches_ns(end + ms(5), now) == end + seconds(3) + ms(5)
    assert clock.shift_at(end + ms(5)) == seconds(3)
    assert clock.shift_at(end - ms(5)) == 0, "a late picture keeps the stamp that its sound had"


def test_lost_and_muted_content_passes() -> None:
    clock = PlayoutClock()
    end = play(clock, 0, 0, 10)
    clock.go_past(end, end)
    assert clock.state is ClockState.PASSING
    assert clock.position_ns(end + seconds(3)) == end + seconds(3)
    play(clock, end + seconds(3), end + seconds(3))
    assert clock.position_ns(end + seconds(3)) == end + seconds(3)


def test_untold_it_extrapolates_two_slots_and_then_stands() -> None:
    clock = PlayoutClock()
    end = play(clock, 0, 0)
    assert clock.position_ns(end + EXTRAPOLATE_NS) == end + EXTRAPOLATE_NS
    assert clock.position_ns(end + seconds(9)) == end + EXTRAPOLATE_NS


def test_a_small_disagreement_is_slewed_by_5_ms_a_second_and_ends_where_it_should() -> None:
    clock = PlayoutClock(slew_ppm=5_000)
    play(clock, 0, 0, 50)
    before = clock.position_ns(seconds(1))
    assert before == seconds(1)
    for n in range(50, 350):  # the labels jump ahead by 8 ms and stay there
        clock.play(n * SLOT + ms(8), n * SLOT, SLOT)
        off = (clock.position_ns(n * SLOT) or 0) - n * SLOT
        assert off <= (n - 49) * SLOT * 5_000 // 1_000_000
    assert off == ms(8), "reached, not overshot"


def test_a_disagreement_too_large_to_be_drift_is_a_new_timeline() -> None:
    for jump in (STEP_NS, seconds(1000), -seconds(1000)):
        clock = PlayoutClock()
        end = play(clock, seconds(2000), 0, 10)
        play(clock, seconds(2000) + end + jump, end)
        assert clock.position_ns(end) == seconds(2000) + end + jump


def test_what_was_skipped_left_no_later_than_what_came_after_it() -> None:
    clock = PlayoutClock()
    end = play(clock, 0, 0, 10)
    clock.stand(end)
    play(clock, end + seconds(3600), end + SLOT)
    skipped = end + seconds(60)
    assert skipped + clock.shift_at(skipped) == end + SLOT, "never a stamp in the future"
    assert clock.shift_at(end - 1) == 0


def test_only_so_many_stalls_are_remembered() -> None:
    clock = PlayoutClock()
    at = 0
    for n in range(1000):
        play(clock, n * SLOT, at)
        clock.stand(at + SLOT)
        at += 2 * SLOT
    assert len(clock._segments) == SEGMENTS_KEPT
    assert clock.shift_at(998 * SLOT) == 998 * SLOT


@given(st.lists(st.tuples(st.sampled_from(["play", "stand", "pass"]), st.integers(1, 30)), min_size=1))
def test_the_position_never_steps_while_sound_leaves_and_never_goes_back(steps: list[tuple[str, int]]) -> None:
    clock = PlayoutClock()
    pts = at = last = 0
    stamps: list[tuple[int, int]] = []
    for what, slots in steps:
        for _ in range(slots):
            if what == "play":
                clock.play(pts, at, SLOT)
            elif what == "stand":
                clock.stand(at)
            else:
                clock.go_past(pts, at)
            for moment in (at, at + ms(7), at + SLOT - 1):
                position = clock.position_ns(moment)
                if position is not None:
                    assert position == (pts if what == "stand" else pts + moment - at) and position >= last
                    last = position
                    assert clock.reaches_ns(position, moment) == moment
                    if what == "stand":
                        assert clock.reaches_ns(position + 1, moment) is None
                    else:
                        stamps.append((position, position + clock.shift_at(position)))
            if what != "stand" or clock.state is ClockState.INVALID:
                pts += SLOT if what != "stand" else 0
            at += SLOT
    assert all(b[1] >= a[1] for a, b in zip(stamps, stamps[1:], strict=False))
