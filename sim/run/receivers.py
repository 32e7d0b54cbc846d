"""Receivers: whoever takes RTP in with our engine: the bridge (sends on) and the viewer ``avsync`` (shows).

A decoder sits before the engine: a picture whose reference never came is not pushed at all, and a
key frame is asked for. Pictures that overtook each other are put in order first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from avsync.monitor.watch import Watch
from avsync.timeline.ingress import Ingress
from avsync.types import (
    AUDIO,
    Answer,
    Drop,
    MediaUnit,
)
from avsync.units import ms
from sim.packets import IDLE, OldTurnOver, PictureFrame, SenderReport, SoundPacket
from sim.run.host import DrivenEngine, EngineDriver, Host
from sim.run.output import truth_of
from sim.run.point import Point
from sim.truth.truth import ArrivalLog

GIVE_UP_NS: Final = ms(500)  # a picture missing for this long is not coming: ask for a key frame
GIVE_UP_ROUND_TRIPS: Final = 2.5  # but not before it can have been sent again twice
KEY_AGAIN_NS: Final = ms(500)


class Decoder:
    """Pictures in decoding order. ``take`` returns what can be decoded now."""

    __slots__ = (
        "_asked_ns",
        "_give_up_ns",
        "_next",
        "_waiting",
        "ask_key",
        "broken",
        "first_decodable_ns",
        "undecodable",
    )

    def __init__(self, ask_key: Callable[[], None], give_up_ns: int = GIVE_UP_NS) -> None:
        self._give_up_ns = give_up_ns
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
            if waiting.is_key:
                self.broken = False
            elif self.broken or (self._next is not None and number != self._next):
                # Perhaps what it needs is only overtaken, or being sent again: a picture, or the key frame asked for.
                given_up = now_ns - since_ns >= self._give_up_ns
                self.broken = self.broken or given_up
                if self.broken:
                    self._ask(now_ns)
                if not given_up and not (self.broken and self._key_waits()):
                    break
            del self._waiting[number]
            self._next = number + 1
            if self.broken:
                self.undecodable += 1
                continue
            if self.first_decodable_ns is None:
                self.first_decodable_ns = now_ns
            ready.append(waiting)
        return ready

    def _key_waits(self) -> bool:
        return any(frame.is_key for frame, _ in self._waiting.values())

    def _ask(self, now_ns: int) -> None:
        if now_ns - self._asked_ns >= KEY_AGAIN_NS:
            self._asked_ns = now_ns
            self.ask_key()


class EngineReceiver:
    """RTP in, our engine behind it. ``on_answer`` is a bridge's output or a viewer's.

    ``placed``: whose beliefs rest on the places that are given here.
    """

    def __init__(
        self,
        host: Host,
        engine: DrivenEngine,
        monitor: Watch,
        on_answer: Callable[[Answer, int], None],
        *,
        ask_key: Callable[[], None],
        arrivals: ArrivalLog | None = None,
        round_trip_ns: int = 0,
        placed: Sequence[Point] = (),
        acknowledges: bool = False,
    ) -> None:
        self.host, self.engine, self.monitor = host, engine, monitor
        self.ingress = Ingress(engine.policy, acknowledges=acknowledges)
        self._round_trip_ns = round_trip_ns
        self.driver = EngineDriver(host, engine, on_answer)
        self.decoder = Decoder(ask_key, max(GIVE_UP_NS, int(GIVE_UP_ROUND_TRIPS * round_trip_ns)))
        self._arrivals = arrivals
        self._placed = placed
        self._say_basis()
        self.late_packets = 0
        self.quarantined = 0
        self.pts_minus_content_ns = 0

    def on_sound(self, packet: SoundPacket) -> None:
        host = self.host
        if host.asleep_until_ns and not host.awake(lambda: self.on_sound(packet)):
            return
        now = host.now_ns() if host.ppm else host.env.now
        seq, rtp, duration_ns, size_bytes, _, _, _, pause, _, _ = packet
        unit = self.ingress.on_sound(
            rtp, duration_ns, now, size_bytes=size_bytes, pause=pause, seq16=seq, payload=packet
        )
        self._push(unit, now)
        self._take_held(now)

    def on_picture(self, frame: PictureFrame) -> None:
        host = self.host
        if host.asleep_until_ns and not host.awake(lambda: self.on_picture(frame)):
            return
        now = host.now_ns()
        for each in self.decoder.take(frame, now):
            waited = each is not frame or each.retransmitted
            unit = self.ingress.on_picture(
                each.rtp, each.duration_ns, now, size_bytes=each.size_bytes, in_order=not waited, payload=each
            )
            if self._placed:
                self._say_basis(truth_of(each))
            self._push(unit, now, waited)
        self._take_held(now)

    def on_report(self, report: SenderReport) -> None:
        if self.host.awake(lambda: self.on_report(report)):
            now = self.host.now_ns()
            self.ingress.on_sender_report(report.kind, report.ntp_ns, report.rtp, now)
            self.monitor.on_sender_report(now)
            self._say_basis()
            self._take_held(now)

    def interrupt(self, epoch: int) -> None:
        now = self.host.now_ns()
        self.ingress.interrupt(epoch, now, round_trip_ns=self._round_trip_ns)
        self._take_held(now)
        self.engine.interrupt(epoch, now)
        self.monitor.interrupt(epoch)
        self.driver.pump()

    def acknowledged(self, end: OldTurnOver) -> None:
        """The provider's word that the old turn is over."""
        if self.host.awake(lambda: self.acknowledged(end)):
            now = self.host.now_ns()
            self.ingress.acknowledged(
                end.epoch, now, last_sound_rtp32=end.sound_rtp, last_picture_rtp32=end.picture_rtp
            )
            self._take_held(now)

    def _say_basis(self, picture: int | None = None) -> None:
        for point in self._placed:
            point.rests_on(self.ingress.basis, picture)

    def _take_held(self, now: int) -> None:
        while (unit := self.ingress.poll()) is not None:
            self._push(unit, now)

    def _push(self, unit: MediaUnit | Drop | None, now: int, waited: bool = False) -> None:
        if unit is None:
            return
        if isinstance(unit, Drop):
            self.quarantined += 1  # of pictures that are decoded: no other depends on it
            return
        if self._arrivals is not None:
            ref = truth_of(unit.payload)
            if ref != IDLE:
                if unit.kind is AUDIO and unit.payload.pts_ns is not None:
                    # What the provider calls this content, against ours: a request names its own.
                    self.pts_minus_content_ns = unit.pts_ns - unit.payload.pts_ns
                if unit.kind is AUDIO:
                    self._arrivals.sound(ref, now)
                else:
                    self._arrivals.picture(ref, now, waited=waited)
        self.driver.push(unit, now)


def drift_error_ppm(ingress: Ingress, host: Host, true_ppm: float) -> float | None:
    """|what the ingress believes of its sender's clock - the truth|; None: it does not know yet."""
    found_ppm = ingress.drift_ppm(host.now_ns())
    return None if found_ppm is None else abs(float(found_ppm) - true_ppm)
