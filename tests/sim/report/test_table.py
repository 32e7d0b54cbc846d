"""What ``avsync run`` prints: readable at any width, honest about UNKNOWN, and able to be run again."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from avsync.cli import _parser
from sim.report.summary import exact, number, seed_words, worst
from sim.report.table import SHOWN, print_results
from tests.sim.report.results_story import CLEAN, STALL, Story

LONG = "bridge_clock_drift_content"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.chdir(tmp_path)
    return Story(tmp_path)


def printed(story: Story, width: int = 140, *, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, force_terminal=terminal, color_system=None)
    print_results(console, story.plan, story.results)
    return file.getvalue()


def row_of(text: str, *words: str) -> list[str]:
    """The first line that has all these words, as cells."""
    return next(line.split() for line in text.splitlines() if all(word in line.split() for word in words))


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line.partition("again: ")[2]) for line in text.splitlines() if "again: " in line]


@pytest.mark.parametrize("width", [40, 80, 100, 120, 140, 200])
def test_no_width_cuts_a_name_or_a_number(story: Story, width: int) -> None:
    file = story.scenario(LONG)
    for viewer in ("browser", "avsync"):
        story.ran(file, viewer=viewer, seeds=range(100), output_offset_abs_p95_ms=1043.4, offset_abs_p95_ms=1051.2)
        story.ran(file, viewer=viewer, seeds=range(100), role="baseline", policy="arrival_delay")
    text = printed(story, width)
    assert "…" not in text
    for viewer in ("browser", "avsync"):
        cells = " ".join(row_of(text, LONG, viewer))
        assert "0/100" in cells
        assert "1043" in cells and "1051" in cells
        assert cells.endswith("FAIL")


def test_a_row_fits_on_a_screen_of_80(story: Story) -> None:
    file = story.scenario(LONG)
    story.ran(file, viewer="browser", output_offset_abs_p95_ms=171, offset_abs_p95_ms=183, recovery_ms=1000)
    story.ran(file, viewer="browser", role="baseline", policy="arrival_delay", output_offset_abs_p95_ms=900)
    table = [line for line in printed(story, 80).splitlines() if LONG in line or "scenario" in line]
    assert max(len(line.rstrip()) for line in table) <= 80


def test_a_screen_of_120_has_room_for_all_columns(story: Story) -> None:
    file = story.scenario(LONG)
    story.ran(file, output_offset_abs_p95_ms=171, offset_abs_p95_ms=183, recovery_ms=1000)
    story.ran(file, role="baseline", policy="arrival_delay")
    row = next(line for line in printed(story, 120).splitlines() if LONG in line)
    assert "arrival_delay NO MISS" in row
    assert len(row) <= 120


def test_truth_stands_beside_belief(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, output_offset_abs_p95_ms=11, believed_output_offset_abs_p95_ms=12,
              offset_abs_p95_ms=13, believed_offset_abs_p95_ms=14)  # fmt: skip
    assert row_of(printed(story), "a", "browser")[2:7] == ["1/1", "11", "12", "13", "14"]
    assert row_of(printed(story, 70), "a", "browser")[2:5] == ["1/1", "11/12", "13/14"]


def test_unknown_is_said_and_is_the_worst_of_all_seeds(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, seeds=[1], offset_abs_p95_ms=3)
    story.ran(file, seeds=[2], offset_abs_p95_ms=None)
    text = printed(story)
    assert row_of(text, "a", "browser")[5] == "UNKNOWN"
    assert "wanted offset_abs_p95_ms <= 60, got UNKNOWN (seed 2)" in text


def test_of_what_is_good_when_high_the_worst_is_the_lowest(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, seeds=[1], content_heard_pct=99.9)
    story.ran(file, seeds=[2], content_heard_pct=12.0)
    assert worst(story.results, "content_heard_pct") == 12.0
    assert "content_heard_pct >= 99.5 (guard), got 12 (seed 2)" in printed(story)


def test_a_recovery_that_was_not_asked_for_is_no_unknown(story: Story) -> None:
    story.ran(story.scenario("calm", CLEAN), recovery_ms=None)
    story.ran(story.scenario("stalled"), recovery_ms=None)
    text = printed(story)
    assert row_of(text, "calm", "browser")[8] == "-"
    assert row_of(text, "stalled", "browser")[8] == "UNKNOWN"


def test_seeds_that_miss_the_same_limit_are_one_line_with_the_worst(story: Story) -> None:
    file = story.scenario("a")
    for seed, got in ((1, 70.0), (2, 90.0), (3, 80.0), (4, 10.0)):
        story.ran(file, seeds=[seed], offset_abs_p95_ms=got)
    text = printed(story)
    assert "  browser: wanted offset_abs_p95_ms <= 60, got 90 (seeds 1-3, worst 2)" in text.splitlines()
    assert text.count("wanted") == 1


def test_what_both_viewers_miss_alike_is_said_once(story: Story) -> None:
    file = story.scenario("a")
    for viewer in ("browser", "avsync"):
        story.ran(file, viewer=viewer, output_offset_abs_p95_ms=30)
    text = printed(story)
    assert "  browser, avsync: wanted output_offset_abs_p95_ms <= 25, got 30 (seed 1)" in text.splitlines()
    assert commands(text) == [["avsync", "run", "a.yaml", "--seed", "1", "--viewer", "browser"]]


def test_the_commands_show_every_miss(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, viewer="browser", seeds=[1, 2], offset_abs_p95_ms=100)
    story.ran(file, viewer="avsync", seeds=[1], offset_abs_p95_ms=0)
    story.ran(file, viewer="avsync", seeds=[2], recovery_ms=float("inf"))
    text = printed(story)
    assert "avsync: wanted recovery_ms <= 1000, got never (seed 2)" in text
    assert [command[3:] for command in commands(text)] == [["--seed", "2", "--viewer", "both"]]


def test_misses_of_different_seeds_need_a_command_each(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, seeds=[1], offset_abs_p95_ms=100)
    story.ran(file, seeds=[2], recovery_ms=2000)
    assert [command[4] for command in commands(printed(story))] == ["1", "2"]


@pytest.mark.parametrize("name", ["two words", "it's; rm -rf $HOME", "[red]not markup[/]", "-rf", "ünï"])
def test_a_command_survives_the_shell_and_names_are_no_markup(story: Story, name: str) -> None:
    story.ran(story.scenario(name), offset_abs_p95_ms=100)
    text = printed(story)
    assert name in text
    (command,) = commands(text)
    args = _parser("").parse_args(command[1:])
    assert [Path(word).resolve() for word in args.scenarios] == [story.folder / f"{name}.yaml"]


def test_a_policy_under_test_is_in_the_command(story: Story) -> None:
    story.ran(story.scenario("a"), policy="two_clocks", offset_abs_p95_ms=100)
    assert commands(printed(story))[0][-2:] == ["--policy", "two_clocks"]


def test_a_baseline_that_holds_fails_and_says_what_it_got(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, seeds=[1, 2])
    story.ran(file, seeds=[1], role="baseline", policy="fps_paced", output_offset_abs_p95_ms=960)
    story.ran(file, seeds=[2], role="baseline", policy="fps_paced", output_offset_abs_p95_ms=20)
    text = printed(story)
    assert "fps_paced NO MISS" in text
    assert "wanted baseline fps_paced to miss output_offset_abs_p95_ms <= 25" in text
    assert "got 20 / 0 (seed 2)" in text
    # The scenario's own run has its baseline with it; with --policy there would be none.
    assert commands(text) == [["avsync", "run", "a.yaml", "--seed", "2", "--viewer", "browser"]]


def test_a_baseline_that_misses_is_a_pass(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file)
    story.ran(file, role="baseline", policy="fps_paced", output_offset_abs_p95_ms=960)
    text = printed(story)
    assert "fps_paced misses" in text
    assert "1 of 1 passed" in text
    assert "wanted" not in text


def test_a_screen_is_not_flooded(story: Story) -> None:
    for index in range(SHOWN + 5):
        story.ran(story.scenario(f"s{index}"), seeds=range(50), offset_abs_p95_ms=100)
    text = printed(story)
    assert "... and 5 more" in text
    assert text.count("again: ") == SHOWN


def test_two_files_of_one_name_are_told_apart(story: Story) -> None:
    story.ran(story.scenario("mine/stall"), offset_abs_p95_ms=5)
    story.ran(story.scenario("yours/stall"), offset_abs_p95_ms=6)
    text = printed(story)
    assert row_of(text, "mine/stall.yaml")[5] == "5"
    assert row_of(text, "yours/stall.yaml")[5] == "6"


def test_policies_are_compared_down_a_column_and_the_tested_one_is_judged(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, offset_abs_p95_ms=100)
    story.ran(file, role="compare", policy="fps_paced", offset_abs_p95_ms=953)
    story.ran(file, role="compare", policy="pass_through", offset_abs_p95_ms=27.6)
    text = printed(story, 80)
    assert [row_of(text, name)[-4] for name in ("default", "fps_paced", "pass_through")] == ["100", "953", "27.6"]
    assert "wanted offset_abs_p95_ms <= 60, got 100" in text
    assert "953" not in text[text.index("wanted") :]


def test_a_pipe_gets_plain_text(story: Story) -> None:
    story.ran(story.scenario("a"), offset_abs_p95_ms=100)
    assert not re.search(r"\x1b", printed(story))


def test_the_browser_note_is_there_when_a_browser_is(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, viewer="avsync")
    assert "Chromium" not in printed(story)
    story.ran(file, viewer="browser")
    assert "a model, checked against Chromium" in printed(story)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "UNKNOWN"), (float("nan"), "UNKNOWN"), (float("inf"), "never"), (0.0, "0"), (0.01, "<0.1"),
     (-0.01, ">-0.1"), (0.04999, "<0.1"), (8.04, "8.0"), (25.0, "25"), (999.6, "1000")],
)  # fmt: skip
def test_numbers(value: float | None, words: str) -> None:
    assert number(value) == words


def test_a_miss_by_a_hair_does_not_look_like_the_limit() -> None:
    assert exact(45.0213) == "45.0213"


def test_seeds_in_words() -> None:
    assert seed_words([7]) == "seed 7"
    assert seed_words([3, 1, 2, 9]) == "seeds 1-3,9"


def test_stall_story_is_what_it_says(story: Story) -> None:
    """The story's own ground: a good row passes everything, or the tests above prove nothing."""
    story.ran(story.scenario("a", STALL))
    assert all(result.passed for result in story.results)
