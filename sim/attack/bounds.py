"""Bounds: how far the attack goes, and why not further. The one place; each line names its source.

A number is drawn as a whole count of ``step`` between ``low`` and ``high``. To narrow a line is to say that no call is
like that: it needs a scenario that shows why, and the reason in its ``why``. To widen one needs nothing.

What is not drawn, and why: ``source.clip``, ``source.payload`` and ``network.trace`` name files, and a find has to be
one file that runs anywhere (what recorded networks reach stands in the legs' lines, and the presets carry three of
them); ``duplicate`` at the hand-over, which one process refuses; a viewer that leaves, which the language has not.
"""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included, in steps of ``step``."""

    low: float
    high: float
    step: float
    why: str


class Choice(NamedTuple):
    """One of these; the first is the simplest."""

    values: tuple[object, ...]
    why: str


BOUNDS: dict[str, Range | Choice] = {
    # ---- the call
    "duration_s": Range(17, 30, 1, "130 times real time: four examples a second; growth is judged over 120 s"),
    "seeds": Range(1, 99, 1, "which draws of chance"),
    # ---- the source
    "turns.first_at_s": Range(0.1, 3, 0.1, "a greeting at once, or after the page has loaded"),
    "turns.talk_s": Range(0.3, 12, 0.1, "issue 11: turns from 0.3 s, a 'yes'; 12 s: two of them in the longest call"),
    "turns.gap_s": Range(0.1, 4, 0.1, "between a comma and a person who thinks"),
    "audio.rate_hz": Choice((48_000, 24_000, 16_000, 8_000, 44_100, 22_050), "issue 11: 8 to 48 kHz, as TTS gives"),
    "audio.unit_ms": Choice((20, 10, 40, 60), "issue 11: 10 to 60 ms; all that the language has"),
    "audio.bitrate_kbps": Range(8, 128, 8, "Opus: from narrow-band speech to music"),
    "audio.speed": Range(0.5, 4, 0.05, "issue 11: 0.5 to 4"),
    "audio.ahead_s": Range(0, 5, 0.25, "issue 11 names 2 s ahead; TTS engines give a whole sentence"),
    "audio.jitter_ms": Range(5, 200, 5, "a garbage collection or a slow GPU: five frames"),
    "audio.lead_ms": Range(20, 1500, 20, "issue 11: pictures 0 to 1.5 s after their sound"),
    "audio.real_rate_ppm": Range(-1000, 1000, 50, "scenarios/bridge_clock_drift_content.yaml, three times as far"),
    "blocks.speed": Range(1.1, 4, 0.1, "a model that is just fast enough, to four times real time"),
    "blocks.late_ms": Range(20, 1000, 20, "scenarios/generator_blocks.yaml has 200 to 500"),
    "blocks.units": Range(2, 50, 1, "a second of sound at once"),
    "video.fps": Choice((25, 30, 10, 60, 24, "24000/1001", 12, 50, 15), "issue 11: 10 to 60 fps"),
    "video.variable_fps": Range(10, 60, 1, "issue 11: 10 to 60 fps"),
    "video.bitrate_kbps": Range(150, 4000, 50, "a talking head from 180p to 1080p"),
    "video.key_every_s": Range(0.5, 10, 0.5, "what encoders are set to"),
    "video.speed": Range(0.5, 4, 0.02, "issue 11: 0.5 to 4, with 0.98 and 0.88 inside"),
    "video.ahead_s": Range(0, 5, 0.25, "as that of the sound"),
    "video.jitter_ms": Range(5, 200, 5, "as that of the sound"),
    "video.delay_ms": Range(20, 1500, 20, "issue 11: lag 0 to 1.5 s"),
    "video.resume": Choice(("burst", "continue"), "all that the language has; live is the default"),
    "video.obeys_after_ms": Choice((0, 500, 2000, 60_000), "issue 11: obeyed late, or (after the call) not at all"),
    "video.join_at_s": Range(0.2, 8, 0.2, "a track that joins late, up to half of the shortest call"),
    "video.real_rate_ppm": Range(-1000, 1000, 50, "as that of the sound"),
    "loop.s": Range(1, 8, 0.25, "scenarios/short_loop.yaml; a loop of an idle avatar"),
    "backlog_s": Range(0.25, 5, 0.25, "scenarios/join_backlog.yaml"),
    # ---- the legs
    "leg.delay_ms": Range(0, 300, 5, "issue 11: ways to 300 ms"),
    "leg.jitter_ms": Range(1, 150, 1, "issue 11 wants 40 met; g1050-H and rmcat reach 150"),
    "leg.jitter_correlation": Range(0, 0.99, 0.03, "0.98 is Starlink's (preset measured-starlink)"),
    "leg.loss": Range(0.001, 0.1, 0.001, "issue 11: to 10 %"),
    "leg.burst": Range(1, 20, 1, "preset rfc8867 and shared/traces/netem: bursts of 10; twice that"),
    "leg.reorder": Range(0.001, 0.05, 0.001, "scenarios/reorder_duplicate.yaml has 0.02"),
    "leg.reorder_by_ms": Range(1, 100, 1, "one packet to two pictures and a half"),
    "leg.duplicate": Range(0.001, 0.05, 0.001, "scenarios/reorder_duplicate.yaml has 0.02"),
    "leg.rate_kbps": Range(100, 5000, 50, "from webrtc-generic-bad (95 kbit/s) to more than any call takes"),
    "leg.queue_ms": Range(50, 2000, 50, "preset rmcat 300 ms; mobile networks hold seconds (shared/traces/lumos5g)"),
    "leg.hold_every_s": Range(1.5, 15, 0.5, "measured-starlink 15 s, measured-5g-weak 14 s; a train more often"),
    "leg.hold_for_ms": Range(20, 1400, 20, "measured-5g-stall; shared/traces/m2ho: handovers to 1.4 s"),
    "rtp_start.before_wrap": Range(0, 400, 1, "packets before a counter wraps: within the first 8 s"),
    # ---- clocks
    "clocks.ppm": Range(-300, 300, 10, "ordinary hosts 20 to 80; a virtual machine that is not disciplined"),
    "clocks.label_ppm": Range(-1000, 1000, 50, "scenarios/bridge_clock_drift.yaml, three times as far"),
    "browser.target_ms": Range(20, 400, 20, "what a page may set; glass_jitter uses 250"),
    # ---- steps
    "step.at_s": Range(0.05, 10, 0.05, "a step of 4 s and a second interrupt still fit into the shortest call"),
    "step.for_s": Range(0.1, 4, 0.1, "a blink to four times what people take for a broken call"),
    "step.in_step": Range(0, 1, 0.1, "an interrupt inside another step: from its start to its end"),
    "step.soon_s": Range(0.05, 1.2, 0.05, "the ladder of late pictures: 120 ms (a repeat) to 1 s (the idle picture)"),
    "interrupt.again_s": Range(0.05, 2, 0.05, "'no, wait': before the reply began and while it speaks"),
    "interrupt.pushes_on_ms": Range(20, 2000, 20, "barge_in.yaml has 300, bridge_barge_in_hung.yaml 1700"),
    "interrupt.reply_after_ms": Range(0, 2000, 20, "from a canned answer to a slow model; issue 11 names < 120 ms"),
    "interrupt.talk_s": Range(0.3, 8, 0.1, "as the turns of the plan"),
    "hold.for_ms": Range(20, 3000, 20, "issue 11: a line that hangs for 200 ms or more; an outage of 3 s"),
    "impair.delay_ms": Range(5, 300, 5, "a detour over another continent"),
    "route.by_ms": Range(-200, 300, 10, "another way, shorter (cut at 0) or longer"),
    "clock_step.by_ms": Range(-5000, 5000, 100, "NTP: from a slew that was given up to a clock that was never set"),
    "reports.by_ms": Range(20, 3000, 20, "scenarios/sr_late_and_wrong.yaml"),
}  # fmt: skip
"""By the name of what is drawn: ``leg`` stands for each leg, ``clocks.ppm`` for each host."""
