"""Peers: what a page sends over the data channel, and what it is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("aiortc")
from avsync.server.peers import CHANNEL, Peer, Peers


class Channel:
    """As aiortc's, towards a page that takes nothing: what is sent stays in the buffer."""

    label, readyState = CHANNEL, "open"

    def __init__(self) -> None:
        self.hear: Callable[[str | bytes], object] = lambda _message: None
        self.sent: list[str] = []
        self.bufferedAmount = 0

    def add_listener(self, event: str, listener: Callable[[str | bytes], object]) -> None:
        assert event == "message"
        self.hear = listener

    def send(self, data: str) -> None:
        self.sent.append(data)
        self.bufferedAmount += len(data)


class Page:
    """A viewer that always has something to say; what begins with ! is refused, and ? is a fault of ours."""

    def on_report(self, data: bytes) -> bool:
        if data.startswith(b"?"):
            raise RuntimeError("a fault of ours")
        return not data.startswith(b"!")

    def answer(self) -> str | None:
        return "targets"


def channel_of(viewer: Any) -> Channel:
    channel: Any = Channel()
    room: Any = None
    Peers(room, max_viewers=1)._on_channel(Peer(viewer), channel)
    return channel


def test_a_page_that_floods_and_takes_nothing_is_answered_once() -> None:
    channel = channel_of(Page())
    for _ in range(1_000):
        channel.hear("a report")
        channel.hear("! no report")
    assert channel.sent == ["targets"]
    channel.bufferedAmount = 0
    channel.hear("! no report")
    assert len(channel.sent) == 1, "what is refused has no answer"
    channel.hear(b"a report")
    assert len(channel.sent) == 2


def test_a_fault_of_ours_is_logged_once_for_each_viewer(caplog: pytest.LogCaptureFixture) -> None:
    channel = channel_of(Page())
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            channel.hear("? this one")
    assert len(caplog.records) == 1
    channel.hear("a report")
    assert channel.sent == ["targets"], "and the next report counts"
