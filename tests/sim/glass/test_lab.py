"""Lab against glass: a lab's run, dressed up as a recording of a real glass, has to be read as what it was."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest

from avsync.glass.marks import Mark, number_of
from avsync.glass.reading import GlassReading, ReadingState, ShownPictures
from avsync.glass.recording import FrameSeen, Recording
from avsync.units import NS_PER_MS, ms, seconds
from sim.glass.lab import (
    Columns,
    Comparison,
    columns,
    compare,
    faults_of,
    measured,
    predict,
    presented_at_the_glass,
    table,
)
from sim.run.world import Run
from sim.scenario.scenario import Scenario
from sim.truth.tables import position
from sim.truth.truth import SourceLog, offsets
from tests.sim.small_world import run, small, varied

PAGE_ZERO_NS = seconds(900)  # this machine's clock at the page's 0
BEGUN_NS = seconds(903) + 123_457  # and at the scenario's
ZERO_MS = -48.0  # what the raw reading says of a true 0


@lru_cache
def lab_run() -> Run:
    return run(varied("video_stall", duration_s=28), viewer="browser")


def as_recorded(one: Run, *, idle_from_s: float = 1e6) -> Recording:
    """What the page would have written down of the pictures of this run."""
    left = one.at_viewer.presented.table(one.source.table())
    content = one.source.table().pictures.content_ns
    frames = []
    for number, (at_ns, ref) in enumerate(zip(left.shown_ns.tolist(), left.shown_ref.tolist(), strict=True)):
        at_ms = (at_ns + BEGUN_NS - PAGE_ZERO_NS) / NS_PER_MS
        idle = ref < 0 or at_ns > seconds(idle_from_s)
        mark = Mark(0, True) if idle else Mark(number_of(int(content[ref])), False)
        frames.append(FrameSeen(at_ms, at_ms, at_ms, 0.0, number, None, mark))
    empty = np.zeros(0, np.int16)
    return Recording(tuple(frames), empty, 0, 0, (), (), (), (), PAGE_ZERO_NS, "a lab")


def as_read(one: Run, *, zero_ms: float = 0.0, unknown_s: tuple[float, float] = (0.0, 0.0)) -> GlassReading:
    """What the probe would have read of its sound, raw, and calibrated afterwards."""
    left = one.at_viewer.presented.table(one.source.table())
    page_ns = np.arange(0, one.end_ns, ms(10)) + BEGUN_NS % ms(10)
    t = page_ns + ms(zero_ms)  # sound that is written down too late reads as a voice that is behind
    row = np.maximum(np.searchsorted(left.at_ns, t, "right") - 1, 0)
    heard = (t >= left.at_ns[row]) & (t < left.end_ns[row])
    a_ns = left.from_ns[row] + position(t - left.at_ns[row], left.length_ns[row], left.gain_ns[row])
    state = np.full(len(page_ns), ReadingState.MEASURED, np.int8)
    state[(t >= seconds(unknown_s[0])) & (t < seconds(unknown_s[1]))] = ReadingState.UNKNOWN
    nothing = np.full(len(t), np.nan)
    raw = GlassReading(
        at_ms=(page_ns + BEGUN_NS - PAGE_ZERO_NS) / NS_PER_MS,
        e_ms=nothing, state=state, frozen=np.zeros(len(t), np.bool_), heard=heard,
        a_ms=np.where(heard, a_ns / NS_PER_MS, np.nan), v_ms=nothing,
    )  # fmt: skip
    return raw.calibrated(zero_ms)


def lab_columns(one: Run) -> Columns:
    return columns(offsets(one.source, one.at_viewer.presented), faults_of(one.scenario), one.end_ns)


def glass_columns(one: Run, recorded: Recording, reading: GlassReading) -> Columns:
    return measured(one.scenario, one.source, recorded, reading, begun_ns=BEGUN_NS)


@pytest.mark.parametrize("zero_ms", [0.0, ZERO_MS, 30.0])
def test_a_run_seen_at_the_glass_reads_as_it_was(zero_ms: float) -> None:
    one = lab_run()
    lab = lab_columns(one)
    glass = glass_columns(one, as_recorded(one), as_read(one, zero_ms=zero_ms))
    for name in ("offset_p50_ms", "offset_abs_p95_ms", "offset_abs_p95_ms@clear", "offset_abs_max_ms", "recovery_ms"):
        assert glass[name] == pytest.approx(lab[name], abs=11), name
    for name in ("measured_pct", "degraded_pct", "measured_pct@clear", "no_picture_pct"):
        assert glass[name] == pytest.approx(lab[name], abs=1.5), name
    assert glass["unknown_pct"] == pytest.approx(0, abs=0.5)
    assert (glass["offset_abs_max_ms"] or 0) > 850, "there was something to be seen"
    assert (glass["offset_abs_max_ms@clear"] or 999) < 100, "and the windows leave it out"


def test_what_was_seen_and_heard_is_written_to_the_millisecond_and_what_was_never_made_is_left_out() -> None:
    source = SourceLog()
    source.turn(0, 0)
    for i in range(5):
        source.sound(i * ms(20), ms(20), 0, 0)
    for i in range(3):
        source.picture(i * ms(40) + 400_000, ms(40), 0, 0)  # a fraction of a millisecond that no number can say
    at_ms = np.array([1000.0, 1010.0, 1020.0, 1030.0])
    nothing = np.full(4, np.nan)
    reading = GlassReading(
        at_ms=at_ms, e_ms=nothing, state=np.zeros(4, np.int8), frozen=np.zeros(4, np.bool_),
        heard=np.array([True, True, False, True]), a_ms=np.array([27.5, 37.5, np.nan, 500.0]), v_ms=nothing,
    )  # fmt: skip
    lips = ShownPictures(
        at_ms=np.array([990.0, 1005.0, 1015.0, 1040.0]), position_ms=np.array([40.0, 63.0, np.nan, 0.0]),
        first_ms=at_ms, lasts_ms=at_ms, idle=np.array([False, False, False, True]),
    )  # fmt: skip
    left = presented_at_the_glass(source, lips, reading, lambda at: np.round(at * 1e6).astype(np.int64)).table(
        source.table()
    )
    assert left.at_ns.tolist() == [ms(995), ms(1005)] and left.end_ns.tolist() == [ms(1005), ms(1015)]
    assert left.from_ns.tolist() == [ms(22.5), ms(32.5)] and left.ref.tolist() == [1, 1]
    assert (left.shown_ns.tolist(), left.shown_ref.tolist()) == ([ms(990), ms(1040)], [1, -1])


def test_a_zero_that_is_not_taken_out_is_seen_with_its_sign() -> None:
    one = lab_run()
    right = glass_columns(one, as_recorded(one), as_read(one))["offset_p50_ms"]
    wrong = glass_columns(one, as_recorded(one), as_read(one, zero_ms=80.0).calibrated(0.0))["offset_p50_ms"]
    assert right is not None and wrong is not None
    assert wrong - right == pytest.approx(80, abs=3)


def test_turns_and_an_interrupt_are_judged_each_for_itself() -> None:
    steps = [{"at_s": 9.007, "do": "interrupt", "pushes_on_ms": 300, "reply_after_ms": 500}]
    one = run(small(20.0, source={"turns": {"talk_s": 5, "gap_s": 1}}, steps=steps), viewer="browser")
    lab, glass = lab_columns(one), glass_columns(one, as_recorded(one), as_read(one, zero_ms=ZERO_MS))
    assert glass["offset_abs_p95_ms"] == pytest.approx(lab["offset_abs_p95_ms"], abs=11)
    assert glass["measured_pct"] == pytest.approx(lab["measured_pct"], abs=2)


def test_an_idle_picture_is_degraded_and_what_could_not_be_read_is_left_out() -> None:
    one = lab_run()
    idle = glass_columns(one, as_recorded(one, idle_from_s=14.0), as_read(one))
    assert idle["degraded_pct"] == pytest.approx(50, abs=3)
    blind = glass_columns(one, as_recorded(one), as_read(one, unknown_s=(19.0, 23.0)))
    assert blind["unknown_pct"] == pytest.approx(15, abs=1.5)
    assert blind["offset_abs_max_ms"] is not None and blind["offset_abs_max_ms"] < 100


def test_nothing_read_is_unknown_and_never_zero() -> None:
    one = lab_run()
    empty = Recording((), np.zeros(0, np.int16), 0, 0, (), (), (), (), PAGE_ZERO_NS, "")
    nothing = as_read(one).between(0, 0)
    found = measured(one.scenario, one.source, empty, nothing, begun_ns=BEGUN_NS)
    assert found["offset_abs_p95_ms"] is None and found["unknown_pct"] is None
    assert measured(one.scenario, SourceLog(), empty, nothing, begun_ns=BEGUN_NS)["measured_pct"] is None


def test_a_prediction_is_the_labs_own_run_per_seed() -> None:
    scenario: Scenario = small(12.0, network={"to_viewer": {"delay_ms": 20, "jitter_ms": 2}})
    first, second = predict(scenario, seeds=[1, 2])
    assert first == lab_columns(run(scenario, viewer="browser", seed=1)) and first != second
    assert first["recovery_ms"] is None, "there was no fault"


def test_the_comparison_says_how_far_apart_and_what_is_unknown() -> None:
    lab: list[Columns] = [{"offset_abs_p95_ms": value, "measured_pct": 99.0} for value in (10.0, 40.0, 12.0)]
    lines = compare(lab, {"offset_abs_p95_ms": 33.0, "measured_pct": 50.0, "recovery_ms": math.inf})
    by_name = {line.name: line for line in lines}
    assert by_name["offset_abs_p95_ms"] == Comparison("offset_abs_p95_ms", 12.0, 10.0, 40.0, 33.0)
    assert by_name["offset_abs_p95_ms"].agrees is False and by_name["offset_abs_p95_ms"].apart == 21.0
    assert by_name["measured_pct"].agrees is None
    assert by_name["recovery_ms"].lab is None and by_name["recovery_ms"].agrees is None
    assert Comparison("offset_p50_ms", 5.0, 5.0, 5.0, -14.9).agrees is True
    assert set(by_name) == {"offset_abs_p95_ms", "measured_pct", "recovery_ms"}
    text = table(lines)
    assert "| offset_abs_p95_ms | 12.0 | 10.0 to 40.0 | 33.0 | 21.0 (!) |" in text
    assert "UNKNOWN" in text and "never" in text
