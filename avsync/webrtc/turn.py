"""A turn: one thing the avatar says. What is written through it can be told from every other turn's."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from avsync.webrtc.intake import Picture, Sound
from avsync.webrtc.writing import Writing


class Turn:
    """Made by ``AvSyncSession.begin_turn``. Leaving ``async with`` ends it: the rest is still said."""

    def __init__(self, writing: Writing, epoch: int) -> None:
        self._writing = writing
        self.epoch = epoch

    @property
    def interrupted(self) -> bool:
        """A producer may stop: whatever it writes is refused."""
        return not self._writing.admits(self.epoch)

    async def write_audio(self, sound: Sound, *, sample_rate: int = 48_000, pts_ns: int | None = None) -> bool:
        return await self._writing.audio(sound, sample_rate, pts_ns, self.epoch)

    async def write_video(self, picture: Picture, *, pts_ns: int | None = None) -> bool:
        return await self._writing.video(picture, pts_ns, self.epoch)

    async def end(self) -> None:
        """Nothing more comes: silence after the last sample is no stall."""
        await self._writing.end(self.epoch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()
