"""Speech with known phonemes: Debian's espeak-ng, asked through ctypes, in one process and without files.

``synthesise(text, voice)`` gives the sound and when each phoneme begins. The library is loaded at the first
call; where it is missing the error names the one line that installs it. espeak-ng keeps global state: one process
speaks one text at a time (nothing here is thread-safe), and how a voice trembles depends on what was said before, so
the same sound to the sample comes from the same texts *in the same order in a fresh process*.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.errors import InputError

INSTALL_LINE = "sudo apt-get install espeak-ng   # Debian, Ubuntu; the library libespeak-ng.so.1 is what is needed"
_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.1.dylib", "libespeak-ng.dll")

# Numbers of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 1
_INITIALIZE_PHONEME_IPA = 2
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED = 0
_EVENT_PHONEME = 7
_RATE, _PITCH, _PITCH_RANGE, _WORD_GAP = 1, 3, 4, 7
_CHARS_UTF8 = 1


class Phoneme(NamedTuple):
    """One phoneme as espeak-ng says it: its IPA letters and its first sample. Pauses have the name ''."""

    ipa: str
    start_s: float


class Spoken(NamedTuple):
    """pcm: (n,) int16 mono at `rate_hz`; `phonemes` in order; a phoneme ends where the next one begins."""

    pcm: npt.NDArray[np.int16]
    rate_hz: int
    phonemes: tuple[Phoneme, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """The loaded library and what its callback has said since the last text."""

    def __init__(self) -> None:
        self._library = _load()
        self.rate_hz = int(
            self._library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS,
                0,
                None,
                _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT,
            )
        )
        if self.rate_hz <= 0:
            raise InputError(f"espeak-ng is installed, but its data is not. Install it: {INSTALL_LINE}")
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._phonemes: list[Phoneme] = []
        self._callback = _Callback(self._on_wave)  # kept: ctypes does not own it
        self._library.espeak_SetSynthCallback(self._callback)

    def _on_wave(self, wav: Any, samples: int, events: Any) -> int:
        if wav and samples > 0:
            self._pieces.append(np.ctypeslib.as_array(wav, (samples,)).copy())
        at = 0
        while events[at].type != _EVENT_LIST_TERMINATED:
            if events[at].type == _EVENT_PHONEME:
                # Eight bytes, cut anywhere: a letter cut in half is dropped.
                ipa = bytes(events[at].id.string).decode("utf-8", "ignore")
                self._phonemes.append(Phoneme(ipa, events[at].sample / self.rate_hz))
            at += 1
        return 0

    def speak(self, text: str, voice: str, settings: dict[int, int]) -> Spoken:
        self._pieces.clear()
        self._phonemes.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}; `espeak-ng --voices` lists what it has")
        for which, value in settings.items():
            self._library.espeak_SetParameter(which, value, 0)
        letters = text.encode() + b"\0"
        self._library.espeak_Synth(letters, len(letters), 0, 0, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        pcm = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        return Spoken(pcm, self.rate_hz, tuple(self._phonemes))


def _load() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise InputError(f"training makes its speech with espeak-ng, which is not installed. Install it: {INSTALL_LINE}")


@cache
def _engine() -> _Engine:
    return _Engine()


def synthesise(
    text: str,
    voice: str = "en-us",
    *,
    words_per_minute: int = 165,
    pitch: int = 50,
    pitch_range: int = 50,
    gap: int = 0,
) -> Spoken:
    """Speak `text`. pitch, pitch_range: 0..100; gap: extra pause between words, in 10 ms at the normal rate.

    Raises `InputError` when the library, its data or the voice is missing.
    """
    settings = {_RATE: words_per_minute, _PITCH: pitch, _PITCH_RANGE: pitch_range, _WORD_GAP: gap}
    return _engine().speak(text, voice, settings)
