"""A viewer's report is hostile until parsed: whatever comes is a report or a refusal, in bounded time."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.units import ms, seconds
from avsync.webrtc.viewers.report_parser import (
    MAX_BYTES,
    MAX_ENTRIES,
    VIEWER_JS,
    Refusal,
    ReportGate,
    ViewerReport,
    parse,
)


def told(**changes: Any) -> dict[str, Any]:
    """A report as viewer.js writes it."""
    side = {"depth": 52.5, "target": 48, "minimum": 48, "playout": 4004210344897, "lost": 0}
    return {
        "v": 1, "n": 7, "now": 8288.6, "hidden": False,
        "frames": [[2174335045, 8231.9], [2174338645, 8278.8]],
        "sounds": [[2415068823, 8211.1], [4294967295, 8231.1]],
        "latency": None,
        "audio": {**side, "samples": 48000, "concealed": 0, "silent": None},
        "video": {**side, "decoded": 25, "dropped": 0, "freezes": 0, "frozen": 0},
    } | changes  # fmt: skip


def data(**changes: Any) -> bytes:
    return json.dumps(told(**changes)).encode()


def test_a_report_becomes_whole_nanoseconds_of_the_pages_clock() -> None:
    report = parse(data())
    assert isinstance(report, ViewerReport)
    assert (report.number, report.page_ns, report.hidden) == (7, 8_288_600_000, False)
    assert report.frames is not None and report.frames[0] == (2174335045, 8_231_900_000)
    assert report.sounds[1] == (4294967295, 8_231_100_000)
    assert report.audio is not None and report.audio.depth_ms == 52.5
    assert report.audio.as_dict() == {
        "depth_ms": 52.5, "target_ms": 48, "minimum_ms": 48, "lost": 0, "samples": 48000, "concealed": 0,
    }  # fmt: skip
    assert parse(data().decode()) == report


def test_what_a_browser_cannot_tell_is_none_and_not_zero() -> None:
    """Firefox and Safari: no RTP times of frames, no claims, some counters missing."""
    report = parse(data(frames=None, sounds=[], audio=None, video={"decoded": 25}))
    assert isinstance(report, ViewerReport)
    assert report.frames is None and report.audio is None
    assert report.video is not None and report.video.depth_ms is None and report.video.counts == {"decoded": 25}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("version", {"v": 2}), ("version", {"v": True}), ("version", {"v": None}),
        ("shape", {"n": 1.5}), ("shape", {"n": True}), ("range", {"n": -1}), ("range", {"n": 10**40}),
        ("shape", {"now": None}), ("shape", {"now": "1"}), ("range", {"now": -1}), ("range", {"now": 1e300}),
        ("shape", {"hidden": None}), ("shape", {"hidden": 0}),
        ("shape", {"frames": {}}), ("shape", {"frames": [[1, 2, 3]]}), ("shape", {"frames": [1]}),
        ("shape", {"frames": [[1.5, 8288]]}), ("range", {"frames": [[1 << 32, 8288]]}),
        ("range", {"frames": [[-1, 8288]]}),
        ("range", {"frames": [[1, 9000]]}), ("range", {"sounds": [[1, -5000]]}), ("shape", {"sounds": [[1, None]]}),
        ("shape", {"sounds": None}), ("shape", {"sounds": [[1, 8288]] * (MAX_ENTRIES + 1)}),
        ("shape", {"audio": []}), ("shape", {"audio": {"depth": "52"}}), ("range", {"audio": {"depth": -1}}),
        ("range", {"video": {"decoded": 10**300}}), ("range", {"video": {"playout": 1e14}}),
        ("range", {"latency": 1e9}),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_by_a_word(reason: str, changes: dict[str, Any]) -> None:
    refusal = parse(data(**changes))
    assert isinstance(refusal, Refusal) and refusal.reason == reason and refusal.detail


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("json", b""), ("json", b"\xff\xfe"), ("json", b"{"), ("json", b"[" * 16_000), ("json", b'{"a":' * 3_000),
        ("json", json.dumps(told(now=math.nan)).encode()), ("json", json.dumps(told(latency=-math.inf)).encode()),
        ("json", b'{"v": ' + b"9" * 16_000 + b"}"), ("range", data().replace(b"8288.6", b"1e999")),
        ("size", data() + b" " * MAX_BYTES), ("size", " " * (MAX_BYTES + 1)),
        ("shape", b"[]"), ("shape", b"null"), ("shape", b"1"), ("type", None), ("type", 7), ("type", [b"{}"]),
    ],
)  # fmt: skip
def test_what_is_not_even_json_is_refused_too(reason: str, message: object) -> None:
    refusal = parse(message)
    assert isinstance(refusal, Refusal) and refusal.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(message=st.binary(max_size=200) | st.text(max_size=200) | JSON)
def test_anything_at_all_is_a_report_or_a_refusal(message: Any) -> None:
    assert isinstance(parse(message), ViewerReport | Refusal)


@given(st.dictionaries(st.sampled_from(sorted(told())), JSON, max_size=4))
def test_anything_in_the_place_of_a_field_is_a_report_or_a_refusal(changes: dict[str, Any]) -> None:
    found = parse(json.dumps(told(**changes)))
    assert isinstance(found, ViewerReport | Refusal)
    if isinstance(found, ViewerReport):
        times = [entry.page_ns for entry in (*(found.frames or ()), *found.sounds)]
        assert all(type(at) is int and abs(at - found.page_ns) <= seconds(10) for at in times)


# ---- the gate


def test_a_flood_is_counted_and_not_looked_at() -> None:
    gate = ReportGate()
    taken = sum(gate.take(data(n=n, now=9000 + n, frames=[], sounds=[]), ms(n)) is not None for n in range(10_000))
    assert taken <= 2 * 10 + 4
    assert gate.accepted == taken and gate.refused["flood"] == 10_000 - taken
    assert gate.take(data(n=10_000, now=90_000, frames=[], sounds=[]), seconds(20)) is not None, "and it ends"


def test_one_a_second_is_always_taken_also_after_a_pause() -> None:
    gate = ReportGate()
    for n in range(100):
        now = seconds(n) if n < 50 else seconds(n + 3600)
        assert gate.take(data(n=n, now=9000 + 1000 * n, frames=[], sounds=[]), now) is not None
    assert gate.refused == {}


def test_messages_that_are_no_reports_use_up_the_allowance_as_well() -> None:
    gate = ReportGate()
    for n in range(100):
        assert gate.take(b"{", n) is None
    assert gate.refused == {"json": 4, "flood": 96}


def test_a_report_again_or_out_of_order_or_of_a_clock_that_goes_back_is_not_taken() -> None:
    gate = ReportGate()
    assert gate.take(data(), 0) is not None
    assert gate.take(data(), seconds(1)) is None
    assert gate.take(data(n=6, now=9000), seconds(2)) is None
    assert gate.take(data(n=8, now=8288.6), seconds(3)) is None
    assert gate.refused == {"order": 3} and gate.last_refusal.startswith("order: ")
    assert gate.take(data(n=9, now=9000, frames=[], sounds=[]), seconds(4)) is not None


def test_our_own_clock_must_not_go_back() -> None:
    gate = ReportGate()
    gate.take(data(), 5)
    with pytest.raises(UsageError):
        gate.take(data(n=8), 4)


# ---- the page's half


def test_the_module_names_the_fields_that_the_parser_reads() -> None:
    text = VIEWER_JS.read_text(encoding="utf-8")
    for field in told():
        assert re.search(rf"\b{field}[:,]", text), field
    for side in ("audio", "video"):
        for field in told()[side]:
            assert re.search(rf"\b{field}:", text), field
    assert "export function startReports(" in text and "import " not in text.split("const ", 1)[0].replace(
        "//   import", ""
    )
