"""What is drawn: valid scenarios within the bounds, every feature and every pair of them, the same for the same
seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

import pytest

from sim.attack.bounds import BOUNDS, Choice, Range
from sim.attack.features import COUNTED, LEAST_SHARE, LEVERS, SOURCE_KEYS, STEPS, Counts, features
from sim.attack.strategies import drawn
from sim.network.presets import PRESETS
from sim.scenario.model import Scenario
from sim.scenario.scenario import build
from sim.scenario.source import MediaSource

SCENARIOS = 800
NOT_DRAWN = {"clip", "payload"}
"""They name files (``sim.attack.bounds`` says why)."""


@pytest.fixture(scope="module")
def some() -> list[dict[str, Any]]:
    return list(islice(drawn(1), SCENARIOS))


def test_each_is_a_scenario(some: list[dict[str, Any]]) -> None:
    for data in some:
        build(data)


def test_every_feature_and_every_pair_is_drawn_often_enough(some: list[dict[str, Any]]) -> None:
    counts = Counts()
    for data in some:
        counts.add(data)
    assert counts.rare() == []
    name, share = counts.rarest()
    assert share >= LEAST_SHARE and " + " in name


def test_every_step_lever_and_source_key_of_the_language_is_counted() -> None:
    steps = {entry.model_fields["do"].annotation for entry in _members(Scenario.model_fields["steps"].annotation)}
    assert {step.__args__[0] for step in steps} == set(STEPS)
    names = set()
    for name, field in MediaSource.model_fields.items():
        if name in ("turns", "audio", "video"):
            inner: Any = field.annotation
            names |= {key if key in LEVERS else f"{name}.{key}" for key in inner.model_fields}
        elif name not in NOT_DRAWN:
            names.add(name)
    assert names == {*LEVERS, *SOURCE_KEYS}


def _members(annotation: Any) -> Iterator[Any]:
    """The models in the union that a tuple of steps is of."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _members(inner)


def test_the_same_seed_draws_the_same(some: list[dict[str, Any]]) -> None:
    assert list(islice(drawn(1), 50)) == some[:50]
    assert list(islice(drawn(2), 50)) != some[:50]


def test_a_topology_and_a_viewer_can_be_asked_for() -> None:
    for data in islice(drawn(1, "provider_bridge", "browser"), 50):
        assert (data["topology"], data["viewer"]) == ("provider_bridge", "browser")
    for data in islice(drawn(1, "local_encode", "avsync"), 50):
        assert "topology" not in data and data["viewer"] == "avsync"
        assert "to_bridge" not in data.get("network", {})


def test_presets_are_drawn_from_all_there_are(some: list[dict[str, Any]]) -> None:
    legs = [leg for data in some for leg in data.get("network", {}).values()]
    seen = {leg["preset"] for leg in legs if "preset" in leg}
    assert seen <= set(PRESETS) and len(seen) > len(PRESETS) // 2  # so many in six hundred; a longer run has them all


def test_interrupts_come_twice_early_and_inside_other_steps(some: list[dict[str, Any]]) -> None:
    twice = before_reply = inside = 0
    for data in some:
        steps = data.get("steps", [])
        cuts = [step for step in steps if step["do"] == "interrupt"]
        twice += len(cuts) == 2
        for first, second in combinations(cuts, 2):
            before_reply += second["at_s"] - first["at_s"] < first.get("reply_after_ms", 400) / 1000
        for step in steps:
            lasts_s = step.get("for_s", step.get("for_ms", 0) / 1000)
            inside += any(step is not cut and step["at_s"] <= cut["at_s"] <= step["at_s"] + lasts_s for cut in cuts)
    assert min(twice, before_reply, inside) >= LEAST_SHARE * SCENARIOS


def test_each_bound_has_a_reason_and_an_order() -> None:
    for name, bound in BOUNDS.items():
        assert len(bound.why) > 10, name
        if isinstance(bound, Range):
            assert bound.low < bound.high and bound.step > 0, name
        else:
            assert isinstance(bound, Choice) and len(bound.values) > 1, name


def test_features_of_a_scenario() -> None:
    data = {
        "topology": "provider_bridge",
        "source": {"video": {"can_skip": True, "fps": 30}, "loop": {}},
        "network": {"to_viewer": {"loss": 0.1}},
        "clocks": {"client": {"ppm": 1}},
        "steps": [{"do": "stall"}, {"do": "hold", "leg": "source"}],
    }
    steps = {"stall", "hold", "hold at source"}
    assert features(data) == {"bridge", "can_skip", "video.fps", "loop", "to_viewer.loss", "clocks.client", *steps}
    assert len(set(COUNTED)) == len(COUNTED)
