"""The jitter buffer: everything comes out exactly once and in order, whatever went in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.engine.jitter_buffer import JitterBuffer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, DropReason, MediaUnit
from avsync.units import ms, seconds

UNIT = ms(20)
POLICY = AvSyncPolicy()


def sound(n: int, *, epoch: int = 0, pause: bool = False) -> MediaUnit:
    return MediaUnit(AUDIO, n, epoch, n * UNIT, UNIT, pause=pause)


@pytest.fixture
def buffer() -> JitterBuffer:
    return JitterBuffer(POLICY)


def push_all(buffer: JitterBuffer, *numbers: int, epoch: int = 0) -> list[DropReason]:
    refused = [buffer.push(sound(n, epoch=epoch), n * UNIT) for n in numbers]
    return [reason for each in refused for _, reason in each]


def pop_all(buffer: JitterBuffer) -> list[int]:
    return [buffer.pop().seq for _ in range(len(buffer))]


def books(buffer: JitterBuffer) -> tuple[int, int | None, int]:
    return buffer.depth_ns, buffer.end_pts_ns, len(buffer)


def test_first_in_first_out_and_the_books_are_right(buffer: JitterBuffer) -> None:
    assert books(buffer) == (0, None, 0) and buffer.peek() is None
    assert push_all(buffer, 0, 1, 2) == []
    assert books(buffer) == (3 * UNIT, 3 * UNIT, 3)
    assert buffer.peek() == sound(0) == buffer.pop()
    assert books(buffer) == (2 * UNIT, 3 * UNIT, 2)
    assert pop_all(buffer) == [1, 2]
    assert books(buffer) == (0, None, 0)


def test_overtaken_units_find_their_place(buffer: JitterBuffer) -> None:
    assert push_all(buffer, 0, 3, 1, 5, 4, 2) == []
    assert buffer.depth_ns == 6 * UNIT
    assert pop_all(buffer) == [0, 1, 2, 3, 4, 5]


def test_the_same_pts_twice_is_a_duplicate_queued_or_just_played(buffer: JitterBuffer) -> None:
    assert push_all(buffer, 0, 1, 2, 1, 2) == [DropReason.DUPLICATE, DropReason.DUPLICATE]
    buffer.pop()
    assert push_all(buffer, 0) == [DropReason.DUPLICATE]
    assert buffer.depth_ns == 2 * UNIT


def test_what_comes_after_its_place_was_played_is_late(buffer: JitterBuffer) -> None:
    push_all(buffer, 0, 2)
    buffer.pop()
    buffer.pop()
    assert push_all(buffer, 1) == [DropReason.LATE]
    assert len(buffer) == 0 and buffer.depth_ns == 0
    assert push_all(buffer, 3) == []


def test_a_lost_packet_is_a_gap_and_holds_nothing_up(buffer: JitterBuffer) -> None:
    push_all(buffer, *(n for n in range(100) if n % 5))
    assert buffer.depth_ns == 80 * UNIT and buffer.end_pts_ns == 100 * UNIT
    assert pop_all(buffer) == [n for n in range(100) if n % 5]
    assert push_all(buffer, 100) == []


def test_a_full_buffer_gives_up_its_oldest_and_never_takes_it_back() -> None:
    buffer = JitterBuffer(replace(POLICY, audio_queue_units=3))
    assert push_all(buffer, 1, 2, 3) == []
    assert buffer.push(sound(4), 0) == [(sound(1), DropReason.QUEUE_FULL)]
    assert push_all(buffer, 1, 0) == [DropReason.DUPLICATE, DropReason.LATE]
    assert buffer.depth_ns == 3 * UNIT
    assert pop_all(buffer) == [2, 3, 4]


def test_an_overtaken_unit_that_is_the_oldest_of_a_full_buffer_goes_itself() -> None:
    buffer = JitterBuffer(replace(POLICY, audio_queue_units=2))
    assert push_all(buffer, 5, 6) == []
    assert buffer.push(sound(4), 0) == [(sound(4), DropReason.QUEUE_FULL)]
    assert pop_all(buffer) == [5, 6]


def test_a_new_turn_queues_behind_the_tail_of_the_last(buffer: JitterBuffer) -> None:
    push_all(buffer, 0, 1)
    push_all(buffer, 2, 3, epoch=1)
    assert [(buffer.pop().epoch) for _ in range(4)] == [0, 0, 1, 1]


def test_the_last_turns_straggler_is_late_once_the_new_one_plays(buffer: JitterBuffer) -> None:
    push_all(buffer, 0, 2)
    push_all(buffer, 3, epoch=1)
    assert push_all(buffer, 1) == []  # still in time
    assert pop_all(buffer) == [0, 1, 2, 3]
    assert push_all(buffer, 9) == [DropReason.LATE]


def test_an_interrupt_takes_out_what_was_said_before_and_keeps_it_out(buffer: JitterBuffer) -> None:
    push_all(buffer, 0, 1, 2)
    push_all(buffer, 3, 4, epoch=1)
    assert buffer.clear_before(1) == [sound(0), sound(1), sound(2)]
    assert (buffer.depth_ns, len(buffer)) == (2 * UNIT, 2)
    # Stragglers, overtaken ones, and ones further on than anything yet.
    assert push_all(buffer, 3, 0, 99) == [DropReason.STALE_EPOCH] * 3
    assert push_all(buffer, 5, epoch=1) == []
    assert pop_all(buffer) == [3, 4, 5]


def test_two_interrupts_in_a_row_and_one_before_anything_was_said(buffer: JitterBuffer) -> None:
    assert buffer.clear_before(1) == []
    assert push_all(buffer, 0, 1, 2) == [DropReason.STALE_EPOCH] * 3
    assert buffer.clear_before(2) == [] == buffer.clear_before(2) == buffer.clear_before(1)
    assert push_all(buffer, 7, epoch=1) == [DropReason.STALE_EPOCH]
    assert push_all(buffer, 3, 4, epoch=2) == []
    assert pop_all(buffer) == [3, 4]


def test_a_producer_that_goes_on_after_an_interrupt_is_refused_from_its_next_unit(buffer: JitterBuffer) -> None:
    """Its epoch is the one the buffer saw last and its PTS the next: the fast path must not take it."""
    push_all(buffer, 0, 1)
    buffer.clear_before(1)
    assert push_all(buffer, 2) == [DropReason.STALE_EPOCH]


def test_without_epochs_nothing_is_stale_and_pts_is_the_order() -> None:
    buffer = JitterBuffer(replace(POLICY, epochs=False))
    push_all(buffer, 0, 1)
    assert buffer.clear_before(1) == [sound(0), sound(1)]
    assert push_all(buffer, 2, 4) == []
    assert push_all(buffer, 3, 5, epoch=1) == []
    assert push_all(buffer, 6) == []
    assert pop_all(buffer) == [2, 3, 4, 5, 6]


def test_pop_from_an_empty_buffer_is_the_callers_mistake(buffer: JitterBuffer) -> None:
    with pytest.raises(UsageError, match="empty jitter buffer"):
        buffer.pop()


# ---- what the target learns from


def learn(buffer: JitterBuffer, turns: int, gap_ns: int, *, epochs: bool = True, pause: bool = False) -> None:
    """Turns of 2.5 s, each so much later than the last one's end."""
    for n in range(125 * turns):
        turn = n // 125
        last = pause and n % 125 == 124
        buffer.push(sound(n, epoch=turn if epochs else 0, pause=last), n * UNIT + turn * gap_ns)
        buffer.pop()


def test_a_new_turn_is_not_delay_and_neither_is_a_marked_pause(buffer: JitterBuffer) -> None:
    learn(buffer, 20, ms(90))
    assert buffer.target_ns() == POLICY.jitter_min_ns
    paused = JitterBuffer(POLICY)
    learn(paused, 20, ms(90), epochs=False, pause=True)
    assert paused.target_ns() == POLICY.jitter_min_ns


def test_a_turn_after_an_interrupt_is_not_delay(buffer: JitterBuffer) -> None:
    for turn in range(20):
        buffer.clear_before(turn)
        for n in range(50 * turn, 50 * turn + 50):
            buffer.push(sound(n, epoch=turn), n * UNIT + turn * ms(90))
    assert buffer.target_ns() == POLICY.jitter_min_ns


def test_a_turn_that_begins_with_a_pause_is_not_delay(buffer: JitterBuffer) -> None:
    for n in range(2000):
        turn = n // 100
        buffer.push(sound(n, epoch=turn, pause=n % 100 == 0), n * UNIT + (ms(90) if n % 100 else 0))
        buffer.pop()
    assert buffer.target_ns() == POLICY.jitter_min_ns


def test_a_turns_first_unit_retransmitted_is_no_yardstick(buffer: JitterBuffer) -> None:
    """Were it one, all that follows would look early and the jitter would go unseen."""
    for n in range(2000):
        first = n % 100 == 0
        late_ns = ms(300) if first else ms(120) if n % 20 == 10 else 0
        buffer.push(sound(n, epoch=n // 100), n * UNIT + late_ns, in_order=not first)
        buffer.pop()
    assert buffer.target_ns() >= ms(120)


def test_late_units_in_order_raise_the_target(buffer: JitterBuffer) -> None:
    for n in range(1000):
        buffer.push(sound(n), n * UNIT + (ms(150) if n % 100 == 99 else 0))
    assert buffer.target_ns() >= ms(150)


def test_overtaken_and_retransmitted_units_do_not(buffer: JitterBuffer) -> None:
    now_ns = 0
    for n in range(1, 1500):
        if n % 10:
            now_ns = n * UNIT
            buffer.push(sound(n), now_ns)
        if n % 10 == 9:
            buffer.push(sound(n - 9), now_ns)  # overtaken by nine: noticed by its PTS
        if n % 30 == 29:
            buffer.push(sound(n + 1), now_ns + ms(200), in_order=False)  # the transport says so
    assert buffer.target_ns() == POLICY.jitter_min_ns


def test_refused_units_teach_nothing(buffer: JitterBuffer) -> None:
    for n in range(1000):
        buffer.push(sound(n), n * UNIT)
        buffer.pop()
        buffer.push(sound(n), n * UNIT + ms(19))
        buffer.push(sound(n - 5), n * UNIT + ms(19))
    assert buffer.target_ns() == POLICY.jitter_min_ns


# ---- any history


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 40), st.integers(0, 3)),
        st.tuples(st.just("next"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("pop"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("clear"), st.integers(0, 4), st.just(0)),
    ),
    max_size=120,
)


@pytest.mark.parametrize("epochs", [True, False])
@given(actions=ACTIONS, capacity=st.integers(1, 12))
def test_everything_comes_out_exactly_once_and_in_order(
    epochs: bool, actions: list[tuple[str, int, int]], capacity: int
) -> None:
    buffer = JitterBuffer(replace(POLICY, audio_queue_units=capacity, epochs=epochs))
    pushed = 0
    ended: list[int] = []  # by their number in payload: every unit, once
    played: list[tuple[int, int]] = []
    inside: list[MediaUnit] = []
    stale_below = newest = epoch = 0
    for action, value, other in actions:
        if action in ("push", "next"):
            newest = value if action == "push" else newest + value
            epoch = other if action == "push" else epoch
            unit = sound(newest, epoch=epoch)._replace(payload=pushed)
            pushed += 1
            refused = buffer.push(unit, pushed * UNIT)
            inside = [kept for kept in [*inside, unit] if (kept, DropReason.QUEUE_FULL) not in refused]
            for dropped, reason in refused:
                ended.append(dropped.payload)
                if reason is not DropReason.QUEUE_FULL:
                    assert dropped is unit
                    inside.remove(unit)
                assert (reason is DropReason.STALE_EPOCH) == (epochs and dropped.epoch < stale_below)
                key = (dropped.epoch if epochs else 0, dropped.pts_ns)
                if reason is DropReason.LATE:
                    assert key < played[-1]
                elif reason is DropReason.QUEUE_FULL:
                    played.append(key)  # what was given up is past as well
        elif action == "pop":
            for _ in range(min(value, len(buffer))):
                seen = buffer.peek()
                popped = buffer.pop()
                assert popped is seen
                inside.remove(popped)
                ended.append(popped.payload)
                assert not epochs or popped.epoch >= stale_below
                played.append((popped.epoch if epochs else 0, popped.pts_ns))
        else:
            stale_below = max(stale_below, value)
            for dropped in buffer.clear_before(value):
                assert dropped.epoch < value
                inside.remove(dropped)
                ended.append(dropped.payload)
        assert len(buffer) == len(inside) <= capacity
        assert buffer.depth_ns == sum(unit.duration_ns for unit in inside)
    ended.extend(buffer.pop().payload for _ in range(len(buffer)))
    assert sorted(ended) == list(range(pushed))
    assert played == sorted(set(played))


def test_hostile_order_stays_bounded(buffer: JitterBuffer) -> None:
    """Descending PTS, far more of them than the buffer holds: each finds its place without a walk."""
    for n in range(8_000, 0, -1):
        buffer.push(sound(n), seconds(1))
    assert len(buffer) == POLICY.audio_queue_units
    assert pop_all(buffer) == list(range(5_001, 8_001))
