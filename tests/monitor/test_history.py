"""The monitor over arbitrary histories: its belief is the definition, its memory is bounded."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import takewhile
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.monitor.belief import MAX_PENDING, SyncSample
from avsync.monitor.monitor import AvSyncMonitor
from avsync.types import AUDIO, VIDEO, Heard, Presented
from avsync.units import ms, seconds
from tests.monitor.monitor_story import FRAME, SLOT, Watched, lips, picture, sound, voice

# ------------------------------------------------------------------------------ memory and time


def test_a_day_in_bounded_memory() -> None:
    """24 h: a second of talk per minute, then a flood that is never settled."""
    monitor = AvSyncMonitor(point="viewer", on_sample=(kept := deque[SyncSample](maxlen=10)).append)
    for minute in range(24 * 60):
        at = seconds(60) * minute
        for presented in (
            *voice(at, at + ms(600), at_ns=at, epoch=minute),
            *lips(at, at + ms(600), at_ns=at + ms(minute % 50), epoch=minute),
            *voice(0, ms(60), at_ns=at + ms(600), epoch=minute, what=Heard.IDLE),
        ):
            monitor.observe(presented, at + ms(700))
        monitor.poll(at + ms(900))
    now_ns = seconds(24 * 3600)
    report = monitor.report(now_ns)
    assert report.samples > 24 * 60 * 25 and len(kept) == 10
    assert report.abs_max_ns == ms(49) and report.abs_p50_ns in range(ms(20), ms(30))
    for i in range(10_000):
        monitor.observe(sound(now_ns - i * 1000, i), now_ns)
        monitor.observe(picture(now_ns, i), now_ns)
    assert monitor._watch._belief.pending <= 2 * MAX_PENDING
    assert (
        len(monitor._watch._recent) <= 500
        and len(monitor._watch._histogram._counts) < 200
        and len(monitor._watch._trend._bins) < 100
    )
    assert monitor.report(now_ns).unbelievable > 15_000


def test_a_clock_that_jumps_by_hours_costs_nothing() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.monitor.report(seconds(1))
    before = len(watched.samples)
    watched.monitor.report(seconds(3600 * 24 * 365))
    assert len(watched.samples) - before <= 6


def test_a_silence_as_long_as_a_nap_is_bounded_work() -> None:
    watched = Watched()
    watched.see(voice(0, seconds(1), at_ns=0), lips(0, seconds(1), at_ns=0))
    watched.see([sound(seconds(1), None, what=Heard.STOPPED, duration_ns=seconds(3600 * 8))])
    watched.monitor.report(seconds(3600 * 8))
    assert len(watched.samples) <= 50 + 50 * 60


def test_a_freeze_is_one_run_of_samples() -> None:
    """400 ms frozen, an idle picture, the same again for 400 ms: two freezes."""
    watched = Watched()
    watched.see(
        voice(0, seconds(2), at_ns=0),
        lips(0, ms(400), at_ns=0),
        [picture(ms(800), None, what=Heard.IDLE), picture(ms(1200), ms(360), what=Heard.REPEAT)],
        lips(ms(1600), seconds(2), at_ns=ms(1600)),
    )
    report = watched.monitor.report(watched.now_ns)
    assert (report.freeze_longest_ns, report.freeze_total_ns) == (ms(400), ms(780))


def test_the_sound_decides_how_long_a_unit_lasts() -> None:
    """A single 2 s unit is 100 samples; what a hole in the observations covers is not believed."""
    watched = Watched()
    watched.see([sound(0, 0, duration_ns=seconds(2)), sound(seconds(5), seconds(5))], lips(0, ms(5100), at_ns=0))
    watched.monitor.report(watched.now_ns)
    assert len(watched.offsets_ms(0, seconds(2))) == 100 and not watched.offsets_ms(seconds(2), seconds(3))


# ------------------------------------------------------------------------- against brute force

HOLD, HOLD_STOPPED = seconds(2), seconds(10)


def until(t: int, stream: list[Presented]) -> int:
    """How many of a stream were presented up to ``t``."""
    return bisect_right(stream, t, key=lambda p: p.at_ns)


def brute_force(history: list[Presented]) -> list[tuple[int, int]]:
    """(at, offset) on the 20 ms grid, each recomputed from the whole history by the definition alone."""
    sounds = sorted((p for p in history if p.kind is AUDIO), key=lambda p: p.at_ns)
    pictures = sorted((p for p in history if p.kind is VIDEO), key=lambda p: p.at_ns)
    content = [p for p in history if p.what is Heard.CONTENT]
    begins = {turn: min(p.at_ns for p in content if p.epoch == turn) for turn in {p.epoch for p in content}}
    seen = [p for p in content if p.kind is VIDEO]
    firsts = {turn: min(p.at_ns for p in seen if p.epoch == turn) for turn in {p.epoch for p in seen}}
    result = []
    for t in range(0, max(p.at_ns for p in history) + seconds(3), SLOT):
        turn = max((turn for turn, at_ns in begins.items() if at_ns <= t), default=None)
        offset = _offset_at(t, turn, firsts.get(turn), sounds, pictures) if turn is not None else None
        if offset is not None:
            result.append((t, offset))
    return result


def _offset_at(t: int, turn: int, first: int | None, sounds: list[Presented], pictures: list[Presented]) -> int | None:
    if first is None or first > t:
        return None
    past = pictures[: until(t, pictures)]
    if past[-1].what is Heard.IDLE:
        return None
    pts, since = past[-1].pts_ns, past[-1].at_ns
    for p in reversed(past):
        if p.what is not Heard.IDLE:
            if p.pts_ns != pts or p.at_ns < first:
                break
            since = p.at_ns
    assert pts is not None
    late = t - since > FRAME
    lips_ns = pts + min(t - since, FRAME)

    heard = sounds[: until(t, sounds)]
    if heard and heard[-1].what is Heard.CONTENT and t < heard[-1].at_ns + heard[-1].duration_ns:
        assert heard[-1].pts_ns is not None
        return heard[-1].pts_ns + t - heard[-1].at_ns - lips_ns
    others = list(takewhile(lambda p: p.what is not Heard.CONTENT or p.epoch != turn, reversed(heard)))
    mine = heard[: len(heard) - len(others)]
    s0 = (mine[-1].pts_ns or 0) + mine[-1].duration_ns if mine else None
    stopped = s0 is not None and heard[-1].what is Heard.STOPPED
    wait = HOLD_STOPPED if stopped else HOLD
    soon = sounds[len(heard) : until(t + wait, sounds)]
    ends = [
        p for p in soon if (p.what is Heard.CONTENT and p.epoch >= turn) or (p.what is Heard.IDLE and s0 is not None)
    ]
    over = bool(mine) and any(p.what is Heard.IDLE for p in others)
    if s0 is None:
        return min((ends[0].pts_ns or 0) - lips_ns, 0) if ends and ends[0].epoch == turn else None
    voice_end = mine[-1].at_ns + mine[-1].duration_ns
    if over or (ends and (ends[0].what is Heard.IDLE or ends[0].epoch > turn)):
        if t > voice_end + HOLD:
            return None
        stop = min([voice_end + HOLD, *(p.at_ns for p in sounds if p.what is Heard.CONTENT and p.epoch > turn)])
        ahead = [p for p in pictures if t < p.at_ns <= stop and p.pts_ns not in (None, pts)]
        fresh = bool(ahead) and ahead[0].epoch == turn
        return max(s0 - lips_ns, 0) if not late or fresh else None
    if ends:
        low, high = sorted((s0, ends[0].pts_ns or 0))
    elif (soon and soon[0].at_ns <= t + HOLD) or t < heard[-1].at_ns + heard[-1].duration_ns:
        low, high = s0, s0 + (t - voice_end + HOLD if heard[-1].what is Heard.PASSING else 0)
    else:
        return None
    return low - lips_ns if lips_ns < low else min(high - lips_ns, 0)


@st.composite
def histories(draw: st.DrawFn) -> list[Presented]:
    """One to three turns with stalls, pauses, losses, freezes, idle pictures and silence between."""
    history: list[Presented] = []
    at = draw(st.integers(0, ms(50)))
    pts = ms(500)
    for epoch in range(draw(st.integers(1, 3))):
        start_at, start_pts = at, pts
        for _ in range(draw(st.integers(1, 3))):
            length = SLOT * draw(st.integers(3, 40))
            history += voice(pts, pts + length, at_ns=at, epoch=epoch)
            at, pts = at + length, pts + length
            what = draw(st.sampled_from([Heard.STOPPED, Heard.PASSING]))
            gap = SLOT * draw(st.sampled_from([0, 1, 7, 30, 130, 520]))
            if draw(st.booleans()) or gap > ms(600):  # else nobody reports it
                history += voice(0, gap, at_ns=at, epoch=epoch, what=what)
            again = history[-1].what is Heard.CONTENT or draw(st.booleans())
            length = SLOT * draw(st.integers(1, 10))
            at, pts = at + gap, pts + (gap if again else 0)
            history += voice(pts, pts + length, at_ns=at, epoch=epoch)
            at, pts = at + length, pts + length
        shown = start_at + draw(st.integers(0, ms(400))) - draw(st.sampled_from([0, ms(60)]))
        late = 0
        free = max([p.at_ns for p in history if p.kind is VIDEO], default=-1) + ms(21)
        for number, frame in enumerate(range(start_pts, pts, FRAME)):
            late += (
                draw(st.sampled_from([0, 0, 0, 0, ms(3), ms(-3), ms(45), ms(400), ms(-400)])) if number % 3 == 2 else 0
            )
            on = max(shown + frame - start_pts + late, free)
            what = draw(st.sampled_from([Heard.CONTENT] * 8 + [Heard.REPEAT])) if frame > start_pts else Heard.CONTENT
            if what is Heard.CONTENT:
                history.append(picture(on, frame, epoch))
                last = frame
            else:
                history.append(picture(on, last, epoch, Heard.REPEAT))
            free = on + ms(21)
        if draw(st.booleans()):
            idle = SLOT * draw(st.integers(1, 150))
            history += voice(0, idle, at_ns=at, epoch=epoch, what=Heard.IDLE)
            at += idle
            if draw(st.booleans()):
                history.append(picture(max(free, at - ms(10)), None, epoch, Heard.IDLE))
    return history


@settings(max_examples=150, deadline=None, derandomize=True)
@given(histories(), st.integers(0, 2**32 - 1))
def test_belief_is_the_definition_whatever_order_it_was_observed_in(history: list[Presented], seed: int) -> None:
    chance = Random(seed)  # drawn one by one by hypothesis, these would be most of the time
    watched = Watched()
    seen = sorted(((p.at_ns + chance.randrange(ms(100)), i, p) for i, p in enumerate(history)), key=lambda s: s[:2])
    for now_ns, _, presented in seen:
        watched.monitor.observe(presented, now_ns)
        if chance.random() < 0.05:
            watched.monitor.report(now_ns)
    watched.monitor.report(max(p.at_ns for p in history) + seconds(10))
    assert [(s.at_ns, s.offset_ns) for s in watched.samples] == brute_force(history)
