"""A network in one line of words: what it means, and how it answers what means nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from avsync.types import AUDIO, VIDEO
from avsync.units import ms, seconds
from sim.glass.impair import WORDS, parse_impair
from sim.network.link_spec import LinkSpec
from sim.network.presets import preset


def test_the_line_of_the_manual() -> None:
    meant = parse_impair("delay=40ms jitter=30ms loss=2% burst=3 rate=2mbps dup=0.5% reorder=1% video.delay=150ms")
    assert meant.spec == LinkSpec(
        delay_ns=ms(40), jitter_ns=ms(30), loss_ppm=20_000, burst_packets=3, rate_bps=2_000_000,
        duplicate_ppm=5_000, reorder_ppm=10_000,
    )  # fmt: skip
    assert meant.spec_of(VIDEO).delay_ns == ms(150) and meant.spec_of(AUDIO).delay_ns == ms(40)
    assert meant.spec_of(VIDEO).loss_ppm == 20_000


def test_no_words_change_nothing() -> None:
    assert parse_impair(" ,\n ").spec == LinkSpec() and not parse_impair("").only


def test_one_stream_alone_is_delayed_on_the_link_that_comes_of_it() -> None:
    link = parse_impair("delay=10ms, video.delay=150ms").link(seed=1)
    assert link.send(100, 0, VIDEO) == (ms(150),)
    assert link.send(100, ms(1), AUDIO) == (ms(11),)


def test_a_preset_is_a_start_and_words_change_it_wherever_they_stand() -> None:
    base = preset("webrtc-3g-lossy").to_viewer
    meant = parse_impair("delay=5ms preset=webrtc-3g-lossy queue=200ms").spec
    assert (meant.rate_bps, meant.loss_ppm) == (base.rate_bps, base.loss_ppm)
    assert (meant.delay_ns, meant.queue_ns, meant.queue_packets) == (ms(5), ms(200), None)


def test_what_recurs_has_two_words() -> None:
    meant = parse_impair("hold=400ms hold_every=5s video.outage=1s video.outage_every=20s")
    assert meant.spec.hold[:2] == (seconds(5), ms(400))
    assert meant.spec_of(VIDEO).outage_every_ns == seconds(20) and not meant.spec_of(AUDIO).outage_every_ns


@pytest.mark.parametrize(
    ("text", "rule", "remedy"),
    [
        ("delay=40ms jiter=30ms", "unknown word 'jiter'", "'jitter'"),
        ("vidio.delay=30ms", "unknown word 'vidio.delay'", "'video.delay'"),
        ("delay", "joined by '='", "delay=..."),
        ("delay=", "joined by '='", "delay=..."),
        ("delay=40", "not a value", "delay=40ms"),
        ("delay=-40ms", "not a value", "delay=40ms"),
        ("delay=nanms", "not a value", "delay=40ms"),
        ("delay=1e9s", "not a value", "delay=40ms"),
        ("loss=2", "not a value", "loss=2%"),
        ("loss=200%", "loss_ppm must be", ""),
        ("rate=0", "rate_bps must be", ""),
        ("burst=x loss=1%", "not a number of packets", "burst=3"),
        ("burst=3", "does nothing without loss", "add loss"),
        ("audio.loss=2% video.burst=3", "does nothing without loss", "add loss"),
        ("jitter_cap=9ms", "does nothing without jitter", "add jitter"),
        ("queue=100ms", "does nothing without rate", "add rate"),
        ("hold=100ms", "does nothing without hold_every", "add hold_every"),
        ("delay=1ms delay=2ms", "given already: delay=1ms", "leave one"),
        ("rate=1mbps queue=10ms queue_packets=5", "one bound", "leave one"),
        ("audio.rate=1mbps", "share the bottleneck", "without audio."),
        ("preset=webrtc-3g-god", "no network is named", "'webrtc-3g-good'"),
        ("preset=", "joined by '='", "preset=..."),
        ("delay=1ms " * 400, "at most 2000 characters", ""),
    ],
)
def test_what_means_nothing_is_answered_with_place_rule_and_remedy(text: str, rule: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_impair(text)
    assert rule in str(caught.value) and remedy in str(caught.value)
    assert str(caught.value).startswith("--impair")


VALUES = st.sampled_from(["1ms", "20ms", "3s", "2%", "0", "1mbps", "500kbps", "7", "", "=", "x", "99999999999s", "²ms"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*WORDS, "dealy", "", "."]), VALUES).map("=".join), max_size=6).map(" ".join))
@example("hold=3s hold_every=1ms")
@example("rate=99999999999mbps")
def test_any_line_is_a_network_or_one_clear_refusal(text: str) -> None:
    try:
        meant = parse_impair(text)
    except InputError as error:
        assert error.place == "--impair" and error.rule
        return
    link = meant.link(seed=3)
    for i in range(20):
        assert all(at >= i * ms(5) for at in link.send(300, i * ms(5), VIDEO if i % 2 else AUDIO))


@settings(max_examples=60, deadline=None)
@given(delay=st.integers(0, 60_000), jitter=st.integers(0, 9_000), loss=st.integers(0, 100), kbps=st.integers(1, 10**6))
def test_numbers_come_through_as_written(delay: int, jitter: int, loss: int, kbps: int) -> None:
    spec = parse_impair(f"loss={loss}% rate={kbps}kbps delay={delay}ms,jitter={jitter / 1000}s").spec
    assert spec.delay_ns == ms(delay) and spec.jitter_ns == ms(jitter)
    assert spec.loss_ppm == loss * 10_000 and spec.rate_bps == kbps * 1_000


def test_letters_of_either_size_mean_the_same() -> None:
    assert parse_impair("Delay=40MS").spec.delay_ns == ms(40)
