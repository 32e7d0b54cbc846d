"""Payload: what a viewer saw and heard, made again from the truth's logs, as pixels and as sound.

A run carries no media: its logs say which content position was heard and shown at which of the viewer's times. A
``ContentRenderer`` says how that content sounds and looks, as a function of the position alone, so both can be joined
after the run: ``heard`` gives the sound that came out of the loudspeaker (slower or faster where the player was, silent
where no content left), ``shown`` every change of picture. Nothing here knows a stamp, a PTS or an epoch.

Concealment is silence here: it says nothing new, and fades within 80 ms.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sim.truth.columns import I64
from sim.truth.tables import PresentationTable, SourceTable, position

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

SAMPLE_RATE_HZ = 16_000
SAMPLE_NS = 62_500  # exact: a sample of 16 kHz is a whole number of ns
IDLE_TURN = -1
ROI_PX = 96
LANDMARKS = 468


class PictureBatch(NamedTuple):
    """T pictures. ``rois``: uint8 RGB (T, 96, 96, 3), the mouth. ``landmarks``: (T, 468, 2), px of the full picture."""

    rois: U8
    landmarks: F32 | None


class ContentRenderer(Protocol):
    """How content looks and sounds, by turn (its index in the ``SourceTable``) and position inside it.

    The same position always gives the same, in whichever order it is asked for.
    """

    def sound(self, turn: int, since_ns: npt.NDArray[np.float64]) -> F32:
        """(n,) positions in ns since the turn's start -> (n,) samples in [-1, 1]; 0 where nothing is said."""
        ...

    def pictures(self, turn: int, since_ns: I64) -> PictureBatch:
        """The frames whose content begins at (T,) positions in ns since the turn's start."""
        ...

    def idle(self) -> PictureBatch:
        """One picture, without lips that speak: shown before, between and instead of turns."""
        ...


def heard(made: SourceTable, left: PresentationTable, payload: ContentRenderer, from_ns: int, samples: int) -> F32:
    """(samples,) float32 at 16 kHz: what was heard from ``from_ns`` on, in the viewer's time.

    Where content leaves at its own pace the samples are copied, shifted by whole ones (an error below 63 us); what was
    played faster or slower is resampled, its pitch with it.
    """
    pcm = np.zeros(samples, np.float32)
    if not len(left.at_ns) or not samples:
        return pcm
    t = from_ns + SAMPLE_NS * np.arange(samples, dtype=np.int64)
    row = np.searchsorted(left.at_ns, t, "right") - 1
    content = (row >= 0) & (t < left.end_ns[np.maximum(row, 0)])
    t, row = t[content], row[content]
    turn, gain = left.turn[row], left.gain_ns[row]
    since = left.from_ns[row] + position(t - left.at_ns[row], left.length_ns[row], gain) - made.start_ns[turn]
    since = np.where(np.abs(gain) < SAMPLE_NS, since - since % SAMPLE_NS, since)
    values = np.empty(len(since), np.float32)
    for one in np.unique(turn):
        mine = turn == one
        values[mine] = payload.sound(int(one), since[mine].astype(np.float64))
    pcm[content] = values
    return pcm


def shown(
    made: SourceTable, left: PresentationTable, payload: ContentRenderer, from_ns: int, to_ns: int
) -> tuple[I64, PictureBatch] | None:
    """When each change of picture in [from, to) came on screen, in the viewer's time, and what was seen then.

    None where there was no change. Landmarks are there if all of the pictures have them.
    """
    low, high = np.searchsorted(left.shown_ns, [from_ns, to_ns], "left")
    if low == high:
        return None
    ref = left.shown_ref[low:high]
    turn = np.where(ref < 0, IDLE_TURN, made.pictures.turn[np.maximum(ref, 0)])
    parts: list[tuple[I64, PictureBatch]] = []
    for one in np.unique(turn).tolist():
        rows = np.flatnonzero(turn == one)
        if one == IDLE_TURN:
            parts.append((rows, _again(payload.idle(), len(rows))))
        else:
            since = made.pictures.content_ns[ref[rows]] - made.start_ns[one]
            parts.append((rows, payload.pictures(one, since)))
    return left.shown_ns[low:high], _joined(parts)


def _again(one: PictureBatch, times: int) -> PictureBatch:
    landmarks = None if one.landmarks is None else np.repeat(one.landmarks, times, axis=0)
    return PictureBatch(np.repeat(one.rois, times, axis=0), landmarks)


def _joined(parts: list[tuple[I64, PictureBatch]]) -> PictureBatch:
    """Pictures of several turns, back in the order of their rows."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    rois = np.concatenate([pictures.rois for _, pictures in parts])[order]
    landmarks = [pictures.landmarks for _, pictures in parts if pictures.landmarks is not None]
    return PictureBatch(rois, np.concatenate(landmarks)[order] if len(landmarks) == len(parts) else None)


def times(left: PresentationTable) -> tuple[int, int] | None:
    """(from, to): when the first content was heard or shown, and when the last sound ended; None without any."""
    firsts = [int(column[0]) for column in (left.at_ns, left.shown_ns) if len(column)]
    lasts = [int(column[-1]) for column in (left.end_ns, left.shown_ns) if len(column)]
    return (min(firsts), max(lasts)) if firsts else None
