"""Payload, the talk: the same content always looks and sounds the same, and a mouth's numbers can be read off it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from avsync.errors import InputError
from avsync.scorer.features.geometry import GEOMETRY_NAMES, geometry
from avsync.scorer.synthetic import espeak
from avsync.scorer.synthetic.espeak import Phoneme
from avsync.scorer.synthetic.mouths import COLUMNS, mouth_track
from avsync.units import ms
from sim.payload import speech as payload_speech
from sim.payload.face import DrawnFace, RenderedFace, landmarks
from sim.payload.payload import SAMPLE_NS
from sim.payload.speech import HEAD, SCENE_S, Speech
from sim.payload.talk import talk

try:
    espeak.synthesise("a")
    SPEAKS = True
except InputError:
    SPEAKS = False

needs_espeak = pytest.mark.skipif(not SPEAKS, reason="espeak-ng is not installed")
S = 1_000_000_000


def moving_mouth(rows: int = 40) -> np.ndarray:
    """(rows, columns): a mouth that opens and closes, a head that turns a little."""
    mouth = np.zeros((rows, len(COLUMNS)), np.float32)
    t = np.linspace(0, 4 * np.pi, rows)
    opened = 0.08 * (1 - np.cos(t))
    said = {"inner_open": opened, "outer_height": 0.26 + 1.15 * opened, "outer_width": 0.84 - 0.1 * opened,
            "inner_width": 0.7 - 0.1 * opened, "jaw": opened * 5, "scale": 1.0, "roll_deg": 10 * np.sin(t),
            "shift_x": 0.1 * np.sin(t)}  # fmt: skip
    for name, values in said.items():
        mouth[:, COLUMNS.index(name)] = values
    return mouth


def samples(speech: Speech, turn: int, from_s: float, to_s: float) -> np.ndarray:
    return speech.sound(turn, np.arange(int(from_s * 16_000), int(to_s * 16_000)) * float(SAMPLE_NS))


def test_geometry_reads_the_mouths_own_numbers_whatever_the_head_does() -> None:
    mouth = moving_mouth()
    read = dict(zip(GEOMETRY_NAMES, geometry(landmarks(mouth)).T, strict=True))
    for name in ("inner_open", "outer_height", "outer_width", "inner_width"):
        np.testing.assert_allclose(read[name], mouth[:, COLUMNS.index(name)], atol=2e-3, err_msg=name)
    assert np.ptp(read["nose_to_chin"]) > 0.05 and np.ptp(read["nose_to_lower_lip"]) > 0.1
    assert np.isfinite(landmarks(mouth)).all() and landmarks(mouth).shape == (40, 468, 2)


def test_a_drawn_mouth_darkens_where_it_opens() -> None:
    mouth = moving_mouth()
    rois = DrawnFace(0.7).pictures(mouth).rois
    assert rois.shape == (40, 96, 96, 3) and rois.dtype == np.uint8
    dark = (rois.mean(axis=-1) < 60).sum(axis=(1, 2))
    assert np.corrcoef(dark, mouth[:, COLUMNS.index("inner_open")])[0, 1] > 0.95


@needs_espeak
@pytest.mark.parametrize("seed", [3, 5])
def test_whoever_is_drawn_opens_the_mouth_to_speak(seed: int) -> None:
    """Both are drawn as people who mumble: their lips would part by 0.07 and 0.05."""
    papa = [Phoneme(ipa, 0.3 + 0.12 * at) for at, ipa in enumerate("papapapapa")]
    mouth = mouth_track(papa, 2.0, np.random.default_rng(1), style=Speech(seed=seed).style)
    assert np.ptp(mouth.column("inner_open")) > 0.09


def test_a_rendered_picture_does_not_depend_on_its_neighbours() -> None:
    pytest.importorskip("torch")
    mouth = moving_mouth()
    face = RenderedFace(5, mouth)
    whole = face.pictures(mouth).rois
    assert whole.shape == (40, 96, 96, 3) and whole.dtype == np.uint8
    for index in (0, 7, 39):
        alone = face.pictures(mouth[index : index + 1]).rois[0]
        assert np.abs(alone.astype(int) - whole[index].astype(int)).max() <= 1
    assert np.abs(whole[0].astype(int) - whole[5].astype(int)).max() > 20, "it moves"
    assert (RenderedFace(6, mouth).pictures(mouth[:1]).rois != whole[:1]).any(), "another face"


def test_a_crop_lies_as_the_sdk_cuts_it_wherever_the_training_draws_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hardens the training against other people's crops must not move the lab's."""
    pytest.importorskip("torch")
    from avsync.scorer.synthetic import renderer

    mouth, drawn = moving_mouth(3), renderer.motion_of
    usual = RenderedFace(5, mouth).pictures(mouth).rois

    def astray(*args: Any) -> Any:
        motion = drawn(*args)
        return motion._replace(right=motion.right + 0.3, down=motion.down - 0.2)

    monkeypatch.setattr(renderer, "motion_of", astray)
    np.testing.assert_array_equal(RenderedFace(5, mouth).pictures(mouth).rois, usual)


@needs_espeak
def test_the_same_content_is_the_same_in_any_order_and_for_anybody() -> None:
    other = Speech(seed=3)
    later = [samples(other, 1, 21, 22), samples(other, 0, 45, 46), samples(other, 0, 3, 4)]
    talk.cache_clear()  # or one would hear what was kept for the other
    one = Speech(seed=3)
    np.testing.assert_array_equal(samples(one, 0, 3, 4), later[2])
    np.testing.assert_array_equal(samples(one, 0, 45, 46), later[1])
    np.testing.assert_array_equal(samples(one, 1, 21, 22), later[0])
    pts = np.array([3 * S, 45 * S, 7 * S])
    np.testing.assert_array_equal(one.pictures(0, pts).landmarks, other.pictures(0, pts).landmarks)
    assert (samples(one, 0, 3, 4) != samples(one, 1, 3, 4)).any(), "another turn says something else"


@needs_espeak
def test_hours_of_talk_take_the_memory_of_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes that were let go are made again, the same."""
    monkeypatch.setattr(payload_speech, "KEPT_SCENES", 1)
    few, many = Speech(seed=1), Speech(seed=1)
    monkeypatch.undo()
    for at in (1.0, 65.0, 1.5, 30.0):
        np.testing.assert_array_equal(samples(few, 0, at, at + 0.2), samples(many, 0, at, at + 0.2))
    assert len(many._kept) <= payload_speech.KEPT_SCENES


@needs_espeak
def test_scenes_join_without_a_jump_of_the_head() -> None:
    speech = Speech(seed=2)
    speech.sound(0, np.array([2.2 * SCENE_S * S]))
    edge_ns = speech._starts[0][1] * SAMPLE_NS
    points = speech.pictures(0, edge_ns + np.arange(-10, 10) * ms(40)).landmarks
    assert points is not None
    moved = np.abs(np.diff(points[:, 1], axis=0)).max()
    assert moved < 2.0, f"the nose moves by {moved:.1f} px of 100 between the eyes"
    assert len(HEAD) == 6


@needs_espeak
def test_mouth_and_voice_belong_together() -> None:
    """Openness follows loudness within a frame or two; shifted by 400 ms it does not."""
    speech = Speech(seed=1)
    pts = np.arange(0, 40 * S, ms(40))
    landmark = speech.pictures(0, pts).landmarks
    assert landmark is not None
    opened = geometry(landmark)[:, 0]
    power = samples(speech, 0, 0, 40).reshape(-1, 640) ** 2
    loud = np.log(power.mean(axis=1) + 1e-6)
    fit = {lag: float(np.corrcoef(opened[20:-20], np.roll(loud, lag)[20:-20])[0, 1]) for lag in range(-10, 11)}
    best = max(fit, key=lambda lag: fit[lag])
    assert abs(best) <= 2 and fit[best] > 0.3 and fit[best] > fit[10] + 0.2, fit


@needs_espeak
def test_the_speaker_is_chosen_apart_from_the_words() -> None:
    pts = np.array([S])
    same, again, other = (Speech(seed=seed, speaker=who) for seed, who in ((1, 9), (2, 9), (1, 8)))
    assert same.style == again.style and same.style != other.style
    assert (samples(same, 0, 1, 2) != samples(again, 0, 1, 2)).any()
    assert (same.pictures(0, pts).rois != other.pictures(0, pts).rois).any()


@needs_espeak
def test_an_idle_picture_is_a_mouth_at_rest() -> None:
    speech = Speech(seed=1)
    still = speech.idle()
    assert still.rois.shape == (1, 96, 96, 3) and still.landmarks is not None
    opened = geometry(still.landmarks)[0, 0]
    spoken = speech.pictures(0, np.arange(0, 10 * S, ms(40))).landmarks
    assert spoken is not None and opened < geometry(spoken)[:, 0].max() / 2


@needs_espeak
def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="tlhIngan"):
        Speech(voice="tlhIngan")


def test_without_espeak_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise InputError("espeak-ng is not installed. Install it: apt-get install espeak-ng")

    monkeypatch.setattr(payload_speech, "synthesise", missing)
    with pytest.raises(InputError, match="spoken by espeak-ng.*\n?.*apt-get install espeak-ng"):
        payload_speech.check_installed(payload_speech.scenario_source.PayloadSpec())


@needs_espeak
def test_without_torch_the_face_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert isinstance(Speech(seed=1).face, DrawnFace)
