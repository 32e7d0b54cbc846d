"""`avsync attack`: what it finds, says and writes; the same for the same seed; bad input before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsync.cli import main
from avsync.policy import AvSyncPolicy
from sim.attack import command
from sim.attack.features import features
from sim.attack.finds import file_name, kind_of, panel_lines, scenario_text, write_find
from sim.attack.invariants import Breach
from sim.attack.search import Attack, Find, Judge, attack, smallest
from sim.scenario.scenario import load_scenario, loads

HEAD: dict[str, Any] = {
    "avsync": 1, "about": "Drawn.", "tags": ["reference"], "duration_s": 8, "seeds": [3], "viewer": "avsync",
}  # fmt: skip
LATE = {**HEAD, "source": {"video": {"delay_ms": 600}}}
HANGS = {**HEAD, "steps": [{"at_s": 2, "do": "hold", "for_ms": 2000}, {"at_s": 3, "do": "mute", "for_s": 1}]}


class Planned(Judge):
    """Says that a scenario with a hold breaks one invariant, and one with late pictures another; runs nothing."""

    def __init__(self) -> None:
        super().__init__(AvSyncPolicy())
        self.asked: list[dict[str, Any]] = []

    def __call__(self, data: Any) -> list[Breach]:
        self.asked.append(data)
        found = [Breach("late at output", "late")] if "source" in data else []
        hangs = any(step["do"] == "hold" for step in data.get("steps", ()))
        return found + ([Breach("hangs at output", "hangs")] if hangs else [])

    def only(self, breach: Breach) -> Judge:
        return self


def test_each_kind_is_made_small_once_and_then_counted() -> None:
    both = {**LATE, "steps": HANGS["steps"]}
    found = attack(iter([HEAD, LATE, LATE, HANGS, both, HEAD]), Planned())
    assert [(find.name, find.count) for find in found.finds] == [
        ("late at output: video.delay_ms", 3), ("hangs at output: hold", 2),
    ]  # fmt: skip
    assert found.finds[1].data == {**HEAD, "seeds": [1], "steps": [{"at_s": 2, "do": "hold", "for_ms": 2000}]}
    assert found.counts.scenarios == 6 and not found.stopped


def test_what_is_known_is_counted_and_not_made_small() -> None:
    judge = Planned()
    found = attack(iter([LATE, LATE, HANGS]), judge, is_known=lambda kind, _: kind.startswith("late"))
    assert found.known == {"late at output": 2} and [find.kind for find in found.finds] == ["hangs at output"]
    assert sum("source" in data for data in judge.asked) == 2


def test_it_stops_after_so_many_examples_or_when_the_time_is_over() -> None:
    assert attack(iter([HEAD] * 9), Planned(), examples=4).counts.scenarios == 4
    left = iter([False, False, True])
    over = attack(iter([HEAD] * 9), Planned(), until=lambda: next(left))
    assert over.stopped and over.counts.scenarios == 2


def test_when_the_time_is_over_a_find_stays_as_it_was_drawn() -> None:
    find = smallest(HANGS, Breach("hangs at output", "hangs"), Planned(), until=lambda: True)
    assert find.data == HANGS and find.steps == 2


def find_of(data: dict[str, Any], kind: str = "stall_untold at output") -> Find:
    return Find(Breach(kind, "no picture for 2.0 s"), features(data), data, 7, 12)


def test_a_find_is_a_scenario_to_commit(tmp_path: Path) -> None:
    find = find_of(HANGS)
    assert file_name(find) == "stall_untold_at_output_hold_mute"
    text = scenario_text(find, "avsync attack --seed 5")
    assert text.startswith("# Found by avsync attack --seed 5, example 7.\n# kind: stall_untold at output\n")
    assert "  - {at_s: 2, do: hold, for_ms: 2000}\n" in text and "network" not in text
    assert kind_of(text) == "stall_untold at output"
    scenario = loads(text)
    assert (scenario.seeds, scenario.viewer, len(scenario.steps)) == ((3,), "avsync", 2)


def test_a_find_that_was_not_made_small_can_be_loaded_too() -> None:
    video = {"key_every_s": 6.5, "join_at_s": 2, "real_rate_ppm": -1000, "encoded": True, "can_skip": True}
    blocks = {"speed": 1.5, "late_ms": [200, 500], "frames": [8, 16]}
    large = {**HEAD, "source": {"turns": {"talk_s": 3.5}, "video": {**video, "can_fps": True, "blocks": blocks}}}
    scenario = loads(scenario_text(find_of(large), "avsync attack"))
    assert scenario.source.video.blocks is not None and scenario.source.turns.talk_s == 3.5


def test_a_find_comes_with_a_picture_and_the_panels_row(tmp_path: Path) -> None:
    file = write_find(find_of(LATE), tmp_path, AvSyncPolicy(), "avsync attack")
    assert load_scenario(file).source.video.delay_ms == 600
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    row = file.with_suffix(".md").read_text(encoding="utf-8")
    assert "| pass_through | output |" in row and "| default | viewer |" in row


def test_a_crash_has_a_picture_of_what_was_to_happen(tmp_path: Path) -> None:
    file = write_find(find_of(HANGS, "exception KeyError in a.py:b"), tmp_path, AvSyncPolicy(), "avsync attack")
    assert file.with_suffix(".png").exists() and "does not run" in file.with_suffix(".md").read_text(encoding="utf-8")


def test_the_panel_has_a_line_for_each_member_and_point() -> None:
    assert len(panel_lines({**HEAD, "viewer": "browser"}, AvSyncPolicy())) == 2 + 8


def test_the_same_seed_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        asked = ["attack", "--examples", "3", "--seed", "3", "--policy", "two_clocks", "--no-plots"]
        code = main([*asked, "--out", str(tmp_path)])
        said.append((code, capsys.readouterr().out.replace("attack-3-2/", "attack-3/")))
    assert said[0] == said[1] and said[0][0] == 1
    assert "3 scenarios, seed 3: " in said[0][1] and "rarest of them and of their pairs" in said[0][1]
    first, second = tmp_path / "attack-3", tmp_path / "attack-3-2"
    names = sorted(path.name for path in first.iterdir())
    assert names and names == sorted(path.name for path in second.iterdir())
    for path in first.glob("*.yaml"):
        load_scenario(path)
        assert path.read_text("utf-8") == (second / path.name).read_text("utf-8")


def test_nothing_found_is_0_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "attack", lambda *_args, **_more: Attack())
    assert main(["attack", "--examples", "1", "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out").exists()
    assert "0 kinds of find" in capsys.readouterr().out


def test_known_finds_do_not_count_where_new_ones_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = command.known_finds()[0]
    find = Find(Breach(known.kind, "seen"), known.needs, HEAD, 1, 1)
    monkeypatch.setattr(command, "attack", lambda *_args, **_more: Attack([find]))
    words = ["attack", "--examples", "1", "--no-plots", "--out", str(tmp_path)]
    assert main(words) == 1
    assert main([*words, "--new"]) == 0
    assert known.says[:40] in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "patiant"], "did you mean 'patient'"),
        (["--policy", "there/is/none.toml"], "not a readable TOML policy"),
        (["--budget", "60"], "expected a time such as 60s"),
        (["--budget", "0s"], "expected a time such as 60s"),
        (["--examples", "0"], "expected a whole number from 1 on"),
        (["--seed", "-1"], "a seed is a whole number from 0 on"),
        (["--examples", "5", "--budget", "1m"], "not allowed with argument"),
        (["--topology", "mesh"], "invalid choice"),
    ],
)
def test_bad_input_is_2_before_anything_runs(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        code = main(["attack", *words, "--out", str(tmp_path / "out")])
    except SystemExit as left:  # argparse's own way
        code = int(left.code or 0)
    assert code == 2 and says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_results_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    assert main(["attack", "--out", str(tmp_path / "out")]) == 2
    assert "--out must be a folder" in capsys.readouterr().err


def test_without_hypothesis_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avsync import cli

    real = cli.find_spec
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "hypothesis" else real(name))
    assert main(["attack"]) == 2
    assert "this needs hypothesis, not installed\n  pip install 'avsync[attack]'" in capsys.readouterr().err
