"""How stories about the monitor are told: streams of observations, and a monitor under a driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from avsync.monitor.belief import SyncSample
from avsync.monitor.monitor import AvSyncMonitor
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, VIDEO, Alert, Heard, ObservedBy, Presented
from avsync.units import FAR_NS, ms

SLOT, FRAME = ms(20), ms(40)


def sound(
    at_ns: int, pts_ns: int | None, epoch: int = 0, what: Heard = Heard.CONTENT, duration_ns: int = SLOT
) -> Presented:
    return Presented(AUDIO, epoch, pts_ns, duration_ns, at_ns, ObservedBy.SIM, what)


def picture(at_ns: int, pts_ns: int | None, epoch: int = 0, what: Heard = Heard.CONTENT) -> Presented:
    return Presented(VIDEO, epoch, pts_ns, FRAME, at_ns, ObservedBy.SIM, what)


def voice(from_ns: int, to_ns: int, *, at_ns: int, epoch: int = 0, what: Heard = Heard.CONTENT) -> Iterator[Presented]:
    """Slots of sound; ``from_ns`` to ``to_ns`` of content, or as much silence."""
    for pts_ns in range(from_ns, to_ns, SLOT):
        said_ns = pts_ns if what is Heard.CONTENT else None
        yield sound(at_ns + pts_ns - from_ns, said_ns, epoch, what)


def lips(from_ns: int, to_ns: int, *, at_ns: int, epoch: int = 0) -> Iterator[Presented]:
    for pts_ns in range(from_ns, to_ns, FRAME):
        yield picture(at_ns + pts_ns - from_ns, pts_ns, epoch)


class Watched:
    """A monitor, its samples and its alerts, under a driver that polls ten times a second."""

    def __init__(self, policy: AvSyncPolicy | None = None, *, point: str = "output", ends_told: bool = True) -> None:
        self.samples: list[SyncSample] = []
        self.alerts: list[Alert] = []
        self.monitor = AvSyncMonitor(policy, point=point, on_sample=self.samples.append, ends_told=ends_told)
        self.now_ns = 0

    def see(self, *streams: Iterable[Presented]) -> None:
        for presented in sorted((p for stream in streams for p in stream), key=lambda p: p.at_ns):
            self.advance(presented.at_ns)
            self.monitor.observe(presented, max(presented.at_ns, self.now_ns))

    def advance(self, to_ns: int) -> None:
        while self.now_ns < to_ns:
            self.now_ns = min(to_ns, self.now_ns + ms(100))
            self.poll()

    def poll(self) -> None:
        while (alert := self.monitor.poll(self.now_ns)) is not None:
            self.alerts.append(alert)

    def told(self, name: str) -> list[bool]:
        return [alert.active for alert in self.alerts if alert.name == name]

    def offsets_ms(self, from_ns: int = 0, to_ns: int = FAR_NS) -> list[float]:
        return [s.offset_ns / 1e6 for s in self.samples if from_ns <= s.at_ns < to_ns]
