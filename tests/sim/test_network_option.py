"""``--network``: what it means, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsync.cli import BAD_INPUT, MET, MISSED, main
from avsync.errors import InputError
from sim.network_option import networks_for
from sim.scenario.scenario import Scenario, build, load_scenario

RATES = "time_s,mbps\n" + "".join(f"{t},5\n" for t in range(10))
PROBES = "t_s,rtt_ms\n" + "".join(f"{t / 10:.1f},{80 + t % 3}\n" for t in range(50))


def scenario(topology: str = "local_encode", **more: Any) -> Scenario:
    return build({"avsync": 1, "about": "A call.", "tags": ["reference"], "topology": topology, **more})


@pytest.fixture
def rates(tmp_path: Path) -> str:
    path = tmp_path / "rates.csv"
    path.write_text(RATES)
    return str(path)


@pytest.fixture
def probes(tmp_path: Path) -> str:
    path = tmp_path / "probes.csv"
    path.write_text(PROBES)
    return str(path)


def test_a_file_alone_is_the_way_to_the_viewer_and_its_assumptions_are_said(probes: str) -> None:
    (given,) = networks_for([probes], [scenario()])
    assert given[:2] == ("to_viewer", probes)
    assert "RTT halved" in given.about and "50 probes in 4.9 s" in given.about


def test_each_leg_has_its_own_trace(probes: str, rates: str) -> None:
    both = networks_for([f"{rates}@to_bridge", f"{probes}@to_viewer"], [scenario("provider_bridge")])
    assert [(leg, path) for leg, path, _ in both] == [("to_bridge", rates), ("to_viewer", probes)]


def test_a_name_with_an_at_sign_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "me@home.csv"
    path.write_text(PROBES)
    assert networks_for([str(path)], [scenario()])[0][:2] == ("to_viewer", str(path))
    assert networks_for([f"{path}@to_viewer"], [scenario()])[0][:2] == ("to_viewer", str(path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{}@to_nowhere"], "no leg is named 'to_nowhere'"),
        ([""], "no file in ''"),
        (["@to_viewer"], "no file in '@to_viewer'"),
        (["{}", "{}@to_viewer"], "to_viewer is given twice"),
        (["{}@to_bridge"], "nothing crosses to_bridge"),
    ],
)
def test_what_means_nothing_is_refused(probes: str, words: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        networks_for([word.format(probes) for word in words], [scenario()])
    assert said in str(caught.value) and "\n  " in str(caught.value)


def test_a_trace_for_the_bridge_is_for_those_that_have_one(probes: str) -> None:
    assert networks_for([f"{probes}@to_bridge"], [scenario(), scenario("provider_bridge")])


STEP = {"at_s": 5, "do": "impair", "leg": "to_viewer", "for_s": 2, "rate_kbps": 300}


def test_a_step_cannot_set_the_rate_that_a_trace_tells(rates: str, probes: str) -> None:
    """It used to end in a traceback in the middle of the run."""
    squeezed = scenario(steps=[{**STEP, "rate_kbps": None, "loss": 0.1}, STEP])
    with pytest.raises(InputError, match="step 2 of .* sets rate_kbps on to_viewer"):
        networks_for([rates], [squeezed])
    assert networks_for([probes], [squeezed]), "delays and a rate go together"
    bridged = scenario("provider_bridge", steps=[STEP])
    assert networks_for([f"{rates}@to_bridge"], [bridged]), "the step is about the other leg"


def test_a_scenario_s_own_trace_is_held_against_its_steps_too(tmp_path: Path, rates: str) -> None:
    text = f"""\
avsync: 1
about: A trace, and a step against it.
tags: [reference]
network: {{to_viewer: {{trace: {Path(rates).name}}}}}
steps: [{{at_s: 5, do: impair, for_s: 2, rate_kbps: 300}}]
"""
    (tmp_path / "own.yaml").write_text(text)
    own = load_scenario(tmp_path / "own.yaml")
    with pytest.raises(InputError, match="step 1 of own sets rate_kbps") as caught:
        networks_for([], [own])
    assert caught.value.file == rates
    Path(rates).unlink()
    with pytest.raises(InputError, match="No such file"):
        networks_for([], [own])


CALL = """\
avsync: 1
about: A short call.
tags: [reference]
duration_s: 5
seeds: [1]
viewer: avsync
"""


def run(tmp_path: Path, *words: str) -> int:
    (tmp_path / "call.yaml").write_text(CALL)
    options = ["--no-plots", "--jobs", "1", "--out", str(tmp_path / "results")]
    return main(["run", str(tmp_path / "call.yaml"), *words, *options])


def test_the_command_says_what_it_read_and_runs_it(
    tmp_path: Path, probes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--network", probes) in (MET, MISSED)
    said = capsys.readouterr().out
    assert f"{probes}@to_viewer: " in said and "RTT halved" in said


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("words.csv", b"x@y\n", "line 1: the first line is neither numbers nor the header of a table"),
        ("cell.csv", b"t_s,rtt_ms\n0,10\n1,abc\n", "line 3: rtt_ms must be a number, got 'abc'"),
        ("random.bin", bytes(range(256)), "this is not a text file"),
        ("empty.csv", b"", "nothing to read"),
        ("zero.csv", b"time_s,mbps\n0,0\n1,0\n", "the bandwidth is 0 from start to end"),
        ("missing.csv", None, "No such file"),
    ],
)
def test_bad_files_end_in_one_error_that_names_the_place_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, rule: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for words in (["--network", str(path)], ["--network", f"{path}@to_viewer"]):
        assert run(tmp_path, *words) == BAD_INPUT
        said = capsys.readouterr()
        assert said.err.startswith(f"avsync: {path}:") and rule in said.err and "Traceback" not in said.err
        assert not said.out and not (tmp_path / "results").exists()


def test_a_bad_clip_ends_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "garbage.mp4"
    path.write_bytes(b"garbage")
    assert run(tmp_path, "--clip", str(path)) == BAD_INPUT
    said = capsys.readouterr()
    assert said.err.startswith(f"avsync: {path}: not a media file that can be read") and "Traceback" not in said.err
    assert not (tmp_path / "results").exists()
