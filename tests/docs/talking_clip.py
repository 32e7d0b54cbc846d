"""A talking clip: ten seconds of the generated face of ``avsync serve``, its voice ahead of its lips by so much."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from avsync.server.face import FaceSource

FPS, RATE_HZ = 25, 48_000


def write_talking_clip(path: Path, *, seconds: int = 10, voice_ahead_ms: int = 0) -> None:
    frames = list(islice(FaceSource().frames(), seconds * FPS))
    pcm = np.roll(np.concatenate([frame.sound for frame in frames]), -voice_ahead_ms * RATE_HZ // 1000)
    with av.open(path, "w") as clip:
        video, audio = clip.add_stream("mpeg4", rate=FPS), clip.add_stream("aac", rate=RATE_HZ, layout="mono")
        video.width = video.height = 512
        video.pix_fmt, video.bit_rate = "yuv420p", 2_000_000
        for number, made in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(made.picture, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            clip.mux(video.encode(picture))
        clip.mux(video.encode())
        for at in range(0, len(pcm), 960):
            sound = av.AudioFrame.from_ndarray(pcm[None, at : at + 960], format="s16", layout="mono")
            sound.sample_rate, sound.pts = RATE_HZ, at
            clip.mux(audio.encode(sound))
        clip.mux(audio.encode())
