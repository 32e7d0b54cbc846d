"""Recordings and the lab: one story under asyncio, SimPy and plain replay; a lab run replays from its files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, cast

import pytest

from avsync.cli import main
from avsync.engine.synchronizer import AvSynchronizer
from avsync.recording.lines import RecordedCall, read, repeat
from avsync.recording.recorder import Recorder
from avsync.recording.replay import replay
from avsync.types import Answer
from avsync.units import ms, seconds
from sim.run.host import EngineDriver, Host
from sim.run.world import simulate
from sim.scenario.scenario import Scenario, build, load_scenario
from sim.virtual_time import VirtualTime
from tests.adapters.driver_story import Sink, call
from tests.virtual_loop import run

ROOT = Path(__file__).resolve().parents[3]


def recorded_call(seed: int, up_to_ns: int, *, pull: bool = False) -> list[str]:
    lines: list[str] = []
    chance = random.Random(seed)
    recorder = Recorder(AvSynchronizer(), lines.append)
    run(lambda loop: call(loop, recorder, Sink(), pull=pull), late_ns=lambda: chance.randrange(up_to_ns + 1))
    return lines


@pytest.mark.parametrize("pull", [False, True])
@pytest.mark.parametrize("seed", [3, 4])
def test_a_call_recorded_under_asyncio_gives_identical_answers_under_simpy(seed: int, pull: bool) -> None:
    """Late callbacks and all: virtual time brings each call at its own moment, and the engine is told that."""
    lines = recorded_call(seed, ms(12), pull=pull)
    assert replay(lines).difference is None
    engine, calls = read(lines)
    env = VirtualTime(0)
    answers: list[tuple[Any, Any]] = []

    def story(calls: list[RecordedCall]) -> Any:
        for each in calls:
            if each.now_ns is not None and each.now_ns > env.now:
                yield env.timeout(each.now_ns - env.now)
            for recorded in each.expected:
                answers.append((recorded, repeat(engine, each, None if each.now_ns is None else env.now)))

    env.process(story(list(calls)))
    env.run()
    assert len(answers) > 1000
    assert [now for _, now in answers] == [recorded for recorded, _ in answers]


def test_the_asyncio_driver_and_the_labs_are_the_same_driver() -> None:
    """Only the inputs are taken from the recording; the lab's driver polls by its own timers."""
    lines = recorded_call(0, 0)
    told = [json.loads(line) for line in lines[1:]]
    under_asyncio = [answer for row in told if row[0] in ("poll", "part") for answer in row[2:]]

    engine, calls = read(lines)
    env = VirtualTime(0)
    again: list[str] = []
    recorder = Recorder(engine, again.append)
    driver = EngineDriver(Host(env), cast(AvSynchronizer, recorder), lambda _answer, _now: None)
    inputs = [each for each in calls if each.name not in ("poll", "part", "wake")]

    def story() -> Any:
        driver.pump()
        for each in inputs:
            yield env.timeout(each.now_ns - env.now)
            repeat(cast(AvSynchronizer, recorder), each)
            driver.pump()

    env.process(story())
    env.run(until=inputs[-1].now_ns + 1)
    rows = [json.loads(line) for line in again[1:]]
    under_simpy = [answer for row in rows if row[0] in ("poll", "part") for answer in row[2:]]
    assert len(under_asyncio) > 400
    assert under_simpy == under_asyncio


def stall_of_10_s() -> Scenario:
    data = load_scenario(ROOT / "scenarios" / "video_stall.yaml").to_dict()
    data["duration_s"] = 10
    data["steps"][0]["at_s"] = 3
    return build(data, name="video_stall")


@pytest.fixture(scope="module")
def lab_run() -> dict[str, list[str]]:
    """Each engine's recording, by its name."""
    recordings: dict[str, list[str]] = {}

    def wrap(engine: AvSynchronizer, name: str) -> AvSynchronizer:
        return cast(AvSynchronizer, Recorder(engine, recordings.setdefault(name, []).append))

    scenario = stall_of_10_s()
    told = simulate(scenario, policy=scenario.engine_policy, viewer="avsync", seed=1, wrap_engine=wrap)
    plain = simulate(scenario, policy=scenario.engine_policy, viewer="avsync", seed=1)
    assert (told.at_output.beliefs, told.at_viewer.beliefs) == (plain.at_output.beliefs, plain.at_viewer.beliefs), (
        "recording changes nothing"
    )
    return recordings


def test_a_lab_run_replays_identically(lab_run: dict[str, list[str]]) -> None:
    assert set(lab_run) == {"sender", "viewer"}
    for lines in lab_run.values():
        result = replay(lines)
        assert result.difference is None, str(result)
        assert result.answers > 500
    last = json.loads(lab_run["sender"][-1])
    assert last[0] in ("poll", "wake") and max(json.loads(x)[1] for x in lab_run["sender"][-5:]) > seconds(9.9)


def line_with(lines: list[str], *words: str) -> int:
    return next(number for number, line in enumerate(lines, 1) if all(word in line for word in words))


def test_a_policy_value_flipped_is_found_at_the_line_where_it_matters(lab_run: dict[str, list[str]]) -> None:
    """Repeats begin 120 ms after the first missing picture: at 140 the first of them is what differs."""
    lines = lab_run["sender"]
    header = json.loads(lines[0])
    header["policy"]["repeat_after_ns"] = ms(140)
    result = replay([json.dumps(header), *lines[1:]], "sender.jsonl")
    where = line_with(lines, '["Repeat",')
    assert result.difference is not None, "the scenario's stall made no repeat"
    assert (result.difference.file, result.difference.line) == ("sender.jsonl", where)
    assert str(result).startswith(f"differs at sender.jsonl:{where}\n")


@pytest.mark.parametrize(("kind", "seq"), [("audio", 200), ("video", 40)])
def test_one_unit_flipped_is_found_where_it_is_answered(lab_run: dict[str, list[str]], kind: str, seq: int) -> None:
    lines = list(lab_run["sender"])
    push = line_with(lines, '["push",', f'"{kind}",{seq},')
    row = json.loads(lines[push - 1])
    row[5] += ms(1)
    lines[push - 1] = json.dumps(row)
    result = replay(lines)
    answered = next(n for n, line in enumerate(lines, 1) if f'"{kind}",{seq},' in line and '"push"' not in line)
    assert result.difference is not None
    # A picture's new due time is already told by the wake-up before it.
    assert push < result.difference.line <= answered
    if kind == "audio":
        assert result.difference.line == answered


def test_answers_are_the_types_that_the_format_knows() -> None:
    """A new answer type without a word in the format would be recorded and then refused."""
    from typing import get_args

    from avsync.recording.lines import ANSWERS

    assert {answer.__name__ for answer in get_args(Answer)} == set(ANSWERS)


def test_a_run_in_the_lab_is_recorded_to_its_end_and_the_command_tells_a_cut_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("call.yaml").write_text("avsync: 1\nabout: A short call.\nduration_s: 3\nseeds: [1]\nviewer: avsync\n")
    assert main(["run", "call.yaml", "--record", "--no-plots"]) in (0, 1)
    files = sorted(Path("results").rglob("*.jsonl"))
    recordings = [file for file in files if file.parent.name == "recordings"]
    assert len(recordings) == 2
    for file in recordings:
        assert main(["replay", str(file)]) == 0
        whole = file.read_text()
        file.write_text("".join(whole.splitlines(keepends=True)[:-1]))
        assert main(["replay", str(file)]) == 1
        assert "cut: its last line" in capsys.readouterr().out
