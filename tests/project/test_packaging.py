"""What a newcomer's machine and CI rely on: two commands, pins, extras, what lies in git."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PINS = {
    line.split("==")[0].lower(): line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def setup_commands() -> list[str]:
    """The lines of the shell blocks under "Set-up"."""
    section = README.split("\n## Set-up\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match, requirement
    return match[0].lower()


def test_set_up_is_two_commands_that_need_nothing_but_python() -> None:
    commands = setup_commands()
    assert len(commands) == 2
    run, test = commands
    assert run.endswith("&& .venv/bin/avsync run")
    assert test.endswith("&& .venv/bin/tox -p 2")
    for command in commands:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt ")
        assert not re.search(r"sudo|activate|(^|&& )(pip|tox)\b", command)


def test_ci_runs_the_test_command_of_the_readme_and_before_it_only_gets_a_browser_and_a_voice() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    code = [line for line in script if line.strip() and not line.startswith("#")]
    assert code[0] == "set -eu"
    assert code[-1] == setup_commands()[1]
    before = "\n".join(code[:-1])
    assert not re.search(r"pip|tox|pytest|\|\| *true", before)
    assert re.findall(r"for program in (.*);", before) == ["chromium espeak-ng"]
    assert re.findall(r"--no-install-recommends (\S+)", before) == ['"$program"'] and before.count("install ") == 1


def test_the_base_install_has_no_dependencies(project: dict[str, Any]) -> None:
    assert project["project"]["dependencies"] == []


def test_torch_is_asked_for_by_the_scorer_alone(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    assert [name for name, needs in extras.items() if any("torch" in need for need in needs)] == ["scorer"]
    assert "torch==2.13.0" in extras["scorer"]
    assert "torch" not in PINS


def test_all_that_is_asked_for_is_pinned(project: dict[str, Any]) -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    asked = [need for needs in project["project"]["optional-dependencies"].values() for need in needs]
    asked += project["build-system"]["requires"]
    # The environments that try older versions of aiortc pin those themselves.
    sections = [name for name in tox.sections() if not name.startswith("testenv:aiortc-")]
    asked += [need for name in sections for need in tox[name].get("deps", "").split("\n") if need]
    names = {requirement_name(need) for need in asked} - {"avsync", "torch"}
    assert sorted(name for name in names if name not in PINS) == []
    assert all(PINS[need.split("==")[0].lower()] == need for need in asked if "==" in need and "torch" not in need)


def test_pins_are_versions_and_nothing_else() -> None:
    assert [line for line in PINS.values() if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []


def test_tox_checks_everything_that_is_promised() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    envs = tox["tox"]["env_list"].split()
    every_python = {"core-only-{py311,py312,py313}", "same-rows-{py311,py312,py313}"}
    others = {"lint", "boundaries", "wheel", "compiled", "aiortc-{114,115}", "tests", "alone"}
    assert set(envs) == every_python | others
    nightly = {"bench", "slow", "lab"}
    sections = {section.removeprefix("testenv:") for section in tox.sections()}
    assert sections >= (set(envs) | nightly) - every_python
    for env in ("compiled", "slow"):
        assert re.search(r"^pytest .*\bscenarios\b", tox[f"testenv:{env}"]["commands"], re.MULTILINE)
    checks = tox["testenv:tests"]["commands"].split("\n")
    assert checks[1:3] == ["mypy", "mkdocs build --quiet --strict --site-dir {env_tmp_dir}{/}site"]


def test_what_runs_alone_is_all_that_the_tests_leave_out() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    [together] = (line for line in tox["testenv:tests"]["commands"].split("\n") if line.startswith("pytest"))
    alone = tox["testenv:alone"]
    files = set(re.findall(r"tests\{/\}\S+", alone["commands"]))
    assert files and set(re.findall(r"--ignore (\S+)", together)) == files
    assert all((ROOT / name.replace("{/}", "/")).exists() for name in files)
    assert "posargs:tests --ignore" in together
    assert set(alone["depends"].split()) == set(tox["tox"]["env_list"].split()) - {"alone"}


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a git checkout")
def test_git_holds_no_large_file_and_only_the_results_that_were_meant() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    weights = [path for path in files if path.parent == ROOT / "avsync" / "scorer" / "weights"]
    assert sum(path.stat().st_size for path in weights) < 2_000_000
    assert [path.name for path in files if path.stat().st_size > 1_000_000 and path not in weights] == []
    results = {path.relative_to(ROOT / "results").parts[0] for path in files if path.is_relative_to(ROOT / "results")}
    assert results <= {"README.md", "attack", "baseline", "glass", "last_mile", "reports", "scorer"}
