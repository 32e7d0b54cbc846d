"""Examples for the reference, and what each named policy is for. A test runs every example through the checks.

An example of a key is what stands behind its colon, with what it needs beside it: ``burst`` is ``3, loss: 0.02``.
"""

from __future__ import annotations

POLICIES: dict[str, str] = {
    "default": "Ours: the voice never waits, each picture leaves with the sound of the same content, late pictures are "
    "shown, left out or repeated by how late they are, and a source that falls behind is asked to skip. For a "
    "conversation; begin here.",
    "patient": "The default with 300 ms of common delay at the start of a turn, which hides short stalls of the "
    "generator. For a presenter whom nobody interrupts: every answer comes later by that much.",
    "video_master": "The pictures never wait, and the voice is held for them. Where no picture may be left out and a "
    "pause in the voice is the smaller harm.",
    "pass_through": "What a plain relay does: each picture leaves when it arrives. A baseline, to compare with.",
    "fps_paced": "Pictures at the nominal frame rate, begun anew when more than 300 ms behind, as LiveKit's "
    "AVSynchronizer does. A baseline, to compare with.",
    "arrival_delay": "Each picture on its arrival plus the sound that is still to be played, one for each tick of the "
    "frame rate, as Vision Agents does. A baseline, to compare with.",
    "two_clocks": "Sound and pictures each on a clock of their own from their own first unit; nothing is left out and "
    "nothing compared. A baseline, to compare with.",
    "dtx_as_stall": "The default, but a marked pause (DTX) is taken for a stall, as engines without the mark do. A "
    "baseline for pauses.",
}

STALL = "at_s: 20, do: stall, for_s: 1"

STEPS: dict[str, str] = {
    "interrupt": "at_s: 5, do: interrupt",
    "stall": STALL,
    "impair": "at_s: 9, do: impair, for_s: 2, loss: 0.2",
    "hold": "at_s: 12, do: hold, for_ms: 250",
    "route_step": "at_s: 14, do: route_step, by_ms: 40",
    "pause": "at_s: 16, do: pause, for_s: 2",
    "mute": "at_s: 20, do: mute, for_s: 1",
    "fps": "at_s: 22, do: fps, to: 20",
    "rate": "at_s: 24, do: rate, to_hz: 16000",
    "clock_step": "at_s: 26, do: clock_step, clock: provider, by_ms: 1500",
    "sleep": "at_s: 28, do: sleep, for_s: 3, host: viewer",
    "reports": "at_s: 32, do: reports, for_s: 5, mode: late, by_ms: 300",
}
"""One step of each, without the braces."""

STEP_KEYS: dict[str, str] = {
    "interrupt.pushes_on_ms": "600", "interrupt.reply_after_ms": "300", "interrupt.talk_s": "4",
    "stall.only": "video", "stall.resume": "burst",
    "impair.leg": "source", "impair.only": "video", "impair.delay_ms": "80", "impair.jitter_ms": "60",
    "impair.burst": "5", "impair.reorder": "0.05, reorder_by_ms: 30", "impair.reorder_by_ms": "30, reorder: 0.05",
    "impair.duplicate": "0.01", "impair.rate_kbps": "400",
    "hold.leg": "to_viewer", "route_step.leg": "to_viewer", "route_step.only": "audio", "pause.marked": "false",
    "reports.leg": "to_viewer", "reports.only": "audio",
}  # fmt: skip
"""What stands behind a step's key that its example leaves out."""

_LEG: dict[str, str] = {
    "preset": "webrtc-3g-average", "rate_kbps": "2000", "queue_ms": "300, rate_kbps: 2000",
    "queue_packets": "50, rate_kbps: 2000", "delay_ms": "60", "jitter_ms": "30",
    "jitter_correlation": "0.65, jitter_ms: 30", "loss": "0.02", "burst": "3, loss: 0.02",
    "reorder": "0.01, reorder_by_ms: 30", "reorder_by_ms": "30, reorder: 0.01", "duplicate": "0.001",
    "hold": "{every_s: 14, for_ms: 314}", "hold.every_s": "14, for_ms: 314", "hold.for_ms": "314, every_s: 14",
    "trace": "lte.csv", "sender_reports": "none", "rtp_start": "{audio_rtp: 4294967000}",
    "rtp_start.audio_rtp": "4294967000", "rtp_start.video_rtp": "4294967000", "rtp_start.seq": "65500",
}  # fmt: skip

KEYS: dict[str, str] = {
    "avsync": "1", "about": "Hotel wifi; the guest interrupts twice.", "tags": "[soak]", "duration_s": "30",
    "seeds": "[1, 2, 3]", "topology": "provider_bridge", "viewer": "browser", "policy": "patient",
    "browser": "{picture_target_ms: 100}", "browser.picture_target_ms": "100", "browser.sound_target_ms": "60",
    "source": "{video: {fps: 30}}",
    "source.turns": "{talk_s: 6, gap_s: 1}", "source.turns.first_at_s": "1", "source.turns.talk_s": "[4, 6.5, 3]",
    "source.turns.gap_s": "2, talk_s: 6",
    "source.audio": "{rate_hz: 24000}", "source.audio.rate_hz": "24000", "source.audio.unit_ms": "10",
    "source.audio.bitrate_kbps": "24", "source.audio.speed": "4", "source.audio.ahead_s": "3, speed: 4",
    "source.audio.jitter_ms": "15", "source.audio.lead_ms": "80", "source.audio.real_rate_ppm": "-50",
    "source.audio.blocks": "{units: [10, 25], late_ms: [100, 300]}", "source.audio.blocks.units": "[10, 25]",
    "source.audio.blocks.speed": "2", "source.audio.blocks.late_ms": "[100, 300]",
    "source.video": "{fps: 30, speed: 0.88}", "source.video.fps": "30000/1001", "source.video.variable_fps": "[20, 30]",
    "source.video.bitrate_kbps": "1500", "source.video.key_every_s": "2", "source.video.encoded": "true",
    "source.video.speed": "0.88", "source.video.ahead_s": "1, speed: 2", "source.video.jitter_ms": "30",
    "source.video.delay_ms": "120", "source.video.blocks": "{frames: [8, 16], late_ms: [200, 500]}",
    "source.video.blocks.frames": "[8, 16]", "source.video.blocks.speed": "1.5",
    "source.video.blocks.late_ms": "[200, 500]", "source.video.resume": "continue", "source.video.can_skip": "true",
    "source.video.can_fps": "true", "source.video.can_keyframe": "false", "source.video.obeys_after_ms": "150",
    "source.video.join_at_s": "3", "source.video.join_decodable": "false, encoded: true",
    "source.video.real_rate_ppm": "200",
    "source.loop": "{audio_s: 5, video_s: 5.04}", "source.loop.audio_s": "5, video_s: 5.04",
    "source.loop.video_s": "5.04, audio_s: 5", "source.clip": "talk.mp4", "source.payload": "{}",
    "source.payload.voice": "de", "source.payload.speaker": "7", "source.payload.scorer": "heuristic",
    "source.backlog_s": "2", "source.acknowledges": "true",
    "clocks": "{client: {ppm: 40}}", "clocks.provider": "{ppm: 80}", "clocks.provider.ppm": "80",
    "clocks.provider.audio_label_ppm": "200", "clocks.provider.video_label_ppm": "200", "clocks.bridge": "{ppm: -20}",
    "clocks.bridge.ppm": "-20", "clocks.client": "{ppm: 40}", "clocks.client.ppm": "40",
    "network": "{to_viewer: {delay_ms: 60, loss: 0.02}}", "network.to_bridge": "{preset: measured-5g-stall}",
    "network.to_viewer": "{delay_ms: 60, loss: 0.02}",
    **{f"network.{leg}.{key}": value for leg in ("to_bridge", "to_viewer") for key, value in _LEG.items()},
}  # fmt: skip
"""What stands behind a key."""

WHOLE: dict[str, str] = {
    "steps": f"steps: [{{{STALL}}}]",
    "expect": "expect: [{metric: offset_abs_p95_ms, at_most: 45}]",
    "expect.metric": "expect: [{metric: offset_abs_p95_ms, at_most: 45}]",
    "expect.at_most": "expect: [{metric: offset_abs_p95_ms, at_most: 45}]",
    "expect.at_least": "expect: [{metric: measured_pct, at_least: 95}]",
    "expect.window": "expect: [{metric: offset_abs_p95_ms, at_most: 45, window: clear}]",
    "expect.viewer": "expect: [{metric: offset_abs_p95_ms, at_most: 45, viewer: browser}]",
    **dict.fromkeys(
        ("baseline", "baseline.policy", "baseline.misses"),
        "expect: [{metric: offset_abs_p95_ms, at_most: 45}]\n"
        "baseline: {policy: two_clocks, misses: [offset_abs_p95_ms]}",
    ),
}
"""Keys whose example is a line of its own."""

LIMITS: dict[str, str] = {
    "offset_abs_p50_ms": "20", "offset_abs_p95_ms": "45", "offset_abs_p99_ms": "80", "offset_abs_max_ms": "125",
    "offset_lead_p95_ms": "45", "offset_lag_p95_ms": "60", "outside_bt1359_pct": "1", "measured_pct": "95",
    "measured_or_degraded_pct": "97", "no_picture_pct": "2", "degraded_pct": "1", "settle_ms": "3000",
    "recovery_ms": "1000", "pts_violations": "0", "stale_units_leaked": "0", "interrupt_to_silence_ms": "60",
    "frames_dropped_pct": "2", "frames_repeated_pct": "5", "freeze_longest_ms": "500", "content_heard_pct": "99",
    "late_packets": "5", "silence_inserted_ms": "200", "added_latency_p50_ms": "60", "added_latency_p95_ms": "100",
    "latency_p50_ms": "120", "latency_p95_ms": "400",
    "delay_grown_ms": "360", "latency_growth_ms_per_min": "5", "jitter_buffer_p50_ms": "100", "queue_peak_units": "200",
    "receiver_target_p95_ms": "240",
    "monitor_error_p95_ms": "15", "monitor_known_pct": "95", "drift_error_ppm": "20", "alerts_missed": "0",
    "alerts_false": "0", "scorer_error_p95_ms": "80", "scorer_right_pct": "80", "scorer_answered_pct": "80",
    "scorer_sure_pct": "50", "scorer_sure_right_pct": "95",
}  # fmt: skip
"""A value that a limit on this metric could have."""

POLICY_FIELDS: dict[str, str] = {
    "name": "mine", "master": "video", "pacing": "fps_paced", "epochs": "false", "pause_passes": "false",
    "playout_delay_ms": "120", "late_video_ms": "60", "jitter_start_ms": "120",
}  # fmt: skip
"""What a field of a policy could be, where its default would be no example."""


def of_key(name: str) -> str:
    """YAML for a dotted key, with its parents around it."""
    if name in WHOLE:
        return WHOLE[name]
    *parents, key = name.split(".")
    text = f"{key}: {KEYS[name]}"
    for parent in reversed(parents):
        text = f"{parent}: {{{text}}}"
    bridged = name.startswith(("network.to_bridge", "clocks.bridge", "source.acknowledges"))
    return f"topology: provider_bridge\n{text}" if bridged else text


def of_step(name: str) -> str:
    """YAML for a step, or for one key of it (``stall.resume``)."""
    step, _, key = name.partition(".")
    more = f", {key}: {STEP_KEYS[name]}" if name in STEP_KEYS else ""
    return f"steps: [{{{STEPS[step]}{more}}}]"
