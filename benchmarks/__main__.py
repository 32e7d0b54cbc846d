"""Runs every ``bench_*.py`` of this folder, or those named: ``python benchmarks [engine …]``.

Each runs in an interpreter of its own and prints what it measured, with a ratio to something
measured in the same run. No figure passes or fails here; only a benchmark that breaks does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    known = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark is named {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    broken = []
    for name in names or known:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, known[name]], cwd=HERE.parent, check=False).returncode:
            broken.append(name)
    print(f"{len(names or known) - len(broken)} benchmarks ran, {len(broken)} broke {' '.join(broken)}".rstrip())
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
