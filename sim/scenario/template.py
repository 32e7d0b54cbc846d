"""The scenario that ``avsync new`` writes: a whole call in few lines, each with its reason. It passes as it is."""

from __future__ import annotations

TEMPLATE = """\
# What happens in a call, and what must be true of it. Run it:   avsync run {file}
# See it before it runs:                                         avsync show {file}
# What a word means, with an example:                            avsync explain stall
# For completion in an editor: avsync list schema > scenario.schema.json, and make this the first line:
#   # yaml-language-server: $schema=scenario.schema.json
avsync: 1
about: The avatar talks, its pictures stop for half a second, and the listener interrupts once.

# How long the call is in virtual time, and one run for each seed: chance is drawn from it.
duration_s: 30
seeds: [1, 2]

# Who watches: a browser, a viewer with our engine in it, or both (each judged in its own right).
viewer: both

# A policy's name (avsync list policies), or what differs from one: {{preset: default, playout_delay_ms: 120}}.
policy: default

# The generator. Turns of 8 s with a second between them; its pictures can be asked to skip when they are late.
source:
  turns: {{talk_s: 8, gap_s: 1}}
  video: {{fps: 25, can_skip: true}}

# The way to the viewer: 40 ms, jitter (sigma 10 ms), one packet in 200 lost. Or: preset: webrtc-3g-average.
network:
  to_viewer: {{delay_ms: 40, jitter_ms: 10, loss: 0.005}}

# What happens, and when (avsync list steps).
steps:
  - {{at_s: 5, do: stall, only: video, for_s: 0.5}}
  - {{at_s: 20, do: interrupt}}

# What must be true (avsync list metrics). Plain names are measured at the viewer, output_... where media leaves us.
expect:
  - {{metric: output_offset_abs_p95_ms, at_most: 25}}
  - {{metric: offset_abs_p95_ms, at_most: 60}}
  - {{metric: recovery_ms, at_most: 1500}}
  - {{metric: output_stale_units_leaked, at_most: 0}}

# Is it hard at all? Name a policy that must miss one of these limits, and it is proved with every run:
# baseline: {{policy: fps_paced, misses: [output_offset_abs_p95_ms]}}
"""


def scenario_text(file: str) -> str:
    """The text of a new scenario that will lie in ``file``."""
    return TEMPLATE.format(file=file)
