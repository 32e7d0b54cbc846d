"""SyncNet: the public network's layout, so that people who have its weights file can use it here.

J. S. Chung and A. Zisserman, "Out of time: automated lip sync in the wild", 2016, in the layout of
the widely used PyTorch port (a state dict of `netcnnaud`, `netfcaud`, `netcnnlip`, `netfclip`; 13.6
million parameters). No weights are shipped or fetched. It sees five pictures of a whole *face*, 40
ms apart, and 20 columns of 13 MFCC, 10 ms apart; both become 1024 numbers.

The pictures given as `rois` must therefore be crops of the whole face, square, RGB (the mouth crops
of the other backends show too little): 224 x 224 is what the network sees, smaller ones are
enlarged. Its sound is MFCC, not the log-mel of the other backends (`sound_values`). Its own measure
is the Euclidean distance (`distances`, which `benchmarks/bench_scorer.py` times); as a backend it is
correlated like the others, which is that distance with the lengths and means of both sides divided out.

It is slow: 75 ms of one CPU core for each cell of 20 ms, and a second of 224 x 224 pictures takes
100 MB on the grid.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsync.errors import InputError, UsageError
from avsync.scorer.features.cells import MEL_PER_CELL, SAMPLE_RATE_HZ, Floats
from avsync.scorer.signal import Method

SIDE = 224
"""Pixels of the square face crop the network was trained on."""
PICTURES = 5
"""Pictures of one input, 40 ms apart (25 a second)."""
COLUMNS = 20
"""Columns of MFCC of one input: 200 ms, as long as the pictures are shown."""
PICTURE_CELLS = 2
"""Cells of 20 ms from one of its pictures to the next."""
FIRST_COLUMN = -9
"""Column where its 20 begin, from the first of the cell's own two: pictures shown during [c - 100, c + 100) ms are
paired with columns that begin at c - 100 ms, and c is 10 ms after the cell's first column begins."""
BATCH = 8
"""Stacks of pictures embedded at once: 50 MB of them on their way through the first layer."""
DIMS = 1024
LARGEST_FILE_BYTES = 256 << 20
"""The public file has 55 MB; what is far larger is something else, and is not read at all."""


# ---------------------------------------------------------------------------------- the sound


class Mfcc(NamedTuple):
    """The defaults of python_speech_features 0.6, which SyncNet was trained with."""

    frame: int = 400  # 25 ms
    step: int = 160  # 10 ms
    fft: int = 512
    filters: int = 26
    coefficients: int = 13
    preemphasis: float = 0.97
    lifter: int = 22


MFCC: Final = Mfcc()


def _mel_filters() -> NDArray[np.float64]:
    """(filters, fft // 2 + 1): triangles between whole FFT bins, evenly spaced in mel from 0 to half the rate."""
    top_mel = 2595.0 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700.0)
    hz = 700.0 * (10 ** (np.linspace(0.0, top_mel, MFCC.filters + 2) / 2595.0) - 1)
    corner = np.floor((MFCC.fft + 1) * hz / SAMPLE_RATE_HZ)
    bins = np.arange(MFCC.fft // 2 + 1)
    low, middle, high = (corner[i : i + MFCC.filters, None] for i in range(3))
    rising = (bins - low) / (middle - low)
    falling = (high - bins) / (high - middle)
    return np.asarray(np.where(bins < middle, np.clip(rising, 0, 1), np.clip(falling, 0, 1)))


def _cosines() -> NDArray[np.float64]:
    """(filters, coefficients): the orthonormal DCT-II, each coefficient times its lifter."""
    n, k = np.arange(MFCC.filters), np.arange(MFCC.coefficients)
    cosines = np.cos(np.pi * (n[:, None] + 0.5) * k / MFCC.filters) * np.sqrt(2.0 / MFCC.filters)
    cosines[:, 0] /= np.sqrt(2.0)
    lifter = 1 + MFCC.lifter / 2 * np.sin(np.pi * k / MFCC.lifter)
    return np.asarray(cosines * lifter)


_FILTERS, _COSINES = _mel_filters().T, _cosines()


def mfcc(pcm: NDArray[Any]) -> Floats:
    """16 kHz mono, (n,), float in [-1, 1] or int16 -> (n // 160, 13); row k covers samples [160 k, 160 k + 400).

    What python_speech_features answers for the same sound as int16 (it pads the end with zeros, too);
    coefficient 0 is the log of the frame's energy.
    """
    sound = pcm.astype(np.float64) * (1.0 if pcm.dtype == np.int16 else 32768.0)
    frames = len(sound) // MFCC.step
    if frames == 0:
        return np.zeros((0, MFCC.coefficients), np.float32)
    sound = np.concatenate([sound[:1], sound[1:] - MFCC.preemphasis * sound[:-1], np.zeros(MFCC.frame)])
    cut = np.lib.stride_tricks.sliding_window_view(sound, MFCC.frame)[:: MFCC.step][:frames]
    power = np.abs(np.fft.rfft(cut, MFCC.fft)) ** 2 / MFCC.fft
    tiny = np.finfo(np.float64).eps
    energy, bands = power.sum(axis=1), power @ _FILTERS
    cepstra = np.log(np.where(bands == 0, tiny, bands)) @ _COSINES
    cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstra.astype(np.float32)


# ------------------------------------------------------------------------------- the networks


def _convolutions(dims: int, layers: list[tuple[object, ...]]) -> nn.Sequential:
    """Rows of (in, out, kernel, stride, padding) become convolution, batch norm, ReLU; ("pool", …) a max pool.

    The order of the parts gives the parameters their names in the file (`netcnnaud.4.weight`).
    """
    convolution, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
    )
    parts: list[nn.Module] = []
    for layer in layers:
        if layer[0] == "pool":
            parts.append(pool(*layer[1:]))  # type: ignore[arg-type]
        else:
            parts += [convolution(*layer), norm(layer[1]), nn.ReLU(inplace=True)]  # type: ignore[arg-type]
    return nn.Sequential(*parts)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, DIMS))


class SyncNet(nn.Module):
    """The network of the public weights file; `sound` and `lips` embed, `distances` compares."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _convolutions(
            2,
            [
                (1, 64, (3, 3), (1, 1), (1, 1)),
                ("pool", (1, 1), (1, 1)),
                (64, 192, (3, 3), (1, 1), (1, 1)),
                ("pool", (3, 3), (1, 2)),
                (192, 384, (3, 3), (1, 1), (1, 1)),
                (384, 256, (3, 3), (1, 1), (1, 1)),
                (256, 256, (3, 3), (1, 1), (1, 1)),
                ("pool", (3, 3), (2, 2)),
                (256, 512, (5, 4)),
            ],
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _convolutions(
            3,
            [
                (3, 96, (5, 7, 7), (1, 2, 2)),
                ("pool", (1, 3, 3), (1, 2, 2)),
                (96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
                ("pool", (1, 3, 3), (1, 2, 2), (0, 1, 1)),
                (256, 256, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
                (256, 256, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
                (256, 256, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
                ("pool", (1, 3, 3), (1, 2, 2)),
                (256, 512, (1, 6, 6)),
            ],
        )

    def sound(self, columns: Tensor) -> Tensor:
        """(B, 1, 13, 20) MFCC, time last -> (B, 1024)."""
        return torch.as_tensor(self.netfcaud(self.netcnnaud(columns).flatten(1)))

    def lips(self, pictures: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) float 0…255, *blue, green, red*, as the port reads them -> (B, 1024)."""
        return torch.as_tensor(self.netfclip(self.netcnnlip(pictures).flatten(1)))


def distances(lips: Floats, sound: Floats, shifts: range) -> Floats:
    """SyncNet's own measure: (n, D), (n, D) -> (len(shifts),) mean Euclidean distance, sound shifted by each.

    Past the ends the sound's embedding counts as 0, as in the port; the least distance is the answer.
    """
    reach = max(abs(shifts[0]), abs(shifts[-1]))
    padded = np.pad(sound, ((reach, reach), (0, 0)))
    n = len(lips)
    return np.array(
        [np.linalg.norm(lips - padded[reach + s : reach + s + n], axis=1).mean() for s in shifts], np.float32
    )


# --------------------------------------------------------------------------------- the backend


class SyncNetBackend:
    """SyncNet behind the interface of all backends (`avsync.scorer.backends.backend.Backend`)."""

    method: Method = "syncnet"
    bias_ms = 0.0
    wants = frozenset({"rois"})

    def __init__(self, net: SyncNet, *, device: str = "cpu") -> None:
        self._net, self._device = net.to(device).eval(), device

    def sound_values(self, pcm: NDArray[Any]) -> Floats:
        """MFCC in place of log-mel: 16 kHz mono (n,) -> (n // 160, 13)."""
        return mfcc(pcm)

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        """Crops of the whole face, uint8 RGB (T, S, S, 3), S <= 224 -> (T, 3 S S): the pixels themselves."""
        if rois is None or rois.ndim != 4 or rois.shape[1] != rois.shape[2] or rois.shape[1] > SIDE:
            shape = "none" if rois is None else str(rois.shape)
            raise UsageError(f"syncnet wants crops of the whole face, (T, S, S, 3) with S <= {SIDE}, got {shape}")
        return rois.reshape(len(rois), -1).astype(np.float32)

    @torch.inference_mode()
    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        """Pixels on the grid (N, 3 S S) -> (n, 1024); before the first and after the last cell, these repeat."""
        side = round((cells.shape[1] / 3) ** 0.5)
        reach = PICTURES // 2 * PICTURE_CELLS
        around = np.arange(-reach, reach + 1, PICTURE_CELLS)
        wanted = np.clip(np.arange(window.start, window.stop)[:, None] + around, 0, len(cells) - 1)
        found = []
        for rows in (wanted[first : first + BATCH] for first in range(0, len(wanted), BATCH)):
            pictures = torch.from_numpy(cells[rows].reshape(-1, side, side, 3)).to(self._device)
            pictures = pictures.flip(3).permute(0, 3, 1, 2)  # to blue, green, red
            if side != SIDE:
                pictures = nn.functional.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear")
            stacks = pictures.reshape(len(rows), PICTURES, 3, SIDE, SIDE).transpose(1, 2)
            found.append(self._net.lips(stacks.contiguous()).float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, DIMS), np.float32)

    @torch.inference_mode()
    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        """Columns of `sound_values` (2 M, 13) -> (m, 1024) of the cells in `window`."""
        if mel.shape[1] != MFCC.coefficients:
            raise UsageError(f"syncnet wants MFCC (2 M, 13) as its sound_values gives them, got {mel.shape}")
        first = np.arange(window.start, window.stop) * MEL_PER_CELL + FIRST_COLUMN
        rows = np.clip(first[:, None] + np.arange(COLUMNS), 0, len(mel) - 1)
        columns = torch.from_numpy(mel[rows].transpose(0, 2, 1)[:, None].copy()).to(self._device)
        return np.asarray(self._net.sound(columns).float().cpu().numpy())


def load_syncnet(*, device: str = "cpu", weights: dict[str, Path]) -> SyncNetBackend:
    """The backend on the weights file named in `weights["syncnet"]`; `InputError` without one."""
    if "syncnet" not in weights:
        raise InputError(
            "the syncnet backend needs the public SyncNet's weights file, which is not shipped",
            remedy='give it as weights={"syncnet": Path("syncnet_v2.model")}',
        )
    return SyncNetBackend(read_syncnet(weights["syncnet"]), device=device)


def read_syncnet(path: str | Path) -> SyncNet:
    """The network with the weights of a file like the public `syncnet_v2.model`; anything else is an `InputError`.

    Only tensors are read (`weights_only`): a file that wants to run code is refused.
    """
    file = Path(path)
    remedy = "give the state dict of the public SyncNet (syncnet_v2.model), saved by torch.save"
    if not file.is_file():
        raise InputError("there is no such file", file=str(path), remedy=remedy)
    if file.stat().st_size > LARGEST_FILE_BYTES:
        raise InputError(f"SyncNet's weights have 55 MB, this file {file.stat().st_size >> 20}", file=str(path))
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError("not a file of tensors that torch can read safely", file=str(path), remedy=remedy) from error
    net = SyncNet()
    _check_state(state, net.state_dict(), str(path), remedy)
    net.load_state_dict(state, strict=False)
    return net.eval()


def _check_state(state: object, wanted: dict[str, Tensor], file: str, remedy: str) -> None:
    """Same names, same shapes; the counters of batches, which nothing reads, may be missing."""
    if not isinstance(state, dict):
        raise InputError(f"holds a {type(state).__name__}, not a state dict", file=file, remedy=remedy)
    for name, tensor in wanted.items():
        found = state.get(name)
        if found is None and name.endswith("num_batches_tracked"):
            continue
        if not isinstance(found, Tensor):
            raise InputError(f"has no parameter {name!r}: not SyncNet's layout", file=file, remedy=remedy)
        if found.shape != tensor.shape:
            rule = f"{name} must have shape {tuple(tensor.shape)}, has {tuple(found.shape)}"
            raise InputError(rule, file=file, remedy=remedy)
        if not bool(torch.isfinite(found.float()).all()):
            raise InputError(f"{name} holds numbers that are not finite", file=file, remedy=remedy)
    for name in state:
        if name not in wanted:
            raise InputError(f"has a parameter {name!r} that SyncNet does not know", file=file, remedy=remedy)
