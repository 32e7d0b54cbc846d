"""A real clip: frame sizes and durations read from a media file, so that the lab's frames weigh what real ones do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from avsync.errors import InputError
from avsync.units import Rate

MAX_FRAMES = 20_000


class Clip(NamedTuple):
    """``frame_bytes``: coded size of each frame, in order; ``fps``: nominal; ``about``: one line for people."""

    fps: Rate
    frame_bytes: tuple[int, ...]
    duration_s: float
    about: str


def load_clip(path: Path) -> Clip:
    """Read a media file with PyAV. ``InputError`` if it is none, or has no pictures."""
    import av  # the lab works without it as long as no clip is asked for

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError("has no video stream", file=str(path), remedy="give a clip with a face that talks")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            sizes: list[int] = []
            for packet in container.demux(stream):
                if packet.size:
                    sizes.append(packet.size)
                if len(sizes) >= MAX_FRAMES:
                    break
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"not a readable media file: {error}", file=str(path)) from None
    if not sizes:
        raise InputError("has no frames", file=str(path))
    fps: Rate = int(rate) if rate.denominator == 1 else Fraction(rate)
    seconds = len(sizes) / float(rate)
    about = f"{path.name}: {len(sizes)} frames at {float(rate):g} fps, {sum(sizes) * 8 / seconds / 1000:.0f} kbit/s"
    return Clip(fps, tuple(sizes), seconds, about)
