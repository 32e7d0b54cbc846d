"""Ingress: where the pictures are placed against the sound, whatever the reports say and whenever they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.policy import AvSyncPolicy
from avsync.timeline.ingress import AGREE_NS, FAR_OFF_NS, ORIGIN_NS, Ingress
from avsync.types import AUDIO, VIDEO, Basis, Drop, DropReason, Kind, MediaUnit
from avsync.units import ms, ns_to_ticks, seconds
from tests.engine.engine_driver import FRAME, SLOT

S = seconds(1)
HZ = {AUDIO: 48_000, VIDEO: 90_000}
NTP = seconds(3_900_000_000)


class Call:
    """A provider: content ``c`` is made at ``c``, stamped from random bases, and arrives a delay later."""

    def __init__(self, *, bases: tuple[int, int] = (1000, 5000), policy: AvSyncPolicy | None = None) -> None:
        self.ingress = Ingress(policy or AvSyncPolicy())
        self.base = {AUDIO: bases[0], VIDEO: bases[1]}
        self.delay = {AUDIO: ms(50), VIDEO: ms(50)}
        self.ntp = {AUDIO: NTP, VIDEO: NTP}
        self.units: dict[Kind, list[tuple[int, int, MediaUnit]]] = {AUDIO: [], VIDEO: []}  # (content, arrival, unit)
        self.quarantined: list[Drop] = []
        self.now = 0

    def rtp(self, kind: Kind, content: int) -> int:
        return (self.base[kind] + ns_to_ticks(content, HZ[kind])) & 0xFFFF_FFFF

    def media(self, kind: Kind, content: int, *, pause: bool = False) -> MediaUnit | Drop:
        self.now = max(self.now, content + self.delay[kind])
        if kind is AUDIO:
            unit = self.ingress.on_sound(self.rtp(kind, content), SLOT, self.now, pause=pause)
        else:
            unit = self.ingress.on_picture(self.rtp(kind, content), FRAME, self.now)
        assert unit is not None, "nothing is held back of a provider that does not number its packets"
        if isinstance(unit, Drop):
            self.quarantined.append(unit)
        else:
            self.units[kind].append((content, self.now, unit))
        return unit

    def report(self, kind: Kind, content: int, *, wrong_by: int = 0) -> None:
        at = max(self.now, content + self.delay[kind])
        self.now = at
        self.ingress.on_sender_report(kind, self.ntp[kind] + content + wrong_by, self.rtp(kind, content), at)

    def run(self, start: int, end: int, *, reports: int | None = S, only: Kind | None = None) -> None:
        """Media in order of arrival; a report of each stream every ``reports``."""
        events: list[tuple[int, int, str, int]] = []
        for name, kind, period in (("a", AUDIO, SLOT), ("v", VIDEO, FRAME)):
            if only is None or kind is only:
                events += [(at + self.delay[kind], 1, name, at) for at in range(start, end, period)]
                if reports:
                    events += [(at + self.delay[kind], 0, name + "r", at) for at in range(start, end, reports)]
        for _, _, name, at in sorted(events):
            kind = AUDIO if name[0] == "a" else VIDEO
            if name.endswith("r"):
                self.report(kind, at)
            else:
                self.media(kind, at)

    def off(self, last: int = 1) -> int:
        """How far the newest pictures are placed from the sound of the same content: > 0 too late."""
        content, _, sound = self.units[AUDIO][-1]
        zero = sound.pts_ns - content
        return max((unit.pts_ns - zero - at for at, _, unit in self.units[VIDEO][-last:]), key=abs)


def steps(call: Call, kind: Kind) -> list[int]:
    """How much faster than its content each PTS went, unit by unit."""
    units = call.units[kind]
    return [
        (b[2].pts_ns - a[2].pts_ns) - (b[0] - a[0]) for a, b in zip(units, units[1:], strict=False)
    ]  # fmt: skip


def test_reports_place_the_pictures_within_a_millisecond() -> None:
    call = Call()
    call.delay[VIDEO] = ms(180)  # the pictures travel longer: by arrival they would be 130 ms off
    call.run(0, 10 * S)
    assert call.ingress.synced and call.ingress.basis is Basis.REPORTS
    assert abs(call.off(100)) <= ms(1)


def test_without_reports_the_fastest_of_each_are_taken_to_have_travelled_as_long() -> None:
    """Reports absent for ever: arrivals, and it says that it is not synced."""
    call = Call()
    call.run(0, 10 * S, reports=None)
    assert not call.ingress.synced and call.ingress.basis is Basis.ARRIVAL
    assert abs(call.off(200)) <= ms(1)


@pytest.mark.parametrize("longer_ms", [80, 480, 520])
@pytest.mark.parametrize("without_s", [1, 2, 5, 40])
def test_the_first_report_moves_the_pictures_at_once_however_late_it_comes(without_s: int, longer_ms: int) -> None:
    call = Call()
    call.delay[VIDEO] = ms(50 + longer_ms)
    call.run(0, without_s * S, reports=None)
    assert abs(call.off() - ms(longer_ms)) <= ms(1), "by arrival"
    call.run(without_s * S, (without_s + 2) * S)
    assert abs(call.off()) <= ms(1)
    call.run((without_s + 2) * S, 60 * S)
    moves = [abs(step) for step in steps(call, VIDEO) if abs(step) > FRAME * 5_000 // 1_000_000 + ms(0.01)]
    assert len(moves) == 1, "once, and slowly ever after"
    assert set(steps(call, AUDIO)) == {0}, "the voice never moves"


def test_without_reports_a_first_key_frame_that_came_late_places_nothing_for_long() -> None:
    call = Call()
    call.delay[VIDEO] = ms(50) + ms(400)  # large, it queued
    call.run(0, FRAME, reports=None)
    call.delay[VIDEO] = ms(50)
    call.run(FRAME, 3 * S, reports=None)
    assert abs(call.off()) <= ms(1)


def test_without_reports_sound_that_is_sent_ahead_in_the_first_seconds_moves_no_picture_at_once() -> None:
    call = Call()
    for tenth in range(1, 30):
        call.run((tenth - 1) * ms(100), tenth * ms(100), reports=None)
        call.delay[AUDIO] -= ms(30)  # 900 ms ahead after 3 s
    assert max(map(abs, steps(call, VIDEO))) <= FRAME * 5_000 // 1_000_000 + ms(0.01)
    assert abs(call.off()) <= ms(16), "3 s at 5 ms/s"


def test_without_reports_arrivals_move_the_pictures_slowly_once_the_first_seconds_are_over() -> None:
    call = Call()
    call.delay[VIDEO] = ms(90)
    call.run(0, 6 * S, reports=None)
    call.delay[VIDEO] = ms(50)
    call.run(6 * S, 30 * S, reports=None)
    assert max(map(abs, steps(call, VIDEO)[200:])) <= FRAME * 5_000 // 1_000_000 + ms(0.01)


def test_a_correction_after_a_long_agreement_is_slewed_too() -> None:
    """The time in which nothing had to be corrected is no credit for a jump."""
    call = Call()
    call.run(0, 60 * S)
    call.ntp[VIDEO] += ms(40)
    call.run(60 * S, 90 * S)
    assert max(map(abs, steps(call, VIDEO))) <= FRAME * 5_000 // 1_000_000 + ms(0.01)
    assert abs(call.off() - ms(40)) <= ms(2), "in the end the reports are believed"


def test_reports_of_one_stream_alone_place_nothing() -> None:
    """Too."""
    call = Call()
    call.run(0, 5 * S, reports=None)
    for at in range(5, 20):
        call.report(AUDIO, at * S)
        call.run(at * S, (at + 1) * S, reports=None)
    assert not call.ingress.synced and abs(call.off()) <= ms(1)


def test_one_wrong_report_moves_nothing() -> None:
    call = Call()
    call.run(0, 20 * S)
    for wrong in (ms(200), -S, seconds(7200), -NTP - 20 * S):
        call.report(VIDEO, 20 * S, wrong_by=wrong)
        call.media(VIDEO, 20 * S)
    call.run(20 * S + FRAME, 40 * S)
    assert abs(call.off(400)) <= ms(1)


def test_a_clock_step_of_the_sender_moves_both_and_so_nothing() -> None:
    for step in (ms(90), -ms(90), S, seconds(3600), -seconds(86_400)):
        call = Call()
        call.run(0, 20 * S)
        for kind in call.ntp:
            call.ntp[kind] += step
        call.run(20 * S, 60 * S)
        assert abs(call.off(1000)) <= ms(6), step
        assert abs(call.off()) <= ms(1), step


def test_a_far_placement_must_persist_and_is_then_believed() -> None:
    call = Call()
    call.run(0, 3 * S)
    call.ntp[VIDEO] += FAR_OFF_NS + AGREE_NS
    call.run(3 * S, 5 * S)
    assert abs(call.off()) <= ms(1)
    call.run(5 * S, 60 * S)
    assert abs(call.off() - FAR_OFF_NS - AGREE_NS) <= ms(1)


def test_both_counters_wrap_and_packets_overtake_each_other_at_the_wrap() -> None:
    call = Call(bases=(2**32 - 48_000 * 5, 2**32 - 90_000 * 7))
    call.run(0, 4 * S)
    for at in (4 * S, 5 * S, 5 * S - SLOT, 5 * S + SLOT):
        call.media(AUDIO, at)
    call.media(VIDEO, 7 * S)
    call.media(VIDEO, 7 * S - FRAME)
    call.run(7 * S + FRAME, 20 * S)
    assert set(steps(call, AUDIO)) == {0}
    assert abs(call.off(300)) <= ms(1)


def test_a_report_before_the_first_packet_counts_also_across_a_wrap() -> None:
    call = Call(bases=(2**32 - 480, 2**32 - 900))
    call.report(AUDIO, 0)
    call.report(VIDEO, 0)
    call.delay[VIDEO] = ms(180)
    call.run(ms(100), 2 * S, reports=None)
    assert call.ingress.synced
    assert abs(call.off(40)) <= ms(1), "from the first picture on"


def test_a_track_that_starts_44_s_later_is_placed_right() -> None:
    call = Call()
    call.run(0, 44 * S, only=AUDIO)
    call.delay[VIDEO] = ms(250)
    call.run(44 * S, 60 * S)
    assert abs(call.off()) <= ms(1)


def test_zero_is_a_stamp_like_any_other() -> None:
    call = Call(bases=(0, 0))
    call.run(0, 3 * S)
    assert call.units[AUDIO][0][2].pts_ns == ORIGIN_NS
    assert abs(call.off()) <= ms(1)


def test_a_retransmitted_picture_does_not_tell_the_delay() -> None:
    call = Call()
    call.run(0, 5 * S, reports=None)
    at = call.now
    call.ingress.on_picture(call.rtp(VIDEO, 6 * S), FRAME, at, in_order=False)  # as if far too early
    call.run(5 * S, 15 * S, reports=None)
    assert abs(call.off()) <= ms(1)


def test_a_source_that_begins_again_at_another_base_goes_on_where_it_was() -> None:
    for jump in (HZ[AUDIO] * 30, -HZ[AUDIO] * 3600, 2**31 - 5):
        call = Call()
        call.run(0, 20 * S)
        call.base[AUDIO] += jump
        call.base[VIDEO] += jump * 3
        call.run(20 * S, 40 * S)
        assert max(map(abs, steps(call, AUDIO))) <= ms(1)
        assert abs(call.off()) <= ms(1)
        assert all(unit.pts_ns >= 0 for kind in HZ for _, _, unit in call.units[kind])


def test_silence_without_packets_is_no_new_source() -> None:
    """A stream that stops for a minute, with a clock that goes on."""
    call = Call()
    call.run(0, 5 * S)
    call.run(65 * S, 75 * S)
    assert set(steps(call, AUDIO)) == {0} and abs(call.off()) <= ms(1)


def test_one_old_picture_after_an_outage_does_not_make_the_fresh_ones_a_new_source() -> None:
    """Pictures that were sent again come 15 s late, then fresh ones: their stamps jump, their pace does not."""
    call = Call()
    call.run(0, 15 * S)
    call.delay[VIDEO] = 15 * S
    for content in range(15 * S, 15 * S + 5 * FRAME, FRAME):
        call.media(VIDEO, content)
    call.delay[VIDEO] = ms(50)
    call.run(31 * S, 33 * S)
    assert abs(call.off(50)) <= ms(1), "at once, not when the reports have said so for three seconds"
    call.base[VIDEO] += HZ[VIDEO] * 600
    call.run(33 * S, 40 * S)
    assert abs(call.off()) <= ms(1), "a real new base is still noticed"


def test_a_source_that_fell_behind_for_good_may_still_begin_again() -> None:
    call = Call()
    call.run(0, 5 * S)
    for kind in HZ:
        call.delay[kind] = 300 * S  # it stopped for five minutes and went on where it was
    call.run(5 * S, 10 * S)
    for kind in HZ:
        call.base[kind] += HZ[kind] * 100
    call.run(10 * S, 20 * S)
    assert max(map(abs, steps(call, AUDIO)[300:])) <= seconds(61), "not taken for 100 s of content"


def test_a_sound_clock_that_drifts_is_followed_by_the_pictures() -> None:
    """Its RTP runs 500 ppm fast against its own NTP: the reports say so, and the lips stay with the voice."""
    call = Call()
    for second in range(120):
        for kind, period in ((AUDIO, SLOT), (VIDEO, FRAME)):
            for at in range(second * S, (second + 1) * S, period):
                content = at * 10_005 // 10_000 if kind is AUDIO else at
                now = max(call.now, at + ms(50))
                call.now = now
                if kind is AUDIO:
                    sound = call.ingress.on_sound(call.rtp(AUDIO, content), SLOT, now)
                else:
                    picture = call.ingress.on_picture(call.rtp(VIDEO, content), FRAME, now)
            call.ingress.on_sender_report(kind, NTP + at, call.rtp(kind, content), call.now)
        assert isinstance(sound, MediaUnit) and isinstance(picture, MediaUnit)
        if second > 10:
            assert abs(sound.pts_ns - picture.pts_ns - (FRAME - SLOT)) <= ms(3)


def test_after_an_interrupt_the_old_turn_is_kept_out_until_it_is_over() -> None:
    call = Call()
    call.run(0, 5 * S)
    call.ingress.interrupt(1, call.now)
    call.run(5 * S, 6 * S)  # the provider has not noticed yet
    assert len(call.quarantined) == 75
    assert {drop.reason for drop in call.quarantined} == {DropReason.QUARANTINE}
    call.run(6 * S + ms(300), 8 * S)  # it fell silent, and speaks again
    assert len(call.quarantined) == 75
    assert call.units[AUDIO][-1][2].epoch == 1
    assert abs(call.off()) <= ms(1)


@pytest.mark.parametrize("lost", [(), (0,), (-1,), (-2, -1, 0, 1)])
@pytest.mark.parametrize("pause_ms", [40, 100, 400])
def test_a_reply_is_heard_from_its_first_packet_after_a_pause_in_rtp_time(pause_ms: int, lost: tuple[int, ...]) -> None:
    """Numbered packets, the line hanging or not: the old turn has 15 more of them; ``lost`` counts from the reply."""
    ingress = Ingress(AvSyncPolicy())
    passed = []
    for number in range(100):
        if number == 50:
            ingress.interrupt(1, number * SLOT)
        rtp = ns_to_ticks(number * SLOT + (ms(pause_ms) if number >= 65 else 0), 48_000)
        if number - 65 in lost:
            continue
        now = number * SLOT if number < 55 else 4 * S + number  # it hangs, and then comes at once
        unit = ingress.on_sound(rtp, SLOT, now, seq16=(65_500 + number) & 0xFFFF)
        if isinstance(unit, MediaUnit):
            passed.append(number)
    first = 65 + sum(1 for number in lost if number >= 0)
    assert passed == [*range(50), *range(first, 100)]


def test_a_marker_ends_the_quarantine_and_so_does_its_limit() -> None:
    call = Call()
    call.run(0, S)
    call.ingress.interrupt(1, call.now)
    call.ingress.marker(call.now)
    call.run(S, 2 * S)
    assert call.quarantined == []
    call.ingress.interrupt(2, call.now)
    call.run(2 * S, 5 * S)  # it never falls silent
    assert 0 < len(call.quarantined) <= 115


def test_baselines_receivers_rebase_each_stream_and_read_no_reports() -> None:
    call = Call(policy=AvSyncPolicy.preset("two_clocks"))
    call.delay[VIDEO] = ms(180)
    call.run(0, 10 * S)
    assert not call.ingress.synced
    assert call.off() == call.off(200) != 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sound", "picture", "report"]),
            st.sampled_from([AUDIO, VIDEO]),
            st.integers(0, 2**32 - 1) | st.integers(0, 2000),
            st.integers(0, 10**9),
        ),
        max_size=60,
    )
)
def test_whatever_arrives_is_answered_and_no_pts_is_refused(events: list[tuple[str, Kind, int, int]]) -> None:
    """Hostile stamps are followed as a new source; none makes a PTS that the engine would refuse for ever."""
    ingress, now = Ingress(AvSyncPolicy()), 0
    for what, kind, value, later in events:
        now += later
        if what == "report":
            ingress.on_sender_report(kind, value * 10**6, value, now)
            continue
        unit = ingress.on_sound(value, SLOT, now) if what == "sound" else ingress.on_picture(value, FRAME, now)
        assert isinstance(unit, MediaUnit) and unit.epoch == 0
        if unit.kind is AUDIO:
            assert -seconds(600) <= unit.pts_ns <= now + seconds(600)
