"""A link's bottleneck against brute force: no work is lost, none is done too early."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from avsync.types import AUDIO, VIDEO
from avsync.units import ms, seconds, us
from sim.network.link import MAX_WAIT_NS, Link
from sim.network.link_spec import LinkSpec
from sim.network.traces.trace import NetworkTrace

BYTE_US_BPS = 8_000_000  # a byte a microsecond: every departure is a whole number


def link(**fields: Any) -> Link:
    return Link(LinkSpec(**fields), seed=1, name="to_viewer")


traffic = st.lists(st.tuples(st.integers(0, 3_000).map(us), st.integers(1, 2_000)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(traffic=traffic, packets=st.one_of(st.none(), st.integers(1, 5)), queue_us=st.integers(1, 4_000))
def test_queue_is_the_one_of_a_brute_force_model(
    traffic: list[tuple[int, int]], packets: int | None, queue_us: int
) -> None:
    spec = {"queue_packets": packets} if packets else {"queue_ns": queue_us * 1_000}
    tested = link(rate_bps=BYTE_US_BPS, delay_ns=ms(5), **spec)
    waiting: list[tuple[int, int]] = []  # (leaves, size), the one being sent included
    now = 0
    for gap, size in traffic:
        now += gap
        waiting = [packet for packet in waiting if packet[0] > now]
        left_bytes_ns = max(waiting[-1][0] - now, 0) if waiting else 0
        full = len(waiting) >= packets if packets else left_bytes_ns + size * 1_000 > queue_us * 1_000
        if waiting and full:
            assert tested.send(size, now, VIDEO) == ()
            continue
        leaves = max(now, waiting[-1][0] if waiting else 0) + size * 1_000
        waiting.append((leaves, size))
        assert tested.send(size, now, VIDEO) == (leaves + ms(5),)


def schedule(*steps: tuple[int, int], lasts_s: int = 4) -> NetworkTrace:
    return NetworkTrace(
        "schedule",
        "test",
        seconds(lasts_s),
        times_ns=tuple(seconds(at) for at, _ in steps),
        rate_bps=tuple(bps for _, bps in steps),
    )


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(st.sampled_from([0, 8_000, 100_000, 1_000_000]), min_size=4, max_size=4).filter(any),
    from_ms=st.integers(0, 3_999),
    traffic=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 1_500)), min_size=1, max_size=30),
)
@example(rates=[8_000, 0, 0, 0], from_ms=0, traffic=[(0, 500), (0, 1_500), (10, 1_500), (900, 1_500), (0, 100)])
def test_changing_rate_conserves_work(rates: list[int], from_ms: int, traffic: list[tuple[int, int]]) -> None:
    """Millisecond by millisecond: the link is never idle while something waits, and never too fast.

    The example has packets that would wait beyond the link's maximum, and one behind them that need not.
    """
    trace = schedule(*enumerate(rates))
    tested = link(trace=trace, trace_from_ns=ms(from_ms))
    now = busy = 0
    for gap_ms, size in traffic:
        now += ms(gap_ms)
        got = tested.send(size, now, VIDEO)
        at, left = max(now, busy), size * 8 * 1_000_000_000  # bit-ns still to do
        while left > 0 and at - now <= MAX_WAIT_NS + seconds(1):
            there = (at + ms(from_ms)) % trace.duration_ns
            rate = rates[there // seconds(1)]
            until = at + ms(1) - there % ms(1)
            done = rate * (until - at)
            at, left = (at + -(-left // rate), 0) if done >= left and rate else (until, left - done)
        if at - now > MAX_WAIT_NS:
            assert got == ()
        else:
            busy = at
            assert abs(got[0] - at) <= len(traffic)


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.one_of(st.integers(0, 50), st.integers(0, 5_000)), min_size=1, max_size=20)
    .filter(any)
    .map(sorted),
    from_ms=st.integers(0, 60),
    traffic=st.lists(
        st.tuples(st.integers(0, 60).map(lambda thirds: thirds * ms(1) // 3), st.integers(1, 4_000)),
        min_size=1,
        max_size=30,
    ),
)
@example(times=[5_000], from_ms=0, traffic=[(0, 1_500), (0, 1_500), (0, 1_500), (ms(1), 3_000), (ms(5_000), 1_500)])
def test_delivery_opportunities_are_used_one_by_one(
    times: list[int], from_ms: int, traffic: list[tuple[int, int]]
) -> None:
    duration = ms(times[-1])
    trace = NetworkTrace("mahimahi", "test", duration, opportunities_ns=tuple(ms(at) for at in times))
    from_ns = min(ms(from_ms), duration - 1)
    tested = link(trace=trace, trace_from_ns=from_ns)

    def instant(n: int) -> int:
        return n // len(times) * duration + ms(times[n % len(times)]) - from_ns

    now, number, room = 0, -1, 0
    for gap, size in traffic:
        now += gap
        got = tested.send(size, now, VIDEO)
        trial, trial_room = number, room
        while size > 0:
            if trial_room == 0 or instant(trial) < now:  # what is not used at its instant is lost
                trial, trial_room = trial + 1, 1_500
                continue
            used = min(size, trial_room)
            size, trial_room = size - used, trial_room - used
        if instant(trial) - now > MAX_WAIT_NS:
            assert got == ()
        else:
            number, room = trial, trial_room
            assert got == (instant(trial),)


def test_a_stretch_without_bandwidth_ends_and_what_cannot_wait_is_dropped() -> None:
    silent_for_an_hour = NetworkTrace(
        "schedule", "test", seconds(3_602), times_ns=(0, seconds(1), seconds(3_601)), rate_bps=(1_000_000, 0, 1_000_000)
    )
    tested = link(trace=silent_for_an_hour, trace_from_ns=0)
    assert tested.send(1_250, 0, VIDEO) == (ms(10),)
    assert tested.send(1_250, seconds(2), VIDEO) == ()
    assert tested.send(1_250, seconds(3_600), VIDEO) == (seconds(3_601) + ms(10),)


def test_queue_in_bytes_and_in_time_are_the_same_at_a_fixed_rate() -> None:
    one, other = link(rate_bps=800_000, queue_ns=ms(30)), link(rate_bps=800_000, queue_bytes=3_000)
    assert [one.send(1_000, 0, VIDEO) for _ in range(5)] == [other.send(1_000, 0, VIDEO) for _ in range(5)]


def test_sound_waits_behind_pictures_because_they_share_the_bottleneck() -> None:
    tested = link(rate_bps=BYTE_US_BPS)
    tested.send_frame(10, 10_000, 0)
    assert tested.send(100, 0, AUDIO) == (10_100_000,)


def test_a_packet_leaves_its_place_the_moment_it_has_left() -> None:
    tested = link(rate_bps=BYTE_US_BPS, queue_packets=1)
    assert tested.send(1_000, 0, VIDEO) == (ms(1),)
    assert tested.send(1_000, ms(1) - 1, VIDEO) == ()
    assert tested.send(1_000, ms(1), VIDEO) == (ms(2),)


def test_a_packet_lost_behind_the_bottleneck_has_passed_it() -> None:
    tested = link(rate_bps=BYTE_US_BPS)
    tested.set_only(AUDIO, loss_ppm=1_000_000)
    assert tested.send(1_000, 0, AUDIO) == ()
    assert tested.send(1_000, 0, VIDEO) == (ms(2),)
