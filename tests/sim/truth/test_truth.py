"""Truth: what e(t) reads in stories whose offset is known, and in any history against a naive second computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.units import ms
from sim.truth.truth import Offsets, OffsetState, PresentationLog, SourceLog, offset_at, offsets
from tests.sim.truth.brute_truth import IDLE, Heard, History, Picture, Shown, Sound, Turn, samples

NAMES = {OffsetState.MEASURED: "measured", OffsetState.NO_PICTURE: "no_picture", OffsetState.DEGRADED: "degraded"}


def rows(found: Offsets) -> list[tuple[int, int, str, int, bool]]:
    states = [NAMES[OffsetState(s)] for s in found.state.tolist()]
    return list(
        zip(found.at_ns.tolist(), found.e_ns.tolist(), states, found.turn.tolist(), found.frozen.tolist(), strict=True)
    )


def judge(history: History) -> Offsets:
    """e(t), after checking that the naive computation says the same."""
    found = offsets(*history.logs())
    assert rows(found) == [tuple(sample) for sample in samples(history)]
    return found


def talk(length: int = ms(1000), *, sound_delay: int = 0, picture_delay: int = 0) -> History:
    history = History()
    history.say(1, 0, length)
    history.play(sound_delay, picture_delay)
    return history


def at(found: Offsets, t: int) -> tuple[int, str, bool]:
    (index,) = np.flatnonzero(found.at_ns == t)
    return int(found.e_ns[index]), NAMES[OffsetState(int(found.state[index]))], bool(found.frozen[index])


# -- constant delays ------------------------------------------------------------------------


def test_pictures_80_ms_late_read_plus_80_because_the_voice_is_ahead() -> None:
    found = judge(talk(sound_delay=ms(20), picture_delay=ms(100)))
    both = (found.at_ns >= ms(100)) & (found.at_ns < ms(1020))
    assert set(found.e_ns[both].tolist()) == {ms(80)}
    assert at(found, ms(90)) == (0, "no_picture", False)


def test_a_voice_80_ms_late_reads_minus_80() -> None:
    found = judge(talk(sound_delay=ms(100), picture_delay=ms(20)))
    both = (found.at_ns >= ms(100)) & (found.at_ns < ms(1020))
    assert set(found.e_ns[both].tolist()) == {-ms(80)}


def test_lips_that_start_before_the_voice_are_wrong_from_the_first_instant_on() -> None:
    found = judge(talk(sound_delay=ms(100)))
    assert at(found, 0) == (0, "measured", False)
    assert at(found, ms(60)) == (-ms(60), "measured", False)


def test_no_common_delay_is_seen_in_the_offset() -> None:
    found = judge(talk(sound_delay=ms(3000), picture_delay=ms(3000)))
    assert not found.e_ns.any() and not found.state.any() and len(found.at_ns) == 100


def test_the_grid_is_of_the_points_time_and_samples_between_units_are_exact() -> None:
    found = judge(talk(sound_delay=ms(3), picture_delay=ms(16)))
    assert found.at_ns[0] == ms(10) and not (found.at_ns % ms(10)).any()
    assert set(found.e_ns[found.at_ns >= ms(20)].tolist()[:90]) == {ms(13)}


def test_sound_played_faster_moves_faster_through_its_content() -> None:
    history = talk()
    history.heard = [Heard(0, ms(800), 0, 0, ms(1000))]
    assert at(judge(history), ms(400))[0] == ms(500 - 400)


def test_a_stretch_of_a_minute_does_not_overflow() -> None:
    source, glass = SourceLog(), PresentationLog()
    source.turn(0, 0)
    minute = ms(60_000)
    glass.heard(0, minute, source.sound(0, minute, 0, 0), 0, minute + minute // 1000)
    glass.shown(0, source.picture(0, minute, 0, 0))
    e, valid = offset_at(source, glass, [minute - 1])
    assert valid.tolist() == [True] and e.tolist() == [(minute - 1) // 1000]


# -- freezes and repeats --------------------------------------------------------------------


def test_a_freeze_counts_and_grows() -> None:
    history = talk()
    history.shown = [s for s in history.shown if not ms(400) <= s.at < ms(800)]
    found = judge(history)
    assert at(found, ms(400)) == (0, "measured", False)
    assert at(found, ms(410)) == (ms(10), "measured", True)
    assert at(found, ms(790)) == (ms(390), "measured", True)
    assert at(found, ms(800)) == (0, "measured", False)


def test_a_repeat_renews_nothing() -> None:
    history = talk()
    stalled = [Shown(s.at, 9) if ms(400) <= s.at < ms(800) else s for s in history.shown]
    history.shown = stalled
    assert at(judge(history), ms(790)) == (ms(390), "measured", True)


def test_a_repeat_after_another_picture_or_after_idle_renews_nothing_either() -> None:
    history = talk()
    history.shown = [Shown(0, 0), Shown(ms(40), 1), Shown(ms(80), IDLE), Shown(ms(200), 1), Shown(ms(400), 0)]
    found = judge(history)
    assert at(found, ms(200)) == (ms(200 - 80), "measured", True)
    assert at(found, ms(400)) == (ms(400 - 40), "measured", True)


def test_the_generators_own_lower_frame_rate_is_no_freeze_but_its_stall_is() -> None:
    history = talk()
    history.pictures = [Picture(0, ms(100), 1), Picture(ms(100), ms(100), 1), Picture(ms(500), ms(100), 1)]
    history.shown = [Shown(0, 0), Shown(ms(100), 1), Shown(ms(500), 2)]
    found = judge(history)
    assert at(found, ms(90)) == (0, "measured", False)
    assert at(found, ms(490)) == (ms(290), "measured", True)  # period 100: the generator had nothing else to show


def test_the_last_frame_runs_to_the_turns_end_and_not_to_its_period() -> None:
    history = talk()
    del history.pictures[10:], history.shown[10:]
    found = judge(history)
    assert at(found, ms(990)) == (0, "measured", False)


def test_a_late_last_frame_is_judged_until_its_content_is_over() -> None:
    found = judge(talk(picture_delay=ms(200)))
    assert found.at_ns[-1] == ms(1190)
    assert at(found, ms(1100)) == (ms(100), "measured", False)


def test_a_repeat_does_not_cut_a_late_last_frame_short_but_the_idle_picture_does() -> None:
    history = talk(picture_delay=ms(200))
    history.shown.append(Shown(ms(1170), 24))
    assert judge(history).at_ns[-1] == ms(1190)
    history.shown.append(Shown(ms(1180), IDLE))
    assert judge(history).at_ns[-1] == ms(1170)


def test_lips_are_judged_for_at_most_2_s_after_the_voice() -> None:
    history = talk(length=ms(200), picture_delay=ms(2100))
    found = judge(history)
    assert found.at_ns[-1] == ms(200 + 2000 - 10)


# -- silence: the interval rule -------------------------------------------------------------


def gap(content_lost: int) -> History:
    """Sound stalls at 400 ms for 200 ms, during which ``content_lost`` of its content passes; pictures go on."""
    history = talk(ms(1000))
    kept = [h for h in history.heard if h.at < ms(400) or h.at >= ms(400) + content_lost]
    late = ms(200) - content_lost
    history.heard = [h if h.at < ms(400) else h._replace(at=h.at + late) for h in kept]
    return history


def test_in_inserted_silence_the_voice_stands_and_lips_that_go_on_are_wrong() -> None:
    found = judge(gap(content_lost=0))
    assert at(found, ms(500)) == (-ms(100), "measured", False)
    assert at(found, ms(700)) == (-ms(200), "measured", False)


def test_over_a_loss_the_content_passes_and_lips_anywhere_inside_it_are_right() -> None:
    found = judge(gap(content_lost=ms(200)))
    assert not found.e_ns.any()


def test_lips_that_hold_over_a_loss_are_right_until_the_voice_is_back() -> None:
    history = gap(content_lost=ms(200))
    history.shown = [s for s in history.shown if not ms(400) <= s.at < ms(640)]
    found = judge(history)
    assert at(found, ms(590)) == (0, "measured", True)
    assert at(found, ms(600)) == (ms(200), "measured", True)


def test_lips_outside_the_interval_are_off_by_the_distance_to_its_nearer_end() -> None:
    late, early = gap(content_lost=ms(200)), gap(content_lost=ms(200))
    late.shown = [s._replace(at=s.at + ms(100)) for s in late.shown]
    early.shown = [s._replace(at=max(s.at - ms(100), 0)) for s in early.shown]
    assert at(judge(late), ms(450))[0] == ms(400 - 350)
    assert at(judge(early), ms(550))[0] == ms(600 - 650)


def test_in_a_marked_pause_the_content_passes_as_in_a_loss() -> None:
    history = gap(content_lost=ms(200))
    history.sounds = [s._replace(content=s.content) for s in history.sounds]
    history.pauses = [(1, ms(400), ms(600))]
    assert not judge(history).e_ns.any()


def test_after_the_last_sound_lips_may_be_anywhere_up_to_the_turns_end() -> None:
    history = talk()
    history.turns = [Turn(1, 0, ms(1500))]
    found = judge(history)
    assert not found.e_ns.any()


def test_before_the_first_sound_lips_may_be_anywhere_between_the_turns_start_and_it() -> None:
    history = History()
    history.say(1, ms(5000), ms(1000))
    history.play()
    history.heard = history.heard[10:]
    found = judge(history)
    assert not found.e_ns.any() and found.at_ns[0] == ms(5000)
    assert len(found.at_ns) == 100


def test_what_begins_ends_what_was_playing() -> None:
    history = talk()
    history.heard = [Heard(0, ms(1000), 0, 0, ms(1000)), Heard(ms(300), ms(100), IDLE, 0, 0)]
    found = judge(history)
    assert at(found, ms(290)) == (0, "measured", False)
    assert at(found, ms(500)) == (0, "measured", False)  # silence: anything up to the turn's end
    assert found.at_ns[-1] == ms(990)


# -- states ---------------------------------------------------------------------------------


def test_an_idle_picture_on_purpose_is_degraded_and_no_picture_beats_it() -> None:
    history = talk()
    history.shown = [Shown(0, IDLE), Shown(ms(200), 5), Shown(ms(500), IDLE), Shown(ms(800), 20)]
    found = judge(history)
    assert at(found, ms(100))[1] == "no_picture"
    assert at(found, ms(200))[1] == "measured"
    assert at(found, ms(600)) == (0, "degraded", False)
    assert at(found, ms(800))[1] == "measured"


def test_always_idle_is_never_measured() -> None:
    history = talk()
    history.shown = [Shown(0, IDLE)]
    assert set(judge(history).state.tolist()) == {OffsetState.NO_PICTURE}


def test_without_any_picture_ever_made_nothing_is_measured() -> None:
    history = talk()
    history.pictures, history.shown = [], [Shown(0, IDLE)]
    assert set(judge(history).state.tolist()) == {OffsetState.NO_PICTURE}


def test_nothing_at_all_has_no_samples() -> None:
    assert len(offsets(SourceLog(), PresentationLog()).at_ns) == 0
    assert offset_at(SourceLog(), PresentationLog(), [0, 1])[1].tolist() == [False, False]


# -- turns and interrupts -------------------------------------------------------------------


def two_turns(*, interrupted: int | None = None) -> History:
    history = History()
    history.say(1, 0, ms(1000), interrupted=interrupted)
    history.say(2, ms(1000), ms(1000), at=ms(3000))
    return history


def test_between_turns_nobody_is_judged() -> None:
    history = two_turns()
    history.play()
    found = judge(history)
    assert len(found.at_ns) == 200 and not found.e_ns.any()
    assert found.turn.tolist() == [1] * 100 + [2] * 100


def test_an_interrupt_ends_the_samples_of_its_turn_at_once() -> None:
    history = two_turns(interrupted=ms(500))
    history.play()
    found = judge(history)
    assert not ((found.at_ns >= ms(500)) & (found.at_ns < ms(3000))).any()


def test_an_interrupt_makes_the_turn_before_it_stale_too() -> None:
    history = two_turns()
    history.turns[1] = history.turns[1]._replace(interrupted=ms(700))
    history.play()
    assert judge(history).at_ns[-1] == ms(690)


def test_the_next_turns_first_content_ends_the_last_turn() -> None:
    history = two_turns()
    history.play(sound_delay=0, picture_delay=0)
    history.shown = [s if s.ref < 25 else s._replace(at=s.at - ms(2200)) for s in history.shown]
    found = judge(history)
    assert found.turn[found.at_ns == ms(790)] == 1
    assert found.turn[found.at_ns == ms(800)] == 2


def test_the_last_turns_lips_left_on_screen_are_no_picture_of_this_one() -> None:
    history = two_turns()
    history.play()
    history.shown = [s for s in history.shown if s.ref < 25 or s.ref >= 30]
    found = judge(history)
    assert at(found, ms(3100))[1] == "no_picture"
    assert at(found, ms(3200)) == (0, "measured", False)


def test_a_stale_mouth_shown_in_the_next_turn_is_as_wrong_as_it_looks() -> None:
    history = two_turns()
    history.play()
    history.shown.append(Shown(ms(3500), 0))
    history.shown = [s for s in history.shown if s.at <= ms(3500)]
    assert at(judge(history), ms(3600)) == (ms(1600 - 40), "measured", True)


def test_an_interrupt_is_turned_into_the_points_own_time() -> None:
    history = two_turns(interrupted=ms(500))
    history.play(sound_delay=ms(7000), picture_delay=ms(7000))
    source, there = history.logs()
    glass = PresentationLog(local_ns=lambda true_ns: true_ns + ms(7000))
    for piece in history.heard:
        glass.heard(*piece)
    for showing in history.shown:
        glass.shown(*showing)
    assert len(offsets(source, there).at_ns) == 100
    assert len(offsets(source, glass).at_ns) == 150


# -- belief against truth, and the logs themselves ------------------------------------------


def test_offset_at_answers_any_time_in_any_order_and_says_where_there_is_no_truth() -> None:
    history = talk(sound_delay=ms(100), picture_delay=ms(20))
    source, glass = history.logs()
    e, valid = offset_at(source, glass, [ms(5000), ms(513) + 7, ms(10), ms(200)])
    assert valid.tolist() == [False, True, False, True]
    assert e.tolist()[1::2] == [-ms(80), -ms(80)]


def test_logs_may_be_read_in_the_middle_of_a_run_and_go_on() -> None:
    history = talk()
    source, glass = history.logs()
    assert len(offsets(source, glass).at_ns) == 100
    source.turn(2, ms(1000))
    ref = source.sound(ms(1000), ms(20), 2, 0)
    offsets(source, glass)
    glass.heard(ms(1500), ms(20), ref, 0, ms(20))
    assert len(offsets(source, glass).at_ns) == 102
    source.interrupted(2, ms(1510))
    assert len(offsets(source, glass).at_ns) == 101
    source.interrupted(2, ms(1520))  # it is stale already
    assert len(offsets(source, glass).at_ns) == 101
    source.end_turn(2, ms(1200))
    assert source.table().end_ns.tolist() == [ms(1000), ms(1200)]


def test_long_logs_are_packed_and_lose_nothing() -> None:
    source, glass = SourceLog(), PresentationLog()
    source.turn(0, 0)
    count = 500
    for index in range(count):
        t = index * ms(20)
        if index % 200 == 199:
            source.pack()
            glass.pack()
        glass.heard(t, ms(20), source.sound(t, ms(20), 0, t), 0, ms(20))
        glass.shown(t, source.picture(t, ms(20), 0, t))
    found = offsets(source, glass)
    assert len(found.at_ns) == 2 * count and not found.e_ns.any() and not found.frozen.any()


def test_what_is_logged_out_of_order_is_sorted() -> None:
    history = talk(picture_delay=ms(80))
    wanted = rows(judge(history))
    history.heard.reverse()
    history.shown.reverse()
    assert rows(judge(history)) == wanted


def test_a_log_that_cannot_be_true_is_refused() -> None:
    source, glass = SourceLog(), PresentationLog()
    source.turn(3, ms(100))
    with pytest.raises(UsageError, match="does not follow turn 3"):
        source.turn(3, ms(200))
    with pytest.raises(UsageError, match="does not follow turn 3"):
        source.turn(4, ms(99))
    glass.shown(0, 0)
    with pytest.raises(UsageError, match="picture 0 is logged"):
        offsets(source, glass)
    source.picture(0, ms(40), 7, 0)
    with pytest.raises(UsageError, match="turn 7, which was never begun"):
        offsets(source, glass)


def test_float_time_is_refused() -> None:
    source = SourceLog()
    source.turn(1, 0)
    source.sound(0, ms(20), 1, 0.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"got 0\.5"):
        source.table()


# -- any history ----------------------------------------------------------------------------

odd = st.integers(0, 400).map(lambda n: n * ms(5) + n % 3)
short = st.integers(0, 12).map(lambda n: n * ms(10))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Up to three turns, played more or less well: late, early, lost, repeated, cut, stretched, leaked."""
    history = History()
    content = draw(short)
    for number in range(draw(st.integers(1, 3))):
        begin = content
        sound, picture = begin + draw(short) * draw(st.integers(0, 1)), begin
        for _ in range(draw(st.integers(0, 8))):
            length = draw(st.sampled_from([ms(10), ms(20), ms(60), 20_000_001]))
            history.sounds.append(Sound(sound, length, number))
            sound += length + draw(st.sampled_from([0, 0, 0, ms(50)]))
        for _ in range(draw(st.integers(0, 6))):
            history.pictures.append(Picture(picture, draw(st.sampled_from([ms(20), ms(40), 33_333_333])), number))
            picture += draw(st.sampled_from([ms(20), ms(40), 33_333_333, ms(120)]))
        content = max(sound, picture, begin)
        end = draw(st.sampled_from([None, content, content + ms(50), begin]))
        cut = draw(st.one_of(st.none(), st.none(), odd))
        history.turns.append(Turn(number, begin, end, cut))
        content += draw(short)
    _play(draw, history)
    return history


def _play(draw: st.DrawFn, history: History) -> None:
    sound_delay, picture_delay = draw(short), draw(short)
    jitter = st.sampled_from([0, 0, 0, 0, ms(5), ms(13), ms(150), -ms(30), ms(2600)])
    for ref, sound in enumerate(history.sounds):
        if draw(st.integers(0, 9)):
            begin = draw(st.sampled_from([0, 0, 0, ms(5)]))
            span = draw(st.sampled_from([sound.duration, sound.duration, sound.duration + 1_000_003, 0]))
            length = draw(st.sampled_from([sound.duration, sound.duration, ms(15), 0]))
            history.heard.append(Heard(sound.content + sound_delay + draw(jitter), length, ref, begin, span))
    for ref, picture in enumerate(history.pictures):
        if draw(st.integers(0, 9)):
            history.shown.append(Shown(picture.content + picture_delay + draw(jitter), ref))
    for _ in range(draw(st.integers(0, 4))):  # repeats, idle pictures, leaks
        history.shown.append(Shown(draw(odd), draw(st.integers(-1, len(history.pictures) - 1))))
    if draw(st.booleans()):
        history.heard.append(Heard(draw(odd), ms(20), draw(st.integers(-1, len(history.sounds) - 1)), 0, ms(20)))


@settings(max_examples=150)
@given(histories())
def test_any_history_reads_the_same_as_the_naive_computation(history: History) -> None:
    found = judge(history)
    assert len(np.unique(found.at_ns)) == len(found.at_ns)
    source, glass = history.logs()
    e, valid = offset_at(source, glass, found.at_ns[::-1].copy())
    assert e[::-1].tolist() == found.e_ns.tolist()
    assert valid[::-1].tolist() == (found.state == OffsetState.MEASURED).tolist()
