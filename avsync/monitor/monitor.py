"""AvSyncMonitor: what is known about the offset between voice and lips, from observations alone.

It believes ``Presented`` (what a sink did, in the sink's time) and nothing else: answers of an
engine are only counted, so a monitor fed with wishes knows nothing rather than "0". UNKNOWN is
None, never 0: below 20 samples, and for current values once nothing has been seen for 2 s.

Here each argument is looked at; what is believed stands in ``avsync.monitor.watch``. This file stays Python in a
compiled build, for the reason told in ``avsync.engine.synchronizer``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from avsync.errors import UsageError, check_now
from avsync.monitor.belief import HOLD_NS, SETTLE_LAG_NS, SyncSample
from avsync.monitor.sync_report import SyncReport
from avsync.monitor.watch import UNIT_MAX_NS, Watch
from avsync.policy import AvSyncPolicy, policy_or_default
from avsync.types import AUDIO, MAX_PTS_NS, Alert, Answer, Basis, Heard, Presented

POINTS = ("output", "viewer")
_CONTENT = Heard.CONTENT  # looking a member up in its Enum takes 50 ns


class AvSyncMonitor:
    """One per point (``output``: what left us; ``viewer``: what a viewer heard and saw).

    ``observe`` each sound and picture when it is seen to leave; ``poll`` for alerts until None;
    ``report`` whenever somebody asks. ``on_sample`` gets every ``SyncSample`` once it is settled,
    0.1 to 0.3 s after its moment, in silence up to 10.3 s. Also told: ``count`` (an engine's answers, as counters),
    ``on_sender_report`` (where there are some: the receiver of a stream), and ``interrupt`` of an older epoch.

    ``ends_told`` False: behind somebody else's service nobody says where a turn ends. A voice that stops there is told
    as a stall once it goes on, after more than a second; before, it may as well be the end.
    """

    def __init__(
        self,
        policy: AvSyncPolicy | None = None,
        *,
        point: str,
        on_sample: Callable[[SyncSample], object] | None = None,
        settle_lag_ns: int = SETTLE_LAG_NS,
        ends_told: bool = True,
    ) -> None:
        if point not in POINTS:
            raise UsageError(f"point must be one of {POINTS}, got {point!r}")
        if type(settle_lag_ns) is not int or not 0 <= settle_lag_ns <= HOLD_NS:
            raise UsageError(f"settle_lag_ns must be an int from 0 to {HOLD_NS}, got {settle_lag_ns!r}")
        if type(ends_told) is not bool:
            raise UsageError(f"ends_told must be True or False, got {ends_told!r}")
        if on_sample is not None and not callable(on_sample):
            raise UsageError(f"on_sample must be a function of a SyncSample, got {on_sample!r}")
        self.policy = policy = policy_or_default(policy)
        self.point = point

        on_samples = None if on_sample is None else partial(_tell_each, on_sample)
        self._watch = Watch(
            policy, point=point, on_samples=on_samples, settle_lag_ns=settle_lag_ns, ends_told=ends_told
        )

    def observe(self, presented: Presented, now_ns: int) -> None:
        """What a sink did, as soon as it is known; late and out of order by up to ``settle_lag_ns``.

        A float, None or NaN where a time belongs is refused (``UsageError``).
        """
        watch = self._watch
        if type(now_ns) is not int or now_ns < watch.now_ns:
            check_now(now_ns, watch.now_ns)
        try:
            kind, epoch, pts_ns, duration_ns, at_ns, _, what = presented
        except (TypeError, ValueError):
            raise UsageError(f"presented must be a Presented, got {presented!r}") from None
        if type(at_ns) is not int or type(duration_ns) is not int or type(epoch) is not int:
            raise UsageError(f"at_ns, duration_ns and epoch must be ints, got {presented!r}")
        if pts_ns is None:
            if what is _CONTENT:
                raise UsageError(f"content has a pts_ns, got {presented!r}")
        elif type(pts_ns) is not int or not 0 <= pts_ns <= MAX_PTS_NS:
            raise UsageError(f"pts_ns must be an int from 0 to a year, got {presented!r}")
        if duration_ns < 0 or (duration_ns > UNIT_MAX_NS and kind is AUDIO and what is _CONTENT):
            raise UsageError(f"duration_ns must be >= 0 and a unit of sound at most a minute, got {presented!r}")
        watch.observe(presented, now_ns)

    def interrupt(self, epoch: int) -> None:
        """``epoch`` is the first one that counts: observations of an older one are ignored from here on."""
        if type(epoch) is not int:
            raise UsageError(f"epoch must be an int, got {epoch!r}")
        self._watch.interrupt(epoch)

    def count(self, answer: Answer) -> None:
        """Count what an engine decided. No wish says anything of the offset; ``stall_audio`` says: this is no end."""
        if not isinstance(answer, Answer):
            raise UsageError(f"answer must be one of an engine's, got {answer!r}")
        self._watch.count(answer)

    def on_sender_report(self, now_ns: int) -> None:
        """A sender report came. Told once at the start, it says that they are expected."""
        self._watch.on_sender_report(check_now(now_ns, self._watch.now_ns))

    def rests_on(self, basis: Basis) -> None:
        """What the PTS rest on from here on, as the receiver of a stream knows (``Ingress.basis``); reports say it."""
        if not isinstance(basis, Basis):
            raise UsageError(f"basis must be a Basis, got {basis!r}")
        self._watch.basis = basis

    def poll(self, now_ns: int) -> Alert | None:
        """The next alert, or None; costs next to nothing until the next evaluation (10 per second)."""
        return self._watch.poll(check_now(now_ns, self._watch.now_ns))

    def report(self, now_ns: int) -> SyncReport:
        """Everything believed at ``now_ns``; about a millisecond."""
        return self._watch.report(check_now(now_ns, self._watch.now_ns))


def _tell_each(on_sample: Callable[[SyncSample], object], samples: list[SyncSample]) -> None:
    for sample in samples:
        on_sample(sample)
