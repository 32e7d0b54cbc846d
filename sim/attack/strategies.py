"""Strategies: scenarios drawn by Hypothesis, a strategy per part, within ``sim.attack.bounds``. The one file that
needs it.

What is drawn is plain data as a file would have it: what is not drawn is left out, so a default is a key that is not
there. Each choice has its simple answer first (absent, few, small), which is where Hypothesis shrinks to. Half of the
scenarios are sparse, so that a fault is seen by itself; the others are dense, so that every pair of features meets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

from sim.attack.bounds import BOUNDS, Choice, Range
from sim.network.presets import PRESETS
from sim.scenario.checks import interrupts_in_vain
from sim.scenario.model import Scenario

Data = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Topology = Literal["local_encode", "provider_bridge"]
Viewer = Literal["browser", "avsync"]

BATCH = 100
"""Examples drawn at once."""
SPARSE, DENSE, INTERRUPTED = 12, 34, 40
"""Per cent: how likely each key and each step is. A sparse scenario has two or three features, a dense one a dozen.
Interrupts are likely in both: what a user does, and when, is what scripts have least of."""


def scenarios(topology: Topology | None = None, viewer: Viewer | None = None) -> st.SearchStrategy[Data]:
    """Whole scenarios as plain data; ``topology`` and ``viewer``: these, instead of any."""
    return _scenario(topology, viewer)


def drawn(first: int, topology: Topology | None = None, viewer: Viewer | None = None) -> Iterator[Data]:
    """Scenarios without an end; the same ``first`` (a seed), the same scenarios with the same Hypothesis."""
    strategy = scenarios(topology, viewer)
    seen: set[str] = set()  # Hypothesis repeats itself now and then, and the lab would answer the same
    for batch in count():
        for data in _batch(strategy, first * 1_000_003 + batch):
            if (text := repr(data)) not in seen:
                seen.add(text)
                yield data


def _batch(strategy: st.SearchStrategy[Data], number_of_it: int) -> list[Data]:
    found: list[Data] = []

    @seed(number_of_it)
    @settings(
        max_examples=BATCH, phases=[Phase.generate], database=None, deadline=None, print_blob=False,
        suppress_health_check=list(HealthCheck), backend=BACKEND,
    )  # fmt: skip
    @given(strategy)
    def collect(data: Data) -> None:
        found.append(data)

    collect()
    return found


class SameEverywhere(HypothesisProvider):
    """Draws that depend on the seed alone.

    Hypothesis mixes in numbers that it reads in the source of every module that happens to be loaded: an edit
    anywhere, or pytest beside us, and the same seed would draw other scenarios. Registered as a backend, it also leaves
    out that examples are varied from one another: the rarest pair of features rose from 1.9 to 4 % of the scenarios.
    """

    def _maybe_draw_constant(self, *_args: Any, **_more: Any) -> None:
        return None


BACKEND = "avsync"
AVAILABLE_PROVIDERS[BACKEND] = f"{__name__}.{SameEverywhere.__name__}"


@cache
def number(name: str) -> st.SearchStrategy[Any]:
    """What ``BOUNDS`` has under this name, the simple end first: the value nearest to 0, or the first choice."""
    bound = BOUNDS[name]
    if isinstance(bound, Choice):
        return st.sampled_from(bound.values)
    low, high = round(bound.low / bound.step), round(bound.high / bound.step)
    return st.integers(low, high).map(lambda steps: _spoken(steps, bound))


def _spoken(steps: int, bound: Range) -> float | int:
    value = round(steps * bound.step, 3)
    return int(value) if value == int(value) else value


_PER_CENT = st.integers(0, 99)


class _Part:
    """One part of a scenario while it is drawn: ``may`` draws a key now and then."""

    def __init__(self, draw: Draw, likely_pct: int) -> None:
        self.draw, self.likely_pct = draw, likely_pct
        self.data: Data = {}

    def chance(self, likely_pct: int | None = None) -> bool:
        """False first."""
        return bool(self.draw(_PER_CENT) >= 100 - (likely_pct or self.likely_pct))

    def may(self, key: str, value: str | st.SearchStrategy[Any], *, likely_pct: int | None = None) -> bool:
        """``value``: the name of a bound, or a strategy. True if the key was drawn."""
        if not self.chance(likely_pct):
            return False
        self.data[key] = self.draw(number(value) if isinstance(value, str) else value)
        return True


@st.composite
def _scenario(draw: Draw, topology: Topology | None, viewer: Viewer | None) -> Data:
    likely_pct = draw(st.sampled_from((SPARSE, DENSE)))
    where = topology or draw(st.sampled_from(("local_encode", "provider_bridge")))
    who = viewer or draw(st.sampled_from(("avsync", "browser")))
    bridged = where == "provider_bridge"
    data: Data = {
        "avsync": 1, "about": "Drawn by avsync attack.", "tags": ["reference"],
        "duration_s": draw(number("duration_s")), "seeds": [draw(number("seeds"))], "viewer": who,
    }  # fmt: skip
    if bridged:
        data["topology"] = where
    steps = draw(_steps(likely_pct, bridged))
    parts = {
        "source": draw(_source(likely_pct)),
        "network": draw(_network(likely_pct, bridged)),
        "clocks": draw(_clocks(likely_pct, bridged)),
        "steps": steps,
    }
    if who == "browser":
        parts["browser"] = draw(_browser(likely_pct))
    if bridged and draw(st.booleans()):  # as likely as not: it goes with everything that an interrupt falls into
        parts["source"]["acknowledges"] = True
    return _not_in_vain(data | {name: part for name, part in parts.items() if part})


def _not_in_vain(data: Data) -> Data:
    """Without interrupts after the last word of the call, which the language refuses."""
    if not any(step["do"] == "interrupt" for step in data.get("steps", ())):
        return data
    gone = {index for index, _ in interrupts_in_vain(Scenario.model_validate(data))}
    left = [step for index, step in enumerate(data["steps"]) if index not in gone]
    return {name: part for name, part in data.items() if name != "steps"} | ({"steps": left} if left else {})


# ---- the source


@cache
@st.composite
def _source(draw: Draw, likely_pct: int) -> Data:
    whole = _Part(draw, likely_pct)
    parts = {
        "turns": draw(_turns(likely_pct)), "audio": draw(_audio(likely_pct)), "video": draw(_video(likely_pct)),
    }  # fmt: skip
    if whole.chance():
        whole.data["loop"] = {"audio_s": draw(number("loop.s")), "video_s": draw(number("loop.s"))}
    whole.may("backlog_s", "backlog_s")
    return {name: part for name, part in parts.items() if part} | whole.data


@cache
@st.composite
def _turns(draw: Draw, likely_pct: int) -> Data:
    part = _Part(draw, likely_pct)
    part.may("first_at_s", "turns.first_at_s")
    part.may("talk_s", "turns.talk_s")
    part.may("gap_s", "turns.gap_s")
    return part.data


@cache
@st.composite
def _audio(draw: Draw, likely_pct: int) -> Data:
    part = _Part(draw, likely_pct)
    for key in ("rate_hz", "unit_ms", "bitrate_kbps", "speed", "ahead_s", "jitter_ms", "lead_ms", "real_rate_ppm"):
        part.may(key, f"audio.{key}")
    part.may("blocks", _blocks("units"))
    return part.data


@cache
@st.composite
def _video(draw: Draw, likely_pct: int) -> Data:
    part = _Part(draw, likely_pct)
    keys = ("bitrate_kbps", "key_every_s", "speed", "ahead_s", "jitter_ms", "delay_ms", "resume", "join_at_s")
    for key in ("fps", *keys, "obeys_after_ms", "real_rate_ppm"):
        part.may(key, f"video.{key}")
    part.may("variable_fps", _low_high("video.variable_fps"))
    part.may("blocks", _blocks("frames"))
    part.may("encoded", st.just(True))
    part.may("can_skip", st.just(True))
    part.may("can_fps", st.just(True))
    part.may("can_keyframe", st.just(False))
    if part.may("join_decodable", st.just(False)):
        part.data["encoded"] = True
        if "can_keyframe" in part.data:
            part.data.setdefault("key_every_s", draw(number("video.key_every_s")))
    return part.data


@cache
def _low_high(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(number(name), min_size=2, max_size=2).map(sorted)


@cache
@st.composite
def _blocks(draw: Draw, units: str) -> Data:
    return {
        "speed": draw(number("blocks.speed")),
        "late_ms": draw(_low_high("blocks.late_ms")),
        units: draw(_low_high("blocks.units")),
    }


# ---- the network


@cache
@st.composite
def _network(draw: Draw, likely_pct: int, bridged: bool) -> Data:
    legs = ("to_viewer", "to_bridge") if bridged else ("to_viewer",)
    found = {leg: draw(_leg(likely_pct)) for leg in legs}
    return {leg: said for leg, said in found.items() if said}


@cache
@st.composite
def _leg(draw: Draw, likely_pct: int) -> Data:
    part = _Part(draw, likely_pct)
    if part.may("preset", st.sampled_from(sorted(PRESETS))):
        part.may("delay_ms", "leg.delay_ms")
    else:
        part.may("delay_ms", "leg.delay_ms")
        if part.may("jitter_ms", "leg.jitter_ms"):
            part.may("jitter_correlation", "leg.jitter_correlation")
        if part.may("loss", "leg.loss"):
            part.may("burst", "leg.burst")
        if part.may("reorder", "leg.reorder"):
            part.data["reorder_by_ms"] = draw(number("leg.reorder_by_ms"))
        part.may("duplicate", "leg.duplicate")
        if part.may("rate_kbps", "leg.rate_kbps"):
            part.may("queue_ms", "leg.queue_ms")
        if part.chance():
            hold = {"every_s": draw(number("leg.hold_every_s")), "for_ms": draw(number("leg.hold_for_ms"))}
            part.data["hold"] = hold
    part.may("sender_reports", st.just("none"), likely_pct=likely_pct // 2)
    part.may("rtp_start", _rtp_start())
    return part.data


@cache
@st.composite
def _rtp_start(draw: Draw) -> Data:
    """Counters that wrap within the call: a packet of sound is 960 ticks, a picture 3600 at 25 fps."""
    before = number("rtp_start.before_wrap")
    return {
        "audio_rtp": (1 << 32) - 1 - 960 * draw(before),
        "video_rtp": (1 << 32) - 1 - 3600 * draw(before),
        "seq": (1 << 16) - 1 - draw(before),
    }


# ---- clocks, the page


@cache
@st.composite
def _clocks(draw: Draw, likely_pct: int, bridged: bool) -> Data:
    found: Data = {}
    for host in ("client", "provider", "bridge") if bridged else ("client",):
        part = _Part(draw, likely_pct)
        part.may("ppm", "clocks.ppm")
        if host == "provider":
            part.may("audio_label_ppm", "clocks.label_ppm")
            part.may("video_label_ppm", "clocks.label_ppm")
        if part.data:
            found[host] = part.data
    return found


@cache
@st.composite
def _browser(draw: Draw, likely_pct: int) -> Data:
    part = _Part(draw, likely_pct // 2)
    part.may("picture_target_ms", "browser.target_ms")
    part.may("sound_target_ms", "browser.target_ms")
    return part.data


# ---- steps


@cache
@st.composite
def _steps(draw: Draw, likely_pct: int, bridged: bool) -> list[Data]:
    """At most one of each kind but interrupts, and what they fall into, in the order of time."""
    part = _Part(draw, likely_pct)
    found = [draw(kind(bridged)) for kind in _STEPS if part.chance()]
    if part.chance(max(likely_pct, INTERRUPTED)):
        found += draw(_interrupts(found, bridged))
    return _apart(sorted(found, key=lambda step: (step["at_s"], step["do"])))


def _apart(steps: list[Data]) -> list[Data]:
    """Without those that begin while another stall or sleep holds the generator: the language has one at a time."""
    over_s: dict[str, float] = {}
    left = []
    for step in steps:
        held = [step.get("only", "both")] if step["do"] == "stall" else []
        if step["do"] == "sleep":
            held = ["both" if step.get("host", "sender") == "sender" else step["host"]]
        streams = [each for one in held for each in (("audio", "video") if one == "both" else (one,))]
        if any(step["at_s"] <= over_s.get(each, -1.0) for each in streams):
            continue
        over_s |= dict.fromkeys(streams, step["at_s"] + step.get("for_s", 0.0))
        left.append(step)
    return left


@st.composite
def _interrupts(draw: Draw, others: list[Data], bridged: bool) -> list[Data]:
    """One or two: at any moment, inside another step, or inside a stall or a line that hangs that comes with it; the
    second perhaps before the reply began."""
    first = {"at_s": draw(number("step.at_s")), **draw(_interrupt())}
    found = [first]
    where = draw(st.sampled_from(("anywhere", "inside", "in a trouble of its own", "in a trouble of its own")))
    other = draw(st.sampled_from(others)) if others and where == "inside" else None
    if where == "in a trouble of its own":
        other = draw(st.one_of(_stall(bridged), _hold(bridged)))
        found.append(other)
    if other is not None:
        lasts_s = other.get("for_s", other.get("for_ms", 0) / 1000)
        # Anywhere in it, or soon after it began: there an engine repeats, degrades, alerts and idles, one by one.
        in_s = draw(st.one_of(number("step.in_step").map(lambda share: share * lasts_s), number("step.soon_s")))
        first["at_s"] = round(other["at_s"] + min(in_s, lasts_s), 3)
    if draw(st.booleans()):
        found.append({"at_s": round(first["at_s"] + draw(number("interrupt.again_s")), 3), **draw(_interrupt())})
    return found


@cache
@st.composite
def _interrupt(draw: Draw) -> Data:
    part = _Part(draw, DENSE)
    part.data["do"] = "interrupt"
    part.may("pushes_on_ms", "interrupt.pushes_on_ms")
    part.may("reply_after_ms", "interrupt.reply_after_ms")
    part.may("talk_s", "interrupt.talk_s")
    return part.data


@cache
def _only() -> st.SearchStrategy[Data]:
    return st.sampled_from(({}, {"only": "video"}, {"only": "audio"}))


@cache
def _on(legs: tuple[str, ...]) -> st.SearchStrategy[Data]:
    return st.sampled_from(tuple({} if leg == "to_viewer" else {"leg": leg} for leg in legs))


@cache
def _any_leg(bridged: bool) -> st.SearchStrategy[Data]:
    return _on(("source", "to_viewer", "to_bridge") if bridged else ("source", "to_viewer"))


@cache
def _way(bridged: bool) -> st.SearchStrategy[Data]:
    return _on(("to_viewer", "to_bridge") if bridged else ("to_viewer",))


def _step(do: str, *parts: st.SearchStrategy[Data], **keys: str) -> st.SearchStrategy[Data]:
    """``keys``: the bounds that they are drawn from; ``parts``: what else is merged in."""
    fixed = st.fixed_dictionaries({"at_s": number("step.at_s"), "do": st.just(do), **_numbers(keys)})
    return st.tuples(fixed, *parts).map(lambda drawn: {key: one[key] for one in drawn for key in one})


def _numbers(keys: dict[str, str]) -> dict[str, st.SearchStrategy[Any]]:
    return {key: number(name) for key, name in keys.items()}


@cache
def _stall(_bridged: bool) -> st.SearchStrategy[Data]:
    """Half of them of the pictures: those are what takes a model long to make."""
    only = st.sampled_from(({"only": "video"}, {"only": "video"}, {}, {"only": "audio"}))
    resume = st.sampled_from(({}, {"resume": "burst"}, {"resume": "continue"}))
    return _step("stall", only, resume, for_s="step.for_s")


@cache
@st.composite
def _impairment(draw: Draw) -> Data:
    part = _Part(draw, DENSE)
    part.may("delay_ms", "impair.delay_ms")
    part.may("jitter_ms", "leg.jitter_ms")
    if part.may("loss", "leg.loss"):
        part.may("burst", "leg.burst")
    if part.may("reorder", "leg.reorder"):
        part.data["reorder_by_ms"] = draw(number("leg.reorder_by_ms"))
    part.may("rate_kbps", "leg.rate_kbps")
    if not part.data:
        part.data["jitter_ms"] = draw(number("leg.jitter_ms"))
    part.may("for_s", "step.for_s", likely_pct=70)
    return part.data


@cache
def _impair(bridged: bool) -> st.SearchStrategy[Data]:
    return _step("impair", _any_leg(bridged), _only(), _impairment()).map(_of_both)


def _of_both(step: Data) -> Data:
    """The bottleneck is shared: a rate is of both streams."""
    return {key: value for key, value in step.items() if key != "only" or "rate_kbps" not in step}


@cache
def _hold(bridged: bool) -> st.SearchStrategy[Data]:
    return _step("hold", _any_leg(bridged), for_ms="hold.for_ms")


@cache
def _route_step(bridged: bool) -> st.SearchStrategy[Data]:
    return _step("route_step", _way(bridged), _only(), by_ms="route.by_ms")


@cache
def _pause(_bridged: bool) -> st.SearchStrategy[Data]:
    return _step("pause", st.sampled_from(({}, {"marked": False})), for_s="step.for_s")


@cache
def _mute(_bridged: bool) -> st.SearchStrategy[Data]:
    return _step("mute", for_s="step.for_s")


@cache
def _fps(_bridged: bool) -> st.SearchStrategy[Data]:
    return _step("fps", to="video.fps")


@cache
def _rate(_bridged: bool) -> st.SearchStrategy[Data]:
    return _step("rate", to_hz="audio.rate_hz")


@cache
def _clock_step(bridged: bool) -> st.SearchStrategy[Data]:
    clocks = ("provider", "bridge") if bridged else ("provider",)
    return _step("clock_step", st.sampled_from(tuple({"clock": clock} for clock in clocks)), by_ms="clock_step.by_ms")


@cache
def _sleep(bridged: bool) -> st.SearchStrategy[Data]:
    hosts = ("sender", "bridge", "viewer") if bridged else ("sender", "viewer")
    return _step("sleep", st.sampled_from(tuple({"host": host} for host in hosts)), for_s="step.for_s")


@cache
@st.composite
def _misreport(draw: Draw) -> Data:
    part = _Part(draw, DENSE)
    mode = draw(st.sampled_from(("missing", "late", "wrong")))
    if mode != "missing":
        part.data |= {"mode": mode, "by_ms": draw(number("reports.by_ms"))}
    part.may("for_s", "step.for_s", likely_pct=70)
    return part.data


@cache
def _reports(bridged: bool) -> st.SearchStrategy[Data]:
    return _step("reports", _way(bridged), _only(), _misreport())


_STEPS = (
    _stall, _impair, _hold, _route_step, _pause, _mute, _fps, _rate, _clock_step, _sleep, _reports,
)  # fmt: skip
