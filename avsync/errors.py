"""Errors: an exception means that somebody broke a rule, and its name says who.

A lost packet, a stale frame or a lying sender report is not an error but an ordinary value
(``Drop`` with its ``DropReason``, a counted rejection).
"""

from __future__ import annotations


class AvSyncError(Exception):
    """Base of everything avsync raises on purpose."""


class UsageError(AvSyncError, ValueError):
    """The caller broke a rule of the API: a bad value at construction, time going backwards."""


class InputError(AvSyncError):
    """A file from outside (policy, scenario, network trace, recording) is wrong.

    Names the place, the rule and, where there is one, the remedy. The CLI prints it as it is
    and exits with 2.
    """

    def __init__(self, rule: str, *, file: str = "", place: str = "", remedy: str = "") -> None:
        self.rule, self.file, self.place, self.remedy = rule, file, place, remedy
        where = ":".join(part for part in (file, place) if part)
        text = f"{where}: {rule}" if where else rule
        super().__init__(f"{text}\n  {remedy}" if remedy else text)


def check_ns(name: str, value: object) -> int:
    """The gate for a length of time: an int of nanoseconds >= 0, or ``UsageError``."""
    if type(value) is not int or value < 0:
        raise UsageError(f"{name} must be an int of nanoseconds >= 0, got {type(value).__name__} {value!r}")
    return value


def check_now(now_ns: int, last_ns: int) -> int:
    """The one gate for ``now_ns``: an int that never goes backwards, or ``UsageError``."""
    if type(now_ns) is not int:
        raise UsageError(f"now_ns must be an int of nanoseconds, got {type(now_ns).__name__} {now_ns!r}")
    if now_ns < last_ns:
        raise UsageError(f"now_ns went backwards: {now_ns} after {last_ns}")
    return now_ns
