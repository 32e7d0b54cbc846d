"""Chromium: the system's own, headless, driven through Playwright; or one clear sentence about what is missing.

Playwright's download of a browser is never asked for: what is measured should be what the distribution ships.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from avsync.errors import InputError

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
VARIABLE = "AVSYNC_CHROMIUM"
INSTALL = "apt-get install chromium, or name one: AVSYNC_CHROMIUM=/path/to/chromium"
FLAGS = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=Translate,MediaRouter",
)


def find_chromium(environment: Mapping[str, str] | None = None) -> str:
    """Path of a Chromium: ``AVSYNC_CHROMIUM`` if set, else the first of ``NAMES`` on the path, else ``InputError``."""
    environment = os.environ if environment is None else environment
    named = environment.get(VARIABLE, "")
    if named:
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise InputError(f"{VARIABLE} names no program: {named}", remedy=INSTALL)
        return named
    for name in NAMES:
        found = shutil.which(name, path=environment.get("PATH"))
        if found:
            return found
    raise InputError(f"no Chromium on this machine (looked for {', '.join(NAMES)})", remedy=INSTALL)


@asynccontextmanager
async def open_chromium(path: str | None = None) -> AsyncIterator[Browser]:
    """A running headless Chromium, closed at the end. ``InputError`` where Playwright or Chromium is missing."""
    executable = path or find_chromium()
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise InputError("the glass probe needs Playwright", remedy="pip install 'avsync[glass]'") from None
    flags = list(FLAGS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to run its sandbox as root, as in most containers
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=executable, headless=True, args=flags)
        except Error as error:
            why = str(error).strip().splitlines()[0]
            raise InputError(f"{executable} does not start: {why}", remedy=INSTALL) from None
        try:
            yield browser
        finally:
            await browser.close()
