"""App: the HTTP side of the streaming server: the page, offers, interrupts, numbers.

Bound to loopback unless told otherwise, and then it answers only to loopback's names, so that no
other site can talk to it by DNS rebinding; a POST from another origin is refused. Static files are
the flat list found at start: there is no path to escape from.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from avsync.errors import InputError
from avsync.server.peers import Full, OfferRefused, Peers, RoomBroken
from avsync.server.room import Room, ServerSettings
from avsync.server.sources import AvatarSource
from avsync.webrtc.viewers.report_parser import VIEWER_JS

log = logging.getLogger("avsync.server")

MAX_OFFER_BYTES = 65_536
"""A browser's is 6 to 10 KB."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:",
}
ROOM, PEERS = web.AppKey("room", Room), web.AppKey("peers", Peers)


def make_app(source: AvatarSource, settings: ServerSettings) -> web.Application:
    """The whole server as an aiohttp application; it cleans up after itself."""
    app = web.Application(client_max_size=MAX_OFFER_BYTES, middlewares=[_only_from_here(settings.host)])
    room = app[ROOM] = Room(source, settings)
    app[PEERS] = Peers(room, max_viewers=settings.max_viewers)
    app.router.add_post("/offer", _offer)
    app.router.add_post("/interrupt", _interrupt)
    app.router.add_get("/stats", _stats)
    app.router.add_get("/config", _config)
    for path in (*sorted(STATIC.iterdir()), VIEWER_JS):
        if path.suffix in TYPES:
            app.router.add_get(f"/{path.name}", _file(path))
    app.router.add_get("/", _file(STATIC / "index.html"))
    app.on_shutdown.append(_shut_down)
    return app


async def _shut_down(app: web.Application) -> None:
    await app[PEERS].close()
    await app[ROOM].close()


def _file(path: Path) -> Handler:
    body = path.read_bytes()  # a few KB

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=TYPES[path.suffix], charset="utf-8", headers=HEADERS)

    return handler


# ---- what the page asks for


async def _offer(request: web.Request) -> web.Response:
    try:
        given = await request.json()
    except (ValueError, RecursionError):
        return _refused(400, "the body is no JSON")
    if not isinstance(given, dict) or given.get("type") != "offer" or not isinstance(given.get("sdp"), str):
        return _refused(400, 'expected {"type": "offer", "sdp": "v=0…"}')
    try:
        peer, sdp = await request.app[PEERS].answer(given["sdp"])
    except OfferRefused as error:
        return _refused(400, str(error))
    except Full as error:
        return _refused(503, str(error), {"Retry-After": "10"})
    except RoomBroken as error:
        return _refused(500, str(error))
    return web.json_response({"type": "answer", "sdp": sdp, "viewer": peer.name, **request.app[ROOM].about()})


async def _interrupt(request: web.Request) -> web.Response:
    epoch = await request.app[ROOM].interrupt()
    return web.json_response({"interrupted": epoch is not None, "epoch": epoch})


async def _stats(request: web.Request) -> web.Response:
    peer = request.app[PEERS].get(request.query.get("viewer", ""))
    numbers = {**request.app[ROOM].about(), **request.app[ROOM].stats()}
    numbers["seen"] = peer.seen() if peer is not None else None
    numbers["known_viewer"] = peer is not None
    return web.json_response(numbers, headers={"Cache-Control": "no-store"})


async def _config(request: web.Request) -> web.Response:
    return web.json_response(request.app[ROOM].about())


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": why}, status=status, headers=headers)


def _only_from_here(host: str) -> Middleware:
    """Refuse other sites' requests; errors in JSON, so that the page can show them."""
    own_names = {*LOOPBACK, host.lower()} if is_loopback(host) else None

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = urlsplit(f"//{request.host}").hostname or ""
        if own_names is not None and name not in own_names:
            return _refused(403, f"this server is for {' and '.join(LOOPBACK[:2])} only (see --host)")
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
            return _refused(403, "this comes from another site")
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"an offer has at most {MAX_OFFER_BYTES} bytes")

    return middleware


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


# ---- running


async def serve(source: AvatarSource, settings: ServerSettings, *, ready: Callable[[str], object] = print) -> None:
    """Serve until interrupted (SIGINT, SIGTERM). ``ready`` gets the address once it can be opened."""
    runner = web.AppRunner(make_app(source, settings), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise InputError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error})",
                remedy="another --port may be free",
            ) from None
        port = runner.addresses[0][1] if runner.addresses else settings.port
        name = "localhost" if is_loopback(settings.host) else settings.host
        ready(f"http://{name}:{port}")
        await _until_told()
    finally:
        await runner.cleanup()


async def _until_told() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: KeyboardInterrupt does it
            loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
