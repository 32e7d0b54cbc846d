"""Rendered clips: the sound of the pool of examples.py, said by faces that are filmed instead of measured.

A pool is filmed once; each member of the ensemble then reads its own values off the same films (`clips_of`), and is
trained on them exactly as the geometry's network is on its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from avsync.scorer.features.cells import CELL_NS, CELLS_PER_S, MEL_PER_CELL, Floats
from avsync.scorer.features.grid import on_grid
from avsync.scorer.nets.torch_mouth_network import MouthNet
from avsync.scorer.synthetic.mouths import TRACK_HZ, mouth_track
from avsync.scorer.synthetic.renderer import at_pictures, render
from avsync.scorer.training.examples import SPOKEN_DB, TrainingClip, TrainingVoice, substream

RATES: Final = (25.0, 25.0, 25.0, 24.0, 30.0, 30.0, 50.0)
LONGEST_S: Final = 7.0
"""Only so much of an utterance is filmed: pictures are dear."""


class Film(NamedTuple):
    """One clip: pictures uint8 (T, 48, 48) grey from `times_ns` on, and its sound float16 (2 N, 40) and (N,)."""

    times_ns: NDArray[np.int64]
    grey: NDArray[np.uint8]
    mel: NDArray[np.float16]
    spoken: NDArray[np.bool_]


def tracks_of(voices: Sequence[TrainingVoice], seed: int, each: int = 1) -> list[Floats]:
    """Mouths that say what the voices do, `each` speakers an utterance: float32 (n, columns), 100 rows a second."""
    found = []
    for index, (spoken, _) in enumerate(voices):
        for speaker in range(each):
            random = substream(seed, index * each + speaker, "mouth")
            track = mouth_track(spoken.phonemes, spoken.duration_s, random, level_db=spoken.level_db)
            found.append(track.values)
    return found


def film_pool(
    voices: Sequence[TrainingVoice],
    tracks: Sequence[Floats],
    seed: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Film]:
    """Each utterance filmed once, with a face, a camera and a rate of its own."""
    films = []
    for index, (sound, track) in enumerate(zip(voices, tracks, strict=True)):
        films.append(_film(sound, track, substream(seed, index, "film")))
        if progress is not None:
            progress(index + 1, len(voices))
    return films


def _film(voice: TrainingVoice, track: Floats, random: np.random.Generator) -> Film:
    fps = float(random.choice(RATES))
    length_s = min(len(track) / TRACK_HZ, LONGEST_S)
    start_s = np.arange(int(length_s * fps) - 1) / fps + random.uniform(0.0, 1.0 / fps)
    values = at_pictures(track, start_s, 1.0 / fps)
    with torch.no_grad():
        pictures = render(values[None], random, strength=float(random.uniform(0.1, 1.0)))[0]
    cells = min(int(start_s[-1] * CELLS_PER_S), len(voice.mel) // MEL_PER_CELL)
    loud = voice.spoken.level_db > np.percentile(voice.spoken.level_db, 95) - SPOKEN_DB
    grey = np.asarray((pictures * 255).round().to(torch.uint8).numpy())
    times_ns = np.round(start_s * 1e9).astype(np.int64)
    return Film(times_ns, grey, voice.mel[: cells * MEL_PER_CELL], np.resize(loud[::MEL_PER_CELL], cells))


def clips_of(net: MouthNet, films: Sequence[Film], *, device: str = "cpu") -> list[TrainingClip]:
    """What a MouthNet reads off the films, and off their mirror images: twice as many clips as films."""
    clips = []
    net = net.to(device).eval()
    for film in films:
        for grey in (film.grey, film.grey[:, :, ::-1]):
            with torch.inference_mode():
                given = torch.from_numpy(np.ascontiguousarray(grey)).to(device).float()
                values = np.asarray(net.of_grey(given).cpu().numpy(), np.float32)
            end_ns = len(film.spoken) * CELL_NS
            cells, seen = on_grid(
                film.times_ns, values, 0, len(film.spoken), end_ns=max(end_ns, int(film.times_ns[-1]))
            )
            clips.append(TrainingClip(cells, seen, film.mel, film.spoken))
    return clips
