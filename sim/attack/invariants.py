"""Invariants: what must hold in any weather, whatever the source does. One function each, pure: a trial in, breaches
out.

Each answers ``Breach`` values: which invariant, where, and what was seen in words. Nothing here asks whether a result
was good enough; that is for limits, and for ``sim.attack.regret``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from avsync.types import Alert
from avsync.units import ms, seconds
from sim.attack.growth import kept_ms, medians, most_delay_ns, unforced_ms
from sim.attack.trial import LONG_S, Trial, scenario_has_turns
from sim.run.point import Point
from sim.scenario.scenario import Scenario
from sim.scenario.steps import ClockStep, Reports
from sim.truth.columns import I64, NEVER, Bool
from sim.truth.logs import PresentationLog, SourceLog
from sim.truth.measures import KNOWN_AFTER_NS, belief_errors
from sim.truth.truth import Offsets, OffsetState

TROUBLE_NS = seconds(1)
"""Issue 11: a stall or a lag of more than a second is told."""
STALL_TOLD_WITHIN_NS = seconds(1)
"""After its end at the latest. The monitor tells stalls after 500 ms (``stall_alert_after_ms``) and looks every 100
ms."""
LAG_LASTS_NS = seconds(8)
"""A lag is worth an alert when the monitor could know: its dwell is 5 s, over a window that has to fill up first."""
BELIEF_OFF_NS = ms(25)
"""Issue 11. A page sees pictures by its 60 Hz (8.3 ms), so it is three times what one cannot help."""
BELIEF_OFF_FOR_NS = seconds(1)
"""A belief is wrong when nothing else is said for this long: single samples at a turn's edge are not."""
KNOWN_PCT = 95.0
"""The guard's (``monitor_known_pct``)."""
RIGHT_FOR_S = 10.0
"""Issue 11: reports may go wrong after this long of right ones; before, a longer way and a wrong report are the
same."""
PAUSE_NS = ms(40)
"""Issue 11: a provider that does not say when its old turn is over shows it by a gap of this length."""
GONE_WITHIN_NS = ms(40)
"""So long after an interrupt the old mouth is off the screen: what the voice has (``interrupt_to_silence_ms``)."""
GROWN_NS, STEP_NS = ms(100), ms(20)
"""Growth over the last half of two minutes: by this much in all, and by this much from each third to the next: one
slot."""
SILENCE_GROWS_MS = 200.0
"""The guard on inserted silence allows this much once; here it came again in the last half, in both quarters."""
KEPT_MS = 230.0
"""What the jitter buffer starts with (80 ms) and what the panel calls clearly more delay (150 ms)."""
ORDINARY_PPM, MERE_JITTER_MS = 50.0, 30.0
"""What still counts as a clean call: ordinary clocks, half of the jitter of Wi-Fi at home (issue 11, section 3: 60,
30)."""


class Breach(NamedTuple):
    """``kind``: the invariant, and where; by it finds are told apart. ``words``: what was seen."""

    kind: str
    words: str


Invariant = Callable[[Trial], Iterator[Breach]]


def breaches(trial: Trial) -> list[Breach]:
    """Every invariant that this trial breaks, in the order of ``INVARIANTS``."""
    if trial.crash is not None:
        return list(no_exception(trial))
    found = [breach for invariant in INVARIANTS for breach in invariant(trial)]
    if trial.longer is not None and trial.longer.crash is not None:
        found += no_exception(trial.longer)
    return found


def no_exception(trial: Trial) -> Iterator[Breach]:
    """Neither the lab nor an engine raises for what a scenario says."""
    if trial.crash is not None:
        last = trial.crash.text.rstrip().splitlines()[-1]
        yield Breach(f"exception {trial.crash.error} in {trial.crash.where}", last[:200])


def pts_in_order(trial: Trial) -> Iterator[Breach]:
    """Stamps of sound, pictures and RTP only grow."""
    for prefix, name in (("output_", "output"), ("", "viewer")):
        if count := trial.row[prefix + "pts_violations"]:
            yield Breach(f"pts_order at {name}", f"{count:.0f} stamps were not after the one before")


def nothing_stale(trial: Trial) -> Iterator[Breach]:
    """After an interrupt no sound and no picture of an old turn leaves our output, and no old mouth stays on screen.

    At a bridge whose provider does not acknowledge, only where the old turn had no pause of 40 ms or more.
    """
    assert trial.run is not None
    silent = trial.scenario.topology == "provider_bridge" and not trial.scenario.source.acknowledges
    if silent and pauses(trial.run.source, PAUSE_NS):
        return
    if count := stale_events(trial.run.source, trial.run.at_output.presented):
        yield Breach("stale at output", f"{count} times something of an interrupted turn left after the interrupt")


def accounted_for(trial: Trial) -> Iterator[Breach]:
    """Each unit that was pushed ends as exactly one ``Present`` or ``Drop``."""
    for one in trial.points:
        if one.ledger is not None and one.ledger.ended_twice:
            yield Breach(f"accounting at {one.name}", f"{one.ledger.ended_twice} units ended twice")
        if one.ledger is not None and one.ledger.lost:
            yield Breach(f"accounting at {one.name}", f"{one.ledger.lost} units never ended")


def queue_bounded(trial: Trial) -> Iterator[Breach]:
    """No engine holds more units than its policy allows."""
    assert trial.run is not None
    most = trial.run.policy.audio_queue_units + trial.run.policy.video_queue_units
    for one in trial.points:
        if (peak := one.point.queue_peak_units) is not None and peak > most:
            yield Breach(f"queue at {one.name}", f"{peak} units waited, the policy's bound is {most}")


def latency_ends(trial: Trial) -> Iterator[Breach]:
    """After a minute of the same weather the added latency no longer grows.

    It grows where each third of the second minute is later than the one before, beyond what the policy may ever
    delay: below that it may be learning.
    """
    longer = trial.longer
    if longer is None or longer.run is None:
        return
    policy = longer.run.policy
    for one in longer.points:
        if one.latency is None:
            continue
        thirds = medians(one.latency.at_ns, one.latency.added_ns, (60, 80, 100, 119))
        if thirds is None or thirds[2] <= most_delay_ns(policy) or thirds[2] - thirds[0] <= GROWN_NS:
            continue
        if thirds[1] - thirds[0] > STEP_NS and thirds[2] - thirds[1] > STEP_NS:
            words = ", ".join(f"{third / 1e6:.0f}" for third in thirds)
            yield Breach(f"latency_grows at {one.name}", f"added latency {words} ms at 70, 90 and 110 s of {LONG_S:g}")


def latency_comes_back(trial: Trial) -> Iterator[Breach]:
    """Turns that begin in the second minute have no more latency than their own arrivals need: what a fault of the
    first half minute made the delay grow to is given back by then.
    """
    longer = trial.longer
    if longer is None or longer.run is None or not scenario_has_turns(longer.scenario):
        return
    for one in longer.points:
        if one.ledger is None or one.latency is None:
            continue
        kept = kept_ms(longer.run.source, one.latency, one.ledger.arrivals, LONG_S / 2)
        if kept is not None and kept > max(KEPT_MS, longer.run.policy.playout_delay_ns / 1e6 + KEPT_MS - 80):
            yield Breach(
                f"latency_kept at {one.name}", f"{kept:.0f} ms more than the arrivals of the second minute need"
            )


def silence_ends(trial: Trial) -> Iterator[Breach]:
    """After a minute no more silence is inserted into the voice than the sound's own arrivals force.

    Forced: what a player with all the delay that the policy allows would have had to insert.
    """
    longer = trial.longer
    if longer is None or longer.run is None:
        return
    for one in longer.points:
        if one.ledger is None:
            continue
        extra = unforced_ms(
            longer.run.source, one.point.presented, one.ledger.arrivals, [(60, 90), (90, 119)], longer.run.policy
        )
        if min(extra) > SILENCE_GROWS_MS / 2 and sum(extra) > SILENCE_GROWS_MS:
            words = " and ".join(f"{value:.0f}" for value in extra)
            yield Breach(
                f"silence_grows at {one.name}", f"{words} ms of silence in the last two half minutes of {LONG_S:g} s"
            )


def trouble_told(trial: Trial) -> Iterator[Breach]:
    """A stall, or a lag, of more than a second comes with an alert at the point where it is."""
    for one in trial.points:
        # What one says is over the other may still say: a session tells the end when both do.
        active = alert_spans(one.point.alerts) + alert_spans(one.engine_alerts)
        untold = [
            (start, end) for start, end in stalls(one.samples)
            if not _touches(active, start, end + STALL_TOLD_WITHIN_NS)
        ]  # fmt: skip
        if untold:
            start, end = max(untold, key=lambda span: span[1] - span[0])
            words = f"no fresh picture for {(end - start) / 1e9:.1f} s from {start / 1e9:.1f} s on, and no alert"
            yield Breach(f"stall_untold at {one.name}", words)
        apart = lags(one.samples) if reports_right(trial.scenario) else []  # else nobody can know it, as with beliefs
        untold = [span for span in apart if not _touches(active, *span)]
        if untold:
            start, end = max(untold, key=lambda span: span[1] - span[0])
            words = f"more than a second apart from {start / 1e9:.1f} to {end / 1e9:.1f} s, and no alert"
            yield Breach(f"lag_untold at {one.name}", words)


def no_false_alert(trial: Trial) -> Iterator[Breach]:
    """In a clean call, or one with mere jitter, nothing is reported."""
    if not is_calm(trial.scenario):
        return
    for one in trial.points:
        for name in sorted({alert.name for alert in one.alerts if alert.active}):
            first = next(alert for alert in one.alerts if alert.active and alert.name == name)
            words = f"{name} from {first.at_ns / 1e9:.1f} s on, in a call without any trouble"
            yield Breach(f"false_alert {name} at {one.name}", words)


def belief_true(trial: Trial) -> Iterator[Breach]:
    """Where reports are right, a monitor that knows is not wrong by more than 25 ms for a second.

    From 5 s after the first observation on, as the guard on ``monitor_known_pct`` has it. At a bridge not before a
    picture leaves that its reports have placed: on a line that keeps them back it says ``basis: arrival`` until then.
    """
    assert trial.run is not None
    if not reports_right(trial.scenario):
        return
    for one in trial.points:
        from_ns = (int(one.samples.at_ns[0]) if len(one.samples.at_ns) else 0) + KNOWN_AFTER_NS
        if trial.scenario.topology == "provider_bridge":
            from_ns = max(from_ns, placed_ns(trial.run.source, one.point))
        errors = belief_errors(one.point.beliefs.columns(), trial.run.source, one.point.presented)
        wrong = (errors.error_ns > BELIEF_OFF_NS) & (errors.at_ns >= from_ns)
        spans = _runs(errors.at_ns, wrong, gap_ns=ms(200))
        spans = [(start, end) for start, end in spans if end - start >= BELIEF_OFF_FOR_NS]
        if spans:
            start, end = max(spans, key=lambda span: span[1] - span[0])
            inside = (errors.at_ns >= start) & (errors.at_ns <= end)
            off_ms = float(np.median(errors.error_ns[inside])) / 1e6
            words = f"{off_ms:.0f} ms off the truth for {(end - start) / 1e9:.1f} s from {start / 1e9:.1f} s on"
            yield Breach(f"belief at {one.name}", words)


def belief_known(trial: Trial) -> Iterator[Breach]:
    """Where reports are right, the offset is known for 95 % of the time in which lips were shown."""
    if not reports_right(trial.scenario):
        return
    for prefix, name in (("output_", "output"), ("", "viewer")):
        known = trial.row[prefix + "monitor_known_pct"]
        if known is not None and known < KNOWN_PCT:
            yield Breach(f"unknown at {name}", f"known for {known:.0f} % of the time")


INVARIANTS: tuple[Invariant, ...] = (
    pts_in_order, nothing_stale, accounted_for, queue_bounded, latency_ends, latency_comes_back, silence_ends,
    trouble_told, no_false_alert, belief_true, belief_known,
)  # fmt: skip
"""All but ``no_exception``, which is asked first: after a crash nothing else is known."""


# ---- which weather


def is_calm(scenario: Scenario) -> bool:
    """A healthy source, ordinary clocks, a network that only delays and jitters a little, and nothing but
    interrupts."""
    plain = scenario.model_fields_set - {"network", "steps", "clocks"} <= _CALLS_OWN
    clocks = (scenario.clocks.client, scenario.clocks.provider, scenario.clocks.bridge)
    ppm = [abs(clock.ppm) for clock in clocks]
    labels = scenario.clocks.provider.audio_label_ppm or scenario.clocks.provider.video_label_ppm
    legs = (scenario.network.to_bridge, scenario.network.to_viewer)
    mere = all(
        leg.model_fields_set <= {"delay_ms", "jitter_ms", "rtp_start"} and (leg.jitter_ms or 0) <= MERE_JITTER_MS
        for leg in legs
    )
    return (
        plain
        and mere
        and max(ppm) <= ORDINARY_PPM
        and not labels
        and all(step.do == "interrupt" for step in scenario.steps)
    )


_CALLS_OWN = {"avsync", "about", "tags", "duration_s", "seeds", "topology", "viewer", "policy"}


def reports_right(scenario: Scenario) -> bool:
    """Whether stamps can be believed where our engine takes them in: then belief can be held against the truth.

    In our own process they are the clock's. Behind a provider they rest on its reports and labels.
    """
    source, clock = scenario.source, scenario.clocks.provider
    if source.loop is not None or source.audio.real_rate_ppm or source.video.real_rate_ppm:
        return False  # the content is not where any label says
    if scenario.topology != "provider_bridge":
        return True
    if scenario.network.to_bridge.sender_reports == "none" or clock.audio_label_ppm or clock.video_label_ppm:
        return False
    for step in scenario.steps:
        if isinstance(step, Reports) and step.leg == "to_bridge" and (step.at_s < RIGHT_FOR_S or step.for_s is None):
            return False
        if isinstance(step, ClockStep) and step.clock == "provider" and step.at_s < RIGHT_FOR_S:
            return False
    return True


# ---- what is seen of a run


def stale_events(source: SourceLog, presented: PresentationLog) -> int:
    """How often something of a turn began to leave after that turn, or one after it, was interrupted.

    Also counted: interrupts after which the mouth of an old turn is still on screen.
    """
    made = source.table()
    left = presented.table(made)
    lips = left.shown_ref >= 0
    turn = made.pictures.turn[left.shown_ref[lips]] if len(made.pictures.turn) else np.empty(0, np.int64)
    shown = int(np.count_nonzero(left.shown_ns[lips] > left.stale_ns[turn])) if len(turn) else 0
    heard = int(np.count_nonzero(left.at_ns > left.stale_ns[left.turn])) if len(left.turn) else 0
    stay = 0
    for stale_ns in np.unique(left.stale_ns[left.stale_ns < NEVER]):
        # The picture at that time began before the interrupt: later ones are counted above.
        index = int(np.searchsorted(left.shown_ns, stale_ns + GONE_WITHIN_NS, "right")) - 1
        if index >= 0 and left.shown_ref[index] >= 0 and left.shown_ns[index] <= stale_ns:
            stay += 1
    return shown + heard + stay


def pauses(source: SourceLog, least_ns: int) -> bool:
    """Whether the sound of an interrupted turn had a gap between its stamps, or ended, before it was interrupted."""
    made = source.table()
    for turn in np.flatnonzero(made.interrupted_ns < NEVER):
        own = made.sounds.turn == turn
        at, until = made.sounds.content_ns[own], (made.sounds.content_ns + made.sounds.duration_ns)[own]
        marked = made.pauses[(made.pauses[:, 1] > made.start_ns[turn]) & (made.pauses[:, 0] < made.end_ns[turn])]
        if len(marked) or np.any(at[1:] - until[:-1] >= least_ns):
            return True
        if len(at) and made.sounds.made_ns[own][-1] + (until - at)[-1] + least_ns < made.interrupted_ns[turn]:
            return True
    return False


def stalls(samples: Offsets) -> list[tuple[int, int]]:
    """(start, end) of times of more than a second, inside one turn, in which no fresh picture with lips was on
    screen."""
    measured = samples.state == OffsetState.MEASURED
    return _long(samples, ~measured | samples.frozen, TROUBLE_NS)


def lags(samples: Offsets) -> list[tuple[int, int]]:
    """(start, end) of times inside one turn in which voice and lips were more than a second apart, long enough to
    know."""
    measured = samples.state == OffsetState.MEASURED
    return _long(samples, measured & (np.abs(samples.e_ns) > TROUBLE_NS), LAG_LASTS_NS)


def placed_ns(source: SourceLog, point: Point) -> int:
    """When the first picture that reports had placed came on screen at this point; ``NEVER`` without one."""
    if point.by_reports_from is None:
        return NEVER
    shown = point.presented.table(source.table()).first_shown_ns[point.by_reports_from :]
    return int(shown.min()) if len(shown) else NEVER


def alert_spans(alerts: list[Alert]) -> list[tuple[int, int]]:
    """(raised, taken back) of each alert, whatever its name; those not taken back last for ever."""
    since: dict[str, int] = {}
    spans = []
    for alert in alerts:
        if alert.active:
            since.setdefault(alert.name, alert.at_ns)
        elif alert.name in since:
            spans.append((since.pop(alert.name), alert.at_ns))
    return [*spans, *((at, 1 << 62) for at in since.values())]


def _long(samples: Offsets, wanted: Bool, least_ns: int) -> list[tuple[int, int]]:
    found = []
    for turn in np.unique(samples.turn):
        own = samples.turn == turn
        spans = _runs(samples.at_ns[own], wanted[own], gap_ns=2 * samples.step_ns)
        found += [(start, end + samples.step_ns) for start, end in spans if end + samples.step_ns - start > least_ns]
    return found


def _runs(at_ns: I64, wanted: Bool, *, gap_ns: int) -> list[tuple[int, int]]:
    """(first, last) of each run of ``wanted`` without a hole in time of more than ``gap_ns``."""
    if not len(at_ns):
        return []
    cut = np.concatenate(([False], wanted[1:] & wanted[:-1] & (np.diff(at_ns) <= gap_ns)))
    index = np.flatnonzero(wanted)
    starts = index[~cut[index]]
    return [
        (int(at_ns[first]), int(at_ns[last]))
        for first, last in zip(starts, [*_before(index, starts[1:]), *index[-1:]], strict=True)
    ]


def _before(index: I64, starts: I64) -> list[int]:
    """The wanted one before each start."""
    return [int(index[np.searchsorted(index, start) - 1]) for start in starts]


def _touches(spans: list[tuple[int, int]], start: int, end: int) -> bool:
    return any(low <= end and high >= start for low, high in spans)
