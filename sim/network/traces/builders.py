"""From what a file says to a ``NetworkTrace``: single probes, rates by time, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avsync.errors import InputError, UsageError
from avsync.units import NS_PER_S, ms
from sim.network.traces.reader import TraceFile
from sim.network.traces.trace import NetworkTrace

LONE_LOSS_NS = ms(200)
"""A lost probe loses all that is sent until the next one; a lone one at most for this long, or
one answer lost at a ping a second would be a second of silence."""

_QUANTILES = 1_000


class ProbePacket(NamedTuple):
    """One packet of a measurement: when it was sent, how long it took; None: lost."""

    at_ns: int
    delay_ns: int | None


def build(source: TraceFile, about: str, **fields: object) -> NetworkTrace:
    """A ``NetworkTrace``, whose complaints become the file's."""
    try:
        return NetworkTrace(about=about, **fields)  # type: ignore[arg-type]
    except UsageError as error:
        raise InputError(str(error), file=source.file) from None


def spacing_ns(times: Sequence[int]) -> int:
    """The median distance, at least 1 us; a second where there is only one time."""
    gaps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    return max(gaps[len(gaps) // 2], 1_000) if gaps else NS_PER_S


def from_probes(source: TraceFile, format_name: str, about: str, probes: list[ProbePacket]) -> NetworkTrace:
    """Delays along the line between probes; what was lost is lost until the next probe."""
    by_time = {probe.at_ns: probe for probe in sorted(probes, key=lambda probe: probe.at_ns)}
    times, heard = list(by_time), [probe.delay_ns for probe in by_time.values()]
    lost = sum(delay is None for delay in heard)
    if lost == len(heard):
        source.refuse("not one probe was answered: there is no delay in it")
    delays = _filled(times, heard)
    out_times: list[int] = []
    out_delays: list[int] = []
    loss: list[int] = []
    for i, at_ns in enumerate(times):
        out_times.append(at_ns - times[0])
        out_delays.append(delays[i])
        loss.append(1_000_000 if heard[i] is None else 0)
        alone = heard[i] is None and i + 1 < len(times) and heard[i + 1] is not None
        if alone and times[i + 1] - at_ns > LONE_LOSS_NS:
            share = LONE_LOSS_NS, times[i + 1] - at_ns
            out_times.append(at_ns - times[0] + LONE_LOSS_NS)
            out_delays.append(delays[i] + (delays[i + 1] - delays[i]) * share[0] // share[1])
            loss.append(0)
    seconds_long = (times[-1] - times[0]) / NS_PER_S
    told = f"{about}; {len(times)} probes in {seconds_long:.1f} s"
    if lost:
        told += f", {100 * lost / len(times):.2g} % lost (a lone loss counts for at most 200 ms)"
    return build(
        source,
        told,
        format=format_name,
        duration_ns=out_times[-1] + spacing_ns(times),
        times_ns=tuple(out_times),
        delay_ns=tuple(out_delays),
        loss_ppm=tuple(loss) if lost else (),
        between=True,
    )


def _filled(times: list[int], heard: list[int | None]) -> list[int]:
    """The delays, with those of lost probes put on the line between their neighbours."""
    known = [(at_ns, delay) for at_ns, delay in zip(times, heard, strict=True) if delay is not None]
    filled, k = [], 0
    for at_ns, delay in zip(times, heard, strict=True):
        while k + 1 < len(known) and known[k + 1][0] <= at_ns:
            k += 1
        if delay is not None:
            filled.append(delay)
        elif known[k][0] > at_ns or k + 1 == len(known):
            filled.append(known[k][1])
        else:
            (left, low), (right, high) = known[k], known[k + 1]
            filled.append(low + (high - low) * (at_ns - left) // (right - left))
    return filled


def from_rates(
    source: TraceFile, format_name: str, about: str, times: list[int], rates: list[int], **more: tuple[int, ...]
) -> NetworkTrace:
    """Steps: each rate holds from its time to the next. ``times`` grow; the first becomes 0."""
    start_ns = times[0]
    duration_ns = times[-1] - start_ns + spacing_ns(times)
    if not any(rates):
        source.refuse("the bandwidth is 0 from start to end: nothing would ever arrive")
    trace = build(
        source,
        about,
        format=format_name,
        duration_ns=duration_ns,
        times_ns=tuple(at_ns - start_ns for at_ns in times),
        rate_bps=tuple(rates),
        **more,
    )
    told = f"{about}; {duration_ns / NS_PER_S:.1f} s, mean {trace.mean_bps / 1e6:.3g} Mbit/s"
    return build(source, told, **{name: getattr(trace, name) for name in NetworkTrace.__slots__ if name != "about"})


def from_distribution(
    source: TraceFile, format_name: str, about: str, bins: Sequence[tuple[int, int, int]]
) -> NetworkTrace:
    """(from_ns, until_ns, weight) bins, ascending -> 1000 quantiles, straight within a bin."""
    total = sum(weight for _, _, weight in bins)
    if total <= 0:
        source.refuse("the histogram is empty: all its counts are 0")
    quantiles, i, below = [], 0, 0
    for k in range(_QUANTILES):
        target = (2 * k + 1) * total  # in units of total / (2 * 1000)
        while 2 * _QUANTILES * (below + bins[i][2]) < target:
            below += bins[i][2]
            i += 1
        low, high, weight = bins[i]
        quantiles.append(low + (high - low) * (target - 2 * _QUANTILES * below) // (2 * _QUANTILES * weight))
    told = f"{about}; median {quantiles[_QUANTILES // 2] / 1e6:.3g} ms; a distribution: when is drawn from the seed"
    return build(source, told, format=format_name, duration_ns=NS_PER_S, delay_quantiles_ns=tuple(quantiles))
