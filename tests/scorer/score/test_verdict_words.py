"""What `avsync score` says of a clip: one offset out of many windows, changes of it, and the words for both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.scorer.matching.lag_search import Peak, search_offsets
from avsync.scorer.score.clip_answer import ClipAnswer, answer_of
from avsync.scorer.score.evidence import Evidence
from avsync.scorer.score.offset_changes import cheapest_path
from avsync.scorer.score.verdict_words import offset_words, signed_words, time_words, verdict_words
from avsync.scorer.signal import Label

LAGS_MS = search_offsets()


def judge(peak: Peak, seconds: float) -> tuple[Label, float]:
    """A made-up curve that grows with the margin and the evidence, like the calibrated ones."""
    confidence = float(1 / (1 + np.exp(-(8 * peak.margin * seconds**0.5 - 2))))
    if peak.at_edge:
        return "out_of_range", confidence
    if confidence < 0.5:
        return "uncertain", confidence
    return (
        "in_sync" if abs(peak.offset_ms) <= 40 else "voice_ahead" if peak.offset_ms > 0 else "voice_behind"
    ), confidence


def window(at_s: float, offset_ms: float | None, *, height: float = 0.5, noise: float = 0.1, seed: int = 0) -> Evidence:
    """One second whose scores have a hill of ±60 ms at `offset_ms` (none: noise only)."""
    rng = np.random.default_rng([seed, int(at_s * 10)])
    rho = rng.normal(0, noise, len(LAGS_MS))
    if offset_ms is not None:
        rho += height * np.clip(1 - np.abs(LAGS_MS - offset_ms) / 60, 0, 1)
    return Evidence(1000 * at_s, 1000 * at_s + 1000, "uncertain", rho, 1.0)


def said(offsets_ms: list[float | None], seed: int = 0, noise: float = 0.1) -> ClipAnswer:
    windows = [window(at_s, offset, seed=seed, noise=noise) for at_s, offset in enumerate(offsets_ms)]
    return answer_of(windows, LAGS_MS, judge)


def words(answer: ClipAnswer) -> str:
    return verdict_words(answer, search_ms=200, limit_ms=40, method="fused")


# ---- one offset


def test_a_voice_that_is_ahead_is_said_to_be_ahead():
    answer = said([80.0] * 10)
    assert answer.label == "voice_ahead" and answer.offset_ms == pytest.approx(80, abs=8)
    assert words(answer).startswith("voice ahead of the lips by ") and "sure (" in words(answer)
    assert words(answer).endswith("from 10 of 10 windows")


def test_a_voice_that_is_behind_is_said_to_be_behind():
    answer = said([-120.0] * 10)
    assert answer.label == "voice_behind"
    assert words(answer).startswith("voice behind the lips by 1")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-160.0, -100.0, 120.0, 180.0, None]), min_size=4, max_size=4), st.integers(0, 10**6))
def test_a_minority_of_bad_windows_is_outvoted(bad, seed):
    offsets: list[float | None] = [40.0] * 12
    for place, wrong in zip((2, 5, 7, 10), bad, strict=True):
        offsets[place] = wrong
    answer = said(offsets, seed=seed)
    assert answer.offset_ms == pytest.approx(40, abs=12)
    assert not answer.parts


def test_windows_that_are_unsure_alone_add_up():
    one, many = said([60.0], noise=0.25), said([60.0] * 20, noise=0.25)
    assert one.confidence < 0.8 < many.confidence
    assert words(one).startswith("unsure (")


def test_overlapping_windows_are_not_counted_twice_as_evidence():
    every_second = [window(at, 60.0) for at in range(4)]
    doubled = [window(at / 2, 60.0) for at in range(7)]
    seconds = []
    for windows in (every_second, doubled):
        answer_of(windows, LAGS_MS, lambda peak, s: seconds.append(s) or judge(peak, s))
    assert max(seconds) == pytest.approx(4.0) and len([s for s in seconds if s > 3.9]) == 2


def test_the_answer_lies_between_lags_where_the_clip_does():
    assert said([70.0] * 40, noise=0.02).offset_ms == pytest.approx(70, abs=3)


def test_noise_is_never_sure():
    for seed in range(20):
        answer = said([None] * 8, seed=seed)
        assert words(answer).split()[0] in ("unsure", "unsure:"), words(answer)


def test_silence_and_hidden_faces_are_left_out_and_counted():
    quiet = Evidence(10_000, 11_000, "silence", None, 0.0)
    covered = window(11, -200.0)._replace(label="occluded")
    answer = answer_of([*(window(at, 80.0) for at in range(4)), quiet, covered], LAGS_MS, judge)
    assert (answer.judged, answer.left_out) == (4, {"silence": 1, "occluded": 1})
    assert answer.offset_ms == pytest.approx(80, abs=8)


def test_nothing_but_silence_says_so():
    answer = answer_of([Evidence(0, 1000, "silence", None, 0.0)] * 3, LAGS_MS, judge)
    assert answer.offset_ms is None and answer.confidence == 0 and answer.label == "silence"
    assert words(answer).startswith("nothing can be said: hardly anything is heard")


def test_a_clip_without_a_window_says_so():
    assert words(answer_of([], LAGS_MS, judge)) == "nothing can be said: the clip has no whole window"


def test_the_edge_of_the_search_is_never_sure_and_names_the_remedy():
    answer = said([200.0] * 10)
    assert answer.confidence <= 0.3 and answer.label == "out_of_range"
    assert words(answer).startswith("unsure: the best fit lies at the edge") and "--search-ms 400" in words(answer)
    assert "ahead" in words(answer) and "behind" in words(said([-200.0] * 10))


def test_lags_without_overlap_are_not_chosen():
    """The clip's end lacks sound for late lags: NaN there is neither an error nor a best lag."""
    short = window(0, 20.0)
    assert short.rho is not None
    short.rho[-4:] = np.nan
    answer = answer_of([short], LAGS_MS, judge)
    assert answer.offset_ms == pytest.approx(20, abs=15)


# ---- changes


def test_a_step_is_told_with_its_place():
    answer = said([0.0] * 8 + [120.0] * 8)
    assert [part.from_offset_ms for part in answer.parts] == pytest.approx([0, 120], abs=10)
    assert answer.parts[1].start_ms == pytest.approx(8000, abs=1000)
    assert words(answer).startswith("the offset steps from together to voice 12") and "at about 0:0" in words(answer)
    assert words(answer).endswith("of 16 windows")


def test_a_step_says_who_is_ahead_on_either_side():
    assert "steps from voice 12" in words(said([-120.0] * 8 + [100.0] * 8))
    assert " ms behind to voice " in words(said([-120.0] * 8 + [100.0] * 8))
    assert " ms ahead to voice " in words(said([100.0] * 8 + [-120.0] * 8))


def test_a_change_between_sides_that_are_not_sure_is_not_claimed():
    def doubting(peak: Peak, seconds: float) -> tuple[Label, float]:
        return judge(peak, seconds)[0], 0.79

    windows = [window(at_s, 0.0 if at_s < 8 else 120.0) for at_s in range(16)]
    assert answer_of(windows, LAGS_MS, judge).parts and not answer_of(windows, LAGS_MS, doubting).parts


def test_a_stray_window_does_not_pay_for_a_change():
    rho = np.stack([window(at_s, -160.0 if at_s == 5 else 40.0).rho for at_s in range(12)])
    assert len(set(cheapest_path(rho).tolist())) == 1
    assert len(set(cheapest_path(np.concatenate([rho[:5], rho[[5] * 6]])).tolist())) == 2


def test_two_steps_are_three_parts():
    answer = said([0.0] * 8 + [120.0] * 8 + [-80.0] * 8)
    assert len(answer.parts) == 3
    assert "changes 2 times" in words(answer)


def test_a_drift_is_one_part_that_moves():
    answer = said([float(offset) for offset in np.linspace(-20, 140, 30)])
    assert len(answer.parts) == 1
    part = answer.parts[0]
    assert (part.from_offset_ms, part.to_offset_ms) == pytest.approx((-20, 140), abs=30)
    assert "drifts from" in words(answer) and "ms a second" in words(answer)


@pytest.mark.parametrize(("count", "noise"), [(6, 0.2), (12, 0.4), (20, 0.4), (40, 0.4)])
def test_a_steady_clip_never_changes_however_noisy(count, noise):
    for seed in range(25):
        assert said([40.0] * count, seed=seed, noise=noise).parts == ()


def test_a_clip_shorter_than_two_sides_is_not_split():
    assert said([0.0, 0.0, 120.0, 120.0, 120.0]).parts == ()


# ---- words


def test_the_sign_is_in_the_words_and_not_in_the_number():
    assert offset_words(80) == "voice ahead of the lips by 80 ms"
    assert offset_words(-80) == "voice behind the lips by 80 ms"
    assert offset_words(-3) == offset_words(3) == "voice and lips together"


def test_columns_keep_the_sign():
    assert [signed_words(value) for value in (80.4, -40, 0.2, -0.2, None)] == ["+80", "-40", "0", "0", "?"]


def test_times_are_read_like_a_player_shows_them():
    assert [time_words(at) for at in (0, 7_040, 61_990, 3_727_000, -200)] == [
        "0:00.0", "0:07.0", "1:02.0", "1:02:07.0", "-0:00.2",
    ]  # fmt: skip


def test_in_sync_still_says_by_how_much():
    answer = said([20.0] * 10)
    assert words(answer).startswith("in sync (voice ahead of the lips by ")


def test_sound_of_somebody_else_is_no_offset():
    answer = answer_of([window(at, None) for at in range(8)], LAGS_MS, lambda *_: ("unrelated", 0.1))
    assert words(answer).startswith("the sound does not fit these lips at any offset within ±200 ms")
