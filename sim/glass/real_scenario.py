"""RealScenario: the generator and the steps of a scenario for real, in front of a real stream.

The lab's own ``Speaker`` and ``StepRunner`` run in real time. What they make is marked media (every picture and every
stretch of sound says which position of the content it is), written to a ``TurnStream``: a session or a baseline.
The truth is written as in the lab (``source``); what the network does is done by a relay. What cannot be done for
real (clocks that run at another pace, hosts that sleep) is refused at construction: see ``check_real``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from avsync.errors import InputError
from avsync.glass import marks
from avsync.server.stream_protocol import StreamInterrupted, StreamTurn, TurnStream
from avsync.types import AUDIO, Kind, Request, Want
from avsync.units import SOUND_HZ, ms, ns_to_ticks, seconds
from sim.glass.realtime import Lateness, RealTime
from sim.glass.relay import Relay
from sim.network.link import Link
from sim.run.host import Host
from sim.run.link_of import link_of
from sim.run.senders import HandOver
from sim.run.step_runner import Actors, StepRunner
from sim.scenario.network import DELAY_MS, RtpStart
from sim.scenario.scenario import Scenario
from sim.scenario.steps import ClockStep, HoldOnce, Impair, Reports, RouteStep, Sleep
from sim.source.generator import DTX_EVERY_NS, Made, Speaker
from sim.truth.truth import SourceLog
from sim.virtual_time import VirtualTime

MAX_WAITING = 2_000
"""Units made and not yet written, per kind: 40 s of sound. A stream that takes none for so long is broken."""


class ContentMedia(Protocol):
    """What is written: pure functions of the content position. ``avsync.glass.marks`` in earnest."""

    def picture(self, content_ns: int) -> npt.NDArray[np.uint8]: ...

    def sound(self, from_sample: int, count: int) -> npt.NDArray[np.int16]: ...


class MarkedMedia:
    """The glass probe's media in one size."""

    def __init__(self, width: int = 640, height: int = 360) -> None:
        self._size = {"width": width, "height": height}

    def picture(self, content_ns: int) -> npt.NDArray[np.uint8]:
        return marks.picture(content_ns, **self._size)

    def sound(self, from_sample: int, count: int) -> npt.NDArray[np.int16]:
        return marks.sound(from_sample, count)


class NetworkPath(Protocol):
    """The way to the viewer; a ``Relay``."""

    def begin(self, link: Link) -> None: ...


class Interruption(NamedTuple):
    """Times since the scenario began. ``returned_ns``: when ``interrupt`` came back; None: not before the end.

    ``played_content_ns``: the content that was leaving our output at the call; None where the stream does not say.
    """

    called_ns: int
    returned_ns: int | None
    epoch: int | None
    played_content_ns: int | None = None


@dataclass(slots=True)
class RealOutcome:
    """What became of the hand-over."""

    written: dict[str, int] = field(default_factory=lambda: {"audio": 0, "video": 0})
    refused: dict[str, int] = field(default_factory=lambda: {"audio": 0, "video": 0})
    not_written: int = 0
    interruptions: list[Interruption] = field(default_factory=list)
    requests: list[tuple[int, Request]] = field(default_factory=list)


class _Unit(NamedTuple):
    """To be written: a unit, the end of a stream's turn (``made`` None), or silence in a pause."""

    turn: int
    made: Made | None
    at_ns: int
    silence_ns: int = 0


class RealScenario:
    """``await run(stream)`` plays the scenario once; its time begins there, so call it when the viewer is connected."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        wire: NetworkPath | None = None,
        media: ContentMedia | None = None,
    ) -> None:
        """``InputError`` for what cannot be done for real, or needs a ``wire`` and has none."""
        check_real(scenario, wired=wire is not None)
        self.scenario, self.seed = scenario, seed
        self.source, self.done = SourceLog(), RealOutcome()
        self.handed_late = Lateness()
        self._wire, self._media = wire, media or MarkedMedia()
        env = VirtualTime(0)
        self.time = RealTime(env)
        self._link, self.network_about = link_of(scenario.network.to_viewer, seed, "to_viewer", scenario, None)
        self._steps = StepRunner(env, scenario, seed)
        self.hand_over = HandOver(env, scenario, seed, self._push)
        self.speaker = Speaker(
            env, scenario.source, seed, self.source,
            hand_over=self.hand_over, on_turn=self._on_turn, on_done=self._on_done,
        )  # fmt: skip
        host = Host(env)
        hosts = {"sender": host, "viewer": host}
        # No RTP sender of ours: check_real refuses the steps that would act on one.
        self._steps.direct(Actors(self.speaker, self, hosts, links={"to_viewer": self._link}, senders={}))
        self._turns: dict[int, StreamTurn] = {}
        self._starts: dict[int, int] = {}  # epoch -> content at which its turn begins
        self._streams_done: dict[int, int] = {}
        self._said_ns: dict[int, int] = {}
        self._queues: dict[Kind, asyncio.Queue[_Unit]] = {kind: asyncio.Queue() for kind in Kind}
        self._interrupts: set[asyncio.Task[None]] = set()

    @property
    def faults_ns(self) -> list[tuple[int, int]]:
        """(start, end) of each fault in the scenario's time, for ``sim.truth.windows.within``."""
        return [(seconds(start), seconds(end)) for start, end in self.scenario.faults]

    async def run(self, stream: TurnStream) -> None:
        """To the scenario's end. What the stream or the generator raises comes out here; no task is left behind."""
        self._stream = stream
        if self._wire is not None:
            self._wire.begin(self._link)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                runner = self._tasks.create_task(self.time.run(seconds(self.scenario.duration_s)), name="scenario")
                others = [self._tasks.create_task(self._write_all(kind), name=f"write {kind.value}") for kind in Kind]
                await runner
                for task in (*others, *self._interrupts):
                    task.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def on_request(self, request: Request) -> None:
        """What the session asks of its source. The step runner obeys it as late as the scenario says."""
        self.done.requests.append((self.time.now_ns(), request))
        if request.want is Want.SKIP_TO_PTS:
            start_ns = self._starts.get(request.epoch)
            if start_ns is None:
                return
            request = request._replace(value=start_ns + request.value)
        self.time.call(lambda: self._steps.on_request(request))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what was done, and how late."""
        done = self.done
        return {
            "scenario": self.scenario.name, "seed": self.seed,
            "written": done.written, "refused": done.refused, "not_written": done.not_written,
            "requests": len(done.requests), "interrupts": len(done.interruptions),
            "generator_late": self.time.late.as_dict(), "handed_late": self.handed_late.as_dict(),
        }  # fmt: skip

    # ---- what steps ask of an origin

    def interrupt(self, pushes_on_ns: int) -> None:
        """The listener broke in: the stream is interrupted, and the generator goes on writing to the old turn."""
        called_ns = self.time.now_ns()
        index = len(self.done.interruptions)
        self.done.interruptions.append(Interruption(called_ns, None, None))
        pending = self._stream.interrupt()

        async def returns(pending: Awaitable[StreamInterrupted]) -> None:
            found = await pending
            played = self._content_played(found)
            self.done.interruptions[index] = Interruption(called_ns, self.time.now_ns(), found.epoch, played)

        task = self._tasks.create_task(returns(pending), name="interrupt")
        self._interrupts.add(task)
        task.add_done_callback(self._interrupts.discard)

    def _content_played(self, found: StreamInterrupted) -> int | None:
        start_ns = self._starts.get(found.turn) if found.turn is not None else None
        return None if found.played_ms is None or start_ns is None else start_ns + ms(found.played_ms)

    def content_of(self, content_ns: int) -> int:
        """``on_request`` has made a content position of it already."""
        return content_ns

    # ---- from the generator, in its time

    def _on_turn(self, index: int) -> None:
        turn = self._turns[index] = self._stream.begin_turn()
        assert self.speaker.turn is not None
        self._starts[turn.epoch] = self.speaker.turn.content_ns
        for kept in (self._turns, self._starts):
            while len(kept) > 100:
                del kept[next(iter(kept))]

    def _on_done(self, kind: Kind, index: int) -> None:
        self._queues[kind].put_nowait(_Unit(index, None, self.time.env.now))

    def _push(self, made: Made) -> None:
        queue, now_ns = self._queues[made.kind], self.time.env.now
        if queue.qsize() >= MAX_WAITING:
            self.done.not_written += 1
        elif made.pause:
            # A mark every 400 ms says that nobody speaks. A stream of samples says it with silence.
            pause_ns = self.speaker.sound.content_ns - made.content_ns
            queue.put_nowait(_Unit(made.turn, made, now_ns, silence_ns=min(pause_ns, DTX_EVERY_NS)))
        else:
            queue.put_nowait(_Unit(made.turn, made, now_ns))

    # ---- to the stream, in its own time

    async def _write_all(self, kind: Kind) -> None:
        queue = self._queues[kind]
        while True:
            unit = await queue.get()
            turn = self._turns.get(unit.turn)
            if turn is None:
                continue
            if unit.made is None:
                await self._end(unit.turn, turn)
                continue
            self.handed_late.add(self.time.now_ns() - unit.at_ns)
            taken = await (self._say(turn, unit) if kind is AUDIO else self._show(turn, unit.made))
            (self.done.written if taken else self.done.refused)[kind.value] += 1

    async def _end(self, index: int, turn: StreamTurn) -> None:
        """A turn has ended when both its streams have, each behind what it wrote."""
        self._streams_done[index] = self._streams_done.get(index, 0) + 1
        if self._streams_done[index] == len(self._queues):
            del self._streams_done[index]
            await turn.end()

    async def _show(self, turn: StreamTurn, made: Made) -> bool:
        return await turn.write_video(self._media.picture(made.content_ns), pts_ns=made.since_ns)

    async def _say(self, turn: StreamTurn, unit: _Unit) -> bool:
        made = unit.made
        assert made is not None
        rate_hz = int(made.rate)
        said_ns = self._said_ns.get(unit.turn, 0)
        if unit.silence_ns:
            if made.since_ns < said_ns:
                return True  # the source ran ahead: what follows the pause was said before its mark came
            count = ns_to_ticks(unit.silence_ns, rate_hz)
            sound = np.zeros(count, np.int16)
            said_to_ns = made.since_ns + unit.silence_ns
        else:
            sound = self._sound(made.content_ns, made.ticks, rate_hz)
            said_to_ns = made.since_ns + made.duration_ns
        self._said_ns = {unit.turn: said_to_ns}
        # Only where something was left out: samples say by their number where the others belong.
        pts_ns = made.since_ns if abs(made.since_ns - said_ns) > ms(1) else None
        return await turn.write_audio(sound, sample_rate=rate_hz, pts_ns=pts_ns)

    def _sound(self, content_ns: int, count: int, rate_hz: int) -> npt.NDArray[np.int16]:
        """(count,) int16 at ``rate_hz`` from there on; linear between the samples of 48 kHz."""
        first = ns_to_ticks(content_ns, SOUND_HZ)
        if rate_hz == SOUND_HZ:
            return self._media.sound(first, count)
        at = np.arange(count) * SOUND_HZ / rate_hz
        whole = self._media.sound(first, int(at[-1]) + 2)
        return np.round(np.interp(at, np.arange(len(whole)), whole)).astype(np.int16)


def relay_for(
    scenario: Scenario, seed: int, *, host: str = "127.0.0.1", on_packet: Callable[[bytes], None] | None = None
) -> Relay:
    """A relay that is what the scenario's leg to the viewer is; ``RealScenario`` begins its impairments anew."""
    leg = scenario.network.to_viewer
    link, _ = link_of(leg, seed, "to_viewer", scenario, None)
    back_delay_ns = ms(DELAY_MS if leg.delay_ms is None else leg.delay_ms)
    return Relay(link, back_delay_ns=back_delay_ns, host=host, on_packet=on_packet)


def levers_of(scenario: Scenario) -> tuple[Want, ...]:
    """What the scenario's generator can be asked for: a session's ``levers``."""
    video = scenario.source.video
    can = {Want.SKIP_TO_PTS: video.can_skip, Want.FPS: video.can_fps}
    return tuple(want for want, able in can.items() if able)


def check_real(scenario: Scenario, *, wired: bool = True) -> None:
    """Refuse, with all reasons at once, what a real sender, wire and browser cannot be made to do."""
    found = list(_impossible(scenario, wired))
    if found:
        text = "\n  ".join(f"{place}: {rule}" for place, rule in found)
        raise InputError(
            f"this scenario cannot be run for real\n  {text}",
            file=scenario.name or "scenario",
            remedy="run it in the lab: avsync run",
        )


def _impossible(scenario: Scenario, wired: bool) -> Iterator[tuple[str, str]]:
    clocks, source, leg = scenario.clocks, scenario.source, scenario.network.to_viewer
    if scenario.topology != "local_encode":
        yield "topology", f"{scenario.topology} needs a provider; only local_encode has a real sender"
    if scenario.viewer == "avsync":
        yield "viewer", "the real viewer is a browser"
    for name in ("provider", "bridge", "client"):
        clock = getattr(clocks, name)
        if clock != type(clock)():
            yield f"clocks.{name}", "an oscillator of this host cannot be made to run at another pace"
    if source.video.encoded:
        yield "source.video.encoded", "marked pictures are drawn, not encoded beforehand"
    if source.clip is not None:
        yield "source.clip", "the pictures have to be marked ones"
    if leg.sender_reports != "normal":
        yield "network.to_viewer.sender_reports", "reports travel encrypted with the media; they cannot be held back"
    if leg.rtp_start != RtpStart():
        yield "network.to_viewer.rtp_start", "the sender draws its own first numbers"
    refused: dict[type[Any], str] = {
        Sleep: "this host cannot be put to sleep",
        ClockStep: "the wall clock of this host is left alone",
        Reports: "reports travel encrypted with the media; they cannot be changed on the way",
    }
    for number, step in enumerate(scenario.steps):
        if type(step) in refused:
            yield f"steps[{number}] ({step.do})", refused[type(step)]
        elif isinstance(step, Impair | HoldOnce | RouteStep) and step.leg == "to_viewer" and not wired:
            yield f"steps[{number}] ({step.do})", "happens on the way to the viewer, and there is no relay"
