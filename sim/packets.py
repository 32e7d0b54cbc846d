"""Packets: what travels on the lab's links, as RTP would carry it.

Each carries three things that must not be mixed: the RTP header (16-bit sequence, 32-bit
stamp), what the sender *believes* it sent under that stamp (``pts_ns``), and a reference to
the *truth* (``ref``: the source's own log), which no engine ever looks at.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from avsync.types import Kind
from avsync.units import PICTURE_HZ, SOUND_HZ

SOUND_RTP_HZ: Final = SOUND_HZ  # RFC 7587: Opus always
PICTURE_RTP_HZ: Final = PICTURE_HZ  # RFC 6184, RFC 7741
MTU_BYTES: Final = 1_200  # libwebrtc's default packet size
IDLE: Final = -1  # ref of a picture without lips, or of sound without content


class SoundPacket(NamedTuple):
    """One RTP packet of sound. ``pts_ns`` None: comfort silence, the sender had nothing to say."""

    seq16: int
    rtp: int
    duration_ns: int
    size_bytes: int
    epoch: int
    pts_ns: int | None
    ref: int
    pause: bool = False  # a DTX packet: nothing more until the next stamp
    retransmitted: bool = False
    from_ns: int = 0  # where in the sound ``ref`` this packet begins: a resampler cuts anew


class PictureFrame(NamedTuple):
    """One video frame, all of its packets. ``seq16`` is the first packet's."""

    seq16: int
    rtp: int
    packets: int
    size_bytes: int
    epoch: int
    pts_ns: int | None
    duration_ns: int
    ref: int
    is_key: bool
    droppable: bool  # no later frame depends on it
    number: int  # frame number in sending order; frame n needs n - 1 unless it is a key
    repeat: bool = False
    retransmitted: bool = False


class SenderReport(NamedTuple):
    """RTCP SR: the remote wall clock and the RTP stamp of the same instant."""

    kind: Kind
    ntp_ns: int
    rtp: int


class OldTurnOver(NamedTuple):
    """A provider's message, beside its RTP: the turn that ``epoch``'s interrupt ended is sent; its last stamps."""

    epoch: int
    sound_rtp: int
    picture_rtp: int
