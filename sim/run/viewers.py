"""Viewers: who watches at the end of the last leg: our engine with a speaker and a screen, or a model of Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from avsync.types import (
    AUDIO,
    VIDEO,
    Answer,
    Heard,
    InsertSilence,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Request,
    Want,
)
from avsync.units import ms, stretched_ns
from sim.browser.browser import BrowserViewer
from sim.browser.presentation import PresentationWriter
from sim.packets import IDLE, PictureFrame, SenderReport, SoundPacket
from sim.run.host import DrivenEngine, Timer
from sim.run.leg import Receiver
from sim.run.output import AnswerCounts
from sim.run.point import Point
from sim.run.receivers import EngineReceiver, drift_error_ppm
from sim.run.sinks import LatePresentations, Observer, Sink
from sim.scenario.model import BrowserLevers

_CONTENT: Final = Heard.CONTENT
_PASSING: Final = Heard.PASSING
_REPEAT: Final = Heard.REPEAT
_IDLE: Final = Heard.IDLE
_SIM: Final = ObservedBy.SIM
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class SimulatedViewer(Receiver, Protocol):
    """Takes what the leg carries, and writes into its ``Point``."""

    def probe(self) -> None:
        """Now and then during the run."""

    def finish(self) -> None:
        """The run is over: whatever was counted."""


class EngineViewer(EngineReceiver):
    """The viewer ``avsync``: our engine, a speaker, a screen. ``sent_ppm``: how fast its sender's clock is."""

    def __init__(
        self,
        point: Point,
        engine: DrivenEngine,
        sink: Sink,
        seed: int,
        ask_key: Callable[[], None],
        *,
        sent_ppm: int,
        round_trip_ns: int,
    ) -> None:
        observer = Observer(point.monitor, sink, seed, point.host, names_refresh=False)
        point.answers = self.output = ViewerOutput(point, _writer(point, sink), observer, ask_key)
        super().__init__(
            point.host, engine, point.monitor, self.output.obey, ask_key=ask_key, round_trip_ns=round_trip_ns
        )
        self.point, self._true_ppm = point, sent_ppm - point.host.ppm

    def probe(self) -> None:
        self.point.probe(self.engine.jitter_buffer_ns)

    def finish(self) -> None:
        point, output = self.point, self.output
        point.queue_peak_units = self.driver.peak_units
        point.late_packets = output.late_pictures + output.drops.get("late", 0)
        point.first_decodable_ns = self.decoder.first_decodable_ns
        point.drift_error_ppm = drift_error_ppm(self.ingress, point.host, self._true_ppm)
        point.finish()


class ViewerOutput(AnswerCounts):
    """A speaker and a screen that do what our engine says. ``observe``: who watches them."""

    def __init__(
        self,
        point: Point,
        presented: PresentationWriter,
        observe: Callable[[Presented], None],
        ask_key: Callable[[], None],
    ) -> None:
        super().__init__(point.monitor)
        self._presented, self._observe = presented, observe
        self._ask_key = ask_key
        self._epoch = 0

    def obey(self, answer: Answer, now_ns: int) -> None:
        if type(answer) is Present:
            if answer.unit.kind is AUDIO:
                self._sound(answer, answer.unit.payload)
            else:
                self._picture(answer, answer.unit.payload)
            return
        self.note(answer)  # a viewer has no idle picture of its own: Degrade shows nothing else
        if isinstance(answer, InsertSilence):
            passes = answer.reason in (Reason.LOSS, Reason.PAUSE)
            what = Heard.PASSING if passes else Heard.STOPPED
            if answer.reason is Reason.UNDERRUN or passes:
                self._observe(Presented(AUDIO, self._epoch, None, answer.duration_ns, answer.at_ns, _SIM, what))
        elif isinstance(answer, Request):
            self.requests.append(answer)
            if answer.want is Want.KEYFRAME:
                self._ask_key()

    def _sound(self, answer: Present, packet: SoundPacket) -> None:
        unit, at, stamp, _, _, stretch_ppm = answer
        self.check_stamp(AUDIO, stamp)
        duration = unit.duration_ns
        lasts = stretched_ns(duration, stretch_ppm) if stretch_ppm else duration
        if packet.ref != IDLE:
            self._presented.heard(at, lasts, packet.ref, packet.from_ns, duration)
        epoch, pts = packet.epoch, None
        if packet.pause:
            what = _PASSING
        elif packet.pts_ns is not None:
            what, pts = _CONTENT, packet.pts_ns
        else:
            what = Heard.STOPPED if epoch >= 0 else _IDLE
        self._epoch = epoch if epoch > 0 else 0
        self._observe(_new(Presented, (AUDIO, self._epoch, pts, lasts, at, _SIM, what)))

    def _picture(self, answer: Present, frame: PictureFrame) -> None:
        self.check_stamp(VIDEO, answer.stamp_ns)
        if answer.reason is Reason.LATE:
            self.late_pictures += 1
            self.note(answer)
        at, pts, epoch = answer.at_ns, frame.pts_ns, frame.epoch
        self._presented.shown(at, frame.ref)
        what = _IDLE if pts is None else _REPEAT if frame.repeat else _CONTENT
        self._observe(_new(Presented, (VIDEO, epoch if epoch > 0 else 0, pts, frame.duration_ns, at, _SIM, what)))


class ChromiumViewer:
    """The viewer ``browser``: true time in, the client's time to the model."""

    def __init__(self, point: Point, sink: Sink, seed: int, ask_key: Callable[[], None], levers: BrowserLevers) -> None:
        self.point, self._host = point, point.host
        observer = Observer(point.monitor, sink, seed, point.host, names_refresh=True)
        self.browser = BrowserViewer(
            _writer(point, sink), observer, lambda _what, _numbers, _now: ask_key(),
            picture_target_ns=ms(levers.picture_target_ms), sound_target_ns=ms(levers.sound_target_ms),
        )  # fmt: skip
        self._timer = Timer(point.host, self._tick)

    def on_sound(self, packet: SoundPacket) -> None:
        host = self._host
        if not host.asleep_until_ns or host.awake(lambda: self.on_sound(packet)):
            self.browser.on_sound(packet, host.now_ns() if host.ppm else host.env.now)

    def on_picture(self, frame: PictureFrame) -> None:
        host = self._host
        if host.asleep_until_ns and not host.awake(lambda: self.on_picture(frame)):
            return
        now = host.now_ns()
        if frame.is_key and self.point.first_decodable_ns is None:
            self.point.first_decodable_ns = now
        self.browser.on_picture(frame, now)
        self._timer.arm(self.browser.next_wakeup_ns())

    def on_report(self, report: SenderReport) -> None:
        if self._host.awake(lambda: self.on_report(report)):
            self.browser.on_sender_report(report, self._host.now_ns())
            self._timer.arm(self.browser.next_wakeup_ns())

    def probe(self) -> None:
        now = self._host.now_ns()
        self.browser.advance(now)
        self.point.probe(self.browser.sound_buffer_ns)
        self.point.receiver_target_ns.add(now, self.browser.asked_extra_ns)

    def finish(self) -> None:
        self.point.late_packets = self.browser.counters.pictures_late
        self.point.finish()

    def _tick(self) -> None:
        self.browser.advance(self._host.now_ns())
        self._timer.arm(self.browser.next_wakeup_ns())


def _writer(point: Point, sink: Sink) -> PresentationWriter:
    """Where what the devices of a viewer do is written: later, where they are late."""
    late = sink.sound_late_ns or sink.picture_late_ns
    return LatePresentations(point.presented, sink) if late else point.presented
