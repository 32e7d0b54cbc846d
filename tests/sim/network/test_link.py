"""A link: order, impairments, holds, changes, frames, traces. Its queue: test_link_queue.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import ms, seconds
from sim.network.link import Link
from sim.network.link_spec import LinkSpec
from sim.network.traces.trace import NetworkTrace

BYTE_US_BPS = 8_000_000  # a byte a microsecond: every departure is a whole number


def link(seed: int = 1, **fields: Any) -> Link:
    return Link(LinkSpec(**fields), seed=seed, name="to_viewer")


def fates(one: Link, count: int, every_ns: int = ms(20), size: int = 160, kind: Kind = AUDIO) -> list[tuple[int, ...]]:
    return [one.send(size, i * every_ns, kind) for i in range(count)]


# ------------------------------------------------------------------------------------ the order

LEVELS = st.sampled_from([0, ms(3), ms(40)])
ANYTHING = st.fixed_dictionaries(
    {
        "delay_ns": LEVELS,
        "jitter_ns": LEVELS,
        "jitter_correlation_pct": st.sampled_from([0, 80]),
        "loss_ppm": st.sampled_from([0, 100_000]),
        "duplicate_ppm": st.sampled_from([0, 200_000]),
        "rate_bps": st.sampled_from([None, 300_000]),
        "hold_every_ns": st.just(seconds(1)),
        "hold_for_ns": st.sampled_from([ms(1), ms(400)]),
    }
)


@settings(max_examples=40, deadline=None)
@given(specs=st.lists(ANYTHING, min_size=1, max_size=4), seed=st.integers(0, 5), step_ms=st.integers(0, 50))
def test_nothing_overtakes_unless_asked_whatever_changes(specs: list[dict[str, Any]], seed: int, step_ms: int) -> None:
    tested, arrivals, now = link(seed, **specs[0]), [0], 0
    for i, changes in enumerate(specs):
        token = tested.set(**changes)
        step = tested.add_delay(ms(step_ms))
        tested.hold(now + ms(100), now + ms(130 + 20 * i))
        for k in range(60):
            now += ms(7)
            arrivals.extend(tested.send(200 + k, now, VIDEO if k % 3 else AUDIO))
        if i % 2:
            tested.restore(step)
            tested.restore(token)
    assert arrivals == sorted(arrivals)


def test_jitter_alone_never_reorders_but_allow_reorder_does() -> None:
    calm = [times[0] for times in fates(link(jitter_ns=ms(40)), 500, ms(5))]
    assert calm == sorted(calm) and len(set(calm)) > 100
    wild = [times[0] for times in fates(link(jitter_ns=ms(40), allow_reorder=True), 500, ms(5))]
    assert wild != sorted(wild)


def test_reordered_packets_come_late_and_hold_up_nobody() -> None:
    times = [one[0] for one in fates(link(reorder_ppm=100_000, reorder_by_ns=ms(50)), 1_000)]
    late = [i for i, at in enumerate(times) if at == i * ms(20) + ms(50)]
    assert 60 < len(late) < 140
    assert all(at == i * ms(20) for i, at in enumerate(times) if i not in late)


# ---------------------------------------------------------------------------------- the impairments


def runs(lost: list[bool]) -> list[int]:
    lengths, length = [], 0
    for one in [*lost, False]:
        if one:
            length += 1
        elif length:
            lengths.append(length)
            length = 0
    return lengths


@pytest.mark.parametrize(("loss_ppm", "burst"), [(20_000, 1), (20_000, 3), (100_000, 8), (300_000, 1.5)])
def test_loss_and_its_bursts_are_as_said(loss_ppm: int, burst: float) -> None:
    lost = [not times for times in fates(link(seed=11, loss_ppm=loss_ppm, burst_packets=burst), 100_000)]
    assert sum(lost) / 1e5 == pytest.approx(loss_ppm / 1e6, rel=0.1)
    lengths = runs(lost)
    expected = 1 / (1 - loss_ppm / 1e6) if burst == 1 else burst
    assert sum(lengths) / len(lengths) == pytest.approx(expected, rel=0.1)


def test_duplicates_and_total_loss() -> None:
    twice = [len(times) for times in fates(link(duplicate_ppm=50_000), 10_000)]
    assert set(twice) == {1, 2} and twice.count(2) == pytest.approx(500, rel=0.2)
    assert not any(fates(link(loss_ppm=1_000_000), 100))


def test_two_policies_meet_the_same_loss_of_sound() -> None:
    """One sends twice the pictures, in other sizes, on a bottleneck that drops them: no draw moves."""
    outcomes = []
    for pictures, size, rate_bps in ((1, 900, None), (2, 1_200, None), (3, 1_200, 400_000)):
        tested = link(loss_ppm=100_000, burst_packets=2, reorder_ppm=50_000, rate_bps=rate_bps, queue_packets=5)
        heard = []
        for i in range(400):
            heard.append(tested.send(100, i * ms(20), AUDIO))
            for _ in range(pictures):
                tested.send(size, i * ms(20), VIDEO)
        outcomes.append([bool(times) for times in heard])
    assert outcomes[0] == outcomes[1]
    assert not any(here and not there for here, there in zip(outcomes[2], outcomes[0], strict=True))


def test_jitter_is_a_matter_of_time_not_of_how_much_is_sent() -> None:
    few, many = link(jitter_ns=ms(30)), link(jitter_ns=ms(30))
    for i in range(300):
        for _ in range(i % 4):
            many.send(100, i * ms(40), VIDEO)
        assert few.send(100, i * ms(40), AUDIO) == many.send(100, i * ms(40), AUDIO)


def test_jitter_has_its_sigma_its_cap_and_its_correlation() -> None:
    jitter = [at[0] - i * seconds(1) for i, at in enumerate(fates(link(jitter_ns=ms(10)), 20_000, seconds(1)))]
    assert sum(x * x for x in jitter) / 20_000 == pytest.approx(ms(10) ** 2, rel=0.05)
    assert min(jitter) >= 0 and max(jitter) == ms(30)
    free = link(jitter_ns=ms(1), jitter_correlation_pct=80)  # 1 ms on 10 ms slots: the order never binds
    slots = [at[0] - i * ms(10) for i, at in enumerate(fates(free, 20_000, ms(10)))]
    mean = sum(slots) / len(slots)
    lag1 = sum((a - mean) * (b - mean) for a, b in zip(slots, slots[1:], strict=False))
    assert lag1 / sum((a - mean) ** 2 for a in slots) == pytest.approx(0.8, abs=0.06)


def test_another_seed_is_another_network_and_the_same_seed_the_same() -> None:
    spec = {"jitter_ns": ms(10), "loss_ppm": 50_000, "hold_every_ns": seconds(2), "hold_for_ns": ms(100)}
    assert fates(link(1, **spec), 500) == fates(link(1, **spec), 500) != fates(link(2, **spec), 500)


# ------------------------------------------------------------------------------ holds and steps


def test_what_is_held_arrives_together_at_the_end_and_in_order() -> None:
    tested = link(delay_ns=ms(40))  # one would arrive just when it begins, one just when it ends
    tested.hold(seconds(1), seconds(2))
    times = [one[0] for one in fates(tested, 150)]
    expected = [i * ms(20) + ms(40) for i in range(150)]
    assert times == [seconds(2) if seconds(1) <= at < seconds(2) else at for at in expected]


def test_overlapping_holds_are_one_long_hold() -> None:
    tested = link()
    for from_ms, until_ms in ((500, 900), (100, 300), (250, 600)):
        tested.hold(ms(from_ms), ms(until_ms))
    assert tested.send(1, ms(120), AUDIO) == (ms(900),)


def test_a_hold_that_ends_in_another_goes_on() -> None:
    spec = {"hold_every_ns": seconds(2), "hold_for_ns": ms(300)}
    held_until = next(at[0] for i, at in enumerate(fates(link(**spec), 300)) if at[0] > i * ms(20))
    tested = link(**spec)
    tested.hold(held_until - ms(1), held_until + ms(100))
    assert tested.send(1, held_until - ms(100), AUDIO) == (held_until + ms(100),)


def test_holds_recur_at_the_rate_and_length_that_was_said() -> None:
    tested = link(hold_every_ns=seconds(10), hold_for_ns=ms(250), hold_for_spread_pct=20)
    waits = [at[0] - i * ms(10) for i, at in enumerate(fates(tested, 200_000, ms(10)))]
    starts = [wait for before, wait in zip([0, *waits], waits, strict=False) if wait and not before]
    assert len(starts) == pytest.approx(200, rel=0.1)
    assert ms(190) <= min(starts) and max(starts) <= ms(300)


def test_an_outage_loses_what_is_sent_in_it() -> None:
    lost = [not at for at in fates(link(outage_every_ns=seconds(10), outage_for_ns=ms(400)), 10_000)]
    assert set(runs(lost)) == {20} and len(runs(lost)) == 20


def test_a_route_step_up_and_back_for_both_and_for_one_kind() -> None:
    tested = link(delay_ns=ms(40))
    up = tested.add_delay(ms(200))
    assert tested.send(1, 0, AUDIO) == (ms(240),)
    tested.restore(up)
    assert tested.send(1, ms(20), AUDIO) == (ms(240),)  # not before what was sent before it
    assert tested.send(1, ms(220), AUDIO) == (ms(260),)
    tested.add_delay(ms(30), VIDEO)
    assert tested.send(1, ms(300), AUDIO) == (ms(340),)
    assert tested.send(1, ms(300), VIDEO) == (ms(370),)
    assert tested.send(1, ms(310), AUDIO) == (ms(350),)  # the late picture does not hold up the sound


def test_a_kind_treated_alone_still_follows_its_own_packets() -> None:
    tested = link(delay_ns=ms(200))
    tested.send(1, 0, VIDEO)
    tested.set_only(VIDEO, delay_ns=ms(10))
    assert tested.send(1, ms(20), VIDEO) == (ms(200),)
    assert tested.send(1, ms(250), VIDEO) == (ms(260),)


def test_changes_are_undone_by_their_token_in_any_order() -> None:
    tested = link(delay_ns=ms(10))
    slow, lossy = tested.set(delay_ns=ms(100)), tested.set_only(AUDIO, loss_ppm=1_000_000)
    assert tested.send(1, 0, AUDIO) == () and tested.send(1, 0, VIDEO) == (ms(100),)
    tested.restore(slow)
    assert tested.send(1, seconds(1), AUDIO) == () and tested.send(1, seconds(1), VIDEO) == (seconds(1) + ms(10),)
    tested.restore(lossy)
    assert tested.send(1, seconds(2), AUDIO) == (seconds(2) + ms(10),)
    with pytest.raises(UsageError, match="nothing to restore"):
        tested.restore(lossy)


def test_a_rate_can_change_while_running() -> None:
    tested = link(rate_bps=BYTE_US_BPS)
    assert tested.send(1_000, 0, VIDEO) == (ms(1),)
    token = tested.set(rate_bps=BYTE_US_BPS // 10)
    assert tested.send(1_000, ms(10), VIDEO) == (ms(20),)
    tested.restore(token)
    assert tested.send(1_000, ms(30), VIDEO) == (ms(31),)


# --------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize(
    "fields",
    [
        {"delay_ns": ms(20)},
        {"rate_bps": 2_000_000, "delay_ns": ms(20), "jitter_ns": ms(10)},
        {"rate_bps": 2_000_000, "queue_ns": ms(20)},
        {"rate_bps": 2_000_000, "queue_packets": 6, "loss_ppm": 50_000, "duplicate_ppm": 50_000},
        {"jitter_ns": ms(10), "allow_reorder": True, "reorder_ppm": 100_000},
    ],
)
def test_a_frame_fares_as_its_packets_would_one_by_one(fields: dict[str, Any]) -> None:
    one, other = link(**fields), link(**fields)
    for i in range(300):
        packets, size, now = 1 + i % 7, 1_003 * (1 + i % 7) + i % 5, i * ms(33)
        fate = one.send_frame(packets, size, now)
        small, larger = divmod(size, packets)
        times = [other.send(small + (k < larger), now, VIDEO) for k in range(packets)]
        assert fate.lost == tuple(k for k, at in enumerate(times) if not at)
        assert fate.duplicated == tuple(k for k, at in enumerate(times) if len(at) > 1)
        arrived = [at[0] for at in times if at]
        assert (fate.first_ns, fate.last_ns) == ((min(arrived), max(arrived)) if arrived else (None, None))
        assert one.send(200, now, AUDIO) == other.send(200, now, AUDIO)


# --------------------------------------------------------------------------------------- traces


def test_a_trace_starts_where_the_seed_says_and_loops() -> None:
    trace = NetworkTrace(
        "t", "t", seconds(4), times_ns=tuple(seconds(i) for i in range(4)), delay_ns=tuple(ms(i) for i in range(4))
    )
    spec = LinkSpec(delay_ns=ms(10), trace=trace)
    here = [Link(replace(spec, trace_from_ns=ms(500)), seed=1, name="x").send(1, seconds(9), AUDIO)[0]]
    assert here == [seconds(9) + ms(11)]
    starts = {Link(spec, seed=seed, name="x").send(1, 0, AUDIO)[0] for seed in range(30)}
    assert starts == {ms(10), ms(11), ms(12), ms(13)}


def test_between_probes_the_delay_lies_on_the_line() -> None:
    trace = NetworkTrace("t", "t", seconds(3), times_ns=(0, seconds(1)), delay_ns=(0, ms(100)), between=True)
    tested = link(trace=trace, trace_from_ns=0)
    assert tested.send(1, ms(250), AUDIO) == (ms(275),)
    assert tested.send(1, seconds(2), AUDIO) == (seconds(2) + ms(100),)


def test_a_trace_loses_and_delays_by_distribution() -> None:
    spread = NetworkTrace("t", "t", seconds(1), delay_quantiles_ns=tuple(ms(1) * i for i in range(10)))
    waits = {at[0] - i * seconds(1) for i, at in enumerate(fates(link(trace=spread), 500, seconds(1)))}
    assert waits == {ms(i) for i in range(10)}
    lossy = NetworkTrace("t", "t", seconds(2), times_ns=(0, seconds(1)), loss_ppm=(1_000_000, 0))
    lost = [not at for at in fates(link(trace=lossy, trace_from_ns=0), 200)]
    assert runs(lost) == [50, 50]


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"delay_ns": -1}, "delay_ns must be an int of at least 0"),
        ({"delay_ns": 1.5}, "delay_ns must be an int"),
        ({"loss_ppm": 1_000_001}, "loss_ppm"),
        ({"loss_ppm": 900_000, "burst_packets": 2}, "burst_packets must be at least 9"),
        ({"burst_packets": 0.5}, "burst_packets must be at least 1"),
        ({"queue_ns": 1, "queue_bytes": 1}, "at most one of queue_bytes"),
        ({"hold_every_ns": seconds(1)}, "go together"),
        ({"hold_every_ns": 5, "hold_for_ns": 1}, "at least 10 ms"),
        ({"hold_every_ns": seconds(1), "hold_for_ns": seconds(2)}, "must be shorter"),
        ({"rate_bps": 1_000, "trace": NetworkTrace("t", "t", 9, (0,), rate_bps=(5,))}, "contradict each other"),
    ],
)
def test_a_spec_is_refused_by_name(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        LinkSpec(**fields)


def test_a_refused_change_changes_nothing() -> None:
    tested = link(delay_ns=ms(10))
    for change in (
        lambda: tested.set(delay=3),
        lambda: tested.set(delay_ns=-3),
        lambda: tested.set_only(AUDIO, rate_bps=1_000),
        lambda: tested.hold(5, 5),
    ):
        with pytest.raises(UsageError):
            change()
    assert tested.send(1, 0, AUDIO) == (ms(10),)


def test_a_way_is_never_shorter_than_nothing() -> None:
    tested = link(delay_ns=ms(10))
    token = tested.add_delay(-ms(11))
    assert tested.send(1, 0, AUDIO) == (0,)
    tested.restore(token)
    assert tested.send(1, ms(20), AUDIO) == (ms(30),)


def test_time_is_an_int_that_never_goes_back() -> None:
    tested = link()
    tested.send(1, ms(5), AUDIO)
    with pytest.raises(UsageError, match="backwards"):
        tested.send(1, ms(4), AUDIO)
    with pytest.raises(UsageError, match="must be an int"):
        tested.send(1, 6e6, AUDIO)  # type: ignore[arg-type]
