"""The offset between voice and lips, computed a second time and as naively as possible.

A ``History`` is plain lists of what was made and what left. ``samples`` walks the time grid and, for each instant,
reads the definition off the lists: no tables, no search, no numpy, nothing shared with ``sim.truth.truth``. ``logs``
writes the same history into the real logs, so that one can be held against the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import NamedTuple

from avsync.units import ms
from sim.truth.truth import ArrivalLog, PresentationLog, SourceLog

IDLE = -1


class Turn(NamedTuple):
    number: int
    start: int
    end: int | None = None
    interrupted: int | None = None


class Sound(NamedTuple):
    content: int
    duration: int
    turn: int
    made: int = 0


class Picture(NamedTuple):
    content: int
    period: int
    turn: int
    made: int = 0


class Heard(NamedTuple):
    at: int
    duration: int
    ref: int
    begin: int
    span: int


class Shown(NamedTuple):
    at: int
    ref: int


class Sample(NamedTuple):
    at: int
    e: int
    state: str  # measured, no_picture, degraded
    turn: int
    frozen: bool


@dataclass
class History:
    """What was made and what left, all in ns."""

    turns: list[Turn] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    pauses: list[tuple[int, int, int]] = field(default_factory=list)

    def logs(self) -> tuple[SourceLog, PresentationLog]:
        source, glass = SourceLog(), PresentationLog()
        for turn in self.turns:
            source.turn(turn.number, turn.start)
            if turn.end is not None:
                source.end_turn(turn.number, turn.end)
            if turn.interrupted is not None:
                source.interrupted(turn.number, turn.interrupted)
        for ref, sound in enumerate(self.sounds):
            assert source.sound(*sound) == ref
        for ref, picture in enumerate(self.pictures):
            assert source.picture(*picture) == ref
        for pause in self.pauses:
            source.pause(*pause)
        for piece in self.heard:
            glass.heard(*piece)
        for showing in self.shown:
            glass.shown(*showing)
        return source, glass

    def arrivals(self, sound_delay: int = 0, picture_delay: int = 0) -> ArrivalLog:
        """Everything made reaches the engine this much later."""
        log = ArrivalLog()
        for ref, sound in enumerate(self.sounds):
            log.sound(ref, sound.made + sound_delay)
        for ref, picture in enumerate(self.pictures):
            log.picture(ref, picture.made + picture_delay)
        return log

    def say(
        self, number: int, begin: int, length: int, *, at: int | None = None, interrupted: int | None = None
    ) -> None:
        """A turn of content [begin, begin + length): 20 ms sounds and 40 ms pictures, made live from ``at`` on."""
        at = begin if at is None else at
        self.turns.append(Turn(number, begin, begin + length, interrupted))
        for content in range(begin, begin + length, ms(20)):
            self.sounds.append(Sound(content, ms(20), number, at + content - begin))
        for content in range(begin, begin + length, ms(40)):
            self.pictures.append(Picture(content, ms(40), number, at + content - begin))

    def play(self, sound_delay: int = 0, picture_delay: int = 0) -> None:
        """All of it leaves this long after it was made."""
        self.heard += [Heard(s.made + sound_delay, s.duration, ref, 0, s.duration) for ref, s in enumerate(self.sounds)]
        self.shown += [Shown(p.made + picture_delay, ref) for ref, p in enumerate(self.pictures)]


class _Piece(NamedTuple):
    at: int
    end: int
    turn: int
    heard: Heard
    sound: Sound

    def position(self, t: int) -> int:
        done = Fraction((t - self.at) * self.heard.span, self.heard.duration)
        return self.sound.content + self.heard.begin + floor(done)


def _audible(history: History) -> list[_Piece]:
    """What was really heard, in order: whatever begins ends what was playing; silence and nothing are not content."""
    played = sorted((h for h in history.heard if h.duration > 0), key=lambda h: h.at)
    pieces = []
    for index, heard in enumerate(played):
        end = heard.at + heard.duration
        if index + 1 < len(played):
            end = min(end, played[index + 1].at)
        if heard.ref >= 0 and end > heard.at:
            sound = history.sounds[heard.ref]
            pieces.append(_Piece(heard.at, end, sound.turn, heard, sound))
    return pieces


def _turn_end(history: History, turn: Turn) -> int:
    made = [s.content + s.duration for s in history.sounds if s.turn == turn.number]
    if turn.end is not None:
        return max([turn.end, *made])
    made += [p.content + p.period for p in history.pictures if p.turn == turn.number]
    return max([turn.start, *made])


def _lasts(history: History, ref: int) -> int:
    frame = history.pictures[ref]
    for later in history.pictures[ref + 1 :]:
        if later.turn == frame.turn:
            return max(min(later.content - frame.content, frame.period), 0)
    turn = next(t for t in history.turns if t.number == frame.turn)
    return max(_turn_end(history, turn) - frame.content, 0)


def _first_showing(history: History, ref: int) -> int:
    return min(s.at for s in history.shown if s.ref == ref)


def _range(history: History, turn: Turn) -> tuple[int, int] | None:
    """[first, end) of the times at which this turn is judged, before the next turn cuts it."""
    voice = [s for s in _audible(history) if s.turn == turn.number]
    shown = sorted(history.shown, key=lambda s: s.at)
    begins = [s.at for s in voice]
    ends = [s.end for s in voice]
    for index, showing in enumerate(shown):
        if showing.ref < 0 or history.pictures[showing.ref].turn != turn.number:
            continue
        begins.append(showing.at)
        if showing.at == _first_showing(history, showing.ref):
            other = [s.at for s in shown[index:] if s.ref != showing.ref]
            ends.append(min([showing.at + _lasts(history, showing.ref), *other[:1]]))
    if not begins:
        return None
    end = max(ends)
    if voice:
        end = min(end, max(s.end for s in voice) + 2_000_000_000)
    for later in history.turns:
        if later.number >= turn.number and later.interrupted is not None:
            end = min(end, later.interrupted)
    return min(begins), end


def _sample(history: History, turn: Turn, t: int) -> Sample:
    shown = [s for s in sorted(history.shown, key=lambda s: s.at) if s.at <= t]
    if not any(s.ref >= 0 and history.pictures[s.ref].turn == turn.number for s in shown):
        return Sample(t, 0, "no_picture", turn.number, False)
    ref = shown[-1].ref
    if ref < 0:
        return Sample(t, 0, "degraded", turn.number, False)
    for_how_long = t - _first_showing(history, ref)
    lips = history.pictures[ref].content + min(for_how_long, _lasts(history, ref))

    everything = _audible(history)
    now = [s for s in everything if s.at <= t < s.end]
    own = [s for s in everything if s.turn == turn.number]
    if now:
        e = now[0].position(t) - lips
    else:
        past, to_come = [s for s in own if s.at <= t], [s for s in own if s.at > t]
        s0 = past[-1].position(past[-1].end) if past else turn.start
        s1 = to_come[0].position(to_come[0].at) if to_come else _turn_end(history, turn)
        s0, s1 = sorted((s0, s1))
        e = 0 if s0 <= lips <= s1 else s0 - lips if lips < s0 else s1 - lips
    return Sample(t, e, "measured", turn.number, for_how_long > _lasts(history, ref))


def samples(history: History, step: int = ms(10)) -> list[Sample]:
    """Every instant of the grid at which a turn is judged."""
    found: list[Sample] = []
    for index, turn in enumerate(history.turns):
        judged = _range(history, turn)
        if judged is None:
            continue
        first, end = judged
        for later in history.turns[index + 1 :]:
            next_range = _range(history, later)
            if next_range is not None:
                end = min(end, next_range[0])
        t = -(-first // step) * step
        while t < end:
            found.append(_sample(history, turn, t))
            t += step
    return found
