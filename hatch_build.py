"""Build hook: with ``AVSYNC_COMPILE=1`` the hot modules go into the wheel compiled by mypyc.

Plain Python is the source, and the default wheel (``py3-none-any``) needs nothing of this. A compiled wheel is
for one Python on one platform; it holds the sources too, beside their extension modules, which Python prefers.
It answers the same to the last bit. ``avsync --version`` says which build runs. ``AVSYNC_COMPILE_LEVEL=0`` builds
in a third of the time, for tests: the compiler does not optimise then.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "avsync/units.py",
    "avsync/types.py",
    "avsync/engine/catchup.py",
    "avsync/engine/delay_target.py",
    "avsync/engine/engine.py",
    "avsync/engine/jitter_buffer.py",
    "avsync/engine/key_frame_request.py",
    "avsync/engine/lag.py",
    "avsync/engine/late_ladder.py",
    "avsync/engine/open_loop.py",
    "avsync/engine/pictures.py",
    "avsync/engine/playout.py",
    "avsync/engine/trim.py",
    "avsync/engine/voice.py",
    "avsync/timeline/drift.py",
    "avsync/timeline/ingress.py",
    "avsync/timeline/old_turn.py",
    "avsync/timeline/opus.py",
    "avsync/timeline/rtp_wrap.py",
    "avsync/timeline/sender_report_mapping.py",
    "avsync/monitor/alerts.py",
    "avsync/monitor/belief.py",
    "avsync/monitor/percentiles.py",
    "avsync/monitor/stalls.py",
    "avsync/monitor/trend.py",
    "avsync/monitor/watch.py",
    "sim/virtual_time.py",
    "sim/packets.py",
    "sim/rng.py",
    "sim/source/blocks.py",
    "sim/source/generator.py",
    "sim/source/stream.py",
    "sim/network/bottleneck.py",
    "sim/network/impairments.py",
    "sim/network/link.py",
    "sim/browser/*.py",
    "sim/run/*.py",
    "sim/truth/beliefs.py",
    "sim/truth/columns.py",
    "sim/truth/logs.py",
)
"""The one list: the core behind its gates, and what runs once per packet or per slot in the lab.

The gates stay Python (errors, AvSynchronizer before its Engine, AvSyncMonitor before its Watch, AvSyncClock with its
streams, epochs, quarantine): they are what refuses a NaN, a float or a numpy number by name, or drops it with its
reason. A compiled function raises a bare TypeError there, before its first line runs. Constants are ``Final``: compiled
code then reads them without a look-up.
"""

NEEDS = ("mypy==2.4.1", "setuptools", "av", "numpy", "pydantic>=2", "simpy", "types-PyYAML")
"""mypyc is part of mypy, and what it accepts changes with it: this is the version that is tested (constraints.txt).
After setuptools: whose types it reads."""


class CompileHook(BuildHookInterface[Any]):
    """hatchling finds it by its base class."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return list(NEEDS) if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install stays plain: its sources are the point of it."""
        self.built: Path | None = None
        if not _wanted() or version == "editable":
            return
        self.built = Path(tempfile.mkdtemp(prefix="avsync-compiled-"))
        for module in compile_into(self.built, Path(self.root)):
            build_data["force_include"][str(module)] = module.relative_to(self.built).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.built is not None:
            shutil.rmtree(self.built)


def _wanted() -> bool:
    return os.environ.get("AVSYNC_COMPILE", "") not in ("", "0")


def compile_into(built: Path, root: Path) -> list[Path]:
    """The extension modules of ``COMPILED``, made under ``built`` where they lie in a wheel. Takes minutes."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    found = [path for wanted in COMPILED for path in sorted(root.glob(wanted)) if path.name != "__init__.py"]
    before = Path.cwd()
    os.chdir(root)  # mypy's settings and the modules' names come from here
    try:
        sources = [path.relative_to(root).as_posix() for path in found]
        level = os.environ.get("AVSYNC_COMPILE_LEVEL", "3")
        extensions = mypycify(sources, opt_level=level, target_dir=str(built / "c"), group_name="avsync")
        if os.name == "posix":  # Python's own -Wall looks for warnings in generated C, for longer than -O0 takes
            for extension in extensions:
                extension.extra_compile_args.append("-Wno-all")
        command = Distribution({"name": "avsync", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(built / "lib"), str(built / "temp")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    for folder in ("c", "temp"):
        shutil.rmtree(built / folder, ignore_errors=True)
    for made in list((built / "lib").iterdir()):
        made.rename(built / made.name)
    return sorted(path for path in built.rglob("*") if path.suffix in (".so", ".pyd"))
