"""Marked payloads: content that says in every sample and every pixel which content it is, and one who can read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.units import ms
from sim.payload.payload import F32, LANDMARKS, ROI_PX, SAMPLE_NS, U8, PictureBatch
from sim.run.world import Run
from sim.truth.columns import I64
from sim.truth.tables import SourceTable

SCALE = 1e12  # content in ns -> a sample: a day would still be below 1
IDLE_MARK = -1


class Marked:
    """A sample is its content position; a picture holds it in its first bytes. ``late_ns``: lips that are wrong."""

    def __init__(self, made: SourceTable, *, lips_late_ns: int = 0, landmarks: bool = False) -> None:
        self.made, self.lips_late_ns, self.landmarks = made, lips_late_ns, landmarks

    def sound(self, turn: int, since_ns: npt.NDArray[np.float64]) -> F32:
        return np.asarray((self.made.start_ns[turn] + since_ns + 1) / SCALE, np.float32)

    def pictures(self, turn: int, since_ns: I64) -> PictureBatch:
        return self._marked(self.made.start_ns[turn] + since_ns - self.lips_late_ns)

    def idle(self) -> PictureBatch:
        return self._marked(np.array([IDLE_MARK]))

    def _marked(self, content_ns: I64) -> PictureBatch:
        rois = np.zeros((len(content_ns), ROI_PX, ROI_PX, 3), np.uint8)
        rois.reshape(len(rois), -1)[:, :8] = content_ns.astype(np.int64).view(np.uint8).reshape(-1, 8)
        shape = np.broadcast_to(content_ns[:, None, None], (len(rois), LANDMARKS, 2)).astype(np.float32)
        return PictureBatch(rois, shape if self.landmarks else None)


def marked(run: Run, **what: Any) -> Marked:
    return Marked(run.source.table(), **what)


def content_of(roi: U8) -> int:
    return int(np.frombuffer(roi.reshape(-1)[:8].tobytes(), np.int64)[0])


class Read(NamedTuple):
    """An answer as a scorer's."""

    pts_ns: int
    duration_ns: int
    offset_ms: float | None
    confidence: float = 1.0
    label: str = "in_sync"
    method: str = "marks"


class Reader:
    """Reads the marks of every second: the offset without any log. ``lies_ms``: what it adds to it."""

    def __init__(self, *, lies_ms: float = 0.0, frame_ns: int = ms(40)) -> None:
        self.lies_ms, self.frame_ns = lies_ms, frame_ns
        self.sound: list[tuple[int, F32]] = []
        self.pictures: list[tuple[int, int]] = []
        self.landmarks: list[F32 | None] = []

    def push_audio(self, pcm: F32, pts_ns: int, epoch: int) -> Iterable[Read]:
        assert pcm.dtype == np.float32 and epoch == 0
        self.sound.append((pts_ns, pcm))
        return ()

    def push_video(self, rois: U8, pts_ns: I64, epoch: int, landmarks: F32 | None = None) -> Iterable[Read]:
        assert rois.dtype == np.uint8 and rois.shape[1:] == (96, 96, 3) and len(rois) == len(pts_ns) and epoch == 0
        self.pictures += [(int(at), content_of(roi)) for at, roi in zip(pts_ns, rois, strict=True)]
        self.landmarks.append(landmarks)
        return ()

    def flush(self) -> Iterable[Read]:
        times, content = self.voice()
        shown = np.array([at for at, _ in self.pictures], np.int64)
        marks = np.array([mark for _, mark in self.pictures], np.int64)
        on = np.maximum(np.searchsorted(shown, times, "right") - 1, 0)
        lips = marks[on] + np.minimum(times - shown[on], self.frame_ns)
        known = (times >= shown[0]) & (marks[on] != IDLE_MARK)
        times, offset = times[known], (content - lips)[known]
        for at_ns in range(int(shown[0]), int(times[-1]), ms(1000)):
            mine = offset[(times >= at_ns) & (times < at_ns + ms(1000))]
            said = float(np.median(mine)) / 1e6 + self.lies_ms if len(mine) else None
            yield Read(at_ns, ms(1000), said)

    def voice(self) -> tuple[I64, I64]:
        """(times, content) of every sample in which content was heard."""
        times = np.concatenate([at + SAMPLE_NS * np.arange(len(pcm)) for at, pcm in self.sound])
        pcm = np.concatenate([pcm for _, pcm in self.sound])
        content = np.rint(pcm.astype(np.float64) * SCALE).astype(np.int64) - 1
        return times[pcm != 0], content[pcm != 0]
