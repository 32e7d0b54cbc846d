"""Presets: each names its source and does what the source says."""

from __future__ import annotations

import pytest

from avsync.errors import UsageError
from avsync.types import AUDIO, VIDEO
from avsync.units import ms, seconds
from sim.network.link import Link
from sim.network.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_source_and_carries_a_call_in_order(name: str) -> None:
    one = PRESETS[name]
    assert one.name == name and len(one.source) > 40
    for spec in (one.to_viewer, one.to_bridge):
        tested = Link(spec, seed=1, name=name)
        arrivals: list[int] = []
        for i in range(250):
            arrivals.extend(tested.send(160, i * ms(20), AUDIO))
            arrivals.extend(tested.send(600, i * ms(20), VIDEO))
        assert len(arrivals) > 100 and arrivals == sorted(arrivals)


def delays(name: str, count: int, every_ns: int = ms(10), size: int = 100) -> list[int]:
    tested = Link(preset(name).to_viewer, seed=2, name="to_viewer")
    sent = ((i * every_ns, tested.send(size, i * every_ns, AUDIO)) for i in range(count))
    return sorted(at[0] - now for now, at in sent if at)


def share(ordered: list[int], pct: float) -> float:
    return ordered[int(len(ordered) * pct / 100)] / ms(1)


def test_the_variable_capacity_of_rfc8867_is_there_at_its_second() -> None:
    """A packet alone: its delay is 50 ms, at most 30 of jitter, and its length at that rate."""
    tested = Link(preset("rfc8867-5.1").to_viewer, seed=1, name="x")
    for at_s, bps in ((10, 1_000_000), (45, 2_500_000), (65, 600_000), (85, 1_000_000), (110, 1_000_000)):
        (first,) = tested.send(1_200, seconds(at_s), VIDEO)
        (second,) = tested.send(1_200, seconds(at_s), VIDEO)
        assert second - first == pytest.approx(1_200 * 8e9 / bps, abs=2)
        assert ms(50) <= first - seconds(at_s) <= ms(80) + 1_200 * 8_000_000_000 // bps


def test_the_measured_ones_reproduce_their_percentiles() -> None:
    uplink = delays("measured-5g-uplink", 60_000)
    assert share(uplink, 50) - 9.8 == pytest.approx(3.6, rel=0.1)
    assert share(uplink, 95) - 9.8 == pytest.approx(15.7, rel=0.15)
    assert share(uplink, 99) - 9.8 == pytest.approx(33, rel=0.2)
    starlink = delays("measured-starlink", 60_000)
    assert 2 * share(starlink, 50) == pytest.approx(43, rel=0.1)
    assert 2 * share(starlink, 95) == pytest.approx(87, rel=0.1)
    stall = delays("measured-5g-stall", 60_000)
    assert 9 <= share(stall, 95) - 8 <= 18
    assert 229 <= stall[-1] / ms(1) - 8 <= 293 + 28


def test_g1050_h_is_away_for_three_seconds_a_minute() -> None:
    tested = Link(preset("g1050-H").to_viewer, seed=2, name="x")
    lost = [not tested.send(100, i * ms(20), AUDIO) for i in range(30_000)]
    assert sum(lost) / len(lost) == pytest.approx(0.05 + 0.01, rel=0.1)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean webrtc-3g-average"):
        preset("webrtc-3g-averag")
