"""AvSynchronizer against arbitrary histories: whatever happens in whatever order, its promises hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.types import AUDIO, MAX_PTS_NS, VIDEO, Drop, Kind, MediaUnit, Present, Repeat, Request, Want
from avsync.units import ms, seconds
from tests.engine.engine_driver import Player

NONSENSE = [float("nan"), float("inf"), -1, -(10**40), 10**40, MAX_PTS_NS + 1, None, True, "0", 1.0]

POLICIES = st.sampled_from(
    [
        AvSyncPolicy(),
        AvSyncPolicy(playout_delay_ns=0, start_wait_video_ns=0),
        AvSyncPolicy(audio_queue_units=4, video_queue_units=3),
        AvSyncPolicy(slot_ns=ms(10), playout_delay_ns=ms(300)),
        AvSyncPolicy(master=Master.VIDEO),
        *(AvSyncPolicy.preset(name) for name in ("video_master", "dtx_as_stall")),
        *(AvSyncPolicy.preset(name) for name in ("pass_through", "fps_paced", "arrival_delay", "two_clocks")),
    ]
)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.integers(1, 30), st.sampled_from(["both", "sound", "pictures"])),
        st.tuples(st.just("lose"), st.integers(1, 4), st.sampled_from([AUDIO, VIDEO])),
        st.tuples(st.just("again"), st.integers(1, 6), st.sampled_from([AUDIO, VIDEO])),
        st.tuples(st.just("pause"), st.integers(0, 60), st.booleans()),
        st.tuples(st.just("far"), st.sampled_from([AUDIO, VIDEO]), st.integers(-40, 4000)),
        st.tuples(st.just("bad"), st.sampled_from([AUDIO, VIDEO]), st.sampled_from(NONSENSE)),
        st.tuples(st.just("odd"), st.sampled_from([AUDIO, VIDEO]), st.sampled_from([0, 1, ms(7), ms(500), ms(20_000)])),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, ms(1), ms(19), ms(100), ms(700), seconds(12)]), st.none()),
        st.tuples(st.just("sleep"), st.sampled_from([0, 1, ms(21), ms(500), seconds(3), seconds(7200)]), st.none()),
        st.tuples(st.just("poll"), st.integers(0, 5), st.none()),
        st.tuples(st.just("interrupt"), st.integers(1, 3), st.none()),
        st.tuples(st.just("turn"), st.integers(0, ms(200)), st.none()),
        st.tuples(st.just("finish"), st.sampled_from([AUDIO, VIDEO, None]), st.none()),
    ),
    min_size=8,
    max_size=60,
)


class History:
    """Carries out steps on a ``Player``, as a source would that keeps the PTS contract except where it says not."""

    def __init__(self, player: Player, *, encoded: bool, paced: bool) -> None:
        self.player, self.encoded, self.paced = player, encoded, paced
        self.epoch = self.oldest = 0
        self.next = {AUDIO: 0, VIDEO: 0}
        self.frames = 0
        self.seq = 0
        self.floor = {AUDIO: -1, VIDEO: -1}

    def unit(self, kind: Kind, pts: Any, *, lasts: int | None = None, pause: bool = False) -> None:
        if lasts is None:
            lasts = ms(20) if kind is AUDIO else ms(40)
        self.seq += 1
        key = not self.encoded or kind is AUDIO or self.frames % 10 == 0
        raw = not self.encoded or kind is AUDIO or (self.frames % 2 == 1 and not key)
        if kind is VIDEO:
            self.frames += 1
        unit = MediaUnit(kind, self.seq, self.epoch, pts, lasts, 100, key, raw, pause)
        if self.paced:
            self.player.push(unit)
        else:
            self.player.pushed.append(unit)
            self.player.engine.push(unit, self.player.now)
            self.player.dry = False

    def say(self, kind: Kind, **odd: Any) -> None:
        pts = self.next[kind]
        self.next[kind] = pts + (ms(20) if kind is AUDIO else ms(40))
        self.unit(kind, pts, **odd)

    def step(self, what: str, first: Any, second: Any) -> None:
        player = self.player
        match what:
            case "speak":
                for index in range(first):
                    if second != "pictures":
                        self.say(AUDIO)
                    if second != "sound" and index % 2 == 0:
                        self.say(VIDEO)
                    if self.paced:
                        player.advance_to(player.now + ms(20))
            case "lose":
                self.next[second] += first * (ms(20) if second is AUDIO else ms(40))
            case "again":
                width = ms(20) if second is AUDIO else ms(40)
                self.unit(second, max(0, self.next[second] - first * width))
            case "pause":
                self.say(AUDIO, pause=True)
                for kind in (AUDIO, VIDEO):
                    self.next[kind] += first * ms(40)
                if second:
                    player.advance_to(player.now + first * ms(40))
            case "far":
                self.unit(first, max(0, self.next[first] + seconds(second)))
            case "bad":
                self.unit(first, second)
            case "odd":
                self.say(first, lasts=second)
            case "advance":
                player.advance_to(player.now + first)
            case "sleep":
                player.sleep_to(player.now + first)
            case "poll":
                for _ in range(first):
                    answer = player.engine.poll(player.now)
                    if answer is not None:
                        player._note(answer)
            case "interrupt":
                self.epoch += first
                self.oldest = self.epoch
                player.engine.interrupt(self.epoch, player.now)
                player.dry = False
                self._cut()
            case "turn":
                self.epoch += 1
                self._cut(first)
            case "finish":
                for kind in (AUDIO, VIDEO) if first is None else (first,):
                    player.engine.finish(kind, self.epoch, player.now)
                player.dry = False

    def _cut(self, gap: int = 0) -> None:
        self.next = dict.fromkeys(self.next, max(self.next.values()) + gap)
        self.frames = 0


def play(
    policy: AvSyncPolicy, steps: list[tuple[str, Any, Any]], *, network: bool, encoded: bool, paced: bool, tick: int
) -> tuple[Player, list[tuple[int, int]]]:
    player = Player(policy, network=network, picture_tick_ns=tick)
    history = History(player, encoded=encoded, paced=paced)
    cuts: list[tuple[int, int]] = []  # (answers given before, oldest epoch since)
    for what, first, second in steps:
        history.step(what, first, second)
        cuts.append((len(player.answers), history.oldest))
    player.pump()
    player.close()
    return player, cuts


HISTORY = given(
    policy=POLICIES, steps=STEPS, network=st.booleans(), encoded=st.booleans(), paced=st.booleans(),
    tick=st.sampled_from([0, ms(10), ms(33)]),
)  # fmt: skip


@HISTORY
def test_each_unit_ends_once_stamps_increase_slots_tile_and_timers_are_honest(
    policy: AvSyncPolicy, steps: list[tuple[str, Any, Any]], network: bool, encoded: bool, paced: bool, tick: int
) -> None:
    # The player itself checks stamps, slots and timers after every poll.
    player, cuts = play(policy, steps, network=network, encoded=encoded, paced=paced, tick=tick)
    ended = Counter(id(each.unit) for each in player.of(Present) + player.of(Drop))
    assert ended == Counter(id(unit) for unit in player.pushed)
    assert player.engine.queued_units == 0 and player.engine.poll(player.now) is None
    if policy.epochs:
        oldest_since = dict(cuts)
        oldest = 0
        for index, (_, answer) in enumerate(player.answers):
            oldest = max(oldest, oldest_since.get(index, 0))
            if isinstance(answer, Present | Repeat):
                assert answer.epoch >= oldest and answer.unit.epoch == answer.epoch


def sane(steps: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """Without what breaks the PTS contract: then the sound itself says which content leaves when."""
    return [step for step in steps if step[0] not in ("far", "odd", "again", "bad")]


@HISTORY
def test_no_picture_leaves_before_the_sound_of_the_same_content(
    policy: AvSyncPolicy, steps: list[tuple[str, Any, Any]], network: bool, encoded: bool, paced: bool, tick: int
) -> None:
    if policy.pacing is not Pacing.CONTENT_CLOCK:
        policy = AvSyncPolicy()
    player, _ = play(policy, sane(steps), network=network, encoded=encoded, paced=paced, tick=tick)
    # Ahead by half a tick, and by what the clock may be off while less than half a slot is slewed.
    assert all(offset >= -(tick // 2) - policy.slot_ns // 2 for offset in player.offsets())
    for present in player.presents(VIDEO):
        assert present.at_ns >= present.stamp_ns - tick // 2 - policy.slot_ns // 2


@HISTORY
def test_queues_never_hold_more_than_the_policy_allows(
    policy: AvSyncPolicy, steps: list[tuple[str, Any, Any]], network: bool, encoded: bool, paced: bool, tick: int
) -> None:
    policy = replace(policy, audio_queue_units=5, video_queue_units=3)
    player = Player(policy, network=network, picture_tick_ns=tick)
    history = History(player, encoded=encoded, paced=paced)
    for what, first, second in steps:
        history.step(what, first, second)
        assert player.engine.queued_units <= 8 and player.engine.queued_pictures <= 3


@given(
    kind=st.sampled_from([AUDIO, VIDEO]),
    at=st.integers(0, 99),
    far=st.integers(-(10**18), 10**18) | st.integers(-seconds(12), seconds(12)),
    network=st.booleans(),
)
def test_one_stamp_anywhere_never_derails_the_rest(kind: Kind, at: int, far: int, network: bool) -> None:
    player = Player(network=network)
    for n in range(200):
        player.advance_to(n * ms(20))
        player.sound(n * ms(20))
        if n % 2 == 0:
            player.picture(n * ms(20))
        if n == at:
            player.push(MediaUnit(kind, 0, 0, n * ms(20) + far, ms(20)))
    player.advance_to(seconds(8))
    late = {p.unit.pts_ns: p.at_ns - p.unit.pts_ns for p in player.presents(AUDIO) if p.unit.seq}
    assert abs(late[199 * ms(20)] - late[0]) <= ms(21), "at most its own length"
    offsets = {p.unit.pts_ns: p.at_ns - p.unit.pts_ns - late.get(p.unit.pts_ns, 0) for p in player.presents(VIDEO)}
    assert abs(offsets[198 * ms(20)]) <= ms(21)


@given(
    late=st.lists(st.sampled_from([0, 0, 0, 1, 3, 8, 20, 45]), min_size=20, max_size=150),
    group=st.integers(2, 60),
    droppable=st.lists(st.booleans(), min_size=1, max_size=20),
    interrupts=st.sets(st.integers(3, 149), min_size=1, max_size=4),
    levers=st.sampled_from([(), (Want.KEYFRAME,)]),
)
def test_coded_pictures_are_never_shown_without_what_they_depend_on(
    late: list[int], group: int, droppable: list[bool], interrupts: set[int], levers: tuple[Want, ...]
) -> None:
    """The sound is on time. Pictures come in their order, each ``late`` frames or when the one before came; whoever
    makes them gives a key frame every ``group``, whatever is interrupted. Nothing is told apart by luck: each example
    has a picture that others need, and that an interrupt cuts off, in the queue or on its way."""
    first = min(interrupts)
    late += [0] * max(0, first + 10 - len(late))
    player = Player(levers=levers)
    at = 0
    arrivals: list[tuple[int, int, MediaUnit | None]] = []
    epoch = 0
    for n, later in enumerate(late):
        if n in interrupts:
            epoch += 1
            arrivals.append((n * ms(40) - ms(10), -1, None))
        at = max(at, n + later)
        key = n % group == 0
        raw = droppable[n % len(droppable)] and not key and n != first - 1  # which waits, or is still to come
        arrivals.append((at * ms(40), n, MediaUnit(VIDEO, n, epoch, n * ms(40), ms(40), 100, key, raw)))
    epoch = spoken = 0
    for at, _, unit in sorted(arrivals, key=lambda one: one[:2]):
        for n in range(spoken, min(at // ms(40) + 1, len(late))):  # the voice is always on time
            player.advance_to(n * ms(40))
            whose = sum(1 for each in interrupts if each <= n)
            player.burst([(AUDIO, n * ms(40)), (AUDIO, n * ms(40) + ms(20))], epoch=whose)
            spoken = n + 1
        player.advance_to(max(player.now, at))
        if unit is None:
            epoch += 1
            player.interrupt(epoch)
        else:
            player.push(unit)
    player.advance_to(player.now + seconds(3))
    player.close()
    needed = whole = False
    shown = {id(present.unit) for present in player.presents(VIDEO)}
    for unit in (unit for unit in player.pushed if unit.kind is VIDEO):
        whole = whole or unit.is_key
        if id(unit) in shown:
            assert whole
        elif not unit.droppable:
            whole, needed = False, True
    assert needed, "an example without a picture that others needed shows nothing"
    asked = [request for request in player.of(Request) if request.want is Want.KEYFRAME]
    assert bool(asked) == bool(levers)
