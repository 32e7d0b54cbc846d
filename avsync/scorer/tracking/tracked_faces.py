"""Faces of a clip: the sound and, for every picture, whose mouth looks how; streamed, or all of it in memory.

Reading, decoding and tracking run in threads of their own ahead of whoever asks, so that scoring overlaps with them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.features.cells import Floats
from avsync.scorer.tracking.clip_reader import MediaClip, Picture
from avsync.scorer.tracking.face_mesh import POINTS
from avsync.scorer.tracking.face_tracker import FaceTracker
from avsync.scorer.tracking.mouth_crops import CROP_SIZE, mouth_crop
from avsync.scorer.tracking.read_ahead import ahead
from avsync.scorer.tracking.sound_placing import Pcm, SoundPiece
from avsync.scorer.tracking.warp import Rgb

TRACKED_AHEAD: Final = 200
"""Pictures whose faces are known before they are asked for, while networks are still being loaded: 32 kB a face."""
IN_MEMORY_MAX: Final = 120_000
"""Pictures times faces of `track_clip`: 4 GB, more than half an hour of one face at 60 fps."""


class FaceObservation(NamedTuple):
    """One face in one picture. landmarks: float32 (468, 2), pixels of the full picture; roi: uint8 (96, 96, 3)."""

    number: int
    landmarks: Floats
    roi: Rgb
    presence: float


class PictureFaces(NamedTuple):
    """A picture's faces in the order of their numbers, none when there is none; ns since the clip's start."""

    pts_ns: int
    faces: tuple[FaceObservation, ...]


Change = Callable[[Picture], Picture]


def follow(
    clip: MediaClip, *, tracker: FaceTracker | None = None, change: Change | None = None
) -> Generator[SoundPiece | PictureFaces, None, None]:
    """A clip's sound and seen faces, in the order of time, in bounded memory.

    `change` is applied to every picture before the tracker sees it (studies of spoiled pictures). Raises
    ``InputError`` where the clip or the face models are unusable.
    """
    return ahead(_follow(clip, tracker or FaceTracker(), change), TRACKED_AHEAD)


def _follow(
    clip: MediaClip, tracker: FaceTracker, change: Change | None
) -> Generator[SoundPiece | PictureFaces, None, None]:
    with closing(clip.together()) as units:
        for unit in units:
            yield _observe(unit if change is None else change(unit), tracker) if isinstance(unit, Picture) else unit


def _observe(picture: Picture, tracker: FaceTracker) -> PictureFaces:
    faces = tracker.track(picture.rgb)
    return PictureFaces(
        picture.pts_ns,
        tuple(
            FaceObservation(face.number, face.landmarks, mouth_crop(picture.rgb, face.landmarks), face.presence)
            for face in faces
        ),
    )


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One face over a whole clip. landmarks: float32 (T, 468, 2), NaN where it is not seen; rois: uint8 (T, 96, 96, 3),
    black there."""

    number: int
    landmarks: Floats
    rois: Rgb

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T,): the pictures that show it."""
        return np.asarray(~np.isnan(self.landmarks[:, 0, 0]))


@dataclass(frozen=True, slots=True)
class TrackedClip:
    """A whole clip in memory. pts_ns: int64 (T,); pcm: int16 16 kHz mono, its first sample at `pcm_start_ns`."""

    clip: MediaClip
    pts_ns: NDArray[np.int64]
    faces: tuple[TrackedFace, ...]
    """The one seen most often first."""
    pcm: Pcm
    pcm_start_ns: int


def track_clip(
    clip: MediaClip,
    *,
    tracker: FaceTracker | None = None,
    change: Change | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrackedClip:
    """All of a clip at once, for evaluation and training; `progress` is told the time reached, ns.

    Raises ``InputError`` where the clip does not fit into memory (`IN_MEMORY_MAX`).
    """
    times: list[int] = []
    pieces: list[SoundPiece] = []
    found: dict[int, list[tuple[int, FaceObservation]]] = {}
    held = 0
    with closing(follow(clip, tracker=tracker, change=change)) as units:
        for unit in units:
            if isinstance(unit, SoundPiece):
                pieces.append(unit)
                continue
            for face in unit.faces:
                found.setdefault(face.number, []).append((len(times), face))
            held += max(1, len(unit.faces))
            times.append(unit.pts_ns)
            if held > IN_MEMORY_MAX:
                raise InputError(f"more than {IN_MEMORY_MAX} faces in pictures", file=clip.file, remedy="cut the clip")
            if progress is not None:
                progress(unit.pts_ns)
    faces = tuple(
        _over_time(number, seen, len(times)) for number, seen in sorted(found.items(), key=lambda item: -len(item[1]))
    )
    pcm = np.concatenate([piece.pcm for piece in pieces])
    return TrackedClip(clip, np.array(times, np.int64), faces, pcm, pieces[0].pts_ns)


def _over_time(number: int, seen: list[tuple[int, FaceObservation]], pictures: int) -> TrackedFace:
    landmarks = np.full((pictures, POINTS, 2), np.nan, np.float32)
    rois = np.zeros((pictures, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for index, face in seen:
        landmarks[index], rois[index] = face.landmarks, face.roi
    return TrackedFace(number, landmarks, rois)
