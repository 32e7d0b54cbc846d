"""Networks with a name and a source: ``preset("webrtc-3g-average")`` gives both directions.

Every number is somebody's published or measured one; where something was derived (a one-way
delay from a round trip, a sigma from percentiles) its ``source`` says so. ``to_viewer`` is the
downlink of an access network, ``to_bridge`` its uplink; where a source makes no difference they
are the same.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from avsync.errors import UsageError
from avsync.units import ms, seconds, to_ms
from sim.network.link_spec import LinkSpec
from sim.network.traces.trace import NetworkTrace, quantiles_from_points


@dataclass(frozen=True, slots=True)
class Preset:
    """A network with both its directions. ``source``: where the numbers come from, in one line."""

    name: str
    to_viewer: LinkSpec
    to_bridge: LinkSpec
    source: str


def in_words(spec: LinkSpec) -> str:
    """The numbers people ask for: ``850 kbit/s, 90 ms, 1 % loss``; a trace's own numbers are its own."""
    said = [] if spec.rate_bps is None else [f"{spec.rate_bps / 1000:g} kbit/s"]
    said.append(f"{to_ms(spec.delay_ns):g} ms" if spec.delay_ns or spec.trace is None else "delay from a trace")
    if spec.jitter_ns:
        said.append(f"jitter {to_ms(spec.jitter_ns):g} ms")
    if spec.loss_ppm:
        said.append(f"{spec.loss_ppm / 10_000:g} % loss")
    if spec.hold_every_ns:
        said.append(f"held for {to_ms(spec.hold_for_ns):g} ms every {to_ms(spec.hold_every_ns) / 1000:g} s")
    return ", ".join(said)


def preset(name: str) -> Preset:
    """The preset of that name; ``UsageError`` names the nearest one."""
    found = PRESETS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no network preset {name!r}{hint}")
    return found


def _webrtc() -> list[Preset]:
    source = (
        "libwebrtc tools_webrtc/network_emulator/emulate.py, preset {} (from Apple's Network Link "
        "Conditioner); its delay is applied to every packet, so it is one-way here"
    )
    # name, down kbit/s, up kbit/s, delay ms, loss ppm, queue in packets
    rows = [
        ("generic-bad", 95, 95, 250, 20_000, 100),
        ("generic-average", 375, 375, 145, 1_000, 100),
        ("generic-good", 1_000, 1_000, 35, 0, 100),
        ("3g-average", 780, 330, 100, 0, 100),
        ("3g-good", 850, 420, 90, 0, 100),
        ("3g-lossy", 780, 330, 100, 10_000, 100),
        ("cable", 6_000, 1_000, 2, 0, 10),
        ("dsl", 2_000, 256, 5, 0, 10),
        ("edge-average", 240, 200, 400, 0, 100),
        ("edge-good", 250, 200, 350, 0, 100),
        ("edge-lossy", 240, 200, 400, 10_000, 100),
        ("wifi-average", 40_000, 33_000, 1, 0, 100),
        ("wifi-good", 45_000, 40_000, 1, 0, 100),
        ("wifi-lossy", 40_000, 33_000, 1, 0, 100),  # as in the source: it has no loss there either
    ]
    presets = []
    for number, (name, down, up, delay_ms, loss, queue) in enumerate(rows, 1):
        spec = LinkSpec(rate_bps=down * 1_000, delay_ns=ms(delay_ms), loss_ppm=loss, queue_packets=queue)
        presets.append(Preset(f"webrtc-{name}", spec, replace(spec, rate_bps=up * 1_000), source.format(number)))
    return presets


def _devtools() -> list[Preset]:
    source = (
        "Chrome DevTools network conditions: {}; its latency is one of requests, so half of it is taken "
        "per direction; the queue of 300 ms is RFC 8867's, DevTools has none"
    )
    rows = [
        ("3g", 400, 400, 1_000.0, "400/400 kbit/s, 2000 ms"),
        ("slow-4g", 1_440, 675, 281.25, "1440/675 kbit/s, 562.5 ms"),
    ]
    presets = []
    for name, down, up, delay_ms, said in rows:
        spec = LinkSpec(rate_bps=down * 1_000, delay_ns=ms(delay_ms), queue_ns=ms(300))
        presets.append(Preset(f"devtools-{name}", spec, replace(spec, rate_bps=up * 1_000), source.format(said)))
    return presets


_RFC8867_PATH = LinkSpec(delay_ns=ms(50), jitter_ns=ms(15), jitter_cap_ns=ms(30))


def _capacity(name: str, steps: list[tuple[int, int]], duration_s: int) -> NetworkTrace:
    """(second, kbit/s) steps as a trace that starts with the run and repeats after ``duration_s``."""
    return NetworkTrace(
        format="schedule",
        about=f"{name}: capacity in kbit/s from second: {', '.join(f'{at}: {kbps}' for at, kbps in steps)}",
        duration_ns=seconds(duration_s),
        times_ns=tuple(seconds(at) for at, _ in steps),
        rate_bps=tuple(kbps * 1_000 for _, kbps in steps),
    )


def _rfc8867() -> list[Preset]:
    source = (
        "RFC 8867 section {}; one way 50 ms, jitter a truncated gaussian of at most 30 ms, drop-tail queue of "
        "300 ms at the reference rate{}"
    )
    alone = "; the bottleneck is that of all its flows together, here the call has it alone"
    ample = _RFC8867_PATH

    def varying(section: str, steps: list[tuple[int, int]], reference_kbps: int, lasts_s: int) -> LinkSpec:
        return replace(
            _RFC8867_PATH,
            queue_bytes=300 * reference_kbps // 8,
            trace=_capacity(f"RFC 8867 {section}", steps, lasts_s),
            trace_from_ns=0,
        )

    def steady(kbps: int, delay_ms: int = 50) -> LinkSpec:
        return replace(_RFC8867_PATH, rate_bps=kbps * 1_000, delay_ns=ms(delay_ms), queue_ns=ms(300))

    one = varying("5.1", [(0, 1_000), (40, 2_500), (60, 600), (80, 1_000)], 1_000, 100)
    two = varying("5.2", [(0, 4_000), (25, 2_000), (50, 3_500), (75, 1_000), (100, 2_000)], 2_000, 125)
    three = varying("5.3 forward", [(0, 2_000), (20, 1_000), (40, 500), (60, 2_000)], 2_000, 100)
    three_back = varying("5.3 backward", [(0, 2_000), (35, 800), (70, 2_000)], 2_000, 100)
    return [
        Preset("rfc8867-5.1", one, ample, source.format("5.1 (variable capacity)", "")),
        Preset("rfc8867-5.2", two, ample, source.format("5.2 (variable capacity, two flows)", alone)),
        Preset("rfc8867-5.3", three, three_back, source.format("5.3 (congested feedback link)", "")),
        Preset("rfc8867-5.4", steady(3_500), ample, source.format("5.4 (competing media flows)", alone)),
        Preset(
            "rfc8867-5.5",
            steady(4_000, 150),
            replace(ample, delay_ns=ms(150)),
            source.format("5.5 (round-trip fairness)", f"; of its one-way delays, 10 to 150 ms, the longest{alone}"),
        ),
        Preset("rfc8867-5.6", steady(2_000), ample, source.format("5.6 (against a long TCP flow)", alone)),
        Preset("rfc8867-5.7", steady(2_000), ample, source.format("5.7 (against short TCP flows)", alone)),
        Preset("rfc8867-5.8", steady(3_500), ample, source.format("5.8 (media pause and resume)", alone)),
    ]


def _both(name: str, spec: LinkSpec, source: str) -> Preset:
    return Preset(name, spec, spec, source)


def _rmcat() -> list[Preset]:
    source = "RMCAT evaluation criteria (RFC 8868), delay variation without reordering: |N(0, {})| of at most {} ms"
    return [
        _both(
            f"rmcat-jitter-{name}",
            LinkSpec(delay_ns=ms(50), jitter_ns=ms(sigma), jitter_cap_ns=ms(cap)),
            source.format(sigma, cap) + "; on a path of 50 ms (RFC 8867)",
        )
        for name, sigma, cap in (("default", 15, 30), ("gentle", 5, 15))
    ]


def _g1050() -> list[Preset]:
    source = (
        "ITU-T G.1050, core segment {}: regional one-way delay, peak jitter as three sigmas; "
        "nothing comes through in an outage, which recurs by a fixed interval from a seeded start"
    )
    # name, delay ms, peak jitter ms, loss ppm, outage ms, every s
    rows = [
        ("A", 4, 5, 0, 0, 0),
        ("B", 8, 10, 100, 0, 0),
        ("C", 16, 16, 200, 0, 0),
        ("D", 32, 40, 400, 256, 900),
        ("E", 64, 70, 1_000, 400, 480),
        ("F", 128, 100, 2_000, 800, 240),
        ("G", 256, 150, 5_000, 1_600, 120),
        ("H", 512, 500, 10_000, 3_000, 60),
    ]
    return [
        _both(
            f"g1050-{name}",
            LinkSpec(
                delay_ns=ms(delay),
                jitter_ns=ms(jitter) // 3,
                jitter_cap_ns=ms(jitter),
                loss_ppm=loss,
                outage_for_ns=ms(outage),
                outage_every_ns=seconds(every),
            ),
            source.format(name),
        )
        for name, delay, jitter, loss, outage, every in rows
    ]


def _distribution(name: str, about: str, points: list[tuple[int, float]]) -> NetworkTrace:
    quantiles = quantiles_from_points([(share, ms(value)) for share, value in points])
    return NetworkTrace(format=name, about=about, duration_ns=seconds(1), delay_quantiles_ns=quantiles)


def _measured_driving() -> list[Preset]:
    # Held p10-p90 of 237-286 ms is 261 +- 12 % if even; p50 314 and p90 430 are 314 +- 46 %.
    # Base p95 +9..18 and p99 +16..28 ms: a half-normal with sigma 7 has +13.7 and +18.
    base = LinkSpec(delay_ns=ms(8), jitter_ns=ms(7), jitter_cap_ns=ms(28), jitter_correlation_pct=80)
    stall = replace(
        base,
        hold_every_ns=seconds(70),
        hold_every_spread_pct=73,
        hold_for_ns=ms(261),
        hold_for_spread_pct=12,
    )
    weak = replace(
        base,
        hold_every_ns=seconds(14),
        hold_every_spread_pct=50,
        hold_for_ns=ms(314),
        hold_for_spread_pct=46,
    )
    driving = "CICV5G (CC-BY-4.0), about 340,000 probes while driving; round trips, half of them taken per direction; "
    return [
        _both(
            "measured-5g-stall",
            stall,
            driving + "every 19-121 s all is held for about 250 ms (p10-p90 237-286) and released within 1 ms",
        ),
        _both(
            "measured-5g-weak",
            weak,
            driving + "weak signal: held p50 314 ms, p90 430 ms, every 14 s",
        ),
    ]


def _measured_uplink() -> list[Preset]:
    uplink = LinkSpec(
        delay_ns=ms(9.8),
        jitter_correlation_pct=45,
        # Keeping the order makes packets wait for a late one before them, which is in the measured
        # numbers already. So the distribution is narrower than the percentiles: fitted by running
        # it at 100 Hz, three seeds of ten minutes, until those and the correlation came out.
        trace=_distribution(
            "edaf-5g-uplink",
            "one-way delay above 9.8 ms, drawn from a distribution fitted to published percentiles",
            [(0, 0), (500_000, 3.45), (950_000, 12.5), (990_000, 20.5), (999_000, 55), (1_000_000, 98)],
        ),
    )
    return [
        _both(
            "measured-5g-uplink",
            uplink,
            "EDAF (Apache-2.0), a 5G uplink with PTP-synced clocks, 100 Hz: above p1 p50 3.6, p95 15.7, p99 33, p99.9 "
            "84 ms, lag-1 correlation 0.65; the top is the file's largest, 107.9 ms; the downlink is taken to be alike",
        )
    ]


def _measured_starlink() -> list[Preset]:
    starlink = LinkSpec(
        jitter_correlation_pct=98,
        trace=_distribution(
            "starlink",
            "half of the round trip, drawn from published percentiles",
            [(0, 8.4), (10_000, 11), (500_000, 21.5), (950_000, 43.5), (990_000, 59), (1_000_000, 93)],
        ),
        hold_every_ns=seconds(15),
        hold_every_spread_pct=0,
        hold_for_ns=ms(40),
        hold_for_spread_pct=50,
    )
    return [
        _both(
            "measured-starlink",
            starlink,
            "clarkzjw/mmsys24-starlink (CC-BY-SA-4.0), 36,000 probes: round trip p1 22, p50 43, p95 87, p99 118 ms, "
            "half taken per direction; lag-1 0.54 at 0.27 s is 0.98 at 10 ms; p95 rises by 32 ms after each "
            "reconfiguration, every 15 s",
        )
    ]


_MEASURED = (_measured_driving, _measured_uplink, _measured_starlink)
PRESETS: dict[str, Preset] = {
    one.name: one for group in (_webrtc, _devtools, _rfc8867, _rmcat, _g1050, *_MEASURED) for one in group()
}
"""Every preset by name."""
