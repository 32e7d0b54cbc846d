"""Clips: any file PyAV reads, as pictures and 16 kHz sound on one time line, in bounded memory.

Every picture and every sample lies where its own time stamp says, so an offset that exists only in the stamps is kept:
a shifted PTS, an edit list, the priming samples of AAC, a stream that starts late. Holes in the sound become silence.
Time 0 is the earliest start of the two streams. What cannot be decoded is skipped and counted in its `troubles`; where
the stamps begin again or jump by more than ten minutes the clip ends, and that is counted too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.tracking.read_ahead import ahead
from avsync.scorer.tracking.sound_placing import Pcm, Placer, SoundPiece
from avsync.units import NS_PER_S

Rgb = NDArray[np.uint8]

SIDE_MAX: Final = 1920
"""Longest side of a picture handed out, pixels; larger ones are scaled down. A face of 64 px in 1280x720 keeps 96."""
PIXELS_MAX: Final = 64_000_000
"""Larger pictures are refused (8K has 33 million): each is held several times while it is decoded."""
PIXEL_ASPECT_MAX: Final = 4.0
"""Widest (and, turned, narrowest) pixels: anamorphic film has 2, half-width stereo pictures too."""
SOUND_RATES: Final = range(4_000, 768_001)
ONE_THREAD_PX: Final = 1280 * 720
"""Larger pictures are decoded by two threads. On two cores that is 15 % quicker for 1080p; up to 720p it costs 6 %,
since tracking keeps the other core busy."""
PICTURES_AHEAD: Final = 4
SOUND_AHEAD: Final = 32
REPEATS_MAX: Final = 50
"""So many units in a row that are not later than what was there: the stamps have begun again."""
JUMP_MAX_NS: Final = 600 * NS_PER_S
WHOLE_SOUND_MAX_S: Final = 4 * 3600


class Picture(NamedTuple):
    """A picture and when it is first shown: ns since the clip's start; rgb: uint8 (H, W, 3)."""

    pts_ns: int
    rgb: Rgb


@dataclass(slots=True)
class Troubles:
    """What was wrong with a clip, counted while it is read."""

    pictures_skipped: int = 0
    """Packets of the picture that could not be decoded."""
    sound_skipped: int = 0
    """Packets of the sound that could not be decoded."""
    pictures_repeated: int = 0
    """Pictures left out because they were not later than the one before."""
    silence_ms: int = 0
    """Holes in the sound that were filled with silence."""
    ends: list[str] = field(default_factory=list)
    """Why reading ended before the file did."""

    def words(self) -> tuple[str, ...]:
        """One sentence for each kind of trouble; empty for a clip without any."""
        said = (
            (self.pictures_skipped, "{} packets of the picture could not be decoded and were skipped"),
            (self.sound_skipped, "{} packets of the sound could not be decoded and were skipped"),
            (self.pictures_repeated, "{} pictures were not later than the one before and were left out"),
            (self.silence_ms, "{} ms without sound were taken as silence"),
        )
        return (*(text.format(count) for count, text in said if count), *self.ends)


@dataclass(frozen=True, slots=True)
class MediaClip:
    """A clip that has pictures and sound. Each call of `pictures`, `sound` or `together` reads the file anew."""

    file: str
    width: int
    """Pixels of the pictures handed out: square, turned upright and at most `SIDE_MAX` long."""
    height: int
    fps: float | None
    """As the file declares it; None where it does not. Times come from the pictures' own stamps."""
    sound_rate_hz: int
    duration_ns: int | None
    """As the file declares it, for progress bars only."""
    start_ns: int
    """The file's own time that is 0 here."""
    pixel_aspect: float = 1.0
    """Width over height of a pixel as it is stored. Those handed out are square: a squeezed face is another face."""
    troubles: Troubles = field(default_factory=Troubles, compare=False)

    def pictures(self) -> Generator[Picture, None, None]:
        """Pictures in rising time. Raises ``InputError`` where not one can be decoded."""
        return _pictures(self)

    def sound(self) -> Generator[SoundPiece, None, None]:
        """Mono 16 kHz int16 without a gap: each piece begins where the one before ended."""
        return _sound(self)

    def together(self) -> Generator[Picture | SoundPiece, None, None]:
        """Both in the order of time, decoded ahead in two threads."""
        return _together(ahead(self.pictures(), PICTURES_AHEAD), ahead(self.sound(), SOUND_AHEAD))


def open_clip(path: str | Path) -> MediaClip:
    """Looks at a file. Raises ``InputError`` where it is no clip with pictures and sound."""
    file = str(path)
    with closing(_open(file)) as container:
        video, audio = _video(container), _audio(container)
        if video is None:
            raise InputError("it has no picture", file=file, remedy="give a clip with video")
        if audio is None:
            raise InputError("it has no sound", file=file, remedy="give a clip with its sound; lips alone say nothing")
        width, height = video.codec_context.width, video.codec_context.height
        if width * height > PIXELS_MAX:
            raise InputError(
                f"a picture of {width}x{height} is too large", file=file, remedy="scale it down: 1280x720 is plenty"
            )
        rate = audio.codec_context.sample_rate
        if rate not in SOUND_RATES:
            raise InputError(f"its sound rate of {rate} Hz cannot be", file=file, remedy="encode the sound again")
        aspect = _pixel_aspect(video)
        upright = _first_size(file, video, aspect)
        starts = [_ns(s.start_time, s.time_base) for s in (video, audio) if s.start_time is not None and s.time_base]
        return MediaClip(
            file=file,
            width=upright[0],
            height=upright[1],
            fps=float(rate_of) if (rate_of := video.average_rate or video.guessed_rate) else None,
            sound_rate_hz=rate,
            duration_ns=None if container.duration is None else int(container.duration) * 1000,
            start_ns=min(starts, default=0),
            pixel_aspect=aspect,
        )


def whole_sound(clip: MediaClip, *, progress: Callable[[int], None] | None = None) -> tuple[Pcm, int]:
    """All of a clip's sound: int16 (n,) at 16 kHz and the time of its first sample, ns.

    `progress` is told the time reached. Raises ``InputError`` above `WHOLE_SOUND_MAX_S`: longer clips are streamed.
    """
    pieces: list[Pcm] = []
    start_ns = samples = 0
    for piece in clip.sound():
        start_ns = start_ns if pieces else piece.pts_ns
        pieces.append(piece.pcm)
        samples += len(piece.pcm)
        if samples > WHOLE_SOUND_MAX_S * 16_000:
            raise InputError(f"more than {WHOLE_SOUND_MAX_S} s of sound", file=clip.file, remedy="cut the clip")
        if progress is not None:
            progress(piece.pts_ns)
    return np.concatenate(pieces), start_ns


def _together(
    pictures: Generator[Picture, None, None], sound: Generator[SoundPiece, None, None]
) -> Generator[Picture | SoundPiece, None, None]:
    with closing(pictures), closing(sound):
        picture, piece = next(pictures, None), next(sound, None)
        while picture is not None or piece is not None:
            if piece is not None and (picture is None or piece.pts_ns <= picture.pts_ns):
                yield piece
                piece = next(sound, None)
            elif picture is not None:
                yield picture
                picture = next(pictures, None)


def _pictures(clip: MediaClip) -> Generator[Picture, None, None]:
    troubles = clip.troubles
    last_ns: int | None = None
    step_ns = round(NS_PER_S / clip.fps) if clip.fps else 40_000_000
    repeats = 0
    rgb_of = RgbOf(clip.pixel_aspect)
    for frame in filter(None, _frames(clip, "video")):
        at_ns = _time_ns(frame, clip)
        if at_ns is None:
            at_ns = 0 if last_ns is None else last_ns + step_ns
        if last_ns is not None and at_ns <= last_ns:
            troubles.pictures_repeated += 1
            repeats += 1
            if repeats >= REPEATS_MAX:
                troubles.ends.append(_restart("pictures", last_ns))
                break
            continue
        if last_ns is not None and at_ns - last_ns > JUMP_MAX_NS:
            troubles.ends.append(_jump("pictures", last_ns, at_ns))
            break
        repeats, last_ns = 0, at_ns
        yield Picture(at_ns, rgb_of(frame))
    if last_ns is None:
        raise InputError("not one picture could be decoded", file=clip.file, remedy="encode the clip again")


def _sound(clip: MediaClip) -> Generator[SoundPiece, None, None]:
    troubles = clip.troubles
    placer = Placer()
    repeats = 0
    lost = False
    for frame in _frames(clip, "audio"):
        if frame is None:
            lost = True
            continue
        if frame.sample_rate not in SOUND_RATES or frame.samples <= 0:
            troubles.sound_skipped += 1
            continue
        at_ns = _time_ns(frame, clip)
        last_ns = placer.end_ns
        if at_ns is not None and last_ns is not None and at_ns - last_ns > JUMP_MAX_NS:
            troubles.ends.append(_jump("sound", last_ns, at_ns))
            break
        repeats = repeats + 1 if placer.is_past(frame, at_ns) else 0
        if repeats >= REPEATS_MAX:
            troubles.ends.append(_restart("sound", last_ns or 0))
            break
        yield from placer.push(frame, at_ns, exactly=lost)
        lost = False
        troubles.silence_ms = placer.silent_samples // 16
    yield from placer.flush()
    if placer.end_ns is None:
        raise InputError("not one piece of its sound could be decoded", file=clip.file, remedy="encode the clip again")


def _frames(clip: MediaClip, kind: str) -> Iterator[Any]:
    """The decoded frames of one stream, None for a packet that gave none; undecodable ones are skipped and counted."""
    troubles = clip.troubles
    with closing(_open(clip.file)) as container:
        stream = _video(container) if kind == "video" else _audio(container)
        if stream is None:
            raise InputError(f"its {kind} stream is gone", file=clip.file, remedy="was it written to meanwhile?")
        if kind == "video":
            large = stream.codec_context.width * stream.codec_context.height > ONE_THREAD_PX
            stream.thread_type, stream.codec_context.thread_count = ("AUTO", 2) if large else ("NONE", 1)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError) as error:
                troubles.ends.append(f"the {kind} breaks off ({_reason(error)})")
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except (FFmpegError, ValueError):
                if kind == "video":
                    troubles.pictures_skipped += 1
                else:
                    troubles.sound_skipped += 1
                frames = []
            yield from frames or [None]


class RgbOf:
    """Frames to upright RGB of square pixels and at most `SIDE_MAX`; keeps the scaler from frame to frame."""

    def __init__(self, pixel_aspect: float = 1.0) -> None:
        self._pixel_aspect = pixel_aspect
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Rgb:
        width, height = shown_size(frame.width, frame.height, self._pixel_aspect)
        # One thread: the others have work of their own.
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        array: Rgb = np.asarray(rgb.to_ndarray(), np.uint8)
        turns = quarter_turns(frame)
        return np.ascontiguousarray(np.rot90(array, turns)) if turns else array


def shown_size(width: int, height: int, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """(width, height) in square pixels with neither above `SIDE_MAX`; the shorter side of a pixel is drawn out."""
    wide, high = width * max(1.0, pixel_aspect), height * max(1.0, 1.0 / pixel_aspect)
    scale = min(1.0, SIDE_MAX / max(wide, high))
    return max(1, round(wide * scale)), max(1, round(high * scale))


def quarter_turns(frame: av.VideoFrame) -> int:
    """How often a picture is turned left by 90 degrees to stand upright, 0 to 3 (a phone's display matrix)."""
    return round((frame.rotation or 0) / 90) % 4


def _pixel_aspect(video: Any) -> float:
    """As the container says, else the codec; what no camera or disc has ever had is a mistake: square, then."""
    aspect = float(video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio or 1)
    return aspect if 1 / PIXEL_ASPECT_MAX <= aspect <= PIXEL_ASPECT_MAX else 1.0


def _first_size(file: str, video: Any, pixel_aspect: float) -> tuple[int, int]:
    """The size of the pictures handed out, which the first decodable one knows best."""
    width, height = shown_size(video.codec_context.width or 1, video.codec_context.height or 1, pixel_aspect)
    with closing(_open(file)) as container:
        stream = _video(container)
        try:
            frame = next(container.decode(stream), None) if stream is not None else None
        except (FFmpegError, ValueError):
            frame = None
    if not isinstance(frame, av.VideoFrame):
        return width, height
    width, height = shown_size(frame.width, frame.height, pixel_aspect)
    return (height, width) if quarter_turns(frame) % 2 else (width, height)


def _open(file: str) -> Any:
    path = Path(file)
    if not path.is_file():
        raise InputError("there is no such file", file=file, remedy="give the path of a media file")
    if path.stat().st_size == 0:
        raise InputError("the file is empty", file=file, remedy="give a media file")
    try:
        # The absolute path: a name with a colon would be taken for a protocol.
        return av.open(str(path.absolute()), metadata_errors="replace")
    except (FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"it cannot be opened as a clip ({_reason(error)})", file=file, remedy="give a media file that plays"
        ) from None


def _video(container: Any) -> Any:
    """The first stream of moving pictures: a song's cover is none."""
    moving = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    return next((stream for stream in moving if stream.codec_context is not None), None)


def _audio(container: Any) -> Any:
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _time_ns(frame: Any, clip: MediaClip) -> int | None:
    if frame.pts is None or not frame.time_base:
        return None
    return _ns(frame.pts, frame.time_base) - clip.start_ns


def _ns(pts: int, time_base: Any) -> int:
    time_ns: int = pts * time_base.numerator * NS_PER_S // time_base.denominator
    return time_ns


def _restart(kind: str, last_ns: int) -> str:
    return f"the {kind} time stamps begin again at {last_ns / NS_PER_S:.1f} s: the rest was not read"


def _jump(kind: str, last_ns: int, at_ns: int) -> str:
    return f"the {kind} time stamps jump from {last_ns / NS_PER_S:.1f} to {at_ns / NS_PER_S:.1f} s: read up to there"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)[:120]
