"""Calibration: the bias takes out what clips in sync read, and a confidence above 0.8 keeps its promise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")

from avsync.errors import InputError
from avsync.scorer.calibration import TERMS, curve_of, read_calibration, terms
from avsync.scorer.evaluation import evaluate as evaluation
from avsync.scorer.evaluation.calibrate import (
    WRONG_MOST,
    as_numbers,
    fit,
    fit_curve,
    in_sync_reading_ms,
    likeliest,
    unrelated_limits,
)
from avsync.scorer.evaluation.calibrate_command import add_calibrate_arguments, run_calibrate
from avsync.scorer.evaluation.clips import Tracked
from avsync.scorer.evaluation.evaluate import Contender
from avsync.scorer.evaluation.numbers import chosen, confidences, right
from avsync.scorer.evaluation.protocol import KINDS, TRIAL, WINDOWS_MS, Trials, sound_of
from avsync.scorer.evaluation.speakers import half_of
from tests.scorer.evaluation.evaluate_story import Opening, footage, trial


def answers(seed: int = 0, *, clips: int = 12, bad: float = 0.0) -> Trials:
    """Like those of a good network: right ones have the higher margins. `bad`: share of right-looking wrong ones."""
    chance = np.random.default_rng(seed)
    rows = []
    for kind, count in (("known", 600), ("other", 150), ("beyond", 100)):
        for window_ms in WINDOWS_MS:
            some = np.zeros(count, TRIAL)
            seconds = window_ms / 1000
            good = chance.random(count) < {500: 0.8, 1000: 0.93, 2000: 0.99}[window_ms] * (kind == "known")
            looks_good = good | (chance.random(count) < bad)
            noise = chance.standard_normal((2, count)) * 0.1 / np.sqrt(seconds)
            some["margin"] = np.abs(np.where(looks_good, 0.35, 0.03) + noise[0])
            some["best"] = np.where(looks_good, 0.55, 0.2) + noise[1]
            some["error_ms"] = np.where(good, 0.0, 120.0) if kind == "known" else np.inf
            some["kind"], some["window_ms"], some["step_ms"] = KINDS.index(kind), window_ms, 40  # type: ignore[arg-type]
            some["speech_s"], some["coverage"], some["tracked"] = seconds * chance.uniform(0.5, 1.0, count), 1.0, True
            some["clip"] = chance.integers(0, clips, count)
            rows.append(some)
    return np.concatenate(rows)


SPEAKERS = {clip: f"speaker {clip}" for clip in range(12)}


# ---- the bias


def test_the_bias_is_the_median_over_speakers_of_their_clips() -> None:
    """One speaker has most of the clips; there are windows that answer nonsense; neither pulls the bias."""
    rows = []
    for clip, says in ((0, 30), (1, 30), (2, 30), (3, 30), (4, 10), (5, 12), (6, -4)):
        for delay in (-40, 0, 40):
            row = trial(clip=clip, window_ms=2000, delay_ms=delay, refined_ms=says - delay)
            rows.append(row)
        rows.append(trial(clip=clip, window_ms=2000, error_ms=np.inf, refined_ms=np.nan))
        rows.append(trial(clip=clip, window_ms=1000, refined_ms=-150.0))
    speakers = {0: "s1", 1: "s1", 2: "s1", 3: "s1", 4: "Ann", 5: "Bob", 6: "Cid"}
    assert in_sync_reading_ms(np.concatenate(rows), speakers) == pytest.approx(11.0)
    with pytest.raises(InputError, match="too few"):
        in_sync_reading_ms(np.concatenate(rows), dict.fromkeys(speakers, "the same"))


# ---- the curve


def test_likeliest_finds_the_weights_that_made_the_answers() -> None:
    chance = np.random.default_rng(0)
    columns = np.stack([np.ones(40_000), chance.uniform(0, 0.5, 40_000), chance.uniform(-1, 2, 40_000)], axis=1)
    made = np.array([-2.0, 9.0, 0.7])
    rights = chance.random(40_000) < 1 / (1 + np.exp(-columns @ made))
    assert likeliest(columns, rights) == pytest.approx(made, rel=0.1)


def test_answers_that_can_be_told_apart_give_finite_weights() -> None:
    columns = np.stack([np.ones(1000), np.arange(1000) / 1000, np.full(1000, 0.3)], axis=1)  # a constant term, too
    assert np.isfinite(likeliest(columns, np.arange(1000) > 500)).all()
    assert np.isfinite(likeliest(columns, np.ones(1000, bool))).all()


@pytest.mark.parametrize("bad", [0.0, 0.05])
def test_sure_answers_keep_the_promise_at_each_length(bad: float) -> None:
    """Where wrong answers look like right ones fewer are sure; it is never paid for with wrong ones."""
    trials = answers(bad=bad)
    curve = fit_curve("geometry", trials, 12.0)
    for window_ms in WINDOWS_MS:
        own, strangers = (
            chosen(trials, window_ms=window_ms),
            trials[(trials["kind"] != 0) & (trials["window_ms"] == window_ms)],
        )
        kept = confidences(own, curve) > 0.8
        assert (~right(own))[kept].sum() <= WRONG_MOST * kept.sum()
        assert (confidences(strangers, curve) > 0.8).mean() <= 0.046
        if bad == 0.0 and window_ms >= 1000:
            assert kept.mean() > {1000: 0.4, 2000: 0.8}[window_ms]
    assert curve.bias_ms == 12.0


def test_a_curve_still_tells_more_from_less() -> None:
    curve = fit_curve("geometry", answers(), 0.0)
    assert curve(0.4, 0.6, 1.0) > 0.8 > 0.5 > curve(0.02, 0.2, 1.0)
    assert curve(0.3, 0.5, 2.0) > curve(0.3, 0.5, 0.3)


def test_the_heuristic_is_fitted_plainly_and_never_sure() -> None:
    curve = fit_curve("heuristic", answers(), 0.0)
    told = confidences(answers(), curve)
    assert told.max() == 0.5
    columns = terms(answers()["margin"], answers()["best"], answers()["speech_s"])
    assert np.asarray(curve.weights) == pytest.approx(likeliest(columns, right(answers())), rel=1e-6)


def test_own_voices_are_hardly_ever_called_unrelated() -> None:
    trials = answers()
    peak, margin = unrelated_limits(trials)
    spoken = trials[trials["speech_s"] >= 0.8]
    named = (spoken["best"] < peak) & (spoken["margin"] < margin)
    assert named[spoken["kind"] == 0].mean() <= 0.005
    assert named[spoken["kind"] != 0].mean() > 0.05
    assert unrelated_limits(trials[trials["kind"] == 0]) == (0.0, 0.0)


def test_left_out_speakers_are_told_by_a_curve_that_never_saw_them() -> None:
    """One speaker whose wrong answers look sure: seen by the own curve, not by the others'."""
    trials = answers()
    odd = (trials["clip"] == 3) & (trials["kind"] == 0)
    trials["error_ms"][odd] = 120.0
    found = fit("geometry", trials, SPEAKERS, 0.0)
    assert found.sure[2000].wrong_pct is None or found.sure[2000].wrong_pct <= 0.5
    assert found.held_out[2000].wrong_pct is not None and found.held_out[2000].wrong_pct > 2.0


def test_too_few_answers_are_bad_input() -> None:
    with pytest.raises(InputError, match="too few"):
        fit_curve("geometry", answers()[:50], 0.0)


def test_what_is_written_is_what_the_product_reads(tmp_path: Path) -> None:
    curve = fit_curve("geometry", answers(), -7.25)
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"geometry": as_numbers(curve, 5, 4)}))
    read = curve_of("geometry", file)
    assert read.bias_ms == pytest.approx(-7.2, abs=0.06) and read.most == 1.0
    assert read(0.3, 0.5, 1.0) == pytest.approx(curve(0.3, 0.5, 1.0), abs=0.001)
    assert (read.unrelated_peak, read.unrelated_margin) == pytest.approx(
        (curve.unrelated_peak, curve.unrelated_margin), abs=1e-4
    )


# ---- the command


def test_calibrate_reads_the_development_half_and_leaves_other_methods_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made clips that all say 25 ms too much: the bias is -25 ms, and nothing of it is left."""
    speakers = ("s1", "vid2speech", "Eve", "Bob", "e-0", "e-1", "e-2")
    lines = "".join(f"{index}.mp4,0,{name}\n" for index, name in enumerate(speakers))
    (tmp_path / "manifest.csv").write_text(f"file,ref_offset_ms,speaker\n{lines}")
    for index in range(len(speakers)):
        (tmp_path / f"{index}.mp4").write_bytes(b"")
    opened: set[str] = set()

    def look_up(path: Path, cache: Path | None = None) -> Tracked:
        opened.add(path.stem)
        return Tracked(footage(3.4, voice_ahead_ms=25, seed=int(path.stem)), ())

    def backend(contender: Contender) -> Opening:
        made = Opening()
        made.bias_ms = contender.bias_ms or 0.0
        return made

    monkeypatch.setattr(evaluation, "tracked", look_up)
    monkeypatch.setattr(evaluation, "_borrowed", lambda path: sound_of(footage(3.4, seed=50).pcm, 0))
    monkeypatch.setattr(evaluation, "backend_of", backend)
    monkeypatch.setattr("avsync.scorer.evaluation.calibrate_command.backend_of", backend)
    out = tmp_path / "calibration.json"
    kept = {"bias_ms": 3.0, "curve": dict.fromkeys(TERMS, 1.0)}
    out.write_text(json.dumps({"pixels": kept}))
    parser = argparse.ArgumentParser()
    add_calibrate_arguments(parser)
    words = ["--clips", str(tmp_path), "--backend", "geometry", "--jobs", "1", "--out", str(out)]
    assert run_calibrate(parser.parse_args(words)) == 0
    numbers = read_calibration(out)
    assert numbers["pixels"] == kept
    assert numbers["geometry"]["bias_ms"] == pytest.approx(-25, abs=3)
    assert len(opened) >= 4 and "3" not in opened
    assert opened == {str(index) for index, name in enumerate(speakers) if half_of(name) == "development"}
    assert "geometry: bias -2" in capsys.readouterr().out
