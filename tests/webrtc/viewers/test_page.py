"""The page's half of the closed loop, in a real browser over stand-ins: whatever it lacks, its reports are taken."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from avsync.errors import InputError
from avsync.webrtc.viewers.report_parser import MAX_BYTES, VIEWER_JS, ViewerReport, parse

try:
    pytest.importorskip("playwright")
    from avsync.glass.chromium import find_chromium, open_chromium

    find_chromium()
except InputError as missing:
    pytest.skip(missing.rule, allow_module_level=True)


# A connection, a video and a channel that do what a browser's do, as far as the module can tell.
STAGE = """async ({ code, lacks, flood, wallStep, told }) => {
  const { startReports } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const begun = performance.now();
  const playing = () => Math.floor((performance.now() - begun) / 20);
  const entry = (kind) => ({ type: "inbound-rtp", kind, jitterBufferDelay: 10 + playing(), packetsLost: -1,
    jitterBufferEmittedCount: 100 * playing(), framesDecoded: playing(), totalFreezesDuration: 0 });
  const rtp = () => (lacks.includes("soundRtp") ? undefined : (4294967200 + 960 * playing()) % 2 ** 32);
  const source = () => ({ rtpTimestamp: rtp(),
    timestamp: (lacks.includes("wall") ? 0 : performance.timeOrigin) + begun + playing() * 20 + wallStep });
  const receiver = { track: { kind: "audio" } }, pictures = { track: { kind: "video" } };
  if (!lacks.includes("target")) receiver.jitterBufferTarget = pictures.jitterBufferTarget = null;
  if (!lacks.includes("sources")) receiver.getSynchronizationSources = () => [source()];
  const stats = lacks.includes("stats") ? new Map() : new Map([["a", entry("audio")], ["v", entry("video")]]);
  const pc = { getReceivers: () => [receiver, pictures], getStats: async () => stats };
  const video = {}, sent = [];
  if (!lacks.includes("frames")) {
    let wanted = null;
    video.requestVideoFrameCallback = (call) => (wanted = call);
    const frame = () => ({ expectedDisplayTime: performance.now() + 16,
      rtpTimestamp: lacks.includes("frameRtp") ? undefined : 90 * playing() });
    setInterval(() => { for (let n = 0; n < flood; n++) wanted(performance.now(), frame()); }, 30);
  }
  const channel = Object.assign(new EventTarget(), { readyState: "open", bufferedAmount: 0 });
  channel.send = (text) => sent.push(text);
  const say = (data) => channel.dispatchEvent(new MessageEvent("message", { data }));
  if (lacks.includes("now")) Date.now = () => performance.timeOrigin + performance.now() + wallStep;
  const reports = startReports(pc, video, channel, { intervalMs: 150 });
  for (const each of told) say(each);
  const soundAtOnce = receiver.jitterBufferTarget;
  await new Promise((done) => setTimeout(done, 900));
  channel.readyState = "closed";
  await new Promise((done) => setTimeout(done, 200));
  const targets = [soundAtOnce, receiver.jitterBufferTarget, pictures.jitterBufferTarget];
  reports.stop();
  const left = [receiver.jitterBufferTarget, pictures.jitterBufferTarget];
  const before = sent.length;
  channel.readyState = "open";
  await new Promise((done) => setTimeout(done, 400));
  return { sent, after: sent.length - before, targets, left };
}"""

BROWSERS: dict[str, dict[str, Any]] = {
    "chromium": {},
    "page time instead of wall clock": {"lacks": ["wall"]},
    "wall clock stepped by an hour": {"lacks": ["now"], "wallStep": 3_600_000},
    "no rtp time of frames": {"lacks": ["frameRtp"]},
    "no frame callback": {"lacks": ["frames"]},
    "no rtp time of sound": {"lacks": ["soundRtp"]},
    "no sources, no stats": {"lacks": ["sources", "stats"]},
    "more than fits": {"flood": 60},
    "told to hold": {"told": [json.dumps({"v": 1, "sound": 40, "picture": 30})]},
    "told nonsense": {
        "told": [
            "",
            "{",
            "7",
            json.dumps({"v": 2, "sound": 40, "picture": 30}),
            *(json.dumps({"v": 1, "sound": 40, "picture": bad}) for bad in (-1, 1e9, "30", None)),
        ]
    },
    "no receiver target": {"lacks": ["target"], "told": [json.dumps({"v": 1, "sound": 40, "picture": 30})]},
}


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Any]]:
    async def run() -> dict[str, dict[str, Any]]:
        code = VIEWER_JS.read_text(encoding="utf-8")
        async with open_chromium() as browser:

            async def one(changes: dict[str, Any]) -> dict[str, Any]:
                page = await browser.new_page()
                stage = {"code": code, "lacks": [], "flood": 1, "wallStep": 0, "told": []} | changes
                found: dict[str, Any] = await page.evaluate(STAGE, stage)
                return found

            found = await asyncio.gather(*(one(changes) for changes in BROWSERS.values()))
        return dict(zip(BROWSERS, found, strict=True))

    return asyncio.run(run())


def reports_of(told: dict[str, dict[str, Any]], name: str) -> list[ViewerReport]:
    texts = told[name]["sent"]
    assert len(texts) >= 3 and max(map(len, texts)) <= MAX_BYTES
    reports = [parse(text) for text in texts]
    assert all(isinstance(report, ViewerReport) for report in reports), reports
    return [report for report in reports if isinstance(report, ViewerReport)]


@pytest.mark.parametrize("name", BROWSERS)
def test_what_it_sends_is_taken_and_nothing_after_its_end(told: dict[str, dict[str, Any]], name: str) -> None:
    reports = reports_of(told, name)
    numbers = [report.number for report in reports]
    assert numbers == sorted(set(numbers)) and told[name]["after"] == 0


@pytest.mark.parametrize("name", ["chromium", "page time instead of wall clock", "wall clock stepped by an hour"])
def test_sounds_are_dated_in_the_pages_own_time(told: dict[str, dict[str, Any]], name: str) -> None:
    for report in reports_of(told, name):
        assert report.sounds and report.frames
        assert all(-500e6 <= entry.page_ns - report.page_ns <= 20e6 for entry in report.sounds)
        stamps = [entry.rtp for entry in report.sounds]
        assert len(set(stamps)) == len(stamps), "each packet once"


def test_what_a_browser_lacks_is_null_or_left_out(told: dict[str, dict[str, Any]]) -> None:
    assert all(report.frames == () for report in reports_of(told, "no rtp time of frames"))
    assert all(report.frames is None for report in reports_of(told, "no frame callback"))
    assert all(report.sounds == () for report in reports_of(told, "no rtp time of sound"))
    assert all(report.audio is None and report.sounds == () for report in reports_of(told, "no sources, no stats"))


def test_counters_are_what_was_added_and_what_is_not_told_is_null(told: dict[str, dict[str, Any]]) -> None:
    first, *others = reports_of(told, "chromium")
    assert first.video is not None and first.video.counts == {} and first.video.depth_ms is None
    for report in others:
        assert report.audio is not None and report.video is not None
        assert report.video.counts == {"lost": 0, "decoded": 0, "frozen": 0}
        assert report.audio.target_ms is None and "concealed" not in report.audio.counts


def test_more_than_fits_keeps_the_newest(told: dict[str, dict[str, Any]]) -> None:
    assert max(len(report.frames or ()) for report in reports_of(told, "more than fits")) == 130


def test_it_holds_both_as_long_as_it_is_told_the_voice_at_once_and_the_pictures_on_the_way(
    told: dict[str, dict[str, Any]],
) -> None:
    sound_at_once, sound, pictures = told["told to hold"]["targets"]
    assert (sound_at_once, sound, pictures) == (40, 40, 30)
    assert told["told to hold"]["left"] == [None, None], "at its end what the page had set is in force again"
    asked = [report.asked_ms for report in reports_of(told, "told to hold")]
    assert all(each is not None for each in asked)
    assert asked == sorted(asked) and asked[-1] == 30 and asked[0] < 30
    assert all(report.told_ms == (40, 30) for report in reports_of(told, "told to hold"))


@pytest.mark.parametrize("name", ["told nonsense", "chromium"])
def test_it_holds_nothing_unless_it_is_told_so(told: dict[str, dict[str, Any]], name: str) -> None:
    assert told[name]["targets"] == [None, None, None]
    assert all(report.asked_ms == 0 for report in reports_of(told, name))


def test_a_browser_that_cannot_hold_says_so(told: dict[str, dict[str, Any]]) -> None:
    assert all(report.asked_ms is None for report in reports_of(told, "no receiver target"))
