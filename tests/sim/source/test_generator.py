"""The generator: what is made, when, and what is written down as true, without an engine or a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from avsync.types import AUDIO, VIDEO, Kind, Reason, Request, Want
from avsync.units import ms, seconds
from sim.packets import IDLE
from sim.scenario.source import MediaSource
from sim.source.generator import Made, Speaker
from sim.truth.truth import SourceLog
from sim.virtual_time import VirtualTime


class Story:
    """A generator that talks to nobody, and all that it said: (when, unit)."""

    def __init__(self, seed: int = 1, **source: Any) -> None:
        self.env = VirtualTime(0)
        self.log = SourceLog()
        self.units: list[tuple[int, Made]] = []
        self.turns: list[int] = []
        self.done: list[tuple[Kind, int, int]] = []
        self.speaker = Speaker(
            self.env, MediaSource.model_validate(source), seed, self.log,
            hand_over=lambda made: self.units.append((self.env.now, made)),
            on_turn=self.turns.append,
            on_done=lambda kind, turn: self.done.append((kind, turn, self.env.now)),
        )  # fmt: skip

    def talk(self, for_s: float = 4.0, backlog_s: float = 0.0) -> Story:
        self.speaker.start_turn(seconds(for_s), seconds(backlog_s))
        return self

    def at(self, at_s: float, call: Callable[[], Any]) -> Story:
        self.env.timeout(seconds(at_s) - self.env.now).callbacks.append(lambda _event: call())
        return self

    def until(self, at_s: float) -> Story:
        self.env.run(until=seconds(at_s))
        return self

    def of(self, kind: Kind) -> list[tuple[int, int]]:
        """(when, content) in ms, of what has content."""
        return [(at // ms(1), m.content_ns // ms(1)) for at, m in self.units if m.kind is kind and m.ref != IDLE]

    def late(self, kind: Kind) -> list[int]:
        """How far behind its plan each unit came, in ms; the first turn begins at 0."""
        return [at - content for at, content in self.of(kind)]


def test_on_time_it_hands_over_each_unit_when_its_content_begins() -> None:
    told = Story().talk(2.0).until(3)
    assert set(told.late(AUDIO)) == set(told.late(VIDEO)) == {0}
    assert len(told.of(AUDIO)) == 100 and len(told.of(VIDEO)) == 50
    assert set(told.done) == {(AUDIO, 0, seconds(2)), (VIDEO, 0, seconds(2))}


def test_what_is_handed_over_is_what_is_written_down() -> None:
    told = Story().talk(2.0).until(3)
    made = told.log.table()
    for kind, units in ((AUDIO, made.sounds), (VIDEO, made.pictures)):
        mine = [(at, m) for at, m in told.units if m.kind is kind]
        assert [m.ref for _, m in mine] == list(range(len(mine)))
        assert units.content_ns.tolist() == [m.content_ns for _, m in mine]
        assert units.made_ns.tolist() == [at for at, _ in mine]


def test_a_new_turn_begins_where_the_later_stream_stopped_and_content_never_goes_back() -> None:
    told = Story().talk(1.0).until(2)
    told.talk(1.0).until(4)
    second = [m for _, m in told.units if m.turn == 1]
    assert told.turns == [0, 1] and min(m.content_ns for m in second) == seconds(1)
    assert told.log.table().start_ns.tolist() == [0, seconds(1)]
    assert next(m for m in second if m.kind is VIDEO).is_key


def test_at_0_88_of_real_time_22_pictures_a_second_are_made() -> None:
    told = Story(video={"speed": 0.88}).talk(12.0).until(12)
    in_10_s = [at for at, _ in told.of(VIDEO) if 1000 <= at < 11_000]
    assert len(in_10_s) == 220
    assert told.late(VIDEO)[-1] == pytest.approx(12_000 * 0.12, abs=60)  # and each is further behind
    assert set(told.late(AUDIO)) == {0}


def test_a_faster_generator_runs_ahead_as_far_as_it_may_and_no_further() -> None:
    told = Story(video={"speed": 2.0, "ahead_s": 0.5}, audio={"speed": 4.0, "ahead_s": 1.0}).talk(6.0).until(7)
    assert min(told.late(VIDEO)) == -500 and min(told.late(AUDIO)) == -1000
    assert told.late(VIDEO)[10] == -200  # twice as fast: 10 pictures in 200 ms


def test_sound_ahead_and_pictures_behind_by_a_constant() -> None:
    told = Story(audio={"lead_ms": 480.0}, video={"delay_ms": 120.0}).talk(3.0).until(4)
    assert set(told.late(VIDEO)) == {600} and set(told.late(AUDIO)) == {0}


# ---- requests


def asking(want: Want, value: int = 0, content_s: float = 0.0, **video: Any) -> Story:
    told = Story(video=video).talk(4.0)
    request = Request(want, value, 0, 0, Reason.BEHIND)
    return told.at(2, lambda: told.speaker.obey(request, seconds(content_s))).until(5)


def test_it_skips_to_the_first_whole_picture_from_there_if_it_can() -> None:
    told = asking(Want.SKIP_TO_PTS, content_s=2.51, can_skip=True, speed=0.5)
    contents = [content for _, content in told.of(VIDEO)]
    assert 2520 in contents and not [c for c in contents if 1040 < c < 2520]


def test_it_never_skips_back() -> None:
    assert asking(Want.SKIP_TO_PTS, content_s=1.0, can_skip=True).of(VIDEO) == Story().talk(4.0).until(5).of(VIDEO)


def test_it_makes_fewer_pictures_if_it_can_and_all_of_them_again_for_0() -> None:
    told = asking(Want.FPS, 20, can_fps=True)
    back = Request(Want.FPS, 0, 0, 0, Reason.RECOVERED)
    assert set(np.diff([c for _, c in told.of(VIDEO) if c > 2100])) == {50}
    again = Story(video={"can_fps": True}).talk(4.0)
    again.at(1, lambda: again.speaker.obey(Request(Want.FPS, 20, 0, 0, Reason.SLOW), 0))
    again.at(2, lambda: again.speaker.obey(back, 0)).until(5)
    assert set(np.diff([c for _, c in again.of(VIDEO) if c > 2100])) == {40}


def test_lower_fps_is_less_work_so_a_slow_generator_keeps_up() -> None:
    told = Story(video={"can_fps": True, "can_skip": True, "speed": 0.88}).talk(10.0)

    def ask() -> None:
        told.speaker.obey(Request(Want.FPS, 20, 0, 0, Reason.SLOW), 0)
        told.speaker.obey(Request(Want.SKIP_TO_PTS, 0, 0, 0, Reason.SLOW), seconds(2.2))

    late = told.at(2, ask).until(10).late(VIDEO)
    assert max(late[-60:]) <= 50


@pytest.mark.parametrize("want", [Want.SKIP_TO_PTS, Want.FPS])
def test_who_cannot_does_not(want: Want) -> None:
    assert asking(want, 10, content_s=3.0).of(VIDEO) == Story().talk(4.0).until(5).of(VIDEO)


def test_a_key_frame_comes_when_asked_for_at_a_turns_start_and_as_often_as_promised() -> None:
    keys = [m.content_ns // ms(1) for _, m in asking(Want.KEYFRAME).units if m.kind is VIDEO and m.is_key]
    assert len(keys) == 2 and keys[0] == 0 and keys[1] in (2000, 2040)
    none = asking(Want.KEYFRAME, can_keyframe=False)
    assert sum(m.is_key for _, m in none.units if m.kind is VIDEO) == 1
    often = Story(video={"key_every_s": 1.0}).talk(4.0).until(5)
    assert [m.content_ns for _, m in often.units if m.kind is VIDEO and m.is_key] == [seconds(i) for i in range(4)]


# ---- stalls


def stalled(mode: str, only: Kind | None = VIDEO, **source: Any) -> Story:
    told = Story(**source).talk(4.0)
    return told.at(1, lambda: told.speaker.stall(seconds(1), only, mode)).until(6)


def test_live_goes_on_at_the_present_moment_and_what_was_between_is_never_made() -> None:
    told = stalled("live")
    assert not [at for at, _ in told.of(VIDEO) if 1000 <= at < 2000]
    assert max(told.late(VIDEO)) == 0
    missing = {*range(0, 4000, 40)} - {content for _, content in told.of(VIDEO)}
    assert missing == set(range(1000, 2000, 40))
    assert [content for _, content in told.of(AUDIO)] == list(range(0, 4000, 20))


def test_burst_hands_over_all_that_was_missed_at_once() -> None:
    told = stalled("burst")
    assert [content for _, content in told.of(VIDEO)] == list(range(0, 4000, 40))
    at_once = [content for at, content in told.of(VIDEO) if at == 2000]
    assert len(at_once) >= 24 and max(told.late(VIDEO)[-40:]) == 0


def test_continue_goes_on_where_it_stopped_and_stays_behind() -> None:
    told = stalled("continue")
    contents = [content for _, content in told.of(VIDEO)]
    assert contents == list(range(0, 4000, 40))
    assert set(told.late(VIDEO)[26:]) == {1000}


def test_a_faster_generator_that_continues_catches_up() -> None:
    late = stalled("continue", video={"speed": 2.0, "ahead_s": 0.0}).late(VIDEO)
    assert max(late) >= 960 and late[-1] == 0


@pytest.mark.parametrize("only", [AUDIO, VIDEO])
def test_a_stall_of_one_stream_leaves_the_other_alone(only: Kind) -> None:
    other = VIDEO if only is AUDIO else AUDIO
    told = stalled("burst", only)
    assert set(told.late(other)) == {0} and max(told.late(only)) == 1000


def test_both_stall_together() -> None:
    told = stalled("live", None)
    assert not [at for at, _ in told.units if seconds(1) <= at < seconds(2)]


def test_a_stall_ends_in_the_first_turn_after_it_too() -> None:
    told = Story().talk(1.0)
    told.at(0.5, lambda: told.speaker.stall(seconds(1), None, "live")).until(2)
    told.talk(1.0).until(4)
    assert len([m for _, m in told.units if m.turn == 1 and m.kind is VIDEO]) == 25


# ---- pauses, loops, blocks, backlog, rates


def paused(**pause: Any) -> Story:
    told = Story().talk(4.0)
    return told.at(1, lambda: told.speaker.pause(seconds(1), **pause)).until(5)


def test_a_marked_pause_says_so_at_once_and_every_400_ms() -> None:
    told = paused(marked=True)
    marks = [(at // ms(1), m.content_ns // ms(1)) for at, m in told.units if m.pause]
    assert marks == [(at, at) for at in (marks[0][0], marks[0][0] + 400, marks[0][0] + 800)]
    assert marks[0][0] in (1000, 1020)
    made = told.log.table()
    assert made.pauses.tolist() == [[ms(marks[0][0]), ms(marks[0][0]) + seconds(1)]]
    assert all(m.ref == IDLE for _, m in told.units if m.pause)


@pytest.mark.parametrize(
    "audio",
    [
        {"speed": 3.0}, {"speed": 1.2, "ahead_s": 5.0}, {"speed": 0.5}, {"unit_ms": 60},
        {"unit_ms": 10, "rate_hz": 22_050}, {"lead_ms": 200.0, "speed": 4.0},
        {"blocks": {"units": [5, 9], "late_ms": [200.0, 400.0]}},
    ],
)  # fmt: skip
def test_marks_come_between_the_sound_before_and_after_them_and_as_early_as_it(audio: dict[str, Any]) -> None:
    told = Story(audio=audio).talk(8.0)
    told.at(2, lambda: told.speaker.pause(ms(1_630), marked=True)).until(12)
    sounds = [(at, m) for at, m in told.units if m.kind is AUDIO]
    marks = [index for index, (_, m) in enumerate(sounds) if m.pause]
    assert len(marks) in (4, 5, 6) and marks == list(range(marks[0], marks[-1] + 1))
    contents = [m.content_ns for _, m in sounds]
    ends = [m.content_ns + m.duration_ns for _, m in sounds]
    assert all(after >= end for after, end in zip(contents[1:], ends, strict=False))  # none overlaps the next
    assert max(np.diff([contents[mark] for mark in marks])) <= ms(400)  # as often as DTX says it
    ahead = [at - m.content_ns for at, m in sounds]
    assert ahead[marks[-1]] <= ahead[marks[-1] + 1] + ms(400)  # a mark is no later than the sound that ends the pause


def test_a_pause_of_a_loop_takes_its_time_and_ends_in_a_later_round() -> None:
    told = Story(loop={"audio_s": 1.0, "video_s": 1.2}).talk(9.0)
    told.at(1.5, lambda: told.speaker.pause(seconds(3), marked=True)).until(10)
    sounds = told.of(AUDIO)
    contents = [content for _, content in sounds]
    assert contents == sorted(set(contents))
    assert [at for at, _ in sounds] == [
        *range(0, 1500, 20),
        *range(sounds[75][0], sounds[75][0] + 20 * len(sounds[75:]), 20),
    ]
    # 1.5 s in, the second round stands at content 1.7 s. 3 s of content later: 4.7 s, in the fourth (3.6 to 4.6, and
    # then a gap of 0.2 s that sound has none of), so it goes on with the fifth, and has missed 2.5 s of sound.
    assert sounds[74][1] == 1680 and sounds[75] == (1500 + 2500, 4800)
    assert not [content for content in contents if content % 1200 >= 1000]


def test_an_unmarked_pause_says_nothing_and_the_content_goes_on_all_the_same() -> None:
    told = paused(marked=False)
    assert not [m for _, m in told.units if m.pause]
    contents = [content for _, content in told.of(AUDIO)]
    gap = max(zip(np.diff(contents).tolist(), contents, strict=False))
    assert gap[0] == 1020 and set(told.late(AUDIO)) == {0}
    assert set(told.late(VIDEO)) == {0}


def test_a_loop_plays_on_and_its_content_goes_round_as_a_whole() -> None:
    """Its pictures are shorter than its sound, so they come a little earlier each time; what belongs together stays."""
    told = Story(loop={"audio_s": 1.0, "video_s": 0.96}).talk(5.0).until(6)
    starts = [content for _, content in told.of(VIDEO) if content % 1000 == 0]
    assert starts == [0, 1000, 2000, 3000, 4000]
    assert not [c for _, c in told.of(VIDEO) if c % 1000 >= 960]
    assert len(told.of(AUDIO)) == 250 and set(told.late(AUDIO)) == {0}
    assert set(np.diff([at for at, _ in told.of(VIDEO)])) == {40} and set(told.late(VIDEO)) == {0, -40, -80, -120, -160}


def test_blocks_begin_late_are_fast_inside_and_keep_their_order() -> None:
    told = Story(video={"blocks": {"frames": [8, 8], "speed": 2.0, "late_ms": [300.0, 300.0]}}).talk(6.0).until(8)
    late = told.late(VIDEO)
    assert late[:9] == [300, 280, 260, 240, 220, 200, 180, 160, 300]
    assert [content for _, content in told.of(VIDEO)] == list(range(0, 6000, 40))


def test_sound_can_come_in_blocks_too() -> None:
    told = Story(audio={"blocks": {"units": [10, 10], "speed": 2.0, "late_ms": [200.0, 200.0]}}).talk(6.0).until(8)
    late = told.late(AUDIO)
    assert late[:11] == [200, 190, 180, 170, 160, 150, 140, 130, 120, 110, 200]
    assert [content for _, content in told.of(AUDIO)] == list(range(0, 6000, 20))
    assert set(told.late(VIDEO)) == {0}, "the pictures are not in blocks"


def test_blocks_are_drawn_from_the_seed() -> None:
    blocks = {"frames": [4, 12], "late_ms": [100.0, 500.0]}
    one, same, other = (Story(seed, video={"blocks": blocks}).talk(4.0).until(6).of(VIDEO) for seed in (1, 1, 2))
    assert one == same != other


def test_of_a_backlog_all_is_there_at_once() -> None:
    told = Story()
    told.at(1, lambda: told.talk(3.0, backlog_s=1.0)).until(6)
    assert len([at for at, _ in told.of(AUDIO) if at == 1000]) >= 50
    assert len([at for at, _ in told.of(VIDEO) if at == 1000]) >= 25
    assert told.of(VIDEO)[-1] == (2960, 2960)


def test_a_frame_rate_that_wanders_is_written_down_as_it_was() -> None:
    told = Story(video={"variable_fps": [10, 30]}).talk(10.0).until(11)
    made = told.log.table()
    durations = made.pictures.duration_ns[1:-1] / 1e6
    assert durations.min() >= 33.2 and durations.max() <= 100.1 and np.ptp(durations) > 30
    assert np.array_equal(np.diff(made.pictures.content_ns)[1:-1], made.pictures.duration_ns[1:-2])


@pytest.mark.parametrize("fps", ["30000/1001", 24, 7])
def test_frames_are_counted_and_their_lengths_never_added_up(fps: str | int) -> None:
    told = Story(video={"fps": fps}).talk(60.0).until(61)
    *_, last = (m for _, m in told.units if m.kind is VIDEO)
    count = len(told.of(VIDEO)) - 1
    rate = last.rate
    assert abs(last.content_ns * rate.numerator - count * seconds(1) * rate.denominator) <= rate.numerator


def test_the_sample_rate_changes_in_the_middle() -> None:
    told = Story(audio={"rate_hz": 44_100}).talk(3.0)
    told.at(1, lambda: told.speaker.change_rate(22_050)).until(4)
    sounds = [m for _, m in told.units if m.kind is AUDIO]
    assert {(m.rate, m.ticks) for m in sounds} == {(44_100, 882), (22_050, 441)}
    assert {m.duration_ns for m in sounds} == {ms(20)} and set(told.late(AUDIO)) == {0}


def test_the_frame_rate_changes_in_the_middle() -> None:
    told = Story().talk(4.0)
    told.at(2, lambda: told.speaker.change_fps(20)).until(5)
    assert set(np.diff([c for _, c in told.of(VIDEO) if c > 2080])) == {50}


def test_pictures_that_join_late_begin_with_what_is_said_now() -> None:
    told = Story(video={"join_at_s": 1.3}).talk(4.0).until(5)
    first = told.of(VIDEO)[0]
    assert first == (1320, 1320) and set(told.late(VIDEO)) == {0}


# ---- interrupts


def test_an_interrupted_generator_pushes_on_as_long_as_it_does_and_in_the_old_turn() -> None:
    told = Story().talk(4.0)
    told.at(1, lambda: told.speaker.interrupt(ms(300))).until(3)
    assert max(at for at, _ in told.units) in range(ms(1260), ms(1300)) and {m.turn for _, m in told.units} == {0}
    assert told.log.table().interrupted_ns.tolist() == [seconds(1)]
    told.talk(1.0).until(5)
    reply = [m for _, m in told.units if m.turn == 1]
    assert min(m.content_ns for m in reply) > ms(1250) and len(reply) == 75


def test_content_that_runs_faster_than_its_count_comes_earlier_and_says_the_same() -> None:
    told = Story(audio={"real_rate_ppm": 1000.0}, video={"real_rate_ppm": 1000.0}).talk(20.0).until(21)
    assert told.late(VIDEO)[-1] == pytest.approx(-20, abs=1)
    assert [c for _, c in told.of(VIDEO)] == list(range(0, 20_000, 40))
