"""What the scorer says of a block or a window: one type for all backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Label = Literal[
    "in_sync",
    "voice_ahead",
    "voice_behind",
    "uncertain",
    "silence",
    "no_face",
    "still",
    "occluded",
    "out_of_range",
    "unrelated",
    "bad_input",
]
LABELS: Final[tuple[Label, ...]] = get_args(Label)

Method = Literal["fused", "pixels", "geometry", "heuristic", "syncnet"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)


@dataclass(frozen=True, slots=True)
class LipSyncSignal:
    """The agreement of lips and voice over one segment of media time."""

    score: float | None
    """Similarity in [0, 1] at offset 0, what a quality controller watches; None where nothing can be said."""
    offset_ms: float | None
    """Offset at the best lag, ms; positive: the voice is ahead of the lips. None where nothing can be said."""
    confidence: float
    """0 to 1: the believed chance that `offset_ms` is right within 40 ms, calibrated on real faces."""
    occluded: bool
    """The mouth was hidden, or no face was seen, for a good part of the segment."""
    label: Label
    score_best: float | None
    """Similarity in [0, 1] at the best lag."""
    score_margin: float | None
    """Best minus the best lag more than 40 ms away from it."""
    method: Method
    """The backend that answered."""
    pts_ns: int
    """Media time of the segment's start."""
    duration_ns: int
    epoch: int
