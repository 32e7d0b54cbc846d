"""The generator: makes sound and pictures in turns, on time or not, and writes down what is true.

A ``Speaker`` begins turns, does what a scenario's steps and an engine's requests say to its two
streams (``sim.source.stream``), and hands over each unit with a reference into the ``SourceLog``, the
truth that no engine sees.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, Final, NamedTuple

from avsync.types import AUDIO, VIDEO, Kind, Request, Want
from avsync.units import Rate, ms, seconds, ticks_to_ns
from sim.packets import IDLE
from sim.rng import substream
from sim.scenario.source import MediaSource
from sim.source.blocks import BlockPlan
from sim.source.clip import ClipSizes
from sim.source.stream import GeneratorStream, SourceTurn
from sim.truth.truth import SourceLog
from sim.virtual_time import VirtualTime

DTX_EVERY_NS: Final = ms(400)  # Opus repeats its comfort noise parameters this often (RFC 6716, libopus)
DTX_BYTES: Final = 2
LEAST_BYTES: Final = 200  # of any picture
KEY_FRAME_TIMES: Final = 4  # a key frame is about this much larger than the others

_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


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
    rate: Rate
    ticks: int  # of ``rate``


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
        clip: ClipSizes | None = None,
        pace_ppm: int = 0,
    ) -> None:
        self.env, self.source, self.log, self.clip = env, source, log, clip
        self._hand_over, self._on_turn, self._on_done = hand_over, on_turn, on_done
        audio, video = source.audio, source.video
        self.audio_rate: Rate = audio.rate_hz
        loop = source.loop
        period_ns = 0 if loop is None else seconds(max(loop.audio_s, loop.video_s))
        self.sound = GeneratorStream(
            env, self, AUDIO, rate=audio.rate_hz, step=audio.rate_hz * int(audio.unit_ms) // 1000,
            speed=audio.blocks.speed if audio.blocks else audio.speed,
            ahead_ns=0 if audio.blocks else seconds(audio.ahead_s), ppm=pace_ppm + int(audio.real_rate_ppm),
            loop_ns=None if loop is None else (seconds(loop.audio_s), period_ns),
        )  # fmt: skip
        self.pictures = GeneratorStream(
            env, self, VIDEO, rate=clip.fps if clip else _rate(video.fps), step=1,
            speed=video.blocks.speed if video.blocks else video.speed,
            ahead_ns=0 if video.blocks else seconds(video.ahead_s), ppm=pace_ppm + int(video.real_rate_ppm),
            loop_ns=None if loop is None else (seconds(loop.video_s), period_ns),
        )  # fmt: skip
        self.pictures.late_ns = ms(video.delay_ms) + ms(audio.lead_ms)
        self._sizes = substream(seed, "source.video.size")
        self._blocks = {
            AUDIO: BlockPlan(audio.blocks, substream(seed, "source.audio.block")),
            VIDEO: BlockPlan(video.blocks, substream(seed, "source.video.block")),
        }
        self._wander = substream(seed, "source.video.fps")
        self._sound_kbps, self._picture_kbps = audio.bitrate_kbps, video.bitrate_kbps
        self._key_every_ns = None if video.key_every_s is None else seconds(video.key_every_s)
        self._variable_fps = video.variable_fps
        self._in_blocks = audio.blocks is not None or video.blocks is not None
        self._clip_frame = 0
        self._key_wanted = True
        self._last_key_ns = 0
        self._turns = 0
        self.turn: SourceTurn | None = None

    # ---- turns

    def start_turn(self, length_ns: int, backlog_ns: int = 0) -> SourceTurn:
        """A new turn begins now, where the later of both streams stopped. Of a backlog all is there already."""
        now = self.env.now
        self._close_turn()
        content = max(self.sound.content_ns, self.pictures.content_ns)
        turn = self.turn = SourceTurn(self._turns, now - backlog_ns, content, length_ns)
        self._turns += 1
        self.log.turn(turn.index, content)
        self.log.end_turn(turn.index, turn.end_ns)
        self._key_wanted = True
        for stream in (self.sound, self.pictures):
            self._blocks[stream.kind].begin_turn()
            self._next_in_block(stream, turn)
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

    def _join(self, turn: SourceTurn) -> None:
        if self.turn is turn:
            self.pictures.begin(turn, turn.start_ns)  # it has had time enough for its first picture
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

    def stream_done(self, kind: Kind, turn: SourceTurn) -> None:
        self._on_done(kind, turn.index)

    # ---- one unit

    def make(self, stream: GeneratorStream, turn: SourceTurn, content: int, duration: int, now: int) -> None:
        if stream.kind is AUDIO:
            size = int(self._sound_kbps * duration) // 8_000_000
            index = turn.index
            ref = self.log.sound(content, duration, index, now)
            self._hand_over(_new(Made, (
                AUDIO, index, content, duration, ref, size, True, False,
                turn.start_ns, content - turn.content_ns, stream.rate, stream.step,
            )))  # fmt: skip
            if self._in_blocks:
                self._next_in_block(stream, turn)
            return
        ref = self.log.picture(content, duration, turn.index, now)
        every_ns = self._key_every_ns
        is_key = self._key_wanted or (every_ns is not None and content - self._last_key_ns >= every_ns)
        if is_key:
            self._key_wanted, self._last_key_ns = False, content
        size = self._frame_bytes(duration, is_key)
        self._hand(stream, turn, content, duration, ref, size, is_key, False)
        if self._in_blocks:
            self._next_in_block(stream, turn)
        if self._variable_fps is not None:
            low, high = self._variable_fps
            milli = self._wander.between_ns(int(low * 1000), int(high * 1000))
            stream.set_rate(Fraction(milli, 1000), 1)

    def _hand(
        self,
        stream: GeneratorStream,
        turn: SourceTurn,
        content: int,
        duration: int,
        ref: int,
        size: int,
        is_key: bool,
        pause: bool,
    ) -> None:
        since_ns = content - turn.content_ns
        self._hand_over(_new(Made, (
            stream.kind, turn.index, content, duration, ref, size, is_key, pause,
            turn.start_ns, since_ns, stream.rate, stream.step,
        )))  # fmt: skip

    def _frame_bytes(self, duration_ns: int, is_key: bool) -> int:
        if self.clip is not None:
            size = self.clip.frame_bytes[self._clip_frame % len(self.clip.frame_bytes)]
            self._clip_frame += 1
            return size
        mean = int(self._picture_kbps * duration_ns) // 8_000_000
        size = mean + self._sizes.gaussian(mean // 5)
        if size < LEAST_BYTES:
            size = LEAST_BYTES
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
        marks = stream.units_every(DTX_EVERY_NS, min(start + for_ns, turn.end_ns)) if marked else []
        for content, duration, due_ns in marks:  # as sound would come: of a fast voice, as far ahead
            self._after(max(0, due_ns - now), partial(self._mark, turn, content, duration))
        stream.skip_units_to(min(start + for_ns, turn.end_ns))
        self.log.pause(turn.index, start, stream.content_ns)
        stream.arm()

    def _mark(self, turn: SourceTurn, content: int, duration: int) -> None:
        if self.turn is turn and (turn.stop_at_ns is None or self.env.now < turn.stop_at_ns):
            self._hand(self.sound, turn, content, duration, IDLE, DTX_BYTES, True, True)

    def change_fps(self, fps: Rate) -> None:
        self.pictures.set_nominal(ticks_to_ns(1, fps))
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

    def _next_in_block(self, stream: GeneratorStream, turn: SourceTurn) -> None:
        """A generator in blocks begins each one late, and is fast within it."""
        late_ns = self._blocks[stream.kind].late_ns()
        if late_ns is not None:
            content = stream.content_ns if stream.turn is turn else turn.content_ns
            stream.not_before_ns = turn.start_ns + content - turn.content_ns + stream.late_ns + late_ns

    def _after(self, delay_ns: int, call: Callable[[], Any]) -> None:
        self.env.after(delay_ns, lambda _nothing: call())


def _rate(fps: Fraction | int) -> Rate:
    return int(fps) if Fraction(fps).denominator == 1 else Fraction(fps)
