"""``avsync run`` from end to end: exit codes, what is printed where, and folders that are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avsync.cli import BAD_INPUT, BROKEN_PIPE, INTERRUPTED, MET, MISSED, NOT_WRITTEN, OUR_FAULT, main
from sim.command import read_all
from sim.scenario.files import NAMED, shipped

pytestmark = pytest.mark.lab

SHORT = """\
avsync: 1
about: Six seconds in which nothing goes wrong.
tags: [reference]
duration_s: 6
seeds: [1, 2]
viewer: browser
expect: [{metric: output_offset_abs_p95_ms, at_most: 45}]
"""
TOO_STRICT = SHORT.replace("at_most: 45", "at_most: 45}, {metric: output_added_latency_p95_ms, at_most: 1")

Run = Callable[..., int]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    (tmp_path / "strict.yaml").write_text(TOO_STRICT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(here: Path) -> Run:
    """``avsync run ... --jobs 1 --out out`` in this process."""
    return lambda *words: main(["run", *words, "--jobs", "1", "--out", "out"])


def left(here: Path) -> list[str]:
    """What lies in the results folder, hidden things too."""
    return sorted(path.name for path in (here / "out").iterdir()) if (here / "out").exists() else []


def the_folder(here: Path) -> Path:
    (name,) = left(here)
    return here / "out" / name


def test_limits_met_is_0_and_the_folder_is_whole(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("short.yaml") == MET
    folder = the_folder(here)
    assert sorted(path.name for path in folder.iterdir()) == [
        "baselines.jsonl", "manifest.json", "plots", "report.html", "runs.jsonl", "summary.md",
    ]  # fmt: skip
    assert [path.name for path in (folder / "plots").iterdir()] == ["short.png"]
    said = capsys.readouterr()
    assert f"results: {Path('out') / folder.name}" in said.out
    assert "1 of 1 passed" in said.out
    assert said.err == ""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["command"] == ["avsync", "run", "short.yaml", "--jobs", "1", "--out", "out"]


def test_a_limit_missed_is_1_and_the_command_misses_it_again(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("strict.yaml", "--no-plots") == MISSED
    said = capsys.readouterr().out
    assert "wanted output_added_latency_p95_ms <= 1, got " in said
    (again,) = [line.partition("again: ")[2].split() for line in said.splitlines() if "again: " in line]
    assert again[:2] == ["avsync", "run"]
    assert run(*again[2:], "--no-plots") == MISSED
    assert len(left(here)) == 2


def test_the_results_of_others_can_be_read(run: Run, here: Path) -> None:
    before = os.umask(0o022)
    try:
        assert run("short.yaml", "--no-plots", "--seed", "1") == MET
    finally:
        os.umask(before)
    assert stat.S_IMODE(the_folder(here).stat().st_mode) == 0o755


def test_json_is_all_there_is_on_stdout(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("short.yaml", "--no-plots", "--json") == MET
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["scenario"], row["seed"], row["role"]) for row in rows] == [("short", 1, "main"), ("short", 2, "main")]
    assert rows[0]["offset_abs_p95_ms@after_fault"] is None
    assert "1 of 1 passed" in said.err


def test_no_plots_is_no_pictures_and_no_page(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("short.yaml", "--no-plots", "--seed", "1") == MET
    assert {path.suffix for path in the_folder(here).iterdir()} == {".json", ".jsonl", ".md"}
    assert "report.html" not in capsys.readouterr().out


def test_a_comparison_is_judged_by_the_tested_policy_alone(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stalls = [f"{{at_s: {at}, do: stall, only: video, for_s: 0.4, resume: burst}}" for at in (1.5, 3)]
    head, _, _ = SHORT.partition("expect")
    limit = "expect: [{metric: output_recovery_ms, at_most: 900}]"
    (here / "stall.yaml").write_text(f"{head}steps: [{', '.join(stalls)}]\n{limit}\n", encoding="utf-8")
    assert run("stall.yaml", "--seed", "1", "--no-plots", "--compare", "fps_paced") == MET
    said = capsys.readouterr().out
    assert "fps_paced" in said
    rows = [json.loads(line) for line in (the_folder(here) / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["policy"], row["role"], row["passed"]) for row in rows] == [
        ("default", "main", True),
        ("fps_paced", "compare", False),
    ]


def test_baselines_that_do_not_run_are_named_in_one_line(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = "baseline: {policy: fps_paced, misses: [output_offset_abs_p95_ms]}\n"
    (here / "proved.yaml").write_text(SHORT + baseline, encoding="utf-8")
    for words, given in ((["--policy", "patient"], "--policy"), (["--compare", "patient"], "--compare")):
        run("proved.yaml", "--seed", "1", "--no-plots", *words)
        said = capsys.readouterr().out
        assert f"no baselines with {given}: they were named for the scenario as it is" in said.splitlines()
    for words in ([], ["--policy", "patient", "--no-baselines"]):
        run("proved.yaml", "--seed", "1", "--no-plots", *words)
        assert "no baselines" not in capsys.readouterr().out
    run("short.yaml", "--seed", "1", "--no-plots", "--policy", "patient")
    assert "no baselines" not in capsys.readouterr().out, "it names none"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shrot"], "there is no scenario 'shrot'"),
        (["shrot.yaml"], "did you mean 'short.yaml'?"),
        (["broken.yaml"], "broken.yaml:1"),
        (["short.yaml", "broken.yaml"], "broken.yaml:1"),
        (["short.yaml", "--policy", "fps_pace"], "did you mean 'fps_paced'?"),
        (["short.yaml", "--compare", "nonsense"], "no policy is named 'nonsense'"),
        (["short.yaml", "--network", "gone.csv"], "gone.csv"),
        (["short.yaml", "--network", "gone.csv@nowhere"], "no leg is named 'nowhere'"),
        (["short.yaml", "--clip", "gone.mp4"], "gone.mp4"),
    ],
)
def test_bad_input_is_2_before_anything_is_written(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (here / "broken.yaml").write_text("avsync: 2\n", encoding="utf-8")
    assert run(*words) == BAD_INPUT
    text = capsys.readouterr()
    assert said in text.err
    assert text.err.startswith("avsync: ")
    assert "Traceback" not in text.err
    assert not (here / "out").exists()


def test_jobs_below_1_and_an_out_that_is_a_file_are_bad_input(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "short.yaml", "--jobs", "0"]) == BAD_INPUT
    assert main(["run", "short.yaml", "--jobs", "1", "--out", "short.yaml"]) == BAD_INPUT
    assert main(["run", "short.yaml", "--jobs", "1", "--out", "short.yaml/below"]) == BAD_INPUT
    assert capsys.readouterr().err.count("avsync: ") == 3
    assert (here / "short.yaml").read_text(encoding="utf-8") == SHORT


@pytest.mark.parametrize("words", [["--seeds", "1,x"], ["--seeds", "1,1"], ["--viewer", "nobody"], ["--sed", "1"]])
def test_an_option_that_makes_no_sense_is_2(run: Run, here: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("short.yaml", *words)
    assert stopped.value.code == BAD_INPUT
    assert left(here) == []


def test_no_command_shows_the_help_and_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == BAD_INPUT
    assert "replay" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), INTERRUPTED), (RuntimeError("ours"), OUR_FAULT)])
@pytest.mark.parametrize("where", ["sim.report.report.draw_all", "sim.report.report.summary", "sim.running.run_all"])
def test_whatever_stops_it_leaves_nothing_half_written(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException, code: int
) -> None:
    def stop(*_args: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(where, stop)
    assert run("short.yaml", "--seed", "1") == code
    assert left(here) == []


def test_the_verdict_is_printed_before_anything_is_drawn(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def draw(*_args: object) -> bool:
        printed.append(capsys.readouterr().out)
        return False

    monkeypatch.setattr("sim.report.plots.draw", draw)
    assert run("short.yaml", "--seed", "1") == MET
    assert "1 of 1 passed" in printed[0]


def test_without_a_name_four_scenarios_run_and_each_verdict_comes_as_soon_as_it_is_known(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert NAMED == ("video_stall", "audio_stall", "jitter_burst", "bridge_clock_drift")
    monkeypatch.setattr("sim.command.NAMED", ("short.yaml", "strict.yaml"))
    printed: list[str] = []

    def tables(*_args: object) -> None:
        printed.append(capsys.readouterr().out)

    monkeypatch.setattr("sim.running.print_results", tables)
    assert run("--no-plots") == MISSED
    assert [line.split() for line in printed[0].splitlines()] == [
        ["pass", "short", "browser", "2/2"],
        ["FAIL", "strict", "browser", "0/2"],
    ]


def test_all_is_every_shipped_scenario_and_not_one_more(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--all", "short.yaml") == BAD_INPUT
    assert "not both" in capsys.readouterr().err
    names = {path.stem for path in read_all([str(shipped())], slow=False)}
    assert {*NAMED, "clean"} < names and "long_soak" not in names


def test_the_mistakes_of_several_files_come_together(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yaml").write_text("avsync: 1\nabout: x\nseedss: [1]\n", encoding="utf-8")
    (here / "b.yaml").write_text("avsync: 1\nabout: x\nviewer: brower\n", encoding="utf-8")
    assert run("a.yaml", "shrot.yaml", "b.yaml", "short.yaml") == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("avsync: a.yaml:3:1: unknown key 'seedss'")
    assert "\nb.yaml:3:9: viewer must be" in said and "did you mean 'short.yaml'?" in said
    assert left(here) == []


def test_a_policy_of_your_own_is_a_toml_file(run: Run, here: Path) -> None:
    (here / "calm.toml").write_text('preset = "default"\nplayout_delay_ms = 120\n', encoding="utf-8")
    assert run("short.yaml", "--seed", "1", "--no-plots", "--policy", "calm.toml", "--compare", "default") == MET
    rows = [json.loads(line) for line in (the_folder(here) / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["policy"] for row in rows] == ["calm", "default"]
    assert rows[0]["policy_digest"] != rows[1]["policy_digest"] and len(rows[0]["policy_digest"]) == 12
    assert rows[0]["output_added_latency_p50_ms"] > rows[1]["output_added_latency_p50_ms"] + 50
    manifest = json.loads((the_folder(here) / "manifest.json").read_text(encoding="utf-8"))
    assert list(manifest["policies"]) == ["calm", "default"]
    assert manifest["policies"]["calm"].startswith(rows[0]["policy_digest"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("playout_dely_ms = 3", "mine.toml: policy has no 'playout_dely_ms'\n  did you mean 'playout_delay_ms'?"),
        ("playout_delay_ms = 900", "mine.toml: policy: playout_delay_ms must be <= playout_delay_max_ms"),
        ("playout", "mine.toml: not a readable TOML policy"),
        (None, "mine.toml: not a readable TOML policy"),
    ],
)
def test_a_wrong_policy_file_is_2_with_file_and_key(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    if text is not None:
        (here / "mine.toml").write_text(text, encoding="utf-8")
    for words in (["--policy", "mine.toml"], ["--compare", "mine.toml"]):
        assert run("short.yaml", *words) == BAD_INPUT
        assert said in capsys.readouterr().err
    assert left(here) == []


def test_two_policies_of_one_name_would_share_a_column(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, delay in (("a", 60), ("b", 80)):
        (here / folder).mkdir()
        (here / folder / "mine.toml").write_text(f"playout_delay_ms = {delay}", encoding="utf-8")
    assert run("short.yaml", "--compare", "a/mine.toml", "b/mine.toml") == BAD_INPUT
    assert "both named 'mine'" in capsys.readouterr().err
    (here / "patient.toml").write_text("playout_delay_ms = 60", encoding="utf-8")
    assert run("short.yaml", "--policy", "patient.toml") == BAD_INPUT
    assert "the name of a preset" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_is_refused_at_once(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ended in 70 after all runs, with no results: no report can be written in such a name."""
    (here / "calls").mkdir()
    for name in (os.fsdecode(b"h\xe4tte.yaml"), os.path.join("calls", os.fsdecode(b"h\xe4tte.yaml"))):
        try:
            (here / name).write_text(SHORT, encoding="utf-8")
        except OSError:
            pytest.skip("this file system has no such names")
        assert run(name if name.startswith("h") else "calls") == BAD_INPUT
        assert "is not UTF-8" in capsys.readouterr().err
    assert left(here) == []


def test_control_characters_in_a_name_reach_no_terminal_and_no_page(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "red\x1b[31m.yaml"
    (here / name).write_text(TOO_STRICT, encoding="utf-8")
    assert run(name, "--seed", "1", "--no-plots") == MISSED
    said = capsys.readouterr().out
    assert "\x1b" not in said and r"red\x1b[31m" in said
    assert r"again: avsync run $'red\x1b[31m.yaml'" in said, "a shell reads this as the file's name"
    assert "\x1b" not in (the_folder(here) / "summary.md").read_text(encoding="utf-8")
    (here / name).write_text("avsync: 2\n", encoding="utf-8")
    assert run(name) == BAD_INPUT
    assert "\x1b" not in capsys.readouterr().err


def test_a_pipe_is_wide_and_plain_and_has_no_bar(here: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "avsync.cli", "run", "short.yaml", "--no-plots", "--jobs", "2", "--out", "out"],
        capture_output=True, text=True, encoding="utf-8", cwd=here, env={**environment, "PYTHONUTF8": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == MET, done.stderr
    assert "\x1b" not in done.stdout and "\r" not in done.stdout and "…" not in done.stdout
    header = next(line for line in done.stdout.splitlines() if "scenario" in line)
    assert {"recovery", "baseline", "verdict"} <= set(header.split())
    assert done.stdout.startswith("p95 of |offset|")
    assert done.stderr == ""


def test_nothing_is_drawn_with_if_nothing_is_drawn(here: Path) -> None:
    code = """
import sys
from avsync.cli import main
rc = main(["run", "short.yaml", "--seed", "1", "--no-plots", "--jobs", "1", "--out", "out"])
print([name for name in ("matplotlib", "seaborn", "pandas") if name in sys.modules])
sys.exit(rc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, timeout=120)
    assert done.returncode == MET, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["short.yaml", "--policy", "\udcff.toml"], "is not UTF-8"),
        (["short.yaml", "--compare", "\udcff.toml"], "is not UTF-8"),
        (["short.yaml", "--policy", "pipe.toml"], "pipe.toml: not a regular file"),
        (["short.yaml", "--policy", "deep.toml"], "deep.toml: not a readable TOML policy: nested too deeply"),
        (["short.yaml", "--policy", "digits.toml"], "digits.toml: not a readable TOML policy"),
        (["short.yaml", "--policy", "huge.toml"], "huge.toml: a policy file has at most 64 KB"),
        (["pipe.yaml"], "pipe.yaml: not a regular file"),
        ([""], "a name is empty"),
        (["short.yaml", "--out", "\udcff"], "is not UTF-8"),
        (["short.yaml", "--out", "o" * 300], "--out must be a folder"),
        (["short.yaml", "--out", "/proc"], "cannot make the results folder"),
    ],
)
def test_what_cannot_be_read_or_written_is_said_before_anything_runs(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    os.mkfifo(here / "pipe.toml")
    os.mkfifo(here / "pipe.yaml")
    (here / "deep.toml").write_text("a=" + 20_000 * "[")
    (here / "digits.toml").write_text("late_video_ms = " + 5_000 * "9")
    (here / "huge.toml").write_text("# " + (1 << 17) * "x")
    assert main(["run", *words, "--jobs", "1"]) == BAD_INPUT
    got = capsys.readouterr().err
    assert said in got and "Traceback" not in got
    assert not (here / "results").exists()


def test_a_recording_that_cannot_be_written_is_refused_before_anything_runs(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.running.run_all", None)
    long = "n" * 245 + ".yaml"  # a file's name may have 255 bytes, and a recording's says viewer, seed and point too
    (here / "calls").mkdir()
    for file in (long, "calls/short.yaml"):
        (here / file).write_text(SHORT, encoding="utf-8")
    assert run("short.yaml", long, "--record") == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith(f"avsync: {long}: --record cannot write nnn") and "give the scenario a shorter name" in said
    assert run("short.yaml", "calls/short.yaml", "--record") == BAD_INPUT
    assert "short.yaml and calls/short.yaml would share their recordings" in capsys.readouterr().err
    assert left(here) == []


@pytest.mark.parametrize("seed", ["-1", "1.5", "1,2"])
def test_one_seed_is_a_whole_number_from_0(here: Path, seed: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "short.yaml", "--seed", seed])
    assert stopped.value.code == BAD_INPUT


def test_whoever_stops_reading_ends_it_quietly(here: Path) -> None:
    words = [sys.executable, "-m", "avsync.cli", "run", "short.yaml", "--jobs", "1", "--no-plots", "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == BROKEN_PIPE and "Traceback" not in done.stderr
    assert not list((here / "results").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["list", "schema"], ["list"], ["run", "short.yaml", "--no-plots", "--json"]])
def test_an_output_that_takes_no_more_is_74_and_says_so(here: Path, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "avsync.cli", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == NOT_WRITTEN
    assert done.stderr.splitlines()[-2:] == [
        "avsync: cannot write: No space left on device",
        "  make room there, or write elsewhere",
    ]
    assert "Traceback" not in done.stderr
    assert not (here / "results").exists() or not list((here / "results").iterdir())


def test_a_disk_that_takes_no_more_is_74_and_no_half_a_folder_is_left(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/runs.jsonl")

    monkeypatch.setattr("sim.report.report.summary", full)
    assert run("short.yaml", "--seed", "1") == NOT_WRITTEN
    assert "avsync: out/runs.jsonl: cannot write: No space left" in capsys.readouterr().err
    assert left(here) == []


def test_told_to_end_it_ends_at_once_with_its_workers_and_leaves_nothing(here: Path) -> None:
    long = SHORT.replace("duration_s: 6", "duration_s: 3600").replace("[1, 2]", "[1, 2, 3, 4]")
    (here / "long.yaml").write_text(long.replace("[reference]", "[reference, soak]"), encoding="utf-8")
    words = [sys.executable, "-m", "avsync.cli", "run", "long.yaml", "--jobs", "2", "--no-plots", "--out", "out"]
    running = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not left(here):  # the folder aside is made when the runs begin
        assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == INTERRUPTED
    assert left(here) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
