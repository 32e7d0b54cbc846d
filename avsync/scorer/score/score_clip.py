"""Score clip: a media file in, a report out. Decoding, tracking and scoring overlap; pictures are not kept.

Decoding and tracking run in threads of their own (`ahead`), scoring in the caller's: each spends its time in native
code. Every face goes through a scorer of its own, with the one sound that there is; the face that fits it best speaks.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from avsync.errors import InputError
from avsync.scorer.backends.backend import Backend
from avsync.scorer.backends.load import load_backend
from avsync.scorer.calibration import ConfidenceCurve, curve_of
from avsync.scorer.matching.confidence import label_of
from avsync.scorer.matching.lag_search import Peak, search_offsets
from avsync.scorer.score.clip_answer import ClipAnswer, answer_of
from avsync.scorer.score.evidence import Array, Judge
from avsync.scorer.score.face_run import FaceRun
from avsync.scorer.score.report import ClipMedia, ClipReport, FaceReport, ScoreSettings
from avsync.scorer.signal import Label
from avsync.scorer.tracking.clip_reader import MediaClip, open_clip
from avsync.scorer.tracking.face_tracker import FaceTracker
from avsync.scorer.tracking.sound_placing import SoundPiece
from avsync.scorer.tracking.tracked_faces import PictureFaces, follow
from avsync.units import NS_PER_S, ms, to_ms

SOUND_KEPT_NS: Final = 8 * NS_PER_S
"""Sound kept for a face that appears later: more than the statistics look back on."""
FACES_MAX: Final = 16
"""Faces scored in one clip. A film of many cuts has more; the later ones are counted, not scored."""
GONE_NS: Final = 12 * NS_PER_S
"""A face that was not seen for so long is no longer waited for; it is followed again where it reappears."""
SHORTEST_MS: Final = 500.0
"""A clip of less holds no block."""
PROGRESS_NS: Final = ms(200)
STEP_NS: Final = 10_000
"""Distances of pictures are counted in this unit: 60 fps is 16.67 ms."""
STEPS_LIKE: Final = 0.1
"""Distances of pictures within this share of the middle one are the same rate (containers round to a millisecond)."""

Progress = Callable[[float, float | None], None]
"""``(ms of the clip done, ms in all or None)``."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to score; see `command.add_score_arguments`. ``step_ms``: a number, or "frame"."""

    backend: str = "auto"
    device: str = "cpu"
    face: int | None = None
    search_ms: float = 200.0
    step_ms: float | Literal["frame"] = 20.0
    limit_ms: float = 40.0
    blocks: bool = False


def load_for(options: Options) -> Backend:
    """The backend that these options ask for. Raises ``InputError`` where it or what it needs is missing."""
    return load_backend(options.backend, device=options.device)


def score_clip(
    path: Path, options: Options, backend: Callable[[], Backend], progress: Progress | None = None
) -> ClipReport:
    """Score one clip. Raises ``InputError`` for one that is broken or too short, or has no picture, sound or face.

    `backend` is asked for when the first picture was tracked, so that it may be loaded meanwhile.
    """
    began_s = time.perf_counter()
    clip = open_clip(path)
    offsets_ms = _offsets_ms(clip, options)
    total_ms = None if clip.duration_ns is None else to_ms(clip.duration_ns)
    length = _Length()
    faces: _Faces | None = None
    reached_ns = -PROGRESS_NS
    with closing(follow(clip, tracker=FaceTracker())) as tracked:
        for item in tracked:
            faces = faces or _Faces(backend(), offsets_ms, with_blocks=options.blocks)
            if isinstance(item, SoundPiece):
                faces.add_sound(item)
                continue
            length.add(item.pts_ns)
            faces.add_picture(item)
            if progress is not None and item.pts_ns - reached_ns >= PROGRESS_NS:
                reached_ns = item.pts_ns
                progress(to_ms(reached_ns), total_ms)
    assert faces is not None, "a clip without sound and pictures is refused while it is read"
    media = length.media(clip)
    found = faces.finish(media)
    if not found:
        raise _nothing(clip, media, faces)
    chosen, why = _speaker(clip, found, options.face)
    step_ms = float(offsets_ms[1] - offsets_ms[0])
    settings = ScoreSettings(faces.method, float(offsets_ms[-1]), step_ms, options.limit_ms)
    notes = (*clip.troubles.words(), *faces.notes())
    return ClipReport(clip.file, media, settings, found, chosen, why, time.perf_counter() - began_s, notes)


class _Length:
    """What the pictures' times say of a clip; distances are counted, not kept."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._steps: Counter[int] = Counter()
        self._pictures = 0

    def add(self, pts_ns: int) -> None:
        if self._pictures:
            self._steps[round((pts_ns - self._last_ns) / STEP_NS)] += 1
        self._last_ns = pts_ns
        self._pictures += 1

    def media(self, clip: MediaClip) -> ClipMedia:
        steps = sorted(self._steps.elements())
        middle = steps[len(steps) // 2] if steps else ms(40) // STEP_NS
        # Containers round to a millisecond, so 29.97 fps is steps of 33 and 34: their mean says it, not the middle one.
        usual = [step for step in steps if abs(step - middle) <= STEPS_LIKE * middle]
        step_ms = to_ms(STEP_NS) * (sum(usual) / len(usual) if usual else middle)
        variable = len(usual) < 0.9 * len(steps)
        end_ms = to_ms(self._last_ns) + step_ms if self._pictures else 0.0
        return ClipMedia(
            end_ms, clip.width, clip.height, self._pictures, round(1000 / max(step_ms, 0.1), 2), variable,
            clip.sound_rate_hz, clip.troubles.pictures_skipped + clip.troubles.sound_skipped,
        )  # fmt: skip


def _offsets_ms(clip: MediaClip, options: Options) -> Array:
    step_ms = 1000 / (clip.fps or 25.0) if options.step_ms == "frame" else options.step_ms
    return search_offsets(options.search_ms, step_ms)


# ---- faces


class _Faces:
    """All faces of a clip, each in a run of its own."""

    def __init__(self, backend: Backend, offsets_ms: Array, *, with_blocks: bool = False) -> None:
        self.method = backend.method
        self._offsets_ms, self._with_blocks = offsets_ms, with_blocks
        self._backend, self._curve = backend, curve_of(backend.method)
        self._runs: dict[int, FaceRun] = {}
        self._refused: set[int] = set()
        self._recent: deque[SoundPiece] = deque()
        self.brief = 0

    def add_sound(self, sound: SoundPiece) -> None:
        self._recent.append(sound)
        while sound.pts_ns - self._recent[0].pts_ns > SOUND_KEPT_NS:
            self._recent.popleft()
        for run in self._runs.values():
            run.add_sound(sound)

    def add_picture(self, tracked: PictureFaces) -> None:
        here = {face.number: face for face in tracked.faces}
        for number, face in here.items():
            run = self._runs.get(number)
            if run is None:
                if len(self._runs) >= FACES_MAX:
                    self._refused.add(number)
                    continue
                run = self._runs[number] = self._run_of(number)
            run.add_picture(tracked.pts_ns, face.landmarks, face.roi)
        for number, run in self._runs.items():
            if number not in here and tracked.pts_ns - run.last_seen_ns <= GONE_NS:
                run.add_lost(tracked.pts_ns)

    def _run_of(self, number: int) -> FaceRun:
        given = number, self._backend, self._offsets_ms, self._curve, self._recent
        return FaceRun(*given, with_blocks=self._with_blocks)

    def finish(self, media: ClipMedia) -> tuple[FaceReport, ...]:
        """Those that were there for a window at least, in the order of their numbers."""
        judge = judge_of(self._curve)
        faces = []
        for run in self._runs.values():
            run.finish()
            if not run.windows:
                self.brief += 1
                continue
            seen_pct = 100 * run.pictures_seen / max(media.pictures, 1)
            answer = answer_of(run.evidence, self._offsets_ms, judge)
            rows = (tuple(run.windows), tuple(run.blocks), tuple(run.evidence))
            faces.append(FaceReport(run.number, seen_pct, *run.place, answer, *rows))
        return tuple(sorted(faces, key=lambda face: face.number))

    def notes(self) -> Iterator[str]:
        if self.brief:
            yield f"{self.brief} face{'s were' if self.brief > 1 else ' was'} there too briefly to be scored"
        if self._refused:
            yield f"{len(self._refused)} more faces came later and were not scored ({FACES_MAX} are)"


def judge_of(curve: ConfidenceCurve) -> Judge:
    """A method's curve as what weighs a clip's evidence."""

    def judge(peak: Peak, speech_s: float) -> tuple[Label, float]:
        return label_of(curve, peak, curve(peak.margin, peak.best, speech_s), speech_s)

    return judge


def _speaker(clip: MediaClip, faces: Sequence[FaceReport], wanted: int | None) -> tuple[int, str]:
    """The number of the face that the verdict is about, and why it is that one."""
    numbers = [face.number for face in faces]
    if wanted is not None:
        if wanted not in numbers:
            there = ", ".join(map(str, numbers))
            raise InputError(f"there is no face {wanted}", file=clip.file, remedy=f"--face one of: {there}")
        return wanted, f"face {wanted} was asked for"
    if len(faces) == 1:
        return numbers[0], "the only face"
    first, second, *_ = sorted(faces, key=_fits, reverse=True)
    if first.answer.offset_ms is None:
        return first.number, f"face {first.number} is shown: no face can be judged"
    best = "speaks: it fits the sound best" if first.answer.sure else "fits the sound best"
    fits = f"{_fit_words(first.answer)}; face {second.number}: {_fit_words(second.answer)}"
    return first.number, f"face {first.number} {best} ({fits})"


def _fits(face: FaceReport) -> tuple[float, float]:
    """How far a face's similarity stands out of chance, which falls with the root of what it was taken over."""
    answer = face.answer
    return (answer.score_best or 0.0) * answer.judged**0.5, face.seen_pct


def _fit_words(answer: ClipAnswer) -> str:
    if answer.offset_ms is None:
        return "cannot be judged"
    return f"similarity {answer.score_best:.2f} over {answer.judged} window{'s' if answer.judged != 1 else ''}"


def _nothing(clip: MediaClip, media: ClipMedia, faces: _Faces) -> InputError:
    """Why there is nothing to report."""
    if media.duration_ms < SHORTEST_MS or (faces.brief and media.duration_ms < 2 * SHORTEST_MS):
        rule = f"too short to be judged: {media.duration_ms / 1000:.2f} s of pictures"
        return InputError(rule, file=clip.file, remedy="give a second at least; from three on answers are mostly sure")
    if faces.brief:
        return InputError(
            "faces were there too briefly to be judged",
            file=clip.file,
            remedy="give a clip that shows one for a second",
        )
    return InputError(
        f"no face was found in {media.pictures} pictures",
        file=clip.file,
        remedy=f"faces from about {media.width_px * 64 // 1280} pixels wide are found, upright and not in profile",
    )
