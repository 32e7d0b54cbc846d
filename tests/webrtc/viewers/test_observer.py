"""From a viewer's reports to the offset at that viewer: what is believed, what is not, and what is left unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.monitor.belief import SyncSample
from avsync.types import AUDIO, Heard, ObservedBy, Presented
from avsync.units import SOUND_HZ, ms, ns_to_ticks, seconds
from avsync.webrtc.viewers.observer import CLOCK_JUMP_NS, WRAP, PathConstants
from tests.webrtc.viewers.viewer_story import SLOT, START, Page

QUARTER = ms(0.25)  # a percentile's bin; and RTP ticks


def near(value: int | None, wanted: int, within: int = ms(1)) -> bool:
    return value is not None and abs(value - wanted) <= within


@pytest.mark.parametrize("late_ms", [-80, 0, 80, 250])
def test_the_sign_at_the_viewer_positive_is_the_voice_ahead_of_the_lips(late_ms: int) -> None:
    page = Page(picture_ns=lambda _: ms(100 + late_ms), sound_ns=lambda _: ms(100))
    page.watch_for(0, 12)
    report = page.observer.report(page.now_ns)
    assert near(report.offset_ns, ms(late_ms)) and near(report.abs_p95_ns, abs(ms(late_ms)))
    assert report.point == "viewer" and report.source is ObservedBy.STATS and report.samples > 400
    assert page.observer.ignored == {} and page.observer.gate.refused == {}


def test_the_constants_of_the_path_move_the_belief_by_their_difference() -> None:
    page = Page(path=PathConstants(screen_ns=ms(21), sound_ns=ms(50)))
    page.watch_for(0, 12)
    assert near(page.observer.report(page.now_ns).offset_ns, ms(21 - 50)), "heard later: the voice is behind"


def test_too_little_and_too_old_is_unknown() -> None:
    page = Page()
    assert page.observer.report(START).offset_ns is None
    page.watch_for(0, 1)
    assert page.observer.report(page.now_ns).offset_ns is None
    page.watch_for(1, 10)
    assert page.observer.report(page.now_ns).offset_ns is not None
    report = page.observer.report(page.now_ns + seconds(6))
    assert report.offset_ns is None and report.abs_p50_ns is not None
    assert page.observer.as_dict(page.now_ns + seconds(6))["video"] is None, "nor are its buffers of now"


def test_rtp_time_wraps_in_one_stream_and_then_in_the_other() -> None:
    page = Page(origins=(WRAP - SOUND_HZ * 6, WRAP - 90_000 * 14), picture_ns=lambda _: ms(120))
    page.watch_for(0, 20)
    report = page.observer.report(page.now_ns)
    assert near(report.abs_p50_ns, ms(40)) and near(report.abs_max_ns, ms(40), ms(2))
    assert page.observer.ignored == {}


def test_after_two_days_the_wrapped_stamps_are_those_of_now() -> None:
    page = Page(from_ns=seconds(48 * 3600), picture_ns=lambda _: ms(120))
    for second in range(48 * 3600, 48 * 3600 + 12):
        page.send(seconds(second + 1))
    assert near(page.observer.report(page.now_ns).offset_ns, ms(40))


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_the_way_of_the_reports_and_the_pages_clock_do_not_move_the_offset(ppm: int) -> None:
    """Reports take 5 to 900 ms, the page's clock is another and drifts: sound and picture are of one clock."""
    page = Page(picture_ns=lambda _: ms(130), page_ppm=ppm, page_ahead_ns=seconds(7777))
    page.watch_for(0, 90, way_ns=lambda second: ms(5 + (second * 37) % 10 * 90))
    report = page.observer.report(page.now_ns)
    assert near(report.abs_p50_ns, ms(50), ms(1.5)) and near(report.abs_p95_ns, ms(50), ms(10))


def test_a_page_that_slept_for_an_hour_is_placed_anew() -> None:
    page = Page(picture_ns=lambda _: ms(130))
    page.watch_for(0, 10)
    page.page_ahead_ns -= seconds(3000)  # its clock stood meanwhile
    page.sound_ns = page.picture_ns = lambda _: None
    page.leave(seconds(3600))
    page._shown_ns = page._heard_ns = seconds(3600)
    page.sound_ns, page.picture_ns = (lambda _: ms(80)), (lambda _: ms(130))
    for second in range(3600, 3612):
        page.send(seconds(second + 1))
    report = page.observer.report(page.now_ns)
    assert near(report.offset_ns, ms(50)) and report.unbelievable == 0


def test_a_tab_in_the_background_is_unknown_and_not_a_freeze() -> None:
    page = Page()
    page.watch_for(0, 10)
    for second in range(10, 30):
        page.send(seconds(second + 1), hidden=True, frames=[], video={"decoded": 0})
    assert page.observer.report(page.now_ns).offset_ns is None
    page.watch_for(30, 45)
    report = page.observer.report(page.now_ns)
    assert near(report.offset_ns, 0) and near(report.abs_max_ns, 0, ms(45)), "nor is its old picture compared"
    assert page.observer.ignored == {"unseen": 20}


def test_after_a_look_away_the_picture_of_before_is_not_compared() -> None:
    page = Page(picture_ns=lambda stamp: None if seconds(10.8) < stamp < seconds(11.6) else ms(80))
    page.watch_for(0, 10)
    page.send(seconds(11), hidden=True)
    page.watch_for(11, 20)
    report = page.observer.report(page.now_ns)
    assert near(report.abs_max_ns, 0, ms(45)) and report.freeze_longest_ns == 0 and report.samples < 830


def test_a_page_that_is_told_of_no_frames_while_they_are_decoded_does_not_see() -> None:
    page = Page()
    page.watch_for(0, 10)
    for second in range(10, 20):
        page.send(seconds(second + 1), frames=[], video={"decoded": 25})
    assert page.observer.report(page.now_ns).offset_ns is None
    assert page.observer.report(page.now_ns).freeze_longest_ns == 0


def test_a_picture_that_freezes_is_seen_to_freeze() -> None:
    page = Page(picture_ns=lambda stamp: None if seconds(10) <= stamp < seconds(13) else ms(80))
    page.watch_for(0, 25)
    report = page.observer.report(page.now_ns)
    assert near(report.freeze_longest_ns, seconds(3), ms(100)) and near(report.abs_max_ns, seconds(3), ms(60))
    assert near(report.offset_ns, 0)


def test_a_voice_that_stops_and_goes_on_later_is_heard_so() -> None:
    """The sound buffer ran dry for 400 ms and plays all of it 400 ms later; the picture does not wait."""
    page = Page(sound_ns=lambda stamp: ms(480) if stamp >= seconds(10) else ms(80))
    page.watch_for(0, 25)
    report = page.observer.report(page.now_ns)
    assert near(report.offset_ns, -ms(400)) and near(report.lag_p95_ns, ms(400))
    assert page.observer.ignored == {}


def late_from_5_s(stamp: int) -> int:
    return ms(480) if stamp >= seconds(5) else ms(80)


def left_out_at_5_s(stamp: int) -> int | None:
    return ms(480) if stamp < seconds(5) else None if stamp < seconds(5.4) else ms(80)


@pytest.mark.parametrize(("sound", "kinds"), [(late_from_5_s, {Heard.STOPPED}), (left_out_at_5_s, set())])
def test_what_was_heard_tiles_the_time_in_which_it_was_heard(sound: Any, kinds: set[Heard]) -> None:
    page = Page(sound_ns=sound)
    seen: list[Presented] = []
    observe = page.observer.monitor.observe
    page.observer.monitor.observe = lambda presented, now: (seen.append(presented), observe(presented, now))[1]  # type: ignore
    page.watch_for(0, 10)
    sounds = [each for each in seen if each.kind is AUDIO]
    assert {each.what for each in sounds} == {Heard.CONTENT} | kinds
    for one, other in zip(sounds, sounds[1:], strict=False):
        assert one.at_ns + one.duration_ns == other.at_ns, "tiled"


def test_a_voice_that_leaves_something_out_is_heard_so() -> None:
    def sound(stamp: int) -> int | None:
        return ms(480) if stamp < seconds(10) else None if stamp < seconds(10.4) else ms(80)

    page = Page(sound_ns=sound)
    page.watch_for(0, 25)
    assert near(page.observer.report(page.now_ns).offset_ns, 0)
    samples: list[SyncSample] = []
    page = Page(sound_ns=sound, on_sample=samples.append)
    page.watch_for(0, 25)
    assert all(near(s.offset_ns, -ms(400), ms(25)) for s in samples if s.exact and s.at_ns < START + seconds(10.3))
    assert all(near(s.offset_ns, 0, ms(25)) for s in samples if s.exact and s.at_ns > START + seconds(10.8))


def test_a_stretched_voice_is_followed() -> None:
    """A buffer that shrinks by 100 ms in 2 s: the packets are played from a millisecond earlier each."""

    def sound(stamp: int) -> int:
        return ms(180) - min(max(stamp - seconds(10), 0) // 20, ms(100))

    samples: list[SyncSample] = []
    page = Page(sound_ns=sound, on_sample=samples.append)
    page.watch_for(0, 25)
    assert page.observer.ignored == {}
    for sample in (sample for sample in samples if sample.exact):
        heard_ns = sample.at_ns - START
        played_ns = heard_ns - sound(heard_ns - ms(130))
        truth = ms(80) - sound(played_ns)
        assert near(sample.offset_ns, truth, ms(12)), sample
    assert near(samples[-1].offset_ns, 0)


def test_play_times_that_come_in_pulls_of_the_device_are_smoothed() -> None:
    """A device that pulls 23 ms at once: the same voice, told up to 20 ms too late."""
    page = Page(sound_ns=lambda stamp: ms(80) + (-(stamp + ms(80)) % ms(23)), picture_ns=lambda _: ms(80 + 11))
    page.watch_for(0, 20)
    report = page.observer.report(page.now_ns)
    assert near(report.offset_ns, 0, ms(5)) and near(report.abs_p95_ns, 0, ms(9))


def test_silence_idle_pictures_and_turns_are_what_they_were_when_they_left() -> None:
    page = Page(picture_ns=lambda _: ms(110))

    def content(stamp: int) -> tuple[int, Heard]:
        return stamp, Heard.CONTENT if stamp % seconds(5) < seconds(4) else Heard.IDLE

    page.content = content
    page.watch_for(0, 21)
    report = page.observer.report(page.now_ns)
    assert near(report.abs_p50_ns, ms(30)) and near(report.abs_max_ns, ms(30), ms(45))
    assert report.audio_stall_ns == 0


def test_after_an_interrupt_the_old_turn_does_not_count() -> None:
    page = Page(picture_ns=lambda _: ms(300))
    page.watch_for(0, 5)
    page.observer.interrupt(2)
    before = page.observer.report(page.now_ns).samples
    page.watch_for(5, 10)
    report = page.observer.report(page.now_ns)
    assert report.ignored > 200 and report.samples <= before + 120


def test_before_the_first_packet_reports_are_taken_and_not_believed() -> None:
    page = Page()
    page.observer._origins = lambda: (None, 5)
    page.watch_for(0, 3)
    assert page.observer.ignored == {"before the first packet": 3}


def test_what_getstats_claims_is_kept_apart_from_what_is_believed() -> None:
    page = Page(picture_ns=lambda _: ms(200))
    side = {"playout": 4004210344897.0, "depth": 50}
    for second in range(10):
        page.send(seconds(second + 1), audio=side, video={"playout": 4004210344953.0, "decoded": 25})
    shown = page.observer.as_dict(page.now_ns)
    assert shown["claim_ms"] == -56 and abs(shown["offset_ms"] - 120) < 1
    assert shown["audio"] == {"depth_ms": 50, "target_ms": None, "minimum_ms": None}
    json.dumps(shown)
    page.send(seconds(11), audio={"playout": 0}, video={"playout": 5})
    assert page.observer.claim_ns is None, "0: no sender report has come"


def test_a_browser_without_frame_times_is_unknown_and_still_says_the_rest() -> None:
    page = Page()
    for second in range(10):
        page.send(seconds(second + 1), frames=None, audio={"depth": 60})
    shown = page.observer.as_dict(page.now_ns)
    assert shown["offset_ms"] is None and shown["audio"]["depth_ms"] == 60


# ---- liars


def honest_then(page: Page, **lie: Any) -> None:
    page.watch_for(0, 10)
    for second in range(10, 20):
        page.leave(seconds(second + 2))
        message = page.message(seconds(second + 1))
        for name, change in lie.items():
            message[name] = [change(*entry) for entry in message[name]]
        page.now_ns = START + seconds(second + 1) + ms(15)
        page.observer.take(json.dumps(message), page.now_ns)


@pytest.mark.parametrize(
    ("why", "lie"),
    [
        ("picture that never left", {"frames": lambda rtp, at: [(rtp + 90_000 * 3600) % WRAP, at]}),
        ("picture that never left", {"frames": lambda rtp, at: [(rtp + 900) % WRAP, at]}),
        ("sound that never left", {"sounds": lambda rtp, at: [(rtp - SOUND_HZ * 3600) % WRAP, at]}),
        ("sound that never left", {"sounds": lambda rtp, at: [(rtp + SOUND_HZ * 60) % WRAP, at]}),
        ("audio before it left", {"sounds": lambda rtp, at: [rtp, at - 700]}),
        ("video before it left", {"frames": lambda rtp, at: [rtp, at - 700]}),
        ("video that goes back", {"frames": lambda rtp, at: [7, at]}),
    ],
)
def test_what_cannot_be_is_counted_and_not_believed(why: str, lie: dict[str, Any]) -> None:
    page = Page(origins=(0, 0))
    honest_then(page, **lie)
    assert page.observer.ignored[why] >= 200 or (why.endswith("back") and page.observer.ignored.total() >= 200)
    report = page.observer.report(page.now_ns)
    believed = report.offset_ns
    assert believed is None or near(believed, 0, ms(1)) or (report.freeze_longest_ns or 0) > seconds(5)


def test_a_voice_at_a_rate_that_nothing_plays_at_is_not_believed() -> None:
    page = Page(origins=(0, 0), sound_ns=lambda _: ms(2900), picture_ns=lambda _: ms(2900))
    page.watch_for(0, 10)
    base = page.page_ms(START + seconds(10))
    stamps = [seconds(7.1) + n * SLOT for n in range(120)]  # 2.4 seconds in one
    page.send(seconds(11), sounds=[[ns_to_ticks(stamp, SOUND_HZ), base + n * 8] for n, stamp in enumerate(stamps)])
    assert page.observer.ignored["sound at a rate that nothing plays at"] > 90
    assert near(page.observer.report(page.now_ns).abs_p95_ns, 0)


def test_flooding_does_not_keep_the_truth_from_being_seen() -> None:
    page = Page(picture_ns=lambda _: ms(110))
    for second in range(12):
        page.send(seconds(second + 1))
        for n in range(200):
            page.observer.take(b"{", page.now_ns + n)
        page.now_ns += 200
    assert page.observer.gate.refused["flood"] > 2000
    assert page.observer.gate.accepted >= 1, "a flooding page only spoils its own reports"


ENTRY = st.tuples(st.integers(0, WRAP - 1), st.floats(0, 30_000)).map(list)
NEAR = st.tuples(st.integers(0, 200 * SLOT // ms(1)), st.integers(-200, 12_000)).map(
    lambda pair: [ns_to_ticks(ms(pair[0]), SOUND_HZ), float(pair[1])]
)


@given(
    st.lists(
        st.tuples(
            st.lists(ENTRY | NEAR, max_size=20), st.lists(ENTRY | NEAR, max_size=20), st.booleans(),
            st.integers(-3000, 3000), st.integers(1, 20_000),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_a_page_says_nothing_breaks_and_nothing_grows(story: list[Any]) -> None:
    page = Page(origins=(0, 0))
    page.leave(seconds(20))
    now, page_ms = START + seconds(10), 0.0
    for number, (frames, sounds, hidden, jump, pause) in enumerate(story):
        now += ms(pause)
        page_ms = max(0.0, page_ms + pause + jump)
        page.observer.take(
            json.dumps(
                page.message(0) | {"n": number, "now": page_ms, "hidden": hidden, "frames": frames, "sounds": sounds}
            ),
            now,
        )
        page.observer.report(now)
        page.observer.recent(now)
        json.dumps(page.observer.as_dict(now))
        assert page.observer.monitor._watch._belief.pending < 4200


# ---- what a correction may go by


def test_recent_is_the_median_of_ten_seconds_and_of_its_halves() -> None:
    page = Page(picture_ns=lambda stamp: ms(80 if stamp < seconds(40) else 130))
    page.watch_for(0, 15)
    assert page.observer.recent(page.now_ns) is None, "its first 20 s: the browser's own loop still works"
    page.watch_for(15, 38)
    recent = page.observer.recent(page.now_ns)
    assert recent is not None and near(recent.median_ns, 0)
    assert recent.until_ns - recent.from_ns <= seconds(10)
    page.watch_for(38, 48)
    recent = page.observer.recent(page.now_ns)
    assert recent is not None and near(recent.older_ns, 0) and near(recent.newer_ns, ms(50))
    assert page.observer.recent(page.now_ns + seconds(10)) is None, "reports have stopped"


def test_a_frozen_picture_says_nothing_to_a_correction() -> None:
    page = Page(picture_ns=lambda stamp: None if stamp >= seconds(40) else ms(80))
    page.watch_for(0, 46)
    for second in range(46, 60):
        page.send(seconds(second + 1), video={"decoded": 0})
    recent = page.observer.recent(page.now_ns)
    assert recent is None


def test_the_clock_is_placed_by_the_quickest_report_of_the_last_minute() -> None:
    page = Page()
    place = page.observer._clock_offset
    assert [place(ms(delay)) for delay in (50, 20, 90)] == [ms(50), ms(20), ms(20)]
    for _ in range(60):
        last = place(ms(30))
    assert last == ms(30)
    assert place(ms(30) + CLOCK_JUMP_NS + 1) == ms(30) + CLOCK_JUMP_NS + 1


def test_observations_are_dated_in_local_time() -> None:
    samples: list[SyncSample] = []
    page = Page(on_sample=samples.append, page_ahead_ns=seconds(123_456))
    page.watch_for(0, 10)
    assert near(samples[0].at_ns, START + ms(80) + ms(15), ms(25))
    assert samples[-1].at_ns <= page.now_ns
