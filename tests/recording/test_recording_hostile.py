"""Recordings from outside: whatever is in them, one InputError with its place, within bounds, or an answer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import InputError
from avsync.recording.lines import ANSWERS, MAX_LINE_CHARS
from avsync.recording.recorder import Recorder
from avsync.recording.replay import Replay, replay, replay_file
from avsync.units import seconds
from tests.adapters.driver_story import SLOT
from tests.recording.recording_story import drain, recorded


def refused(lines: list[str]) -> InputError:
    with pytest.raises(InputError) as caught:
        replay(lines, "call.jsonl")
    assert str(caught.value).startswith("call.jsonl")
    assert len(str(caught.value)) < 600
    return caught.value


GOOD = recorded()
# Without the time of packing: it would stand in the names of the tests, and no two processes would collect the same.
PACKED = gzip.compress("".join(GOOD).encode(), mtime=0)
HEADER = json.loads(GOOD[0])
TOLD = '["push",0,"audio",0,0,0,20000000,80,11]'


@pytest.mark.parametrize(
    "line",
    [
        "", "\n", "null", "5", "[]", "{}", "[[]]", '["sing",1]', '["push"]', '["poll"]', '["poll",0',
        '["poll",NaN]', '["poll",Infinity]', '["poll",1e300]', '["poll",0.5]', '["poll","x"]', '["poll",true]',
        '["poll",null]', '["poll",' + "9" * 30 + "]", '["poll",' + "9" * 5000 + "]", "[" * 100_000,
        '["poll",0,[]]', '["poll",0,["Present"]]', '["poll",0,["Sing",1]]', '["poll",0,5]', '["poll",0,[["a"]]]',
        '["poll",0,["InsertSilence",0,0,1e300,0,"idle"]]', '["poll",0,["InsertSilence",0,0,{},0,"idle"]]',
        '["poll",0,["InsertSilence",0,0,0,0,5]]', '["poll",0' + ',["Degrade",1,0,0,"due"]' * 300 + "]",
        '["part",0]', '["wake"]', '["wake","x"]', '["wake",1,2]', '["close",0,1]', '["close"]',
        '["interrupt",0,1]', '["interrupt",0,1,[1,2]]', '["interrupt",0,1,[1,2,[]]]',
        '["finish",0,"smell",0]', '["finish",0,null,0]', '["finish",0,[],0]',
        '["seen",0,"audio",0,0,0,0,"device","nonsense"]', '["seen",0,"audio",0,0,0,0,"nobody","content"]',
        TOLD.replace("11]", "1e3]"), TOLD.replace("11]", "null]"), TOLD.replace("80", "{}"), TOLD.replace("80", "NaN"),
        TOLD.replace('"audio"', '"' + "a" * 1000 + '"'), TOLD.replace("[", "[ 1, "), TOLD[:-5], TOLD + TOLD,
        '["raised",5,["poll",0]]', '["raised","UsageError",["raised","UsageError",["poll",0]]]',
        '["raised","UsageError",["poll",0,["Degrade",1,0,0,"due"]]]', '["raised","UsageError",[{}]]',
        TOLD.replace("80", '"' + "a" * 1000 + '"'), '["raised","UsageError",' + TOLD.replace("11]", "null]") + "]",
        '{"poll":0}', "\x00\x01\x02", "\ud800", '["poll",0]\x00',
    ],
)  # fmt: skip
def test_a_broken_line_is_one_input_error_with_its_place(line: str) -> None:
    error = refused([GOOD[0], '["poll",0,["InsertSilence",0,0,20000000,-1,"idle"]]', line])
    assert (error.file, error.place) == ("call.jsonl", "3") and error.remedy


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("avsync_recording", 2), ("avsync_recording", "1"), ("avsync_recording", True), ("avsync_recording", [1] * 99),
        ("policy", None), ("policy", []), ("policy", "default"), ("policy", {}), ("policy", {"master": []}),
        ("policy", {**HEADER["policy"], "slot_ns": 0}), ("policy", {**HEADER["policy"], "slot_ns": "x" * 10_000}),
        ("policy", {**HEADER["policy"], "more": 1}), ("policy", {**HEADER["policy"], "pacing": "by_mood"}),
        ("policy", {**HEADER["policy"], "audio_queue_units": seconds(3600)}),
        ("network", None), ("network", 1), ("levers", None), ("levers", "fps"), ("levers", ["warp"]),
        ("levers", [[]]), ("levers", ["fps"] * 1000), ("picture_tick_ns", -1), ("picture_tick_ns", None),
        ("picture_tick_ns", True), ("picture_tick_ns", 1 << 80),
    ],
)  # fmt: skip
def test_a_broken_first_line_is_one_input_error(key: str, value: Any) -> None:
    error = refused([json.dumps({**HEADER, key: value}), *GOOD[1:]])
    assert error.place == "1" and error.remedy


def test_missing_keys_other_files_and_nothing_at_all_are_refused() -> None:
    for key in ("avsync_recording", "policy", "network", "levers", "picture_tick_ns"):
        assert refused([json.dumps({name: value for name, value in HEADER.items() if name != key})]).place == "1"
    assert refused(["avsync: 1\n", "about: a scenario\n"]).place == "1"
    assert "empty" in str(refused([]))


def test_a_recording_cut_off_in_its_last_line_says_so() -> None:
    error = refused([*GOOD[:-1], GOOD[-1][: len(GOOD[-1]) // 2]])
    assert error.place == str(len(GOOD)) and "cut off" in error.remedy


def test_an_endless_line_is_refused_before_it_is_parsed() -> None:
    assert "characters" in str(refused([GOOD[0], "[" + "0," * MAX_LINE_CHARS]))


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_one_huge_line_is_refused_within_bounds(tmp_path: Path, packed: bool) -> None:
    import tracemalloc

    path = tmp_path / "huge.jsonl"
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        for _ in range(100):
            file.write(b"7" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="characters"):
            replay_file(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_recording_is_streamed_not_collected() -> None:
    """Minutes of empty polls is told line by line: what is held does not grow with the recording."""
    import tracemalloc

    def lines() -> Any:
        yield GOOD[0]
        recording: list[str] = []
        recorder = Recorder(AvSynchronizer(), recording.append)
        for number in range(8_000):
            drain(recorder, number * SLOT)
            while len(recording) > 1:
                yield recording.pop(1)

    tracemalloc.start()
    try:
        result = replay(lines())
        assert tracemalloc.get_traced_memory()[1] < 1 << 19
    finally:
        tracemalloc.stop()
    assert result.difference is None and result.calls == 8_000


def test_files_plain_and_packed_are_replayed(tmp_path: Path) -> None:
    text = "".join(GOOD).encode()
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    assert replay_file(plain) == replay_file(str(packed)) == replay(GOOD)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00" * 100, b"\xff\xfe\xfd", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"\x1f\x8b", b"\x1f",
        PACKED[:-200], PACKED[:20], gzip.compress(b"", mtime=0) + b"junk",
        PACKED[:100] + b"\x5a\x5a" + PACKED[102:], PACKED[:-8] + bytes(8),
        b"\x1f\x8b\x08" + b"\xff" * 1000, "".join(GOOD).encode()[:-4], GOOD[0].encode() + b"\xff\n",
        GOOD[0].encode() + b"\n", "".join(GOOD).encode("utf-16"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_one_input_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "call.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        replay_file(path)
    assert caught.value.file == str(path)


def test_bytes_that_are_not_text_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(GOOD[0].encode() + b"\xff\n")
    with pytest.raises(InputError, match="not text") as caught:
        replay_file(path)
    assert caught.value.place == "2"


def test_a_file_that_is_not_there_or_a_folder_is_one_input_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path, "a\x00b"):
        with pytest.raises(InputError, match="cannot read"):
            replay_file(path)


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_recording_is_an_input_error_or_an_answer_never_a_crash(data: st.DataObject) -> None:
    lines = GOOD[: data.draw(st.integers(1, 40))]
    text = "".join(lines)
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start, min(len(text), start + 20)))
    put = data.draw(
        st.one_of(
            st.sampled_from(
                ["", "0", "-", "9" * 25, "null", "true", "[", "]", '"', ",", "[]", "{}", "NaN", "1e9", "\n"]
            ),
            st.text(max_size=5),
        )
    )
    try:
        result = replay((text[:start] + put + text[stop:]).splitlines(keepends=True))
    except InputError:
        return
    assert isinstance(result, Replay) and str(result)


@settings(max_examples=200)
@given(
    row=st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["push", "poll", "audio"])
        ),
        lambda inner: st.lists(inner, max_size=9),
        max_leaves=25,
    ),
    name=st.sampled_from(["push", "poll", "part", "interrupt", "seen", "raised", "finish", *ANSWERS]),
)
def test_any_json_is_an_input_error_or_an_answer(row: Any, name: str) -> None:
    for line in (row, [name, row], [name, *(row if isinstance(row, list) else [])], ["poll", 0, [name, row]]):
        try:
            assert str(replay([GOOD[0], json.dumps(line)]))
        except InputError:
            pass
