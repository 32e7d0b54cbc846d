"""WireStamps: RTP timestamps that go back are seen, and nothing else is taken for it."""

from __future__ import annotations

from struct import pack

from sim.glass.wire_stamps import WireStamps

SDP = "\r\n".join(["v=0", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 VP8/90000", "a=rtpmap:98 rtx/90000", ""])


def rtp(sequence: int, stamp: int, payload: int = 97, ssrc: int = 7, marker: int = 0) -> bytes:
    return pack("!BBHII", 0x80, marker << 7 | payload, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + b"x"


def stamps(*packets: bytes) -> WireStamps:
    seen = WireStamps()
    seen.agree(SDP)
    for packet in packets:
        seen.see(packet)
    return seen


def test_rising_stamps_and_several_packets_of_one_picture_are_fine() -> None:
    seen = stamps(rtp(1, 100), rtp(2, 100, marker=1), rtp(3, 3700))
    assert (seen.packets, seen.violations) == (3, 0)


def test_a_stamp_that_goes_back_is_one_violation() -> None:
    assert stamps(rtp(1, 5000), rtp(2, 4999), rtp(3, 5000)).violations == 1


def test_both_counters_wrap() -> None:
    assert stamps(rtp(0xFFFF, 0xFFFFFFF0), rtp(0x10000, 0x100000010)).violations == 0
    assert stamps(rtp(0xFFFF, 0x10), rtp(0x10000, -0x10)).violations == 1


def test_a_retransmission_rightly_carries_an_old_stamp() -> None:
    assert stamps(rtp(9, 5000), rtp(1, 9000, 98, ssrc=8), rtp(2, 1000, 98, ssrc=8)).violations == 0
    assert stamps(rtp(9, 5000), rtp(8, 1000)).violations == 0  # the same packet once more


def test_streams_do_not_mix_and_other_packets_are_none_of_it() -> None:
    seen = stamps(rtp(1, 5000), rtp(2, 100, 96, ssrc=9), rtp(3, 4000, 96, ssrc=10), b"", b"\x16" * 40, rtp(4, 1, 72))
    assert (seen.packets, seen.violations) == (3, 0)
