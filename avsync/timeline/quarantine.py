"""Quarantine: what a provider still sends of the old turn after an interrupt is kept out.

A provider's media carries no epoch. After an interrupt its old turn is still on the way, and
``Quarantine`` says how long nothing of it may be believed.
"""

from __future__ import annotations

from avsync.errors import UsageError, check_now
from avsync.units import ms

QUARANTINE_SILENCE_NS = ms(120)
"""Six missing 20 ms packets: longer than jitter makes, shorter than a pause between turns."""

QUARANTINE_LIMIT_NS = ms(1500)
"""Providers go on with the old turn for 0.3 to 1 s after an interrupt; then it must be the new one."""


class Quarantine:
    """After an interrupt, holds a provider's media until its old turn must be over.

    It ends at the first of: the provider's own turn marker; ``silence_ns`` of silence;
    ``limit_ns`` after ``start``. Silence is either nothing sounding (a unit of sound sounds for
    its duration from its arrival), or that much media marked silent, however fast it came.

    For packets without sequence numbers; where they have some, ``avsync.timeline.old_turn`` knows more.

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

    def start(self, now_ns: int) -> None:
        """An interrupt. A second one during the first begins again: its old turn is newer."""
        self._last_now_ns = check_now(now_ns, self._last_now_ns)
        self.on = True
        self._limit_at_ns = now_ns + self.limit_ns
        self._quiet_from_ns = now_ns
        self._silent_media_ns = 0

    def on_sound(self, now_ns: int, silent: bool, duration_ns: int) -> bool:
        """Sound arrived (``silent``: marked as a pause, or without signal). True: drop it."""
        if not self.on or not self.holds(now_ns):
            return False
        if type(duration_ns) is not int:
            raise UsageError(f"duration_ns must be an int, got {type(duration_ns).__name__}")
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
        if now_ns >= self._limit_at_ns:
            self._end("limit")
        elif now_ns >= self._quiet_from_ns + self.silence_ns:
            self._end("silence")
        return self.on

    def next_wakeup_ns(self) -> int | None:
        """When it ends if nothing more arrives; None when it is over."""
        if not self.on:
            return None
        return min(self._limit_at_ns, self._quiet_from_ns + self.silence_ns)

    def _end(self, by: str) -> None:
        self.on = False
        self.ended_by = by
