"""Files that are no trace, or a hostile one: one clear error, bounded in memory and time."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from avsync.errors import InputError, UsageError
from avsync.types import AUDIO
from avsync.units import ms, seconds
from sim.network.link import Link
from sim.network.link_spec import LinkSpec
from sim.network.traces import reader as trace_reader
from sim.network.traces import reports
from sim.network.traces.clocks import above_floor, line_at
from sim.network.traces.load import load_trace
from sim.network.traces.trace import NetworkTrace


def irtt_of(*trips: dict[str, Any]) -> str:
    """A report of these round trips, one every 20 ms."""
    stamped = [
        {"seqno": i, "timestamps": {"client": {"send": {"monotonic": i * 20_000_000}}}, **trip}
        for i, trip in enumerate(trips)
    ]
    return json.dumps({"version": {"irtt": "0.9.1"}, "round_trips": stamped})


RTT = "seq,t_s,rtt_ms\n1,0.0,40\n2,0.1,60\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "trace.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        ("# only\n% comments\n", "empty"),
        ("% Nframe | type | X | timestamp | size (Bytes)\n0 U 0. 0.000000 20489\n", "video frame sizes"),
        ("0 U 0. 0.000000 20489\n1 U 0. 0.033 4048\n", "video frame sizes"),
        ("22:47:36,22:47:54,<---,DL DCCH,LTE,LTE rrcConnectionRelease,\n", "radio events"),
        ("= Ideal\n%adaptive 0 0 10\n!burst 1\nPGPGPGPGPGPGPGPGPGPG\n.\n", "jitter-buffer test"),
        ("a,b\n1,2\n", "no network trace that is known"),
        ("hello world\n", "no network trace that is known|no rows"),
        ("hello\n", "neither numbers nor the header"),
        ("10\n20.5\n30\n", "never fall"),
        ("7\n7\n7\n", "never fall"),
        ("\n".join(map(str, [*range(100), 5, *range(100, 200)])), "line 101.*they fall"),
        ("".join(f"{3 + i * 0.1:.1f} {i}\n" for i in range(20)), "or delay and how often"),
        ("0 0\n1 0\n2 0\n", "median is 0|bandwidth is 0"),
        ("1 2\n1.5 3\n1.2 4\n", "line 3: time goes back"),
        ("0 1\n1 2 3\n", "line 2: 3 numbers"),
        ("0 1\n1 nan\n", "line 2: the bandwidth must be a number"),
        ("0 1\n1 1e300\n", "line 2: the bandwidth must lie within"),
        ("0 1\n1.5 -4\n2 1\n", "line 2: the bandwidth must lie within"),
        ("0 1\n1e300 2\n", "line 2: the time must lie within"),
        ("0 1\n1_0 2\n", "line 2: the time must be a number"),
        ("0 800000\n1 900000\n", "read as bandwidth-s-mbps"),
        ("0 1\n1000 2\n2000 3\n", "lie 1000 s apart"),
        ("0 0\n", "single time|median is 0"),
        ("1,2,3\n4,5,6\n", "without a header"),
        ("t_s,rtt_ms\n", "no rows"),
        ("t_s,t_s,rtt_ms\n1,2,3\n", "comes twice"),
        ("t_s,rtt_ms\n0,10\n1\n", "line 3: 1 cells"),
        ("t_s,rtt_ms\n0,inf\n", "line 2: rtt_ms must be a number"),
        ("t_s,rtt_ms\n0,99999999\n", "line 2: rtt_ms must lie within"),
        ("t_s,rtt_ms\n0,-1\n1,-1\n", "not one probe"),
        ("seq,rtt_ms\n0,10\n", "no column of time"),
        ("t_send_s,owd_ms\n0,10\n1,70000000\n", "more than 60 s"),
        ("t_s,mbps\n0,0\n1,0\n", "0 from start to end"),
        ("{", "line 1: not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"uplink": {"trace_pattern": [{"duration": 1, "capacity": NaN}]}}', "entry 1 of uplink: capacity"),
        ('{"uplink": {"trace_pattern": [{"duration": 1, "capacity": true}]}}', "must be a number"),
        ('{"uplink": {"trace_pattern": [{"duration": 1, "capacity": ' + "9" * 400 + "}]}}", "capacity must lie within"),
        ('{"uplink": {"trace_pattern": [{"duration": 1, "capacity": 1, "loss": 20}]}}', "loss must lie within 0 and 1"),
        ('{"uplink": {"trace_pattern": [{"duration": 1, "capacity": 0}]}}', "no capacity"),
        ('{"a": 1}', "nor an OpenNetLab trace"),
        ('{"round_trips": []}', "round_trips must be a list that is not empty"),
        ('{"round_trips": [7]}', "round trip 1: its time of sending must be a whole number"),
        (irtt_of({"lost": False, "delay": {"rtt": 1e9}}), "delay.rtt must be a whole number"),
        (irtt_of({"lost": False, "delay": {"rtt": -5}}), "delay.rtt must be a number within 0"),
        (irtt_of({"lost": True, "delay": {}}), "not one probe was answered"),
        ('{"intervals": []}', "intervals must be a list that is not empty"),
        ('{"intervals": [{"sum": {"start": 0, "seconds": 1}}]}', "interval 1: bits_per_second must be a number"),
        ('{"intervals": [{"sum": {"start": 0, "seconds": 1, "bits_per_second": NaN}}]}', "bits_per_second must be"),
        ('{"intervals": [{"sum": {"start": 0, "bits_per_second": 5, "packets": 3}}]}', "its sender saw it"),
        ('{"intervals": [{"sum": {"omitted": true}}]}', "no interval in it"),
        ('{"intervals": [{"sum": {}, "sum_bidir_reverse": {}}]}', "both directions are in it"),
        (
            "Datagrams\n[  5]   0.00-1.00   sec  1 MBytes  10 Mbits/sec  900\n",
            "line 2: a UDP test as its sender saw it",
        ),
        (
            "[  5]   0.00-1.00   sec  1 MBytes  8 Mbits/sec\n[  7]   0.00-1.00   sec  1 MBytes  8 Mbits/sec\n",
            "line 2: here another test begins, or another stream",
        ),
        ("[  5][TX-C]   0.00-1.00   sec  1 MBytes  8 Mbits/sec\n", "both directions"),
        ("[  5]   0.00-1.00   sec  1 MBytes  8 Mbits/sec  receiver\n", "no interval in it"),
        ('{"results": 3, "x_values": []}', "results must be a mapping"),
        ('{"results": {"Queue length": [1]}, "x_values": [0]}', "neither a flow for this leg nor a ping"),
        ('{"results": {"TCP download": [1], "TCP upload": [1]}, "x_values": [0]}', "both directions are in it"),
        ('{"results": {"TCP download": [null]}, "x_values": [0]}', "no flow has a value"),
        ('{"results": {"Ping (ms) ICMP": [null]}, "x_values": [0]}', "must be a list that is not empty"),
        ('{"results": {"Ping (ms) ICMP": ["1"]}, "x_values": [0]}', "probe 1 of Ping .ms. ICMP: val must be a number"),
        ("4.5\n2.25\n3\n", "line 1: one column of numbers: round trips in ms, or what was carried in each second"),
        ("rtt_ms\n", "a header and no round trips"),
        ("PING a\n64 bytes: icmp_seq=1 time=5 ms\n", "fewer than two answers"),
        ("x icmp_seq=1 time=5 ms\nx icmp_seq=4000000000 time=5 ms\n", "jumps over"),
        ("0\n0\n", "never fall"),
        (b"\x00\x01\x02", "not a text file"),
        ("t_s,rtt_ms\n0,é\n".encode("latin-1"), "line 2: this is not UTF-8"),
        ("RTT".encode("utf-16"), "not a text file"),
    ],
)
def test_what_is_no_trace_is_refused_with_file_line_and_rule(write: Any, text: str | bytes, match: str) -> None:
    path = write(text)
    with pytest.raises(InputError, match=match) as raised:
        load_trace(path)
    assert raised.value.file == str(path)


def test_wrong_arguments_are_the_callers_fault(write: Any) -> None:
    path = write(RTT)
    with pytest.raises(UsageError, match="leg must be"):
        load_trace(path, leg="up")
    with pytest.raises(UsageError, match="no trace format 'pcap'; known are mahimahi"):
        load_trace(path, format="pcap")
    with pytest.raises(InputError, match=r"no column 'owd'") as raised:
        load_trace(path, column="owd")
    assert "seq, t_s, rtt_ms" in raised.value.remedy
    with pytest.raises(InputError, match="cannot be read"):
        load_trace(path.parent / "missing.txt")
    with pytest.raises(InputError, match="cannot be read"):
        load_trace(path.parent)


def test_size_lines_and_records_are_bounded(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_reader, "MAX_BYTES", 4_096)
    for bomb in (b"1\n" * 4_096, gzip.compress(b"1\n" * 1_000_000)):
        with pytest.raises(InputError, match="larger than"):
            load_trace(write(bomb))
    monkeypatch.setattr(trace_reader, "MAX_LINE_CHARS", 50)
    with pytest.raises(InputError, match=r"line 2.*characters"):
        load_trace(write("t_s,rtt_ms\n" + "1" * 51))
    monkeypatch.setattr(reports, "MAX_PARTS", 50)
    with pytest.raises(InputError, match="JSON of more than 50 values"):
        load_trace(write("[" + "[]," * 50))
    monkeypatch.setattr(trace_reader, "MAX_RECORDS", 10)
    with pytest.raises(InputError, match="more than 10 lines"):
        load_trace(write("1\n" * 12))


# ----------------------------------------------------------------------------------- properties


CELLS = st.sampled_from(["0", "1.5", "-3", "1e9", "nan", "", "x", "60000"])
NUMBERS = st.one_of(st.integers(0, 3), st.floats(0, 100), st.sampled_from([-1, 1e300, None, "7", True, 1 << 70]))
A_LITTLE = st.floats(0, 500).map(lambda value: f"{value:.3f}")


def table_of(header: str, cells: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    rows = st.lists(st.lists(cells, min_size=1, max_size=2), min_size=1, max_size=6)
    return rows.map(lambda rows: "\n".join([header, *(",".join([str(i), *row]) for i, row in enumerate(rows))]))


def printed(rates: list[float]) -> str:
    line = "[  5]   {}.00-{}.00   sec  1.00 MBytes  {:.2f} Mbits/sec  0.1 ms  1/90 (1.1%)"
    return "\n".join(line.format(i, i + 1, rate) for i, rate in enumerate(rates))


LIKELY: st.SearchStrategy[str] = st.one_of(
    table_of("t_s,rtt_ms", A_LITTLE), table_of("t_s,mbps", A_LITTLE), table_of("t_s,owd_ms", A_LITTLE),
    st.lists(A_LITTLE, min_size=1, max_size=6).map(lambda values: "\n".join(["rtt_ms", *values])),
    st.lists(st.integers(0, 99), min_size=2, max_size=8).map(lambda values: "\n".join(map(str, sorted(values)))),
    st.lists(st.floats(0, 900), min_size=1, max_size=5).map(printed),
    st.lists(st.integers(0, 10**10), min_size=1, max_size=5).map(
        lambda delays: irtt_of(*({"lost": False, "delay": {"rtt": delay}} for delay in delays))
    ),
    st.lists(NUMBERS, min_size=1, max_size=5).map(
        lambda values: json.dumps({"x_values": [*range(len(values))], "results": {"Ping (ms) ICMP": values}})
    ),
)  # fmt: skip
"""What people have, with a number now and then that no network has."""
ANYTHING: st.SearchStrategy[str | bytes] = st.one_of(
    st.text(max_size=80), st.binary(max_size=60), table_of("t_s,rtt_ms", CELLS), table_of("t_s,owd_ms,x", CELLS),
    st.lists(st.lists(CELLS, max_size=4), max_size=8).map(lambda rows: "\n".join(",".join(row) for row in rows)),
    st.recursive(NUMBERS, lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["round_trips", "intervals", "sum", "results", "x_values", "delay"]), inner),
    ), max_leaves=12).map(json.dumps),
)  # fmt: skip


def read(text: str | bytes, path: Path) -> NetworkTrace | None:
    """The trace, which a link can replay; None: it was refused, with the file's name."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        trace = load_trace(path)
    except InputError as error:
        assert error.file == str(path)
        return None
    link = Link(LinkSpec(trace=trace), seed=1, name="x")
    arrivals = [at for now in range(0, seconds(3), ms(20)) for at in link.send(100, now, AUDIO)]
    assert arrivals == sorted(arrivals)
    return trace


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(ANYTHING, LIKELY))
def test_any_file_ends_as_a_trace_or_as_one_input_error(
    text: str | bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    read(text, tmp_path_factory.getbasetemp() / "any.txt")


def test_of_what_is_tried_some_is_taken_and_some_is_refused(tmp_path: Path) -> None:
    """Or the property above says nothing: of what people have, every kind has to come through now and then."""
    taken: Counter[str] = Counter()

    @seed(1)
    @settings(max_examples=200, deadline=None, database=None)
    @given(text=LIKELY)
    def draw(text: str) -> None:
        trace = read(text, tmp_path / "likely.txt")
        taken["refused" if trace is None else trace.format] += 1

    draw()
    kinds = {"rtt-csv", "bandwidth-csv", "owd-csv", "rtt-lines", "mahimahi", "iperf3-text", "irtt-json", "flent"}
    assert kinds | {"refused"} <= set(taken), taken


@settings(max_examples=50, deadline=None)
@given(
    delays=st.lists(st.integers(0, 1_000_000), min_size=2, max_size=60),
    offset=st.integers(-(10**9), 10**9),
    ppm=st.integers(-200, 200),
)
def test_removing_a_clock_leaves_no_negative_delay_and_ignores_its_offset(
    delays: list[int], offset: int, ppm: int
) -> None:
    points = [(i * seconds(1), delay) for i, delay in enumerate(delays)]
    skewed = [(at, delay + offset + at * ppm // 1_000_000) for at, delay in points]
    plain, line = above_floor(points)
    again, skewed_line = above_floor(skewed)
    assert all(line_at(line, at) <= delay + 1 for at, delay in points)
    assert min(plain) >= 0 and min(again) >= 0 and min(again) <= 2
    if line[2] and abs(line[2]) < 700_000_000 and skewed_line[2]:  # both within what a clock can drift
        assert again == pytest.approx(plain, abs=100)
