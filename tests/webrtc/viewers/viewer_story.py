"""A session that has sent, and a viewer's page that saw it: synthetic reports with a known truth, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from avsync.types import Heard
from avsync.units import PICTURE_HZ, SOUND_HZ, ms, ns_to_ticks, seconds, to_ms
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.viewers.observer import WRAP, PathConstants, ViewerObserver

SLOT, FRAME = ms(20), ms(40)
START = seconds(100)
"""Local time of output stamp 0."""
NO_PATH = PathConstants(screen_ns=0, sound_ns=0)

Delay = Callable[[int], "int | None"]


class Page:
    """Plays what left ``sound_ns(stamp)`` after its output time, shows it ``picture_ns(stamp)`` after (None: never).

    So the true offset at this viewer is ``picture_ns - sound_ns``. ``report_at(t)`` is the message
    for the second of output time that ends at ``t``; ``send`` hands it over.
    """

    def __init__(
        self,
        *,
        sound_ns: Delay = lambda _: ms(80),
        picture_ns: Delay = lambda _: ms(80),
        origins: tuple[int, int] = (4_294_900_000, 4_294_000_000),
        page_ahead_ns: int = -seconds(50),
        page_ppm: int = 0,
        path: PathConstants = NO_PATH,
        hz: tuple[int, int] = (SOUND_HZ, PICTURE_HZ),
        from_ns: int = 0,
        **watch: Any,
    ) -> None:
        self.log = SentLog()
        self.origins = origins
        self.sound_ns, self.picture_ns = sound_ns, picture_ns
        self.page_ahead_ns, self.page_ppm = page_ahead_ns, page_ppm
        self.observer = ViewerObserver(self.log, start_ns=START, origins=lambda: self.origins, path=path, **watch)
        self.trim_ns = 0
        self.now_ns = START + from_ns
        self._sent_ns = self._shown_ns = self._heard_ns = from_ns
        self._number = 0
        self.content = lambda stamp: (stamp, Heard.CONTENT)

    def page_ms(self, local_ns: int) -> float:
        elapsed = local_ns - START
        return to_ms(local_ns + self.page_ahead_ns + elapsed * self.page_ppm // 1_000_000)

    def leave(self, until_ns: int) -> None:
        """Sound and pictures leave on time up to this output time. A trim moves the content under the stamps."""
        while self._sent_ns < until_ns:
            stamp = self._sent_ns
            pts, what = self.content(stamp)
            self.log.add_audio(stamp, SLOT, 1, pts if what is Heard.CONTENT else None, what)
            if stamp % FRAME == 0:
                shown = None if what is Heard.IDLE else max(0, pts + self.trim_ns)
                self.log.add_video(stamp, FRAME, 1, shown, what if what is Heard.IDLE else Heard.CONTENT)
            self._sent_ns += SLOT

    def message(self, until_ns: int, **changes: Any) -> dict[str, Any]:
        """What the page has to say at this output time, of what it played and showed since it said something last."""
        frames = self._entries(self._shown_ns, until_ns, FRAME, self.picture_ns, PICTURE_HZ, self.origins[1])
        sounds = self._entries(self._heard_ns, until_ns, SLOT, self.sound_ns, SOUND_HZ, self.origins[0])
        self._shown_ns = self._heard_ns = until_ns
        self._number += 1
        return {
            "v": 1, "n": self._number, "now": self.page_ms(START + until_ns), "hidden": False,
            "frames": frames, "sounds": sounds, "latency": None, "audio": None, "video": {"decoded": len(frames)},
        } | changes  # fmt: skip

    def _entries(
        self, from_ns: int, until_ns: int, width: int, delay: Delay, rate: int, origin: int
    ) -> list[list[float]]:
        entries = []
        first = max(0, (from_ns - seconds(3)) // width * width)
        for stamp in range(first, until_ns, width):
            after = delay(stamp)
            if after is not None and from_ns <= stamp + after < until_ns:
                rtp = (origin + ns_to_ticks(stamp, rate)) % WRAP
                entries.append((stamp + after, [rtp, self.page_ms(START + stamp + after)]))
        return [entry for _, entry in sorted(entries)][-130:]

    def send(self, until_ns: int, *, way_ns: int = ms(15), **changes: Any) -> bool:
        self.leave(until_ns + FRAME)
        self.now_ns = max(self.now_ns, START + until_ns + way_ns)
        return self.observer.take(json.dumps(self.message(until_ns, **changes)), self.now_ns)

    def watch_for(self, from_s: int, until_s: int, *, way_ns: Callable[[int], int] = lambda _: ms(15)) -> None:
        """One report a second."""
        for second in range(from_s, until_s):
            self.send(seconds(second + 1), way_ns=way_ns(second))
