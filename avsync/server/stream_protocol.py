"""Stream: what a producer writes to and viewers watch; ``AvSyncSession`` and the baselines satisfy it alike.

Only types, so that the server knows no more of a session than this. ``Sound`` is int16 or float32,
shape (n,) mono or (n, channels), or bytes of s16 mono, or what PyAV gives. ``Picture`` is uint8 RGB,
shape (H, W, 3), or what PyAV gives.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import av
    import numpy as np
    from aiortc import MediaStreamTrack

    Sound = np.ndarray[Any, np.dtype[Any]] | bytes | av.AudioFrame | av.Packet[Any]
    Picture = np.ndarray[Any, np.dtype[Any]] | av.VideoFrame | av.Packet[Any]


class Flushed(Protocol):
    """What an interrupt came to."""

    @property
    def epoch(self) -> int:
        """The epoch from now on; what carries an older one is dropped."""


class ViewerTracks(Protocol):
    """One viewer's pair of aiortc tracks.

    A viewer may also have ``attach(peer_connection)`` (called once its tracks were added),
    ``on_report(data: bytes)`` (a data channel's message) and ``stats() -> dict``.
    """

    @property
    def audio_track(self) -> MediaStreamTrack: ...

    @property
    def video_track(self) -> MediaStreamTrack: ...

    def close(self) -> Awaitable[None] | None:
        """The viewer has gone; its tracks end."""


class StreamTurn(Protocol):
    """One thing said. Writes wait while queues are full and answer False once the turn is stale."""

    @property
    def epoch(self) -> int: ...

    async def write_audio(self, sound: Sound, *, sample_rate: int = 48_000, pts_ns: int | None = None) -> bool: ...

    async def write_video(self, picture: Picture, *, pts_ns: int | None = None) -> bool: ...

    async def end(self) -> object:
        """Nothing more will be written in this turn."""


class Stats(Protocol):
    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""


class AvatarStream(Protocol):
    """Where a producer's sound and pictures go, and where viewers come from."""

    def viewer(self) -> ViewerTracks:
        """A fresh pair of tracks for one more viewer."""

    def begin_turn(self) -> StreamTurn: ...

    def flush(self) -> Awaitable[Flushed]:
        """Interrupt: what was written so far is not to be said any more; from the call on, not from its end."""

    @property
    def buffered(self) -> float:
        """Seconds of sound written and not yet sent."""

    def stats(self) -> Stats: ...

    async def close(self) -> None: ...
