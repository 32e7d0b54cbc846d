"""Quarantine: what a provider still sends of the old turn after an interrupt is kept out.

A provider's media carries no epoch. After an interrupt its old turn is still on the way, and
``Quarantine`` says how long nothing of it may be believed.
"""

from __future__ import annotations

from avsync.errors import UsageError, check_now
from avsync.units import ms

QUARANTINE_SILENCE_NS = ms(120)
"""Six missing 20 ms packets: longer than jitter makes, shorter than a pause between turns."""

TURN_GAP_NS = ms(40)
"""So much RTP time in which no packet was sent, two packets' worth: the provider paused. Jitter makes none of it."""

QUARANTINE_LIMIT_NS = ms(1500)
"""Providers go on with the old turn for 0.3 to 1 s after an interrupt; then it must be the new one."""


class Quarantine:
    """After an interrupt, holds a provider's media until its old turn must be over.

    It ends at the first of: the provider's own turn marker; ``silence_ns`` of silence;
    ``limit_ns`` after ``start``. Silence is either nothing sounding (a unit of sound sounds for
    its duration from its arrival), or that much media marked silent, however fast it came.

    Where sequence numbers are known (``gap_ns`` is told), a gap of ``TURN_GAP_NS`` in RTP time beyond what missing
    packets account for ends it, and nothing coming does not: a line that hangs is no pause of the provider's. The
    limit is then counted in RTP time too, as what was sent before it may come long after it; only after twice as
    long without any sound is it over.

    For each unit of sound call ``on_sound`` and drop the unit while it answers True; ask
    ``holds`` about pictures. The first loud unit after a long enough silence passes: it is the
    new turn. Not in quarantine, every call is one comparison.
    """

    def __init__(self, *, silence_ns: int = QUARANTINE_SILENCE_NS, limit_ns: int = QUARANTINE_LIMIT_NS) -> None:
        for name, value in (("silence_ns", silence_ns), ("limit_ns", limit_ns)):
            if type(value) is not int or value <= 0:
                raise UsageError(f"{name} must be an int > 0, got {value!r}")
        self.silence_ns = silence_ns
        self.limit_ns = limit_ns
        self.on = False
        self.ended_by = ""  # "marker", "silence" or "limit": how the last one ended, for the record
        self._last_now_ns = 0
        self._limit_at_ns = 0
        self._quiet_from_ns = 0
        self._silent_media_ns = 0
        self._numbered = False
        self._limit_media_ns = 0

    def start(self, now_ns: int, media_ns: int | None = None) -> None:
        """An interrupt. A second one during the first begins again: its old turn is newer.

        ``media_ns``: where the provider is in RTP time by now, where its packets are numbered.
        """
        self._last_now_ns = check_now(now_ns, self._last_now_ns)
        self.on = True
        self._limit_at_ns = now_ns + self.limit_ns
        self._quiet_from_ns = now_ns
        self._silent_media_ns = 0
        self._numbered = media_ns is not None
        self._limit_media_ns = (media_ns or 0) + self.limit_ns

    def on_sound(
        self, now_ns: int, silent: bool, duration_ns: int, *, gap_ns: int | None = None, media_ns: int = 0
    ) -> bool:
        """Sound arrived (``silent``: marked as a pause, or without signal). True: drop it.

        ``gap_ns``: RTP time between the end of the newest packet before and this one, less that of the packets that are
        missing between them; < 0 where this one is older. None: nobody knows. ``media_ns``: RTP time of this one.
        """
        if not self.on or not self.holds(now_ns):
            return False
        if type(duration_ns) is not int:
            raise UsageError(f"duration_ns must be an int, got {type(duration_ns).__name__}")
        if gap_ns is not None:
            self._limit_at_ns = max(self._limit_at_ns, now_ns + self.limit_ns)
            if gap_ns >= TURN_GAP_NS:
                self._end("silence")
                return False
            if media_ns >= self._limit_media_ns:
                self._end("limit")
                return False
        if not silent:
            self._silent_media_ns = 0
            self._quiet_from_ns = max(self._quiet_from_ns, now_ns + duration_ns)
            return True
        self._silent_media_ns += max(duration_ns, 0)
        if self._silent_media_ns >= self.silence_ns:
            self._end("silence")
        return self.on

    def marker(self, now_ns: int) -> None:
        """The provider says that a new turn begins here."""
        self._last_now_ns = check_now(now_ns, self._last_now_ns)
        if self.on:
            self._end("marker")

    def holds(self, now_ns: int) -> bool:
        """True while whatever the provider sends may still be the old turn."""
        if not self.on:
            return False
        self._last_now_ns = check_now(now_ns, self._last_now_ns)
        if now_ns >= self._limit_at_ns + (self.limit_ns if self._numbered else 0):
            self._end("limit")
        elif self._numbered:
            return True
        elif now_ns >= self._quiet_from_ns + self.silence_ns:
            self._end("silence")
        return self.on

    def next_wakeup_ns(self) -> int | None:
        """When it ends if nothing more arrives; None when it is over."""
        if not self.on:
            return None
        if self._numbered:
            return self._limit_at_ns + self.limit_ns
        return min(self._limit_at_ns, self._quiet_from_ns + self.silence_ns)

    def _end(self, by: str) -> None:
        self.on = False
        self.ended_by = by
