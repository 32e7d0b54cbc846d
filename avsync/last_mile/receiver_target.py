"""ReceiverTarget: how long both receivers of one viewer should hold what they get (``jitterBufferTarget``).

A browser holds pictures for no longer than most of them need. One that is lost is sent again a round trip
later: the screen stands, the voice goes on, and lips are late until it is there. Only a longer hold of
both streams mends that, and only the viewer sees how long it must be: a picture that stood for 150 ms
beyond its time would have been in time with 150 ms more.

It goes by the time in which lips were late, not by single pictures: the shortest target with which the last
twenty seconds would have had no more than 3.5 % of it. A single outage is no spread: what was needed fewer than
four times, or was late by half a second, is left alone. It grows at once, and shrinks by a tenth after
half a minute without a late picture; where that was too much, it tries again after twice the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from avsync.errors import check_now
from avsync.last_mile.receiver_balance import ReceiverBalance, Seen
from avsync.policy import AvSyncPolicy
from avsync.units import FAR_NS, ms, seconds

WINDOW_NS: Final = seconds(20)
"""What was needed this long ago is needed now."""
MOST_SHOWN: Final = 2_400
"""Of 120 pictures a second. The window goes by the page's clock, and a page may say what it likes."""
LATE_NS: Final = ms(30)
"""Lips that are late by less are not late: two refreshes of the screen, and below what can be seen (BT.1359: 45)."""
ALLOWED_PER_MILLE: Final = 35
"""Of the window may be later than that. A p95 leaves 50, and the time in which the target moves needs some of it."""
EVENTS: Final = 4
"""What is needed less often in the window is no spread: a packet that was lost twice, one outage."""
OUTAGE_NS: Final = ms(500)
"""A picture that is later than this is no picture that was sent again: the line stood, for the voice as well."""
QUICK_NS: Final = ms(20)
"""A refresh of the screen: pictures this close to the quickest were not late."""
STEP_NS: Final = ms(10)
"""NetEq decides in steps of 10 ms."""
QUIET_NS: Final = seconds(30)
"""So long without a late picture: then it may be less."""
QUIET_MAX_NS: Final = seconds(240)
SHRINK_BY: Final = 10
"""A tenth at a time: where it was too much, lips are late by less than what can be seen."""


class Shown(NamedTuple):
    """A picture that came on screen: its output time, and the page's.

    ``next_ns``: from when on the one after it could be shown: its output time, or when it left if that was later, so
    that what our own source was late by is not taken for the way's; None: none was sent yet.
    """

    stamp_ns: int
    at_ns: int
    next_ns: int | None


class ReceiverReport(NamedTuple):
    """What one report says of the receivers.

    ``held_ns``: for how long its picture buffer holds. ``asked_ns``: the target in force on its pictures' receiver;
    None: this browser has no such lever. ``sound_held_ns``, ``offset_ns``, ``claim_ns``: see ``Seen``.
    """

    shown: tuple[Shown, ...]
    held_ns: int | None
    asked_ns: int | None
    sound_held_ns: int | None = None
    offset_ns: int | None = None
    claim_ns: int | None = None


class Targets(NamedTuple):
    """What the two receivers are asked to hold at least."""

    sound_ns: int
    picture_ns: int


class _Seen(NamedTuple):
    """``way_ns``: from output time to the screen, without the hold."""

    shown: Shown
    hold_ns: int
    way_ns: int


class ReceiverTarget:
    """One per viewer. ``take`` each report as it comes; ``targets`` is what its page should ask for.

    ``target_ns`` is for both; where the ways of sound and pictures differ, one of them is asked for more.
    """

    def __init__(self, policy: AvSyncPolicy) -> None:
        self._max_ns = policy.receiver_target_max_ns
        self._balance = ReceiverBalance(self._max_ns)
        self.target_ns = 0
        self.moved_ns: int | None = None
        """When targets were changed last, or were on their way."""
        self.supported: bool | None = None
        """Whether the viewer's browser has the lever; None: it has not said."""
        self._now_ns = -FAR_NS
        self._asked_ns = 0  # in force, as the page said last
        self._last: Shown | None = None
        self._hold_ns = 0  # at the report before
        self._usual_ns: int | None = None  # of the report before: the shortest way
        self._unsure: list[_Seen] = []  # nothing as quick came after these yet
        # Of each picture: when it came (page), for how long it was up, and the hold that the next one needed.
        self._stood: deque[tuple[int, int, int]] = deque(maxlen=MOST_SHOWN)
        self._late_at_ns: int | None = None
        self._aimed_at_ns: int | None = None
        self._quiet_ns = QUIET_NS
        self._shrunk_ns: int | None = None

    def take(self, report: ReceiverReport, now_ns: int) -> bool:
        """Whether ``targets`` are others now."""
        self._now_ns = check_now(now_ns, self._now_ns)
        self.supported = report.asked_ns is not None
        if not self._max_ns or report.asked_ns is None:
            return False
        if report.asked_ns != self._asked_ns:
            self._asked_ns, self.moved_ns = report.asked_ns, now_ns
        hold_ns = max(report.asked_ns, report.held_ns or 0)
        self._look(report, hold_ns, now_ns)
        if self._aim(hold_ns, now_ns):
            self._balance.reset(now_ns)
        elif not self._balance.take(
            Seen(report.offset_ns, report.claim_ns, report.sound_held_ns, report.held_ns), now_ns
        ):
            return False
        self.moved_ns = now_ns
        return True

    @property
    def targets(self) -> Targets:
        """What the page should ask of its receivers."""
        balance = self._balance
        return Targets(max(self.target_ns, balance.sound_ns), max(self.target_ns, balance.picture_ns))

    def _aim(self, hold_ns: int, now_ns: int) -> bool:
        """Whether both should hold longer, or may hold less."""
        wanted_ns = self._wanted_ns(max(self.target_ns, hold_ns))
        if wanted_ns is not None:
            if self._shrunk_ns is not None and now_ns - self._shrunk_ns < QUIET_NS:
                self._quiet_ns = min(2 * self._quiet_ns, QUIET_MAX_NS)
            self._shrunk_ns = None
            self.target_ns, self._aimed_at_ns = wanted_ns, now_ns
            return True
        since_ns = max(at for at in (self._aimed_at_ns, self._late_at_ns, -FAR_NS) if at is not None)
        if self.target_ns and now_ns - since_ns >= self._quiet_ns:
            less_ns = self.target_ns - max(STEP_NS, self.target_ns // SHRINK_BY)
            self._shrunk_ns = now_ns
            self.target_ns, self._aimed_at_ns = max(0, less_ns // STEP_NS * STEP_NS), now_ns
            return True
        return False

    def settled(self, now_ns: int, for_ns: int) -> bool:
        """Whether the target stood still for this long."""
        return self.moved_ns is None or now_ns - self.moved_ns >= for_ns

    def _look(self, report: ReceiverReport, hold_ns: int, now_ns: int) -> None:
        """How long each picture stood, and with which hold its successor would have been there in time."""
        placed = self._placed(report.shown, hold_ns)
        if not placed:
            return
        seen = self._unsure + placed
        # The way without spread: what was usual before, or what is usual after, whichever is longer. So a route that
        # becomes longer or shorter for good is none. What comes after the last quick picture is judged with the next.
        usual_ns = [each.way_ns for each in seen]
        for place in range(len(seen) - 2, -1, -1):
            usual_ns[place] = min(usual_ns[place], usual_ns[place + 1])
        sure = max(place for place, each in enumerate(seen) if each.way_ns <= usual_ns[-len(placed)] + QUICK_NS)
        before_ns, last, stood = self._usual_ns, self._last, self._stood
        for each, after_ns in zip(seen[: sure + 1], usual_ns, strict=False):
            before_ns = each.way_ns if before_ns is None else min(before_ns, each.way_ns)
            shown = each.shown
            if last is not None and last.next_ns is not None:
                need_ns = shown.at_ns - last.next_ns - max(before_ns, after_ns)
                stood.append((shown.at_ns, shown.at_ns - last.at_ns, need_ns))
                if LATE_NS < need_ns - each.hold_ns <= OUTAGE_NS:
                    self._late_at_ns = now_ns
            last = shown
        self._last, self._unsure = last, seen[sure + 1 :]
        self._usual_ns = min(each.way_ns for each in seen[: sure + 1])
        while stood and stood[0][0] < seen[sure].shown.at_ns - WINDOW_NS:
            stood.popleft()

    def _placed(self, shown: Sequence[Shown], hold_ns: int) -> list[_Seen]:
        """Each with the hold that it had: the page goes from one to the next evenly."""
        before_ns, self._hold_ns = self._hold_ns, hold_ns
        if not shown:
            return []
        first_ns, span_ns = shown[0].at_ns, max(1, shown[-1].at_ns - shown[0].at_ns)
        holds = [before_ns + (hold_ns - before_ns) * (each.at_ns - first_ns) // span_ns for each in shown]
        return [
            _Seen(each, held_ns, each.at_ns - each.stamp_ns - held_ns)
            for each, held_ns in zip(shown, holds, strict=True)
        ]

    def _wanted_ns(self, hold_ns: int) -> int | None:
        """The shortest target above the hold there is that leaves few enough late lips; None: they are few enough."""
        stood = self._stood
        late = sorted((need_ns, stood_ns) for _, stood_ns, need_ns in stood if LATE_NS < need_ns - hold_ns <= OUTAGE_NS)
        if len(late) < EVENTS:
            return None
        most_ns = min(late[-EVENTS][0], self._max_ns)  # what was needed once or twice is no spread
        allowed_ns = (stood[-1][0] - stood[0][0]) * ALLOWED_PER_MILLE // 1_000
        target_ns = hold_ns
        while target_ns < most_ns:
            over_ns = sum(min(stood_ns, max(0, need_ns - target_ns - LATE_NS)) for need_ns, stood_ns in late)
            if over_ns <= allowed_ns:
                break
            target_ns += STEP_NS
        target_ns = min(-(-target_ns // STEP_NS) * STEP_NS, self._max_ns)
        return target_ns if target_ns > hold_ns else None
