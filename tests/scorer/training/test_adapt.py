"""Adapting to one's own footage: too little is refused, speakers are left out, an unknown offset is estimated first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from avsync.errors import InputError
from avsync.scorer.backends.learned import read_ensemble
from avsync.scorer.evaluation.clips import Tracked
from avsync.scorer.evaluation.protocol import Footage
from avsync.scorer.nets.weight_files import load_weights, shipped
from avsync.scorer.training import adapt as module
from avsync.scorer.training.adapt import adapt, backend_of, estimated_offset_ms, example_of, own_clips
from tests.scorer.talking_story import Talk

SECONDS = 8.0


def footage(seed: int, late_ms: float = 0.0) -> Footage:
    """A talker of 8 s; `late_ms`: the pictures come so much later, the voice is ahead."""
    talker = Talk(seconds=SECONDS, seed=seed)
    start_ns = np.array(talker.pts_ns, np.int64) + round(late_ms * 1e6)
    end_ns = int(start_ns[-1]) + 40_000_000
    return Footage(start_ns, end_ns, talker.rois, talker.landmarks, talker.pcm, talker.pcm_pts_ns)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four clips of four speakers that need no decoding."""
    lines = ["file,ref_offset_ms,speaker"]
    for number in range(4):
        (tmp_path / f"{number}.mp4").write_bytes(b"x")
        lines.append(f"{number}.mp4,{'' if number == 3 else -80},{'abcd'[number]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")

    def tracked(path: Path, _cache: Path | None) -> Tracked:
        return Tracked(footage(int(path.stem), 80.0), ())

    monkeypatch.setattr(module, "tracked", tracked)
    monkeypatch.setattr(module, "LEAST_S", 3.5 * SECONDS)
    return tmp_path


def progress(_what: str, _done: int, _of: int) -> None:
    pass


def test_a_folder_with_too_few_speakers_is_refused(folder: Path) -> None:
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",d", ",c"))
    with pytest.raises(InputError, match="of 3 speakers"):
        list(adapt(folder, folder, ["geometry"], seed=0, device="cpu", steps=1, cache=None, progress=progress))


def test_a_folder_with_too_little_footage_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_S", 5 * SECONDS)
    with pytest.raises(InputError, match="32 s of 4 speakers"):
        list(adapt(folder, folder, ["geometry"], seed=0, device="cpu", steps=1, cache=None, progress=progress))


def test_an_unknown_offset_is_estimated_and_a_known_one_believed(folder: Path) -> None:
    from avsync.scorer.evaluation.speakers import read_manifest

    clips = own_clips(read_manifest(folder, references=False), None, progress)
    assert [clip.truth_ms for clip in clips[:3]] == [80.0, 80.0, 80.0]
    geometry = backend_of("geometry", read_ensemble(shipped("geometry")))
    assert clips[3].truth_ms == estimated_offset_ms(geometry, clips[3].footage)


def test_an_example_is_in_sync_once_its_offset_is_taken_out(folder: Path) -> None:
    base = read_ensemble(shipped("geometry"))
    late, prompt = footage(0, 80.0), footage(0, 0.0)
    from avsync.scorer.evaluation.speakers import read_manifest

    entry = read_manifest(folder, references=False)[0]
    one = example_of(base, "geometry", module.Own(entry, late, 80.0))
    other = example_of(base, "geometry", module.Own(entry, prompt, 0.0))
    # The same cells against the same sound, but that the media time of both began 80 ms later.
    assert np.allclose(one.cells[:300], other.cells[:300], atol=1e-4)
    assert np.allclose(one.mel[10:600], other.mel[10:600], atol=1e-2)


@pytest.mark.slow
def test_adapted_weights_are_other_weights_of_the_same_shape_and_the_gain_is_said(folder: Path) -> None:
    out = folder / "mine"
    lines = list(adapt(folder, out, ["geometry"], seed=0, device="cpu", steps=2, cache=None, progress=progress))
    assert "speakers left out" in lines[0] and "adapted" in lines[0]
    before, _ = load_weights(shipped("geometry"))
    after, header = load_weights(out / "geometry.npz")
    assert header["adapted"] == 4
    assert {name: value.shape for name, value in after.items()} == {name: value.shape for name, value in before.items()}
    assert any(not np.array_equal(after[name], before[name]) for name in after)
    read_ensemble(out / "geometry.npz")
