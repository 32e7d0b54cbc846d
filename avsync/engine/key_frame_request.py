"""Key-frame requests: once a picture that others need is gone, only a key frame helps.

What depends on a dropped picture cannot be shown (the decoder would smear it), so nothing passes
until the next key frame, and the source is asked for one, again while none comes.
"""

from __future__ import annotations

from typing import Final

from avsync.types import MediaUnit, Reason, Request, Want
from avsync.units import ms

KEYFRAME_AGAIN_NS: Final = ms(500)
"""A key frame takes about a round trip and an encode to come; asked for sooner, it would come twice."""


class KeyframeRequest:
    """``dropped`` each picture that is not shown; ``admits`` says which one can be."""

    def __init__(self, levers: frozenset[Want]) -> None:
        self._may_ask = Want.KEYFRAME in levers
        self._asked_ns: int | None = None
        self._asked_epoch = -1
        self._key = (-1, -1)  # epoch and PTS of the last one admitted
        self.needed = False
        """Nothing but a key frame can be shown."""

    def dropped(self, unit: MediaUnit, now_ns: int) -> Request | None:
        """``unit`` will not be shown. The request, if others need it and none was made a moment ago."""
        if unit.droppable:
            return None
        self.needed = True
        asked = self._asked_ns
        # A key frame of the turn before, if it came, is of no use to this one.
        lately = asked is not None and now_ns - asked < KEYFRAME_AGAIN_NS and unit.epoch <= self._asked_epoch
        if not self._may_ask or lately:
            return None
        self._asked_ns, self._asked_epoch = now_ns, unit.epoch
        return Request(Want.KEYFRAME, 0, now_ns, unit.epoch, Reason.DEPENDENCY)

    def admits(self, unit: MediaUnit) -> bool:
        """Can it be decoded? A key frame always, and ends the need for one."""
        if self.needed and not unit.is_key:
            return False
        self.needed = False
        if unit.is_key:
            self._key = (unit.epoch, unit.pts_ns)
        return True

    def before_key(self, unit: MediaUnit) -> bool:
        """Has a key frame after it been admitted? Then nothing that is still to come needs it."""
        return (unit.epoch, unit.pts_ns) < self._key

    def rebase(self) -> None:
        """The timeline began again: no PTS of before can be held against one of now."""
        self._key = (-1, -1)
