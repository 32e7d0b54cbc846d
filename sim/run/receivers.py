"""Ends: whoever receives RTP with our engine: the bridge (sends on) and the viewer ``avsync`` (shows).

A decoder sits before the engine: a picture whose reference never came is not pushed at all, and a
key frame is asked for. Pictures that overtook each other are put in order first.
"""

from __future__ import annotations

from collections.abc import Callable

from avsync.engine.synchronizer import AvSynchronizer
from avsync.monitor.monitor import AvSyncMonitor
from avsync.timeline.ingress import Ingress
from avsync.types import (
    AUDIO,
    VIDEO,
    Answer,
    Drop,
    Heard,
    InsertSilence,
    MediaUnit,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Request,
    Want,
)
from avsync.units import ms, stretched_ns
from sim.browser.neteq import Glass
from sim.packets import IDLE, PictureFrame, SenderReport, SoundPacket
from sim.run.output import Answers, truth_of
from sim.truth.truth import ArrivalLog
from sim.virtual_time import EngineDriver, Host

GIVE_UP_NS = ms(500)  # a picture missing for this long is not coming: ask for a key frame
KEY_AGAIN_NS = ms(500)


class Decoder:
    """Pictures in decoding order. ``take`` returns what can be decoded now."""

    __slots__ = ("_asked_ns", "_next", "_waiting", "ask_key", "broken", "first_decodable_ns", "undecodable")

    def __init__(self, ask_key: Callable[[], None]) -> None:
        self._next: int | None = None
        self._waiting: dict[int, tuple[PictureFrame, int]] = {}
        self._asked_ns = -GIVE_UP_NS
        self.broken = True
        self.ask_key = ask_key
        self.undecodable = 0
        self.first_decodable_ns: int | None = None

    def take(self, frame: PictureFrame, now_ns: int) -> list[PictureFrame]:
        if self._next is not None and frame.number < self._next:
            return []  # its place has been given up, or it came twice
        self._waiting[frame.number] = (frame, now_ns)
        ready: list[PictureFrame] = []
        while self._waiting:
            number = min(self._waiting)
            waiting, since_ns = self._waiting[number]
            if self._next is not None and number != self._next and not waiting.is_key:
                if not self.broken and now_ns - since_ns < GIVE_UP_NS:
                    break  # perhaps it is only overtaken, or being sent again
                self.broken = True
            del self._waiting[number]
            self._next = number + 1
            if waiting.is_key:
                self.broken = False
            if self.broken:
                self.undecodable += 1
                self._ask(now_ns)
                continue
            if self.first_decodable_ns is None:
                self.first_decodable_ns = now_ns
            ready.append(waiting)
        return ready

    def _ask(self, now_ns: int) -> None:
        if now_ns - self._asked_ns >= KEY_AGAIN_NS:
            self._asked_ns = now_ns
            self.ask_key()


class EngineEnd:
    """RTP in, our engine behind it. ``on_answer`` is a bridge's output or a viewer's glass."""

    def __init__(
        self,
        host: Host,
        engine: AvSynchronizer,
        monitor: AvSyncMonitor,
        on_answer: Callable[[Answer, int], None],
        *,
        ask_key: Callable[[], None],
        arrivals: ArrivalLog | None = None,
    ) -> None:
        self.host, self.engine, self.monitor = host, engine, monitor
        self.ingress = Ingress(engine.policy)
        self.driver = EngineDriver(host, engine, on_answer)
        self.decoder = Decoder(ask_key)
        self._arrivals = arrivals
        self.late_packets = 0
        self.quarantined = 0
        self.pts_minus_content_ns = 0
        self.started = False

    def on_sound(self, packet: SoundPacket) -> None:
        host = self.host
        if host.asleep_until_ns and not host.awake(lambda: self.on_sound(packet)):
            return
        now = host.now_ns()
        unit = self.ingress.on_sound(
            packet.rtp, packet.duration_ns, now, size_bytes=packet.size_bytes, pause=packet.pause, payload=packet
        )
        self._push(unit, now)

    def on_picture(self, frame: PictureFrame) -> None:
        host = self.host
        if host.asleep_until_ns and not host.awake(lambda: self.on_picture(frame)):
            return
        now = host.now_ns()
        for each in self.decoder.take(frame, now):
            unit = self.ingress.on_picture(
                each.rtp, each.duration_ns, now, size_bytes=each.size_bytes,
                in_order=each is frame and not each.retransmitted, payload=each,
            )  # fmt: skip
            self._push(unit, now)

    def on_report(self, report: SenderReport) -> None:
        if self.host.awake(lambda: self.on_report(report)):
            now = self.host.now_ns()
            self.ingress.on_sender_report(report.kind, report.ntp_ns, report.rtp, now)
            self.monitor.on_sender_report(now)

    def interrupt(self, epoch: int) -> None:
        now = self.host.now_ns()
        self.ingress.interrupt(epoch, now)
        self.engine.interrupt(epoch, now)
        self.monitor.interrupt(epoch)
        self.driver.pump()

    def marker(self) -> None:
        self.ingress.marker(self.host.now_ns())

    def _push(self, unit: MediaUnit | Drop, now: int) -> None:
        if isinstance(unit, Drop):
            self.quarantined += 1
            return
        if self._arrivals is not None:
            ref = truth_of(unit.payload)
            if ref != IDLE:
                if unit.kind is AUDIO and unit.payload.pts_ns is not None:
                    # What the provider calls this content, against ours: a request names its own.
                    self.pts_minus_content_ns = unit.pts_ns - unit.payload.pts_ns
                log = self._arrivals.sound if unit.kind is AUDIO else self._arrivals.picture
                log(ref, now)
        self.engine.push(unit, now)
        self.started = True
        self.driver.pump()


class GlassOutput(Answers):
    """The viewer ``avsync``: a speaker and a screen that do what our engine says. ``observe``: who watches them."""

    def __init__(
        self,
        glass: Glass,
        monitor: AvSyncMonitor,
        observe: Callable[[Presented], None],
        ask_key: Callable[[], None],
    ) -> None:
        super().__init__(monitor)
        self._glass, self._observe = glass, observe
        self._ask_key = ask_key
        self._epoch = 0

    def __call__(self, answer: Answer, now_ns: int) -> None:
        match answer:
            case Present(unit=unit):
                if unit.kind is AUDIO:
                    self._sound(answer, unit.payload)
                else:
                    self._picture(answer, unit.payload)
            case InsertSilence():
                self.note(answer)
                passes = answer.reason in (Reason.LOSS, Reason.PAUSE)
                what = Heard.PASSING if passes else Heard.STOPPED
                if answer.reason is Reason.UNDERRUN or passes:
                    self._observe(
                        Presented(AUDIO, self._epoch, None, answer.duration_ns, answer.at_ns, ObservedBy.SIM, what)
                    )
            case Request():
                self.note(answer)
                self.requests.append(answer)
                if answer.want is Want.KEYFRAME:
                    self._ask_key()
            case _:
                self.note(answer)  # a viewer has no idle picture of its own: Degrade shows nothing else

    def _sound(self, answer: Present, packet: SoundPacket) -> None:
        unit, stretch = answer.unit, answer.stretch_ppm
        self.check_stamp(AUDIO, answer.stamp_ns)
        duration = unit.duration_ns
        lasts = stretched_ns(duration, stretch) if stretch else duration
        if packet.ref != IDLE:
            self._glass.heard(answer.at_ns, lasts, packet.ref, packet.from_ns, duration)
        self._epoch = max(packet.epoch, 0)
        if packet.pause:
            what = Heard.PASSING
        elif packet.pts_ns is not None:
            what = Heard.CONTENT
        else:
            what = Heard.STOPPED if packet.epoch >= 0 else Heard.IDLE
        pts = packet.pts_ns if what is Heard.CONTENT else None
        self._observe(Presented(AUDIO, self._epoch, pts, lasts, answer.at_ns, ObservedBy.SIM, what))

    def _picture(self, answer: Present, frame: PictureFrame) -> None:
        self.check_stamp(VIDEO, answer.stamp_ns)
        if answer.reason is Reason.LATE:
            self.late_pictures += 1
            self.note(answer)
        self._glass.shown(answer.at_ns, frame.ref)
        what = Heard.REPEAT if frame.repeat else Heard.CONTENT
        if frame.pts_ns is None:
            what = Heard.IDLE
        self._observe(
            Presented(VIDEO, max(frame.epoch, 0), frame.pts_ns, frame.duration_ns, answer.at_ns, ObservedBy.SIM, what)
        )
