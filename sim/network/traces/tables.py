"""Traces that are tables with a header: one-way delay, RTT, bandwidth, and four known dialects."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from avsync.units import FAR_NS, NS_PER_S
from sim.network.traces.builders import ProbePacket, build, from_distribution, from_probes, from_rates
from sim.network.traces.clocks import above_floor, drift_text, line_at
from sim.network.traces.reader import NS_PER, TraceFile
from sim.network.traces.trace import MAX_DELAY_NS, MAX_RATE_BPS, NetworkTrace

_MAX_MS = MAX_DELAY_NS / 1e6
_UNSYNCED_NS = NS_PER_S  # a smallest one-way delay beyond this, or below 0, is two clocks' difference
_BPS_PER = {"bps": 1, "kbps": 1_000, "mbps": 1_000_000, "gbps": 1_000_000_000}
_MISSING = {"", "-", "*", "nan", "none", "null", "na", "n/a", "timeout"}
_NO = {"0", "0.0", "false", "no", *_MISSING}
_TIME_NAME = re.compile(r"^(t|time|timestamp|t_send|t_recv|send_time|recv_time|elapsed)(?:_(s|ms|us|ns))?$")
_VALUE_NAME = re.compile(r"^(?:(.+)_)?(ms|us|ns|s|bps|kbps|mbps|gbps)$")
_BOTH_WAYS = ("owd_up_ms", "owd_down_ms")
_RTT_NAMES = {"rtt", "ping", "rtt_ms", "ping_ms", "latency_rtt"}


@dataclass(frozen=True, slots=True)
class Table:
    """``names``: the header in small letters; ``rows``: (line number, cells)."""

    source: TraceFile
    names: tuple[str, ...]
    header_line: int
    rows: tuple[tuple[int, list[str]], ...]

    def refuse(self, rule: str, line: int | None = None, remedy: str = "") -> NoReturn:
        self.source.refuse(rule, self.header_line if line is None else line, remedy)

    def index(self, name: str) -> int:
        if name not in self.names:
            self.refuse(f"there is no column {name!r}", remedy=f"the columns are {', '.join(filter(None, self.names))}")
        return self.names.index(name)

    def column(self, *names: str) -> Iterator[tuple[int, list[str]]]:
        """(line, the cells of these columns), every row checked to be long enough."""
        where = [self.index(name) for name in names]
        for line, cells in self.rows:
            if len(cells) <= max(where):
                self.source.refuse(f"{len(cells)} cells where the header has {len(self.names)}", line)
            yield line, [cells[i].strip() for i in where]


def read_table(source: TraceFile) -> Table:
    """The table under the first line that is not a comment."""
    header_line, header = source.lines[0]
    mark = max(",;\t", key=header.count)
    blanks = mark not in header
    rows = []
    for line, text in source.lines:
        try:
            rows.append((line, text.split() if blanks else next(csv.reader([text], delimiter=mark))))
        except csv.Error as error:
            source.refuse(f"not a line of a table: {error}", line)
    names = [cell.strip().strip("\"'").lower().replace(" ", "_") for cell in rows[0][1]]
    twice = next((name for name, count in Counter(filter(None, names)).items() if count > 1), None)
    if twice:
        source.refuse(f"the column {twice!r} comes twice", header_line)
    if len(rows) < 2:
        source.refuse("the table has a header and no rows", header_line)
    return Table(source, tuple(names), header_line, tuple(rows[1:]))


def detect_table(source: TraceFile) -> str:
    """Which dialect its header announces."""
    header_line, header = source.lines[0]
    if "number of samples" in header.lower() and "latency" in header.lower():
        return "delay-histogram"
    names = set(read_table(source).names)
    if {"dl_bitrate", "ul_bitrate"} & names:
        return "gnettrack"
    if {"ping_avg", "ping_best"} <= names:
        return "ping-summary"
    if {"mbps", "lost", "packets"} <= names:
        return "iperf3-csv"
    if {"t_recv_s", "owd_ms"} <= names:
        return "flent-csv"
    if any(name.startswith(("owd", "one_way_delay")) for name in names):
        return "owd-csv"
    if any(name in _RTT_NAMES or name.startswith("rtt_") for name in names):
        return "rtt-csv"
    if any(name.split("_")[-1] in _BPS_PER for name in names) and any(_TIME_NAME.match(name) for name in names):
        return "bandwidth-csv"
    return source.refuse(
        f"a table with the columns {', '.join(sorted(filter(None, names)))[:200]}: no network trace that is known",
        header_line,
        "known are one-way delay (owd_ms), RTT (rtt_ms), bandwidth (mbps, kbps, bps), each with a time (t_s)",
    )


def _choose(table: Table, names: list[str], leg: str | None, column: str | None) -> str:
    """The column that was asked for, or the only one, or that of the leg's direction."""
    if column is not None:
        table.index(column)
        return column
    if len(names) > 1 and leg is not None:
        words = {"down", "dl", "download", "downlink"} if leg == "to_viewer" else {"up", "ul", "upload", "uplink"}
        names = [name for name in names if words & set(name.split("_"))] or names
    if len(names) != 1:
        table.refuse(
            f"several columns would do: {', '.join(names)}" if names else "no column has what this format needs",
            remedy="say which by column=, or by leg= (to_viewer is the down direction)",
        )
    return names[0]


def _time_column(table: Table) -> tuple[str, str, str]:
    """(name, unit, what to say about it)."""
    for name in table.names:
        found = _TIME_NAME.match(name)
        if found:
            return name, found[2] or "s", "" if found[2] else f"{name} read as seconds"
    return table.refuse("there is no column of time", remedy="call it t_s, t_send_s or time_ms")


def _unit_of(name: str, units: dict[str, int], otherwise: str) -> str:
    found = _VALUE_NAME.match(name)
    return found[2] if found and found[2] in units else otherwise


def _lost(table: Table, leg: str | None) -> dict[int, bool]:
    """Line -> whether that probe was lost on this leg, if the table has such a column."""
    name = next((name for name in ("lost", "loss", "is_lost") if name in table.names), None)
    if name is None:
        return {}
    other_way = {"to_viewer": "true_up", "to_bridge": "true_down"}.get(leg or "")
    return {line: cell.lower() not in _NO and cell.lower() != other_way for line, (cell,) in table.column(name)}


def _read_delays(table: Table, name: str, leg: str | None, low_ms: float) -> tuple[list[tuple[int, int | None]], str]:
    """(time, delay or None) of each row in ns, by send time, and what was assumed."""
    time_name, time_unit, said = _time_column(table)
    unit = _unit_of(name, NS_PER, "ms")
    lost = _lost(table, leg)
    top = _MAX_MS if low_ms >= -1 else 1e14
    points: list[tuple[int, int | None]] = []
    for line, (time_text, text) in table.column(time_name, name):
        at_ns = table.source.time_ns(time_text, line, time_unit)
        if lost.get(line) or text.lower() in _MISSING:
            points.append((at_ns, None))
            continue
        scale = NS_PER[unit] / 1e6
        value = table.source.number(text, line, name, low_ms / scale, top / scale)
        points.append((at_ns, round(value * NS_PER[unit])))
    if time_name.startswith(("t_recv", "recv")):
        points = [(at_ns - (delay or 0), delay) for at_ns, delay in points]
        said = f"{time_name} is when it arrived"
    return points, said


def owd(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """One-way delays; clock offset and drift come out where they show."""
    names = [name for name in table.names if name.startswith(("owd", "one_way_delay"))]
    name = _choose(table, names, leg, column)
    points, said = _read_delays(table, name, leg, low_ms=-1e14)
    heard = sorted({at_ns: delay for at_ns, delay in points if delay is not None}.items())
    if not heard:
        table.refuse(f"{name} has no value in any row")
    lowest = min(delay for _, delay in heard)
    paired = name in _BOTH_WAYS and set(_BOTH_WAYS) <= set(names)
    about = f"one-way delay, {name}"
    if not paired and 0 <= lowest <= _UNSYNCED_NS:
        about += "; taken as it is (clocks assumed to agree)"
        delays = dict(heard)
    else:
        above, line = above_floor(heard)
        base_ns = _half_round_trip(table, line) if paired else 0
        delays = {at_ns: delay + base_ns for (at_ns, _), delay in zip(heard, above, strict=True)}
        about += f"; {drift_text(line)}"
        about += "; half the smallest round trip added" if base_ns else "; the smallest delay became 0"
    if max(delays.values()) > MAX_DELAY_NS:
        table.refuse(f"{name} reaches {max(delays.values()) / 1e9:.0f} s: more than 60 s is no delay")
    about = "; ".join(filter(None, (about, said)))
    probes = [ProbePacket(at_ns, delays.get(at_ns) if delay is not None else None) for at_ns, delay in points]
    return from_probes(table.source, format_name, about, probes)


def _half_round_trip(table: Table, line: tuple[int, int, int]) -> int:
    """Up and down floors added: the clocks' difference cancels; half of it goes each way."""
    floors = []
    for name in _BOTH_WAYS:
        points, _ = _read_delays(table, name, None, low_ms=-1e14)
        heard = sorted({at_ns: delay for at_ns, delay in points if delay is not None}.items())
        if not heard:
            return 0
        floors.append(line_at(above_floor(heard)[1], line[0]))
    return max(sum(floors) // 2, 0)


def rtt(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """Round trips, halved. A negative one (-1) is how some tools write "no answer"."""
    names = [name for name in table.names if name in _RTT_NAMES or name.startswith("rtt_")]
    name = _choose(table, names, leg, column)
    points, said = _read_delays(table, name, leg, low_ms=-1)
    no_answer = sum(delay is not None and delay < 0 for _, delay in points)
    about = f"round trip, {name}; RTT halved"
    about += "; -1 read as no answer" if no_answer else ""
    about = "; ".join(filter(None, (about, said)))
    probes = [ProbePacket(at_ns, delay // 2 if delay is not None and delay >= 0 else None) for at_ns, delay in points]
    return from_probes(table.source, format_name, about, probes)


def bandwidth(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """A time and a rate whose unit is in its name."""
    rates = [name for name in table.names if name.split("_")[-1] in _BPS_PER]
    name = _choose(table, rates, leg, column)
    unit = _unit_of(name, _BPS_PER, "mbps")
    time_name, time_unit, said = _time_column(table)
    steps: dict[int, int] = {}
    last_ns = -FAR_NS
    for line, (time_text, text) in table.column(time_name, name):
        at_ns = table.source.time_ns(time_text, line, time_unit)
        if at_ns < last_ns:
            table.refuse("time goes back", line, "sort the rows by time")
        last_ns = at_ns
        steps[at_ns] = round(table.source.number(text, line, name, 0, MAX_RATE_BPS / _BPS_PER[unit]) * _BPS_PER[unit])
    about = "; ".join(filter(None, (f"bandwidth, {name}", said)))
    return from_rates(table.source, format_name, about, list(steps), list(steps.values()))


def iperf3(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """What an iperf3 UDP test received. If it lost much, it was the test that overran the link."""
    source = table.source
    times: list[int] = []
    rates: list[int] = []
    jitter: list[int] = []
    counts: list[tuple[int, int]] = []
    for line, cells in table.column(_time_column(table)[0], column or "mbps", "lost", "packets"):
        at_ns = source.time_ns(cells[0], line)
        if times and at_ns <= times[-1]:
            table.refuse("time goes back or stands", line, "sort the rows by time")
        times.append(at_ns)
        rates.append(round(source.number(cells[1], line, "mbps", 0, MAX_RATE_BPS / 1e6) * 1e6))
        packets = source.number(cells[3], line, "packets", 0)
        lost = source.number(cells[2], line, "lost", -1e9, 1e9)  # below 0: what was late is given back
        counts.append((int(min(max(lost, 0), packets)), int(packets)))
    if "jitter_ms" in table.names:
        for line, (text,) in table.column("jitter_ms"):
            jitter.append(round(source.number(text, line, "jitter_ms", 0, _MAX_MS) * 1e6))
    share = sum(lost for lost, _ in counts) / max(sum(packets for _, packets in counts), 1)
    about = "iperf3, Mbit/s received"
    more: dict[str, tuple[int, ...]] = {"jitter_ns": tuple(jitter)} if jitter else {}
    if share > 0.02:
        about += f"; its loss of {100 * share:.0f} % is its own overload and not replayed"
    elif share:
        more["loss_ppm"] = tuple(lost * 1_000_000 // max(packets, 1) for lost, packets in counts)
    return from_rates(source, format_name, about, times, rates, **more)


def gnettrack(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """G-NetTrack: kbit/s that an application used, a row a second."""
    if column is None and leg is None:
        table.refuse("both directions are in it", remedy="say leg=to_viewer (DL_bitrate) or to_bridge (UL_bitrate)")
    name = (column or ("ul_bitrate" if leg == "to_bridge" else "dl_bitrate")).lower()
    states = {line: cell.upper() for line, (cell,) in table.column("state")} if "state" in table.names else {}
    about = f"G-NetTrack, {name} in kbit/s, a row a second: what the application used, not what there was"
    kept: list[int] = []
    skipped = 0
    for line, (text,) in table.column(name):
        if text.lower() in _MISSING or states.get(line) == "I":
            skipped += 1
            continue
        kept.append(round(table.source.number(text, line, name, 0, MAX_RATE_BPS / 1e3) * 1e3))
    if not kept:
        table.refuse(f"{name} has no value in any row")
    if skipped:
        about += f"; {skipped} rows idle or without a value left out"
    return from_rates(table.source, format_name, about, [i * NS_PER_S for i in range(len(kept))], kept)


def ping_summary(table: Table, format_name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """A row per session of pings: smallest and mean RTT, loss in percent."""
    source = table.source
    times, delays, jitter, loss = [0], [], [], []
    names = ("timestamp_start", "timestamp_end", "packet_loss", "ping_avg", "ping_best")
    for line, (start, end, lost, avg, best) in table.column(*names):
        if avg.lower() in _MISSING or best.lower() in _MISSING:
            continue
        try:
            lasted = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        except (ValueError, TypeError):
            table.refuse("timestamp_start and timestamp_end must be dates such as 2024-01-11 09:43:20", line)
        smallest = source.number(best, line, "ping_best", 0, _MAX_MS)
        mean = source.number(avg, line, "ping_avg", smallest, _MAX_MS)
        times.append(times[-1] + max(round(lasted.total_seconds()), 1) * NS_PER_S)
        delays.append(round(smallest * 1e6) // 2)
        jitter.append(round((mean - smallest) * 1e6 * 1.2533) // 2)  # sigma of a half-normal: its mean * sqrt(pi / 2)
        loss.append(round(source.number(lost, line, "packet_loss", 0, 100) * 10_000))
    if not delays:
        table.refuse("no row has a ping_avg and a ping_best")
    return build(
        source,
        f"ping sessions, one after the other without the pauses: {len(delays)} in {times[-1] // NS_PER_S} s; "
        "RTT halved; best RTT as delay, mean above it as jitter; loss in percent",
        format=format_name,
        duration_ns=times[-1],
        times_ns=tuple(times[:-1]),
        delay_ns=tuple(delays),
        jitter_ns=tuple(jitter),
        loss_ppm=tuple(loss),
    )


def headed_histogram(source: TraceFile, format_name: str) -> NetworkTrace:
    """DETERMINISTIC6G: count, share, lower and upper bound in us, and the bound again in ms."""
    bins: list[tuple[int, int, int]] = []
    for line, text in source.lines[1:]:
        cells = [cell.strip() for cell in text.split(",")]
        if len(cells) < 4:
            source.refuse(f"{len(cells)} cells where count, share, lower and upper bound belong", line)
        low, high = (source.number(cell, line, "the bound", 0, _MAX_MS * 1e3) for cell in cells[2:4])
        if high <= low or (bins and low * 1e3 < bins[-1][0]):
            source.refuse("the ranges must grow", line)
        bins.append((round(low * 1e3), round(high * 1e3), int(source.number(cells[0], line, "the count", 0))))
    if not bins:
        source.refuse("the histogram has no ranges", source.lines[0][0])
    return from_distribution(source, format_name, "histogram of delay, bounds read as us", bins)


TableReader = Callable[[Table, str, str | None, str | None], NetworkTrace]
TABLE_READERS: dict[str, TableReader] = {
    "owd-csv": owd,
    "flent-csv": owd,
    "rtt-csv": rtt,
    "bandwidth-csv": bandwidth,
    "iperf3-csv": iperf3,
    "gnettrack": gnettrack,
    "ping-summary": ping_summary,
}
