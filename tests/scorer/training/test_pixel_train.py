"""Mouths read off pictures: the network, its training against the renderer, and the clips that are filmed for it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from avsync.scorer.backends.learned import PIXELS_WEIGHT, normal_sound, read_ensemble
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.normalising import level_of, normal_lips, with_context
from avsync.scorer.nets.architecture import ENCODER_CELLS, GREY_PX
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_mouth_network import TOGETHER, MouthNet, packed
from avsync.scorer.nets.weight_files import save_weights
from avsync.scorer.synthetic.espeak import Phoneme
from avsync.scorer.synthetic.mouths import COLUMNS
from avsync.scorer.synthetic.speech import Utterance
from avsync.scorer.training import pixel_clips, pixel_mouth, pixel_train
from avsync.scorer.training.examples import TrainingVoice
from avsync.scorer.training.fit import Pair, Recipe

pytestmark = pytest.mark.lab

SMALL = pixel_mouth.MouthRecipe(steps=4, faces=3, pictures=3, values=4, channels=(4, 4, 4, 4))


def crops(count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 96, 96, 3)).astype(np.uint8)


def trained_form(seed: int) -> MouthNet:
    """A network whose normalisation has seen something."""
    torch.manual_seed(seed)
    net = MouthNet(1, 4, (4, 6, 8, 8), training_form=True)
    for _ in range(3):
        net.of_grey(torch.rand(20, GREY_PX, GREY_PX) * 255)
    return net.eval()


def tracks(count: int = 3) -> list[Floats]:
    """Mouths that open and close, each at a rate of its own."""
    found = []
    for index in range(count):
        values = np.zeros((200, len(COLUMNS)), np.float32)
        opening = 0.08 * (1 + np.sin(np.arange(200) / (5 + 3 * index)))
        for name, value in {
            "inner_open": opening, "outer_height": 0.25 + opening, "outer_width": 0.85, "inner_width": 0.7,
            "jaw": 5 * opening, "scale": 1.0,
        }.items():  # fmt: skip
            values[:, COLUMNS.index(name)] = value
        found.append(values)
    return found


def test_an_ensemble_says_what_its_members_say_apart():
    members = [trained_form(seed) for seed in range(3)]
    together = packed(members)
    apart = np.concatenate([net.values_of(crops(), "cpu") for net in members], axis=1)
    assert together.values_of(crops(), "cpu") == pytest.approx(apart, abs=1e-5)


def test_a_picture_is_read_without_its_neighbours():
    net = packed([trained_form(0)])
    assert net.values_of(crops(5), "cpu")[3:4] == pytest.approx(net.values_of(crops(5)[3:4], "cpu"), abs=1e-5)


def test_many_pictures_go_through_a_few_at_a_time_and_keep_their_order():
    """What lies between two layers of many at once is so large that it costs page faults at every block."""
    net, seen = packed([trained_form(0)]), []
    net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    values = net.values_of(crops(2 * TOGETHER + 3), "cpu")
    assert seen == [TOGETHER, TOGETHER, 3]
    assert values[-2:] == pytest.approx(net.values_of(crops(2 * TOGETHER + 3)[-2:], "cpu"), abs=1e-5)


def test_brightness_and_contrast_change_little():
    net = packed([trained_form(0)])
    dark = (crops() * 0.6 + 20).astype(np.uint8)
    bright, changed = net.values_of(crops(), "cpu"), net.values_of(dark, "cpu")
    assert np.abs(bright - changed).max() < 0.3 * np.abs(bright - net.values_of(crops(seed=1), "cpu")).max()


@pytest.mark.parametrize("level", [0, 255])
def test_a_blank_crop_gives_numbers(level):
    blank = np.full((2, 96, 96, 3), level, np.uint8)
    assert np.isfinite(packed([trained_form(0)]).values_of(blank, "cpu")).all()


def test_no_crops_give_no_values():
    assert packed([trained_form(0)]).values_of(crops(0), "cpu").shape == (0, 4)


def test_members_are_trained_one_by_one():
    with pytest.raises(ValueError, match="one by one"):
        MouthNet(2, training_form=True)


def test_the_network_learns_to_tell_open_from_closed():
    recipe = pixel_mouth.MouthRecipe(
        steps=25, planned=25, faces=12, pictures=4, values=6, channels=(6, 8, 8, 8), rate=1e-2
    )
    losses: list[float] = []
    pixel_mouth.fit_mouths(tracks(), recipe, [1], every=5, on_step=lambda step, loss, means: losses.append(loss[0]))
    assert losses[-1] < 0.8 * losses[0]


def test_training_goes_on_where_it_was_stopped(tmp_path):
    work, steps = tmp_path / "mouths.pt", []

    def seen(step: int, losses: list[float], means: list[pixel_mouth.Reader]) -> None:
        steps.append(step)
        if step == 2 and len(steps) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pixel_mouth.fit_mouths(tracks(), SMALL, [1, 2], work=work, every=2, on_step=seen)
    nets = pixel_mouth.fit_mouths(tracks(), SMALL, [1, 2], work=work, every=2, on_step=seen)
    assert steps == [2, 4] and len(nets) == 2


def test_another_trainings_state_is_not_gone_on_with(tmp_path):
    work, steps = tmp_path / "mouths.pt", []
    pixel_mouth.fit_mouths(tracks(), SMALL, [1], work=work, every=4)
    pixel_mouth.fit_mouths(tracks(), SMALL, [3], work=work, every=4, on_step=lambda step, *_: steps.append(step))
    assert steps == [4]


def test_the_rate_is_that_of_a_longer_training():
    """Stopped early, the rate is still high: the first steps are the same however many of those planned follow."""
    short, longer = (
        pixel_mouth.MouthRecipe(steps=steps, planned=40, faces=3, pictures=3, values=4, channels=(4, 4, 4, 4))
        for steps in (3, 5)
    )
    seen: list[torch.Tensor] = []
    for recipe in (short, longer):
        pixel_mouth.fit_mouths(
            tracks(), recipe, [1], every=3,
            on_step=lambda step, losses, means: seen.append(means[0].shape.weight.clone()) if step == 3 else None,
        )  # fmt: skip
    assert torch.equal(seen[0], seen[1])


def test_the_same_seed_trains_the_same_network():
    first, again = (pixel_mouth.fit_mouths(tracks(), SMALL, [7])[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def voice(index: int) -> TrainingVoice:
    """Some seconds of nothing much, with sounds at known times."""
    sounds = tuple(Phoneme(ipa, 0.2 + 0.1 * at) for at, ipa in enumerate("amapafiuma" * 2))
    level = np.full(250, -20.0, np.float32)
    level[220:] = -80.0
    spoken = Utterance(np.zeros(40_000, np.float32), sounds, level, f"voice {index}")
    return TrainingVoice(spoken, np.random.default_rng(index).normal(size=(250, 40)).astype(np.float16))


def test_a_film_has_pictures_and_sound_of_the_same_time():
    sounds = [voice(0), voice(1)]
    films = pixel_clips.film_pool(sounds, pixel_clips.tracks_of(sounds, 5), 5)
    for film in films:
        assert len(film.times_ns) == len(film.grey) and film.grey.dtype == np.uint8
        assert len(film.mel) == 2 * len(film.spoken)
        assert film.times_ns[-1] >= (len(film.spoken) - 1) * 20_000_000
    clips = pixel_clips.clips_of(trained_form(0), films)
    assert len(clips) == 4
    assert all(clip.cells.shape == (len(clip.spoken), 4) and clip.seen[3:-3].all() for clip in clips)


def test_films_move_with_the_mouth_and_not_before_it():
    """The picture's time is the mouth's: the picture that changes most is the one in which it opens. (Here and there a
    camera's own fault changes more: the middle film of nine counts.)"""
    track = np.zeros((300, len(COLUMNS)), np.float32)
    for name, value in {"outer_height": 0.25, "outer_width": 0.85, "inner_width": 0.7, "scale": 1.0}.items():
        track[:, COLUMNS.index(name)] = value
    track[150:, COLUMNS.index("inner_open")] = 0.15
    sound = TrainingVoice(voice(0).spoken, np.zeros((300, 40), np.float16))
    late_ms = []
    for film in pixel_clips.film_pool([sound] * 9, [track] * 9, 0):
        change = np.abs(np.diff(film.grey.astype(float), axis=0)).mean(axis=(1, 2))
        late_ms.append((film.times_ns[1:][change.argmax()] - 1_500_000_000) / 1e6)
    # The picture on the screen while it opens, or the next.
    assert np.median(np.abs(late_ms)) <= 45


def member(seed: int) -> pixel_train.Member:
    torch.manual_seed(seed)
    pair = Pair(LipNet(2 * 4, 1, 6, 5), SoundNet(1, 6, 5)).eval()
    return pixel_train.Member(trained_form(seed), pair, np.random.default_rng(seed).uniform(1, 2, 4).astype(np.float32))


def test_a_file_of_weights_answers_as_its_members_do(tmp_path):
    """Lips, sound and pictures laid side by side, written, read back, and run by the product's own code."""
    members = [member(seed) for seed in range(3)]
    path = tmp_path / "pixels.npz"
    save_weights(path, *pixel_train.pixel_weights(members))
    ensemble = read_ensemble(path)
    values = ensemble.picture_values(crops(), None)
    apart = [each.mouth.values_of(crops(), "cpu") for each in members]
    assert values == pytest.approx(np.concatenate(apart, axis=1), abs=0.01)  # half precision in the file
    cells = np.random.default_rng(5).normal(size=(30, 12)).astype(np.float32)
    seen, window = np.ones(30, np.bool_), slice(9, 21)
    together = ensemble.embed_lips(cells, seen, window)
    for index, each in enumerate(members):
        own = normal_lips(cells[:, 4 * index : 4 * index + 4], seen, each.usual_spread)
        rows = torch.from_numpy(with_context(own, window, ENCODER_CELLS).T.copy())[None]
        expected = level_of(each.pair.lips(rows)[0].T.detach().numpy(), 1)
        one = together[:, 5 * index : 5 * index + 5] * (3 / PIXELS_WEIGHT) ** 0.5  # all three weigh that together
        assert one == pytest.approx(expected, abs=0.03)
    mel = np.random.default_rng(6).normal(size=(60, 40)).astype(np.float32)
    assert ensemble.embed_sound(mel, normal_sound(mel, window), window).shape == (12, 15)


def test_the_whole_training_from_sound_to_weights(tmp_path):
    recipe = pixel_train.PixelRecipe(mouth=SMALL, pair=Recipe(steps=2, batch=3), members=2, hidden=6, embedding=5)
    sounds, told, seen = [voice(index) for index in range(3)], [], []
    members = pixel_train.train_pixels(
        sounds, recipe, 1, work=tmp_path, progress=lambda what, done, of: told.append(what),
        on_step=lambda member, step, loss, so_far: seen.append((member, step)),
    )  # fmt: skip
    assert [len(each.usual_spread) for each in members] == [4, 4]
    assert seen == [(0, 2), (1, 2)]
    assert {"mouths", "films", "lips and sound 1", "lips and sound 2"} <= set(told)
    arrays, header = pixel_train.pixel_weights(members)
    assert header["members"] == 2 and arrays["lips.layers.0.weight"].shape == (12, 16, 5)
