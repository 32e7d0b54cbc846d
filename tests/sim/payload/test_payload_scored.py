"""The lab with speech, faces and the shipped networks: the scorer's offset at the viewer agrees with the truth."""

from __future__ import annotations

from functools import cache

import pytest

from avsync.errors import InputError
from avsync.units import ms
from sim.judge.row import Row
from sim.payload.payload import PictureBatch
from sim.payload.scorer_at_viewer import columns, score
from sim.payload.speech import Speech, check_installed, scored_run, scorer_of
from sim.run.sinks import Sink
from sim.scenario.source import PayloadSpec
from sim.truth.columns import I64
from tests.sim.small_world import run, varied

CUT_S = {"video_stall": 32.0, "audio_stall": 32.0, "jitter_burst": 43.0, "bridge_clock_drift": 31.0}
FRAME_MS = 40.0


CASES = [
    ("video_stall", "browser", 1), ("audio_stall", "avsync", 1), ("jitter_burst", "browser", 1),
    ("bridge_clock_drift", "avsync", 1), ("audio_stall", "browser", 3),  # drawn as a mumbler
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    try:
        check_installed(PayloadSpec(scorer="fused"))
    except InputError as error:
        pytest.skip(error.rule)


@cache
def row_of(name: str, viewer: str, *, seed: int = 1, sound_late_ms: int = 0, picture_late_ms: int = 0) -> Row:
    late = Sink(sound_late_ns=ms(sound_late_ms), picture_late_ns=ms(picture_late_ms))
    one = run(varied(name, duration_s=CUT_S[name]), viewer=viewer, seed=seed, viewer_sink=late)
    return columns(scored_run(one, PayloadSpec(scorer="fused")), one)


@pytest.mark.parametrize(("name", "viewer", "seed"), CASES)
def test_within_one_frame_in_the_four_named_scenarios(name: str, viewer: str, seed: int) -> None:
    row = row_of(name, viewer, seed=seed)
    assert (row["scorer_windows@clear"] or 0) >= 20 and (row["scorer_answered_pct@clear"] or 0) >= 90
    assert row["scorer_error_p95_ms@clear"] is not None and row["scorer_error_p95_ms@clear"] <= FRAME_MS


@pytest.mark.parametrize(("late", "truth_ms"), [({"picture_late_ms": 120}, 120), ({"sound_late_ms": 80}, -80)])
def test_a_late_screen_or_loudspeaker_is_seen_with_its_sign(late: dict[str, int], truth_ms: float) -> None:
    """Around 0 a scorer that always says 0 would agree, too."""
    row = row_of("video_stall", "avsync", **late)
    assert row["scorer_truth_offset_p50_ms@clear"] == pytest.approx(truth_ms, abs=2)
    assert row["scorer_offset_p50_ms@clear"] == pytest.approx(truth_ms, abs=20)
    assert row["scorer_error_p95_ms@clear"] is not None and row["scorer_error_p95_ms@clear"] <= FRAME_MS


def test_a_payload_played_in_sync_reads_zero() -> None:
    """LEAD_S belongs to the shipped weights: whoever trains others sees here whether it still fits."""
    row = row_of("audio_stall", "avsync")
    assert row["scorer_truth_offset_p50_ms@clear"] == pytest.approx(0, abs=1)
    assert abs(row["scorer_bias_ms@clear"] or 0) <= 20


class WrongLips(Speech):
    """Content whose lips are 80 ms late, as no log can know."""

    def pictures(self, turn: int, since_ns: I64) -> PictureBatch:
        return super().pictures(turn, since_ns - ms(80))


def test_the_scorer_sees_what_the_viewer_saw_and_not_the_log() -> None:
    """The pictures moved after the truth was written: the columns have to disagree by just that."""
    one = run(varied("audio_stall", duration_s=CUT_S["audio_stall"]), viewer="avsync")
    row = columns(score(one, WrongLips(seed=1), scorer_of("fused")), one)
    assert row["scorer_truth_offset_p50_ms@clear"] == pytest.approx(0, abs=1)
    assert row["scorer_bias_ms@clear"] == pytest.approx(80, abs=20)
    assert (row["scorer_right_pct@clear"] or 0) <= 20 and (row["scorer_error_p95_ms@clear"] or 0) > FRAME_MS
