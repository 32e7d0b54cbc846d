"""Files of weights: what was saved is what is read, and anything else is refused with its name and a remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsync.errors import InputError
from avsync.scorer.nets import weight_files as module
from avsync.scorer.nets.weight_files import load_weights, save_weights

ARRAYS = {"lips.0.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "usual_spread": np.ones(2)}


def test_what_was_saved_is_read_as_float32_with_its_header(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.npz", ARRAYS, {"net": "geometry", "members": 3})
    arrays, header = load_weights(tmp_path / "a.npz")
    assert header["net"] == "geometry" and header["members"] == 3
    assert arrays["lips.0.weight"].dtype == np.float32
    assert np.allclose(arrays["lips.0.weight"], ARRAYS["lips.0.weight"], atol=1e-3)


def test_the_same_weights_make_the_same_bytes(tmp_path: Path) -> None:
    """The committed hash is the proof that the stated command made the file."""
    first = save_weights(tmp_path / "a.npz", ARRAYS, {"seed": 1})
    second = save_weights(tmp_path / "b.npz", dict(reversed(ARRAYS.items())), {"seed": 1})
    assert first == second


def test_a_pickle_in_disguise_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('ran')",))

    np.savez(tmp_path / "trap.npz", header=np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match="not a file of scorer weights"):
        load_weights(tmp_path / "trap.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing more", b"\x93NUMPY"])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz: not a file of scorer weights"):
        load_weights(path)


def test_a_file_that_would_unpack_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNPACKED_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", header=np.zeros(1 << 21, np.uint8))
    with pytest.raises(InputError, match="unpack"):
        load_weights(tmp_path / "bomb.npz")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="avsync scorer train"):
        load_weights(tmp_path / "nowhere.npz")


def test_another_format_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "old.npz", ARRAYS, {"format": 99})
    with pytest.raises(InputError, match="format 99"):
        load_weights(tmp_path / "old.npz")


def test_shipped_weights_must_be_the_noted_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "HASHES", tmp_path / "SHA256SUMS")
    save_weights(tmp_path / "geometry.npz", ARRAYS, {})
    load_weights(tmp_path / "geometry.npz")
    save_weights(tmp_path / "elsewhere" / "other.npz", {"usual_spread": np.zeros(2)}, {})
    (tmp_path / "elsewhere" / "other.npz").replace(tmp_path / "geometry.npz")
    with pytest.raises(InputError, match="SHA256SUMS"):
        load_weights(tmp_path / "geometry.npz")
