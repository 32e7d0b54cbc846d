"""Sentences: what happens in a scenario, in the words a reader of the report needs.

One sentence per standing condition and per step, in order of time; equal steps share one.
"""

from __future__ import annotations

from sim.scenario.network import LegSpec
from sim.scenario.scenario import Scenario
from sim.scenario.source import BlocksSpec, MediaSource
from sim.scenario.steps import (
    ClockStep,
    FpsChange,
    HoldOnce,
    Impair,
    Interrupt,
    Mute,
    Pause,
    RateChange,
    Reports,
    RouteStep,
    Sleep,
    Stall,
    Step,
)

MOST = 14
"""Sentences about steps; a storm of them is summed up."""

_STREAM = {"audio": "the sound", "video": "the pictures", None: "sound and pictures"}
_LEG = {"source": "at the hand-over", "to_bridge": "on the way to the bridge", "to_viewer": "on the way to the viewer"}
_RESUME = {
    "live": "then it goes on at the present moment",
    "burst": "then all that was missed comes at once",
    "continue": "then it goes on where it stopped",
}


def what_happens(scenario: Scenario) -> list[str]:
    """Who sends what over which network, and then step by step."""
    bridged = scenario.topology == "provider_bridge"
    way = "A provider sends WebRTC to our bridge" if bridged else "We get sound and frames and encode them"
    said = [f"{way}; {scenario.duration_s:g} s, {_turns(scenario)}.", *_source(scenario.source)]
    legs = [("to_bridge", scenario.network.to_bridge)] if bridged else []
    said += [_leg(name, leg) for name, leg in [*legs, ("to_viewer", scenario.network.to_viewer)]]
    said += _clocks(scenario)
    steps: dict[str, list[float]] = {}
    for step in scenario.steps:
        steps.setdefault(_step(step, scenario), []).append(step.at_s)
    steps_said = [f"{_times(at)} {words}." for words, at in sorted(steps.items(), key=lambda one: one[1][0])]
    if len(steps_said) > MOST:
        steps_said = [*steps_said[:MOST], f"... and {len(steps_said) - MOST} more kinds of step."]
    return said + steps_said


def _times(at_s: list[float]) -> str:
    if len(at_s) > 6:
        return f"{len(at_s)} times, first at {at_s[0]:g} s and last at {at_s[-1]:g} s,"
    words = [f"{at:g}" for at in at_s]
    return f"At {words[0]} s" if len(words) == 1 else f"At {', '.join(words[:-1])} and {words[-1]} s"


def _turns(scenario: Scenario) -> str:
    turns = scenario.source.turns.plan(scenario.duration_s)
    if len(turns) == 1:
        return f"one turn from {turns[0][0]:g} to {turns[0][1]:g} s"
    return f"{len(turns)} turns"


def _source(source: MediaSource) -> list[str]:
    """What is not as in a healthy generator."""
    video, audio = source.video, source.audio
    low_high = video.variable_fps
    said = [
        f"{float(low_high[0]):g} to {float(low_high[1]):g} fps" if low_high else f"{float(video.fps):g} fps",
        f"pictures are made at {video.speed:g} times real time" if video.speed != 1 else "",
        f"sound is made at {audio.speed:g} times real time" if audio.speed != 1 else "",
        _blocks("pictures", video.blocks),
        _blocks("sound", audio.blocks),
        f"pictures are handed over {video.delay_ms:g} ms after their sound" if video.delay_ms else "",
        f"up to {video.jitter_ms:g} ms of unevenness in the pictures" if video.jitter_ms else "",
        f"up to {audio.jitter_ms:g} ms of unevenness in the sound" if audio.jitter_ms else "",
        f"pictures join {video.join_at_s:g} s late" if video.join_at_s else "",
        f"{source.backlog_s:g} s of media are handed over at once" if source.backlog_s else "",
        f"pictures run {video.real_rate_ppm:+g} ppm" if video.real_rate_ppm else "",
        f"sound runs {audio.real_rate_ppm:+g} ppm" if audio.real_rate_ppm else "",
        f"a loop of {source.loop.audio_s:g} s of sound and {source.loop.video_s:g} s of pictures"
        if source.loop
        else "",
        f"speaks as {source.payload.voice}, with a rendered mouth" if source.payload else "",
        "can be asked to skip" if video.can_skip else "",
        "can be asked for fewer frames" if video.can_fps else "",
        "says when an interrupted turn has been sent" if source.acknowledges else "",
    ]
    return ["The generator: " + ", ".join(filter(None, said)) + "."]


def _blocks(name: str, blocks: BlocksSpec | None) -> str:
    if blocks is None:
        return ""
    (fewest, most), (least, longest) = blocks.size, blocks.late_ms
    come = "come" if name == "pictures" else "comes"
    return f"{name} {come} in blocks of {fewest} to {most} units, each {least:g} to {longest:g} ms late"


def _leg(name: str, leg: LegSpec) -> str:
    hold = f"everything held for {leg.hold.for_ms:g} ms every {leg.hold.every_s:g} s" if leg.hold else ""
    own = leg.preset is None and leg.trace is None
    said = [
        f"preset {leg.preset}" if leg.preset else "",
        f"recorded network {leg.trace}" if leg.trace else "",
        f"{leg.delay_ms if leg.delay_ms is not None else 20.0:g} ms" if own or leg.delay_ms is not None else "",
        *_numbers(leg),
        hold,
        "no sender reports" if leg.sender_reports == "none" else "",
    ]
    return f"{_LEG[name].capitalize()}: " + ", ".join(filter(None, said)) + "."


def _numbers(part: LegSpec | Impair) -> list[str]:
    return [
        f"jitter {part.jitter_ms:g} ms" if part.jitter_ms else "",
        f"loss {100 * part.loss:g} %" if part.loss else "",
        f"in bursts of {part.burst:g}" if part.burst else "",
        f"{100 * part.reorder:g} % overtaken" if part.reorder else "",
        f"{100 * part.duplicate:g} % twice" if part.duplicate else "",
        f"{part.rate_kbps:g} kbit/s" if part.rate_kbps else "",
    ]


def _clocks(scenario: Scenario) -> list[str]:
    clocks = scenario.clocks
    said = [
        f"the provider's runs {clocks.provider.ppm:+g} ppm" if clocks.provider.ppm else "",
        f"its stamps of the sound {clocks.provider.audio_label_ppm:+g} ppm" if clocks.provider.audio_label_ppm else "",
        f"its stamps of the pictures {clocks.provider.video_label_ppm:+g} ppm"
        if clocks.provider.video_label_ppm
        else "",
        f"the bridge's {clocks.bridge.ppm:+g} ppm" if clocks.bridge.ppm else "",
        f"the viewer's {clocks.client.ppm:+g} ppm" if clocks.client.ppm else "",
    ]
    words = ", ".join(filter(None, said))
    return [f"Clocks: {words}."] if words else []


def _step(step: Step, scenario: Scenario) -> str:
    if isinstance(step, Stall):
        resume = step.resume or scenario.source.video.resume
        verb = "stall" if step.only != "audio" else "stalls"
        return f"{_STREAM[step.only]} {verb} for {step.for_s:g} s, {_RESUME[resume]}"
    if isinstance(step, Interrupt):
        on = f"; the old turn is still handed over for {step.pushes_on_ms:g} ms" if step.pushes_on_ms else ""
        return f"the user interrupts, the reply begins {step.reply_after_ms:g} ms later{on}"
    if isinstance(step, Impair):
        delay = f"{step.delay_ms:g} ms more" if step.delay_ms else ""
        which = f" for {_STREAM[step.only]}" if step.only else ""
        return f"{_LEG[step.leg]}{which}, {_for(step.for_s)}: " + ", ".join(filter(None, [delay, *_numbers(step)]))
    if isinstance(step, Reports):
        what = {"missing": "are missing", "late": "come late", "wrong": "are wrong"}[step.mode]
        by = f" by {step.by_ms:g} ms" if step.by_ms else ""
        return f"sender reports {_LEG[step.leg]} {what}{by}, {_for(step.for_s)}"
    return _small_step(step)


def _small_step(step: Step) -> str:
    if isinstance(step, HoldOnce):
        return f"everything {_LEG[step.leg]} is held for {step.for_ms:g} ms, then let go at once"
    if isinstance(step, RouteStep):
        longer = "longer" if step.by_ms > 0 else "shorter"
        return f"the way of {_STREAM[step.only]} {_LEG[step.leg]} becomes {abs(step.by_ms):g} ms {longer}"
    if isinstance(step, Pause):
        marked = "and the source says so" if step.marked else "and nobody says so"
        return f"the speaker pauses for {step.for_s:g} s, {marked}"
    if isinstance(step, Mute):
        return f"the sound is muted for {step.for_s:g} s"
    if isinstance(step, FpsChange):
        return f"the generator changes to {float(step.to):g} fps"
    if isinstance(step, RateChange):
        return f"the sound changes to {step.to_hz} Hz"
    if isinstance(step, ClockStep):
        return f"the {step.clock}'s wall clock jumps by {step.by_ms:+g} ms"
    assert isinstance(step, Sleep)
    return f"the {step.host}'s host stands still for {step.for_s:g} s"


def _for(for_s: float | None) -> str:
    return "to the end" if for_s is None else f"for {for_s:g} s"
