"""`avsync score` from the file to the exit code, on clips drawn here and followed by a tracker that reads the drawing.

A drawn face is a grey patch that is brighter the wider its mouth is open; the sound is noise as loud as the mouth is
wide. So the heuristic, which needs no network, can hear and see the offset; its usual modesty (never surer than 0.5) is
taken off.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from avsync.cli import main
from avsync.errors import InputError
from avsync.scorer.backends.heuristic import HeuristicBackend
from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.matching.lag_search import search_offsets
from avsync.scorer.score import score_clip
from avsync.scorer.score.face_run import FaceRun
from avsync.scorer.tracking.face_tracker import FaceLandmarks
from avsync.scorer.tracking.sound_placing import SoundPiece
from avsync.scorer.tracking.warp import Rgb
from avsync.units import ms

RATE_HZ = 44_100
PATCH = 60
MODEST = ConfidenceCurve("heuristic")


def openness(at_s: np.ndarray, speaker: int = 0) -> np.ndarray:
    """A mouth's width in [0, 1] at any time: sums of slow waves without a common period."""
    rng = np.random.default_rng(speaker)
    waves = sum(
        np.sin(2 * np.pi * (rate * at_s + rng.random())) for rate in (1.3, 2.1, 3.7, 4.4, 5.3) + rng.random(5) * 0.7
    )
    return np.asarray(np.clip(0.5 + 0.22 * waves, 0, 1))


def sound_of(
    seconds: float, rate_hz: int = RATE_HZ, heard: Callable[[np.ndarray], np.ndarray] = openness
) -> np.ndarray:
    """float32 (1, n): a hum of speech's middle frequencies, as loud as the mouth is wide."""
    at_s = np.arange(int(seconds * rate_hz)) / rate_hz
    rng = np.random.default_rng(7)
    tones = sum(np.sin(2 * np.pi * (hertz * at_s + rng.random())) for hertz in (620, 1130, 1710, 2480))
    return (0.1 * tones * (0.03 + heard(at_s)) ** 2).astype(np.float32)[None]


def draw(
    path: Path,
    *,
    ahead_ms: float | Callable[[np.ndarray], np.ndarray] = 0.0,
    seconds: float = 8.0,
    fps: Fraction = Fraction(25),
    times_s: Sequence[float] | None = None,
    speakers: Sequence[int | None] = (0,),
    gone: Callable[[float], bool] = lambda at_s: False,
    sound: np.ndarray | None = None,
    with_sound: bool = True,
) -> Path:
    """A clip whose voice is ahead by `ahead_ms`. `speakers`: whose lips each patch moves; None: no patch."""
    times = np.array(times_s if times_s is not None else [float(n / fps) for n in range(int(seconds * fps))])
    # What a picture shows is the middle of the time that it stands for, as a camera's does.
    middles = times + np.diff(times, append=2 * times[-1] - times[-2]) / 2
    late_s = np.asarray(ahead_ms(times) if callable(ahead_ms) else np.full(len(times), ahead_ms)) / 1000
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=fps, width=320, height=160, pix_fmt="yuv420p", bit_rate=4_000_000)
        video.codec_context.time_base = video.time_base = Fraction(1, 60_000)
        audio = out.add_stream("aac", rate=RATE_HZ, layout="mono") if with_sound else None
        for at_s, middle, late in zip(times, middles, late_s, strict=True):
            picture = np.full((160, 320, 3), 10, np.uint8)
            for place, speaker in enumerate(speakers):
                if speaker is not None and not gone(at_s):
                    grey = 80 + 150 * float(openness(np.array([middle - late]), speaker)[0])
                    picture[40 : 40 + PATCH, 30 + 150 * place : 30 + 150 * place + PATCH] = round(grey)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(at_s * 60_000), Fraction(1, 60_000)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            pcm = sound_of(seconds) if sound is None else sound
            sounding = av.AudioFrame.from_ndarray(pcm, format="fltp", layout="mono")
            sounding.sample_rate, sounding.pts, sounding.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            fifo = av.AudioFifo()
            fifo.write(sounding)
            while (piece := fifo.read(1024, partial=True)) is not None:
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return path


class DrawnFaces:
    """A tracker that finds grey patches and gives each a face whose outer lips are as far apart as it is bright."""

    def track(self, picture: Rgb) -> tuple[FaceLandmarks, ...]:
        faces = []
        for place in range(2):
            left = 30 + 150 * place
            grey = float(picture[50:90, left + 10 : left + 50].mean())
            if grey > 50:
                faces.append(FaceLandmarks(place + 1, face_of(left + PATCH / 2, 70.0, (grey - 80) / 150), 0.9))
        return tuple(faces)


def face_of(x: float, y: float, wide: float) -> np.ndarray:
    points = np.tile(np.array([x, y], np.float32), (468, 1))
    for place, (across, down) in {
        33: (-22, -15), 133: (-8, -15), 362: (8, -15), 263: (22, -15), 2: (0, 8), 98: (-3, 8), 327: (3, 8),
        1: (0, 5), 152: (0, 35), 61: (-10, 18), 291: (10, 18), 78: (-8, 18), 308: (8, 18),
    }.items():  # fmt: skip
        points[place] = (x + across, y + down)
    for above, below in ((0, 17), (37, 84), (267, 314), (13, 14), (81, 178), (311, 402), (82, 87), (312, 317)):
        points[above], points[below] = (x, y + 18 - 2 - 3 * wide), (x, y + 18 + 2 + 6 * wide)
    return points


@pytest.fixture(autouse=True)
def drawn_faces(monkeypatch):
    monkeypatch.setattr(score_clip, "FaceTracker", DrawnFaces)
    monkeypatch.setattr(score_clip, "curve_of", lambda method: replace(MODEST, most=1.0))


def scored(capsys, *words: str | Path) -> tuple[int, dict]:
    code = main(["score", "--backend", "heuristic", "--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


# ---- offsets


@pytest.mark.parametrize(("ahead_ms", "code", "words"), [
    (0, 0, "in sync"), (80, 1, "voice ahead of the lips by "), (-120, 1, "voice behind the lips by "),
])  # fmt: skip
def test_the_sign_from_the_file_to_the_words_and_the_exit_code(tmp_path, capsys, ahead_ms, code, words):
    got, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=ahead_ms))
    assert got == code == data["exit_code"]
    assert data["offset_ms"] == pytest.approx(ahead_ms, abs=10)
    assert data["verdict"].startswith(words)
    assert data["settings"]["method"] == "heuristic" and data["windows"]["agreeing"] >= 6


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(50), Fraction(60)])
def test_any_rate_of_pictures_gives_the_same_offset(tmp_path, capsys, fps):
    _, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=60, fps=fps))
    assert data["offset_ms"] == pytest.approx(60, abs=10)
    assert data["media"]["fps"] == pytest.approx(float(fps), abs=0.1) and not data["media"]["variable"]


def test_a_variable_rate_gives_the_same_offset_and_is_said(tmp_path, capsys):
    rng = np.random.default_rng(3)
    times_s = np.cumsum(rng.choice([0.02, 0.033, 0.05, 0.07], 190))
    _, data = scored(capsys, draw(tmp_path / "talk.mkv", ahead_ms=60, times_s=times_s.tolist(), seconds=8.5))
    assert data["offset_ms"] == pytest.approx(60, abs=12)
    assert data["media"]["variable"]


def test_the_limit_is_the_callers(tmp_path, capsys):
    clip = draw(tmp_path / "talk.mp4", ahead_ms=80)
    assert scored(capsys, clip, "--limit-ms", "100")[0] == 0
    assert scored(capsys, clip, "--limit-ms", "20")[0] == 1


def test_beyond_the_search_is_unsure_and_a_wider_one_finds_it(tmp_path, capsys):
    clip = draw(tmp_path / "talk.mp4", ahead_ms=300)
    assert scored(capsys, clip)[0] == 3
    code, data = scored(capsys, clip, "--search-ms", "400")
    assert code == 1 and data["offset_ms"] == pytest.approx(300, abs=12)


def test_a_step_in_the_middle_is_out_of_sync(tmp_path, capsys):
    clip = draw(tmp_path / "talk.mp4", ahead_ms=lambda at_s: np.where(at_s < 8, 0.0, 120.0), seconds=16)
    code, data = scored(capsys, clip)
    assert code == 1 and len(data["parts"]) == 2
    assert data["parts"][1]["start_ms"] == pytest.approx(8000, abs=1000)
    assert "steps from" in data["verdict"]


def test_steps_of_a_picture_are_understood(tmp_path, capsys):
    _, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=80), "--step", "frame")
    assert data["settings"]["step_ms"] == 40 and len(data["curve"]) == 11


def test_silence_in_the_middle_is_marked_and_left_out(tmp_path, capsys):
    pcm = sound_of(10)
    pcm[:, 4 * RATE_HZ : 6 * RATE_HZ] = 0
    code, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=80, seconds=10, sound=pcm))
    labels = [row["label"] for row in data["faces"][0]["windows"]]
    assert code == 1 and labels[4] == labels[5] == "silence" and data["windows"]["left_out"] == {"silence": 2}


def test_sound_that_is_silent_all_along_is_unsure(tmp_path, capsys):
    code, data = scored(capsys, draw(tmp_path / "talk.mp4", sound=np.zeros((1, 8 * RATE_HZ), np.float32)))
    assert code == 3 and data["offset_ms"] is None and "hardly anything is heard" in data["verdict"]


# ---- faces


def test_of_two_faces_the_one_that_speaks_is_chosen(tmp_path, capsys):
    clip = draw(tmp_path / "two.mp4", ahead_ms=80, speakers=(5, 0))
    _, data = scored(capsys, clip)
    assert (data["face"], len(data["faces"])) == (2, 2) and "face 2 speaks" in data["why_this_face"]
    _, data = scored(capsys, clip, "--face", "1")
    assert data["face"] == 1 and data["offset_ms"] != pytest.approx(80, abs=10)


def test_a_face_that_is_not_there_is_bad_input(tmp_path, capsys):
    assert main(["score", "--backend", "heuristic", "--face", "7", str(draw(tmp_path / "one.mp4"))]) == 2
    assert "there is no face 7" in (said := capsys.readouterr().err) and "--face one of: 1" in said


def test_a_face_that_leaves_is_marked_and_comes_back_as_itself(tmp_path, capsys):
    gone = lambda at_s: 4 <= at_s < 6  # noqa: E731
    _, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=80, seconds=10, gone=gone))
    (face,) = data["faces"]
    assert [row["label"] for row in face["windows"]][4:6] == ["no_face", "no_face"]
    assert face["seen_pct"] == pytest.approx(80, abs=1) and data["offset_ms"] == pytest.approx(80, abs=10)


def test_more_faces_than_can_be_scored_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(score_clip, "FACES_MAX", 1)
    _, data = scored(capsys, draw(tmp_path / "two.mp4", seconds=3, speakers=(0, 5)))
    assert len(data["faces"]) == 1 and "1 more faces came later" in data["notes"][0]


def a_run(**more) -> FaceRun:
    sound = SoundPiece(0, (32767 * sound_of(2, 16_000)[0]).astype(np.int16))
    given = HeuristicBackend(), search_offsets(), replace(MODEST, most=1.0), more.get("before", [sound])
    return FaceRun(1, *given, with_blocks=True)


def show(run: FaceRun, pictures: int) -> FaceRun:
    for picture in range(pictures):
        wide = float(openness(np.array([0.04 * picture + 0.02]))[0])
        run.add_picture(picture * ms(40), face_of(60, 70, wide), np.full((96, 96, 3), int(255 * wide), np.uint8))
    run.finish()
    return run


def test_the_last_pictures_count_too():
    """29 pictures: three times eight are handed over on the way, five at the end."""
    run = show(a_run(), 29)
    assert run.blocks[-1].pts_ns + run.blocks[-1].duration_ns == ms(29 * 40)


def test_a_face_that_appears_later_is_given_the_sound_so_far():
    assert show(a_run(), 30).windows[0].offset_ms is not None
    assert show(a_run(before=[]), 30).windows[0].label == "silence"


def test_each_row_speaks_for_itself(tmp_path, capsys):
    """A row's best is the top of its own curve: what earlier windows said is left to the verdict."""
    _, data = scored(capsys, draw(tmp_path / "talk.mp4", ahead_ms=80))
    for row in data["faces"][0]["windows"]:
        assert row["score_best"] == max(row["curve"]) and row["speech_s"] > 0


# ---- what cannot be scored


def refused(capsys, path: Path) -> str:
    assert main(["score", "--backend", "heuristic", str(path)]) == 2
    said = capsys.readouterr().err
    assert path.name in said and "Traceback" not in said and "\n  " in said, said
    return said


def test_without_sound(tmp_path, capsys):
    assert "no sound" in refused(capsys, draw(tmp_path / "mute.mp4", with_sound=False))


def test_without_a_face(tmp_path, capsys):
    assert "no face was found in 200 pictures" in refused(capsys, draw(tmp_path / "sky.mp4", speakers=(None,)))


def test_too_short(tmp_path, capsys):
    assert "too short" in refused(capsys, draw(tmp_path / "blink.mp4", seconds=0.4))


def test_not_a_clip_and_not_there(tmp_path, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("hello")
    assert "cannot be opened" in refused(capsys, text)
    assert "no such file" in refused(capsys, tmp_path / "gone.mp4")


def test_one_bad_clip_of_several_does_not_stop_the_others(tmp_path, capsys):
    good = draw(tmp_path / "good.mp4", ahead_ms=80)
    code = main(["score", "--backend", "heuristic", "--json", str(tmp_path / "gone.mp4"), str(good)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 2 and [row["outcome"] for row in rows] == ["bad_input", "out_of_sync"]


def test_a_backend_that_is_missing_is_said_once_and_not_for_every_clip(tmp_path, capsys, monkeypatch):
    def missing(name: str, *, device: str) -> None:
        raise InputError(f"the {name} backend needs torch", remedy="pip install 'avsync[scorer]'")

    monkeypatch.setattr(score_clip, "load_backend", missing)
    clip = str(draw(tmp_path / "talk.mp4", seconds=2))
    assert main(["score", "--backend", "fused", clip, clip]) == 2
    assert capsys.readouterr().err.count("needs torch") == 1
    assert gc.isenabled(), "garbage was only left alone while networks were loaded"


@pytest.mark.parametrize("words", [
    ["--search-ms", "5000"], ["--limit-ms", "300"], ["--face", "0"], ["--step", "1"], ["--limit-ms", "nan"],
])  # fmt: skip
def test_wishes_that_cannot_be_met_are_named(capsys, words):
    assert main(["score", "any.mp4", *words]) == 2
    assert words[0] in capsys.readouterr().err


# ---- what is written


def test_the_picture_is_written_where_it_was_asked_for(tmp_path, capsys):
    clip = draw(tmp_path / "talk.mp4", seconds=4)
    main(["score", "--backend", "heuristic", str(clip), "--plot", str(tmp_path / "a" / "x.png")])
    assert (tmp_path / "a" / "x.png").exists() and "x.png" in capsys.readouterr().out
    main(["score", "--backend", "heuristic", str(clip), str(clip), "--plot", str(tmp_path / "many")])
    assert len(list((tmp_path / "many").iterdir())) == 2


def test_a_table_of_windows_and_of_blocks(tmp_path, capsys):
    clip = draw(tmp_path / "talk.mp4", seconds=4, ahead_ms=80)
    main(["score", "--backend", "heuristic", str(clip), "--blocks"])
    said = capsys.readouterr().out
    assert "windows" in said and "blocks" in said and "0:01.0 - 0:02.0" in said
    assert scored(capsys, clip)[1]["faces"][0]["blocks"] == [], "nobody asked for them: none is scored"
    assert len(scored(capsys, clip, "--blocks")[1]["faces"][0]["blocks"]) == 10


def test_the_command_starts_without_torch(tmp_path):
    """Only the networks need it; `import torch` alone would cost two seconds."""
    code = (
        "import sys; import avsync.scorer.score.command; sys.exit(not {'torch', 'matplotlib'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_networks_and_numpy_stay_on_one_thread(tmp_path, capsys):
    """Decoding and tracking have the other cores; idle threads that spin there cost a third of a clip's time."""
    with threadpool_limits(2, user_api="blas"):
        scored(capsys, draw(tmp_path / "talk.mp4", seconds=2))
        assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {1}
