"""Host health: on a machine that sends late, a reading at the glass says nothing about who is to blame."""

from __future__ import annotations

from collections.abc import Sequence

from avsync.errors import AvSyncError
from avsync.monitor.percentiles import rank
from avsync.units import ms, to_ms

LATE_P95_LIMIT_NS = ms(10)


class HostTooBusy(AvSyncError):
    """This machine was too busy to judge anything. ``avsync glass`` exits with 3."""

    exit_code = 3


def late_p95_ns(late_ns: Sequence[int]) -> int | None:
    """The 95th percentile (nearest rank) of how late packets left; None where nothing left."""
    return sorted(late_ns)[rank(len(late_ns), 95) - 1] if late_ns else None


def check_host(late_ns: Sequence[int], *, limit_ns: int = LATE_P95_LIMIT_NS) -> int:
    """The p95 in ns if the sender was in time; ``HostTooBusy`` if not, or if it sent nothing."""
    p95 = late_p95_ns(late_ns)
    if p95 is None:
        raise HostTooBusy("the sender sent nothing: there is nothing to judge")
    if p95 >= limit_ns:
        raise HostTooBusy(
            f"the sender was {to_ms(p95):.1f} ms late (p95; under {to_ms(limit_ns):.0f} is fit to judge): "
            "try again when the machine is idle"
        )
    return p95
