"""A program of somebody else: her own loop around the engine, with nothing but what ``avsync`` promises.

Run by a test, which compares what it prints, and checked by ``mypy --strict``. The pictures stop for 0.4 s;
the source is asked to skip, cannot, and sends them late; at 2 s somebody interrupts.
"""

from typing import assert_never

from avsync import (
    Alert,
    AvSyncClock,
    AvSynchronizer,
    AvSyncMonitor,
    AvSyncPolicy,
    Degrade,
    Drop,
    Heard,
    InsertSilence,
    Kind,
    MediaUnit,
    ObservedBy,
    Present,
    Presented,
    Repeat,
    Request,
    Want,
    ms,
    seconds,
    to_ms,
)

clock = AvSyncClock(audio_rate=48_000, video_rate=25)
engine = AvSynchronizer(AvSyncPolicy(playout_delay_ns=ms(80)), levers=[Want.SKIP_TO_PTS])
monitor = AvSyncMonitor(point="output")


def made() -> list[tuple[int, MediaUnit]]:
    """(arrival, unit): 3 s of talk, and pictures that come up to 0.4 s late from 1 s on."""
    epoch = clock.begin_turn()
    units = [clock.stamp_audio(960, epoch=epoch) for _ in range(150)]
    units += [clock.stamp_frame(epoch=epoch) for _ in range(75)]
    arrivals = []
    for unit in units:
        assert unit is not None, clock.last_refusal
        stalled = unit.kind is Kind.VIDEO and seconds(1) <= unit.pts_ns < seconds(1.4)
        arrivals.append((seconds(1.4) if stalled else unit.pts_ns, unit))
    return sorted(arrivals, key=lambda arrival: arrival[0])


def react(now_ns: int) -> None:
    """Poll until None. A sink says what it really did; this one always obeys at once."""
    while (answer := engine.poll(now_ns)) is not None:
        monitor.count(answer)
        match answer:
            case Present(unit=unit):
                seen = Presented(unit.kind, unit.epoch, unit.pts_ns, unit.duration_ns, answer.at_ns, ObservedBy.DEVICE)
                monitor.observe(seen, now_ns)
            case InsertSilence():
                silent = Presented(Kind.AUDIO, answer.epoch, None, answer.duration_ns, answer.at_ns, ObservedBy.DEVICE)
                monitor.observe(silent._replace(what=Heard.IDLE), now_ns)
            case Request(want=want, value=value):
                print(f"{to_ms(now_ns):6.0f} ms  please {want.name} {value}")
            case Degrade(level=level):
                print(f"{to_ms(now_ns):6.0f} ms  show {('lips', 'the last picture', 'the idle picture')[level]}")
            case Alert(name=name, active=active):
                print(f"{to_ms(now_ns):6.0f} ms  {name} {'begins' if active else 'ends'}")
            case Drop() | Repeat():
                pass
            case _:
                assert_never(answer)


def run() -> None:
    now_ns, interrupted = 0, False
    for arrival_ns, unit in made():
        while (wakeup_ns := engine.next_wakeup_ns()) is not None and wakeup_ns < arrival_ns:
            now_ns = wakeup_ns  # a real program would sleep until then
            react(now_ns)
        now_ns = arrival_ns
        if now_ns >= seconds(2) and not interrupted:
            interrupted = True
            found = engine.interrupt(clock.interrupt(), now_ns)
            print(f"{to_ms(now_ns):6.0f} ms  interrupted at {to_ms(found.played_pts_ns or 0):.0f} ms of content")
        engine.push(unit, now_ns)
        react(now_ns)
    report = monitor.report(now_ns)
    p95 = "unknown" if report.abs_p95_ns is None else f"{to_ms(report.abs_p95_ns):.0f} ms"
    print(f"offset p95 {p95}; {report.dropped} pictures came too late, {report.discarded} units were stale")


if __name__ == "__main__":
    run()
