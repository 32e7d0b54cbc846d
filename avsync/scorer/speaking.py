"""Who speaks: of several faces the one whose mouth fits the sound best over the whole clip.

How well a face fits is the caller's business (a callable or a number for each face); here is only the choice and its
reason. A face that was hardly seen cannot win against one that was there all the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from avsync.errors import InputError

SEEN_ENOUGH: Final = 0.25
"""A face seen in a smaller share of the pictures than so much of the most seen one's share is not considered."""
CLEAR_LEAD: Final = 0.05
"""The best face's fit is ahead of the next by so much, or the choice is said to be close."""


class Fit(NamedTuple):
    """How well a face fits the sound (higher is better; None: it could not be judged) and its share of the pictures."""

    fit: float | None
    seen_share: float


class Choice(NamedTuple):
    """The face that speaks; `why` is a sentence; `clear` is False where another fits nearly as well, or none fits."""

    number: int
    why: str
    clear: bool


def choose_speaker(faces: Mapping[int, Fit], *, wanted: int | None = None, file: str = "") -> Choice:
    """faces: by number. `wanted`: the number the user asked for.

    Raises ``InputError`` where there is no face, or not the wanted one.
    """
    if not faces:
        raise InputError(
            "no face was found", file=file, remedy="faces must be at least 64 px wide in 1280x720, seen from the front"
        )
    if wanted is not None:
        if wanted not in faces:
            numbers = ", ".join(map(str, sorted(faces)))
            raise InputError(f"there is no face {wanted}", file=file, remedy=f"the faces are numbered {numbers}")
        return Choice(wanted, "it was asked for", True)
    if len(faces) == 1:
        return Choice(next(iter(faces)), "it is the only face", True)
    most = max(face.seen_share for face in faces.values())
    judged = {
        number: face.fit
        for number, face in faces.items()
        if face.fit is not None and face.seen_share >= SEEN_ENOUGH * most
    }
    if not judged:
        number = min(faces, key=lambda number: (-faces[number].seen_share, number))
        return Choice(number, "no face could be judged; it is seen most", False)
    ranked = sorted(judged, key=lambda number: (-judged[number], number))
    best = ranked[0]
    if len(ranked) == 1:
        return Choice(best, "it is the only face seen long enough to be judged", True)
    lead = judged[best] - judged[ranked[1]]
    if lead < CLEAR_LEAD:
        return Choice(best, f"it fits the sound best, but face {ranked[1]} nearly as well", False)
    return Choice(
        best, f"its mouth fits the sound best ({judged[best]:.2f}, face {ranked[1]} {judged[ranked[1]]:.2f})", True
    )
