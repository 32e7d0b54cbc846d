"""AvSyncClock: whatever a source does, PTS go forward, tile, and begin every turn together."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from avsync.errors import UsageError
from avsync.timeline.clock import AvSyncClock
from avsync.timeline.epoch import EpochGate
from avsync.types import AUDIO, VIDEO, DropReason, MediaUnit
from avsync.units import NS_PER_S, Rate, ms, seconds, ticks_to_ns

HOUR_S = 3600
NTSC = Fraction(30_000, 1001)


def must(unit: MediaUnit | None) -> MediaUnit:
    assert unit is not None
    return unit


# --- counting ---------------------------------------------------------------------------------


def test_a_second_of_sound_and_pictures() -> None:
    clock = AvSyncClock()
    sound = [must(clock.stamp_audio(960, size_bytes=1920)) for _ in range(50)]
    pictures = [must(clock.stamp_frame(payload=n)) for n in range(25)]
    assert [unit.pts_ns for unit in sound] == [ms(20 * n) for n in range(50)]
    assert [unit.pts_ns for unit in pictures] == [ms(40 * n) for n in range(25)]
    assert sound[7] == MediaUnit(AUDIO, 7, 0, ms(140), ms(20), 1920)
    assert pictures[3] == MediaUnit(VIDEO, 3, 0, ms(120), ms(40), payload=3)


@pytest.mark.parametrize("rate", [24, 25, NTSC, 30, 60, 7, Fraction(24_000, 1001)])
def test_frames_do_not_drift_in_24_hours(rate: Rate) -> None:
    clock = AvSyncClock(video_rate=rate)
    count = 0
    for _ in range(24):
        skipped = int(rate * HOUR_S) - 50
        clock.skip_ticks(VIDEO, skipped)
        count += skipped
        for _ in range(50):
            unit = must(clock.stamp_frame())
            assert unit.pts_ns == ticks_to_ns(count, rate)
            count += 1
            assert unit.pts_ns + unit.duration_ns == ticks_to_ns(count, rate)
    assert count == 24 * int(rate * HOUR_S)


@pytest.mark.parametrize(
    ("rate", "pattern"),
    [(48_000, [960]), (44_100, [882]), (22_050, [441]), (16_000, [320]), (11_025, [220, 221]), (44_100, [1024, 1152])],
)
def test_sound_does_not_drift_in_24_hours(rate: int, pattern: list[int]) -> None:
    clock = AvSyncClock(audio_rate=rate)
    total = 0
    for hour in range(24):
        for n in range(60):
            unit = must(clock.stamp_audio(pattern[n % len(pattern)]))
            assert unit.pts_ns == ticks_to_ns(total, rate)
            total += pattern[n % len(pattern)]
            assert unit.pts_ns + unit.duration_ns == ticks_to_ns(total, rate)
        rest = (hour + 1) * HOUR_S * rate - total  # whole hours of samples, in one chunk
        must(clock.stamp_audio(rest))
        total += rest
    assert clock.next_pts_ns(AUDIO) == 24 * HOUR_S * NS_PER_S


def test_every_one_of_24_hours_of_frames_at_7_fps_tiles() -> None:
    clock = AvSyncClock(video_rate=7)
    end_ns = 0
    for _ in range(24 * HOUR_S * 7):
        unit = must(clock.stamp_frame())
        assert unit.pts_ns == end_ns
        end_ns += unit.duration_ns
    assert end_ns == 24 * HOUR_S * NS_PER_S


def test_the_sample_rate_changes_mid_stream_and_the_position_goes_on_exactly() -> None:
    clock = AvSyncClock(audio_rate=44_100)
    position = Fraction(0)
    end_ns = 0
    for n in range(3000):
        rate = (44_100, 48_000, 16_000, 22_050, 11_025)[n % 5]
        samples = (1, 441, 320, 7, 1023)[n % 5]
        clock.set_audio_rate(rate)
        unit = must(clock.stamp_audio(samples))
        assert unit.pts_ns == end_ns == position // 1
        position += Fraction(samples * NS_PER_S, rate)
        end_ns += unit.duration_ns
    assert end_ns == position // 1


def test_thousands_of_unrelated_rates_lose_nothing_that_shows_and_grow_nothing() -> None:
    clock = AvSyncClock()
    position = Fraction(0)
    for n in range(400):
        rate = Fraction(999_999_937 - 2 * n, 20_011 + 2 * n)
        clock.set_audio_rate(rate)
        must(clock.stamp_audio(1 + n % 7))
        position += (1 + n % 7) * NS_PER_S / rate
    assert clock.next_pts_ns(AUDIO) == position // 1
    assert clock._audio.den < 1 << 200


def test_the_frame_rate_changes_mid_stream_as_asked_by_a_request() -> None:
    clock = AvSyncClock(video_rate=30)
    clock.stamp_frame()
    clock.set_video_rate(15)
    assert must(clock.stamp_frame()).pts_ns == 33_333_333
    clock.set_video_rate(30)
    assert must(clock.stamp_frame()).pts_ns == 100_000_000


def test_a_turn_queues_behind_the_later_tail_of_the_last() -> None:
    clock = AvSyncClock()
    for _ in range(10):
        clock.stamp_audio(960)
    for _ in range(6):
        clock.stamp_frame()
    epoch = clock.begin_turn()
    assert clock.turn_start_ns == ms(240)
    assert must(clock.stamp_frame()).pts_ns == must(clock.stamp_audio(960)).pts_ns == ms(240)
    assert clock.epoch == epoch == 1
    assert clock.last_seam == (ms(240), ms(40), 0)


def test_pts_go_on_after_an_interrupt() -> None:
    clock = AvSyncClock()
    told = [must(clock.stamp_audio(960)) for _ in range(5)]
    epoch = clock.interrupt()
    after = must(clock.stamp_audio(960))
    assert after.pts_ns == told[-1].pts_ns + ms(20)
    assert (after.epoch, after.seq) == (epoch, 5)


def test_writes_of_an_interrupted_turn_are_refused_and_counted() -> None:
    clock = AvSyncClock()
    turn = clock.begin_turn()
    clock.stamp_audio(960, epoch=turn)
    clock.interrupt()
    assert clock.stamp_audio(960, epoch=turn) is None
    assert clock.stamp_frame(epoch=turn) is None
    assert clock.stamp_packet(AUDIO, b"\xf8", epoch=turn) is None
    assert clock.stamp_rtp_ticks(VIDEO, 0, 90_000, epoch=turn) is None
    assert clock.loop_seam(epoch=turn) is None
    assert clock.skip(VIDEO, seconds(9), epoch=turn) == clock.skip_ticks(AUDIO, 9, epoch=turn) == 0
    assert clock.refused == {DropReason.STALE_EPOCH: 7}
    assert must(clock.stamp_frame()).pts_ns == ms(20)


def test_interrupts_with_nothing_said_and_back_to_back() -> None:
    clock = AvSyncClock()
    assert clock.interrupt() == 1
    assert clock.interrupt() == 2
    assert clock.begin_turn() == 3
    unit = must(clock.stamp_audio(960))
    assert (unit.epoch, unit.pts_ns) == (3, 0)
    assert must(clock.stamp_frame()).pts_ns == 0


def test_a_resamplers_tail_is_kept_at_a_natural_end_and_refused_after_an_interrupt() -> None:
    clock = AvSyncClock()
    first = clock.begin_turn()
    clock.stamp_audio(960, epoch=first)
    second = clock.begin_turn()
    tail = must(clock.stamp_audio(480, epoch=first))
    assert (tail.epoch, tail.pts_ns) == (first, ms(20))
    assert must(clock.stamp_audio(960, epoch=second)).pts_ns == ms(30)
    clock.interrupt()
    assert clock.stamp_audio(480, epoch=second) is None


def test_a_tail_that_comes_after_the_next_turn_began_is_too_late() -> None:
    clock = AvSyncClock()
    first, second = clock.begin_turn(), clock.begin_turn()
    clock.stamp_audio(960, epoch=second)
    assert clock.stamp_frame(epoch=first) is None
    assert clock.refused == {DropReason.DISCONTINUITY: 1}


@pytest.mark.parametrize("epoch", [1, -1.0, 0.5, "0", float("nan")])
def test_an_epoch_nobody_began_is_the_callers_mistake(epoch: Any) -> None:
    with pytest.raises(UsageError, match="epoch"):
        AvSyncClock().stamp_audio(960, epoch=epoch)


def test_whoever_interrupts_a_shared_gate_interrupts_the_clock() -> None:
    gate = EpochGate()
    clock = AvSyncClock(gate=gate)
    turn = clock.begin_turn()
    clock.stamp_audio(960, epoch=turn)
    gate.interrupt()
    assert clock.stamp_audio(960, epoch=turn) is None
    assert must(clock.stamp_audio(960)).epoch == gate.current


def test_skipping_goes_forward_only_and_leaves_the_other_stream_alone() -> None:
    clock = AvSyncClock()
    clock.stamp_frame()
    assert clock.skip(VIDEO, ms(1000)) == ms(960)
    assert clock.skip(VIDEO, ms(500)) == 0
    assert must(clock.stamp_frame()).pts_ns == ms(1000)
    assert must(clock.stamp_audio(960)).pts_ns == 0
    assert clock.stamp_frame(pts_ns=ms(700)) is None


def test_a_source_on_its_own_grid_skips_whole_frames() -> None:
    clock = AvSyncClock(video_rate=NTSC)
    clock.stamp_frame()
    left_out = clock.ticks_until(VIDEO, ms(1013))
    clock.skip_ticks(VIDEO, left_out)
    unit = must(clock.stamp_frame())
    assert unit.pts_ns == ticks_to_ns(31, NTSC)
    assert unit.pts_ns - unit.duration_ns < ms(1013) <= unit.pts_ns
    assert clock.stamp_frame(pts_ns=unit.pts_ns - 1) is None  # what was left out stays out
    clock.skip_ticks(VIDEO, 1)
    assert clock.stamp_frame(pts_ns=clock.next_pts_ns(VIDEO) - 1) is None
    assert clock.ticks_until(VIDEO, 0) == 0
    assert clock.ticks_until(VIDEO, clock.next_pts_ns(VIDEO)) == 0


def test_ten_thousand_short_loops_of_unequal_lengths_do_not_drift_apart() -> None:
    clock = AvSyncClock(audio_rate=44_100, video_rate=NTSC)
    length = 4 * Fraction(NS_PER_S) / NTSC  # 133466666.67 ns; the sound is 133333333.33
    for n in range(10_000):
        assert must(clock.stamp_audio(5880)).pts_ns == n * length // 1
        for frame in range(4):
            assert must(clock.stamp_frame()).pts_ns == (n * length + frame * NS_PER_S / NTSC) // 1
        seam = clock.loop_seam()
        assert seam is not None and seam.video_gap_ns == 0 and 133_333 <= seam.audio_gap_ns <= 133_334
    assert clock.next_pts_ns(AUDIO) == clock.next_pts_ns(VIDEO) == clock.turn_start_ns
