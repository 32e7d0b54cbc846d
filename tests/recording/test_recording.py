"""Recordings: what an engine was told and answered comes out of its diary again, bit for bit, under any driver."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.cli import main
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import InputError, UsageError
from avsync.policy import AvSyncPolicy
from avsync.recording.lines import MAX_ANSWERS_A_LINE, read
from avsync.recording.recorder import Recorder
from avsync.recording.replay import replay
from avsync.types import AUDIO, VIDEO, Answer, MediaUnit, ObservedBy, Presented, Want
from avsync.units import ms, seconds
from avsync.version import VERSION
from tests.adapters.driver_story import SLOT, Sink, call, content
from tests.recording.recording_story import drain, recorded
from tests.virtual_loop import run

ROOT = Path(__file__).resolve().parents[2]


# ---- what is written


def test_the_version_in_a_recording_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
    assert json.loads(recorded()[0])["version"] == VERSION


def test_the_first_line_says_how_the_engine_was_made() -> None:
    policy = AvSyncPolicy.preset("two_clocks")
    lines = recorded(policy, network=True, levers=[Want.FPS, Want.KEYFRAME], picture_tick_ns=ms(16))
    header = json.loads(lines[0])
    assert header["avsync_recording"] == 1
    assert AvSyncPolicy.from_plain(header["policy"]) == policy
    assert (header["network"], header["levers"], header["picture_tick_ns"]) == (True, ["fps", "keyframe"], ms(16))
    assert replay(lines).difference is None


def test_lines_are_plain_json_without_payload_and_small() -> None:
    lines = recorded()
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    rows = [json.loads(line) for line in lines[1:]]
    assert {row[0] for row in rows} == {"push", "poll", "wake", "interrupt", "finish", "seen", "close", "end"}
    assert "object" not in "".join(lines[1:])
    assert max(map(len, lines[1:])) < 2500 and sum(map(len, lines)) / len(lines) < 150


def test_a_recorder_stands_in_for_its_engine() -> None:
    plain, told = AvSynchronizer(), Recorder(AvSynchronizer(), lambda _line: None)
    for number, unit in enumerate(content(50)):
        now = number * ms(10)
        for engine in (plain, told):
            engine.push(unit, now)
        assert told.poll(now) == plain.poll(now)
        for name in ("jitter_buffer_ns", "queued_units", "queued_pictures", "epoch", "policy"):
            assert getattr(told, name) == getattr(plain, name)
        assert told.position_ns(now) == plain.position_ns(now)
        assert told.next_wakeup_ns() == plain.next_wakeup_ns()
    assert told.interrupt(1, seconds(1)) == plain.interrupt(1, seconds(1))


def test_a_recording_must_begin_before_anything_was_told() -> None:
    engine = AvSynchronizer()
    engine.push(next(content(1)), 0)
    with pytest.raises(UsageError, match="before"):
        Recorder(engine, lambda _line: None)


def test_what_the_engine_refused_is_recorded_and_refused_again() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    recorder.push(next(content(1)), ms(5))
    for wrong in (
        lambda: recorder.push(next(content(1)), ms(4)),
        lambda: recorder.poll(5.5),  # type: ignore[arg-type]
        lambda: recorder.interrupt(0, ms(6)),
        lambda: recorder.finish(AUDIO, 0, float("nan")),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            wrong()
    drain(recorder, ms(7))
    assert [json.loads(line)[:2] for line in lines[2:6]] == [["raised", "UsageError"]] * 4
    assert replay(lines).difference is None
    lines[2] = lines[2].replace("UsageError", "KeyError")
    difference = replay(lines).difference
    assert difference is not None and difference.line == 3 and "raised UsageError" in str(difference)


@pytest.mark.parametrize("pts", [float("nan"), float("inf"), 1e300, 0.5, -1, 10**40, None, "text", b"x", True])
def test_a_broken_stamp_is_recorded_and_dropped_again(pts: Any) -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    recorder.push(MediaUnit(AUDIO, 0, 0, pts, SLOT), 0)
    recorder.push(MediaUnit(VIDEO, 0, 0, 0, pts), 0)
    drain(recorder, 0)
    json.loads(lines[1], parse_float=lambda _text: pytest.fail("a float"))
    assert replay(lines).difference is None
    assert "bad_pts" in lines[-1]


def test_a_source_that_counts_in_floats_is_replayed_in_floats() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    unit = next(content(1))
    recorder.push(unit._replace(epoch=1.5, size_bytes=80.25), 0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="whole ns"):
        recorder.on_presented(Presented(AUDIO, 0, 0.5, 0, 0, ObservedBy.SIM), ms(1000))  # type: ignore[arg-type]
    drain(recorder, ms(1000))
    assert recorder.interrupt(2, ms(1000)).played_pts_ns is None
    _, calls = read(lines)
    first = next(calls)
    assert (first.args[0].epoch, first.args[0].size_bytes) == (1.5, 80.25)
    assert replay(lines).difference is None


def test_polls_that_stop_early_are_replayed_as_often() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    for unit in content(10):
        recorder.push(unit, 0)
    for now in range(0, ms(200), ms(10)):
        recorder.poll(now)  # once, whatever there is
        recorder.poll(now)
    recorder.push(next(content(1)), ms(200))
    assert recorder.poll(ms(200)) is not None
    recorder.flush()
    assert json.loads(lines[-1])[0] == "part"
    result = replay(lines)
    assert result.difference is None and result.answers > 10


def test_a_long_batch_of_answers_becomes_several_bounded_lines() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    for unit in content(400):
        recorder.push(unit, 0)
    recorder.close(0)
    drain(recorder, 0)
    told = [json.loads(line) for line in lines[602:]]
    assert [row[0] for row in told] == ["part", "part", "poll"] and max(map(len, told)) <= 2 + MAX_ANSWERS_A_LINE
    assert replay(lines).answers == 600


def test_how_a_unit_came_is_recorded() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    recorder.push(MediaUnit(VIDEO, 1, 2, 3, 4, 5, False, False, True), 0, in_order=False)
    recorder.push(MediaUnit(VIDEO, 1, 2, 4, 5, 6, False, True), 0)
    _, calls = read(lines)
    first, second = calls
    assert (first.args[0], first.in_order) == (MediaUnit(VIDEO, 1, 2, 3, 4, 5, False, False, True), False)
    assert (second.args[0], second.in_order) == (MediaUnit(VIDEO, 1, 2, 4, 5, 6, False, True), True)


def test_what_an_engine_answered_before_it_broke_is_recorded_before_it() -> None:
    class Breaks(AvSynchronizer):
        polls = 0

        def poll(self, now_ns: int) -> Answer | None:
            self.polls += 1
            if self.polls == 2:
                raise ZeroDivisionError
            return super().poll(now_ns)

    lines: list[str] = []
    recorder = Recorder(Breaks(), lines.append)
    assert recorder.poll(0) is not None
    with pytest.raises(ZeroDivisionError):
        recorder.poll(0)
    assert [json.loads(line)[:2] for line in lines[1:]] == [["part", 0], ["raised", "ZeroDivisionError"]]


# ---- what is found


def test_a_replay_says_what_it_compared() -> None:
    result = replay(recorded())
    assert result.difference is None
    assert result.answers > 200 and result.calls == len(recorded()) - 2
    assert str(result).startswith("the same: ")


def first_line_with(lines: list[str], *words: str) -> int:
    return next(number for number, line in enumerate(lines, 1) if all(word in line for word in words))


def test_one_policy_value_flipped_differs_where_it_first_matters() -> None:
    lines = recorded()
    header = json.loads(lines[0])
    header["policy"]["playout_delay_ns"] = ms(60)
    where = first_line_with(lines, '["Present","audio",0,')
    result = replay([json.dumps(header), *lines[1:]], "call.jsonl")
    assert result.difference is not None and result.difference.line == where
    assert str(result).splitlines()[0] == f"differs at call.jsonl:{where}"
    assert "recorded  Present audio 0 pts_ns=0" in str(result)
    assert "now       InsertSilence at_ns=" in str(result) and "reason=waiting" in str(result)


@pytest.mark.parametrize("seq", [3, 57, 70])
def test_one_unit_flipped_differs_where_it_is_answered(seq: int) -> None:
    lines = recorded()
    push = first_line_with(lines, '["push",', f'"audio",{seq},')
    row = json.loads(lines[push - 1])
    row[5] += 1  # one nanosecond
    lines[push - 1] = json.dumps(row)
    where = next(n for n, line in enumerate(lines, 1) if f'"audio",{seq},' in line and '"push"' not in line)
    result = replay(lines)
    assert result.difference is not None and result.difference.line == where > push
    assert "pts_ns +1e-06 ms" in str(result)


def test_every_answer_counts() -> None:
    """Whichever recorded answer is changed, in whichever field: the replay stops at that line."""
    lines = recorded()
    chance = random.Random(1)
    tried = 0
    for number, line in enumerate(lines[1:], 1):
        row = json.loads(line)
        if row[0] == "wake":
            row[1] += 1
        elif row[0] == "poll" and len(row) > 2:
            answer = chance.choice(row[2:])
            place = chance.choice([i for i, value in enumerate(answer) if type(value) is int])
            answer[place] += 1
        elif row[0] == "interrupt":
            row[3][chance.randrange(3)] += 1
        else:
            continue
        if chance.random() < 0.3:
            tried += 1
            difference = replay([*lines[:number], json.dumps(row), *lines[number + 1 :]]).difference
            assert difference is not None and difference.line == number + 1
    assert tried > 50


def test_an_answer_more_or_less_is_a_difference() -> None:
    lines = recorded()
    where = first_line_with(lines, '"Present","audio",5,')
    row = json.loads(lines[where - 1])
    more = replay([*lines[: where - 1], json.dumps([*row, row[-1]]), *lines[where:]]).difference
    less = replay([*lines[: where - 1], json.dumps(row[:-1]), *lines[where:]]).difference
    assert more is not None and more.line == where and more.now is None and "now       nothing" in str(more)
    assert less is not None and less.line == where and less.recorded is None and "recorded  nothing" in str(less)


def test_a_difference_in_time_is_spoken_in_ms() -> None:
    lines = recorded()
    where = first_line_with(lines, '"Present","audio",5,')
    row = json.loads(lines[where - 1])
    row[2][4] -= ms(20)
    text = str(replay([*lines[: where - 1], json.dumps(row), *lines[where:]]))
    assert "that is   at_ns +20 ms" in text and len(text.splitlines()) == 6


def test_the_command_says_the_same_and_exits_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "call.jsonl"
    lines = recorded()
    path.write_text("".join(lines), encoding="utf-8")
    assert main(["replay", str(path)]) == 0
    assert capsys.readouterr().out.startswith("the same: ")
    path.write_text(
        "".join(lines).replace('"playout_delay_ns":40000000', '"playout_delay_ns":60000000'), encoding="utf-8"
    )
    assert main(["replay", str(path)]) == 1
    assert capsys.readouterr().out.startswith(f"differs at {path}:")
    path.write_text("".join(lines)[:-4], encoding="utf-8")
    assert main(["replay", str(path)]) == 2
    assert f"{path}:{len(lines)}: not a line of JSON" in capsys.readouterr().err


# ---- properties


ODD = st.sampled_from([None, "x", "1.5", float("nan"), float("inf"), -1.5, 10**30, True, -5])
NUMBERS = st.integers(0, 300)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Any calls in any order; time mostly goes on, stamps are mostly whole."""
    steps = []
    for _ in range(draw(st.integers(1, 60))):
        what = draw(st.sampled_from(["push"] * 6 + ["drain"] * 5 + ["poll", "finish", "interrupt", "seen", "wake"]))
        later = draw(st.sampled_from([0, 0, ms(1), ms(7), SLOT, SLOT, ms(55), ms(700), -1]))
        pts = draw(NUMBERS) * ms(10) if draw(st.integers(0, 9)) else draw(ODD)
        steps.append((what, later, draw(st.sampled_from([AUDIO, VIDEO])), draw(st.integers(0, 3)), pts, draw(NUMBERS)))
    return steps


def live(engine: Any, history: list[tuple[Any, ...]]) -> None:
    now = 0
    for what, later, kind, epoch, pts, number in history:
        now += later
        try:
            if what == "push":
                unit = MediaUnit(kind, number, epoch, pts, 2 * SLOT, number, number % 5 == 0, number % 3 == 0)
                engine.push(unit._replace(pause=number % 7 == 0), now, in_order=number % 11 != 0)
            elif what == "drain":
                drain(engine, now)
            elif what == "poll":
                engine.poll(now)
            elif what == "finish":
                engine.finish(kind, epoch, now)
            elif what == "interrupt":
                engine.interrupt(epoch, now)
            elif what == "seen":
                engine.on_presented(Presented(kind, epoch, pts, number, now, ObservedBy.SIM), now)
            else:
                engine.next_wakeup_ns()
        except UsageError:
            now -= later


@given(history=histories(), network=st.booleans(), policy=st.sampled_from(["default", "two_clocks", "video_master"]))
def test_any_history_replays_to_the_same_answers(history: list[Any], network: bool, policy: str) -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(AvSyncPolicy.preset(policy), network=network), lines.append)
    live(recorder, history)
    recorder.flush()
    result = replay(lines)
    assert result.difference is None, str(result)
    assert len(lines) == 1 + result.calls


# ---- live calls


@pytest.mark.parametrize("pull", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_call_on_a_jittery_asyncio_loop_replays_to_identical_answers(pull: bool, seed: int) -> None:
    lines: list[str] = []
    chance = random.Random(seed)
    recorder = Recorder(AvSynchronizer(), lines.append)
    run(lambda loop: call(loop, recorder, Sink(), pull=pull), late_ns=lambda: chance.randrange(ms(15)))
    result = replay(lines)
    assert result.difference is None, str(result)
    assert result.answers > 400
    kinds = {answer[0] for line in lines[1:] for answer in json.loads(line)[2:] if isinstance(answer, list)}
    assert kinds >= {"Present", "Repeat", "InsertSilence", "Drop", "Degrade", "Request", "Alert"}


@pytest.mark.parametrize("end", [False, True])
def test_an_engine_that_has_been_called_cannot_be_recorded_any_more(end: bool) -> None:
    engine = AvSynchronizer()
    engine.push(MediaUnit(AUDIO, 0, 0, 0, SLOT), 0)
    if end:
        engine.close(SLOT)
    with pytest.raises(UsageError, match="before the engine's first call"):
        Recorder(engine, [].append)


# ---- whether all of it is there


def test_a_recording_cut_at_the_end_of_any_line_is_told_from_a_whole_one() -> None:
    lines = recorded()
    assert replay(lines).same and str(replay(lines)).startswith("the same: ")
    for kept in (1, 2, len(lines) // 2, len(lines) - 1):
        cut = replay(lines[:kept])
        assert cut.difference is None and not cut.whole and not cut.same
        assert str(cut).startswith("cut: its last line") and "the same: " not in str(cut)


def test_nothing_comes_after_the_last_line() -> None:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(), lines.append)
    recorder.poll(0)
    recorder.end()
    recorder.poll(SLOT)  # whoever looks on is not stopped, but it is not in the recording
    recorder.end()
    assert lines[-1] == '["end"]\n' and lines.count('["end"]\n') == 1
    assert replay(lines).same and replay(lines).calls == 1
    for more in ('["poll",0]', '["end"]', ""):
        with pytest.raises(InputError, match="after the last line"):
            replay([*lines, more])
