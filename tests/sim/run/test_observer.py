"""What a viewer's monitor can see of its screen and its loudspeaker, and how far its belief is off by that alone."""

from __future__ import annotations

import pytest

from sim.judge.row import measure
from tests.sim.small_world import run, small


def off_by_ms(viewer: str, fps: float, seed: int) -> float:
    """The p95 of |belief - truth| in a call without any trouble."""
    call = small(10, source={"video": {"fps": fps}}, network={"to_viewer": {"delay_ms": 20}})
    off = measure(run(call, viewer=viewer, seed=seed))["monitor_error_p95_ms"]
    assert off is not None
    return off


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_a_page_is_told_at_which_refresh_a_picture_came(fps: float) -> None:
    """It is off by the audio clock's quantum alone, whatever the picture rate has in common with the screen's."""
    offs = [off_by_ms("browser", fps, seed) for seed in range(1, 5)]
    assert min(offs) > 1 and max(offs) < 5


def test_a_program_that_is_not_told_the_refresh_knows_it_to_half_of_one() -> None:
    offs = [off_by_ms("avsync", 25, seed) for seed in range(1, 5)]
    assert min(offs) > 6 and max(offs) < 10
