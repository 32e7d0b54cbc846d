"""Reduce: what is left is what the find needs, and it can be loaded."""

from __future__ import annotations

from typing import Any

from sim.attack.reduce import reduced
from sim.scenario.scenario import build

LARGE: dict[str, Any] = {
    "avsync": 1, "about": "Drawn.", "tags": ["reference"], "duration_s": 27, "seeds": [43], "viewer": "avsync",
    "topology": "provider_bridge",
    "source": {"turns": {"talk_s": 3.7}, "video": {"delay_ms": 340, "can_skip": True, "blocks": {"frames": [3, 9]}}},
    "network": {"to_bridge": {"jitter_ms": 33, "loss": 0.021, "burst": 3}, "to_viewer": {"delay_ms": 45}},
    "clocks": {"bridge": {"ppm": 130}},
    "steps": [
        {"at_s": 1.35, "do": "mute", "for_s": 0.4},
        {"at_s": 2.7, "do": "hold", "for_ms": 640, "leg": "to_bridge"},
        {"at_s": 5.15, "do": "stall", "for_s": 2.1, "only": "video"},
        {"at_s": 6.1, "do": "interrupt", "reply_after_ms": 340},
    ],
}  # fmt: skip


def test_one_step_is_left_of_four() -> None:
    small, _ = reduced(LARGE, lambda data: any(step["do"] == "stall" for step in data.get("steps", ())))
    assert small["steps"] == [{"at_s": 5, "do": "stall", "for_s": 2}]
    assert set(small) == {"avsync", "about", "tags", "duration_s", "seeds", "viewer", "steps"}
    assert small["seeds"] == [1] and small["duration_s"] == 20
    build(small)


def test_keys_that_need_each_other_stay_together() -> None:
    def bursty(data: dict[str, Any]) -> bool:
        return "burst" in data.get("network", {}).get("to_bridge", {})

    small, _ = reduced(LARGE, bursty)
    assert small["network"] == {"to_bridge": {"loss": 0.02, "burst": 3}} and small["topology"] == "provider_bridge"
    build(small)


def test_what_only_a_bridge_has_goes_with_it() -> None:
    def hold(data: dict[str, Any]) -> bool:
        return any(step["do"] == "hold" for step in data.get("steps", ()))

    small, _ = reduced(LARGE, hold)
    assert "topology" not in small and small["steps"] == [{"at_s": 2, "do": "hold", "for_ms": 600}]


def test_numbers_keep_what_matters() -> None:
    small, _ = reduced(LARGE, lambda data: data.get("source", {}).get("video", {}).get("delay_ms", 0) > 310)
    assert small["source"] == {"video": {"delay_ms": 340}}


def test_it_ends_and_asks_nothing_twice() -> None:
    asked: list[str] = []

    def never(data: dict[str, Any]) -> bool:
        asked.append(repr(data))
        return False

    small, tries = reduced(LARGE, never)
    assert small == LARGE and tries == len(asked) == len(set(asked))
    assert reduced(LARGE, never, most=5)[1] == 5
