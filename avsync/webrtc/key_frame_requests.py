"""Key-frame requests: who needs a picture that can be decoded alone, and who is to make it.

Viewers ask (PLI, FIR), a viewer that has lost its place can use nothing else, and a new turn after an interrupt
begins with one. Many who ask at once get the same one. Where the source encodes its pictures itself, only the source
can make one: it is asked, often enough to be heard, no oftener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from avsync.units import FAR_NS, ms
from avsync.webrtc.tracks import SyncTrack

KEY_AGAIN_NS = ms(300)
"""Two requests within this are one: it takes about a round trip until the first is answered."""


class KeyFrameRequests:
    """By codec (MIME type): all viewers of one codec get the same packets. ``ask_source`` tells the source."""

    def __init__(self, now_ns: Callable[[], int], ask_source: Callable[[], None]) -> None:
        self.sent = 0
        self._now_ns, self._ask_source = now_ns, ask_source
        self._wanted: set[str] = set()
        self._sent_ns: dict[str, int] = {}
        self._source_asked_ns = -FAR_NS

    def want(self, mime: str) -> None:
        """A viewer cannot go on without one. Soon after one it is taken for the request that asked for that."""
        if self._now_ns() - self._sent_ns.get(mime, -FAR_NS) >= KEY_AGAIN_NS:
            self._wanted.add(mime)

    def need(self, mimes: Iterable[str]) -> None:
        """Whatever was sent before, the next picture in these codecs must be one."""
        self._wanted.update(mimes)

    def wanted(self, tracks: Iterable[SyncTrack]) -> set[str]:
        """The codecs in which somebody needs one: it was asked for, or a reader can use nothing else."""
        return self._wanted | {track.mime for track in tracks if track.mime and track.starved}

    def note_sent(self, mime: str) -> None:
        self._wanted.discard(mime)
        self._sent_ns[mime] = self._now_ns()
        self.sent += 1

    def note_source_sent(self, mime: str) -> None:
        """The source made one itself: nobody gets another, in whatever codec they wait."""
        self._wanted.clear()
        self.note_sent(mime)

    def ask_source(self) -> None:
        """All requests are the source's to answer now."""
        self._wanted.clear()
        now_ns = self._now_ns()
        if now_ns - self._source_asked_ns >= KEY_AGAIN_NS:
            self._source_asked_ns = now_ns
            self._ask_source()
