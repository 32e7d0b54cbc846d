"""The browser's picture buffer: which frame is decoded, when it is on screen, when a key frame is asked for.

Whole frames go in; ``PresentationWriter.shown`` says which picture came on screen when. A frame waits for what
it depends on, then for its render time: the usual completion time of its stamp plus a delay that
only grows by observed lateness. A frame whose time is over is skipped if a newer one can be decoded
without it; in a plain chain that is only a key frame, so late frames are shown late, one after
the other. Filters live in ``browser_timing``; simplifications stand in docs/browser_model.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from avsync.types import VIDEO, Heard, ObservedBy, Presented
from avsync.units import FAR_NS, NS_PER_S, ms, seconds
from sim.browser.presentation import Observe, PresentationWriter
from sim.browser.render_time import PictureClock, PictureJitter, variation_ms
from sim.packets import PictureFrame

# Origin of the numbers: libwebrtc, the file named beside each.
RENDER_NS: Final = ms(10)  # modules/video_coding/timing/timing.h, kDefaultRenderDelay
MAX_DELAY_NS: Final = seconds(10)  # timing.h, frame_helpers.cc: beyond it everything is reset
SKIP_LATE_NS: Final = ms(5)  # video/frame_decode_timing.h, kMaxAllowedFrameDelay
NOT_LATE_NS: Final = -ms(0.5)  # timing.cc: lateness in whole ms, rounded
KEY_WAIT_NS: Final = ms(200)  # video/video_receive_stream2.h
FRAME_WAIT_NS: Final = ms(3_000)  # video/video_receive_stream2.h: nothing decodable for so long, ask for a key frame
ACTIVE_NS: Final = seconds(5)  # video/video_receive_stream2.cc: who sends nothing is asked for nothing
ASK_SPACING_NS: Final = ms(300)  # video/encoder_rtcp_feedback.cc: a sender ignores the second request
MAX_FRAMES: Final = 800  # video/video_stream_buffer_controller.cc
IGNORED_DECODES: Final = 5  # timing/decode_time_percentile_filter.cc
DECODE_NS: Final = ms(1)
"""Ours: Chromium needs 0.8 ms for 640x360 of VP8. libwebrtc takes the p95 of the last 10 s; here it is constant."""
KEPT_SHOWN: Final = 130
"""What a page keeps between two reports (avsync/webrtc/static/viewer.js)."""
FREEZE_FACTOR: Final = 3
FREEZE_MIN_NS: Final = ms(150)
FREEZE_FRAMES: Final = 30
"""A freeze: no new picture for max(3 x average, average + 150 ms); webrtc-stats, freezeCount."""

Ask = Callable[[str, tuple[int, ...], int], None]


class PictureBuffer:
    """``insert`` whole frames, ``advance`` to have everything due decoded and shown.

    ``target_ns`` is ``RTCRtpReceiver.jitterBufferTarget``. ``display_hz`` 0: a screen that shows at once.
    ``screen_ns`` comes between a frame's render time and the eye; nothing in here knows of it.
    """

    def __init__(
        self,
        presented: PresentationWriter,
        observe: Observe | None,
        ask: Ask | None,
        *,
        target_ns: int = 0,
        display_hz: int = 0,
        screen_ns: int = 0,
        rtt_ns: int = 0,
    ) -> None:
        self._shown, self._observe, self._ask = presented.shown, observe, ask
        self._base_ns, self._sync_ns = target_ns, 0
        self._display_hz, self._screen_ns = display_hz, screen_ns
        self._clock, self._jitter = PictureClock(), PictureJitter(rtt_ns)
        # VCMTiming: the delay in force, what jitter asks for, what somebody asked for.
        self._current_ns = self._jitter_ns = 0
        self._floor_ns = target_ns
        self._decoded, self._decode_ns = 0, 0
        self._last_released: tuple[int, int] | None = None  # (stamp, received_ns)
        # The frame buffer: number -> (frame, stamp, received_ns).
        self._frames: dict[int, tuple[PictureFrame, int, int]] = {}
        self._keys: deque[int] = deque()  # their numbers, growing
        self._next: int | None = None  # the number that can be decoded now; None: only a key frame can
        self._past = -1  # this number and all before it are of no use any more
        self._key_required = True
        self._stamp: int | None = None
        # What is under way.
        self._chosen: int | None = None
        self._render_ns = 0
        self._act_ns = FAR_NS  # when the chosen frame is decoded, or the decoder is free again
        self._free_ns = 0
        self._deadline_ns = FAR_NS
        self._asked_ns = -FAR_NS
        self._shows: deque[tuple[int, int, PictureFrame]] = deque()  # (on screen, due, frame)
        self._average_ns = 0
        self._shown_ns: int | None = None
        self.received: tuple[int, int] | None = None  # (rtp, at_ns) of the last frame not sent again
        self.showing: tuple[int, int] | None = None  # (rtp, when the browser believes that it is shown)
        self.shown: deque[tuple[int, int]] = deque(maxlen=KEPT_SHOWN)  # (rtp, on screen) of the last ones
        self.late = self.dropped = self.freezes = self.resets = self.key_requests = 0

    @property
    def delay_ns(self) -> int:
        """The delay now in force between a frame's usual completion and the screen."""
        delay_ns = self._current_ns if self._current_ns > self._floor_ns else self._floor_ns
        return delay_ns if delay_ns < MAX_DELAY_NS else MAX_DELAY_NS

    @property
    def target_ns(self) -> int:
        """``TargetVideoDelay``: what the sync loop takes for the picture's delay."""
        wanted_ns = self._jitter_ns + self._decode_ns + RENDER_NS
        return wanted_ns if wanted_ns > self._floor_ns else self._floor_ns

    @property
    def next_ns(self) -> int:
        """When the screen changes next, as far as is known, or a key frame is to be asked for."""
        if self._shows:
            at_ns = self._shows[0][0]
        elif self._chosen is not None:
            at_ns = self._act_ns + DECODE_NS
            at_ns = self._on_screen_ns(at_ns if at_ns > self._render_ns else self._render_ns)
        else:
            at_ns = self._act_ns if self._frames else FAR_NS
        return at_ns if at_ns < self._deadline_ns else self._deadline_ns

    def set_minimum_ms(self, minimum_ms: int) -> None:
        """The sync loop's wish; the larger of it and ``target_ns`` counts."""
        self._sync_ns = ms(minimum_ms)
        self._floor_ns = max(self._base_ns, self._sync_ns)

    def set_target_ns(self, target_ns: int) -> None:
        """The page sets ``jitterBufferTarget`` anew."""
        self._base_ns = target_ns
        self._floor_ns = max(self._base_ns, self._sync_ns)

    def insert(self, frame: PictureFrame, now_ns: int) -> None:
        """A frame is complete: all its packets are here, perhaps after some were sent again."""
        if self._act_ns <= now_ns or self._deadline_ns <= now_ns or (self._shows and self._shows[0][0] <= now_ns):
            self.advance(now_ns)
        rtp, number = frame.rtp, frame.number
        last = self._stamp
        stamp = rtp if last is None else last + ((rtp - last + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        self._stamp = stamp
        if not frame.retransmitted:
            self.received = (rtp, now_ns)
        if last is None and not frame.is_key:
            self._request_key(now_ns)  # the first frame cannot be decoded
        if self._deadline_ns == FAR_NS:
            self._deadline_ns = now_ns + (KEY_WAIT_NS if self._key_required else FRAME_WAIT_NS)
        if number <= self._past or number in self._frames:
            self.dropped += 1
            return
        if len(self._frames) >= MAX_FRAMES:
            if not frame.is_key:
                self.dropped += 1
                return
            self._drop_before(number)
        self._frames[number] = (frame, stamp, now_ns)
        if frame.is_key:
            self._add_key(number)
        if not frame.retransmitted:
            self._clock.update(stamp, now_ns)
        self._choose(now_ns)

    def advance(self, now_ns: int) -> None:
        while True:
            if self._act_ns <= self._deadline_ns:
                at_ns = self._act_ns
                if at_ns > now_ns:
                    break
                if self._chosen is not None:
                    self._release(self._chosen, at_ns)
                else:
                    self._choose(at_ns)
            else:
                if self._deadline_ns > now_ns:
                    break
                self._time_out(self._deadline_ns)
        shows = self._shows
        while shows and shows[0][0] <= now_ns:
            self._show(*shows.popleft())

    # Which frame is next, and when.

    def _choose(self, now_ns: int) -> None:
        """The next decodable frame gets its time; frames that have missed theirs are skipped where they can be."""
        if now_ns < self._free_ns:
            self._chosen, self._act_ns = None, self._free_ns
            return
        frames = self._frames
        while True:
            number = self._next
            if number is None or number not in frames:
                number = self._keys[0] if self._keys else None
            if number is None:
                self._chosen, self._act_ns = None, FAR_NS
                return
            if number == self._chosen:
                return
            frame, stamp, _ = frames[number]
            render_ns = self._render_time_ns(stamp, now_ns)
            if self._key_required:
                wait_ns = 0
            else:
                wait_ns = render_ns - now_ns - self._decode_ns - RENDER_NS
                if wait_ns <= -SKIP_LATE_NS:
                    if self._can_skip(number, frame):
                        self._drop_before(number + 1)
                        self._next = number + 1 if frame.droppable else None
                        continue
                    self.late += 1
            self._chosen, self._render_ns = number, render_ns
            self._act_ns = now_ns + min(max(wait_ns, 0), FRAME_WAIT_NS)
            return

    def _can_skip(self, number: int, frame: PictureFrame) -> bool:
        """Whether a newer frame can be decoded although this one was not."""
        return (frame.droppable and number + 1 in self._frames) or (bool(self._keys) and self._keys[-1] > number)

    def _render_time_ns(self, stamp: int, now_ns: int) -> int:
        local_ns = self._clock.local_ns(stamp)
        return now_ns if local_ns is None else local_ns + self.delay_ns

    def _release(self, number: int, now_ns: int) -> None:
        """A frame goes to the decoder: only now does its lateness count."""
        frame, stamp, received_ns = self._frames[number]
        render_ns = self._render_ns
        if number != self._next:  # a key frame: the gap before it does not matter any more
            self._drop_before(number)
        del self._frames[number]
        if frame.is_key:
            self._keys.popleft()
        self._past, self._next, self._key_required = number, number + 1, False
        if abs(render_ns - now_ns) > MAX_DELAY_NS or self.target_ns > MAX_DELAY_NS:
            render_ns = self._start_over(now_ns)
        if frame.retransmitted:
            self._jitter.nacked(now_ns)
        else:
            self._learn(stamp, received_ns, frame.size_bytes, render_ns, now_ns)
        self._decoded += 1
        if self._decoded > IGNORED_DECODES:
            self._decode_ns = DECODE_NS
        self._free_ns = now_ns + DECODE_NS
        self._deadline_ns = now_ns + FRAME_WAIT_NS
        self._chosen, self._act_ns = None, self._free_ns if self._frames else FAR_NS
        self._put_on_screen(frame, max(render_ns, self._free_ns))

    def _learn(self, stamp: int, received_ns: int, size: int, render_ns: int, now_ns: int) -> None:
        """VCMTiming: the delay in force grows by lateness, never beyond the target, and never shrinks below it."""
        jitter, last = self._jitter, self._last_released
        if last is None or stamp > last[0]:
            jitter.update(0.0 if last is None else variation_ms(stamp, received_ns, *last), size, now_ns)
            self._last_released = stamp, received_ns
        jitter_ns = jitter.estimate_ns(now_ns)
        if jitter_ns != self._jitter_ns:
            self._jitter_ns = jitter_ns
            if not self._current_ns:
                self._current_ns = jitter_ns
        late_ns = now_ns - render_ns + self._decode_ns + RENDER_NS
        if late_ns > NOT_LATE_NS:
            target_ns = self.target_ns
            current_ns = self._current_ns + late_ns
            self._current_ns = current_ns if current_ns < target_ns else target_ns

    def _start_over(self, now_ns: int) -> int:
        """Bad timing: forget all. As in VCMTiming::Reset, even the minimum delay, until somebody sets one again."""
        self.resets += 1
        self._jitter.reset()
        self._clock.reset(now_ns)
        self._current_ns = self._jitter_ns = self._floor_ns = self._decoded = self._decode_ns = 0
        return now_ns

    def _drop_before(self, number: int) -> None:
        self._past = max(self._past, number - 1)
        frames, keys = self._frames, self._keys
        for old in [key for key in frames if key < number]:
            del frames[old]
            self.dropped += 1
        while keys and keys[0] < number:
            keys.popleft()

    def _add_key(self, number: int) -> None:
        keys = self._keys
        keys.append(number)
        if len(keys) > 1 and keys[-2] > number:
            self._keys = deque(sorted(keys))

    # Key frames.

    def _time_out(self, now_ns: int) -> None:
        """Nothing could be decoded for too long."""
        if self.received is None or now_ns - self.received[1] >= ACTIVE_NS:
            self._deadline_ns = FAR_NS
            return
        self._request_key(now_ns)
        self._deadline_ns = now_ns + (KEY_WAIT_NS if self._key_required else FRAME_WAIT_NS)

    def _request_key(self, now_ns: int) -> None:
        if now_ns - self._asked_ns >= ASK_SPACING_NS:
            self._asked_ns = now_ns
            self.key_requests += 1
            if self._ask is not None:
                self._ask("keyframe", (), now_ns)

    # The screen.

    def _on_screen_ns(self, at_ns: int) -> int:
        hz = self._display_hz
        at_ns += self._screen_ns
        return at_ns if not hz else -(-at_ns * hz // NS_PER_S) * NS_PER_S // hz

    def _put_on_screen(self, frame: PictureFrame, due_ns: int) -> None:
        shows, at_ns = self._shows, self._on_screen_ns(due_ns)
        while shows and shows[-1][0] >= at_ns:  # the newer one wins its refresh
            shows.pop()
            self.dropped += 1
        shows.append((at_ns, due_ns, frame))

    def _show(self, at_ns: int, due_ns: int, frame: PictureFrame) -> None:
        self._count_freeze(at_ns)
        self.showing = (frame.rtp, due_ns)
        self.shown.append((frame.rtp, at_ns))
        self._shown(at_ns, frame.ref)
        if self._observe is not None:
            _, _, _, _, epoch, pts_ns, duration_ns, _, _, _, _, repeat, _ = frame
            if pts_ns is None:
                what = Heard.IDLE
            else:
                what = Heard.REPEAT if repeat else Heard.CONTENT
            self._observe(Presented(VIDEO, epoch, pts_ns, duration_ns, at_ns, ObservedBy.RVFC, what))

    def _count_freeze(self, at_ns: int) -> None:
        if self._shown_ns is not None:
            gap_ns, average_ns = at_ns - self._shown_ns, self._average_ns
            if average_ns and gap_ns > max(FREEZE_FACTOR * average_ns, average_ns + FREEZE_MIN_NS):
                self.freezes += 1
            self._average_ns = average_ns + (gap_ns - average_ns) // FREEZE_FRAMES if average_ns else gap_ns
        self._shown_ns = at_ns
