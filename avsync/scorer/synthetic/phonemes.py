"""What the mouth wants for each sound: targets per IPA letter, and the gestures of a spoken text in time.

espeak-ng names its phonemes in IPA, which says the same thing in every language. A name is read letter by letter:
'aɪ' is two targets one after the other, 'tʃ' has the lips of ʃ throughout, marks of length and tone say nothing.

When espeak-ng says that a voiceless stop begins, its *burst* begins (measured on its own sound: the level falls by
30 dB in the 60 ms before the event); the lips closed before. Voiced stops and nasals begin with their closure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from avsync.scorer.synthetic.espeak import Phoneme


class MouthTarget(NamedTuple):
    """Where a sound pulls the mouth (0..1 unless said) and how hard (weights; 0: whatever the neighbours want)."""

    jaw: float
    jaw_weight: float
    lips: float
    """Parting of the lips beyond what the jaw gives, 0..1."""
    lips_weight: float
    round: float
    """1: rounded and pushed forward, -1: spread."""
    round_weight: float
    closure: float = 0.0
    """1: the lips touch, whatever the jaw does (p b m); about 0.85 for lip on teeth."""
    tuck: float = 0.0
    """Lower lip under the upper teeth."""
    tongue: float = 0.0
    """Tongue to be seen between the teeth, 0..1."""
    vowel: bool = False


class Gesture(NamedTuple):
    """A target from `start_s` to `end_s`; `phoneme` is the index of the sound it belongs to (-1: a pause)."""

    target: MouthTarget
    start_s: float
    end_s: float
    phoneme: int
    kind: str
    """'vowel', 'bilabial', 'labiodental', 'round', 'other' or 'pause': timing varies by kind."""


def _vowel(height: float, round_: float, spread: float = 0.0, weight: float = 1.0) -> MouthTarget:
    lips = 0.15 + 0.75 * height - 0.25 * max(round_, 0.0)
    return MouthTarget(height, weight, lips, weight, round_ - spread, weight * (1.3 if round_ > 0 else 0.8), vowel=True)


_VOWELS: Final[dict[str, MouthTarget]] = {
    "i": _vowel(0.22, 0, 0.8), "ɪ": _vowel(0.32, 0, 0.5), "e": _vowel(0.45, 0, 0.6), "ɛ": _vowel(0.60, 0, 0.4),
    "æ": _vowel(0.85, 0, 0.4), "a": _vowel(0.95, 0, 0.1), "ä": _vowel(0.95, 0, 0.0), "ɑ": _vowel(1.0, 0, 0.0),
    "ɐ": _vowel(0.70, 0, 0.0, 0.8), "ʌ": _vowel(0.65, 0, 0.05), "ə": _vowel(0.42, 0, 0.0, 0.5),
    "ɜ": _vowel(0.45, 0.15), "ɚ": _vowel(0.40, 0.3, 0, 0.7), "ɝ": _vowel(0.42, 0.3), "ɨ": _vowel(0.30, 0, 0.3, 0.8),
    "ɘ": _vowel(0.42, 0, 0.1, 0.7), "ɯ": _vowel(0.25, 0, 0.3), "ɤ": _vowel(0.45, 0, 0.2),
    "ᵻ": _vowel(0.32, 0, 0.2, 0.5),
    "o": _vowel(0.45, 0.8), "ɔ": _vowel(0.62, 0.55), "ɒ": _vowel(0.85, 0.35), "u": _vowel(0.22, 1.0),
    "ʊ": _vowel(0.32, 0.65), "ʉ": _vowel(0.24, 0.8), "ɵ": _vowel(0.42, 0.6), "y": _vowel(0.22, 0.9),
    "ʏ": _vowel(0.32, 0.7), "ø": _vowel(0.42, 0.75), "œ": _vowel(0.58, 0.6), "ɶ": _vowel(0.8, 0.4),
}  # fmt: skip

_CONSONANTS: Final[dict[str, MouthTarget]] = {
    "p": MouthTarget(0.15, 0.6, 0.0, 0.6, 0.0, 0.15, closure=1.0),
    "f": MouthTarget(0.15, 0.8, 0.15, 0.8, -0.05, 0.3, closure=0.80, tuck=1.0),
    "β": MouthTarget(0.20, 0.5, 0.10, 0.7, 0.1, 0.4, closure=0.7),
    "w": MouthTarget(0.20, 0.6, 0.10, 0.9, 1.0, 1.8, closure=0.35),
    "t": MouthTarget(0.22, 0.5, 0.25, 0.25, -0.1, 0.15, tongue=0.3),
    "n": MouthTarget(0.25, 0.45, 0.25, 0.22, -0.1, 0.12, tongue=0.3),
    "l": MouthTarget(0.35, 0.5, 0.35, 0.30, 0.0, 0.15, tongue=0.6),
    "s": MouthTarget(0.05, 1.5, 0.20, 0.80, -0.3, 0.45, tongue=0.1),
    "ʃ": MouthTarget(0.07, 1.4, 0.30, 0.75, 0.6, 1.0),
    "θ": MouthTarget(0.22, 0.8, 0.30, 0.45, -0.1, 0.25, tongue=1.0),
    "k": MouthTarget(0.32, 0.25, 0.30, 0.10, 0.0, 0.06),
    "h": MouthTarget(0.45, 0.06, 0.40, 0.05, 0.0, 0.03),
    "j": MouthTarget(0.22, 0.6, 0.25, 0.40, -0.6, 0.5),
    "ɹ": MouthTarget(0.28, 0.6, 0.20, 0.50, 0.45, 0.8),
    "r": MouthTarget(0.28, 0.5, 0.25, 0.25, 0.0, 0.15, tongue=0.3),
}  # fmt: skip

_LIKE: Final[dict[str, str]] = {
    **dict.fromkeys("bm", "p"), **dict.fromkeys("vʋɱ", "f"), **dict.fromkeys("ɸ", "β"), **dict.fromkeys("ɥʍ", "w"),
    **dict.fromkeys("dɾʈɖ", "t"), **dict.fromkeys("ɳ", "n"), **dict.fromkeys("ɫɭɬɮ", "l"), **dict.fromkeys("z", "s"),
    **dict.fromkeys("ʒʂʐ", "ʃ"), **dict.fromkeys("ð", "θ"), **dict.fromkeys("ɡgŋxɣqɢχʁɴħʕ", "k"),
    **dict.fromkeys("ɦʔ", "h"), **dict.fromkeys("ɲʎcɟçɕʑʝ", "j"), **dict.fromkeys("ɻ", "ɹ"), **dict.fromkeys("ʀɽ", "r"),
}  # fmt: skip

PAUSE: Final = MouthTarget(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
VOICELESS_STOPS: Final = frozenset("ptkqcʈ")
HOLD_S: Final = 0.065
"""How long the lips or tongue are closed before a voiceless stop's burst, at 165 words a minute."""
SHORT_HOLD_S: Final = 0.03


def targets_of(ipa: str) -> tuple[MouthTarget, ...]:
    """The targets of one phoneme's name, in order; none for pauses, tones and language switches such as '(en)'."""
    if ipa.startswith("("):
        return ()
    found: list[MouthTarget] = []
    for letter in ipa:
        target = _VOWELS.get(letter) or _CONSONANTS.get(_LIKE.get(letter, letter))
        if target is not None:
            found.append(target)
    return tuple(found)


def gestures(phonemes: Sequence[Phoneme], end_s: float) -> list[Gesture]:
    """The gestures of a text in order; sounds that follow each other touch, closures of voiceless stops come early."""
    found: list[Gesture] = []
    for index, phoneme in enumerate(phonemes):
        until = phonemes[index + 1].start_s if index + 1 < len(phonemes) else end_s
        targets = targets_of(phoneme.ipa)
        if not targets:
            found.append(Gesture(PAUSE, phoneme.start_s, until, -1, "pause"))
            continue
        if phoneme.ipa[0] in VOICELESS_STOPS:
            found = _burst(found, targets, phoneme, until, index)
            continue
        if not targets[-1].vowel:
            targets = targets[-1:]
        step = (until - phoneme.start_s) / len(targets)
        for part, target in enumerate(targets):
            start = phoneme.start_s + part * step
            found.append(Gesture(target, start, start + step, index, _kind(target)))
    return found


def _burst(
    found: list[Gesture], targets: tuple[MouthTarget, ...], phoneme: Phoneme, until: float, index: int
) -> list[Gesture]:
    """A voiceless stop: closed before its event, what comes before is shortened; an affricate keeps its friction."""
    target, start = targets[-1], phoneme.start_s
    before = found[-1] if found else None
    hold = HOLD_S
    if before is not None and before.kind != "pause":
        hold = min(HOLD_S, max(SHORT_HOLD_S, 0.4 * (start - before.start_s)))
        found[-1] = before._replace(end_s=max(start - hold, before.start_s + 0.01))
    end = until if len(targets) > 1 else min(until, start + 0.012)
    return [*found, Gesture(target, start - hold, end, index, _kind(target))]


def _kind(target: MouthTarget) -> str:
    if target.vowel:
        return "vowel"
    if target.tuck:
        return "labiodental"
    if target.closure >= 0.6:
        return "bilabial"
    return "round" if target.round >= 0.4 else "other"
