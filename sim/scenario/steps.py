"""Steps: what happens during a run, each at its time; and which of it counts as a fault.

A fault impairs from a start to an end; a permanent change ends where it starts. Interrupts,
marked pauses, mutes and changes of rate are part of a normal call, so they are none.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.scenario.network import Burst, check_burst
from sim.scenario.types import (
    Flag,
    Fps,
    Kbps,
    Ms,
    Only,
    RateHz,
    Resume,
    Seconds,
    Share,
    SignedMs,
    SomeMs,
    SomeSeconds,
    SpecPart,
    WhichLeg,
    bad,
)


class StepBase(SpecPart):
    """Something that happens."""

    at_s: Seconds
    """When, from the start of the run."""


class Interrupt(StepBase):
    """The user interrupts; the avatar stops, and replies a little later in a new turn."""

    do: Literal["interrupt"]
    pushes_on_ms: Ms = 0.0
    """The generator goes on handing over the old turn for this long."""
    reply_after_ms: Ms = 400.0
    """When the new turn begins, after the interrupt."""
    talk_s: SomeSeconds | None = None
    """How long the new turn is; null: to where the interrupted one would have ended."""


class Stall(StepBase):
    """The generator stops handing over media for a while."""

    do: Literal["stall"]
    for_s: SomeSeconds
    """How long."""
    only: Only | None = None
    """Which stream stalls: audio or video; null: both."""
    resume: Resume | None = None
    """How it goes on: live, burst or continue; null: as source.video.resume says."""


class Impair(StepBase):
    """A leg (one part of the way) gets worse for a while, or for good. What is given adds to the leg's own values."""

    do: Literal["impair"]
    for_s: SomeSeconds | None = None
    """How long; null: to the end of the run."""
    leg: Literal["source", "to_bridge", "to_viewer"] = "to_viewer"
    """Where: source is the hand-over from the generator, to_bridge from the provider to us, to_viewer from us on. What
    is lost or overtaken in the hand-over of one process is left out, and the source says so."""
    only: Only | None = None
    """Which stream suffers; null: both."""
    delay_ms: Ms | None = None
    """Added one-way delay."""
    jitter_ms: Ms | None = None
    """Added jitter."""
    loss: Share | None = None
    """Share of packets lost, 0 to 1."""
    burst: Burst | None = None
    """Mean number of packets lost in a row."""
    reorder: Share | None = None
    """Share of packets overtaken, 0 to 1."""
    reorder_by_ms: Ms | None = None
    """How much later an overtaken packet comes."""
    duplicate: Share | None = None
    """Share of packets that come twice, 0 to 1; not in the hand-over of one process."""
    rate_kbps: Kbps | None = None
    """Capacity while impaired."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        names = ("delay_ms", "jitter_ms", "loss", "burst", "reorder", "reorder_by_ms", "duplicate", "rate_kbps")
        if all(getattr(self, name) is None for name in names):
            raise bad("impair changes nothing", "give one or more of: " + ", ".join(names))
        for name, other in (("burst", "loss"), ("reorder_by_ms", "reorder"), ("reorder", "reorder_by_ms")):
            if getattr(self, name) and not getattr(self, other):
                raise bad(f"{name} does nothing without {other}", f"add {other}, or leave {name} out", key=name)
        check_burst(self.loss, self.burst)
        if self.rate_kbps is not None and self.only is not None:
            rule = f"rate_kbps cannot be set for {self.only} alone: sound and pictures share the bottleneck"
            raise bad(rule, "leave only out, or use delay_ms, jitter_ms or loss for one stream", key="rate_kbps")
        return self


class HoldOnce(StepBase):
    """A leg (one part of the way) holds everything for a while, and then lets it go at once."""

    do: Literal["hold"]
    for_ms: SomeMs
    """How long."""
    leg: Literal["source", "to_bridge", "to_viewer"] = "to_viewer"
    """Where: source is the hand-over from the generator, to_bridge from the provider to us, to_viewer from us on."""


class RouteStep(StepBase):
    """The way changes: from now on the delay is different."""

    do: Literal["route_step"]
    by_ms: SignedMs
    """Longer (> 0) or shorter (< 0) by this much. The delay never falls below 0."""
    leg: WhichLeg = "to_viewer"
    """Where: to_bridge is from the provider to us, to_viewer from us on."""
    only: Only | None = None
    """Which stream takes the new way; null: both."""


class Pause(StepBase):
    """The speaker pauses: no sound is generated for a while."""

    do: Literal["pause"]
    for_s: SomeSeconds
    """How long."""
    marked: Flag = True
    """The source says so (DTX, flush); false: nobody can tell it from a stall, and it counts as a fault."""


class Mute(StepBase):
    """The sound is muted at its source; the content passes."""

    do: Literal["mute"]
    for_s: SomeSeconds
    """How long."""


class FpsChange(StepBase):
    """The generator changes its frame rate."""

    do: Literal["fps"]
    to: Fps
    """Frames per second from now on."""


class RateChange(StepBase):
    """The generator changes its sample rate."""

    do: Literal["rate"]
    to_hz: RateHz
    """Samples per second from now on."""


class ClockStep(StepBase):
    """A sender's wall clock (NTP) jumps; its sender reports jump with it."""

    do: Literal["clock_step"]
    clock: Literal["provider", "bridge"]
    """Whose."""
    by_ms: SignedMs
    """Forward (> 0) or back (< 0)."""


class Sleep(StepBase):
    """A host stands still (laptop lid, paused virtual machine) and wakes up again."""

    do: Literal["sleep"]
    for_s: SomeSeconds
    """How long."""
    host: Literal["sender", "bridge", "viewer"]
    """Whose."""


class Reports(StepBase):
    """RTCP sender reports misbehave for a while, or for good."""

    do: Literal["reports"]
    for_s: SomeSeconds | None = None
    """How long; null: to the end of the run."""
    leg: WhichLeg = "to_viewer"
    """Where: to_bridge is from the provider to us, to_viewer from us on."""
    mode: Literal["missing", "late", "wrong"] = "missing"
    """missing: none arrive; late: they arrive by_ms later; wrong: their NTP time is off by by_ms."""
    by_ms: SignedMs | None = None
    """How late, or how wrong."""
    only: Only | None = None
    """The reports of which stream; null: both."""

    @model_validator(mode="after")
    def _by_how_much(self) -> Self:
        if self.mode == "missing" and self.by_ms is not None:
            raise bad("by_ms does nothing when reports are missing", "set mode: late or mode: wrong", key="by_ms")
        if self.mode != "missing" and not self.by_ms:
            raise bad(f"mode: {self.mode} needs by_ms", "say by how much, such as by_ms: 300", key="mode")
        if self.mode == "late" and (self.by_ms or 0) < 0:
            raise bad("a report cannot be early: by_ms must be > 0 with mode: late", key="by_ms")
        return self


Step = Annotated[
    Interrupt
    | Stall
    | Impair
    | HoldOnce
    | RouteStep
    | Pause
    | Mute
    | FpsChange
    | RateChange
    | ClockStep
    | Sleep
    | Reports,
    Field(discriminator="do"),
]


def step_end_s(step: Step) -> float:
    """When it is over; a permanent change, or one without a length, is over at once."""
    if isinstance(step, HoldOnce):
        return step.at_s + step.for_ms / 1000
    for_s: float | None = getattr(step, "for_s", None)
    return step.at_s + (for_s or 0.0)


def fault_window(step: Step) -> tuple[float, float] | None:
    """(start, end) in s if this step is a fault, else None."""
    if isinstance(step, Interrupt | Mute | FpsChange | RateChange):
        return None
    if isinstance(step, Pause) and step.marked:
        return None
    return step.at_s, step_end_s(step)


def step_leg(step: Step) -> str | None:
    """The leg it happens on, if any."""
    leg: str | None = getattr(step, "leg", None)
    return leg
