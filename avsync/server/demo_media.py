"""Demo media: a clip as the files that talking-head models eat: numbered JPEGs and a 48 kHz WAV.

Pictures and sound are the same length to the sample: exactly one frame period of sound per picture.
"""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av

from avsync.errors import InputError
from avsync.server.decode import Rgb
from avsync.server.sources import ClipSource
from avsync.units import SOUND_HZ

QUALITY = 3
"""mjpeg's scale, 2 (best) to 31."""


def write_demo_media(
    clip: Path, out: Path, *, fps: Fraction | None = None, size: tuple[int, int] | None = None
) -> tuple[int, float]:
    """Write ``out/frames/frame_0001.jpg`` … and ``out/audio.wav``; (pictures, seconds of sound)."""
    source = ClipSource(clip, fps=fps, size=size, loop=False)
    frames = out / "frames"
    if frames.exists() and any(frames.iterdir()):
        raise InputError("there are frames in it already", file=str(frames), remedy="give a folder that is empty")
    try:
        frames.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", file=str(frames)) from None
    number = samples = 0
    with wave.open(str(out / "audio.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SOUND_HZ)
        for number, frame in enumerate(source.frames(), start=1):
            (frames / f"frame_{number:04d}.jpg").write_bytes(jpeg(frame.picture))
            sound.writeframes(frame.sound.astype("<i2").tobytes())
            samples += len(frame.sound)
    return number, samples / SOUND_HZ


def jpeg(picture: Rgb) -> bytes:
    """(H, W, 3) uint8 RGB -> a JPEG file's bytes."""
    height, width = picture.shape[:2]
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.qmin = encoder.qmax = QUALITY
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
