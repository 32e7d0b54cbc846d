"""The clips of an evaluation as tracked footage: clean or spoiled, found anew or read from a cache.

Tracking depends on the file and on the code that tracks, so a cached result carries both in its name: it is
used while neither has changed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.clip import Clip, open_clip, whole_sound
from avsync.scorer.crops import CROP_SIZE, mouth_crop
from avsync.scorer.degrade import PICTURE_CONDITIONS, Picture, typical_face
from avsync.scorer.features import Floats, as_mono_float
from avsync.scorer.geometry import LANDMARKS
from avsync.scorer.protocol import Footage
from avsync.scorer.tracker import FaceTracker

TRACKING_FILES: Final = ("clip", "placing", "tracker", "detector", "mesh", "warp", "crops")
LONGEST_S: Final = 1800
"""All crops of a clip lie in memory, 0.7 MB a second at 25 fps."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A clip's footage, and what went wrong while it was read, in words."""

    footage: Footage
    troubles: tuple[str, ...]


def tracked(path: Path, cache: Path | None = None) -> Tracked:
    """The clip as it is. `cache`: a folder where the result is kept. InputError where it cannot be used."""
    kept = cache / f"{path.stem}-{_key(path)}.npz" if cache is not None else None
    if kept is not None and kept.exists():
        return _read(kept)
    clip = open_clip(path)
    pcm, pcm_start_ns = whole_sound(clip)
    start_ns, landmarks, rois = _faces_of(clip, None, None)
    if np.isnan(landmarks[:, 0, 0]).all():
        raise InputError(
            "no face is found in it", file=str(path), remedy="a talking face of 64 pixels or more is wanted"
        )
    footage = _footage(path, start_ns, landmarks, rois, as_mono_float(pcm), pcm_start_ns)
    found = Tracked(footage, clip.troubles.words())
    if kept is not None:
        _write(kept, found)
    return found


def spoiled(path: Path, clean: Footage, condition: str) -> Footage:
    """The same clip with its pictures spoiled (`degrade.PICTURE_CONDITIONS`), the face looked for again."""
    start_ns, landmarks, rois = _faces_of(open_clip(path), condition, clean.landmarks)
    return _footage(path, start_ns, landmarks, rois, clean.pcm, clean.pcm_start_ns)


def _faces_of(clip: Clip, condition: str | None, clean: Floats | None) -> tuple[NDArray[np.int64], Floats, Picture]:
    """Times (T,), landmarks (T, 468, 2) and crops (T, 96, 96, 3) of the clip's main face: large, and there for long."""
    spoil = PICTURE_CONDITIONS[condition] if condition is not None else None
    face = typical_face(clean) if clean is not None else None
    tracker = FaceTracker()
    start_ns: list[int] = []
    faces: dict[int, dict[int, tuple[Floats, Picture]]] = {}
    for number, picture in enumerate(clip.pictures()):
        if picture.pts_ns > LONGEST_S * 1_000_000_000:
            raise InputError(f"longer than {LONGEST_S} s", file=clip.file, remedy="cut the clip")
        rgb = picture.rgb if spoil is None or face is None else spoil(picture.rgb, face, number)
        start_ns.append(picture.pts_ns)
        for found in tracker.track(rgb):
            faces.setdefault(found.number, {})[number] = found.landmarks, mouth_crop(rgb, found.landmarks)
    landmarks = np.full((len(start_ns), LANDMARKS, 2), np.nan, np.float32)
    rois = np.zeros((len(start_ns), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for number, (points, crop) in max(faces.values(), key=_presence, default={}).items():
        landmarks[number], rois[number] = points, crop
    return np.array(start_ns, np.int64), landmarks, rois


def _presence(face: dict[int, tuple[Floats, Picture]]) -> float:
    """Of a face over the clip: its width in pixels, summed over the pictures that show it."""
    return float(sum(np.ptp(points[:, 0]) for points, _ in face.values()))


def _footage(
    path: Path,
    start_ns: NDArray[np.int64],
    landmarks: Floats,
    rois: Picture,
    pcm: NDArray[np.float32],
    pcm_start_ns: int,
) -> Footage:
    if len(start_ns) < 2:
        raise InputError("it has a single picture", file=str(path), remedy="a clip of a second or more is wanted")
    end_ns = int(start_ns[-1]) + int(np.median(np.diff(start_ns)))
    return Footage(start_ns, end_ns, rois, landmarks, pcm, pcm_start_ns)


def _key(path: Path) -> str:
    """Of the file's content and of the code that tracks."""
    digest = hashlib.sha256(path.read_bytes())
    for name in TRACKING_FILES:
        source = Path(__file__).with_name(f"{name}.py")
        digest.update(source.read_bytes() if source.exists() else b"")
    return digest.hexdigest()[:16]


def _write(file: Path, found: Tracked) -> None:
    """Written aside and renamed: a file in the cache is always whole."""
    clip = found.footage
    aside = file.with_name(f".{file.stem}-{os.getpid()}-{secrets.token_hex(4)}.npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        aside,
        start_ns=clip.start_ns,
        end_ns=np.int64(clip.end_ns),
        rois=clip.rois,
        landmarks=clip.landmarks,
        pcm=np.round(clip.pcm * 32768).astype(np.int16),
        pcm_start_ns=np.int64(clip.pcm_start_ns),
        troubles=np.array(found.troubles, np.str_),
    )
    aside.replace(file)


def _read(file: Path) -> Tracked:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            footage = Footage(
                kept["start_ns"],
                int(kept["end_ns"]),
                kept["rois"],
                kept["landmarks"],
                as_mono_float(kept["pcm"]),
                int(kept["pcm_start_ns"]),
            )
            return Tracked(footage, tuple(str(words) for words in kept["troubles"]))
    except Exception as error:  # zipfile and numpy each have errors of their own for a broken file
        raise InputError(f"not a cached clip ({error})", file=str(file), remedy="delete it") from error
