"""AvSyncPolicy: a bad value is refused by name, and what a person writes is what the core gets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import InputError, UsageError
from avsync.policy import PRESETS, AvSyncPolicy, Master, Pacing
from avsync.units import ms, seconds


def test_defaults_are_the_numbers_of_the_design() -> None:
    policy = AvSyncPolicy()
    assert policy.late_video_ns == ms(45) and policy.repeat_after_ns == ms(120)
    assert policy.degrade_after_ns == ms(250) and policy.stall_alert_after_ns == ms(500)
    assert policy.idle_after_ns == seconds(1) and policy.skip_again_after_ns == ms(200)
    assert policy.early_limit_ns == seconds(10) and policy.late_limit_ns == seconds(2)
    assert (policy.jitter_start_ns, policy.jitter_min_ns, policy.jitter_max_ns) == (ms(80), ms(40), ms(400))
    assert policy.rate_max_ppm == 1000 and policy.slew_ppm == 5000


@pytest.mark.parametrize("wrong", [-1, 1.0, float("nan"), True, "45", None, seconds(3601)])
def test_a_bad_number_is_refused_by_name(wrong: Any) -> None:
    for field in fields(AvSyncPolicy):
        if field.name.endswith(("_ns", "_ppm", "_pct", "_units", "_ns_per_s")):
            with pytest.raises(UsageError, match=field.name):
                AvSyncPolicy(**{field.name: wrong})


@pytest.mark.parametrize("name", ["slot_ns", "audio_queue_units", "video_queue_units", "rate_recovery_ns"])
def test_what_must_not_be_nothing_is_refused_at_nothing(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        AvSyncPolicy(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"playout_delay_ns": ms(500)}, "playout_delay_max_ns"),
        ({"jitter_start_ns": ms(30)}, "jitter_min_ns"),
        ({"late_video_ns": ms(130)}, "repeat_after_ns"),
        ({"degrade_after_ns": ms(600)}, "stall_alert_after_ns"),
        ({"warn_lag_ns": ms(126)}, "critical_lag_ns"),
        ({"jitter_quantile_pct": 100}, "jitter_quantile_pct"),
        ({"jitter_quantile_pct": 0}, "jitter_quantile_pct"),
        ({"slot_ns": ms(201)}, "slot_ns"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused_by_both_names(changes: dict[str, int], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        AvSyncPolicy(**changes)  # type: ignore[arg-type]
    assert next(iter(changes)) in str(caught.value)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        AvSyncPolicy().late_video_ns = 0  # type: ignore[misc]


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_a_valid_policy_of_that_name(name: str) -> None:
    policy = AvSyncPolicy.preset(name)
    assert policy.name == name
    assert AvSyncPolicy.from_plain(policy.to_dict()) == policy


def test_baselines_know_no_epochs() -> None:
    for name in ("pass_through", "fps_paced", "arrival_delay", "two_clocks"):
        policy = AvSyncPolicy.preset(name)
        assert not policy.epochs and policy.pacing is not Pacing.CONTENT_CLOCK
    assert AvSyncPolicy.preset("video_master").master is Master.VIDEO
    assert not AvSyncPolicy.preset("dtx_as_stall").pause_passes


def test_a_name_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="did you mean 'two_clocks'"):
        AvSyncPolicy.preset("two_clock")
    with pytest.raises(InputError, match="did you mean 'two_clocks'"):
        AvSyncPolicy.from_dict({"preset": "two_clock"})
    with pytest.raises(InputError, match="did you mean 'late_video_ms'"):
        AvSyncPolicy.from_dict({"late_vidoe_ms": 45})
    with pytest.raises(InputError, match="did you mean 'video'"):
        AvSyncPolicy.from_dict({"master": "vidio"})


def test_people_write_milliseconds() -> None:
    policy = AvSyncPolicy.from_dict({"preset": "patient", "late_video_ms": 40.5, "jitter_shrink_ms_per_s": 10})
    assert policy.late_video_ns == 40_500_000 and policy.jitter_shrink_ns_per_s == ms(10)
    assert policy.playout_delay_ns == ms(300)
    assert AvSyncPolicy.from_dict({"slew_ppm": 100, "epochs": False}).slew_ppm == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"late_video_ms": float("nan")}, {"late_video_ms": float("inf")}, {"late_video_ms": True},
        {"late_video_ms": "45"}, {"late_video_ms": -1}, {"late_video_ms": 10**12}, {"late_video_ms": 200},
        {"epochs": 1}, {"pacing": 3}, {"name": 5}, {"preset": 5}, {"preset": None}, {7: 1}, {"late_video_ns": 45},
        [], "default", None,
    ],
)  # fmt: skip
def test_nonsense_is_bad_input_not_a_crash(wrong: Any) -> None:
    with pytest.raises(InputError):
        AvSyncPolicy.from_dict(wrong, file="call.toml")


KEYS = st.text(max_size=12) | st.sampled_from(["late_video_ms", "preset", "epochs"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_table_is_a_policy_or_bad_input(data: dict[str, Any]) -> None:
    try:
        policy = AvSyncPolicy.from_dict(data)
    except InputError:
        return
    assert AvSyncPolicy.from_plain(policy.to_dict()) == policy


def test_a_file_is_read_and_a_bad_one_named(tmp_path: Path) -> None:
    good, bad, binary = (tmp_path / name for name in ("good.toml", "bad.toml", "binary.toml"))
    good.write_text('preset = "two_clocks"\nplayout_delay_ms = 120\n', encoding="utf-8")
    bad.write_text("playout_delay_ms = \n", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00")
    policy = AvSyncPolicy.load(good)
    assert policy.pacing is Pacing.TWO_CLOCKS and policy.playout_delay_ns == ms(120)
    for wrong in (bad, binary, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(InputError, match=wrong.name):
            AvSyncPolicy.load(wrong)


def test_a_recording_of_another_version_is_bad_input() -> None:
    plain = AvSyncPolicy().to_dict()
    for wrong in ({}, {**plain, "master": "nobody"}, {**plain, "unheard_of": 1}, {**plain, "slot_ns": -1}):
        with pytest.raises(InputError):
            AvSyncPolicy.from_plain(wrong)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("late_video_ms = 200", "late_video_ms must be <= repeat_after_ms, got 200 > 120"),
        ("playout_delay_ms = -1", "playout_delay_ms must be >= 0, got -1"),
        ("jitter_quantile_pct = 100", "jitter_quantile_pct must be between 1 and 99, got 100"),
    ],
)
def test_a_rule_is_told_in_the_names_and_units_that_people_write(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(line)
    with pytest.raises(InputError) as error:
        AvSyncPolicy.load(file)
    assert said in str(error.value) and "_ns" not in str(error.value)
