"""Report: all that is known of a clip after scoring, as plain values and as JSON.

The JSON form is a promise (`SCHEMA`); docs/scorer.md says what each key means. Offsets are in ms, positive = voice
ahead of the lips; ``null`` means that nothing can be said, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

from avsync.errors import InputError
from avsync.scorer.score.clip_answer import ClipAnswer
from avsync.scorer.score.evidence import SURE, Evidence
from avsync.scorer.score.verdict_words import verdict_words
from avsync.scorer.signal import LipSyncSignal, Method
from avsync.units import to_ms

SCHEMA = "avsync.score/1"

Outcome = Literal["in_sync", "out_of_sync", "unsure"]

MET, MISSED, BAD_INPUT, UNSURE = 0, 1, 2, 3
"""Exit codes; those of the whole command line are in `avsync.cli`."""
CODES: Mapping[Outcome, int] = {"in_sync": MET, "out_of_sync": MISSED, "unsure": UNSURE}


@dataclass(frozen=True, slots=True)
class ClipMedia:
    """What the clip is. ``fps``: the middle of its pictures' distances; ``variable``: they differ by more than 10 %."""

    duration_ms: float
    width_px: int
    height_px: int
    pictures: int
    fps: float
    variable: bool
    sound_rate_hz: int
    skipped_packets: int = 0


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """How the clip was scored."""

    method: Method
    search_ms: float
    step_ms: float
    limit_ms: float


@dataclass(frozen=True, slots=True)
class FaceReport:
    """One face of the clip, numbered from 1 in the order of appearance.

    ``width_px``: its middle width; ``x_px, y_px``: the middle of its mouth; ``seen_pct``: of the clip's pictures.
    ``evidence``: the windows again, with what each says about every lag.
    """

    number: int
    seen_pct: float
    width_px: float
    x_px: float
    y_px: float
    answer: ClipAnswer
    windows: tuple[LipSyncSignal, ...]
    blocks: tuple[LipSyncSignal, ...]
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipReport:
    """``chosen``: the number of the face the verdict is about, ``why``: a sentence. ``spent_s``: time it took."""

    file: str
    media: ClipMedia
    settings: ScoreSettings
    faces: tuple[FaceReport, ...]
    chosen: int
    why: str
    spent_s: float
    notes: tuple[str, ...] = ()

    @property
    def face(self) -> FaceReport:
        return next(face for face in self.faces if face.number == self.chosen)

    @property
    def answer(self) -> ClipAnswer:
        return self.face.answer

    @property
    def outcome(self) -> Outcome:
        return outcome(self.answer, self.settings.limit_ms)

    @property
    def verdict(self) -> str:
        one = self.settings
        return verdict_words(self.answer, search_ms=one.search_ms, limit_ms=one.limit_ms, method=one.method)


def outcome(answer: ClipAnswer, limit_ms: float) -> Outcome:
    """Only a sure answer says anything; one part of the clip beyond the limit is enough to be out of sync."""
    worst_ms = answer.worst_ms
    if worst_ms is None or answer.confidence < SURE or answer.label in ("unrelated", "out_of_range"):
        return "unsure"
    return "in_sync" if worst_ms <= limit_ms else "out_of_sync"


def exit_code(outcomes: Sequence[Outcome], bad: int) -> int:
    """Of several clips: bad input (2) before out of sync (1) before unsure (3) before in sync (0)."""
    if bad:
        return BAD_INPUT
    for worst in ("out_of_sync", "unsure"):
        if worst in outcomes:
            return CODES[worst]
    return MET


def as_dict(report: ClipReport) -> dict[str, Any]:
    """The JSON form of a report."""
    return {
        "schema": SCHEMA,
        "file": report.file,
        "outcome": report.outcome,
        "exit_code": CODES[report.outcome],
        "verdict": report.verdict,
        **_answer_dict(report.answer),
        "face": report.chosen,
        "why_this_face": report.why,
        "media": asdict(report.media),
        "settings": asdict(report.settings),
        "faces": [_face_dict(face) for face in report.faces],
        "notes": list(report.notes),
        "spent_s": round(report.spent_s, 3),
    }


def error_dict(file: str, error: InputError) -> dict[str, Any]:
    """The JSON form of a clip that could not be scored."""
    return {
        "schema": SCHEMA,
        "file": file,
        "outcome": "bad_input",
        "exit_code": BAD_INPUT,
        "error": {"rule": error.rule, "place": error.place, "remedy": error.remedy},
    }


def signal_dict(signal: LipSyncSignal) -> dict[str, Any]:
    """One row of a table: the signal's own fields, with its place in ms."""
    start_ms, duration_ms = to_ms(signal.pts_ns), to_ms(signal.duration_ns)
    return {
        "start_ms": round(start_ms, 3),
        "end_ms": round(start_ms + duration_ms, 3),
        "label": signal.label,
        "offset_ms": _rounded(signal.offset_ms),
        "confidence": _rounded(signal.confidence),
        "score": _rounded(signal.score),
        "score_best": _rounded(signal.score_best),
        "score_margin": _rounded(signal.score_margin),
        "occluded": signal.occluded,
        "method": signal.method,
    }


def _answer_dict(answer: ClipAnswer) -> dict[str, Any]:
    return {
        "label": answer.label,
        "offset_ms": _rounded(answer.offset_ms),
        "confidence": _rounded(answer.confidence),
        "score": _rounded(answer.score),
        "score_best": _rounded(answer.score_best),
        "score_margin": _rounded(answer.score_margin),
        "windows": {"judged": answer.judged, "agreeing": answer.agreeing, "left_out": answer.left_out},
        "parts": [{name: _rounded(value) for name, value in part._asdict().items()} for part in answer.parts],
        "curve": [_rounded(value) for value in answer.curve],
    }


def _face_dict(face: FaceReport) -> dict[str, Any]:
    return {
        "number": face.number,
        "seen_pct": round(face.seen_pct, 1),
        "width_px": round(face.width_px, 1),
        "x_px": round(face.x_px, 1),
        "y_px": round(face.y_px, 1),
        "answer": _answer_dict(face.answer),
        "windows": [_window_dict(*pair) for pair in zip_longest(face.windows, face.evidence)],
        "blocks": [signal_dict(signal) for signal in face.blocks],
    }


def _window_dict(signal: LipSyncSignal, evidence: Evidence | None) -> dict[str, Any]:
    rho = None if evidence is None else evidence.rho
    curve = [] if rho is None else [_rounded(value) for value in rho.tolist()]
    return {**signal_dict(signal), "speech_s": _rounded(evidence.speech_s if evidence else None), "curve": curve}


def _rounded(value: float | None) -> float | None:
    """Three places; what is not a number is null, because JSON has no word for it."""
    return None if value is None or value != value else round(float(value), 3)
