"""What a caller hands to the core by mistake is refused by name, counted or taken, and never a bare TypeError."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from avsync import (
    AvSyncClock,
    AvSynchronizer,
    AvSyncMonitor,
    AvSyncPolicy,
    Basis,
    Drop,
    DropReason,
    Heard,
    InputError,
    Kind,
    MediaUnit,
    ObservedBy,
    Presented,
    UsageError,
    ms,
)

BAD = (None, "x", 1.5, True, math.nan)
UNIT = MediaUnit(Kind.AUDIO, 0, 0, 0, ms(20), 100, True, False, False, None)
SEEN = Presented(Kind.AUDIO, 0, 0, ms(20), 0, ObservedBy.SIM, Heard.CONTENT)
STAMPED = {"epoch": None, "is_key": True, "droppable": True}
Call = dict[str, Any]

MADE: dict[type, tuple[Callable[[], Any], dict[str, Call]]] = {
    AvSynchronizer: (
        AvSynchronizer,
        {
            "__init__": {"policy": None, "network": False, "levers": (), "picture_tick_ns": 0},
            "push": {"unit": UNIT, "now_ns": 0, "in_order": True},
            "finish": {"kind": Kind.AUDIO, "epoch": 0, "now_ns": 0},
            "interrupt": {"epoch": 1, "now_ns": 0},
            "on_presented": {"presented": SEEN, "now_ns": 0},
            "trim": {"trim_ns": 0, "now_ns": 0},
            "picture_head_start": {"head_start_ns": 0, "now_ns": 0},
            "close": {"now_ns": 0},
            "poll": {"now_ns": 0},
            "next_wakeup_ns": {},
            "position_ns": {"now_ns": 0},
        },
    ),
    AvSyncMonitor: (
        lambda: AvSyncMonitor(point="output"),
        {
            "__init__": {"policy": None, "point": "output", "on_sample": None, "settle_lag_ns": 0, "ends_told": True},
            "observe": {"presented": SEEN, "now_ns": 0},
            "interrupt": {"epoch": 1},
            "count": {"answer": Drop(UNIT, 0, 0, DropReason.LATE)},
            "on_sender_report": {"now_ns": 0},
            "rests_on": {"basis": Basis.ARRIVAL},
            "poll": {"now_ns": 0},
            "report": {"now_ns": 0},
        },
    ),
    AvSyncClock: (
        AvSyncClock,
        {
            "__init__": {"audio_rate": 48_000, "video_rate": 25, "gate": None},
            "next_pts_ns": {"kind": Kind.AUDIO},
            "begin_turn": {},
            "interrupt": {},
            "stamp_audio": {"samples": 960, "epoch": None, "size_bytes": 0, "payload": None, "pause": False},
            "stamp_frame": {**STAMPED, "size_bytes": 0, "payload": None, "duration_ns": None, "pts_ns": None},
            "stamp_packet": {
                **STAMPED, "kind": Kind.AUDIO, "packet": b"\xfc\xff\xfe", "duration_ns": None, "pts_ns": None,
                "pause": False,
            },
            "stamp_rtp_ticks": {
                **STAMPED, "kind": Kind.AUDIO, "ticks": 0, "rate_hz": 48_000, "base_ticks": None,
                "duration_ticks": None, "size_bytes": 0, "payload": None, "pause": False,
            },
            "skip": {"kind": Kind.AUDIO, "to_pts_ns": 10, "epoch": None},
            "skip_ticks": {"kind": Kind.AUDIO, "ticks": 1, "epoch": None},
            "ticks_until": {"kind": Kind.AUDIO, "pts_ns": 0},
            "set_audio_rate": {"rate": 48_000},
            "set_video_rate": {"rate": 25},
            "loop_seam": {"epoch": None},
        },
    ),
    AvSyncPolicy: (
        AvSyncPolicy,
        {
            "__init__": {field.name: getattr(AvSyncPolicy(), field.name) for field in fields(AvSyncPolicy)},
            "preset": {"name": "default"},
            "from_dict": {"data": {}, "file": ""},
            "load": {"path": "no-such.toml"},
            "to_dict": {},
            "from_plain": {"data": AvSyncPolicy().to_dict()},
        },
    ),
}  # fmt: skip
CASES = [
    pytest.param(of, name, argument, id=f"{of.__name__}.{name}-{argument}")
    for of, (_, methods) in MADE.items()
    for name, call in methods.items()
    for argument in call
]


@pytest.mark.parametrize("of", MADE)
def test_no_public_method_and_no_argument_is_left_out(of: type) -> None:
    _, methods = MADE[of]
    public = {name for name, _ in inspect.getmembers(of, callable) if not name.startswith("_")}
    assert {*methods} == {"__init__", *public}
    for name, call in methods.items():
        arguments = {*inspect.signature(getattr(of, name)).parameters} - {"self"}
        assert {*call} == arguments, name


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize(("of", "name", "argument"), CASES)
def test_a_wrong_value_is_refused_by_name_or_taken_and_the_next_right_one_passes(
    of: type, name: str, argument: str, bad: object
) -> None:
    make, methods = MADE[of]
    one = make()
    method = of if name == "__init__" else getattr(one, name)
    for value in (bad, methods[name][argument]):
        try:
            method(**{**methods[name], argument: value})
        except UsageError as error:
            assert str(error)
        except InputError:
            assert of is AvSyncPolicy, "only a policy comes from outside"


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_a_count_that_is_none_is_a_refusal_that_is_counted_and_nothing_else(bad: Any) -> None:
    clock = AvSyncClock()
    assert clock.stamp_audio(bad) is None
    assert clock.refused == {DropReason.BAD_PTS: 1} and clock.last_refusal == "count: not a whole number"
    unit = clock.stamp_audio(960)
    assert unit is not None and (unit.seq, unit.pts_ns) == (0, 0)


@pytest.mark.parametrize("bad", BAD[1:], ids=repr)
def test_what_was_taken_in_silence_is_refused(bad: Any) -> None:
    """A kind that is none was a picture, a policy's master nothing at all."""
    for call in (
        lambda: AvSyncClock().skip(bad, 10),
        lambda: AvSynchronizer().finish(bad, 0, 0),
        lambda: AvSynchronizer().position_ns(bad),
        lambda: AvSynchronizer(picture_tick_ns=bad),
        lambda: AvSynchronizer(levers=[bad]),
        lambda: AvSyncMonitor(point="output").count(bad),
        lambda: AvSyncMonitor(point="output", on_sample=bad),
        lambda: AvSyncPolicy(master=bad),
        lambda: AvSyncPolicy(pacing=bad),
    ):
        with pytest.raises(UsageError):
            call()
