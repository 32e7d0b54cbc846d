"""Payload, the words: sentences spoken by espeak-ng in a process of their own, so that they sound the same every time.

espeak-ng carries state from one text to the next (measured: the same text again is some samples longer or shorter), and
loading it anew in the same process does not reset it. A fresh process does, for 0.15 s a scene.

    python -m sim.payload.talk < request.json > scene.npz      what ``talk`` runs
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from avsync.errors import InputError
from avsync.scorer.synthetic.espeak import Phoneme, synthesise
from avsync.scorer.synthetic.speech import resample
from sim.payload.payload import F32, SAMPLE_RATE_HZ

TIMEOUT_S = 120


class SpokenTalk(NamedTuple):
    """pcm: (n,) float32 at 16 kHz, as loud as espeak-ng makes it; ``phonemes`` of all sentences, in order."""

    pcm: F32
    phonemes: tuple[Phoneme, ...]


class TalkRequest(NamedTuple):
    """``pauses_s``: silence before the first sentence and after each one; one more than there are ``texts``."""

    texts: tuple[str, ...]
    pauses_s: tuple[float, ...]
    voice: str
    words_per_minute: int
    pitch: int
    at_least_s: float
    """Sentences that begin after this are left out."""


@lru_cache(maxsize=16)
def talk(wish: TalkRequest) -> SpokenTalk:
    """What was wished for; the last few are kept, for the other viewer and the other policy.

    ``InputError`` where espeak-ng or the voice is missing, or says nothing.
    """
    done = subprocess.run(
        [sys.executable, "-m", "sim.payload.talk"],
        input=json.dumps(wish._asdict()).encode(),
        capture_output=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it ended without a word"]
        raise InputError(f"espeak-ng did not speak: {last[0]}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as said:
        starts, names = said["starts_s"].tolist(), said["ipa"].tolist()
        return SpokenTalk(said["pcm"], tuple(Phoneme(name, at) for name, at in zip(names, starts, strict=True)))


def spoken(wish: TalkRequest) -> SpokenTalk:
    """The same in this process: reproducible only as the first thing that it says."""
    pieces = [np.zeros(int(wish.pauses_s[0] * SAMPLE_RATE_HZ))]
    phonemes: list[Phoneme] = []
    length = len(pieces[0])
    for text, pause_s in zip(wish.texts, wish.pauses_s[1:], strict=True):
        if length >= wish.at_least_s * SAMPLE_RATE_HZ:
            break
        said = synthesise(text, wish.voice, words_per_minute=wish.words_per_minute, pitch=wish.pitch)
        samples = len(said.pcm) * SAMPLE_RATE_HZ // said.rate_hz
        phonemes += [Phoneme(one.ipa, length / SAMPLE_RATE_HZ + one.start_s) for one in said.phonemes]
        pieces += [resample(said.pcm / 32768.0, samples), np.zeros(int(pause_s * SAMPLE_RATE_HZ))]
        length += len(pieces[-2]) + len(pieces[-1])
    if not phonemes:
        raise InputError(f"espeak-ng's voice {wish.voice!r} says nothing", remedy="take another voice")
    return SpokenTalk(np.concatenate(pieces).astype(np.float32), tuple(phonemes))


def main() -> int:
    wish = TalkRequest(**json.load(sys.stdin))
    try:
        said = spoken(wish)
    except InputError as error:
        print(error.rule, file=sys.stderr)
        return 2
    out = io.BytesIO()
    np.savez(
        out,
        pcm=said.pcm,
        starts_s=np.array([one.start_s for one in said.phonemes]),
        ipa=np.array([one.ipa for one in said.phonemes]),
    )
    sys.stdout.buffer.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
