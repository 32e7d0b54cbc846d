"""A viewer made up by hand: what it would have written down, had it heard and seen exactly this."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import numpy as np

from avsync.glass.marks import number_of, sound
from avsync.glass.recording import Recording, recording
from avsync.glass.strip import BLACK, WHITE, Mark, _bits
from avsync.units import ms

CONTEXT_BEGAN_MS = 150.25  # the page's time at the audio context's frame 0
FIRST_FRAME = 2400


@dataclass
class Viewer:
    """Plays ``length_ms`` from the page's 1000 ms on. ``voice``: (heard at, content position, for how long), ms."""

    length_ms: int = 6000
    voice: list[tuple[float, float, float]] = field(default_factory=list)
    frames: list[list[object]] = field(default_factory=list)
    noise: float = 0.0
    rtp: tuple[int, int] = (0, 0)

    def hear(self, at_ms: float, content_ms: float, for_ms: float) -> None:
        self.voice.append((at_ms, content_ms, for_ms))

    def show(self, at_ms: float, content_ms: float | None, *, idle: bool = False) -> None:
        """One frame; ``content_ms`` None: a strip that cannot be read."""
        if content_ms is None:
            levels = np.full(40, 128)
        else:
            levels = np.where(_bits(Mark(number_of(ms(content_ms)), idle)), WHITE, BLACK)
        rtp = (self.rtp[1] + round((content_ms or 0) * 90)) % (1 << 32)
        blocks = bytes(int(level) for level in levels).hex()
        self.frames.append([at_ms, at_ms, at_ms, at_ms / 1000, len(self.frames), rtp, blocks])

    def show_all(self, at_ms: float, content_ms: float, for_ms: float, every_ms: float = 40.0) -> None:
        for number in range(round(for_ms / every_ms)):
            self.show(at_ms + number * every_ms, content_ms + number * every_ms)

    def recording(self) -> Recording:
        count = round((1000 + self.length_ms - CONTEXT_BEGAN_MS) * 48)
        pcm = np.zeros(count, np.int16)
        for at_ms, content_ms, for_ms in self.voice:
            first = round((at_ms - CONTEXT_BEGAN_MS) * 48) - FIRST_FRAME
            length = min(round(for_ms * 48), count - first)
            pcm[first : first + length] = sound(round(content_ms * 48), length)
        if self.noise:
            pcm = (pcm + np.random.default_rng(1).normal(0, self.noise, count)).astype(np.int16)
        pieces = [
            [FIRST_FRAME + at, base64.b64encode(pcm[at : at + 2400].astype("<i2").tobytes()).decode()]
            for at in range(0, count, 2400)
        ]
        end_s = (count + FIRST_FRAME) / 48_000
        clock = [[s, 1000 * s + CONTEXT_BEGAN_MS] for s in np.arange(0, end_s, 0.1).tolist()]
        sources = [
            [at + t, 5e12 + at + t, (self.rtp[0] + round((content + t) * 48)) % (1 << 32)]
            for at, content, length in self.voice
            for t in np.arange(0.0, length, 20.0).tolist()
        ]
        take = {"frames": self.frames, "pcm": pieces, "clock": clock, "sources": sources, "stats": []}
        return recording([take | {"time_origin_ms": 5e12}])
