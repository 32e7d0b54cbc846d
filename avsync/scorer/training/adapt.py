"""Adapting the shipped networks to somebody's own footage, and showing what it is worth on speakers left out.

Clips are labels by themselves: put in sync by their known offset (where none is known, by what the shipped networks say
of the whole clip), every shift of their sound is an example. The networks of lips and sound go on learning for a
few steps at a small rate; what reads mouths off pictures stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from avsync.errors import InputError
from avsync.scorer.backends.learned import Ensemble, NetBackend, read_ensemble
from avsync.scorer.calibration import bias_ms_of
from avsync.scorer.evaluation.clips import tracked
from avsync.scorer.evaluation.protocol import Footage, counted_windows, lips_of, sound_of, speech_cells, trials_of
from avsync.scorer.evaluation.speakers import ClipEntry, read_manifest
from avsync.scorer.features.cells import MEL_PER_CELL
from avsync.scorer.features.grid import on_grid
from avsync.scorer.matching.lag_search import best_lag, lag_scores, search_offsets
from avsync.scorer.nets.torch_encoders import LipNet, SoundNet
from avsync.scorer.nets.torch_networks import arrays_of, modules_of
from avsync.scorer.nets.weight_files import Arrays, save_weights, shipped
from avsync.scorer.signal import Method
from avsync.scorer.training.examples import Sampler, TrainingClip
from avsync.scorer.training.fit import Pair, Recipe, fit
from avsync.scorer.training.progress import Progress

LEAST_S: Final = 180.0
LEAST_SPEAKERS: Final = 4
"""Less would teach the networks these faces and nothing of others."""
FOLDS: Final = 4
STEPS: Final = 120
RATE: Final = 4e-4
"""A tenth of the training's: the networks are to be bent, not made anew."""
RIGHT_MS: Final = 40.0
SHOWN_MS: Final = (500, 1000, 2000)


class Own(NamedTuple):
    """One of the user's clips: tracked, and in sync once `truth_ms` is taken out."""

    entry: ClipEntry
    footage: Footage
    truth_ms: float


def adapt(
    folder: Path,
    out: Path,
    nets: Sequence[str],
    *,
    seed: int,
    device: str,
    steps: int | None,
    cache: Path | None,
    progress: Progress,
) -> Iterator[str]:
    """Adapt and write `out`/NET.npz; yields lines that say how right the networks are before and after.

    InputError where the folder holds less than 3 minutes of usable footage or fewer than 4 speakers.
    """
    clips = own_clips(read_manifest(folder, references=False), cache, progress)
    refuse_too_little(folder, clips)
    recipe = Recipe(steps=steps or STEPS, rate=RATE, keep=0.98)
    for net in nets:
        base = read_ensemble(shipped(net), device=device)
        examples = [example_of(base, net, clip) for clip in clips]
        before, after = left_out(net, base, clips, examples, recipe, seed, device, progress)
        yield f"{net}, speakers left out, % right at 0.5 / 1 / 2 s: {_percent(before)}, adapted {_percent(after)}"
        adapted = bent(base, examples, recipe, seed, device)
        digest = save_weights(out / f"{net}.npz", adapted, {**base.header, "adapted": len(clips)})
        yield f"{out / net}.npz: sha256 {digest}"
        if np.mean(after) < np.mean(before):
            yield f"{net}: adapting did not help on speakers left out; keep the shipped weights"


def own_clips(entries: Sequence[ClipEntry], cache: Path | None, progress: Progress) -> list[Own]:
    """The clips that can be used, tracked; an unknown offset is asked of the shipped geometry network."""
    geometry: NetBackend | None = None
    found = []
    for number, entry in enumerate(entries):
        progress("tracking", number, len(entries))
        try:
            footage = tracked(entry.path, cache).footage
        except InputError:
            continue  # evaluate names it; here it only counts as missing footage
        truth_ms = entry.truth_ms
        if truth_ms is None:
            geometry = geometry or backend_of("geometry", read_ensemble(shipped("geometry")))
            truth_ms = estimated_offset_ms(geometry, footage)
        if truth_ms is not None:
            found.append(Own(entry, footage, truth_ms))
    progress("tracking", len(entries), len(entries))
    return found


def refuse_too_little(folder: Path, clips: Sequence[Own]) -> None:
    """InputError where the clips are too few to adapt to."""
    seconds = sum((clip.footage.end_ns - int(clip.footage.start_ns[0])) / 1e9 for clip in clips)
    speakers = len({clip.entry.speaker for clip in clips})
    if seconds < LEAST_S or speakers < LEAST_SPEAKERS:
        raise InputError(
            f"{seconds:.0f} s of {speakers} speakers can be used: {LEAST_S:.0f} s of {LEAST_SPEAKERS} are needed",
            file=str(folder),
            remedy="add clips of more people; a column speaker says who is in which",
        )


def estimated_offset_ms(backend: NetBackend, footage: Footage) -> float | None:
    """What a backend says of a whole clip; None where it cannot say, or the best is at the edge of the search."""
    sound, lips = sound_of(footage.pcm, footage.pcm_start_ns), lips_of(footage, backend)
    cells, seen = on_grid(lips.features.start_ns, lips.features.values, sound.first, sound.cells, end_ns=lips.end_ns)
    whole = slice(0, sound.cells)
    if not seen.any():
        return None
    offsets_ms = search_offsets(400.0, 20.0)
    embedded = backend.embed_lips(cells, seen, whole), backend.embed_sound(sound.features.mel, whole)
    peak = best_lag(offsets_ms, lag_scores(*embedded, 0, offsets_ms, seen=seen).rho)
    return None if peak is None or peak.at_edge else peak.offset_ms


def example_of(ensemble: Ensemble, net: str, clip: Own) -> TrainingClip:
    """A clip as the training sees it: lip values in sync with the sound, cell by cell."""
    footage = clip.footage
    sound = sound_of(footage.pcm, footage.pcm_start_ns, clip.truth_ms)
    lips = lips_of(footage, backend_of(net, ensemble))
    cells, seen = on_grid(lips.features.start_ns, lips.features.values, sound.first, sound.cells, end_ns=lips.end_ns)
    mel = sound.features.mel[: sound.cells * MEL_PER_CELL].astype(np.float16)
    return TrainingClip(cells, seen, mel, speech_cells(sound) & seen)


def backend_of(net: str, ensemble: Ensemble) -> NetBackend:
    """An ensemble as a backend of its own."""
    method: Method = "geometry" if net == "geometry" else "pixels"
    return NetBackend(
        method, (ensemble,), bias_ms_of(method), frozenset({"landmarks" if net == "geometry" else "rois"})
    )


def bent(base: Ensemble, examples: Sequence[TrainingClip], recipe: Recipe, seed: int, device: str) -> Arrays:
    """The ensemble's weights after some more steps on these examples; what reads mouths stays as it is."""
    nets = modules_of(base.arrays, base.header)
    torch.manual_seed(seed)
    pair = Pair(nets.lips, nets.sound)
    found = fit(pair, Sampler(examples, base.usual_spread, seed).batch, recipe, seed=seed, device=device).cpu()
    assert isinstance(found.lips, LipNet) and isinstance(found.sound, SoundNet)
    return arrays_of(found.lips, found.sound, nets.mouth, base.usual_spread)


def left_out(
    net: str,
    base: Ensemble,
    clips: Sequence[Own],
    examples: Sequence[TrainingClip],
    recipe: Recipe,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[list[float], list[float]]:
    """Percent right at 0.5, 1 and 2 s on speakers that were not learned from, before and after adapting."""
    speakers = sorted({clip.entry.speaker for clip in clips})
    folds = min(FOLDS, len(speakers))
    before: list[list[tuple[int, int]]] = []
    after: list[list[tuple[int, int]]] = []
    for fold in range(folds):
        progress(f"{net}, speakers left out", fold, folds)
        test = set(speakers[fold::folds])
        learned = [example for clip, example in zip(clips, examples, strict=True) if clip.entry.speaker not in test]
        after_fold = Ensemble(bent(base, learned, recipe, seed, device), base.header)
        for clip in clips:
            if clip.entry.speaker in test:
                before.append(_right(net, base, clip))
                after.append(_right(net, after_fold, clip))
    progress(f"{net}, speakers left out", folds, folds)
    return _pooled(before), _pooled(after)


def _right(net: str, ensemble: Ensemble, clip: Own) -> list[tuple[int, int]]:
    """Answers that were right and all answers, for each length of `SHOWN_MS`, at 40 ms lags."""
    backend = backend_of(net, ensemble)
    sound, lips = sound_of(clip.footage.pcm, clip.footage.pcm_start_ns, clip.truth_ms), lips_of(clip.footage, backend)
    counts = []
    for window_ms in SHOWN_MS:
        trials = trials_of(backend, lips, sound, counted_windows(clip.footage, sound, window_ms), mode="stream")
        own = trials[trials["step_ms"] == 40]
        counts.append((int((np.abs(own["error_ms"]) <= RIGHT_MS).sum()), len(own)))
    return counts


def _pooled(clips: Sequence[Sequence[tuple[int, int]]]) -> list[float]:
    sums = np.array(clips, np.int64).sum(axis=0)
    return [100.0 * right / max(asked, 1) for right, asked in sums]


def _percent(numbers: Sequence[float]) -> str:
    return " / ".join(f"{number:.1f}" for number in numbers)
