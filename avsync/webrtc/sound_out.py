"""Sound out: what the engine answers for each slot leaves as one Opus packet to every viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avsync.timeline.epoch import EpochGate
from avsync.types import AUDIO, Heard, InsertSilence, ObservedBy, Present, Presented, Reason
from avsync.units import FAR_NS, SOUND_HZ, ms, ns_to_ticks
from avsync.webrtc.encode import OPUS_SILENCE, Layout, SoundEncoder
from avsync.webrtc.intake import silence
from avsync.webrtc.tracks import Coded, SyncTrack

SLOT_NS = ms(20)
ON_TIME_NS = ms(10)
"""A slot that leaves this much after its time is still that slot: the timer's grain, not lateness of the sound."""

_IDLE = (Reason.IDLE, Reason.WAITING)
_PASSES = (Reason.LOSS, Reason.PAUSE)


class SoundOut:
    """``play`` each answer about sound in order. ``observed`` hears what left, when, under which stamp."""

    def __init__(
        self, gate: EpochGate, layout: Layout, *, start_ns: int, observed: Callable[[Presented, int], None]
    ) -> None:
        self.tracks: list[SyncTrack] = []
        """Of all viewers who are connected."""
        self.violations = 0
        self.packets = 0
        self._gate, self._layout, self._start_ns, self._observed = gate, layout, start_ns, observed
        self._encoder = SoundEncoder(layout)
        self._silence = silence(layout)
        self._coded = False  # the source encodes its sound itself
        self._epoch = 0
        self._last_ticks = -FAR_NS

    def add(self, track: SyncTrack) -> None:
        self.tracks.append(track)

    def remove(self, track: SyncTrack) -> None:
        if track in self.tracks:
            self.tracks.remove(track)

    def play(self, answer: Present | InsertSilence, now_ns: int) -> None:
        """One slot. A silence of more than a slot is one that was missed whole: nothing is sent for it."""
        at_ns = answer.at_ns if now_ns - answer.at_ns < ON_TIME_NS else now_ns
        if self._gate.oldest > self._epoch:
            self._forget()
        if isinstance(answer, Present):
            unit = answer.unit
            self._coded = isinstance(unit.payload, bytes)
            if unit.pause and not self._coded:
                self._send_silence(answer.stamp_ns)
                what, pts_ns = Heard.PASSING, None
            else:
                self._send(unit.payload, answer.stamp_ns, unit.epoch)
                what, pts_ns = (Heard.PASSING, None) if unit.pause else (Heard.CONTENT, unit.pts_ns)
            duration_ns = unit.duration_ns
        else:
            what, pts_ns, duration_ns = _silence_of(answer), None, answer.duration_ns
            if duration_ns == SLOT_NS:
                self._send_silence(answer.stamp_ns)
        presented = Presented(AUDIO, max(answer.epoch, 0), pts_ns, duration_ns, at_ns, ObservedBy.DEVICE, what)
        self._observed(presented, answer.stamp_ns)

    def _forget(self) -> None:
        """An interrupt: an encoder that codes ahead still holds the end of what was said."""
        self._epoch = self._gate.oldest
        self._encoder = SoundEncoder(self._layout)

    def _send_silence(self, stamp_ns: int) -> None:
        # Beside a source's own packets: our encoder's are 6.5 ms earlier, and would overlap them.
        self._send(OPUS_SILENCE if self._coded else self._silence, stamp_ns, None)

    def _send(self, payload: Any, stamp_ns: int, epoch: int | None) -> None:
        ticks = ns_to_ticks(stamp_ns - self._start_ns, SOUND_HZ)
        if isinstance(payload, bytes):
            packets = [(ticks, payload)]
        else:
            packets = self._encoder.encode(payload, ticks)
        for stamp, data in packets:
            if stamp <= self._last_ticks:
                self.violations += 1
                continue
            self._last_ticks = stamp
            self.packets += 1
            coded = Coded.make(AUDIO, data, stamp, epoch)
            for track in self.tracks:
                track.put(coded)


def _silence_of(answer: InsertSilence) -> Heard:
    if answer.reason in _IDLE:
        return Heard.IDLE
    return Heard.PASSING if answer.reason in _PASSES else Heard.STOPPED
