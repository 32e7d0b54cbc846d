"""The evaluation: the truth of each trial, what a trial may see, which windows count, and what numbers add up to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numpy")
pytest.importorskip("rich")

from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.evaluation.degrade import RATES, at_rate
from avsync.scorer.evaluation.numbers import accuracy, bias, chosen, confidences, coverage, reliability, right, sure
from avsync.scorer.evaluation.protocol import (
    DELAYS_MS,
    MODES,
    CellSpan,
    Footage,
    Mode,
    Trials,
    counted_windows,
    isolated,
    lips_of,
    sound_of,
    trials_of,
)
from avsync.scorer.features.cells import CELL_SAMPLES
from avsync.scorer.matching.confidence import label_of, signal_of
from avsync.scorer.matching.lag_search import LagScores, Peak, best_lag, search_offsets
from avsync.scorer.matching.media_features import sound_features
from avsync.scorer.matching.segment import Measurement, measure
from avsync.scorer.scorer import SILENCE_DBFS
from tests.scorer.evaluation.evaluate_story import RATE, Opening, footage, trial


def asked(clip: Footage, truth_ms: float = 0.0, *, window_ms: int = 1000, mode: Mode = "stream") -> Trials:
    sound = sound_of(clip.pcm, clip.pcm_start_ns, truth_ms)
    backend = Opening()
    windows = counted_windows(clip, sound, window_ms)
    return trials_of(backend, lips_of(clip, backend), sound, windows, mode=mode)


# ---- the truth


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("voice_ahead_ms", [0, -80, 120, 37])
def test_every_delay_is_found_with_its_sign(mode: Mode, voice_ahead_ms: float) -> None:
    """A delay of the sound makes the voice fall behind: the truth is minus the delay, from the clip's own offset."""
    trials = asked(footage(voice_ahead_ms=voice_ahead_ms), voice_ahead_ms, mode=mode)
    for step_ms, within_ms in ((20, 20), (40, 40)):
        fine = chosen(trials, step_ms=step_ms)
        assert set(fine["delay_ms"]) == set(DELAYS_MS)
        assert np.abs(fine["found_ms"] + fine["delay_ms"]).max() <= within_ms
        assert np.array_equal(fine["error_ms"], fine["found_ms"] + fine["delay_ms"])


def test_a_wrong_reference_shows_as_an_error_of_its_size() -> None:
    """The same clip with a manifest that says 80 ms ahead where it is in sync."""
    errors = chosen(asked(footage(), 80.0), step_ms=20)["error_ms"]
    assert np.median(errors) == -80.0


def test_a_delay_on_the_grid_equals_samples_moved_and_the_product_asked() -> None:
    """The fast path against the slow one: whole new sound for the delay, `measure` without anything remembered."""
    clip, backend = footage(seed=3), Opening()
    lips, sound = lips_of(clip, backend), sound_of(clip.pcm, 0)
    window = CellSpan(100, 50)
    fast = chosen(trials_of(Opening(), lips, sound, [window], mode="stream"), step_ms=20)
    offsets_ms = search_offsets()
    for row in fast:
        moved = np.concatenate([np.zeros(RATE, np.float32), clip.pcm])  # a second of silence before, never reached
        voice = sound_features(-50, moved[: len(moved) // CELL_SAMPLES * CELL_SAMPLES], before=50)
        voice = voice._replace(first_cell=int(row["delay_ms"]) // 20)
        slow = measure(
            backend, lips.features, voice, 100, 50, offsets_ms, silence_dbfs=SILENCE_DBFS, end_ns=lips.end_ns
        )
        assert slow.scores is not None
        peak = best_lag(offsets_ms, slow.scores.rho)
        assert peak is not None
        assert (row["found_ms"], row["at_edge"]) == (peak.offset_ms, peak.at_edge)
        assert (row["best"], row["margin"]) == (
            pytest.approx(peak.best, abs=1e-5),
            pytest.approx(peak.margin, abs=1e-5),
        )
        assert (row["speech_s"], row["coverage"]) == (pytest.approx(slow.speech_s), pytest.approx(slow.coverage))


def test_other_voices_and_offsets_beyond_are_never_right() -> None:
    clip, backend = footage(), Opening()
    other, own = (sound_of(footage(seed=seed).pcm, 0) for seed in (5, 0))
    lips, windows = lips_of(clip, backend), counted_windows(clip, own, 1000)
    strangers = trials_of(backend, lips, other, windows, mode="stream", kind="other")
    beyond = trials_of(backend, lips, own, windows, mode="stream", kind="beyond")
    assert len(strangers) > 0 and len(beyond) > 0
    assert set(beyond["delay_ms"]) == {-600, 600}
    assert not right(strangers).any() and not right(beyond).any()
    assert len(chosen(strangers)) == 0 and len(chosen(strangers, kind="other")) == len(strangers)


# ---- what a trial may see


def test_an_isolated_window_sees_and_hears_nothing_else() -> None:
    clip, window = footage(), CellSpan(100, 50)
    changed = clip._replace(landmarks=clip.landmarks.copy(), rois=clip.rois.copy(), pcm=clip.pcm.copy())
    outside = (clip.start_ns < 2_000_000_000) | (clip.start_ns >= 3_000_000_000)
    changed.landmarks[outside] += 30 * np.random.default_rng(1).random((int(outside.sum()), 468, 2), np.float32)
    changed.rois[outside] = 0
    low, high = round((2.0 - 0.3 - 0.16) * RATE), round((3.0 + 0.3 + 0.16) * RATE)  # the widest delay's ±300 ms
    changed.pcm[:low] = changed.pcm[high:] = 0.3

    def seen(one: Footage, mode: Mode) -> Trials:
        backend = Opening()
        return trials_of(backend, lips_of(one, backend), sound_of(one.pcm, 0), [window], mode=mode)

    assert np.array_equal(seen(clip, "isolated"), seen(changed, "isolated"))
    assert not np.array_equal(seen(clip, "stream"), seen(changed, "stream"))


@pytest.mark.parametrize(("at", "cells"), [(100, 50), (3, 25), (270, 30)])
def test_sound_cut_out_is_as_if_there_were_no_other(at: int, cells: int) -> None:
    sound = sound_of(footage().pcm, 0)
    part = isolated(sound, at, cells)
    low, high = max(0, at - 15), min(sound.cells, at + cells + 15)
    cut = sound_features(low, sound.pcm[low * CELL_SAMPLES : high * CELL_SAMPLES])
    assert part.first_cell == cut.first_cell
    for ours, wanted in zip(part[1:], cut[1:], strict=True):
        assert np.allclose(ours, wanted, atol=1e-4)  # matrices of another height round differently


def test_the_stream_hands_over_what_the_scorer_waits_for_and_no_more() -> None:
    backend, clip = Opening(), footage(12.0)
    lips, sound = lips_of(clip, backend), sound_of(clip.pcm, 0)
    trials_of(backend, lips, sound, [CellSpan(400, 50)], mode="stream")
    cells = {(rows // 2, window.start, window.stop) for rows, window in backend.sounds}
    assert cells == {(300 + 10 + 50 + 10 + 7, 300, 300 + 70)}  # 6 s, the search, the window, the search, 140 ms


# ---- which windows count


def test_a_delay_whose_search_lacks_sound_is_left_out() -> None:
    clip, backend = footage(3.0), Opening()
    lips, sound = lips_of(clip, backend), sound_of(clip.pcm, 0)
    first = trials_of(backend, lips, sound, [CellSpan(0, 50)], mode="stream")
    # At the clip's start only sound moved earlier, by 200 ms or more, has 200 ms before the window: no delay does.
    assert len(first) == 0
    some = chosen(trials_of(backend, lips, sound, [CellSpan(12, 50)], mode="stream"), step_ms=40)
    assert set(some["delay_ms"]) == {delay for delay in DELAYS_MS if 240 - delay - 200 >= 0}


def test_silence_and_lost_faces_do_not_count() -> None:
    clip = footage(6.0)
    everything = len(counted_windows(clip, sound_of(clip.pcm, 0), 1000))
    quiet = clip._replace(pcm=clip.pcm.copy())
    quiet.pcm[: 3 * RATE] *= 0.001
    heard = counted_windows(quiet, sound_of(quiet.pcm, 0), 1000)
    assert 0 < len(heard) < everything
    assert min(window.start for window in heard) >= (3000 - 500 - 20) // 20
    lost = clip._replace(landmarks=clip.landmarks.copy())
    lost.landmarks[60:62] = np.nan  # 2.40 to 2.48 s: 8 % of a window of a second, 4 % of one of two
    seen = counted_windows(lost, sound_of(lost.pcm, 0), 1000)
    assert all(window.start * 20 >= 2480 - 40 or (window.start + window.cells) * 20 <= 2400 + 40 for window in seen)
    assert len(counted_windows(lost, sound_of(lost.pcm, 0), 2000)) == len(
        counted_windows(clip, sound_of(clip.pcm, 0), 2000)
    )


def test_speech_is_looked_for_where_it_belongs_to_the_pictures() -> None:
    """A clip that is half a second off: the same windows count as when it is in sync."""
    clip = footage(6.0)
    clip.pcm[2 * RATE : 4 * RATE] *= 0.001
    late = clip._replace(pcm_start_ns=480_000_000)
    in_sync = counted_windows(clip, sound_of(clip.pcm, 0), 1000)
    assert 0 < len(in_sync) < 21
    assert counted_windows(late, sound_of(late.pcm, late.pcm_start_ns, -480.0), 1000) == in_sync


def test_a_window_without_a_face_is_wrong_not_left_out() -> None:
    clip, backend = footage(), Opening()
    sound = sound_of(clip.pcm, 0)
    windows = counted_windows(clip, sound, 1000)
    lost = clip._replace(landmarks=np.full_like(clip.landmarks, np.nan))
    clean, blind = (trials_of(backend, lips_of(one, backend), sound, windows, mode="stream") for one in (clip, lost))
    assert len(clean) == len(blind)
    assert accuracy(blind).pooled_pct == 0.0
    assert not confidences(blind, ConfidenceCurve("geometry", most=1.0)).any()


@pytest.mark.parametrize("rate", RATES)
def test_another_picture_rate_changes_no_truth(rate: str) -> None:
    clip, backend = footage(), Opening()
    sound = sound_of(clip.pcm, 0)
    windows = counted_windows(clip, sound, 1000)
    start_ns, shown = at_rate(clip.start_ns, clip.end_ns, rate)
    other = clip._replace(start_ns=start_ns, rois=clip.rois[shown], landmarks=clip.landmarks[shown])
    trials = chosen(trials_of(backend, lips_of(other, backend), sound, windows, mode="stream"), step_ms=20)
    assert right(trials).mean() > 0.98
    assert abs(np.mean(trials["error_ms"])) <= 10


# ---- the numbers


def test_accuracy_pools_trials_and_averages_clips() -> None:
    rows = [trial(clip=1, error_ms=e) for e in (0, 40, -40, 60)] + [trial(clip=2, error_ms=e) for e in (-60, np.inf)]
    found = accuracy(np.concatenate(rows))
    assert (found.trials, found.clips, found.pooled_pct, found.averaged_pct) == (6, 2, 50.0, 37.5)
    assert found.low_pct is not None and found.high_pct is not None
    assert (found.low_pct, found.high_pct) == (0.0, 75.0)  # drawing the same clip twice happens half the time
    assert accuracy(rows[0][:0]).pooled_pct is None
    assert accuracy(trial()).low_pct is None  # one clip says nothing of other clips


def test_an_untracked_right_answer_is_luck_and_wrong() -> None:
    assert not right(trial(tracked=False))[0] and right(trial())[0]


def test_bias_is_a_median_over_clips_not_over_windows() -> None:
    rows = [trial(clip=0, error_ms=60)] * 50 + [trial(clip=1, error_ms=-20)] * 2 + [trial(clip=2, error_ms=0)] * 2
    rows += [trial(clip=3, error_ms=np.inf)]
    found = bias(np.concatenate(rows))
    assert (found.clips, found.median_ms, found.lowest_ms, found.highest_ms) == (3, 0.0, -20.0, 60.0)


def test_confidence_is_what_the_product_says() -> None:
    """The formula for arrays against `signal_of` for one answer."""
    curve = ConfidenceCurve("geometry", most=1.0, unrelated_peak=0.15, unrelated_margin=0.05)
    chance = np.random.default_rng(0)
    offsets_ms = search_offsets()
    for _ in range(200):
        rho = chance.uniform(-0.2, chance.choice([0.1, 0.9]), len(offsets_ms))
        speech_s, cover = float(chance.choice([0.0, 0.5, 1.0, 1.9])), float(chance.choice([1.0, 0.7]))
        peak = best_lag(offsets_ms, rho)
        assert peak is not None
        measured = Measurement("uncertain", LagScores(offsets_ms, rho, np.ones(len(rho))), speech_s, cover, False)
        told = signal_of(measured, curve, pts_ns=0, duration_ns=1).confidence
        row = trial(
            best=peak.best, margin=peak.margin, at_edge=peak.at_edge, found_ms=peak.offset_ms, speech_s=speech_s,
            coverage=cover,
        )  # fmt: skip
        assert confidences(row, curve)[0] == pytest.approx(told, abs=1e-6)
    assert label_of(curve, Peak(0, 0.0, 0.1, 0.01, False), 0.9, 1.0)[0] == "unrelated"


def test_coverage_keeps_the_surest_and_reliability_counts_each_bin() -> None:
    confidence = np.array([0.95, 0.9, 0.85, 0.3, 0.2, 0.2, 0.1, 0.1, 1.0, 0.0])
    rights = np.array([1, 1, 0, 1, 0, 0, 0, 0, 1, 0], bool)
    assert dict(coverage(confidence, rights))[40] == 25.0 and dict(coverage(confidence, rights))[100] == 60.0
    assert sure(confidence, rights) == (10, 40.0, 25.0)
    bins = reliability(confidence, rights)
    assert [one.trials for one in bins] == [1, 2, 2, 1, 0, 0, 0, 0, 1, 3]
    assert bins[9].right_pct == 100.0 and bins[8].right_pct == 0.0 and bins[5].right_pct is None
    assert sure(confidence[:0], rights[:0]).covered_pct is None
    assert sure(np.zeros(3), np.ones(3, bool)).wrong_pct is None
