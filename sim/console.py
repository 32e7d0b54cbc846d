"""The terminal: how wide it is, and words that no terminal acts upon."""

from __future__ import annotations

import os

from rich.console import Console
from rich.text import Text

from sim.scenario.words import visible

PIPE_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """A pipe or a log has no width of its own: wide enough there for every table."""
    out = Console(stderr=stderr, highlight=False)
    if out.is_terminal or "COLUMNS" in os.environ:
        return out
    return Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def say(out: Console, text: str) -> None:
    """A line as it is: no markup in it, and no break, so that paths can be copied."""
    out.print(Text(visible(text)), soft_wrap=True)
