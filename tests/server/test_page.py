"""The page in a real browser: it plays, its numbers move, its buttons work, and stopping leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from avsync.errors import InputError
from avsync.glass.chromium import find_chromium, open_chromium
from avsync.server.app import PEERS, ROOM, make_app
from avsync.server.face import FaceSource
from avsync.server.modes import check_voice_ahead
from avsync.server.room import ServerSettings

playwright_api = pytest.importorskip("playwright.async_api", reason="needs Playwright: pip install 'avsync[glass]'")

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio
WITHIN_MS = 15_000


@asynccontextmanager
async def served(mode: str, buffer_ms: int | None = None) -> AsyncIterator[tuple[web.Application, str]]:
    settings = ServerSettings(
        mode=mode, voice_ahead_frames=check_voice_ahead(mode, None), buffer_ms=buffer_ms, linger_s=0.2
    )
    app = make_app(FaceSource(size=(256, 256)), settings)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield app, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    try:
        find_chromium()
    except InputError as missing:
        pytest.skip(str(missing).replace("\n", " "))
    async with open_chromium() as browser:
        yield browser


@asynccontextmanager
async def firefox() -> AsyncIterator[Browser]:
    async with playwright_api.async_playwright() as playwright:
        if not os.path.exists(playwright.firefox.executable_path):  # noqa: ASYNC240  # once, before anything runs
            pytest.skip("no Firefox that Playwright can drive on this machine")
        yield await playwright.firefox.launch()


async def until(page: Page, condition: str) -> None:
    await page.wait_for_function(condition, timeout=WITHIN_MS)


TEXT = "document.getElementById('{}').textContent"


async def the_page_works(browser: Browser, mode: str) -> None:
    async with served(mode, buffer_ms=150) as (app, address):
        page = await browser.new_page(bypass_csp=True)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        await page.goto(address)
        assert await page.text_content("#mode") == mode
        await page.click("#start")
        await until(page, "document.getElementById('video').videoWidth === 256")
        await until(page, "document.getElementById('video').currentTime > 1")
        await until(page, "!document.getElementById('interrupt').disabled")
        await until(page, f"{TEXT.format('state')} === 'connected'")
        await until(page, f"{TEXT.format('fps')}.includes('per second')")
        await until(page, f"/^[0-9]+ ms$/.test({TEXT.format('audio-depth')})")
        if await page.evaluate("'jitterBufferTarget' in RTCRtpReceiver.prototype"):
            assert await page.text_content("#audio-asked") == await page.text_content("#video-asked") == "150 ms"
        await page.click("#interrupt")
        await until(page, f"{TEXT.format('turns')} === '2, 1'")
        had = await page.evaluate("document.getElementById('video').currentTime")
        await until(page, f"document.getElementById('video').currentTime > {had} + 0.5")
        await page.click("#start")
        assert await page.text_content("#state") == "stopped"
        async with asyncio.timeout(WITHIN_MS / 1000):
            while len(app[PEERS]) or app[ROOM].stream is not None:  # noqa: ASYNC110  # the room has no such event
                await asyncio.sleep(0.05)
        await page.click("#start")
        await until(page, "document.getElementById('video').videoWidth === 256")
        assert wrong == []
        await page.close()


@pytest.mark.parametrize("mode", ["avsync", "naive-valve"])
async def test_the_page_plays_counts_interrupts_and_stops_in_chromium(mode: str) -> None:
    async with chromium() as browser:
        await the_page_works(browser, mode)


async def test_the_page_plays_counts_interrupts_and_stops_in_firefox() -> None:
    async with firefox() as browser:
        await the_page_works(browser, "avsync")


async def test_a_refused_offer_is_shown_and_the_page_can_try_again() -> None:
    async with chromium() as browser, served("naive") as (_app, address):
        page = await browser.new_page(bypass_csp=True)
        await page.route(
            "**/offer", lambda route: route.fulfill(status=503, json={"error": "8 viewers are here already"}), times=1
        )
        await page.goto(address)
        await page.click("#start")
        await until(page, f"{TEXT.format('message')}.includes('8 viewers are here already')")
        assert await page.text_content("#start") == "Start"
        await page.click("#start")
        await until(page, "document.getElementById('video').videoWidth === 256")
        assert not await page.is_visible("#message")
        await page.close()
