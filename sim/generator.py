"""The generator: makes sound and pictures in turns, on time or not, and writes down what is true.

Two streams run on their own: each knows the content position of its next unit and when that unit
can be ready (its own speed, never earlier than it may run ahead). Stalls, blocks, pauses, skips
and rate changes only move these two numbers. What is handed over carries a reference into the
``SourceLog``, the truth that no engine sees.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import simpy

from avsync.types import AUDIO, VIDEO, Kind, Request, Want
from avsync.units import Rate, ms, ns_to_ticks, seconds, ticks_to_ns
from sim.clip import Clip
from sim.drive import VirtualTime
from sim.packets import IDLE
from sim.rng import substream
from sim.scenario_source import MediaSource
from sim.truth import SourceLog

DTX_EVERY_NS = ms(400)  # Opus repeats its comfort noise parameters this often (RFC 6716, libopus)
DTX_BYTES = 2
KEY_FRAME_TIMES = 4  # a key frame is about this much larger than the others


class Made(NamedTuple):
    """One unit as the generator hands it over, ``since_ns`` of content into the turn that began at ``turn_ns``."""

    kind: Kind
    turn: int
    content_ns: int
    duration_ns: int
    ref: int
    size_bytes: int
    is_key: bool
    pause: bool
    turn_ns: int
    since_ns: int
    jumped: bool  # content before it was left out
    rate: Rate
    ticks: int  # of ``rate``


class Turn:
    """One turn of talk: where it starts in true time and in content, and where it should end."""

    __slots__ = ("content_ns", "end_ns", "index", "start_ns", "stop_at_ns")

    def __init__(self, index: int, start_ns: int, content_ns: int, length_ns: int) -> None:
        self.index, self.start_ns, self.content_ns = index, start_ns, content_ns
        self.end_ns = content_ns + length_ns
        self.stop_at_ns: int | None = None  # an interrupted turn is pushed until then


class Stream:
    """One kind's production: ``content_ns`` of the next unit, ``free_ns`` when the last was done."""

    def __init__(
        self, speaker: Speaker, kind: Kind, *, rate: Rate, step: int, speed: float, ahead_ns: int, ppm: int
    ) -> None:
        self.speaker, self.kind = speaker, kind
        self.rate: Rate = rate
        self.step = step  # ticks of ``rate`` per unit
        self.nominal_ns = ticks_to_ns(step, rate)
        self.speed = Fraction(str(speed))
        self.ahead_ns = ahead_ns if speed > 1 else 0
        self.ppm = ppm
        self.not_before_ns = 0  # a block of frames begins late
        self.late_ns = 0  # handed over this much after (before: negative) its plan
        self.turn: Turn | None = None
        self.content_ns = 0
        self.free_ns = 0
        self.stall: tuple[int, int, str] | None = None
        self.jumped = False
        self._origin_ns = 0  # content of tick 0 at the present rate
        self._ticks = 0
        self._made_ns = 0  # how much of this turn was made
        self._on_time_ns = 0  # content from which its own pace (ppm) has run
        self._token = 0
        self._loop_end_ns: int | None = None

    # ---- where and when

    def begin(self, turn: Turn, now_ns: int) -> None:
        self.turn = turn
        self.free_ns = now_ns
        self.jump_to(turn.content_ns)
        self.jumped = False
        self._on_time_ns = turn.content_ns
        self._made_ns = 0
        loop = self.speaker.loop_ns(self.kind)
        self._loop_end_ns = None if loop is None else turn.content_ns + loop
        self.arm()

    def jump_to(self, content_ns: int) -> None:
        self.jumped = True
        self.content_ns = self._origin_ns = content_ns
        self._ticks = 0

    def skip_units_to(self, content_ns: int) -> None:
        """Leave out whole units until the next one begins at or after ``content_ns``."""
        if content_ns <= self.content_ns:
            return
        ticks = ns_to_ticks(content_ns - self._origin_ns, self.rate)
        self._ticks = -(-ticks // self.step) * self.step
        self.content_ns = self._origin_ns + ticks_to_ns(self._ticks, self.rate)
        self.jumped = True

    def catch_up_to(self, content_ns: int) -> None:
        """Skip as asked: from there on it is on time again, at its own pace."""
        self.skip_units_to(content_ns)
        self._on_time_ns = self.content_ns

    def set_rate(self, rate: Rate, step: int) -> None:
        self._origin_ns, self._ticks = self.content_ns, 0
        self.rate, self.step = rate, step

    def plan_ns(self, content_ns: int) -> int:
        """When a generator on time hands this content over."""
        assert self.turn is not None
        if self._loop_end_ns is not None:
            return self.turn.start_ns + self._made_ns  # a looping source plays on, whatever the other stream does
        on_time = self.turn.start_ns + content_ns - self.turn.content_ns
        if not self.ppm:
            return on_time
        since = content_ns - self._on_time_ns
        return on_time - since + since * 1_000_000 // (1_000_000 + self.ppm)

    def _ready_ns(self, now_ns: int) -> int:
        work_ns = 0
        if self._ticks or self.jumped:
            work_ns = self.nominal_ns * self.speed.denominator // self.speed.numerator
            if self.ppm > 0:
                work_ns = work_ns * 1_000_000 // (1_000_000 + self.ppm)
        earliest_ns = self.plan_ns(self.content_ns) + self.late_ns - self.ahead_ns
        return max(self.free_ns + work_ns, earliest_ns, now_ns, self.not_before_ns)

    def arm(self) -> None:
        """Set the one timer that counts; an older one finds its token stale."""
        self._token += 1
        if self.turn is None:
            return
        env = self.speaker.env
        timer = env.timeout(self._ready_ns(env.now) - env.now, self._token)
        timer.callbacks.append(self._fire)

    # ---- making

    def _fire(self, event: simpy.Event) -> None:
        turn = self.turn
        if event.value != self._token or turn is None:
            return
        now = self.speaker.env.now
        if turn.stop_at_ns is not None and now >= turn.stop_at_ns:
            self.turn = None
            return
        stall = self.stall
        if stall is not None and now >= stall[0]:
            if now < stall[1]:
                timer = self.speaker.env.timeout(stall[1] - now, self._token)
                timer.callbacks.append(self._fire)
                return
            self.stall = None
            self._resume(stall[2], now)
        self._make(turn, now)
        if self.turn is not None:
            self.arm()

    def _resume(self, mode: str, now_ns: int) -> None:
        turn = self.turn
        assert turn is not None
        if mode == "burst":
            while self.turn is not None and self.plan_ns(self.content_ns) + self.late_ns + self.nominal_ns <= now_ns:
                self._make(turn, now_ns)
        elif mode == "live":
            # Where it would be now without the stall.
            behind = now_ns - self.plan_ns(self.content_ns) - self.late_ns
            self.skip_units_to(self.content_ns + max(0, behind))

    def _make(self, turn: Turn, now_ns: int) -> None:
        content = self.content_ns
        if content >= turn.end_ns:
            self.turn = None
            self.speaker.stream_done(self.kind, turn)
            return
        self._ticks += self.step
        after = self._origin_ns + ticks_to_ns(self._ticks, self.rate)
        jumped = self.jumped
        self._made_ns += after - content
        self.free_ns, self.content_ns, self.jumped = now_ns, after, False
        self.speaker.make(self, turn, content, after - content, jumped, now_ns)
        if self._loop_end_ns is not None and self.content_ns >= self._loop_end_ns:
            period = self.speaker.loop_period_ns()
            self.jump_to(self._loop_end_ns - (self.speaker.loop_ns(self.kind) or 0) + period)
            self._loop_end_ns += period


class Speaker:
    """Both streams of one source. ``hand_over`` gets every unit, ``on_turn`` each new turn first.

    ``pace_ppm``: how fast the generator's own clock runs.
    """

    def __init__(
        self,
        env: VirtualTime,
        source: MediaSource,
        seed: int,
        log: SourceLog,
        *,
        hand_over: Callable[[Made], None],
        on_turn: Callable[[int], None],
        on_done: Callable[[Kind, int], None],
        clip: Clip | None = None,
        pace_ppm: int = 0,
    ) -> None:
        self.env, self.source, self.log, self.clip = env, source, log, clip
        self._hand_over, self._on_turn, self._on_done = hand_over, on_turn, on_done
        audio, video = source.audio, source.video
        self.audio_rate: Rate = audio.rate_hz
        self.sound = Stream(
            self, AUDIO, rate=audio.rate_hz, step=audio.rate_hz * int(audio.unit_ms) // 1000,
            speed=audio.speed, ahead_ns=seconds(audio.ahead_s), ppm=pace_ppm + int(audio.real_rate_ppm),
        )  # fmt: skip
        self.sound.late_ns = -ms(audio.lead_ms)
        self.pictures = Stream(
            self, VIDEO, rate=clip.fps if clip else _rate(video.fps), step=1,
            speed=video.blocks.speed if video.blocks else video.speed,
            ahead_ns=0 if video.blocks else seconds(video.ahead_s), ppm=pace_ppm + int(video.real_rate_ppm),
        )  # fmt: skip
        self.pictures.late_ns = ms(video.delay_ms)
        self._sizes = substream(seed, "source.video.size")
        self._stalls = substream(seed, "source.video.block")
        self._wander = substream(seed, "source.video.fps")
        self._clip_frame = 0
        self._block_left = 0
        self._key_wanted = True
        self._last_key_ns = 0
        self._turns = 0
        self.turn: Turn | None = None

    # ---- turns

    def start_turn(self, length_ns: int, backlog_ns: int = 0) -> Turn:
        """A new turn begins now, where the later of both streams stopped. Of a backlog all is there already."""
        now = self.env.now
        self._close_turn()
        content = max(self.sound.content_ns, self.pictures.content_ns)
        turn = self.turn = Turn(self._turns, now - backlog_ns, content, length_ns)
        self._turns += 1
        self.log.turn(turn.index, content)
        self.log.end_turn(turn.index, turn.end_ns)
        self._key_wanted = True
        self._block_left = 0
        self._next_in_block(turn)
        self._on_turn(turn.index)
        if backlog_ns:
            self.sound.stall = self.pictures.stall = (now, now, "burst")
        self.sound.begin(turn, now)
        join_ns = seconds(self.source.video.join_at_s)
        if turn.index == 0 and join_ns:
            self.pictures.turn = None
            self._after(join_ns, lambda: self._join(turn))
        else:
            self.pictures.begin(turn, now)
        return turn

    def _join(self, turn: Turn) -> None:
        if self.turn is turn:
            self.pictures.begin(turn, self.env.now)
            self.pictures.skip_units_to(turn.content_ns + self.env.now - turn.start_ns)
            self.pictures.arm()

    def interrupt(self, pushes_on_ns: int) -> None:
        """The listener broke in. What is pushed on for a while still belongs to the old turn."""
        turn, now = self.turn, self.env.now
        if turn is None:
            return
        self.log.interrupted(turn.index, now)
        turn.stop_at_ns = now + pushes_on_ns

    def _close_turn(self) -> None:
        for stream in (self.sound, self.pictures):
            stream.turn = None
            stream.arm()
        if self.turn is not None:
            made = max(self.sound.content_ns, self.pictures.content_ns)
            if made < self.turn.end_ns:
                self.log.end_turn(self.turn.index, made)

    def stream_done(self, kind: Kind, turn: Turn) -> None:
        self._on_done(kind, turn.index)

    # ---- one unit

    def make(self, stream: Stream, turn: Turn, content: int, duration: int, jumped: bool, now: int) -> None:
        since = content - turn.content_ns
        if stream.kind is AUDIO:
            size = int(self.source.audio.bitrate_kbps * duration) // 8_000_000
            ref = self.log.sound(content, duration, turn.index, now)
            rate, ticks = stream.rate, stream.step
            self._hand_over(
                Made(
                    AUDIO,
                    turn.index,
                    content,
                    duration,
                    ref,
                    size,
                    True,
                    False,
                    turn.start_ns,
                    since,
                    jumped,
                    rate,
                    ticks,
                )
            )
            return
        ref = self.log.picture(content, duration, turn.index, now)
        every = self.source.video.key_every_s
        is_key = self._key_wanted or (every is not None and content - self._last_key_ns >= seconds(every))
        if is_key:
            self._key_wanted, self._last_key_ns = False, content
        size = self._frame_bytes(duration, is_key)
        self._hand_over(
            Made(
                VIDEO,
                turn.index,
                content,
                duration,
                ref,
                size,
                is_key,
                False,
                turn.start_ns,
                since,
                jumped,
                stream.rate,
                stream.step,
            )
        )
        self._next_in_block(turn)
        if self.source.video.variable_fps is not None:
            low, high = self.source.video.variable_fps
            milli = self._wander.between_ns(int(low * 1000), int(high * 1000))
            stream.set_rate(Fraction(milli, 1000), 1)

    def _frame_bytes(self, duration_ns: int, is_key: bool) -> int:
        if self.clip is not None:
            size = self.clip.frame_bytes[self._clip_frame % len(self.clip.frame_bytes)]
            self._clip_frame += 1
            return size
        mean = int(self.source.video.bitrate_kbps * duration_ns) // 8_000_000
        size = max(200, mean + self._sizes.gaussian(mean // 5))
        return size * KEY_FRAME_TIMES if is_key else size

    # ---- what goes wrong, and what is asked

    def stall(self, for_ns: int, only: Kind | None, mode: str) -> None:
        now = self.env.now
        for stream in (self.sound, self.pictures):
            if only is None or stream.kind is only:
                stream.stall = (now, now + for_ns, mode)

    def pause(self, for_ns: int, *, marked: bool) -> None:
        """Nothing is said for a while; the content goes on. A mark tells, and DTX repeats it."""
        stream, now = self.sound, self.env.now
        turn = stream.turn
        if turn is None:
            return
        start = stream.content_ns
        stream.skip_units_to(min(start + for_ns, turn.end_ns))
        self.log.pause(turn.index, start, stream.content_ns)
        if marked:
            stream.jumped = False
            for offset in range(0, stream.content_ns - start, DTX_EVERY_NS):
                self._after(
                    max(0, stream.plan_ns(start + offset) + stream.late_ns - now),
                    partial(self._mark, turn, start + offset),
                )
        stream.arm()

    def _mark(self, turn: Turn, content: int) -> None:
        if self.turn is turn and (turn.stop_at_ns is None or self.env.now < turn.stop_at_ns):
            sound = self.sound
            since = content - turn.content_ns
            lasts, rate, ticks = sound.nominal_ns, sound.rate, sound.step
            self._hand_over(
                Made(
                    AUDIO,
                    turn.index,
                    content,
                    lasts,
                    IDLE,
                    DTX_BYTES,
                    True,
                    True,
                    turn.start_ns,
                    since,
                    True,
                    rate,
                    ticks,
                )
            )
            sound.jumped = True

    def change_fps(self, fps: Rate) -> None:
        self.pictures.nominal_ns = ticks_to_ns(1, fps)
        self.pictures.set_rate(fps, 1)

    def change_rate(self, rate_hz: int) -> None:
        self.audio_rate = rate_hz
        self.sound.set_rate(rate_hz, rate_hz * int(self.source.audio.unit_ms) // 1000)

    def obey(self, request: Request, content_ns: int) -> None:
        """Do what was asked, if this source can. ``content_ns``: a skip's target, in its own content."""
        video = self.source.video
        if request.want is Want.SKIP_TO_PTS and video.can_skip:
            self.pictures.catch_up_to(content_ns)
        elif request.want is Want.FPS and video.can_fps:
            # It works as hard as before on each picture, there are only fewer of them.
            self.pictures.set_rate(request.value or _rate(video.fps), 1)
        elif request.want is Want.KEYFRAME and video.can_keyframe:
            self._key_wanted = True
        else:
            return
        self.pictures.arm()

    # ---- blocks and loops

    def _next_in_block(self, turn: Turn) -> None:
        """A generator in blocks begins each one late, and is fast within it."""
        blocks = self.source.video.blocks
        if blocks is None:
            return
        if self._block_left == 0:
            self._block_left = blocks.frames[0] + self._stalls.below(blocks.frames[1] - blocks.frames[0] + 1)
            stall = self._stalls.between_ns(ms(blocks.stall_ms[0]), ms(blocks.stall_ms[1]))
            content = self.pictures.content_ns if self.pictures.turn is turn else turn.content_ns
            lead = content - turn.content_ns
            self.pictures.not_before_ns = turn.start_ns + lead + self.pictures.late_ns + stall
        self._block_left -= 1

    def loop_ns(self, kind: Kind) -> int | None:
        loop = self.source.loop
        return None if loop is None else seconds(loop.audio_s if kind is AUDIO else loop.video_s)

    def loop_period_ns(self) -> int:
        loop = self.source.loop
        assert loop is not None
        return seconds(max(loop.audio_s, loop.video_s))

    def _after(self, delay_ns: int, call: Callable[[], Any]) -> None:
        self.env.timeout(delay_ns).callbacks.append(lambda _event: call())


def _rate(fps: Fraction | int) -> Rate:
    return int(fps) if Fraction(fps).denominator == 1 else Fraction(fps)
