"""Features: what a scenario is made of, by name: steps, levers, keys of the source, what its network does.

A find is told apart from another by the features that it needs, and the attack counts how often it drew each of them
and each pair, so that nothing is left out unnoticed. Read from plain data, as a scenario file has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Any

STEPS = (
    "interrupt", "stall", "impair", "hold", "route_step", "pause",
    "mute", "fps", "rate", "clock_step", "sleep", "reports",
)  # fmt: skip
LEVERS = ("can_skip", "can_fps", "can_keyframe", "obeys_after_ms")
"""What a source can be asked; they stand under ``source.video``."""
SOURCE_KEYS = (
    *("turns.first_at_s", "turns.talk_s", "turns.gap_s", "loop", "backlog_s", "acknowledges"),
    *("audio.rate_hz", "audio.unit_ms", "audio.bitrate_kbps", "audio.speed", "audio.ahead_s", "audio.jitter_ms"),
    *("audio.lead_ms", "audio.blocks", "audio.real_rate_ppm"),
    *("video.fps", "video.variable_fps", "video.bitrate_kbps", "video.key_every_s", "video.encoded", "video.speed"),
    *("video.ahead_s", "video.jitter_ms", "video.delay_ms", "video.blocks", "video.resume", "video.join_at_s"),
    *("video.join_decodable", "video.real_rate_ppm"),
)
COUNTED = (*STEPS, *LEVERS, *SOURCE_KEYS)
LEAST_SHARE = 0.01
"""Of the scenarios drawn: each of ``COUNTED``, and each pair of them, is in at least this many."""


def features(data: Mapping[str, Any]) -> frozenset[str]:
    """The steps by their name, levers and source keys by theirs; and ``hold at to_bridge``, ``to_viewer.loss``, …"""
    steps = data.get("steps", ())
    found: set[str] = {str(step["do"]) for step in steps}
    found |= {f"{step['do']} at {step['leg']}" for step in steps if "leg" in step}
    source = data.get("source", {})
    for part in ("turns", "audio", "video"):
        found |= {key if key in LEVERS else f"{part}.{key}" for key in source.get(part, {})}
    found |= {key for key in ("loop", "backlog_s", "acknowledges") if key in source}
    for leg, said in data.get("network", {}).items():
        found |= {f"{leg}.{key}" for key in said}
    found |= {f"clocks.{host}" for host in data.get("clocks", {})}
    if data.get("topology") == "provider_bridge":
        found.add("bridge")
    if "browser" in data:
        found.add("browser")
    return frozenset(found)


class Counts:
    """How often each feature, and each pair of them, was drawn."""

    def __init__(self) -> None:
        self.scenarios = 0
        self.single: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, data: Mapping[str, Any]) -> None:
        drawn = sorted(features(data))
        self.scenarios += 1
        self.single.update(drawn)
        counted = [name for name in drawn if name in _COUNTED]
        self.pairs.update(combinations(counted, 2))

    def rarest(self) -> tuple[str, float]:
        """The feature or pair of ``COUNTED`` that was drawn least, and in which share of the scenarios."""
        shares: Iterable[tuple[float, str]] = (
            *((self.single[name] / self.scenarios, name) for name in COUNTED),
            *((self.pairs[pair] / self.scenarios, " + ".join(pair)) for pair in combinations(sorted(COUNTED), 2)),
        )
        share, name = min(shares)
        return name, share

    def rare(self) -> list[str]:
        """What is below ``LEAST_SHARE``."""
        least = LEAST_SHARE * self.scenarios
        alone = [name for name in COUNTED if self.single[name] < least]
        return alone + [" + ".join(pair) for pair in combinations(sorted(COUNTED), 2) if self.pairs[pair] < least]


def in_words(needs: Collection[str]) -> str:
    """``clocks.client, stall``; a call without any of them is plain."""
    return ", ".join(sorted(needs)) or "nothing but the call itself"


_COUNTED = frozenset(COUNTED)
