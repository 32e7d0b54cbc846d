"""Cheats must fail: a good offset is not to be bought with delay, idling, blindness, silence or waiting."""

from __future__ import annotations

from functools import cache

import pytest

from sim.judge.judge import check, limits_of
from sim.judge.row import Row, measure
from sim.run.world import simulate
from tests.sim.judge.cheats import CHEATS, HONEST
from tests.sim.small_world import varied

CARD_MS = 25  # what our output is held to

CLEAN = varied(
    "clean",
    duration_s=20.0,
    source={"turns": {"first_at_s": 0.5, "talk_s": 5.5, "gap_s": 0.5}},
    expect=[],  # so that every guard is judge's own
)
STALL = varied(
    "video_stall",
    duration_s=20.0,
    source={"turns": {"first_at_s": 0.5, "talk_s": [5.0, 12.0], "gap_s": 0.5}, "video": {"resume": "burst"}},
    steps=[{"at_s": 9.0, "do": "stall", "only": "video", "for_s": 1.0}],
)
SCENARIOS = {"clean": CLEAN, "video_stall": STALL}

CAUGHT_BY = {
    ("delay_3s", "clean"): {"output_added_latency_p95_ms"},
    ("delay_3s", "video_stall"): {"output_added_latency_p95_ms"},
    ("always_idle", "clean"): {"degraded_pct", "output_degraded_pct"},
    ("always_idle", "video_stall"): {"degraded_pct", "output_degraded_pct"},
    ("no_video", "clean"): {"measured_or_degraded_pct", "output_measured_or_degraded_pct"},
    ("no_video", "video_stall"): {"measured_or_degraded_pct", "output_measured_or_degraded_pct"},
    ("mute_most", "clean"): {"content_heard_pct", "output_content_heard_pct"},
    ("mute_most", "video_stall"): {"content_heard_pct", "output_content_heard_pct"},
    ("pause_all", "video_stall"): {"output_added_latency_p95_ms", "output_silence_inserted_ms", "silence_inserted_ms"},
}
"""Nothing makes ``pause_all`` wait in ``clean``, so there it is honest."""


@cache
def row_of(cheat: str, where: str) -> Row:
    policy, wrap = CHEATS.get(cheat, (HONEST, None))
    return measure(simulate(SCENARIOS[where], policy=policy, viewer="avsync", seed=1, wrap_engine=wrap))


def guards_failed(cheat: str, where: str) -> set[str]:
    limits = [limit for limit in limits_of(SCENARIOS[where], "avsync") if limit.guard]
    return {one.limit.metric for one in check(row_of(cheat, where), limits) if not one.passed}


@pytest.mark.parametrize(("cheat", "where"), CAUGHT_BY)
def test_a_cheat_has_a_beautiful_offset_and_is_caught_by_a_guard(cheat: str, where: str) -> None:
    for point in ("output_", ""):
        p95 = row_of(cheat, where)[point + "offset_abs_p95_ms"]
        assert p95 is not None and p95 <= CARD_MS
    assert guards_failed(cheat, where) >= CAUGHT_BY[cheat, where]


@pytest.mark.parametrize("where", SCENARIOS)
def test_whoever_does_not_cheat_passes_every_guard(where: str) -> None:
    assert guards_failed("nobody", where) == set()


def test_every_cheat_of_the_design_is_tried() -> None:
    assert set(CHEATS) == {"delay_3s", "always_idle", "no_video", "mute_most", "pause_all"}
    assert {cheat for cheat, _ in CAUGHT_BY} == set(CHEATS)


def test_two_per_cent_of_the_voice_is_what_is_left() -> None:
    assert row_of("mute_most", "clean")["output_content_heard_pct"] == pytest.approx(2, abs=0.5)
