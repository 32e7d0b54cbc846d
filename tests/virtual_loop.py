"""An asyncio loop in virtual time: when nothing is ready, ``time()`` jumps to the next timer.

No test sleeps, and two runs are the same to the nanosecond. ``late_ns`` makes every timer late,
``advance`` blocks the loop as a busy callback would.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from avsync.units import NS_PER_S

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never waits: it lets the loop's time pass instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("deadlock: everything waits and no timer is set")
        if timeout > 0:
            self.loop.now_ns += max(1, round(timeout * NS_PER_S) + self.loop.late_ns())
            self.loop.set_since = 0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """``now_ns`` is its time; ``handles`` every timer that was ever set; ``errors`` what callbacks raised."""

    def __init__(self, late_ns: Callable[[], int] = lambda: 0, start_ns: int = 0) -> None:
        self.now_ns = start_ns
        self.late_ns = late_ns
        self.handles: list[asyncio.TimerHandle] = []
        self.set_since = 0  # timers set since time last moved
        self.errors: list[dict[str, Any]] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        # After a year a float of seconds has steps of 4 ns: with asyncio's 1 ns a timer would never be due.
        self._clock_resolution = 1e-7
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def time(self) -> float:
        return self.now_ns / NS_PER_S

    def advance(self, by_ns: int) -> None:
        """Time passes while the loop does nothing: somebody blocks it."""
        self.now_ns += by_ns

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self.set_since += 1
        assert self.set_since < 5000, "a timer is set again and again while time stands"
        handle = super().call_at(when, callback, *args, context=context)
        self.handles.append(handle)
        return handle

    def timers(self, of: object) -> list[asyncio.TimerHandle]:
        """The timers of one object that are still to fire."""
        return [
            handle
            for handle in self.handles
            if not handle.cancelled()
            and getattr(handle._callback, "__self__", None) is of  # type: ignore[attr-defined]
            and handle._scheduled  # type: ignore[attr-defined]
        ]


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, late_ns: Callable[[], int] = lambda: 0) -> T:
    """Run a story to its end; a task or an error that it leaves behind fails it."""
    loop = VirtualLoop(late_ns)
    try:
        result = loop.run_until_complete(main(loop))
        left = asyncio.all_tasks(loop)
        assert not left, f"left running: {left}"
        assert not loop.errors, f"raised in callbacks: {loop.errors}"
        return result
    finally:
        loop.close()
