"""The reference says of every word what it means, and each of its examples can stand in a scenario."""

from __future__ import annotations

import pytest

from avsync.policy import PRESETS, AvSyncPolicy
from sim.network.presets import PRESETS as NETWORKS
from sim.scenario import reference
from sim.scenario.metric_names import METRICS, SCORED
from sim.scenario.reference import Entry
from sim.scenario.scenario import loads

EVERYTHING = reference.everything()


def test_nothing_is_left_out() -> None:
    names = {sort: {entry.name for entry in EVERYTHING if entry.sort == sort} for sort in reference.SORTS.values()}
    assert names["metric"] == {*METRICS, *SCORED}
    assert names["network"] == set(NETWORKS)
    assert names["policy"] == set(PRESETS)
    assert {"stall", "impair", "sleep"} < names["step"] and len(names["step"]) == 12
    assert {"source.video.resume", "network.to_bridge.hold.every_s", "impair.loss", "expect.at_most"} < names["key"]
    assert {"truth", "belief", "guard"} < names["word"]
    assert {"late_video_ms", "master", "jitter_shrink_ms_per_s"} < names["policy field"]


@pytest.mark.parametrize("entry", EVERYTHING, ids=lambda entry: f"{entry.sort} {entry.name}".replace(" ", "-"))
def test_every_word_has_a_meaning_and_an_example_that_can_stand_in_a_scenario(entry: Entry) -> None:
    assert entry.about.endswith(".") and "\n" not in entry.about
    needed = {"avsync": "avsync: 1", "about": "about: An example.", "tags": "tags: [soak]"}
    head = "\n".join(line for key, line in needed.items() if not entry.example.startswith(f"{key}:"))
    more = ""
    if "recovery_ms" in entry.example:
        more = "steps: [{at_s: 20, do: stall, for_s: 1}]"
    if "metric: scorer_" in entry.example:
        more = "source: {payload: {}}"
    loads(f"{head}\n{entry.example}\n{more}\n", "clean.yaml")


def test_units_and_defaults_are_those_of_the_core() -> None:
    """The schema writes a policy's fields in the words that people use; the core reads those words."""
    for entry in reference.policy_fields():
        if entry.name not in ("preset", "name"):
            value = {"true": True, "false": False}.get(entry.default, entry.default)
            plain = value if isinstance(value, bool) or entry.name in ("master", "pacing") else float(value)
            assert AvSyncPolicy.from_dict({entry.name: plain}) == AvSyncPolicy(), entry.name
    units = {entry.name: entry.unit for entry in reference.policy_fields()}
    assert units["late_video_ms"] == "ms" and units["jitter_shrink_ms_per_s"] == "ms/s" and units["slew_ppm"] == "ppm"


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("stall", ["stall"]),
        ("source.audio.jitter_ms", ["source.audio.jitter_ms"]),
        ("voice", ["source.payload.voice"]),
        ("late_video_ms", ["late_video_ms"]),
        ("policy.late_video_ms", ["late_video_ms"]),
        ("output_recovery_ms", ["output_recovery_ms"]),
        ("believed_recovery_ms", []),
        ("nonsense", []),
    ],
)
def test_a_word_is_found_whole_or_by_its_last_part(word: str, names: list[str]) -> None:
    assert [entry.name for entry in reference.find(word)] == names


def test_a_word_that_occurs_in_many_places_is_found_in_each() -> None:
    assert [entry.name for entry in reference.find("loss")] == [
        "network.to_bridge.loss", "network.to_viewer.loss", "impair.loss",
    ]  # fmt: skip
    assert all(entry.unit == "share of 1" for entry in reference.find("loss"))


def test_a_mistyped_word_has_near_ones() -> None:
    assert reference.nearest_words("offset_p95_ms")[0] in METRICS
    assert reference.nearest_words("stal")[0] == "stall"
    assert reference.nearest_words("qqqqqqqq") == []
