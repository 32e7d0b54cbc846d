"""The heuristic backend: what it reads off pictures and sound, and that it never claims much."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.errors import UsageError
from avsync.scorer.backends.heuristic import HeuristicBackend, darkness
from avsync.scorer.backends.load import load_backend
from avsync.scorer.features.cells import SAMPLE_RATE_HZ
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.scorer import LipSyncScorer
from tests.scorer.talking_story import Talk, faces, mouths


def test_a_more_open_mouth_is_a_larger_value_from_landmarks_and_from_crops() -> None:
    opened = np.linspace(0, 0.6, 9)
    backend = HeuristicBackend()
    for values in (backend.picture_values(None, faces(opened)), backend.picture_values(mouths(opened), None)):
        assert values.shape == (9, 1) and values.dtype == np.float32
        assert (np.diff(values[:, 0]) > 0).all()


def test_landmarks_win_over_crops_and_something_is_needed() -> None:
    opened = np.linspace(0, 1, 4)
    backend = HeuristicBackend()
    both = backend.picture_values(mouths(opened[::-1]), faces(opened))
    assert (both == backend.picture_values(None, faces(opened))).all()
    with pytest.raises(UsageError, match="rois or landmarks"):
        backend.picture_values(None, None)


def test_darkness_knows_neither_light_nor_contrast() -> None:
    rois = mouths(np.linspace(0, 1, 5))
    plain, dim = darkness(rois), darkness((rois * 0.5).astype(np.uint8))
    assert np.abs(plain - dim).max() < 0.1 < np.ptp(plain)
    assert np.isfinite(darkness(np.zeros((2, 96, 96, 3), np.uint8))).all()


@pytest.mark.parametrize(("hertz", "louder"), [(1000, True), (2500, True), (120, False), (6000, False)])
def test_only_the_band_of_open_vowels_counts(hertz: int, louder: bool) -> None:
    at_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sine = 0.1 * np.sin(2 * np.pi * hertz * at_s)
    backend, room = HeuristicBackend(), np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE_HZ)
    quiet = backend.embed_sound(log_mel(room.astype(np.float32)), slice(0, 50))
    tone = backend.embed_sound(log_mel((room + sine).astype(np.float32)), slice(0, 50))
    assert tone.shape == (50, 1)
    assert (np.median(tone - quiet) > 3.0) == louder


def test_the_window_is_a_window() -> None:
    talk = Talk(1.0)
    backend, mel = HeuristicBackend(), log_mel(talk.pcm)
    assert (backend.embed_sound(mel, slice(10, 20)) == backend.embed_sound(mel, slice(0, 50))[10:20]).all()
    cells = np.arange(30, dtype=np.float32)[:, None]
    assert backend.embed_lips(cells, np.ones(30, np.bool_), slice(5, 9))[:, 0].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("seed", range(6))
def test_never_surer_than_a_half(seed: int) -> None:
    talk = Talk(4.0, ahead_ms=20 * seed, seed=seed)
    scorer = LipSyncScorer("heuristic")
    found = scorer.push_audio(talk.pcm, talk.pcm_pts_ns)
    found += scorer.push_video(talk.rois, talk.pts_ns, 0, talk.landmarks) + scorer.flush()
    assert max(each.confidence for each in found) <= 0.5
    assert {each.method for each in found} == {"heuristic"}


def test_it_is_what_load_backend_gives() -> None:
    assert isinstance(load_backend("heuristic"), HeuristicBackend)
    assert HeuristicBackend(bias_ms=5.0).bias_ms == 5.0
