"""The monitor believes what sinks did: right signs, honest UNKNOWN, calm alerts, bounded memory."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from avsync.errors import UsageError
from avsync.monitor.monitor import AvSyncMonitor
from avsync.types import (
    AUDIO,
    VIDEO,
    Basis,
    Drop,
    DropReason,
    Heard,
    InsertSilence,
    MediaUnit,
    ObservedBy,
    Present,
    Reason,
    Repeat,
)
from avsync.units import ms, seconds
from tests.monitor.monitor_story import FRAME, SLOT, Watched, lips, picture, sound, voice

# --------------------------------------------------------------------------- what it measures


@pytest.mark.parametrize(("voice_late_ms", "lips_late_ms", "offset_ms"), [(0, 80, 80), (80, 0, -80), (0, 0, 0)])
def test_delayed_sink_is_measured_with_the_right_sign(voice_late_ms: int, lips_late_ms: int, offset_ms: int) -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(5), at_ns=ms(voice_late_ms) + ms(7)), lips(0, seconds(5), at_ns=ms(lips_late_ms) + ms(7))
    )
    report = watched.monitor.report(watched.now_ns)
    assert report.offset_ns is not None and abs(report.offset_ns - ms(offset_ms)) <= ms(1)
    assert report.abs_p50_ns == report.abs_p95_ns == report.abs_p99_ns == ms(abs(offset_ms))
    assert (report.lead_p95_ns, report.lag_p95_ns) == (ms(max(offset_ms, 0)), ms(max(-offset_ms, 0)))
    assert report.source is ObservedBy.SIM and report.point == "output"


def test_commands_are_counted_and_never_believed() -> None:
    monitor = AvSyncMonitor(point="output")
    for i in range(1000):
        unit = MediaUnit(VIDEO, i, 0, i * FRAME, FRAME)
        monitor.count(Present(unit, i * FRAME, i * FRAME, 0, Reason.LATE, stretch_ppm=900))
        monitor.count(Repeat(unit, i * FRAME, i * FRAME, 0, Reason.MISSING))
        monitor.count(Drop(unit, i * FRAME, 0, DropReason.LATE))
        monitor.count(Drop(unit, i * FRAME, 0, DropReason.STALE_EPOCH))
        monitor.count(InsertSilence(i * SLOT, i * SLOT, SLOT, 0, Reason.UNDERRUN))
        monitor.count(InsertSilence(i * SLOT, i * SLOT, SLOT, 0, Reason.LOSS))
    report = monitor.report(seconds(60))
    assert (report.samples, report.offset_ns, report.abs_p95_ns, report.source) == (0, None, None, None)
    assert (report.late, report.repeated, report.dropped, report.discarded, report.concealed) == (1000,) * 5
    assert report.silence_inserted_ns == 1000 * SLOT


def test_a_sink_that_lies_moves_the_belief() -> None:
    """The monitor cannot know better than its sink: what the sink says is what is reported."""
    watched = Watched()
    honest = list(lips(0, seconds(4), at_ns=0))
    liar = [p._replace(at_ns=p.at_ns + ms(60)) if p.at_ns >= seconds(2) else p for p in honest]
    watched.see(voice(0, seconds(4), at_ns=0), liar)
    watched.monitor.report(watched.now_ns)
    assert set(watched.offsets_ms(ms(100), seconds(2))) == {0}
    assert set(watched.offsets_ms(seconds(2) + ms(100))) == {60}


def test_freeze_counts_and_grows() -> None:
    """Samples on a grid of time, not per picture: a frozen picture is as wrong as it is old."""
    watched = Watched()
    watched.see(
        voice(0, seconds(4), at_ns=0), lips(0, seconds(1), at_ns=0), lips(seconds(2), seconds(4), at_ns=seconds(2))
    )
    report = watched.monitor.report(watched.now_ns)
    frozen = watched.offsets_ms(seconds(1), seconds(2))
    assert frozen == [20 * i for i in range(50)]
    assert report.freeze_longest_ns == report.freeze_total_ns == ms(980)  # the sample at 1.0 s is at its end
    assert report.abs_max_ns == ms(980)


def test_the_same_picture_again_is_not_fresh() -> None:
    watched = Watched()
    again = [picture(seconds(1) + i * FRAME, seconds(1) - FRAME, what=Heard.REPEAT) for i in range(10)]
    again += [picture(p.at_ns + ms(400), p.pts_ns) for p in again]  # a sink that cannot tell a repeat
    watched.see(voice(0, seconds(3), at_ns=0), lips(0, seconds(1), at_ns=0), again)
    watched.monitor.report(watched.now_ns)
    assert watched.offsets_ms(ms(1780), ms(1781)) == [780]


def test_inserted_silence_is_settled_by_the_sound_that_ends_it() -> None:
    """The lips run on for 500 ms. Right, if the source lost those 500 ms of speech; else they lead."""
    for resumes_ns, expected in ((ms(1500), 0), (ms(1000), -480)):
        watched = Watched()
        watched.see(
            voice(0, seconds(1), at_ns=0),
            voice(0, ms(500), at_ns=seconds(1), what=Heard.STOPPED),
            voice(resumes_ns, resumes_ns + seconds(1), at_ns=ms(1500)),
            lips(0, ms(1500), at_ns=0),
        )
        watched.monitor.report(watched.now_ns)
        assert watched.offsets_ms(ms(1480), ms(1500)) == [expected]


def test_long_silence_stops_or_passes() -> None:
    """Nobody waits for ever: stopped, the voice is where it was; passing, it is anywhere up to beyond now."""
    for what, wait_s, expected in ((Heard.STOPPED, 10, -1000), (Heard.PASSING, 2, 0)):
        watched = Watched()
        silence = voice(0, seconds(15), at_ns=seconds(1), what=what)
        watched.see(voice(0, seconds(1), at_ns=0), silence, lips(0, seconds(9), at_ns=0))
        assert watched.offsets_ms(seconds(2), ms(2001)) == [expected]
        newest_ns = max(s.at_ns for s in watched.samples)
        assert newest_ns <= watched.now_ns - seconds(wait_s) - ms(100)
        assert newest_ns >= watched.now_ns - seconds(wait_s) - ms(400)


def test_lips_that_stay_behind_in_a_silence_are_late() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, ms(400), at_ns=seconds(1), what=Heard.PASSING),
        voice(ms(1400), seconds(2), at_ns=ms(1400)),
        lips(0, ms(800), at_ns=0),
    )
    watched.monitor.report(watched.now_ns)
    assert watched.offsets_ms(ms(1200), ms(1201)) == [200]  # where the voice stopped, not where it may be


def test_idle_picture_is_no_belief() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(3), at_ns=0),
        lips(0, seconds(1), at_ns=0),
        [picture(seconds(1), None, what=Heard.IDLE)],
        lips(seconds(2), seconds(3), at_ns=seconds(2)),
    )
    watched.monitor.report(watched.now_ns)
    assert not watched.offsets_ms(seconds(1), seconds(2))
    assert len(watched.offsets_ms(0, seconds(1))) == 50 and len(watched.offsets_ms(seconds(2))) > 40


def test_new_voice_is_not_offset_against_the_last_turns_lips() -> None:
    """The second turn's picture comes 300 ms late; until then there is no offset, then it is 300 ms."""
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        lips(0, seconds(1), at_ns=0),
        voice(seconds(1), seconds(2), at_ns=seconds(1), epoch=1),
        lips(seconds(1), seconds(2), at_ns=ms(1300), epoch=1),
    )
    watched.monitor.report(watched.now_ns)
    assert not watched.offsets_ms(seconds(1), ms(1300))
    assert set(watched.offsets_ms(0, seconds(1))) == {0} and set(watched.offsets_ms(ms(1300))) == {300}
    assert {s.epoch for s in watched.samples} == {0, 1}


def test_lips_that_trail_the_voice_count_to_the_last_of_both() -> None:
    """Voice over at 1 s, idle; a late picture at 1.4 s: until then the lips were 200 ms short."""
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, seconds(4), at_ns=seconds(1), what=Heard.IDLE),
        lips(0, ms(800), at_ns=0),
        [picture(ms(1400), ms(960))],
    )
    watched.monitor.report(watched.now_ns)
    assert set(watched.offsets_ms(seconds(1), ms(1400))) == {200}
    assert watched.offsets_ms(ms(1400)) == [40, 20, 0]  # the last picture, to its end


def test_a_turn_whose_lips_are_done_ends_with_its_voice() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, seconds(4), at_ns=seconds(1), what=Heard.IDLE),
        lips(0, seconds(1), at_ns=0),
        [picture(seconds(1) + i * FRAME, ms(960), what=Heard.REPEAT) for i in range(50)],
    )
    watched.monitor.report(watched.now_ns)
    assert max(s.at_ns for s in watched.samples) == seconds(1)


def test_lips_before_the_first_sound_wait_for_it() -> None:
    watched = Watched()
    watched.see(
        voice(0, ms(400), at_ns=0, what=Heard.IDLE), voice(0, seconds(1), at_ns=ms(400)), lips(0, seconds(1), at_ns=0)
    )
    watched.monitor.report(watched.now_ns)
    assert watched.offsets_ms(ms(380), ms(401)) == [-380, -400]


# ------------------------------------------------------------------------- UNKNOWN and bad input


def test_too_little_data_is_unknown_and_never_zero() -> None:
    watched = Watched()
    unknown = ("offset_ns", "abs_p50_ns", "abs_p95_ns", "abs_max_ns", "lead_p95_ns", "freeze_longest_ns", "drift_ppm")
    watched.see(voice(0, ms(460), at_ns=0), lips(0, ms(460), at_ns=0))
    report = watched.monitor.report(watched.now_ns)
    assert report.samples < 20 and all(getattr(report, name) is None for name in unknown)
    assert report.sender_report_age_ns is None
    watched.see(voice(ms(460), seconds(1), at_ns=ms(460)), lips(ms(480), seconds(1), at_ns=ms(480)))
    report = watched.monitor.report(watched.now_ns)
    assert report.samples >= 20 and report.abs_p95_ns == 0 and report.drift_ppm is None


def test_no_picture_is_no_offset() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(5), at_ns=0))
    report = watched.monitor.report(watched.now_ns)
    assert report.samples == 0 and report.offset_ns is None and report.video_stall_ns is None


def test_a_voice_that_stands_and_never_goes_on_is_known_as_long_as_it_may() -> None:
    """Lips wait with it. The source says only after three seconds that this had been the end: two of them count."""
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=ms(30)))
    watched.see(voice(0, seconds(3), at_ns=seconds(1), what=Heard.STOPPED))
    watched.see(voice(0, seconds(1), at_ns=seconds(4), what=Heard.IDLE))
    watched.monitor.report(seconds(5))
    assert [s.at_ns for s in watched.samples] == list(range(ms(40), seconds(3) + 1, SLOT))
    assert set(watched.offsets_ms(ms(1100))) == {0.0}


def test_what_stands_after_an_interrupt_is_no_part_of_the_old_turn() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.see(voice(0, seconds(3), at_ns=seconds(1), epoch=1, what=Heard.STOPPED))
    watched.monitor.report(seconds(5))
    assert max(s.at_ns for s in watched.samples) <= ms(1020)


def test_a_report_says_what_the_stamps_rest_on() -> None:
    watched = Watched()
    assert watched.monitor.report(0).basis is Basis.STAMPS
    for basis in (Basis.ARRIVAL, Basis.REPORTS):
        watched.monitor.rests_on(basis)
        assert watched.monitor.report(0).basis is basis
    with pytest.raises(UsageError, match="basis must be"):
        watched.monitor.rests_on(json.loads('"arrival"'))


def test_what_has_not_been_seen_for_two_seconds_is_not_current() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(3), at_ns=0), lips(0, seconds(3), at_ns=ms(30)))
    assert watched.monitor.report(seconds(4)).offset_ns == ms(30)
    report = watched.monitor.report(seconds(6))
    assert (report.offset_ns, report.video_stall_ns, report.audio_stall_ns) == (None,) * 3
    assert report.abs_p95_ns == ms(30)  # what was, stays known


@pytest.mark.parametrize("bad", [math.nan, 1.0, None, True, "1"])
@pytest.mark.parametrize("field", ["at_ns", "duration_ns", "pts_ns", "epoch", "now"])
def test_nan_none_and_floats_are_refused(field: str, bad: Any) -> None:
    monitor = AvSyncMonitor(point="output")
    good = sound(0, 0)
    now_ns, spoiled = (bad, good) if field == "now" else (0, good._replace(**{field: bad}))
    with pytest.raises(UsageError):
        monitor.observe(spoiled, now_ns)
    monitor.observe(good, 0)


def test_time_going_backwards_and_bad_numbers_are_refused() -> None:
    monitor = AvSyncMonitor(point="viewer")
    monitor.observe(sound(seconds(1), 0), seconds(1))
    for call in (
        lambda: monitor.observe(sound(0, 0), ms(999)),
        lambda: monitor.poll(ms(999)),
        lambda: monitor.report(ms(999)),
        lambda: monitor.observe(sound(seconds(1), -1), seconds(1)),
        lambda: monitor.observe(sound(seconds(1), 0, duration_ns=-1), seconds(1)),
        lambda: monitor.observe(sound(seconds(1), 0, duration_ns=seconds(61)), seconds(1)),
        lambda: monitor.on_sender_report(ms(999)),
        lambda: monitor.interrupt(1.0),  # type: ignore[arg-type]
        lambda: AvSyncMonitor(point="glass"),
        lambda: AvSyncMonitor(point="output", settle_lag_ns=0.1),  # type: ignore[arg-type]
        lambda: AvSyncMonitor(point="output", ends_told=json.loads("1")),
    ):
        with pytest.raises(UsageError):
            call()


def test_another_clocks_observation_is_counted_not_believed() -> None:
    watched = Watched()
    watched.monitor.observe(sound(1 << 80, 0), 0)
    watched.monitor.observe(picture(-(1 << 80), 0), 0)
    watched.see(voice(0, seconds(2), at_ns=0), lips(0, seconds(2), at_ns=0))
    report = watched.monitor.report(watched.now_ns)
    assert report.unbelievable == 2 and report.abs_max_ns == 0


def test_observations_of_an_interrupted_epoch_are_ignored() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.monitor.interrupt(1)
    watched.see(
        voice(seconds(1), seconds(2), at_ns=seconds(1), epoch=1),
        lips(seconds(1), seconds(2), at_ns=seconds(1), epoch=1),
        lips(0, seconds(1), at_ns=seconds(1) + ms(5)),  # the old mouth goes on
    )
    report = watched.monitor.report(watched.now_ns)
    assert report.ignored == 25 and report.abs_max_ns == 0


def test_the_report_names_the_least_trustworthy_source() -> None:
    monitor = AvSyncMonitor(point="viewer")
    monitor.observe(sound(0, 0)._replace(source=ObservedBy.DEVICE), 0)
    assert monitor.report(0).source is ObservedBy.DEVICE
    monitor.observe(picture(0, 0)._replace(source=ObservedBy.SCHEDULED), 0)
    assert monitor.report(0).source is ObservedBy.SCHEDULED


def test_late_and_crossed_observations_change_nothing() -> None:
    """Picture known 90 ms after it was shown, sound at the start of its slot, and the other way round."""
    everything = [*voice(0, seconds(3), at_ns=0), *lips(0, seconds(3), at_ns=ms(25))]
    outcomes = []
    for sound_late, picture_late in ((0, 0), (0, ms(90)), (ms(90), 0), (ms(100), ms(100))):
        watched = Watched()
        late = {AUDIO: sound_late, VIDEO: picture_late}
        for now_ns, presented in sorted(((p.at_ns + late[p.kind], p) for p in everything), key=lambda seen: seen[0]):
            watched.monitor.observe(presented, now_ns)
        watched.monitor.report(seconds(4))
        outcomes.append(watched.samples)
    assert all(outcome == outcomes[0] for outcome in outcomes) and len(outcomes[0]) > 140


def test_turns_without_epochs_end_with_the_silence_between_them() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        lips(0, seconds(1), at_ns=0),
        voice(0, ms(500), at_ns=seconds(1), what=Heard.IDLE),
        voice(seconds(1), seconds(2), at_ns=ms(1500)),
        lips(seconds(1), seconds(2), at_ns=ms(1700)),
    )
    watched.monitor.report(watched.now_ns)
    assert not watched.offsets_ms(ms(1020), ms(1700)) and set(watched.offsets_ms(ms(1700))) == {200}


def test_lips_of_a_turn_that_is_over_start_no_new_one() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        lips(0, ms(800), at_ns=0),
        voice(0, seconds(3), at_ns=seconds(1), what=Heard.IDLE),
        [picture(ms(3900), ms(800))],
        voice(seconds(1), seconds(2), at_ns=seconds(4)),
        lips(seconds(1), seconds(2), at_ns=ms(4060)),
    )
    watched.monitor.report(watched.now_ns)
    assert not watched.offsets_ms(ms(1020), ms(4060)) and set(watched.offsets_ms(ms(4060))) == {60}


def test_lips_trail_the_voice_for_two_seconds_at_most() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(4), at_ns=0),
        voice(0, seconds(6), at_ns=seconds(4), what=Heard.IDLE),
        lips(0, seconds(4), at_ns=seconds(3)),
    )
    watched.monitor.report(watched.now_ns)
    assert max(s.at_ns for s in watched.samples) == seconds(6)
    assert watched.offsets_ms(seconds(5), ms(5001)) == [2000]


def test_the_next_turns_picture_may_come_before_the_last_ones_voice_is_over() -> None:
    """What is heard is heard, whichever turn it is of; in silence each turn has its own neighbours."""
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        lips(0, ms(880), at_ns=0),
        voice(0, ms(200), at_ns=seconds(1), what=Heard.IDLE),
        voice(seconds(1), seconds(2), at_ns=ms(1200), epoch=1),
        lips(seconds(1), seconds(2), at_ns=ms(900), epoch=1),
    )
    watched.monitor.report(watched.now_ns)
    assert watched.offsets_ms(ms(900), seconds(1)) == [-100] * 5
    assert watched.offsets_ms(ms(1100), ms(1101)) == [-200]
    assert watched.offsets_ms(ms(1400), ms(1401)) == [-300]


def test_content_that_jumps_back_makes_an_interval_all_the_same() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, ms(200), at_ns=seconds(1), what=Heard.STOPPED),
        voice(ms(800), seconds(2), at_ns=ms(1200)),
        lips(0, ms(900), at_ns=0),
    )
    watched.monitor.report(watched.now_ns)
    assert watched.offsets_ms(ms(1100), ms(1101)) == [0] and watched.offsets_ms(ms(1300), ms(1301)) == [-20]


def test_an_observation_that_comes_far_too_late_does_not_turn_time_back() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.monitor.report(seconds(1))
    for presented in (*voice(ms(500), seconds(2), at_ns=ms(500), epoch=1), *lips(0, 1, at_ns=ms(500), epoch=1)):
        watched.monitor.observe(presented, seconds(1))
    watched.monitor.report(seconds(3))
    times = [s.at_ns for s in watched.samples]
    assert times == sorted(set(times)) and {s.epoch for s in watched.samples} == {0, 1}


def test_late_lips_after_an_idle_picture_still_belong_to_the_turn() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, seconds(4), at_ns=seconds(1), what=Heard.IDLE),
        lips(0, ms(800), at_ns=0),
        [picture(ms(1200), None, what=Heard.IDLE), picture(ms(1400), ms(960))],
    )
    watched.monitor.report(watched.now_ns)
    assert len(watched.offsets_ms(seconds(1), ms(1200))) == 10 and not watched.offsets_ms(ms(1200), ms(1400))
    assert watched.offsets_ms(ms(1400)) == [40, 20, 0]
