"""What measuring tools write themselves is read as it is: irtt, iperf3, flent. Each sample is made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from avsync.errors import InputError
from avsync.units import ms, seconds
from sim.network.traces.load import load_trace

WALL = 1_700_000_000_000_000_000


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def save(data: object, name: str = "report") -> Path:
        path = tmp_path / name
        text = data if isinstance(data, str) else json.dumps(data)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return save


# ---- irtt


def trip(number: int, up_ms: float | None, down_ms: float | None, lost: bool | str = False) -> dict[str, Any]:
    """One every 20 ms; the server's clock is 1000 s ahead."""
    at = number * ms(20)
    delay: dict[str, int] = {}
    if lost is False:
        assert up_ms is not None and down_ms is not None
        delay = {"rtt": ms(up_ms + down_ms), "send": ms(up_ms) + seconds(1000), "receive": ms(down_ms) - seconds(1000)}
    stamps = {"client": {"send": {"wall": WALL + at, "monotonic": 77 + at}, "receive": {}}, "server": {}}
    return {"seqno": number, "lost": lost, "timestamps": stamps, "delay": delay, "ipdv": {}}


IRTT = {
    "version": {"irtt": "0.9.1", "json_format": 1},
    "config": {"params": {"interval": 20_000_000}},
    "stats": {},
    "round_trips": [
        trip(0, 10, 10), trip(1, 10, 50), trip(2, 12, 10), trip(3, None, None, "true_down"),
        trip(4, None, None, "true_up"), trip(5, 30, 14), trip(6, 10, 10), trip(7, None, None, True),
    ],
}  # fmt: skip


def test_irtt_gives_each_leg_its_own_way_and_its_own_loss(save: Any) -> None:
    path = save(IRTT, "test.json.gz")
    down, up = load_trace(path, leg="to_viewer"), load_trace(path, leg="to_bridge")
    assert down.format == up.format == "irtt-json"
    # Half of the smallest round trip each way, because the clocks are not the same; what is above it is the way's own.
    assert down.delay_ns[:3] == (ms(10), ms(50), ms(10))
    assert up.delay_ns[:3] == (ms(10), ms(10), ms(12))
    assert [at for at, ppm in zip(down.times_ns, down.loss_ppm, strict=True) if ppm] == [ms(60), ms(140)]
    assert [at for at, ppm in zip(up.times_ns, up.loss_ppm, strict=True) if ppm] == [ms(80), ms(140)]
    assert ms(80) not in down.times_ns  # it was lost before it came to this way


def test_irtt_without_a_leg_or_without_the_servers_stamps_is_halved(save: Any) -> None:
    both = load_trace(save(IRTT))
    assert both.delay_ns[:3] == (ms(10), ms(30), ms(11)) and "RTT halved" in both.about
    plain = json.loads(json.dumps(IRTT))
    for one in plain["round_trips"]:
        one["delay"].pop("send", None)
        one["delay"].pop("receive", None)
    assert load_trace(save(plain, "plain.json"), leg="to_viewer").delay_ns[:3] == (ms(10), ms(30), ms(11))


# ---- iperf3


def interval(start: float, mbps: float, **more: Any) -> dict[str, Any]:
    one = {"start": start, "end": start + 1, "seconds": 1.0, "bytes": 1, "bits_per_second": mbps * 1e6}
    return {"streams": [], "sum": one | more}


def udp(start: float, mbps: float, lost: int) -> dict[str, Any]:
    return interval(start, mbps, jitter_ms=0.25, lost_packets=lost, packets=1000, omitted=False, sender=False)


def test_iperf3_json_of_udp_has_rate_jitter_and_loss(save: Any) -> None:
    first = interval(0, 900.0, omitted=True)
    report = {
        "start": {"test_start": {"protocol": "UDP"}},
        "intervals": [first, udp(1, 8, 0), udp(2, 4, 10)],
        "end": {},
    }
    trace = load_trace(save(report))
    assert trace.format == "iperf3-json" and trace.rate_bps == (8_000_000, 4_000_000)
    assert trace.jitter_ns == (250_000, 250_000) and trace.loss_ppm == (0, 10_000)
    assert trace.times_ns == (0, seconds(1)) and trace.duration_ns == seconds(2)


def test_iperf3_json_of_tcp_has_a_rate_and_its_last_moment_is_none(save: Any) -> None:
    last = interval(2, 900.0)
    last["sum"] |= {"seconds": 0.01, "end": 2.01}
    report = {"intervals": [interval(0, 8, retransmits=3), interval(1, 0, retransmits=0), last], "end": {}}
    assert load_trace(save(report)).rate_bps == (8_000_000, 0)


def test_a_client_that_sent_udp_has_to_bring_the_servers_part(save: Any) -> None:
    sent = {"intervals": [interval(0, 8, packets=700, sender=True)]}
    with pytest.raises(InputError, match="what was sent, not what arrived") as refused:
        load_trace(save(sent))
    assert "--get-server-output" in refused.value.remedy
    assert load_trace(save(sent | {"server_output_json": {"intervals": [udp(0, 5, 0)]}})).rate_bps == (5_000_000,)


def test_of_both_directions_the_leg_chooses(save: Any) -> None:
    both = interval(0, 8) | {"sum_bidir_reverse": interval(0, 3)["sum"]}
    path = save({"intervals": [both]})
    assert load_trace(path, leg="to_bridge").rate_bps == (8_000_000,)
    assert load_trace(path, leg="to_viewer").rate_bps == (3_000_000,)


UDP_TEXT = """-----------------------------------------------------------
Server listening on 5201 (test #1)
-----------------------------------------------------------
Accepted connection from 192.0.2.7, port 40000
[  5] local 192.0.2.1 port 5201 connected to 192.0.2.7 port 40001
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec  1000 KBytes  8.19 Mbits/sec  0.110 ms  0/700 (0%)
[  5]   1.00-2.00   sec   500 KBytes   512 KBytes/sec  0.220 ms  7/700 (1%)
[  5]   2.00-2.03   sec  1.00 KBytes   900 Mbits/sec  0.220 ms  0/1 (0%)
- - - - - - - - - - - - - - - - - - - - - - - - -
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-2.03   sec  1.46 MBytes  6.1 Mbits/sec  0.220 ms  7/1401 (0.5%)  receiver
"""

TCP_TEXT = """Connecting to host example.net, port 5201
[  5] local 192.0.2.1 port 40000 connected to 192.0.2.7 port 5201
[  7] local 192.0.2.1 port 40002 connected to 192.0.2.7 port 5201
[ ID] Interval           Transfer     Bitrate         Retr  Cwnd
Mon Jan  5 10:00:00 2026 [  5]   0.00-1.00   sec  0.50 MBytes  4.00 Mbits/sec    0   22.6 KBytes       (omitted)
[  5]   1.00-2.00   sec  0.50 MBytes  4.00 Mbits/sec    0   22.6 KBytes
[  7]   1.00-2.00   sec  0.25 MBytes  2.00 Mbits/sec    1   22.6 KBytes
[SUM]   1.00-2.00   sec  0.75 MBytes  6.00 Mbits/sec    1
- - - - - - - - - - - - - - - - - - - - - - - - -
[  5]   2.00-3.00   sec  0.00 Bytes  0.00 bits/sec    0   1.41 KBytes
[  7]   2.00-3.00   sec  0.25 MBytes  2.00 Mbits/sec    1   22.6 KBytes
[SUM]   2.00-3.00   sec  0.25 MBytes  2.00 Mbits/sec    1
- - - - - - - - - - - - - - - - - - - - - - - - -
[SUM]   0.00-3.00   sec  1.00 MBytes  2.80 Mbits/sec    2             sender
[SUM]   0.00-3.00   sec  1.00 MBytes  2.80 Mbits/sec                  receiver
"""

BOTH_TEXT = """[ ID][Role] Interval           Transfer     Bitrate
[  5][TX-C]   0.00-1.00   sec  1.00 MBytes  8.00 Mbits/sec
[  7][RX-C]   0.00-1.00   sec  2.00 MBytes  16.0 Mbits/sec
[  5][TX-C]   1.00-2.00   sec  1.00 MBytes  9.00 Mbits/sec
[  7][RX-C]   1.00-2.00   sec  2.00 MBytes  17.0 Mbits/sec
"""

OLD_TEXT = """[  3] local 192.0.2.1 port 5001 connected with 192.0.2.7 port 5001
[ ID] Interval       Transfer     Bandwidth
[  3]  0.0- 1.0 sec  1.00 MBytes  8.00 Mbits/sec
[  3]  1.0- 2.0 sec  0.50 MBytes  4.00 Mbits/sec
[  3]  0.0- 2.0 sec  1.50 MBytes  6.00 Mbits/sec
"""


def test_what_iperf3_prints_is_read_without_the_lines_that_sum_up(save: Any) -> None:
    trace = load_trace(save(UDP_TEXT))
    assert trace.format == "iperf3-text" and trace.rate_bps == (8_190_000, 4_096_000)
    assert trace.loss_ppm == (0, 10_000) and trace.jitter_ns == (110_000, 220_000)
    parallel = load_trace(save(TCP_TEXT))
    assert parallel.rate_bps == (6_000_000, 2_000_000) and not parallel.loss_ppm
    assert load_trace(save(OLD_TEXT)).rate_bps == (8_000_000, 4_000_000)


def test_printed_in_both_directions_the_leg_chooses(save: Any) -> None:
    path = save(BOTH_TEXT)
    assert load_trace(path, leg="to_bridge").rate_bps == (8_000_000, 9_000_000)
    assert load_trace(path, leg="to_viewer").rate_bps == (16_000_000, 17_000_000)


# ---- flent

T0 = 1_700_000_000.0
FLENT = {
    "version": 3,
    "metadata": {"SERIES_META": {"Ping (ms) ICMP": {"UNITS": "ms"}, "TCP upload": {"UNITS": "Mbits/s"}}},
    "x_values": [0.0, 0.2, 0.4, 0.6],
    "results": {
        "Ping (ms) ICMP": [20.0, 22.0, None, 24.0],
        "TCP download BE": [None, 3.0, 4.0, None],
        "TCP download BK": [None, 1.0, None, None],
        "TCP upload": [None, None, 2.5, 2.5],
        "TCP download sum": [None, 4.0, 4.0, None],
        "Qdisc backlog": [1, 2, 3, 4],
    },
    "raw_values": {
        "Ping (ms) ICMP": [
            {"seq": 1, "t": T0, "val": 20.0}, {"seq": 2, "t": T0 + 0.2, "val": 40.0},
            {"seq": 4, "t": T0 + 0.6, "val": 30.0},
        ],
    },
}  # fmt: skip


def test_flents_flows_of_one_direction_together_are_the_networks_rate(save: Any) -> None:
    path = save(FLENT, "rrul-2026.flent.gz")
    down, up = load_trace(path, leg="to_viewer"), load_trace(path, leg="to_bridge")
    assert down.format == "flent" and "TCP download BE + TCP download BK" in down.about
    assert down.rate_bps == (4_000_000, 4_000_000) and up.rate_bps == (2_500_000, 2_500_000)
    with pytest.raises(InputError, match="both directions"):
        load_trace(path)


def test_flents_pings_are_probes_and_a_missing_number_was_lost(save: Any) -> None:
    trace = load_trace(save(FLENT), leg="to_viewer", column="ping (ms) icmp")
    assert trace.delay_ns[:2] == (ms(10), ms(20)) and trace.delay_ns[-1] == ms(15)
    assert [round(at / 1e6) for at, ppm in zip(trace.times_ns, trace.loss_ppm, strict=True) if ppm] == [400]
    old = {key: value for key, value in FLENT.items() if key != "raw_values"}
    steps = load_trace(save(old), column="Ping (ms) ICMP")  # files of long ago have nothing but their graph
    assert steps.delay_ns == (ms(10), ms(11), ms(12)) and not steps.loss_ppm
    only = {"version": 3, "metadata": {}, "x_values": [0.0], "results": {"Ping (ms) UDP": [8.0]}, "raw_values": {}}
    assert load_trace(save(only), leg="to_bridge").delay_ns == (ms(4),)
    with pytest.raises(InputError, match="no series 'x'"):
        load_trace(save(FLENT), column="x")
    with pytest.raises(InputError, match="neither in ms nor in Mbit/s"):
        load_trace(save(FLENT), column="Qdisc backlog")


def test_flents_one_way_delays_are_the_legs_own(save: Any) -> None:
    ups = (10.0, 15.0, 10.0, 20.0)
    probes = [{"seq": i, "t": T0 + i, "val": 30.0, "owd_up": up, "owd_down": 30 - up} for i, up in enumerate(ups)]
    report = {"version": 3, "x_values": [0.0], "results": {"Ping (ms) UDP": [30.0]}}
    path = save(report | {"raw_values": {"Ping (ms) UDP": probes}})
    up, down = load_trace(path, leg="to_bridge").delay_ns, load_trace(path, leg="to_viewer").delay_ns
    assert [delay - min(up) for delay in up] == [0, ms(5), 0, ms(10)]
    assert [delay - min(down) for delay in down] == [ms(10), ms(5), ms(10), 0]
    assert load_trace(path).delay_ns == (ms(15),) * 4


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"x_values": None}, "x_values must be a list"),
        ({"raw_values": {"Ping (ms) ICMP": [{"seq": n, "t": T0 + n, "val": 1.0} for n in (0, 200_000)]}}, "missing"),
    ],
)
def test_a_flent_file_with_nothing_behind_its_keys_is_refused_at_once(save: Any, changes: Any, rule: str) -> None:
    column = "TCP upload" if "x_values" in changes else "Ping (ms) ICMP"
    with pytest.raises(InputError, match=rule):
        load_trace(save(FLENT | changes), column=column, format="flent")
