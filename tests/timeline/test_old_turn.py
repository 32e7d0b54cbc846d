"""The old turn: after an interrupt nothing of it passes and nothing of the reply is lost, as far as packets tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.policy import AvSyncPolicy
from avsync.timeline.ingress import DECIDED, HELD_PICTURES, HELD_SOUNDS, Ingress
from avsync.timeline.old_turn import HELD, NEW, OLD, OldTurn
from avsync.types import AUDIO, VIDEO, Drop, DropReason, Kind, MediaUnit
from avsync.units import ms, ns_to_ticks, seconds
from tests.engine.engine_driver import FRAME, SLOT

DELAY = ms(60)
NTP = seconds(3_900_000_000)
Media = tuple[str, int]  # the turn it was said in, and when


@dataclass
class Provider:
    """Says turns, numbered and stamped by its own clock; an interrupt reaches it at once.

    ``turns``: name, start and end (ms). ``interrupts`` (ms): the n-th is the engine's epoch n. ``jitter`` (ms): of each
    packet in turn, over and over; ``hold``: from when to when (ms) the line lets nothing through; ``lost``: sounds, by
    their number. ``acknowledged``: when (ms) it says, of which epoch, what it has sent last.
    """

    turns: list[tuple[str, int, int]]
    interrupts: list[int]
    jitter: list[int] = field(default_factory=lambda: [0])
    hold: tuple[int, int] = (0, 0)
    lost: frozenset[int] = frozenset()
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    reports_from: int | None = 0  # ms; None: there are none
    picture_late: int = 0
    idle: tuple[int, int] = (0, 0)  # pictures without sound, from when to when (ms)
    passed: dict[Kind, list[Media]] = field(default_factory=lambda: {AUDIO: [], VIDEO: []})
    arrived: dict[Kind, list[Media]] = field(default_factory=lambda: {AUDIO: [], VIDEO: []})
    dropped: list[Drop] = field(default_factory=list)

    def run(self) -> Provider:
        self.ingress = ingress = Ingress(AvSyncPolicy(), acknowledges=bool(self.acknowledged))
        number = 0
        epoch = 0
        for now, _, what, value in sorted(self._events(), key=lambda one: one[:2]):
            unit: MediaUnit | Drop | None = None
            match what:
                case "sound":
                    number, media = value
                    self.arrived[AUDIO].append(media)
                    rtp, seq = self._rtp(AUDIO, media[1]), (65_530 + number) & 0xFFFF
                    unit = ingress.on_sound(rtp, SLOT, now, seq16=seq, payload=media)
                case "picture":
                    self.arrived[VIDEO].append(value)
                    unit = ingress.on_picture(self._rtp(VIDEO, value[1]), FRAME, now, payload=value)
                case "report":
                    for kind in (AUDIO, VIDEO):
                        ingress.on_sender_report(kind, NTP + value, self._rtp(kind, value), now)
                case "interrupt":
                    epoch += 1
                    ingress.interrupt(epoch, now, round_trip_ns=2 * DELAY)
                case "acknowledged":
                    of, sound, picture = value
                    ingress.acknowledged(of, now, last_sound_rtp32=sound, last_picture_rtp32=picture)
            while unit is not None:
                self._take(unit, epoch)
                unit = None
            while (held := ingress.poll()) is not None:
                self._take(held, epoch)
        return self

    def _take(self, unit: MediaUnit | Drop, epoch: int) -> None:
        if isinstance(unit, Drop):
            assert unit.reason is DropReason.QUARANTINE and unit.unit.epoch < epoch
            self.dropped.append(unit)
        else:
            assert unit.epoch == epoch
            self.passed[unit.kind].append(unit.payload)

    def _events(self) -> list[tuple[int, int, str, object]]:
        events: list[tuple[int, int, str, object]] = []
        sounds = pictures = 0
        last = {AUDIO: -1, VIDEO: -1}
        ends = []
        for name, start, end in self.turns:
            for at in range(ms(start), ms(end), SLOT):
                if sounds not in self.lost:
                    events.append((self._arrival(at, sounds), 1, "sound", (sounds, (name, at))))
                sounds += 1
                last[AUDIO] = at
            for at in range(ms(start), ms(end), FRAME):
                came = self._arrival(at + ms(self.picture_late), pictures + 7)
                events.append((came, 2, "picture", (name, at)))
                pictures += 1
                last[VIDEO] = at
            ends.append((ms(end), dict(last)))
        if self.reports_from is not None:
            reports = range(ms(self.reports_from), ends[-1][0], ms(500))
            events += [(self._arrival(at, 0), 3, "report", at) for at in reports]
        events += [(at + DELAY, 2, "picture", ("idle", at)) for at in range(ms(self.idle[0]), ms(self.idle[1]), FRAME)]
        events += [(ms(at), 0, "interrupt", None) for at in self.interrupts]
        for at, of in self.acknowledged:
            before = [stamps for end, stamps in ends if end <= ms(at)]
            sent = before[-1] if before else {AUDIO: -1, VIDEO: -1}
            stamps = tuple(self._rtp(kind, sent[kind]) for kind in (AUDIO, VIDEO))
            events.append((self._arrival(ms(at), 3), 4, "acknowledged", (of, *stamps)))
        return events

    def _arrival(self, sent: int, number: int) -> int:
        came = sent + DELAY + ms(self.jitter[number % len(self.jitter)])
        start, end = self.hold
        return ms(end) + (came - ms(start)) // 1_000_000 if ms(start) <= came <= ms(end) else came

    def _rtp(self, kind: Kind, at: int) -> int:
        return (4_294_960_000 + ns_to_ticks(at, 48_000 if kind is AUDIO else 90_000)) & 0xFFFF_FFFF

    def between(self) -> list[Media]:
        """What passed of turns that were interrupted before a reply was heard."""
        first, last = self.turns[0][0], self.turns[-1][0]
        return [media for passed in self.passed.values() for media in passed if media[0] not in (first, last)]

    def missed(self) -> int:
        """Sound of the reply that came and did not pass."""
        reply = self.turns[-1][0]
        came = [media for media in self.arrived[AUDIO] if media[0] == reply]
        return len(came) - sum(1 for media in self.passed[AUDIO] if media[0] == reply)


def old_sound(provider: Provider) -> list[Media]:
    return [media for media in provider.passed[AUDIO] if media[0] == "old"]


@pytest.mark.parametrize("gap", [40, 60, 119, 400])
@pytest.mark.parametrize("hold", [(0, 0), (1800, 2600), (1950, 4900)])
def test_a_gap_in_rtp_time_parts_the_turns_however_the_line_hangs(gap: int, hold: tuple[int, int]) -> None:
    call = Provider([("old", 0, 2300), ("reply", 2300 + gap, 6000)], [2000], hold=hold).run()
    assert max(at for _, at in old_sound(call)) < ms(2000)
    assert call.missed() == 0 and call.ingress._old_turn.ended_by == "gap"
    shown = [at for name, at in call.passed[VIDEO] if name == "reply"]
    assert shown[0] == ms(2300 + gap) and len(shown) == len(range(2300 + gap, 6000, 40)), "and so do its pictures"


def test_a_provider_that_never_pauses_is_believed_some_time_after_what_it_had_sent() -> None:
    call = Provider([("old", 0, 9000)], [2000]).run()
    again = [at for _, at in old_sound(call) if at > ms(2000)]
    assert ms(4400) <= again[0] <= ms(4500) and call.ingress._old_turn.ended_by == "limit"
    overtaking = Provider([("old", 0, 9000)], [2000], jitter=[45, 0]).run()
    again = [at for _, at in old_sound(overtaking) if at > ms(2000)]
    assert min(again) == again[0] and ms(4400) <= again[0] <= ms(4500)
    held = Provider([("old", 0, 9000)], [2000], hold=(1500, 4700)).run()
    again = [at for _, at in old_sound(held) if at > ms(2000)]
    assert ms(4400) <= again[0] <= ms(4500), "a line that hangs takes nothing from it"


def test_a_queue_that_holds_seconds_of_the_old_turn_does_not_make_it_the_reply() -> None:
    """The way became 5 s longer, packet by packet, before somebody interrupted."""
    jitter = [min(n * 10, 5000) for n in range(1000)]
    call = Provider([("old", 0, 11_000), ("reply", 11_400, 16_000)], [10_900], jitter=jitter).run()
    assert all(at < ms(7300) for _, at in old_sound(call)) and call.missed() == 0


def test_pictures_that_are_labelled_far_ahead_are_the_old_turns_until_their_stamps_go_back() -> None:
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, 0, SLOT, 0, False)
    old_turn.start(ms(10), picture_pts_ns=seconds(6))
    assert old_turn.picture(0, ms(6040), FRAME, ms(20), placed=True) == HELD, "no limit is reached"
    assert old_turn.sound(1, 9600, ms(400), SLOT, ms(400), False) == NEW
    told = [old_turn.picture(0, at, FRAME, ms(410), placed=True) for at in (ms(6040), ms(6080), ms(400), ms(440))]
    assert told == [OLD, OLD, NEW, NEW]


def test_a_line_that_hung_before_anything_came_tells_two_replies_apart() -> None:
    """Interrupted twice before a packet came: what lets go at once holds both gaps, and only the second is the one."""
    turns = [("old", 0, 400), ("unheard", 500, 800), ("reply", 900, 4000)]
    call = Provider(turns, [350, 780], hold=(0, 1400)).run()
    assert call.between() == [] and old_sound(call) == [] and call.missed() == 0


@pytest.mark.parametrize("jitter", [[0], [45, 0, 20, 70, 5]])
def test_a_reply_that_was_interrupted_as_it_began_is_the_old_turn_too(jitter: list[int]) -> None:
    turns = [("old", 0, 2000), ("unheard", 2060, 2300), ("reply", 2400, 5000)]
    call = Provider(turns, [2000, 2080], jitter=jitter).run()
    assert call.between() == [] and call.missed() == 0


def test_a_newest_packet_that_was_slow_does_not_make_the_old_turn_end_sooner() -> None:
    turns = [("old", 0, 2000), ("unheard", 2060, 2300), ("reply", 2400, 5000)]
    call = Provider(turns, [2000, 2080], jitter=[0] * 90 + [70] * 200).run()
    assert call.between() == [] and call.missed() == 0


def test_packets_that_overtake_each_other_at_the_gap_stay_on_their_sides() -> None:
    turns = [("old", 0, 2000), ("reply", 2040, 5000)]
    jitter = [0] * 250
    jitter[99] = 95  # the old turn's last
    jitter[100:103] = [90, 90, 90]  # the reply's first three
    call = Provider(turns, [1900], jitter=jitter, picture_late=100).run()
    assert all(at < ms(1900) for _, at in old_sound(call)) and call.missed() == 0
    assert next(at for name, at in call.passed[VIDEO] if name == "reply") == ms(2040)
    last_late = Provider(turns, [1900], jitter=[95 * (n == 99) for n in range(250)]).run()
    assert all(at < ms(1900) for _, at in old_sound(last_late)) and last_late.missed() == 0


def test_pictures_without_sound_are_shown_again_some_time_after_the_interrupt() -> None:
    """A provider shows its avatar idle between turns, and says nothing: no gap ever comes."""
    for word in ([], [(7990, 9)]):
        call = Provider([("old", 0, 2000), ("reply", 9000, 9500)], [1900], idle=(2000, 8900), acknowledged=word).run()
        shown = [at for name, at in call.passed[VIDEO] if name == "idle"]
        assert shown[0] // ms(100) == (68 if word else 43) and shown[-1] > ms(8800)


def test_a_pause_that_the_provider_marks_ends_it_too() -> None:
    ingress = Ingress(AvSyncPolicy())
    ingress.on_sound(0, SLOT, 0, seq16=0)
    ingress.interrupt(1, ms(10))
    marked = [(n, n not in (3, 4)) for n in range(1, 15)]  # two loud ones among them
    passed = [
        n for n, pause in marked
        if isinstance(ingress.on_sound(n * 960, SLOT, n * SLOT, seq16=n, pause=pause), MediaUnit)
    ]  # fmt: skip
    assert passed == [10, 11, 12, 13, 14], "the sixth in a row: 120 ms"


def test_long_after_the_reply_began_where_it_began_means_nothing() -> None:
    """A clock step of the provider's places its pictures 800 ms earlier."""
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, 0, SLOT, 0, False)
    old_turn.start(ms(10))
    assert old_turn.sound(1, 9600, ms(200), SLOT, ms(200), False) == NEW
    assert old_turn.picture(0, ms(20), FRAME, ms(300), placed=True) == OLD
    assert old_turn.picture(0, ms(20), FRAME, seconds(6), placed=True) == NEW


def test_an_acknowledgement_parts_turns_without_any_gap_also_where_it_comes_late_or_early() -> None:
    turns = [("old", 0, 2300), ("reply", 2300, 5000)]
    for jitter in ([0], [0, 0, 0, 80], [80, 60, 70, 0, 20]):  # the fourth is the message's
        call = Provider(turns, [2000], jitter=jitter, acknowledged=[(2300, 1)]).run()
        assert max(at for _, at in old_sound(call)) < ms(2000) and call.missed() == 0
        assert next(at for name, at in call.passed[VIDEO] if name == "reply") == ms(2300)
        assert call.ingress._old_turn.ended_by == "acknowledged"


def test_the_word_on_another_interrupt_ends_nothing() -> None:
    turns = [("old", 0, 2500), ("reply", 2500, 5000)]
    call = Provider(turns, [2000, 2200], acknowledged=[(2300, 1), (2500, 2)]).run()
    assert max(at for _, at in old_sound(call)) < ms(2000) and call.missed() == 0
    before = Ingress(AvSyncPolicy(), acknowledges=True)
    before.acknowledged(0, 0, last_sound_rtp32=5, last_picture_rtp32=5)
    assert isinstance(before.on_sound(3, SLOT, 0, seq16=0), MediaUnit), "nobody was interrupted"


def test_a_word_that_never_comes_is_not_waited_for_for_ever() -> None:
    call = Provider([("old", 0, 12_000)], [2000], acknowledged=[(11_990, 9)]).run()
    again = [at for _, at in old_sound(call) if at > ms(2000)]
    assert ms(6900) <= again[0] <= ms(7000)
    late = Provider([("old", 0, 12_000)], [2000], jitter=[45, 0], acknowledged=[(11_990, 9)], picture_late=9000).run()
    again = [at for _, at in old_sound(late) if at > ms(2000)]
    assert ms(6900) <= again[0] <= ms(7000) and min(again) == again[0], "without any picture"
    assert sum(drop.unit.kind is VIDEO for drop in call.dropped) > 100 and len(call.ingress._held) <= HELD_PICTURES


def test_without_reports_pictures_of_the_old_turn_are_told_by_their_own_gap() -> None:
    """They come 300 ms after their sound, and nothing says so: by arrival they look like the reply's."""
    turns = [("old", 0, 7000), ("reply", 7300, 9000)]
    call = Provider(turns, [6800], reports_from=None, picture_late=300).run()
    assert [at for name, at in call.passed[VIDEO] if name == "old" and at >= ms(6500)] == []
    assert next(at for name, at in call.passed[VIDEO] if name == "reply") == ms(7300)


def test_pictures_wait_for_the_first_report_while_the_call_is_young() -> None:
    turns = [("old", 0, 900), ("reply", 940, 4000)]  # a gap that pictures of 40 ms do not show
    call = Provider(turns, [700], reports_from=1400, picture_late=200).run()
    assert next(at for name, at in call.passed[VIDEO] if name == "reply") == ms(940)
    assert [at for name, at in call.passed[VIDEO] if name == "old" and at > ms(500)] == []


def test_a_source_that_begins_again_at_other_numbers_is_not_the_old_turn() -> None:
    ingress = Ingress(AvSyncPolicy())
    ingress.on_sound(0, SLOT, 0, seq16=40_000)
    ingress.interrupt(1, ms(10))
    assert isinstance(ingress.on_sound(9_600, SLOT, ms(200), seq16=40_001), MediaUnit)
    for n in range(5):  # a new connection
        at = seconds(60) + n * SLOT
        assert isinstance(ingress.on_sound(ns_to_ticks(at, 48_000), SLOT, at, seq16=20_000 + n), MediaUnit)
    ingress.interrupt(2, seconds(61))
    assert isinstance(ingress.on_sound(ns_to_ticks(seconds(62), 48_000), SLOT, seconds(62), seq16=20_005), MediaUnit)


def test_stamps_that_go_back_are_as_good_as_a_gap() -> None:
    """A provider that ran 2 s ahead is interrupted, and its reply is stamped by the wall clock."""
    ingress = Ingress(AvSyncPolicy())
    for n in range(200):
        ingress.on_sound(n * 960, SLOT, n * ms(10), seq16=n)
    ingress.interrupt(1, seconds(2))
    assert isinstance(ingress.on_sound(200 * 960, SLOT, ms(2010), seq16=200), Drop)
    reply = [ingress.on_sound((120 + n) * 960, SLOT, ms(2400) + n * SLOT, seq16=201 + n) for n in range(20)]
    assert all(isinstance(unit, MediaUnit) for unit in reply)


@given(
    pushes=st.integers(0, 100).map(lambda n: n * SLOT // ms(1)),
    gap=st.integers(40, 1500),
    jitter=st.lists(st.integers(0, 100), min_size=1, max_size=23),
    hold=st.tuples(st.integers(-1200, 800), st.integers(0, 2000)),
    lost=st.frozensets(st.integers(90, 260), max_size=20),
    again=st.none() | st.integers(0, 1000),
    acknowledges=st.booleans(),
)
def test_whatever_the_line_does_no_old_sound_passes_and_none_of_the_reply_is_lost(
    pushes: int, gap: int, jitter: list[int], hold: tuple[int, int], lost: frozenset[int], again: int | None,
    acknowledges: bool,
) -> None:  # fmt: skip
    """``again``: a second interrupt, so many ms after the first, and before its reply has begun. Packets are ``lost``,
    and others overtake each other by up to 100 ms. With a word of the provider's the gap may be any."""
    gap = gap - 40 if acknowledges else gap
    interrupts = [3000] if again is None else [3000, 3000 + min(again, pushes + gap - 1)]
    end = interrupts[-1] + pushes
    end -= end % 20
    call = Provider(
        [("old", 0, end), ("reply", end + gap, end + gap + 2000)], interrupts, jitter=jitter,
        hold=(3000 + hold[0], 3000 + hold[0] + hold[1]), lost=lost,
        acknowledged=[(end, len(interrupts))] if acknowledges else [],
    ).run()  # fmt: skip
    assert all(at < ms(3000) for _, at in old_sound(call))
    assert all(at < ms(3000) for name, at in call.passed[VIDEO] if name == "old")
    assert call.missed() == 0


@pytest.mark.parametrize(("begins", "heard"), [(720, True), (480, False)])
def test_a_turn_that_begins_after_an_interrupt_of_nothing_is_no_old_turn(begins: int, heard: bool) -> None:
    """Nothing had come. What may have been under way is the old turn, also where it jitters."""
    call = Provider([("old", begins, begins + 700), ("reply", begins + 900, 5000)], [500], jitter=[73, 0, 30]).run()
    assert call.missed() == 0 and len(old_sound(call)) == (35 if heard else 0)
    slow = Provider([("old", 480, 1200), ("reply", 1400, 5000)], [500], jitter=[73]).run()
    assert slow.missed() == 0 and old_sound(slow) == []
    slow = Provider([("old", 480, 1200), ("reply", 1400, 5000)], [500], jitter=[73], hold=(500, 720)).run()
    assert slow.missed() == 0 and old_sound(slow) == [], "all of them: nobody knows that the way takes less"
    hung = Provider([("old", 300, 900), ("reply", 1000, 5000)], [500], hold=(300, 1800)).run()
    assert hung.missed() == 0 and old_sound(hung) == []


def test_stamps_that_overlap_a_little_leave_the_overlap_to_the_old_turn() -> None:
    """Units of 60 ms, and a reply that begins inside the last one: no picture shows that stamps went back."""
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, 0, ms(60), 0, False)
    old_turn.start(ms(10), picture_pts_ns=0)
    assert old_turn.sound(1, 0, ms(15), ms(60), ms(30), False) == NEW
    told = [old_turn.picture(0, at, FRAME, ms(40), placed=True) for at in (ms(40), ms(55), ms(80), ms(120))]
    assert told == [OLD, OLD, NEW, NEW]


def test_a_provider_that_once_ran_far_ahead_is_not_waited_for_so_long() -> None:
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, seconds(20), SLOT, 0, False)  # a backlog, at the call's beginning
    for n in range(1, 1600):
        now = seconds(20) + n * SLOT
        if n == 50:
            old_turn.start(now)
        verdict = old_turn.sound(n, 0, now, SLOT, now, False)
        if n >= 50 and verdict == NEW:
            break
    assert ms(2500) <= now - seconds(21) <= ms(2600), "it kept pace for a second: nothing waits on the way"


def heard_after_turns(way: list[tuple[int, int]], jitter: list[int]) -> int:
    """After how much of a reply without any gap it is heard (ms): it goes on with the old turn's stamps.

    ``way``: from which content (ms) on packets take how much longer (ms). The interrupt comes at 9 s of content.
    """
    old_turn = OldTurn(acknowledges=False)
    for n in range(1000):
        at = n * SLOT
        took = max((took for start, took in way if ms(start) <= at), default=0)
        now = at + DELAY + ms(took) + ms(jitter[n % len(jitter)])
        if n == 450:
            old_turn.start(now)
        if old_turn.sound(n, 0, at, SLOT, now, False) == NEW and n >= 450:
            return (at - seconds(9)) // ms(1)
    raise AssertionError("never heard")


@pytest.mark.parametrize("jitter", [[0], [150, 0, 90, 20, 150, 60, 10]])
@pytest.mark.parametrize("talked", [300, 1200, 3000])
def test_stamps_that_stood_still_while_nobody_spoke_are_no_queue(talked: int, jitter: list[int]) -> None:
    """A track that sends only while it talks: after silences of 20 s, a turn is interrupted, and 300 ms go on."""
    way = [(2000, 3000), (9000 - talked, 20_000), (9300, 20_800)]
    assert heard_after_turns(way, jitter) <= 2700
    assert heard_after_turns(way[:-1], jitter) <= 2700, "the reply comes at once"


def test_a_slow_clock_of_the_senders_makes_no_queue_either() -> None:
    """0.5 %, for 17 minutes: the way seems 5 s longer, and stays as long as it is."""
    old_turn = OldTurn(acknowledges=False)
    for n in range(60_000):
        now = n * (SLOT + ms(0.1))
        if n == 50_000:
            old_turn.start(now)
        if old_turn.sound(n, 0, n * SLOT, SLOT, now, False) == NEW and n >= 50_000:
            break
    assert (n - 50_000) * SLOT <= ms(2600)


@pytest.mark.parametrize("faster", [125, 200, 1000])
def test_a_line_that_hung_and_lets_go_slowly_still_holds_the_old_turn(faster: int) -> None:
    """It hung for 4 s just before the interrupt, and what waited on it comes in ``faster`` % of the pace."""
    slowly = [(at, max(4000 - (at - 8000) * (faster - 100) // faster, 0)) for at in range(8000, 20_000, 20)]
    old_turn = OldTurn(acknowledges=False)
    for n in range(1000):
        at = n * SLOT
        now = at + DELAY + ms(slowly[n - 400][1] if n >= 400 else 0)
        if n == 440:
            began = now
            old_turn.start(now)
        if old_turn.sound(n, 0, at, SLOT, now, False) == NEW and n >= 440:
            break
    assert at >= began - DELAY + ms(2500), "what was said up to the interrupt, and the limit"


def told(packets: list[tuple[int, bool, bool]]) -> list[int]:
    """Of the packets after an interrupt: how long each is (ms), whether it comes, whether it is a marked pause."""
    old_turn = OldTurn(acknowledges=False)
    at, verdicts = 0, []
    for n, (length, comes, pause) in enumerate([(20, True, False)] * 50 + packets):
        if n == 50:
            old_turn.start(at)
        if comes:
            verdict = old_turn.sound(n, 0, at, ms(length), at, pause)
            verdicts += [verdict] if n >= 50 else []
        at += ms(length)
    return verdicts


SHORT, LONG, MARK = (20, True, False), (60, True, False), (100, True, True)
LOST, LOST_LONG = (20, False, False), (60, False, False)


@pytest.mark.parametrize(
    "packets",
    [
        [LONG, LONG, LOST_LONG, SHORT],
        [SHORT, LOST, LOST, LOST, LONG],
        [SHORT, LONG, SHORT, LOST_LONG, SHORT],
        [SHORT, LOST, LOST, (40, True, False)],
        [SHORT, LOST, MARK],
        [MARK, LOST, SHORT],
    ],
)
def test_a_packet_that_is_lost_beside_one_of_another_length_is_no_gap(packets: list[tuple[int, bool, bool]]) -> None:
    assert set(told([SHORT] * 5 + packets + [SHORT] * 20)) == {OLD}


def test_a_marked_pause_that_ends_sooner_than_it_said_is_no_step_back_and_one_before_the_mark_is() -> None:
    for back, verdict in ((80, OLD), (140, NEW)):
        old_turn = OldTurn(acknowledges=False)
        for n in range(10):
            old_turn.sound(n, 0, n * SLOT, SLOT, n * SLOT, False)
        old_turn.start(10 * SLOT)
        assert old_turn.sound(10, 0, 10 * SLOT, ms(100), 10 * SLOT, True) == OLD
        assert old_turn.sound(11, 0, 10 * SLOT + ms(100 - back), SLOT, 15 * SLOT, False) == verdict


@pytest.mark.parametrize(("gap", "verdict"), [(30, OLD), (40, NEW), (200, NEW)])
def test_a_gap_beside_a_lost_packet_of_another_length_is_still_one(gap: int, verdict: int) -> None:
    """The old turn's packets are of 60 ms, the reply's of 20, and the last of the old turn's is lost."""
    old_turn = OldTurn(acknowledges=False)
    for n in range(10):
        old_turn.sound(n, 0, n * ms(60), ms(60), n * ms(60), False)
    old_turn.start(ms(540))
    at = ms(660 + gap)
    assert old_turn.sound(11, 0, at, SLOT, at, False) == verdict


@pytest.mark.parametrize("marked", [0, 1])
def test_the_length_of_a_marked_pause_hides_no_gap(marked: int) -> None:
    """A packet is lost beside a marked pause of 100 ms, which is the last of the old turn's or the reply's first."""
    old_turn = OldTurn(acknowledges=False)
    lengths, at = [SLOT] * 10, 0
    lengths[-1] = SLOT if marked else ms(100)
    for n, length in enumerate(lengths):
        old_turn.sound(n, 0, at, length, at, length != SLOT)
        if n == 5:
            old_turn.start(at)
        at += length
    at += SLOT + ms(60)
    assert old_turn.sound(11, 0, at, ms(100) if marked else SLOT, at, bool(marked)) == NEW


def test_a_step_back_into_a_long_packet_is_one_also_where_others_are_short() -> None:
    old_turn = OldTurn(acknowledges=False)
    for n in range(10):
        old_turn.sound(n, 0, n * SLOT, SLOT if n < 9 else ms(60), n * SLOT, False)
    old_turn.start(ms(190))
    assert old_turn.sound(10, 0, 9 * SLOT + ms(15), SLOT, ms(260), False) == NEW


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("ends_by", ["marker", "limit"])
def test_how_the_turn_before_ended_means_nothing_for_the_pictures_of_the_next(ends_by: str, placed: bool) -> None:
    """The first old turn ended with stamps 1.5 s back; the second by a marker, or by its pictures' limit."""
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, seconds(2), SLOT, 0, False)
    old_turn.start(ms(10), picture_pts_ns=seconds(2))
    assert old_turn.sound(1, 0, ms(520), SLOT, ms(20), False) == NEW
    assert old_turn.picture(0, ms(520), FRAME, ms(30), placed=placed) == NEW
    for n in range(2, 400):
        old_turn.sound(n, 0, ms(500) + n * SLOT, SLOT, n * SLOT, False)
    now, at = seconds(8), ms(8500)
    old_turn.start(now, picture_pts_ns=at - FRAME)
    if ends_by == "marker":
        old_turn.marker(now)
    else:
        assert old_turn.picture(0, at, FRAME, now, placed=placed) == HELD
        at, now = at + seconds(3), now + seconds(3)
    told = [old_turn.picture(0, at + n * FRAME, FRAME, now + n * FRAME, placed=placed) for n in range(100)]
    assert set(told) == {NEW} and old_turn.ended_by == ends_by


def test_a_marker_soon_after_stamps_went_back_is_believed_of_the_pictures_too() -> None:
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, seconds(2), SLOT, 0, False)
    old_turn.start(ms(10), picture_pts_ns=seconds(2))
    assert old_turn.sound(1, 0, ms(520), SLOT, ms(20), False) == NEW
    old_turn.start(ms(40), picture_pts_ns=ms(520))
    old_turn.marker(ms(40))
    assert {old_turn.picture(0, ms(560) + n * FRAME, FRAME, ms(60), placed=True) for n in range(50)} == {NEW}


def test_sound_that_is_overtaken_by_a_marker_stays_old_also_where_the_turn_before_ended_with_a_gap() -> None:
    old_turn = OldTurn(acknowledges=False)
    old_turn.sound(0, 0, 0, SLOT, 0, False)
    old_turn.start(ms(10))
    assert old_turn.sound(2, 0, ms(540), SLOT, ms(540), False) == NEW
    old_turn.start(ms(550))
    old_turn.marker(ms(550))
    assert old_turn.sound(1, 0, ms(520), SLOT, ms(560), False) == OLD


@pytest.mark.parametrize("reports_from", [0, None])
def test_a_word_that_is_lost_takes_no_short_reply_with_it(reports_from: int | None) -> None:
    """It is shorter than what is waited for. Reports come also while nobody speaks; else the next turn lets it go."""
    turns = [("old", 0, 2300), ("reply", 2600, 5600)]
    turns.append(("nothing", 9000, 9000) if reports_from == 0 else ("next", 65_000, 67_000))
    call = Provider(turns, [2000], acknowledged=[(100, 9)], reports_from=reports_from).run()
    heard = [at for name, at in call.passed[AUDIO] if name == "reply"]
    assert heard == list(range(ms(2600), ms(5600), SLOT))
    assert max(at for _, at in old_sound(call)) < ms(2000) and call.missed() == 0
    assert call.ingress._old_turn.ended_by == "limit"


def test_a_word_that_comes_ends_the_old_turn_and_no_gap_before_it() -> None:
    turns = [("old", 0, 2300), ("old", 2400, 6500), ("reply", 6500, 9000)]
    call = Provider(turns, [2000], acknowledged=[(6500, 1)]).run()
    assert max(at for _, at in old_sound(call)) < ms(2000) and call.missed() == 0
    assert call.ingress._old_turn.ended_by == "acknowledged"


def test_a_gap_that_was_on_its_way_at_the_interrupt_is_not_the_one_where_a_word_is_lost() -> None:
    """The line hung: what it lets go at once holds a gap of before the interrupt, and the reply's."""
    turns = [("old", 0, 1600), ("old", 1700, 2300), ("reply", 2600, 5600), ("next", 9000, 10_000)]
    call = Provider(turns, [2000], hold=(1500, 2900), acknowledged=[(100, 9)]).run()
    assert [at for _, at in old_sound(call) if at > ms(1500)] == [] and call.missed() == 0
    assert len([at for name, at in call.passed[AUDIO] if name == "reply"]) == 150


def test_a_word_that_is_lost_where_stamps_go_back_leaves_what_was_held_on_its_side() -> None:
    """A provider that ran 2 s ahead is interrupted and says 200 ms more; its reply is stamped by the wall clock."""
    ingress, passed = Ingress(AvSyncPolicy(), acknowledges=True), []

    def take(unit: MediaUnit | Drop | None) -> None:
        passed.extend([unit.payload] if isinstance(unit, MediaUnit) else [])
        while (held := ingress.poll()) is not None:
            passed.extend([held.payload] if isinstance(held, MediaUnit) else [])

    for n in range(200):
        take(ingress.on_sound(n * 960, SLOT, n * ms(10), seq16=n, payload=n))
    ingress.interrupt(1, seconds(2))
    for n in range(200, 210):
        take(ingress.on_sound(n * 960, SLOT, seconds(2) + n, seq16=n, payload=n))
    for n in range(210, 360):
        take(ingress.on_sound((n - 90) * 960, SLOT, ms(2400) + (n - 210) * SLOT, seq16=n, payload=n))
    ingress.on_sender_report(AUDIO, NTP, 270 * 960, seconds(8))
    take(None)
    assert passed == [*range(200), *range(210, 360)]


def test_pictures_that_go_on_let_a_short_reply_go_where_a_word_is_lost() -> None:
    turns = [("old", 0, 2300), ("reply", 2600, 5600), ("nothing", 12_000, 12_000)]
    call = Provider(turns, [2000], idle=(5600, 11_900), acknowledged=[(100, 9)], reports_from=None).run()
    heard = [at for name, at in call.passed[AUDIO] if name == "reply"]
    assert heard == list(range(ms(2600), ms(5600), SLOT)) and call.ingress._old_turn.ended_by == "limit"


def test_a_word_that_is_lost_after_two_interrupts_of_what_had_not_come_leaves_the_second_reply() -> None:
    turns = [("old", 0, 400), ("unheard", 500, 800), ("reply", 900, 3000), ("next", 20_000, 21_000)]
    call = Provider(turns, [350, 780], hold=(0, 1400), acknowledged=[(100, 9)]).run()
    assert {name for name, _ in call.passed[AUDIO]} == {"reply", "next"} and call.missed() == 0


def test_an_old_packet_that_is_very_late_lets_the_reply_go_and_stays_old() -> None:
    ingress = Ingress(AvSyncPolicy(), acknowledges=True)
    ingress.on_sound(0, SLOT, 0, seq16=0)
    ingress.interrupt(1, ms(10))
    assert ingress.on_sound(9600, SLOT, ms(200), seq16=2) is None
    assert isinstance(ingress.on_sound(960, SLOT, ms(5300), seq16=1), Drop)
    assert isinstance(ingress.poll(), MediaUnit) and ingress.poll() is None


def test_a_step_back_before_an_interrupt_does_not_part_what_comes_after_it() -> None:
    old_turn = OldTurn(acknowledges=True)
    old_turn.sound(0, 0, seconds(2), SLOT, 0, False)
    old_turn.start(ms(10))
    assert old_turn.sound(1, 0, ms(20), SLOT, ms(20), False) == HELD
    old_turn.start(ms(30))
    assert old_turn.sound(2, 0, ms(40), SLOT, ms(40), False) == HELD
    assert not old_turn.gives_up(seconds(7)) and old_turn.on


def test_where_nobody_asks_what_became_of_what_was_held_it_is_not_kept_for_ever() -> None:
    """A provider whose stamps stand, and one that is interrupted every second."""
    for step, interrupts in ((0, 1), (960, 1000)):
        ingress = Ingress(AvSyncPolicy(), acknowledges=True)
        ingress.on_sound(0, SLOT, 0, seq16=0)
        for n in range(1, 6000):
            if n % 50 == 1 and n // 50 < interrupts:
                ingress.interrupt(n // 50 + 1, n * SLOT)
            assert ingress.on_sound(n * step, SLOT, n * SLOT, seq16=n & 0xFFFF, payload=n) is None
        assert len(ingress._decided) == DECIDED and len(ingress._held) <= HELD_SOUNDS
        newest = ingress._held[0][2].payload - 1
        assert isinstance(first := ingress.poll(), Drop) and first.unit.payload == newest - DECIDED + 1


@pytest.mark.parametrize(("sound_at", "passes"), [(110, False), (400, True)])
def test_pictures_that_were_held_are_decided_once_the_sound_is_known_not_to_be_numbered(
    sound_at: int, passes: bool
) -> None:
    """An interrupt before anything came, and pictures before the first sound: those of the first 120 ms are old."""
    ingress = Ingress(AvSyncPolicy())
    ingress.interrupt(1, 0)
    came = range(100, sound_at, 40)
    assert [ingress.on_picture(at * 90, FRAME, ms(at)) for at in came] == [None] * len(came)
    sound = ingress.on_sound(0, SLOT, ms(sound_at))
    told = [ingress.poll() for _ in came]
    assert [isinstance(unit, MediaUnit) for unit in told] == [at > 120 for at in came]
    assert isinstance(sound, MediaUnit) == passes and ingress.poll() is None and not ingress._held


def test_sound_that_was_held_is_the_old_turns_if_the_one_behind_it_without_a_number_is() -> None:
    ingress = Ingress(AvSyncPolicy(), acknowledges=True)
    ingress.on_sound(0, SLOT, 0, seq16=0)
    ingress.interrupt(1, ms(10))
    assert ingress.on_sound(960, SLOT, ms(20), seq16=1) is None
    assert isinstance(ingress.on_sound(1920, SLOT, ms(40)), Drop)
    assert isinstance(ingress.poll(), Drop) and not ingress._held


@pytest.mark.parametrize("word_at", [2300, 2700])
@pytest.mark.parametrize("jump", [-(2**30), 2**30, 2**31 - 5, -48_000 * 60, 0])
def test_a_provider_that_begins_its_stamps_again_with_the_reply_is_believed_when_it_says_so(
    jump: int, word_at: int
) -> None:
    """The old turn's last is of 2.2 s; the word comes before the reply, which begins at 2.5 s, or after its first.

    It is not the first time: its stamps began anew at 1 s, too.
    """
    ingress, passed = Ingress(AvSyncPolicy(), acknowledges=True), []
    stamps: dict[Kind, dict[int, int]] = {AUDIO: {}, VIDEO: {}}
    for at in range(0, 5000, 20):
        now = ms(at) + DELAY
        if at == 2000:
            ingress.interrupt(1, now)
        if at == word_at:
            ingress.acknowledged(1, now, last_sound_rtp32=stamps[AUDIO][2200], last_picture_rtp32=stamps[VIDEO][2200])
        units = []
        if at <= 2200 or at >= 2500:
            for kind in (AUDIO, VIDEO) if at % 40 == 0 else (AUDIO,):
                stamp = 4_294_900_000 + at * (48 if kind is AUDIO else 90) + (jump if at >= 2500 else 0)
                stamp = (stamp + (-777_000_000 if at >= 1000 else 0)) & 0xFFFF_FFFF
                stamps[kind][at] = stamp
                if kind is AUDIO:
                    units.append(ingress.on_sound(stamp, SLOT, now, seq16=at // 20, payload=(kind, at)))
                else:
                    units.append(ingress.on_picture(stamp, FRAME, now, payload=(kind, at)))
        while (held := ingress.poll()) is not None:
            units.append(held)
        passed += [unit for unit in units if isinstance(unit, MediaUnit)]
    for kind, step in ((AUDIO, 20), (VIDEO, 40)):
        heard = sorted(unit.payload[1] for unit in passed if unit.kind is kind)
        assert heard == [at for at in range(0, 5000, step) if at < 2000 or at >= 2500]
    ahead = [unit.pts_ns - ms(unit.payload[1]) for unit in passed]
    assert max(ahead) - min(ahead) <= ms(1), "and where it belongs"
