"""The manifest: its sign is turned, its mistakes are named, and no speaker is on both sides of the split."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsync.errors import InputError
from avsync.scorer.evaluation.speakers import half_of, read_manifest, speaker_of


def folder_with(tmp_path: Path, text: str, *files: str) -> Path:
    (tmp_path / "manifest.csv").write_text(text)
    for name in files:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_audio_late_in_the_manifest_is_a_voice_behind_here(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "file,ref_offset_ms\na.mp4,80\nb.mp4,-40\nc.mp4,0\n", "a.mp4", "b.mp4", "c.mp4")
    entries = read_manifest(folder)
    assert [entry.truth_ms for entry in entries] == [-80.0, 40.0, 0.0]
    assert str(entries[2].truth_ms) == "0.0"  # no minus zero in tables


def test_one_speaker_in_many_files_is_one_speaker() -> None:
    assert speaker_of("1_lipnet_a.mpg", "GRID corpus s1 (CC-BY-4.0)") == speaker_of(
        "2_lipnet_b.mpg", "GRID corpus s1 (x)"
    )
    assert speaker_of("1_lipnet_a.mpg", "GRID corpus (CC-BY-4.0)") != speaker_of("2_lipnet_b.mpg", "GRID corpus (x)")
    assert speaker_of("46a136_vid2speech_bbaf2a.mpg") == speaker_of("794fa3_LipNet_lwbsza.mpg")
    assert speaker_of("a.mp4", "GRID corpus s1", "Ann") == "Ann"


def test_the_split_never_moves() -> None:
    """What was chosen on one half must not be reported on it by a later version."""
    assert [half_of(name) for name in ("s1", "vid2speech", "Eve")] == ["development"] * 3
    assert [half_of(name) for name in ("Bob", "Cid")] == ["reported"] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("name,ref_offset_ms\na.mp4,0\n", "no column 'file'"),
        ("file\na.mp4\n", "no column 'ref_offset_ms'"),
        ("file,ref_offset_ms\n", "lists no clips"),
        ("file,ref_offset_ms\na.mp4,late\n", "got 'late'"),
        ("file,ref_offset_ms\na.mp4,nan\n", "got nan"),
        ("file,ref_offset_ms\na.mp4\n", "got ''"),
        ("file,ref_offset_ms\na.mp4,90000\n", "between -5000 and 5000"),
        ("file,ref_offset_ms\n,0\n", "names no file"),
        ("file,ref_offset_ms\nb.mp4,0\n", "not in the folder"),
        ("file,ref_offset_ms\n../a.mp4,0\n", "outside the folder"),
        ("file,ref_offset_ms\na.mp4,0\na.mp4,40\n", "twice"),
    ],
)
def test_a_wrong_manifest_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=r"manifest\.csv.*") as error:
        read_manifest(folder_with(tmp_path, text, "a.mp4"))
    assert says in str(error.value)


def test_a_folder_without_manifest_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ref_offset_ms"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        read_manifest(tmp_path / "nowhere")


def test_users_own_footage_needs_no_references(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "file,speaker\na.mp4,Ann\nb.mp4,Ann\n", "a.mp4", "b.mp4")
    assert [(entry.speaker, entry.truth_ms) for entry in read_manifest(folder, references=False)] == [("Ann", None)] * 2
