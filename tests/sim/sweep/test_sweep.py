"""The sweep: who is ended with it, and who is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

SHORT = "avsync: 1\nabout: Six seconds.\nduration_s: 6\nviewer: browser\n"
INTERRUPTED = """
import json, multiprocessing
from sim.sweep.sweep import Spec, run_all

def bystander():
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=theirs.recv, daemon=True)  # it waits for a word
    child.start()
    return child, ours

if __name__ == "__main__":
    others = [bystander()]
    results = run_all([Spec("short.yaml", "browser", seed) for seed in range(40)], jobs=2)
    next(results)
    others.append(bystander())
    workers = set(multiprocessing.active_children()) - {child for child, _ in others}
    results.close()
    for worker in workers:
        worker.join()
    living = multiprocessing.active_children()
    print(json.dumps([len(workers), [child in living for child, _ in others]]))
    for child, pipe in others:
        pipe.send("done")
        child.join()
"""


def test_interrupted_it_ends_its_own_workers_and_no_other_child_of_the_caller(tmp_path: Path) -> None:
    """One child was there before the sweep began, one came while it ran."""
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    (tmp_path / "program.py").write_text(INTERRUPTED, encoding="utf-8")
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, [True, True]]
