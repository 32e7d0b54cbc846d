"""A point of the chain: our own output, or the viewer, and what a run leaves behind there."""

from __future__ import annotations

from avsync.monitor.sync_report import SyncReport
from avsync.monitor.watch import Watch
from avsync.policy import AvSyncPolicy
from avsync.types import Alert, Basis
from sim.run.host import Host
from sim.run.output import AnswerCounts
from sim.truth.beliefs import Beliefs
from sim.truth.truth import PresentationLog


class Point:
    """Truth in ``presented``, belief in ``beliefs`` and ``buffer_ns``; all of it in the local time of ``host``.

    ``answers``: what an engine of ours answered here; None where none works (a browser). The numbers below it, and
    ``report``, stand when the run is over. ``drift_error_ppm``: |estimated - true| drift of the clock that sends to
    this point; None where nobody estimates it, or it was watched for less than a minute. ``ends_told``: somebody tells
    where a turn ends.
    """

    def __init__(self, name: str, host: Host, policy: AvSyncPolicy, *, ends_told: bool = True) -> None:
        self.host = host
        self.presented = PresentationLog(host.local_ns if host.ppm else None)
        self.beliefs, self.buffer_ns = Beliefs(), Beliefs()
        self.receiver_target_ns = Beliefs()  # what a receiver's target adds to its own hold, now and then
        self.monitor = Watch(policy, point=name, on_samples=self.beliefs.add_samples, ends_told=ends_told)
        self.alerts: list[Alert] = []
        self.answers: AnswerCounts | None = None
        self.queue_peak_units: int | None = None
        self.late_packets = 0
        self.rtp_violations = 0
        self.drift_error_ppm: float | None = None
        self.first_decodable_ns: int | None = None
        self.report: SyncReport | None = None
        self.by_reports_from: int | None = None

    def rests_on(self, basis: Basis, picture: int | None = None) -> None:
        """What is believed here rests on that from now on. ``picture`` was placed by it; ``by_reports_from``: the first
        one that was placed by reports. Those before it keep the place that arrivals gave them."""
        self.monitor.basis = basis
        if self.by_reports_from is None and basis is Basis.REPORTS:
            self.by_reports_from = picture

    def probe(self, buffer_ns: int) -> None:
        """Now and then: how much the jitter buffer holds, and what the monitor has to say."""
        now, monitor = self.host.now_ns(), self.monitor
        self.buffer_ns.add(now, buffer_ns)
        if self.host.env.now < self.host.asleep_until_ns:
            return  # a host that sleeps does not look at its monitor either
        while (alert := monitor.poll(now)) is not None:
            self.alerts.append(alert)

    def finish(self) -> None:
        """A report settles everything that the monitor still holds back."""
        self.report = self.monitor.report(self.host.now_ns())
