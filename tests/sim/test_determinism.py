"""Same file, seed, policy, viewer and versions, same row: whatever the jobs, the hash seed, the Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.scenario.scenario import build
from tests.golden import regenerate as golden


def test_rows_are_those_that_were_committed() -> None:
    committed, now = golden.committed(), golden.digests()
    changed = [name for name in sorted({*committed, *now}) if committed.get(name) != now.get(name)]
    if changed:
        python = ".".join(map(str, sys.version_info[:3]))
        pytest.fail(
            f"{len(changed)} of {len(now)} rows changed (Python {python}): {', '.join(changed)}\n"
            f"If that was meant: {golden.COMMAND}; and say in the commit what got better or worse.",
            pytrace=False,
        )


def test_the_digest_notices_a_ulp_and_not_the_wall_clock() -> None:
    row = {"scenario": "s", "offset_abs_p95_ms": 0.1, "wall_s": 1.0}
    other = {**row, "wall_s": 2.0}
    assert golden.digest(golden.without_wall(row)) == golden.digest(golden.without_wall(other))
    assert golden.digest({**row, "offset_abs_p95_ms": 0.1 + 2**-56}) != golden.digest(row)


def test_a_second_run_in_one_process_remembers_nothing_of_the_first() -> None:
    scenario, between = golden.shortened("jitter_burst"), golden.shortened("video_stall")
    first = golden.row_of(scenario, "avsync")
    golden.row_of(between, "browser")
    assert golden.row_of(scenario, "avsync") == first


def test_another_seed_gives_another_row() -> None:
    """Or all of the above would hold for a lab without impairments."""
    scenario = golden.shortened("jitter_burst")
    assert golden.row_of(scenario, "avsync", seed=2) != golden.row_of(scenario, "avsync") | {"seed": 2}


def rows(file: Path, *, jobs: int, hash_seed: str) -> list[dict[str, Any]]:
    """What ``avsync run --json`` prints in an interpreter of its own."""
    words = ["run", file.name, "--seeds", "1,2", "--json", "--no-plots", "--jobs", str(jobs)]
    done = subprocess.run(
        [sys.executable, "-m", "avsync.cli", *words], cwd=file.parent, capture_output=True, text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return [golden.without_wall(json.loads(line)) for line in done.stdout.splitlines()]


def test_neither_jobs_nor_the_hash_seed_change_a_row(tmp_path: Path) -> None:
    story = {
        "avsync": 1,
        "about": "A bit of everything that draws by chance or keeps a set, in ten seconds.",
        "topology": "provider_bridge",
        "duration_s": 10,
        "network": {"to_bridge": {"delay_ms": 30, "jitter_ms": 20, "loss": 0.02}, "to_viewer": {"jitter_ms": 5}},
        "steps": [
            {"at_s": 2, "do": "stall", "only": "video", "for_s": 0.5},
            {"at_s": 5, "do": "interrupt"},
            {"at_s": 7, "do": "stall", "only": "audio", "for_s": 0.5},
        ],
        "expect": [{"metric": "output_offset_abs_p95_ms", "at_most": 25}],
        "baseline": {"policy": "two_clocks", "misses": ["output_offset_abs_p95_ms"]},
    }
    build(story)
    file = tmp_path / "story.yaml"
    file.write_text(json.dumps(story), encoding="utf-8")
    one = rows(file, jobs=1, hash_seed="1")
    assert len(one) == 8, "two viewers, two seeds, the baseline beside each"
    assert rows(file, jobs=2, hash_seed="2") == one
