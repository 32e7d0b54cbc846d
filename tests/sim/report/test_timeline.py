"""The timeline shows what a scenario will do, before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from sim.report.timeline import timeline, timeline_lines
from sim.report.timeline_plot import COLOURS, draw_timeline
from sim.scenario.scenario import loads

TEXT = """\
avsync: 1
about: A call.
duration_s: 40
source: {turns: {talk_s: [10, 10], gap_s: 2}}
steps:
  - {at_s: 5.5, do: interrupt, reply_after_ms: 500}
  - {at_s: 15, do: stall, only: video, for_s: 1}
  - {at_s: 17, do: stall, only: video, for_s: 1}
  - {at_s: 30, do: impair, loss: 0.1}
"""
ONE_STALL = """\
avsync: 1
about: A call.
duration_s: 40
steps: [{at_s: 15, do: stall, only: video, for_s: 1}]
"""


def test_each_kind_of_step_has_a_row_with_its_spans() -> None:
    rows = {row.label: row for row in timeline(loads(TEXT))}
    assert list(rows) == [
        "turns", "interrupt", "stall video", "impair to_viewer", "impair to_viewer stays",
        "window clear", "window after_fault",
    ]  # fmt: skip
    assert rows["turns"].spans == ((0.5, 5.5), (6.0, 10.5), (12.5, 22.5)), "an interrupt begins the turn anew"
    assert rows["interrupt"].sort == "event" and rows["interrupt"].spans == ((5.5, 5.5),)
    assert rows["stall video"].sort == "fault" and rows["stall video"].spans == ((15, 16), (17, 18))
    fault, stays = rows["impair to_viewer"], rows["impair to_viewer stays"]
    assert (fault.sort, fault.spans) == ("fault", ((30, 30),)), "what has no end is judged as a moment"
    assert (stays.sort, stays.spans) == ("event", ((30, 40),)), "and is there to the run's end"
    assert rows["window clear"].spans == ((5, 15), (19, 30), (31, 40))
    assert rows["window after_fault"].spans == ((17, 24), (31, 36)), "windows that touch are one"


@pytest.mark.parametrize("for_s", ["", ", for_s: 3"])
def test_no_fault_is_drawn_where_the_window_clear_is(for_s: str) -> None:
    """What is drawn is what is judged: an impairment without an end ran red through the window beside it."""
    scenario = loads(TEXT.replace("loss: 0.1", f"loss: 0.1{for_s}"))
    rows = timeline(scenario)
    faults = sorted(span for row in rows if row.sort == "fault" for span in row.spans)
    assert faults == list(scenario.faults)
    (clear,) = (row.spans for row in rows if row.label == "window clear")
    assert not any(start < end_clear and begin_clear < end for start, end in faults for begin_clear, end_clear in clear)


def test_as_text_a_moment_can_be_seen_and_no_line_is_too_long() -> None:
    lines = timeline_lines(loads(TEXT), 79)
    assert max(map(len, lines)) <= 79
    assert lines[0].split() == ["0", "s", "10", "20", "30", "40"]
    rows = {line.split()[0]: line for line in lines}
    assert rows["interrupt"].count("+") == 1
    assert lines[0].index("10") < rows["stall"].index("#") < lines[0].index("20")


def test_as_text_no_window_stands_in_the_columns_of_the_fault() -> None:
    _, _, fault, *windows = timeline_lines(loads(ONE_STALL), 101)  # two columns a second
    marks = [at for at, mark in enumerate(fault) if mark == "#"]
    assert marks and len(windows) == 2
    assert {line[at] for line in windows for at in marks if at < len(line)} == {" "}
    assert windows[0][marks[0] - 1] == "-", "clear ends where the fault begins"


def test_in_the_picture_no_window_is_drawn_over_the_fault(tmp_path: Path) -> None:
    draw_timeline(loads(ONE_STALL), tmp_path / "line.png")
    pixels = np.asarray(Image.open(tmp_path / "line.png").convert("RGB"))

    def bars(sort: str) -> npt.NDArray[np.bool_]:
        """(y, x) where a bar of this colour is; the edge of a letter is none."""
        there = np.all(pixels == np.round(255 * np.array(to_rgb(COLOURS[sort]))), axis=2)
        return np.asarray(there & (there.sum(axis=1, keepdims=True) > 10))

    fault, window = bars("fault"), bars("window")
    for axis in (0, 1):
        red, grey = fault.any(axis=axis), window.any(axis=axis)
        assert red.any() and grey.any() and (red & grey).sum() <= 2, "bars that touch share a pixel"


def test_a_call_without_steps_has_turns_and_one_window() -> None:
    lines = timeline_lines(loads("avsync: 1\nabout: x\n"), 60)
    assert [line.split()[0] for line in lines] == ["0", "turns", "window"]
