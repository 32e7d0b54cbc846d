"""Payload, the talk: synthetic speech with phoneme timing, and a mouth that says it, for as long as a turn lasts.

A turn is a row of *scenes* of about 20 s: sentences of one espeak-ng voice with pauses between them, and the mouth's
movement over all of it. A scene is made when its content is first asked for; a few are kept, so a call of hours takes
no more memory than one of minutes. Everything follows from (seed, speaker, turn, scene), whatever was lost or stalled:
two policies hear the same talk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.errors import InputError
from avsync.scorer.synthetic.espeak import synthesise
from avsync.scorer.synthetic.mouths import COLUMNS, TRACK_HZ, Style, draw_style, mouth_track
from avsync.scorer.synthetic.speech import level_per_hop
from avsync.scorer.synthetic.texts import sentence
from avsync.scorer.threads import keep_to_one_thread
from avsync.units import ms, ticks_to_ns
from sim.payload.face import DrawnFace, RenderedFace, SpeakerFace
from sim.payload.payload import F32, SAMPLE_NS, SAMPLE_RATE_HZ, PictureBatch
from sim.payload.scorer_at_viewer import ScoredWindow, WindowScorer, score
from sim.payload.talk import TalkRequest, talk
from sim.rng import substream
from sim.run.world import Run
from sim.scenario import source as scenario_source
from sim.truth.columns import I64

SCENE_S = 20.0
SENTENCES = 30
"""Of three words at least: more than a scene needs."""
KEPT_SCENES = 4
PEAK = 0.5
FIRST_S = 0.25
"""Silence before the first word of a scene: a mouth opens before it speaks."""
PAUSE_S = 0.3
HEAD = tuple(COLUMNS.index(name) for name in ("yaw_deg", "pitch_deg", "roll_deg", "shift_x", "shift_y", "scale"))
LEAD_S = 0.0
"""How far every payload's mouth is ahead of its sound. Speakers differ by some 20 ms, real ones too, and the training
draws it; in the lab it is the one at which the scorer, whose zero comes from real faces, reads 0 of a payload that is
played in sync (tests/sim/payload/test_payload_scored.py)."""
POSE_DEG = (8.0, 4.0, 3.0)
"""Spread of yaw, pitch and roll from speaker to speaker: somebody who looks at a camera."""
CLEARLY_LEAST = {"opening": 0.18, "closure": 0.9}
CLEARLY_MOST = {"accent": 0.15, "looseness": 0.15, "restless": 0.8}
"""Bounds of `mouths.Style`. A payload is a test signal: whoever is drawn speaks as one who reads the news. A mumbler
would test the scorer, and the offset at the viewer would be lost in its errors."""
EXPOSED_PARTS = 4
TAPER_S = 1.0
"""So long before and after a scene's end the head is on its way to and from its usual pose."""


class SpokenScene(NamedTuple):
    """``first``: its first sample, counted from the turn's start. pcm: (n,); mouth: (n / 160, columns)."""

    first: int
    pcm: F32
    mouth: F32

    @property
    def end(self) -> int:
        return self.first + len(self.pcm)


class Speech:
    """A payload: one speaker with one face. ``InputError`` where espeak-ng or the voice is missing."""

    def __init__(
        self, *, voice: str = "en-us", seed: int = 0, speaker: int | None = None, frame_ns: int = ms(40)
    ) -> None:
        self.voice, self.seed, self.frame_ns = voice, seed, min(frame_ns, ms(40))
        self.speaker = seed if speaker is None else speaker
        who = self._random("speaker", self.speaker)
        self.style = clear(draw_style(who))
        self.pose = [*who.normal(0.0, POSE_DEG).tolist(), 0.0, 0.0, 1.0]
        self.rate, self.pitch = int(who.integers(140, 190)), int(who.integers(30, 70))
        self._starts: dict[int, list[int]] = {0: [0]}
        self._kept: OrderedDict[tuple[int, int], SpokenScene] = OrderedDict()
        # What is missing on this machine is said now, not after a minute of simulation.
        self.face = face_of(self._random("face", self.speaker), self._made(0, 0).mouth)

    def sound(self, turn: int, since_ns: npt.NDArray[np.float64]) -> F32:
        at = since_ns / SAMPLE_NS
        out = np.zeros(len(at), np.float32)
        for scene, mine in self._scenes(turn, at):
            inside = at[mine] - scene.first
            low = np.floor(inside).astype(np.int64)
            part = (inside - low).astype(np.float32)
            high = np.minimum(low + 1, len(scene.pcm) - 1)
            out[mine] = scene.pcm[low] * (1 - part) + scene.pcm[high] * part
        return out

    def pictures(self, turn: int, since_ns: I64) -> PictureBatch:
        """A frame shows the mouth as it was on average during the frame's own time."""
        mouth = np.zeros((len(since_ns), len(COLUMNS)), np.float32)
        for part in range(EXPOSED_PARTS):
            at = (since_ns + self.frame_ns * (2 * part + 1) // (2 * EXPOSED_PARTS)) / SAMPLE_NS
            for scene, mine in self._scenes(turn, at):
                # Row k of a track is the mouth at (k + 0.5) / 100 s.
                row = (at[mine] - scene.first) * TRACK_HZ / SAMPLE_RATE_HZ - 0.5
                rows = np.arange(len(scene.mouth))
                now = np.stack([np.interp(row, rows, each) for each in scene.mouth.T], axis=1)
                mouth[mine] += (now / EXPOSED_PARTS).astype(np.float32)
        return self.face.pictures(mouth)

    def idle(self) -> PictureBatch:
        still = mouth_track([], 0.02, self._random("idle", self.speaker), style=self.style).values[:1].copy()
        still[:, HEAD] = self.pose
        return self.face.pictures(still)

    def _scenes(self, turn: int, at: npt.NDArray[np.float64]) -> list[tuple[SpokenScene, npt.NDArray[np.bool_]]]:
        """Each scene that these positions (samples) fall into, and which of them do."""
        found: list[tuple[SpokenScene, npt.NDArray[np.bool_]]] = []
        if not len(at):
            return found
        last = float(at.max())
        starts = self._starts.setdefault(turn, [0])
        while starts[-1] <= last:  # how long a scene is, is known once it was made
            starts.append(self._scene(turn, len(starts) - 1).end)
        for index in np.unique(np.searchsorted(starts, at, "right") - 1).tolist():
            scene = self._scene(turn, index)
            found.append((scene, (at >= scene.first) & (at < scene.end)))
        return found

    def _scene(self, turn: int, index: int) -> SpokenScene:
        key = (turn, index)
        if key not in self._kept:
            self._kept[key] = self._made(turn, index)
            if len(self._kept) > KEPT_SCENES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _made(self, turn: int, index: int) -> SpokenScene:
        random = self._random(f"turn.{turn}.{index}", self.seed)
        pauses_s = PAUSE_S * random.uniform(0.5, 1.5, SENTENCES)
        said = talk(TalkRequest(
            texts=tuple(sentence(self.voice, random) for _ in range(SENTENCES)),
            pauses_s=(FIRST_S, *pauses_s.tolist()), voice=self.voice, words_per_minute=self.rate, pitch=self.pitch,
            at_least_s=SCENE_S,
        ))  # fmt: skip
        whole = -len(said.pcm) % (SAMPLE_RATE_HZ // TRACK_HZ)  # whole rows of the mouth's track
        pcm = np.concatenate([said.pcm, np.zeros(whole, np.float32)]).astype(np.float64)
        pcm *= PEAK / max(float(np.abs(pcm).max()), 1e-6)
        track = mouth_track(
            said.phonemes, len(pcm) / SAMPLE_RATE_HZ, random, style=self.style, level_db=level_per_hop(pcm)
        )
        return SpokenScene(self._starts[turn][index], pcm.astype(np.float32), self._posed(track.values))

    def _posed(self, mouth: F32) -> F32:
        """The head moves about this speaker's pose, and is there where scenes meet: no jump between them."""
        mouth = mouth.copy()
        head = mouth[:, HEAD]
        rows = np.arange(len(mouth))
        near = np.minimum(rows, rows[::-1]) / (TAPER_S * TRACK_HZ)
        mouth[:, HEAD] = self.pose + (head - head.mean(axis=0)) * np.clip(near, 0.0, 1.0)[:, None]
        return mouth

    def _random(self, what: str, seed: int) -> np.random.Generator:
        return np.random.default_rng(substream(seed, f"payload.{what}").raw())


def clear(drawn: Style) -> Style:
    """The same speaker, but clearly: nothing swallowed, and the mouth neither ahead of the sound nor behind it."""
    least = {name: max(getattr(drawn, name), bound) for name, bound in CLEARLY_LEAST.items()}
    most = {name: min(getattr(drawn, name), bound) for name, bound in CLEARLY_MOST.items()}
    return replace(drawn, anticipation_s=dict.fromkeys(drawn.anticipation_s, LEAD_S), **least, **most)


def face_of(random: np.random.Generator, usual: F32) -> SpeakerFace:
    """Rendered where torch is installed, else drawn."""
    seed = int(random.integers(1 << 31))
    try:
        return RenderedFace(seed, usual)
    except ImportError:
        return DrawnFace(seed / (1 << 31))


def check_installed(part: scenario_source.PayloadSpec) -> None:
    """``InputError`` where the scorer, espeak-ng or the voice is missing: said before anything runs."""
    try:
        synthesise("a", part.voice)
    except InputError as error:
        remedy = error.remedy or "run without --scorer and without a payload"
        raise InputError(f"a payload is spoken by espeak-ng: {error.rule}", remedy=remedy) from None
    scorer_of(part.scorer)


def scored_run(run: Run, part: scenario_source.PayloadSpec) -> list[ScoredWindow]:
    """The run's payload as it was seen and heard, and the scorer's windows beside the truth."""
    keep_to_one_thread(load=True)  # runs stand side by side, a process for each core
    frame_ns = ticks_to_ns(1, run.scenario.source.video.fps)
    speech = Speech(voice=part.voice, seed=run.seed, speaker=part.speaker, frame_ns=frame_ns)
    return score(run, speech, scorer_of(part.scorer))


def scorer_of(name: str) -> WindowScorer:
    """The SDK's own streaming scorer. Each window answers by itself: the truth beside it is of that second alone."""
    from avsync.scorer.scorer import LipSyncScorer

    scorer: WindowScorer = LipSyncScorer(name, gather_s=0.0, block_ms=None)
    return scorer
