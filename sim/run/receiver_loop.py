"""The page of the viewer ``browser``, and who answers it: reports go back to the sender, receiver targets come.

What ``avsync/webrtc/static/viewer.js`` and a session do on a real connection, with the time that both take. The
other direction of the network has no impairments of its own: a report, and an answer, need the standing way.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from avsync.last_mile.receiver_balance import offset_of
from avsync.last_mile.receiver_target import ReceiverReport, ReceiverTarget, Shown, Targets
from avsync.policy import AvSyncPolicy
from avsync.units import ms, seconds
from sim.browser.browser import BrowserViewer
from sim.run.host import Host
from sim.run.leg import RtpSender
from sim.scenario.model import BrowserLevers

# As in avsync/webrtc/static/viewer.js.
REPORT_EVERY_NS: Final = seconds(1)
MOVE_EVERY_NS: Final = ms(100)
MOVE_BY_NS: Final = ms(5)
"""The pictures' target moves as fast as NetEq stretches a voice, so that they stay together on the way."""


class _Told(NamedTuple):
    """A report. ``shown`` and ``heard``: (RTP time, when) of pictures, and of the packet that was played last."""

    shown: list[tuple[int, int]]
    heard: tuple[int, int] | None
    asked_ns: int
    held_ns: int
    sound_held_ns: int
    claim_ns: int | None


class ReceiverLoop:
    """Runs by itself once made. ``way_ns``: what a report needs to the sender, and a target to the page.

    What the page has set by itself (``levers``) is the least that it asks for.
    """

    def __init__(
        self,
        us: Host,
        client: Host,
        browser: BrowserViewer,
        sender: RtpSender,
        policy: AvSyncPolicy,
        levers: BrowserLevers,
        way_ns: int,
    ) -> None:
        self._controller = ReceiverTarget(policy)
        self._us, self._client, self._browser, self._sender, self._way_ns = us, client, browser, sender, way_ns
        self._least_sound_ns, self._least_picture_ns = ms(levers.sound_target_ms), ms(levers.picture_target_ms)
        self._sound_ns = self._goal_ns = 0  # what the controller asked for last
        self._asked_ns = 0  # what is asked of the pictures' receiver meanwhile
        if policy.receiver_target_max_ns:
            client.env.after(REPORT_EVERY_NS, self._report)

    def _report(self, _nothing: None) -> None:
        client, browser = self._client, self._browser
        client.env.after(REPORT_EVERY_NS, self._report)
        if client.env.now < client.asleep_until_ns:
            return
        browser.advance(client.now_ns())
        told = _Told(
            browser.take_shown(), browser.heard, self._asked_ns, browser.picture_target_ns,
            browser.sound_held_ns, browser.sync_offset_ns,
        )  # fmt: skip
        client.env.after(self._way_ns, self._answer, told)

    def _answer(self, told: _Told) -> None:
        """The report has come; the sender knows what it sent."""
        shown = told.shown
        pictures = self._sender.sent_pictures(rtp for rtp, _ in shown)
        seen = tuple(
            Shown(sent[0], at_ns, sent[1]) for sent, (_, at_ns) in zip(pictures, shown, strict=True) if sent is not None
        )
        report = ReceiverReport(
            seen, told.held_ns, told.asked_ns, told.sound_held_ns, self._offset_ns(seen, told.heard), told.claim_ns
        )
        if self._controller.take(report, self._us.now_ns()):
            self._us.env.after(self._way_ns, self._obey, self._controller.targets)

    def _offset_ns(self, seen: tuple[Shown, ...], heard: tuple[int, int] | None) -> int | None:
        """What the sender makes of it: how much sooner the voice is heard than pictures of its output time are seen."""
        if heard is None or not seen:
            return None
        heard_after_ns = heard[1] - self._sender.sound_stamp_ns(heard[0])
        return offset_of((each.at_ns - each.stamp_ns for each in seen), heard_after_ns)

    def _obey(self, targets: Targets) -> None:
        still = self._asked_ns == self._goal_ns
        self._sound_ns, target_ns = targets
        self._goal_ns = target_ns
        if still:
            if target_ns > self._asked_ns:  # from where it is, not from nothing
                self._asked_ns = min(max(self._asked_ns, self._browser.picture_target_ns), target_ns)
            self._move(None)

    def _move(self, _nothing: None) -> None:
        self._asked_ns += max(-MOVE_BY_NS, min(MOVE_BY_NS, self._goal_ns - self._asked_ns))
        self._browser.set_targets_ns(
            max(self._sound_ns, self._least_sound_ns), max(self._asked_ns, self._least_picture_ns)
        )
        if self._asked_ns != self._goal_ns:
            self._client.env.after(MOVE_EVERY_NS, self._move)
