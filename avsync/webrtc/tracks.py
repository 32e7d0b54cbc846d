"""Tracks: what one viewer's aiortc connection takes packets from.

The session puts each encoded packet into the tracks of all its viewers; a track holds a few. What
an interrupt makes stale is taken out again, and never handed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, Protocol

from aiortc.mediastreams import MediaStreamError
from av import Packet as make_packet

from avsync.errors import UsageError
from avsync.timeline.epoch import EpochGate
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import NS_PER_S
from avsync.webrtc.aiortc_sender import Packet, PacketTrack
from avsync.webrtc.encode import H264, OPUS, PICTURE_BASE, SOUND_BASE, VP8

HELD_PACKETS = 25
"""More than this behind and a viewer's connection is not sending: half a second of sound, a second of pictures."""


SENT_AS = {AUDIO: (OPUS,), VIDEO: (VP8, H264)}


class Coded(NamedTuple):
    """One packet as all viewers get it. ``epoch`` None: silence or an idle picture, which never becomes stale."""

    epoch: int | None
    ticks: int
    packet: Packet
    is_key: bool

    @classmethod
    def make(cls, kind: Kind, data: bytes, ticks: int, epoch: int | None, *, is_key: bool = True) -> Coded:
        packet: Packet = make_packet(data)
        packet.pts, packet.time_base = ticks, SOUND_BASE if kind is AUDIO else PICTURE_BASE
        return cls(epoch, ticks, packet, is_key)


class TrackOwner(Protocol):
    """Who puts packets into tracks and is told what becomes of these: a session's playing side."""

    def report_now(self, kind: Kind) -> tuple[int, int]:
        """(NTP, ticks of this kind's RTP clock) of one same instant: now."""

    def track_connected(self, track: SyncTrack) -> None:
        """Its viewer's connection is up, and ``track.mime`` is agreed."""

    def key_frame_wanted(self, track: SyncTrack) -> None:
        """Its viewer cannot go on without one."""

    def track_stopped(self, track: SyncTrack) -> None: ...


class SyncTrack(PacketTrack):
    """One viewer's sound or pictures. ``recv`` gives ``av.Packet``s; nothing is encoded twice.

    Pictures begin with a key frame, also after some were lost here because nobody read them; while
    the reader waits for one, ``starved`` says so.
    """

    def __init__(self, kind: Kind, gate: EpochGate, owner: TrackOwner) -> None:
        super().__init__()
        self.kind = kind.value
        self.media = kind
        self.mime: str | None = None
        self.overflowed = 0
        self._gate, self._owner = gate, owner
        self._held: deque[Coded] = deque()
        self._news = asyncio.Event()
        self._codecs = SENT_AS[kind]
        self._needs_key = kind is not AUDIO
        self._reading = False
        self._hold_s = 0.0

    @property
    def starved(self) -> bool:
        """Its viewer waits, and nothing but a key frame can be sent to it."""
        return self._needs_key and self._reading

    def hold(self, for_ns: int) -> None:
        """From now on packets leave this much after their time, under their own stamps; 0: at once again."""
        self._hold_s = for_ns / NS_PER_S

    def put(self, coded: Coded) -> None:
        if self._hold_s:
            asyncio.get_running_loop().call_later(self._hold_s, self._arrive, coded)
        else:
            self._arrive(coded)

    def _arrive(self, coded: Coded) -> None:
        if self.readyState != "live":
            return
        if self._needs_key and not coded.is_key:
            return
        self._needs_key = False
        self._held.append(coded)
        if len(self._held) > HELD_PACKETS:
            self.overflowed += 1
            self._held.clear()
            self._needs_key = self.kind == "video"  # asked for when somebody reads again
        self._news.set()

    def purge(self) -> int:
        """Take out what has become stale, and the pictures that need it; how many that were."""
        kept: deque[Coded] = deque()
        broken = False
        for coded in self._held:
            if self._stale(coded):
                broken = self.kind == "video"
            elif not broken or coded.is_key:
                broken = False
                kept.append(coded)
        gone = len(self._held) - len(kept)
        self._held = kept
        self._needs_key |= broken
        return gone

    def _stale(self, coded: Coded) -> bool:
        return coded.epoch is not None and coded.epoch < self._gate.oldest

    async def recv(self) -> Packet:
        packet, _ = await self.next_packet(self.mime or self._codecs[0])
        return packet

    async def next_packet(self, mime: str) -> tuple[Packet, int]:
        if self.readyState != "live":
            raise MediaStreamError("the track has ended")
        if self.mime is None:
            if mime not in self._codecs:
                raise UsageError(f"{self.kind} is sent as {' or '.join(self._codecs)}, this viewer agreed on {mime}")
            self.mime = mime
            self._owner.track_connected(self)
        while True:
            while not self._held:
                self._news.clear()
                await self._wait()
                if self.readyState != "live":
                    raise MediaStreamError("the track has ended")
            if self._stale(self._held[0]):
                self.purge()
                continue
            coded = self._held.popleft()
            return coded.packet, coded.ticks

    async def _wait(self) -> None:
        self._reading = True
        if self._needs_key:
            self._owner.key_frame_wanted(self)
        try:
            await self._news.wait()
        finally:
            self._reading = False

    def report_now(self) -> tuple[int, int]:
        return self._owner.report_now(self.media)

    def want_key_frame(self) -> None:
        self._owner.key_frame_wanted(self)

    def stop(self) -> None:
        if self.readyState == "live":
            super().stop()
            self._held.clear()
            self._news.set()
            if self.wire is not None:
                self.wire.close()
            self._owner.track_stopped(self)

    async def drained(self) -> None:
        """Until nothing that aiortc took is still on its way out of this process."""
        if self.wire is not None and self.readyState == "live":
            await self.wire.sent.wait()
