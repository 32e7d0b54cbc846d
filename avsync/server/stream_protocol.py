"""AvatarStream: what a producer writes to and viewers watch; ``AvSyncSession`` and the baselines satisfy it alike.

Only types, so that the server knows no more of a session than this. ``Sound`` is int16 or float32,
shape (n,) mono or (n, channels), or bytes of s16 mono, or what PyAV gives. ``Picture`` is uint8 RGB,
shape (H, W, 3), or what PyAV gives.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

from avsync.monitor.sync_report import SyncReport

if TYPE_CHECKING:
    import av
    import numpy as np
    from aiortc import RTCPeerConnection

    Sound = np.ndarray[Any, np.dtype[Any]] | bytes | av.AudioFrame | av.Packet[Any]
    Picture = np.ndarray[Any, np.dtype[Any]] | av.VideoFrame | av.Packet[Any]


class StreamInterrupted(Protocol):
    """What an interrupt came to."""

    @property
    def epoch(self) -> int:
        """The epoch from now on; what carries an older one is dropped."""

    @property
    def played_ms(self) -> float | None:
        """How far the voice had come in ``turn``; None: nothing was being said, or the stream does not know."""

    @property
    def turn(self) -> int | None: ...


class StreamViewer(Protocol):
    """One viewer of the stream: a sound and a picture track, and what its page reports."""

    def add_to(self, connection: RTCPeerConnection) -> None:
        """Add both tracks to this connection."""

    def on_report(self, data: bytes) -> object:
        """A message of its page over the data channel, hostile until parsed. False or None: no answer to it."""

    def answer(self) -> str | None:
        """What its page should be told over the data channel after a report; None: nothing."""

    def report(self, now_ns: int) -> SyncReport | None:
        """What its own reports say of the offset; None while it has sent none. ``now_ns``: the event loop's time."""

    @property
    def rtp_origins(self) -> tuple[int | None, int | None]:
        """The RTP times of (sound, pictures) at output time 0, modulo 2**32; None until a packet has left."""

    def close(self) -> None:
        """The viewer has gone; its tracks end."""


class StreamTurn(Protocol):
    """One thing said. Writes wait while queues are full and answer False once the turn is stale."""

    @property
    def epoch(self) -> int: ...

    async def write_audio(self, sound: Sound, *, sample_rate: int = 48_000, pts_ns: int | None = None) -> bool: ...

    async def write_video(self, picture: Picture, *, pts_ns: int | None = None) -> bool: ...

    async def end(self) -> object:
        """Nothing more will be written in this turn."""


class StreamStats(Protocol):
    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""


class TurnStream(Protocol):
    """Where sound and pictures are written to."""

    def begin_turn(self) -> StreamTurn: ...

    def interrupt(self) -> Awaitable[StreamInterrupted]:
        """Barge-in: what was written so far is not to be said any more; from the call on, not from its end."""

    @property
    def buffered(self) -> float:
        """Seconds of sound written and not yet sent."""


class AvatarStream(TurnStream, Protocol):
    """And where viewers come from."""

    def viewer(self) -> StreamViewer:
        """One more, with tracks of its own. ``UsageError`` once the stream has closed."""

    def stats(self) -> StreamStats: ...

    async def close(self) -> None: ...
