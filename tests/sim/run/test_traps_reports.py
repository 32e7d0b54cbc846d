"""Traps about whose clock is believed: reports ahead of the media, each stream's own way, drift under correction."""

from __future__ import annotations

import pytest

from avsync.policy import AvSyncPolicy
from avsync.timeline.ingress import Ingress
from avsync.types import AUDIO, VIDEO, Basis, MediaUnit
from avsync.units import ms, seconds
from sim.judge.row import measure
from sim.run.world import simulate
from sim.scenario.scenario import build
from tests.sim.small_world import run, small

SLOT, FRAME = ms(20), ms(40)
NTP = seconds(3_970_000_000)


def received(*, report_lead_ns: int = 0, picture_way_ns: int = 0, seconds_long: int = 4) -> list[MediaUnit]:
    """Pictures as the ingress placed them; both streams start at the same instant of the sender's clock.

    Reports come every half second and name an instant ``report_lead_ns`` after they were sent.
    """
    ingress = Ingress(AvSyncPolicy())
    events: list[tuple[int, int, int]] = []
    for at in range(0, seconds(seconds_long), SLOT):
        events.append((at + ms(30), 0, at))
    for at in range(0, seconds(seconds_long), FRAME):
        events.append((at + ms(30) + picture_way_ns, 1, at))
    for at in range(ms(500), seconds(seconds_long), ms(500)):
        events.append((at + ms(30), 2, at + report_lead_ns))
    pictures = []
    for now, what, at in sorted(events):
        if what == 0:
            ingress.on_sound(at * 48 // 1_000_000, SLOT, now)
        elif what == 1:
            unit = ingress.on_picture(at * 90 // 1_000_000, FRAME, now, payload=at)
            assert isinstance(unit, MediaUnit)
            pictures.append(unit)
        else:
            ingress.on_sender_report(AUDIO, NTP + at, at * 48 // 1_000_000, now)
            ingress.on_sender_report(VIDEO, NTP + at, at * 90 // 1_000_000, now)
    return pictures


def placed_off_ns(unit: MediaUnit) -> int:
    """How far a picture's PTS lies from the sound of the same instant, which begins at 1 s."""
    at: int = unit.payload
    return unit.pts_ns - seconds(1) - at


def test_reports_two_seconds_ahead_of_the_media_place_it_all_the_same() -> None:
    """What counts is that both numbers of a report name one instant, not which."""
    last = received(report_lead_ns=seconds(2))[-1]
    assert abs(placed_off_ns(last)) <= ms(1)


def test_each_stream_has_its_own_way() -> None:
    """Pictures that are always 120 ms longer on the way are not 120 ms later content."""
    pictures = received(picture_way_ns=ms(120))
    assert placed_off_ns(pictures[0]) == ms(120)  # by arrival, before any report
    assert abs(placed_off_ns(pictures[-1])) <= ms(1)


def test_a_drift_that_is_being_corrected_is_still_seen() -> None:
    """The estimate looks at arrivals against the sender's own stamps, never at the corrected output."""
    scenario = build(
        {
            "avsync": 1, "about": "A provider that runs fast.", "tags": ["reference", "drift"], "duration_s": 130,
            "topology": "provider_bridge", "clocks": {"provider": {"ppm": 400}},
            "network": {"to_bridge": {"delay_ms": 30, "jitter_ms": 3}},
        }
    )  # fmt: skip
    row = measure(simulate(scenario, policy=scenario.engine_policy, viewer="avsync", seed=1))
    error, growth = row["output_drift_error_ppm"], row["output_latency_growth_ms_per_min"]
    assert error is not None and error <= 30
    assert growth is not None and growth < -15  # 400 ppm are 24 ms a minute: it is being played as fast as it comes


@pytest.mark.parametrize(("viewer", "known"), [("avsync", True), ("browser", False)])
def test_our_viewer_estimates_the_clock_that_sends_to_it_and_a_browser_says_nothing_of_one(
    viewer: str, known: bool
) -> None:
    one = run(small(80, clocks={"client": {"ppm": -150}}), viewer=viewer)
    error = measure(one)["drift_error_ppm"]
    assert (error is not None and error <= 10) if known else error is None


def test_a_way_that_grows_looks_like_a_slow_clock_and_the_error_says_by_how_much() -> None:
    """Half a millisecond more each second: to whoever sees arrivals alone, a sender that is 500 ppm slow."""
    steps = [{"at_s": at, "do": "impair", "delay_ms": 0.5} for at in range(1, 80)]
    error = measure(run(small(80, steps=steps)))["drift_error_ppm"]
    assert error == pytest.approx(500, abs=50)


def test_what_the_beliefs_of_a_call_rest_on_is_said_at_both_points() -> None:
    provider = {"topology": "provider_bridge"}
    without = {**provider, "network": {"to_bridge": {"sender_reports": "none"}}}
    for told, basis in (({}, Basis.STAMPS), (provider, Basis.REPORTS), (without, Basis.ARRIVAL)):
        for viewer in ("browser", "avsync"):
            call = run(small(6, **told), viewer=viewer)
            reports = [point.report for point in (call.at_output, call.at_viewer)]
            assert [report.basis for report in reports if report is not None] == [basis, basis]
