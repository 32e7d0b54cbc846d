"""One real browser: the reference sender is seen, heard and read. Nothing here asserts tight timing."""

from __future__ import annotations

import asyncio

import pytest

from avsync.errors import InputError
from avsync.glass.chromium import find_chromium, open_chromium
from avsync.glass.figures import figures
from avsync.glass.marker_free import marker_free, went_back
from avsync.glass.probe import Action, measure
from avsync.glass.reading import read
from avsync.glass.reference_media import Shift, reference_media
from avsync.glass.reference_sender import reference_server
from avsync.units import ms, seconds

try:
    find_chromium()
    pytest.importorskip("playwright")
except InputError as missing:
    pytest.skip(missing.rule, allow_module_level=True)

SECONDS = 8.0


@pytest.mark.slow
def test_the_reference_sender_is_read_at_the_glass():
    acted: list[str] = []

    async def act() -> None:
        acted.append("now")

    async def story():
        media = await asyncio.to_thread(reference_media, 14, [Shift(0, 0), Shift(seconds(4), ms(80))])
        async with open_chromium() as browser, reference_server(media) as server:
            recorded = await measure(
                server.offer_url,
                seconds=SECONDS,
                chromium=browser,
                jitter_buffer_target_ms=60,
                actions=[Action(1.0, "act", act)],
            )
            return recorded, server.rtp_origins(), server.clock.start_ns

    recorded, origins, start_ns = asyncio.run(story())
    reading = read(recorded)
    said = figures(reading)
    assert said.measured_pct > 50 and said.heard_pct > 50
    assert went_back(frame.rtp for frame in recorded.frames) == 0
    before = figures(reading.where(reading.a_ms < 3700)).p50_ms
    after = figures(reading.where(reading.a_ms > 4300)).p50_ms
    assert after - before == pytest.approx(80, abs=30)
    assert marker_free(recorded, origins, reading.at_ms).e_ms.shape == reading.at_ms.shape
    # The page's clock and this machine's are one: what was sent at a stamp is seen after it, and soon.
    frame = recorded.frames[len(recorded.frames) // 4]
    assert 0 < recorded.host_ns(frame.display_ms) - start_ns - ms(frame.mark.number) < seconds(2)
    assert acted == ["now"] and [done.name for done in recorded.actions] == ["act"]
    assert recorded.stats[-1]["video"]["framesDecoded"] > 50


def test_a_server_that_refuses_is_one_sentence():
    async def story() -> None:
        async with reference_server(await asyncio.to_thread(reference_media, 1)) as server:
            await measure(server.offer_url + "/nowhere", seconds=1)

    with pytest.raises(InputError, match="answered 404"):
        asyncio.run(story())
