"""Reading: viewers made up by hand, whose offset is known, and what the reading says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from avsync.glass.figures import figures, interrupt_to_silence_ms, settle_ms
from avsync.glass.marker_free import claims, fitted_ms, marker_free, rtp_ms, went_back
from avsync.glass.marks import NUMBER_LIMIT, sound
from avsync.glass.reading import ReadingState, read
from avsync.glass.recording import recording
from avsync.glass.voice_position import locate_voice
from tests.glass.glass_story import Viewer


def in_step(*, offset_ms: float = 0.0, **more: object) -> Viewer:
    """Six seconds of a viewer who hears ``offset_ms`` ahead of what it sees."""
    viewer = Viewer(**more)
    viewer.hear(1000, 20_000 + offset_ms, 6000)
    viewer.show_all(1000, 20_000, 6000)
    return viewer


@pytest.mark.parametrize("offset_ms", [0.0, 80.0, -80.0, 443.0, -1166.0])
def test_a_known_offset_is_read_with_its_sign(offset_ms):
    said = figures(read(in_step(offset_ms=offset_ms).recording()))
    assert said.p50_ms == pytest.approx(offset_ms, abs=0.1)
    assert said.abs_max_ms == pytest.approx(abs(offset_ms), abs=0.5)
    assert said.measured_pct > 98


def test_noise_and_a_lowered_voice_change_nothing():
    said = figures(read(in_step(offset_ms=35, noise=700).recording()))
    assert said.p50_ms == pytest.approx(35, abs=0.2)
    assert said.heard_pct > 97


def test_the_picture_is_held_for_its_duration_and_then_it_freezes():
    viewer = Viewer()
    viewer.hear(1000, 0, 6000)
    viewer.show_all(1000, 0, 2000)
    viewer.show_all(4000, 3000, 3000)  # a second without a new picture
    reading = read(viewer.recording())
    said = figures(reading)
    assert said.freeze_longest_ms == pytest.approx(1000, abs=20)
    assert said.abs_max_ms == pytest.approx(1000, abs=20)
    assert said.lead_p95_ms > 500 and said.lag_p95_ms < 1


def test_showing_a_picture_again_does_not_renew_it():
    """A sender that repeats its last frame through a stall does not stop the offset from growing."""
    viewer = Viewer()
    viewer.hear(1000, 0, 6000)
    viewer.show_all(1000, 0, 2000)
    for number in range(25):
        viewer.show(3000 + 40 * number, 1960)
    viewer.show_all(4000, 3000, 3000)
    said = figures(read(viewer.recording()))
    assert said.abs_max_ms == pytest.approx(1000, abs=20)
    assert said.freeze_longest_ms == pytest.approx(1000, abs=20)


def test_inserted_silence_stops_the_voice_and_pictures_that_wait_are_in_step():
    viewer = Viewer()
    viewer.hear(1000, 0, 2000)
    viewer.hear(3500, 2000, 3500)
    viewer.show_all(1000, 0, 2000)
    viewer.show_all(3500, 2000, 3500)
    said = figures(read(viewer.recording()))
    assert said.abs_max_ms < 45  # the picture's own duration at the seam
    assert said.heard_pct == pytest.approx(100 * 5.5 / 6, abs=2)


def test_inserted_silence_with_pictures_that_go_on_is_a_growing_offset():
    viewer = Viewer()
    viewer.hear(1000, 0, 2000)
    viewer.hear(3500, 2000, 3500)
    viewer.show_all(1000, 0, 6000)
    reading = read(viewer.recording())
    assert figures(reading.between(3200, 3400)).p50_ms == pytest.approx(-300, abs=10)
    assert figures(reading.between(4000, 7000)).p50_ms == pytest.approx(-500, abs=1)


def test_lost_sound_passes_and_the_interval_forgives():
    """200 ms of the voice are lost; the pictures go on with it."""
    viewer = Viewer()
    viewer.hear(1000, 0, 2000)
    viewer.hear(3200, 2200, 3800)
    viewer.show_all(1000, 0, 6000)
    assert figures(read(viewer.recording())).abs_max_ms < 10


def test_a_jump_of_the_voice_is_found_again():
    viewer = Viewer()
    viewer.hear(1000, 5000, 2000)
    viewer.hear(3000, 9500, 4000)
    viewer.show_all(1000, 5000, 6000)
    reading = read(viewer.recording())
    assert figures(reading.between(3200, 6500)).p50_ms == pytest.approx(2500, abs=1)
    assert figures(reading).heard_pct > 95


def test_idle_pictures_are_degraded_and_blank_ones_unknown():
    viewer = Viewer()
    viewer.hear(1000, 0, 6000)
    viewer.show_all(1000, 0, 2000)
    viewer.show(3000, 0, idle=True)
    viewer.show_all(4000, 3000, 1000)
    viewer.show(5000, None)
    viewer.show_all(6000, 5000, 1000)
    reading = read(viewer.recording())
    said = figures(reading)
    assert said.degraded_pct == pytest.approx(100 / 6, abs=1)
    assert said.unknown_pct == pytest.approx(100 / 6, abs=2)
    assert reading.unreadable_frames == 1
    assert np.isnan(reading.e_ms[reading.state != ReadingState.MEASURED]).all()


def test_before_the_first_picture_there_is_no_picture():
    viewer = Viewer()
    viewer.hear(1000, 0, 6000)
    viewer.show(1500, None)
    viewer.show_all(2000, 1000, 5000)
    assert figures(read(viewer.recording())).no_picture_pct == pytest.approx(100 / 6, abs=2)


def test_sound_that_is_nobody_s_is_unknown_not_forgiven():
    """Three seconds of noise instead of the voice must not pass as a gap inside of which all is well."""
    viewer = Viewer(noise=1000)
    viewer.hear(1000, 0, 2000)
    viewer.hear(6000, 5000, 1000)
    viewer.show_all(1000, 0, 6000)
    assert figures(read(viewer.recording())).unknown_pct > 30


def test_numbers_wrap_after_two_hours():
    viewer = Viewer()
    viewer.hear(1000, NUMBER_LIMIT - 3000, 6000)
    viewer.show_all(1000, NUMBER_LIMIT - 3000, 6000)
    assert figures(read(viewer.recording())).abs_max_ms < 1


def test_calibrated_takes_the_constant_out_once():
    reading = read(in_step(offset_ms=-48).recording()).calibrated(-48).calibrated(-48)
    assert figures(reading).p50_ms == pytest.approx(0, abs=0.1)


def test_settling_is_a_whole_second_in_step():
    viewer = Viewer()
    viewer.hear(1000, 1000, 6000)
    viewer.show_all(1000, 800, 2000)
    viewer.show_all(3000, 3000, 4000)
    assert settle_ms(read(viewer.recording())) == pytest.approx(2000, abs=60)
    assert settle_ms(read(in_step(offset_ms=100).recording())) == math.inf


def test_an_interrupt_is_over_when_the_old_voice_is():
    viewer = Viewer()
    viewer.hear(1000, 0, 2130)
    viewer.hear(4000, 4000, 3000)
    viewer.show_all(1000, 0, 6000)
    reading = read(viewer.recording())
    assert interrupt_to_silence_ms(reading, 3000) == pytest.approx(130, abs=15)
    assert interrupt_to_silence_ms(reading, 3800) is None


def test_an_interrupt_without_silence_is_told_by_what_is_said():
    viewer = Viewer()
    viewer.hear(1000, 0, 2100)
    viewer.hear(3100, 5000, 3900)
    viewer.show_all(1000, 0, 6000)
    assert interrupt_to_silence_ms(read(viewer.recording()), 3000) == pytest.approx(100, abs=25)


def test_too_little_is_unknown_never_zero():
    """Few samples have no percentile."""
    said = figures(read(in_step().recording()).between(2000, 2100))
    assert (said.p50_ms, said.abs_p95_ms, said.freeze_longest_ms) == (None, None, None)


def test_nothing_heard_and_nothing_seen_is_nothing():
    assert figures(read(Viewer().recording())).seconds == 0
    deaf = Viewer()
    deaf.show_all(1000, 0, 6000)
    assert figures(read(deaf.recording())).unknown_pct == 100


def test_a_voice_played_faster_is_followed():
    """A jitter buffer that plays faster leaves out a pitch period now and then: here 8 ms of every 300."""
    whole = sound(0, 48_000 * 6)
    kept = np.arange(len(whole)).reshape(-1, 48 * 300)[:, 48 * 8 :].ravel()
    heard = locate_voice(whole[kept])
    known = ~np.isnan(heard.position)
    assert known.mean() > 0.9
    wrong = np.abs(heard.position - kept[heard.at])[known]
    assert np.percentile(wrong, 70) < 48 and wrong.max() < 48 * 9


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 60_000), st.integers(40, 800)), max_size=6))
def test_whatever_is_played_the_reading_holds_together(pieces):
    """Any scraps of content at any time: shapes agree, a known e is a - v, an unknown one is NaN."""
    viewer = Viewer()
    for at_ms, content_ms, for_ms in pieces:
        viewer.hear(1000 + at_ms, content_ms, for_ms)
    for at_ms, content_ms, _ in sorted(pieces):
        viewer.show(1000 + at_ms, content_ms)
    reading = read(viewer.recording())
    both = reading.heard & (reading.state == ReadingState.MEASURED)
    assert np.allclose(reading.e_ms[both], reading.a_ms[both] - reading.v_ms[both])
    assert (np.isnan(reading.e_ms) == (reading.state != ReadingState.MEASURED)).all()
    assert len({len(column) for column in (reading.at_ms, reading.e_ms, reading.state, reading.frozen)}) == 1


def test_marker_free_agrees_up_to_one_constant():
    viewer = in_step(offset_ms=80, rtp=(4_294_000_000, 4_294_900_000))  # both wrap on the way
    recorded = viewer.recording()
    reading = read(recorded)
    free = marker_free(recorded, (4_294_000_000, 4_294_900_000), reading.at_ms)
    assert fitted_ms(reading, free) == pytest.approx(0, abs=1)
    assert np.nanmedian(free.e_ms) == pytest.approx(80, abs=1)


def test_rtp_wrap_goes_on_and_a_step_back_is_one():
    ticks = [(1 << 32) - 960, 0, 960, 480, 1440]
    assert rtp_ms(ticks, (1 << 32) - 1920, 48.0).tolist() == [20, 40, 60, 50, 70]
    assert went_back(ticks) == 1


def test_a_claim_needs_both_estimates():
    """Until the first report of a stream its estimate is 0: that is no claim of half a century."""
    both = {"estimatedPlayoutTimestamp": 4_000_000_000_080.0}, {"estimatedPlayoutTimestamp": 4_000_000_000_000.0}
    told = [
        {"now_ms": 500.0, "audio": {"estimatedPlayoutTimestamp": 0}, "video": {"estimatedPlayoutTimestamp": 0}},
        {"now_ms": 1000.0, "audio": both[0]},
        {"now_ms": 2000.0, "audio": both[0], "video": {"estimatedPlayoutTimestamp": 0}},
        {"now_ms": 3000.0, "audio": both[0], "video": both[1]},
    ]
    series = claims(told)
    assert (series.at_ms.tolist(), series.e_ms.tolist()) == ([3000], [80])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"frames": [[1, 2]]},
        {"frames": [[0, 0, 0, 0, 0, None, "zz"]]},
        {"pcm": [[0, "?"]]},
        {"pcm": [[0, "AAAA"], [10**12, "AAAA"]]},
        {"clock": [["a", 1]]},
    ],
)
def test_what_is_not_the_page_s_is_refused(wrong):
    whole = {"frames": [], "pcm": [], "clock": [], "sources": [], "stats": [], "time_origin_ms": 0}
    with pytest.raises(InputError, match="not what the glass page writes"):
        recording([whole | wrong] if wrong else [{}])


def test_sound_that_the_page_lost_leaves_a_gap_not_a_shift():
    whole = {"frames": [], "clock": [], "sources": [], "stats": [], "time_origin_ms": 0}
    recorded = recording([whole | {"pcm": [[100, "AQABAA=="], [104, "AgACAA=="]]}])
    assert (recorded.pcm.tolist(), recorded.pcm_first, recorded.gaps) == ([1, 1, 0, 0, 2, 2], 100, 2)
