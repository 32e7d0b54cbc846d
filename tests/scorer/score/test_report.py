"""Table, JSON and picture of a scored clip, and the exit code that a script sees."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from avsync.errors import InputError
from avsync.scorer.score.clip_answer import ClipAnswer
from avsync.scorer.score.evidence import Evidence, OffsetPart
from avsync.scorer.score.report import (
    ClipMedia,
    ClipReport,
    FaceReport,
    ScoreSettings,
    as_dict,
    error_dict,
    exit_code,
    outcome,
)
from avsync.scorer.score.table import SHOWN, print_report
from avsync.scorer.score.verdict_words import MARKS
from avsync.scorer.signal import LABELS, LipSyncSignal
from avsync.units import ms, seconds

AHEAD = ClipAnswer("voice_ahead", 81.2, 0.94, 0.2, 0.55, 0.3, 9, 8, {"silence": 1}, (), (0.1, 0.5, float("nan")))


def signal(at_s: float, offset_ms: float | None = 80.0, confidence: float = 0.9, **more: Any) -> LipSyncSignal:
    known = offset_ms is not None
    plain = LipSyncSignal(
        score=0.2 if known else None,
        offset_ms=offset_ms,
        confidence=confidence if known else 0.0,
        occluded=False,
        label="voice_ahead" if known else "silence",
        score_best=0.5 if known else None,
        score_margin=0.3 if known else None,
        method="geometry",
        pts_ns=seconds(at_s),
        duration_ns=seconds(1),
        epoch=0,
    )
    return replace(plain, **more)


def report(answer: ClipAnswer = AHEAD, windows: tuple[LipSyncSignal, ...] = (), faces: int = 1) -> ClipReport:
    media = ClipMedia(10_000.0, 1280, 720, 250, 25.0, False, 44_100)
    windows = windows or tuple(signal(at) if at != 4 else signal(at, None) for at in range(10))
    blocks = tuple(signal(at / 2, confidence=0.3, duration_ns=ms(533)) for at in range(20))
    all_faces = tuple(FaceReport(n, 98.0, 212.0, 640.0, 360.0, answer, windows, blocks) for n in range(1, faces + 1))
    return ClipReport(
        "talk.mp4", media, ScoreSettings("geometry", 200.0, 20.0, 40.0), all_faces, faces, "it fits", 1.234
    )


def printed(one: ClipReport, width: int = 100, *, blocks: bool = False) -> str:
    out = io.StringIO()
    print_report(Console(file=out, width=width, highlight=False), one, blocks=blocks)
    return out.getvalue()


# ---- exit codes


def test_only_a_sure_answer_is_in_or_out_of_sync():
    assert outcome(AHEAD, 40) == "out_of_sync" and outcome(AHEAD, 100) == "in_sync"
    assert outcome(replace(AHEAD, confidence=0.79), 40) == "unsure"
    assert outcome(replace(AHEAD, offset_ms=None, confidence=0.0), 40) == "unsure"
    assert outcome(replace(AHEAD, label="unrelated"), 40) == "unsure"


def test_one_part_beyond_the_limit_is_enough():
    parts = (OffsetPart(0, 8000, 0.0, 0.0, 0.9), OffsetPart(8000, 10_000, -90.0, -90.0, 0.9))
    assert outcome(replace(AHEAD, offset_ms=0.0, parts=parts), 40) == "out_of_sync"


def test_a_script_sees_the_worst_of_several_clips():
    assert exit_code(["in_sync", "in_sync"], bad=0) == 0
    assert exit_code(["in_sync", "unsure"], bad=0) == 3
    assert exit_code(["out_of_sync", "unsure"], bad=0) == 1
    assert exit_code(["out_of_sync"], bad=1) == 2


# ---- JSON


def test_json_has_everything_and_no_nan():
    """`curve` holds a lag that was not scored: JSON has no NaN, jq would refuse the whole file."""
    text = json.dumps(as_dict(report(faces=2)), allow_nan=False)
    data = json.loads(text)
    assert data["schema"] == "avsync.score/1" and data["exit_code"] == 1
    assert data["verdict"] == "voice ahead of the lips by 81 ms, sure (0.94), from 8 of 9 windows"
    assert data["curve"] == [0.1, 0.5, None]
    assert (data["face"], len(data["faces"]), len(data["faces"][0]["windows"])) == (2, 2, 10)
    assert data["faces"][0]["windows"][4] == {
        "start_ms": 4000.0, "end_ms": 5000.0, "label": "silence", "offset_ms": None, "confidence": 0.0, "score": None,
        "score_best": None, "score_margin": None, "occluded": False, "method": "geometry",
        "speech_s": None, "curve": [],
    }  # fmt: skip


def test_a_clip_that_cannot_be_scored_is_json_too():
    data = error_dict("x.mp4", InputError("no sound in it", file="x.mp4", remedy="add some"))
    assert data["outcome"] == "bad_input" and data["error"]["rule"] == "no sound in it" and data["exit_code"] == 2


# ---- table


def test_the_table_says_what_was_seen_and_the_verdict_last():
    text = printed(report())
    assert "talk.mp4: 10.0 s, 1280x720 at 25 fps, sound 44.1 kHz" in text
    assert "one face, 212 px wide at (640, 360), seen 98 % of the time" in text
    assert "0:03.0 - 0:04.0" in text and "+80" in text and "silence" in text
    assert text.rstrip().endswith("voice ahead of the lips by 81 ms, sure (0.94), from 8 of 9 windows")


def test_windows_by_default_and_blocks_when_asked():
    assert "blocks" not in printed(report())
    assert "blocks" in printed(report(), blocks=True)


def test_a_narrow_screen_cuts_no_number():
    text = printed(report(), width=40)
    assert text.count("+80") == 9 and "0.90" in text


def test_names_of_files_are_not_markup():
    assert "[bold]x[/bold].mp4" in printed(replace(report(), file="[bold]x[/bold].mp4"))


def test_hours_are_not_printed_row_by_row():
    text = printed(report(windows=tuple(signal(at) for at in range(SHOWN + 500))))
    assert "... and 500 more windows" in text and text.count("+80") == SHOWN


def test_several_faces_are_listed_with_the_chosen_one_marked():
    text = printed(report(faces=2))
    assert "  face 1: " in text and "* face 2: " in text and "it fits" in text


def test_every_label_has_words_and_a_partly_covered_mouth_is_said():
    assert set(MARKS) == set(LABELS)
    assert "mouth partly covered" in printed(report(windows=(signal(0, occluded=True),)))


# ---- picture


def picture(path: Path, one: ClipReport) -> np.ndarray:
    from matplotlib.image import imread

    from avsync.scorer.score.plot import plot

    return np.asarray(imread(plot(path, one)))


def has(image: np.ndarray, colour: str, slack: float = 0.02) -> bool:
    wanted = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return bool((np.abs(image[..., :3] - wanted).max(axis=-1) < slack).any())


def test_sure_windows_are_opaque_and_guesses_are_faint(tmp_path):
    from avsync.scorer.score.plot import OFFSET

    sure = picture(tmp_path / "sure.png", report(windows=tuple(signal(at, confidence=1.0) for at in range(10))))
    guess = picture(tmp_path / "guess.png", report(windows=tuple(signal(at, confidence=0.1) for at in range(10))))
    assert has(sure, OFFSET) and not has(guess, OFFSET)


def test_silence_is_shaded_where_it_lies(tmp_path):
    """Looked at high up, where no bar lies: at 4.5 of 10 s in the picture with a pause, and at 6.5 s."""
    image = picture(tmp_path / "b.png", report())
    high = image[int(0.1 * image.shape[0]) : int(0.16 * image.shape[0])]

    def dark(at_s: float) -> bool:
        column = int(image.shape[1] * (0.066 + 0.092 * at_s))
        return bool((high[:, column - 20 : column + 20, :3].max(axis=-1) < 0.9).any())

    assert dark(4.5) and not dark(6.5)


def test_offsets_that_fit_are_darker_behind_the_bars(tmp_path):
    rho = np.where(np.abs(np.linspace(-200, 200, 21) + 120) < 30, 1.0, 0.0)
    evidence = tuple(Evidence(1000 * at, 1000 * at + 1000, "voice_ahead", rho, 1.0) for at in range(10))
    answer = replace(AHEAD, curve=tuple(rho.tolist()))
    plain, dark = report(answer), report(answer)
    dark = replace(dark, faces=(replace(dark.face, evidence=evidence),))
    change = picture(tmp_path / "a.png", dark).mean(axis=(1, 2)) - picture(tmp_path / "b.png", plain).mean(axis=(1, 2))
    rows = np.flatnonzero(change < -0.1) / len(change)
    assert rows.min() > 0.4 and rows.max() < 0.55, "-120 ms lies low in the upper half"


def test_a_picture_of_nothing_is_still_a_picture(tmp_path):
    nothing = ClipAnswer("silence", None, 0.0, None, None, None, 0, 0, {"silence": 1})
    image = picture(tmp_path / "new" / "n", report(nothing, windows=(signal(0, None),)))
    assert image.ndim == 3 and (tmp_path / "new" / "n.png").exists()


def test_an_ending_that_is_no_picture_is_refused(tmp_path):
    from avsync.scorer.score.plot import plot

    with pytest.raises(InputError, match="no picture is written as .docx"):
        plot(tmp_path / "x.docx", report())
