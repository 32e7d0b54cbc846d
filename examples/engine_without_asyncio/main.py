"""The engine on a thread of your own: a queue, a monotonic clock, one wait. No asyncio, nothing to install.

    python main.py

Three seconds of a model whose pictures stop for a second, in real time.
"""

from __future__ import annotations

import queue
import threading
import time

from avsync import (
    Alert,
    Answer,
    AvSyncClock,
    AvSynchronizer,
    Drop,
    Kind,
    MediaUnit,
    Present,
    Request,
    ms,
    seconds,
)

NS_PER_S = seconds(1)

SECONDS = 3
STALL_NS = (seconds(1), seconds(2))  # no picture is ready between these two


def model(inbox: queue.Queue[MediaUnit | None]) -> None:
    """Another thread: makes sound and pictures in real time, and hands them over stamped."""
    clock, start_ns = AvSyncClock(video_rate=25), time.monotonic_ns()
    for slot in range(50 * SECONDS):
        at_ns = slot * ms(20)
        time.sleep(max(0, start_ns + at_ns - time.monotonic_ns()) / NS_PER_S)
        inbox.put(clock.stamp_audio(960))
        if slot % 2 == 0 and not STALL_NS[0] <= at_ns < STALL_NS[1]:
            inbox.put(clock.stamp_frame(pts_ns=at_ns))  # says where it belongs: the missing ones are skipped
    inbox.put(None)


class Sink:
    """Your output: here it only counts."""

    def __init__(self) -> None:
        self.presented = {Kind.AUDIO: 0, Kind.VIDEO: 0}
        self.dropped = 0
        self.alerts: list[str] = []
        self.asked = False

    def do(self, answer: Answer) -> None:
        match answer:
            case Present(unit=unit):
                self.presented[unit.kind] += 1
            case Drop():
                self.dropped += 1
            case Alert(name=name, active=active):
                self.alerts.append(f"{name} {'began' if active else 'is over'}")
            case Request():
                self.asked = True


def drive(inbox: queue.Queue[MediaUnit | None], sink: Sink) -> None:
    """Push what came, poll until None, wait until the next timer or the next unit."""
    engine, source_ends_ns = AvSynchronizer(), 0
    while True:
        now_ns = time.monotonic_ns()
        while (answer := engine.poll(now_ns)) is not None:
            sink.do(answer)
        if source_ends_ns and now_ns > source_ends_ns:
            return
        wake_ns = engine.next_wakeup_ns()
        wait_s = None if wake_ns is None else max(0, wake_ns - time.monotonic_ns()) / NS_PER_S
        try:
            unit = inbox.get(timeout=wait_s)
        except queue.Empty:
            continue
        if unit is None:
            source_ends_ns = time.monotonic_ns() + ms(500)  # what is queued is still played
            for kind in (Kind.AUDIO, Kind.VIDEO):
                engine.finish(kind, 0, time.monotonic_ns())
        else:
            engine.push(unit, time.monotonic_ns())


def main() -> None:
    inbox: queue.Queue[MediaUnit | None] = queue.Queue()
    sink = Sink()
    making = threading.Thread(target=model, args=(inbox,))
    making.start()
    drive(inbox, sink)
    making.join()
    print("all sound was played:", sink.presented[Kind.AUDIO] == 50 * SECONDS)
    print("pictures before and after the stall were shown:", sink.presented[Kind.VIDEO] > 40)
    print("the source was asked to catch up:", sink.asked)
    print("alerts:", ", ".join(sink.alerts))


if __name__ == "__main__":
    main()
