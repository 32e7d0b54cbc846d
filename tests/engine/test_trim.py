"""Trim and head start: pictures moved against the voice, and pictures answered before they are due."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.adapters.asyncio_driver import AsyncioDriver
from avsync.engine.synchronizer import AvSynchronizer
from avsync.engine.trim import Trim
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy, Master
from avsync.recording.recorder import Recorder
from avsync.recording.replay import replay
from avsync.types import AUDIO, VIDEO, Degrade, Drop, InsertSilence, MediaUnit, Present, Reason, Repeat, Want
from avsync.units import ms, seconds
from tests.adapters.driver_story import Sink
from tests.adapters.driver_story import speak as produce
from tests.engine.engine_driver import FRAME, SLOT, Player, speak
from tests.engine.test_synchronizer_properties import STEPS, History, sane
from tests.virtual_loop import run

POLICY = AvSyncPolicy()
DELAY = POLICY.playout_delay_ns
S = seconds(1)


def trimmed(trim_ns: int, until: int = 2 * S, *, settled: bool = True, **speech: Callable[[int], int | None]) -> Player:
    """A turn that begins when the trim has got where it goes (a source that is far enough ahead)."""
    player = Player(levers=())
    player.engine.trim(trim_ns, 0)
    if settled:
        player.advance_to(seconds(60))
    speak(player, until, **speech)
    return player


# ---- trim


def moved(player: Player, *, after: int = 0) -> list[tuple[Present, Present]]:
    """(sound, picture) of the same content, for all that has both."""
    sounds = {present.unit.pts_ns: present for present in player.presents(AUDIO)}
    shown = [p for p in player.presents(VIDEO) if p.unit.pts_ns in sounds and p.unit.pts_ns >= after]
    return [(sounds[p.unit.pts_ns], p) for p in shown]


@pytest.mark.parametrize("trim_ms", [-100, -30, -1, 0, 1, 30, 100])
def test_the_sign_of_a_trim_positive_is_pictures_earlier_in_due_time_and_in_stamp(trim_ms: int) -> None:
    player = trimmed(ms(trim_ms))
    pairs = moved(player, after=ms(200))
    assert len(pairs) > 40
    for sound, picture in pairs:
        assert picture.stamp_ns == sound.stamp_ns - ms(trim_ms)
        assert picture.at_ns == sound.at_ns - ms(trim_ms), "the turn's delay leaves them the time"
        assert picture.reason is Reason.DUE
    assert player.engine.trim_ns == ms(trim_ms)


def test_a_trim_is_followed_by_2_ms_a_second_and_no_more() -> None:
    player = trimmed(0, until=S)
    player.engine.trim(ms(20), player.now)
    start = player.now
    speak(player, 14 * S, pts=S, start=start)
    trims = [(picture.at_ns - start, sound.stamp_ns - picture.stamp_ns) for sound, picture in moved(player, after=S)]
    assert all(0 <= later - earlier <= ms(0.121) for (_, earlier), (_, later) in zip(trims, trims[1:], strict=False))
    assert all(abs(trim - min(at, 10 * S) * 2 // 1000) <= ms(0.1) for at, trim in trims)
    assert trims[-1][1] == player.engine.trim_ns == ms(20)
    assert player.drops() == {} and player.of(Repeat) == []


def test_a_trim_that_is_asked_for_again_and_again_is_followed_no_faster_and_no_slower() -> None:
    player = Player()
    player.pump()
    for number in range(1000):
        player.engine.trim(ms(50) + number % 2, player.now)
        player.advance_to(player.now + ms(7))
    assert abs(player.engine.trim_ns - ms(14)) < ms(0.1)


def test_a_driver_that_slept_for_an_hour_finds_no_step_in_the_trim() -> None:
    trim = Trim(2_000)
    trim.go_to(ms(100), 0)
    trim.slew(seconds(3600))
    assert trim.ns == ms(0.2)
    trim.go_to(-ms(100), seconds(7200))
    trim.slew(seconds(7200) + SLOT)
    assert trim.ns == 0, "it was on its way: the time since the last step counts, up to a tenth of a second"


def test_what_is_missing_is_missed_and_repeated_where_the_trimmed_picture_belongs() -> None:
    stories = []
    for trim in (0, ms(60)):
        player = trimmed(trim, until=4 * S, pictures=lambda pts: None if pts >= S else 0)
        start = player.presents(AUDIO)[0].at_ns
        steps = [player.of(Repeat)[0].at_ns, *(step.at_ns for step in player.of(Degrade))]
        stories.append(([at - start for at in steps], {repeat.stamp_ns - start for repeat in player.of(Repeat)}))
    (plain, plain_stamps), (early, early_stamps) = stories
    assert [before - after for before, after in zip(plain, early, strict=True)] == [ms(60)] * 3
    assert {stamp - ms(60) for stamp in plain_stamps} <= early_stamps


@pytest.mark.parametrize(
    ("trim_ms", "late_ms", "reason"),
    [(30, 20, Reason.DUE), (30, 60, Reason.LATE), (-30, 60, Reason.DUE), (-30, 90, Reason.LATE)],
)
def test_lateness_counts_against_the_trimmed_due_time(trim_ms: int, late_ms: int, reason: Reason) -> None:
    """A turn that begins with pictures 30 ms later gives them no less delay: what comes 60 ms late is 30 ms late."""
    held = 20 * FRAME

    def comes(pts: int) -> int | None:
        return DELAY + ms(late_ms) if pts == held else None if held < pts < held + ms(200) else 0

    player = trimmed(ms(trim_ms), until=2 * S, pictures=comes)
    sound, picture = next(pair for pair in moved(player) if pair[1].unit.pts_ns == held)
    assert picture.stamp_ns == sound.stamp_ns - ms(trim_ms)
    assert (picture.reason, picture.at_ns) == (reason, held + 60 * S + DELAY + ms(late_ms))


@pytest.mark.parametrize("trim_ms", [-60, 60])
def test_around_a_stall_of_the_voice_trimmed_stamps_stay_in_order_and_with_their_sound(trim_ms: int) -> None:
    player = trimmed(ms(trim_ms), until=3 * S, sound=lambda pts: ms(500) if pts >= S else 0)
    pairs = moved(player, after=ms(200))
    away = [sound.unit.pts_ns for sound, picture in pairs if sound.stamp_ns - picture.stamp_ns != ms(trim_ms)]
    assert all(S - ms(60) <= pts <= S + ms(60) for pts in away), "only what lay between the voice and its pictures"
    assert all(picture.at_ns - picture.stamp_ns <= ms(45) for _, picture in pairs)
    assert player.drops() == ({"late_newer": 1} if trim_ms > 0 else {}), "due 60 ms before the turn could begin"


def test_a_second_turn_begins_with_its_pictures_and_not_in_the_time_of_the_first() -> None:
    player = trimmed(ms(80), until=S)
    player.finish(0)
    player.advance_to(player.now + 10 * S)
    start = player.now
    speak(player, 3 * S, epoch=1, pts=2 * S)
    player.advance_to(player.now + S)
    late = [picture for _, picture in moved(player, after=2 * S) if picture.stamp_ns < start]
    assert late == [] and player.presents(VIDEO)[-1].unit.pts_ns == 3 * S - FRAME
    assert player.drops().get("stamp_order", 0) == 0 and player.drops()["late_newer"] == 2, "due before the turn began"


def test_pictures_that_cannot_come_that_early_make_the_voice_wait_once() -> None:
    """The trim grows in mid-turn beyond the turn's delay; nobody can be asked: the voice gives way, lips stay right."""
    player = trimmed(0, until=S)
    player.engine.trim(ms(100), player.now)
    speak(player, 70 * S, pts=S, start=player.now)
    tail = [pair for pair in moved(player) if pair[0].unit.pts_ns > 69 * S]
    assert all(sound.at_ns - picture.at_ns == pytest.approx(ms(100), abs=ms(46)) for sound, picture in tail)
    assert player.of(Degrade) == []


def test_a_video_master_waits_for_the_picture_of_the_trimmed_time() -> None:
    held = []
    for trim in (0, ms(60)):
        player = Player(AvSyncPolicy(master=Master.VIDEO), levers=())
        player.engine.trim(trim, 0)
        player.advance_to(40 * S)
        speak(player, 2 * S, pictures=lambda pts: None if pts >= S else 0)
        start = player.presents(AUDIO)[0].at_ns
        held.append(next(a.at_ns for a in player.of(InsertSilence) if a.reason is Reason.HOLD) - start)
    assert held[0] - held[1] == ms(60)


def test_the_source_is_asked_for_pictures_of_the_trimmed_time() -> None:
    requests = []
    for trim in (0, ms(60)):
        player = Player(levers={Want.SKIP_TO_PTS})
        player.engine.trim(trim, 0)
        player.advance_to(40 * S)
        speak(player, 2 * S, pictures=lambda pts: None if pts >= S else 0)
        start = player.presents(AUDIO)[0].at_ns
        first = next(a for _, a in player.answers if getattr(a, "want", None) is Want.SKIP_TO_PTS)
        requests.append((first.at_ns - start, first.value))
    assert requests[0][0] - requests[1][0] == ms(60), "missed earlier"
    assert requests[0][1] == requests[1][1], "and the same content asked for: it is needed earlier"


# ---- head start


@pytest.mark.parametrize("head_start_ms", [0, 15, 40])
def test_pictures_are_answered_the_head_start_before_they_are_due_and_stamped_as_ever(head_start_ms: int) -> None:
    player = Player()
    player.engine.picture_head_start(ms(head_start_ms), 0)
    player.pump()
    player.advance_to(S)
    speak(player, 2 * S)
    pairs = moved(player, after=ms(200))
    assert len(pairs) > 40
    for sound, picture in pairs:
        assert picture.stamp_ns == sound.stamp_ns == picture.at_ns + ms(head_start_ms)
        assert picture.reason is Reason.DUE
    assert player.drops() == {}


def test_with_a_head_start_lateness_counts_against_the_true_due() -> None:
    """It comes 40 ms after it could have gone to the encoder, 10 ms after it was due: on time, and nobody is asked."""
    player = Player()
    player.engine.picture_head_start(ms(30), 0)
    speak(player, 8 * S, pictures=lambda pts: DELAY + ms(10) if pts > S else 0)
    pairs = moved(player, after=S + FRAME)
    assert {picture.at_ns - sound.at_ns for sound, picture in pairs} == {ms(10)}
    assert {picture.reason for _, picture in pairs} == {Reason.DUE}
    assert player.ladder() == [] and player.drops() == {}


def test_while_the_voice_stands_no_picture_is_ahead_of_a_time_that_nobody_knows() -> None:
    player = Player()
    player.engine.picture_head_start(ms(40), 0)
    speak(player, 3 * S, sound=lambda pts: ms(700) if pts >= S else 0)
    stood = [p for p in player.presents(VIDEO) if S + DELAY < p.at_ns < S + ms(700)]
    assert stood == []
    away = {picture.stamp_ns - sound.stamp_ns for sound, picture in moved(player) if sound.unit.pts_ns > S}
    assert away == {0}


def test_head_start_and_tick_and_trim_add_up() -> None:
    player = Player(picture_tick_ns=ms(10))
    player.engine.trim(ms(20), 0)
    player.engine.picture_head_start(ms(12), 0)
    player.advance_to(20 * S)
    speak(player, 2 * S)
    away = {(s.at_ns - p.at_ns, s.stamp_ns - p.stamp_ns) for s, p in moved(player, after=ms(200))}
    assert away == {(ms(20 + 12 + 5), ms(20))}


# ---- who may ask for what, and that it is written down


@pytest.mark.parametrize("wrong", [ms(100) + 1, -ms(100) - 1, 0.5, None, True, "1"])
def test_a_trim_beyond_its_bounds_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(UsageError, match="trim_ns must be an int from -100000000 to 100000000"):
        AvSynchronizer().trim(wrong, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [ms(40) + 1, -1, 0.5, None, True])
def test_a_head_start_beyond_its_bounds_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(UsageError, match="head_start_ns must be an int from 0 to 40000000"):
        AvSynchronizer().picture_head_start(wrong, 0)  # type: ignore[arg-type]


def test_the_policy_says_how_far_and_how_fast() -> None:
    engine = AvSynchronizer(AvSyncPolicy(trim_max_ns=ms(5), picture_head_start_max_ns=0))
    for call in (lambda: engine.trim(ms(6), 0), lambda: engine.picture_head_start(1, 0)):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(UsageError, match="trim_slew_ppm"):
        AvSyncPolicy(trim_slew_ppm=100_001)


def test_time_goes_forward_for_these_calls_too() -> None:
    engine = AvSynchronizer()
    engine.trim(1, 5)
    for call in (lambda: engine.trim(2, 4), lambda: engine.picture_head_start(2, 4)):
        with pytest.raises(UsageError, match="backwards"):
            call()


def test_trim_and_head_start_are_recorded_and_replayed() -> None:
    lines: list[str] = []
    engine = Recorder(AvSynchronizer(), lines.append)
    for number in range(3000):
        now = number * SLOT
        if number == 100:
            engine.trim(ms(30), now)
            engine.picture_head_start(ms(15), now)
        if number == 200:
            for wrong in (10**30, 0.5):
                with pytest.raises(UsageError):
                    engine.trim(wrong, now)  # type: ignore[arg-type]
                with pytest.raises(UsageError):
                    engine.picture_head_start(wrong, now)  # type: ignore[arg-type]
        engine.push(MediaUnit(AUDIO, number, 0, now, SLOT), now)
        if number % 2 == 0:
            engine.push(MediaUnit(VIDEO, number, 0, now, FRAME), now)
        while engine.poll(now) is not None:
            pass
        engine.next_wakeup_ns()
    assert engine.trim_ns == ms(30)
    assert replay(lines).difference is None
    for word, field in (("trim", "trim_ns"), ("head_start", "head_start_ns")):
        at = next(n for n, line in enumerate(lines) if line.startswith(f'["{word}"'))
        without = lines[:at] + lines[at + 1 :]
        difference = replay(without).difference
        assert difference is not None, f"without {field} the answers are others"


def test_the_driver_hands_both_on() -> None:
    async def story(loop: object) -> None:
        engine, sink = AvSynchronizer(), Sink()
        async with AsyncioDriver(engine, on_answer=sink) as driver:
            driver.trim(ms(2))
            driver.picture_head_start(ms(20))
            await produce(driver, loop, 150)  # type: ignore[arg-type]
        last = sink.pictures()[-1]
        assert engine.trim_ns == ms(2)
        assert last.answer.stamp_ns - last.now_ns == ms(20)  # type: ignore[union-attr]

    run(story)


# ---- whatever happens


@given(
    steps=st.lists(
        st.one_of(
            STEPS.map(lambda steps: steps[:6]),
            st.tuples(st.just("trim"), st.integers(-100, 100)).map(lambda step: [step]),
            st.tuples(st.just("head_start"), st.integers(0, 40)).map(lambda step: [step]),
        ),
        max_size=10,
    ),
    tick=st.sampled_from([0, ms(33)]),
    paced=st.booleans(),
)
def test_with_any_trim_and_head_start_each_unit_ends_once_stamps_increase_and_timers_are_honest(
    steps: list[list[tuple[object, ...]]], tick: int, paced: bool
) -> None:
    # Fast enough that all of it is seen to move within such a history.
    player = Player(AvSyncPolicy(trim_slew_ppm=100_000), picture_tick_ns=tick)
    history = History(player, encoded=False, paced=paced)
    for some in steps:
        for step in some:
            if step[0] == "trim":
                player.engine.trim(ms(step[1]), player.now)  # type: ignore[arg-type]
            elif step[0] == "head_start":
                player.engine.picture_head_start(ms(step[1]), player.now)  # type: ignore[arg-type]
            else:
                for sane_step in sane([step]):  # type: ignore[list-item]
                    history.step(*sane_step)
    player.pump()
    for present in player.presents(VIDEO):
        assert present.at_ns >= present.stamp_ns - tick // 2 - ms(40) - SLOT // 2, "the head start, and not before"
    player.close()
    ended = [id(a.unit) for _, a in player.answers if isinstance(a, Present | Drop)]
    assert sorted(ended) == sorted(id(unit) for unit in player.pushed)
