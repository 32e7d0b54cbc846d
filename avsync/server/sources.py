"""Sources: what there is to say and show, one frame period at a time.

A ``AvatarSource`` gives ``FrameWithSound``s: a picture and exactly the sound of its frame period, whatever the
file's rate, layout or length. Period number n lasts from ``ticks_to_ns(n, fps)`` to n + 1 and its
sound is cut at the samples nearest to both, both counted from the *start*: so 29.97 fps, 44.1 kHz
and a clip whose sound is shorter than its pictures, looped for an hour, are still together.

Sources block (they decode or generate) and are run in a thread; they hold a few frames at a time,
never a film.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from avsync.errors import InputError
from avsync.server.decode import (
    Rgb,
    Sound16,
    load_jpeg,
    media_info,
    picture_size,
    pictures_of,
    sound_of,
    to_rgb,
    to_sound,
)
from avsync.units import SOUND_HZ, ns_to_ticks, ticks_to_ns

MAX_AHEAD_S, MAX_SOUND_AHEAD_S = 10, 600
"""A callable may give pictures ahead of their sound by so much, sound (much lighter) ahead of its pictures by more."""


class FrameWithSound(NamedTuple):
    """``picture``: (H, W, 3) uint8 RGB. ``sound``: (n,) int16 mono 48 kHz, one frame period."""

    picture: Rgb
    sound: Sound16


class AvatarSource(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def fps(self) -> Fraction: ...

    def idle(self) -> Rgb:
        """The picture for when nothing is said."""

    def frames(self) -> Iterator[FrameWithSound]:
        """From the start; ends unless the source loops. Blocks: run it in a thread."""


def period_samples(number: int, fps: Fraction) -> int:
    """How many samples of 48 kHz frame period ``number`` has: 1920 at 25 fps, 1601 or 1602 at 29.97."""
    return _boundary(number + 1, fps) - _boundary(number, fps)


def _boundary(number: int, fps: Fraction) -> int:
    return ns_to_ticks(ticks_to_ns(number, fps), SOUND_HZ)


def silence(samples: int) -> Sound16:
    return np.zeros(samples, dtype=np.int16)


class ClipSource:
    """Any file PyAV reads. Without sound it is silent; pictures of a variable rate are sampled at ``fps``.

    Each pass through the file starts both streams again at one frame boundary: the one that ends
    first is filled up (the last picture held, silence), a tail of sound below half a frame is cut.
    """

    def __init__(
        self, path: Path, *, fps: Fraction | None = None, size: tuple[int, int] | None = None, loop: bool = True
    ) -> None:
        info = media_info(path)
        self.name = path.name
        self.fps = fps or info.fps
        self._path, self._loop, self._has_sound = path, loop, info.has_sound
        self._size = size or picture_size(info.width, info.height)
        first = next(pictures_of(path, self._size), None)
        if first is None:
            raise InputError("not one picture could be decoded", file=str(path))
        self._first = first[1]

    def idle(self) -> Rgb:
        return self._first

    def frames(self) -> Iterator[FrameWithSound]:
        number = 0
        while True:
            before = number
            sound = sound_of(self._path) if self._has_sound else iter(())
            pictures = pictures_of(self._path, self._size)
            for frame in one_pass(pictures, sound, self.fps, first=number):
                yield frame
                number += 1
            if not self._loop or number == before:
                return


class FolderSource:
    """``frames/frame_%04d.jpg`` and ``audio.wav``, as ``avsync demo-media`` and many models write them."""

    def __init__(
        self, folder: Path, *, fps: Fraction | None = None, size: tuple[int, int] | None = None, loop: bool = True
    ) -> None:
        self.name = folder.name or str(folder)
        self.fps = fps or Fraction(25)
        self._files = _numbered_frames(folder)
        sound = folder / "audio.wav"
        self._sound = sound if sound.is_file() else None
        self._loop = loop
        first = load_jpeg(self._files[0])
        self._size = size or picture_size(first.shape[1], first.shape[0])
        self._first = to_rgb(first, self._size)

    def idle(self) -> Rgb:
        return self._first

    def frames(self) -> Iterator[FrameWithSound]:
        number = 0
        while True:
            sound = sound_of(self._sound) if self._sound is not None else iter(())
            for frame in one_pass(self._pictures(), sound, self.fps, first=number):
                yield frame
                number += 1
            if not self._loop:
                return

    def _pictures(self) -> Iterator[tuple[int, Rgb]]:
        for number, file in enumerate(self._files):
            yield ticks_to_ns(number, self.fps), to_rgb(load_jpeg(file), self._size)


def _numbered_frames(folder: Path) -> list[Path]:
    frames = folder / "frames"
    found = {}
    for file in frames.iterdir() if frames.is_dir() else ():
        match = re.fullmatch(r"frame_(\d{4,9})\.jpe?g", file.name)
        if match:
            found[int(match[1])] = file
    if not found:
        raise InputError(
            "a folder needs frames/frame_0001.jpg, frame_0002.jpg, … (and audio.wav beside frames/)",
            file=str(folder),
            remedy="`avsync demo-media clip.mp4 FOLDER` writes such a folder",
        )
    numbers = sorted(found)
    for earlier, later in zip(numbers, numbers[1:], strict=False):
        if later != earlier + 1:
            raise InputError(
                f"frame_{earlier + 1:04d}.jpg is missing", file=str(frames), remedy="frames are numbered without gaps"
            )
    return [found[number] for number in numbers]


def one_pass(
    pictures: Iterator[tuple[int, Rgb]], sound: Iterator[Sound16], fps: Fraction, *, first: int
) -> Iterator[FrameWithSound]:
    """Timed pictures (ns from the start, growing) and sound from the start -> frames ``first``, first + 1, …

    Frame n shows the newest picture due by the middle of its period: a picture stamped a tick
    late is not put off by a whole period.
    """
    fifo = _Fifo()
    held: Rgb | None = None
    coming = next(pictures, None)
    number = 0
    while True:
        until_ns = (ticks_to_ns(number, fps) + ticks_to_ns(number + 1, fps)) // 2
        shown_new = False
        while coming is not None and (held is None or coming[0] < until_ns):
            held, coming, shown_new = coming[1], next(pictures, None), True
        wanted = period_samples(first + number, fps)
        while fifo.samples < wanted and (chunk := next(sound, None)) is not None:
            fifo.put(chunk)
        # The last picture lasts one period, so a pass ends when neither stream has anything new.
        if held is None or (coming is None and not shown_new and 2 * fifo.samples < wanted):
            return
        yield FrameWithSound(held, fifo.take(wanted))
        number += 1


class _Fifo:
    """Sound in pieces of any length -> pieces of the length asked for, filled up with silence at the end."""

    def __init__(self) -> None:
        self._chunks: deque[Sound16] = deque()
        self.samples = 0

    def put(self, chunk: Sound16) -> None:
        self._chunks.append(chunk)
        self.samples += len(chunk)

    def take(self, samples: int) -> Sound16:
        parts, missing = [], samples
        while missing and self._chunks:
            chunk = self._chunks.popleft()
            parts.append(chunk[:missing])
            if len(chunk) > missing:
                self._chunks.appendleft(chunk[missing:])
            missing -= len(parts[-1])
        self.samples -= samples - missing
        return np.concatenate([*parts, silence(missing)]) if missing or len(parts) != 1 else parts[0]


class CallableSource:
    """``module:function``, as a model: it yields ``(picture, sound)`` or ``(picture, sound, sample_rate)``.

    ``picture``: (H, W, 3) uint8 RGB or None; ``sound``: int16 or float32 in any number of samples, or
    None. What is uneven is evened out: picture number n goes with the sound of period n. A function
    may also *return* all of it at once: ``(pictures, sound[, sample_rate])``.
    """

    def __init__(
        self, spec: str, *, fps: Fraction | None = None, size: tuple[int, int] | None = None, loop: bool = True
    ) -> None:
        self.name = spec
        self.fps = fps or Fraction(25)
        self._function = _resolve(spec)
        self._size, self._loop = size, loop
        self._idle: Rgb | None = None

    def idle(self) -> Rgb:
        if self._idle is not None:
            return self._idle
        width, height = self._size or (512, 512)
        return np.full((height, width, 3), 235, dtype=np.uint8)

    def frames(self) -> Iterator[FrameWithSound]:
        number = 0
        while True:
            before = number
            for frame in self._one_call(number):
                yield frame
                number += 1
            if not self._loop or number == before:
                return

    def _one_call(self, first: int) -> Iterator[FrameWithSound]:
        pictures: deque[Rgb] = deque()
        fifo, number, limit = _Fifo(), first, round(MAX_AHEAD_S * self.fps)
        for item in _items(self._function()):
            picture, sound = self._checked(item)
            if picture is not None:
                pictures.append(picture)
            if sound is not None:
                fifo.put(sound)
            while pictures and fifo.samples >= (wanted := period_samples(number, self.fps)):
                yield FrameWithSound(pictures.popleft(), fifo.take(wanted))
                number += 1
            if len(pictures) > limit:
                raise InputError(f"{self.name} gave {len(pictures)} pictures for which there is no sound")
            if fifo.samples > MAX_SOUND_AHEAD_S * SOUND_HZ:
                raise InputError(f"{self.name} gave {fifo.samples // SOUND_HZ} s of sound without pictures")
        while pictures:
            yield FrameWithSound(pictures.popleft(), fifo.take(period_samples(number, self.fps)))
            number += 1

    def _checked(self, item: Any) -> tuple[Rgb | None, Sound16 | None]:
        if not isinstance(item, tuple) or len(item) not in (2, 3):
            raise InputError(f"{self.name} must yield (picture, sound) or (picture, sound, sample_rate)")
        picture, sound = item[0], item[1]
        rate = item[2] if len(item) == 3 else SOUND_HZ
        if picture is not None:
            picture = np.asarray(picture)
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
                raise InputError(
                    f"{self.name}: a picture is uint8 of shape (H, W, 3), got {picture.dtype} {picture.shape}"
                )
            self._size = self._size or picture_size(picture.shape[1], picture.shape[0])
            picture = to_rgb(picture, self._size)
            self._idle = picture if self._idle is None else self._idle
        return picture, None if sound is None else to_sound(sound, rate, who=self.name)


def _items(given: Any) -> Iterable[Any]:
    """What the function gave -> (picture, sound[, rate]) items."""
    if isinstance(given, tuple) and len(given) in (2, 3):
        pictures, sound, *rate = given
        return [(None, sound, *rate), *((picture, None) for picture in pictures)]
    if isinstance(given, Iterable):
        return given
    raise InputError(f"the function gave {type(given).__name__}; it must yield or return pictures and sound")


def _resolve(spec: str) -> Callable[[], Any]:
    module_name, _, function_name = spec.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` would
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"no module {error.name!r} here", place=spec, remedy="run from the folder it is in") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{module_name} has no function {function_name!r}", place=spec)
    return function  # type: ignore[no-any-return]
