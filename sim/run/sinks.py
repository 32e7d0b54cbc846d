"""Sinks: what a device does besides obeying, and how well a viewer's page can see what it did.

A ``Sink`` may be late, and may say another time than the true one, so that tests can tell truth
from belief. An ``Observer`` adds the errors that every page has; docs/observation.md tells where
its numbers come from. Neither is ever seen by the truth but through what really left.
"""

from __future__ import annotations

from typing import Final

from avsync.monitor.watch import Watch
from avsync.types import AUDIO, Heard, Presented
from avsync.units import NS_PER_S, SOUND_HZ
from sim.rng import substream
from sim.run.host import Host
from sim.truth.truth import PresentationLog

REFRESH_HZ: Final = 60
"""Of a screen whose refreshes the viewer's program is not told: it knows a moment to half of one."""
SOUND_CLOCK_NS: Final = 128 * NS_PER_S // SOUND_HZ
"""An audio clock advances by render quanta of 128 samples: a reading is off by up to this, either way."""

_IDLE: Final = Heard.IDLE
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class Sink:
    """Late by ``..._late_ns``; what it reports is off by ``..._lie_ns`` besides (-late: it claims not to be late)."""

    __slots__ = ("picture_late_ns", "picture_lie_ns", "sound_late_ns", "sound_lie_ns")

    def __init__(
        self, *, sound_late_ns: int = 0, picture_late_ns: int = 0, sound_lie_ns: int = 0, picture_lie_ns: int = 0
    ) -> None:
        self.sound_late_ns, self.picture_late_ns = sound_late_ns, picture_late_ns
        self.sound_lie_ns, self.picture_lie_ns = sound_lie_ns, picture_lie_ns


class LatePresentations:
    """The presentation log of a viewer whose sink is late: what is written leaves later."""

    __slots__ = ("_presented", "_sink")

    def __init__(self, presented: PresentationLog, sink: Sink) -> None:
        self._presented, self._sink = presented, sink

    def heard(self, at_ns: int, duration_ns: int, ref: int, from_ns: int, span_ns: int) -> None:
        self._presented.heard(at_ns + self._sink.sound_late_ns, duration_ns, ref, from_ns, span_ns)

    def shown(self, at_ns: int, ref: int) -> None:
        self._presented.shown(at_ns + self._sink.picture_late_ns, ref)


class Observer:
    """Tells a viewer's monitor what can be seen there: pictures by refresh, sound by the audio clock.

    ``names_refresh``: pictures come on screen at refreshes, and the page is told at which. Else the grid of refreshes
    lies anywhere against the moments at which they come.
    """

    __slots__ = ("_draws", "_host", "_monitor", "_names", "_phase", "_picture_lie_ns", "_picture_ns", "_sound_ns")

    def __init__(self, monitor: Watch, sink: Sink, seed: int, host: Host, *, names_refresh: bool) -> None:
        self._monitor, self._host, self._names = monitor, host, names_refresh
        self._draws = substream(seed, "viewer.observe")
        self._phase = self._draws.below(NS_PER_S // REFRESH_HZ)

        self._sound_ns = sink.sound_late_ns + sink.sound_lie_ns
        self._picture_ns, self._picture_lie_ns = sink.picture_late_ns - self._phase, sink.picture_lie_ns + self._phase

    def __call__(self, presented: Presented) -> None:
        kind, epoch, pts_ns, duration_ns, at_ns, source, what = presented
        if epoch < 0:  # our server knows that it had nothing to say under that stamp
            epoch, what = 0, _IDLE
        if kind is AUDIO:
            at_ns += self._sound_ns + self._draws.between_ns(-SOUND_CLOCK_NS, SOUND_CLOCK_NS)
        else:
            at_ns += self._picture_ns
            if not self._names:  # the middle of a refresh is taken for the moment: half of one is the most it is off
                at_ns = (at_ns * REFRESH_HZ + NS_PER_S // 2) // NS_PER_S * NS_PER_S // REFRESH_HZ
            at_ns += self._picture_lie_ns
        seen = _new(Presented, (kind, epoch, pts_ns, duration_ns, at_ns, source, what))
        host = self._host
        self._monitor.observe(seen, host.now_ns() if host.ppm else host.env.now)
