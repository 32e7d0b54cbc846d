"""Output: where an engine's answers become facts: RTP on the wire, truth in a log, observations.

The sink does what it is told, when it can: it may be slow by a constant (a device), and it may lie
about it (``sim.run.sinks``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from avsync.monitor.watch import Watch
from avsync.types import (
    AUDIO,
    VIDEO,
    Alert,
    Answer,
    Degrade,
    Drop,
    Heard,
    InsertSilence,
    Kind,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Repeat,
    Request,
)
from avsync.units import ms, stretched_ns
from sim.packets import IDLE, PictureFrame, SoundPacket
from sim.run.host import Host
from sim.run.leg import RtpSender, idle_picture_bytes
from sim.run.sinks import Sink
from sim.source.generator import Made
from sim.truth.truth import PresentationLog

SILENCE_BYTES: Final = 12  # Opus codes digital silence in a handful of bytes
FRAME_NS: Final = ms(40)
STAMP_STEP_NS: Final = ms(1)  # pictures that are closer could share one RTP tick
Doable = Present | InsertSilence | Repeat | Degrade
ALERTS_KEPT: Final = 10_000
_TRUTHFUL: Final = (Made, SoundPacket, PictureFrame)
# Looking a member up in its Enum takes 50 ns, a NamedTuple's own constructor 120 ns more than this.
_CONTENT: Final = Heard.CONTENT
_PASSING: Final = Heard.PASSING
_LATE: Final = Reason.LATE
_SIM: Final = ObservedBy.SIM
_new: Final = tuple.__new__


class AnswerCounts:
    """What every output counts, whatever it does with it."""

    def __init__(self, monitor: Watch) -> None:
        self.monitor = monitor
        self.alerts: list[Alert] = []
        self.drops: dict[str, int] = {}
        self.late_pictures = 0
        self.requests: list[Request] = []
        self.violations = 0
        self._last_stamp = [-1, -1]  # of sound, of pictures

    def note(self, answer: Answer) -> None:
        """Counters only; the monitor's offsets never come from here."""
        self.monitor.count(answer)
        kind = type(answer)
        if kind is Drop:
            reason = answer.reason.value  # type: ignore[union-attr]
            self.drops[reason] = self.drops.get(reason, 0) + 1
        elif kind is Alert and len(self.alerts) < ALERTS_KEPT:
            self.alerts.append(answer)  # type: ignore[arg-type]

    def check_stamp(self, kind: Kind, stamp_ns: int) -> None:
        index = kind is VIDEO
        if stamp_ns <= self._last_stamp[index]:
            self.violations += 1
        self._last_stamp[index] = stamp_ns


class Cutter:
    """Cuts sound into whole packets: an encoder takes 20 ms, whatever the rate correction made of a unit.

    Shorter units come in packets of 10 ms: at 22,050 Hz one of 220 samples lasts 9.98 ms, which no encoder takes.

    Output time is tiled by the engine's answers; packets follow each other on it without a gap as
    long as something is sent, and begin anew where nothing was.
    """

    __slots__ = ("next_ns", "slot_ns")

    def __init__(self, slot_ns: int = ms(20)) -> None:
        self.slot_ns = slot_ns
        self.next_ns = -1

    def length_ns(self, duration_ns: int) -> int:
        """How long the packets are that a unit of this length goes into."""
        slot_ns = self.slot_ns
        return slot_ns if duration_ns > slot_ns * 3 // 4 else slot_ns // 2

    def packets(self, stamp_ns: int, lasts_ns: int, duration_ns: int) -> list[tuple[int, int]]:
        """(stamp, position in the unit) of each packet that begins inside [stamp, stamp + lasts)."""
        slot = self.length_ns(duration_ns)
        cut = self.next_ns if self.next_ns > stamp_ns else stamp_ns  # behind: nothing was sent meanwhile
        end = stamp_ns + lasts_ns
        cuts = []
        while cut < end:
            cuts.append((cut, (cut - stamp_ns) * duration_ns // lasts_ns))
            cut += slot
        self.next_ns = cut
        return cuts


class RtpOutput(AnswerCounts):
    """The output of a sender or a bridge: it encodes, stamps and sends."""

    def __init__(
        self,
        host: Host,
        sender: RtpSender,
        presented: PresentationLog,
        monitor: Watch,
        *,
        on_request: Callable[[Request], None],
        video_kbps: float,
        sink: Sink,
        viewer: Watch,
    ) -> None:
        super().__init__(monitor)
        self._viewer = viewer
        self._host, self._sender, self._presented = host, sender, presented
        self._on_request = on_request
        self._video_kbps = video_kbps
        self._sink = sink
        self._epoch = -1
        self._key_wanted = True
        self._idle = True
        self._was_idle = False
        self._cutter = Cutter()
        self._now_ns = 0

    def note(self, answer: Answer) -> None:
        super().note(answer)
        if isinstance(answer, Alert):
            self._viewer.count(answer)  # both monitors are ours

    def want_key(self) -> None:
        """A viewer asked for a key frame: the next picture is one."""
        self._key_wanted = True

    def obey(self, answer: Answer, now_ns: int) -> None:
        self._now_ns = now_ns
        sink = self._sink
        if isinstance(answer, Present):
            if answer.reason is _LATE:
                self.late_pictures += 1
                self.note(answer)
            late_ns = sink.sound_late_ns if answer.unit.kind is AUDIO else sink.picture_late_ns
        elif isinstance(answer, InsertSilence):
            late_ns = sink.sound_late_ns
        else:
            self.note(answer)
            late_ns = sink.picture_late_ns
            if isinstance(answer, Request):
                self.requests.append(answer)
                self._on_request(answer)
                return
            if not isinstance(answer, Repeat | Degrade):
                return
        if late_ns:  # later by a constant: what one device does stays in its order
            self._host.env.after(late_ns, self._do_late, (answer, answer.at_ns + late_ns))
        else:
            self._do(answer, answer.at_ns)

    def _do_late(self, later: tuple[Doable, int]) -> None:
        self._now_ns = self._host.now_ns()
        self._do(*later)

    def _do(self, answer: Doable, at_ns: int) -> None:
        """What the sink was told happens at ``at_ns``."""
        if isinstance(answer, Present):
            if answer.unit.kind is AUDIO:
                self._sound(answer, at_ns)
            else:
                self._picture(answer, at_ns)
        elif isinstance(answer, InsertSilence):
            self._silence(answer, at_ns)
        elif isinstance(answer, Repeat):
            self._repeat(answer, at_ns)
        else:
            self._degrade(answer, at_ns)

    def _observe(self, kind: Kind, epoch: int, pts_ns: int | None, duration_ns: int, at_ns: int, what: Heard) -> None:
        at_ns += self._sink.sound_lie_ns if kind is AUDIO else self._sink.picture_lie_ns
        presented = _new(Presented, (kind, epoch, pts_ns, duration_ns, at_ns, _SIM, what))
        self.monitor.observe(presented, self._now_ns)

    def _sound(self, answer: Present, at: int) -> None:
        unit, _, stamp, _, _, stretch = answer
        _, _, epoch, pts, duration, size, _, _, pause, payload = unit
        lasts = stretched_ns(duration, stretch) if stretch else duration
        if stamp <= self._last_stamp[0]:
            self.violations += 1
        self._last_stamp[0] = stamp
        ref = payload.ref if type(payload) is Made else truth_of(payload)
        if ref != IDLE:
            self._presented.heard(at, lasts, ref, 0, duration)
        cutter = self._cutter
        length = cutter.length_ns(duration)
        if cutter.next_ns <= stamp and lasts <= length:  # as ever: one packet
            cutter.next_ns = stamp + length
            self._sender.sound(stamp, length, size, epoch, pts, ref, pause)
        else:
            for cut, begins in cutter.packets(stamp, lasts, duration):
                self._sender.sound(cut, length, size, epoch, pts + begins, ref, pause, begins)
        seen = (AUDIO, epoch, pts, lasts, at + self._sink.sound_lie_ns, _SIM, _PASSING if pause else _CONTENT)
        self.monitor.observe(_new(Presented, seen), self._now_ns)

    def _silence(self, answer: InsertSilence, at: int) -> None:
        reason = answer.reason
        if reason is Reason.PAUSE:
            what = Heard.PASSING  # DTX: nothing is sent
        else:
            what = Heard.PASSING if reason is Reason.LOSS else Heard.STOPPED
            if reason is Reason.IDLE or reason is Reason.WAITING:
                what = Heard.IDLE
            self.note(answer)
            if answer.duration_ns <= FRAME_NS:  # longer: the host slept, so nothing was sent
                self.check_stamp(AUDIO, answer.stamp_ns)
                epoch = -1 if what is Heard.IDLE else answer.epoch  # -1: whoever looks it up knows: no turn was on
                for cut, _ in self._cutter.packets(answer.stamp_ns, answer.duration_ns, answer.duration_ns):
                    self._sender.sound(cut, answer.duration_ns, SILENCE_BYTES, epoch, None, IDLE)
        if what is not Heard.IDLE or not self._was_idle:
            self._observe(AUDIO, max(answer.epoch, 0), None, answer.duration_ns, at, what)
        self._was_idle = what is Heard.IDLE

    def _picture(self, answer: Present, at: int) -> None:
        unit, _, stamp, _, _, _ = answer
        _, _, epoch, pts, duration, size, is_key, droppable, _, payload = unit
        self.check_stamp(VIDEO, stamp)
        # Raw frames are coded here: a key frame for each new turn and when asked for. Coded ones stay as they are.
        if droppable:
            is_key = self._key_wanted or epoch != self._epoch
        self._key_wanted, self._epoch, self._idle = False, epoch, False
        ref = payload.ref if type(payload) is Made else truth_of(payload)
        self._presented.shown(at, ref)
        self._sender.picture(stamp, duration, size, epoch, pts, ref, is_key=is_key)
        self._observe(VIDEO, epoch, pts, duration, at, _CONTENT)

    def _repeat(self, answer: Repeat, at: int) -> None:
        unit = answer.unit
        self.check_stamp(VIDEO, answer.stamp_ns)
        size = idle_picture_bytes(unit.duration_ns, self._video_kbps)
        ref = IDLE if self._idle else truth_of(unit.payload)
        self._presented.shown(at, ref)
        pts = None if self._idle else unit.pts_ns
        self._sender.picture(
            answer.stamp_ns, unit.duration_ns, size, unit.epoch, pts, ref, is_key=self._key_wanted, repeat=True
        )
        self._key_wanted = False
        what = Heard.IDLE if self._idle else Heard.REPEAT
        self._observe(VIDEO, unit.epoch, pts, unit.duration_ns, at, what)

    def _degrade(self, answer: Degrade, at: int) -> None:
        if answer.level < 2:
            return
        self._idle = True
        self._presented.shown(at, IDLE)
        self._observe(VIDEO, max(answer.epoch, 0), None, FRAME_NS, at, Heard.IDLE)
        if answer.reason is Reason.INTERRUPTED and self._last_stamp[1] + STAMP_STEP_NS <= at:
            self.check_stamp(VIDEO, at)
            size = idle_picture_bytes(FRAME_NS, self._video_kbps)
            self._sender.picture(at, FRAME_NS, size, answer.epoch, None, IDLE, is_key=False)


def truth_of(payload: object) -> int:
    """The reference into the source's log, whatever the unit travelled in."""
    if isinstance(payload, _TRUTHFUL):
        return payload.ref
    raise TypeError(f"a unit of the lab carries its truth, got {type(payload).__name__}")
