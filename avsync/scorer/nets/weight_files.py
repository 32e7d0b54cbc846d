"""Files of weights: a .npz of float16 arrays with a JSON header, and the hashes of the shipped ones."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError

FOLDER: Final = Path(__file__).parent.parent / "weights"
HASHES: Final = FOLDER / "SHA256SUMS"
FORMAT: Final = 1
LARGEST_BYTES: Final = 64 << 20
"""A file of weights larger than this is not ours."""
UNPACKED_BYTES: Final = 256 << 20

Arrays = dict[str, NDArray[Any]]


def shipped(name: str) -> Path:
    """The file of a shipped model: "geometry" or "pixels"."""
    return FOLDER / f"{name}.npz"


def save_weights(path: Path, arrays: Arrays, header: dict[str, Any]) -> str:
    """Write a file of weights; the same content gives the same bytes. Returns its sha256, noted where it is shipped."""
    packed = {name: np.asarray(value, np.float16) for name, value in sorted(arrays.items())}
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, header=np.frombuffer(text, np.uint8), **packed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    if path.parent == FOLDER:
        _note_hashes()
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def load_weights(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Arrays as float32, and the header. A shipped file must have the hash noted beside it. InputError otherwise."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path}: a file of scorer weights is at most {LARGEST_BYTES >> 20} MB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; weights are made by `avsync scorer train`") from error
    if path.parent == FOLDER:
        _check_hash(path.name, content)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if sum(entry.file_size for entry in file.zip.infolist()) > UNPACKED_BYTES:
                raise ValueError(f"it would unpack to more than {UNPACKED_BYTES >> 20} MB")
            header = json.loads(bytes(file["header"]).decode())
            arrays = {name: file[name].astype(np.float32) for name in file.files if name != "header"}
    except Exception as error:  # zipfile, numpy and json each have errors of their own for a broken file
        raise InputError(
            f"{path}: not a file of scorer weights ({error}); make one with `avsync scorer train`"
        ) from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: weights of format {header.get('format')}, this version reads {FORMAT}; train again")
    return arrays, header


def _note_hashes() -> None:
    """Note the hashes of all shipped files, as sha256sum prints them."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in sorted(FOLDER.glob("*.npz"))]
    HASHES.write_text("\n".join(lines) + "\n")


def _check_hash(name: str, content: bytes) -> None:
    lines = HASHES.read_text().splitlines() if HASHES.exists() else []
    noted = {file: digest for digest, file in (line.split() for line in lines)}
    if noted.get(name) != hashlib.sha256(content).hexdigest():
        raise InputError(f"{name}: the shipped weights are not the ones noted in {HASHES.name}; install avsync again")
