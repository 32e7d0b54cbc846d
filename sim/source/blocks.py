"""Blocks: a generator that makes several units at a time hands over each block late, and is fast within it."""

from __future__ import annotations

from avsync.units import ms
from sim.rng import Draws
from sim.scenario.source import BlocksSpec


class BlockPlan:
    """Which unit begins a block, and how late. ``spec`` None: no blocks; every unit comes when it is ready."""

    def __init__(self, spec: BlocksSpec | None, chance: Draws) -> None:
        self._spec, self._chance = spec, chance
        self._left = 0

    def begin_turn(self) -> None:
        """The first unit of a turn begins a block."""
        self._left = 0

    def late_ns(self) -> int | None:
        """To be asked once before each unit: how late its block begins; None: it is within one."""
        spec = self._spec
        if spec is None:
            return None
        late: int | None = None
        if self._left == 0:
            fewest, most = spec.size
            self._left = fewest + self._chance.below(most - fewest + 1)
            late = self._chance.between_ns(ms(spec.late_ms[0]), ms(spec.late_ms[1]))
        self._left -= 1
        return late
