"""SyncNet's layout: a weights file of the public shape loads, others are refused, its sound is the known MFCC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from avsync.errors import InputError, UsageError
from avsync.scorer.backends import syncnet
from avsync.scorer.backends.syncnet import SyncNet, SyncNetBackend, distances, load_syncnet, mfcc, read_syncnet
from avsync.scorer.features.cells import Floats
from avsync.scorer.scorer import LipSyncScorer


@pytest.fixture(scope="module")
def net() -> SyncNet:
    torch.manual_seed(5)
    return SyncNet().eval()


@pytest.fixture(scope="module")
def weights_file(net: SyncNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the public file's shape, with weights of our own."""
    file = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(net.state_dict(), file)
    return file


def chirp() -> np.ndarray[Any, np.dtype[np.int16]]:
    t = np.arange(8000)
    swept = 6000 * np.sin(2 * np.pi * (200 + t / 20) * t / 16000) * (1 + np.sin(t / 900))
    return np.asarray(swept + (t * 7919 % 1013 - 506), np.int16)


# ------------------------------------------------------------------------------------- the file


def test_it_has_the_size_and_the_names_of_the_public_network(net: SyncNet) -> None:
    state = net.state_dict()
    assert sum(parameter.numel() for parameter in net.parameters()) == 13_631_616
    assert state["netcnnaud.0.weight"].shape == (64, 1, 3, 3)
    assert state["netcnnaud.18.weight"].shape == (512, 256, 5, 4)
    assert state["netcnnlip.0.weight"].shape == (96, 3, 5, 7, 7)
    assert state["netcnnlip.18.weight"].shape == (512, 256, 1, 6, 6)
    assert state["netfclip.3.weight"].shape == state["netfcaud.3.weight"].shape == (1024, 512)


def test_a_weights_file_of_the_public_shape_gives_the_network_that_made_it(net: SyncNet, weights_file: Path) -> None:
    read = read_syncnet(weights_file)
    columns = torch.linspace(-20, 20, 2 * 13 * 20).reshape(2, 1, 13, 20)
    assert torch.equal(read.sound(columns), net.sound(columns))
    assert not read.training


def changed(net: SyncNet, **parts: Any) -> dict[str, Any]:
    return {**net.state_dict(), **{name.replace("__", "."): value for name, value in parts.items()}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda net: {"conv.weight": torch.zeros(3)}, "no parameter 'netcnnaud.0.weight'"),
        (lambda net: changed(net, netfcaud__0__weight=torch.zeros(512, 256)), "must have shape (512, 512)"),
        (lambda net: changed(net, netfcaud__0__bias=torch.full((512,), float("nan"))), "not finite"),
        (lambda net: changed(net, extra=torch.zeros(1)), "'extra' that SyncNet does not know"),
        (lambda net: [1, 2], "holds a list"),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(net: SyncNet, tmp_path: Path, content: Any, says: str) -> None:
    file = tmp_path / "other.model"
    torch.save(content(net), file)
    with pytest.raises(InputError) as refused:
        read_syncnet(file)
    assert says in str(refused.value) and "other.model" in str(refused.value)


class Mischief:
    def __reduce__(self) -> Any:
        return (print, ("never",))


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.model"
    torch.save({"netcnnaud.0.weight": Mischief()}, file)
    with pytest.raises(InputError, match="read safely"):
        read_syncnet(file)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"not a file of torch", b"PK\x03\x04 broken zip"])
def test_a_file_that_torch_cannot_read_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.model"
    file.write_bytes(content)
    with pytest.raises(InputError, match="broken.model"):
        read_syncnet(file)


def test_without_a_file_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the public SyncNet's weights file"):
        load_syncnet(weights={})
    with pytest.raises(InputError, match="no such file"):
        load_syncnet(weights={"syncnet": tmp_path / "missing.model"})


def test_a_huge_file_is_not_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "huge.model"
    file.write_bytes(b"x" * 100)
    monkeypatch.setattr(syncnet, "LARGEST_FILE_BYTES", 99)
    with pytest.raises(InputError, match="55 MB"):
        read_syncnet(file)


# ------------------------------------------------------------------------------------ the sound


def test_mfcc_is_what_python_speech_features_answers() -> None:
    """Rows 0 and 24 of python_speech_features 0.6 `mfcc(chirp(), 16000)`."""
    said = """
        18.13186 -4.61305 21.27674 10.25383 -2.28044 -15.43291 1.27386 -28.47694 -39.39407 -1.17075 -24.6914 -42.82855
        -2.17293
        17.21602 -27.34044 -1.00711 -5.74218 -11.75948 -22.85969 1.27575 -2.93541 -2.1996 51.25247 12.44541 -39.46673
        5.06452
    """
    wanted = np.array(said.split(), np.float64).reshape(2, 13)
    found = mfcc(chirp())
    assert found.shape == (50, 13)
    np.testing.assert_allclose(found[[0, 24]], wanted, atol=2e-5)


def test_mfcc_of_floats_and_of_int16_agree_and_silence_is_finite() -> None:
    sound = chirp()
    np.testing.assert_array_equal(mfcc((sound / 32768).astype(np.float32)), mfcc(sound))
    assert np.isfinite(mfcc(np.zeros(1600, np.int16))).all()
    assert mfcc(np.zeros(100, np.int16)).shape == (0, 13)


# ---------------------------------------------------------------------------------- the backend


def test_the_backend_looks_at_five_pictures_40_ms_apart_in_blue_green_red(net: SyncNet) -> None:
    backend = SyncNetBackend(net)
    rois = np.random.default_rng(1).integers(0, 256, (13, 224, 224, 3), np.uint8)
    cells = backend.picture_values(rois, None)
    found = backend.embed_lips(cells, np.ones(13, np.bool_), slice(5, 6))
    stack = torch.from_numpy(rois[[1, 3, 5, 7, 9]][..., ::-1].astype(np.float32)).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        np.testing.assert_allclose(found, net.lips(stack).numpy(), atol=1e-5)


def test_the_backend_hears_200_ms_from_100_ms_before_the_cells_centre(net: SyncNet) -> None:
    backend = SyncNetBackend(net)
    columns = backend.sound_values(chirp())
    found = backend.embed_sound(columns, slice(10, 11))
    # The centre of cell 10 is at 210 ms: columns that begin at 110, 120, … 300 ms.
    with torch.inference_mode():
        wanted = net.sound(torch.from_numpy(columns[11:31].T.copy())[None, None]).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_small_crops_are_enlarged_and_edges_repeat(net: SyncNet) -> None:
    backend = SyncNetBackend(net)
    cells = backend.picture_values(np.full((2, 96, 96, 3), 90, np.uint8), None)
    found = backend.embed_lips(cells, np.ones(2, np.bool_), slice(0, 2))
    flat = torch.full((1, 3, 5, 224, 224), 90.0)
    with torch.inference_mode():
        np.testing.assert_allclose(found, net.lips(flat).numpy().repeat(2, axis=0), atol=1e-5)


def test_crops_and_sound_of_another_shape_are_refused(net: SyncNet) -> None:
    backend = SyncNetBackend(net)
    for rois in (None, np.zeros((2, 96, 90, 3), np.uint8), np.zeros((2, 300, 300, 3), np.uint8)):
        with pytest.raises(UsageError, match="whole face"):
            backend.picture_values(rois, None)
    with pytest.raises(UsageError, match="MFCC"):
        backend.embed_sound(np.zeros((40, 40), np.float32), slice(0, 1))


def test_the_least_distance_is_at_the_shift_that_was_made() -> None:
    embedded = np.random.default_rng(2).normal(size=(60, 8)).astype(np.float32)
    shifted = np.roll(embedded, 3, axis=0)
    assert int(np.argmin(distances(embedded, shifted, range(-5, 6)))) - 5 == 3


def test_the_scorer_hands_it_faces_and_its_own_sound_in_a_block_and_in_a_stream(
    net: SyncNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = SyncNetBackend(net)
    heard: list[tuple[int, ...]] = []

    def embed_lips(cells: Floats, seen: np.ndarray[Any, Any], window: slice) -> Floats:
        return cells[window, :64]  # the network's own pace would be minutes here

    def embed_sound(mel: Floats, window: slice) -> Floats:
        heard.append(mel.shape)
        return SyncNetBackend.embed_sound(backend, mel, window)[:, :64]

    monkeypatch.setattr(backend, "embed_lips", embed_lips)
    monkeypatch.setattr(backend, "embed_sound", embed_sound)
    rng = np.random.default_rng(4)
    face = rng.integers(40, 200, (96, 96, 3)) + 20 * rng.normal(size=(50, 1, 1, 1))
    sound = np.tile(chirp(), 4)
    scorer = LipSyncScorer(backend)
    block = scorer.score_block(sound, face[:16].astype(np.uint8), fps=25, pcm_start_ms=-400)
    assert block.method == "syncnet" and block.score_best is not None and block.confidence <= 0.5
    times = [n * 40_000_000 for n in range(50)]
    signals = scorer.push_audio(sound, 0) + scorer.push_video(face.astype(np.uint8), times) + scorer.flush()
    assert any(signal.score_best is not None for signal in signals)
    assert {shape[1] for shape in heard} == {13}
