"""Which format is it? Told from the content; refused, with the reason, where it cannot be told."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from avsync.units import FAR_NS, NS_PER_S, ms
from sim.network.traces.builders import ProbePacket, build, from_distribution, from_probes, from_rates, spacing_ns
from sim.network.traces.reader import MAX_RECORDS, TraceFile, looks_like_json
from sim.network.traces.reports import REPORT_READERS, detect_json, is_iperf3_text, read_json
from sim.network.traces.tables import TABLE_READERS, detect_table, headed_histogram, read_table
from sim.network.traces.trace import MAX_DELAY_NS, MAX_RATE_BPS, NetworkTrace

_MAX_MS = MAX_DELAY_NS / 1e6
_BANDWIDTH = {
    f"bandwidth-{time}-{rate}": (time, bps)
    for time in ("s", "ms")
    for rate, bps in (("mbps", 1_000_000), ("kbps", 1_000), ("bps", 1))
}
FORMATS = (
    *("mahimahi", "rtt-lines", "rtt-list", "ping-log", "onl-json", "delay-histogram"),
    *TABLE_READERS,
    *REPORT_READERS,
    *_BANDWIDTH,
)
"""Every name that ``format=`` may force."""

RTT_HEADERS = ("rtt", "rtt_ms", "ping_ms")
"""Above a single column: then it is no list of rates."""
LIST_SPACING_NS = ms(200)
"""Where an RTT list has no times: the shortest interval that ping allows an ordinary user."""

_STAMP = re.compile(r"^\[(\d+\.?\d*)\]")
_SEQ = re.compile(r"\b(?:icmp_)?seq[= ](\d+)")
_TIME = re.compile(r"\btime[=<] ?([\d.]+) ?ms")


def detect(source: TraceFile) -> str:
    """The name of the format, or ``InputError``."""
    first_line, first = source.lines[0]
    head = [text for _, text in source.lines[:50]]
    if looks_like_json(source.text):
        return detect_json(source)
    if is_iperf3_text(head):
        return "iperf3-text"
    _refuse_other_things(source, head)
    if any(text.startswith("PING ") or _SEQ.search(text) for text in head):
        return "ping-log"
    if not all(_is_number(cell) for cell in _cells(first)):
        if first.lower() in RTT_HEADERS:
            return "rtt-lines"
        if re.match(r"^run\b", first, re.IGNORECASE):
            return "rtt-list"
        if len(_cells(first)) > 1:
            return detect_table(source)
        source.refuse("the first line is neither numbers nor the header of a table", first_line)
    widths = {len(_cells(text)) for text in head}
    if max(widths) > 4 and "," in first:
        return "rtt-list"
    if widths == {1}:
        return _one_column(source)
    if widths == {2}:
        return _two_columns(source)
    if len(widths) > 1:
        line, odd = next((line, text) for line, text in source.lines if len(_cells(text)) != len(_cells(first)))
        source.refuse(f"{len(_cells(odd))} numbers where the lines before have {len(_cells(first))}", line)
    return source.refuse(
        f"{len(_cells(first))} numbers a line without a header: not a trace that is known",
        first_line,
        "add a header (t_s,rtt_ms), or cut out the two columns of time and bandwidth",
    )


def _refuse_other_things(source: TraceFile, head: list[str]) -> None:
    """Files that lie beside network traces and are none."""
    line = source.lines[0][0]
    if "Nframe" in source.text[:500] or all(re.match(r"^\d+ [UIPB] \S+ \S+ \d+$", text) for text in head):
        source.refuse(
            "a trace of video frame sizes: what a sender sent, not what a network did",
            line,
            "give it to the generator, not to a link",
        )
    if any("<---" in text or "--->" in text or re.search(r"\brrc[A-Z]\w+", text) for text in head):
        source.refuse(
            "a log of radio events (RRC, handovers): it has neither delay nor rate",
            line,
            "put a `hold` step at each handover instead",
        )
    if any(re.match(r"^%(adaptive|fixed)\b", text) for text in source.text[:10_000].splitlines()) or any(
        re.match(r"^[PGLRJDO\s]{20,}$", text) for text in head
    ):
        source.refuse("a jitter-buffer test script (PUT and GET events): it has no times", line)


def _cells(text: str) -> list[str]:
    """Numbers apart by comma, semicolon, tab or blanks; a separator at the end is none."""
    return [cell for cell in re.split(r"[,;\s]+", text) if cell]


def _is_number(cell: str) -> bool:
    """Or what stands for a missing one."""
    if cell in ("-", "*"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _one_column(source: TraceFile) -> str:
    values = [text.strip(",; ") for _, text in source.lines]
    whole = all(re.fullmatch(r"\+?\d+", text) for text in values)
    numbers = [source.number(text, line, "the value") for (line, _), text in zip(source.lines, values, strict=True)]
    falls = [i for i, (a, b) in enumerate(pairwise(numbers), 1) if a > b]
    if whole and 0 < len(falls) < len(numbers) / 50:
        source.refuse(
            "whole numbers that rise from line to line, and here they fall: broken times of delivery?",
            source.lines[falls[0]][0],
            "mend it for format=mahimahi, or say format=rtt-lines if these are round trips",
        )
    if falls:
        source.refuse(
            "one column of numbers: round trips in ms, or what was carried in each second?",
            source.lines[0][0],
            "write rtt_ms above round trips; give rates a time: a header t_s,mbps and two columns",
        )
    if whole and numbers[-1] > numbers[0]:
        return "mahimahi"
    return source.refuse(
        "one column of numbers that never fall: times of delivery, or sorted round trips?",
        source.lines[0][0],
        "say format=mahimahi, or write rtt_ms above round trips",
    )


def _two_columns(source: TraceFile) -> str:
    """A histogram of delay has even bins and counts, or shares that add up to 1."""
    rows = [_cells(text) for _, text in source.lines]
    if any(len(row) != 2 for row in rows):
        return "bandwidth-s-mbps"  # its reader names the line
    x = [source.number(row[0], line, "the time") for (line, _), row in zip(source.lines, rows, strict=True)]
    y = [source.number(row[1], line, "the bandwidth") for (line, _), row in zip(source.lines, rows, strict=True)]
    gaps = [b - a for a, b in pairwise(x)]
    even = len(x) >= 10 and gaps[0] > 0 and all(abs(gap - gaps[0]) < 1e-6 + 1e-4 * gaps[0] for gap in gaps)
    if not even or min(y) < 0:
        return "bandwidth-s-mbps"
    tenths = abs(gaps[0] * 10 - round(gaps[0] * 10)) < 1e-6
    if abs(sum(y) - 1) < 0.01:
        return "delay-histogram"
    if all(value.is_integer() for value in y) and not tenths:
        return "delay-histogram"
    if all(value.is_integer() for value in y) and gaps[0] < 0.5 and x[0] > 0:
        source.refuse(
            "two columns in even steps with whole numbers: time and Mbit/s, or delay and how often?",
            source.lines[0][0],
            "say format=bandwidth-s-mbps or format=delay-histogram",
        )
    return "bandwidth-s-mbps"


def parse(source: TraceFile, name: str, *, leg: str | None, column: str | None) -> NetworkTrace:
    """Read it as that format."""
    if name in REPORT_READERS:
        return REPORT_READERS[name](source, name, leg, column)
    if name in TABLE_READERS:
        return TABLE_READERS[name](
            read_table(source), name, leg, column.strip().lower().replace(" ", "_") if column else None
        )
    if name in _BANDWIDTH:
        return _bandwidth(source, name)
    if name == "onl-json":
        return _onl(source, leg)
    if name == "delay-histogram":
        headed = not all(_is_number(cell) for cell in _cells(source.lines[0][1]))
        return headed_histogram(source, name) if headed else _histogram(source, name)
    reader = {"mahimahi": _mahimahi, "rtt-lines": _rtt_lines, "rtt-list": _rtt_list, "ping-log": _ping_log}[name]
    return reader(source, name)


def _mahimahi(source: TraceFile, name: str) -> NetworkTrace:
    times: list[int] = []
    for line, text in source.lines:
        value = source.number(text, line, "the millisecond", 0)
        if not value.is_integer():
            source.refuse("a Mahimahi trace has whole milliseconds", line)
        if times and value * 1_000_000 < times[-1]:
            source.refuse("time goes back", line)
        times.append(int(value) * 1_000_000)
    about = "Mahimahi: each line an opportunity for 1500 bytes, in ms"
    if times[0] > 60 * NS_PER_S:
        about += f"; its first {times[0] // NS_PER_S} s moved to 0"
        times = [at_ns - times[0] for at_ns in times]
    if times[-1] == 0:
        source.refuse("all opportunities are at one instant: the trace has no length", source.lines[-1][0])
    mean = len(times) * 12_000 / times[-1] * 1e3
    about += f"; {times[-1] / NS_PER_S:.1f} s, mean {mean:.3g} Mbit/s"
    return build(source, about, format=name, duration_ns=times[-1], opportunities_ns=tuple(times))


def _rtt_lines(source: TraceFile, name: str) -> NetworkTrace:
    lines = source.lines[1:] if source.lines[0][1].lower() in RTT_HEADERS else source.lines
    if not lines:
        source.refuse("a header and no round trips", source.lines[0][0])
    values = sorted(
        round(source.number(text.strip(",; "), line, "the round trip", 0, _MAX_MS) * 1e6) // 2 for line, text in lines
    )
    about = f"{len(values)} round trips in ms, one a line; RTT halved; their order is not used (format=rtt-list does)"
    return from_distribution(source, name, about, [(value, value, 1) for value in values])


def _rtt_list(source: TraceFile, name: str) -> NetworkTrace:
    probes: list[ProbePacket] = []
    runs = 0
    for line, text in source.lines:
        if re.match(r"^run\b[\s\d:]*$", text, re.IGNORECASE):
            runs += 1
            continue
        for cell in re.split(r"[,;\s]+", text.strip(",; ")):
            missing = cell.lower() in ("", "-", "*", "x", "timeout", "nan")
            rtt_ms = -1.0 if missing else source.number(cell, line, "the round trip", -1, _MAX_MS)
            delay = round(rtt_ms * 1e6) // 2 if rtt_ms >= 0 else None
            probes.append(ProbePacket(len(probes) * LIST_SPACING_NS, delay))
            if len(probes) > MAX_RECORDS:
                source.refuse(f"more than {MAX_RECORDS} round trips", line)
    about = "round trips in ms without times; RTT halved; one every 200 ms assumed"
    return from_probes(source, name, about + (f"; {runs} runs joined" if runs > 1 else ""), probes)


def _ping_log(source: TraceFile, name: str) -> NetworkTrace:
    """ping -D: what has a number and no time, or no line at all, was lost."""
    answers: dict[int, tuple[int | None, int]] = {}
    epoch, last = 0, 0
    for line, text in source.lines:
        found, took, stamp = _SEQ.search(text), _TIME.search(text), _STAMP.match(text)
        if found is None:
            continue
        number = int(source.number(found[1], line, "icmp_seq", 0, 1 << 32)) + epoch
        if number < last - 32_768:  # 16 bits: it starts again
            epoch += 65_536
            number += 65_536
        last = number
        if took is not None:
            rtt_ns = round(source.number(took[1], line, "the round trip", 0, _MAX_MS) * 1e6)
            at_ns = source.time_ns(stamp[1], line) - rtt_ns if stamp is not None else None
            answers.setdefault(number, (at_ns, rtt_ns // 2))  # a duplicate comes second
    if len(answers) < 2:
        source.refuse("fewer than two answers in this log of pings")
    numbers = sorted(answers)
    if numbers[-1] - numbers[0] > MAX_RECORDS:
        source.refuse(f"icmp_seq jumps over more than {MAX_RECORDS} probes")
    stamped = all(at_ns is not None for at_ns, _ in answers.values())
    probes: list[ProbePacket] = []
    for number, following in pairwise([*numbers, numbers[-1] + 1]):
        at_ns = answers[number][0] if stamped else number * NS_PER_S
        end_ns = answers.get(following, (None, 0))[0] if stamped else following * NS_PER_S
        assert at_ns is not None  # all are, where stamped
        probes.append(ProbePacket(at_ns, answers[number][1]))
        step = ((end_ns or at_ns) - at_ns) // (following - number)
        if step > 0:
            probes.extend(ProbePacket(at_ns + k * step, None) for k in range(1, following - number))
    about = "ping log; RTT halved; sent when answered less the round trip"
    return from_probes(
        source, name, about if stamped else "ping log; RTT halved; no times: one a second assumed", probes
    )


def _bandwidth(source: TraceFile, name: str) -> NetworkTrace:
    unit, bps = _BANDWIDTH[name]
    steps: dict[int, int] = {}
    last_ns = -FAR_NS
    for line, text in source.lines:
        cells = _cells(text)
        if len(cells) != 2:
            source.refuse(f"{len(cells)} numbers where a time and a bandwidth belong", line)
        at_ns = source.time_ns(cells[0], line, unit)
        if at_ns < last_ns:
            source.refuse("time goes back", line, "sort the lines by time")
        last_ns = at_ns
        steps[at_ns] = round(source.number(cells[1], line, "the bandwidth", 0, MAX_RATE_BPS / bps) * bps)
    if len(steps) < 2:
        source.refuse("a single time is not a trace")
    _check_units(source, name, list(steps), list(steps.values()))
    time, rate = {"s": "s", "ms": "ms"}[unit], {1_000_000: "Mbit/s", 1_000: "kbit/s", 1: "bit/s"}[bps]
    about = f"two columns without a label, read as {time} and {rate}"
    return from_rates(source, name, about, list(steps), list(steps.values()))


def _check_units(source: TraceFile, name: str, times: list[int], rates: list[int]) -> None:
    """Unlabelled numbers that make no network in these units were probably meant in others."""
    others = ", ".join(other for other in _BANDWIDTH if other != name)
    middle = sorted(rates)[len(rates) // 2]
    if spacing_ns(times) > 60 * NS_PER_S:
        source.refuse(
            f"read as {name} its times lie {spacing_ns(times) / NS_PER_S:g} s apart",
            remedy=f"if not so: format={others}",
        )
    if middle > 50_000_000_000 or max(rates) < 1_000:
        source.refuse(f"read as {name} its median is {middle} bit/s", remedy=f"if not so: format={others}")


def _histogram(source: TraceFile, name: str) -> NetworkTrace:
    rows = []
    for line, text in source.lines:
        cells = _cells(text)
        if len(cells) != 2:
            source.refuse(f"{len(cells)} numbers where a delay and a count belong", line)
        low = round(source.number(cells[0], line, "the delay", 0, _MAX_MS) * 1e6)
        rows.append((low, round(source.number(cells[1], line, "the count", 0, 1e12) * 1e6)))
        if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
            source.refuse("the delays must grow", line)
    if len(rows) < 2:
        source.refuse("a histogram needs at least two bins")
    starts = [low for low, _ in rows]
    ends = [*starts[1:], starts[-1] + spacing_ns(starts)]
    bins = [(low, end, weight) for (low, weight), end in zip(rows, ends, strict=True)]
    about = "histogram of delay: ms and how often, no label; each line taken to begin its bin"
    return from_distribution(source, name, about, bins)


def _onl(source: TraceFile, leg: str | None) -> NetworkTrace:
    """OpenNetLab: {"uplink": {"trace_pattern": [{duration, capacity, loss, rtt, jitter}]}}."""
    data = read_json(source)
    side, pattern = _onl_pattern(source, data, leg)
    times: list[int] = [0]
    rates: list[int] = []
    delays: list[int] = []
    jitter: list[int] = []
    loss: list[int] = []
    for i, entry in enumerate(pattern):
        place = f"entry {i + 1} of {side}"
        value = {
            key: _onl_number(source, entry, key, place) for key in ("duration", "capacity", "rtt", "jitter", "loss")
        }
        if not value["duration"]:
            continue
        times.append(times[-1] + round(value["duration"] * 1e6))
        rates.append(round(value["capacity"] * 1e3))
        delays.append(round(value["rtt"] * 1e6) // 2 if "rtt" in entry else (delays[-1] if delays else 0))
        jitter.append(round(value["jitter"] * 1e6))
        loss.append(round(value["loss"] * 1e6))
    if not rates or not any(rates):
        source.refuse(f"{side} has no capacity from start to end: nothing would ever arrive")
    about = f"OpenNetLab, {side}: ms and kbit/s" + ("; RTT halved" if any(delays) else "")
    middle = sorted(rates)[len(rates) // 2]
    slipped = [rate >= 1_000_000_000 and rate > 100 * middle for rate in rates]
    if any(slipped):
        rates = [rate // 1_000 if odd else rate for rate, odd in zip(rates, slipped, strict=True)]
        about += f"; {sum(slipped)} above 1 Gbit/s and 100 times the median read as bit/s"
    return build(
        source,
        f"{about}; {times[-1] / NS_PER_S:.1f} s",
        format="onl-json",
        duration_ns=times[-1],
        times_ns=tuple(times[:-1]),
        rate_bps=tuple(rates),
        delay_ns=tuple(delays) if any(delays) else (),
        jitter_ns=tuple(jitter) if any(jitter) else (),
        loss_ppm=tuple(loss) if any(loss) else (),
    )


def _onl_pattern(source: TraceFile, data: Any, leg: str | None) -> tuple[str, list[Any]]:
    wanted = ("downlink", "uplink") if leg == "to_viewer" else ("uplink", "downlink")
    for side in wanted:
        part = data.get(side) if isinstance(data, dict) else None
        pattern = part.get("trace_pattern") if isinstance(part, dict) else None
        if isinstance(pattern, list) and pattern:
            if len(pattern) > MAX_RECORDS:
                source.refuse(f"more than {MAX_RECORDS} entries")
            return side, pattern
    return source.refuse(
        "JSON that is neither of irtt, iperf3 or flent, nor an OpenNetLab trace (uplink or downlink, trace_pattern)",
        remedy="getStats dumps must be made into a CSV of t_s and owd_ms or rtt_ms first",
    )


_ONL_BOUNDS = {"duration": 1e9, "capacity": MAX_RATE_BPS / 1e3, "rtt": _MAX_MS, "jitter": _MAX_MS, "loss": 1.0}


def _onl_number(source: TraceFile, entry: Any, key: str, place: str) -> float:
    value = entry.get(key, 0 if key in ("rtt", "jitter", "loss") else None) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        source.refuse(f"{place}: {key} must be a number")
    if not 0 <= value <= _ONL_BOUNDS[key]:  # NaN is not within anything
        source.refuse(f"{place}: {key} must lie within 0 and {_ONL_BOUNDS[key]:g}, got {value!r:.40}")
    return float(value)
