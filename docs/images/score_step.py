"""Draws `score_step.png`: a synthetic clip whose voice steps ahead, with a pause and with something before the mouth.

    python docs/images/score_step.py [BACKEND]

Needs espeak-ng; no real face and no real voice is in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from avsync.scorer.backends.load import load_backend
from avsync.scorer.calibration import curve_of
from avsync.scorer.matching.lag_search import search_offsets
from avsync.scorer.score.clip_answer import answer_of
from avsync.scorer.score.face_run import FaceRun
from avsync.scorer.score.plot import plot
from avsync.scorer.score.report import ClipMedia, ClipReport, FaceReport, ScoreSettings
from avsync.scorer.score.score_clip import judge_of
from avsync.scorer.tracking.sound_placing import SoundPiece
from avsync.units import ms
from sim.payload.speech import Speech

SECONDS, STEP_AT_S, AHEAD_MS = 30, 13, 120
SILENT_S, COVERED_S = (19.0, 21.0), (24.1, 24.9)
PICTURES = 25 * SECONDS
BEFORE_THE_MOUTH = np.kron(np.random.default_rng(1).integers(60, 200, (8, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)


def main(backend_name: str) -> None:
    talk = Speech(seed=4)
    backend, offsets_ms = load_backend(backend_name), search_offsets()
    curve = curve_of(backend.method)
    at_ns = np.arange(16_000 * SECONDS) * 62_500.0
    pcm = talk.sound(0, at_ns + np.where(at_ns < STEP_AT_S * 1e9, 0.0, AHEAD_MS * 1e6))
    pcm[int(SILENT_S[0] * 16_000) : int(SILENT_S[1] * 16_000)] = 0
    samples = (32_767 * pcm).astype(np.int16)
    run = FaceRun(1, backend, offsets_ms, curve, [])
    times_ns = np.arange(PICTURES) * ms(40)
    seen = talk.pictures(0, times_ns)
    for at, landmarks, crop in zip(times_ns.tolist(), seen.landmarks, seen.rois, strict=True):
        covered = COVERED_S[0] <= at / 1e9 < COVERED_S[1]
        if at % ms(1000) == 0:
            run.add_sound(SoundPiece(at, samples[at * 2 // 125_000 : at * 2 // 125_000 + 16_000]))
        run.add_picture(at, landmarks, BEFORE_THE_MOUTH if covered else crop)
    run.finish()
    answer = answer_of(run.evidence, offsets_ms, judge_of(curve))
    face = FaceReport(1, 100.0, *run.place, answer, tuple(run.windows), tuple(run.blocks), tuple(run.evidence))
    media = ClipMedia(1000.0 * SECONDS, 1280, 720, PICTURES, 25.0, False, 16_000)
    report = ClipReport("synthetic.mp4", media, ScoreSettings(backend.method, 200.0, 20.0, 40.0), (face,), 1, "", 0.0)
    print(plot(Path(__file__).with_suffix(".png"), report), report.verdict)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fused")
