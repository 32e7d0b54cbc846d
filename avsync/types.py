"""Types: what goes in (``MediaUnit``), what the engine wants (answers), what a sink did (``Presented``).

Command and observation are different types: ``Present`` is a wish, ``Presented`` a fact with
the sink's own time. Only facts reach the monitor.

These are NamedTuples, not frozen dataclasses: three are made per media unit, and a frozen
dataclass of nine fields costs about four times as much to construct. They are as immutable.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple

from avsync.units import ms


class Kind(Enum):
    """Which of the two streams. Sound is audio whatever is said in it; a picture is video, also a still one."""

    AUDIO = "audio"
    VIDEO = "video"


AUDIO: Final = Kind.AUDIO
VIDEO: Final = Kind.VIDEO


class MediaUnit(NamedTuple):
    """One audio chunk or one video frame, stamped with its place in the content. Made by ``AvSyncClock``.

    ``seq``: counts up per kind. ``epoch``: the turn it belongs to. ``duration_ns``: how long its content lasts.
    ``pts_ns``: position in what is said; strictly increasing per kind, never reset by a turn.
    ``is_key``: decodable alone. Raw frames and sound always are.
    ``droppable``: nothing that follows depends on it. Raw frames and sound always are.
    ``pause``: the source's mark (an Opus DTX packet, a muted track): from ``pts_ns`` on nothing
    is said until the next unit's PTS. The content passes meanwhile; it is not a stall.
    ``payload`` is carried, never looked at.
    """

    kind: Kind
    seq: int
    epoch: int
    pts_ns: int
    duration_ns: int
    size_bytes: int = 0
    is_key: bool = True
    droppable: bool = True
    pause: bool = False
    payload: Any = None


class DropReason(Enum):
    """Why a unit was not presented. Every pushed unit ends as exactly one Present or one Drop."""

    STALE_EPOCH = "stale_epoch"
    """Said before an interrupt."""
    DUPLICATE = "duplicate"
    """This PTS (or sequence number) was already accepted."""
    LATE = "late"
    """Beyond the late bound with nothing to be gained by showing it."""
    LATE_NEWER = "late_newer"
    """Late, and a newer frame is due."""
    STAMP_ORDER = "stamp_order"
    """Its stamp is not after the last one sent."""
    DEPENDENCY = "dependency"
    """A frame it needs was dropped."""
    QUEUE_FULL = "queue_full"
    """The bounded queue pushed out its oldest."""
    DISCONTINUITY = "discontinuity"
    """Older than a re-anchored timeline."""
    BAD_PTS = "bad_pts"
    """NaN, not an int, negative or absurdly far away."""
    SHRINK = "shrink"
    """Silence given up to bring a grown delay back down."""
    QUARANTINE = "quarantine"
    """A provider's media between an interrupt and the next turn's mark."""
    CLOSED = "closed"
    """Still queued when the engine was closed."""


class Reason(Enum):
    """Why the engine answered as it did, for every answer but Drop."""

    DUE = "due"
    """At its time."""
    LATE = "late"
    """Shown late, under its own stamp."""
    FIRST = "first"
    """Starts a turn."""
    ON_ARRIVAL = "on_arrival"
    """An open-loop baseline policy."""
    IDLE = "idle"
    """No turn is being spoken."""
    WAITING = "waiting"
    """A turn has begun, its playout delay is not over."""
    UNDERRUN = "underrun"
    """The sound ran out unannounced: the content clock stops."""
    LOSS = "loss"
    """A gap in the sound: the content clock passes."""
    PAUSE = "pause"
    """A marked pause: the content clock passes."""
    HOLD = "hold"
    """The voice waits for the picture (video master)."""
    MISSING = "missing"
    """No fresh frame where one was due."""
    BEHIND = "behind"
    """The source's pictures are late and nothing newer has come."""
    SLOW = "slow"
    """Lateness returned: the source cannot keep its rate."""
    RECOVERED = "recovered"
    """What was wrong is over: lips are back, a lowered rate is given back."""
    INTERRUPTED = "interrupted"
    """Somebody interrupted: no mouth of the old turn stays."""
    DEPENDENCY = "dependency"
    """A picture that others need was dropped: only a key frame helps."""


class Present(NamedTuple):
    """Play this sound or show this picture now. ``stamp_ns``: its output time, for RTP and sender reports.

    ``at_ns``: when it was decided (a sound: when its slot begins); ``stamp_ns - at_ns`` > 0: answered early.
    ``stretch_ppm`` (sound only): play it this much faster (> 0), so that it lasts
    ``duration * 1e6 / (1e6 + stretch_ppm)``; a slow rate correction by resampling.
    """

    unit: MediaUnit
    at_ns: int
    stamp_ns: int
    epoch: int
    reason: Reason
    stretch_ppm: int = 0


class Repeat(NamedTuple):
    """Show the picture on screen once more, stamped ``stamp_ns`` (output time). Never of a stale epoch."""

    unit: MediaUnit
    at_ns: int
    stamp_ns: int
    epoch: int
    reason: Reason


class InsertSilence(NamedTuple):
    """Nothing to play for ``duration_ns`` from ``at_ns`` on.

    ``reason``: with ``UNDERRUN`` and ``HOLD`` the content clock stands, with ``LOSS`` and ``PAUSE`` the content
    passes, with ``IDLE``, ``WAITING`` and ``INTERRUPTED`` there is none.
    """

    at_ns: int
    stamp_ns: int
    duration_ns: int
    epoch: int
    reason: Reason


class Drop(NamedTuple):
    """This unit will never be presented; ``reason`` says why. Sound and pictures alike, each at most once."""

    unit: MediaUnit
    at_ns: int
    epoch: int
    reason: DropReason


class Degrade(NamedTuple):
    """Level 0: lips. 1: the last picture is repeated. 2: show the idle picture (neutral mouth)."""

    level: int
    at_ns: int
    epoch: int
    reason: Reason


class Want(Enum):
    """What a source can be asked for (``Request``), and what an engine is told that it can do (``levers``)."""

    SKIP_TO_PTS = "skip_to_pts"
    """Value: ns of content."""
    FPS = "fps"
    """Value: frames per second; 0 gives the nominal rate back."""
    BITRATE = "bitrate"
    """Value: bits per second; 0 gives the nominal rate back."""
    KEYFRAME = "keyframe"
    """Value: 0."""


class Request(NamedTuple):
    """What the source is asked to do: ``value`` in the unit that ``Want`` names.

    It may not be able to; nothing depends on an answer.
    """

    want: Want
    value: int
    at_ns: int
    epoch: int
    reason: Reason


class Alert(NamedTuple):
    """Something a person should know. ``active`` False ends it; ``times`` sums up what was not repeated.

    ``value``: in the unit of what ``name`` watches; ``stall_video`` and ``stall_audio`` in ns, offsets in ns (> 0, by
    how much), ``drift`` in ppm.
    """

    name: str
    active: bool
    at_ns: int
    epoch: int
    value: int
    times: int = 1


Answer = Present | Repeat | InsertSilence | Drop | Degrade | Request | Alert
"""All that ``AvSynchronizer.poll`` can answer, but for None: a closed set, so a ``match`` over it can be complete."""


class ObservedBy(Enum):
    """Who says that something was presented, from the most to the least trustworthy."""

    DEVICE = "device"
    """The speaker or screen itself, or who hands over to it."""
    RVFC = "rvfc"
    """A browser's requestVideoFrameCallback: when a picture is composed."""
    STATS = "stats"
    """A browser's getStats: what its receivers say they play."""
    SIM = "sim"
    """The lab's sink."""
    SCHEDULED = "scheduled"
    """Nobody looked: the engine's own plan."""


class Basis(Enum):
    """What the places of sound and pictures in the content rest on; a belief about the offset is no better."""

    STAMPS = "stamps"
    """One clock of ours stamped both."""
    REPORTS = "reports"
    """Sender reports of somebody else's clock."""
    ARRIVAL = "arrival"
    """When each arrived: without reports a longer way of one of them passes for its content."""


class Heard(Enum):
    """What was observed of the output for a while, of sound and pictures alike."""

    CONTENT = "content"
    """Sound of the content, or a fresh picture."""
    REPEAT = "repeat"
    """The same picture again."""
    STOPPED = "stopped"
    """Silence in which the content clock stands."""
    PASSING = "passing"
    """Silence, loss or concealment over which the content passes."""
    IDLE = "idle"
    """Idle picture, or silence outside any turn."""


class Presented(NamedTuple):
    """What a sink did, in the sink's own time. ``pts_ns`` is None where no content was involved.

    Sound: ``at_ns`` is when its first sample left, ``duration_ns`` how long it takes to leave.
    Picture: ``at_ns`` is when it came on screen (or left us), ``duration_ns`` the frame's own.
    """

    kind: Kind
    epoch: int
    pts_ns: int | None
    duration_ns: int
    at_ns: int
    source: ObservedBy
    what: Heard = Heard.CONTENT


MAX_PTS_NS: Final = ms(1000) * 86_400 * 365
"""A year of content. Anything beyond is a broken source, not a long talk."""
