"""What left under which stamp: found by its stamp, kept for half a minute, whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avsync.types import AUDIO, VIDEO, Heard
from avsync.units import ms, ns_to_ticks, seconds, ticks_to_ns
from avsync.webrtc.sent_log import KEEP_NS, MAX_ENTRIES, Sent, SentLog

SLOT, FRAME = ms(20), ms(40)


def test_a_sound_is_found_by_any_stamp_within_it_and_a_picture_only_by_its_own() -> None:
    log = SentLog()
    for n in range(100):
        log.add_audio(n * SLOT, SLOT, 1, n * SLOT, Heard.CONTENT)
    log.add_video(ms(400), FRAME, 1, ms(400), Heard.CONTENT)
    assert log.audio(ms(19.9)) == log.audio(0) == Sent(0, SLOT, 1, 0, Heard.CONTENT)
    assert log.audio(-1) is None and log.audio(100 * SLOT) is None
    assert log.video(ms(410)) is None and log.video(ms(399)) is None
    assert [sent.stamp_ns for sent in log.audio_between(ms(30), ms(60))] == [ms(20), ms(40)]


def test_a_stamp_that_went_through_rtp_ticks_is_still_found() -> None:
    log = SentLog()
    for n in range(500):
        log.add_video(n * 33_366_667 + 5, FRAME, 0, n, Heard.CONTENT)
    for n in range(500):
        heard_of = ticks_to_ns(ns_to_ticks(n * 33_366_667 + 5, 90_000), 90_000)
        sent = log.video(heard_of)
        assert sent is not None and sent.pts_ns == n


def test_a_hole_in_what_left_is_a_hole() -> None:
    log = SentLog()
    log.add_audio(0, SLOT, 0, 0, Heard.CONTENT)
    log.add_audio(ms(100), SLOT, 0, SLOT, Heard.CONTENT)
    assert log.audio(ms(50)) is None
    assert [sent.stamp_ns for sent in log.audio_between(ms(30), ms(90))] == []


def test_a_day_of_stamps_keeps_half_a_minute() -> None:
    log = SentLog()
    for n in range(0, 24 * 3600 * 50, 37):
        log.add_audio(n * SLOT, SLOT, 0, None, Heard.IDLE)
    assert len(log) <= KEEP_NS // (37 * SLOT) + 2
    for n in range(3 * MAX_ENTRIES):
        log.add_video(n, 1, 0, None, Heard.IDLE)
    assert len(log) <= 2 * MAX_ENTRIES
    newest = log.newest_ns(AUDIO)
    assert newest is not None and log.audio(newest) is not None and log.audio(newest - KEEP_NS - seconds(1)) is None


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 40)), max_size=300), st.integers(-5, 2_050))
def test_in_any_order_of_stamps_it_finds_what_a_plain_search_finds(entries: list[tuple[int, int]], at: int) -> None:
    log = SentLog()
    kept: dict[int, Sent] = {}
    for stamp, lasts in entries:
        log.add_audio(ms(stamp), ms(lasts), 0, stamp, Heard.CONTENT)
        log.add_video(ms(stamp), ms(lasts), 0, stamp, Heard.CONTENT)
        kept[ms(stamp)] = Sent(ms(stamp), ms(lasts), 0, stamp, Heard.CONTENT)
    before = [sent for sent in kept.values() if sent.stamp_ns <= ms(at)]
    last = max(before, default=None)
    found = last if last is not None and ms(at) < last.stamp_ns + last.duration_ns else None
    assert log.audio(ms(at)) == found
    assert log.video(ms(at)) == kept.get(ms(at))
    assert log.newest_ns(VIDEO) == max(kept, default=None)
    stamps = [sent.stamp_ns for sent in log.audio_between(ms(at), ms(at + 50))]
    assert stamps == sorted(stamps) and all(stamp < ms(at + 50) for stamp in stamps)
