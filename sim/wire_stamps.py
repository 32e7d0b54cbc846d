"""Wire stamps: whether RTP timestamps only ever rise, read off the packets themselves."""

from __future__ import annotations

from collections.abc import Collection
from struct import unpack_from

MAX_STREAMS = 64
_HALF = {2: 1 << 15, 4: 1 << 31}


class WireStamps:
    """``see`` each packet as it leaves. Packets of one picture share a stamp; a later sequence number has a later one.

    Only of the media's own payload types: a retransmission rightly carries an old stamp, in a stream of its own.
    """

    def __init__(self) -> None:
        self.packets = self.violations = 0
        self._newest: dict[int, tuple[int, int]] = {}

    def see(self, data: bytes, payloads: Collection[int]) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or data[1] & 0x7F not in payloads or 192 <= data[1] <= 223:
            return
        sequence, stamp, ssrc = unpack_from("!HII", data, 2)
        self.packets += 1
        last = self._newest.get(ssrc)
        if last is None:
            if len(self._newest) < MAX_STREAMS:
                self._newest[ssrc] = sequence, stamp
            return
        if _ahead(sequence, last[0], 2) <= 0:
            return
        self.violations += _ahead(stamp, last[1], 4) < 0
        self._newest[ssrc] = sequence, stamp


def _ahead(number: int, than: int, size: int) -> int:
    """Signed difference of two wrapping counters of ``size`` bytes."""
    half = _HALF[size]
    return (number - than + half) % (2 * half) - half
