"""The plugin in somebody else's repository: with a ``sim`` and YAML of its own, with and without the lab.

Every story runs pytest as its user would, from that repository, against whatever avsync is installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path

import pytest

from avsync.pytest_plugin import Lab, NoAnswerError

needs_lab = pytest.mark.lab

CALL = """\
avsync: 1
about: Five quiet seconds.
duration_s: 5
seeds: [1, 12]
tags: [reference, quiet]
expect: [{metric: content_heard_pct, at_least: 90}]
"""
SLOW = CALL.replace("[reference, quiet]", "[reference, slow]")
# More than everything cannot be heard; in a quiet call the baseline misses nothing.
MISSED = """\
avsync: 1
about: A limit that cannot be met, and a baseline that does not miss.
duration_s: 10
seeds: [3]
viewer: avsync
expect:
  - {metric: output_content_heard_pct, at_least: 101}
  - {metric: output_pts_violations, at_most: 0}
baseline: {policy: fps_paced, misses: [output_pts_violations]}
"""
TYPO = CALL.replace("duration_s", "duraton_s")

WATCH = """\
import json, sys
import pytest
seen = []
def watch(event, args):
    if event == "open" and str(args[0]).endswith((".yaml", ".yml")) or event == "subprocess.Popen":
        seen.append((event, str(args[0])))
sys.addaudithook(watch)
def pytest_runtest_logreport(report):  # what xdist sends is what JSON can say
    data = report._to_json()
    data.pop("keywords", None)
    json.dumps(data)
"""
OWN_TEST = """\
import sys
import conftest
import sim
def test_nothing_of_ours_was_touched():
    assert sim.MINE
    assert conftest.seen == []
    assert not {"yaml", "numpy", "simpy", "pydantic", "rich"} & set(sys.modules)
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A repository that has never heard of avsync, in an environment that has."""
    folder = tmp_path / "foreign"
    for name, text in {
        "sim/__init__.py": "MINE = True\n",
        "yaml.py": "raise RuntimeError('this yaml is not for you')\n",
        "deploy.yml": "app: !!python/object:os.system {}\nnested:\n  avsync: 1\n",
        "calls/values.yaml": "- &a [*a]\n",
        "test_app.py": OWN_TEST,
        "conftest.py": WATCH,
        "pytest.ini": "[pytest]\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def run_pytest(folder: Path, *args: str, python: str = sys.executable, hash_seed: str = "0") -> tuple[int, str]:
    """Exit code and output. ``python -m pytest`` puts the current folder, and so its ``sim``, first."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-ra", *args],
        cwd=folder, env={**env, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


def assert_told_without_traceback(said: str) -> None:
    assert "Traceback" not in said
    assert not re.search(r"\.py:\d+", said), said


def names(folder: Path, *args: str, **more: str) -> list[str]:
    """What is collected."""
    _, said = run_pytest(folder, "--collect-only", "-q", *args, **more)
    return [line for line in said.splitlines() if "::" in line]


def test_other_peoples_yaml_and_sim_are_never_touched(foreign: Path) -> None:
    (foreign / "calls" / "quick.yaml").write_text(CALL, encoding="utf-8")
    code, said = run_pytest(foreign)
    assert code == 0, said
    assert "1 passed" in said


@pytest.mark.parametrize("file", ["deploy.yml", "calls/values.yaml"])
def test_yaml_named_on_the_command_line_without_our_key_is_not_ours(foreign: Path, file: str) -> None:
    code, said = run_pytest(foreign, file)
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert "not found" in said


@needs_lab
def test_a_file_named_on_the_command_line_runs_in_our_lab_beside_a_foreign_sim(foreign: Path) -> None:
    (foreign / "quick.yaml").write_text(CALL, encoding="utf-8")
    code, said = run_pytest(foreign, "quick.yaml", "-v", "--junitxml=junit.xml")
    assert code == 0, said
    ran = re.findall(r"^quick\.yaml::(\S+) PASSED", said, re.M)
    assert ran == ["browser-seed=1", "browser-seed=12", "avsync-seed=1", "avsync-seed=12"]
    case = ET.parse(foreign / "junit.xml").find(".//testcase[@name='avsync-seed=12']")
    assert case is not None
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["scenario"] == "quick" and properties["seed"] == "12"
    assert float(properties["content_heard_pct"] or "") > 90
    assert properties["recovery_ms"] == "UNKNOWN", "no fault, so no recovery: unknown, not None and not 0"


@needs_lab
@pytest.mark.parametrize("listed", ["calls", "ca*/q*.yaml", "calls/deep/../quick.yaml"])
def test_ini_option_lists_folders_and_globs_relative_to_the_ini_file(foreign: Path, listed: str) -> None:
    (foreign / "calls" / "values.yaml").unlink()
    (foreign / "calls" / "deep").mkdir()
    (foreign / "calls" / "quick.yaml").write_text(CALL, encoding="utf-8")
    (foreign / "pytest.ini").write_text(f"[pytest]\navsync_scenarios = {listed}\n", encoding="utf-8")
    runs = ["browser-seed=1", "browser-seed=12", "avsync-seed=1", "avsync-seed=12"]
    assert names(foreign, "calls") == [f"calls/quick.yaml::{run}" for run in runs]


@needs_lab
def test_names_select_and_deselect_and_do_not_depend_on_the_hash_seed(foreign: Path) -> None:
    (foreign / "pytest.ini").write_text("[pytest]\navsync_scenarios = calls\n", encoding="utf-8")
    (foreign / "calls" / "values.yaml").write_text(MISSED, encoding="utf-8")
    for number in range(5):
        (foreign / "calls" / f"c{number}.yaml").write_text(CALL, encoding="utf-8")
    everything = names(foreign, "calls", hash_seed="1")
    assert len(everything) == 5 * 4 + 2 and everything == names(foreign, "calls", hash_seed="2")
    assert names(foreign, "calls/values.yaml::avsync-seed=3") == ["calls/values.yaml::avsync-seed=3"]
    assert names(foreign, "calls", "-k", "quiet and browser-seed-12 and c3") == ["calls/c3.yaml::browser-seed=12"]
    assert names(foreign, "calls", "-k", "baseline") == ["calls/values.yaml::avsync-seed=3-baseline"]
    assert len(names(foreign, "calls", "--deselect", "calls/c0.yaml::browser-seed=1")) == 4 * 4 + 2 + 2


@needs_lab
def test_a_fault_of_your_own_needs_no_baseline(foreign: Path) -> None:
    fault = CALL.replace("[reference, quiet]", "[mine]") + "steps: [{at_s: 2, do: stall, for_s: 0.1}]\n"
    (foreign / "stall.yaml").write_text(fault, encoding="utf-8")
    assert names(foreign, "stall.yaml", "-k", "avsync-seed-12") == ["stall.yaml::avsync-seed=12"]


@needs_lab
def test_a_miss_says_metric_wanted_got_and_how_to_see_it_again(foreign: Path) -> None:
    (foreign / "bad call.yaml").write_text(MISSED, encoding="utf-8")
    code, said = run_pytest(foreign, "bad call.yaml")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "wanted output_content_heard_pct >= 101, got 100" in said
    assert "wanted baseline fps_paced to miss output_pts_violations <= 0 by 1.5 times, got 0" in said
    # Once for each item; in CI pytest's own summary repeats it in full.
    assert said.count("again: avsync run 'bad call.yaml' --seed 3 --viewer avsync") >= 2
    assert "2 failed" in said
    assert_told_without_traceback(said)


@needs_lab
def test_bad_scenario_is_a_collection_error_with_its_place(foreign: Path) -> None:
    (foreign / "typo.yaml").write_text(TYPO, encoding="utf-8")
    code, said = run_pytest(foreign, "typo.yaml")
    assert code == pytest.ExitCode.INTERRUPTED
    assert "typo.yaml:3:1:" in said and "'duration_s'" in said
    assert_told_without_traceback(said)


@needs_lab
def test_slow_ones_wait_until_they_are_asked_for(foreign: Path) -> None:
    (foreign / "pytest.ini").write_text("[pytest]\navsync_scenarios = calls\n", encoding="utf-8")
    (foreign / "calls" / "values.yaml").write_text(SLOW, encoding="utf-8")
    code, said = run_pytest(foreign, "calls")
    assert code == 0 and "4 skipped" in said and "add --avsync-slow" in said
    one = ("-k", "avsync-seed-12")
    for args in (("calls", "--avsync-slow"), ("calls/values.yaml",)):
        code, said = run_pytest(foreign, *args, *one)
        assert code == 0 and "1 passed" in said, said


def test_a_listed_folder_that_is_not_there_is_said(foreign: Path) -> None:
    (foreign / "pytest.ini").write_text("[pytest]\navsync_scenarios = cals\n", encoding="utf-8")
    code, said = run_pytest(foreign)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "avsync_scenarios: nothing is named 'cals'" in said


@pytest.fixture
def python_without_lab(tmp_path: Path, foreign: Path) -> str:
    """An environment with pytest, no extra, and two editable installs: the foreign one comes first."""
    folder = tmp_path / "bare"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    place = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(place, capture_output=True, text=True, check=True).stdout.strip())
    here = Path(sysconfig.get_path("purelib"))
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        for top in {path.parts[0] for path in files(name) or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(here / top)
    spec = find_spec("avsync")
    assert spec is not None and spec.origin is not None
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in ("avsync", "sim"):  # from a checkout or from a wheel
        (ours / name).symlink_to(Path(spec.origin).parent.parent / name)
    info = ours / "avsync-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: avsync\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pytest11]\navsync = avsync.pytest_plugin\n", encoding="utf-8")
    (site / "a.pth").write_text(f"{foreign}\n", encoding="utf-8")
    (site / "b.pth").write_text(f"{ours}\n", encoding="utf-8")
    return str(python)


def test_without_the_lab_the_install_line_and_no_traceback(foreign: Path, python_without_lab: str) -> None:
    (foreign / "quick.yaml").write_text(CALL, encoding="utf-8")
    code, said = run_pytest(foreign, "quick.yaml", python=python_without_lab)
    assert code == pytest.ExitCode.INTERRUPTED, said
    assert re.search(r"^the lab needs \w+, which is not installed\n +pip install 'avsync\[lab\]'$", said, re.M), said
    assert "ended with status" not in said
    assert_told_without_traceback(said)
    code, said = run_pytest(foreign, python=python_without_lab)
    assert code == 0, said


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "quick.yaml").write_text(CALL, encoding="utf-8")
    lab = Lab(tmp_path)
    yield lab
    lab.stop()


LIST = {"do": "list", "file": "quick.yaml"}


@needs_lab
def test_a_lab_that_died_is_said_and_started_again(lab: Lab) -> None:
    assert lab.ask(LIST)["seeds"] == [1, 12]
    assert lab._child is not None
    lab._child.kill()
    with pytest.raises(NoAnswerError, match="the lab's process ended with status -9"):
        lab.ask(LIST)
    assert lab.ask(LIST)["seeds"] == [1, 12]


@needs_lab
def test_an_interrupted_question_leaves_no_answer_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.ask(LIST)["seeds"] == [1, 12]
    child = lab._child
    assert child is not None and child.stdout is not None

    def interrupted(_size: int = -1) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(child.stdout, "readline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.ask({"do": "list", "file": "no_such.yaml"})
    assert child.poll() is not None, "a run under way goes on without anybody"
    assert lab.ask(LIST)["seeds"] == [1, 12]


@needs_lab
def test_a_fault_of_the_lab_itself_is_told_apart_from_bad_input(lab: Lab) -> None:
    with pytest.raises(NoAnswerError, match="fault of avsync itself"):
        lab.ask({"do": "run", "file": "quick.yaml", "viewer": "avsync", "seed": 1, "role": "none"})
    assert json.dumps(lab.ask(LIST))
