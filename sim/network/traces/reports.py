"""Traces that measuring tools write themselves: irtt (JSON), iperf3 (JSON and what it prints), flent.

Each becomes a table of times and numbers, and is read on as one (``sim.network.traces.tables``): the same rules hold,
whether a report was made into a CSV first or not. What a report does not say (what became of a UDP sender's packets)
is refused, with the option that makes the tool say it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from sim.network.traces.reader import MAX_RECORDS, TraceFile
from sim.network.traces.tables import Table, bandwidth, iperf3, owd, rtt
from sim.network.traces.trace import MAX_DELAY_NS, MAX_RATE_BPS, NetworkTrace

MAX_PARTS: Final = 8_000_000
"""Values of a JSON file: four rows of 2,000,000 records, and half a GB of memory."""

MOST_MISSING: Final = 10_000
"""Probes in a row: half an hour of irtt's five a second."""

Report = dict[str, Any]
Rows = list[tuple[int, list[str]]]


# ---- JSON


def read_json(source: TraceFile) -> Any:
    """The file's data; one ``InputError`` whatever is wrong with it."""
    if source.text.count(",") + source.text.count("[") + source.text.count("{") > MAX_PARTS:
        source.refuse(f"JSON of more than {MAX_PARTS} values", remedy="measure for a shorter time")
    try:
        return json.loads(source.text)
    except json.JSONDecodeError as error:
        source.refuse(f"not JSON: {error.msg}", error.lineno)
    except (ValueError, RecursionError):
        source.refuse("JSON nested too deep, or with a number too long")


def detect_json(source: TraceFile) -> str:
    """Told by the keys that each tool alone has."""
    data = read_json(source)
    keys = set(data) if isinstance(data, dict) else set()
    if "round_trips" in keys:
        return "irtt-json"
    if "intervals" in keys:
        return "iperf3-json"
    if {"results", "x_values"} <= keys:
        return "flent"
    return "onl-json"


def _list(source: TraceFile, value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        source.refuse(f"{what} must be a list that is not empty")
    if len(value) > MAX_RECORDS:
        source.refuse(f"{what}: more than {MAX_RECORDS} entries")
    return value


def _number(source: TraceFile, value: Any, what: str, low: float, high: float) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high:  # NaN is not within anything
        source.refuse(f"{what} must be a number within {low:g} and {high:g}, got {value!r:.40}")
    return float(value)


def _whole(source: TraceFile, value: Any, what: str) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        source.refuse(f"{what} must be a whole number, got {value!r:.40}")
    return value


def _inside(value: Any, *path: str) -> Any:
    """What lies there; None where something on the way is missing or of another kind."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _table(source: TraceFile, names: tuple[str, ...], rows: Iterable[list[str]]) -> Table:
    """``rows`` in their order: they have no lines of their own."""
    return Table(source, names, 1, tuple(enumerate(rows, 1)))


# ---- irtt


_OTHER_WAY = {"to_viewer": "true_up", "to_bridge": "true_down"}


def irtt(source: TraceFile, name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """``irtt client -o``: one-way delays where the server stamped them and a leg is asked for, else round trips."""
    trips = _list(source, _inside(read_json(source), "round_trips"), "round_trips")
    rows: list[list[str]] = []
    first_ns: int | None = None
    both_ways = True
    for index, trip in enumerate(trips):
        place = f"round trip {index + 1}"
        sent = _inside(trip, "timestamps", "client", "send")
        stamp = _inside(sent, "monotonic")
        at_ns = _whole(source, _inside(sent, "wall") if stamp is None else stamp, f"{place}: its time of sending")
        first_ns = at_ns if first_ns is None else first_ns
        lost = str(_inside(trip, "lost")).lower()
        if lost == _OTHER_WAY.get(leg or ""):
            continue  # it never came as far as this leg
        delays = [_inside(trip, "delay", key) for key in ("rtt", "send", "receive")]
        heard = [] if lost != "false" else [_whole(source, delays[0], f"{place}: delay.rtt")]
        if heard:
            ways = [value for value in delays[1:] if value is not None]
            both_ways = both_ways and len(ways) == 2
            heard += [_whole(source, value, f"{place}: its one-way delay") for value in ways]
            _number(source, heard[0], f"{place}: delay.rtt", 0, MAX_DELAY_NS)
        cells = [f"{value / 1e6:.6f}" for value in heard] + [""] * (3 - len(heard))
        rows.append([f"{(at_ns - first_ns) / 1e9:.9f}", lost, *cells])
    wanted = column or ("rtt_ms" if leg is None or not both_ways else "")
    if wanted == "rtt_ms":
        return rtt(_table(source, ("t_s", "lost", "rtt_ms"), [row[:3] for row in rows]), name, leg, None)
    return owd(_table(source, ("t_s", "lost", "rtt_ms", "owd_up_ms", "owd_down_ms"), rows), name, leg, column)


# ---- iperf3


_SENT = "a UDP test as its sender saw it: what was sent, not what arrived"
_ASK_RECEIVER = "take the receiver's side: run iperf3 with -R or --get-server-output, or save the server's own"


def iperf3_json(source: TraceFile, name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """``iperf3 -J``: what was received in each interval; the server's part, where the client brought it along."""
    data = read_json(source)
    theirs = _inside(data, "server_output_json")
    if _inside(theirs, "intervals"):
        data = theirs
    intervals = _list(source, _inside(data, "intervals"), "intervals")
    sums = "sum"
    if isinstance(_inside(intervals[0], "sum_bidir_reverse"), dict):
        if leg is None:
            _both_directions(source)
        sums = "sum_bidir_reverse" if leg == "to_viewer" else "sum"
    rows: list[list[str]] = []
    counted = True
    for index, interval in enumerate(intervals):
        part, place = _inside(interval, sums), f"interval {index + 1}"
        if _inside(part, "omitted") is True:
            continue
        udp = _inside(part, "packets") is not None and _inside(part, "retransmits") is None
        if udp and _inside(part, "lost_packets") is None:
            source.refuse(_SENT, remedy=_ASK_RECEIVER)
        counted = counted and udp
        start = _number(source, _inside(part, "start"), f"{place}: start", 0, 1e9)
        bps = _number(source, _inside(part, "bits_per_second"), f"{place}: bits_per_second", 0, MAX_RATE_BPS)
        lasts = _number(source, _inside(part, "seconds"), f"{place}: seconds", 0, 1e9)
        more = []
        if udp:
            bounds = (("lost_packets", -1e9, 1e9), ("packets", 0, 1e12), ("jitter_ms", 0, MAX_DELAY_NS / 1e6))
            more = [repr(_number(source, _inside(part, key), f"{place}: {key}", low, up)) for key, low, up in bounds]
        rows.append([repr(start), repr(bps / 1e6), repr(lasts), *more])
    return _iperf3(source, name, [(1, row) for row in rows], counted)


_LINE = re.compile(
    r"^\[ *(?P<id>\d+|SUM)\](?:\[(?P<way>[TR]X)-(?P<side>[CS])\])? +(?P<start>[\d.]+)- *(?P<end>[\d.]+) +sec +"
    r"[\d.]+ +[KMGT]?Bytes +(?P<rate>[\d.]+) +(?P<scale>[KMGT]?)(?P<unit>bits|Bytes)/sec(?P<rest>.*)$"
)
_SUMS_UP = re.compile(r"\b(sender|receiver)\b|\(omitted\)")
_DATAGRAMS = re.compile(r"^ +(?P<jitter>[\d.]+) ms +(?P<lost>-?\d+)/ *(?P<all>\d+)")
_SCALE = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
_CLOCK_STAMP = re.compile(r"^(?!\[)[^\[]{0,60}(?=\[ *(?:\d+|SUM|ID)\])")


def is_iperf3_text(head: Iterable[str]) -> bool:
    return any(_LINE.match(_CLOCK_STAMP.sub("", text)) for text in head)


def iperf3_text(source: TraceFile, name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """What iperf3 (and iperf 2) prints: the lines of its intervals, without those that sum up."""
    found = [(line, match) for line, text in source.lines if (match := _LINE.match(_CLOCK_STAMP.sub("", text)))]
    found = [one for one in found if not _SUMS_UP.search(one[1]["rest"])]
    if any(match["way"] for _, match in found):
        if leg is None:
            _both_directions(source)
        down = {("TX", "S"), ("RX", "C")}
        found = [one for one in found if ((one[1]["way"], one[1]["side"]) in down) is (leg == "to_viewer")]
    if any(match["id"] == "SUM" for _, match in found):
        found = [one for one in found if one[1]["id"] == "SUM"]
    rows: Rows = []
    counted, is_udp = True, "datagram" in source.text.lower()
    for line, match in found:
        start, end = (source.number(match[key], line, f"the {key}", 0, 1e9) for key in ("start", "end"))
        if rows and start == float(rows[0][1][0]) and end - start > 1.5 * float(rows[0][1][2]):
            continue  # iperf 2 sums up without saying so
        if rows and start <= float(rows[-1][1][0]):
            source.refuse("here another test begins, or another stream", line, "cut out the lines of one test")
        datagrams = _DATAGRAMS.match(match["rest"])
        if datagrams is None and is_udp:
            source.refuse(_SENT, line, _ASK_RECEIVER)
        counted = counted and datagrams is not None
        bits = 8 if match["unit"] == "Bytes" else 1
        top = MAX_RATE_BPS / _SCALE[match["scale"]] / bits
        mbps = source.number(match["rate"], line, "the rate", 0, top) * bits * _SCALE[match["scale"]] / 1e6
        more = [datagrams["lost"], datagrams["all"], datagrams["jitter"]] if datagrams else []
        rows.append((line, [match["start"], repr(mbps), repr(end - start), *more]))
    return _iperf3(source, name, rows, counted)


def _iperf3(source: TraceFile, name: str, rows: Rows, counted: bool) -> NetworkTrace:
    """Rows of (start, Mbit/s, seconds, and of a UDP test: lost, packets, jitter)."""
    usual = sorted(float(cells[2]) for _, cells in rows)[len(rows) // 2] if rows else 0.0
    rows = [row for row in rows if float(row[1][2]) >= usual / 2]  # the last one may be a moment long: no rate
    if not rows:
        source.refuse("no interval in it", remedy="run iperf3 with -i 1, and keep more than its last lines")
    keep = (0, 1, 3, 4, 5) if counted else (0, 1)
    names = ("t_s", "mbps", "lost", "packets", "jitter_ms")[: len(keep)]
    table = Table(source, names, rows[0][0], tuple((line, [cells[k] for k in keep]) for line, cells in rows))
    read = iperf3 if counted else bandwidth
    return read(table, name, None, None)


def _both_directions(source: TraceFile) -> NoReturn:
    source.refuse("both directions are in it", remedy="say for which leg: @to_viewer is the way to the client")


# ---- flent


_DERIVED = re.compile(r"(sum|avg|mean|totals?|median|min|max|fairness)$", re.IGNORECASE)
_DOWN, _UP = re.compile(r"down", re.IGNORECASE), re.compile(r"\bup(load)?\b", re.IGNORECASE)


def flent(source: TraceFile, name: str, leg: str | None, column: str | None) -> NetworkTrace:
    """A ``.flent`` or ``.flent.gz`` file: what its flows got, else its pings."""
    data = read_json(source)
    results = _inside(data, "results")
    if not isinstance(results, dict):
        source.refuse("results must be a mapping of series")
    raw = _inside(data, "raw_values")
    raw = raw if isinstance(raw, dict) else {}
    units = {one: _unit(one, _inside(data, "metadata", "SERIES_META", one, "UNITS")) for one in {**results, **raw}}
    if column is not None:
        wanted = [one for one in units if one.lower() == column.lower()]
        if not wanted:
            source.refuse(f"there is no series {column[:60]!r}", remedy=f"it has {', '.join(units)[:300]}")
        unit = units[wanted[0]]
        if unit not in ("ms", "mbps"):
            source.refuse(f"{wanted[0]} is neither in ms nor in Mbit/s")
    else:
        wanted, unit = _choose(source, units, leg)
    if unit == "mbps":
        return _flows(source, name, data, wanted)
    return _pings(source, name, data, raw.get(wanted[0]), wanted[0], leg)


def _unit(name: str, said: Any) -> str:
    """ms, mbps or nothing that a network trace knows."""
    words = f"{said if isinstance(said, str) else ''} {name}".lower()
    if re.search(r"\bms\b", words):
        return "ms"
    flow = re.search(r"^(tcp|udp|bbr|cubic|reno)\b.*(down|up)", name, re.IGNORECASE)
    return "mbps" if re.search(r"\bm?bits/s", words) or (flow and not said) else ""


def _choose(source: TraceFile, units: dict[str, str], leg: str | None) -> tuple[list[str], str]:
    """The flows of the leg's direction; of a file without any, its ping."""
    flows = [one for one, unit in units.items() if unit == "mbps" and not _DERIVED.search(one)]
    ways = {way: [one for one in flows if way.search(one)] for way in (_DOWN, _UP)}
    if ways[_DOWN] and ways[_UP] and leg is None:
        _both_directions(source)
    wanted = (ways[_DOWN] if leg == "to_viewer" else ways[_UP]) or (flows if leg is None else [])
    if wanted:
        return wanted, "mbps"
    pings = [one for one, unit in units.items() if unit == "ms" and not _DERIVED.search(one)]
    if not pings:
        known = ", ".join(units)[:300]
        source.refuse(f"neither a flow for this leg nor a ping in it; it has {known or 'no series'}")
    return sorted(pings, key=lambda one: "icmp" not in one.lower())[:1], "ms"


def _flows(source: TraceFile, name: str, data: Report, wanted: list[str]) -> NetworkTrace:
    """All flows of one direction together got what the network carried."""
    x = _list(source, _inside(data, "x_values"), "x_values")
    columns = [_list(source, _inside(data, "results", one), f"the series {one}") for one in wanted]
    rows: list[list[str]] = []
    for index, at in enumerate(x):
        values = [column[index] for column in columns if index < len(column) and column[index] is not None]
        if values:
            got = [_number(source, value, f"value {index + 1} of a flow", 0, MAX_RATE_BPS / 1e6) for value in values]
            rows.append([repr(_number(source, at, f"x value {index + 1}", -1e9, 1e12)), repr(math.fsum(got))])
    if not rows:
        source.refuse("no flow has a value")
    trace = bandwidth(_table(source, ("t_s", "mbps"), rows), name, None, None)
    return _told(trace, f"flent, {' + '.join(wanted)[:200]}")


def _pings(source: TraceFile, name: str, data: Report, raw: Any, wanted: str, leg: str | None) -> NetworkTrace:
    """Each probe, where the file has them: a sequence number that is missing was lost. Else the steps of its graph."""
    if not isinstance(raw, list) or not raw:
        x, y = (
            _list(source, part, "its values") for part in (_inside(data, "x_values"), _inside(data, "results", wanted))
        )
        raw = [{"t": at, "val": value} for at, value in zip(x, y, strict=False) if value is not None]
    rows: list[list[str]] = []
    before: tuple[float, int] | None = None
    start = 0.0
    for index, probe in enumerate(_list(source, raw, f"the series {wanted}")):
        place = f"probe {index + 1} of {wanted}"[:80]
        at = _number(source, _inside(probe, "t"), f"{place}: t", -1e12, 1e12)
        took = _number(source, _inside(probe, "val"), f"{place}: val", 0, MAX_DELAY_NS / 1e6)
        start = at if index == 0 else start
        seq = _inside(probe, "seq")
        if seq is not None:
            number = _whole(source, seq, f"{place}: seq")
            if before is not None and number - before[1] > MOST_MISSING:
                source.refuse(
                    f"{place}: {number - before[1] - 1} probes in a row are missing, more than {MOST_MISSING}"
                )
            if before is not None and 1 < number - before[1] <= MAX_RECORDS - len(rows):
                missing = number - before[1]
                for k in range(1, missing):
                    rows.append([repr(before[0] + (at - before[0]) * k / missing - start), "1", "", "", ""])
            before = at, number
        ways = [_inside(probe, key) for key in ("owd_up", "owd_down")]
        ways = [repr(_number(source, way, f"{place}: one-way delay", -1e14, 1e14)) for way in ways if way is not None]
        rows.append([repr(at - start), "0", repr(took), *(ways if len(ways) == 2 else ["", ""])])
    names = ("t_s", "lost", "rtt_ms", "owd_up_ms", "owd_down_ms")
    if leg is not None and all(row[3] for row in rows if row[1] == "0"):
        trace = owd(_table(source, names, rows), name, leg, None)
    else:
        trace = rtt(_table(source, names[:3], [row[:3] for row in rows]), name, None, None)
    return _told(trace, f"flent, {wanted[:200]}")


def _told(trace: NetworkTrace, what: str) -> NetworkTrace:
    fields = {name: getattr(trace, name) for name in NetworkTrace.__slots__ if name != "about"}
    return NetworkTrace(about=f"{what}: {trace.about}", **fields)


REPORT_READERS: Final[dict[str, Callable[[TraceFile, str, str | None, str | None], NetworkTrace]]] = {
    "irtt-json": irtt,
    "iperf3-json": iperf3_json,
    "iperf3-text": iperf3_text,
    "flent": flent,
}
