"""The step runner: carries out what a scenario says: turns begin, steps happen, requests reach the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from avsync.types import AUDIO, VIDEO, Kind, Reason, Request, Want
from avsync.units import ms, seconds
from sim.network.link import Link
from sim.run.host import Host
from sim.run.leg import RtpSender
from sim.run.link_of import impairment
from sim.run.output import RtpOutput
from sim.run.senders import Origin
from sim.scenario.scenario import Scenario
from sim.scenario.steps import (
    ClockStep,
    FpsChange,
    HoldOnce,
    Impair,
    Interrupt,
    Mute,
    Pause,
    RateChange,
    Reports,
    RouteStep,
    Sleep,
    Stall,
    Step,
)
from sim.source.generator import Speaker
from sim.virtual_time import VirtualTime

KIND_OF: Final = {"audio": AUDIO, "video": VIDEO, None: None}


class Actors(NamedTuple):
    """Whom the steps of a scenario act on, under the names that the scenario language has for them.

    ``hosts``: sender, bridge, viewer. ``links``: by leg; the hand-over's own is not among them. ``senders``: who sends
    RTP and reports on a leg, by leg.
    """

    speaker: Speaker
    origin: Origin
    hosts: Mapping[str, Host]
    links: Mapping[str, Link]
    senders: Mapping[str, RtpSender]


class StepRunner:
    """Built first, because the engine's requests need somewhere to go; ``direct`` gives it the actors."""

    def __init__(self, env: VirtualTime, scenario: Scenario, seed: int) -> None:
        self._env, self._scenario, self._seed = env, scenario, seed
        self._planned_end_ns = 0
        self._replies = 0

    def direct(self, actors: Actors) -> None:
        self._speaker, self._origin, self._hosts, self._links, self._senders = actors
        scenario = self._scenario
        for index, (start_s, end_s) in enumerate(scenario.source.turns.plan(scenario.duration_s)):
            backlog = seconds(scenario.source.backlog_s) if index == 0 else 0
            self._at(seconds(start_s), partial(self._begin, seconds(end_s), backlog))
        for step in scenario.steps:
            self._at(seconds(step.at_s), partial(self._perform, step))

    # ---- turns

    def _begin(self, end_ns: int, backlog_ns: int = 0) -> None:
        self._planned_end_ns = end_ns
        self._speaker.start_turn(end_ns - self._env.now + backlog_ns, backlog_ns)

    def _interrupt(self, step: Interrupt) -> None:
        self._speaker.interrupt(ms(step.pushes_on_ms))
        self._origin.interrupt(ms(step.pushes_on_ms))
        begins = self._env.now + ms(step.reply_after_ms)
        ends = self._planned_end_ns if step.talk_s is None else begins + seconds(step.talk_s)
        self._replies = reply = self._replies + 1
        if ends > begins:  # who is interrupted again before the reply has begun never says it
            self._at(begins, lambda: self._begin(ends) if reply == self._replies else None)

    # ---- requests

    def on_request(self, request: Request) -> None:
        """The source obeys later; a bridge's provider is also a leg away."""
        latency = ms(self._scenario.source.video.obeys_after_ms)
        if "to_bridge" in self._links:
            latency += ms(self._scenario.network.to_bridge.delay_ms or 20)
        self._at(self._env.now + latency, lambda: self._obey(request))

    def _obey(self, request: Request) -> None:
        content = self._origin.content_of(request.value) if request.want is Want.SKIP_TO_PTS else 0
        self._speaker.obey(request, content)

    def key_at_source(self) -> None:
        """The bridge's decoder lacks a frame."""
        self.on_request(Request(Want.KEYFRAME, 0, self._env.now, 0, Reason.DEPENDENCY))

    def key_from_viewer(self, output: RtpOutput) -> None:
        output.want_key()
        if self._scenario.source.video.encoded:
            self.key_at_source()

    # ---- steps

    def _perform(self, step: Step) -> None:
        match step:
            case Interrupt():
                self._interrupt(step)
            case Stall():
                mode = step.resume or self._scenario.source.video.resume
                self._speaker.stall(seconds(step.for_s), KIND_OF[step.only], mode)
            case Pause():
                self._speaker.pause(seconds(step.for_s), marked=step.marked)
            case Mute():
                self._speaker.pause(seconds(step.for_s), marked=True)
            case FpsChange():
                self._speaker.change_fps(step.to if step.to.denominator > 1 else int(step.to))
            case RateChange():
                self._speaker.change_rate(step.to_hz)
            case Sleep():
                self._sleep(step)
            case ClockStep():
                leg = "to_bridge" if step.clock == "provider" and "to_bridge" in self._senders else "to_viewer"
                self._senders[leg].ntp_offset_ns += ms(step.by_ms)
            case Reports():
                self._misreport(step)
            case Impair() | HoldOnce() | RouteStep():
                self._worsen(step)

    def _sleep(self, step: Sleep) -> None:
        self._hosts[step.host].sleep(seconds(step.for_s))
        if step.host == "sender":  # the generator lives on the same machine
            self._speaker.stall(seconds(step.for_s), None, self._scenario.source.video.resume)

    def _misreport(self, step: Reports) -> None:
        sender = self._senders[step.leg if step.leg in self._senders else "to_viewer"]
        kinds = [AUDIO, VIDEO] if step.only is None else [KIND_OF[step.only]]
        for kind in kinds:
            assert kind is not None
            sender.report_fault[kind] = (step.mode, ms(step.by_ms or 0))
            if step.for_s is not None:
                self._at(self._env.now + seconds(step.for_s), partial(sender.report_fault.pop, kind, None))

    def _worsen(self, step: Impair | HoldOnce | RouteStep) -> None:
        now = self._env.now
        link = self._link(step.leg)
        if isinstance(step, HoldOnce):
            link.hold(now, now + ms(step.for_ms))
            return
        kind: Kind | None = KIND_OF[step.only]
        if isinstance(step, RouteStep):
            link.add_delay(ms(step.by_ms), kind)
            return
        tokens = []
        changes = impairment(step)
        if changes:
            tokens.append(link.set(**changes) if kind is None else link.set_only(kind, **changes))
        if step.delay_ms:
            tokens.append(link.add_delay(ms(step.delay_ms), kind))
        if step.for_s is not None:
            for token in tokens:
                self._at(now + seconds(step.for_s), partial(link.restore, token))

    def _link(self, leg: str) -> Link:
        if leg == "source":
            self._origin.hand_over.not_direct()
            return self._origin.hand_over.link
        return self._links[leg]

    def _at(self, true_ns: int, call: Callable[[], Any]) -> None:
        self._env.after(max(true_ns - self._env.now, 0), lambda _nothing: call())
