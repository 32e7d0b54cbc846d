"""Evaluation: every clip of a folder under the protocol, for each backend, mode and condition, in a few processes.

Nothing here prints. `evaluate` yields the clips as they are done; what they add up to is `summary`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from avsync.errors import InputError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.backends.load import load_backend
from avsync.scorer.evaluation.clips import spoiled, tracked
from avsync.scorer.evaluation.degrade import PICTURE_CONDITIONS, RATES, SOUND_CONDITIONS, at_rate
from avsync.scorer.evaluation.protocol import (
    MODES,
    WINDOWS_MS,
    AlignedSound,
    CellSpan,
    Footage,
    LipEmbeddings,
    Lips,
    Mode,
    SoundEmbeddings,
    Trials,
    answers_to,
    counted_windows,
    lips_of,
    sound_of,
)
from avsync.scorer.evaluation.speakers import ClipEntry
from avsync.scorer.features.cells import CELL_MS, as_mono_float
from avsync.scorer.threads import keep_to_one_thread
from avsync.scorer.tracking.clip_reader import open_clip, whole_sound

CLEAN: Final = "clean"
CONDITION_WINDOWS_MS: Final = (1000,)
RATE_WINDOWS_MS: Final = (1000, 2000)
"""What is asked about spoiled clips, and about those at another rate (2 s: how far the answer moves)."""
PORTION: Final = 64
"""So many windows (15 s) are answered before what was embedded for them is forgotten."""
PARTNERS: Final = 5
"""So many other clips lend a clip their sound for the trials with somebody else's voice."""


class Contender(NamedTuple):
    """A backend with its weights: the shipped ones, or those in the files given, by net."""

    method: str
    label: str
    weights: tuple[tuple[str, Path], ...] = ()
    bias_ms: float | None = None
    """In place of the calibrated one."""

    @property
    def shipped(self) -> bool:
        return not self.weights


class EvaluationPlan(NamedTuple):
    """What to do with every clip. Seeds (contenders with weights of their own) are only tried clean, in the stream."""

    contenders: tuple[Contender, ...]
    conditions: tuple[str, ...] = ()
    """Of `PICTURE_CONDITIONS`, `SOUND_CONDITIONS` and `RATES`."""
    modes: tuple[Mode, ...] = MODES
    strangers: bool = True
    """Also somebody else's voices, and offsets beyond the search."""
    cache: Path | None = None


class ConditionedClip(NamedTuple):
    """A clip under a condition, as each contender sees it, and its sound."""

    condition: str
    lips: dict[str, Lips]
    """By label."""
    sound: AlignedSound


class ContenderTrials(NamedTuple):
    """One contender's answers about one clip."""

    label: str
    mode: Mode
    condition: str
    trials: Trials


class EvaluatedClip(NamedTuple):
    """A clip that is done, or was left out for a reason."""

    place: int
    """In the manifest."""
    entry: ClipEntry
    answers: tuple[ContenderTrials, ...] = ()
    seconds: float = 0.0
    pictures: int = 0
    face_pct: float = 0.0
    windows: tuple[int, ...] = ()
    """How many windows counted, of each of `WINDOWS_MS`."""
    troubles: tuple[str, ...] = ()
    left_out: str = ""


CONDITIONS: Final = (*PICTURE_CONDITIONS, *SOUND_CONDITIONS, *RATES)


def windows_for(condition: str) -> tuple[int, ...]:
    """The windows (ms) that are asked about under a condition."""
    return RATE_WINDOWS_MS if condition in RATES else CONDITION_WINDOWS_MS


def evaluate(entries: Sequence[ClipEntry], plan: EvaluationPlan, *, jobs: int = 1) -> Iterator[EvaluatedClip]:
    """Clips as they are done, in any order; the same numbers for any number of processes."""
    tasks = [(index, entries, plan) for index in range(len(entries))]
    if jobs == 1 or len(tasks) == 1:
        yield from (evaluate_clip(*task) for task in tasks)
        return
    # Longest first, or the last clip runs alone. Fresh processes: forked ones inherit the locks of native threads.
    tasks.sort(key=lambda task: -entries[task[0]].path.stat().st_size)
    method = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=method, initializer=one_thread) as pool:
        try:
            running = [pool.submit(evaluate_clip, *task) for task in tasks]
            for done in as_completed(running):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def evaluate_clip(index: int, entries: Sequence[ClipEntry], plan: EvaluationPlan) -> EvaluatedClip:
    """One clip with all contenders and conditions. A clip that cannot be used says why in `left_out`."""
    entry = entries[index]
    try:
        found = tracked(entry.path, plan.cache)
    except InputError as error:
        return EvaluatedClip(index, entry, left_out=str(error))
    clip = found.footage
    assert entry.truth_ms is not None, "the manifest was read with references"
    sound = sound_of(clip.pcm, clip.pcm_start_ns, entry.truth_ms)
    windows = [counted_windows(clip, sound, window_ms) for window_ms in WINDOWS_MS]
    others = [_borrowed(entries[other].path) for other in partners(entries, index)] if plan.strangers else []
    scenes = [_scene(CLEAN, plan.contenders, clip, sound)]
    for condition in plan.conditions:
        shipped = [contender for contender in plan.contenders if contender.shipped]
        scenes.append(_scene(condition, shipped, *harmed(condition, entry, clip, sound, plan.cache)))
    answers: list[ContenderTrials] = []
    for contender in plan.contenders:
        answers += _answers(contender, plan, index, scenes, others, windows)
    seconds = (clip.end_ns - int(clip.start_ns[0])) / 1e9
    face_pct = 100 * float((~np.isnan(clip.landmarks[:, 0, 0])).mean())
    counts = tuple(len(some) for some in windows)
    return EvaluatedClip(index, entry, tuple(answers), seconds, len(clip.start_ns), face_pct, counts, found.troubles)


def partners(entries: Sequence[ClipEntry], index: int) -> list[int]:
    """Clips of other speakers of the same half, evenly from all over the manifest, beginning behind the clip itself."""
    own = entries[index]
    after = [(index + step) % len(entries) for step in range(1, len(entries))]
    others = [at for at in after if entries[at].speaker != own.speaker and entries[at].half == own.half]
    count = min(PARTNERS, len(others))
    return [others[len(others) * place // count] for place in range(count)]


def harmed(
    condition: str, entry: ClipEntry, clip: Footage, sound: AlignedSound, cache: Path | None = None
) -> tuple[Footage, AlignedSound]:
    """The clip's pictures and sound under a condition."""
    if condition in SOUND_CONDITIONS:
        pcm = SOUND_CONDITIONS[condition](clip.pcm)
        return clip, sound_of(pcm, clip.pcm_start_ns, entry.truth_ms or 0.0)
    if condition in RATES:
        start_ns, shown = at_rate(clip.start_ns, clip.end_ns, condition)
        return clip._replace(start_ns=start_ns, rois=clip.rois[shown], landmarks=clip.landmarks[shown]), sound
    return spoiled(entry.path, clip, condition, cache), sound


def _borrowed(path: Path) -> AlignedSound:
    """Another clip's sound; none where it cannot be read (that clip itself says why)."""
    try:
        pcm, start_ns = whole_sound(open_clip(path))
        return sound_of(as_mono_float(pcm), start_ns)
    except InputError:
        return sound_of(np.zeros(0, np.float32), 0)


def _scene(condition: str, contenders: Sequence[Contender], clip: Footage, sound: AlignedSound) -> ConditionedClip:
    return ConditionedClip(condition, {one.label: lips_of(clip, backend_of(one)) for one in contenders}, sound)


def _answers(
    contender: Contender,
    plan: EvaluationPlan,
    index: int,
    scenes: Sequence[ConditionedClip],
    others: Sequence[AlignedSound],
    windows: Sequence[Sequence[CellSpan]],
) -> list[ContenderTrials]:
    """Everything that one contender says about a clip.

    Spoiled or not, all meet the windows that count in the clean clip; those in which the face was lost are answered
    without a face: wrong. Windows come in portions, so that embeddings do not pile up.
    """
    backend = backend_of(contender)
    clean, *spoilt = (scene for scene in scenes if contender.label in scene.lips)
    strangers = contender.shipped and plan.strangers
    parts: dict[tuple[Mode, str], list[Trials]] = {}
    for mode in plan.modes if contender.shipped else plan.modes[:1]:
        for some in (every[at : at + PORTION] for every in windows for at in range(0, len(every), PORTION)):
            lip_side = LipEmbeddings(backend, clean.lips[contender.label], mode)
            sound_side = SoundEmbeddings(backend, clean.sound, mode)
            found = parts.setdefault((mode, CLEAN), [])
            found.append(answers_to(lip_side, sound_side, some, clip=index))
            if mode != "stream":
                continue
            if strangers:
                found.append(answers_to(lip_side, sound_side, some, kind="beyond", clip=index))
                found += [
                    answers_to(lip_side, SoundEmbeddings(backend, other, mode), some, kind="other", clip=index)
                    for other in others
                ]
            for scene in spoilt:
                if some[0].cells * CELL_MS in windows_for(scene.condition):
                    lips = LipEmbeddings(backend, scene.lips[contender.label], mode)
                    same = scene.sound is clean.sound
                    sound = sound_side if same else SoundEmbeddings(backend, scene.sound, mode)
                    parts.setdefault((mode, scene.condition), []).append(answers_to(lips, sound, some, clip=index))
    return [
        ContenderTrials(contender.label, mode, name, np.concatenate(found)) for (mode, name), found in parts.items()
    ]


@lru_cache(maxsize=16)
def backend_of(contender: Contender) -> Backend:
    """Loaded once a process. InputError where what runs it or a file is missing."""
    backend = load_backend(contender.method, weights=dict(contender.weights))
    if contender.bias_ms is not None:
        backend.bias_ms = contender.bias_ms
    return backend


def one_thread() -> None:
    """Several processes share the cores."""
    keep_to_one_thread()
