"""Alerts and drift: told once, taken back once, in between a summary; a rough network is not drift."""

from __future__ import annotations

import pytest

from avsync.monitor.alerts import Alarm
from avsync.types import Alert, Heard
from avsync.units import ms, seconds
from tests.monitor.monitor_story import FRAME, SLOT, Watched, lips, sound, voice

# -------------------------------------------------------------------------------------- alerts


def test_ten_thousand_bad_samples_are_one_alert_and_summaries() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(200), at_ns=0), lips(0, seconds(200), at_ns=ms(70)))
    assert len(watched.samples) > 9_900
    (first, *summaries) = [alert for alert in watched.alerts if alert.name == "offset_lead_warn"]
    assert {alert.name for alert in watched.alerts} == {"offset_lead_warn"}
    assert first.active and first.times > 1 and first.value == ms(70)
    assert seconds(5) <= first.at_ns <= seconds(7)
    assert len(summaries) == 3 and all(alert.active and alert.times >= 59 for alert in summaries)


def test_a_level_is_told_after_the_dwell_and_taken_back_below_80_percent() -> None:
    watched = Watched()
    at, pts = 0, 0
    for late_ms, length_s in ((100, 20), (38, 25), (30, 30)):  # 38 ms is below 45, but not below 80 % of it
        length = seconds(length_s)
        watched.see(voice(pts, pts + length, at_ns=at), lips(pts, pts + length, at_ns=at + ms(late_ms)))
        at, pts = watched.now_ns + SLOT, pts + length
        if late_ms == 38:
            assert watched.told("offset_lead_critical") == [True, False]
            assert watched.told("offset_lead_warn") == [True]
    assert watched.told("offset_lead_warn") == [True, False]


def test_one_short_stall_long_mended_is_no_offset_alert() -> None:
    """Ten per cent of the window were bad, but by the time of the dwell it is over; what comes again is told."""
    watched = Watched()
    watched.see(voice(0, seconds(30), at_ns=0), (p for p in lips(0, seconds(30), at_ns=0) if not 4e9 < p.at_ns < 5e9))
    assert {alert.name for alert in watched.alerts} == {"stall_video"}
    watched = Watched()
    watched.see(voice(0, seconds(30), at_ns=0), (p for p in lips(0, seconds(30), at_ns=0) if p.at_ns % 2e9 > 4e8))
    assert watched.told("offset_lead_critical") == [True] and not watched.told("offset_lag_warn")


def test_lag_has_its_own_levels() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(20), at_ns=ms(50)), lips(0, seconds(20), at_ns=0))
    assert not watched.alerts  # 50 ms is too much of a lead, but not of a lag
    watched = Watched()
    watched.see(voice(0, seconds(20), at_ns=ms(130)), lips(0, seconds(20), at_ns=0))
    assert {alert.name for alert in watched.alerts} == {"offset_lag_warn", "offset_lag_critical"}


def test_stalls_are_told_at_once_and_cleared_once() -> None:
    watched = Watched()
    silence = voice(0, ms(700), at_ns=seconds(4), what=Heard.STOPPED)
    watched.see(
        voice(0, seconds(4), at_ns=0),
        silence,
        voice(seconds(4), seconds(8), at_ns=ms(4700)),
        lips(0, seconds(1), at_ns=0),
        lips(ms(1600), seconds(4), at_ns=ms(1600)),
        lips(seconds(4), seconds(8), at_ns=ms(4700)),
    )
    assert watched.told("stall_video") == [True, False] and watched.told("stall_audio") == [True]
    assert ms(1500) < next(a.at_ns for a in watched.alerts if a.name == "stall_video") <= ms(1700)
    assert ms(4500) < next(a.at_ns for a in watched.alerts if a.name == "stall_audio") <= ms(4700)
    watched.see(voice(seconds(8), seconds(9), at_ns=ms(8700)), lips(seconds(8), seconds(9), at_ns=ms(8700)))
    watched.see(voice(seconds(9), seconds(11), at_ns=ms(9700)), lips(seconds(9), seconds(11), at_ns=ms(9700)))
    assert watched.told("stall_audio") == [True, False]


def test_a_picture_that_holds_for_a_standing_voice_is_no_video_stall() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        voice(0, seconds(3), at_ns=seconds(1), what=Heard.STOPPED),
        voice(seconds(1), seconds(3), at_ns=seconds(4)),
        lips(0, seconds(1), at_ns=0),
        lips(seconds(1), seconds(3), at_ns=ms(4100)),
    )
    assert {alert.name for alert in watched.alerts} == {"stall_audio"}
    report = watched.monitor.report(watched.now_ns)
    assert (report.video_stall_ns, report.audio_stall_ns) == (0, 0)


def test_flapping_stalls_are_one_alert() -> None:
    watched = Watched()
    bursts = [list(lips(i * seconds(1), i * seconds(1) + ms(300), at_ns=i * seconds(1))) for i in range(60)]
    watched.see(voice(0, seconds(60), at_ns=0), *bursts)
    assert watched.told("stall_video") == [True]


def test_pauses_and_idle_time_are_no_stall() -> None:
    watched = Watched()
    watched.see(
        voice(0, seconds(1), at_ns=0),
        lips(0, seconds(5), at_ns=0),
        voice(0, seconds(3), at_ns=seconds(1), what=Heard.PASSING),
        voice(seconds(4), seconds(5), at_ns=seconds(4)),
        voice(0, seconds(10), at_ns=seconds(5), what=Heard.IDLE),
    )
    assert not watched.alerts


def test_a_first_picture_that_does_not_come_is_told_and_taken_back_when_it_does() -> None:
    watched = Watched()
    watched.see(voice(0, ms(6000), at_ns=0), lips(ms(4000), ms(6000), at_ns=ms(4000)))
    (first,) = [alert for alert in watched.alerts if alert.name == "stall_video"]
    assert first.active and ms(800) < first.at_ns < seconds(1) and first.value > ms(800)
    watched.see(voice(seconds(6), seconds(11), at_ns=seconds(6)), lips(seconds(6), seconds(11), at_ns=seconds(6)))
    assert watched.told("stall_video") == [True, False]


def test_a_voice_that_nobody_observes_any_more_is_not_said_to_lack_pictures() -> None:
    watched = Watched()
    watched.see(voice(0, ms(820), at_ns=0))  # at 0.9 s it would be told
    watched.now_ns = seconds(4)
    watched.poll()
    assert not watched.alerts


def test_both_streams_stop_behind_a_service_that_does_not_say_so() -> None:
    """The end of a talk, for all that anybody can know. When it goes on after three seconds, it was an outage."""
    for goes_on in (False, True):
        watched = Watched(ends_told=False)
        silence = voice(0, seconds(3), at_ns=seconds(2), what=Heard.STOPPED)
        watched.see(voice(0, seconds(2), at_ns=0), lips(0, seconds(2), at_ns=0), silence)
        assert not watched.alerts
        assert watched.monitor.report(watched.now_ns).audio_stall_ns is None
        if goes_on:
            rest = seconds(2), seconds(3)
            watched.see(voice(*rest, at_ns=seconds(5)), lips(*rest, at_ns=seconds(5)))
            (told,) = watched.alerts
            assert (told.name, told.value) == ("stall_audio", seconds(3)) and told.at_ns <= ms(5200)


def test_an_engine_that_has_pictures_of_what_is_not_said_knows_that_it_is_no_end() -> None:
    watched = Watched(ends_told=False)
    watched.see(voice(0, seconds(2), at_ns=0), lips(0, seconds(2), at_ns=0))
    watched.see(voice(0, seconds(1), at_ns=seconds(2), what=Heard.STOPPED))
    watched.monitor.count(Alert("stall_video", True, watched.now_ns, 0, ms(500)))
    watched.see(voice(0, ms(200), at_ns=seconds(3), what=Heard.STOPPED))
    assert not watched.alerts
    watched.monitor.count(Alert("stall_audio", True, watched.now_ns, 0, ms(500)))
    watched.see(voice(0, ms(200), at_ns=ms(3200), what=Heard.STOPPED))
    assert watched.told("stall_audio") == [True]
    watched.monitor.count(Alert("stall_audio", False, watched.now_ns, 0, 0))
    assert watched.monitor.report(watched.now_ns).audio_stall_ns is None


def test_a_host_that_slept_in_the_middle_of_a_word_says_so() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(2), at_ns=0), lips(0, seconds(2), at_ns=0))
    watched.now_ns = seconds(5)
    asleep = sound(seconds(2), None, what=Heard.STOPPED, duration_ns=seconds(3))
    rest = seconds(2), seconds(3)
    watched.see([asleep], voice(*rest, at_ns=seconds(5)), lips(*rest, at_ns=seconds(5)))
    assert [(alert.name, alert.value) for alert in watched.alerts] == [("stall_audio", seconds(3))]


def test_a_host_that_slept_while_the_sound_passed_says_that_lips_were_gone() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(2), at_ns=0), lips(0, seconds(2), at_ns=0))
    watched.now_ns = seconds(5)
    passed = voice(0, seconds(3), at_ns=seconds(2), what=Heard.PASSING)
    watched.see(passed, voice(seconds(5), seconds(6), at_ns=seconds(5)), lips(seconds(5), seconds(6), at_ns=seconds(5)))
    assert [(alert.name, alert.value) for alert in watched.alerts] == [("stall_video", seconds(3))]


def test_missing_sender_reports_are_told_once_they_are_expected() -> None:
    watched = Watched(point="viewer")
    watched.advance(seconds(20))
    assert not watched.alerts  # nobody said that there would be any
    watched.monitor.on_sender_report(watched.now_ns)
    watched.advance(seconds(24))
    assert not watched.alerts and watched.monitor.report(watched.now_ns).sender_report_age_ns == seconds(4)
    watched.advance(seconds(26))
    assert watched.told("no_sender_report") == [True]
    assert watched.monitor.report(watched.now_ns).alerts == ("no_sender_report",)
    for _ in range(8):
        watched.monitor.on_sender_report(watched.now_ns)
        watched.advance(watched.now_ns + seconds(1))
    assert watched.told("no_sender_report") == [True, False]


# --------------------------------------------------------------------------------------- drift


def drifting(ppm: int, length_s: int, *, jitter_ns: int = 0, step_ns: int = 0) -> Watched:
    """Lips that fall behind by ``ppm``, with a saw-tooth of jitter and one step in the middle."""
    watched = Watched()
    shown = []
    for p in lips(0, seconds(length_s), at_ns=ms(5)):
        assert p.pts_ns is not None
        late = p.pts_ns * ppm // 1_000_000 + jitter_ns * (p.pts_ns // FRAME * 7 % 11) // 11
        shown.append(p._replace(at_ns=p.at_ns + late + (step_ns if p.pts_ns > seconds(length_s) // 2 else 0)))
    watched.see(voice(0, seconds(length_s), at_ns=ms(5)), shown)
    return watched


@pytest.mark.parametrize("ppm", [300, -300, 0])
def test_drift_is_the_slope_of_the_offset_whatever_jitters_and_steps(ppm: int) -> None:
    watched = drifting(ppm, 75, jitter_ns=ms(8), step_ns=ms(30))
    report = watched.monitor.report(watched.now_ns)
    assert report.drift_ppm is not None and abs(report.drift_ppm - ppm) <= 30
    assert watched.told("drift") == ([True] if ppm else [])


def test_drift_is_unknown_below_a_minute() -> None:
    watched = drifting(300, 50)
    assert watched.monitor.report(watched.now_ns).drift_ppm is None and not watched.told("drift")


def test_drift_is_what_corrections_leave() -> None:
    """A corrected stream shows none: the number is a result, and must not feed the correction again."""
    watched = Watched()
    shown = [p._replace(at_ns=p.at_ns + (p.at_ns * 500 // 1_000_000) % ms(4)) for p in lips(0, seconds(90), at_ns=0)]
    watched.see(voice(0, seconds(90), at_ns=0), shown)  # 500 ppm, stepped back every 8 s
    report = watched.monitor.report(watched.now_ns)
    assert report.abs_max_ns is not None and report.abs_max_ns < ms(5)
    assert not watched.told("drift")


def test_nothing_is_integrated_while_a_stream_stands() -> None:
    """Pauses that grow through the minute pull the mean offset to 0; it is 40 ms and no drift all the same."""
    watched = Watched()
    slots = list(voice(0, seconds(80), at_ns=0))
    pauses = [seconds(1) - p.at_ns // 100 < p.at_ns % seconds(1) for p in slots]
    spoken = [
        p._replace(what=Heard.PASSING, pts_ns=None) if pause else p for p, pause in zip(slots, pauses, strict=True)
    ]
    watched.see(spoken, lips(0, seconds(80), at_ns=ms(40)))
    report = watched.monitor.report(watched.now_ns)
    assert report.drift_ppm == 0 and 0 in watched.offsets_ms(seconds(70)) and 40 in watched.offsets_ms(seconds(70))


def test_drift_is_unknown_where_turns_are_too_short_for_a_slope() -> None:
    """Every turn anchors anew: what lies between two turns is no drift."""
    watched = Watched()
    for turn in range(30):
        at = seconds(3) * turn
        watched.see(
            voice(at, at + seconds(3), at_ns=at, epoch=turn), lips(at, at + seconds(3), at_ns=at + ms(turn), epoch=turn)
        )
    report = watched.monitor.report(watched.now_ns)
    assert report.drift_ppm is None and report.abs_max_ns == ms(29)


def test_slopes_that_do_not_agree_are_weather() -> None:
    watched = Watched()
    shown = [p._replace(at_ns=p.at_ns + ms(p.at_ns // seconds(1) * 37 % 41)) for p in lips(0, seconds(90), at_ns=0)]
    shown = [p._replace(at_ns=p.at_ns + p.at_ns * 150 // 1_000_000) for p in shown]
    watched.see(voice(0, seconds(90), at_ns=0), shown)
    report = watched.monitor.report(watched.now_ns)
    assert report.drift_ppm is not None and not watched.told("drift")


def test_an_old_drift_is_not_current() -> None:
    watched = drifting(300, 75)
    assert watched.monitor.report(watched.now_ns + seconds(11)).drift_ppm is None


def test_an_alarm_counts_what_it_did_not_repeat() -> None:
    alarm = Alarm("x", 10, dwell_ns=seconds(3), clear_ns=seconds(3))
    values = [11, 0, 0, 11, 12, 13, 14, 15, 9, 9, 8, None, 8, 8, 8, 8, 8]
    news = [alarm.update(value, seconds(at), 7) for at, value in enumerate(values)]
    assert [alert for alert in news if alert is not None] == [
        Alert("x", True, seconds(6), 7, 14, 4),
        Alert("x", False, seconds(15), 7, 8, 1),  # unknown once: the dwell began anew; 15 was over
    ]


def test_what_follows_an_interrupt_is_no_stall_of_the_old_turn() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.monitor.interrupt(1)
    watched.see(voice(0, seconds(3), at_ns=seconds(1), epoch=1, what=Heard.STOPPED))
    assert not watched.alerts
