"""Sender reports: a mapping that follows truth through lying reports."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.timeline.sender_report_mapping import KEPT_PAIRS, REBUILD_AFTER, Rejected, RtpNtpMap
from avsync.units import NS_PER_S, ms, seconds

RATE = 48_000
NTP0 = seconds(3_900_000_000)  # seconds since 1900: 2023, and nobody's local clock


class Sender:
    """A source whose RTP labels run ``skew_ppm`` fast; its reports' truth is known."""

    def __init__(self, *, skew_ppm: int = 0, rtp0: int = 1_000, ntp0_ns: int = NTP0) -> None:
        self.skew_ppm, self.rtp0, self.ntp0_ns = skew_ppm, rtp0, ntp0_ns

    def rtp(self, t_ns: int) -> int:
        return self.rtp0 + t_ns * RATE * (1_000_000 + self.skew_ppm) // (NS_PER_S * 1_000_000)

    def report(self, mapping: RtpNtpMap, t_ns: int, noise_ns: int = 0) -> Rejected | None:
        return mapping.add(self.ntp0_ns + t_ns + noise_ns, self.rtp(t_ns), t_ns)

    def error_ns(self, mapping: RtpNtpMap, t_ns: int) -> int:
        remote_ns = mapping.remote_ns(self.rtp(t_ns))
        assert remote_ns is not None
        return remote_ns - (self.ntp0_ns + t_ns)


def fed(sender: Sender, reports: int, *, start_s: int = 0) -> RtpNtpMap:
    mapping = RtpNtpMap(RATE)
    for second in range(start_s, start_s + reports):
        assert sender.report(mapping, seconds(second)) is None
    return mapping


def test_a_rate_of_zero_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="rate_hz must be > 0, got 0"):
        RtpNtpMap(0)


def test_zero_is_a_timestamp_like_any_other() -> None:
    mapping = RtpNtpMap(RATE)
    assert mapping.add(1, 0, 0) is None
    assert mapping.remote_ns(0) == 1 and mapping.age_ns(0) == 0


def test_nothing_is_known_before_the_first_report() -> None:
    mapping = RtpNtpMap(RATE)
    assert mapping.remote_ns(123) is None
    assert mapping.slope_ppm() is None and mapping.age_ns(5) is None


def test_one_report_is_enough_at_the_nominal_rate() -> None:
    sender = Sender()
    mapping = fed(sender, 1)
    assert abs(sender.error_ns(mapping, seconds(10))) <= ms(0.03)
    assert abs(sender.error_ns(mapping, -seconds(10))) <= ms(0.03)  # ticks before the report
    assert mapping.slope_ppm() is None


def test_a_report_before_any_media_is_kept() -> None:
    mapping = RtpNtpMap(RATE)
    Sender().report(mapping, -seconds(40))
    assert abs(Sender().error_ns(mapping, 0)) <= ms(0.03)


@pytest.mark.parametrize("skew_ppm", [-200, 200])
def test_labels_that_drift_are_followed_and_the_sign_says_how(skew_ppm: int) -> None:
    sender = Sender(skew_ppm=skew_ppm)
    mapping = RtpNtpMap(RATE)
    for second in range(0, 600, 5):
        assert sender.report(mapping, seconds(second)) is None
        if second >= 15:
            assert abs(sender.error_ns(mapping, seconds(second + 5))) <= ms(0.1)
    assert mapping.slope_ppm() == skew_ppm
    assert mapping.generation == 0


def test_lies_are_counted_and_change_nothing() -> None:
    sender = Sender()
    mapping = fed(sender, 8)
    before = mapping.remote_ns(0)
    lies = [
        (0, sender.rtp(seconds(9)), Rejected.ZERO_NTP),
        (NTP0 + seconds(7), sender.rtp(seconds(7)), Rejected.DUPLICATE),
        (NTP0 + seconds(8), sender.rtp(seconds(7)), Rejected.DUPLICATE),  # the same RTP time, another NTP
        (NTP0 + seconds(7), sender.rtp(seconds(8)), Rejected.DUPLICATE),
        (NTP0 + seconds(5.5), sender.rtp(seconds(5.5)), Rejected.NOT_INCREASING),  # late
        (NTP0 + seconds(7 + 3601), sender.rtp(seconds(8)), Rejected.NTP_JUMP),
        (NTP0 + seconds(8), sender.rtp(seconds(7)) + 2**25 + 1, Rejected.RTP_JUMP),
        (NTP0 + seconds(9.03), sender.rtp(seconds(9)), Rejected.OUTLIER),
    ]
    for ntp_ns, rtp, reason in lies:
        assert mapping.add(ntp_ns, rtp, seconds(9)) is reason
        sender.report(mapping, seconds(7))  # a stale pair in between
    assert mapping.remote_ns(0) == before
    assert mapping.generation == 0
    assert mapping.age_ns(seconds(9)) == seconds(2)
    expected = dict.fromkeys(Rejected, 1) | {Rejected.DUPLICATE: 3 + len(lies)}
    assert mapping.rejections == expected


def test_perfect_reports_have_no_spread_and_still_catch_an_outlier() -> None:
    sender = Sender()
    mapping = fed(sender, 10)
    assert sender.report(mapping, seconds(10), noise_ns=ms(1.5)) is None  # below the floor of 2 ms
    assert sender.report(mapping, seconds(11), noise_ns=ms(5)) is Rejected.OUTLIER
    assert sender.report(mapping, seconds(12), noise_ns=-ms(5)) is Rejected.OUTLIER
    assert sender.report(mapping, seconds(13)) is None


def test_one_wild_report_at_the_start_is_outvoted() -> None:
    sender = Sender()
    mapping = RtpNtpMap(RATE)
    for second in range(8):
        sender.report(mapping, seconds(second), noise_ns=ms(40) if second == 1 else 0)
    assert abs(sender.error_ns(mapping, seconds(9))) <= ms(1)


@pytest.mark.parametrize(
    "step_ns", [ms(90), -ms(90), seconds(600), -seconds(600), seconds(86_400 * 400), -seconds(7200)]
)
def test_a_step_of_the_senders_clock_is_believed_after_five(step_ns: int) -> None:
    sender = Sender()
    mapping = fed(sender, 30)
    sender.ntp0_ns += step_ns
    for second in range(30, 30 + REBUILD_AFTER):
        assert mapping.generation == 0
        assert sender.report(mapping, seconds(second)) is not None
    assert mapping.generation == 1
    assert abs(sender.error_ns(mapping, seconds(36))) <= ms(0.05)
    assert abs(mapping.step_ns - step_ns) <= ms(0.05)  # what a holder of a one-way delay takes off
    assert sender.report(mapping, seconds(36)) is None


def test_doubled_and_stale_reports_do_not_put_off_a_rebuild() -> None:
    sender = Sender()
    mapping = fed(sender, 30)
    stepped = Sender(ntp0_ns=NTP0 + seconds(600.5))
    for second in range(30, 30 + REBUILD_AFTER):
        stepped.report(mapping, seconds(second))
        if second < 29 + REBUILD_AFTER:
            assert stepped.report(mapping, seconds(second)) is Rejected.DUPLICATE
            assert sender.report(mapping, seconds(29)) is Rejected.DUPLICATE
            assert mapping.add(0, stepped.rtp(seconds(second)), 0) is Rejected.ZERO_NTP
    assert mapping.generation == 1


def test_what_was_rejected_does_not_blunt_the_mapping_rebuilt_from_it() -> None:
    mapping, stepped = fed(Sender(), 6), Sender(ntp0_ns=NTP0 + seconds(600))
    for second in range(6, 11):
        stepped.report(mapping, seconds(second))
    assert mapping.generation == 1
    assert stepped.report(mapping, seconds(11), noise_ns=ms(30)) is Rejected.OUTLIER


def test_after_a_long_gap_a_slope_that_was_a_little_wrong_is_no_outlier() -> None:
    sender = Sender()
    mapping = fed(sender, 20)
    assert sender.report(mapping, seconds(80), noise_ns=ms(8)) is None  # 133 ppm over a minute


def test_the_wait_for_five_starts_again_when_the_run_is_broken() -> None:
    sender, liar = Sender(), Sender(ntp0_ns=NTP0 + seconds(1.5))
    mapping = fed(sender, 10)
    for second in range(10, 60):
        (sender if second % 5 == 0 else liar).report(mapping, seconds(second))
    assert mapping.generation == 0
    assert abs(sender.error_ns(mapping, seconds(60))) <= ms(0.05)


def test_rejections_that_do_not_follow_each_other_are_no_new_clock() -> None:
    mapping = fed(Sender(), 10)
    for n in range(20):  # further and further back: a replay, not a sender
        mapping.add(NTP0 + ms(8_000 - 100 * n - 1), Sender().rtp(ms(8_000 - 100 * n)) + 1, seconds(10))
    assert mapping.generation == 0


def test_a_stale_pair_sent_again_for_minutes_rebuilds_nothing() -> None:
    sender = Sender()
    mapping = fed(sender, 10)
    for second in range(10, 200):
        assert mapping.add(NTP0 + seconds(9), sender.rtp(seconds(9)), seconds(second)) is Rejected.DUPLICATE
    assert mapping.generation == 0
    assert sender.report(mapping, seconds(200)) is None


def test_the_same_ssrc_with_a_new_offset_is_a_rebuild() -> None:
    mapping = fed(Sender(rtp0=2_000_000_000), 10)
    restarted = Sender(rtp0=5_000)
    for second in range(10, 15):
        restarted.report(mapping, seconds(second))
    assert mapping.generation == 1
    assert abs(restarted.error_ns(mapping, seconds(16))) <= ms(0.05)


@pytest.mark.parametrize("seed", range(8))
def test_reports_that_jitter_by_several_ms_are_averaged_not_refused(seed: int) -> None:
    """aiortc stamps the report when the last packet of a frame was sent: some ms late, never early."""
    chance = random.Random(f"sr.jitter.{seed}")
    sender = Sender(skew_ppm=100)
    mapping = RtpNtpMap(RATE)
    refused, worst_ns = 0, 0
    for second in range(120):
        refused += sender.report(mapping, seconds(second), noise_ns=round(ms(8) * chance.random())) is not None
        assert refused == 0 or second > 4  # nobody can tell an outlier yet
        if second >= KEPT_PAIRS:
            worst_ns = max(worst_ns, abs(sender.error_ns(mapping, seconds(second + 1)) - ms(4)))
    assert refused <= 6 and mapping.generation == 0
    assert worst_ns <= ms(3.5)


def test_a_sender_that_becomes_noisy_is_let_in_again_without_a_rebuild() -> None:
    """Two of three off by 6 ms, never five in a row: refused for ever if only the believed ones set the bound."""
    sender = Sender()
    mapping = fed(sender, 8)
    answers = [sender.report(mapping, seconds(n), noise_ns=ms((0, 6, -6)[n % 3])) for n in range(8, 60)]
    assert answers[0] is Rejected.OUTLIER and answers[30:] == [None] * 22
    assert mapping.generation == 0


def test_a_slope_beyond_1000_ppm_is_not_believed() -> None:
    mapping = RtpNtpMap(RATE)
    sender = Sender(skew_ppm=20_000)
    for second in range(60):
        sender.report(mapping, seconds(second))
    slope_ppm = mapping.slope_ppm()
    assert slope_ppm is not None and 990 <= slope_ppm <= 1_001


@given(
    skew_ppm=st.integers(-200, 200),
    every_ms=st.integers(500, 5_000),
    noise_us=st.lists(st.integers(-500, 500), min_size=4, max_size=60),
    rtp0=st.integers(-(2**31), 2**40),
)
def test_the_mapping_stays_near_the_truth(skew_ppm: int, every_ms: int, noise_us: list[int], rtp0: int) -> None:
    sender = Sender(skew_ppm=skew_ppm, rtp0=rtp0)
    mapping = RtpNtpMap(RATE)
    for n, noise in enumerate(noise_us):
        assert sender.report(mapping, ms(every_ms) * n, noise_ns=noise * 1_000) is None
        # Its own noise, then a slope that is wrong by at most 1200 ppm until the next report.
        bound_ns = ms(0.6) + ms(every_ms) * 1_200 // 1_000_000 + ms(every_ms) * 3 * abs(skew_ppm) // 1_000_000
        assert abs(sender.error_ns(mapping, ms(every_ms) * (n + 1))) <= bound_ns
    assert mapping.generation == 0


def test_a_lie_does_not_make_a_later_honest_report_look_doubled() -> None:
    sender = Sender()
    mapping = fed(sender, 10)
    assert mapping.add(NTP0 + seconds(11), sender.rtp(seconds(10)), seconds(10)) is Rejected.OUTLIER
    assert sender.report(mapping, seconds(11)) is None  # the same NTP time


@given(st.lists(st.tuples(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70)), max_size=80))
def test_hostile_reports_never_raise_nor_grow(reports: list[tuple[int, int]]) -> None:
    mapping = RtpNtpMap(90_000)
    for n, (ntp_ns, rtp) in enumerate(reports):
        mapping.add(ntp_ns, rtp, n)
        mapping.remote_ns(rtp)
        assert len(mapping._pairs) <= KEPT_PAIRS and len(mapping._suspects) < REBUILD_AFTER
