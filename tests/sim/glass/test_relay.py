"""The relay: what the lab's link says happens to real packets. Pipes in virtual time; a few stories on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError, UsageError
from avsync.types import AUDIO, VIDEO, Kind
from avsync.units import ms, seconds
from sim.glass.impair import parse_impair
from sim.glass.relay import MAX_FLOWS, Relay
from sim.glass.relay_pipe import EARLY_NS, MAX_SSRCS, MAX_WAITING_BYTES, Pipe
from sim.glass.relay_sdp import hosts, payload_kinds, redirected
from sim.network.link import Link, LinkSpec

OPUS, VP8, RTX = 96, 97, 98
PAYLOADS = {OPUS: AUDIO, VP8: VIDEO, RTX: VIDEO}
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
DTLS = b"\x16\xfe\xfd" + bytes(40)


def rtp(payload: int, seq: int, ssrc: int = 7, size: int = 100) -> bytes:
    return bytes([0x80, payload]) + seq.to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big") + bytes(size)


def rtcp(ssrc: int) -> bytes:
    return bytes([0x80, 200, 0, 6]) + ssrc.to_bytes(4, "big") + bytes(40)


def pipe(words: str = "", seed: int = 1) -> Pipe:
    made = Pipe(parse_impair(words).link(seed=seed), handshake_delay_ns=ms(7))
    made.payloads = dict(PAYLOADS)
    return made


def pour(tested: Pipe, packets: list[bytes], every_ns: int = ms(5)) -> list[bytes]:
    """What comes out of it at the other end, in that order."""
    out, now = [], 0
    for data in packets:
        tested.put(data, None, now)
        now += every_ns
        out += [got for got, _ in tested.take(now)]
    return out + [got for got, _ in tested.take(now + seconds(20))]


# ------------------------------------------------------------------------------------ the pipe


def test_a_quiet_pipe_changes_nothing() -> None:
    packets = [rtp(OPUS, 1), STUN, rtp(VP8, 2), DTLS, rtcp(7), b"", b"x", bytes(1500)]
    assert pour(pipe(), packets) == packets


def test_packets_come_out_when_the_link_says_and_bytes_are_unchanged() -> None:
    tested = pipe("delay=40ms video.delay=150ms")
    tested.put(rtp(OPUS, 1), "a", 0)
    tested.put(rtp(VP8, 2), "v", 0)
    assert tested.next_ns() == ms(40) - EARLY_NS
    assert tested.take(ms(39)) == []
    assert tested.take(ms(40)) == [(rtp(OPUS, 1), "a")]
    assert tested.take(ms(149)) == []
    assert tested.take(ms(150)) == [(rtp(VP8, 2), "v")]
    assert tested.next_ns() is None


def test_loss_is_the_links_own_by_seed_and_by_kind() -> None:
    packets = [rtp(OPUS if i % 2 else VP8, i) for i in range(2_000)]
    outcomes = []
    for seed in (1, 1, 2):
        tested = pipe("video.loss=10%", seed)
        out = pour(tested, packets)
        assert tested.counts.lost[AUDIO] == 0 and tested.counts.lost[VIDEO] == pytest.approx(100, rel=0.3)
        assert len(out) == 2_000 - tested.counts.lost[VIDEO]
        reference = parse_impair("video.loss=10%").link(seed=seed)
        kinds = [AUDIO if i % 2 else VIDEO for i in range(2_000)]
        fates = [reference.send(140, i * ms(5), kind) for i, kind in enumerate(kinds)]
        assert out == [packet for packet, fate in zip(packets, fates, strict=True) if fate]
        outcomes.append(out)
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_duplicates_come_twice_and_late_ones_are_overtaken() -> None:
    tested = pipe("dup=10% reorder=10% reorder_by=30ms")
    packets = [rtp(OPUS, i) for i in range(1_000)]
    out = pour(tested, packets)
    assert len(out) == 1_000 + tested.counts.duplicated and tested.counts.duplicated > 50
    assert set(out) == set(packets) and list(dict.fromkeys(out)) != packets


def test_the_set_up_of_a_call_is_never_lost_and_never_doubled() -> None:
    tested = pipe("loss=100% dup=50%")
    tested.put(STUN, None, 0)
    tested.put(DTLS, None, 0)
    tested.put(rtp(OPUS, 1), None, 0)
    assert [data for data, _ in tested.take(ms(7))] == [STUN, DTLS]
    assert tested.counts.lost[AUDIO] == 1 and tested.counts.handshakes == 2


def test_reports_and_retransmissions_travel_with_their_own_kind() -> None:
    tested = pipe("video.delay=100ms")
    tested.put(rtcp(7), None, 0)  # nobody knows yet whose it is: it goes with the sound
    assert tested.take(0)
    tested.put(rtp(VP8, 1, ssrc=7), None, 0)
    tested.put(rtp(RTX, 2, ssrc=8), None, 0)
    for ssrc in (7, 8):
        tested.put(rtcp(ssrc), None, 0)
    assert tested.take(ms(99)) == []
    assert len(tested.take(ms(100))) == 4


def test_reports_are_lost_like_everything_else() -> None:
    tested = pipe("video.loss=100%")
    tested.put(rtp(VP8, 1, ssrc=7), None, 0)
    tested.put(rtcp(7), None, 0)
    assert tested.take(seconds(1)) == [] and tested.counts.lost[VIDEO] == 2


def test_a_flood_is_bounded_in_memory() -> None:
    tested = pipe("delay=60s")
    for i in range(MAX_WAITING_BYTES // 60_000 + 50):
        tested.put(rtp(VP8, i & 0xFFFF, ssrc=i, size=60_000), None, i)
    assert tested.counts.peak_waiting_bytes <= MAX_WAITING_BYTES and tested.counts.overflowed >= 50
    assert len(tested._ssrcs) <= MAX_SSRCS
    tested.forget()
    assert tested.next_ns() is None


def test_the_relays_own_lateness_is_told_and_unknown_below_20_packets() -> None:
    tested = pipe("delay=10ms")
    for i in range(40):
        tested.put(rtp(OPUS, i), None, i * ms(20))
        assert tested.take(i * ms(20) + ms(13))
        assert (tested.late_abs_ms(95) is None) == (i < 19)
    assert tested.late_abs_ms(95) == pytest.approx(3, abs=0.5)
    assert tested.as_dict()["late_abs_p95_ms"] == tested.late_abs_ms(95)


def test_another_link_begins_at_its_own_time_zero() -> None:
    tested = pipe("delay=10ms")
    tested.put(rtp(OPUS, 1), None, seconds(5))
    link = Link(LinkSpec(delay_ns=ms(30)), seed=1, name="to_viewer")
    tested.begin(link, seconds(6))
    link.hold(ms(100), ms(500))
    tested.put(rtp(OPUS, 2), None, seconds(6) + ms(90))
    assert tested.take(seconds(5) + ms(10)) == [(rtp(OPUS, 1), None)]
    assert tested.take(seconds(6) + ms(499)) == []
    assert tested.take(seconds(6) + ms(500)) == [(rtp(OPUS, 2), None)]


HOSTILE = st.one_of(
    st.binary(max_size=20),
    st.builds(rtp, st.integers(0, 127), st.integers(0, 9), st.integers(0, 99), st.integers(0, 50)),
)


@settings(max_examples=60, deadline=None)
@given(
    packets=st.lists(st.tuples(HOSTILE, st.integers(0, ms(30))), max_size=60),
    words=st.sampled_from(["", "delay=20ms jitter=10ms", "loss=20% dup=20%", "rate=100kbps queue=50ms", "reorder=30%"]),
    seed=st.integers(0, 3),
)
def test_whatever_comes_in_comes_out_unchanged_or_is_counted(
    packets: list[tuple[bytes, int]], words: str, seed: int
) -> None:
    tested, now, out = pipe(words, seed), 0, []
    for number, (data, wait) in enumerate(packets):
        now += wait
        tested.put(data, number, now)
        out += tested.take(now)
    while (at := tested.next_ns()) is not None:
        assert at >= now - EARLY_NS
        now = max(at, now)
        out += tested.take(now)
    counts = tested.counts
    assert all(data == packets[number][0] for data, number in out)
    assert len(out) == counts.delivered == len(packets) + counts.duplicated - sum(counts.lost.values())
    if not words:
        assert [number for _, number in out] == list(range(len(packets)))


# ------------------------------------------------------------------------------------ the SDP

OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96 0", "c=IN IP4 0.0.0.0", "a=ice-ufrag:ab", "a=ice-pwd:cd", "a=mid:0",
        "a=candidate:1 1 udp 2113937151 0ad5ab6e.local 54321 typ host generation 0",
        "a=candidate:2 1 udp 2113937150 192.0.2.7 54322 typ host generation 0",
        "a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active",
        "a=candidate:4 1 udp 2113937150 2001:db8::7 54323 typ host",
        "a=candidate:5 1 udp 1677729535 198.51.100.9 40000 typ srflx raddr 0.0.0.0 rport 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 97 98", "a=ice-ufrag:ab", "a=mid:1", "a=rtpmap:97 VP8/90000",
        "a=rtpmap:98 rtx/90000",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:2", "",
    ]
)  # fmt: skip


def test_all_candidates_become_the_relays_own() -> None:
    changed = redirected(OFFER, ("127.0.0.1", 5_000))
    assert hosts(changed) == [("127.0.0.1", 5_000)]
    assert ".local" not in changed and "192.0.2.7" not in changed and "tcptype" not in changed
    assert changed.count("a=candidate:") == 2, "a refused section has no candidate"
    kept = [line for line in OFFER.split("\r\n") if "candidate" not in line]
    assert [line for line in changed.split("\r\n") if "candidate" not in line] == kept


def test_payload_types_and_addresses_are_read() -> None:
    assert payload_kinds(OFFER) == {96: AUDIO, 0: AUDIO, 97: VIDEO, 98: VIDEO}
    assert hosts(OFFER) == [("192.0.2.7", 54322), ("2001:db8::7", 54323)]


@pytest.mark.parametrize("text", ["", "hello", "v=0\r\na=candidate:1", "m=audio\n" * 40_000])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="SDP"):
        redirected(text, ("127.0.0.1", 1))


LINES = [*OFFER.split("\r\n"), "m=", "m=audio 9 x ²", "a=candidate:1 1 udp 1 ::1 99999 typ host", "a="]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=20))
def test_any_lines_are_rewritten_or_refused(lines: list[str]) -> None:
    try:
        changed = redirected("\n".join(lines), ("127.0.0.1", 5))
    except InputError:
        return
    assert set(hosts(changed)) <= {("127.0.0.1", 5)}
    assert all(isinstance(kind, Kind) for kind in payload_kinds(changed).values())


# --------------------------------------------------------------------------------- real sockets


def open_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(("127.0.0.1", 0))
    return made


async def turns() -> None:
    """A few turns of the loop: what was sent on loopback has been read."""
    for _ in range(5):
        await asyncio.sleep(0)


class Call:
    """A browser and a sender, as two sockets on loopback with a relay between them."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.browser, self.sender = open_socket(), open_socket()
        self.shake()

    def shake(self) -> None:
        (self.viewer_seems,) = hosts(self.relay.offer(OFFER))
        (self.sender_seems,) = hosts(self.relay.answer(redirected(OFFER, self.sender.getsockname())))

    async def got(self, at: socket.socket) -> tuple[bytes, Any]:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(at, 2_000), 5)

    async def connect(self) -> None:
        self.browser.sendto(STUN, self.sender_seems)
        data, came_from = await self.got(self.sender)
        assert data == STUN and came_from == self.viewer_seems, "the sender meets the candidate it was told"


@asynccontextmanager
async def call(words: str = "", seed: int = 1) -> AsyncIterator[Call]:
    async with Relay.of(parse_impair(words), seed=seed) as relay:
        one = Call(relay)
        try:
            yield one
        finally:
            one.browser.close()
            one.sender.close()


def test_packets_cross_both_ways_with_their_bytes_and_their_order() -> None:
    async def story() -> None:
        async with call() as one:
            await one.connect()
            packets = [rtp(VP8 if i % 3 else OPUS, i, size=i) for i in range(200)]
            for data in packets:
                one.sender.sendto(data, one.viewer_seems)
            arrived = [await one.got(one.browser) for _ in packets]
            assert [data for data, _ in arrived] == packets
            assert {came_from for _, came_from in arrived} == {one.sender_seems}
            one.browser.sendto(rtcp(1), one.sender_seems)
            assert (await one.got(one.sender))[0] == rtcp(1)

    asyncio.run(story())


def test_loss_on_the_wire_is_counted_by_seed() -> None:
    async def story() -> tuple[int, int]:
        async with call("loss=20%", seed=4) as one:
            await one.connect()
            for i in range(300):
                one.sender.sendto(rtp(OPUS, i), one.viewer_seems)
            one.sender.sendto(STUN, one.viewer_seems)  # never lost, and in order: the last to come
            arrived = 0
            while (await one.got(one.browser))[0] != STUN:
                arrived += 1
            return arrived, one.relay.to_viewer.counts.lost[AUDIO]

    first, again = asyncio.run(story()), asyncio.run(story())
    assert first == again and sum(first) == 300 and 30 < first[1] < 90


def test_before_the_browser_has_spoken_nobody_is_sent_anything() -> None:
    async def story() -> None:
        async with call() as one:
            one.sender.sendto(STUN, one.viewer_seems)
            await turns()
            assert one.relay.refused == 1 and not one.relay.to_viewer.counts.accepted
            await one.connect()

    asyncio.run(story())


def test_a_browser_with_two_addresses_has_two_before_the_sender_and_a_crowd_is_refused() -> None:
    async def story() -> None:
        async with call() as one:
            await one.connect()
            others = [open_socket() for _ in range(MAX_FLOWS)]
            for other in others:
                other.sendto(STUN, one.sender_seems)
            seen = {(await one.got(one.sender))[1] for _ in range(MAX_FLOWS - 1)}
            assert len(seen) == MAX_FLOWS - 1 and one.viewer_seems not in seen
            await turns()
            assert one.relay.refused == 1
            for other in others:
                other.close()

    asyncio.run(story())


def test_live_changes_reach_the_next_packet_and_can_be_taken_back() -> None:
    async def story() -> None:
        async with call() as one:
            await one.connect()
            token = one.relay.set_only(AUDIO, loss_ppm=1_000_000)
            one.sender.sendto(rtp(OPUS, 1), one.viewer_seems)
            one.sender.sendto(rtp(VP8, 2), one.viewer_seems)
            assert (await one.got(one.browser))[0] == rtp(VP8, 2)
            one.relay.restore(token)
            one.relay.restore(one.relay.set(loss_ppm=1_000_000))
            step = one.relay.add_delay(ms(1))
            one.sender.sendto(rtp(OPUS, 3), one.viewer_seems)
            assert (await one.got(one.browser))[0] == rtp(OPUS, 3)
            one.relay.restore(step)
            one.relay.hold(ms(30))
            one.sender.sendto(rtp(OPUS, 4), one.viewer_seems)
            assert (await one.got(one.browser))[0] == rtp(OPUS, 4)
            assert one.relay.stats()["to_viewer"]["lost_audio"] == 1

    asyncio.run(story())


def test_a_second_call_takes_the_place_of_the_first() -> None:
    async def story() -> None:
        async with call("delay=50ms") as one:
            one.browser.sendto(STUN, one.sender_seems)
            await turns()
            one.shake()
            assert one.relay.from_viewer.next_ns() is None, "what was under way belongs to nobody"
            await one.connect()
            assert one.relay.stats()["flows"] == 1

    asyncio.run(story())


def test_an_answer_without_an_address_or_an_offer_is_refused() -> None:
    async def story() -> None:
        async with Relay(Link(LinkSpec(), seed=1, name="to_viewer")) as relay:
            with pytest.raises(UsageError, match="offer"):
                relay.answer(OFFER)
            relay.offer(OFFER)
            with pytest.raises(InputError, match="no host candidate for IPv4"):
                relay.answer(redirected(OFFER, ("::1", 5)))
            with pytest.raises(InputError):
                relay.offer("nonsense")
        with pytest.raises(UsageError, match="closed"):
            relay.offer(OFFER)

    asyncio.run(story())


def test_a_real_call_is_set_up_through_it_and_nothing_goes_past() -> None:
    aiortc = pytest.importorskip("aiortc")

    async def story() -> None:
        browser, sender = aiortc.RTCPeerConnection(), aiortc.RTCPeerConnection()
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        sender.on("datachannel", lambda channel: channel.on("message", said.set_result))
        channel = browser.createDataChannel("avsync")
        channel.on("open", lambda: channel.send("hello"))
        try:
            async with Relay.of(parse_impair("delay=5ms loss=100%")) as relay:
                await browser.setLocalDescription(await browser.createOffer())
                if not hosts(browser.localDescription.sdp):
                    pytest.skip("this machine has no address but loopback: ICE has no candidate")
                offer = relay.offer(browser.localDescription.sdp)
                await sender.setRemoteDescription(aiortc.RTCSessionDescription(offer, "offer"))
                await sender.setLocalDescription(await sender.createAnswer())
                answer = relay.answer(sender.localDescription.sdp)
                await browser.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
                assert await asyncio.wait_for(said, 15) == "hello"
                counts = [relay.stats()[way]["handshakes"] for way in ("to_viewer", "from_viewer")]
                assert min(counts) > 5, "ICE, DTLS and the data channel crossed the relay"
        finally:
            await browser.close()
            await sender.close()

    asyncio.run(story())
