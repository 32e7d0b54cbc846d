"""Golden digests: what the named scenarios give, to the last bit. Written on purpose, read by a test.

    python tests/golden/regenerate.py        writes digests.json beside this file and says what changed

A digest is the sha256 of one row as canonical JSON: sorted keys, no spaces, floats as ``repr``
writes them, without ``wall_s``. Nothing is rounded: chance and time are whole numbers in the lab,
and its floats come from + - * /, which IEEE 754 fixes, but for one power in the browser model.
Tried: CPython 3.11 to 3.13, and glibc and numpy without AVX and FMA. If another libm ever differs,
that is the time to round, and to say here which measure did.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script: this checkout, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sim.judge.row import measure
from sim.run.world import simulate
from sim.scenario.files import shipped
from sim.scenario.scenario import Scenario, build, load_scenario
from sim.sweep.sweep import Result, Spec

DIGESTS = Path(__file__).with_name("digests.json")
COMMAND = "python tests/golden/regenerate.py"
DURATION_S = {"video_stall": 30, "audio_stall": 30, "jitter_burst": 40, "bridge_clock_drift": 60}
"""The shipped files, cut so that their fault still fits: all of it in about three seconds."""
SEED = 1


def shortened(name: str) -> Scenario:
    """A shipped scenario of another length."""
    data = load_scenario(shipped() / f"{name}.yaml").to_dict()
    return build({**data, "duration_s": DURATION_S[name]}, name=name)


def row_of(scenario: Scenario, viewer: str, *, seed: int = SEED) -> dict[str, Any]:
    """One run as it would stand in ``runs.jsonl``, without what the wall clock says."""
    spec = Spec(scenario.name, viewer, seed)
    run = simulate(scenario, policy=scenario.engine_policy, viewer=viewer, seed=seed)
    result = Result(spec, scenario.name, run.policy.name, measure(run), simulated_s=scenario.duration_s)
    return without_wall(result.flat())


def without_wall(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "wall_s"}


def digest(row: dict[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digests() -> dict[str, str]:
    """Scenario and viewer -> digest."""
    found = {}
    for name in DURATION_S:
        scenario = shortened(name)
        for viewer in scenario.viewers:
            found[f"{name} {viewer} seed {SEED}"] = digest(row_of(scenario, viewer))
    return found


def committed() -> dict[str, str]:
    found: dict[str, str] = json.loads(DIGESTS.read_text(encoding="utf-8"))
    return found


def main() -> None:
    before = committed() if DIGESTS.exists() else {}
    now = digests()
    DIGESTS.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    for name, value in now.items():
        print(f"{'same   ' if before.get(name) == value else 'changed'}  {name}")


if __name__ == "__main__":
    main()
