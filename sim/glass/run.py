"""Glass run: one scenario for real: its generator and its network, a session or a baseline, and a Chromium.

What the viewer saw and heard is read at the glass and measured by the lab's own truth, beside what getStats claims
and what our monitor believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from aiohttp import web

from avsync.glass.calibrate import Calibration
from avsync.glass.figures import interrupt_to_silence_ms
from avsync.glass.host_health import LATE_P95_LIMIT_NS
from avsync.glass.marks import idle_picture
from avsync.glass.probe import BufferTarget, measure
from avsync.glass.recording import Recording
from avsync.glass.result import GlassResult, read_result
from avsync.server.modes import check_voice_ahead, make_stream
from avsync.server.peers import OfferRefused, Peers
from avsync.server.stream_protocol import AvatarStream, StreamViewer
from avsync.units import NS_PER_MS, NS_PER_S, seconds, to_ms
from avsync.webrtc.session_stats import offsets
from avsync.webrtc.viewers.report_parser import VIEWER_JS
from sim.glass.impair import Impairment
from sim.glass.lab import Columns, measured
from sim.glass.real_scenario import Interruption, RealScenario, levers_of, relay_for
from sim.glass.relay import Relay
from sim.glass.wire_stamps import WireStamps
from sim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from playwright.async_api import Browser

CONNECT_WITHIN_S = 15
AFTER_S = 1.0
SAMPLES_PER_MS = 48
LATE_LIMIT_MS = to_ms(LATE_P95_LIMIT_NS)
SOUND_LOST_LIMIT_MS = 60.0
"""A starved Chromium drops pulls of its sound device, up to 90 ms in a second, while our sender is in time; the sound
after that is late by what its buffers took up."""
STOOD_LIMIT_MS = 150.0
"""Nor does a run in which the whole host stood still once, however short the p95 is: that is a fault of its own."""


@dataclass(frozen=True, slots=True)
class GlassRun:
    """One run. ``columns``: the truth at the glass, named as in the scenario language; None is UNKNOWN.

    ``late_p95_ms`` is our sender's: above 10 nothing is judged. ``believed``: what our monitor made of the viewer's
    reports. ``begun_ns``: monotonic time at the scenario's 0. ``interrupts``: how long each took to return, and how
    long the old turn was still heard at the glass after the call.
    """

    scenario: str
    mode: str
    columns: Columns
    result: GlassResult
    late_p95_ms: float | None
    wire_violations: int
    wire_packets: int
    interrupts: tuple[dict[str, float | None], ...]
    believed: dict[str, Any] | None
    stats: dict[str, Any]
    about: dict[str, Any]
    begun_ns: int

    @property
    def healthy(self) -> bool:
        stood_ms = self.about["generator_late"]["max_ms"]
        in_time = self.late_p95_ms is not None and self.late_p95_ms < LATE_LIMIT_MS
        return (
            in_time and stood_ms < STOOD_LIMIT_MS and sound_lost_ms(self.result.recording.stats) < SOUND_LOST_LIMIT_MS
        )

    def page_ms(self, at_s: float) -> float:
        """A time of the scenario on the page's clock."""
        return (self.begun_ns + seconds(at_s) - self.result.recording.host_ns(0.0)) / NS_PER_MS


class _OneViewerRoom:
    """The one stream of a run, and the one viewer that comes."""

    def __init__(self, stream: AvatarStream) -> None:
        self._stream = stream
        self.viewer: StreamViewer | None = None

    async def join(self) -> StreamViewer:
        self.viewer = self._stream.viewer()
        return self.viewer

    async def leave(self, viewer: StreamViewer) -> None:
        viewer.close()

    def believed(self) -> dict[str, Any] | None:
        """What our monitor believes of the viewer; None where it has no reports."""
        now_ns = round(asyncio.get_running_loop().time() * NS_PER_S)
        report = self.viewer.report(now_ns) if self.viewer is not None else None
        return None if report is None else offsets(report)


class _Played(NamedTuple):
    """What is left of a run, unread. ``origins``: RTP times of output time 0, (sound, pictures).

    ``about``: what was done, and how late.
    """

    recorded: Recording
    stats: dict[str, Any]
    believed: dict[str, Any] | None
    origins: tuple[int | None, int | None]
    about: dict[str, Any]


async def run_real(
    scenario: Scenario,
    *,
    mode: str,
    seed: int,
    chromium: Browser,
    calibration: Calibration | None = None,
    buffer_ms: float | None = None,
    impair: Impairment | None = None,
    on_second: Callable[[], object] | None = None,
) -> GlassRun:
    """``buffer_ms``: the page asks both receivers for it. ``impair``: this network instead of the scenario's.

    ``InputError`` for what cannot be run for real.
    """
    fps = Fraction(scenario.source.video.fps)
    stamps = WireStamps()
    if impair is None:
        relay = relay_for(scenario, seed, on_packet=stamps.see)
    else:
        relay = Relay.of(impair, seed=seed, on_packet=stamps.see)
    real = RealScenario(scenario, seed=seed, wire=relay if impair is None else None)
    stream = make_stream(
        mode, fps=fps, voice_ahead_frames=check_voice_ahead(mode, None), idle=idle_picture(),
        policy=scenario.engine_policy, levers=levers_of(scenario), on_request=real.on_request,
    )  # fmt: skip
    record = partial(
        measure,
        seconds=scenario.duration_s + AFTER_S,
        chromium=chromium,
        jitter_buffer_target_ms=_target(scenario, buffer_ms),
        on_second=None if on_second is None else lambda _taken: on_second(),
        viewer_module="/viewer.js" if mode == "avsync" and VIEWER_JS.exists() else None,
    )
    async with relay:
        played = await _play(real, stream, relay, stamps, record)
    return await asyncio.to_thread(_read, scenario, mode, real, played, stamps, calibration=calibration)


async def _play(
    real: RealScenario,
    stream: AvatarStream,
    relay: Relay,
    stamps: WireStamps,
    record: Callable[[str], Awaitable[Recording]],
) -> _Played:
    """The scenario into the stream, from when the page that ``record`` opens is connected; all is closed at the end."""
    room = _OneViewerRoom(stream)
    peers = Peers(room, max_viewers=1)
    try:
        async with _server(peers, relay, stamps) as (url, connected):
            playing = asyncio.create_task(_when_connected(real, stream, connected))
            try:
                recorded = await record(url)
                stats, believed = stream.stats().as_dict(), room.believed()
                await asyncio.wait_for(playing, CONNECT_WITHIN_S)
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
            origins = (None, None) if room.viewer is None else room.viewer.rtp_origins
            return _Played(recorded, stats, believed, origins, {**real.as_dict(), "relay": relay.stats()})
    finally:
        await peers.close()
        await stream.close()


async def _when_connected(real: RealScenario, stream: AvatarStream, connected: asyncio.Event) -> None:
    await asyncio.wait_for(connected.wait(), CONNECT_WITHIN_S)
    await real.run(stream)


def _read(
    scenario: Scenario,
    mode: str,
    real: RealScenario,
    played: _Played,
    stamps: WireStamps,
    *,
    calibration: Calibration | None,
) -> GlassRun:
    """Everything that can be said of a run that is over. Takes seconds."""
    begun_ns = round(real.time.begun_s * NS_PER_S)
    frame_ms = 1000 / float(scenario.source.video.fps)
    seen = read_result(played.recorded, calibration=calibration, origins=played.origins, frame_ms=frame_ms)
    return GlassRun(
        scenario=scenario.name,
        mode=mode,
        columns=measured(scenario, real.source, played.recorded, seen.reading, begun_ns=begun_ns),
        result=seen,
        late_p95_ms=played.stats.get("lateness_p95_ms"),
        wire_violations=stamps.violations,
        wire_packets=stamps.packets,
        interrupts=tuple(_interrupt(each, seen, begun_ns) for each in real.done.interruptions),
        believed=played.believed,
        stats=played.stats,
        about=played.about,
        begun_ns=begun_ns,
    )


def sound_lost_ms(stats: Sequence[Mapping[str, Any]]) -> float:
    """By how much the sound that the browser pulled fell behind its own clock, after its first three seconds."""
    pulled = [
        (float(each["now_ms"]), float(each["audio"]["totalSamplesReceived"]) / SAMPLES_PER_MS)
        for each in stats
        if "totalSamplesReceived" in each.get("audio", {})
    ]
    pulled = [each for each in pulled if each[0] >= pulled[0][0] + 3000.0]
    if len(pulled) < 2:
        return 0.0
    return (pulled[-1][0] - pulled[0][0]) - (pulled[-1][1] - pulled[0][1])


def _target(scenario: Scenario, buffer_ms: float | None) -> BufferTarget:
    """What the page asks its receivers for: as said, else the scenario's own levers."""
    if buffer_ms is not None:
        return BufferTarget(buffer_ms, buffer_ms)
    levers = scenario.browser
    return BufferTarget(float(levers.sound_target_ms) or None, float(levers.picture_target_ms) or None)


@asynccontextmanager
async def _server(peers: Peers, relay: Relay, stamps: WireStamps) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """(address for offers, set once a viewer's connection is up)."""
    connected = asyncio.Event()

    async def offer(request: web.Request) -> web.Response:
        body = await request.json()
        try:
            peer, sdp = await peers.answer(relay.offer(body["sdp"]))
        except OfferRefused as error:
            return web.json_response({"error": str(error)}, status=400)
        connection = peer.connection

        def on_state() -> None:
            if connection.connectionState == "connected":
                connected.set()

        connection.add_listener("connectionstatechange", on_state)
        on_state()
        stamps.agree(sdp)
        return web.json_response({"type": "answer", "sdp": relay.answer(sdp)})

    async def viewer_js(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=VIEWER_JS.read_text(encoding="utf-8"), content_type="text/javascript")

    app = web.Application(client_max_size=1 << 16)
    app.router.add_post("/offer", offer)
    app.router.add_get("/viewer.js", viewer_js)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/offer", connected
    finally:
        await runner.cleanup()


def _interrupt(each: Interruption, seen: GlassResult, begun_ns: int) -> dict[str, float | None]:
    """``way_ms``: how far what was heard at the call lay behind what was sent then: the way to the ear, all of it."""
    at_ms = (begun_ns + each.called_ns - seen.recording.host_ns(0.0)) / NS_PER_MS
    took_ms = None if each.returned_ns is None else (each.returned_ns - each.called_ns) / NS_PER_MS
    way_ms = None
    if each.played_content_ns is not None:
        heard = np.flatnonzero(seen.reading.heard & (seen.reading.at_ms <= at_ms))
        if len(heard):
            row = heard[-1]
            heard_ms = seen.reading.a_ms[row] + at_ms - seen.reading.at_ms[row]
            way_ms = float(each.played_content_ns / NS_PER_MS - heard_ms)
    silence_ms = interrupt_to_silence_ms(seen.reading, at_ms)
    return {"returned_after_ms": took_ms, "glass_to_silence_ms": silence_ms, "way_ms": way_ms}
