"""Network traces: every format from a small sample. What is refused: test_trace_refusals.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from avsync.errors import InputError
from avsync.types import AUDIO
from avsync.units import ms, seconds
from sim.network.link import Link
from sim.network.link_spec import LinkSpec
from sim.network.traces.load import load_trace
from sim.network.traces.trace import NetworkTrace


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "trace.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def drives_a_link(trace: NetworkTrace) -> list[int]:
    """60 s of sound over it, in order; the delays."""
    tested = Link(LinkSpec(trace=trace, queue_ns=ms(300)), seed=1, name="x")
    sent = [(i * ms(20), tested.send(160, i * ms(20), AUDIO)) for i in range(3_000)]
    arrivals = [at[0] for _, at in sent if at]
    assert arrivals and arrivals == sorted(arrivals)
    return [at[0] - now for now, at in sent if at]


PING = """PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
[1676616289.500000] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=49 time=100 ms
[1676616289.740000] 64 bytes from 192.0.2.1: icmp_seq=2 ttl=49 time=40.0 ms
[1676616289.741000] 64 bytes from 192.0.2.1: icmp_seq=2 ttl=49 time=41.0 ms (DUP!)
no answer yet for icmp_seq=3
[1676616290.360000] 64 bytes from 192.0.2.1: icmp_seq=5 ttl=49 time=60 ms

--- 192.0.2.1 ping statistics ---
5 packets transmitted, 3 received, 40% packet loss, time 969ms
"""

G_NETTRACK = """Timestamp,Longitude,State,DL_bitrate,UL_bitrate
2019.12.16_11.49.59,-8.39,D,2000,30
2019.12.16_11.50.00,-8.39,I,0,0
2019.12.16_11.50.01,-8.39,D,0,40
2019.12.16_11.50.02,-8.39,D,-,-
2019.12.16_11.50.03,-8.39,D,4000,50
"""

ONL = {
    "type": "video",
    "downlink": {},
    "uplink": {
        "trace_pattern": [
            {"duration": 500, "capacity": 1000, "loss": 0.2, "rtt": 80, "jitter": 2},
            {"duration": 500, "capacity": 0, "loss": 0, "jitter": 0},
            {"duration": 1000, "capacity": 2000.5, "loss": 0, "rtt": 40, "jitter": 0},
        ]
    },
}


def test_mahimahi(write: Any) -> None:
    trace = load_trace(write("0\n0\n5\n\n20\n"))
    assert trace.format == "mahimahi" and "1500 bytes" in trace.about
    assert trace.opportunities_ns == (0, 0, ms(5), ms(20)) and trace.duration_ns == ms(20)
    assert trace.mean_bps == 4 * 12_000 * 50
    drives_a_link(trace)


def test_one_way_delay_of_agreeing_clocks_is_taken_as_it_is(write: Any) -> None:
    trace = load_trace(write("seq,t_send_s,owd_ms,mcs\n0,5.0,17.5,10\n1,5.01,12.0,10\n2,5.02,14.5,11\n"))
    assert trace.format == "owd-csv" and "taken as it is" in trace.about
    assert trace.times_ns == (0, ms(10), ms(20)) and trace.delay_ns == (17_500_000, ms(12), ms(14.5))
    assert trace.between and trace.loss_ppm == ()
    drives_a_link(trace)


def test_clock_offset_and_drift_are_removed_and_the_leg_chooses_the_direction(write: Any) -> None:
    """True floors: 2 ms up, 4 ms down. The far clock is 10 ms ahead and gains 100 ppm."""
    rows = ["seq,t_send_s,owd_up_ms,owd_down_ms,rtt_ms,lost"]
    for i in range(300):
        at_s, queue = i * 0.1, 7 * (i % 3 == 1)
        skew = 10 + at_s * 0.1
        rows.append(f"{i},{at_s:.3f},{2 + queue + skew:.6f},{4 - skew:.6f},{6 + queue},0")
    rows.append("300,30.0,,,,true")
    path = write("\n".join(rows))
    up, down = load_trace(path, leg="to_bridge"), load_trace(path, leg="to_viewer")
    assert "owd_up_ms" in up.about and "drift 100.0 ppm" in up.about
    assert "owd_down_ms" in down.about and "drift -100.0 ppm" in down.about
    assert up.delay_ns[:3] == pytest.approx((ms(3), ms(10), ms(3)), abs=2_000)  # half of 2 + 4 each way
    assert down.delay_ns[:3] == pytest.approx((ms(3),) * 3, abs=2_000)
    assert up.loss_ppm[-1] == 1_000_000 and "% lost" in up.about
    with pytest.raises(InputError, match="several columns would do: owd_up_ms, owd_down_ms"):
        load_trace(path)
    assert load_trace(path, column="owd_up_ms").delay_ns == up.delay_ns


def test_a_loss_of_the_other_direction_is_not_ours(write: Any) -> None:
    path = write("t_send_s,rtt_ms,lost\n0,10,0\n1,,true_up\n2,10,0\n3,,true_down\n4,10,0\n")
    assert load_trace(path, leg="to_bridge").loss_ppm.count(1_000_000) == 2  # rtt is missing in both
    path = write("t_send_s,owd_up_ms,owd_down_ms,lost\n0,5,5,0\n1,5,,true_down\n2,5,5,0\n")
    assert load_trace(path, leg="to_bridge").loss_ppm == ()


def test_flent_stamps_arrivals(write: Any) -> None:
    trace = load_trace(write("seq,t_recv_s,size_B,owd_ms\n1,0.000,92,24\n2,0.010,92,30\n3,0.020,92,25\n"))
    assert trace.format == "flent-csv" and "when it arrived" in trace.about
    assert trace.times_ns == (0, ms(4), ms(19))


def test_round_trips_are_halved_and_minus_one_is_no_answer(write: Any) -> None:
    trace = load_trace(write("seq,t_s,rtt_ms\n1,0.0,44\n2,0.1,-1\n3,0.2,40\n4,1.2,-1\n5,2.2,40\n"))
    assert trace.format == "rtt-csv" and "RTT halved" in trace.about and "-1 read as no answer" in trace.about
    assert trace.delay_ns[:3] == (ms(22), ms(21), ms(20))
    # the loss at 0.1 s lasts until the next probe, the lone one at 1.2 s for 200 ms of its second
    assert trace.times_ns == (0, ms(100), ms(200), ms(1200), ms(1400), ms(2200))
    assert trace.loss_ppm == (0, 1_000_000, 0, 1_000_000, 0, 0)


def test_ping_log_knows_what_was_lost(write: Any) -> None:
    trace = load_trace(write(PING, "udp-ping.log"))
    assert trace.format == "ping-log" and "RTT halved" in trace.about and "40 % lost" in trace.about
    assert trace.delay_ns[:2] == (ms(50), ms(20))
    assert trace.times_ns == pytest.approx((0, ms(300), ms(500), ms(700), ms(900)), abs=300)
    assert trace.loss_ppm == (0, 0, 1_000_000, 1_000_000, 0)
    plain = load_trace(
        write("64 bytes from a: icmp_seq=0 ttl=5 time=4 ms\n64 bytes from a: icmp_seq=1 ttl=5 time=6 ms\n")
    )
    assert "one a second assumed" in plain.about and plain.times_ns == (0, seconds(1))


def test_ping_sequence_numbers_wrap_at_16_bits(write: Any) -> None:
    lines = [f"[{100 + i}.5] 64 bytes from a: icmp_seq={(65_534 + i) % 65_536} ttl=5 time=4 ms" for i in range(5)]
    del lines[1]
    trace = load_trace(write("\n".join(lines)))
    assert trace.times_ns[:2] == (0, seconds(1)) and trace.loss_ppm[:3] == (0, 1_000_000, 0)


def test_rtt_list_of_runs(write: Any) -> None:
    trace = load_trace(write("\n########\nRun 1\n282.0,76.8,180.0,24.6,33.8,\n########\nRun 2\n20,*,40,50,60\n"))
    assert trace.format == "rtt-list" and "200 ms assumed" in trace.about and "2 runs joined" in trace.about
    assert trace.delay_ns[:2] == (ms(141), ms(38.4)) and trace.loss_ppm.count(1_000_000) == 1


def test_one_rtt_a_line_is_a_distribution(write: Any) -> None:
    path = write("# NISTnet\n200.0\n100.0\n300.0\n400.0\n")
    with pytest.raises(InputError, match="or what was carried in each second") as refused:
        load_trace(path)
    assert "rtt_ms above round trips" in refused.value.remedy
    trace = load_trace(write("# NISTnet\nrtt_ms\n200.0\n100.0\n300.0\n400.0\n", "headed.txt"))
    assert trace == load_trace(path, format="rtt-lines")
    assert trace.format == "rtt-lines" and "RTT halved" in trace.about
    assert set(trace.delay_quantiles_ns) == {ms(50), ms(100), ms(150), ms(200)}
    drives_a_link(trace)
    assert load_trace(path, format="rtt-list").delay_ns == (ms(100), ms(50), ms(150), ms(200))


def test_ping_summary(write: Any) -> None:
    trace = load_trace(
        write(
            "timestamp_start,timestamp_end,target,ip_protocol,packet_loss,packets_send,ping_avg,ping_worst,ping_best\n"
            "2024-01-11 09:43:20,2024-01-11 09:43:45,192.0.2.1,v4,0.4,250,60,106.4,46\n"
            "2024-01-11 09:45:20,2024-01-11 09:45:45,192.0.2.1,v4,0,250,50,84.31,44\n"
        )
    )
    assert trace.format == "ping-summary" and trace.duration_ns == seconds(50)
    assert trace.delay_ns == (ms(23), ms(22)) and trace.loss_ppm == (4_000, 0)
    assert trace.jitter_ns[0] == pytest.approx(ms(7) * 1.2533, rel=1e-6)  # its mean is 7 ms
    drives_a_link(trace)


def test_histograms_with_and_without_a_header(write: Any) -> None:
    counts = [0, 1, 5, 20, 40, 20, 10, 3, 1, 0, 0, 1]
    bare = load_trace(write("".join(f"{3 + i * 0.141:.6f}\t{n}.000000\n" for i, n in enumerate(counts))))
    assert bare.format == "delay-histogram"
    assert bare.delay_quantiles_ns[500] == pytest.approx(ms(3 + 4.6 * 0.141), rel=0.02)
    shares = load_trace(write("".join(f"{3 + i * 0.1:.1f}\t{n / sum(counts):.6f}\n" for i, n in enumerate(counts))))
    assert shares.format == "delay-histogram"
    head = "number of samples in the range,,latency range lower bound,latency range upper bound,\n"
    headed = load_trace(write(head + "2,0.2,800,900,0.83\n8,0.8,900,1000,0.94\n"))
    assert headed.format == "delay-histogram" and "read as us" in headed.about
    assert headed.delay_quantiles_ns[0] >= 800_000 and headed.delay_quantiles_ns[-1] <= ms(1)
    drives_a_link(headed)


def test_bandwidth_in_two_columns_says_what_it_took_it_for(write: Any) -> None:
    trace = load_trace(write("300.0 2.5\n301.0 0\n302.5 1e1\n"))
    assert trace.format == "bandwidth-s-mbps" and "read as s and Mbit/s" in trace.about
    assert trace.times_ns == (0, seconds(1), ms(2500)) and trace.rate_bps == (2_500_000, 0, 10_000_000)
    drives_a_link(trace)
    forced = load_trace(write("0 2500\n1000 5000\n2000 1000\n"), format="bandwidth-ms-kbps")
    assert forced.times_ns == (0, seconds(1), seconds(2)) and forced.rate_bps[0] == 2_500_000
    whole = load_trace(write("".join(f"{i}.0\t{90 + i % 7}.0\n" for i in range(20))))  # no histogram
    assert whole.format == "bandwidth-s-mbps"


def test_bandwidth_with_a_header_has_its_units_in_it(write: Any) -> None:
    trace = load_trace(write("time_ms;dl_kbps;ul_kbps\n0;1000;10\n500;2000;20\n"), leg="to_bridge")
    assert trace.rate_bps == (10_000, 20_000) and trace.times_ns == (0, ms(500))
    commented = load_trace(write("# t_s rtt_ms\n0 30\n1 50\n"))
    assert commented.format == "rtt-csv" and commented.delay_ns == (ms(15), ms(25))


def test_onl_json(write: Any) -> None:
    trace = load_trace(write(json.dumps(ONL, indent=1)), leg="to_viewer")
    assert trace.format == "onl-json" and "uplink" in trace.about and "RTT halved" in trace.about
    assert trace.times_ns == (0, ms(500), seconds(1)) and trace.duration_ns == seconds(2)
    assert trace.rate_bps == (1_000_000, 0, 2_000_500) and trace.loss_ppm == (200_000, 0, 0)
    assert trace.delay_ns == (ms(40), ms(40), ms(20)) and trace.jitter_ns == (ms(2), 0, 0)
    drives_a_link(trace)


def test_onl_json_may_be_one_long_line(write: Any) -> None:
    pattern = [{"duration": 1, "capacity": 1_000 + i} for i in range(40_000)]
    trace = load_trace(write(json.dumps({"uplink": {"trace_pattern": pattern}})))
    assert len(trace.rate_bps) == 40_000


def test_onl_capacities_that_slipped_into_bits_are_read_as_such(write: Any) -> None:
    pattern = [{"duration": 200, "capacity": c} for c in (9_130, 8_240, 8_039_999)]
    trace = load_trace(write(json.dumps({"uplink": {"trace_pattern": pattern}})))
    assert trace.rate_bps[-1] == 8_039_999 and "read as bit/s" in trace.about


def test_gnettrack_takes_the_column_of_the_leg(write: Any) -> None:
    path = write(G_NETTRACK)
    down, up = load_trace(path, leg="to_viewer"), load_trace(path, leg="to_bridge")
    assert down.rate_bps == (2_000_000, 0, 4_000_000) and up.rate_bps == (30_000, 40_000, 50_000)
    assert "2 rows idle or without a value" in down.about
    with pytest.raises(InputError, match="both directions"):
        load_trace(path)


def test_iperf3_overload_is_not_replayed_as_loss(write: Any) -> None:
    head = "t_s,mbps,jitter_ms,lost,packets\n"
    calm = load_trace(write(head + "0.0,5.0,0.5,1,100\n0.1,6.0,0.1,0,100\n"))
    assert calm.loss_ppm == (10_000, 0) and calm.jitter_ns == (ms(0.5), ms(0.1)) and calm.rate_bps[0] == 5_000_000
    flooded = load_trace(write(head + "0.0,5.0,0.5,50,100\n0.1,6.0,0.1,-3,100\n"))
    assert flooded.loss_ppm == () and "its own overload" in flooded.about


# ------------------------------------------------------------------------------ how it is written

RTT = "seq,t_s,rtt_ms\n1,0.0,40\n2,0.1,60\n"


@pytest.mark.parametrize(
    "text",
    [
        RTT.replace("\n", "\r\n"),
        "\ufeff" + RTT,
        "# made by hand\n\n" + RTT.replace("\n", "\n\n"),
        RTT.replace(",", ", ").replace("\n", ",\n"),
        RTT.replace(",", ";"),
        RTT.replace(",", "\t"),
        RTT.replace("seq,t_s,rtt_ms", 'seq,"T_S",RTT_MS').replace("0.1,60", "1e-1,6.0E1"),
        RTT.replace("t_s", "time_ms").replace("0.1,", "100,"),
        RTT.replace("rtt_ms", "rtt_us").replace("40", "40000").replace("60", "60000"),
        "seq,t_s,rtt_ms\n2,0.1,60\n1,0.0,40\n",
    ],
)
def test_a_table_may_be_written_in_many_ways(write: Any, text: str) -> None:
    trace = load_trace(write(text))
    assert trace.times_ns == (0, ms(100)) and trace.delay_ns == (ms(20), ms(30))


def test_gzip_is_read_and_a_cut_one_is_one_clear_error(write: Any) -> None:
    packed = gzip.compress(RTT.encode() * 1, mtime=0)
    assert load_trace(write(packed, "a.csv.gz")).delay_ns == (ms(20), ms(30))
    for broken in (packed[:-9], packed[:12], packed[:-8] + b"\0" * 8, packed[:10] + b"\xff" * 20):
        with pytest.raises(InputError, match="damaged or cut off"):
            load_trace(write(broken))
