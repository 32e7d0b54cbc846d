"""The link of a leg: from what people wrote about it to the ``Link`` that behaves like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from avsync.units import ms, seconds
from sim.network.link import Link, LinkSpec
from sim.network.presets import preset
from sim.network.traces.load import load_trace
from sim.scenario.network import DELAY_MS, LegSpec
from sim.scenario.scenario import Scenario
from sim.scenario.steps import Impair

MILLION: Final = 1_000_000


def link_of(
    leg: LegSpec, seed: int, name: str, scenario: Scenario, networks: dict[str, Path] | None
) -> tuple[Link, tuple[str, ...]]:
    """The link of one leg, and a line for each trace that was read into it."""
    base = LinkSpec(delay_ns=ms(DELAY_MS))
    if leg.preset is not None:
        known = preset(leg.preset)
        base = known.to_viewer if name == "to_viewer" else known.to_bridge
    said = _ints(leg.said())
    if "queue_ns" in said or "queue_packets" in said:
        base = replace(base, queue_ns=None, queue_packets=None, queue_bytes=None)  # one bound, the one that was said
    spec = replace(base, **said)
    if leg.hold is not None:
        spec = replace(spec, hold_every_ns=seconds(leg.hold.every_s), hold_for_ns=ms(leg.hold.for_ms))
    about: tuple[str, ...] = ()
    path = networks.get(name) if networks else None
    if path is None and leg.trace is not None:
        path = scenario.file(leg.trace)
    if path is not None:
        trace = load_trace(path, leg=name)
        about = (f"{name}: {trace.about}",)
        spec = replace(spec, trace=trace, rate_bps=None if trace.limits_rate else spec.rate_bps)
    return Link(spec, seed=seed, name=name), about


def impairment(step: Impair) -> dict[str, Any]:
    """What an ``impair`` step replaces, as fields of a ``LinkSpec``; its added delay is not among them."""
    names = ("jitter_ms", "loss", "burst", "reorder", "reorder_by_ms", "duplicate", "rate_kbps")
    said = {name: getattr(step, name) for name in names}
    return _ints({name: value for name, value in said.items() if value is not None})


def _ints(said: dict[str, float | int]) -> dict[str, Any]:
    """People's units -> the link's ints."""
    convert: dict[str, tuple[str, Any]] = {
        "rate_kbps": ("rate_bps", lambda value: round(value * 1000)),
        "queue_ms": ("queue_ns", ms),
        "queue_packets": ("queue_packets", int),
        "delay_ms": ("delay_ns", ms),
        "jitter_ms": ("jitter_ns", ms),
        "jitter_correlation": ("jitter_correlation_pct", lambda value: round(value * 100)),
        "loss": ("loss_ppm", lambda value: round(value * MILLION)),
        "burst": ("burst_packets", round),
        "reorder": ("reorder_ppm", lambda value: round(value * MILLION)),
        "reorder_by_ms": ("reorder_by_ns", ms),
        "duplicate": ("duplicate_ppm", lambda value: round(value * MILLION)),
    }
    return {convert[name][0]: convert[name][1](value) for name, value in said.items()}
