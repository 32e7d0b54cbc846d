"""Legs: real header arithmetic, reports that name one instant, and what is sent again when a packet is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.types import AUDIO, VIDEO
from avsync.units import ms, ns_to_ticks, seconds
from sim.network.link import Link, LinkSpec
from sim.packets import PictureFrame, SenderReport, SoundPacket
from sim.run.host import Host
from sim.run.leg import NTP_EPOCH_NS, RtpLeg, RtpSender
from sim.run.receivers import Decoder
from sim.scenario.network import RtpStart
from sim.virtual_time import VirtualTime

WRAP, SEQ_WRAP = 1 << 32, 1 << 16


class End:
    """Whoever receives; with the time of each arrival."""

    def __init__(self, env: VirtualTime) -> None:
        self.env = env
        self.sounds: list[tuple[int, SoundPacket]] = []
        self.pictures: list[tuple[int, PictureFrame]] = []
        self.reports: list[tuple[int, SenderReport]] = []

    def on_sound(self, packet: SoundPacket) -> None:
        self.sounds.append((self.env.now, packet))

    def on_picture(self, frame: PictureFrame) -> None:
        self.pictures.append((self.env.now, frame))

    def on_report(self, report: SenderReport) -> None:
        self.reports.append((self.env.now, report))


class Line:
    """A sender, a leg of 20 ms and an end."""

    def __init__(self, *, start: RtpStart | None = None, ppm: int = 0, reports: bool = False, **more: Any) -> None:
        self.env = VirtualTime(0)
        self.link = Link(LinkSpec(delay_ns=ms(20)), seed=1, name="to_viewer")
        self.leg = RtpLeg(self.env, self.link)
        self.end = End(self.env)
        self.leg.to(self.end)
        self.host = Host(self.env, ppm)
        self.sender = RtpSender(
            self.host, self.leg, seed=1, name="to_viewer", start=start or RtpStart(), reports=reports, **more
        )

    def sound(self, stamp_ns: int) -> None:
        self.sender.sound(stamp_ns, ms(20), 80, 0, stamp_ns, 0)

    def picture(self, stamp_ns: int, *, size: int = 5_000, key: bool = False) -> None:
        self.sender.picture(stamp_ns, ms(40), size, 0, stamp_ns, 0, is_key=key)

    def until(self, at_ns: int) -> Line:
        self.env.run(until=at_ns)
        return self


# ---- headers


def test_stamps_and_sequence_numbers_are_32_and_16_bits_and_wrap() -> None:
    line = Line(start=RtpStart(audio_rtp=WRAP - 960, video_rtp=WRAP - 3600, seq=SEQ_WRAP - 1))
    for i in range(3):
        line.sound(ms(20) * i)
        line.picture(ms(40) * i, size=2_500)
    line.until(seconds(1))
    assert [p.rtp for _, p in line.end.sounds] == [WRAP - 960, 0, 960]
    assert [f.rtp for _, f in line.end.pictures] == [WRAP - 3600, 0, 3600]
    assert [p.seq16 for _, p in line.end.sounds] == [SEQ_WRAP - 1, 0, 1]
    assert [f.seq16 for _, f in line.end.pictures] == [SEQ_WRAP - 1, 2, 5]  # three packets each
    assert line.sender.violations == 0


@given(stamp=st.integers(0, seconds(100_000)), start=st.integers(0, WRAP - 1))
def test_any_stamp_is_its_ticks_from_the_start_modulo_2_to_the_32(stamp: int, start: int) -> None:
    line = Line(start=RtpStart(audio_rtp=start, video_rtp=start, seq=0))
    line.sound(stamp)
    line.picture(stamp)
    line.until(seconds(1))
    assert line.end.sounds[0][1].rtp == (start + ns_to_ticks(stamp, 48_000)) % WRAP
    assert line.end.pictures[0][1].rtp == (start + ns_to_ticks(stamp, 90_000)) % WRAP


def test_a_picture_travels_in_packets_and_is_there_with_the_last_of_them() -> None:
    line = Line()
    line.link.set(rate_bps=1_000_000)
    line.picture(0, size=1_200 * 10)
    line.until(seconds(1))
    ((at, frame),) = line.end.pictures
    assert frame.packets == 10 and at == pytest.approx(ms(20) + (12_000 + 400) * 8 * 1000, abs=ms(0.1))


@pytest.mark.parametrize("again", [0, ms(20)])
def test_a_stamp_that_does_not_grow_is_counted(again: int) -> None:
    line = Line()
    for stamp in (ms(20), again):
        line.sound(stamp)
    assert line.sender.violations == 1
    line.picture(0)  # the other stream has stamps of its own
    assert line.sender.violations == 1


def test_labels_that_drift_do_so_per_stream_and_for_reports_too() -> None:
    line = Line(start=RtpStart(audio_rtp=0, video_rtp=0, seq=0), reports=True, label_ppm=(100, -100))
    line.sound(seconds(1000))
    line.picture(seconds(1000))
    line.until(seconds(2))
    assert line.end.sounds[0][1].rtp == 48_000_000 + 4_800
    assert line.end.pictures[0][1].rtp == 90_000_000 - 9_000
    report = next(r for _, r in line.end.reports if r.kind is AUDIO)
    local = report.ntp_ns - NTP_EPOCH_NS
    assert report.rtp == ns_to_ticks(local + local * 100 // 1_000_000, 48_000)


# ---- reports


def talking(**more: Any) -> Line:
    line = Line(reports=True, start=RtpStart(audio_rtp=7, video_rtp=WRAP - 9, seq=0), **more)
    line.sound(0)
    line.picture(0)
    return line


def instants(line: Line) -> dict[Any, list[tuple[int, int]]]:
    """Per kind, (arrival, NTP) of each report."""
    return {kind: [(at, r.ntp_ns) for at, r in line.end.reports if r.kind is kind] for kind in (AUDIO, VIDEO)}


@pytest.mark.parametrize("ppm", [0, 250])
def test_a_report_names_the_senders_clock_and_its_stamp_of_the_same_instant(ppm: int) -> None:
    line = talking(ppm=ppm).until(seconds(10))
    assert len(line.end.reports) == 20
    for at, report in line.end.reports:
        hz, base = (48_000, 7) if report.kind is AUDIO else (90_000, WRAP - 9)
        local = report.ntp_ns - NTP_EPOCH_NS
        assert local == line.host.local_ns(at - ms(20))
        assert report.rtp == (base + ns_to_ticks(local, hz)) % WRAP


def test_a_stream_that_has_sent_nothing_is_not_reported() -> None:
    line = Line(reports=True)
    line.sound(0)
    assert {report.kind for _, report in line.until(seconds(3)).end.reports} == {AUDIO}
    assert Line(reports=True).until(seconds(3)).end.reports == []


def test_a_host_that_sleeps_reports_nothing() -> None:
    line = talking()
    line.host.sleep(seconds(5))
    line.until(seconds(8))
    assert min(at for at, _ in line.end.reports) > seconds(5)


def test_reports_go_missing_for_one_stream_and_come_back() -> None:
    line = talking()
    line.sender.report_fault[VIDEO] = ("missing", 0)
    line.until(seconds(4))
    line.sender.report_fault.clear()
    found = instants(line.until(seconds(8)))
    assert len(found[AUDIO]) == 8 and len(found[VIDEO]) == 4


def test_late_reports_come_later_and_say_what_they_would_have_said() -> None:
    line, on_time = talking(), talking()
    line.sender.report_fault[AUDIO] = ("late", ms(300))
    late, usual = instants(line.until(seconds(5))), instants(on_time.until(seconds(5)))
    assert late[VIDEO] == usual[VIDEO]
    assert late[AUDIO] == [(at + ms(300), ntp) for at, ntp in usual[AUDIO]][: len(late[AUDIO])]


def test_reports_that_are_wrong_or_whose_clock_stepped_differ_in_their_ntp_alone() -> None:
    line, right = talking(), talking()
    line.sender.report_fault[VIDEO] = ("wrong", ms(200))
    wrong, usual = instants(line.until(seconds(5))), instants(right.until(seconds(5)))
    assert wrong[AUDIO] == usual[AUDIO]
    assert wrong[VIDEO] == [(at, ntp + ms(200)) for at, ntp in usual[VIDEO]]
    stepped = talking()
    stepped.sender.ntp_offset_ns += seconds(3600)
    found = instants(stepped.until(seconds(5)))
    assert all(found[kind] == [(at, ntp + seconds(3600)) for at, ntp in usual[kind]] for kind in (AUDIO, VIDEO))


# ---- what is lost


def lost_until(at_ns: int) -> Line:
    line = Line()
    token = line.link.set(loss_ppm=1_000_000)
    line.env.timeout(at_ns).callbacks.append(lambda _event: line.link.restore(token))
    return line


def test_lost_sound_is_lost() -> None:
    line = lost_until(ms(10))
    line.sound(0)
    assert line.until(seconds(2)).end.sounds == [] and line.leg.lost_sounds == 1


def test_a_picture_is_sent_again_and_says_so() -> None:
    line = lost_until(ms(10))
    line.picture(0)
    ((at, frame),) = line.until(seconds(2)).end.pictures
    assert frame.retransmitted and ms(60) < at < ms(400)
    assert line.leg.resent_packets == frame.packets


def test_a_picture_is_given_up_after_three_times() -> None:
    line = lost_until(seconds(5))
    line.picture(0)
    assert line.until(seconds(8)).end.pictures == []
    assert line.leg.resent_packets == 3 * 5


# ---- what can be decoded


def frame(number: int, *, key: bool = False) -> PictureFrame:
    return PictureFrame(0, 0, 1, 1000, 0, 0, ms(40), number, key, False, number)


class Eye:
    """A decoder, and what it asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.decoder = Decoder(self._ask)

    def _ask(self) -> None:
        self.asked += 1

    def take(self, number: int, at_ms: int, *, key: bool = False) -> list[int]:
        return [each.number for each in self.decoder.take(frame(number, key=key), ms(at_ms))]


def begun() -> Eye:
    eye = Eye()
    assert eye.take(1, 0, key=True) == [1]
    return eye


def test_nothing_is_decoded_before_the_first_key_frame() -> None:
    eye = Eye()
    assert eye.take(5, 0) == eye.take(6, 40) == [] and eye.asked == 1
    assert eye.decoder.first_decodable_ns is None
    assert eye.take(7, 80, key=True) == [7] and eye.take(8, 120) == [8]
    assert eye.decoder.first_decodable_ns == ms(80)


def test_pictures_that_overtook_each_other_come_out_in_order() -> None:
    eye = begun()
    assert eye.take(3, 40) == [] and eye.take(4, 60) == [] and eye.take(2, 80) == [2, 3, 4]
    assert eye.asked == 0


def test_a_picture_that_came_twice_is_decoded_once() -> None:
    eye = begun()
    assert eye.take(2, 40) == [2] and eye.take(2, 50) == []


def test_what_depends_on_a_picture_that_never_came_waits_for_a_key_frame() -> None:
    eye = begun()
    assert eye.take(3, 40) == []
    later = [eye.take(number, 40 * (number - 2)) for number in range(4, 30)]
    assert not any(later) and 1 <= eye.asked <= 3  # half a second of patience, then one question per half second
    assert eye.take(30, 1200, key=True) == [30] and eye.take(31, 1240) == [31]


@pytest.mark.parametrize("start", ["the call", "a picture that never came"])
def test_a_key_frame_that_is_sent_again_is_not_given_up_for_what_overtook_it(start: str) -> None:
    """It is large, so one of its packets is lost more easily; what needs it comes first."""
    eye = Eye()
    first = 2
    if start != "the call":
        eye = begun()
        assert [eye.take(number, 40 * number) for number in range(3, 20)] == [[]] * 17
        first = 20
    assert [eye.take(number, 40 * number) for number in range(first + 1, first + 5)] == [[]] * 4
    assert eye.take(first, 40 * (first + 5), key=True) == list(range(first, first + 5))
    assert eye.decoder.undecodable == (0 if start == "the call" else 17)


def test_a_key_frame_needs_nothing_of_what_is_missing() -> None:
    eye = begun()
    assert eye.take(5, 40, key=True) == [5] and eye.take(6, 80) == [6]
