"""Wire stamps: whether RTP timestamps only ever rise, read off the packets themselves."""

from __future__ import annotations

import re
from struct import unpack_from

MAX_STREAMS = 64
NOT_MEDIA = ("rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn")
_RTPMAP = re.compile(r"^a=rtpmap:(\d{1,3}) ([\w.-]+)/", re.MULTILINE)
_HALF = {2: 1 << 15, 4: 1 << 31}


class WireStamps:
    """``see`` each packet as it leaves. Packets of one picture share a stamp; a later sequence number has a later one.

    Only of the media's own payload types: a retransmission rightly carries an old stamp, in a stream of its own.
    """

    def __init__(self) -> None:
        self.packets = self.violations = 0
        self._media: frozenset[int] = frozenset()
        self._newest: dict[int, tuple[int, int]] = {}

    def agree(self, sdp: str) -> None:
        """The answer of a call: which payload types are media, and not retransmissions."""
        named = {int(number): name.lower() for number, name in _RTPMAP.findall(sdp)}
        self._media = frozenset(number for number, name in named.items() if name not in NOT_MEDIA)

    def see(self, data: bytes) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or data[1] & 0x7F not in self._media or 192 <= data[1] <= 223:
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
