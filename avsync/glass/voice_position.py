"""Hearing: which position of the marked sound is heard when, from a recording of everything that was heard.

Each 10 ms, a window of 160 ms is held against the reference near where the voice was last found; where it is lost
(a jump, a long silence), a longer window is searched for in the whole neighbourhood of the pictures' numbers. What
does not match well enough, or is silent, has no position: unknown is said, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.glass.marks import sound
from avsync.units import SOUND_HZ

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
Reference = Callable[[int, int], I16]
Hint = Callable[[int], tuple[int, int] | None]
"""Index of a sample heard -> (from, to): samples of the content among which it may lie; None: not known."""

HOP = 480
STEP = 3
"""Matching is done at 16 kHz: everything below 7 kHz, which is what an Opus of few kbit/s leaves whole."""
WINDOW = 7680
LONG_WINDOW = 4 * WINDOW
REACH = 2880
"""60 ms each way: a jitter buffer moves a few ms a second, and what jumps further is searched for."""
BLOCK = 50
ACCEPT = 0.5
"""Normalised correlation. Below it less than half of the window is this piece of content: at a jump, the middle
of the window decides. Speech against another piece of itself reaches 0.3 over 160 ms."""
ACCEPT_LONG = 0.4
SILENT_RMS = 32768 * 10 ** (-58 / 20)
"""Between the marked sound's floor, -45 dBFS, and the noise of decoding silence."""
LOST_HOPS = 5
MAX_SEARCH = 120 * SOUND_HZ


class VoicePositions(NamedTuple):
    """One row per 10 ms. ``at``: index of the sample in the middle; ``position``: the content sample heard there.

    ``position`` is NaN where nothing was recognised; ``loud``: something was heard, recognised or not.
    """

    at: npt.NDArray[np.int64]
    position: F64
    score: F64
    loud: npt.NDArray[np.bool_]


def locate_voice(pcm: I16, *, hint: Hint | None = None, reference: Reference = sound) -> VoicePositions:
    """pcm: (n,) int16, 48 kHz -> one row per 10 ms that has a whole window around it. About 1 s a minute."""
    at = np.arange(WINDOW // 2, len(pcm) - WINDOW // 2, HOP, dtype=np.int64)
    position, score = np.full(len(at), np.nan), np.zeros(len(at))
    loud = _loud(pcm, at)
    lag: float | None = None
    hop, patience, since = 0, 10, 0
    while hop < len(at):
        if lag is None:
            if not loud[hop]:
                hop += 1
                continue
            lag = _search(pcm, int(at[hop]), hint, reference)
            if lag is None:  # not recognised: look again later, less and less often
                hop, patience = hop + patience, min(100, 2 * patience)
                continue
            if since < hop:  # it may have been there before it was looked for
                rows = slice(max(since, hop - 4 * BLOCK), hop)
                position[rows], score[rows] = _match(pcm, at[rows], lag, reference)
        rows = slice(hop, min(hop + BLOCK, len(at)))
        position[rows], score[rows] = _match(pcm, at[rows], lag, reference)
        fails = loud[rows] & (score[rows] < ACCEPT)
        lost = _first_run(fails, LOST_HOPS)
        good = np.flatnonzero(score[rows][:lost] >= ACCEPT)
        if len(good):
            lag = float(position[rows][good[-1]] - at[rows][good[-1]])
            patience = 10
        if lost is None:
            hop = rows.stop
        elif lost:
            hop += lost
        else:
            lag = _search(pcm, int(at[hop + LOST_HOPS - 1]), hint, reference)
            if lag is None or (len(good) == 0 and _first_fails(pcm, at[hop : hop + LOST_HOPS], lag, reference)):
                lag, since = None, hop
                hop += LOST_HOPS
    position[(score < ACCEPT) | ~loud] = np.nan
    return VoicePositions(at, position, score, loud)


def _first_fails(pcm: I16, at: npt.NDArray[np.int64], lag: float, reference: Reference) -> bool:
    """What the search has found does not hold for any of these hops: go on instead of asking again for ever."""
    return bool(np.all(_match(pcm, at, lag, reference)[1] < ACCEPT))


def _first_run(flags: npt.NDArray[np.bool_], length: int) -> int | None:
    """Where the first run of ``length`` trues begins."""
    run = 0
    for place, flag in enumerate(flags):
        run = run + 1 if flag else 0
        if run == length:
            return place - length + 1
    return None


def _loud(pcm: I16, at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the 10 ms around each row are louder than silence."""
    middle = pcm[WINDOW // 2 - HOP // 2 :][: len(at) * HOP].reshape(len(at), HOP)
    return np.asarray(np.sqrt(np.mean(np.square(middle.astype(np.float32)), axis=1)) > SILENT_RMS)


def _match(pcm: I16, at: npt.NDArray[np.int64], lag: float, reference: Reference) -> tuple[F64, F64]:
    """(content position, score) of the windows around ``at``, sought within ``REACH`` of ``at + lag``."""
    first, last = int(at[0]) - WINDOW // 2, int(at[-1]) + WINDOW // 2
    shift = round(lag / STEP) * STEP
    heard = _band(_part(pcm, first - MARGIN, last - first + 2 * MARGIN))
    known = _band(reference(first + shift - REACH - MARGIN, last - first + 2 * (REACH + MARGIN)))
    width, reach, hop = WINDOW // STEP, REACH // STEP, HOP // STEP
    starts = np.arange(len(at)) * hop
    windows = heard[starts[:, None] + np.arange(width)]
    places = known[starts[:, None] + np.arange(width + 2 * reach)]
    index, score = _peak(windows, places)
    return at + shift + (index - reach) * STEP, score


def _search(pcm: I16, at: int, hint: Hint | None, reference: Reference) -> float | None:
    """Where ``at`` lies in the content, as a lag; None where nothing is like it."""
    span = hint(at) if hint is not None else (0, MAX_SEARCH)
    if span is None:
        return None
    first, last = span[0], min(span[1], span[0] + MAX_SEARCH)
    left = max(0, at - WINDOW // 2)
    heard = _band(_part(pcm, left - MARGIN, LONG_WINDOW + 2 * MARGIN))
    known = _band(reference(first - MARGIN, last - first + LONG_WINDOW + 2 * MARGIN))
    index, score = _peak(heard[None], known[None])
    if score[0] < ACCEPT_LONG:
        return None
    return float(first + index[0] * STEP - left)


def _peak(windows: F64, places: F64) -> tuple[F64, F64]:
    """windows: (n, w), places: (n, w + k) -> (n,) best shift, to a fraction of a sample, and its correlation."""
    width, shifts = windows.shape[1], places.shape[1] - windows.shape[1] + 1
    size = _fast_size(places.shape[1])
    spectrum = np.fft.rfft(places, size) * np.conj(np.fft.rfft(windows, size))
    product = np.fft.irfft(spectrum, size)[:, :shifts]
    power = np.cumsum(np.square(places), axis=1)
    energy = power[:, width - 1 :].copy()
    energy[:, 1:] -= power[:, : shifts - 1]
    own = np.square(windows).sum(axis=1, keepdims=True)
    score = product / np.sqrt(np.maximum(energy, 1.0) * np.maximum(own, 1.0))
    rows, best = np.arange(len(score)), np.argmax(score, axis=1)
    peak = score[rows, best]
    before, after = score[rows, np.maximum(best - 1, 0)], score[rows, np.minimum(best + 1, shifts - 1)]
    curve = before - 2 * peak + after
    inside = (best > 0) & (best < shifts - 1) & (curve < 0)
    bend = np.where(inside, 0.5 * (before - after) / np.where(inside, curve, 1.0), 0.0)
    return best + np.clip(bend, -0.5, 0.5), peak


def _fast_size(least: int) -> int:
    """The smallest 2**n, 3 * 2**n or 9 * 2**n that is not below ``least``."""
    return min(factor << max(0, (-(-least // factor) - 1).bit_length()) for factor in (1, 3, 9))


def _filter() -> F64:
    """A low-pass at 7 kHz and a rise of 6 dB an octave: what is loud and low in a voice is the same everywhere."""
    n = np.arange(-30, 31)
    low = np.sinc(2 * 7000 / SOUND_HZ * n) * np.hamming(61)
    return np.convolve(low / low.sum(), [0.95, 0.0, 0.0, -0.95])[1:-2]


_TAPS = _filter()
MARGIN = 30
"""Samples on both sides that the filter eats; a multiple of ``STEP``."""


def _band(samples: I16) -> F64:
    """(n + 2 * MARGIN,) at 48 kHz -> (ceil(n / 3),) at 16 kHz, filtered."""
    return np.convolve(samples.astype(np.float64), _TAPS, mode="valid")[::STEP]


def _part(pcm: I16, first: int, count: int) -> I16:
    """``count`` samples from ``first`` on, zeros past the ends."""
    out = np.zeros(count, np.int16)
    begin, end = max(0, first), min(len(pcm), first + count)
    if begin < end:
        out[begin - first : end - first] = pcm[begin:end]
    return out
