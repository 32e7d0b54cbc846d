"""A block in one go: crops, landmarks and sound to the agreement at every lag, as tensor operations alone.

The path through `grid`, `backends` and `lag_search` makes a dozen stops in numpy, which a CPU does not mind and a GPU
does. Here the same steps are written for a batch of blocks of one shape: what depends on the shape alone (which picture
covers which cell, what a lag compares with what) becomes constant matrices when the program is built, and no step
depends on what the numbers are, so that a GPU may record it once as a CUDA graph (`avsync.scorer.gpu.block_scorer`).

In float32 on a CPU its correlations differ from the other path's by at most `TOLERANCE`; a test holds it to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsync.errors import UsageError
from avsync.scorer.backends import envelopes
from avsync.scorer.backends.learned import Ensemble, NetBackend
from avsync.scorer.features import geometry, grid
from avsync.scorer.features.cells import CELL_MS, CELL_NS, CELL_SAMPLES, HOP_SAMPLES, MEL_PER_CELL, Floats
from avsync.scorer.features.log_mel import FFT_SAMPLES, POWER_FLOOR, WINDOW_SAMPLES, mel_filters
from avsync.scorer.features.normalising import (
    MEL_SPREAD_FLOOR,
    SPREAD_SHARE,
    TRUST_FROM,
    TRUST_LEAST,
    trust_columns,
    with_context,
)
from avsync.scorer.matching import lag_search
from avsync.scorer.matching.input_checks import fps_of
from avsync.scorer.matching.segment import STATISTICS_CELLS
from avsync.scorer.matching.stream_buffers import cell_at
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.nets.torch_mouth_network import TOGETHER
from avsync.scorer.nets.torch_networks import modules_of
from avsync.units import ticks_to_ns

TOLERANCE: Final = 2e-5
"""Of a correlation, in float32 on a CPU. With half precision it is 0.03 (mantissas: 2^-8 for bfloat16, 2^-11 for
float16), and so it is for a GPU's convolutions, which torch lets round to TF32 (2^-11)."""


class BlockShape(NamedTuple):
    """What all blocks of a program have in common."""

    frames: int = 16
    fps: float = 30.0
    samples: int = 20_480
    """Of sound. The default reaches 373 ms past either end of 16 frames at 30 fps: the search and the context."""
    pcm_start_ms: float = -373.0
    """First sample minus first picture."""


class BlockScores(NamedTuple):
    """Agreement of B blocks at L lags, on the host."""

    offsets_ms: NDArray[np.float64]
    """(L,), positive: voice ahead."""
    rho: Floats
    """(B, L) correlation, NaN where too little overlaps."""
    best: NDArray[np.int64]
    """(B,) index of the best lag; -1 where none was scored."""
    margin: Floats
    """(B,) best minus the best lag more than 40 ms away from it."""


class BlockProgram:
    """The networks of a backend, and the constants of a shape of block, on a device.

    Called with tensors on that device: pcm (B, samples) int16 or float32; rois (B, frames, 96, 96, 3) uint8 if the
    backend wants them; landmarks (B, frames, 468, 2) float32, NaN where there is no face, if it wants those. It answers
    (B, 2, L) float32: correlations, and the share of the block that was under both.
    """

    def __init__(
        self,
        backend: NetBackend,
        shape: BlockShape,
        offsets_ms: NDArray[np.float64],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        def kept(values: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        self.shape, self.offsets_ms = shape, offsets_ms
        at = _layout(shape, backend.bias_ms, offsets_ms)
        self._samples, self._mel_frames, self._own = at.samples, at.mel_frames, at.own
        self._parts = [_Part(each, at, kept, dtype) for each in backend.ensembles]
        self._dft, self._mel = kept(_windowed_dft()), kept(mel_filters())
        self._pairs = kept(np.array([pair for pairs in geometry.MOUTH_DISTANCES.values() for pair in pairs]))
        self._shares = kept(geometry.distance_shares())
        self._cover = kept(_cover(at))
        both, weight, square, beside = _lag_matrices(at, offsets_ms)
        self._both, self._weight = kept(both), kept(weight)
        self._square, self._beside = kept(square), kept(beside)
        drifts = at.own.stop - at.own.start > lag_search.DRIFT_CELLS
        self._around = [kept(_around(span.stop - span.start)) for span in (at.own, at.near)] if drifts else None

    def __call__(self, pcm: Tensor, rois: Tensor | None, landmarks: Tensor | None) -> Tensor:
        mel = self.log_mel(pcm[:, self._samples])[:, self._mel_frames]
        values = self._picture_values(rois, landmarks)
        known = torch.isfinite(torch.cat(values, dim=2)).all(dim=2).float()
        covered = known @ self._cover.T
        seen = (covered >= grid.SEEN_SHARE - 1e-5).float()
        lips, sound = [], []
        for part, each in zip(self._parts, values, strict=True):
            filled = torch.where(known[..., None] > 0, each, 0.0)
            cells = (self._cover @ filled) / covered.clamp_min(1e-6)[..., None] * seen[..., None]
            lips.append(part.embed_lips(cells, seen))
            sound.append(part.embed_sound(mel))
        return self._correlate(torch.cat(lips, dim=2), torch.cat(sound, dim=2), seen[:, self._own])

    def log_mel(self, pcm: Tensor) -> Tensor:
        """(B, samples) -> (B, 2 cells, 40), as `log_mel`; the transform is a matrix: a graph can hold it."""
        x = pcm.float() / 32768.0 if pcm.dtype == torch.int16 else pcm
        frames = x.shape[1] // CELL_SAMPLES * MEL_PER_CELL
        before = (WINDOW_SAMPLES - HOP_SAMPLES) // 2
        padded = nn.functional.pad(x, (before, WINDOW_SAMPLES))
        windows = padded.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)[:, :frames]
        spectrum = (windows @ self._dft).reshape(len(x), frames, 2, -1)
        return torch.log(spectrum.square().sum(dim=2) @ self._mel + POWER_FLOOR)

    def geometry(self, landmarks: Tensor) -> Tensor:
        """(B, frames, 468, 2) -> (B, frames, 9), as `geometry.geometry`."""
        apart = (landmarks[:, :, self._pairs[:, 0]] - landmarks[:, :, self._pairs[:, 1]]).square().sum(dim=3).sqrt()
        left, right = ((landmarks[:, :, a] + landmarks[:, :, b]) / 2 for a, b in geometry.EYES)
        across = (right - left).square().sum(dim=2)
        down = ((left + right) / 2 - landmarks[:, :, geometry.NOSE_BASE]).square().sum(dim=2)
        size = ((across + down / geometry.EYES_TO_NOSE**2) / 2).sqrt().clamp_min(geometry.SMALLEST_FACE_PX)
        return apart @ self._shares / size[..., None]

    def _picture_values(self, rois: Tensor | None, landmarks: Tensor | None) -> list[Tensor]:
        """(B, frames, F) of each ensemble."""
        values: list[Tensor] = []
        for part in self._parts:
            if part.mouth is None:
                assert landmarks is not None
                values.append(self.geometry(landmarks))
            else:
                assert rois is not None
                crops = rois.flatten(0, 1)
                some = torch.split(crops, TOGETHER if crops.device.type == "cpu" else len(crops))
                found = torch.cat([part.mouth(each) for each in some])
                values.append(found.float().reshape(*rois.shape[:2], -1))
        return values

    def _correlate(self, lips: Tensor, sound: Tensor, seen: Tensor) -> Tensor:
        """(B, n, D), (B, m, D), (B, n) -> (B, 2, L), as `lag_scores`: sums over the cells under both, per lag."""
        blocks, n, m = len(lips), lips.shape[1], sound.shape[1]
        if self._around is not None:  # `lag_search.without_drift`
            of_lips, of_sound = self._around
            counted = (seen @ of_lips).clamp_min(1.0)[..., None]
            lips = lips - of_lips @ (lips * seen[..., None]) / counted
            sound = sound - of_sound @ sound / of_sound.sum(dim=1, keepdim=True)
        v = (lips - lips.mean(dim=1, keepdim=True)) * seen[..., None]
        s = sound - sound.mean(dim=1, keepdim=True)
        count = seen @ self._both
        share = count.clamp_min(1.0)
        taken = (seen @ self._weight.reshape(n, -1)).reshape(blocks, m, -1)  # of each row of sound, per lag
        of_lips, of_sound = self._both.T @ v, taken.transpose(1, 2) @ s
        top = (v @ s.transpose(1, 2)).reshape(blocks, -1) @ self._weight.reshape(n * m, -1)
        square, beside = s.square().sum(dim=2), (s[:, :-1] * s[:, 1:]).sum(dim=2)
        squares = (seen @ self._square.reshape(n, -1)).reshape(blocks, m, -1) * square[..., None]
        mixed = (seen @ self._beside.reshape(n, -1)).reshape(blocks, m - 1, -1) * beside[..., None]
        of_s = squares.sum(dim=1) + mixed.sum(dim=1) - of_sound.square().sum(dim=2) / share
        of_v = v.square().sum(dim=2) @ self._both - of_lips.square().sum(dim=2) / share
        root = of_v.clamp_min(0.0) * of_s.clamp_min(0.0)
        rho = (top - (of_lips * of_sound).sum(dim=2) / share) / root.clamp_min(1e-12).sqrt()
        overlap = count / n
        rho = torch.where(overlap >= lag_search.OVERLAP_SHARE - 1e-6, torch.where(root > 1e-12, rho, 0.0), torch.nan)
        return torch.stack([rho, overlap], dim=1)


class _Part:
    """One ensemble in a program: its networks in the program's precision, and which rows its context takes."""

    def __init__(
        self, ensemble: Ensemble, at: _Layout, kept: Callable[[NDArray[Any]], Tensor], dtype: torch.dtype
    ) -> None:
        def ready(net: nn.Module) -> nn.Module:
            for weight in net.to(self._slopes.device).parameters():  # and no buffer: crops become grey in float32
                weight.data = weight.data.to(dtype)
            return net

        def rows(count: int, window: slice, per_cell: int = 1) -> Tensor:
            numbers = np.arange(count * per_cell, dtype=np.float32)
            return kept(with_context(numbers, window, ENCODER_CELLS, per_cell).astype(np.int64))

        self._members, self._weight, self._dtype = ensemble.members, ensemble.weight, dtype
        self._lip_rows = rows(at.picture_cells.stop - at.picture_cells.start, at.own)
        self._mel_rows = rows((at.mel_frames.stop - at.mel_frames.start) // MEL_PER_CELL, at.near, MEL_PER_CELL)
        self._slopes = kept(_slopes(at.picture_cells.stop - at.picture_cells.start))
        self._usual = kept(np.asarray(ensemble.usual_spread, np.float32))
        networks = modules_of(ensemble.arrays, ensemble.header)
        self._lips, self._sound = ready(networks.lips), ready(networks.sound)
        self._envelope_rows = kept(
            np.clip(np.arange(at.own.start, at.own.stop) - envelopes.ANTICIPATION_CELLS, 0, None)
        )
        self._near = at.near
        self._columns, self._signs = kept(np.array(envelopes.lip_columns())), kept(envelopes.SIGNS)
        self._weights, self._trust_by = kept(envelopes.WEIGHTS), kept(np.array(trust_columns()))
        self._mel_slopes = kept(_slopes((at.mel_frames.stop - at.mel_frames.start) // MEL_PER_CELL))
        self.mouth = None if networks.mouth is None else ready(networks.mouth)

    def embed_lips(self, cells: Tensor, seen: Tensor) -> Tensor:
        """(B, N, F), (B, N), all that is known -> (B, n, D) of the block alone: `normal_lips`, the network."""
        mask, count = seen[..., None], seen.sum(dim=1).clamp_min(1.0)[:, None, None]
        centred = (cells - (cells * mask).sum(dim=1, keepdim=True) / count) * mask
        spread = (centred.square().sum(dim=1, keepdim=True) / count).sqrt()
        level = centred / (SPREAD_SHARE * spread + (1 - SPREAD_SHARE) * self._usual + 1e-6)
        normal = torch.cat([level, self._slopes @ level], dim=2)
        learned = self._run(self._lips, normal[:, self._lip_rows])
        if self.mouth is not None:
            return learned
        envelope = normal[:, self._envelope_rows][..., self._columns] * self._signs
        moved = (spread[..., self._trust_by] / self._usual[self._trust_by]).mean(dim=2, keepdim=True)
        trust = (moved / TRUST_FROM).clamp(TRUST_LEAST, 1.0).square()  # `normalising.trust_in`
        return torch.cat([learned, self._weighted(envelope)], dim=2) * trust

    def embed_sound(self, mel: Tensor) -> Tensor:
        """(B, 2 M, 40) -> (B, m, D); `normalising.normal_mel` and the network."""
        spread = mel.std(dim=1, correction=0, keepdim=True)
        normal = (mel - mel.mean(dim=1, keepdim=True)) / (spread + MEL_SPREAD_FLOOR)
        learned = self._run(self._sound, normal[:, self._mel_rows])
        if self.mouth is not None:
            return learned
        columns = []
        for each in envelopes.ENVELOPES:
            loud = mel[..., each.bands].exp().sum(dim=2).log().reshape(len(mel), -1, MEL_PER_CELL).mean(dim=2)
            columns.append((loud @ self._mel_slopes.T if each.slope else loud)[:, self._near])
        return torch.cat([learned, self._weighted(torch.stack(columns, dim=2))], dim=2)

    def _weighted(self, columns: Tensor) -> Tensor:
        """(B, n, 3), as `envelopes.weighted`."""
        moving = columns - columns.mean(dim=1, keepdim=True)
        return columns / (moving.square().mean(dim=1, keepdim=True) + 1e-9).sqrt() * self._weights

    def _run(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Through the network; then all members together have a mean square of `weight` about their mean."""
        found: Tensor = net(rows.transpose(1, 2).to(self._dtype))
        embedded = found.float().reshape(len(found), self._members, -1, found.shape[2])
        moving = embedded - embedded.mean(dim=3, keepdim=True)
        size = (moving.square().sum(dim=2).mean(dim=2) + 1e-9).sqrt() * (self._members / self._weight) ** 0.5
        levelled: Tensor = embedded / size[..., None, None]
        return levelled.flatten(1, 2).transpose(1, 2)


# ----------------------------------------------------------------------------------- constants


def _windowed_dft() -> Floats:
    """(400, 2 x 257): a window of sound times this is the real and the imaginary part of its spectrum."""
    n, k = np.arange(WINDOW_SAMPLES)[:, None], np.arange(FFT_SAMPLES // 2 + 1)
    turn = 2 * np.pi * n * k / FFT_SAMPLES
    hann = np.hanning(WINDOW_SAMPLES + 2)[1:-1, None]
    return np.asarray(np.concatenate([hann * np.cos(turn), hann * np.sin(turn)], axis=1), np.float32)


class _Layout(NamedTuple):
    """Which parts of a block's sound and pictures are used for what, as `scorer` and `segment.measure` choose them.
    Time 0 is the first sample."""

    times: NDArray[np.int64]
    """(frames + 1,) ns: when each picture starts, the last one's end."""
    first: int
    """The block's first cell."""
    picture_cells: slice
    """Cells that the pictures say something about: the block's own, and where they are moved, some beside them."""
    own: slice
    """The block's cells among those."""
    samples: slice
    mel_frames: slice
    """Of the mel frames of these samples: what the sound is normalised over."""
    near: slice
    """Of the cells of these: what the search looks at."""
    near_first: int
    """The first of those."""


def _layout(shape: BlockShape, bias_ms: float, offsets_ms: NDArray[np.float64]) -> _Layout:
    rate = fps_of(shape.fps)
    ticks = [ticks_to_ns(number, rate) for number in range(shape.frames + 1)]
    times = np.array(ticks, np.int64) - round(shape.pcm_start_ms * 1e6) + round(bias_ms * 1e6)
    first = cell_at(int(times[0]))
    end = max(cell_at(int(times[-1])), first + 1)
    reach = math.ceil(float(np.abs(offsets_ms).max()) / CELL_MS - 1e-9)
    picture_cells = slice(
        min(first, max(int(times[0]) // CELL_NS, first - STATISTICS_CELLS)),
        max(end, min(end + ENCODER_CELLS, int(times[-2] + grid.HOLD_MAX_NS // 2) // CELL_NS)),
    )
    start = max(0, first - reach - STATISTICS_CELLS)
    stop = min(shape.samples // CELL_SAMPLES, end + reach + ENCODER_CELLS)
    near = slice(max(start, first - reach), min(stop, end + reach))
    if near.stop - near.start < 2:
        raise UsageError(f"{shape} holds no sound at the time of its pictures")
    # One cell more than is used: the window of the last mel frame reaches into it.
    samples = slice(start * CELL_SAMPLES, (stop + 1) * CELL_SAMPLES)
    return _Layout(
        times,
        first,
        picture_cells,
        slice(first - picture_cells.start, end - picture_cells.start),
        samples,
        slice(0, (stop - start) * MEL_PER_CELL),
        slice(near.start - start, near.stop - start),
        near.start,
    )


def _cover(at: _Layout) -> Floats:
    """(N, frames): the share of a cell's span that each picture is held, as `grid.on_grid` weighs them."""
    start, end = at.times[:-1], np.minimum(at.times[1:], at.times[:-1] + grid.HOLD_MAX_NS)
    centre = (np.arange(at.picture_cells.start, at.picture_cells.stop) + 0.5)[:, None] * CELL_NS
    held = np.minimum(end, centre + grid.SPAN_NS / 2) - np.maximum(start, centre - grid.SPAN_NS / 2)
    return np.asarray(np.maximum(held, 0.0) / grid.SPAN_NS, np.float32)


def _around(cells: int) -> Floats:
    """(n, n): 1 where two cells are near enough for one running mean (`lag_search.without_drift`), symmetric."""
    at = np.arange(cells)
    return np.asarray(np.abs(at[:, None] - at) <= lag_search.DRIFT_CELLS // 2, np.float32)


def _slopes(cells: int) -> Floats:
    """(n, n): values times this are their slopes over two cells, as `normalising.normal_lips` takes them."""
    if cells < 2:
        return np.zeros((cells, cells), np.float32)
    return np.asarray(2.0 * np.asarray(np.gradient(np.eye(cells), axis=0)), np.float32)


def _lag_matrices(at: _Layout, offsets_ms: NDArray[np.float64]) -> tuple[Floats, ...]:
    """What lag l compares cell i with: if anything (n, L); the weight of each row of sound (n, m, L); these squared;
    and twice the products of a row's weight and the next one's (n, m - 1, L)."""
    cells, rows = at.own.stop - at.own.start, at.near.stop - at.near.start
    place = at.first - at.near_first - offsets_ms / CELL_MS + np.arange(cells)[:, None]
    below = np.floor(place + 1e-9)
    part = np.where(place - below < 1e-6, 0.0, place - below)
    both = (below >= 0) & (below + (part > 0) < rows)
    row = np.arange(rows)[None, :, None]
    low = (row == below[:, None]) * (1 - part)[:, None]
    high = (row == below[:, None] + 1) * part[:, None]
    weight = (low + high) * both[:, None]
    found = (both, weight, weight**2, 2 * weight[:, :-1] * weight[:, 1:])
    return tuple(np.asarray(each, np.float32) for each in found)


# --------------------------------------------------------------------------------- the answer


def read_scores(offsets_ms: NDArray[np.float64], answer: Floats) -> BlockScores:
    """What `BlockProgram` answered (B, 2, L), with the best lag of each block as `lag_search.best_lag` chooses it."""
    rho = answer[:, 0]
    filled = np.where(np.isfinite(rho), rho, -np.inf)
    top = filled.max(axis=1, keepdims=True)
    nearness = np.where(filled == top, np.abs(offsets_ms), np.inf)
    best = nearness.argmin(axis=1)
    far = np.abs(offsets_ms - offsets_ms[best][:, None]) > lag_search.NEIGHBOUR_MS + 1e-6
    rival = np.where(far, filled, -np.inf).max(axis=1)
    scored = np.isfinite(top[:, 0])
    margin = np.where(scored, top[:, 0] - np.where(np.isfinite(rival), rival, 0.0), np.nan)
    return BlockScores(offsets_ms, rho, np.where(scored, best, -1), margin.astype(np.float32))
