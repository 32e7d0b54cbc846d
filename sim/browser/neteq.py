"""The browser's sound buffer: NetEq's decisions, one per 10 ms, on a lab clock.

Packets go in, ``PresentationWriter.heard`` says which content left when, ``observe`` says it as the browser
knows it. Decided as libwebrtc does: a target from the p95 of relative delay, content played
faster above it and slower below it, one packet concealed for one packet lost, silence that lasts
as long as the sender's pause. What is simplified stands in docs/browser_model.md.

Lazy: nothing happens between calls; a call plays everything that was due before it. Inside, time
is counted in samples of 48 kHz (480 = one tick); a tick happens at a multiple of 10 ms.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from avsync.types import AUDIO, Heard, ObservedBy, Presented
from avsync.units import NS_PER_MS, NS_PER_S, ms
from sim.browser.neteq_delay import PER_MS, Arrivals
from sim.browser.presentation import Observe, PresentationWriter
from sim.packets import SOUND_RTP_HZ, SoundPacket

# Origin of the numbers: libwebrtc, modules/audio_coding/neteq, the file named beside each.
TICK_NS: Final = ms(10)
TICK: Final = SOUND_RTP_HZ // 100
ADJUST_MS: Final = 20  # decision_logic.cc: above target + slowest + this, play faster
FAST_FACTOR: Final = 4  # decision_logic.cc: above 4x that, at every packet
START_PAUSE_TICKS: Final = 6  # decision_logic.h: after a reset 5 ticks and this one pass before a stretch
POSTPONE_PERCENT: Final = 50  # decision_logic.cc: after silence, start again with half the target
WINDOW_MS: Final = 50  # decision_logic.cc: above target + this, a gap is jumped over
CNG_TIMEOUT_TICKS: Final = 100  # decision_logic.cc: comfort noise for 1 s, then it is concealment
MAX_PACKETS: Final = 200  # peer_connection_interface.h; one more and all are thrown away
MAX_SHARE: Final = 0.75  # delay_constraints.cc: no target above this share of the buffer
MAX_MINIMUM_MS: Final = 10_000  # delay_constraints.cc
OBSOLETE: Final = 5 * SOUND_RTP_HZ  # neteq_impl.cc: further back than this is another stream, not a late packet
LEVEL_GAINS: Final = ((20, 5 / 256), (60, 4 / 256), (140, 3 / 256))  # buffer_level_filter.cc; beyond: 2/256

STRETCH: Final = TICK // 2
STRETCH_PAUSE_TICKS: Final = 10
"""50 ms a second. In accelerate.cc one pitch period, 2.5 to 15 ms, every 60 ms at most, but only where the voice
repeats closely. Fitted to Chromium: 15 to 23 ms in the first half second, 20 to 56 ms a second later."""
FAST_STRETCH: Final = TICK
"""Four times too much is taken out of every packet, several periods of a voice that may repeat loosely."""
MUTED_TICKS: Final = 8
"""Concealment has faded below half after about 80 ms: read off expand.cc's slopes, it depends on the voice."""

# Looking a member up in its Enum takes 50 ns, a NamedTuple's own constructor 120 ns more than this.
_CONTENT: Final = Heard.CONTENT
_STOPPED: Final = Heard.STOPPED
_STATS: Final = ObservedBy.STATS
_new: Final = tuple.__new__
_NORMAL: Final = 0  # what left last: a packet, comfort noise, concealment
_NOISE: Final = 1
_EXPAND: Final = 2
_NS_PER_TICK: Final = NS_PER_S // 16_000  # samples * 62500 // 3 is exact ns
_SAMPLE_GRID: Final = SOUND_RTP_HZ // 16_000


class SoundBuffer:
    """``insert`` packets in any order, ``advance`` to have everything due played out.

    ``target_ns`` is ``RTCRtpReceiver.jitterBufferTarget``. ``device_ns`` comes between NetEq and the ear.
    """

    def __init__(
        self, presented: PresentationWriter, observe: Observe | None, *, target_ns: int = 0, device_ns: int = 0
    ) -> None:
        self._heard, self._observe, self._device_ns = presented.heard, observe, device_ns
        self._base_ms, self._minimum_ms = target_ns // ms(1), 0
        self._queue: deque[tuple[int, int, int, SoundPacket]] = deque()  # stamp, samples, tick of arrival, packet
        self._tick = -1  # the next one to happen; -1: no packet yet
        self._reset_due = True  # the next packet played starts a stream
        self._end = 0  # stamp after the last sample decoded
        self._left = 0  # decoded samples that have not left
        self._mode = _NORMAL
        self._noise = 0  # samples made up since the last packet
        self._hole_from, self._hole = 0, 0  # silence not yet observed: first sample, samples
        self._level = 0.0  # filtered samples in the queue
        self._stretch_from = 0  # no stretch before this tick
        self._length = 20 * PER_MS  # samples of the last packet
        self._stamp: int | None = None  # the last one unwrapped
        self._epoch = 0
        self._arrivals = Arrivals()
        self._retarget()
        self.received: tuple[int, int] | None = None  # (rtp, at_ns) of the last packet
        self.playing: tuple[int, int] | None = None  # (rtp, at_ns) of the last packet played
        self.concealed_samples = self.stretched_samples = self.squeezed_samples = 0
        self.concealments = self.late = self.duplicates = self.flushes = 0

    @property
    def target_ns(self) -> int:
        return self._target * ms(1) // PER_MS

    @property
    def delay_ns(self) -> int:
        """What the browser believes to hold: the filtered queue and what is decoded (``FilteredCurrentDelayMs``)."""
        return (int(self._level) + self._left) // PER_MS * ms(1) + self._device_ns

    @property
    def asked_extra_ns(self) -> int:
        """How much longer ``jitterBufferTarget`` makes it hold than it would by itself."""
        own_ms = max(self._arrivals.target_ms, self._minimum_ms)
        return max(0, self.target_ns - ms(own_ms))

    def set_target_ns(self, target_ns: int) -> None:
        """The page sets ``jitterBufferTarget`` anew."""
        self._base_ms = target_ns // ms(1)
        self._retarget()

    def set_minimum_ms(self, minimum_ms: int) -> bool:
        """The sync loop's wish. False where NetEq refuses: above 75 % of its buffer."""
        packets_ms = int(MAX_PACKETS * MAX_SHARE) * self._length // PER_MS
        if not 0 <= minimum_ms <= min(MAX_MINIMUM_MS, packets_ms):
            return False
        self._minimum_ms = minimum_ms
        self._retarget()
        return True

    def insert(self, packet: SoundPacket, now_ns: int) -> None:
        if self._tick < 0:
            self._tick = -(-now_ns // TICK_NS)
        elif self._tick <= (now_ns - 1) // TICK_NS:
            self._run((now_ns - 1) // TICK_NS)  # a packet that comes with a tick is there in time
        _, rtp, duration_ns, _, _, _, _, _, _, _ = packet
        last = self._stamp
        stamp = rtp if last is None else last + ((rtp - last + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        self._stamp = stamp
        samples = duration_ns * PER_MS // NS_PER_MS
        self.received = (rtp, now_ns)
        if samples <= 0:
            return
        queue, since = self._queue, self._tick - 1
        if len(queue) >= MAX_PACKETS:
            queue.clear()
            self._reset_due = True
            self.flushes += 1
            queue.append((stamp, samples, since, packet))
            return
        if samples != self._length:
            self._length = samples
        if not self._reset_due and 0 < self._end - stamp < OBSOLETE:
            self.late += 1
        elif not queue or stamp > queue[-1][0]:
            queue.append((stamp, samples, since, packet))
        else:
            self._insert_before((stamp, samples, since, packet))
        arrivals = self._arrivals
        before_ms = arrivals.target_ms
        arrivals.add(stamp, since * TICK)
        if arrivals.target_ms != before_ms:
            self._retarget()

    def advance(self, now_ns: int) -> None:
        """Everything that leaves before the tick after ``now_ns`` has left."""
        last = now_ns // TICK_NS
        if 0 <= self._tick <= last:
            self._run(last)

    def _insert_before(self, entry: tuple[int, int, int, SoundPacket]) -> None:
        queue = self._queue
        place = len(queue)
        while place and queue[place - 1][0] > entry[0]:
            place -= 1
        if place and queue[place - 1][0] == entry[0]:
            self.duplicates += 1
        else:
            queue.insert(place, entry)

    def _retarget(self) -> None:
        target_ms = max(self._arrivals.target_ms, self._minimum_ms, self._base_ms)
        target = min(target_ms * PER_MS, int(MAX_PACKETS * MAX_SHARE) * self._length)
        self._target = target
        self._gain = next((gain for upto_ms, gain in LEVEL_GAINS if target <= upto_ms * PER_MS), 2 / 256)

    def _run(self, last: int) -> None:
        """The ticks up to number ``last`` happen."""
        tick, queue = self._tick, self._queue
        while tick <= last:
            if self._mode == _NORMAL:
                span = queue[-1][0] + queue[-1][1] - queue[0][0] if queue else 0
                self._level += (span - self._level) * self._gain
            if self._left >= TICK:
                self._left -= TICK
            elif queue:
                self._fetch(tick)
            else:  # nothing can come before `last`
                self._conceal(tick, last - tick + 1)
                break
            tick += 1
        self._tick = last + 1
        if self._hole and self._observe is not None:
            self._observe_hole()

    def _fetch(self, tick: int) -> None:
        """Less than one tick is decoded: decode the next packet, or make something up."""
        queue = self._queue
        while not self._reset_due and 0 < self._end - queue[0][0] < OBSOLETE:  # overlaps what has been played
            queue.popleft()
            self.late += 1
            if not queue:
                self._conceal(tick, 1)
                return
        stamp, samples, _, packet = queue[0]
        out = samples
        if self._reset_due:
            self._soft_reset(tick)
        else:
            leap, mode = stamp - self._end, self._mode
            if (leap or mode) and not self._may_start(tick, leap):
                self._conceal(tick, 1)
                return
            if not leap and mode != _EXPAND and not packet.pause:
                out += self._stretch(tick, samples)
        queue.popleft()
        self._end = stamp + samples
        self._mode = _NOISE if packet.pause else _NORMAL
        self._noise = 0
        self._play(packet, tick * TICK + self._left, out)
        self._left += out - TICK
        while self._left < 0:  # packets shorter than a tick
            if not queue or queue[0][0] != self._end:
                self._conceal_samples(tick * TICK + TICK + self._left, -self._left)
                self._left = 0
                return
            _, samples, _, packet = queue.popleft()
            self._end += samples
            self._play(packet, tick * TICK + TICK + self._left, samples)
            self._left += samples

    def _may_start(self, tick: int, leap: int) -> bool:
        """After silence or before a gap: is it time for the next packet?"""
        queue, target = self._queue, self._target
        stamp, _, _, _ = queue[0]
        newest, _, since, _ = queue[-1]
        waiting = newest - stamp + (tick - since) * TICK
        faded = self._mode == _NOISE or (self._mode == _EXPAND and self._noise >= MUTED_TICKS * TICK)
        if faded and waiting * 100 < target * POSTPONE_PERCENT and not any(entry[3].pause for entry in queue):
            return False
        if not leap:
            return True
        too_early = leap < 0 or leap > self._noise
        if too_early and waiting <= target + WINDOW_MS * PER_MS:
            return False
        if self._mode == _NORMAL:
            return False  # a gap is concealed for one tick at least
        if leap != self._noise:
            self._level = float(waiting)
        return True

    def _stretch(self, tick: int, samples: int) -> int:
        """Samples to add to the next packet (< 0: to cut)."""
        arrivals = self._arrivals
        fastest = arrivals.fastest[0][1] if arrivals.fastest else None
        late = 0 if fastest is None else tick * TICK - (self._end - self._left) - fastest
        low = self._target
        high = low + ADJUST_MS * PER_MS
        if fastest is not None:
            high += arrivals.slowest[0][1] - fastest
        allowed = tick >= self._stretch_from
        if late >= high * FAST_FACTOR:
            change = -min(FAST_STRETCH, samples // 2)
            self.squeezed_samples -= change
        elif allowed and late >= high:
            change = -min(STRETCH, samples // 2)
            self.squeezed_samples -= change
        elif allowed and late < low:
            change = STRETCH
            self.stretched_samples += change
        else:
            return 0
        self._stretch_from = tick + STRETCH_PAUSE_TICKS
        self._level = max(0.0, self._level + change)
        return change

    def _soft_reset(self, tick: int) -> None:
        """A new stream, or a flushed buffer: nothing is known any more."""
        self._reset_due = False
        self._level = 0.0
        self._arrivals = Arrivals()
        self._stretch_from = tick + START_PAUSE_TICKS
        self._retarget()

    def _play(self, packet: SoundPacket, at: int, out: int) -> None:
        if self._hole and self._observe is not None:
            self._observe_hole()
        at_ns = at * _NS_PER_TICK // _SAMPLE_GRID + self._device_ns
        length_ns = (at + out) * _NS_PER_TICK // _SAMPLE_GRID + self._device_ns - at_ns
        _, rtp, duration_ns, _, epoch, pts_ns, ref, pause, _, from_ns = packet
        self._epoch = epoch
        self.playing = (rtp, at_ns)
        if ref >= 0 and not pause:
            self._heard(at_ns, length_ns, ref, from_ns, duration_ns)
        if self._observe is not None:
            if pause:
                what = Heard.PASSING
            else:
                what = _CONTENT if pts_ns is not None else _STOPPED
            self._observe(_new(Presented, (AUDIO, epoch, pts_ns, length_ns, at_ns, _STATS, what)))

    def _conceal(self, tick: int, ticks: int) -> None:
        if self._mode == _NOISE and self._noise + ticks * TICK > CNG_TIMEOUT_TICKS * TICK:
            self._mode = _EXPAND
        self._conceal_samples(tick * TICK + self._left, ticks * TICK)

    def _conceal_samples(self, at: int, samples: int) -> None:
        if self._mode != _NOISE:
            self.concealments += self._mode == _NORMAL
            self._mode = _EXPAND
            self.concealed_samples += samples
        self._noise += samples
        if not self._hole:
            self._hole_from = at
        self._hole += samples

    def _observe_hole(self) -> None:
        at_ns = self._hole_from * _NS_PER_TICK // _SAMPLE_GRID + self._device_ns
        until_ns = (self._hole_from + self._hole) * _NS_PER_TICK // _SAMPLE_GRID + self._device_ns
        self._hole = 0
        assert self._observe is not None
        self._observe(
            Presented(AUDIO, self._epoch, None, until_ns - at_ns, at_ns, ObservedBy.STATS, Heard.PASSING),
        )
