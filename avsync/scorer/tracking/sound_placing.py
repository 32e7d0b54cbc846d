"""Placing sound: decoded pieces of any rate and layout, laid by their stamps on one gapless line of 16 kHz samples.

Within a segment samples are counted, since containers round their stamps (to 1 ms in Matroska). A stamp that is off by
`HOLE_NS`, or a little off for a while, or that follows damage, begins a new segment: what is missing becomes silence,
what is there twice is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from avsync.scorer.features.cells import SAMPLE_RATE_HZ
from avsync.units import ns_to_ticks, ticks_to_ns

Pcm = NDArray[np.int16]

HOLE_NS: Final = 30_000_000
"""A stamp off by so much is believed at once: recorders that stamp by arrival wobble by less."""
DRIFT_NS: Final = 5_000_000
"""A smaller error is believed when the middle one of the last `ERRORS` is above this: stamps wobble to both sides."""
ERRORS: Final = 16
"""0.3 s of Opus or AAC; half of them are enough. A single lost packet is noticed after 0.2 s."""
PIECE_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""Pieces handed out have at least so many samples (0.1 s) except the last."""
SILENCE_PIECE_SAMPLES: Final = SAMPLE_RATE_HZ * 10


class SoundPiece(NamedTuple):
    """Mono 16 kHz: when the first sample is heard, ns since the clip's start; pcm: int16 (n,)."""

    pts_ns: int
    pcm: Pcm


class Placer:
    """Push decoded frames in the order of the file; take a gapless row of `SoundPiece`."""

    def __init__(self) -> None:
        self.silent_samples = 0
        self._origin_ns: int | None = None
        self._given = 0  # samples handed out or waiting, all since the origin
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0
        self._resampler: Any = None
        self._form: tuple[int, str, str] | None = None
        self._segment_ns = 0  # where the present segment begins
        self._segment_in = 0  # samples of the source pushed since then
        self._to_cut = 0
        self._errors_ns: deque[int] = deque(maxlen=ERRORS)

    @property
    def end_ns(self) -> int | None:
        """Where the next piece is expected; None before the first."""
        if self._origin_ns is None or self._form is None:
            return None
        return self._segment_ns + ticks_to_ns(self._segment_in, self._form[0])

    def is_past(self, frame: av.AudioFrame, at_ns: int | None) -> bool:
        """Whether this frame lies wholly before what is expected: it has been heard already."""
        end_ns = self.end_ns
        if at_ns is None or end_ns is None:
            return False
        return at_ns + ticks_to_ns(frame.samples, frame.sample_rate) <= end_ns - HOLE_NS

    def push(self, frame: av.AudioFrame, at_ns: int | None, *, exactly: bool = False) -> Iterator[SoundPiece]:
        """One decoded frame and its time (None: it follows on). `exactly`: trust the stamp, something was lost."""
        form = (frame.sample_rate, frame.layout.name, frame.format.name)
        expected_ns = self.end_ns
        if expected_ns is None:
            self._origin_ns = self._segment_ns = 0 if at_ns is None else at_ns
            self._begin(form, self._segment_ns)
        elif self.is_past(frame, at_ns):
            return
        else:
            moved_ns = 0 if at_ns is None else self._moved_ns(at_ns - expected_ns, exactly)
            if moved_ns or form != self._form:
                self._end_segment()
                yield from self._hand_out()
                yield from self._fill_until(expected_ns + moved_ns)
                self._begin(form, expected_ns + moved_ns)
        self._segment_in += frame.samples
        frame.pts = None  # the resampler counts for itself
        self._take(self._resample(frame))
        yield from self._hand_out(PIECE_SAMPLES)

    def flush(self) -> Iterator[SoundPiece]:
        if self._origin_ns is not None:
            self._end_segment()
            yield from self._hand_out()

    def _moved_ns(self, error_ns: int, exactly: bool) -> int:
        """By how much a new segment is to begin later than the old one ends; 0: there is none."""
        self._errors_ns.append(error_ns)
        if abs(error_ns) >= HOLE_NS or (exactly and abs(error_ns) >= DRIFT_NS):
            return error_ns
        if 2 * len(self._errors_ns) < ERRORS:
            return 0
        middle_ns = sorted(self._errors_ns)[len(self._errors_ns) // 2]
        return middle_ns if abs(middle_ns) >= DRIFT_NS else 0

    def _begin(self, form: tuple[int, str, str], at_ns: int) -> None:
        self._form, self._segment_ns, self._segment_in = form, at_ns, 0
        self._errors_ns.clear()
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        self._to_cut = max(0, self._given - self._position(at_ns))

    def _end_segment(self) -> None:
        """What is still inside the resampler comes out, but no more than the segment's input lasted."""
        self._take(self._resample(None))
        assert self._form is not None
        end = self._position(self._segment_ns + ticks_to_ns(self._segment_in, self._form[0]))
        while self._given > end and self._waiting:
            last = self._waiting.pop()
            kept = last[: max(0, len(last) - (self._given - end))]
            self._given -= len(last) - len(kept)
            self._waiting_samples -= len(last) - len(kept)
            if len(kept):
                self._waiting.append(kept)

    def _fill_until(self, at_ns: int) -> Iterator[SoundPiece]:
        missing = self._position(at_ns) - self._given
        if missing <= 0:
            return
        self.silent_samples += missing
        while missing > 0:
            piece = np.zeros(min(missing, SILENCE_PIECE_SAMPLES), np.int16)
            missing -= len(piece)
            self._take(piece)
            yield from self._hand_out()

    def _take(self, pcm: Pcm) -> None:
        cut = min(self._to_cut, len(pcm))
        self._to_cut -= cut
        if cut < len(pcm):
            self._waiting.append(pcm[cut:])
            self._waiting_samples += len(pcm) - cut
            self._given += len(pcm) - cut

    def _hand_out(self, at_least: int = 1) -> Iterator[SoundPiece]:
        if self._waiting_samples < at_least or self._origin_ns is None:
            return
        pcm = np.concatenate(self._waiting)
        first = self._given - self._waiting_samples
        self._waiting, self._waiting_samples = [], 0
        yield SoundPiece(self._origin_ns + ticks_to_ns(first, SAMPLE_RATE_HZ), pcm)

    def _position(self, at_ns: int) -> int:
        """Samples from the origin to a time."""
        assert self._origin_ns is not None
        return ns_to_ticks(at_ns - self._origin_ns, SAMPLE_RATE_HZ)

    def _resample(self, frame: av.AudioFrame | None) -> Pcm:
        try:
            pieces = [piece.to_ndarray().reshape(-1) for piece in self._resampler.resample(frame)]
        except (FFmpegError, ValueError):
            return np.zeros(0, np.int16)
        return np.concatenate(pieces).astype(np.int16, copy=False) if pieces else np.zeros(0, np.int16)
