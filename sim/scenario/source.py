"""What is generated: turns of talk, and how the generator hands over sound and pictures.

Everything here is about the *content* and its delivery up to the point where we get it; the
network comes later. Defaults are a healthy generator at real time.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.scenario.types import (
    MIN_TALK_S,
    Count,
    FileName,
    Flag,
    Fps,
    Kbps,
    Ms,
    Ppm,
    RateHz,
    Resume,
    Seconds,
    SomeSeconds,
    SpecPart,
    Speed,
    Talk,
    Whole,
    bad,
)

TAIL_S = 1.0
"""Speech ends this long before the run, so that the last of it can arrive and be judged."""


class Turns(SpecPart):
    """Who speaks when: turns of talk with gaps between them. Each turn is one epoch."""

    first_at_s: Seconds = 0.5
    """When the first turn begins."""
    talk_s: Talk = None
    """A number: turns of this length until the end. A list: exactly these turns. null: one turn, to 1 s before the
    end."""
    gap_s: Seconds = 1.0
    """Silence between the planned end of a turn and the next."""

    def plan(self, duration_s: float) -> tuple[tuple[float, float], ...]:
        """(start, end) in s of each turn, if nobody interrupts; nothing is said in the last second."""
        end_s = duration_s - TAIL_S
        if self.talk_s is None:
            return ((self.first_at_s, end_s),) if self.first_at_s < end_s else ()
        listed = isinstance(self.talk_s, tuple)
        turns: list[tuple[float, float]] = []
        start_s = self.first_at_s
        while start_s + MIN_TALK_S <= end_s and not (listed and len(turns) == len(self.talk_s)):  # type: ignore[arg-type]
            talk_s = self.talk_s[len(turns)] if isinstance(self.talk_s, tuple) else self.talk_s
            turns.append((start_s, min(start_s + talk_s, end_s)))
            start_s += talk_s + self.gap_s
        return tuple(turns)


class BlocksSpec(SpecPart):
    """Media that comes in blocks: each begins late, and is fast within."""

    speed: Speed = 1.5
    """How fast units come within a block, 1 being real time."""
    late_ms: tuple[Ms, Ms] = (200, 500)
    """How late each block begins, after the moment at which its first unit was due: [least, most] in ms."""

    @property
    def size(self) -> tuple[int, int]:
        """Units in a block: (fewest, most)."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in sorted(type(self).model_fields.keys() - {"speed"}):
            low, high = getattr(self, name)
            if low > high:
                raise bad(f"{name} must be [low, high], got [{low:g}, {high:g}]", "swap the two", key=name)
        if not self.late_ms[1]:
            raise bad("late_ms: [0, 0] makes no block late", "make it longer, or leave blocks out", key="late_ms")
        return self


class AudioBlocks(BlocksSpec):
    """Sound that comes in blocks: each begins late, and is fast within."""

    units: tuple[Count, Count] = (10, 25)
    """Units of sound (unit_ms each) in a block: [fewest, most]."""

    @property
    def size(self) -> tuple[int, int]:
        return self.units


class VideoBlocks(BlocksSpec):
    """Pictures that come in blocks: each begins late, and is fast within."""

    frames: tuple[Count, Count] = (8, 16)
    """Frames in a block: [fewest, most]."""

    @property
    def size(self) -> tuple[int, int]:
        return self.frames


class AudioSpec(SpecPart):
    """How the generator hands over the voice."""

    rate_hz: RateHz = 48_000
    """Samples per second."""
    unit_ms: Literal[10, 20, 40, 60] = 20
    """Length of one unit of sound: 10, 20, 40 or 60."""
    bitrate_kbps: Kbps = 32
    """What the coded sound takes on a network."""
    speed: Speed = 1.0
    """How fast sound is generated, 1 being real time. Faster runs ahead, up to ahead_s."""
    ahead_s: Seconds = 2.0
    """How far ahead of real time the generator may get."""
    jitter_ms: Ms = 0.0
    """Unevenness of the hand-over, at most this much late."""
    lead_ms: Ms = 0.0
    """Sound is handed over this much before the pictures that belong to it. Not the lead of the offset metrics: that
    is how far the voice is ahead of the lips where they leave or are seen."""
    blocks: AudioBlocks | None = None
    """Sound comes in blocks, each of them late; null: evenly."""
    real_rate_ppm: Ppm = 0.0
    """The content really runs this much faster than its count of samples says."""


class VideoSpec(SpecPart):
    """How the generator hands over the video, and what it can be asked for."""

    fps: Fps = Fraction(25)
    """Frames per second: 25, 23.976 or '30000/1001'."""
    variable_fps: tuple[Fps, Fps] | None = None
    """[lowest, highest]: the frame rate wanders between these instead of keeping fps."""
    bitrate_kbps: Kbps = 1_000
    """What the coded pictures take on a network."""
    key_every_s: SomeSeconds | None = None
    """A key frame at least this often; null: only at the start of a turn and when asked for."""
    encoded: Flag = False
    """The generator gives us coded frames, which depend on each other; false: raw frames."""
    speed: Speed = 1.0
    """How fast pictures can be generated, 1 being real time: 0.88 is 22 of 25 fps."""
    ahead_s: Seconds = 2.0
    """How far ahead of real time the generator may get, if it is faster."""
    jitter_ms: Ms = 0.0
    """Unevenness of the hand-over, at most this much late."""
    delay_ms: Ms = 0.0
    """Every picture is handed over this much later than its sound."""
    blocks: VideoBlocks | None = None
    """Pictures come in blocks, each of them late; null: evenly."""
    resume: Resume = "live"
    """After a stall. live: goes on at the present moment; burst: first hands over all that was missed, at once;
    continue: goes on where it stopped, at its speed."""
    can_skip: Flag = False
    """Can be asked to go on from a later position."""
    can_fps: Flag = False
    """Can be asked for fewer frames per second."""
    can_keyframe: Flag = True
    """Can be asked for a key frame."""
    obeys_after_ms: Ms = 80.0
    """How long it takes until a request has its first effect."""
    join_at_s: Seconds = 0.0
    """The pictures begin this late, as a track that joins after the sound."""
    join_decodable: Flag = True
    """false: the first frames depend on one that we never got, until the next key frame. Needs encoded."""
    real_rate_ppm: Ppm = 0.0
    """The content really runs this much faster than its count of frames says."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.variable_fps and self.variable_fps[0] > self.variable_fps[1]:
            raise bad("variable_fps must be [lowest, highest]", "swap the two", key="variable_fps")
        if not self.join_decodable and not self.encoded:
            raise bad(
                "join_decodable: false needs encoded: true", "raw frames can always be shown", key="join_decodable"
            )
        if not self.join_decodable and not (self.can_keyframe or self.key_every_s):
            remedy = "set can_keyframe: true or key_every_s"
            raise bad("join_decodable: false would never end", remedy, key="join_decodable")
        return self


class Loop(SpecPart):
    """A short clip that is repeated, whose sound and pictures differ in length."""

    audio_s: Annotated[float, Field(strict=True, ge=0.1, le=3_600, allow_inf_nan=False)]
    """Length of the sound; it starts again after this."""
    video_s: Annotated[float, Field(strict=True, ge=0.1, le=3_600, allow_inf_nan=False)]
    """Length of the pictures; they start again after this."""


class PayloadSpec(SpecPart):
    """Real sound and pictures: synthetic speech and a rendered mouth, so that a lip-sync scorer can judge the call."""

    voice: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_-]{1,40}$")] = "en-us"
    """Who speaks: a voice of espeak-ng, such as en-us, de or fr+f3."""
    speaker: Whole | None = None
    """Which face, and which way of moving its mouth; null: another one for each seed."""
    scorer: Literal["auto", "fused", "pixels", "geometry", "heuristic"] = "auto"
    """Which scorer looks and listens at the viewer; auto: the best one that is installed."""


class MediaSource(SpecPart):
    """The generator (local_encode) or the provider (provider_bridge)."""

    turns: Turns = Turns()
    """Who speaks when."""
    audio: AudioSpec = AudioSpec()
    """How the voice is handed over."""
    video: VideoSpec = VideoSpec()
    """How the pictures are handed over."""
    loop: Loop | None = None
    """A short loop whose sound and pictures differ in length."""
    clip: FileName | None = None
    """A media file to speak instead of made-up content, relative to this scenario."""
    payload: PayloadSpec | None = None
    """Give the content real sound and pictures, and let a scorer judge them at the viewer; {}: with all defaults."""
    backlog_s: Seconds = 0.0
    """This much media is handed over at once when a viewer joins."""
    acknowledges: Flag = False
    """After an interrupt the provider says when the old turn's last packet has been sent; false: nothing but a pause in
    its packets shows it. Needs topology: provider_bridge."""
