"""The table of the scorer's benchmark: rows, percentiles, and the two files it is written to."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Final, NamedTuple

import numpy as np
import torch

NOT_MEASURED: Final = "not measured"


class Row(NamedTuple):
    """One line: latencies in ms, or a rate with its unit. All None where not measured; `note` then says why."""

    group: str
    name: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu_p95_ms: float | None = None
    """Of the thread's own time: what neighbours on the same core took is not in it."""
    rate: float | None = None
    unit: str = ""
    aim: str = ""
    note: str = ""


def timed(
    group: str, name: str, work: Callable[[], object], runs: int, *, warm_ups: int = 20, aim: str = "", note: str = ""
) -> Row:
    """p50, p95 and p99 of a call, after at most `warm_ups` calls that do not count."""
    for _ in range(min(warm_ups, runs)):
        work()
    took, own = [], []
    for _ in range(runs):
        begin, begin_own = perf_counter(), thread_time()
        work()
        own.append((thread_time() - begin_own) * 1e3)
        took.append((perf_counter() - begin) * 1e3)
    p50, p95, p99 = (float(value) for value in np.percentile(took, (50, 95, 99)))
    return Row(
        group,
        name,
        p50,
        p95,
        p99,
        float(np.percentile(own, 95)),
        aim=aim,
        note="; ".join(part for part in (f"{runs} runs", note) if part),
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on, by kind: no host names."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def write(folder: Path, rows: list[Row], remarks: list[str]) -> str:
    """Write `bench.json` and `bench.md` into a folder; returns the latter."""
    host = machine()
    text = markdown(rows, host, remarks)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": host, "remarks": remarks, "rows": [row._asdict() for row in rows]}
    (folder / "bench.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(text, encoding="utf-8")
    return text


def markdown(rows: list[Row], host: dict[str, Any], remarks: list[str]) -> str:
    gpu = f"{host['gpu']} (CUDA {host['cuda']})" if host["gpu"] else "no GPU at hand"
    lines = [
        "# What the scorer costs",
        "",
        f"Measured on {host['cpu']}, {host['cores']} cores; {gpu}; {host['system']}, CPython {host['python']}, numpy "
        f"{host['numpy']}, torch {host['torch']}. Load average before: {host['load_average_1_min']}.",
        *(part for remark in remarks for part in ("", remark)),
    ]
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        rates = all(row.unit for row in own)
        head = "| | rate | aim | |" if rates else "| | p50 ms | p95 ms | p99 ms | CPU p95 ms | aim | |"
        rule = "| --- | ---: | --- | --- |" if rates else "| --- | ---: | ---: | ---: | ---: | --- | --- |"
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", head, rule]
        lines += [_rate_line(row) if rates else _latency_line(row) for row in own]
    return "\n".join(lines) + "\n"


def _latency_line(row: Row) -> str:
    if row.p50_ms is None:
        return f"| {row.name} | {NOT_MEASURED} | | | | {row.aim} | {row.note} |"
    figures = " | ".join(f"{value:.2f}" for value in row[2:6] if value is not None)
    return f"| {row.name} | {figures} | {row.aim} | {row.note} |"


def _rate_line(row: Row) -> str:
    figure = NOT_MEASURED if row.rate is None else f"{row.rate:,.1f} {row.unit}"
    return f"| {row.name} | {figure} | {row.aim} | {row.note} |"
