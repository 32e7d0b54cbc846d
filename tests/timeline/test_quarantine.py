"""Quarantine: when a provider may be believed again after an interrupt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.timeline.quarantine import Quarantine
from avsync.units import ms


def provider_speaks(hold: Quarantine, start_ms: int, end_ms: int, *, silent: bool = False) -> list[int]:
    """20 ms packets at their own pace; answers when those that passed came (ms)."""
    return [at for at in range(start_ms, end_ms, 20) if not hold.on_sound(ms(at), silent, ms(20))]


def test_the_old_turn_goes_on_after_the_interrupt_and_nothing_of_it_passes() -> None:
    hold = Quarantine()
    assert provider_speaks(hold, 0, 1000) == list(range(0, 1000, 20))
    hold.start(ms(1000))
    assert provider_speaks(hold, 1010, 1610) == []  # up to 1 s of it, measured at providers
    assert provider_speaks(hold, 1900, 2000) == [1900, 1920, 1940, 1960, 1980]
    assert hold.ended_by == "silence"


def test_quarantine_ends_120_ms_after_the_last_sound_has_sounded() -> None:
    hold = Quarantine()
    hold.start(0)
    hold.on_sound(ms(50), False, ms(20))
    assert hold.next_wakeup_ns() == ms(190)
    assert hold.holds(ms(190) - 1)
    assert not hold.holds(ms(190))
    assert hold.next_wakeup_ns() is None


def test_a_long_chunk_sounds_to_its_end_whatever_comes_after_it() -> None:
    hold = Quarantine()
    hold.start(0)
    hold.on_sound(0, False, ms(500))
    hold.on_sound(ms(10), False, ms(20))
    assert hold.next_wakeup_ns() == ms(620)


def test_a_stretch_marked_silent_ends_it_as_well_as_nothing_at_all() -> None:
    hold = Quarantine()
    hold.start(0)
    assert provider_speaks(hold, 0, 100) == []
    assert provider_speaks(hold, 100, 400, silent=True)[0] == 200  # the sixth: 120 ms
    hold.start(ms(1000))
    provider_speaks(hold, 1000, 1100)
    burst = [hold.on_sound(ms(1100), True, ms(20)) for _ in range(6)]
    assert burst == [True] * 5 + [False]


def test_a_loud_unit_between_silent_ones_counts_from_the_beginning() -> None:
    hold = Quarantine()
    hold.start(0)
    provider_speaks(hold, 0, 100, silent=True)
    assert hold.on_sound(ms(100), False, ms(20))
    assert provider_speaks(hold, 120, 220, silent=True) == []
    assert hold.holds(ms(220))


def test_silence_of_negative_length_or_of_the_turn_before_counts_nothing() -> None:
    hold = Quarantine()
    hold.start(0)
    assert hold.on_sound(ms(10), True, ms(100))
    hold.start(ms(20))
    assert hold.on_sound(ms(30), True, -ms(1000))
    assert hold.on_sound(ms(40), True, ms(119))
    assert not hold.on_sound(ms(50), True, ms(1))


def test_a_turn_marker_ends_it_at_once_and_means_nothing_outside_it() -> None:
    hold = Quarantine()
    hold.marker(ms(1))
    assert hold.ended_by == ""
    hold.start(ms(10))
    assert hold.holds(ms(20))
    hold.marker(ms(20))
    assert not hold.holds(ms(20)) and hold.ended_by == "marker"


def test_a_provider_that_never_pauses_is_believed_after_the_limit() -> None:
    hold = Quarantine()
    hold.start(0)
    assert provider_speaks(hold, 0, 2000)[0] == 1500
    assert hold.ended_by == "limit"


def test_a_second_interrupt_begins_the_quarantine_again() -> None:
    hold = Quarantine()
    hold.start(0)
    provider_speaks(hold, 0, 1000)
    hold.start(ms(1000))
    assert provider_speaks(hold, 1000, 3000)[0] == 2500


def test_quarantine_refuses_bad_numbers_by_name() -> None:
    with pytest.raises(UsageError, match="silence_ns"):
        Quarantine(silence_ns=0)
    with pytest.raises(UsageError, match="limit_ns"):
        Quarantine(limit_ns=1.5)  # type: ignore[arg-type]
    hold = Quarantine()
    hold.start(ms(10))
    with pytest.raises(UsageError, match="backwards"):
        hold.holds(ms(9))
    with pytest.raises(UsageError, match="now_ns"):
        hold.holds(11.0e6)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="duration_ns"):
        hold.on_sound(ms(10), False, float("nan"))  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.integers(-50, 10**6)), max_size=60))
def test_whatever_a_provider_sends_quarantine_ends_within_the_limit_and_stays_ended(
    arrivals: list[tuple[int, bool, int]],
) -> None:
    hold = Quarantine()
    hold.start(0)
    now_ms, ended = 0, False
    for gap_ms, silent, duration_ms in arrivals:
        now_ms += gap_ms
        wakeup = hold.next_wakeup_ns()
        held = hold.on_sound(ms(now_ms), silent, ms(duration_ms))
        assert held == hold.holds(ms(now_ms))
        assert not (ended and held)
        if wakeup is not None and ms(now_ms) >= wakeup:
            assert not held
        ended = ended or not held
        assert ended or now_ms < 1500
