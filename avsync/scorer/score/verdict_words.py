"""Words: what the numbers of a clip mean, in one sentence with the sign spelled out.

Everybody gets the sign of a lip-sync offset wrong once, so no sentence leaves here without saying who is ahead.
Nothing sounds surer than it is: below ``SURE`` the sentence begins with "unsure".
"""

from __future__ import annotations

from avsync.scorer.score.clip_answer import ClipAnswer
from avsync.scorer.score.evidence import SURE, OffsetPart
from avsync.scorer.signal import Label, Method

SAME_MS = 5.0
"""An offset below this is called none: half the resolution the bias is held to (±10 ms)."""

MARKS: dict[Label, str] = {
    "in_sync": "in sync",
    "voice_ahead": "voice ahead",
    "voice_behind": "voice behind",
    "uncertain": "unsure",
    "silence": "silence",
    "no_face": "no face",
    "still": "lips do not move",
    "occluded": "mouth covered",
    "out_of_range": "beyond the search",
    "unrelated": "does not fit",
    "bad_input": "unusable",
}
"""Label -> the words of a table row and of the picture's legend."""


def offset_words(offset_ms: float) -> str:
    """``voice ahead of the lips by 80 ms``; the number is never signed, the words are."""
    size = round(abs(offset_ms))
    if abs(offset_ms) < SAME_MS:
        return "voice and lips together"
    return f"voice {'ahead of' if offset_ms > 0 else 'behind'} the lips by {size} ms"


def signed_words(offset_ms: float | None) -> str:
    """``+80``, ``-40``, ``0``, ``?``: for columns, whose header says the sign."""
    if offset_ms is None:
        return "?"
    whole = round(offset_ms)
    return f"{whole:+d}" if whole else "0"


def time_words(at_ms: float) -> str:
    """``0:07.0``, ``1:02:07.0``: the position in the clip, as players show it, with a tenth."""
    tenths = round(at_ms / 100)
    sign, tenths = ("-" if tenths < 0 else ""), abs(tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{clock}:{rest // 10:02d}.{rest % 10}"


def verdict_words(answer: ClipAnswer, *, search_ms: float, limit_ms: float, method: Method) -> str:
    """The one sentence people read. ``limit_ms``: up to where an offset counts as in sync."""
    if answer.judged == 0 or answer.offset_ms is None:
        return f"nothing can be said: {_why_nothing(answer)}"
    if answer.label == "unrelated":
        return (
            f"the sound does not fit these lips at any offset within ±{search_ms:.0f} ms ({_from(answer)}): somebody"
            f" else's voice, a dubbed clip, or an offset beyond the search (try --search-ms {_wider(search_ms):.0f})"
        )
    if answer.label == "out_of_range":
        side = "ahead of" if answer.offset_ms > 0 else "behind"
        return (
            f"unsure: the best fit lies at the edge of the search, voice {side} the lips by {search_ms:.0f} ms or more"
            f" ({_from(answer)}); try --search-ms {_wider(search_ms):.0f}"
        )
    if answer.parts:
        return f"{_changing(answer, limit_ms)}, {_from(answer)}"
    if answer.confidence < SURE:
        return (
            f"unsure ({answer.confidence:.2f}): perhaps {offset_words(answer.offset_ms)}, {_from(answer)};"
            f" {'the heuristic never is surer' if method == 'heuristic' else 'more speech would tell'}"
        )
    words = offset_words(answer.offset_ms)
    if abs(answer.offset_ms) <= limit_ms:
        words = "in sync" if abs(answer.offset_ms) < SAME_MS else f"in sync ({words})"
    return f"{words}, sure ({answer.confidence:.2f}), {_from(answer)}"


def _from(answer: ClipAnswer) -> str:
    return f"from {answer.agreeing} of {answer.judged} window{'s' if answer.judged != 1 else ''}"


def _wider(search_ms: float) -> float:
    return 2 * search_ms


def _changing(answer: ClipAnswer, limit_ms: float) -> str:
    first, last = answer.parts[0], answer.parts[-1]
    ends = f"{_short(first.from_offset_ms)} to {_short(last.to_offset_ms)}"
    fine = all(part.worst_ms <= limit_ms for part in answer.parts)
    head = "in sync, but the offset" if fine else "the offset"
    sure = f"sure ({answer.confidence:.2f})"
    if len(answer.parts) == 1:
        span_s = (first.end_ms - first.start_ms) / 1000
        rate = (first.to_offset_ms - first.from_offset_ms) / span_s if span_s > 0 else 0.0
        return f"{head} drifts from {ends} ({rate:+.1f} ms a second), {sure}"
    if len(answer.parts) == 2:
        return f"{head} steps from {ends} at about {time_words(last.start_ms)}, {sure}"
    return f"{head} changes {len(answer.parts) - 1} times, {sure}: {'; '.join(map(_part_words, answer.parts))}"


def _part_words(part: OffsetPart) -> str:
    return f"{_short(part.from_offset_ms)} from {time_words(part.start_ms)}"


def _short(offset_ms: float) -> str:
    """``voice 80 ms ahead``: the short form, for sentences with two offsets in them."""
    if abs(offset_ms) < SAME_MS:
        return "together"
    return f"voice {round(abs(offset_ms))} ms {'ahead' if offset_ms > 0 else 'behind'}"


def _why_nothing(answer: ClipAnswer) -> str:
    """By what most windows lacked."""
    if not answer.left_out:
        return "the clip has no whole window"
    worst = max(answer.left_out, key=lambda label: answer.left_out[label])
    return {
        "silence": "hardly anything is heard (silence, or a very quiet recording)",
        "no_face": "no face is seen while there is sound",
        "still": "the lips do not move (a still picture?)",
        "occluded": "the mouth is covered",
        "bad_input": "the sound is clipped or broken",
    }.get(worst, "no window could be judged")
