"""The lip-sync scorer: the offset that no timestamp shows, from pictures of a mouth and sound.

Its rooms, each of which imports from those above it only, at the top, in functions and for types alike:

    signal, threads, features    the answer's type; sound and pictures as numbers on cells of 20 ms
    nets, calibration            networks, their weights, what runs them; each method's bias and confidence curve
    tracking, backends           a file to faces and mouth crops; pictures and sound to embeddings
    matching                     which lag fits best, and how far that may be believed
    gpu, stream                  blocks as one program of tensors; sound and pictures as they come
    scorer                       blocks, windows, streams: what a service calls
    score                        `avsync score`: a clip to a verdict
    evaluation                   `avsync scorer evaluate` and `calibrate`: real clips with a known offset
    synthetic (features alone)   speech and faces that are made
    training                     `avsync scorer train`

Nothing above `evaluation` needs what begins there. `command` names the subcommands and imports the one that is run.
"""

from avsync.scorer.backends.backend import Backend
from avsync.scorer.matching.stream_buffers import StreamCounts
from avsync.scorer.scorer import Block, LipSyncScorer
from avsync.scorer.signal import Label, LipSyncSignal, Method
from avsync.scorer.stream import LipSyncStream, ScoredSegment

__all__ = [
    "Backend",
    "Block",
    "Label",
    "LipSyncScorer",
    "LipSyncSignal",
    "LipSyncStream",
    "Method",
    "ScoredSegment",
    "StreamCounts",
]
