"""What lies between: clocks that run at their own pace, and the legs of the network.

In the units that people speak; the lab's link takes ints of ns and ppm and is built from these
elsewhere. What stands here holds during the whole run: it is an impairment, not a fault.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from sim.scenario.types import (
    MAX_DURATION_S,
    Count,
    FileName,
    Kbps,
    Ms,
    Ppm,
    Share,
    SomeMs,
    SpecPart,
    bad,
    nearest,
    shown,
)

Burst = Annotated[float, Field(strict=True, ge=1, le=100_000, allow_inf_nan=False)]
Correlation = Annotated[float, Field(strict=True, ge=0, le=0.99, allow_inf_nan=False)]


def _preset(value: object) -> str | None:
    """Names are known where links are built; only a leg that names one waits for that import."""
    if value is None:
        return None
    from sim.network.presets import PRESETS

    if not isinstance(value, str):
        raise bad(f"preset must be the name of a network, got {shown(value)}", "see avsync list networks")
    if value not in PRESETS:
        raise bad(f"no network is named {value[:60]!r}", nearest(value, list(PRESETS)))
    return value


PresetName = Annotated[str | None, PlainValidator(_preset, json_schema_input_type=str | None)]

DELAY_MS = 20.0
"""One-way delay of a leg that says nothing else: a good line to a data centre nearby."""


def check_burst(loss: float | None, burst: float | None) -> None:
    """Refuse bursts too short for the loss: between two of them at least one packet arrives."""
    if loss and burst and 1 < burst < (shortest := loss / (1 - loss) if loss < 1 else 1.0):
        raise bad(f"burst must be at least {shortest:.3g} where loss is {loss:g}", "make it longer", key="burst")


class Clock(SpecPart):
    """An oscillator that is not perfect."""

    ppm: Ppm = 0.0
    """Runs this much faster than true time. Ordinary hosts: 20 to 80."""


class ProviderClock(Clock):
    """The clock of the generator's host, and the labels it puts on its media."""

    audio_label_ppm: Ppm = 0.0
    """The sound's stamps run this much fast; the sound itself does not."""
    video_label_ppm: Ppm = 0.0
    """The pictures' stamps run this much fast; the pictures themselves do not."""


class Clocks(SpecPart):
    """Everyone's oscillator against true time."""

    provider: ProviderClock = ProviderClock()
    """The host that generates."""
    bridge: Clock = Clock()
    """Our bridge. Needs topology: provider_bridge."""
    client: Clock = Clock()
    """The viewer's host."""


class Hold(SpecPart):
    """Now and then everything is held, and then let go at once: what mobile networks do."""

    every_s: Annotated[float, Field(strict=True, ge=0.01, le=MAX_DURATION_S, allow_inf_nan=False)]
    """Mean time between holds."""
    for_ms: SomeMs
    """How long everything is held."""

    @model_validator(mode="after")
    def _lets_go(self) -> Self:
        if self.for_ms >= self.every_s * 1000:
            rule = f"held for {self.for_ms:g} ms every {self.every_s:g} s never lets go"
            raise bad(rule, "make every_s longer", key="every_s")
        return self


class RtpStart(SpecPart):
    """Where the counters start: close below a wrap, to see it happen."""

    audio_rtp: Annotated[int, Field(strict=True, ge=0, lt=1 << 32)] | None = None
    """First RTP stamp of the sound; null: by chance."""
    video_rtp: Annotated[int, Field(strict=True, ge=0, lt=1 << 32)] | None = None
    """First RTP stamp of the pictures; null: by chance."""
    seq: Annotated[int, Field(strict=True, ge=0, lt=1 << 16)] | None = None
    """First sequence number of both; null: by chance."""


class LegSpec(SpecPart):
    """One direction of one connection. null: what the preset says, or none of it without a preset."""

    preset: PresetName = None
    """A known network, such as webrtc-3g-average or measured-5g-stall; the other keys change it."""
    rate_kbps: Kbps | None = None
    """Capacity; null without a preset: no limit."""
    queue_ms: SomeMs | None = None
    """Drop-tail queue before the bottleneck, as time at rate_kbps."""
    queue_packets: Count | None = None
    """Drop-tail queue before the bottleneck, in packets."""
    delay_ms: Ms | None = None
    """One-way delay; null without a preset: 20."""
    jitter_ms: Ms | None = None
    """Added delay that varies, without changing the order of packets."""
    jitter_correlation: Correlation | None = None
    """How much the jitter of a packet resembles that of the last one (0 to 0.99)."""
    loss: Share | None = None
    """Share of packets lost, 0 to 1."""
    burst: Burst | None = None
    """Mean number of packets lost in a row (Gilbert-Elliott)."""
    reorder: Share | None = None
    """Share of packets that are overtaken by others, 0 to 1."""
    reorder_by_ms: Ms | None = None
    """How much later an overtaken packet comes."""
    duplicate: Share | None = None
    """Share of packets that come twice, 0 to 1."""
    hold: Hold | None = None
    """Now and then everything is held and let go at once."""
    trace: FileName | None = None
    """A recorded network trace, relative to this scenario: of Mahimahi, ping, irtt, iperf3, flent or OpenNetLab as
    these write it, or a table with a header, such as t_s,rtt_ms or t_s,mbps."""
    sender_reports: Literal["normal", "none"] = "normal"
    """Whether RTCP sender reports are sent on this leg."""
    rtp_start: RtpStart = RtpStart()
    """Where the RTP counters of this leg start."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.preset is None and self.trace is None:
            needs = (
                ("burst", "loss"),
                ("jitter_correlation", "jitter_ms"),
                ("reorder_by_ms", "reorder"),
                ("reorder", "reorder_by_ms"),
                ("queue_ms", "rate_kbps"),
            )
            for name, other in needs:
                if getattr(self, name) and not getattr(self, other):
                    raise bad(f"{name} does nothing without {other}", f"add {other}, or leave {name} out", key=name)
        if self.queue_ms is not None and self.queue_packets is not None:
            raise bad("a queue is bounded by queue_ms or by queue_packets", "leave one of them out", key="queue_ms")
        check_burst(self.loss, self.burst)
        return self

    def said(self) -> dict[str, float | int]:
        """The numbers that were given, by name: what replaces the preset's."""
        named = {name: getattr(self, name) for name in _NUMBERS}
        return {name: value for name, value in named.items() if value is not None}


_NUMBERS = (
    *("rate_kbps", "queue_ms", "queue_packets", "delay_ms", "jitter_ms", "jitter_correlation"),
    *("loss", "burst", "reorder", "reorder_by_ms", "duplicate"),
)


class Network(SpecPart):
    """The legs that media travels."""

    to_bridge: LegSpec = LegSpec()
    """From the provider to our bridge. Needs topology: provider_bridge."""
    to_viewer: LegSpec = LegSpec()
    """From us to the viewer."""
