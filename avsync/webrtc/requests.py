"""Requests: what the engine asks of the source, and alerts to whoever listens, whatever these do with them.

A place in the content is told to the source as it counts itself: from the start of its turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable

from avsync.types import Alert, Request, Want
from avsync.webrtc.backlog import Backlog

logger = logging.getLogger("avsync.webrtc")

REQUESTS_KEPT = 64


class Requests:
    """``ask`` and ``alert`` call back at once, and never raise; ``each`` gives what was asked, one reader each."""

    def __init__(
        self,
        name: str,
        backlog: Backlog,
        on_request: Callable[[Request], object] | None,
        on_alert: Callable[[Alert], object] | None,
    ) -> None:
        self._name, self._backlog = name, backlog
        self._on_request, self._on_alert = on_request, on_alert
        # By an alert's name: who said that it began, and not yet that it is over.
        self._alerted: dict[str, set[str]] = {}
        self._requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self._came = asyncio.Event()
        self._closed = False

    def ask(self, request: Request) -> None:
        if request.want is Want.SKIP_TO_PTS:
            request = request._replace(value=max(0, request.value - self._backlog.start_ns(request.epoch)))
        self._requests.append(request)
        self._came.set()
        if self._on_request is not None:
            try:
                self._on_request(request)
            except Exception:  # a source's callback must not stop the voice
                logger.exception("%s: on_request raised", self._name)

    def alert(self, alert: Alert, *, by: str) -> None:
        """``by``: who says so. Engine and monitor see the same stall: it begins once, and is over when both say so."""
        saying = self._alerted.setdefault(alert.name, set())
        if alert.active:
            news = not saying or by in saying  # the same again is a summary
            saying.add(by)
        else:
            saying.discard(by)
            news = not saying
        if news:
            self._tell(alert)

    def _tell(self, alert: Alert) -> None:
        logger.info("%s: %s %s", self._name, alert.name, "began" if alert.active else "is over")
        if self._on_alert is not None:
            try:
                self._on_alert(alert)
            except Exception:  # nor must whoever listens to alerts
                logger.exception("%s: on_alert raised", self._name)

    async def each(self) -> AsyncIterator[Request]:
        """As they come; ends with ``close``. Of more than ``REQUESTS_KEPT`` unread, the oldest are forgotten."""
        while not self._closed:
            while self._requests:
                yield self._requests.popleft()
            self._came.clear()
            if not self._closed:
                await self._came.wait()

    def close(self) -> None:
        self._closed = True
        self._came.set()
