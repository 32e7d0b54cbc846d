"""Scenarios: the language reads as written, and every mistake is answered with place, rule and remedy."""

from __future__ import annotations

import ast
import json
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from sim.network_option import networks_for
from sim.scenario import metric_names
from sim.scenario import yaml_places as scenario_yaml
from sim.scenario.lint import shortcomings
from sim.scenario.metric_names import BELIEVED_COLUMNS, LIMITABLE, METRICS, SCORED
from sim.scenario.scenario import build, fault_window, load_scenario, loads
from sim.scenario.schema import SCHEMA_FILE, schema_text

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))

HEAD = "avsync: 1\nabout: Something happens.\n"
REFERENCE = HEAD + "tags: [reference]\n"
FULL = """\
avsync: 1
about: Hotel wifi; the guest interrupts twice.
tags: [basic, drift]
seeds: [1, 2, 3]
duration_s: 90
topology: provider_bridge
viewer: both
policy: {preset: default, playout_delay_ms: 120}
source:
  turns: {first_at_s: 1, talk_s: [10, 20.5], gap_s: 2}
  audio: {rate_hz: 24000, unit_ms: 10, bitrate_kbps: 24, speed: 4, ahead_s: 3, jitter_ms: 5, lead_ms: 80,
    real_rate_ppm: -50}
  video: {fps: 30000/1001, variable_fps: [20, 30], bitrate_kbps: 1.5e3, key_every_s: 2, encoded: true, speed: 0.88,
    blocks: {frames: [8, 16], speed: 1.5, late_ms: [200, 500]}, resume: continue, can_skip: true, join_at_s: 3,
    join_decodable: false}
  loop: {audio_s: 5, video_s: 5.04}
  backlog_s: 2
  acknowledges: true
clocks: {provider: {ppm: 80, audio_label_ppm: 200}, bridge: {ppm: -20}, client: {ppm: 20}}
network:
  to_bridge: {preset: measured-5g-stall, rtp_start: {audio_rtp: 4294967000, seq: 65500}}
  to_viewer: {delay_ms: 60, jitter_ms: 80, jitter_correlation: 0.65, loss: 0.02, burst: 3, reorder: 0.01,
    reorder_by_ms: 30, duplicate: 0.001, rate_kbps: 2000, queue_ms: 300, hold: {every_s: 14, for_ms: 314},
    sender_reports: none}
steps:
  - {at_s: 5, do: interrupt, pushes_on_ms: 600}
  - {at_s: 6, do: stall, for_s: 1, only: video, resume: burst}
  - {at_s: 9, do: impair, for_s: 2, leg: to_viewer, loss: 0.2, burst: 5}
  - {at_s: 12, do: hold, for_ms: 250, leg: to_bridge}
  - {at_s: 14, do: route_step, by_ms: -40, only: audio}
  - {at_s: 16, do: pause, for_s: 2}
  - {at_s: 20, do: mute, for_s: 1}
  - {at_s: 22, do: fps, to: 20}
  - {at_s: 24, do: rate, to_hz: 16000}
  - {at_s: 26, do: clock_step, clock: bridge, by_ms: 1500}
  - {at_s: 28, do: sleep, for_s: 3, host: viewer}
  - {at_s: 32, do: reports, leg: to_bridge, mode: wrong, by_ms: 300}
expect:
  - {metric: offset_abs_p95_ms, at_most: 45, window: clear}
  - {metric: output_recovery_ms, at_most: 1000}
  - {metric: measured_pct, at_least: 90, viewer: browser}
baseline: {policy: two_clocks, misses: [offset_abs_p95_ms, content_heard_pct]}
"""


def refused(text: str | bytes, file: str = "mine.yaml") -> str:
    with pytest.raises(InputError) as caught:
        loads(text, file)
    return str(caught.value)


def refused_data(changes: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        build({"avsync": 1, "about": "x", "tags": ["reference"], **changes}, name="mine")
    return str(caught.value)


# ------------------------------------------------------------------------------- what is read


def test_a_whole_scenario_reads_as_written() -> None:
    scenario = loads(FULL, "notes/hotel.yaml")
    assert scenario.name == "hotel"
    assert scenario.viewers == ("browser", "avsync")
    assert scenario.source.video.fps == Fraction(30000, 1001)
    assert scenario.source.video.bitrate_kbps == 1500
    assert scenario.engine_policy.playout_delay_ns == 120_000_000
    assert scenario.network.to_viewer.said()["loss"] == 0.02
    assert scenario.network.to_bridge.said() == {}, "what was not said is the preset's"
    assert [step.do for step in scenario.steps][:3] == ["interrupt", "stall", "impair"]
    assert (scenario.folder, scenario.file("a/b.csv")) == (Path("notes"), Path("notes/a/b.csv"))


def test_defaults_are_a_healthy_call() -> None:
    scenario = loads(HEAD, "clean.yaml")
    assert (scenario.duration_s, scenario.seeds, scenario.viewer) == (60.0, (1, 2, 3), "both")
    assert (scenario.source.audio.unit_ms, scenario.source.video.fps) == (20, 25)
    assert scenario.source.turns.plan(scenario.duration_s) == ((0.5, 59.0),)
    assert scenario.faults == ()
    assert isinstance(scenario.source.audio.bitrate_kbps, float), "a default has the type that the field promises"


@pytest.mark.parametrize(
    ("talk", "turns"),
    [
        ("null", ((0.5, 19.0),)),
        ("6", ((0.5, 6.5), (7.5, 13.5), (14.5, 19.0))),
        ("[6]", ((0.5, 6.5),)),
        ("[1, 2]", ((0.5, 1.5), (2.5, 4.5))),
    ],
)
def test_turns_fill_the_run_but_for_its_last_second(talk: str, turns: tuple[tuple[float, float], ...]) -> None:
    scenario = loads(f"{REFERENCE}duration_s: 20\nsource: {{turns: {{talk_s: {talk}}}}}")
    assert scenario.source.turns.plan(20) == turns


def test_what_is_a_fault() -> None:
    windows = {step.do: fault_window(step) for step in loads(FULL).steps}
    assert windows == {
        "interrupt": None, "pause": None, "mute": None, "fps": None, "rate": None,
        "stall": (6, 7), "impair": (9, 11), "hold": (12, 12.25), "sleep": (28, 31),
        "route_step": (14, 14), "clock_step": (26, 26), "reports": (32, 32),
    }  # fmt: skip
    unmarked = loads(FULL.replace("do: pause,", "do: pause, marked: false,"))
    assert fault_window(unmarked.steps[5]) == (16, 18), "nobody can tell it from a stall"


def test_a_permanent_impairment_ends_where_it_starts() -> None:
    scenario = loads(FULL.replace("do: impair, for_s: 2,", "do: impair,"))
    assert fault_window(scenario.steps[2]) == (9, 9)


def test_the_digest_is_of_the_meaning_not_of_the_layout() -> None:
    short = loads(REFERENCE, "a.yaml")
    long = loads("# c\ntags:\n- reference\nduration_s: 60.0\nabout: 'Something happens.'\navsync: 1\n", "b.yaml")
    other = loads(REFERENCE + "duration_s: 61\n", "a.yaml")
    assert short.digest == long.digest != other.digest
    assert re.fullmatch("[0-9a-f]{64}", short.digest)
    explicit = REFERENCE + "source: {audio: {bitrate_kbps: 32}, video: {fps: 25.0, bitrate_kbps: 1000}}\n"
    assert loads(explicit).digest == short.digest, "a default that is written out changes nothing"
    assert loads(REFERENCE + "source: {video: {fps: 23.976}}").source.video.fps == Fraction(23_976, 1_000)


def test_plain_data_gives_the_same_scenario_back() -> None:
    scenario = loads(FULL)
    data = json.loads(json.dumps(scenario.to_dict()))
    assert build(data, name="again").digest == scenario.digest


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_right_and_tell_editors_their_schema(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.expect
    assert path.read_text().startswith("# yaml-language-server: $schema=../sim/scenario/schema.json\n")


# ------------------------------------------------------------------------------ YAML, version 1.2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0), (".5", 0.5), ("0x1F", 31), ("0o17", 15), ("-3", -3), ("017", 17), ("1_000", "1_000"),
        ("on", "on"), ("yes", "yes"), ("no", "no"), ("true", True), ("False", False), ("~", None), ("", None),
        ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("'1'", "1"), ("30000/1001", "30000/1001"),
        ("0b1", "0b1"), ("<<", "<<"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    got = scenario_yaml.read(f"key: {text}\n", "f").data["key"]
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", None, "begin with 'avsync: 1'"),
        ("avsync: 1\nabout: &x y\n", "2:8", "anchors and aliases"),
        ("avsync: 1\nabout: *x\n", "2:8", "anchors and aliases"),
        ("avsync: 1\nabout: !!python/name:os.system x\n", "2:8", "tags (!) are not used here"),
        ("avsync: 1\nabout: !!str x\n", "2:8", "tags (!) are not used here"),
        ("%YAML 1.1\n---\navsync: 1\n", "1:1", "directives"),
        ("avsync: 1\n---\navsync: 1\n", "2:1", "one scenario per file"),
        ("avsync: 1\n\tabout: x\n", "2:1", "a tab character"),
        ("avsync: 1\nabout: x\u0085y\n", "2:9", "cannot be shown (U+0085)"),
        ("avsync: 1\nabout: x\x1b[31m\n", "2:9", "cannot be shown (U+001B)"),
        ('avsync: 1\nabout: "\\e[31m"\n', "2:8", "cannot be shown (U+001B)"),
        ('avsync: 1\nabout: "\\uD800"\n', "2:8", "cannot be shown (U+D800)"),
        ('avsync: 1\nabout: "\\UFFFFFFFF"\n', "2:11", "not valid YAML"),
        ("\ufeffavsync: 1\n", "1:1", "byte order mark"),
        (b"avsync: 1\nabout: \xff\n", "2:1", "not UTF-8 (byte 0xff at offset 17)"),
        ("avsync: 1\nabout: x\nduration_s: .inf\n", "3:13", ".inf is not a number here"),
        ("avsync: 1\nabout: x\nduration_s: -.NaN\n", None, "must be a number, got text"),
        ("avsync: 1\nabout: x\nduration_s: .nan\n", "3:13", ".nan is not a number here"),
        ("avsync: 1\nabout: x\nduration_s: 1e999\n", "3:13", "absurdly large"),
        ("avsync: 1\nabout: x\nduration_s: " + "9" * 10_000 + "\n", "3:13", "absurdly large"),
        ("avsync: 1\nabout: Hotel: wifi\n", "2:13", "needs quotes"),
        ("avsync: 1\nseeds: [1, 2\n", "3:1", "close the bracket"),
        ("avsync: 1\nabout: 'x\n", "3:1", "close the quotes"),
        ("avsync: 1\n? [a]\n: 1\n", "2:3", "a key must be a word"),
        ("avsync: 1\r\nabout: @\r\n", "2:8", "cannot start any token"),
        ("", "1:1", "there is no scenario here"),
        ("# nothing\n", "1:1", "there is no scenario here"),
        ("- 1\n", "1:1", "a scenario is a mapping"),
        ("[" * 100_000, "1:34", "nested deeper than 32 levels"),
        ("avsync: 1\nabout: [" + "a," * 100_000, "2:99999", "more than 50000 values"),
    ],
)  # fmt: skip
def test_odd_yaml_is_refused_with_its_place(text: str | bytes, place: str | None, words: str) -> None:
    said = refused(text)
    assert words in said
    assert place is None or said.startswith(f"mine.yaml:{place}: ")


def test_duplicate_and_odd_keys_are_reported_beside_everything_else() -> None:
    said = refused(REFERENCE + "about: again\n3: x\nduration_s: -1\n")
    assert "mine.yaml:4:1: 'about' is given twice" in said and "the first is in line 2" in said
    assert "mine.yaml:5:1: a key must be a word, got 3" in said
    assert "mine.yaml:6:13: duration_s must be > 0, got -1" in said


def test_a_duplicate_key_alone_is_enough_to_refuse() -> None:
    assert "'about' is given twice" in refused(REFERENCE + "about: again\n")


@pytest.mark.parametrize(
    "text",
    ["[" * 500_000, "- " * 500_000, "{a: " * 200_000, "[a," + "a," * 400_000, "\n" * 999_999, "a:\n " * 250_000,
     "? a\n" * 200_000, '"' + "x " * 499_000 + '"', "9" * 999_999, "x" * 1_000_001, b"\x00" * 1_000_000,
     "a: |\n" + " x\n" * 300_000, "&a " * 300_000, "%a b\n" * 200_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_hostile_text_is_refused_in_bounded_time(text: str | bytes) -> None:
    start = time.process_time()
    said = refused(text)
    assert time.process_time() - start < 20, "a megabyte may take a second, not a day"
    assert len(said) < 2_000


# ------------------------------------------------------------------------------ answers to mistakes


def test_a_mistyped_key_is_answered_with_line_caret_and_the_nearest_right_one() -> None:
    assert refused(REFERENCE + "duraton_s: 60\n", "scenarios/x.yaml") == (
        "scenarios/x.yaml:4:1: unknown key 'duraton_s'\n"
        "    duraton_s: 60\n"
        "    ^\n"
        "  did you mean 'duration_s'?"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "place", "rule", "hint"),
    [
        ("source: {video: {fpss: 3}}", "4:18", "unknown key 'fpss'", "did you mean 'fps'?"),
        ("steps: [{at_s: 1, do: hold, for_s: 3, for_ms: 3}]", "4:29", "unknown key 'for_s'", "did you mean 'for_ms'?"),
        ("steps: [{at_s: 1, do: intterupt}]", "4:23", "no step is called 'intterupt'", "did you mean 'interrupt'?"),
        ("steps: [{at_s: 1}]", "4:9", "'do' is missing", "say what happens"),
        ("steps: [{at_s: 1, do: stall}]", "4:9", "'for_s' is missing", "add 'for_s: ...'"),
        ("steps: [stall]", "4:9", "steps[0] must be a mapping", ""),
        ("steps:", "4:7", "steps must be a list, got nothing", "delete the line"),
        ("seeds: 3", "4:8", "seeds must be a list, got 3", "seeds: [...]"),
        ("seeds: [1, true]", "4:12", "seeds[1] must be a whole number, got true", ""),
        ("seeds: [1.0]", "4:9", "seeds[0] must be a whole number, got 1.0", "write 1"),
        ("seeds: [1.5]", "4:9", "seeds[0] must be a whole number, got 1.5", "without a fraction"),
        ("viewer: chrome", "4:9", "viewer must be 'browser', 'avsync' or 'both'", "write browser"),
        ("viewer: telescope", "4:9", "viewer must be 'browser', 'avsync' or 'both'", "such as viewer: browser"),
        ("steps: [{at_s: 1, do: stall, for_s: -1}]", "4:37", "for_s must be >= 0.001, got -1", "an earlier at_s"),
        ("steps: [{at_s: 1, do: hold, for_ms: -1}]", "4:37", "for_ms must be >= 0.1, got -1", "how long it lasts"),
        ("source: {audio: {speed: 0}}", "4:25", "speed must be > 0, got 0", "write a number > 0"),
        ("clocks: {client: {ppm: 200000}}", "4:24", "ppm must be <= 100000", "write 100000 or less"),
        ("seeds: [-1]", "4:9", "seeds[0] must be >= 0, got -1", ""),
        ("source: {audio: {speed: '1'}}", "4:25", "speed must be a number, got text '1'", "without quotes"),
        ("seeds: []", "4:8", "seeds must not be empty", ""),
        ("seeds: [4, 5, 4]", "4:15", "4 is given twice", "delete one"),
        ("tags2: []", "4:1", "unknown key 'tags2'", "did you mean 'tags'?"),
        ("duration_s: true", "4:13", "duration_s must be a number, got true", ""),
        ("duration_s: '60'", "4:13", "duration_s must be a number, got text '60'", "without quotes"),
        ("duration_s: 60 s", "4:13", "duration_s must be a number", "its unit is in the key's name"),
        ("duration_s: 90001", "4:13", "duration_s must be <= 90000", "25 hours; for more of the same, add seeds"),
        ("source: {video: {can_skip: yes}}", "4:28", "can_skip must be true or false", "write true"),
        ("source: {video: {can_skip: 1}}", "4:28", "can_skip must be true or false, got 1", ""),
        ("source: {video: {fps: 30000/0}}", "4:23", "not a frame rate", "30000/1001"),
        ("source: {video: {fps: true}}", "4:23", "not a frame rate: true", ""),
        ("source: {video: {fps: 0}}", "4:23", "not a frame rate that can be", ""),
        ("source: {video: {resume: brust}}", "4:26", "resume must be 'live', 'burst' or 'continue'", "'burst'?"),
        ("source: {video: {variable_fps: [30, 20]}}", "4:32", "[lowest, highest]", "swap"),
        ("source: {video: {variable_fps: [30]}}", "4:32", "variable_fps needs 2 or more values, got 1", ""),
        ("source: {video: {blocks: {frames: [16, 8]}}}", "4:35", "frames must be [low, high], got [16, 8]", "swap"),
        ("source: {video: {blocks: {late_ms: [0, 0]}}}", "4:36", "late_ms: [0, 0] makes no block late", "leave blocks"),
        ("source: {audio: {blocks: {units: [9, 8]}}}", "4:34", "units must be [low, high], got [9, 8]", "swap"),
        ("source: {audio: {blocks: {frames: [8, 9]}}}", "4:27", "unknown key 'frames'", "known here"),
        ("source: {video: {join_decodable: false}}", "4:34", "needs encoded: true", "raw frames"),
        ("source: {audio: {unit_ms: 30}}", "4:27", "unit_ms must be 10, 20, 40 or 60, got 30", ""),
        ("source: {turns: {talk_s: [1, x]}}", "4:26", "a turn's length is a number of seconds, got text 'x'", "6.5"),
        ("source: {turns: {talk_s: [30, 40]}}", "4:26", "these turns need 72.5 s, the run lasts 60 s", "at least 72.5"),
        ("source: {turns: {first_at_s: 59.5}}", "4:17", "nobody says anything", "duration_s longer"),
        ("network: {to_viewer: {loss: 2}}", "4:29", "loss must be <= 1, got 2", "write 0.02"),
        ("network: {to_viewer: {preset: webrtc-3g-avrage}}", "4:31", "no network is named", "'webrtc-3g-average'?"),
        ("network: {to_viewer: {loss: 0.9, burst: 2}}", "4:41", "burst must be at least 9 where loss is 0.9", ""),
        ("network: {to_viewer: {queue_packets: 3, queue_ms: 3, rate_kbps: 9}}", "4:51", "queue_ms or", "leave one"),
        ("network: {to_viewer: {loss: true}}", "4:29", "loss must be a number, got true", ""),
        ("network: {to_viewer: {jitter_correlation: 1, jitter_ms: 3}}", "4:43", "must be <= 0.99, got 1", ""),
        ("network: {to_viewer: {burst: 3}}", "4:30", "burst does nothing without loss", "add loss"),
        ("network: {to_viewer: {hold: {every_s: 1, for_ms: 1000}}}", "4:39", "never lets go", "longer"),
        ("network: {to_bridge: {loss: 0.1}}", "4:11", "there is no bridge", "topology: provider_bridge"),
        ("clocks: {bridge: {ppm: 3}}", "4:10", "there is no bridge", "topology: provider_bridge"),
        ("steps: [{at_s: 1, do: sleep, for_s: 1, host: bridge}]", "4:46", "there is no bridge", "topology"),
        ("steps: [{at_s: 1, do: clock_step, by_ms: 1, clock: bridge}]", "4:52", "there is no bridge", "topology"),
        ("steps: [{at_s: 1, do: hold, for_ms: 1, leg: to_bridge}]", "4:45", "there is no bridge", "topology"),
        ("steps: [{at_s: 60, do: interrupt}]", "4:16", "happens at 60 s, but the run lasts 60 s", "duration_s longer"),
        ("source: {turns: {talk_s: [4]}}\nsteps: [{at_s: 10, do: interrupt}]", "5:16", "all has been said at 4.5 s",
         "source.turns.talk_s"),
        ("steps: [{at_s: 5, do: interrupt, talk_s: 2}, {at_s: 9, do: interrupt}]", "4:53", "all has been said at 7.4 s",
         "make it earlier"),
        ("steps: [{at_s: 59.5, do: interrupt}]", "4:16", "all has been said at 59 s", "make it earlier"),
        ("steps: [{at_s: 59, do: mute, for_s: 2}]", "4:37", "ends at 61 s, but the run lasts 60 s", "for_s shorter"),
        ("steps: [{at_s: 59, do: hold, for_ms: 2000}]", "4:38", "ends at 61 s", "for_ms shorter"),
        ("steps: [{at_s: 1, do: stall, for_s: 2}, {at_s: 3, do: stall, for_s: 1}]", "4:48", "only at 3 s", "as one"),
        ("steps: [{at_s: 2, do: stall, for_s: 1}, {at_s: 1, do: stall, for_s: 2}]", "4:16", "of steps[1]", "later"),
        ("steps: [{at_s: 1, do: stall, for_s: 2}, {at_s: 2, do: sleep, for_s: 1, host: sender}]", "4:48", "stall", ""),
        ("steps: [{at_s: 1, do: reports}, {at_s: 2, do: reports, only: audio}]", "4:40", "never over", "a for_s"),
        ("steps: [{at_s: 1, do: impair, only: video, rate_kbps: 500}]", "4:55", "cannot be set for video alone",
         "leave only out"),
        ("steps: [{at_s: 1, do: impair}]", "4:9", "impair changes nothing", "loss"),
        ("steps: [{at_s: 1, do: reports, mode: late}]", "4:38", "mode: late needs by_ms", "by_ms: 300"),
        ("steps: [{at_s: 1, do: reports, by_ms: 3}]", "4:39", "by_ms does nothing", "mode: late"),
        ("policy: defualt", "4:9", "no policy is named 'defualt'", "did you mean 'default'?"),
        ("policy: {late_vido_ms: 45}", "4:9", "policy has no 'late_vido_ms'", "did you mean 'late_video_ms'?"),
        ("policy: {late_video_ms: [1]}", "4:9", "policy 'late_video_ms' must be one number or word, got a list", ""),
        ("policy: 3", "4:9", "a policy is a name or a table, got 3", ""),
        ("baseline: {policy: default, misses: [degraded_pct]}", "4:20", "is the policy under test", "another"),
        ("baseline: {policy: two_clocks, misses: []}", "4:40", "misses must not be empty", ""),
        ("baseline: {policy: two_clocks, misses: [offset_p95]}", "4:40", "no metric is named", "offset_abs_p95_ms"),
        ("baseline: {policy: two_clocks, misses: [drift_error_ppm]}", "4:41", "cannot be missed", "nothing yet"),
        ("expect: [{metric: offset_p95_ms, at_most: 3}]", "4:19", "no metric", "did you mean 'offset_abs_p95_ms'?"),
        ("expect: [{metric: drift_error_ppm, at_most: 9}]", "4:19", "only at the viewer 'avsync'", "viewer: avsync"),
        ("expect: [{metric: drift_error_ppm, at_most: 9, viewer: browser}]", "4:56", "only at the viewer", "output_"),
        ("expect: [{metric: degraded_pct}]", "4:19", "needs either at_most or at_least", ""),
        ("expect: [{metric: degraded_pct, at_most: 1, at_least: 0}]", "4:19", "needs either at_most or at_least", ""),
        ("expect: [{metric: degraded_pct, at_most: null}]", "4:19", "needs either", ""),
        ("expect: [{metric: measured_pct, at_most: 3}]", "4:42", "measured_pct is good when higher", "'at_least'?"),
        ("expect: [{metric: pts_violations, at_most: 0, window: clear}]", "4:55", "one number for the whole run", ""),
        ("expect: [{metric: interrupt_to_silence_ms, at_most: 40}]", "4:19", "needs an interrupt", "do: interrupt"),
        ("expect: [{metric: output_interrupt_to_silence_ms, at_most: 40}]", "4:19", "needs an interrupt", "a step"),
        ("expect: [{metric: recovery_ms, at_most: 1}]", "4:19", "recovery_ms needs a fault", "do: stall"),
        ("expect: [{metric: output_recovery_ms, at_most: 1}]", "4:19", "output_recovery_ms needs a fault", ""),
        ("expect: [{metric: degraded_pct, at_most: 1, window: after_fault}]", "4:19", "after_fault needs a fault", ""),
        ("expect: [{metric: believed_offset_abs_p95_ms, at_most: 3}]", "4:19", "what the monitor believes", "error"),
        ("expect: [{metric: added_latency_p95_ms, at_most: 3}]", "4:19", "reported, not limited", "'output_added_"),
        ("expect: [{metric: output_degraded_pct, at_most: 3, viewer: avsync}]", "4:60", "not at a viewer", "out"),
        ("viewer: avsync\nexpect: [{metric: degraded_pct, at_most: 3, viewer: browser}]", "5:53", "not in this", ""),
        ("expect: [{metric: degraded_pct, at_most: 3}, {metric: degraded_pct, at_most: 4}]", "4:55", "twice", "delete"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_place_rule_and_remedy(line: str, place: str, rule: str, hint: str) -> None:
    said = refused(REFERENCE + line + "\n").split("\n")
    assert said[0].startswith(f"mine.yaml:{place}: ")
    assert rule in said[0]
    assert hint in said[-1]
    assert len([part for part in said if part.startswith("mine.yaml:")]) == 1, "one mistake, one answer"


@pytest.mark.parametrize(
    "steps",
    [
        "{at_s: 1, do: stall, for_s: 2}, {at_s: 3.5, do: stall, for_s: 1}",
        "{at_s: 1, do: stall, for_s: 2, only: audio}, {at_s: 2, do: stall, for_s: 1, only: video}",
        "{at_s: 1, do: stall, for_s: 2}, {at_s: 2, do: sleep, for_s: 1, host: viewer}",
        "{at_s: 1, do: reports, for_s: 2, only: audio}, {at_s: 2, do: reports, for_s: 2, only: video}",
        "{at_s: 1, do: impair, loss: 0.1}, {at_s: 2, do: impair, loss: 0.2, for_s: 1}, {at_s: 2, do: stall, for_s: 1}",
    ],
)
def test_steps_that_do_not_get_in_each_others_way_may_overlap(steps: str) -> None:
    assert len(loads(REFERENCE + f"steps: [{steps}]\n").steps) >= 2


@pytest.mark.parametrize(
    ("version", "answer"),
    [("2", "unknown version: 2"), ("true", "unknown version: true"), ("1.0", "unknown version: 1.0"), ("'1'", "text")],
)
def test_an_unknown_version_names_those_supported_and_nothing_else(version: str, answer: str) -> None:
    said = refused(f"avsync: {version}\nfuture_key: 3\n")
    assert answer in said and "supported: 1" in said and "future_key" not in said


def test_mistakes_come_in_reading_order() -> None:
    said = refused(REFERENCE + "durationn_s: 30\nviewer: x\nseeds: [-1]\n" + "tags: []\n")
    assert re.findall(r"^mine.yaml:(\d+):", said, re.MULTILINE) == ["4", "5", "6", "7"]


def test_all_mistakes_are_reported_at_once_in_reading_order_up_to_ten() -> None:
    said = refused(REFERENCE + "".join(f"key{n}: 1\n" for n in range(14)))
    assert re.findall(r"^mine.yaml:(\d+):", said, re.MULTILINE) == [str(n) for n in range(4, 14)]
    assert said.endswith("and 4 more")


def test_of_thousands_of_mistakes_the_first_in_reading_order_are_told_and_the_others_counted() -> None:
    steps = "".join(f"  - {{at_s: 1, do: mute, for_s: 1, kee{n}: 1}}\n" for n in range(3000))
    said = refused(REFERENCE + "steps:\n" + steps + "durationn_s: 3\n")
    assert re.findall(r"^mine.yaml:(\d+):", said, re.MULTILINE) == [str(n) for n in range(5, 15)]
    assert said.count("known here: at_s, do, for_s") == 1, "a remedy that stands above is not said again"
    assert said.endswith("and 2991 more")


def test_a_mapping_that_no_scenario_has_is_refused_before_it_is_read_to_its_end() -> None:
    said = refused(REFERENCE + "".join(f"key{n}: 1\n" for n in range(20_000)))
    assert said.startswith("mine.yaml:201:1: more than 200 keys in one mapping")
    assert "is this another file?" in said


def test_a_long_line_is_cut_around_the_mistake() -> None:
    said = refused(REFERENCE + "steps: [" + "{at_s: 1, do: interrupt}, " * 40 + "{at_s: 1, do: x}]\n").split("\n")
    assert len(said[1]) < 110 and said[1][said[2].index("^")] == "x"


def test_data_without_a_file_is_checked_by_the_same_rules() -> None:
    assert "steps[0]; 'for_s' is missing" in refused_data({"steps": [{"do": "stall", "at_s": 1}]})
    assert "happens at 70 s" in refused_data({"steps": [{"do": "interrupt", "at_s": 70}]})
    assert "duration_s must be a finite number" in refused_data({"duration_s": float("nan")})
    assert "duration_s" in refused_data({"duration_s": 10**400})


@pytest.mark.parametrize("path", ["", "/", "no/such.yaml", "a\0b", "x" * 10_000])
def test_a_file_that_cannot_be_read_is_bad_input(path: str) -> None:
    with pytest.raises(InputError, match="cannot read the scenario") as caught:
        load_scenario(path)
    assert len(str(caught.value)) < 400


# --------------------------------------------------------------------- all mistakes in one round


def places(said: str) -> list[str]:
    return re.findall(r"^mine.yaml:(\d+:\d+):", said, re.MULTILINE)


def test_a_mistyped_key_does_not_hide_what_the_other_parts_have_wrong() -> None:
    said = refused(
        REFERENCE
        + "steps:\n"
        + "  - {at_s: 1, do: impair, los: 0.3}\n"
        + "  - {at_s: 70, do: interrupt}\n"
        + "  - {do: stall}\n"
        + "  - {at_s: 80, do: mute, for_s: 1}\n"
        + "network: {to_bridge: {delay_ms: 3}}\n"
    )
    assert "did you mean 'loss'?" in said and "impair changes nothing" not in said
    assert places(said) == ["5:27", "6:12", "7:5", "7:5", "8:12", "9:11"]
    assert "happens at 80 s" in said and "there is no bridge" in said


def test_what_follows_from_a_mistake_is_no_second_one() -> None:
    said = refused(REFERENCE + "duration_s: -1\nsteps: [{at_s: 70, do: interrupt}]\n")
    assert places(said) == ["4:13"], "a run whose length is not known ends nowhere"
    said = refused(REFERENCE + "steps: [{at: 3, do: stall, for_s: 100}]\nbaseline: {polcy: two_clocks, misses: [x]}\n")
    assert places(said) == ["4:10", "4:35", "5:12", "5:39"], "a key that is there, and mistyped, is not missing as well"
    said = refused(REFERENCE + "network: {to_viewer: {loss: 200, burst: 3}}\n")
    assert places(said) == ["4:29"], "the loss that the burst needs is there, and wrong"
    said = refused(REFERENCE + "source: {video: {blocks: {frames: [3, x]}, join_decodable: false}}\n")
    assert places(said) == ["4:39", "4:60"], "what is beside it is judged"
    said = refused(REFERENCE + "expect: [{metric: settle_ms, at_most: x}]\n")
    assert places(said) == ["4:39"]


def test_a_value_that_cannot_be_read_hides_nothing() -> None:
    said = refused(REFERENCE + 'duration_s: .inf\nseeds: [1, "\\e"]\nviewer: brower\nwho: 1e999\n')
    assert places(said) == ["4:13", "5:12", "6:9", "7:1", "7:6"]
    assert "did you mean 'browser'?" in said


def test_a_key_that_was_mended_is_still_named_as_it_was_written() -> None:
    said = refused(REFERENCE + "duraton_s: 1\n")
    assert places(said) == ["4:1", "4:12"] and "nobody says anything" in said


# --------------------------------------------------------------------- what a shipped scenario must prove

STALL = HEAD + "steps: [{at_s: 20, do: stall, for_s: 1}]\n"
BASE = "baseline: {policy: fps_paced, misses: [degraded_pct]}\n"


def _limits(*rows: str) -> str:
    return "expect:\n" + "".join(f"  - {{{row}}}\n" for row in rows)


ALL_OVER = "metric: offset_abs_p95_ms, at_most: 60"
CLEAR = "metric: output_offset_abs_p95_ms, at_most: 45, window: clear"
RECOVERY = "metric: recovery_ms, at_most: 1000"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_scenario_proves_something(path: Path) -> None:
    assert shortcomings(load_scenario(path)) == []


def test_a_scenario_of_your_own_needs_no_baseline() -> None:
    assert loads(STALL, "mine.yaml").baseline is None
    assert "no baseline" in shortcomings(loads(STALL))[0]
    assert shortcomings(loads(STALL + BASE + _limits("metric: degraded_pct, at_most: 3"))) == []
    assert shortcomings(loads(STALL + "tags: [reference]\n" + _limits(ALL_OVER, CLEAR, RECOVERY))) == []
    assert shortcomings(loads(HEAD, "anywhere/clean.yaml")) == []


def test_a_baseline_misses_what_is_limited_or_a_guard() -> None:
    misses = "baseline: {policy: fps_paced, misses: [offset_abs_p95_ms]}\n"
    loads(STALL + misses + _limits(ALL_OVER, CLEAR, RECOVERY))
    said = refused(STALL + misses.replace("offset", "output_offset") + _limits(ALL_OVER, RECOVERY))
    assert "output_offset_abs_p95_ms cannot be missed" in said, "at our output is another limit than at the viewer"


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ((ALL_OVER, CLEAR), "recovery_ms"),
        ((ALL_OVER, RECOVERY), "window: clear"),
        ((CLEAR, RECOVERY), "window: all"),
        ((ALL_OVER, CLEAR, RECOVERY), ""),
        (("metric: offset_abs_max_ms, at_most: 1050",), ""),
        (("metric: degraded_pct, at_most: 3",), ""),
    ],
)
def test_a_single_fault_is_limited_over_all_clear_and_recovery_together(rows: tuple[str, ...], missing: str) -> None:
    text = STALL + BASE + _limits(*rows)
    if not missing:
        assert shortcomings(loads(text)) == []
        return
    (said,) = shortcomings(loads(text))
    assert missing in said.split("missing:")[1]
    assert shortcomings(loads(text.replace("for_s: 1}", "for_s: 1}, {at_s: 30, do: stall, for_s: 1}"))) == []
    assert shortcomings(loads(text + "tags: [soak]\n")) == []


def test_a_single_fault_cannot_hide_in_a_long_run() -> None:
    text = STALL + BASE + "duration_s: 61\n"
    assert "lasts at most 60 s" in shortcomings(loads(text))[0]
    assert shortcomings(loads(text + "tags: [drift]\n")) == []


# ------------------------------------------------------------------------------------ metric names


def test_the_table_of_metrics_is_complete_and_readable() -> None:
    assert len(METRICS) == 36
    for name, row in {**METRICS, **SCORED}.items():
        suffixes = {"ms": "_ms", "%": "_pct", "ppm": "_ppm", "ms/min": "_ms_per_min", "count": ""}
        assert name.endswith(suffixes[row.unit]) and row.about.endswith("."), name
        assert "all" in row.windows
    assert len(set(LIMITABLE)) == len(LIMITABLE) == 68 + len(SCORED)
    assert set(BELIEVED_COLUMNS).isdisjoint(LIMITABLE) and "believed_offset_abs_p95_ms" in BELIEVED_COLUMNS


def test_a_limit_on_unknown_is_a_miss() -> None:
    limit = loads(FULL).expect[0]
    assert (limit.met_by(45.0), limit.met_by(45.1), limit.met_by(None), limit.met_by(float("nan"))) == (
        True, False, False, False,
    )  # fmt: skip
    assert not loads(FULL).expect[2].met_by(None)


def test_output_names_share_the_row_of_the_plain_one() -> None:
    assert metric_names.metric("output_settle_ms") is METRICS["settle_ms"]
    assert metric_names.metric("believed_settle_ms") is None
    assert metric_names.metric("added_latency_p95_ms") is None
    assert metric_names.metric("output_added_latency_p95_ms") is METRICS["added_latency_p95_ms"]


# ------------------------------------------------------------------------------------ JSON Schema


def test_the_committed_schema_is_current() -> None:
    committed = SCHEMA_FILE.read_text(encoding="utf-8")
    assert json.loads(committed) == json.loads(schema_text()), "run: python -m sim.scenario.schema"


def test_editors_accept_what_we_accept_and_see_a_sentence_on_every_key() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(schema_text())
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    for text in (FULL, *(path.read_text() for path in SHIPPED)):
        checker.validate(scenario_yaml.read(text, "f").data)
    assert not checker.is_valid({"avsync": 1, "about": "x", "duraton_s": 3})
    assert not checker.is_valid({"avsync": 1, "about": "x", "steps": [{"at_s": 1, "do": "stall", "los": 1}]})
    for owner, part in {"Scenario": schema, **schema["$defs"]}.items():
        for key, value in part["properties"].items():
            assert value.get("description") or value.get("const"), f"{owner}.{key} has no description"


def test_every_part_says_what_it_is() -> None:
    """Descriptions come from the source, so a part without a docstring would reach editors empty."""
    for path in sorted((ROOT / "sim" / "scenario").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


# ------------------------------------------------------------------------------- anything at all

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["stall", "burst", "25/0", "default", "offset_abs_p95_ms", "video", "9" * 30]),
)  # fmt: skip
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def _only_input_errors(read: Any) -> None:
    try:
        scenario = read()
    except InputError as error:
        said = str(error)
        length = len(said)
    else:
        length = len(scenario.digest)
    assert 0 < length < 20_000


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
@example("avsync: 1\nabout: ''")
@example('"\\x')
@example("avsync: 1\n!<")
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_scenario_or_an_input_error(text: str | bytes) -> None:
    _only_input_errors(lambda: loads(text))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_scenario_is_a_scenario_or_an_input_error(data: st.DataObject) -> None:
    raw = bytearray(FULL.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        length = data.draw(st.integers(0, 12))
        raw[at : at + length] = data.draw(st.sampled_from([b"", b":", b"]", b"'", b"\n", b"-", b"{", b"&a", b"1e9"]))
    _only_input_errors(lambda: loads(bytes(raw)))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_value_in_any_place_is_a_scenario_or_an_input_error(data: st.DataObject) -> None:
    content = scenario_yaml.read(FULL, "f").data
    here: Any = content
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(_DATA)
    _only_input_errors(lambda: build(content))
    _only_input_errors(lambda: loads(json.dumps(content)))


# ---- interrupts that somebody hears, files that lie somewhere


@pytest.mark.parametrize(
    "line",
    [
        "steps: [{at_s: 0.1, do: interrupt}]",  # before the first word: the user was faster
        "source: {turns: {talk_s: [4, 4], gap_s: 3}}\nsteps: [{at_s: 6, do: interrupt}]",  # between two turns
        "steps: [{at_s: 5, do: interrupt}, {at_s: 40, do: interrupt}]",  # the reply talks on
        "steps: [{at_s: 5, do: interrupt, talk_s: 50}, {at_s: 50, do: interrupt}]",
        "source: {turns: {talk_s: [4]}, video: {speed: 0.5}}\nsteps: [{at_s: 8, do: interrupt}]",  # it takes longer
        "source: {turns: {talk_s: [4]}}\nsteps: [{at_s: 2, do: stall, for_s: 5}, {at_s: 9, do: interrupt}]",
        "source: {turns: {talk_s: [4]}, audio: {blocks: {}}}\nsteps: [{at_s: 6, do: interrupt}]",  # nobody knows
    ],
)
def test_an_interrupt_is_taken_while_somebody_may_still_talk(line: str) -> None:
    assert loads(REFERENCE + line + "\n").steps


@pytest.mark.parametrize("topology", ["local_encode", "provider_bridge"])
def test_a_file_that_is_missing_is_named_with_the_line_that_names_it(tmp_path: Path, topology: str) -> None:
    leg = "to_bridge" if topology == "provider_bridge" else "to_viewer"
    path = tmp_path / "mine.yaml"
    path.write_text(REFERENCE + f"topology: {topology}\nnetwork: {{{leg}: {{trace: lost.csv}}}}\nsource: {{clip: .}}\n")
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    said = str(caught.value)
    assert said.startswith(f"{path}:5:")
    assert "'lost.csv' does not exist" in said and f"{path}:6:" in said and "'.' is not a file" in said
    assert str(tmp_path) in said.split("folder of the scenario")[1]
    (tmp_path / "lost.csv").write_text("t_s,rtt_ms\n0,5\n1,6\n")
    path.write_text(REFERENCE + f"topology: {topology}\nnetwork: {{{leg}: {{trace: lost.csv}}}}\n")
    assert load_scenario(path).name == "mine"


def test_a_trace_that_is_none_says_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(REFERENCE + "network: {to_viewer: {trace: odd.csv}}\n")
    (tmp_path / "odd.csv").write_text("5\n3\n4\n")
    with pytest.raises(InputError) as caught:
        networks_for([], [load_scenario(path)])
    assert caught.value.rule.endswith("(network.to_viewer.trace of mine)") and "rtt_ms" in caught.value.remedy
