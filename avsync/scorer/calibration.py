"""Calibration: each method's numbers, the only things real clips may set.

`avsync scorer calibrate` fits them on the development half of the speakers and writes `weights/calibration.json`:

    {"fused": {"bias_ms": 12.0, "curve": {"intercept": -5.0, ...}, "unrelated": {"peak": 0.1, "margin": 0.05}}}

`bias_ms` is added to the times of pictures, so that clips in sync read 0: minus what the method alone says of them. A
method without numbers there is not calibrated: bias 0, and never surer than 0.5. A curve says how likely the best lag
is right within 40 ms: logistic in the margin (best minus the best lag more than 40 ms away), the peak (correlation at
the best lag) and the evidence (seconds of speech under seen lips).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avsync.errors import InputError
from avsync.scorer.signal import METHODS, Method

CALIBRATION: Final = Path(__file__).parent / "weights" / "calibration.json"

TERMS: Final = ("intercept", "margin", "peak", "log_s", "margin_root_s", "peak_root_s")
"""What the curve weighs. The noise of a correlation falls with the root of how much it was taken over, so margin and
peak times the root of the evidence are what a significance test would look at; the plain ones are what does not vanish
with more evidence (another mouth, another voice)."""

EVIDENCE_S: Final = (0.1, 8.0)
"""Evidence is held inside this range: below it nothing was calibrated, above it systematic errors rule."""

MOST_UNCALIBRATED: Final = 0.5
"""The heuristic's limit, and that of anything without numbers of its own."""


@dataclass(frozen=True, slots=True)
class ConfidenceCurve:
    """A method's numbers. Called with margin, peak and seconds of speech it answers the chance of being right."""

    method: Method
    bias_ms: float = 0.0
    """Added to the times of pictures."""
    weights: tuple[float, ...] = (-4.0, 2.0, 1.0, 0.3, 6.0, 4.0)
    """In the order of `TERMS`. The default is a guess that leans to caution; with it `most` is 0.5."""
    most: float = MOST_UNCALIBRATED
    unrelated_peak: float = 0.0
    unrelated_margin: float = 0.0
    """With speech enough, both peak and margin below these: the sound is somebody else's. 0: never said."""

    def __call__(self, margin: float, peak: float, evidence_s: float) -> float:
        """0 to `most`. Without evidence: 0."""
        if evidence_s <= 0:
            return 0.0
        return float(self.chances(margin, peak, evidence_s))

    def chances(self, margin: ArrayLike, peak: ArrayLike, evidence_s: ArrayLike) -> NDArray[np.float64]:
        """The same for arrays of one shape."""
        raw = terms(margin, peak, evidence_s) @ np.asarray(self.weights)
        return np.asarray(np.minimum(self.most, 1.0 / (1.0 + np.exp(-np.clip(raw, -40.0, 40.0)))))


def terms(margin: ArrayLike, peak: ArrayLike, evidence_s: ArrayLike) -> NDArray[np.float64]:
    """What the curve weighs, for arrays of one shape (...,) -> (..., len(TERMS))."""
    m, p, s = np.broadcast_arrays(np.asarray(margin, float), np.asarray(peak, float), np.asarray(evidence_s, float))
    held = np.clip(s, *EVIDENCE_S)
    root = np.sqrt(held)
    return np.stack([np.ones_like(held), m, p, np.log(held), m * root, p * root], axis=-1)


@lru_cache(maxsize=8)
def curve_of(method: Method, file: Path = CALIBRATION) -> ConfidenceCurve:
    """The method's numbers as calibrated, or the cautious defaults. InputError when the file is broken."""
    numbers = read_calibration(file).get(method)
    if numbers is None:
        return ConfidenceCurve(method)
    curve, unrelated = numbers["curve"], numbers.get("unrelated", {})
    return ConfidenceCurve(
        method,
        float(numbers["bias_ms"]),
        tuple(float(curve[term]) for term in TERMS),
        MOST_UNCALIBRATED if method == "heuristic" else 1.0,
        float(unrelated.get("peak", 0.0)),
        float(unrelated.get("margin", 0.0)),
    )


def bias_ms_of(method: Method) -> float:
    """What is added to the pictures' times, so that clips in sync read 0 (ms)."""
    return curve_of(method).bias_ms


def read_calibration(file: Path = CALIBRATION) -> dict[str, dict[str, Any]]:
    """The file's content by method; empty when there is none. InputError when it is not what it should be."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"not readable as JSON ({error})", file=str(file), remedy=REMEDY) from error
    if not isinstance(data, dict):
        raise InputError("must be an object by method", file=str(file), remedy=REMEDY)
    for method, numbers in data.items():
        _check_numbers(file, method, numbers)
    return data


REMEDY: Final = "write it anew with `avsync scorer calibrate`"


def _check_numbers(file: Path, method: str, numbers: Any) -> None:
    def wrong(rule: str) -> InputError:
        return InputError(rule, file=str(file), place=method, remedy=REMEDY)

    if method not in METHODS:
        raise wrong(f"no such method; there are {', '.join(METHODS)}")
    if not isinstance(numbers, dict) or not isinstance(numbers.get("curve"), dict):
        raise wrong("needs bias_ms and curve")
    unrelated = numbers.get("unrelated", {})
    if not isinstance(unrelated, dict):
        raise wrong("unrelated must hold peak and margin")
    wanted = {"bias_ms": numbers.get("bias_ms"), **{term: numbers["curve"].get(term) for term in TERMS}, **unrelated}
    for name, value in wanted.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise wrong(f"{name} must be a finite number, got {value!r}")
