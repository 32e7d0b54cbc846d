"""Speakers: which clips a folder holds, whose faces are in them, and which half may be used to choose.

A folder of clips carries a ``manifest.csv``. Its ``ref_offset_ms`` is positive for *audio late*; ours is
positive for *voice ahead*, and the sign is turned here, once. Speakers are split into two halves by a hash of
their name: the development half may be looked at to choose anything, the reported half only to report. No
speaker is in both.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from avsync.errors import InputError

MANIFEST: Final = "manifest.csv"
LARGEST_MANIFEST_BYTES: Final = 16 << 20
MOST_CLIPS: Final = 100_000
FURTHEST_REFERENCE_MS: Final = 5_000.0
"""A clip further out of sync than this is a mistake in the manifest."""

Half = Literal["development", "reported"]
HALVES: Final[tuple[Half, ...]] = ("development", "reported")


class ClipEntry(NamedTuple):
    """A line of the manifest."""

    path: Path
    speaker: str
    half: Half
    truth_ms: float | None
    """The offset that the clip has as it lies there (ms, positive: voice ahead); None where no reference is known."""

    @property
    def name(self) -> str:
        """The file's name: how tables call the clip."""
        return self.path.name


def speaker_of(file: str, source: str = "", speaker: str = "") -> str:
    """Whose face a clip shows: the manifest's own word, else one speaker a file, but for two known ones.

    All of GRID's speaker s1 is one, and the high-resolution GRID files come from the speaker of one small file.
    """
    if speaker.strip():
        return speaker.strip()
    if source.startswith("GRID corpus s1"):
        return "s1"
    if "vid2speech_" in file or "LipNet_lwbsza" in file:
        return "vid2speech"
    return file


def half_of(speaker: str) -> Half:
    """The half that a speaker belongs to, for ever: by a hash of the name."""
    return HALVES[int(hashlib.sha256(speaker.encode()).hexdigest(), 16) % 2]


def read_manifest(folder: Path, *, references: bool = True) -> list[ClipEntry]:
    """The clips of a folder, in the manifest's order. `references`: each line must say `ref_offset_ms`.

    InputError where the folder, the manifest or a line of it is not as it should be; no clip is opened.
    """
    file = folder / MANIFEST
    if not folder.is_dir():
        raise InputError("not a folder", file=str(folder), remedy=f"a folder of clips with a {MANIFEST} is wanted")
    rows = _rows(file)
    names = rows[0]
    for wanted in ("file", "ref_offset_ms") if references else ("file",):
        if wanted not in names:
            raise InputError(
                f"has no column {wanted!r}", file=str(file), place="1", remedy=f"the columns are {', '.join(names)}"
            )
    entries = [
        _entry(folder, file, line, dict(zip(names, row, strict=False)), references) for line, row in _numbered(rows)
    ]
    if not entries:
        raise InputError("lists no clips", file=str(file))
    seen: set[str] = set()
    for line, entry in zip((line for line, _ in _numbered(rows)), entries, strict=True):
        if entry.name in seen:
            raise InputError(f"{entry.name} stands there twice", file=str(file), place=str(line))
        seen.add(entry.name)
    return entries


def _rows(file: Path) -> list[list[str]]:
    try:
        if file.stat().st_size > LARGEST_MANIFEST_BYTES:
            raise InputError(f"a manifest is at most {LARGEST_MANIFEST_BYTES >> 20} MB", file=str(file))
        text = file.read_text("utf-8-sig")
    except OSError as error:
        remedy = "a CSV with the columns file and ref_offset_ms (positive: audio late) is wanted"
        raise InputError(error.strerror or str(error), file=str(file), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(file)) from error
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise InputError(f"not a CSV file: {error}", file=str(file)) from error
    if not rows or not rows[0]:
        raise InputError("is empty", file=str(file), remedy="the first line names the columns")
    if len(rows) > MOST_CLIPS:
        raise InputError(f"lists more than {MOST_CLIPS} clips", file=str(file))
    return rows


def _numbered(rows: Sequence[list[str]]) -> list[tuple[int, list[str]]]:
    return [(line, row) for line, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row)]


def _entry(folder: Path, file: Path, line: int, row: dict[str, str], references: bool) -> ClipEntry:
    name, place = row.get("file", "").strip(), str(line)
    if not name:
        raise InputError("names no file", file=str(file), place=place)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{name!r} lies outside the folder", file=str(file), place=place)
    if not path.is_file():
        raise InputError(f"{name!r} is not in the folder", file=str(file), place=place)
    text = row.get("ref_offset_ms", "").strip()
    truth_ms = None
    if text or references:
        try:
            truth_ms = 0.0 - float(text)  # theirs: positive for audio late
        except ValueError:
            raise InputError(f"ref_offset_ms is a number of ms, got {text!r}", file=str(file), place=place) from None
        if not abs(truth_ms) <= FURTHEST_REFERENCE_MS:
            rule = f"ref_offset_ms is between -{FURTHEST_REFERENCE_MS:.0f} and {FURTHEST_REFERENCE_MS:.0f}, got {text}"
            raise InputError(rule, file=str(file), place=place)
    speaker = speaker_of(name, row.get("source", ""), row.get("speaker", ""))
    return ClipEntry(path, speaker, half_of(speaker), truth_ms)
