"""World: one run of one scenario in virtual time: source, our engine, the network, a viewer.

``simulate`` builds it, runs it and returns a ``Run``: the truth (logs), the beliefs (monitors'
samples) and counters, each kept apart. ``sim.judge.judge`` turns a ``Run`` into a row and a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from avsync.engine.engine import Engine
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.types import Want
from avsync.units import ms, seconds
from sim.run.host import DrivenEngine, Host
from sim.run.leg import RtpLeg, RtpSender
from sim.run.link_of import link_of
from sim.run.output import RtpOutput
from sim.run.point import Point
from sim.run.receiver_loop import ReceiverLoop
from sim.run.receivers import EngineReceiver, drift_error_ppm
from sim.run.senders import LocalSender, Provider
from sim.run.sinks import Sink
from sim.run.step_runner import Actors, StepRunner
from sim.run.viewers import ChromiumViewer, EngineViewer, SimulatedViewer
from sim.scenario.scenario import Scenario
from sim.source.clip import ClipSizes
from sim.source.generator import Speaker
from sim.truth.truth import ArrivalLog, SourceLog
from sim.virtual_time import VirtualTime

PROBE_NS: Final = ms(100)
PROBES_TO_PACK: Final = 100
"""Every 10 s what the logs hold is packed: often enough for hours, and seldom enough to cost nothing."""

WrapEngine = Callable[[AvSynchronizer, str], DrivenEngine]


@dataclass
class Run:
    """What one run left behind: what was made, when it reached our engine, and what became of it at two points."""

    scenario: Scenario
    policy: AvSyncPolicy
    viewer: str
    seed: int
    at_output: Point
    at_viewer: Point
    source: SourceLog = field(default_factory=SourceLog)
    arrivals: ArrivalLog = field(default_factory=ArrivalLog)
    network_about: tuple[str, ...] = ()
    end_ns: int = 0

    def pack(self) -> None:
        """What the logs hold so far takes less memory from now on."""
        self.source.pack()
        self.arrivals.pack()
        for point in (self.at_output, self.at_viewer):
            point.presented.pack()
            point.beliefs.pack()
            point.buffer_ns.pack()
            point.receiver_target_ns.pack()


def simulate(
    scenario: Scenario,
    *,
    policy: AvSyncPolicy,
    viewer: str,
    seed: int,
    clip: ClipSizes | None = None,
    networks: dict[str, Path] | None = None,
    output_sink: Sink | None = None,
    viewer_sink: Sink | None = None,
    wrap_engine: WrapEngine | None = None,
) -> Run:
    """Run one scenario once. Same arguments and versions, same ``Run``, on any machine.

    ``networks``: a network trace per leg instead of the scenario's own. ``output_sink``: how the
    device at our output misbehaves (tests), ``viewer_sink``: the one at the viewer. ``wrap_engine``: a recorder
    around each engine; gets an ``AvSynchronizer``, where the lab drives the ``Engine`` in it otherwise.
    """
    if viewer not in ("browser", "avsync"):
        raise UsageError(f"viewer must be 'browser' or 'avsync', got {viewer!r}")
    world = _World(scenario, policy, viewer, seed, networks, wrap_engine)
    world.add_output(output_sink or Sink())
    world.add_origin()
    world.add_speaker(clip)
    world.add_viewer(viewer_sink or Sink())
    return world.run()


class _World:
    """The parts of one run, added in the order in which the media passes them, but for the output, which sends on."""

    def __init__(
        self,
        scenario: Scenario,
        policy: AvSyncPolicy,
        viewer: str,
        seed: int,
        networks: dict[str, Path] | None,
        wrap: WrapEngine | None,
    ) -> None:
        self._env = env = VirtualTime(0)
        self._scenario, self._seed, self._networks, self._wrap = scenario, seed, networks, wrap
        clocks = scenario.clocks
        self._bridged = scenario.topology == "provider_bridge"
        self._us = Host(env, int(clocks.bridge.ppm) if self._bridged else 0)
        self._client = Host(env, int(clocks.client.ppm))
        told = not self._bridged  # a provider does not say where its turns end
        self._run = Run(
            scenario, policy, viewer, seed,
            Point("output", self._us, policy, ends_told=told), Point("viewer", self._client, policy, ends_told=told),
        )  # fmt: skip
        self._probes = 0
        self._legs: dict[str, RtpLeg] = {}
        self._senders: dict[str, RtpSender] = {}
        self._steps = StepRunner(env, scenario, seed)

    def add_output(self, sink: Sink) -> None:
        """Our output: it encodes, stamps and sends to the viewer."""
        scenario, network = self._scenario, self._scenario.network.to_viewer
        sender = RtpSender(
            self._us, self._leg("to_viewer"), seed=self._seed, name="to_viewer",
            start=network.rtp_start, reports=network.sender_reports == "normal",
        )  # fmt: skip
        self._senders["to_viewer"] = sender
        point = self._run.at_output
        self._output = RtpOutput(
            self._us, sender, point.presented, point.monitor,
            on_request=self._steps.on_request, video_kbps=scenario.source.video.bitrate_kbps, sink=sink,
            viewer=self._run.at_viewer.monitor,
        )  # fmt: skip
        point.answers = self._output

    def add_origin(self) -> None:
        """Our engine, and whoever brings it the generator's media: our own process, or a provider over RTP."""
        scenario, run, output = self._scenario, self._run, self._output
        name = "bridge" if self._bridged else "sender"
        self._engine = self._made_engine(name, network=self._bridged, levers=_levers(scenario))
        self._bridge: EngineReceiver | None = None
        self._origin: LocalSender | Provider
        if not self._bridged:
            self._origin = LocalSender(
                self._us, scenario, self._seed, self._engine, output, run.arrivals, run.at_output.monitor
            )
            self._driver = self._origin.driver
            return
        to_bridge = self._leg("to_bridge")
        self._bridge = EngineReceiver(
            self._us, self._engine, run.at_output.monitor, output.obey,
            ask_key=self._steps.key_at_source, arrivals=run.arrivals, round_trip_ns=self._round_trip_ns("to_bridge"),
            placed=(run.at_output, run.at_viewer),
            acknowledges=scenario.source.acknowledges,
        )  # fmt: skip
        self._driver = self._bridge.driver
        to_bridge.to(self._bridge)
        self._origin = Provider(self._env, scenario, self._seed, to_bridge, self._bridge)
        self._senders["to_bridge"] = self._origin.sender

    def add_speaker(self, clip: ClipSizes | None) -> None:
        origin = self._origin
        self._speaker = Speaker(
            self._env, self._scenario.source, self._seed, self._run.source,
            hand_over=origin.hand_over, on_turn=origin.on_turn, on_done=origin.on_done, clip=clip,
            pace_ppm=int(self._scenario.clocks.provider.ppm) if self._bridged else 0,
        )  # fmt: skip

    def add_viewer(self, sink: Sink) -> None:
        run = self._run
        back_ns = ms(self._scenario.network.to_viewer.delay_ms or 20)  # a request travels the other way

        def ask_key() -> None:
            self._env.after(back_ns, self._steps.key_from_viewer, self._output)

        self._viewer: SimulatedViewer
        if run.viewer == "avsync":
            engine = self._made_engine("viewer", network=True, levers=frozenset({Want.KEYFRAME}))
            self._viewer = EngineViewer(
                run.at_viewer, engine, sink, run.seed, ask_key,
                sent_ppm=self._us.ppm, round_trip_ns=self._round_trip_ns("to_viewer"),
            )  # fmt: skip
        else:
            self._viewer = viewer = ChromiumViewer(run.at_viewer, sink, run.seed, ask_key, self._scenario.browser)
            ReceiverLoop(
                self._us, self._client, viewer.browser, self._senders["to_viewer"], run.policy, self._scenario.browser,
                back_ns,
            )  # fmt: skip
        self._legs["to_viewer"].to(self._viewer)

    def run(self) -> Run:
        env, run = self._env, self._run
        hosts = {"sender": self._us, "bridge": self._us, "viewer": self._client}
        links = {name: leg.link for name, leg in self._legs.items()}
        self._steps.direct(Actors(self._speaker, self._origin, hosts, links, self._senders))
        self._driver.pump()
        self._probe(None)
        run.end_ns = seconds(self._scenario.duration_s)
        env.run_until(run.end_ns)
        if not env.is_whole():
            raise AssertionError("virtual time became a float: somebody scheduled one")
        self._finish()
        self._viewer.finish()
        return run

    def _made_engine(self, name: str, *, network: bool, levers: frozenset[Want]) -> DrivenEngine:
        policy = self._run.policy
        if self._wrap is None:
            return Engine(policy, network=network, levers=levers)
        return self._wrap(AvSynchronizer(policy, network=network, levers=levers), name)

    def _round_trip_ns(self, leg: str) -> int:
        """What a receiver measures as its round trip, without queues: jitter makes both of its ways longer."""
        link = self._legs[leg].link
        return 2 * (link.delay_ns + link.spread_ns)

    def _leg(self, name: str) -> RtpLeg:
        spoken = getattr(self._scenario.network, name)
        link, about = link_of(spoken, self._seed, name, self._scenario, self._networks)
        self._run.network_about += about
        leg = self._legs[name] = RtpLeg(self._env, link)
        return leg

    def _probe(self, _nothing: None) -> None:
        self._env.after(PROBE_NS, self._probe)
        self._run.at_output.probe(self._engine.jitter_buffer_ns)
        self._viewer.probe()
        self._probes += 1
        if self._probes % PROBES_TO_PACK == 0:
            self._run.pack()

    def _finish(self) -> None:
        """What our output counted."""
        point, output = self._run.at_output, self._output
        point.queue_peak_units = self._driver.peak_units
        point.rtp_violations = self._senders["to_viewer"].violations + self._origin.violations
        point.late_packets = output.late_pictures + output.drops.get("late", 0)
        if self._bridge is not None:
            clocks = self._scenario.clocks
            true_ppm = clocks.provider.ppm + clocks.provider.audio_label_ppm - clocks.bridge.ppm
            point.drift_error_ppm = drift_error_ppm(self._bridge.ingress, self._us, true_ppm)
        point.finish()


def _levers(scenario: Scenario) -> frozenset[Want]:
    """What the generator says that it can do: the engine is told, as a session would tell it."""
    video = scenario.source.video
    can = {
        Want.SKIP_TO_PTS: video.can_skip,
        Want.FPS: video.can_fps,
        Want.KEYFRAME: video.can_keyframe and video.encoded,
    }
    return frozenset(want for want, able in can.items() if able)
