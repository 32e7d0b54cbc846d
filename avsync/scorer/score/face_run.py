"""Face run: one face of a clip on its way through the scorer's stream, and what is kept of it.

Here each window answers for itself: the clip's answer adds them up later, so a change in the middle stays visible. A
face that is lost stays in the time line as "no face".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from avsync.scorer.backends.backend import Backend
from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.score.evidence import Array, Evidence
from avsync.scorer.signal import LipSyncSignal
from avsync.scorer.stream import LipSyncStream, ScoredSegment
from avsync.scorer.tracking.clip_reader import Rgb
from avsync.scorer.tracking.mouth_crops import CROP_SIZE
from avsync.scorer.tracking.sound_placing import SoundPiece
from avsync.units import to_ms

TOGETHER: Final = 8
"""Pictures pushed at once."""
BLOCK_MS: Final = 400
PLACE_EVERY: Final = 25
"""Pictures from one note of the face's place to the next."""
LOST: Final = np.full((LANDMARKS, 2), np.nan, np.float32)
INNER_LIPS: Final = (13, 14)


class FacePlace(NamedTuple):
    """Where a face was: its width and the middle of its mouth, pixels."""

    width_px: float
    x_px: float
    y_px: float


class FaceRun:
    """Push the sound, and every picture with this face's landmarks and crop, or None where it is lost."""

    def __init__(
        self,
        number: int,
        backend: Backend,
        offsets_ms: Array,
        curve: ConfidenceCurve,
        before: Iterable[SoundPiece],
        *,
        with_blocks: bool = False,
    ) -> None:
        """`before`: the sound so far, from some seconds before the first picture on."""
        self.number = number
        self.windows: list[LipSyncSignal] = []
        self.blocks: list[LipSyncSignal] = []
        self.evidence: list[Evidence] = []
        self.pictures_seen = 0
        self.last_seen_ns = 0
        self._places: list[FacePlace] = []
        block_ms = BLOCK_MS if with_blocks else None
        self._stream = LipSyncStream(lambda _: backend, offsets_ms, block_ms=block_ms, gather_s=0.0, curve=curve)
        self._waiting: list[tuple[int, Floats, Rgb]] = []
        self._last_crop: Rgb = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
        for sound in before:
            self.add_sound(sound)

    def add_sound(self, sound: SoundPiece) -> None:
        self._keep(self._stream.push_audio(sound.pcm, sound.pts_ns))

    def add_picture(self, pts_ns: int, landmarks: Floats, crop: Rgb) -> None:
        if self.pictures_seen % PLACE_EVERY == 0:
            x, y = landmarks[list(INNER_LIPS)].mean(axis=0).tolist()
            self._places.append(FacePlace(float(np.ptp(landmarks[:, 0])), x, y))
        self.pictures_seen += 1
        self.last_seen_ns = pts_ns
        self._last_crop = crop
        self._push(pts_ns, landmarks)

    def add_lost(self, pts_ns: int) -> None:
        """A picture without it. It keeps its last crop, so that what this mouth looks like is not forgotten."""
        self._push(pts_ns, LOST)

    def finish(self) -> None:
        """Nothing more will come."""
        self._hand_over()
        self._keep(self._stream.flush())

    @property
    def place(self) -> FacePlace:
        """The middle of where it was."""
        return FacePlace(*np.median(np.array(self._places), axis=0).tolist())

    def _push(self, pts_ns: int, landmarks: Floats) -> None:
        self._waiting.append((pts_ns, landmarks, self._last_crop))
        if len(self._waiting) >= TOGETHER:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._waiting:
            times, landmarks, crops = zip(*self._waiting, strict=True)
            self._waiting = []
            self._keep(self._stream.push_video(np.stack(crops), times, landmarks=np.stack(landmarks)))

    def _keep(self, scored: Iterable[ScoredSegment]) -> None:
        for one in scored:
            if one.kind == "block":
                self.blocks.append(one.signal)
                continue
            self.windows.append(one.signal)
            start_ms = to_ms(one.signal.pts_ns)
            end_ms = start_ms + to_ms(one.signal.duration_ns)
            rho = None if one.scores is None else one.scores.rho
            self.evidence.append(Evidence(start_ms, end_ms, one.signal.label, rho, one.speech_s))
