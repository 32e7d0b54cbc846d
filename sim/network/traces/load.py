"""Network traces from files: ``load_trace(path, leg="to_viewer")`` -> ``NetworkTrace``.

The format is told from the content, never from the name, and said in ``trace.about`` together
with its units and every assumption ("RTT halved"). What cannot be told apart is refused; the
caller can then say ``format=``. Bounded in memory and time whatever the file holds.
"""

from __future__ import annotations

from pathlib import Path

from avsync.errors import UsageError
from sim.network.traces.formats import FORMATS, detect, parse
from sim.network.traces.reader import read_source
from sim.network.traces.trace import NetworkTrace

__all__ = ["FORMATS", "NetworkTrace", "load_trace"]


def load_trace(
    path: str | Path, *, leg: str | None = None, column: str | None = None, format: str | None = None
) -> NetworkTrace:
    """Read a trace for one leg of the network.

    ``leg`` ("to_viewer", "to_bridge" or None) chooses where a file has both directions: the
    viewer is at the end of a downlink, the bridge at the end of an uplink. ``column`` names the
    column to use, ``format`` one of ``FORMATS`` where the content leaves a choice.
    Raises ``InputError`` for the file, ``UsageError`` for the arguments.
    """
    if leg not in (None, "to_viewer", "to_bridge"):
        raise UsageError(f"leg must be to_viewer, to_bridge or None, got {leg!r}")
    if format is not None and format not in FORMATS:
        raise UsageError(f"no trace format {format!r}; known are {', '.join(FORMATS)}")
    source = read_source(path)
    return parse(source, format or detect(source), leg=leg, column=column)
