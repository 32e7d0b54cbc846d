"""Following faces: which face is which from picture to picture, and its 468 points in each.

Once found, a face is followed by its own mesh alone (2 ms a picture). It is looked for again where it is lost, and the
whole picture is searched now and then for new ones. A face keeps its number while it is followed and gets it back where
it reappears in its old place; numbers count from 1 in the order of appearance, from the left within a picture.
Landmarks are those of each picture alone: never smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from avsync.errors import UsageError
from avsync.scorer.features.cells import Floats
from avsync.scorer.tracking.face_detector import Box, FaceFinder, overlap
from avsync.scorer.tracking.face_mesh import FaceMesh, Meshed, box_of, next_square
from avsync.scorer.tracking.warp import Rgb, Square

FOLLOWED_MAX: Final = 4
"""So many faces are followed at once, the largest first: each costs a mesh a picture."""
REMEMBERED_MAX: Final = 16
"""Lost faces whose places are remembered, the last ones."""
PRESENCE_MIN: Final = 0.4
"""The mesh's own belief that it sees a face; below, the face is lost."""
SAME_PLACE: Final = 0.5
"""A face that shares so much of the smaller one's area with the place of another is the same face."""
MOVED_MAX: Final = 0.8
"""The centre of a face moves less than so much of its size from one picture to the next, or it is not the same face."""
SEARCH_EVERY: Final = 40
"""Pictures between searches while faces are followed: costs 0.2 ms a picture."""
SEARCH_EMPTY_EVERY: Final = 5
"""Pictures between searches while there is none, after the first `SEARCH_EAGER`."""
SEARCH_EAGER: Final = 3
"""Searches in a row, one a picture, before a scene is taken for empty."""


class FaceLandmarks(NamedTuple):
    """One face in one picture. landmarks: float32 (468, 2) in pixels of the full picture."""

    number: int
    landmarks: Floats
    presence: float

    @property
    def width_px(self) -> float:
        return float(self.landmarks[:, 0].max() - self.landmarks[:, 0].min())


class Finder(Protocol):
    def find(self, picture: Rgb) -> list[Box]: ...


Mesh = Callable[[Rgb, Square], Meshed]


class FaceTracker:
    """Give it every picture of one clip, in order. Not for two threads at a time.

    Raises ``InputError`` with the install line where the models are missing.
    """

    def __init__(
        self, *, faces_max: int = FOLLOWED_MAX, finder: Finder | None = None, mesh: Mesh | None = None
    ) -> None:
        if faces_max < 1:
            raise UsageError(f"faces_max must be >= 1, got {faces_max}")
        self._faces_max = faces_max
        self._finder: Finder = finder or FaceFinder()
        self._mesh: Mesh = mesh or FaceMesh()
        self._followed: list[FaceLandmarks] = []
        self._lost: list[tuple[int, Box]] = []  # the last one at the end
        self._next_number = 1
        self._until_search = 0
        self._empty_searches = 0

    def track(self, picture: Rgb) -> tuple[FaceLandmarks, ...]:
        """picture: uint8 (H, W, 3) RGB. Returns the faces in it, in the order of their numbers."""
        before = self._followed
        self._followed = self._follow(picture, before)
        self._until_search -= 1
        if len(self._followed) < len(before) or self._until_search <= 0:
            self._search(picture)
        self._followed.sort(key=lambda face: face.number)
        return tuple(self._followed)

    def _follow(self, picture: Rgb, faces: list[FaceLandmarks]) -> list[FaceLandmarks]:
        kept: list[FaceLandmarks] = []
        for face in faces:
            old = box_of(face.landmarks)
            meshed = self._mesh(picture, next_square(face.landmarks))
            new = box_of(meshed.landmarks)
            far = max(abs(new.x - old.x), abs(new.y - old.y)) > MOVED_MAX * max(old.width, old.height)
            twice = any(overlap(new, box_of(other.landmarks)) >= SAME_PLACE for other in kept)
            if meshed.presence < PRESENCE_MIN or far or twice:
                self._lost = [*self._lost, (face.number, old)][-REMEMBERED_MAX:]
            else:
                kept.append(FaceLandmarks(face.number, meshed.landmarks, meshed.presence))
        return kept

    def _search(self, picture: Rgb) -> None:
        boxes = self._finder.find(picture)
        fresh: list[Meshed] = []
        for box in sorted(boxes, key=lambda box: -box.width):
            taken = [box_of(face.landmarks) for face in self._followed] + [box_of(face.landmarks) for face in fresh]
            if len(taken) >= self._faces_max:
                break
            if any(overlap(box, other) >= SAME_PLACE for other in taken):
                continue
            meshed = self._settle(picture, box)
            if meshed is not None and all(overlap(box_of(meshed.landmarks), other) < SAME_PLACE for other in taken):
                fresh.append(meshed)
        for meshed in sorted(fresh, key=lambda face: float(face.landmarks[:, 0].min())):
            self._followed.append(FaceLandmarks(self._number_for(box_of(meshed.landmarks)), *meshed))
        self._empty_searches = 0 if self._followed else self._empty_searches + 1
        if self._followed:
            self._until_search = SEARCH_EVERY
        else:
            self._until_search = 1 if self._empty_searches < SEARCH_EAGER else SEARCH_EMPTY_EVERY

    def _settle(self, picture: Rgb, box: Box) -> Meshed | None:
        """A mesh from the detector's rough square, then from its own, as in every later picture."""
        first = self._mesh(picture, box.square())
        if first.presence < PRESENCE_MIN:
            return None
        second = self._mesh(picture, next_square(first.landmarks))
        return second if second.presence >= PRESENCE_MIN else None

    def _number_for(self, box: Box) -> int:
        for index in range(len(self._lost) - 1, -1, -1):
            number, place = self._lost[index]
            if overlap(box, place) >= SAME_PLACE:
                del self._lost[index]
                return number
        number, self._next_number = self._next_number, self._next_number + 1
        return number
