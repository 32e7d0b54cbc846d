"""What a player leaves behind: the truth of what left it, and what it could see of that itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from avsync.types import Presented


class PresentationWriter(Protocol):
    """Where what left is written (``sim.truth.logs.PresentationLog``)."""

    def heard(self, at_ns: int, duration_ns: int, ref: int, from_ns: int, span_ns: int) -> None: ...

    def shown(self, at_ns: int, ref: int) -> None: ...


Observe = Callable[[Presented], None]
