"""Epochs: what is stale after an interrupt."""

from __future__ import annotations

import pytest

from avsync.errors import UsageError
from avsync.timeline.epoch import EpochGate


def test_a_new_turn_alone_makes_nothing_stale() -> None:
    gate = EpochGate()
    first = gate.begin()
    second = gate.begin()
    assert gate.admits(0) and gate.admits(first) and gate.admits(second)


def test_only_an_interrupt_makes_everything_before_it_stale() -> None:
    gate = EpochGate()
    spoken, queued = gate.begin(), gate.begin()
    cut = gate.interrupt()
    assert not gate.admits(spoken) and not gate.admits(queued)
    assert gate.admits(cut) and gate.admits(gate.begin()) and gate.admits(cut)


def test_interrupts_back_to_back_and_before_anything_was_said() -> None:
    gate = EpochGate()
    assert gate.interrupt() == 1
    assert gate.interrupt() == 2
    assert [epoch for epoch in range(4) if gate.admits(epoch)] == [2]


def test_an_epoch_nobody_began_is_not_admitted() -> None:
    assert not EpochGate().admits(1)


@pytest.mark.parametrize("epoch", [-1, 1.5, True, None])
def test_a_gate_begins_with_a_whole_number(epoch: object) -> None:
    with pytest.raises(UsageError, match="epoch"):
        EpochGate(epoch)  # type: ignore[arg-type]
