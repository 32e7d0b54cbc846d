"""Payload: what was seen and heard is made again from the logs alone; marks in it say whether that is right."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.units import ms, seconds
from sim.payload.payload import SAMPLE_NS, heard, shown, times
from sim.truth.truth import PresentationLog, SourceLog
from tests.sim.payload.payload_story import IDLE_MARK, SCALE, Marked, content_of


def a_turn(start_ns: int = 0, length_ns: int = seconds(1)) -> SourceLog:
    """One turn of 20 ms sounds and 25 pictures a second, all made."""
    source = SourceLog()
    source.turn(0, start_ns)
    for at in range(0, length_ns, ms(20)):
        source.sound(start_ns + at, ms(20), 0, at)
    for at in range(0, length_ns, ms(40)):
        source.picture(start_ns + at, ms(40), 0, at)
    return source


def positions(source: SourceLog, glass: PresentationLog, from_ns: int, to_ns: int) -> np.ndarray:
    """Content position of each sample in ms, NaN where nothing was heard."""
    made = source.table()
    pcm = heard(made, glass.table(made), Marked(made), from_ns, (to_ns - from_ns) // SAMPLE_NS)
    return np.where(pcm == 0, np.nan, (pcm.astype(np.float64) * SCALE - 1) / 1e6)


def test_sound_is_heard_where_it_left_and_silence_is_silence() -> None:
    source, glass = a_turn(start_ns=seconds(5)), PresentationLog()
    glass.heard(ms(100), ms(20), 0, 0, ms(20))
    glass.heard(ms(140), ms(20), 1, 0, ms(20))  # 20 ms of nothing before it
    at = positions(source, glass, 0, ms(200))
    t = np.arange(len(at)) * SAMPLE_NS / 1e6
    assert np.isnan(at[(t < 100) | (t >= 160) | ((t >= 120) & (t < 140))]).all()
    np.testing.assert_allclose(at[(t >= 100) & (t < 120)], 5000 + t[(t >= 100) & (t < 120)] - 100, atol=0.001)
    np.testing.assert_allclose(at[(t >= 140) & (t < 160)], 5020 + t[(t >= 140) & (t < 160)] - 140, atol=0.001)


def test_what_is_played_faster_runs_faster_through_its_content() -> None:
    source, glass = a_turn(), PresentationLog()
    glass.heard(0, ms(15), 0, 0, ms(20))
    glass.heard(ms(15), ms(25), 1, 0, ms(20))  # and slower
    at = positions(source, glass, 0, ms(40))
    t = np.arange(len(at)) * SAMPLE_NS / 1e6
    wanted = np.where(t < 15, t * 20 / 15, 20 + (t - 15) * 20 / 25)
    np.testing.assert_allclose(at, wanted, atol=0.001)


def test_only_the_part_of_a_unit_that_left_is_heard() -> None:
    """A packet may carry the second half of a unit; what begins next cuts it short."""
    source, glass = a_turn(), PresentationLog()
    glass.heard(0, ms(10), 3, ms(10), ms(10))
    glass.heard(ms(5), ms(10), 7, 0, ms(10))
    at = positions(source, glass, 0, ms(20))
    t = np.arange(len(at)) * SAMPLE_NS / 1e6
    np.testing.assert_allclose(at[t < 5], 70 + t[t < 5], atol=0.001)
    np.testing.assert_allclose(at[(t >= 5) & (t < 15)], 140 + t[(t >= 5) & (t < 15)] - 5, atol=0.001)
    assert np.isnan(at[t >= 15]).all()


def test_at_its_own_pace_samples_are_copied_not_mixed() -> None:
    """Interpolated speech loses its treble: sound that starts between two samples is shifted by whole ones."""
    source, glass = a_turn(), PresentationLog()
    glass.heard(31_000, ms(20), 2, 0, ms(20))
    at = positions(source, glass, 0, ms(20))
    whole = at[~np.isnan(at)] * 1e6 / SAMPLE_NS
    np.testing.assert_allclose(whole, np.rint(whole), atol=0.02)
    assert whole[0] * SAMPLE_NS == pytest.approx(ms(40), abs=SAMPLE_NS)


@pytest.mark.parametrize("cut_ns", [0, 1, SAMPLE_NS, ms(7), ms(33)])
def test_any_cut_of_the_time_gives_the_same_sound(cut_ns: int) -> None:
    source, glass = a_turn(), PresentationLog()
    for index in range(10):
        glass.heard(index * ms(20) + index % 3 * 17_000, ms(18 + index % 4), index, 0, ms(20))
    cut = cut_ns // SAMPLE_NS * SAMPLE_NS
    whole = positions(source, glass, 0, ms(200))
    parts = np.concatenate([positions(source, glass, 0, cut), positions(source, glass, cut, ms(200))])
    np.testing.assert_array_equal(whole, parts)


def test_pictures_come_when_they_were_shown_and_idle_ones_are_idle() -> None:
    source, glass = a_turn(start_ns=seconds(2)), PresentationLog()
    for at, ref in ((10, -1), (50, 0), (90, 1), (130, 1), (170, -1), (210, 5)):
        glass.shown(ms(at), ref)
    made = source.table()
    changes = shown(made, glass.table(made), Marked(made), 0, ms(210))
    assert changes is not None
    when, pictures = changes
    seen = list(zip(when.tolist(), map(content_of, pictures.rois), strict=True))
    wanted = [(10, IDLE_MARK), (50, seconds(2)), (90, seconds(2) + ms(40)), (170, IDLE_MARK)]
    assert seen == [(ms(at), mark) for at, mark in wanted], "the same picture again is no change; 210 is the next part"


def test_a_viewer_who_got_nothing_got_nothing() -> None:
    source, glass = a_turn(), PresentationLog()
    made = source.table()
    left = glass.table(made)
    assert times(left) is None
    assert not heard(made, left, Marked(made), 0, 100).any()
    assert shown(made, left, Marked(made), 0, seconds(1)) is None
    glass.shown(ms(30), 0)
    glass.heard(ms(50), ms(20), 0, 0, ms(20))
    assert times(glass.table(made)) == (ms(30), ms(70))


def test_pictures_of_two_turns_in_one_chunk_keep_their_order() -> None:
    source = a_turn()
    source.turn(1, seconds(1))
    for at in range(0, ms(200), ms(40)):
        source.picture(seconds(1) + at, ms(40), 1, seconds(1) + at)
    glass = PresentationLog()
    order = [24, 25, -1, 23, 26]
    for index, ref in enumerate(order):
        glass.shown(ms(40 * index), ref)
    made = source.table()
    changes = shown(made, glass.table(made), Marked(made, landmarks=True), 0, ms(200))
    assert changes is not None
    rois, landmarks = changes[1]
    assert [content_of(roi) for roi in rois] == [ms(960), seconds(1), IDLE_MARK, ms(920), seconds(1) + ms(40)]
    assert landmarks is not None and landmarks[:, 0, 0].tolist() == pytest.approx([9.6e8, 1e9, -1, 9.2e8, 1.04e9])
