"""``avsync list``, ``explain``, ``new`` and ``show``: they run nothing, and answer with exit code 0 or 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsync.cli import BAD_INPUT, LISTS, MET, main
from sim.scenario.reference import SORTS
from sim.scenario.scenario import load_scenario

pytestmark = pytest.mark.lab

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


def test_the_command_line_lists_what_the_reference_has() -> None:
    assert sorted(LISTS) == sorted(("scenarios", *SORTS, "schema"))


@pytest.mark.parametrize(
    ("what", "word", "meaning"),
    [
        ("metrics", "recovery_ms", "first second in sync"),
        ("policies", "patient", "300 ms of common delay"),
        ("networks", "measured-5g-stall", "CICV5G"),
        ("steps", "route_step", "The way changes"),
        ("keys", "source.video.blocks.late_ms", "How late each block begins"),
        ("policy-fields", "late_video_ms", "BT.1359"),
        ("words", "belief", "what it can observe"),
        ("schema", '"$defs"', "avsync scenario, version 1"),
    ],
)
def test_list_prints_every_word_with_its_meaning(capsys: Said, what: str, word: str, meaning: str) -> None:
    assert main(["list", what]) == MET
    said = capsys.readouterr().out
    assert word in said and meaning in said


def test_list_alone_names_every_scenario_with_its_tags(capsys: Said) -> None:
    assert main(["list"]) == MET
    said = capsys.readouterr().out
    # Square brackets are rich's own markup: tags vanished here once.
    assert "video_stall [basic, stall]" in said
    assert "clean [basic]" in said


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("offset_abs_p95_ms", ["(metric)", "unit:     ms", "window all, clear, after_fault", "at_most: 45"]),
        ("output_recovery_ms", ["Measured at our output.", "{metric: output_recovery_ms, at_most: 1000}"]),
        ("stall", ["(step)", "for_s [s]: How long.", "do: stall"]),
        ("webrtc-3g-average", ["(network)", "libwebrtc", "preset: webrtc-3g-average"]),
        ("patient", ["(policy)", "--policy patient"]),
        ("late_video_ms", ["(policy field)", "unit:     ms", "default:  45", "late_video_ms: 60"]),
        ("belief", ["(word)", "monitor", "believed_"]),
        ("leg", ["leg  (word)", "One part of the way", "impair.leg  (key)"]),
        ("resume", ["source.video.resume", "stall.resume", "live, burst or continue"]),
        ("loss", ["network.to_bridge.loss", "the same in network.to_viewer.loss, impair.loss", "share of 1"]),
    ],
)
def test_explain_says_unit_meaning_and_an_example(capsys: Said, word: str, parts: list[str]) -> None:
    assert main(["explain", word]) == MET
    said = capsys.readouterr().out
    assert [part for part in parts if part not in said] == []


def test_an_unknown_word_is_2_with_the_nearest_right_ones(capsys: Said) -> None:
    assert main(["explain", "offset_p95_ms"]) == BAD_INPUT
    assert "did you mean 'offset_abs_p95_ms'" in capsys.readouterr().err
    assert main(["explain", "qqqqqq\x1b[31m"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert "see avsync list keys, metrics, steps" in said and "\x1b" not in said


def test_new_writes_a_scenario_that_passes_and_never_overwrites_one(here: Path, capsys: Said) -> None:
    assert main(["new", "my_call"]) == MET
    text = (here / "my_call.yaml").read_text(encoding="utf-8")
    assert "avsync run my_call.yaml" in text and load_scenario(here / "my_call.yaml").baseline is None
    assert main(["run", "my_call.yaml", "--no-plots", "--jobs", "1", "--out", "out"]) == MET
    (here / "my_call.yaml").write_text("mine", encoding="utf-8")
    assert main(["new", "my_call.yaml"]) == BAD_INPUT
    assert "this file exists" in capsys.readouterr().err
    assert (here / "my_call.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["no/such/folder", "a\0b", "\udcff", "x" * 300, "", "..", " ", "a\nname: b"])
def test_new_refuses_what_cannot_be_a_file(here: Path, capsys: Said, name: str) -> None:
    assert main(["new", name]) == BAD_INPUT
    assert "cannot write the scenario" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_show_draws_the_timeline_as_text_and_as_a_picture_and_runs_nothing(here: Path, capsys: Said) -> None:
    assert main(["show", "video_stall", "--plot", "line.png"]) == MET
    said = capsys.readouterr().out
    assert "stall video" in said and "window after_fault" in said and "The pictures stop" not in said.splitlines()[3]
    assert (here / "line.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in here.iterdir()] == ["line.png"]


def test_show_needs_one_file_and_a_folder_that_is_there(here: Path, capsys: Said) -> None:
    assert main(["show", "scenarios/"]) == BAD_INPUT
    assert main(["show", "clean", "--plot", "no/such.png"]) == BAD_INPUT
    assert main(["show", "cleen"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert "name one file" in said and "no such folder" in said and "did you mean 'clean'?" in said


def test_the_picture_is_of_the_sort_that_its_name_says(here: Path, capsys: Said) -> None:
    assert main(["show", "clean", "--plot", "line.SVG"]) == MET
    assert "<svg" in (here / "line.SVG").read_text(encoding="utf-8")
    capsys.readouterr()
    for name in ("line.txt", "line", "", "line.pgf"):
        assert main(["show", "clean", "--plot", name]) == BAD_INPUT
        said = capsys.readouterr()
        assert "no picture's name" in said.err and "end it in .png, or in " in said.err and said.out == ""
    assert [path.name for path in here.iterdir()] == ["line.SVG"]


@pytest.mark.parametrize("command", ["run", "replay", "list", "explain", "new", "show"])
def test_every_help_has_examples(capsys: Said, command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"  avsync {command}" in capsys.readouterr().out.partition("example")[2]
