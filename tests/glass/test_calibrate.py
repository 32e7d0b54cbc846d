"""Calibration: what is judged, what is refused, what is kept. And the reference sender, without a browser."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from avsync.errors import InputError
from avsync.glass.calibrate import (
    Calibration,
    Connection,
    NotCalibrated,
    calibration_media,
    connection,
    judged,
    load,
    store,
    store_path,
)
from avsync.glass.chromium import find_chromium
from avsync.glass.host_health import HostTooBusy, check_host
from avsync.glass.plot import plot
from avsync.glass.reading import read
from avsync.glass.recording import ActionDone
from avsync.glass.reference_media import OPUS_LOOKAHEAD, PLAIN, ReferenceMedia, Shift, reference_media, shift_at
from avsync.glass.reference_sender import ExactReports, MediaClock, ReferenceTrack, without_local_candidates
from avsync.glass.result import read_result
from avsync.glass.strip import read_strip
from avsync.glass.voice_position import locate_voice
from avsync.units import NS_PER_S, SLOT_SAMPLES, SOUND_HZ, ms, seconds
from tests.glass.glass_story import Viewer

GOOD = Calibration(-40.5, (-43.9, -38.9, -40.8, -40.5, -40.0), (80.0, -80.1), -52.5, -21.5, 1.6, "here", "Chromium 1")


def connections(zeros, up=80.0, down=-80.0):
    return [Connection(zero, ((80, up), (-80, down)), -50.0, -20.0) for zero in zeros]


def judge(seen):
    return judged(seen, late_p95_ms=1.0, host="here", browser="Chromium 1")


def test_zero_is_the_median_of_five_connections():
    one = judge(connections([-53, -25, -47, -46, -300]))
    assert (one.zero_ms, one.zeros_ms, one.steps_ms) == (-47, (-53, -25, -47, -46, -300), (80, -80))


@pytest.mark.parametrize(("up", "down"), [(86, -80), (80, -74), (0, 0), (-80, 80)])
def test_a_known_difference_read_wrong_is_not_calibrated(up, down):
    """Also with the sign turned: a probe that reads the voice behind for ahead must not pass."""
    with pytest.raises(NotCalibrated, match="known difference"):
        judge(connections([-47] * 5, up, down))


def test_no_difference_read_at_all_is_not_calibrated():
    with pytest.raises(NotCalibrated):
        judge([Connection(-47, (), -50, None)] * 5)


@pytest.mark.parametrize("late_ms", [0.2, 9.9])
def test_a_host_in_time_is_judged(late_ms):
    assert check_host([ms(late_ms)] * 100) == ms(late_ms)


@pytest.mark.parametrize("late_ns", [[], [ms(10)] * 100, [0] * 94 + [ms(50)] * 6])
def test_a_host_that_was_late_is_not(late_ns):
    with pytest.raises(HostTooBusy) as refused:
        check_host(late_ns)
    assert refused.value.exit_code == 3


def test_one_late_packet_in_twenty_is_no_reason_to_refuse():
    assert check_host([0] * 95 + [ms(500)] * 5) == 0


def test_what_is_stored_comes_back_for_this_host_and_browser_only(tmp_path):
    path = tmp_path / "deep" / "glass.json"
    store(GOOD, path)
    store(judge(connections([-1] * 5)), path.with_name("other.json"))
    assert load("Chromium 1", host="here", path=path) == GOOD
    assert load("Chromium 2", host="here", path=path) is None
    assert load("Chromium 1", host="there", path=path) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"here | Chromium 1": {"zero_ms": "x"}}'])
def test_a_cache_that_cannot_be_read_is_an_empty_one(tmp_path, text):
    path = tmp_path / "glass.json"
    path.write_text(text)
    assert load("Chromium 1", host="here", path=path) is None
    store(GOOD, path)
    assert load("Chromium 1", host="here", path=path) == GOOD
    assert json.loads(path.read_text())


def test_the_store_is_in_the_user_s_cache(tmp_path):
    assert store_path({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "avsync" / "glass.json"
    assert store_path({}).parts[-3:] == (".cache", "avsync", "glass.json")


def a_connection(sizes, *, zero_ms=0.0, blank=()):
    """Seventeen seconds of the reference, made up: pictures behind by the shift, the whole off by the zero."""
    shifts = tuple(Shift(ms(5000 + 1250 * place), ms(size)) for place, size in enumerate(sizes))
    viewer = Viewer(length_ms=17_000)
    viewer.hear(1000, zero_ms + 100, 17_000)
    for number in range(400):
        stamp = 100 + 40 * number
        segment = (stamp - 5000) // 1250
        viewer.show(1000 + stamp - 100, None if segment in blank else stamp - shift_at(shifts, ms(stamp)) / 1e6)
    return connection(viewer.recording(), ReferenceMedia((), (), shifts, seconds(17)), None)


SIZES = (0, 80, 0, -80, 0, 80, 0, -80, 0)


@pytest.mark.parametrize("zero_ms", [0.0, -48.0, 60.0])
def test_a_connection_is_read_without_its_shifts(zero_ms):
    one = a_connection(SIZES, zero_ms=zero_ms)
    assert one.zero_ms == pytest.approx(zero_ms, abs=1)
    assert [wanted for wanted, _ in one.steps_ms] == [80, -80, 80]
    assert all(read_ms == pytest.approx(wanted, abs=1) for wanted, read_ms in one.steps_ms)


def test_a_shift_that_never_ends_is_not_a_zero():
    assert a_connection((80,) * 9, zero_ms=-48).zero_ms == pytest.approx(-48, abs=1)


def test_a_switch_counts_only_between_two_zeros_that_could_be_read():
    one = a_connection(SIZES, blank=(2,))
    assert [wanted for wanted, _ in one.steps_ms] == [80]
    assert one.steps_ms[0][1] == pytest.approx(80, abs=1)


def test_a_connection_that_cannot_be_read_is_refused():
    with pytest.raises(NotCalibrated, match="could be read"):
        connection(Viewer().recording(), ReferenceMedia((), (), PLAIN, 0), None)


# ----------------------------------------------------------------------------- reference media


def test_an_opus_packet_decodes_to_what_its_stamp_says():
    """The encoder looks ahead by 6.5 ms: not knowing it would be 6.5 ms of lip-sync error in the yardstick."""
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.format, decoder.layout = 48_000, "fltp", "mono"
    heard = [frame.to_ndarray() for packet in reference_media(2).audio for frame in decoder.decode(av.Packet(packet))]
    pcm = (np.concatenate(heard, axis=1)[0] * 32767).astype(np.int16)
    found = locate_voice(pcm)
    lag = np.nanmedian(found.position - found.at)
    assert OPUS_LOOKAHEAD == 312 and abs(lag) < 24


def test_pictures_are_behind_by_the_shift():
    media = reference_media(1, [Shift(0, 0), Shift(ms(400), ms(80))])
    decoder = av.CodecContext.create("libvpx", "r")
    numbers = [
        read_strip(frame.to_ndarray(format="rgb24")).number
        for packet in media.video
        for frame in decoder.decode(av.Packet(packet))
    ]
    assert numbers == [40 * i if i < 10 else 40 * i - 80 for i in range(25)]
    assert len(media.audio) * SLOT_SAMPLES == SOUND_HZ


def test_shifts_in_calibration_begin_when_a_viewer_has_settled():
    media = calibration_media(8)
    assert [(s.from_ns / 1e9, s.shift_ns / 1e6) for s in media.shifts] == [(5, 0), (6.25, 80)]
    assert media.shift_ns(seconds(4)) == 0 and media.shift_ns(seconds(7)) == ms(80)


# ---------------------------------------------------------------------------- reference sender


class FakeSender:
    """The two private places of aiortc's sender, and its clock-less order: frame, send, frame, report."""

    def __init__(self, frames: list[int], origin: int) -> None:
        self._RTCRtpSender__rtp_timestamp = 0
        self.frames, self.origin, self.sent = iter(frames), origin, []

    async def _next_encoded_frame(self, codec: Any) -> Any:
        return type("Frame", (), {"timestamp": next(self.frames)})()

    async def _send_rtcp(self, packets: list[Any]) -> None:
        self.sent.append(packets)

    async def send_frame(self) -> None:
        frame = await self._next_encoded_frame(None)
        self._RTCRtpSender__rtp_timestamp = (self.origin + frame.timestamp) % (1 << 32)

    async def report(self) -> Any:
        stale = RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=2, packet_count=3, octet_count=4)
        packets = [RtcpSrPacket(ssrc=1, sender_info=stale)]
        await self._send_rtcp(packets)
        return packets[0].sender_info


def test_reports_are_of_now_not_of_the_last_packet():
    """Neither of what was sent last, nor of when: both numbers of a report are of one clock at one moment."""

    async def story() -> None:
        sender, clock = FakeSender([0, 3600, 7200], 4_294_967_000), MediaClock()
        exact = ExactReports(sender, clock, 90_000)  # type: ignore[arg-type]
        exact.install()
        await sender.report()
        assert not sender.sent  # nothing has left: no report at all
        await sender.send_frame()
        await sender.send_frame()
        assert exact.origin == 4_294_967_000
        clock.start_ns, clock.wall_ns = time.monotonic_ns() - seconds(3600), 1_700_000_000 * NS_PER_S
        info = await sender.report()
        elapsed = ((info.ntp_timestamp >> 32) - 2_208_988_800 - 1_700_000_000) + (info.ntp_timestamp % 2**32) / 2**32
        assert elapsed == pytest.approx(3600, abs=1)
        ticks = (info.rtp_timestamp - exact.origin) % (1 << 32)
        assert abs(ticks - elapsed * 90_000) < 2
        assert (info.packet_count, info.octet_count) == (3, 4)

    asyncio.run(story())


def test_the_wall_clock_is_read_once(monkeypatch):
    clock = MediaClock()
    clock.elapsed_ns()
    label = clock.ntp(seconds(1))
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    clock.elapsed_ns()
    assert clock.ntp(seconds(1)) == label


def test_packets_leave_at_their_stamps_and_say_how_late():
    async def story() -> None:
        clock = MediaClock(start_ns=time.monotonic_ns() - seconds(10))
        track = ReferenceTrack("video", (b"a", b"b"), ms(40), 90_000, clock)
        packets = [await track.recv(), await track.recv()]
        assert [packet.pts for packet in packets] == [0, 3600]
        assert all(late >= seconds(9) for late in track.late_ns)
        with pytest.raises(MediaStreamError):
            await track.recv()

    asyncio.run(story())


def test_local_candidates_are_left_out():
    kept = "a=candidate:1 1 udp 1 127.0.0.1 5 typ host"
    sdp = "\r\n".join(["v=0", "a=candidate:2 1 udp 1 8f-3.local 5 typ host", kept, ""])
    assert without_local_candidates(sdp) == f"v=0\r\n{kept}\r\n"


# ------------------------------------------------------------------------------ browser, plots


def test_no_chromium_is_one_sentence_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match=r"no Chromium on this machine(.|\n)*apt-get install chromium"):
        find_chromium({"PATH": str(tmp_path)})
    with pytest.raises(InputError, match="AVSYNC_CHROMIUM names no program"):
        find_chromium({"PATH": str(tmp_path), "AVSYNC_CHROMIUM": str(tmp_path / "nothing")})


def test_a_chromium_that_is_named_is_taken(tmp_path):
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_chromium({"AVSYNC_CHROMIUM": str(program)}) == str(program)
    program.rename(tmp_path / "chromium")
    assert find_chromium({"PATH": str(tmp_path)}) == str(tmp_path / "chromium")


def test_a_plot_is_drawn_even_of_nothing(tmp_path):
    viewer = Viewer()
    viewer.hear(1000, 30, 6000)
    viewer.show_all(1000, 0, 3000)
    viewer.show(4000, 0, idle=True)
    for name, one in (("some", viewer), ("none", Viewer())):
        written = plot(tmp_path / f"{name}.png", read(one.recording()), title=name, actions=[ActionDone("cut", 2000.0)])
        assert written.read_bytes().startswith(b"\x89PNG")


def test_a_result_is_absolute_and_can_be_limited_to_parts():
    viewer = Viewer()
    viewer.hear(1000, 960, 6000)
    viewer.show_all(1000, 1000, 3000)
    viewer.show_all(4000, 3800, 3000)
    result = read_result(viewer.recording(), calibration=GOOD, origins=(0, 0))
    assert result.figures([(1100, 3900)]).p50_ms == pytest.approx(0.5, abs=0.2)
    assert result.figures([(1100, 2000), (4100, 6900)]).p50_ms == pytest.approx(200.5, abs=0.2)
    assert result.figures([(1100, 2000), (4100, 6900)]).seconds == pytest.approx(3.7, abs=0.03)
    assert result.pts_violations == (0, 1)
    assert json.loads(json.dumps(result.as_dict()))["zero_ms"] == -40.5
    # The two meters lie apart by what the calibration says they do: here nothing, there free_ms - zero_ms.
    assert np.nanmedian(result.free.e_ms - (result.reading.e_ms - 40.5)) == pytest.approx(-52.5 + 40.5, abs=1)
