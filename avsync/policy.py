"""Policy: every number the engine decides by, in one frozen, validated place.

``AvSyncPolicy()`` is what we recommend. ``AvSyncPolicy.preset(name)`` gives ours and, by
algorithm, what others ship, so that every study has its baselines. ``AvSyncPolicy.load(file)``
reads TOML; ``from_dict`` reads what YAML or JSON gave. People write milliseconds (``late_video_ms:
45``) and the core keeps nanoseconds (``late_video_ns``).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Self

from avsync.errors import InputError, UsageError
from avsync.units import NS_PER_MS, ms, seconds, to_ms

MAX_FILE_BYTES = 1 << 16
"""Of a TOML file: a hundred times what every field together takes."""


class Master(Enum):
    """Which stream keeps its own pace when the other falls behind."""

    AUDIO = "audio"
    """The voice never waits; the picture follows it."""
    VIDEO = "video"
    """The picture never waits; the voice is held for it."""


class Pacing(Enum):
    """When a picture is released. All but the first are open loops: due is fixed when it is pushed."""

    CONTENT_CLOCK = "content_clock"
    """When the sound of the same content leaves."""
    ON_ARRIVAL = "on_arrival"
    """At once."""
    FPS_PACED = "fps_paced"
    """At the nominal rate, re-based when too far behind."""
    ARRIVAL_DELAY = "arrival_delay"
    """On arrival + what the sound has buffered, on the rate's ticks."""
    TWO_CLOCKS = "two_clocks"
    """Each stream on its own nominal clock from its own first unit."""


@dataclass(frozen=True, slots=True)
class AvSyncPolicy:
    """Frozen and validated at construction; a bad value is refused by name (``UsageError``)."""

    name: str = "default"
    """Under which results and recordings know it."""

    # Which stream is master, and when pictures are released.
    master: Master = Master.AUDIO
    """audio: the voice never waits, the picture follows; video: the picture never waits, the voice is held for it."""
    pacing: Pacing = Pacing.CONTENT_CLOCK
    """When a picture is released. content_clock: with the sound of the same content; the others are open loops."""
    epochs: bool = True
    """False: an interrupt empties the queues and nothing more; what is pushed later is played."""
    pause_passes: bool = True
    """False: a marked pause (DTX) is taken for a stall, as engines without the mark do."""

    nominal_frame_ns: int = ms(40)
    """The frame period that an open loop was configured for; the content clock needs none."""

    # Delay.
    slot_ns: int = ms(20)
    """One output slot of sound. Origin: Opus and aiortc, 20 ms."""
    playout_delay_ns: int = ms(40)
    """Common playout delay at a turn's start, both streams."""
    playout_delay_max_ns: int = ms(400)
    """The common playout delay never grows beyond this, however uneven the sources are."""
    start_wait_video_ns: int = ms(300)
    """How long a turn's first sound waits for its first picture before it goes alone."""
    start_wait_video_max_ns: int = ms(1500)
    """The same once pictures are known to come later than that: up to this, and no longer than they really take."""

    # The sound's jitter buffer (network side). Origin of the numbers: NetEq.
    jitter_start_ns: int = ms(80)
    """How much sound the jitter buffer wants before it has measured anything."""
    jitter_min_ns: int = ms(40)
    """The jitter buffer never wants less than this."""
    jitter_max_ns: int = ms(400)
    """The jitter buffer never wants more than this; later packets are lost."""
    jitter_quantile_pct: int = 95
    """The share of packets that are to come in time; the buffer is as deep as that takes."""
    jitter_shrink_ns_per_s: int = ms(20)
    """How fast the jitter buffer becomes shallower once the line is calm."""

    # Late pictures: release now, drop, show late, repeat, degrade.
    late_video_ns: int = ms(45)
    """Released at once when late by up to this. Origin: BT.1359 detectability, +45 ms."""
    repeat_after_ns: int = ms(120)
    """Later than this a picture is not worth its stamp: repeat. Origin: BT.1359, -125 ms."""
    degrade_after_ns: int = ms(250)
    """Without a fresh picture for this long, show a degraded picture: a neutral mouth."""
    stall_alert_after_ns: int = ms(500)
    """A stream that brings nothing for this long is reported as stalled."""
    idle_after_ns: int = seconds(1)
    """Without a fresh picture for this long, show the idle picture. Origin: GStreamer livesync."""
    recover_after_ns: int = seconds(5)
    """Clean for this long before a lowered rate is given back (hysteresis)."""

    # What a source that falls behind is asked.
    request_latency_ns: int = ms(100)
    """Expected time between a request and its first effect; learned upwards while running."""
    skip_margin_ns: int = ms(100)
    """How far beyond the voice, and the time that a request takes, a skip aims: what comes then is in time."""
    skip_again_after_ns: int = ms(200)
    """A source is not asked to skip again before this has passed."""
    relapse_ns: int = seconds(5)
    """Lateness that returns within this of a skip means a source that is too slow: ask for fewer fps."""

    # Timelines.
    early_limit_ns: int = seconds(10)
    """A stamp this far ahead is a discontinuity: re-anchor. Origin: libwebrtc, 10 s."""
    late_limit_ns: int = seconds(2)
    """A stamp this far behind is a discontinuity: re-anchor. Origin: GStreamer livesync, 2 s."""
    slew_ppm: int = 5_000
    """No correction moves the picture faster than 5 ms/s outside silence. Origin: LiveKit."""
    rate_max_ppm: int = 1_000
    """Sound's rate correction at most 0.1 %. Origin: mpv, 0.125 %."""
    rate_recovery_ns: int = seconds(10)
    """The voice's rate is chosen so that an error would fade within this time."""

    # What is known of the way after us: pictures moved against the voice, and answered ahead of time.
    trim_max_ns: int = ms(100)
    """A trim of the pictures, either way. Whoever needs more has another trouble than a trim mends."""
    trim_slew_ppm: int = 2_000
    """A trim is followed by at most 2 ms/s: below what is seen, and slower than the browser's own loop."""
    picture_head_start_max_ns: int = ms(40)
    """One frame at 25 fps: an encoder that takes longer than that is too slow for its stream."""

    receiver_target_max_ns: int = ms(400)
    """The most that a viewer's receivers are asked to hold (``jitterBufferTarget``); 0: they are never asked."""

    # Bounds.
    audio_queue_units: int = 3_000
    """At most this many units of sound wait in the engine."""
    video_queue_units: int = 512
    """At most this many pictures wait in the engine."""

    # Alerts (monitor). Origin of the levels: BT.1359.
    warn_lead_ns: int = ms(45)
    """Warn when the voice is ahead of the lips by more than this."""
    warn_lag_ns: int = ms(60)
    """Warn when the voice is behind the lips by more than this."""
    critical_lead_ns: int = ms(90)
    """Critical when the voice is ahead of the lips by more than this."""
    critical_lag_ns: int = ms(125)
    """Critical when the voice is behind the lips by more than this."""
    alert_dwell_ns: int = seconds(5)
    """A level has to be exceeded for this long before it becomes an alert."""
    sr_age_alert_ns: int = seconds(5)
    """Alert when the last sender report is older than this."""
    drift_alert_ppm: int = 100
    """Alert when two clocks drift apart faster than this."""

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_ns", "_ppm", "_pct", "_units", "_ns_per_s")):
                if type(value) is not int:
                    raise UsageError(f"{field.name} must be an int, got {value!r}")
                if value < 0:
                    raise UsageError(f"{field.name} must be >= 0, got {value}")
                if value > seconds(3600):
                    raise UsageError(f"{field.name} must be <= one hour, got {value}")
        _positive(self, "slot_ns", "audio_queue_units", "video_queue_units", "rate_recovery_ns")
        if self.trim_slew_ppm > 100_000:
            raise UsageError(f"trim_slew_ppm must be <= 100000, got {self.trim_slew_ppm}")
        _ordered(self, "playout_delay_ns", "playout_delay_max_ns")
        _ordered(self, "start_wait_video_ns", "start_wait_video_max_ns")
        _ordered(self, "jitter_min_ns", "jitter_start_ns", "jitter_max_ns")
        _ordered(self, "late_video_ns", "repeat_after_ns", "degrade_after_ns", "stall_alert_after_ns", "idle_after_ns")
        _ordered(self, "warn_lead_ns", "critical_lead_ns")
        _ordered(self, "warn_lag_ns", "critical_lag_ns")
        if not 0 < self.jitter_quantile_pct < 100:
            raise UsageError(f"jitter_quantile_pct must be between 1 and 99, got {self.jitter_quantile_pct}")
        if self.slot_ns > ms(200):
            raise UsageError(f"slot_ns must be <= 200 ms, got {self.slot_ns}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """A policy by its name; ``InputError`` lists the names it knows."""
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError(f"no policy is named {name!r}", remedy=_suggest(str(name), PRESETS))
        return cls._build({"name": name, **PRESETS[name]}, file="", base=cls())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, file: str = "") -> Self:
        """``{"preset": "default", "playout_delay_ms": 120}``: a preset and what differs from it."""
        if not isinstance(data, Mapping):
            raise InputError(f"a policy is a table of names and values, got {type(data).__name__}", file=file)
        values = dict(data)
        start = values.pop("preset", "default")
        if not isinstance(start, str):
            raise InputError(f"preset must be a name, got {start!r}", file=file)
        return cls._build(values, file=file, base=cls.preset(start))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file. Anything wrong with it is an ``InputError`` that names the file."""
        if not isinstance(path, str | Path):
            raise UsageError(f"path must be a str or a Path, got {path!r}")
        try:
            if not Path(path).is_file() and Path(path).exists():
                raise InputError("not a regular file", file=str(path))
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise InputError(f"a policy file has at most {MAX_FILE_BYTES >> 10} KB", file=str(path))
            return cls.from_dict(tomllib.loads(content.decode("utf-8")), file=str(path))
        except RecursionError:
            raise InputError("not a readable TOML policy: nested too deeply", file=str(path)) from None
        except (OSError, ValueError) as error:  # also TOMLDecodeError, UnicodeDecodeError, a number of 5,000 digits
            reason = error.strerror if isinstance(error, OSError) else error
            remedy = "a policy file holds lines such as: playout_delay_ms = 120"
            raise InputError(f"not a readable TOML policy: {reason}", file=str(path), remedy=remedy) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the core's own units; ``from_plain`` gives the same policy back."""
        return {key: value.value if isinstance(value, Enum) else value for key, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict`` (recordings)."""
        try:
            return cls(**{**data, "master": Master(data["master"]), "pacing": Pacing(data["pacing"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a policy written by this version: {error}") from None

    @classmethod
    def _build(cls, values: Mapping[str, Any], *, file: str, base: Self) -> Self:
        changes: dict[str, Any] = {}
        for key, value in values.items():
            field, converted = _field(key, value, file)
            changes[field] = converted
        try:
            return replace(base, **changes)
        except UsageError as error:
            raise InputError(f"policy: {_as_written(str(error))}", file=file) from None


def policy_or_default(policy: object) -> AvSyncPolicy:
    """What an engine or a monitor was given: a policy, or None for the default. ``UsageError``: something else."""
    if policy is None:
        return AvSyncPolicy()
    if not isinstance(policy, AvSyncPolicy):
        raise UsageError(f"policy must be an AvSyncPolicy, got {policy!r}; by name: AvSyncPolicy.preset(name)")
    return policy


def _as_written(rule: str) -> str:
    """A rule about nanoseconds in the names and milliseconds that people write."""
    if "_ns" not in rule:
        return rule
    spoken = re.sub(r"\b(\w+?)_ns(_per_s)?\b", r"\1_ms\2", rule)
    return re.sub(r"(?<=[ ,>])-?\d{4,}\b", lambda number: f"{to_ms(int(number[0])):g}", spoken)


def _positive(policy: AvSyncPolicy, *names: str) -> None:
    for name in names:
        if getattr(policy, name) <= 0:
            raise UsageError(f"{name} must be > 0, got {getattr(policy, name)}")


def _ordered(policy: AvSyncPolicy, *names: str) -> None:
    for low, high in zip(names, names[1:], strict=False):
        if getattr(policy, low) > getattr(policy, high):
            raise UsageError(f"{low} must be <= {high}, got {getattr(policy, low)} > {getattr(policy, high)}")


def _spoken_names() -> dict[str, str]:
    """What people may write -> the field: ``late_video_ms -> late_video_ns``."""
    names = {}
    for field in fields(AvSyncPolicy):
        spoken = field.name.replace("_ns_per_s", "_ms_per_s")
        names[spoken[:-3] + "_ms" if spoken.endswith("_ns") else spoken] = field.name
    return names


def _field(key: object, value: Any, file: str) -> tuple[str, Any]:
    names = _spoken_names()
    if key not in names:
        raise InputError(f"policy has no {key!r}", file=file, remedy=_suggest(str(key), names))
    field = names[str(key)]
    if field == "name":
        if not isinstance(value, str):
            raise InputError(f"policy name must be text, got {value!r}", file=file)
        return field, value
    if field in ("epochs", "pause_passes"):
        if not isinstance(value, bool):
            raise InputError(f"policy {key} must be true or false, got {value!r}", file=file)
        return field, value
    if field in ("master", "pacing"):
        choices = {member.value: member for member in (Master if field == "master" else Pacing)}
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"policy {key} cannot be {value!r}", file=file, remedy=_suggest(str(value), choices))
        return field, choices[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InputError(f"policy {key} must be a number, got {str(value)[:40]}", file=file)
    if not -1e9 < value < 1e9:
        raise InputError(f"policy {key} is absurdly large: {str(value)[:40]}", file=file)
    return field, round(value * NS_PER_MS) if key != field else int(value)


def _suggest(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(sorted(known))


_KINDS: dict[str, type] = {"name": str, "master": Master, "pacing": Pacing, "epochs": bool, "pause_passes": bool}
"""Of what is no number."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # A common playout delay that hides half a second of generator stall, for non-interactive avatars.
    "patient": {"playout_delay_ms": 300},
    "video_master": {"master": "video"},
    # What others ship, by algorithm. No epochs, no late policy, no request, no word to viewers: that is the point.
    "pass_through": {"pacing": "on_arrival", "epochs": False, "receiver_target_max_ms": 0},
    "fps_paced": {"pacing": "fps_paced", "epochs": False, "receiver_target_max_ms": 0},
    "arrival_delay": {"pacing": "arrival_delay", "epochs": False, "receiver_target_max_ms": 0},
    "two_clocks": {"pacing": "two_clocks", "epochs": False, "receiver_target_max_ms": 0},
    # Ours, but blind to marked pauses.
    "dtx_as_stall": {"pause_passes": False},
}
