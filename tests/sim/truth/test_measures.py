"""Measures: each has a story whose number was worked out by hand, and one in which it is UNKNOWN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from avsync.units import ms
from sim.truth.beliefs import Beliefs
from sim.truth.measures import (
    belief_errors,
    freeze_longest_ms,
    monitor_error_p95_ms,
    monitor_known_pct,
    offset_measures,
    recoveries_ms,
    recovery_counted_ms,
    recovery_ms,
    settle_ms,
)
from sim.truth.truth import ArrivalLog, Offsets, OffsetState, PresentationLog, SourceLog, offsets
from sim.truth.unit_measures import (
    added_latency,
    content_heard_pct,
    delay_grown_ms,
    frames_dropped_pct,
    frames_repeated_pct,
    held_measures,
    interrupt_to_silence_ms,
    latency,
    latency_growth_ms_per_min,
    latency_measures,
    silence_inserted_ms,
    stale_units_leaked,
)
from sim.truth.windows import merged, percentile, within
from tests.sim.truth.brute_truth import IDLE, Heard, History, Shown

M, N, D = OffsetState.MEASURED, OffsetState.NO_PICTURE, OffsetState.DEGRADED


def run_of(*parts: tuple[int, float, OffsetState], turn: int = 1, begin: int = 0) -> Offsets:
    """Samples every 10 ms: (how many, e in ms, state)."""
    count = sum(n for n, _, _ in parts)
    state = np.concatenate([np.full(n, s, np.int8) for n, _, s in parts])
    e = np.concatenate([np.full(n, ms(e), np.int64) for n, e, _ in parts])
    return Offsets(
        at_ns=begin + np.arange(count, dtype=np.int64) * ms(10),
        e_ns=e,
        state=state,
        turn=np.full(count, turn, np.int32),
        frozen=np.zeros(count, np.bool_),
        step_ns=ms(10),
    )


def then(first: Offsets, second: Offsets) -> Offsets:
    return Offsets(
        at_ns=np.concatenate([first.at_ns, second.at_ns]),
        e_ns=np.concatenate([first.e_ns, second.e_ns]),
        state=np.concatenate([first.state, second.state]),
        turn=np.concatenate([first.turn, second.turn]),
        frozen=np.concatenate([first.frozen, second.frozen]),
        step_ns=first.step_ns,
    )


def talk(length: int = ms(2000)) -> History:
    history = History()
    history.say(1, 0, length)
    return history


# -- percentiles, windows, shares -----------------------------------------------------------


def test_a_percentile_is_the_nearest_rank_and_never_a_mixture() -> None:
    values = np.array([50, 10, 40, 20, 30], dtype=np.int64)
    assert [percentile(values, p) for p in (0, 20, 21, 50, 99, 100)] == [10, 10, 20, 30, 50, 50]
    assert percentile(np.arange(1, 101), 95) == 95


def test_offsets_are_summed_up_over_measured_samples_and_shares_over_all() -> None:
    found = offset_measures(run_of((40, 10, M), (30, -130, M), (20, 46, M), (5, 999, N), (5, 999, D)))
    assert found == {
        "offset_abs_p50_ms": 46.0,  # 40 x 10, 20 x 46, 30 x 130: the 45th of 90
        "offset_abs_p95_ms": 130.0,
        "offset_abs_p99_ms": 130.0,
        "offset_abs_max_ms": 130.0,
        "offset_lead_p95_ms": 46.0,
        "offset_lag_p95_ms": 130.0,
        "outside_bt1359_pct": pytest.approx(100 * 50 / 90),
        "measured_pct": 90.0,
        "no_picture_pct": 5.0,
        "degraded_pct": 5.0,
    }


def test_bt1359_itself_is_inside() -> None:
    assert offset_measures(run_of((50, 45, M), (50, -125, M)))["outside_bt1359_pct"] == 0.0


def test_p95_p99_and_max_of_a_rising_offset_are_three_numbers() -> None:
    samples = run_of((200, 0, M))._replace(e_ns=-ms(1) * np.arange(1, 201))
    found = offset_measures(samples)
    names = ("offset_abs_p50_ms", "offset_abs_p95_ms", "offset_abs_p99_ms", "offset_abs_max_ms", "offset_lag_p95_ms")
    assert [found[name] for name in names] == [100.0, 190.0, 198.0, 200.0, 190.0]
    assert found["offset_lead_p95_ms"] == 0.0


def test_too_little_data_is_unknown_and_never_0() -> None:
    assert set(offset_measures(run_of((19, 0, M))).values()) == {None}
    no_video = offset_measures(run_of((100, 0, N)))
    assert no_video["offset_abs_p95_ms"] is None and no_video["outside_bt1359_pct"] is None
    assert no_video["measured_pct"] == 0.0 and no_video["no_picture_pct"] == 100.0


def test_clear_leaves_out_each_fault_a_second_after_it_and_a_viewers_first_5_s() -> None:
    at = np.array([0, 4999, 5000, 9999, 10_000, 12_000, 12_001, 20_000, 21_000, 21_001]) * ms(1)
    faults = [(ms(10_000), ms(11_000)), (ms(20_000), ms(20_000))]
    clear = within("clear", faults, joined_ns=0)(at)
    assert clear.tolist() == [False, False, True, True, False, False, True, False, False, True]
    assert within("clear", [])(at).all() and within("all", faults, joined_ns=0)(at).all()


def test_a_viewer_that_joins_later_has_its_first_5_s_then_and_not_at_the_start() -> None:
    at = np.array([0, 2_999, 3_000, 7_999, 8_000, 20_000]) * ms(1)
    assert within("clear", [], joined_ns=ms(3_000))(at).tolist() == [True, True, False, False, True, True]
    fault = [(ms(19_000), ms(20_000))]
    assert within("clear", fault, joined_ns=ms(3_000))(at).tolist() == [True, True, False, False, True, False]
    assert within("after_fault", fault, joined_ns=ms(21_000))(at + ms(1_000)).tolist() == [False] * 5 + [True]


def test_faults_that_overlap_are_one_and_over_when_the_last_of_them_is() -> None:
    nested = [(ms(1_000), ms(9_000)), (ms(2_000), ms(3_000)), (ms(9_000), ms(9_000)), (ms(20_000), ms(21_000))]
    assert merged(nested[::-1]) == [(ms(1_000), ms(9_000)), (ms(20_000), ms(21_000))]
    at = np.array([4_500, 9_999, 10_000, 14_999, 15_000, 22_000]) * ms(1)
    assert within("after_fault", nested)(at).tolist() == [False, False, True, True, False, True]
    # In sync for 0.5 s; 9 s out of it, under a long fault with a short one inside; good 400 ms after the long one.
    samples = run_of((50, 0, M), (900, 300, M), (40, 300, M), (400, 0, M))
    long, short = (ms(500), ms(9_500)), (ms(1_000), ms(2_000))
    assert recovery_ms(samples, [long], ms(14_000)) == recovery_ms(samples, [long, short], ms(14_000)) == 400
    assert recovery_counted_ms(samples, [short, long], ms(14_000)) == 400
    staggered = [(ms(500), ms(6_000)), (ms(5_000), ms(9_500))]
    assert recovery_ms(samples, staggered, ms(14_000)) == 400
    apart = [(ms(500), ms(2_000)), (ms(2_010), ms(9_500))]  # between these something could have recovered
    assert recovery_ms(samples, apart, ms(14_000)) == 7_900


def test_after_fault_is_the_5_s_that_start_1_s_after_its_end() -> None:
    at = np.array([10_999, 11_999, 12_000, 16_999, 17_000]) * ms(1)
    window = within("after_fault", [(ms(10_000), ms(11_000))])
    assert window(at).tolist() == [False, False, True, True, False]
    assert not within("after_fault", [])(at).any()


def test_a_fault_is_not_seen_in_clear_and_dominates_all() -> None:
    samples = run_of((100, 0, M), (100, 900, M), (100, 0, M), (100, 5, M))
    mask = within("clear", [(ms(1000), ms(2000))])(samples.at_ns)
    assert offset_measures(samples, mask)["offset_abs_max_ms"] == 5.0
    assert offset_measures(samples)["offset_abs_p95_ms"] == 900.0


# -- recovery, settling, freezes ------------------------------------------------------------

FAULT = [(ms(1000), ms(2000))]


def test_recovery_is_from_the_faults_end_to_the_start_of_the_first_good_second() -> None:
    samples = run_of((100, 0, M), (100, 900, M), (15, 900, M), (50, 44, M), (1, 45, M), (100, -44, M))
    assert recovery_ms(samples, FAULT, ms(60_000)) == 660.0  # the 45 breaks the first attempt


def test_a_run_that_never_left_sync_recovers_at_once() -> None:
    assert recovery_ms(run_of((400, 0, M)), FAULT, ms(4000)) == 0.0


def test_99_good_samples_are_no_second_and_100_are() -> None:
    short, whole = run_of((250, 900, M), (99, 0, M)), run_of((250, 900, M), (100, 0, M))
    assert recovery_ms(short, FAULT, ms(60_000)) == math.inf
    assert recovery_ms(whole, FAULT, ms(60_000)) == 500.0


@pytest.mark.parametrize("state", [N, D])
def test_recovery_does_not_count_a_second_with_a_sample_that_is_not_measured(state: OffsetState) -> None:
    samples = run_of((200, 900, M), (50, 0, M), (1, 0, state), (100, 0, M))
    assert recovery_ms(samples, FAULT, ms(60_000)) == 510.0


def test_a_good_second_lies_inside_one_turn() -> None:
    adjoining = then(run_of((200, 900, M), (60, 0, M)), run_of((99, 0, M), turn=2, begin=ms(2600)))
    assert recovery_ms(adjoining, FAULT, ms(60_000)) == math.inf
    apart = then(run_of((200, 900, M), (60, 0, M)), run_of((100, 0, M), turn=2, begin=ms(7000)))
    assert recovery_ms(apart, FAULT, ms(60_000)) == 5000.0


def test_talk_that_ends_right_after_the_fault_never_recovers() -> None:
    samples = run_of((260, 0, M))
    assert recovery_ms(samples, FAULT, ms(60_000)) == math.inf
    assert recovery_counted_ms(samples, FAULT, ms(60_000)) == 58_000.0


def test_a_second_that_the_run_does_not_finish_is_none() -> None:
    samples = run_of((200, 900, M), (200, 0, M))
    assert recovery_ms(samples, FAULT, ms(3000)) == 0.0
    assert recovery_ms(samples, FAULT, ms(2999)) == math.inf


def test_the_worst_fault_counts_and_without_faults_it_is_unknown() -> None:
    samples = run_of((200, 900, M), (120, 0, M), (30, 900, M), (100, 0, M))
    faults = [*FAULT, (ms(3300), ms(3300)), (ms(3350), ms(3400))]
    assert recoveries_ms(samples, faults, ms(60_000)) == [0.0, 200.0, 100.0]
    assert recovery_ms(samples, faults, ms(60_000)) == 200.0
    assert recovery_counted_ms(samples, faults, ms(60_000)) == 200.0
    assert recovery_ms(samples, [], ms(60_000)) is None and recovery_counted_ms(samples, [], 0) is None


def test_settling_is_from_the_first_decodable_frame() -> None:
    samples = run_of((20, 0, N), (300, 60, M), (100, 0, M))
    assert settle_ms(samples, ms(200)) == 3000.0
    assert settle_ms(samples, ms(3210)) == math.inf
    assert settle_ms(samples, None) is None


def test_the_longest_freeze_is_counted_from_the_frames_own_end() -> None:
    history = talk()
    history.play()
    history.shown = [s for s in history.shown if not ms(400) <= s.at < ms(800) and not ms(1000) < s.at < ms(1200)]
    samples = offsets(*history.logs())
    assert freeze_longest_ms(samples) == 390.0  # frozen at 410 .. 790
    assert freeze_longest_ms(samples, samples.at_ns >= ms(850)) == 150.0  # 1050 .. 1190
    assert freeze_longest_ms(offsets(*played(talk()))) == 0.0


def test_the_idle_picture_and_a_turns_end_break_a_freeze() -> None:
    history = talk()
    history.play()
    history.shown = [s for s in history.shown if s.at <= ms(400)] + [Shown(ms(700), IDLE)]
    assert freeze_longest_ms(offsets(*history.logs())) == 250.0  # 450 .. 690
    frozen = run_of((100, 0, M))._replace(frozen=np.ones(100, np.bool_))
    assert freeze_longest_ms(then(frozen, frozen._replace(at_ns=frozen.at_ns + ms(1000), turn=frozen.turn + 1))) == 1000
    assert freeze_longest_ms(run_of((100, 0, D))) is None


# -- what was heard and shown ---------------------------------------------------------------


def played(history: History, sound_delay: int = 0, picture_delay: int = 0) -> tuple[SourceLog, PresentationLog]:
    history.play(sound_delay, picture_delay)
    return history.logs()


def test_everything_played_is_all_heard_nothing_dropped_nothing_inserted() -> None:
    logs = played(talk(), ms(100), ms(30))
    assert content_heard_pct(*logs) == 100.0
    assert frames_dropped_pct(*logs) == 0.0 and frames_repeated_pct(*logs) == 0.0
    assert silence_inserted_ms(*logs) == 0.0
    assert interrupt_to_silence_ms(*logs) is None and stale_units_leaked(*logs) == 0


def test_nothing_made_is_unknown() -> None:
    logs = SourceLog(), PresentationLog()
    assert content_heard_pct(*logs) is None and frames_dropped_pct(*logs) is None
    assert frames_repeated_pct(*logs) is None and silence_inserted_ms(*logs) is None


def test_content_heard_counts_parts_of_units_and_each_only_once() -> None:
    history = talk()
    history.play()
    history.heard = history.heard[:50]  # 1000 of 2000 ms
    history.heard.append(Heard(ms(1000), ms(10), 50, ms(10), ms(10)))  # half of one more
    history.heard.append(Heard(ms(1020), ms(20), 0, 0, ms(20)))  # the first once more
    assert content_heard_pct(*history.logs()) == pytest.approx(100 * 1010 / 2000)


def test_a_voice_that_is_2_pct_heard_is_2_pct_heard_however_the_turn_ends() -> None:
    for interrupted in (None, ms(9000)):
        history = History()
        history.say(1, 0, ms(10_000), interrupted=interrupted)
        history.play()
        history.heard = [h for h in history.heard if h.ref % 50 == 0]
        heard = content_heard_pct(*history.logs(), run_end_ns=ms(12_000))
        assert heard == pytest.approx(2.0, abs=0.3)


def test_falling_silent_before_the_interrupt_is_not_excused_by_it() -> None:
    history = History()
    history.say(1, 0, ms(10_000), interrupted=ms(9000))
    history.play()
    history.heard = [h for h in history.heard if h.at < ms(4000)]
    assert content_heard_pct(*history.logs()) == 50.0  # 4 of the 8 s that were due a second before it


def test_what_an_interrupt_or_the_runs_end_catches_on_its_way_is_not_missing() -> None:
    history = History()
    history.say(1, 0, ms(10_000), interrupted=ms(5000))
    history.play(ms(300), ms(300))
    history.heard = [h for h in history.heard if h.at < ms(5000)]
    history.shown = [s for s in history.shown if s.at < ms(5000)]
    assert content_heard_pct(*history.logs()) == 100.0 and frames_dropped_pct(*history.logs()) == 0.0
    history.turns = [history.turns[0]._replace(interrupted=None)]
    assert content_heard_pct(*history.logs(), run_end_ns=ms(5000)) == 100.0
    assert frames_dropped_pct(*history.logs(), run_end_ns=ms(5000)) == 0.0
    assert content_heard_pct(*history.logs()) == pytest.approx(47.0)  # 235 of 500 units


def test_what_was_passed_over_in_the_last_second_is_missing_and_a_leak_afterwards_changes_nothing() -> None:
    history = History()
    history.say(1, 0, ms(10_000), interrupted=ms(5000))
    history.play()
    history.heard = [h for h in history.heard if h.at < ms(5000) and not ms(4500) <= h.at < ms(4600)]
    assert content_heard_pct(*history.logs()) == 98.0  # 5 of 250 units
    history.heard.append(Heard(ms(5100), ms(20), 499, 0, ms(20)))
    assert content_heard_pct(*history.logs()) == 98.0


def test_a_turn_that_is_heard_only_after_its_interrupt_was_not_heard() -> None:
    history = History()
    history.say(1, 0, ms(10_000), interrupted=ms(5000))
    history.play(sound_delay=ms(6000), picture_delay=ms(6000))
    assert content_heard_pct(*history.logs()) == 0.0 and frames_dropped_pct(*history.logs()) == 100.0


def test_a_far_viewer_with_another_clock_owes_what_should_have_reached_it() -> None:
    history = History()
    history.say(1, 0, ms(10_000), interrupted=ms(8000))
    source, _ = history.logs()
    hour = ms(3_600_000)
    glass = PresentationLog(local_ns=lambda true_ns: true_ns - hour)
    for ref in range(250):  # 1.5 s away: what was made from 6.5 s on is caught on its way, but 5 .. 5.5 s is missing
        glass.heard(ref * ms(20) + ms(1500) - hour, ms(20), ref, 0, ms(20))
    assert content_heard_pct(source, glass) == pytest.approx(100 * 250 / 275)
    assert interrupt_to_silence_ms(source, glass) == 0.0


def test_without_an_interrupt_another_clock_makes_none() -> None:
    source, _ = played(talk())
    glass = PresentationLog(local_ns=lambda true_ns: true_ns - ms(1000))
    assert interrupt_to_silence_ms(source, glass) is None


def test_a_turn_made_ahead_is_not_missing_while_the_last_one_is_still_spoken() -> None:
    history = talk(ms(5000))
    history.say(2, ms(5000), ms(5000), at=ms(100))
    history.sounds = [s._replace(made=ms(100)) for s in history.sounds]
    history.heard = [Heard(ms(100) + s.content, ms(20), ref, 0, ms(20)) for ref, s in enumerate(history.sounds)]
    history.heard = [h for h in history.heard if h.at < ms(4000)]
    assert content_heard_pct(*history.logs(), run_end_ns=ms(4000)) == 100.0


def test_sound_inside_a_marked_pause_cannot_be_missing() -> None:
    history = talk()
    history.play()
    history.heard = [h for h in history.heard if not ms(500) <= h.at < ms(1000)]
    assert content_heard_pct(*history.logs()) == 75.0
    history.pauses = [(1, ms(500), ms(800)), (1, ms(600), ms(700)), (1, ms(800), ms(1000))]
    assert content_heard_pct(*history.logs()) == 100.0


def test_frames_dropped_and_repeated_are_shares_of_frames_made_and_of_showings() -> None:
    history = talk()  # 50 frames
    history.play()
    history.shown = [s for s in history.shown if s.ref % 5]  # 40 left
    history.shown += [Shown(ms(3000) + n * ms(40), 49) for n in range(10)]
    history.shown.append(Shown(ms(4000), IDLE))
    logs = history.logs()
    assert frames_dropped_pct(*logs) == 20.0
    assert frames_repeated_pct(*logs) == 20.0  # 10 of 50


def test_inserted_silence_is_what_no_content_fills_and_no_content_passes() -> None:
    history = talk()
    history.play()
    late = [h if h.at < ms(500) else h._replace(at=h.at + ms(300)) for h in history.heard]
    history.heard = late
    assert silence_inserted_ms(*history.logs()) == 300.0
    history.heard = [h for h in late if not ms(800) <= h.at < ms(900)]  # 100 ms of content lost besides
    assert silence_inserted_ms(*history.logs()) == 300.0
    history.heard = [h if h.at < ms(1500) else h._replace(at=h.at - ms(100)) for h in history.heard]  # and caught up
    assert silence_inserted_ms(*history.logs()) == 300.0


def test_content_said_twice_is_no_silence_and_neither_is_a_leak_after_an_interrupt() -> None:
    history = talk()
    history.play()
    back = [h._replace(at=h.at + ms(100), ref=h.ref - 10) for h in history.heard if h.at >= ms(500)]
    history.heard = [h for h in history.heard if h.at < ms(500)] + back
    assert silence_inserted_ms(*history.logs()) == 100.0
    history.turns = [history.turns[0]._replace(interrupted=ms(400))]
    assert silence_inserted_ms(*history.logs()) == 0.0


def test_silence_between_turns_is_not_inserted() -> None:
    history = talk()
    history.say(2, ms(2000), ms(1000), at=ms(10_000))
    assert silence_inserted_ms(*played(history)) == 0.0


# -- interrupts -----------------------------------------------------------------------------


def interrupted(heard_until: int, shown_until: int) -> tuple[SourceLog, PresentationLog]:
    history = History()
    history.say(1, 0, ms(2000), interrupted=ms(1010))
    history.play()
    history.heard = [h for h in history.heard if h.at < heard_until]
    history.shown = [s for s in history.shown if s.at < shown_until]
    return history.logs()


def test_the_slot_that_was_leaving_is_no_leak_but_its_sound_counts() -> None:
    logs = interrupted(ms(1020), ms(1010))
    assert stale_units_leaked(*logs) == 0
    assert interrupt_to_silence_ms(*logs) == 10.0  # until 1020


def test_units_that_first_leave_after_the_interrupt_are_leaks() -> None:
    logs = interrupted(ms(1100), ms(1100))
    assert stale_units_leaked(*logs) == 4 + 2  # sound at 1020 .. 1080, pictures at 1040 and 1080
    assert interrupt_to_silence_ms(*logs) == 90.0


def test_what_leaves_at_the_very_instant_of_the_interrupt_is_no_leak() -> None:
    history = History()
    history.say(1, 0, ms(2000), interrupted=ms(1000))
    history.play()
    history.heard = [h for h in history.heard if h.at <= ms(1000)]
    history.shown = [s for s in history.shown if s.at <= ms(1000)]
    assert stale_units_leaked(*history.logs()) == 0
    assert interrupt_to_silence_ms(*history.logs()) == 20.0


def test_a_repeated_old_mouth_is_no_new_unit_and_an_old_turn_is_stale_too() -> None:
    history = talk()
    history.say(2, ms(2000), ms(1000), interrupted=ms(1500))
    history.heard = [Heard(ms(1600), ms(20), 3, 0, ms(20))]
    history.shown = [Shown(0, 0), Shown(ms(1600), 0), Shown(ms(1700), 1)]
    assert stale_units_leaked(*history.logs()) == 2
    assert interrupt_to_silence_ms(*history.logs()) == 120.0


def test_the_worst_interrupt_counts_and_an_interrupt_in_silence_takes_no_time() -> None:
    history = talk()
    history.turns = [history.turns[0]._replace(interrupted=ms(5000))]
    history.play()
    assert interrupt_to_silence_ms(*history.logs()) == 0.0
    history.say(2, ms(2000), ms(1000), at=ms(6000), interrupted=ms(6500))
    history.heard += [Heard(s.made, ms(20), ref, 0, ms(20)) for ref, s in enumerate(history.sounds) if s.turn == 2]
    assert interrupt_to_silence_ms(*history.logs()) == 500.0


# -- latency --------------------------------------------------------------------------------


def test_the_oracle_waits_for_the_latest_sound_so_far_and_the_first_seconds_latest_picture() -> None:
    history = talk(ms(2000))  # made live: unit i at its content position
    history.play(sound_delay=ms(200))
    arrivals = ArrivalLog()
    for ref, sound in enumerate(history.sounds):  # 10 ms each, 150 from the 51st on
        arrivals.sound(ref, sound.made + (ms(10) if ref < 50 else ms(150)))
    for ref, picture in enumerate(history.pictures):  # 60 within the first second, 500 after it
        arrivals.picture(ref, picture.made + (ms(60) if ref < 25 else ms(500)))
    latency = added_latency(*history.logs(), arrivals)
    assert set(latency.added_ns[:50].tolist()) == {ms(140)} and set(latency.added_ns[50:].tolist()) == {ms(50)}
    assert latency_measures(latency) == {"added_latency_p50_ms": 50.0, "added_latency_p95_ms": 140.0}


def test_one_late_arrival_raises_the_oracle_for_good_because_it_has_no_rate() -> None:
    history = talk()
    history.sounds[10] = history.sounds[10]._replace(made=history.sounds[10].made + ms(90))
    history.play(sound_delay=ms(100))
    added = added_latency(*history.logs(), history.arrivals()).added_ns.tolist()
    assert added[:10] == [ms(100)] * 10
    assert added[10] == ms(100)
    assert set(added[11:]) == {ms(10)}


def test_each_turn_has_its_own_oracle() -> None:
    history = talk()
    history.say(2, ms(2000), ms(2000), at=ms(8000))
    history.play(sound_delay=ms(70))
    latency = added_latency(*history.logs(), history.arrivals())
    assert set(latency.added_ns.tolist()) == {ms(70)}
    latency = added_latency(*history.logs(), history.arrivals(picture_delay=ms(50)))
    assert set(latency.added_ns.tolist()) == {ms(20)}


def test_a_turn_made_ahead_begins_for_the_oracle_too_when_the_last_one_is_over() -> None:
    history = talk()
    history.say(2, ms(2000), ms(2000), at=ms(2000))
    history.sounds = [s._replace(made=ms(100)) for s in history.sounds]
    history.pictures = [p._replace(made=ms(100)) for p in history.pictures]
    history.heard = [Heard(ms(150) + s.content, ms(20), ref, 0, ms(20)) for ref, s in enumerate(history.sounds)]
    latency = added_latency(*history.logs(), history.arrivals())
    assert set(latency.added_ns.tolist()) == {ms(50)}


def test_after_an_interrupt_the_oracle_starts_at_once() -> None:
    history = talk()
    history.turns = [history.turns[0]._replace(interrupted=ms(500))]
    history.say(2, ms(2000), ms(1000), at=ms(600))
    history.play(sound_delay=ms(30))
    history.heard = [h for h in history.heard if h.ref >= 100 or h.at < ms(500)]
    assert set(added_latency(*history.logs(), history.arrivals()).added_ns.tolist()) == {ms(30)}


def test_a_unit_cut_by_the_slots_of_its_sink_is_measured_where_it_begins() -> None:
    history = talk(ms(1000))
    for ref, sound in enumerate(history.sounds):
        history.heard.append(Heard(sound.content + ms(40), ms(5), ref, 0, ms(5)))
        history.heard.append(Heard(sound.content + ms(45), ms(15), ref, ms(5), ms(15)))
    assert set(added_latency(*history.logs(), history.arrivals()).added_ns.tolist()) == {ms(40)}
    history.heard = [h for h in history.heard if h.begin]  # the first piece of each was lost
    assert set(added_latency(*history.logs(), history.arrivals()).added_ns.tolist()) == {ms(40)}


def test_sound_that_never_arrived_or_never_left_has_no_latency() -> None:
    history = talk()
    history.play(sound_delay=ms(40))
    del history.heard[90:]
    arrivals = ArrivalLog()
    for ref, sound in enumerate(history.sounds[:-50]):
        arrivals.sound(ref, sound.made)
        arrivals.sound(ref, sound.made + ms(500))  # sent again: the first one counts
    latency = added_latency(*history.logs(), arrivals)
    assert len(latency.added_ns) == 50 and set(latency.added_ns.tolist()) == {ms(40)}
    assert latency_measures(added_latency(*history.logs(), ArrivalLog()))["added_latency_p50_ms"] is None


def test_the_oracle_waits_for_pictures_that_come_late_but_not_for_one_that_was_sent_again() -> None:
    history = talk()
    history.play(sound_delay=ms(160))
    late = history.arrivals(picture_delay=ms(100))
    assert set(added_latency(*history.logs(), late).added_ns.tolist()) == {ms(60)}
    late.picture(2, history.pictures[2].made + ms(100))  # twice: the first one counts
    again = ArrivalLog()
    for ref, sound in enumerate(history.sounds):
        again.sound(ref, sound.made)
    for ref, picture in enumerate(history.pictures):
        resent = ref in (3, 4)
        again.picture(ref, picture.made + ms(300 if resent else 100), waited=resent)
    assert set(added_latency(*history.logs(), again).added_ns.tolist()) == {ms(60)}, "-140 if it waited for that one"


def test_a_delay_that_a_stall_left_behind_is_no_added_latency_but_it_is_latency() -> None:
    """The sound stalls for a second and bursts; the player goes on a second later, although all of it is there."""
    history = talk(ms(20_000))
    stalled = [sound._replace(made=max(sound.made, ms(3_000))) if ms(2_000) <= sound.content < ms(3_000) else sound
               for sound in history.sounds]  # fmt: skip
    history.sounds = stalled
    history.heard = [
        Heard(s.content + (ms(40) if s.content < ms(2_000) else ms(1_040)), ms(20), ref, 0, ms(20))
        for ref, s in enumerate(history.sounds)
    ]
    logs, arrivals = history.logs(), history.arrivals()
    assert added_latency(*logs, arrivals).added_ns[-1] == ms(40)
    held = latency(*logs, arrivals)
    assert held_measures(held) == {"latency_p50_ms": 1040.0, "latency_p95_ms": 1040.0}
    begin = held_measures(held, lambda at_ns: at_ns < ms(2_000))
    assert begin == {"latency_p50_ms": 40.0, "latency_p95_ms": 40.0}
    assert held_measures(held, lambda at_ns: at_ns < ms(100))["latency_p50_ms"] is None  # too few
    assert len(latency(*logs, ArrivalLog()).at_ns) == 0


def test_latency_that_grows_by_20_ms_a_minute_does_so_whatever_spikes_and_stalls_do() -> None:
    history = talk(ms(120_000))

    def spike(ref: int) -> int:
        if ref > 3000 and ref % 50 < 20:  # 40 % of every second of the second minute
            return ms(300)
        return ms(800) if 5400 < ref < 5600 else 0  # 4 s at 108 s

    history.heard = [
        Heard(s.made + s.content // 3000 + spike(ref), ms(20), ref, 0, ms(20)) for ref, s in enumerate(history.sounds)
    ]
    latency = added_latency(*history.logs(), history.arrivals())
    assert latency_growth_ms_per_min(latency, ms(120_000)) == pytest.approx(20.0, rel=0.1)
    assert latency_growth_ms_per_min(latency, ms(59_999)) is None
    assert latency_growth_ms_per_min(added_latency(*history.logs(), ArrivalLog()), ms(120_000)) is None


def test_a_delay_that_grew_once_is_the_difference_of_end_and_beginning() -> None:
    history = talk(ms(30_000))
    history.heard = [
        Heard(s.made + (ms(40) if s.content < ms(9000) else ms(360)), ms(20), ref, 0, ms(20))
        for ref, s in enumerate(history.sounds)
    ]
    assert delay_grown_ms(added_latency(*history.logs(), history.arrivals())) == 320
    short = talk(ms(9_000))
    assert delay_grown_ms(added_latency(*short.logs(), short.arrivals())) is None


def test_latency_growth_over_hours_is_binned_and_still_per_minute() -> None:
    history = talk(ms(600_000))
    history.heard = [Heard(s.made - s.content // 6000, ms(20), ref, 0, ms(20)) for ref, s in enumerate(history.sounds)]
    latency = added_latency(*history.logs(), history.arrivals())
    assert latency_growth_ms_per_min(latency, ms(600_000)) == pytest.approx(-10.0, rel=0.01)


# -- belief beside truth --------------------------------------------------------------------


def test_the_monitors_error_is_against_the_truth_of_the_same_instant() -> None:
    history = talk()
    history.play(picture_delay=ms(60))
    logs = history.logs()
    beliefs: list[tuple[int, int | None]] = [(ms(100) + n * ms(10), ms(60) + ms(n)) for n in range(100)]
    beliefs += [(ms(1500), None), (ms(9000), ms(5000))]  # unknown, and outside any turn
    errors = belief_errors(Beliefs(beliefs).columns(), *logs)
    assert monitor_error_p95_ms(errors) == 94.0
    early = monitor_error_p95_ms(errors, lambda at_ns: at_ns < ms(600))
    assert early == 47.0  # the 48th of 50
    assert monitor_error_p95_ms(belief_errors(Beliefs(beliefs[:19]).columns(), *logs)) is None


def test_a_monitor_that_always_reports_0_is_wrong_by_the_offset() -> None:
    history = talk()
    history.play(sound_delay=ms(80))
    beliefs: list[tuple[int, int | None]] = [(ms(n * 10), 0) for n in range(10, 190)]
    assert monitor_error_p95_ms(belief_errors(Beliefs(beliefs).columns(), *history.logs())) == 80.0


def test_known_is_the_time_with_a_belief_from_5_s_on() -> None:
    samples = run_of((1000, 0, M))

    def known_pct(told: list[tuple[int, int | None]], *args: Any, **kwargs: Any) -> float | None:
        return monitor_known_pct(Beliefs(told).columns(), *args, **kwargs)

    every_second: list[tuple[int, int | None]] = [(ms(1000 * n), 0) for n in range(10)]
    assert known_pct(every_second, samples, 0) == 100.0
    assert known_pct(every_second[:7], samples, 0) == 40.0  # 5 .. 7 s of 5 .. 10 s
    assert known_pct([*every_second[:7], (ms(6500), None)], samples, 0) == 30.0
    assert known_pct(every_second[:7], samples, 0, inside=lambda at_ns: at_ns < ms(7000)) == 100.0
    assert known_pct(every_second[8:], samples, 0) == 40.0  # only from 8 s on
    assert known_pct([], samples, 0) == 0.0
    assert known_pct(every_second, samples, None) is None
    assert known_pct(every_second, samples, ms(5000)) is None  # nothing is left to judge
