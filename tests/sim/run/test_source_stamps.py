"""What the generator hands over in our own process is stamped by count: whatever it does, the stamps are right.

Each story gives the engine nothing to repair, so any offset at our output is one that the lab made itself.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avsync.errors import InputError
from avsync.units import ms
from sim.scenario.scenario import Scenario
from sim.source.clip import ClipSizes
from tests.sim.small_world import belief_ms, heard, run, small, truth_ms

STEPS = "steps"
SAYS: dict[str, dict[str, Any]] = {
    "the frame rate changes before the first picture": {STEPS: [{"at_s": 0.2, "do": "fps", "to": 50}]},
    "the frame rate changes before the pictures join": {
        "source": {"video": {"join_at_s": 3.0}}, STEPS: [{"at_s": 2, "do": "fps", "to": 12}],
    },
    "the sample rate changes before the first sound": {STEPS: [{"at_s": 0.2, "do": "rate", "to_hz": 24_000}]},
    "the sample rate changes while the frame rate wanders": {
        "source": {"video": {"variable_fps": [15, 50]}},
        STEPS: [{"at_s": 3, "do": "rate", "to_hz": 8_000}, {"at_s": 5, "do": "fps", "to": 10}],
    },
    "a fast voice pauses": {
        "source": {"audio": {"speed": 3.0}}, STEPS: [{"at_s": 3, "do": "pause", "for_s": 2}],
    },
    "a voice a little fast, far ahead, in long units pauses": {
        "source": {"audio": {"speed": 1.5, "ahead_s": 5.0, "unit_ms": 60}},
        STEPS: [{"at_s": 3, "do": "mute", "for_s": 1}],
    },
    "a pause is no whole number of units": {
        "source": {"audio": {"unit_ms": 60}}, STEPS: [{"at_s": 3, "do": "pause", "for_s": 0.4}],
    },
    "a turn begins inside a stall that resumes live": {
        "source": {"turns": {"talk_s": [2.0, 3.0]}},
        STEPS: [{"at_s": 3.0, "do": "stall", "for_s": 1.5, "resume": "live"}],
    },
    "the first sound of a turn is in the middle of it, and its pictures come from its start": {
        "source": {"turns": {"talk_s": [2.0, 4.0]}},
        STEPS: [
            {"at_s": 3.0, "do": "stall", "for_s": 1.5, "only": "audio", "resume": "live"},
            {"at_s": 3.0, "do": "stall", "for_s": 2.0, "only": "video", "resume": "burst"},
        ],
    },
    "units are lost at the hand-over": {STEPS: [{"at_s": 0.1, "do": "impair", "leg": "source", "loss": 0.1}]},
    "units overtake each other at the hand-over": {
        STEPS: [{"at_s": 1, "do": "impair", "leg": "source", "reorder": 0.05, "reorder_by_ms": 90}],
    },
    "a looping source pauses": {
        "source": {"loop": {"audio_s": 1.0, "video_s": 1.2}}, STEPS: [{"at_s": 2.6, "do": "pause", "for_s": 2}],
    },
    "each turn's plan ends inside a unit": {
        "source": {"turns": {"talk_s": [1.99, 1.99, 2.99], "gap_s": 0.5}, "audio": {"unit_ms": 60}},
    },
}  # fmt: skip


def story(what: str, **more: Any) -> Scenario:
    return small(10.0, viewer="avsync", **(SAYS[what] | more))


@pytest.mark.parametrize("what", SAYS)
def test_no_offset_is_made_by_the_lab(what: str) -> None:
    one = run(story(what))
    e_ms = truth_ms(one, "output")
    assert len(e_ms) > 250
    if "stall" in what or "pause" in what:
        e_ms = truth_ms(one, "output", after_s=5.5)  # what a stall itself does is the engine's to repair
    missing = "lost" in what or "overtake" in what  # a picture that is not there cannot follow the voice
    assert np.abs(e_ms).max() <= (50 if missing else 1), what
    assert np.abs(belief_ms(one, "output", after_s=5.5)).max() <= (50 if missing else 1), what


def test_a_clip_of_another_frame_rate_is_stamped_at_its_own() -> None:
    clip = ClipSizes(Fraction(30_000, 1001), (2_000,) * 50, 1.7, "a clip")
    assert np.abs(truth_ms(run(small(6.0, viewer="avsync"), clip=clip), "output")).max() <= 1


@pytest.mark.parametrize("what", ["units are lost at the hand-over", "units overtake each other at the hand-over"])
def test_what_does_not_come_in_its_place_is_left_out_and_moves_nothing_behind_it(what: str) -> None:
    one = run(story(what))
    pieces = heard(one, "output")
    late = [when - content for when, _, content, _ in pieces]
    assert len(pieces) < 450 - 10  # of 450 units, some are gone
    assert max(late) - min(late) <= 100  # and what is said is said when it was, but for the one delay of the call


def test_marks_of_a_fast_voice_come_as_far_ahead_as_its_sound() -> None:
    one = run(story("a fast voice pauses"))
    made = one.source.table()
    came, _ = one.arrivals.first(made)
    gap = int(np.argmax(np.diff(made.sounds.content_ns)))
    assert made.sounds.content_ns[gap + 1] - made.sounds.content_ns[gap] >= ms(2000)
    # Told as a pause, nothing was inserted: the content went by.
    left = heard(one, "output")
    silent = max(after[0] - before[1] for before, after in zip(left, left[1:], strict=False))
    passed = max(after[2] - before[3] for before, after in zip(left, left[1:], strict=False))
    assert silent == pytest.approx(passed, abs=1) and passed >= 2000
    assert came[gap + 1] <= made.sounds.content_ns[gap + 1] + ms(500)


@pytest.mark.parametrize("unit_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("rate_hz", [22_050, 11_025, 44_100, 8_001])
@pytest.mark.parametrize("viewer", ["browser", "avsync"])
def test_units_of_any_rate_and_length_reach_a_viewer_whole(viewer: str, rate_hz: int, unit_ms: int) -> None:
    one = run(small(6.0, viewer=viewer, source={"audio": {"rate_hz": rate_hz, "unit_ms": unit_ms}}), viewer=viewer)
    pieces = heard(one, "viewer")
    said = sum(to - begin for _, _, begin, to in pieces)
    made = one.source.table().sounds
    assert said / 1e3 == pytest.approx(int(made.duration_ns.sum()) / 1e9, abs=0.25)


def test_a_unit_handed_over_twice_is_refused_with_its_place() -> None:
    step = {"at_s": 2, "do": "impair", "leg": "source", "for_s": 2, "duplicate": 0.2}
    with pytest.raises(InputError) as caught:
        small(steps=[{"at_s": 1, "do": "interrupt"}, step])
    text = str(caught.value)
    assert "steps[1].duplicate" in text and "hands nothing over twice" in text and "leg: to_viewer" in text
    bridged = run(small(steps=[step], topology="provider_bridge"))  # RTP tells them apart
    assert np.abs(truth_ms(bridged, "output", after_s=1)).max() <= 45
