"""The words of the docs, the tables and the reports that are no key, step or metric: a sentence or two each.

``avsync explain`` and ``avsync list words`` read them here, and so does the site's reference.
"""

from __future__ import annotations

WORDS: dict[str, str] = {
    "offset": (
        "How far apart sound and picture of the same content are: audio - video. Positive: the voice is ahead "
        "of the lips."
    ),
    "truth": (
        "What really left or was really seen and heard, and which content it was. Only a simulation knows it, "
        "and verdicts look at nothing else."
    ),
    "belief": (
        "What the SDK's monitor says from what it can observe in a real call too. Columns that begin with "
        "believed_, beside the truth, never limited."
    ),
    "output": (
        "Our own output: where sound and pictures leave for the viewer. A metric there begins with output_; "
        "without it, it is measured at the viewer."
    ),
    "guard": (
        "A limit that every scenario holds without naming it: where expect limits the metric itself, or the "
        "file is tagged reference, it does not apply."
    ),
    "fault": (
        "A step that makes things worse from a start to an end, or for good: its end is then where it starts. "
        "Interrupts, marked pauses, mutes and changes of rate belong to a normal call and are none."
    ),
    "clear": (
        "A window of a limit: away from faults, which means outside each one and the second after it, and, at "
        "a viewer, after the first 5 s."
    ),
    "after_fault": "A window of a limit: the 5 s that begin 1 s after each fault's end.",
    "leg": (
        "One part of the way of the media: source (the hand-over from the generator), to_bridge (provider to "
        "bridge) or to_viewer (us to the viewer)."
    ),
    "turn": "What the avatar says in one go, from its first sound to its last, or to an interrupt.",
    "epoch": (
        "A number that each unit carries. An interrupt begins a new one, and nothing of an older one leaves any more."
    ),
    "unit": "A piece of media as it is handed over: some milliseconds of sound, or one picture.",
    "UNKNOWN": (
        "Too little was measured for a number, fewer than 20 values for a percentile. It is never 0, and a "
        "limit on it is missed."
    ),
}
