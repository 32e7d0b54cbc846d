"""Alerts held against the truth of what they looked at."""

from __future__ import annotations

import numpy as np

from avsync.policy import AvSyncPolicy
from avsync.types import Alert
from avsync.units import ms, seconds
from sim.judge.alerts import alert_measures
from sim.judge.row import measure
from sim.run.sinks import Sink
from sim.truth.truth import Offsets, OffsetState
from tests.sim.small_world import run, small

POLICY = AvSyncPolicy()


def voice_ahead(
    *stretches: tuple[float, float, float], until_s: float = 60.0, state: OffsetState = OffsetState.MEASURED
) -> Offsets:
    """(from s, to s, offset in ms), 0 elsewhere."""
    at = np.arange(0, seconds(until_s), ms(10), dtype=np.int64)
    e = np.zeros(len(at), np.int64)
    for start, end, offset_ms in stretches:
        e[(at >= seconds(start)) & (at < seconds(end))] = ms(offset_ms)
    flags = np.full(len(at), int(state), np.int8)
    return Offsets(at, e, flags, np.zeros(len(at), np.int32), np.zeros(len(at), np.bool_), ms(10))


def alert(at_s: float, name: str = "offset_lead_warn", *, active: bool = True) -> Alert:
    return Alert(name, active, seconds(at_s), 0, 0)


def judged(samples: Offsets, *alerts: Alert) -> tuple[float | None, float | None]:
    found = alert_measures(samples, alerts, POLICY)
    return found["alerts_missed"], found["alerts_false"]


def test_no_trouble_and_no_alert_is_right() -> None:
    assert judged(voice_ahead()) == (0, 0)


def test_half_a_minute_beyond_the_level_must_be_told() -> None:
    ahead = voice_ahead((10, 40, 80))
    assert judged(ahead) == (1, 0)
    assert judged(ahead, alert(16)) == (0, 0)
    assert judged(ahead, alert(51)) == (0, 0)
    assert judged(ahead, alert(54)) == (1, 0)  # it is true what it says of the last 10 s, but nobody was told in time
    assert judged(ahead, alert(57)) == (1, 1)


def test_a_voice_behind_has_a_level_of_its_own() -> None:
    behind = voice_ahead((10, 40, -80))
    assert judged(behind) == (1, 0)
    assert judged(behind, alert(20, "offset_lag_warn")) == (0, 0)
    assert judged(behind, alert(20, "offset_lead_warn")) == (0, 1)  # the wrong way round
    assert judged(voice_ahead((10, 40, -55))) == (0, 0)  # +45, but -60


def test_what_is_over_before_anybody_would_complain_may_go_untold() -> None:
    short = voice_ahead((10, 19, 80))
    assert judged(short) == (0, 0) and judged(short, alert(16)) == (0, 0)


def test_an_alert_out_of_the_blue_is_false_and_its_end_is_none() -> None:
    assert judged(voice_ahead(), alert(20)) == (0, 1)
    assert judged(voice_ahead(), alert(20, active=False), alert(20, "stall_video")) == (0, 0)


def test_two_troubles_are_two() -> None:
    twice = voice_ahead((5, 18, 80), (35, 50, 80))
    assert judged(twice) == (2, 0) and judged(twice, alert(12)) == (1, 0)


def test_idle_pictures_are_no_trouble_and_no_samples_are_unknown() -> None:
    assert judged(voice_ahead((10, 40, 80), state=OffsetState.DEGRADED)) == (0, 0)
    assert judged(voice_ahead(until_s=0.5)) == (None, None)


def test_a_monitor_on_a_sink_that_is_really_late_tells_and_one_that_is_lied_to_does_not() -> None:
    late, lie = ms(120), -ms(120)
    honest = measure(run(small(25.0), output_sink=Sink(picture_late_ns=late)))
    assert (honest["output_alerts_missed"], honest["output_alerts_false"]) == (0, 0)
    fooled = measure(run(small(25.0), output_sink=Sink(picture_late_ns=late, picture_lie_ns=lie)))
    assert (fooled["output_alerts_missed"], fooled["output_alerts_false"]) == (1, 0)
    panicked = measure(run(small(25.0), output_sink=Sink(picture_lie_ns=late)))
    assert panicked["output_alerts_missed"] == 0 and (panicked["output_alerts_false"] or 0) >= 1
