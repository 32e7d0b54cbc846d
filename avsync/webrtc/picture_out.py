"""Pictures out: what the engine says is shown now is coded once, in a thread, and sent to every viewer.

Between the engine's word and the wire lies the encoder: what an interrupt makes stale meanwhile is
not sent. A viewer that needs a key frame gets one, also while nothing moves (who needs one:
``key_frame_requests.py``).

Pictures that a source encoded itself pass untouched, each once: they need each other, so none is
overtaken or repeated, and after one that was not sent nothing is until the source's next key frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import av

from avsync.timeline.epoch import EpochGate
from avsync.types import VIDEO, Heard, MediaUnit, ObservedBy, Presented
from avsync.units import FAR_NS, NS_PER_S, PICTURE_HZ, ms, ns_to_ticks, ticks_to_ns
from avsync.webrtc.encode import PictureEncoder, bits_per_s, picture_packet
from avsync.webrtc.key_frame_requests import KeyFrameRequests
from avsync.webrtc.tracks import Coded, SyncTrack

logger = logging.getLogger("avsync.webrtc")

QUEUED = 3
"""Pictures that wait for the encoder. More than that, and it is slower than the pictures come: the oldest goes."""
REFRESH_NS = ms(200)
"""A still picture is sent again this often, for a few bytes: else a browser counts a freeze after 150 ms more than the
average, and its timing forgets everything after 10 s (libwebrtc)."""
KEY_QUIET_NS = ms(100)
"""With no picture for this long, a request for a key frame is answered with the one on screen; else with the next."""
STEP_TICKS = PICTURE_HZ // 1000
SLOW_NS = ms(100)
"""One encode that took longer says that the host was busy, not how long a picture takes."""


class Job(NamedTuple):
    """One picture on its way out. ``epoch`` is the unit's; None for an idle picture, which is never stale.

    ``floats``: it is stamped when it is sent, no content says when. What was stamped ahead, or content that
    comes late behind it, moves whichever is second: stamps rise.
    """

    image: av.VideoFrame | bytes
    stamp_ns: int
    epoch: int | None
    turn: int
    pts_ns: int | None
    duration_ns: int
    what: Heard
    is_key: bool = True
    asked_ns: int = 0
    floats: bool = False

    @property
    def coded(self) -> bool:
        return isinstance(self.image, bytes)


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
        """Of all viewers who are connected."""
        self.key_frames = KeyFrameRequests(now_ns, ask_source)
        self.violations = self.overtaken = self.stale = self.packets = 0
        self.encode_ns = 0
        """How long a picture takes from the engine's word to the wire: smoothed over some 20 pictures."""
        self._gate, self._start_ns, self._now_ns = gate, start_ns, now_ns
        self._fps, self._bitrate_bps = fps, bitrate_bps
        self._observed = observed
        self._jobs: deque[Job] = deque()
        self._news = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="avsync-encode")
        self._encoders: dict[str, PictureEncoder] = {}
        self._key_epoch = 0
        self._source_codes = False  # the last picture that left was encoded by the source
        self._source_broken = False  # and only a key frame of it can be decoded
        self._odd_mimes: set[str] = set()
        self._shown: Job | None = None
        self._sent_ns = -FAR_NS
        self._last_ticks = -FAR_NS
        self._last_floats = False

    # ---- in

    def add(self, track: SyncTrack) -> None:
        self.tracks.append(track)
        self.want_key(track)

    def remove(self, track: SyncTrack) -> None:
        if track in self.tracks:
            self.tracks.remove(track)

    def want_key(self, track: SyncTrack) -> None:
        """This viewer cannot go on without a key frame."""
        if track.mime:
            self.key_frames.want(track.mime)
            self._news.set()

    def show(self, unit: MediaUnit, stamp_ns: int, what: Heard) -> None:
        if what is Heard.REPEAT and isinstance(unit.payload, bytes):
            return  # it is on screen; decoded twice it would be something else
        self._put(
            Job(
                unit.payload, stamp_ns, unit.epoch, unit.epoch, unit.pts_ns, unit.duration_ns, what,
                unit.is_key, self._now_ns(),
            )
        )  # fmt: skip

    def show_idle(self, image: av.VideoFrame, turn: int) -> None:
        """Stamped now: no content belongs to it."""
        now = self._now_ns()
        self._put(Job(image, now, None, turn, None, ms(40), Heard.IDLE, True, now, True))

    def _put(self, job: Job) -> None:
        self._jobs.append(job)
        waiting = [each for each in self._jobs if not each.coded]
        if len(waiting) > QUEUED:
            self._jobs.remove(waiting[0])
            self.overtaken += 1
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
            wait_ns = KEY_QUIET_NS if self.key_frames.wanted(self.tracks) else REFRESH_NS
            try:
                # Not wait_for: on Python 3.11 it forgets a cancellation that comes together with the news.
                async with asyncio.timeout(wait_ns / NS_PER_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _next(self) -> Job | None:
        """The next picture; or the one on screen once more, if a viewer waits for a key frame or it got old."""
        while self._jobs:
            job = self._jobs.popleft()
            if not self._stale(job):
                return job
            self.stale += 1
        shown, now = self._shown, self._now_ns()
        wanted = bool(self.key_frames.wanted(self.tracks))
        if self._source_codes:
            if wanted:
                self.key_frames.ask_source()
            return None
        if shown is None or self._stale(shown):
            return None
        # While pictures flow the next one is soon a key frame.
        quiet_ns = now - self._sent_ns
        if (wanted and quiet_ns >= KEY_QUIET_NS) or quiet_ns >= REFRESH_NS:
            what = Heard.IDLE if shown.what is Heard.IDLE else Heard.REPEAT
            return shown._replace(stamp_ns=now, what=what, asked_ns=now, floats=True)
        return None

    def _stale(self, job: Job) -> bool:
        return job.epoch is not None and job.epoch < self._gate.oldest

    async def _send(self, job: Job) -> None:
        stamp_ns = job.stamp_ns
        ticks = ns_to_ticks(stamp_ns - self._start_ns, PICTURE_HZ)
        moved = (job.floats or self._last_floats) and ticks < self._last_ticks + STEP_TICKS
        if moved:
            ticks = self._last_ticks + STEP_TICKS
            stamp_ns = self._start_ns + ticks_to_ns(ticks, PICTURE_HZ)
        elif ticks <= self._last_ticks:
            self.violations += 1  # refused here, so that no viewer ever sees it
            self._source_broken |= job.coded
            return
        if self._gate.oldest > self._key_epoch:  # a new epoch begins with a key frame
            self._key_epoch = self._gate.oldest
            self.key_frames.need(self._mimes())
            self._source_broken = True
        coded = self._passed(job, ticks) if isinstance(job.image, bytes) else await self._coded(job, ticks)
        if coded is None:
            return
        if self._stale(job):  # the encoder has seen it, but what follows is of a new epoch: a key frame
            self.stale += 1
            return
        self._last_ticks, self._last_floats = ticks, job.floats or moved
        now = self._now_ns()
        for track in self.tracks:
            packet = coded.get(track.mime or "")
            if packet is not None:
                track.put(packet)
        self._shown, self._sent_ns = job, now
        self._source_codes = job.coded
        self.packets += 1
        self.encode_ns += (min(now - job.asked_ns, SLOW_NS) - self.encode_ns) // 20
        presented = Presented(VIDEO, job.turn, job.pts_ns, job.duration_ns, now, ObservedBy.DEVICE, job.what)
        self._observed(presented, stamp_ns)

    def _mimes(self) -> set[str]:
        return {track.mime for track in self.tracks if track.mime}

    def _passed(self, job: Job, ticks: int) -> dict[str, Coded] | None:
        """What the source encoded, for those who can decode it. None: nobody can, before its next key frame."""
        assert isinstance(job.image, bytes)
        self._source_broken |= not self._source_codes and self._shown is not None  # ours was between
        if self._source_broken and not job.is_key:
            self.stale += 1
            self.key_frames.ask_source()
            return None
        mime = picture_packet(job.image).mime
        for odd in self._mimes() - {mime} - self._odd_mimes:
            self._odd_mimes.add(odd)
            logger.warning("the source's pictures are %s: viewers who agreed on %s see none of them", mime, odd)
        if job.is_key:
            self._source_broken = False
            self.key_frames.note_source_sent(mime)
        return {mime: Coded.make(VIDEO, job.image, ticks, job.epoch, is_key=job.is_key)}

    async def _coded(self, job: Job, ticks: int) -> dict[str, Coded]:
        assert not isinstance(job.image, bytes)
        coded = {}
        loop = asyncio.get_running_loop()
        wanting = self._mimes() if self._source_codes else self.key_frames.wanted(self.tracks)
        for mime in self._mimes():
            key = mime in wanting
            data, is_key = await loop.run_in_executor(self._pool, self._encode, mime, job.image, ticks, key)
            if not data:
                continue
            if is_key:
                self.key_frames.note_sent(mime)
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
