"""Networks without torch: LiteRT says what torch says, at any length, in any thread, and refuses what does not fit."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("torch")

import torch

from avsync.errors import InputError
from avsync.scorer.backends.learned import Ensemble, networks_on, read_ensemble
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.nets import litert_runtime
from avsync.scorer.nets.architecture import GREY_PX, LUMA, layers_of
from avsync.scorer.nets.crop_preparing import averaging, prepared
from avsync.scorer.nets.litert_networks import LiteNetworks
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.nets.torch_mouth_network import prepared as prepared_by_torch
from avsync.scorer.nets.torch_networks import TorchNetworks, modules_of
from avsync.scorer.nets.weight_files import save_weights, shipped
from tests.scorer.gpu.block_story import ensemble

SAME = 1e-5
"""Of numbers about 1, in float32."""


def landmarks(members: int = 3) -> Ensemble:
    torch.manual_seed(1)
    return ensemble(members, np.linspace(0.1, 0.2, 9).astype(np.float32))


def pixels(members: int = 2) -> Ensemble:
    torch.manual_seed(2)
    return ensemble(members, np.full(4 * members, 0.1, np.float32), MouthNet(members, 4, (4, 6, 8, 8)))


def both(of: Ensemble) -> tuple[LiteNetworks, TorchNetworks]:
    return LiteNetworks(of.arrays, of.header), TorchNetworks(of.arrays, of.header, "cpu")


def crops(count: int = 5) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 96, 96, 3)).astype(np.uint8)


@pytest.mark.parametrize("made", [landmarks, pixels])
@pytest.mark.parametrize("members", [1, 3])
def test_lips_and_sound_of_any_length_are_torchs(made: Any, members: int) -> None:
    lite, by_torch = both(made(members))
    features = 2 * len(made(members).usual_spread)
    rng = np.random.default_rng(4)
    for cells in (27, 50, 1, 27, 300):  # each length makes room anew
        rows = rng.normal(size=(cells + 14, features)).astype(np.float32)
        mel = rng.normal(size=(2 * (cells + 14), 40)).astype(np.float32)
        assert lite.lips(rows).shape == (cells, 32 * members)
        np.testing.assert_allclose(lite.lips(rows), by_torch.lips(rows), atol=SAME)
        np.testing.assert_allclose(lite.sound(mel), by_torch.sound(mel), atol=SAME)
    assert np.ptp(by_torch.lips(rows)) > 1000 * SAME, "numbers that are all alike would prove nothing"


def test_mouths_are_read_as_by_torch_one_or_many() -> None:
    lite, by_torch = both(pixels())
    np.testing.assert_allclose(lite.mouths(crops()), by_torch.mouths(crops()), atol=SAME)
    np.testing.assert_allclose(lite.mouths(crops()[2:3]), by_torch.mouths(crops())[2:3], atol=SAME)
    assert lite.mouths(crops(0)).shape == by_torch.mouths(crops(0)).shape == (0, 8)


def test_the_shipped_networks_are_torchs_too() -> None:
    for name in ("geometry", "pixels"):
        lite, by_torch = both(read_ensemble(shipped(name)))
        mel = np.random.default_rng(5).normal(size=(100, 40)).astype(np.float32)
        np.testing.assert_allclose(lite.sound(mel), by_torch.sound(mel), atol=SAME)
    np.testing.assert_allclose(lite.mouths(crops()), by_torch.mouths(crops()), atol=5 * SAME)


def test_crops_are_prepared_as_torch_prepares_them() -> None:
    grey = (
        (crops().astype(np.float32) @ np.array(LUMA, np.float32)).reshape(5, GREY_PX, 2, GREY_PX, 2).mean(axis=(2, 4))
    )
    blurs = [torch.from_numpy(averaging(size)) for size in (9, 13)]
    wanted = prepared_by_torch(torch.from_numpy(grey), *blurs).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(prepared(crops()), wanted, atol=1e-4)
    assert np.isfinite(prepared(np.zeros((2, 96, 96, 3), np.uint8))).all()


def test_threads_do_not_disturb_each_other() -> None:
    lite, by_torch = both(landmarks())
    rng = np.random.default_rng(6)
    given = [rng.normal(size=(20 + index % 7, 18)).astype(np.float32) for index in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lite.lips, given))
    for rows, answer in zip(given, found, strict=True):
        np.testing.assert_allclose(answer, by_torch.lips(rows), atol=SAME)


def test_arrays_of_other_shapes_are_refused_by_name() -> None:
    good = landmarks()
    arrays = {**good.arrays, "lips.layers.3.weight": good.arrays["lips.layers.3.weight"][:, :, :3]}
    with pytest.raises(ValueError, match="lips.layers.3"):
        LiteNetworks(arrays, good.header)
    missing = {name: array for name, array in good.arrays.items() if "sound.layers.7" not in name}
    with pytest.raises(ValueError, match="sound has 3 layers"):
        LiteNetworks(missing, good.header)
    with pytest.raises(KeyError):
        LiteNetworks(good.arrays, {"members": 3})


def test_a_file_whose_header_says_something_else_is_an_input_error(tmp_path: Path) -> None:
    good = pixels()
    for lie in ({"members": 3}, {"mouth": {"members": 2, "values": 4}}, {"mouth": 5}, {"hidden": "many"}):
        save_weights(tmp_path / "pixels.npz", good.arrays, {**good.header, "net": "pixels", **lie})
        with pytest.raises(InputError, match="do not fit this version"):
            read_ensemble(tmp_path / "pixels.npz")


def test_a_file_for_other_lip_values_is_an_input_error(tmp_path: Path) -> None:
    for net, good in (("geometry", landmarks()), ("pixels", pixels())):
        torch.manual_seed(1)
        fewer = ensemble(1, good.usual_spread, None if net == "geometry" else MouthNet(2, 4, (4, 6, 8, 8)))
        arrays = {**fewer.arrays, "usual_spread": good.usual_spread[:-1]}
        arrays["lips.layers.0.weight"] = arrays["lips.layers.0.weight"][:, :-2]
        header = {**fewer.header, "net": net, "features": list(GEOMETRY_NAMES)}
        save_weights(tmp_path / f"{net}.npz", arrays, header)
        with pytest.raises(InputError, match="usual_spread has shape"):
            read_ensemble(tmp_path / f"{net}.npz")


def test_where_there_is_no_litert_torch_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    good = landmarks()
    assert isinstance(networks_on("cpu", good.arrays, good.header), LiteNetworks)
    assert isinstance(networks_on("meta", good.arrays, good.header), TorchNetworks), "any device but a CPU is torch's"
    monkeypatch.setitem(sys.modules, litert_runtime.PACKAGE, None)
    assert isinstance(networks_on("cpu", good.arrays, good.header), TorchNetworks)


def test_torch_makes_the_layers_that_are_written_down() -> None:
    for each in (landmarks(), pixels()):
        nets = modules_of(each.arrays, each.header)._asdict()
        for name, layers in layers_of(each.header, len(each.usual_spread)).items():
            convolutions = [part for part in nets[name].layers if hasattr(part, "stride")]
            assert [tuple(part.weight.shape) for part in convolutions] == [layer.weight_shape for layer in layers]
            assert [part.stride[0] for part in convolutions] == [layer.stride for layer in layers]
