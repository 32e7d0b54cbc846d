"""Blocks: how many units one has, how late it begins, and that a turn begins with one."""

from __future__ import annotations

from itertools import pairwise

from avsync.units import ms
from sim.rng import substream
from sim.scenario.source import VideoBlocks
from sim.source.blocks import BlockPlan

SEED = 1


def plan(frames: tuple[int, int], late_ms: tuple[float, float] = (200, 500)) -> BlockPlan:
    return BlockPlan(VideoBlocks(frames=frames, late_ms=late_ms), substream(SEED, "blocks"))


def test_a_block_has_from_fewest_to_most_units_and_begins_from_least_to_most_late() -> None:
    blocks = plan((4, 6))
    late = [blocks.late_ns() for _ in range(2_000)]
    begins = [unit for unit, late_ns in enumerate(late) if late_ns is not None]
    assert begins[0] == 0 and {after - before for before, after in pairwise(begins)} == {4, 5, 6}
    known = [late_ns for late_ns in late if late_ns is not None]
    assert ms(200) <= min(known) < ms(210) and ms(490) < max(known) <= ms(500)


def test_a_turn_begins_a_block_whatever_is_left_of_the_last_one() -> None:
    blocks = plan((8, 8))
    assert [blocks.late_ns() is None for _ in range(3)] == [False, True, True]
    blocks.begin_turn()
    assert [blocks.late_ns() is None for _ in range(9)] == [False, *[True] * 7, False]


def test_without_blocks_every_unit_comes_when_it_is_ready() -> None:
    assert {BlockPlan(None, substream(SEED, "blocks")).late_ns() for _ in range(20)} == {None}
