"""Stream position: where one stream stands in the content, exactly.

Counts and RTP times become positions here; ``AvSyncClock`` decides what may be stamped. A position
is carried as whole nanoseconds and a remainder, so it equals the converted total at any time.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

from avsync.errors import UsageError
from avsync.timeline.rtp_wrap import signed
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import NS_PER_S, Rate, ms, seconds

MAX_STEP_NS = seconds(3600)
"""No unit lasts longer and no source jumps further at once (libwebrtc's bound on a timestamp jump)."""

REBUILD_AFTER = 5
REBUILD_BEYOND_NS = seconds(10)
"""So many RTP times in a row that agree with each other, but lie further off than this, are a source
that began again at a new offset. Nearer ones are retransmissions. (LiveKit's Go engine: 5;
libwebrtc: 10 s.)"""

DEFAULT_NS = {AUDIO: ms(20), VIDEO: ms(40)}
"""How long a unit lasts when nobody says so and there is neither a rate nor an earlier interval."""

_MAX_DENOMINATOR = 1 << 128


class StreamPosition:
    """One stream's position, exactly ``next_ns + rem / den`` ns, and what a tick adds to it.

    Carrying the remainder is the same as converting the total (a test holds it to that), stays in
    small integers, and survives a change of rate. A tick is ``step / den`` ns.
    """

    def __init__(self, kind: Kind, rate: Rate | None) -> None:
        self.kind = kind
        self.seq = 0
        self.next_ns = self.rem = self.floor_ns = 0
        self.den = 1
        self.last_ns = -1
        self.rtp: RtpTime | None = None
        self.set_rate(rate)

    def set_rate(self, rate: Rate | None) -> None:
        """From here on; None: nothing can be counted, every unit says where it is or how long it lasts."""
        self.rate = rate
        self._carry(Fraction(self.rem, self.den))
        self.max_ticks = MAX_STEP_NS * self.den // self.step if rate else 0

    def _carry(self, part: Fraction) -> None:
        """Write ``part`` of a ns over a denominator in which every tick is whole, too.

        Real rates share small factors. For hundreds of unrelated ones the part is cut at 2**-64 ns
        per change: a change every millisecond for 24 h loses less than 1e-11 ns.
        """
        rate = self.rate or Fraction(NS_PER_S)
        den = lcm(part.denominator, rate.numerator)
        if den > _MAX_DENOMINATOR:
            part = Fraction((part.numerator << 64) // part.denominator, 1 << 64)
            den = lcm(part.denominator, rate.numerator)
        self.den = den
        self.rem = part.numerator * (den // part.denominator)
        self.step = NS_PER_S * rate.denominator * (den // rate.numerator)

    def position(self) -> Fraction:
        return self.next_ns + Fraction(self.rem, self.den)

    def move_to(self, position: Fraction) -> None:
        """Only ever forward. What comes next begins here: nothing may be placed before it."""
        self.next_ns = self.floor_ns = position.numerator // position.denominator
        self._carry(position - self.next_ns)

    def usual_ns(self, pts_ns: int) -> int:
        """How long a unit at ``pts_ns`` lasts when nobody says: a frame, or the last interval."""
        if self.kind is VIDEO and self.max_ticks:
            return self.step // self.den
        interval = pts_ns - self.last_ns
        return interval if self.last_ns >= 0 and 0 < interval <= ms(1000) else DEFAULT_NS[self.kind]


class RtpTime:
    """One source's RTP time: ``base_ns`` is the PTS of tick ``total`` 0; ``raw`` is the last 32-bit stamp."""

    def __init__(self, rate: int, base_ns: int, raw: int) -> None:
        self.rate, self.base_ns, self.raw = rate, base_ns, raw
        self.total = 0
        self.odd = self.odd_raw = 0  # how many refused stamps in a row agree, and the last of them


def began_again(rtp: RtpTime, raw: int) -> bool:
    """Told about each stamp too far off: True when enough of them in a row follow each other."""
    step = signed(raw - rtp.odd_raw)
    agrees = 0 < step <= rtp.rate * (REBUILD_BEYOND_NS // NS_PER_S)
    rtp.odd, rtp.odd_raw = (rtp.odd + 1 if agrees else 1), raw
    return rtp.odd >= REBUILD_AFTER


def checked_rate(name: str, rate: Rate) -> Rate:
    """Exact, more than one tick in an hour and at most one per ns: so that each unit lasts at least 1 ns."""
    if type(rate) is not int and not isinstance(rate, Fraction):
        raise UsageError(f"{name} must be an int or a Fraction such as Fraction(30000, 1001)")
    if not Fraction(1, 3600) <= rate <= NS_PER_S or rate.denominator > NS_PER_S:
        raise UsageError(f"{name} must be between one per hour and one per nanosecond")
    return rate
