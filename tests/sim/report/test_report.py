"""What a run leaves in its folder: rows, Markdown, pictures, and a page that needs nothing but itself."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from avsync.units import NS_PER_MS, ms, seconds
from sim.judge import series as series_module
from sim.judge.series import _point
from sim.report import baseline_table
from sim.report.markdown import plain, table
from sim.report.markup import tag
from sim.report.report import file_word, write_report
from sim.scenario.files import resolve, shipped
from sim.scenario.scenario import load_scenario, loads
from sim.scenario.sentences import what_happens
from sim.truth.beliefs import Beliefs
from sim.truth.truth import Offsets, OffsetState
from tests.sim.report.results_story import CLEAN, STALL, Story, nothing, wave

EVIL = '<script>alert("x")</script> & [red] | `$\\frac$` <img src=x onerror=y>'


class Page(HTMLParser):
    """A page as a browser takes it apart: tags with their attributes, and the text outside of scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in ("meta", "img", "input", "br"):
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name, f"</{name}> closes nothing"

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(text)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.chdir(tmp_path)
    return Story(tmp_path)


def written(story: Story, *, plots: bool = True) -> Path:
    folder = story.folder / "out"
    folder.mkdir()
    console = Console(file=io.StringIO())
    write_report(folder, story.plan, story.results, command=["avsync", "run", "a b.yaml"], plots=plots, console=console)
    return folder


def page_of(folder: Path) -> Page:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


# ---------------------------------------------------------------------------------- the page


def test_a_tap_on_a_plot_opens_it_large_and_another_leads_back(story: Story) -> None:
    """At 390 px a plot that is as wide as the page shows nothing; this works without a script, and in a file."""
    story.ran(story.scenario("a"), series=wave())
    folder = written(story)
    page = page_of(folder)
    figure = next(one for name, one in page.tags if name == "figure")
    links = [one for name, one in page.tags if name == "a" and one.get("class") in ("open", "close")]
    assert [one["href"] for one in links] == [f"#{figure['id']}", "#s0"]
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "figure.plot:target { position: fixed" in text and "max-width: none" in text


def test_the_page_loads_nothing_and_its_links_lead_somewhere(story: Story) -> None:
    story.ran(story.scenario("a"), series=wave())
    story.ran(story.scenario("b"), series=wave(900))
    page = page_of(written(story))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    places = [
        value for _, one in page.tags for name, value in one.items() if name in ("src", "href", "action") and value
    ]
    assert len(places) == 8
    for place in places:
        assert place.startswith("data:image/png;base64,") or place[1:] in ids
    assert not {"link", "iframe", "object", "base", "form"} & {name for name, _ in page.tags}
    (policy,) = [one["content"] for _, one in page.tags if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'")


def test_what_a_scenario_says_is_text_and_never_markup(story: Story) -> None:
    about = json.dumps(EVIL)
    file = story.scenario("<b>&amp;", STALL.replace("The pictures stop for a second.", about))
    story.ran(file, offset_abs_p95_ms=100, series=wave())
    folder = written(story)
    page = page_of(folder)
    assert EVIL in page.text
    assert "<b>&amp;" in page.text
    assert sum(name == "script" for name, _ in page.tags) == 1
    assert all(one.get("src") != "x" for _, one in page.tags)
    assert "<script>" not in (folder / "summary.md").read_text(encoding="utf-8").replace("\\<script>", "")


def test_unknown_is_never_zero(story: Story) -> None:
    story.ran(story.scenario("a"), offset_abs_p95_ms=None, believed_offset_abs_p95_ms=None, series=nothing())
    folder = written(story)
    page = page_of(folder)
    assert page.text.count("UNKNOWN") >= 4
    assert "UNKNOWN" in (folder / "summary.md").read_text(encoding="utf-8")
    (line,) = (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["offset_abs_p95_ms"] is None


def test_a_run_without_anything_measured_still_has_a_page(story: Story) -> None:
    story.ran(story.scenario("a"), series=nothing())
    story.ran(story.scenario("b"))
    folder = written(story)
    assert list((folder / "plots").iterdir()) == []
    words = page_of(folder).words
    rows = [words[at : at + 3] for at, word in enumerate(words) if word in ("a", "b") and words[at + 1] == "browser"]
    assert rows == [["a", "browser", "1/1"], ["b", "browser", "1/1"]]


def test_verdicts_limits_and_misses_are_there(story: Story) -> None:
    file = story.scenario("a")
    for viewer, got in (("browser", 71.5), ("avsync", 3.25)):
        story.ran(file, viewer=viewer, seeds=[1, 2], offset_abs_p95_ms=got, series=wave())
        story.ran(
            file, viewer=viewer, role="baseline", policy="fps_paced", output_offset_abs_p95_ms=960, series=wave(960)
        )
    page = page_of(written(story))
    verdicts = [(one["data-viewer"], one["data-verdict"]) for _, one in page.tags if "data-verdict" in one]
    assert verdicts == [("browser", "fail"), ("avsync", "pass")]
    assert "browser: wanted offset_abs_p95_ms <= 60, got 71.5 (seeds 1-2)" in page.text
    assert "71.5 (seeds 1-2)" in page.words
    assert "avsync run a.yaml --seed 1 --viewer browser" in page.words
    assert "avsync run a.yaml --seeds 1,2 --viewer both" in page.words
    assert "output_offset_abs_p95_ms: 960, where ours is 0" in page.text
    assert "checked against Chromium" in page.text
    assert any(one.get("id") == "s0" and "open" in one for _, one in page.tags)


def test_policies_stand_side_by_side(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, series=wave())
    for policy, got in (("fps_paced", 953.0), ("pass_through", 27.6)):
        story.ran(file, role="compare", policy=policy, offset_abs_p95_ms=got, series=wave(got))
    folder = written(story)
    words = page_of(folder).words
    for word in ("default", "fps_paced", "pass_through", "953", "27.6"):
        assert word in words
    met = [tuple(map(int, word.split(" of "))) for word in words if re.fullmatch(r"\d+ of \d+", word)]
    assert [limits - held for held, limits in met] == [0, 1, 0], "of all limits, fps_paced misses one"
    assert "--compare fps_paced pass_through" in " ".join(words)
    assert "| a        | browser |" in (folder / "summary.md").read_text(encoding="utf-8")


def test_the_summary_sorts_by_number_and_unknown_after_all(story: Story) -> None:
    for name, got in (("a", 900.0), ("b", None), ("c", float("inf")), ("d", 80.0)):
        story.ran(story.scenario(name), offset_abs_p95_ms=got)
    page = page_of(written(story))
    cells = [one for tag_name, one in page.tags if tag_name == "td" and "data-v" in one]
    per_row = len(cells) // 4
    column = [float(cells[row * per_row + 3]["data-v"] or "nan") for row in range(4)]
    assert [sorted(column).index(value) for value in column] == [1, 3, 2, 0]


def test_markup_escapes_text_and_attributes() -> None:
    assert tag("td", '<"&>', title='"&') == '<td title="&quot;&amp;">&lt;"&amp;&gt;</td>'
    assert tag("td", tag("b", "x"), ["<", tag("i")], open=True, id=None) == "<td open><b>x</b>&lt;<i></i></td>"


# ------------------------------------------------------------------------------ the pictures


def test_a_picture_is_small_and_not_blank_and_leaves_no_global_figure(story: Story) -> None:
    before = dict(plt.rcParams)
    for viewer in ("browser", "avsync"):
        file = story.scenario("a")
        story.ran(file, viewer=viewer, series=wave(1000))
        story.ran(file, viewer=viewer, role="baseline", policy="fps_paced", series=wave(960))
    (path,) = (written(story) / "plots").iterdir()
    assert path.name == "a.png"
    assert path.stat().st_size < 200_000
    with Image.open(path) as picture:
        assert picture.size[0] == 1100
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_pictures_differ_where_runs_do(story: Story) -> None:
    story.ran(story.scenario("a"), series=wave(30))
    story.ran(story.scenario("b"), series=wave(55))
    a, b = (path.read_bytes() for path in sorted((written(story) / "plots").iterdir()))
    assert a != b


@pytest.mark.parametrize("name", ["$\\frac$", "_hidden", "ünï", "100 %"])
def test_a_name_is_drawn_as_it_is(story: Story, name: str) -> None:
    story.ran(story.scenario(name), series=wave())
    assert len(list((written(story) / "plots").iterdir())) == 1


def test_picture_names_stay_in_the_folder_and_apart() -> None:
    assert file_word("../../etc/passwd", []) == "etc-passwd"
    assert file_word("..", []) == "scenario"
    assert file_word("a", ["a", "a-2"]) == "a-3"
    assert len(file_word("x" * 300, [])) == 80


# ------------------------------------------------------------------------------- the series


def offsets_of(e_ms: np.ndarray[Any, Any], step_ns: int = ms(10)) -> Offsets:
    """(N,) -> one sample every ``step_ns``; NaN is a sample that was not measured."""
    count = len(e_ms)
    lost = np.isnan(e_ms)
    return Offsets(
        np.arange(count, dtype=np.int64) * step_ns,
        np.where(lost, 0, e_ms * NS_PER_MS).astype(np.int64),
        np.where(lost, OffsetState.DEGRADED, OffsetState.MEASURED).astype(np.int8),
        np.zeros(count, np.int32),
        np.zeros(count, np.bool_),
        step_ns,
    )


def test_thinning_keeps_a_peak_of_one_sample_in_an_hour() -> None:
    e = np.zeros(360_000)
    e[123_457], e[123_999] = 900.0, -700.0
    point = _point(offsets_of(e), Beliefs())
    assert len(point.truth.ms) <= series_module.MAX_POINTS + 2
    assert np.nanmax(point.truth.ms) == 900 and np.nanmin(point.truth.ms) == -700
    assert point.abs_ms[-1] == 900


def test_what_was_not_measured_is_a_gap_and_no_zero() -> None:
    e = np.full(1000, 20.0)
    e[300:400] = np.nan
    point = _point(offsets_of(e), Beliefs([(0, None), (ms(10), ms(20)), (seconds(3), ms(20))]))
    assert np.isnan(point.truth.ms[300:400]).all()
    assert point.abs_ms.min() == 20
    assert point.degraded == ((3.0, 4.0),)
    # No line is drawn through a belief that was UNKNOWN, nor across a silence of the monitor.
    assert np.isnan(point.belief.ms[0]) and np.isnan(point.belief.ms[2])


def test_a_gap_between_turns_is_not_bridged() -> None:
    samples = offsets_of(np.full(100, 5.0))
    samples.at_ns[50:] += seconds(1)
    truth = _point(samples, Beliefs()).truth
    assert np.isnan(truth.ms[50]) and len(truth.ms) == 101


# ------------------------------------------------------------------------ Markdown and files


def test_markdown_cells_are_cells(story: Story) -> None:
    lines = table(["a", "b"], [["x|y", "`1`"], ["*", "2"]], left=(0,))
    assert [line.replace("\\|", "").count("|") for line in lines] == [3, 3, 3, 3]
    assert plain("snake_case <0.1 <b>") == "snake_case <0.1 \\<b>"


def test_the_summary_says_what_was_run_and_missed(story: Story) -> None:
    story.ran(story.scenario("a"), offset_abs_p95_ms=100)
    folder = written(story, plots=False)
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "avsync run 'a b.yaml'" in text
    assert (
        "wanted offset_abs_p95_ms \\<= 60, got 100 (seed 1)" in text
        or "wanted offset_abs_p95_ms <= 60, got 100" in text
    )
    assert "avsync run a.yaml --seed 1 --viewer browser" in text
    assert "**FAIL**" in text
    assert "a model, checked against Chromium" in text


def test_the_manifest_and_rows_are_json_without_nan(story: Story) -> None:
    file = story.scenario("a")
    story.ran(file, recovery_ms=float("inf"))
    story.ran(file, role="baseline", policy="fps_paced")
    folder = written(story, plots=False)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["scenarios"] == {"a": load_scenario(file).digest}
    assert manifest["command"] == ["avsync", "run", "a b.yaml"]
    for name, role in (("runs", "main"), ("baselines", "baseline")):
        (line,) = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(line, parse_constant=pytest.fail)["role"] == role
    assert json.loads((folder / "runs.jsonl").read_text(encoding="utf-8"))["recovery_ms"] == "never"
    assert sorted(path.name for path in folder.iterdir()) == [
        "baselines.jsonl", "manifest.json", "runs.jsonl", "summary.md",
    ]  # fmt: skip


def test_a_nan_is_refused_and_not_written_as_what_is_no_json(story: Story) -> None:
    story.ran(story.scenario("a"), offset_abs_p99_ms=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        written(story, plots=False)


def test_the_table_of_the_readme_is_small_and_whole(story: Story) -> None:
    file = story.scenario("video_stall")
    for viewer in ("browser", "avsync"):
        story.ran(file, viewer=viewer, seeds=[1, 2], offset_abs_p95_ms=8.04, series=wave())
        story.ran(file, viewer=viewer, role="compare", policy="fps_paced", recovery_ms=float("inf"), series=wave(960))
    folder = story.folder / "results" / "baseline"
    baseline_table.write(folder, story.plan, story.results, ["python", "-m", "sim.report.baseline_table"])
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sorted(sizes) == ["manifest.json", "rows.jsonl", "table.md", "video_stall.png"]
    assert sizes["video_stall.png"] < 200_000
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["viewer"], row["policy"], row["recovery_ms"]) for row in rows[::3]] == [
        ("browser", "default", 0.0),
        ("avsync", "default", 0.0),
    ]
    assert rows[2]["recovery_ms"] == "never"
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert "| video_stall | browser | 0 / 8.0; 0 | 0 / 0; never |" in text
    assert "Chromium" in text


# -------------------------------------------------------------------------------- sentences

EVERYTHING = """\
avsync: 1
about: All that can happen.
tags: [reference, soak]
duration_s: 200
topology: provider_bridge
steps:
  - {at_s: 1, do: interrupt, pushes_on_ms: 100}
  - {at_s: 2, do: stall, for_s: 1, only: audio}
  - {at_s: 4, do: impair, for_s: 1, loss: 0.1, burst: 3, leg: to_bridge, only: video}
  - {at_s: 6, do: hold, for_ms: 250}
  - {at_s: 7, do: route_step, by_ms: -20}
  - {at_s: 8, do: pause, for_s: 1, marked: false}
  - {at_s: 10, do: mute, for_s: 1}
  - {at_s: 12, do: fps, to: 23.976}
  - {at_s: 13, do: rate, to_hz: 44100}
  - {at_s: 14, do: clock_step, clock: provider, by_ms: 2000}
  - {at_s: 16, do: sleep, host: viewer, for_s: 2}
  - {at_s: 20, do: reports, mode: late, by_ms: 300}
"""


def test_every_kind_of_step_has_a_sentence() -> None:
    said = what_happens(loads(EVERYTHING))
    told = [sentence for sentence in said if sentence.startswith("At ")]
    assert len(told) == 12
    assert "At 2 s the sound stalls for 1 s, then it goes on at the present moment." in told
    assert "At 20 s sender reports on the way to the viewer come late by 300 ms, to the end." in told


def test_equal_steps_are_told_once_and_a_storm_is_summed_up() -> None:
    steps = "".join(f"  - {{at_s: {20 + 3 * n}, do: stall, only: video, for_s: {1 + n % 2}}}\n" for n in range(12))
    said = what_happens(loads(CLEAN.replace("expect", f"duration_s: 60\nsteps:\n{steps}expect")))
    assert [sentence[:40] for sentence in said[-2:]] == [
        "At 20, 26, 32, 38, 44 and 50 s the pictu",
        "At 23, 29, 35, 41, 47 and 53 s the pictu",
    ]


def test_the_shipped_scenarios_can_be_told() -> None:
    for path in resolve([str(shipped())]):
        scenario = load_scenario(path)
        said = what_happens(scenario)
        told = [one for one in said if re.match(r"At [\d.]+( s|, | and )|\d+ times, first at |\.\.\. and ", one)]
        assert bool(told) == bool(scenario.steps), f"{scenario.name}: {said}"
        assert len(said) - len(told) >= 3, "who sends, what is made, and over which way"
        assert not [sentence for sentence in said if re.search(r"None|nan|[{}<>]", sentence) or sentence[-1] != "."]
