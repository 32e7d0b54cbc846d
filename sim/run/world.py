"""World: one run of one scenario in virtual time: source, our engine, the network, a viewer.

``simulate`` builds it, runs it and returns a ``Run``: the truth (logs), the beliefs (monitors'
samples) and counters, each kept apart. ``sim.judge.judge`` turns a ``Run`` into a row and a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import simpy

from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.monitor.monitor import AvSyncMonitor, SyncReport
from avsync.policy import AvSyncPolicy
from avsync.types import Alert, Heard, Presented, Want
from avsync.units import ms, seconds
from sim.browser.browser import BrowserViewer
from sim.packets import PictureFrame, SenderReport, SoundPacket
from sim.run.leg import RtpLeg, RtpSender
from sim.run.link_of import link_of
from sim.run.output import AnswerCounts, RtpOutput
from sim.run.receivers import EngineReceiver, ViewerOutput
from sim.run.senders import LocalSender, Provider
from sim.run.sinks import LatePresentations, Observer, Sink
from sim.run.step_runner import StepRunner
from sim.scenario.scenario import Scenario
from sim.source.clip import ClipSizes
from sim.source.generator import Speaker
from sim.truth.beliefs import Beliefs
from sim.truth.truth import ArrivalLog, PresentationLog, SourceLog
from sim.virtual_time import Host, Timer, VirtualTime

PROBE_NS = ms(100)

WrapEngine = Callable[[AvSynchronizer, str], AvSynchronizer]


@dataclass
class Run:
    """What one run left behind. Local times: output_... at our output's host, viewer_... at the viewer's."""

    scenario: Scenario
    policy: AvSyncPolicy
    viewer: str
    seed: int
    source: SourceLog = field(default_factory=SourceLog)
    arrivals: ArrivalLog = field(default_factory=ArrivalLog)
    output_glass: PresentationLog = field(default_factory=PresentationLog)
    viewer_glass: PresentationLog = field(default_factory=PresentationLog)
    output_beliefs: Beliefs = field(default_factory=Beliefs)
    viewer_beliefs: Beliefs = field(default_factory=Beliefs)
    output_alerts: list[Alert] = field(default_factory=list)
    viewer_alerts: list[Alert] = field(default_factory=list)
    output_buffer_ns: Beliefs = field(default_factory=Beliefs)
    viewer_buffer_ns: Beliefs = field(default_factory=Beliefs)
    output_answers: AnswerCounts | None = None
    viewer_answers: AnswerCounts | None = None
    output_report: SyncReport | None = None
    viewer_report: SyncReport | None = None
    drift_error_ppm: float | None = None
    viewer_drift_error_ppm: float | None = None
    queue_peak_units: int = 0
    viewer_queue_peak_units: int = 0
    rtp_violations: int = 0
    late_packets: int = 0
    viewer_late_packets: int = 0
    first_decodable_ns: int | None = None
    viewer_host: Host | None = None
    output_host: Host | None = None
    network_about: tuple[str, ...] = ()
    end_ns: int = 0


class BrowserReceiver:
    """The viewer ``browser`` behind a leg: true time in, the client's time to the model."""

    def __init__(self, host: Host, browser: BrowserViewer) -> None:
        self.host, self.browser = host, browser
        self._timer = Timer(host, self._tick)
        self.first_decodable_ns: int | None = None

    def on_sound(self, packet: SoundPacket) -> None:
        host = self.host
        if not host.asleep_until_ns or host.awake(lambda: self.on_sound(packet)):
            self.browser.on_sound(packet, host.now_ns())

    def on_picture(self, frame: PictureFrame) -> None:
        if self.host.asleep_until_ns and not self.host.awake(lambda: self.on_picture(frame)):
            return
        now = self.host.now_ns()
        if self.first_decodable_ns is None and frame.is_key:
            self.first_decodable_ns = now
        self.browser.on_picture(frame, now)
        self._timer.arm(self.browser.next_wakeup_ns())

    def on_report(self, report: SenderReport) -> None:
        if self.host.awake(lambda: self.on_report(report)):
            self.browser.on_sender_report(report, self.host.now_ns())
            self._timer.arm(self.browser.next_wakeup_ns())

    def _tick(self) -> None:
        self.browser.advance(self.host.now_ns())
        self._timer.arm(self.browser.next_wakeup_ns())


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
    around each engine.
    """
    if viewer not in ("browser", "avsync"):
        raise UsageError(f"viewer must be 'browser' or 'avsync', got {viewer!r}")
    env = VirtualTime(0)
    run = Run(scenario, policy, viewer, seed)
    wrap = wrap_engine or _plain
    clocks, network = scenario.clocks, scenario.network
    bridged = scenario.topology == "provider_bridge"
    us = Host(env, int(clocks.bridge.ppm) if bridged else 0)
    client = Host(env, int(clocks.client.ppm))
    run.output_host, run.viewer_host = us, client
    run.output_glass.local_ns = us.local_ns if us.ppm else None
    run.viewer_glass.local_ns = client.local_ns if client.ppm else None

    link, about = link_of(network.to_viewer, seed, "to_viewer", scenario, networks)
    to_viewer = RtpLeg(env, link)
    sender = RtpSender(
        us, to_viewer, seed=seed, name="to_viewer",
        start=network.to_viewer.rtp_start, reports=network.to_viewer.sender_reports == "normal",
    )  # fmt: skip
    out_monitor = AvSyncMonitor(policy, point="output", on_sample=run.output_beliefs.add_sample)
    view_monitor = AvSyncMonitor(policy, point="viewer", on_sample=run.viewer_beliefs.add_sample)

    back_ns = ms(network.to_viewer.delay_ms or 20)  # a request travels the other way
    stage = StepRunner(env, scenario, seed)
    output = RtpOutput(
        us, sender, run.output_glass, out_monitor,
        on_request=stage.on_request, video_kbps=scenario.source.video.bitrate_kbps, sink=output_sink or Sink(),
    )  # fmt: skip
    run.output_answers = output
    levers = _levers(scenario)
    engine = wrap(AvSynchronizer(policy, network=bridged, levers=levers), "bridge" if bridged else "sender")
    origin: LocalSender | Provider
    if bridged:
        bridge = EngineReceiver(us, engine, out_monitor, output, ask_key=stage.key_at_source, arrivals=run.arrivals)
        to_bridge_link, more = link_of(network.to_bridge, seed, "to_bridge", scenario, networks)
        about += more
        to_bridge = RtpLeg(env, to_bridge_link)
        to_bridge.to(bridge)
        origin = Provider(env, scenario, seed, to_bridge, bridge)
        driver = bridge.driver
    else:
        origin = LocalSender(us, scenario, seed, engine, output, run.arrivals, out_monitor)
        driver = origin.driver
    speaker = Speaker(
        env, scenario.source, seed, run.source,
        hand_over=origin.hand_over, on_turn=origin.on_turn, on_done=origin.on_done, clip=clip,
        pace_ppm=int(clocks.provider.ppm) if bridged else 0,
    )  # fmt: skip

    def key_wanted() -> None:
        env.timeout(back_ns).callbacks.append(lambda _event: stage.key_from_viewer(output))

    probe_viewer = _viewer(run, client, policy, wrap, to_viewer, view_monitor, key_wanted, viewer_sink or Sink())
    stage.direct(speaker=speaker, origin=origin, us=us, client=client, to_viewer=to_viewer, sender=sender)
    run.network_about = about

    def probe(_event: simpy.Event | None) -> None:
        env.timeout(PROBE_NS).callbacks.append(probe)
        now = us.now_ns()
        run.output_buffer_ns.add(now, engine.jitter_buffer_ns)
        _poll(out_monitor, now, run.output_alerts)
        probe_viewer()

    driver.pump()
    probe(None)
    end = seconds(scenario.duration_s)
    env.run(until=end)
    if not env.is_whole():
        raise AssertionError("virtual time became a float: somebody scheduled one")
    run.end_ns = end
    # A report settles everything that the monitors still hold back.
    run.output_report, run.viewer_report = out_monitor.report(us.now_ns()), view_monitor.report(client.now_ns())
    if bridged:
        found, true = (
            bridge.ingress.drift_ppm(us.now_ns()),
            clocks.provider.ppm + clocks.provider.audio_label_ppm - clocks.bridge.ppm,
        )
        run.drift_error_ppm = None if found is None else abs(found - true)
    run.queue_peak_units = driver.peak_units
    run.rtp_violations = sender.violations + origin.violations
    run.late_packets = output.late_pictures + output.drops.get("late", 0)
    return run


def _viewer(
    run: Run,
    client: Host,
    policy: AvSyncPolicy,
    wrap: WrapEngine,
    to_viewer: RtpLeg,
    monitor: AvSyncMonitor,
    key_wanted: Callable[[], None],
    sink: Sink,
) -> Callable[[], None]:
    """Put the viewer at the end of the leg; returns its probe."""
    observer = Observer(monitor, sink, run.seed, client.now_ns)
    late = sink.sound_late_ns or sink.picture_late_ns
    glass = LatePresentations(run.viewer_glass, sink) if late else run.viewer_glass
    if run.viewer == "avsync":
        engine = wrap(AvSynchronizer(policy, network=True, levers={Want.KEYFRAME}), "viewer")
        output = ViewerOutput(glass, monitor, observer, key_wanted)
        end = EngineReceiver(client, engine, monitor, output, ask_key=key_wanted)
        to_viewer.to(end)
        run.viewer_answers = output

        def probe() -> None:
            now = client.now_ns()
            run.viewer_buffer_ns.add(now, engine.jitter_buffer_ns)
            run.viewer_queue_peak_units = end.driver.peak_units
            run.viewer_late_packets = output.late_pictures + output.drops.get("late", 0)
            run.first_decodable_ns = end.decoder.first_decodable_ns
            _poll(monitor, now, run.viewer_alerts)

        return probe

    def observe(presented: Presented) -> None:
        if presented.epoch < 0:  # our server knows that it had nothing to say under that stamp
            presented = presented._replace(epoch=0, what=Heard.IDLE)
        observer(presented)

    levers = run.scenario.browser
    browser = BrowserViewer(
        glass, observe, lambda _what, _numbers, _now: key_wanted(),
        picture_target_ns=ms(levers.picture_target_ms), sound_target_ns=ms(levers.sound_target_ms),
    )  # fmt: skip
    browser_end = BrowserReceiver(client, browser)
    to_viewer.to(browser_end)

    def probe_browser() -> None:
        now = client.now_ns()
        browser.advance(now)
        run.viewer_buffer_ns.add(now, browser.sound_buffer_ns)
        run.viewer_late_packets = browser.counters.pictures_late
        run.first_decodable_ns = browser_end.first_decodable_ns
        _poll(monitor, now, run.viewer_alerts)

    return probe_browser


def _plain(engine: AvSynchronizer, _name: str) -> AvSynchronizer:
    return engine


def _poll(monitor: AvSyncMonitor, now_ns: int, into: list[Alert]) -> None:
    while (alert := monitor.poll(now_ns)) is not None:
        into.append(alert)


def _levers(scenario: Scenario) -> frozenset[Want]:
    """What the generator says that it can do: the engine is told, as a session would tell it."""
    video = scenario.source.video
    can = {
        Want.SKIP_TO_PTS: video.can_skip,
        Want.FPS: video.can_fps,
        Want.KEYFRAME: video.can_keyframe and video.encoded,
    }
    return frozenset(want for want, able in can.items() if able)
