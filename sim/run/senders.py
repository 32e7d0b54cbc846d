"""Senders: how what the generator makes reaches our engine: in process, or by RTP from a provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from avsync.monitor.watch import Watch
from avsync.timeline.clock import AvSyncClock
from avsync.types import AUDIO, VIDEO, Kind, MediaUnit
from avsync.units import Rate, ms
from sim.network.link import Link, LinkSpec
from sim.packets import OldTurnOver
from sim.run.host import DrivenEngine, EngineDriver, Host
from sim.run.leg import RtpLeg, RtpSender
from sim.run.output import RtpOutput
from sim.run.receivers import EngineReceiver
from sim.scenario.scenario import Scenario
from sim.source.generator import Made
from sim.truth.truth import ArrivalLog
from sim.virtual_time import VirtualTime


class HandOver:
    """The way from the generator to whoever takes its units: usually none, sometimes jittery."""

    def __init__(self, env: VirtualTime, scenario: Scenario, seed: int, take: Callable[[Made], None]) -> None:
        self._env, self._take = env, take
        audio, video = scenario.source.audio, scenario.source.video
        self.link = Link(LinkSpec(), seed=seed, name="source")
        self._direct = True
        for kind, jitter_ms in ((AUDIO, audio.jitter_ms), (Kind.VIDEO, video.jitter_ms)):
            if jitter_ms:
                self.impair(kind, jitter_ns=ms(jitter_ms), jitter_cap_ns=ms(jitter_ms))

    def impair(self, kind: Kind | None, **changes: int) -> int:
        """From now on the hand-over is not direct any more; a token for ``link.restore``."""
        self._direct = False
        return self.link.set(**changes) if kind is None else self.link.set_only(kind, **changes)

    def not_direct(self) -> None:
        self._direct = False

    def __call__(self, made: Made) -> None:
        if self._direct:
            self._take(made)
            return
        now = self._env.now
        for at in self.link.send(1, now, made.kind):
            self._env.after(at - now, self._take, made)


class Origin(Protocol):
    """Where the media of a run enters: our own process, or a provider's. What a scenario's steps ask of it."""

    @property
    def hand_over(self) -> HandOver: ...

    def interrupt(self, pushes_on_ns: int) -> None:
        """``pushes_on_ns``: so long the old turn is still handed over, if no new one begins before."""
        ...

    def content_of(self, pts_ns: int) -> int:
        """A PTS of the present turn in the generator's own content."""
        ...


class LocalSender:
    """local_encode: the generator is in our process; ``AvSyncClock`` stamps what it makes."""

    def __init__(
        self,
        host: Host,
        scenario: Scenario,
        seed: int,
        engine: DrivenEngine,
        output: RtpOutput,
        arrivals: ArrivalLog,
        monitor: Watch,
    ) -> None:
        self.host, self.engine, self.arrivals, self.monitor = host, engine, arrivals, monitor
        self.driver = EngineDriver(host, engine, output.obey)
        self.hand_over = HandOver(host.env, scenario, seed, self.push)
        audio, video = scenario.source.audio, scenario.source.video
        self._varies = video.variable_fps is not None
        self._encoded = video.encoded
        self._rates: list[Rate] = [audio.rate_hz, video.fps]  # that the clock knows, of sound and of pictures
        self._next_ns = [0, 0]  # where in the content the last unit of each that was stamped ends
        self._epochs = engine.policy.epochs
        self.clock = AvSyncClock(audio_rate=audio.rate_hz, video_rate=None if self._varies else video.fps)
        self._epoch_of: dict[int, int] = {}
        self._start_of: dict[int, tuple[int, int]] = {}  # turn -> (its PTS, its content)
        self._interrupted = False
        self.violations = 0

    def on_turn(self, index: int) -> None:
        if index and not self._interrupted:
            self.clock.begin_turn()
        self._interrupted = False
        self._epoch_of[index] = self.clock.epoch

    def on_done(self, kind: Kind, index: int) -> None:
        if self._epochs:
            self.engine.finish(kind, self._epoch_of[index], self.host.now_ns())

    def interrupt(self, pushes_on_ns: int) -> None:
        epoch = self.clock.interrupt()
        self._interrupted = True
        self.engine.interrupt(epoch, self.host.now_ns())
        if self._epochs:
            self.monitor.interrupt(epoch)
        self.driver.pump()

    def content_of(self, pts_ns: int) -> int:
        """A PTS of the present turn in the generator's own content."""
        turn = max(self._start_of, default=0)
        pts, content = self._start_of.get(turn, (0, 0))
        return pts_ns - pts + content

    def push(self, made: Made) -> None:
        host = self.host
        if host.asleep_until_ns and not host.awake(lambda: self.push(made)):
            return
        unit = self._stamp(made)
        if unit is None:
            return
        now, ref = host.now_ns() if host.ppm else host.env.now, made.ref
        if ref >= 0:
            (self.arrivals.sound if made.kind is AUDIO else self.arrivals.picture)(ref, now)
        self.driver.push(unit, now)

    def _stamp(self, made: Made) -> MediaUnit | None:
        """By count, as a source does that says what it left out. None: refused, or what follows it was faster."""
        # A policy without epochs writes whatever comes into the turn that is on.
        kind, turn, content_ns, duration_ns, _, size_bytes, is_key, pause, _, since_ns, rate, ticks = made
        clock = self.clock
        epoch = self._epoch_of[turn] if self._epochs else clock.epoch
        if epoch < clock.gate.oldest:
            return clock.stamp_audio(1, epoch=epoch)  # counts the refusal
        index = 0 if kind is AUDIO else 1
        next_ns = self._next_ns[index]
        if content_ns < next_ns:
            return None  # overtaken on its way here: a count only goes on
        start = self._start_of.get(turn)
        if start is None:
            clock.skip(kind, 0, epoch=epoch)  # the turn begins, so that it is known where
            start = (clock.last_seam.pts_ns, content_ns - since_ns)
        if content_ns != next_ns:  # left out, or lost on its way here
            clock.skip(kind, max(start[0] + content_ns - start[1], clock.next_pts_ns(kind)), epoch=epoch)
        if rate is not self._rates[index]:
            self._set_rate(kind, index, rate)
        unit: MediaUnit | None
        if kind is AUDIO:
            unit = clock.stamp_audio(ticks, epoch=epoch, size_bytes=size_bytes, payload=made, pause=pause)
        else:
            raw = not self._encoded
            unit = clock.stamp_frame(
                epoch=epoch, size_bytes=size_bytes, is_key=raw or is_key, droppable=raw, payload=made,
                duration_ns=duration_ns if self._varies else None,
            )  # fmt: skip
        if unit is not None:
            self._start_of[turn] = start
            self._next_ns[index] = content_ns + duration_ns
        return unit

    def _set_rate(self, kind: Kind, index: int, rate: Rate) -> None:
        known, self._rates[index] = self._rates[index], rate
        if rate == known:
            return
        if kind is AUDIO:
            self.clock.set_audio_rate(rate)
        elif not self._varies:  # else each picture says how long it lasts
            self.clock.set_video_rate(rate)


class Provider:
    """provider_bridge: somebody else's service sends us its media by RTP, stamped by its own clock."""

    def __init__(self, env: VirtualTime, scenario: Scenario, seed: int, leg: RtpLeg, bridge: EngineReceiver) -> None:
        clock = scenario.clocks.provider
        self.host = Host(env, int(clock.ppm))
        self.leg = leg
        self.sender = RtpSender(
            self.host, leg, seed=seed, name="to_bridge",
            start=scenario.network.to_bridge.rtp_start,
            reports=scenario.network.to_bridge.sender_reports == "normal",
            label_ppm=(int(clock.audio_label_ppm), int(clock.video_label_ppm)),
        )  # fmt: skip
        self.hand_over = HandOver(env, scenario, seed, self.push)
        self.bridge = bridge
        self._acknowledges = scenario.source.acknowledges
        self._epoch = 0
        self._turn = 0
        self._over = -1  # nothing of the turns up to this one is sent any more
        self._owes: int | None = None  # the interrupt whose old turn goes on

    @property
    def violations(self) -> int:
        return 0  # what the provider does with its stamps is its own affair

    def on_turn(self, index: int) -> None:
        """Nothing tells the bridge where a turn begins; an old one that was still sent is over."""
        if self._owes is not None:
            self._acknowledge(self._owes)
        self._turn = index

    def on_done(self, kind: Kind, index: int) -> None:
        """Nor where it ends."""

    def interrupt(self, pushes_on_ns: int) -> None:
        self._epoch += 1
        self.bridge.interrupt(self._epoch)
        if self._acknowledges:
            self._owes = self._epoch
            self.host.env.after(pushes_on_ns, self._acknowledge, self._epoch)

    def _acknowledge(self, epoch: int) -> None:
        if epoch != self._owes:
            return  # told when the next turn began, or somebody interrupted again
        self._owes = None
        self._over = self._turn
        end = OldTurnOver(epoch, self.sender.last_rtp(AUDIO), self.sender.last_rtp(VIDEO))
        self.leg.message(self.bridge.acknowledged, end)

    def content_of(self, pts_ns: int) -> int:
        """The bridge's timeline in the provider's content: what it heard last tells how they lie."""
        return pts_ns - self.bridge.pts_minus_content_ns

    def push(self, made: Made) -> None:
        if made.turn <= self._over:
            return
        stamp = self.host.local_ns(made.turn_ns) + made.since_ns  # by count, in the provider's own time
        if made.kind is AUDIO:
            self.sender.sound(
                stamp, made.duration_ns, made.size_bytes, made.turn, made.content_ns, made.ref, pause=made.pause
            )
        else:
            self.sender.picture(
                stamp, made.duration_ns, made.size_bytes, made.turn, made.content_ns, made.ref, is_key=made.is_key
            )
