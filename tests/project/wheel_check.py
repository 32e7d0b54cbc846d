"""The installed wheel, seen from another folder. `bare`: without extras. `lab`: with the lab extra.

    python wheel_check.py bare|lab

Run by tox (env wheel) in the environment that holds the wheel. Prints what it saw; any surprise
is an AssertionError.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import files, requires, version
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib")).resolve()
AVSYNC = Path(sysconfig.get_path("scripts")) / "avsync"
CHECKOUT = Path(__file__).resolve().parents[2]


def avsync(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([AVSYNC, *args], capture_output=True, text=True, timeout=300)
    print(f"$ avsync {' '.join(args)}\n{done.stdout}{done.stderr}[exit {done.returncode}]")
    assert "Traceback" not in done.stderr, "a traceback is no answer"
    return done


CALL = """\
avsync: 1
about: Five quiet seconds.
duration_s: 5
seeds: [1]
tags: [reference]
expect: [{metric: content_heard_pct, at_least: 90}]
"""


def scenario_as_test() -> subprocess.CompletedProcess[str]:
    """Pytest on a scenario in a repository with a `sim` of its own, which comes first on its path."""
    folder = Path("foreign")
    (folder / "sim").mkdir(parents=True, exist_ok=True)
    (folder / "sim" / "__init__.py").write_text("raise RuntimeError('not your sim')\n", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "call.yaml").write_text(CALL, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "call.yaml"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    print(f"$ pytest call.yaml\n{done.stdout}{done.stderr}[exit {done.returncode}]")
    assert "Traceback" not in done.stdout + done.stderr, "a traceback is no answer"
    return done


def check_files() -> None:
    """The wheel holds the packages and the scenarios, all importable from site-packages, and no more."""
    tops = {path.parts[0] for path in files("avsync") or ()} - {"..", f"avsync-{version('avsync')}.dist-info"}
    assert tops == {"avsync", "sim"}, tops
    for name in ("avsync", "sim"):
        paths = [Path(path) for path in importlib.import_module(name).__path__]
        assert paths == [SITE / name], f"{name} comes from {paths}, not from the wheel"
    shipped = sorted(path.name for path in (SITE / "sim" / "_scenarios").glob("*.yaml"))
    assert shipped == sorted(path.name for path in (CHECKOUT / "scenarios").glob("*.yaml")), shipped
    print(f"avsync {version('avsync')} from the wheel, {len(shipped)} scenarios inside")


def bare() -> None:
    """No dependency came along, and the command says what to install."""
    needed = [need for need in requires("avsync") or () if "extra ==" not in need]
    assert needed == [], needed
    assert importlib.util.find_spec("simpy") is None, "this environment is not bare"
    for folder in ("", "engine", "monitor", "recording", "timeline"):
        for path in sorted((SITE / "avsync" / folder).glob("*.py")):
            if path.stem not in ("__init__", "pytest_plugin"):
                importlib.import_module(".".join(path.relative_to(SITE).with_suffix("").parts))
    assert avsync("--help").returncode == 0
    done = avsync("run", "video_stall")
    assert done.returncode == 2, "without the lab, run is bad input: exit 2"
    assert re.search(r"pip install .*avsync\[lab\]", done.stderr), "the install line is missing"
    assert "pip install 'avsync[lab]'" in scenario_as_test().stdout, "pytest does not say what to install"


def lab() -> None:
    """A shipped scenario is found by name, runs, and leaves its results in the current folder."""
    assert avsync("run", "video_stall", "--seed", "1", "--no-plots").returncode == 0
    assert list(Path("results").glob("*/runs.jsonl")), "no results in the current folder"
    done = avsync("run", "vidoe_stall")
    assert done.returncode == 2
    assert "did you mean 'video_stall'?" in done.stderr
    assert "2 passed" in scenario_as_test().stdout, "a scenario is no test beside a foreign sim"


if __name__ == "__main__":
    assert not Path.cwd().is_relative_to(CHECKOUT) or ".tox" in Path.cwd().parts, "run it from another folder"
    check_files()
    {"bare": bare, "lab": lab}[sys.argv[1]]()
