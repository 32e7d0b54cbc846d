"""Pictures out: what the engine says is shown now is coded once, in a thread, and sent to every viewer.

Between the engine's word and the wire lies the encoder: what an interrupt makes stale meanwhile is
not sent. A viewer that needs a key frame gets one, also while nothing moves; many who ask at once
get the same one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import av

from avsync.epoch import EpochGate
from avsync.types import VIDEO, Heard, MediaUnit, Presented, Source
from avsync.units import NS_PER_S, ms, ns_to_ticks, seconds
from avsync.webrtc.encode import PICTURE_HZ, PictureEncoder, bits_per_s
from avsync.webrtc.tracks import Coded, SyncTrack

QUEUED = 3
"""Pictures that wait for the encoder. More than that, and it is slower than the pictures come: the oldest goes."""
REFRESH_NS = seconds(1)
"""A still picture is sent again this often: a viewer's timing forgets after 10 s without any (libwebrtc)."""
KEY_QUIET_NS = ms(100)
"""With no picture for this long, a wish for a key frame is answered with the one on screen; else with the next."""
KEY_AGAIN_NS = ms(300)
"""Two wishes for a key frame within this are one: it takes about a round trip until the first is answered."""


class Job(NamedTuple):
    """One picture on its way out. ``epoch`` is the unit's; None for an idle picture, which is never stale."""

    image: av.VideoFrame | bytes
    stamp_ns: int
    epoch: int | None
    turn: int
    pts_ns: int | None
    duration_ns: int
    what: Heard
    is_key: bool = True
    asked_ns: int = 0


class PictureOut:
    """``show`` pictures in order; ``run`` in a task codes and sends them."""

    def __init__(
        self,
        gate: EpochGate,
        *,
        start_ns: int,
        now_ns: Callable[[], int],
        fps: float,
        bitrate_bps: int | None,
        observed: Callable[[Presented, int], None],
        ask_source: Callable[[], None],
    ) -> None:
        self.tracks: list[SyncTrack] = []
        self.violations = self.overtaken = self.stale = self.key_frames = self.packets = 0
        self.encode_ns = 0
        """How long a picture takes from the engine's word to the wire: smoothed over some 20 pictures."""
        self._gate, self._start_ns, self._now_ns = gate, start_ns, now_ns
        self._fps, self._bitrate_bps = fps, bitrate_bps
        self._observed, self._ask_source = observed, ask_source
        self._jobs: deque[Job] = deque()
        self._news = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="avsync-encode")
        self._encoders: dict[str, PictureEncoder] = {}
        self._keys_wanted: set[str] = set()
        self._key_sent_ns: dict[str, int] = {}
        self._key_epoch = 0
        self._shown: Job | None = None
        self._sent_ns = -(1 << 62)
        self._last_ticks = -(1 << 62)

    # ---- in

    def show(self, unit: MediaUnit, stamp_ns: int, what: Heard) -> None:
        self._put(
            Job(
                unit.payload, stamp_ns, unit.epoch, unit.epoch, unit.pts_ns, unit.duration_ns, what,
                unit.is_key, self._now_ns(),
            )
        )  # fmt: skip

    def show_idle(self, image: av.VideoFrame, turn: int) -> None:
        """Stamped now: no content belongs to it."""
        now = self._now_ns()
        self._put(Job(image, now, None, turn, None, ms(40), Heard.IDLE, True, now))

    def want_key(self, mime: str) -> None:
        """A viewer cannot go on without a key frame."""
        if self._now_ns() - self._key_sent_ns.get(mime, -(1 << 62)) >= KEY_AGAIN_NS:
            self._keys_wanted.add(mime)
            self._news.set()

    def _put(self, job: Job) -> None:
        if len(self._jobs) >= QUEUED:
            self._jobs.popleft()
            self.overtaken += 1
        self._jobs.append(job)
        self._news.set()

    # ---- out

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            job = self._next()
            if job is not None:
                await self._send(job)
                continue
            self._news.clear()
            try:
                wait_ns = KEY_QUIET_NS if self._keys_wanted else REFRESH_NS
                await asyncio.wait_for(self._news.wait(), wait_ns / NS_PER_S)
            except TimeoutError:
                pass

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> Job | None:
        """The next picture; or the one on screen once more, if a viewer waits for a key frame or it got old."""
        while self._jobs:
            job = self._jobs.popleft()
            if not self._stale(job):
                return job
            self.stale += 1
        shown, now = self._shown, self._now_ns()
        if shown is None or self._stale(shown) or isinstance(shown.image, bytes):
            if shown is not None and isinstance(shown.image, bytes) and self._keys_wanted:
                self._keys_wanted.clear()
                self._ask_source()
            return None
        # While pictures flow the next one is soon a key frame.
        quiet_ns = now - self._sent_ns
        if (self._keys_wanted and quiet_ns >= KEY_QUIET_NS) or quiet_ns >= REFRESH_NS:
            what = Heard.IDLE if shown.what is Heard.IDLE else Heard.REPEAT
            return shown._replace(stamp_ns=now, what=what, asked_ns=now)
        return None

    def _stale(self, job: Job) -> bool:
        return job.epoch is not None and job.epoch < self._gate.oldest

    async def _send(self, job: Job) -> None:
        ticks = ns_to_ticks(job.stamp_ns - self._start_ns, PICTURE_HZ)
        if ticks <= self._last_ticks:
            self.violations += 1  # refused here, so that no viewer ever sees it
            return
        coded = await self._coded(job, ticks)
        if self._stale(job):
            self.stale += 1
            self._keys_wanted |= self._encoders.keys()  # what follows refers to a picture that nobody got
            return
        self._last_ticks = ticks
        now = self._now_ns()
        for track in self.tracks:
            packet = coded.get(track.mime or "")
            if packet is not None:
                track.put(packet)
        self._shown, self._sent_ns = job, now
        self.packets += 1
        self.encode_ns += (now - job.asked_ns - self.encode_ns) // 20
        presented = Presented(VIDEO, job.turn, job.pts_ns, job.duration_ns, now, Source.DEVICE, job.what)
        self._observed(presented, job.stamp_ns)

    async def _coded(self, job: Job, ticks: int) -> dict[str, Coded]:
        mimes = {track.mime for track in self.tracks if track.mime}
        image = job.image
        if isinstance(image, bytes):
            packet = Coded.make(VIDEO, image, ticks, job.epoch, is_key=job.is_key)
            return dict.fromkeys(mimes, packet)
        if self._gate.oldest > self._key_epoch:
            self._key_epoch = self._gate.oldest
            self._keys_wanted |= mimes  # a new epoch begins with a key frame
        coded = {}
        loop = asyncio.get_running_loop()
        for mime in mimes:
            key = mime in self._keys_wanted
            self._keys_wanted.discard(mime)
            data, is_key = await loop.run_in_executor(self._pool, self._encode, mime, image, ticks, key)
            if is_key:
                self._key_sent_ns[mime] = self._now_ns()
                self.key_frames += 1
            coded[mime] = Coded.make(VIDEO, data, ticks, job.epoch, is_key=is_key)
        return coded

    def _encode(self, mime: str, image: av.VideoFrame, ticks: int, key: bool) -> tuple[bytes, bool]:
        """In the encoder's thread."""
        encoder = self._encoders.get(mime)
        size = image.width, image.height
        if encoder is None or encoder.size != size:
            rate = self._bitrate_bps or bits_per_s(*size, self._fps)
            encoder = self._encoders[mime] = PictureEncoder(mime, *size, rate)
        return encoder.encode(image, ticks, key=key)
