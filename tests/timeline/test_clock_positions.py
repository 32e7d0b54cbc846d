"""AvSyncClock with sources that say where they are: variable frame rate, packets, RTP times."""

from __future__ import annotations

from fractions import Fraction

import pytest

from avsync.errors import UsageError
from avsync.timeline.clock import AvSyncClock
from avsync.types import AUDIO, VIDEO, DropReason, MediaUnit
from avsync.units import ms, ticks_to_ns

NTSC = Fraction(30_000, 1001)


def must(unit: MediaUnit | None) -> MediaUnit:
    assert unit is not None
    return unit


def test_frames_of_their_own_duration_and_of_the_rate_mix() -> None:
    clock = AvSyncClock(video_rate=30)
    units = [
        must(clock.stamp_frame()),
        must(clock.stamp_frame(duration_ns=ms(100))),
        must(clock.stamp_frame()),
        must(clock.stamp_frame()),
    ]
    assert [unit.pts_ns for unit in units] == [0, 33_333_333, 133_333_333, 166_666_666]


def test_mixing_them_for_hours_loses_no_part_of_a_nanosecond() -> None:
    clock = AvSyncClock(video_rate=NTSC)
    for n in range(3000):
        assert must(clock.stamp_frame(duration_ns=ms(25))).pts_ns == n * ms(25) + ticks_to_ns(n, NTSC)
        must(clock.stamp_frame())


def test_slides_say_their_pts_after_the_turns_start() -> None:
    clock = AvSyncClock(video_rate=None)
    clock.stamp_audio(48_000)
    clock.begin_turn()
    shown = [must(clock.stamp_frame(pts_ns=ms(at))) for at in (0, 30, 1030, 61_000)]
    assert [unit.pts_ns for unit in shown] == [ms(1000 + at) for at in (0, 30, 1030, 61_000)]
    assert [unit.duration_ns for unit in shown[:3]] == [ms(40), ms(30), ms(1000)]  # the last interval, as a guess


def test_without_a_video_rate_frames_cannot_be_counted() -> None:
    clock = AvSyncClock(video_rate=None)
    with pytest.raises(UsageError, match="duration_ns or pts_ns"):
        clock.stamp_frame()
    with pytest.raises(UsageError, match="ticks"):
        clock.ticks_until(VIDEO, 0)


def test_no_pts_means_the_next_one_not_the_first() -> None:
    clock = AvSyncClock()
    clock.stamp_frame(pts_ns=ms(400), duration_ns=ms(40))
    assert must(clock.stamp_frame(pts_ns=None)).pts_ns == ms(440)


def test_the_same_frame_object_twice_gives_two_units() -> None:
    clock, picture = AvSyncClock(), object()
    first, second = must(clock.stamp_frame(payload=picture)), must(clock.stamp_frame(payload=picture))
    assert first.pts_ns < second.pts_ns and first.seq < second.seq


def test_a_source_that_repeats_its_pts_does_not_collapse_the_timeline() -> None:
    clock = AvSyncClock()
    answers = [clock.stamp_frame(pts_ns=at) for at in (0, ms(40), ms(40), ms(39), ms(80))]
    assert [unit and unit.pts_ns for unit in answers] == [0, ms(40), None, None, ms(80)]
    assert clock.refused == {DropReason.DUPLICATE: 1, DropReason.STAMP_ORDER: 1}


def test_a_pts_inside_a_counted_unit_is_refused() -> None:
    clock = AvSyncClock()
    clock.stamp_frame()
    assert clock.stamp_frame(pts_ns=ms(39)) is None
    assert must(clock.stamp_frame(pts_ns=ms(40))).pts_ns == ms(40)


def test_opus_packets_of_10_20_40_and_60_ms_say_how_long_they_are() -> None:
    clock = AvSyncClock()
    packets = [bytes([config << 3 | code]) + bytes(40) for config, code in ((30, 0), (31, 0), (31, 1), (3, 0))]
    units = [must(clock.stamp_packet(AUDIO, packet)) for packet in packets]
    assert [unit.duration_ns for unit in units] == [ms(10), ms(20), ms(40), ms(60)]
    assert [unit.pts_ns for unit in units] == [0, ms(10), ms(30), ms(70)]
    assert units[0].size_bytes == 41 and units[0].payload is packets[0] and not units[0].pause


def test_dtx_packets_are_pauses_over_which_the_content_passes() -> None:
    clock = AvSyncClock()
    must(clock.stamp_packet(AUDIO, b"\xf8" + bytes(60)))
    quiet = must(clock.stamp_packet(AUDIO, b"\xf8"))
    assert quiet.pause and quiet.pts_ns == ms(20)
    clock.skip(AUDIO, ms(420))  # 400 ms to the next comfort noise refresh: nothing is sent
    assert must(clock.stamp_packet(AUDIO, b"\xf8" + bytes(60))).pts_ns == ms(420)


def test_a_gap_in_rtp_time_is_a_gap_in_pts() -> None:
    clock = AvSyncClock()
    units = [must(clock.stamp_rtp_ticks(AUDIO, 5000 + t, 48_000, duration_ticks=960)) for t in (0, 960, 20_160)]
    assert [unit.pts_ns for unit in units] == [0, ms(20), ms(420)]


@pytest.mark.parametrize("packet", [b"", b"\xfb", b"\xfb\x3f" + bytes(63), bytes([0xFF, 0x40 | 1]) + b"\xff" * 9000])
def test_a_malformed_opus_packet_is_counted_and_changes_nothing(packet: bytes) -> None:
    clock = AvSyncClock()
    assert clock.stamp_packet(AUDIO, packet) is None
    assert clock.refused == {DropReason.BAD_PTS: 1}
    assert "RFC 6716 R" in clock.last_refusal
    unit = must(clock.stamp_packet(AUDIO, packet, duration_ns=ms(20)))  # not Opus: the caller says
    assert (unit.seq, unit.pts_ns, unit.duration_ns) == (0, 0, ms(20))


def test_encoded_pictures_keep_their_flags() -> None:
    clock = AvSyncClock()
    key = must(clock.stamp_packet(VIDEO, b"key"))
    delta = must(clock.stamp_packet(VIDEO, b"delta", is_key=False, droppable=False, pts_ns=ms(70)))
    assert key.is_key and key.duration_ns == ms(40)
    assert (delta.is_key, delta.droppable, delta.pts_ns, delta.duration_ns) == (False, False, ms(70), ms(40))


def test_rtp_ticks_wrap() -> None:
    clock = AvSyncClock(video_rate=30)
    raw = [(0xFFFF_FFFF - 4000 + n * 3000) & 0xFFFF_FFFF for n in range(6)]
    units = [must(clock.stamp_rtp_ticks(VIDEO, ticks, 90_000, duration_ticks=3000)) for ticks in raw]
    assert [unit.pts_ns for unit in units] == [ticks_to_ns(3000 * n, 90_000) for n in range(6)]
    assert all(a.pts_ns + a.duration_ns == b.pts_ns for a, b in zip(units, units[1:], strict=False))


def test_rtp_ticks_wrap_many_times_in_a_soak() -> None:
    clock = AvSyncClock()
    ticks, total = 0xFFFF_0000, 0
    for _ in range(200):
        unit = must(clock.stamp_rtp_ticks(AUDIO, (ticks + total) & 0xFFFF_FFFF, 48_000, duration_ticks=960))
        assert unit.pts_ns == ticks_to_ns(total, 48_000)
        total += 48_000 * 1800  # half an hour of DTX
    assert total > 4 * 2**32


def test_an_older_rtp_time_is_refused_and_not_a_jump_of_a_day() -> None:
    clock = AvSyncClock()
    stamps = [clock.stamp_rtp_ticks(VIDEO, ticks, 90_000) for ticks in (9000, 12_600, 9000, 12_600, 16_200)]
    assert [unit and unit.pts_ns for unit in stamps] == [0, ms(40), None, None, ms(80)]
    assert clock.refused == {DropReason.STAMP_ORDER: 1, DropReason.DUPLICATE: 1}


def test_retransmissions_in_a_row_do_not_rebuild_the_mapping() -> None:
    clock = AvSyncClock()
    for n in range(100):
        must(clock.stamp_rtp_ticks(AUDIO, 10_000 + 960 * n, 48_000))
    for n in range(50, 60):
        assert clock.stamp_rtp_ticks(AUDIO, 10_000 + 960 * n, 48_000) is None
    assert must(clock.stamp_rtp_ticks(AUDIO, 10_000 + 960 * 100, 48_000)).pts_ns == ms(2000)
    assert clock.rtp_restarts == 0


def test_a_source_that_begins_again_at_another_rtp_offset_is_followed_after_five() -> None:
    clock = AvSyncClock()
    for n in range(10):
        must(clock.stamp_rtp_ticks(AUDIO, 3_000_000_000 + 960 * n, 48_000, duration_ticks=960))
    answers = [clock.stamp_rtp_ticks(AUDIO, 1_000_000_000 + 960 * n, 48_000, duration_ticks=960) for n in range(7)]
    assert [unit and unit.pts_ns for unit in answers] == [None] * 4 + [ms(200), ms(220), ms(240)]
    assert clock.rtp_restarts == 1 and clock.refused[DropReason.STAMP_ORDER] == 4


def test_odd_rtp_times_that_do_not_follow_each_other_are_never_followed() -> None:
    clock = AvSyncClock()
    must(clock.stamp_rtp_ticks(AUDIO, 3_000_000_000, 48_000, duration_ticks=960))
    for n in range(20):
        assert clock.stamp_rtp_ticks(AUDIO, 2_000_000_000 - 960 * n, 48_000) is None
    for n in range(20):
        for other in (1_000_000_000, 2_000_000_000):
            assert clock.stamp_rtp_ticks(AUDIO, other + 960 * n, 48_000) is None
    for n in range(1, 20):  # nor those with the right ones between them
        assert clock.stamp_rtp_ticks(AUDIO, 1_500_000_000 + 960 * n, 48_000) is None
        must(clock.stamp_rtp_ticks(AUDIO, 3_000_000_000 + 960 * n, 48_000, duration_ticks=960))
    assert clock.rtp_restarts == 0


def test_rtp_times_go_on_where_counting_stopped() -> None:
    clock = AvSyncClock()
    clock.stamp_audio(4800)
    assert must(clock.stamp_rtp_ticks(AUDIO, 77, 48_000)).pts_ns == ms(100)


def test_one_absurd_rtp_time_poisons_nothing() -> None:
    clock = AvSyncClock()
    must(clock.stamp_rtp_ticks(AUDIO, 0, 48_000, duration_ticks=960))
    for absurd in (0x7FFF_0000, 0x9000_0000, -1, 1 << 70, 1.5, float("nan"), None):
        assert clock.stamp_rtp_ticks(AUDIO, absurd, 48_000, duration_ticks=960) is None  # type: ignore[arg-type]
    assert must(clock.stamp_rtp_ticks(AUDIO, 960, 48_000, duration_ticks=960)).pts_ns == ms(20)


def test_the_turns_first_rtp_time_may_be_known() -> None:
    clock = AvSyncClock()
    assert must(clock.stamp_rtp_ticks(AUDIO, 700, 48_000, base_ticks=700, duration_ticks=960)).pts_ns == 0
    assert must(clock.stamp_rtp_ticks(VIDEO, 8400, 90_000, base_ticks=3000)).pts_ns == ms(60)
    clock.begin_turn()
    assert clock.stamp_rtp_ticks(VIDEO, 100, 90_000, base_ticks=2000) is None  # before its turn
    assert must(clock.stamp_rtp_ticks(VIDEO, 2900, 90_000, base_ticks=2000)).pts_ns == ms(110)


def test_the_rtp_clock_rate_changes_mid_stream() -> None:
    clock = AvSyncClock()
    clock.stamp_rtp_ticks(AUDIO, 1000, 16_000, duration_ticks=320)
    clock.stamp_rtp_ticks(AUDIO, 1320, 16_000, duration_ticks=320)
    assert must(clock.stamp_rtp_ticks(AUDIO, 1320 + 960, 48_000, duration_ticks=960)).pts_ns == ms(40)
