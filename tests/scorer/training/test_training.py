"""Synthetic speech, mouths and what a tracker sees of them, and the loop that trains on it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from avsync.errors import InputError
from avsync.scorer.backends.learned import read_ensemble
from avsync.scorer.features.cells import SAMPLE_RATE_HZ
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.weight_files import save_weights
from avsync.scorer.synthetic import espeak
from avsync.scorer.synthetic.espeak import Phoneme
from avsync.scorer.synthetic.mouths import draw_style, mouth_track
from avsync.scorer.synthetic.phonemes import gestures, targets_of
from avsync.scorer.synthetic.speech import Utterance, utterance, warp
from avsync.scorer.synthetic.texts import sentence
from avsync.scorer.training import channel, examples, fit, geometry_train
from avsync.scorer.training.tracker_errors import tracked_geometry

pytestmark = pytest.mark.lab

PAPA = (Phoneme("p", 0.6), Phoneme("a", 0.63), Phoneme("p", 0.95), Phoneme("a", 0.98), Phoneme("", 1.3))


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def has_espeak() -> bool:
    try:
        espeak.synthesise("a")
    except InputError:
        return False
    return True


needs_espeak = pytest.mark.skipif(not has_espeak(), reason="needs espeak-ng")


def voice_of(seed: int = 0, seconds: float = 4.0) -> examples.TrainingVoice:
    """Noise that is loud while somebody says papa, without espeak-ng."""
    random = chance(seed)
    samples = int(seconds * SAMPLE_RATE_HZ)
    pcm = (0.2 * random.standard_normal(samples)).astype(np.float32)
    sounds = tuple(Phoneme(each.ipa, each.start_s + 0.8 * turn) for turn in range(3) for each in PAPA[:-1])
    level_db = np.full(int(seconds * 100), -20.0, np.float32)
    return examples.TrainingVoice(Utterance(pcm, sounds, level_db, "none"), log_mel(pcm).astype(np.float16))


# --- speech


def test_without_espeak_the_error_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(espeak, "_LIBRARIES", ("libnothing-of-that-name.so",))
    with pytest.raises(InputError, match="apt-get install espeak-ng"):
        espeak._load()


@needs_espeak
def test_an_unknown_voice_is_refused_by_name():
    with pytest.raises(InputError, match="xx-nobody"):
        espeak.synthesise("a", "xx-nobody")


@needs_espeak
def test_a_voiceless_stop_is_announced_at_its_burst_so_the_silence_lies_before():
    spoken = espeak.synthesise("a papa, a papa, a papa", "en-us")
    pcm = spoken.pcm / 32768.0
    bursts = [each.start_s for each in spoken.phonemes if each.ipa == "p"]

    def level_db(from_s: float, to_s: float) -> float:
        part = pcm[int(max(from_s, 0) * spoken.rate_hz) : int(to_s * spoken.rate_hz)]
        return 10 * float(np.log10(np.mean(part**2) + 1e-9))

    assert len(bursts) >= 4
    assert all(level_db(at - 0.03, at - 0.01) < level_db(at, at + 0.03) - 10 for at in bursts[1:])


@needs_espeak
def test_a_fresh_process_speaks_the_same_utterances_for_the_same_seed():
    program = (
        "import hashlib; from avsync.scorer.training.examples import make_voice; "
        "print([hashlib.sha256(make_voice(3, k).spoken.pcm.tobytes()).hexdigest() for k in range(2)])"
    )
    one, again = (subprocess.run([sys.executable, "-c", program], capture_output=True, check=True) for _ in range(2))
    assert one.stdout == again.stdout and len(one.stdout) > 100


@needs_espeak
def test_sounds_come_in_order_and_within_the_utterance():
    one, other = utterance(chance(3)), utterance(chance(4))
    starts_s = [each.start_s for each in one.phonemes]
    assert starts_s == sorted(starts_s) and starts_s[-1] < one.duration_s
    assert one.phonemes != other.phonemes


def test_sentences_are_the_same_for_the_same_seed_and_unknown_languages_get_invented_words():
    assert sentence("de", chance()) == sentence("de", chance())
    assert len(sentence("xx", chance()).split()) >= 3


def test_a_wavering_speed_takes_the_sounds_times_along():
    pcm = np.zeros(2 * SAMPLE_RATE_HZ)
    pcm[SAMPLE_RATE_HZ] = 1.0
    moved, sounds = warp(pcm, (Phoneme("p", 1.0),), 0.08, chance(1))
    assert abs(int(np.argmax(moved)) / SAMPLE_RATE_HZ - sounds[0].start_s) < 0.001
    assert abs(sounds[0].start_s - 1.0) > 0.001


@pytest.mark.parametrize("seed", range(12))
def test_no_channel_moves_the_voice_in_time(seed):
    pcm = np.zeros(SAMPLE_RATE_HZ, np.float32)
    pcm[8000:8400] = chance(1).standard_normal(400) * 0.3
    out = channel.through_channel(pcm, chance(seed), [pcm]).astype(np.float64)
    agreement = np.correlate(out, pcm[8000:8400].astype(np.float64), "valid")
    assert abs(int(np.argmax(np.abs(agreement))) - 8000) <= 8
    assert out.shape == pcm.shape


# --- mouths


def test_names_are_read_letter_by_letter():
    assert len(targets_of("aɪ")) == 2
    assert targets_of("iː") == targets_of("i")
    assert targets_of("(en)") == () == targets_of("")
    assert gestures((Phoneme("tʃ", 0.5),), 0.6)[0].target == targets_of("ʃ")[0]


def test_lips_are_closed_before_a_voiceless_burst_and_open_in_the_vowel():
    drawn = draw_style(chance())
    on_time = dict.fromkeys(drawn.anticipation_s, 0.0)
    style = replace(
        drawn, closure=1.0, rest_open=0.0, anticipation_s=on_time, anticipation_jitter_s=0.0, looseness=0.0, accent=0.0
    )
    inner = mouth_track(PAPA, 2.0, chance(), style=style).column("inner_open")
    assert inner[92] < 0.15 * inner[75:85].max() and inner[105:120].max() > 0.05
    p_or_b = gestures((Phoneme("a", 0.3), Phoneme("p", 0.6)), 0.7)[-1]
    assert p_or_b.start_s < 0.6 - 0.03


def test_a_mouth_that_anticipates_is_earlier_by_it():
    def opened(anticipation_s: float) -> np.ndarray:
        style = draw_style(chance())
        style = replace(style, anticipation_s=dict.fromkeys(style.anticipation_s, anticipation_s))
        return mouth_track(PAPA, 2.0, chance(5), style=style).column("inner_open")

    late, early = opened(0.0), opened(0.05)
    shifts = range(-10, 11)
    best = max(shifts, key=lambda k: float(np.corrcoef(late[20:180], early[20 - k : 180 - k])[0, 1]))
    assert 3 <= best <= 7


def test_the_same_seed_makes_the_same_mouth_and_every_column_is_finite():
    one, again = (mouth_track(PAPA, 2.0, chance(2)).values for _ in range(2))
    assert np.array_equal(one, again) and np.isfinite(one).all() and len(one) == 200
    assert np.isfinite(mouth_track((), 1.0, chance()).values).all()


@pytest.mark.parametrize("fps", [25.0, 30.0, 50.0, 60.0])
def test_a_tracker_sees_the_same_opening_at_the_same_time_at_any_rate(fps):
    track = mouth_track(PAPA, 2.0, chance(1))
    times_ns, values = tracked_geometry(track, chance(1), fps=fps)
    assert values.shape == (len(times_ns), len(GEOMETRY_NAMES)) and np.isfinite(values).all()
    middle_s = times_ns / 1e9 + 0.5 / fps
    true = np.interp(middle_s, (np.arange(200) + 0.5) / 100, track.column("inner_open"))
    assert np.corrcoef(true, values[:, 0])[0, 1] > 0.8


# --- examples and the loop


def test_another_mouth_leaves_the_speech_as_it_was():
    one = examples.substream(0, 1, "speech").random(3)
    assert np.array_equal(one, examples.substream(0, 1, "speech").random(3))
    assert not np.array_equal(one, examples.substream(0, 1, "mouth").random(3))


def test_batches_are_the_same_for_the_same_seed_and_fit_the_networks():
    clips = [examples.make_clip(voice_of(k), chance(k)) for k in range(3)]
    spread = examples.usual_spread(clips)
    one, again = (examples.Sampler(clips, spread, 7).batch(4) for _ in range(2))
    assert torch.equal(one.lips, again.lips) and torch.equal(one.mel, again.mel)
    assert LipNet(2 * len(GEOMETRY_NAMES))(one.lips).shape[-1] == one.n
    assert SoundNet()(one.mel).shape[-1] == one.n + 2 * examples.LAG_CELLS
    assert one.lips.shape[-1] == one.n + 2 * ENCODER_CELLS


def test_the_loss_is_least_where_lips_and_sound_belong_together():
    torch.manual_seed(0)
    sound = torch.randn(4, 8, 40 + 2 * examples.LAG_CELLS)
    mouth, voice = fit.agreement(sound[..., examples.LAG_CELLS : -examples.LAG_CELLS], sound)
    best = torch.einsum("bd,bld->bl", mouth, voice).argmax(1)
    assert best.tolist() == [examples.LAG_CELLS] * 4
    pair = fit.Pair(torch.nn.Identity(), torch.nn.Identity())
    at_zero = sound[..., examples.LAG_CELLS : -examples.LAG_CELLS]
    late = sound[..., examples.LAG_CELLS + 5 : -examples.LAG_CELLS + 5]
    assert fit.loss_of(pair, at_zero, sound, fit.Recipe()) < fit.loss_of(pair, late, sound, fit.Recipe())


def test_the_target_is_symmetric_about_lag_zero():
    wanted = fit.target(torch.device("cpu"))
    assert int(wanted.argmax()) == examples.LAG_CELLS and torch.allclose(wanted, wanted.flip(0))


def test_the_rate_rises_then_falls_to_nothing():
    recipe = fit.Recipe(steps=100)
    shares = [fit.rate_share(step, recipe) for step in range(100)]
    assert max(shares) == 1.0 and shares[0] <= 0.1 and shares[-1] < 0.01


def test_windows_cut_from_a_sequence_lie_inside_it():
    for first, length in fit.segments(60, 50, chance()):
        assert first >= 0 and length >= fit.SHORTEST_CELLS and first + length <= 60


def tiny(**more: int) -> geometry_train.GeometryRecipe:
    return geometry_train.GeometryRecipe(fit.Recipe(steps=3, batch=4), members=2, hidden=8, embedding=4, **more)


def test_members_side_by_side_say_what_each_says_alone():
    pairs = [geometry_train._fresh(tiny(), seed).eval() for seed in (1, 2)]
    lips, sound = fit.merged(pairs)
    x, mel = torch.randn(1, 18, 30), torch.randn(1, 40, 60)
    with torch.no_grad():
        assert torch.allclose(lips(x), torch.cat([pair.lips(x) for pair in pairs], 1), atol=1e-5)
        assert torch.allclose(sound(mel), torch.cat([pair.sound(mel) for pair in pairs], 1), atol=1e-5)


def test_training_is_the_same_again_and_its_weights_are_read_back(tmp_path):
    pool = [voice_of(k) for k in range(4)]
    (one, spread), (again, _) = (geometry_train.train_geometry(pool, tiny(), 0) for _ in range(2))
    for a, b in zip(one[1].parameters(), again[1].parameters(), strict=True):
        assert torch.equal(a, b)
    path = tmp_path / "geometry.npz"
    save_weights(path, *geometry_train.geometry_weights(one, spread, tiny()))
    assert read_ensemble(path).members == 2


def test_a_stopped_training_goes_on_but_never_with_another_recipe(tmp_path):
    pool = [voice_of(k) for k in range(4)]
    trained: list[int] = []

    def seen(member: int, *_rest: object) -> None:
        trained.append(member)

    first, _ = geometry_train.train_geometry(pool, replace(tiny(), members=1), 0, work=tmp_path, on_step=seen)
    both, _ = geometry_train.train_geometry(pool, tiny(), 0, work=tmp_path, on_step=seen)
    assert trained == [0, 1]
    assert torch.equal(first[0].sharpness, both[0].sharpness)
    longer = replace(tiny(), pair=fit.Recipe(steps=4, batch=4))
    geometry_train.train_geometry(pool, longer, 0, work=tmp_path, on_step=seen)
    assert trained == [0, 1, 0, 1]
