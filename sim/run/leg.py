"""RtpLeg: one direction of one connection: RTP out of one host, over a link, into the next.

``RtpSender`` does the header arithmetic (16-bit sequence, 32-bit stamps, both wrap) and sends a
report a second, each naming the sender's clock and RTP time of the same instant. ``RtpLeg`` carries
packets over a ``Link``; lost packets of a picture are asked for again (NACK), lost sound is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import NS_PER_S, ms, ns_to_ticks, seconds, ticks_to_ns
from sim.network.link import Link
from sim.packets import MTU_BYTES, PICTURE_RTP_HZ, SOUND_RTP_HZ, PictureFrame, SenderReport, SoundPacket
from sim.rng import substream
from sim.run.host import Host
from sim.scenario.network import RtpStart
from sim.virtual_time import VirtualTime

REPORT_EVERY_NS: Final = seconds(1)
REPORT_BYTES: Final = 80
MESSAGE_BYTES: Final = 120
MESSAGE_AGAIN_NS: Final = ms(200)  # TCP's shortest wait on most systems (RFC 6298 has a second, SCTP too)
HEADER_BYTES: Final = 40  # IP, UDP, RTP, SRTP tag
RESEND_TIMES: Final = 3
RESEND_WAIT_NS: Final = ms(10)  # libwebrtc's NACK module sends its list every 20 ms: 10 on average
NTP_EPOCH_NS: Final = seconds(3_970_000_000)  # some time in 2025; only differences matter
HIDDEN_GAP_NS: Final = ms(400)
KEPT_PICTURES: Final = 1_024
"""What a viewer tells of a picture is told a few seconds later at most."""

_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class Receiver(Protocol):
    """Whoever sits at the end of a leg. All times are true time; the receiver knows its own clock."""

    def on_sound(self, packet: SoundPacket) -> None: ...
    def on_picture(self, frame: PictureFrame) -> None: ...
    def on_report(self, report: SenderReport) -> None: ...


class RtpLeg:
    """Carries what an ``RtpSender`` sends to a ``Receiver`` (``to``), through one bottleneck for all of it."""

    __slots__ = ("_env", "_on_picture", "_on_report", "_on_sound", "link", "lost_sounds", "resent_packets")

    def __init__(self, env: VirtualTime, link: Link) -> None:
        self._env, self.link = env, link
        self.lost_sounds = 0
        self.resent_packets = 0

    def to(self, receiver: Receiver) -> None:
        self._on_sound, self._on_picture = receiver.on_sound, receiver.on_picture
        self._on_report = receiver.on_report

    def sound(self, packet: SoundPacket) -> None:
        env = self._env
        now = env.now
        arrivals = self.link.send(packet.size_bytes + HEADER_BYTES, now, AUDIO)
        if not arrivals:
            self.lost_sounds += 1
        for at in arrivals:
            env.after(at - now, self._on_sound, packet)

    def picture(self, frame: PictureFrame) -> None:
        now = self._env.now
        fate = self.link.send_frame(frame.packets, frame.size_bytes + HEADER_BYTES * frame.packets, now)
        if fate.lost:
            seen = fate.first_ns if fate.first_ns is not None else now + HIDDEN_GAP_NS // 4
            self._ask_again(frame, len(fate.lost), fate.last_ns or 0, 2 * (seen - now), RESEND_TIMES)
        else:
            assert fate.last_ns is not None
            self._env.after(fate.last_ns - now, self._on_picture, frame)

    def report(self, report: SenderReport, later_ns: int = 0) -> None:
        now = self._env.now
        for at in self.link.send(REPORT_BYTES, now, report.kind):
            self._env.after(at - now + later_ns, self._on_report, report)

    def message(self, deliver: Callable[[Any], None], message: Any) -> None:
        """A data channel's: it comes, but for what is lost it is sent again."""
        env = self._env
        arrivals = self.link.send(MESSAGE_BYTES, env.now, AUDIO)
        if arrivals:
            env.after(arrivals[0] - env.now, deliver, message)
        else:
            env.after(MESSAGE_AGAIN_NS, lambda _nothing: self.message(deliver, message))

    def _ask_again(self, frame: PictureFrame, lost: int, last_ns: int, rtt_ns: int, tries: int) -> None:
        """The receiver misses packets: its NACK reaches us an RTT after they were sent."""
        wait = rtt_ns + RESEND_WAIT_NS

        def resend(_nothing: None) -> None:
            now = self._env.now
            self.resent_packets += lost
            size = min(MTU_BYTES, frame.size_bytes) + HEADER_BYTES
            fates = [self.link.send(size, now, VIDEO) for _ in range(lost)]
            latest = max([last_ns, *(at for fate in fates for at in fate[:1])])
            still = sum(1 for fate in fates if not fate)
            if not still:
                again = frame._replace(retransmitted=True)
                self._env.after(max(latest - now, 0), self._on_picture, again)
            elif tries > 1:
                self._ask_again(frame, still, latest, rtt_ns, tries - 1)

        self._env.after(wait, resend)


class RtpSender:
    """Stamps and sends. ``stamp_ns`` is output time of this host; reports announce the same clock.

    ``violations`` counts stamps that did not increase within their stream: RTP order is strict per
    frame in sending order.
    """

    def __init__(
        self,
        host: Host,
        leg: RtpLeg,
        *,
        seed: int,
        name: str,
        start: RtpStart,
        reports: bool,
        label_ppm: tuple[int, int] = (0, 0),
    ) -> None:
        draws = substream(seed, f"{name}.rtp")
        given = (start.audio_rtp, start.video_rtp)
        chance, first_seq = [draws.below(1 << 32) for _ in given], draws.below(1 << 16)  # drawn, even if not used
        self._base = [ours if value is None else value for value, ours in zip(given, chance, strict=True)]
        first_seq = first_seq if start.seq is None else start.seq
        self._seq = [first_seq, first_seq]
        self._host, self._leg = host, leg
        self._label_ppm = label_ppm
        self._last_ticks = [-1, -1]
        self._pictures: deque[tuple[int, int, int]] = deque(maxlen=KEPT_PICTURES)  # RTP time, stamp, when it left
        self._number = 0
        self.violations = 0
        self.ntp_offset_ns = NTP_EPOCH_NS
        self.report_fault: dict[Kind, tuple[str, int]] = {}
        self.started = False
        if reports:
            host.env.after(draws.between_ns(ms(100), ms(900)), self._reports)

    def sound(
        self,
        stamp_ns: int,
        duration_ns: int,
        size_bytes: int,
        epoch: int,
        pts_ns: int | None,
        ref: int,
        pause: bool = False,
        from_ns: int = 0,
    ) -> None:
        rtp = self._stamp(0, stamp_ns, SOUND_RTP_HZ)
        seq = self._seq[0]
        self._seq[0] = (seq + 1) & 0xFFFF
        self._leg.sound(
            _new(SoundPacket, (seq, rtp, duration_ns, size_bytes, epoch, pts_ns, ref, pause, False, from_ns))
        )

    def picture(
        self,
        stamp_ns: int,
        duration_ns: int,
        size_bytes: int,
        epoch: int,
        pts_ns: int | None,
        ref: int,
        *,
        is_key: bool,
        droppable: bool = False,
        repeat: bool = False,
    ) -> None:
        rtp = self._stamp(1, stamp_ns, PICTURE_RTP_HZ)
        self._pictures.append((rtp, stamp_ns, self._host.now_ns()))
        packets = -(-size_bytes // MTU_BYTES) or 1
        seq = self._seq[1]
        self._seq[1] = (seq + packets) & 0xFFFF
        self._number = number = self._number + 1
        self._leg.picture(_new(PictureFrame, (
            seq, rtp, packets, size_bytes, epoch, pts_ns, duration_ns, ref, is_key, droppable, number, repeat, False,
        )))  # fmt: skip

    def sent_pictures(self, rtps: Iterable[int]) -> list[tuple[int, int | None] | None]:
        """Of pictures by their RTP times: (stamp, from when on the next one could be shown); None: forgotten."""
        pictures = list(self._pictures)
        places = {rtp: place for place, (rtp, _, _) in enumerate(pictures)}
        found: list[tuple[int, int | None] | None] = []
        for rtp in rtps:
            place = places.get(rtp)
            if place is None:
                found.append(None)
            elif place + 1 == len(pictures):
                found.append((pictures[place][1], None))
            else:
                _, stamp_ns, left_ns = pictures[place + 1]
                found.append((pictures[place][1], max(stamp_ns, left_ns)))
        return found

    def sound_stamp_ns(self, rtp: int) -> int:
        """Output time of a packet that left of late, by its RTP time."""
        newest = self._last_ticks[0]
        ticks = newest + ((rtp - self._base[0] - newest + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        return ticks_to_ns(ticks, SOUND_RTP_HZ)

    def _stamp(self, kind: int, stamp_ns: int, hz: int) -> int:
        if self._label_ppm[kind]:
            ticks = self._ticks(kind, stamp_ns, hz)
        else:
            ticks = (2 * stamp_ns * hz + NS_PER_S) // (2 * NS_PER_S)  # ``ns_to_ticks``
        if ticks <= self._last_ticks[kind]:
            self.violations += 1
        self._last_ticks[kind] = ticks
        self.started = True
        return (self._base[kind] + ticks) & 0xFFFF_FFFF

    def _ticks(self, kind: int, at_ns: int, hz: int) -> int:
        ppm = self._label_ppm[kind]
        return ns_to_ticks(at_ns + at_ns * ppm // 1_000_000 if ppm else at_ns, hz)

    def last_rtp(self, kind: Kind) -> int:
        """The stamp that was sent last; before the first, one before it."""
        index = 0 if kind is AUDIO else 1
        return (self._base[index] + self._last_ticks[index]) & 0xFFFF_FFFF

    def _reports(self, _nothing: None) -> None:
        host = self._host
        host.env.after(REPORT_EVERY_NS, self._reports)
        if not self.started or host.env.now < host.asleep_until_ns:
            return
        now = host.now_ns()
        for index, (kind, hz) in enumerate(((AUDIO, SOUND_RTP_HZ), (VIDEO, PICTURE_RTP_HZ))):
            if self._last_ticks[index] < 0:
                continue
            mode, by_ns = self.report_fault.get(kind, ("", 0))
            if mode == "missing":
                continue
            rtp = (self._base[index] + self._ticks(index, now, hz)) & 0xFFFF_FFFF
            ntp = now + self.ntp_offset_ns + (by_ns if mode == "wrong" else 0)
            self._leg.report(SenderReport(kind, ntp, rtp), by_ns if mode == "late" else 0)


def idle_picture_bytes(duration_ns: int, bitrate_kbps: float) -> int:
    """A picture that hardly changes: about a tenth of a talking one."""
    return max(100, int(bitrate_kbps * duration_ns) // 80_000_000)
