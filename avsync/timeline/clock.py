"""AvSyncClock: counters in, monotonic aligned PTS out.

A generator counts samples and frames; this turns the counts into ``MediaUnit``s on one content
timeline. Promised, whatever the source does:

* PTS are strictly increasing per kind; turns, interrupts, loops and rate changes never reset them.
* Counted units tile: ``pts + duration`` is exactly the PTS of the next one, and after any number
  of units and rate changes the position is the exact total, rounded down to a nanosecond.
* A turn's sound and pictures begin at the same PTS: the later of both streams' next unstamped PTS.
* What belongs to an interrupted turn is refused; so are NaN, floats, negative or absurd counts and
  times. Refusals are counted in ``refused`` by reason and change nothing else.
"""

from __future__ import annotations

from fractions import Fraction
from operator import index
from typing import Any, NamedTuple

from avsync.errors import InputError, UsageError
from avsync.timeline.epoch import EpochGate
from avsync.timeline.opus import parse_opus
from avsync.timeline.rtp_wrap import signed
from avsync.timeline.stream_position import (
    MAX_STEP_NS,
    REBUILD_BEYOND_NS,
    RtpTime,
    StreamPosition,
    began_again,
    checked_rate,
)
from avsync.types import AUDIO, MAX_PTS_NS, VIDEO, DropReason, Kind, MediaUnit
from avsync.units import Rate, ticks_to_ns

_new = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class Seam(NamedTuple):
    """Where both streams were brought together. ``*_gap_ns``: content which that stream leaves out."""

    pts_ns: int
    audio_gap_ns: int
    video_gap_ns: int


class AvSyncClock:
    """Stamps what one generator produces. Rates are exact: ``48000``, ``Fraction(30000, 1001)``.

    Every ``stamp_*`` answers the unit, or None when it was refused (``refused``, ``last_refusal``).
    ``epoch=`` says which turn the unit was made for; left out, it is the newest. A turn begins when
    its first unit is stamped. Until then the tail of the turn before (a resampler's last samples, the
    last frames) is still accepted under its own epoch; after that it comes too late (DISCONTINUITY).
    Units of an interrupted turn are refused at once (STALE_EPOCH).

    ``gate`` may be shared: whoever interrupts it interrupts this clock.
    """

    def __init__(
        self, *, audio_rate: Rate = 48_000, video_rate: Rate | None = 25, gate: EpochGate | None = None
    ) -> None:
        self._audio = StreamPosition(AUDIO, checked_rate("audio_rate", audio_rate))
        self._video = StreamPosition(VIDEO, None if video_rate is None else checked_rate("video_rate", video_rate))
        if gate is not None and not isinstance(gate, EpochGate):
            raise UsageError(f"gate must be an EpochGate, got {gate!r}")
        self.gate = EpochGate() if gate is None else gate
        self._open = self.gate.current  # the epoch of the units stamped last
        self._start_ns = 0
        self.refused: dict[DropReason, int] = {}
        self.last_refusal = ""  # the last refusal in words
        self.last_seam = Seam(0, 0, 0)
        self.rtp_restarts = 0

    @property
    def epoch(self) -> int:
        """The newest epoch: what units get that do not say otherwise."""
        return self.gate.current

    @property
    def turn_start_ns(self) -> int:
        """Where the newest turn begins (if nothing of it is stamped yet: would begin), or its last loop."""
        if self._open == self.gate.current:
            return self._start_ns
        return max(self._audio.next_ns, self._video.next_ns)

    def next_pts_ns(self, kind: Kind) -> int:
        """The next unstamped PTS."""
        return self._stream(kind).next_ns

    def begin_turn(self) -> int:
        """A new epoch that queues behind the tail of the last. Stamp all of a turn before the next."""
        return self.gate.begin()

    def interrupt(self) -> int:
        """A new epoch; everything before it is stale. It begins at the cut; PTS do not go back."""
        return self.gate.interrupt()

    def stamp_audio(
        self, samples: int, *, epoch: int | None = None, size_bytes: int = 0, payload: Any = None, pause: bool = False
    ) -> MediaUnit | None:
        """The next ``samples`` samples (per channel) at the current rate.

        None and a counted refusal where ``samples`` is no whole number, less than 1, or more than an hour.
        """
        gate = self.gate
        wanted = gate.current if epoch is None else epoch
        if (wanted != self._open or wanted < gate.oldest) and not self._enter(wanted):
            return None
        return self._count(self._audio, samples, size_bytes, True, True, pause, payload)

    def stamp_frame(
        self,
        *,
        epoch: int | None = None,
        size_bytes: int = 0,
        is_key: bool = True,
        droppable: bool = True,
        payload: Any = None,
        duration_ns: int | None = None,
        pts_ns: int | None = None,
    ) -> MediaUnit | None:
        """The next frame at the current rate; or of its own duration; or at ``pts_ns`` after the turn's start.

        A frame with a PTS but without a duration gets the nominal one as a guess; the next may begin sooner.
        """
        gate = self.gate
        wanted = gate.current if epoch is None else epoch
        if (wanted != self._open or wanted < gate.oldest) and not self._enter(wanted):
            return None
        stream = self._video
        if duration_ns is None and pts_ns is None:
            if not stream.max_ticks:
                raise UsageError("without a video_rate every frame needs duration_ns or pts_ns")
            return self._count(stream, 1, size_bytes, is_key, droppable, False, payload)
        if pts_ns is not None and (pts_ns := self._from_start(pts_ns)) is None:
            return None
        return self._place(stream, pts_ns, duration_ns, size_bytes, is_key, droppable, False, payload)

    def stamp_packet(
        self,
        kind: Kind,
        packet: bytes | bytearray | memoryview,
        *,
        epoch: int | None = None,
        duration_ns: int | None = None,
        pts_ns: int | None = None,
        is_key: bool = True,
        droppable: bool = True,
        pause: bool = False,
    ) -> MediaUnit | None:
        """An encoded packet. Sound without a duration is Opus and says so itself; a DTX packet is a pause.

        A picture without one lasts a frame. ``pts_ns``: after the turn's start.
        """
        if not isinstance(packet, bytes | bytearray | memoryview):
            raise UsageError(f"packet must be bytes, bytearray or memoryview, got {type(packet).__name__}")
        if not self._admit(epoch):
            return None
        stream = self._stream(kind)
        if stream is self._audio and duration_ns is None:
            try:
                opus = parse_opus(packet)
            except InputError as error:
                self._refuse(DropReason.BAD_PTS, str(error))
                return None
            duration_ns, pause = opus.duration_ns, pause or opus.dtx
        elif duration_ns is None and pts_ns is None and stream.max_ticks:
            return self._count(stream, 1, len(packet), is_key, droppable, pause, packet)
        if pts_ns is not None and (pts_ns := self._from_start(pts_ns)) is None:
            return None
        return self._place(stream, pts_ns, duration_ns, len(packet), is_key, droppable, pause, packet)

    def stamp_rtp_ticks(
        self,
        kind: Kind,
        ticks: int,
        rate_hz: int,
        *,
        epoch: int | None = None,
        base_ticks: int | None = None,
        duration_ticks: int | None = None,
        size_bytes: int = 0,
        is_key: bool = True,
        droppable: bool = True,
        payload: Any = None,
        pause: bool = False,
    ) -> MediaUnit | None:
        """A whole frame or packet (all its parts share a stamp) by its RTP time, modulo 2**32.

        ``base_ticks``: the RTP time of the turn's start, read at a turn's first unit of this kind;
        left out, that unit is where the stream goes on.
        """
        if not self._admit(epoch):
            return None
        stream = self._stream(kind)
        raw = self._whole("ticks", ticks, 0, 1 << 63)
        if raw is None:
            return None
        length = None
        if duration_ticks is not None:
            length = self._whole("duration_ticks", duration_ticks, 1, 1 << 32)
            if length is None:
                return None
        rtp = stream.rtp
        if rtp is None or rtp.rate != rate_hz:
            rtp = self._rtp_anchor(stream, raw, rate_hz, base_ticks)
            if rtp is None:
                return None
            stream.rtp = rtp
        total = rtp.total + signed(raw - rtp.raw)
        pts_ns = rtp.base_ns + ticks_to_ns(total, rtp.rate)
        far = abs(pts_ns - stream.next_ns) > (REBUILD_BEYOND_NS if pts_ns < stream.next_ns else MAX_STEP_NS)
        if far and began_again(rtp, raw):
            stream.rtp = rtp = RtpTime(rtp.rate, stream.next_ns, raw)
            total, pts_ns = 0, stream.next_ns
            self.rtp_restarts += 1
        duration_ns = None
        if length is not None:
            duration_ns = rtp.base_ns + ticks_to_ns(total + length, rtp.rate) - pts_ns
        unit = self._place(stream, pts_ns, duration_ns, size_bytes, is_key, droppable, pause, payload)
        if unit is not None:
            rtp.total, rtp.raw, rtp.odd = total, raw, 0
        return unit

    def skip(self, kind: Kind, to_pts_ns: int, *, epoch: int | None = None) -> int:
        """The source jumped forward: its next unit is at ``to_pts_ns`` (absolute, as in ``Request``).

        Answers by how many ns the position moved: 0 when it is already there or beyond.
        """
        if not self._admit(epoch):
            return 0
        stream = self._stream(kind)
        target = self._whole("to_pts_ns", to_pts_ns, 0, min(MAX_PTS_NS, stream.next_ns + MAX_STEP_NS))
        if target is None or target <= stream.next_ns:
            return 0
        moved = target - stream.next_ns
        stream.move_to(Fraction(target))
        return moved

    def skip_ticks(self, kind: Kind, ticks: int, *, epoch: int | None = None) -> int:
        """The source left out this many samples or frames. Exact; answers the ns left out."""
        if not self._admit(epoch):
            return 0
        stream = self._stream(kind)
        count = self._whole("ticks", ticks, 0, stream.max_ticks)
        if not count:
            return 0
        before = stream.next_ns
        whole, rem = divmod(stream.rem + count * stream.step, stream.den)
        if before + whole > MAX_PTS_NS:
            self._refuse(DropReason.BAD_PTS, "ticks: beyond MAX_PTS_NS")
            return 0
        stream.next_ns, stream.rem = before + whole, rem
        stream.floor_ns = stream.next_ns
        return whole

    def ticks_until(self, kind: Kind, pts_ns: int) -> int:
        """How many samples or frames to leave out so that the next one is the first not before ``pts_ns``."""
        stream = self._stream(kind)
        if stream.rate is None:
            raise UsageError("without a rate there are no ticks to count")
        if type(pts_ns) is not int:
            raise UsageError(f"pts_ns must be an int of nanoseconds, got {type(pts_ns).__name__}")
        missing = (pts_ns - stream.next_ns) * stream.den - stream.rem
        return max(0, -(-missing // stream.step))

    def set_audio_rate(self, rate: Rate) -> None:
        """From the next sample on. The position goes on exactly where it is."""
        self._audio.set_rate(checked_rate("audio_rate", rate))

    def set_video_rate(self, rate: Rate | None) -> None:
        """From the next frame on; None: from now on every frame says its PTS or duration."""
        self._video.set_rate(None if rate is None else checked_rate("video_rate", rate))

    def loop_seam(self, *, epoch: int | None = None) -> Seam | None:
        """A loop ends: both streams go on at the later of the two, so that unequal lengths never add up.

        Positions given as ``pts_ns`` count from here. None when ``epoch`` is refused.
        """
        if not self._admit(epoch):
            return None
        self._align()
        return self.last_seam

    # Below: one way in (_admit), two ways to stamp (_count, _place), one way to refuse.

    def _stream(self, kind: Kind) -> StreamPosition:
        if kind is AUDIO:
            return self._audio
        if kind is not VIDEO:
            raise UsageError(f"kind must be Kind.AUDIO or Kind.VIDEO, got {kind!r}")
        return self._video

    def _admit(self, epoch: int | None) -> bool:
        wanted = self.gate.current if epoch is None else epoch
        return (wanted == self._open and wanted >= self.gate.oldest) or self._enter(wanted)

    def _enter(self, epoch: int) -> bool:
        """Another epoch than that of the last unit: refused, or its turn begins here."""
        if type(epoch) is not int or epoch > self.gate.current:
            raise UsageError("epoch must be one that begin_turn() or interrupt() answered")
        if epoch < self.gate.oldest:
            self._refuse(DropReason.STALE_EPOCH, "made for a turn that was interrupted")
        elif epoch < self._open:
            self._refuse(DropReason.DISCONTINUITY, "made for a turn after which another has begun")
        else:
            self._open = epoch
            self._align()
            return True
        return False

    def _align(self) -> None:
        audio, video = self._audio, self._video
        start = max(audio.position(), video.position())
        pts_ns = start.numerator // start.denominator
        self.last_seam = Seam(pts_ns, pts_ns - audio.next_ns, pts_ns - video.next_ns)
        for stream in (audio, video):
            stream.move_to(start)
            stream.rtp = None
        self._start_ns = pts_ns

    def _count(
        self,
        stream: StreamPosition,
        ticks: int,
        size_bytes: int,
        is_key: bool,
        droppable: bool,
        pause: bool,
        payload: Any,
    ) -> MediaUnit | None:
        if type(ticks) is not int or not 0 < ticks <= stream.max_ticks:
            whole_ticks = self._whole("count", ticks, 1, stream.max_ticks)
            if whole_ticks is None:
                return None
            ticks = whole_ticks
        pts_ns = stream.next_ns
        duration_ns, rem = divmod(stream.rem + ticks * stream.step, stream.den)
        if pts_ns + duration_ns > MAX_PTS_NS:
            self._refuse(DropReason.BAD_PTS, "beyond MAX_PTS_NS")
            return None
        seq = stream.seq
        stream.seq = seq + 1
        stream.rem = rem
        stream.last_ns = pts_ns
        stream.next_ns = stream.floor_ns = pts_ns + duration_ns
        return _new(
            MediaUnit,
            (stream.kind, seq, self._open, pts_ns, duration_ns, size_bytes, is_key, droppable, pause, payload),
        )

    def _place(
        self,
        stream: StreamPosition,
        at_ns: int | None,
        duration_ns: int | None,
        size_bytes: int,
        is_key: bool,
        droppable: bool,
        pause: bool,
        payload: Any,
    ) -> MediaUnit | None:
        """A unit that says where it is, how long it lasts, or both."""
        pts_ns, rem = (stream.next_ns, stream.rem) if at_ns is None else (at_ns, 0)
        if pts_ns < stream.floor_ns:
            reason = DropReason.DUPLICATE if pts_ns == stream.last_ns else DropReason.STAMP_ORDER
            self._refuse(reason, "pts_ns: not after the last one")
            return None
        length = (
            stream.usual_ns(pts_ns) if duration_ns is None else self._whole("duration_ns", duration_ns, 1, MAX_STEP_NS)
        )
        if length is None:
            return None
        if pts_ns - stream.next_ns > MAX_STEP_NS or pts_ns + length > MAX_PTS_NS:
            self._refuse(DropReason.BAD_PTS, "pts_ns: absurdly far ahead")
            return None
        seq = stream.seq
        stream.seq = seq + 1
        stream.last_ns = pts_ns
        stream.next_ns, stream.rem = pts_ns + length, rem
        stream.floor_ns = pts_ns + 1  # the length may be a guess: a later unit may begin before its end
        return MediaUnit(stream.kind, seq, self._open, pts_ns, length, size_bytes, is_key, droppable, pause, payload)

    def _rtp_anchor(self, stream: StreamPosition, raw: int, rate_hz: int, base_ticks: int | None) -> RtpTime | None:
        """The first unit of a turn, or the first at a new RTP clock rate."""
        rate = checked_rate("rate_hz", rate_hz)
        if type(rate) is not int:
            raise UsageError("rate_hz must be a whole number: RTP clocks are")
        old = stream.rtp
        if old is not None:
            return RtpTime(rate, old.base_ns + ticks_to_ns(old.total, old.rate), old.raw)
        if base_ticks is None:
            return RtpTime(rate, stream.next_ns, raw)
        base = self._whole("base_ticks", base_ticks, 0, 1 << 63)
        return None if base is None else RtpTime(rate, self._start_ns, base)

    def _from_start(self, pts_ns: int) -> int | None:
        offset_ns = self._whole("pts_ns", pts_ns, 0, MAX_PTS_NS)
        return None if offset_ns is None else self._start_ns + offset_ns

    def _whole(self, name: str, value: object, low: int, high: int) -> int | None:
        """A whole number within bounds (numpy's too), or None and a counted refusal."""
        try:
            if isinstance(value, bool):
                raise TypeError
            number = index(value)  # type: ignore[arg-type]
        except TypeError:
            self._refuse(DropReason.BAD_PTS, f"{name}: not a whole number")
            return None
        if low <= number <= high:
            return number
        self._refuse(DropReason.BAD_PTS, f"{name}: out of bounds")
        return None

    def _refuse(self, reason: DropReason, why: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self.last_refusal = why
