"""The probe: a fresh page in a real Chromium against any server whose ``POST /offer`` answers an offer.

The page's files are served from inside the browser, under the server's own address: no server has to know about
the probe, and an AudioWorklet wants one origin. ``measure`` records, it does not judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from avsync.errors import InputError
from avsync.glass.chromium import open_chromium
from avsync.glass.recording import ActionDone, Recording, recording
from avsync.units import NS_PER_MS

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

STATIC = Path(__file__).parent / "static"
PLACE = "/avsync-glass/"
FILES = {"glass.html": "text/html", "glass.js": "text/javascript", "tap.js": "text/javascript"}
TAKE_EVERY_S = 1.0
START_TIMEOUT_S = 20.0


class Action(NamedTuple):
    """Something to do ``at_s`` after the page plays; its time is written down as it starts."""

    at_s: float
    name: str
    do: Callable[[], Awaitable[object]]


class BufferTarget(NamedTuple):
    """``jitterBufferTarget`` of the two receivers, ms; None leaves one alone."""

    audio: float | None
    video: float | None


async def measure(
    offer_url: str,
    *,
    seconds: float,
    chromium: Browser | str | None = None,
    jitter_buffer_target_ms: BufferTarget | float | None = None,
    on_second: Callable[[Mapping[str, Any]], object] | None = None,
    actions: Sequence[Action] = (),
    viewer_module: str | None = None,
) -> Recording:
    """Record ``seconds`` of what a viewer of ``offer_url`` sees and hears.

    ``chromium``: one that runs already, or a path, or None to look for one. ``on_second`` is handed each take of the
    page. ``viewer_module``: a module on the server whose ``report(pc, video, channel)`` closes the loop. ``InputError``
    where there is no browser, the server refuses, or the page cannot play.
    """
    target = jitter_buffer_target_ms
    both = target if isinstance(target, BufferTarget) else BufferTarget(target, target)
    async with AsyncExitStack() as stack:
        if chromium is None or isinstance(chromium, str):
            chromium = await stack.enter_async_context(open_chromium(chromium))
        context = await chromium.new_context(viewport={"width": 1300, "height": 760})
        stack.push_async_callback(context.close)
        page = await context.new_page()
        await _start(page, offer_url, both, viewer_module)
        zero_ns = await page_zero_ns(page)
        taken, begun = await _record(page, seconds, on_second, actions)
    done = [ActionDone(name, (at_ns - zero_ns) / NS_PER_MS) for name, at_ns in begun]
    return recording(taken, actions=done, page_zero_ns=zero_ns, browser=f"Chromium {chromium.version}")


async def page_zero_ns(page: Page, tries: int = 9) -> int:
    """``time.monotonic_ns()`` at the page's ``performance.now() == 0``, from the quickest of some round trips."""
    best: tuple[int, int] | None = None
    for _ in range(tries):
        before = time.monotonic_ns()
        now_ms = await page.evaluate("performance.now()")
        after = time.monotonic_ns()
        zero = (before + after) // 2 - round(now_ms * NS_PER_MS)
        if best is None or after - before < best[0]:
            best = (after - before, zero)
    assert best is not None
    return best[1]


async def _start(page: Page, offer_url: str, target: BufferTarget, viewer_module: str | None) -> None:
    from playwright.async_api import Error

    parts = urlsplit(offer_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    await page.route(f"{origin}{PLACE}**", _serve)
    options = {
        "offerUrl": offer_url,
        "jitterBufferTargetMs": {"audio": target.audio, "video": target.video},
        "viewerModule": viewer_module,
    }
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await page.goto(f"{origin}{PLACE}glass.html")
            await page.wait_for_function("window.glass")
            await page.evaluate("options => window.glass.start(options)", options)
    except Error as error:
        why = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise InputError(f"the page does not play {offer_url}: {why}") from None
    except TimeoutError:
        raise InputError(f"the page does not play {offer_url}: nothing came within {START_TIMEOUT_S:.0f} s") from None


async def _serve(route: Route) -> None:
    name = urlsplit(route.request.url).path.removeprefix(PLACE)
    if name in FILES:
        await route.fulfill(body=(STATIC / name).read_text(encoding="utf-8"), content_type=FILES[name])
    else:
        await route.fulfill(status=404, body="")


async def _record(
    page: Page, seconds: float, on_second: Callable[[Mapping[str, Any]], object] | None, actions: Sequence[Action]
) -> tuple[list[Mapping[str, Any]], list[tuple[str, int]]]:
    """(what the page handed over, (name, monotonic ns) of each action as it began)."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    taken: list[Mapping[str, Any]] = []
    begun: list[tuple[str, int]] = []

    async def act(action: Action) -> None:
        await asyncio.sleep(start + action.at_s - loop.time())
        begun.append((action.name, time.monotonic_ns()))
        await action.do()

    async with asyncio.TaskGroup() as group:
        for action in actions:
            group.create_task(act(action))
        while (left := start + seconds - loop.time()) > 0:
            await asyncio.sleep(min(TAKE_EVERY_S, left))
            taken.append(await page.evaluate("window.glass.take()"))
            if on_second is not None:
                on_second(taken[-1])
    return taken, begun
