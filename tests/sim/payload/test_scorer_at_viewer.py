"""Scorer at the viewer: marks instead of faces, so that what stands beside the truth can be held against it."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from avsync.policy import AvSyncPolicy
from avsync.units import ms, seconds
from sim.payload.scorer_at_viewer import ScoredWindow, as_record, columns, score
from sim.run.world import Run
from sim.truth.truth import PresentationLog, offsets
from tests.sim.payload.payload_story import Read, Reader, marked
from tests.sim.small_world import run, small, varied

CUT_S = {"video_stall": 30.0, "audio_stall": 30.0, "jitter_burst": 40.0, "bridge_clock_drift": 30.0}
NEAR_MS = 2.0
"""The truth is sampled every 10 ms, marks every 63 us; a screen of 60 Hz beats with both."""


@cache
def of(name: str, viewer: str) -> Run:
    return run(varied(name, duration_s=CUT_S[name]), viewer=viewer)


def errors_ms(scored: list[ScoredWindow], *, steady_ms: float = 1e9) -> list[float]:
    return [one.error_ms for one in scored if one.error_ms is not None and (one.spread_ns or 0) <= steady_ms * 1e6]


@pytest.mark.parametrize("viewer", ["browser", "avsync"])
@pytest.mark.parametrize("name", list(CUT_S))
def test_marks_read_the_truth_in_the_four_named_scenarios(name: str, viewer: str) -> None:
    """The whole way from a log to pixels and back. (While no voice is heard, e(t) goes on and a reader has nothing.)"""
    one = of(name, viewer)
    row = columns(score(one, marked(one), Reader()), one)
    assert row["scorer_error_p95_ms@clear"] is not None and row["scorer_error_p95_ms@clear"] < NEAR_MS
    assert row["scorer_error_p95_ms"] is not None and (row["scorer_error_p50_ms"] or 0) < NEAR_MS
    assert row["scorer_right_pct@clear"] == 100.0


def test_a_viewer_whose_clock_is_fast_is_read_in_its_own_time() -> None:
    still = AvSyncPolicy(receiver_target_max_ns=0)  # no window's truth moves while its receivers are told to hold
    one = run(small(30.0, clocks={"client": {"ppm": 80}}), viewer="browser", policy=still)
    scored = score(one, marked(one), Reader())
    assert len(scored) >= 20 and max(map(abs, errors_ms(scored))) < 1.0


def test_turns_after_an_interrupt_are_read_as_their_own() -> None:
    one = run(varied("barge_in"), viewer="browser")
    scored = score(one, marked(one), Reader())
    assert max(map(abs, errors_ms(scored, steady_ms=60))) < NEAR_MS
    split = [each for each in scored if each.from_ns < seconds(12.1) < each.to_ns]
    assert split and all(each.truth_ns is None for each in split), "a window of two turns has no single truth"


def test_turns_without_a_gap_between_them_share_no_truth() -> None:
    """Every sample is measured, and still the window is of two turns: its median would be nobody's."""
    one = run(small(9.0, source={"turns": {"talk_s": 2.6, "gap_s": 0}}), viewer="avsync")
    scored = score(one, marked(one), Reader())
    turn = offsets(one.source, one.at_viewer.presented)
    for each in scored:
        inside = (turn.at_ns >= each.from_ns) & (turn.at_ns < each.to_ns)
        if len(set(turn.turn[inside].tolist())) == 2:
            assert each.truth_ns is None
    assert sum(each.truth_ns is None for each in scored) >= 2
    assert (np.diff(turn.at_ns) == turn.step_ns).all(), "no gap: otherwise this tests nothing"


def test_lips_that_are_wrong_in_the_content_are_no_fault_of_ours_but_are_seen() -> None:
    """The truth is about delivery; a scorer sees everything. Lips 80 ms late in the content: voice ahead."""
    one = of("video_stall", "avsync")
    row = columns(score(one, marked(one, lips_late_ns=ms(80)), Reader()), one)
    assert row["scorer_bias_ms@clear"] == pytest.approx(80, abs=1)
    assert row["scorer_truth_offset_p50_ms@clear"] == pytest.approx(0, abs=1)
    assert row["scorer_offset_p50_ms@clear"] == pytest.approx(80, abs=1)
    assert row["scorer_right_pct@clear"] == 0.0


def test_belief_and_truth_stand_apart_and_a_wrong_scorer_is_found_out() -> None:
    one = of("video_stall", "browser")
    honest, liar = (columns(score(one, marked(one), Reader(lies_ms=lie)), one) for lie in (0.0, 41.0))
    assert liar["scorer_truth_offset_p50_ms"] == honest["scorer_truth_offset_p50_ms"]
    assert liar["scorer_error_p95_ms@clear"] == pytest.approx(41, abs=NEAR_MS) and liar["scorer_right_pct@clear"] == 0
    assert honest["scorer_error_p95_ms@clear"] < NEAR_MS  # type: ignore[operator]


def test_a_stall_is_in_all_and_not_in_clear() -> None:
    one = of("video_stall", "avsync")
    row = columns(score(one, marked(one), Reader(lies_ms=0)), one)
    windows, clear = row["scorer_windows"], row["scorer_windows@clear"]
    assert windows is not None and clear is not None and windows - clear >= 5 + 2, "5 s of joining, 2 s of the stall"


def test_too_little_is_unknown_and_not_perfect() -> None:
    one = run(small(6.0))
    row = columns(score(one, marked(one), Reader()), one)
    assert {value for name, value in row.items() if not name.startswith("scorer_windows")} == {None}
    assert row["scorer_windows@after_fault"] == 0


def test_blocks_are_not_windows_and_silence_is_no_answer() -> None:
    one = run(small(6.0))

    class Terse(Reader):
        def flush(self) -> list[Read]:
            return [Read(seconds(2), ms(480), 0.0), Read(seconds(3), ms(1000), None, 0.0, "silence")]

    (only,) = score(one, marked(one), Terse())
    assert only.label == "silence" and only.offset_ms is None and only.error_ms is None and only.truth_ns is not None
    assert columns([only], one)["scorer_windows"] == 0


def test_landmarks_go_along_where_every_picture_has_them() -> None:
    one = run(small(4.0))
    with_them, without = Reader(), Reader()
    score(one, marked(one, landmarks=True), with_them)
    score(one, marked(one), without)
    assert {None if each is None else each.shape[1:] for each in with_them.landmarks} == {(468, 2)}
    assert set(without.landmarks) == {None}


def test_one_frame_away_is_within_one_frame() -> None:
    """The scorer answers in whole steps, and the truth is a microsecond beside one."""
    one = run(small(4.0))
    near, far = (
        [ScoredWindow(0, 1, truth_ns, 0, 40.0, 1.0, "", "", ("all",))] * 20 for truth_ns in (-2_000, -200_000)
    )  # fmt: skip
    assert columns(near, one)["scorer_error_p95_ms"] == 40.0 and columns(near, one)["scorer_right_pct"] == 100.0
    assert columns(far, one)["scorer_error_p95_ms"] == 40.2 and columns(far, one)["scorer_right_pct"] == 0.0


def test_a_call_without_a_viewer_has_no_windows() -> None:
    one = run(small(4.0))
    one.at_viewer.presented = PresentationLog()
    assert score(one, marked(one), Reader()) == []


def test_a_record_is_plain_data() -> None:
    record = as_record(
        ScoredWindow(seconds(1), seconds(2), ms(-20), ms(3), -40.0, 0.91237, "voice_behind", "fused", ("all",))
    )
    assert json.loads(json.dumps(record)) == {
        "from_s": 1.0, "to_s": 2.0, "scorer_offset_ms": -40.0, "scorer_confidence": 0.9124,
        "scorer_label": "voice_behind", "scorer_method": "fused", "truth_offset_ms": -20.0, "truth_spread_ms": 3.0,
        "clear": False,
    }  # fmt: skip
    assert np.isclose(ScoredWindow(0, 1, ms(-20), 0, -40.0, 1.0, "", "", ()).error_ms or 0, -20)
