"""A whole evaluation: the command, its halves, seeds and conditions, tracked clips, and the model card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

pytest.importorskip("numpy")
pytest.importorskip("rich")

from avsync.errors import InputError
from avsync.scorer.evaluation import clips as evaluate_clips
from avsync.scorer.evaluation import evaluate as evaluation
from avsync.scorer.evaluation.card import BEGIN, END, card
from avsync.scorer.evaluation.clips import Tracked, spoiled, tracked
from avsync.scorer.evaluation.command import add_evaluate_arguments, run_evaluate
from avsync.scorer.evaluation.evaluate import (
    Contender,
    EvaluatedClip,
    EvaluationPlan,
    evaluate,
    evaluate_clip,
    partners,
)
from avsync.scorer.evaluation.numbers import chosen, right
from avsync.scorer.evaluation.protocol import (
    MODES,
    WINDOWS_MS,
    sound_of,
)
from avsync.scorer.evaluation.speakers import ClipEntry
from avsync.scorer.evaluation.summary import floor_numbers, summary
from avsync.scorer.tracking import tracked_faces
from tests.scorer.evaluation.evaluate_story import RATE, Opening, footage

# ---- a whole evaluation


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clips of three speakers, and one that cannot be read. Tracking is a lookup, the backend reads such clips."""
    (tmp_path / "manifest.csv").write_text(
        "file,ref_offset_ms,speaker\na.mp4,80,Eve\nb.mp4,0,Ann\nc.mp4,-40,Bob\nbroken.mp4,0,Cid\n"
    )
    made = {
        "a": footage(3.2, voice_ahead_ms=-80),
        "b": footage(3.2, seed=1),
        "c": footage(3.2, voice_ahead_ms=40, seed=2),
    }

    def look_up(path: Path, cache: Path | None = None) -> Tracked:
        if path.stem not in made:
            raise InputError("cannot be opened", file=str(path))
        return Tracked(made[path.stem], ("2 packets skipped",) if path.stem == "b" else ())

    for name in ("a", "b", "c", "broken"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    monkeypatch.setattr(evaluation, "tracked", look_up)
    monkeypatch.setattr(evaluation, "spoiled", lambda path, clean, name, cache: clean)
    monkeypatch.setattr(evaluation, "_borrowed", lambda path: sound_of(made.get(path.stem, made["a"]).pcm, 0))
    monkeypatch.setattr(evaluation, "backend_of", lambda contender: Opening())
    monkeypatch.setattr("avsync.scorer.evaluation.command.backend_of", lambda contender: Opening())
    return tmp_path


def run(folder: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    return run_evaluate(
        parser.parse_args(
            [
                "--clips",
                str(folder),
                "--jobs",
                "1",
                *(() if "--backend" in words else ("--backend", "geometry")),
                *words,
            ]
        )
    )


def test_the_last_line_is_the_pooled_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--floor", "50,90,90") == 0
    out = capsys.readouterr().out
    assert [float(number) for number in out.splitlines()[-1].split(",")] == [100.0, 100.0, 100.0]
    assert "development" in out and "reported" in out and "isolated" in out
    assert "b.mp4: 2 packets skipped" in out
    assert "left out" in out and "broken.mp4" in out


def test_below_the_floor_exits_1_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avsync.scorer.evaluation.command.floor_numbers", lambda done, label: [75.96, 90.0, None])
    assert run(folder, "--floor", "70,80,90") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "75.9,90.0,UNKNOWN"  # never rounded up over a floor
    assert "below the floor" in out


def test_json_is_json_alone_and_says_all_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avsync.scorer.evaluation.command.CONDITIONS", ("low_light", "noise_10_db", "60", "variable"))
    assert run(folder, "--json", "--conditions") == 0
    found = json.loads(capsys.readouterr().out)
    assert {clip["file"]: bool(clip["left_out"]) for clip in found["clips"]}["broken.mp4"] is True
    assert {row["half"] for row in found["accuracy"]} == {"all", "development", "reported"}
    assert {(row["mode"], row["step_ms"]) for row in found["accuracy"]} == {
        (mode, step_ms) for mode in MODES for step_ms in (20, 40)
    }
    assert {row["condition"] for row in found["conditions"]} == {"low_light", "noise_10_db"}
    assert {row["condition"] for row in found["rates"]} == {"60", "variable"}
    assert found["protocol"]["severities"]["jpeg_quality"] == 10
    assert all(row["moved_most_ms"] <= 20 for row in found["rates"])
    unrelated = [row for row in found["unrelated"] if row["kind"] == "other" and row["half"] == "development"]
    assert all(row["trials"] > 0 for row in unrelated)


def test_the_quick_way_gives_the_same_accuracy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert run(folder, "--json", "--quick") == 0
    quick = json.loads(capsys.readouterr().out)
    assert quick["accuracy"] == [row for row in whole["accuracy"] if row["mode"] == "stream"]
    assert quick["confidence"] == whole["confidence"] and quick["bias"] == whole["bias"]
    assert not any(row["trials"] for row in quick["unrelated"])


def test_a_process_of_the_evaluation_keeps_to_one_thread() -> None:
    with threadpool_limits(2, user_api="blas"):
        evaluation.one_thread()
        assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {1}


def test_a_long_clip_is_answered_in_portions(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from avsync.scorer.evaluation.speakers import read_manifest

    plan = EvaluationPlan((Contender("geometry", "geometry"),), ("noise_10_db", "60"))
    whole = evaluate_clip(0, read_manifest(folder), plan)
    monkeypatch.setattr(evaluation, "PORTION", 3)  # 12, 10 and 6 windows: one is left over
    parts = evaluate_clip(0, read_manifest(folder), plan)
    for one, other in zip(whole.answers, parts.answers, strict=True):
        assert (one.mode, one.condition, len(one.trials)) == (other.mode, other.condition, len(other.trials))
        assert np.sort(one.trials).tobytes() == np.sort(other.trials).tobytes()


def test_a_spoiled_clip_meets_its_own_sound_and_pictures(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What is remembered of the clean clip is not taken for the spoiled one's."""
    from avsync.scorer.evaluation.speakers import read_manifest

    blind = footage(3.2, voice_ahead_ms=-80)
    blind = blind._replace(landmarks=np.full_like(blind.landmarks, np.nan))
    monkeypatch.setattr(evaluation, "spoiled", lambda path, clean, name, cache: blind)
    monkeypatch.setitem(evaluation.SOUND_CONDITIONS, "noise_10_db", lambda pcm: np.zeros_like(pcm))
    plan = EvaluationPlan((Contender("geometry", "geometry"),), ("jpeg_10", "noise_10_db", "30"))
    done = evaluate_clip(0, read_manifest(folder), plan)
    rights = {
        answers.condition: right(chosen(answers.trials, window_ms=1000)).mean()
        for answers in done.answers
        if answers.mode == "stream"
    }
    assert rights == {"clean": 1.0, "jpeg_10": 0.0, "noise_10_db": 0.0, "30": 1.0}


def test_one_half_alone_never_opens_the_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--half", "development", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {clip["half"] for clip in found["clips"]} == {"development"}
    assert {row["half"] for row in found["accuracy"]} == {"development"}


def test_a_voice_is_borrowed_from_another_speaker_of_the_same_half() -> None:
    def entry(name: str, speaker: str, half: str) -> ClipEntry:
        return ClipEntry(Path(name), speaker, half, 0.0)  # type: ignore[arg-type]

    halves = ("development", "reported")
    entries = [entry(f"{i}.mp4", f"s{i % 5}", halves[i % 5 % 2]) for i in range(20)]
    for index in range(len(entries)):
        found = partners(entries, index)
        assert len(set(found)) == len(found) >= 4
        assert all(entries[at].speaker != entries[index].speaker for at in found)
        assert all(entries[at].half == entries[index].half for at in found)


def test_seeds_stand_beside_the_shipped_weights_and_do_not_count_for_the_floor(folder: Path) -> None:
    from avsync.scorer.evaluation.speakers import read_manifest

    entries = read_manifest(folder)
    plan = EvaluationPlan(
        (Contender("geometry", "geometry"), Contender("geometry", "geometry seed 1", (("geometry", Path("x")),)))
    )
    done = list(evaluate(entries, plan, jobs=1))
    found = summary(done, plan)
    seeds = [answers for clip in done for answers in clip.answers if answers.label == "geometry seed 1"]
    assert {(answers.mode, *set(answers.trials["kind"])) for answers in seeds} == {("stream", 0)}
    assert {row["backend"] for row in found["accuracy"]} == {"geometry"}
    assert {row["backend"] for row in found["seeds"]} == {"geometry seed 1"}
    assert all(row["mode"] == "stream" for row in found["seeds"])
    assert floor_numbers(done, "geometry") == [100.0, 100.0, 100.0]


@pytest.mark.parametrize(("words", "says"), [(("--jobs", "0"), "--jobs is 1"), (("--weights", "/nowhere"), "neither")])
def test_bad_arguments_are_found_before_anything_runs(folder: Path, words: tuple[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(folder, *words)


@pytest.mark.parametrize("floor", ["76", "a,b,c", "76,88,101", "76,88,nan"])
def test_a_floor_is_three_percentages(folder: Path, floor: str) -> None:
    with pytest.raises(SystemExit):
        run(folder, "--floor", floor)


def test_a_folder_where_nothing_can_be_used_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,ref_offset_ms\nempty.mp4,0\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"not one clip can be used.*(\n|.)*empty"):
        run(tmp_path, "--backend", "heuristic")


# ---- tracked clips


class CalledFace:
    """In place of the tracker: one face where the picture is bright, at a place that says how bright."""

    def track(self, picture: np.ndarray) -> tuple[object, ...]:  # type: ignore[type-arg]
        from avsync.scorer.tracking.face_tracker import FaceLandmarks

        level = float(picture.mean())
        points = np.random.default_rng(9).uniform(20, 60, (468, 2)).astype(np.float32) + level / 100
        small = FaceLandmarks(2, points * 0.2, 1.0)
        return (FaceLandmarks(1, points, 1.0), small) if level > 60 else (small,) if level > 40 else ()


@pytest.fixture
def clip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    av = pytest.importorskip("av")
    monkeypatch.setattr(tracked_faces, "FaceTracker", CalledFace)
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream("mpeg4", rate=25), out.add_stream("pcm_s16le", rate=RATE)
        video.width = video.height = 96
        for index in range(25):
            level = 44 if index == 10 else 100 + index
            frame = av.VideoFrame.from_ndarray(np.full((96, 96, 3), level, np.uint8), format="rgb24")
            frame.pts = index
            out.mux(video.encode(frame))
        samples = (np.sin(np.arange(RATE) / 20) * 8000).astype(np.int16)[None]
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.rate, sound.pts = RATE, 0
        out.mux(audio.encode(sound))
        for stream in (video, audio):
            out.mux(stream.encode(None))
    return path


def test_a_clip_is_tracked_once_and_kept_while_file_and_code_stay(
    clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "kept"
    first = tracked(clip_file, cache)
    clip = first.footage
    assert len(clip.start_ns) == 25 and clip.end_ns == 1_000_000_000 and len(clip.pcm) == RATE
    assert np.flatnonzero(np.isnan(clip.landmarks[:, 0, 0])).tolist() == [10]  # the small face there is somebody else's
    assert not clip.rois[10].any() and clip.rois[11].any()
    monkeypatch.setattr(tracked_faces, "FaceTracker", None)  # tracking again would fail
    again = tracked(clip_file, cache)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(clip, again.footage, strict=True))  # type: ignore[arg-type]
    monkeypatch.setattr(tracked_faces, "FaceTracker", CalledFace)
    monkeypatch.setattr(evaluate_clips, "_code", lambda: b"other code")
    tracked(clip_file, cache)
    assert len(list(cache.glob("*.npz"))) == 2


def test_a_broken_cache_is_named(clip_file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    tracked(clip_file, cache)
    kept = next(cache.glob("*.npz"))
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(InputError, match="delete it"):
        tracked(clip_file, cache)


def test_spoiled_pictures_are_tracked_again(clip_file: Path) -> None:
    clean = tracked(clip_file).footage
    dark = spoiled(clip_file, clean, "low_light")
    assert np.isnan(dark.landmarks).all()  # at a quarter of its light nobody finds this face
    assert np.array_equal(dark.start_ns, clean.start_ns) and np.array_equal(dark.pcm, clean.pcm)
    assert not np.isnan(spoiled(clip_file, clean, "jpeg_10").landmarks[0]).any()


def test_a_spoiled_clip_is_kept_too_each_condition_by_itself(
    clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, cache = tracked(clip_file).footage, tmp_path / "kept"
    first = [spoiled(clip_file, clean, condition, cache) for condition in ("low_light", "jpeg_10")]
    monkeypatch.setattr(tracked_faces, "FaceTracker", None)  # tracking again would fail
    again = [spoiled(clip_file, clean, condition, cache) for condition in ("low_light", "jpeg_10")]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.landmarks, other.landmarks, equal_nan=True)
    assert np.isnan(again[0].landmarks).all() and not np.isnan(again[1].landmarks).all()


def test_evaluating_a_clip_without_a_face_says_so(clip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody(CalledFace):
        def track(self, picture: np.ndarray) -> tuple[object, ...]:  # type: ignore[type-arg]
            return ()

    monkeypatch.setattr(tracked_faces, "FaceTracker", Nobody)
    entry = ClipEntry(clip_file, "Eve", "development", 0.0)
    done: EvaluatedClip = evaluate_clip(0, [entry], EvaluationPlan((Contender("geometry", "geometry"),)))
    assert "no face" in done.left_out and not done.answers


# ---- the model card


def test_the_card_holds_the_tables_between_its_marks_and_leaves_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avsync.scorer.evaluation.command.CONDITIONS", ("noise_10_db", "60"))
    file = folder / "card.md"
    file.write_text(f"# Ours\n\n{BEGIN}\nold numbers\n{END}\n\nStays.\n")
    assert run(folder, "--json", "--conditions", "--card", str(file)) == 0
    found = json.loads(capsys.readouterr().out)
    text = file.read_text()
    assert text.startswith(f"# Ours\n\n{BEGIN}\n") and text.endswith(f"{END}\n\nStays.\n") and "old numbers" not in text
    assert card(found) in text
    assert "| geometry | reported (1) | 100.0 | 100.0 | 100.0 |" in text or "| geometry | all (3) | 100.0 " in text
    for title in (
        "Right within 40 ms",
        "each mode",
        "surer than 0.8",
        "Signed error",
        "Spoiled clips",
        "picture rates",
    ):
        assert title in text
    run(folder, "--json", "--conditions", "--card", str(file))
    assert file.read_text() == text  # again is the same again


def test_what_misses_a_limit_is_bold() -> None:
    row = {"backend": "fused", "half": "all", "condition": "music", "pooled_pct": 80.0, "untracked_pct": 0.0}
    found = dict.fromkeys(("clips", "accuracy", "seeds", "spread", "confidence", "unrelated", "bias", "rates"), ())
    missed, met = ({**found, "conditions": [{**row, "loss_points": lost}]} for lost in (6.1, 6.0))
    assert "80.0 (**+6.1**)" in card(missed) and "80.0 (+6.0)" in card(met)
    head = {"backend": "fused", "half": "all", "clips": 9, "step_ms": 40, "mode": "stream", "low_pct": None}
    rows = [
        {**head, "window_ms": ms, "pooled_pct": pct, "averaged_pct": pct}
        for ms, pct in zip(WINDOWS_MS, (76, 87.9, 97), strict=True)
    ]
    told = [
        {**head, "window_ms": ms, "sure": {"covered_pct": 50.0, "wrong_pct": wrong}}
        for ms, wrong in ((1000, 1.2), (2000, 0.9))
    ]
    shown = card({**found, "conditions": (), "accuracy": rows, "confidence": told})
    assert "| 76.0 | **87.9** | 97.0 |" in shown
    assert "| 1 s | 50.0 | **1.2** |" in shown and "| 2 s | **50.0** | 0.9 |" in shown


def test_a_file_without_marks_is_refused_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avsync.scorer.evaluation.command.run_all", None)
    (folder / "card.md").write_text("# Ours\n")
    with pytest.raises(InputError, match="no place for the tables"):
        run(folder, "--card", str(folder / "card.md"))
    with pytest.raises(InputError, match="not readable"):
        run(folder, "--card", str(folder / "nowhere.md"))


def test_three_trainings_are_averaged_each_method_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avsync.scorer.evaluation.speakers import read_manifest

    class Late(Opening):
        bias_ms = 80.0

    seeds = [Contender(m, f"{m} {n}", ((m, Path(n)),)) for m in ("geometry", "pixels") for n in ("a", "b", "c")]
    blind = {"geometry b", "pixels a", "pixels b", "pixels c"}
    monkeypatch.setattr(evaluation, "backend_of", lambda one: Late() if one.label in blind else Opening())
    plan = EvaluationPlan((Contender("geometry", "geometry"), *seeds), modes=("stream",), strangers=False)
    found = summary(list(evaluate(read_manifest(folder), plan)), plan)
    mixed, alike = (
        row
        for row in found["spread"]
        if (row["half"], row["window_ms"], row["step_ms"]) == ("all", 2000, 40) and row["weights"] == 3
    )
    low = mixed["low_pct"]
    assert low < 20 and (mixed["method"], mixed["high_pct"]) == ("geometry", 100.0)
    assert mixed["mean_pct"] == pytest.approx((200 + low) / 3, abs=0.01)
    assert (alike["mean_pct"], alike["low_pct"], alike["high_pct"]) == (low, low, low)
    assert "geometry, mean of 3" in card(found)
