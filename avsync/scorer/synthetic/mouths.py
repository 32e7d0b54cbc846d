"""Mouths that say a text: from the times of its sounds to the movement of lips, jaw and head, 100 times a second.

Every sound pulls jaw, lips and rounding towards targets of its own, with a weight that fades before and after it
(dominance functions, after Cohen and Massaro: neighbours blend, and fast speech never reaches its targets); closures
of the lips are laid over that as gestures of their own (after Oehman: vowels flow on beneath consonants). A *style* is
drawn per speaker: strength, shares of jaw and lips, how early and how long each articulator moves, how far the mouth
leads the sound for each kind of sound, what it does in pauses. Nothing here is fitted to recordings; ranges were set
by hand so that spread and spectrum of the result look like those of real faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.synthetic.espeak import Phoneme
from avsync.scorer.synthetic.phonemes import PAUSE, Gesture, gestures

TRACK_HZ: Final = 100
COLUMNS: Final = (
    "jaw",  # lowering of the jaw, 0..1 of what this speaker ever does in speech
    "inner_open",  # height of the gap between the lips, eye distances (0: they touch)
    "outer_height",  # upper lip's upper edge to lower lip's lower edge, eye distances
    "outer_width",  # corner to corner, eye distances
    "inner_width",  # width of the gap, eye distances
    "round",  # 1: rounded and pushed forward, -1: spread
    "upper_raise",  # how far the upper lip is raised, eye distances
    "lower_drop",  # how far the lower lip's inner edge is below where closed lips meet, eye distances
    "press",  # 0..1, lips pressed together
    "tuck",  # 0..1, lower lip under the upper teeth
    "tongue",  # 0..1, tongue to be seen between the teeth
    "teeth_upper",  # 0..1, how much of the upper teeth shows in the gap
    "teeth_lower",
    "smile",  # -1..1, corners drawn up and out
    "asymmetry",  # -1..1, one side opens more
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "shift_x",  # movement of the head in the picture, eye distances
    "shift_y",
    "scale",  # size of the head, about 1
)
_KINDS: Final = ("vowel", "bilabial", "labiodental", "round", "other", "pause")
MIDDLE_VOWEL: Final = 0.55
"""The opening that all vowels of a careless speaker tend to."""
LONG_PAUSE_S: Final = 0.12
"""In shorter pauses the mouth stays with its neighbours."""


class MouthTrack(NamedTuple):
    """values: float32 (n, len(COLUMNS)); row k is the mouth at (k + 0.5) / 100 s of the speech's time."""

    values: Floats

    def column(self, name: str) -> Floats:
        return self.values[:, COLUMNS.index(name)]


@dataclass(frozen=True, slots=True)
class Style:
    """One speaker. Times in seconds, lengths in eye distances."""

    opening: float
    """Gap between the lips when jaw and lips are fully open."""
    jaw_share: float
    """How much of the opening is the jaw's."""
    anticipation_s: dict[str, float]
    """How far the mouth is ahead of the sound, by kind."""
    anticipation_jitter_s: float
    jaw_reach_s: tuple[float, float]
    """Time constants of a sound's pull before it begins and after it ends."""
    lips_reach_s: tuple[float, float]
    round_reach_s: tuple[float, float]
    inertia_s: float
    """Width of the smoothing that no muscle escapes."""
    closing_s: tuple[float, float]
    """How long lips take to close and to part again."""
    closure: float
    """How completely they do."""
    rest_open: float
    loudness: float
    """How much louder sounds are opened wider: exponent per 10 dB."""
    contrast: float
    """How different the openings of different vowels are, 1: as in careful speech."""
    looseness: float
    """Spread of weights and targets from sound to sound."""
    accent: float
    """Spread of this speaker's own targets about everybody's, kept for every instance of a sound."""
    rounding: float
    width: float
    lip_height: float
    smile: float
    asymmetry: float
    restless: float
    """How much the head moves."""


def draw_style(random: np.random.Generator) -> Style:
    """A speaker; the same number of draws for each."""

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    def reach(low: float, high: float) -> tuple[float, float]:
        middle, tilt = between(low, high), between(-0.35, 0.35)
        return middle * (1 + tilt), middle * (1 - tilt)

    anticipation = float(random.normal(0.02, 0.012))
    hangs = random.random() < 0.25
    return Style(
        opening=float(np.exp(random.normal(np.log(0.20), 0.35))),
        jaw_share=between(0.3, 0.8),
        anticipation_s={kind: anticipation + float(random.normal(0.0, 0.010)) for kind in _KINDS},
        anticipation_jitter_s=between(0.003, 0.015),
        jaw_reach_s=reach(0.030, 0.085),
        lips_reach_s=reach(0.018, 0.055),
        round_reach_s=reach(0.025, 0.080),
        inertia_s=between(0.05, 0.12),
        closing_s=(between(0.04, 0.10), between(0.04, 0.10)),
        closure=between(0.75, 1.0),
        rest_open=between(0.01, 0.06) if hangs else between(0.0, 0.01),
        loudness=between(0.2, 1.1),
        contrast=between(0.2, 1.0),
        looseness=between(0.05, 0.30),
        accent=between(0.0, 0.35),
        rounding=between(0.2, 1.1),
        width=between(0.76, 0.94),
        lip_height=between(0.20, 0.36),
        smile=float(random.normal(0.0, 0.35)),
        asymmetry=float(random.normal(0.0, 0.25)),
        restless=between(0.3, 1.6),
    )


def mouth_track(
    phonemes: Sequence[Phoneme],
    duration_s: float,
    random: np.random.Generator,
    *,
    style: Style | None = None,
    level_db: Floats | None = None,
) -> MouthTrack:
    """The mouth of a speaker saying these sounds.

    phonemes: their starts in seconds of the speech; `duration_s`: length of the track; `level_db`: the speech's level
    100 times a second, when louder sounds shall be opened wider; `style`: the speaker, drawn when not given.
    """
    who = style or draw_style(random)
    end_s = phonemes[-1].start_s + 0.05 if phonemes else 0.0
    moves = _with_pauses(gestures(phonemes, end_s), duration_s)
    n = round(duration_s * TRACK_HZ)
    time_s = (np.arange(n) + 0.5) / TRACK_HZ
    shape = _blend(moves, time_s, who, random, level_db)
    head = _head(n, who, random, level_db)
    return MouthTrack(np.stack(_lips(shape, n, who, random) + head, axis=1).astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Shape:
    jaw: NDArray[np.float64]
    lips: NDArray[np.float64]
    round: NDArray[np.float64]
    closure: NDArray[np.float64]
    tuck: NDArray[np.float64]
    tongue: NDArray[np.float64]
    speaking: NDArray[np.float64]


def _with_pauses(moves: list[Gesture], duration_s: float) -> list[Gesture]:
    """Silence before and after; short pauses, in which the mouth only passes through, are left out."""
    first = moves[0].start_s if moves else duration_s
    last = moves[-1].end_s if moves else duration_s
    whole = [
        Gesture(PAUSE, -1.0, first, -1, "pause"),
        *moves,
        Gesture(PAUSE, last, max(duration_s, last) + 1.0, -1, "pause"),
    ]
    joined: list[Gesture] = []
    for move in whole:
        if joined and move.kind == "pause" and joined[-1].kind == "pause":
            joined[-1] = joined[-1]._replace(end_s=move.end_s)
        else:
            joined.append(move)
    return [move for move in joined if move.kind != "pause" or move.end_s - move.start_s > LONG_PAUSE_S]


def _blend(
    moves: list[Gesture], time_s: NDArray[np.float64], who: Style, random: np.random.Generator, level_db: Floats | None
) -> _Shape:
    count = len(moves)
    pause = np.array([move.kind == "pause" for move in moves])
    anticipation = np.array([who.anticipation_s[move.kind] for move in moves]) + random.normal(
        0.0, who.anticipation_jitter_s, count
    )
    start = np.array([move.start_s for move in moves]) - anticipation
    end = np.maximum(np.array([move.end_s for move in moves]) - anticipation, start + 0.005)
    # A mouth opens before it speaks and closes after: the pull of a pause ends early and begins late.
    end = np.where(pause, np.maximum(end - random.uniform(0.0, 0.15, count), start + 0.02), end)
    start = np.where(pause, np.minimum(start + random.uniform(0.0, 0.20, count), end - 0.02), start)
    drift = np.exp(_slow(len(time_s), 0.5, random) * 0.25)

    def column(name: str) -> NDArray[np.float64]:
        return np.array([float(getattr(move.target, name)) for move in moves])

    strength = np.exp(random.normal(0.0, who.looseness, count))
    own = {target: random.normal(0.0, who.accent, 3) for target in sorted({move.target for move in moves})}
    habit = np.array([own[move.target] for move in moves]).reshape(count, 3)
    vowel = np.array([move.target.vowel for move in moves])
    wide = _loudness(moves, level_db) * who.loudness * vowel
    target_jaw, target_lips = column("jaw"), column("lips")
    target_jaw = np.where(vowel, MIDDLE_VOWEL + who.contrast * (target_jaw - MIDDLE_VOWEL), target_jaw)
    target_lips = np.where(vowel, MIDDLE_VOWEL + who.contrast * (target_lips - MIDDLE_VOWEL), target_lips)
    jaw_target = target_jaw * np.exp(wide + habit[:, 0] + random.normal(0.0, who.looseness * 0.6, count))
    lips_target = target_lips * np.exp(wide + habit[:, 1] + random.normal(0.0, who.looseness * 0.6, count))
    round_target = column("round") + 0.7 * habit[:, 2] + random.normal(0.0, who.looseness * 0.3, count)

    def pulled(
        target: NDArray[np.float64], weight: NDArray[np.float64], reach_s: tuple[float, float]
    ) -> NDArray[np.float64]:
        # A long sound holds its place; the edges of every sound already give way to the neighbours.
        inset = 0.25 * (end - start)
        before = np.maximum((start + inset)[None] - time_s[:, None], 0.0) / reach_s[0]
        after = np.maximum(time_s[:, None] - (end - inset)[None], 0.0) / reach_s[1]
        pull = (weight * strength)[None] * np.exp(-(before + after)) + 1e-9
        return np.asarray((pull @ target) / pull.sum(axis=1))

    def weights(name: str) -> NDArray[np.float64]:
        return np.where(pause, 0.8, column(name))

    closure = _closure(moves, start, end, time_s, who, random)
    smooth = _kernel(who.inertia_s)
    speaking = pulled(1.0 - pause, np.ones(count), who.jaw_reach_s)
    jaw = _smooth(pulled(jaw_target, weights("jaw_weight"), who.jaw_reach_s), smooth) * drift
    lips = _smooth(pulled(lips_target, weights("lips_weight"), who.lips_reach_s), smooth) * drift
    rounded = _smooth(pulled(round_target, weights("round_weight"), who.round_reach_s), smooth)
    tuck = pulled(column("tuck"), np.ones(count), who.lips_reach_s)
    tongue = pulled(column("tongue"), np.ones(count), who.lips_reach_s)
    return _Shape(jaw, lips, rounded, _smooth(closure, _kernel(0.6 * who.inertia_s)), tuck, tongue, speaking)


def _closure(
    moves: list[Gesture],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    time_s: NDArray[np.float64],
    who: Style,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """How closed the lips are held by consonants, 0..1: ramps of half a cosine around each closure."""
    open_ = np.ones(len(time_s))
    completeness = who.closure * np.exp(random.normal(0.0, 0.08, len(moves)))
    for index, move in enumerate(moves):
        if move.target.closure <= 0:
            continue
        rising = np.clip((time_s - start[index]) / who.closing_s[0] + 1.0, 0.0, 1.0)
        falling = np.clip((end[index] - time_s) / who.closing_s[1] + 1.0, 0.0, 1.0)
        held = 0.5 - 0.5 * np.cos(np.pi * np.minimum(rising, falling))
        open_ *= 1.0 - np.minimum(move.target.closure * completeness[index], 1.0) * held
    return 1.0 - open_


def _loudness(moves: list[Gesture], level_db: Floats | None) -> NDArray[np.float64]:
    """Each gesture's level over the middle of the vowels', in tens of dB, within bounds."""
    if level_db is None or not len(level_db):
        return np.zeros(len(moves))
    edges = [
        (int(np.clip(move.start_s * TRACK_HZ, 0, len(level_db) - 1)), int(move.end_s * TRACK_HZ) + 1) for move in moves
    ]
    levels = np.array([float(level_db[first : max(last, first + 1)].mean()) for first, last in edges])
    vowels = [level for level, move in zip(levels, moves, strict=True) if move.target.vowel]
    middle = float(np.median(vowels)) if vowels else 0.0
    return np.clip((levels - middle) / 10.0, -1.5, 1.2)


def _lips(shape: _Shape, n: int, who: Style, random: np.random.Generator) -> list[NDArray[np.float64]]:
    jaw, rounded = np.clip(shape.jaw, 0.0, 1.6), shape.round * who.rounding
    parted = who.jaw_share * jaw + (1.0 - who.jaw_share) * np.clip(shape.lips, 0.0, 1.8)
    rest = who.rest_open + _idle(n, random) * (1.0 - shape.speaking)
    forward = np.maximum(rounded, 0.0)
    wanted = who.opening * parted * (1.0 - 0.35 * np.minimum(forward, 1.2))
    smile = who.smile + 0.25 * _slow(n, 0.3, random)
    inner = np.maximum(wanted + rest * np.exp(-3.0 * parted), 0.0) * (1.0 - np.minimum(shape.closure, 1.0))
    press = np.clip(shape.closure - 0.6, 0.0, 0.4) / 0.4 * np.clip(1.0 - inner / 0.02, 0.0, 1.0)
    width = who.width * (1.0 - 0.075 * np.clip(rounded, -1.3, 1.3)) + 0.035 * smile - 0.10 * inner
    inner_width = width * (0.86 - 0.04 * np.maximum(rounded, 0.0)) - 0.10 * inner - 0.02 * press
    upper = 0.28 * inner + 0.01 * forward * inner / max(who.opening, 0.05) + 0.006 * np.maximum(smile, 0.0)
    lower = inner - upper
    outer = who.lip_height * (1.0 - 0.10 * press - 0.10 * shape.tuck * (shape.closure > 0.3)) + 1.15 * inner
    outer = outer + 0.015 * forward - 0.008 * smile
    teeth_upper = np.clip(inner / 0.06, 0.0, 1.0) * np.clip(0.65 - 0.4 * forward + 0.2 * smile, 0.0, 1.0)
    teeth_lower = np.clip(inner / 0.08, 0.0, 1.0) * np.clip(0.5 - 0.6 * jaw, 0.0, 1.0)
    lopsided = who.asymmetry + 0.1 * _slow(n, 0.4, random)
    return [
        jaw, inner, outer, width, inner_width, rounded, upper, lower, press, shape.tuck, shape.tongue,
        teeth_upper, teeth_lower, smile, lopsided,
    ]  # fmt: skip


def _idle(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """What a mouth does while it says nothing: now and then it parts, swallows or is licked. At least 0."""
    moved = np.zeros(n)
    time_s = np.arange(n) / TRACK_HZ
    for _ in range(int(random.poisson(0.3 * n / TRACK_HZ))):
        at, width, height = random.uniform(0, n / TRACK_HZ), random.uniform(0.06, 0.3), random.exponential(0.04)
        moved += min(height, 0.15) * np.exp(-0.5 * ((time_s - at) / width) ** 2)
    return moved


def _head(n: int, who: Style, random: np.random.Generator, level_db: Floats | None) -> list[NDArray[np.float64]]:
    """Yaw, pitch, roll (degrees), shifts and scale: a slow wander about a pose, and small nods with the voice."""
    yaw = random.normal(0.0, 12.0) + who.restless * 4.0 * _slow(n, 0.4, random)
    pitch = random.normal(0.0, 6.0) + who.restless * 3.0 * _slow(n, 0.6, random)
    roll = random.normal(0.0, 4.0) + who.restless * 2.0 * _slow(n, 0.4, random)
    nod = random.normal(0.0, 0.8) * who.restless
    if level_db is not None and len(level_db) >= 2:
        loud = np.interp(np.arange(n), np.arange(len(level_db)), np.clip((level_db - level_db.max()) / 40.0, -1.0, 0.0))
        pitch = pitch + nod * _smooth(loud, _kernel(0.5))
    shift_x, shift_y = (who.restless * 0.05 * _slow(n, 0.4, random) for _ in range(2))
    scale = 1.0 + who.restless * 0.02 * _slow(n, 0.3, random)
    return [yaw, pitch, roll, shift_x, shift_y, scale]


def _slow(n: int, hertz: float, random: np.random.Generator) -> NDArray[np.float64]:
    """A wander of unit spread with most of its power below `hertz`: (n,)."""
    kernel = _kernel(0.75 / hertz)
    noise = random.standard_normal(n + len(kernel) - 1)
    return np.convolve(noise, kernel / np.sqrt(np.sum(kernel**2)), "valid")


def _kernel(width_s: float) -> NDArray[np.float64]:
    """A Hann window of unit sum and odd length."""
    length = max(1, round(width_s * TRACK_HZ)) | 1
    window = np.hanning(length + 2)[1:-1]
    return np.asarray(window / window.sum())


def _smooth(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    half = len(kernel) // 2
    return np.convolve(np.pad(values, half, mode="edge"), kernel, "valid")
