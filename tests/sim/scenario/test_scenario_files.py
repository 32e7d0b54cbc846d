"""Scenarios are found by name, folder and file, in a checkout and in the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsync.errors import InputError
from sim.scenario import files as scenario_files
from sim.scenario.files import resolve, shipped


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed lab with three scenarios, and an empty folder to stand in."""
    folder = tmp_path / "site" / "sim" / "_scenarios"
    folder.mkdir(parents=True)
    for name in ("video_stall", "audio_stall", "clean"):
        (folder / f"{name}.yaml").write_text("avsync: 1\n")
    (folder / "notes.txt").write_text("not a scenario")
    (folder / ".hidden.yaml").write_text("not a scenario")
    monkeypatch.setattr(scenario_files, "__file__", str(folder.parent / "scenario" / "files.py"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_in_the_wheel_they_lie_inside_the_package(lab: Path) -> None:
    assert shipped() == lab


def test_in_a_checkout_they_lie_beside_the_package(lab: Path) -> None:
    for path in lab.iterdir():
        path.unlink()
    lab.rmdir()
    assert shipped() == lab.parent.parent / "scenarios"


def test_a_name_works_from_any_folder(lab: Path) -> None:
    assert resolve(["video_stall"]) == [lab / "video_stall.yaml"]


@pytest.mark.parametrize("args", [[], ["scenarios/"], ["scenarios"], ["./scenarios"]])
def test_without_a_folder_of_that_name_scenarios_are_the_shipped_ones(lab: Path, args: list[str]) -> None:
    assert [path.stem for path in resolve(args)] == ["audio_stall", "clean", "video_stall"]


def test_a_folder_here_wins_over_the_shipped_one(lab: Path) -> None:
    Path("scenarios").mkdir()
    Path("scenarios/mine.yml").write_text("avsync: 1\n")
    assert resolve(["scenarios/"]) == [Path("scenarios/mine.yml")]


def test_a_folder_called_like_a_scenario_does_not_hide_it(lab: Path) -> None:
    Path("clean").mkdir()
    assert resolve(["clean"]) == [lab / "clean.yaml"]


def test_each_file_once_in_the_order_given(lab: Path) -> None:
    named = resolve(["video_stall", str(lab), "clean", f"{lab}/../_scenarios/clean.yaml"])
    assert [path.stem for path in named] == ["video_stall", "audio_stall", "clean"]


@pytest.mark.parametrize(
    ("arg", "answer"),
    [
        ("vidoe_stall", "did you mean 'video_stall'?"),
        ("scenarios/vidoe_stall.yaml", "did you mean 'video_stall'?"),
        ("cleen.yaml", "did you mean 'clean'?"),
        ("mine/stall_b.yaml", "did you mean 'mine/stall_a.yaml'?"),
        ("qqqqqqq", "shipped: audio_stall, clean, video_stall"),
        ("mine/deeper", "shipped: audio_stall, clean, video_stall"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest_right_one(lab: Path, arg: str, answer: str) -> None:
    Path("mine").mkdir()
    Path("mine/stall_a.yaml").write_text("avsync: 1\n")
    with pytest.raises(InputError) as caught:
        resolve(["clean", arg])
    assert arg in str(caught.value)
    assert answer in str(caught.value)


def test_a_folder_without_scenarios_is_refused(lab: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match="no scenario in this folder"):
        resolve(["empty"])


@pytest.mark.parametrize("arg", ["", "a\0b", "x" * 100_000, "x/" * 50_000, "clean/clean", "..", "~nobody/x.yaml"])
def test_hostile_arguments_get_one_short_error(lab: Path, arg: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve([arg])
    assert len(str(caught.value)) < 1000


def test_this_checkout_ships_the_folder_beside_sim() -> None:
    assert shipped() == Path(__file__).resolve().parents[3] / "scenarios"
