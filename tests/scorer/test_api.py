"""LipSyncScorer, one segment at a time: signs, rates, what is given, what a newcomer may expect."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avsync.errors import UsageError
from avsync.scorer.calibration import ConfidenceCurve, curve_of, terms
from avsync.scorer.features.cells import CELL_MS
from avsync.scorer.matching.confidence import CONFIDENT, EDGE_MOST, label_of
from avsync.scorer.matching.lag_search import Peak
from avsync.scorer.matching.segment import CONTEXT_MS
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.scorer import Block, LipSyncScorer
from avsync.scorer.signal import LABELS
from tests.scorer.talking_story import FakeBackend, Talk


def heuristic(**options: Any) -> LipSyncScorer:
    return LipSyncScorer("heuristic", **options)


@pytest.mark.parametrize("ahead_ms", [-120, -40, 0, 40, 120])
@pytest.mark.parametrize("given", [("rois",), ("landmarks",), ("rois", "landmarks")])
def test_positive_is_voice_ahead_whatever_is_given(ahead_ms: int, given: tuple[str, ...]) -> None:
    talk = Talk(2.0, ahead_ms=ahead_ms)
    pictures = {"rois": talk.rois if "rois" in given else None}
    pictures["landmarks"] = talk.landmarks if "landmarks" in given else None
    signal = heuristic().score_window(talk.pcm, fps=25, pcm_start_ms=talk.pcm_start_ms, **pictures)
    assert signal.offset_ms is not None and abs(signal.offset_ms - ahead_ms) <= 20
    assert signal.method == "heuristic" and signal.label in LABELS
    assert signal.duration_ns == 2_000_000_000


def test_the_first_sample_minus_the_first_picture_is_pcm_start() -> None:
    talk = Talk(2.0)
    whole = heuristic().score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500)
    later = heuristic().score_window(talk.pcm[16 * 200 :], talk.rois, fps=25, pcm_start_ms=-300)
    wrong = heuristic().score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-420)
    assert whole.offset_ms is not None and wrong.offset_ms is not None
    assert whole.offset_ms == later.offset_ms
    assert wrong.offset_ms == whole.offset_ms - 80, "labelled 80 ms later, the same sound is 80 ms behind"


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 30, 50, 60])
@pytest.mark.parametrize("ahead_ms", [-80, 80])
def test_trap_any_frame_rate_gives_the_same_offset(fps: Fraction | int, ahead_ms: int) -> None:
    talk = Talk(2.0, fps=fps, ahead_ms=ahead_ms)
    signal = heuristic().score_window(talk.pcm, talk.rois, fps=float(fps), pcm_start_ms=-500)
    assert signal.offset_ms is not None and abs(signal.offset_ms - ahead_ms) <= 20


def test_int16_and_both_floats_are_the_same_sound() -> None:
    talk = Talk(1.0)
    exact = np.round(talk.pcm * 32768).astype(np.int16)
    as_float = exact.astype(np.float32) / 32768
    answers = {
        heuristic().score_window(pcm, talk.rois, fps=25, pcm_start_ms=-500)
        for pcm in (exact, as_float, as_float.astype(np.float64))
    }
    assert len(answers) == 1


def test_score_is_at_zero_and_best_at_the_offset() -> None:
    apart = Talk(2.0, ahead_ms=160)
    signal = heuristic().score_window(apart.pcm, apart.rois, fps=25, pcm_start_ms=-500)
    assert signal.score is not None and signal.score_best is not None and signal.score_margin is not None
    assert 0 <= signal.score < 0.6 < signal.score_best <= 1
    together = Talk(2.0)
    signal = heuristic().score_window(together.pcm, together.rois, fps=25, pcm_start_ms=-500)
    assert signal.score is not None and signal.score_best is not None
    assert signal.score > 0.8 and signal.score_best - signal.score < 0.05


def test_an_offset_beyond_the_search_is_never_confident() -> None:
    talk = Talk(2.0, ahead_ms=230)
    signal = heuristic().score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500)
    assert signal.label in ("out_of_range", "unrelated") and signal.confidence <= EDGE_MOST


def test_without_sound_around_the_block_the_overlap_is_used_and_confidence_falls() -> None:
    talk = Talk(1.0, ahead_ms=40)
    full = heuristic().score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500)
    bare = heuristic().score_window(talk.pcm[8000:24000], talk.rois, fps=25)
    assert bare.offset_ms is not None and abs(bare.offset_ms - 40) <= 20
    assert 0 < bare.confidence < full.confidence


def test_a_block_is_less_sure_than_a_window_of_the_same_clip() -> None:
    talk = Talk(2.0)
    scorer = heuristic()
    block = scorer.score_block(talk.pcm, talk.rois[10:20], fps=25, pcm_start_ms=-900)
    window = scorer.score_window(talk.pcm, talk.rois[10:35], fps=25, pcm_start_ms=-900)
    assert block.duration_ns == 400_000_000 and block.confidence <= window.confidence
    assert block.score is not None, "a service gets its number per block"


def test_a_batch_is_its_blocks_one_by_one() -> None:
    scorer, talks = heuristic(), [Talk(0.5, ahead_ms=shift, seed=shift + 300) for shift in (-80, 0, 80)]
    blocks = [Block(talk.pcm, talk.rois, 25, talk.pcm_start_ms, talk.landmarks) for talk in talks]
    assert scorer.score_batch(blocks) == [
        scorer.score_block(b.pcm, b.rois, fps=b.fps, pcm_start_ms=b.pcm_start_ms, landmarks=b.landmarks) for b in blocks
    ]


def test_steps_of_one_picture() -> None:
    talk = Talk(2.0, fps=30, ahead_ms=100)
    signal = heuristic(step_ms="frame").score_window(talk.pcm, talk.rois, fps=30, pcm_start_ms=-500)
    assert signal.offset_ms == pytest.approx(3 * 1000 / 30)


def test_pts_and_epoch_are_handed_through() -> None:
    talk = Talk(0.5)
    signal = heuristic().score_block(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500, pts_ns=7_000_000_000, epoch=3)
    assert (signal.pts_ns, signal.epoch) == (7_000_000_000, 3)


def test_the_methods_bias_moves_the_answer_by_as_much() -> None:
    talk = Talk(2.0)
    plain, moved = (
        LipSyncScorer(FakeBackend(bias_ms)).score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500)
        for bias_ms in (0.0, 60.0)
    )
    assert plain.offset_ms is not None and moved.offset_ms == plain.offset_ms + 60


def test_a_named_backend_says_what_it_needs() -> None:
    talk = Talk(0.5)
    with pytest.raises(UsageError, match="pixels backend needs rois, got landmarks only"):
        LipSyncScorer(FakeBackend()).score_block(talk.pcm, fps=25, landmarks=talk.landmarks)


@pytest.mark.parametrize(
    "options",
    [
        {"search_ms": 10},
        {"search_ms": float("nan")},
        {"step_ms": 0},
        {"step_ms": "cell"},
        {"silence_dbfs": 3},
        {"block_ms": 410},
        {"block_ms": 100},
        {"window_ms": 200},
        {"gather_s": -1},
        {"fps": 0},
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        heuristic(**options)


def test_a_stream_in_steps_of_a_frame_needs_the_rate() -> None:
    with pytest.raises(UsageError, match="needs fps"):
        heuristic(step_ms="frame").stream()
    heuristic(step_ms="frame", fps=30).stream()


# ---- torch


ANSWER = """
import sys
for name in {missing}:
    sys.modules[name] = None
import numpy as np
from avsync.scorer.scorer import LipSyncScorer
from tests.scorer.talking_story import Talk
talk = Talk(2.0, ahead_ms=80)
signal = LipSyncScorer().score_window(talk.pcm, talk.rois, fps=25, pcm_start_ms=-500, landmarks=talk.landmarks)
assert signal.method == "{method}" and abs(signal.offset_ms - 80) <= 20, signal
assert signal.confidence <= 0.5 or signal.method != "heuristic", signal
scorer = LipSyncScorer()
signals = scorer.push_audio(talk.pcm, talk.pcm_pts_ns)
signals += scorer.push_video(talk.rois, talk.pts_ns, landmarks=talk.landmarks) + scorer.flush()
assert {{each.method for each in signals}} == {{"{method}"}}
print("answered")
"""


@pytest.mark.parametrize(
    ("missing", "method"), [(["torch", "ai_edge_litert"], "heuristic"), (["torch"], "fused")], ids=["both", "torch"]
)
def test_without_torch_litert_runs_the_networks_and_without_both_the_heuristic_answers(
    missing: list[str], method: str
) -> None:
    if method == "fused":
        pytest.importorskip("ai_edge_litert")
    code = ANSWER.format(missing=missing, method=method)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "answered", done.stderr


def test_the_scorer_imports_without_torch() -> None:
    code = "import sys, avsync.scorer.scorer; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_documented_context_holds_the_networks() -> None:
    assert CONTEXT_MS == 160 > ENCODER_CELLS * CELL_MS


# ---- confidence and labels

SURE = Peak(10, 80.0, 0.9, 0.5, False)
CURVE = ConfidenceCurve(
    "geometry", weights=(-3.0, 10.0, 2.0, 1.0, 5.0, 2.0), most=1.0, unrelated_peak=0.2, unrelated_margin=0.1
)


def test_confidence_grows_with_margin_peak_and_evidence() -> None:
    at = CURVE(0.1, 0.4, 1.0)
    assert CURVE(0.2, 0.4, 1.0) > at and CURVE(0.1, 0.6, 1.0) > at and CURVE(0.1, 0.4, 3.0) > at
    assert CURVE(0.9, 0.9, 0.0) == 0.0, "no speech, no confidence"
    assert ConfidenceCurve("fused")(1.0, 1.0, 8.0) <= 0.5, "not calibrated: never sure"
    assert curve_of("heuristic").most == 0.5


def test_the_curve_for_arrays_is_the_curve() -> None:
    margin, peak, evidence_s = np.array([0.1, 0.3]), np.array([0.5, 0.7]), np.array([0.5, 2.0])
    many = CURVE.chances(margin, peak, evidence_s)
    assert many.tolist() == [CURVE(m, p, s) for m, p, s in zip(margin, peak, evidence_s, strict=True)]
    assert terms(0.1, 0.5, 1.0).shape == (6,) and terms(margin, peak, 1.0).shape == (2, 6)


def test_labels() -> None:
    assert label_of(CURVE, SURE, 0.9, 1.0) == ("voice_ahead", 0.9)
    assert label_of(CURVE, SURE._replace(offset_ms=-80.0), 0.9, 1.0)[0] == "voice_behind"
    assert label_of(CURVE, SURE._replace(offset_ms=-40.0), 0.9, 1.0)[0] == "in_sync"
    assert label_of(CURVE, SURE, CONFIDENT - 0.01, 1.0)[0] == "uncertain"
    assert label_of(CURVE, SURE._replace(at_edge=True), 0.99, 1.0) == ("out_of_range", EDGE_MOST)
    low = SURE._replace(best=0.1, margin=0.05)
    assert label_of(CURVE, low, 0.9, 1.0) == ("unrelated", EDGE_MOST)
    assert label_of(CURVE, low, 0.1, 0.4)[0] == "uncertain", "too little speech to say so"
    assert label_of(replace(CURVE, unrelated_peak=0.0), low, 0.1, 1.0)[0] == "uncertain"
