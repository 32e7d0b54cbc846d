"""The scorer's benchmark on a whole clip: `avsync score` on a drawn 720p talker, start and face tracking included.

The film has grain, so that it takes about as many bits, and so as long to decode, as a camera's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import av
import numpy as np
from PIL import Image

from benchmarks.scorer_table import Row
from tests.scorer.tracking.drawn_face import draw_face, scene

FPS: Final = 25
RATE_HZ: Final = 48_000
SIZE: Final = (1280, 720)
FACE_PX: Final = 260
BITS_PER_S: Final = 2_500_000
"""A usual rate of 720p."""
GRAIN: Final = 6
"""Levels of 255."""
RUNS: Final = 3
GROUP: Final = "whole `avsync score`"
COMMAND: Final = "import sys; from avsync.cli import main; sys.exit(main(sys.argv[1:]))"
ANSWERED: Final = (0, 1, 3)
"""Exit codes of an answer: in sync, out of sync, not sure."""


def clip_row(seconds: float) -> Row:
    """How many times faster than real time a clip of so many seconds is scored by two cores, from start to exit."""
    rate = f"{BITS_PER_S / 1e6:g} Mbit/s"
    name, aim = f"1280x720, {FPS} fps, {rate}, one face, {seconds:g} s, two cores", ">= 8 x real time"
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "talker.mp4"
        make_clip(clip, seconds)
        took: list[float] = []
        compiled = Path(folder) / "compiled"
        for _ in range(1 + RUNS):  # the first one only compiles, as installing does
            begin = perf_counter()
            run = _on_two_cores([sys.executable, "-c", COMMAND, "score", str(clip), "--json"], compiled)
            took.append(perf_counter() - begin)
            if run.returncode not in ANSWERED:
                why = (run.stderr.strip().splitlines() or ["no reason given"])[-1].replace(folder, "")
                return Row(GROUP, name, unit="x real time", aim=aim, note=f"exit code {run.returncode}: {why}")
    middle = median(took[1:])
    note = f"{middle:.1f} s from start to exit, the middle of {RUNS} runs ({min(took[1:]):.1f} to {max(took[1:]):.1f})"
    return Row(GROUP, name, rate=seconds / middle, unit="x real time", aim=aim, note=note)


def _on_two_cores(words: list[str], compiled: Path) -> subprocess.CompletedProcess[str]:
    """As a user starts it: installed, threads as the libraries like them, but no more than two cores."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(compiled)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) > 2:
        os.sched_setaffinity(0, set(sorted(cores)[:2]))  # inherited
    try:
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    finally:
        if len(cores) > 2:
            os.sched_setaffinity(0, cores)


def make_clip(path: Path, seconds: float) -> None:
    """A drawn face whose mouth opens with the loudness of a hummed voice, H.264 and AAC, with grain."""
    pictures = round(seconds * FPS)
    opening = _opening(np.arange(pictures) / FPS)
    shades = [_picture(level / 15) for level in range(16)]
    rng = np.random.default_rng(5)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"}, bit_rate=BITS_PER_S)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for level in opening:
            grain = rng.integers(0, GRAIN, (SIZE[1], SIZE[0], 1), np.uint8)
            frame = av.VideoFrame.from_ndarray(shades[round(float(level) * 15)] + grain, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 25))
        pcm = (np.asarray(voice) * _opening(time_s) * 5000).astype(np.int16)
        for first in range(0, len(pcm), 1024):
            chunk = av.AudioFrame.from_ndarray(pcm[None, first : first + 1024], format="s16", layout="mono")
            chunk.sample_rate, chunk.pts = RATE_HZ, first
            container.mux(sound.encode(chunk))
        container.mux(sound.encode(None))


def _opening(time_s: np.ndarray) -> np.ndarray:
    """0 to 1: syllables of changing length, about four a second."""
    return np.asarray(np.abs(np.sin(np.pi * (3.7 * time_s + 0.6 * np.sin(1.3 * time_s))) * np.cos(0.9 * time_s)))


def _picture(opening: float) -> np.ndarray:
    face: Image.Image = draw_face(FACE_PX, opening=opening)
    return np.clip(scene((430, 100, face), size=SIZE), 0, 255 - GRAIN).astype(np.uint8)
