"""The model of a scenario: what happens in a call, and what must be true of it. Version 1 of the language.

Each part is right by itself when it is built; ``sim.scenario.checks`` asks whether the parts fit together,
and ``sim.scenario.scenario`` reads files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from avsync.policy import AvSyncPolicy
from sim.scenario.metric_names import LIMITABLE, OUTPUT, Metric, Window, explain_unknown, metric
from sim.scenario.network import Clocks, Network
from sim.scenario.source import MediaSource
from sim.scenario.steps import Step, fault_window
from sim.scenario.types import MAX_DURATION_S, Ms, PolicySpec, SpecPart, Whole, Words, bad, policy_of

Viewer = Literal["browser", "avsync"]
MetricName = Annotated[str, Field(json_schema_extra={"enum": list(LIMITABLE)})]
LimitValue = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _known_metric(name: str) -> str:
    if metric(name) is None:
        raise bad(*explain_unknown(name[:100]))
    return name


class Expect(SpecPart):
    """One limit: a metric and how large, or how small, it may be."""

    metric: MetricName
    """What is limited; output_... at our own output, otherwise at the viewer."""
    at_most: LimitValue | None = None
    """The largest value that passes."""
    at_least: LimitValue | None = None
    """The smallest value that passes."""
    window: Window = "all"
    """all: the whole run; clear: away from faults; after_fault: the 5 s from 1 s after each fault."""
    viewer: Viewer | None = None
    """Only for this viewer; null: for each of them."""

    _check_metric = field_validator("metric")(_known_metric)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        row = metric(self.metric)
        if row is None:  # cannot be: the field's own check came first
            return self
        if (self.at_most is None) == (self.at_least is None):
            raise bad(f"a limit on {self.metric} needs either at_most or at_least", key="metric")
        side = "at_most" if self.at_least is None else "at_least"
        right = {"lower": "at_most", "higher": "at_least", "either": side}[row.better]
        if side != right:
            raise bad(f"{self.metric} is good when {row.better}", f"did you mean {right!r}?", key=side)
        if self.window not in row.windows:
            rule = f"{self.metric} is one number for the whole run; it has no window {self.window!r}"
            raise bad(rule, "leave window out", key="window")
        only = row.only_viewer
        if only is not None and self.viewer != only and not self.metric.startswith(OUTPUT):
            rule = f"{self.metric} is known only at the viewer {only!r}"
            key = "metric" if self.viewer is None else "viewer"
            raise bad(rule, f"say viewer: {only}, or limit {OUTPUT + self.metric!r}", key=key)
        if self.viewer is not None and self.metric.startswith(OUTPUT):
            raise bad(f"{self.metric} is measured at our output, not at a viewer", "leave viewer out", key="viewer")
        return self

    @property
    def row(self) -> Metric:
        """The metric's row: unit, direction, what it means."""
        found = metric(self.metric)
        assert found is not None
        return found

    @property
    def limit(self) -> float:
        """The limit itself, whichever side it is on."""
        value = self.at_most if self.at_most is not None else self.at_least
        assert value is not None
        return value

    def met_by(self, value: float | None) -> bool:
        """UNKNOWN (None) is a miss, and so is NaN."""
        if value is None:
            return False
        return value <= self.limit if self.at_most is not None else value >= self.limit


class Baseline(SpecPart):
    """A policy that must miss, to prove that the scenario is hard."""

    policy: PolicySpec
    """A preset's name, or a table of what differs from one."""
    misses: Annotated[tuple[MetricName, ...], Field(min_length=1, max_length=20)]
    """The metrics of which it must miss a limit by 1.5 times, in every seed and viewer."""

    @field_validator("misses")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _known_metric(name)
        return names


class BrowserLevers(SpecPart):
    """What a page may set on a browser's receivers (``RTCRtpReceiver.jitterBufferTarget``)."""

    picture_target_ms: Ms = 0.0
    """For the pictures; helps where jitter on the way to the viewer is large, harms on a calm line."""
    sound_target_ms: Ms = 0.0
    """For the sound."""


class Scenario(SpecPart):
    """One call that is simulated: who speaks, over what network, what goes wrong, what must hold."""

    avsync: Literal[1]
    """Version of this language: 1."""
    about: Words
    """A sentence: what happens, and why it is worth testing."""
    tags: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")], ...] = ()
    """What it is about, in words. Two mean something: reference (its own limits hold, and not the guards), and slow
    (not run with a whole folder)."""
    duration_s: Annotated[float, Field(strict=True, gt=0, le=MAX_DURATION_S, allow_inf_nan=False)] = 60.0
    """How long the call is, in virtual time."""
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1, max_length=10_000)] = (1, 2, 3)
    """One run for each; the same seed gives the same network to every policy."""
    topology: Literal["local_encode", "provider_bridge"] = "local_encode"
    """local_encode: we get sound and frames and encode them; provider_bridge: a provider sends us WebRTC."""
    viewer: Literal["browser", "avsync", "both"] = "both"
    """Who watches: a browser that we only steer, one with our engine in it, or each in its own right."""
    browser: BrowserLevers = BrowserLevers()
    """What the page sets in the viewer ``browser``."""
    policy: PolicySpec = "default"
    """A preset's name, or a table such as {preset: default, playout_delay_ms: 120}."""
    source: MediaSource = MediaSource()
    """What is generated, and how it is handed over."""
    clocks: Clocks = Clocks()
    """Oscillators that are not perfect."""
    network: Network = Network()
    """What the network is like during the whole run."""
    steps: Annotated[tuple[Step, ...], Field(max_length=5_000)] = ()
    """What happens, and when."""
    expect: Annotated[tuple[Expect, ...], Field(max_length=500)] = ()
    """What must be true. The guards hold besides, unless their metric is limited here."""
    baseline: Baseline | None = None
    """A policy that must miss these limits, which proves that they are hard to meet."""

    _name: str = PrivateAttr(default="")
    _folder: Path = PrivateAttr(default=Path("."))

    @property
    def name(self) -> str:
        """The file's name without its suffix; empty for data that came without a file."""
        return self._name

    @property
    def folder(self) -> Path:
        """Where its file lies: traces and clips are named relative to this."""
        return self._folder

    def file(self, name: str) -> Path:
        """The path of a trace or clip that this scenario names."""
        return self._folder / name

    @property
    def digest(self) -> str:
        """sha256 of the whole content, defaults included; the name and the layout do not matter."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def placed(self, name: str, folder: Path) -> Self:
        """This scenario with the name of its file and its folder; the one thing that is set later."""
        self._name, self._folder = name, folder
        return self

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """Each viewer that is simulated and judged."""
        return ("browser", "avsync") if self.viewer == "both" else (self.viewer,)

    @property
    def engine_policy(self) -> AvSyncPolicy:
        """The policy that is tested."""
        return policy_of(self.policy)

    @property
    def faults(self) -> tuple[tuple[float, float], ...]:
        """(start, end) in s of each fault, by start."""
        return tuple(sorted(window for step in self.steps if (window := fault_window(step)) is not None))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``build`` turns into a scenario of the same digest."""
        data = self.model_dump(mode="json")
        # Younger than the digests in older results: absent, they change none.
        if self.source.payload is None:
            del data["source"]["payload"]
        if self.source.audio.blocks is None:
            del data["source"]["audio"]["blocks"]
        return data
