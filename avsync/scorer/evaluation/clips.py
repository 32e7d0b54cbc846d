"""The clips of an evaluation as tracked footage: clean or spoiled, found anew or read from a cache.

Tracking depends on the file and on the code that tracks, so a cached result carries both in its name: it is
used while neither has changed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avsync.errors import InputError
from avsync.scorer import tracking
from avsync.scorer.evaluation import degrade
from avsync.scorer.evaluation.degrade import PICTURE_CONDITIONS, typical_face
from avsync.scorer.evaluation.protocol import Footage
from avsync.scorer.features import geometry
from avsync.scorer.features.cells import Floats, as_mono_float
from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.tracking.clip_reader import Picture, open_clip
from avsync.scorer.tracking.mouth_crops import CROP_SIZE
from avsync.scorer.tracking.tracked_faces import TrackedClip, TrackedFace, track_clip


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
    found = track_clip(clip)
    if not found.faces:
        raise InputError(
            "no face is found in it", file=str(path), remedy="a talking face of 64 pixels or more is wanted"
        )
    clean = Tracked(_footage(path, found, as_mono_float(found.pcm), found.pcm_start_ns), clip.troubles.words())
    if kept is not None:
        _write(kept, clean)
    return clean


def spoiled(path: Path, clean: Footage, condition: str, cache: Path | None = None) -> Footage:
    """The same clip with its pictures spoiled (`degrade.PICTURE_CONDITIONS`), the face looked for again."""
    kept = cache / f"{path.stem}-{condition}-{_key(path, Path(degrade.__file__))}.npz" if cache is not None else None
    if kept is not None and kept.exists():
        return _read(kept).footage
    spoil, face = PICTURE_CONDITIONS[condition], typical_face(clean.landmarks)
    number = itertools.count()

    def change(picture: Picture) -> Picture:
        return picture if face is None else picture._replace(rgb=spoil(picture.rgb, face, next(number)))

    found = _footage(path, track_clip(open_clip(path), change=change), clean.pcm, clean.pcm_start_ns)
    if kept is not None:
        _write(kept, Tracked(found, ()))
    return found


def _presence(face: TrackedFace) -> float:
    """Of a face over the clip: its width in pixels, summed over the pictures that show it."""
    return float(np.ptp(face.landmarks[face.seen][:, :, 0], axis=1).sum())


def _footage(path: Path, found: TrackedClip, pcm: Floats, pcm_start_ns: int) -> Footage:
    """What is known of the clip's main face: large, and there for long."""
    if len(found.pts_ns) < 2:
        raise InputError("it has a single picture", file=str(path), remedy="a clip of a second or more is wanted")
    count = len(found.pts_ns)
    face = max(found.faces, key=_presence, default=None)
    if face is None:
        landmarks = np.full((count, LANDMARKS, 2), np.nan, np.float32)
        rois = np.zeros((count, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    else:
        landmarks, rois = face.landmarks, face.rois
    end_ns = int(found.pts_ns[-1]) + int(np.median(np.diff(found.pts_ns)))
    return Footage(found.pts_ns, end_ns, rois, landmarks, pcm, pcm_start_ns)


def _key(path: Path, *code: Path) -> str:
    """Of the file's content, of the code that tracks and of what else decides the result."""
    return hashlib.sha256(path.read_bytes() + _code() + b"".join(map(Path.read_bytes, code))).hexdigest()[:16]


def _code() -> bytes:
    """All that decides what tracking finds; `geometry` says how large a face is, and so its crop."""
    sources = [*sorted(Path(tracking.__file__).parent.glob("*.py")), Path(geometry.__file__)]
    return b"".join(source.read_bytes() for source in sources)


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
