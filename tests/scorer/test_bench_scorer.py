"""The scorer's benchmark: it measures what it says, names its machine, and says of every empty row why."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("PIL")
import av
import torch

from benchmarks import bench_scorer, scorer_clip
from benchmarks.scorer_table import NOT_MEASURED, Row, timed, write

GPU_IS_HERE = torch.cuda.is_available()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark in small: two runs of each row, no clip, random weights."""
    folder = tmp_path_factory.mktemp("bench")
    assert bench_scorer.main(["--runs", "2", "--clip-s", "--weights", "random", "--out", str(folder)]) == 0
    return folder


def rows_of(folder: Path) -> list[Row]:
    return [Row(**row) for row in json.loads((folder / "bench.json").read_text())["rows"]]


def test_every_backend_has_a_whole_block_and_the_aims_of_the_issue_stand_beside(written: Path) -> None:
    blocks = {row.name: row for row in rows_of(written) if row.group == bench_scorer.BLOCKS}
    assert {"geometry", "pixels", "fused", "heuristic"} <= blocks.keys()
    assert blocks["geometry"].aim == "p95 <= 2 ms" and blocks["fused"].aim == "p95 <= 10 ms"
    for row in blocks.values():
        assert row.p50_ms is not None and row.p95_ms is not None and row.p99_ms is not None
        assert 0 < row.p50_ms <= row.p95_ms <= row.p99_ms


def test_features_and_networks_have_rows_of_their_own(written: Path) -> None:
    names = [row.name for row in rows_of(written) if row.group == bench_scorer.STAGES]
    for part in ("log-mel", "landmarks", "geometry: network, lips", "pixels: network, crops", "dimensions"):
        assert any(part in name for name in names), part


def test_syncnet_does_the_same_half_second_and_says_how_much_slower_it_is(written: Path) -> None:
    row = next(row for row in rows_of(written) if row.group == bench_scorer.SYNCNET)
    assert row.p50_ms is not None and row.p50_ms > 50
    assert "x a fused block's p50" in row.note


@pytest.mark.skipif(GPU_IS_HERE, reason="there is a GPU")
def test_without_a_gpu_its_rows_are_there_and_read_not_measured(written: Path) -> None:
    rows = [row for row in rows_of(written) if row.group.startswith("GPU")]
    assert len(rows) == 2 * 3 * (1 + 2)  # two backends, three precisions: alone, in batches with copies and without
    assert all(row.p50_ms is None and row.rate is None and row.note == "no GPU at hand" for row in rows)
    table = (written / "bench.md").read_text()
    assert table.count(NOT_MEASURED) == len(rows) + 1  # and SyncNet's
    assert "no GPU at hand" in table


def test_the_table_names_its_machine(written: Path) -> None:
    host = json.loads((written / "bench.json").read_text())["machine"]
    assert host["cpu"] and host["cores"] >= 1 and host["torch"] == torch.__version__
    assert f"Measured on {host['cpu']}, {host['cores']} cores" in (written / "bench.md").read_text()


def test_warm_ups_do_not_count_and_runs_do() -> None:
    calls = []
    row = timed("group", "name", lambda: calls.append(1), 50, warm_ups=20)
    assert len(calls) == 70 and row.note == "50 runs"


def test_a_rate_and_a_row_that_was_not_measured_are_told_apart(tmp_path: Path) -> None:
    rows = [Row("many", "a", rate=21_000.0, unit="blocks/s"), Row("many", "b", unit="blocks/s", note="why")]
    text = write(tmp_path, rows, ["a remark"])
    assert "| a | 21,000.0 blocks/s |" in text and f"| b | {NOT_MEASURED} |  | why |" in text and "\na remark\n" in text


# ------------------------------------------------------------------------------------ the clip


def test_the_clip_is_what_its_row_says(tmp_path: Path) -> None:
    scorer_clip.make_clip(tmp_path / "clip.mp4", 0.6)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        sound = clip.streams.audio[0]
        video = clip.streams.video[0]
        assert (video.width, video.height) == (1280, 720) and video.average_rate == 25
        assert video.frames == 15 and sound.rate == 48_000


@pytest.mark.parametrize(
    ("code", "measured", "note"),
    [(0, True, "from start to exit"), (3, True, "from start to exit"), (2, False, "exit code 2: no weights")],
)
def test_only_an_answer_is_a_measurement(code: int, measured: bool, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], compiled: Path) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, code, "", "usage\nno weights\n")

    monkeypatch.setattr(scorer_clip, "_on_two_cores", run)
    monkeypatch.setattr(scorer_clip, "make_clip", lambda path, seconds: None)
    row = scorer_clip.clip_row(5.0)
    assert (row.rate is not None) == measured and note in row.note
    assert asked[0][-3] == "score" and asked[0][-1] == "--json"
