"""Following faces: with a detector and a mesh that are told where faces are, and with the real models."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
pytest.importorskip("PIL")
pytest.importorskip("cv2")

import importlib.metadata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError, UsageError
from avsync.scorer.tracking import face_models
from avsync.scorer.tracking.face_detector import Box, FaceNet, distinct, even_anchors, layered_anchors, overlap, tiles
from avsync.scorer.tracking.face_mesh import FaceMesh, Meshed
from avsync.scorer.tracking.face_tracker import SEARCH_EAGER, SEARCH_EMPTY_EVERY, SEARCH_EVERY, FaceTracker
from avsync.scorer.tracking.warp import Square, cut_square, shrink_into
from tests.scorer.tracking.drawn_face import draw_face, needs_models, scene

PICTURE = np.zeros((360, 640, 3), np.uint8)


class Stage:
    """Faces at known places: a finder and a mesh that see them, and count how often they are asked."""

    def __init__(self) -> None:
        self.people: dict[str, tuple[float, float, float]] = {}  # x, y, width
        self.searches = 0

    def find(self, picture: np.ndarray) -> list[Box]:
        self.searches += 1
        return [Box(x, y, width, width, 0.0, 0.9) for x, y, width in self.people.values()]

    def mesh(self, picture: np.ndarray, square: Square) -> Meshed:
        for x, y, width in self.people.values():
            if max(abs(square.x - x), abs(square.y - y)) < width / 2 and 0.5 < square.side / (1.5 * width) < 2:
                landmarks = np.zeros((468, 2), np.float32)
                landmarks[:] = (x, y)
                landmarks[:4] = [(x - width / 2, y - width / 2), (x + width / 2, y + width / 2)] * 2
                landmarks[33], landmarks[263] = (x - width / 4, y), (x + width / 4, y)
                return Meshed(landmarks, 0.99)
        return Meshed(np.full((468, 2), square.x, np.float32), 0.01)

    def tracker(self, **options: int) -> FaceTracker:
        return FaceTracker(finder=self, mesh=self.mesh, **options)


def numbers(tracker: FaceTracker) -> list[int]:
    return [face.number for face in tracker.track(PICTURE)]


def test_a_face_is_followed_without_searching_for_it_again() -> None:
    stage = Stage()
    tracker = stage.tracker()
    for step in range(SEARCH_EVERY):
        stage.people["ann"] = (100 + 3 * step, 100, 60)
        face = tracker.track(PICTURE)[0]
        assert face.number == 1 and face.landmarks[10, 0] == 100 + 3 * step and face.width_px == 60
    assert stage.searches == 1


def test_two_faces_keep_their_numbers_when_they_change_places() -> None:
    stage = Stage()
    tracker = stage.tracker()
    for step in range(80):
        stage.people = {"ann": (100 + 5 * step, 100, 60), "bob": (500 - 5 * step, 220, 60)}
        faces = {face.number: float(face.landmarks[10, 0]) for face in tracker.track(PICTURE)}
        assert faces == {1: 100 + 5 * step, 2: 500 - 5 * step}


def test_a_face_that_comes_back_to_its_place_gets_its_number_back() -> None:
    stage = Stage()
    tracker = stage.tracker()
    stage.people = {"ann": (100, 100, 60)}
    assert numbers(tracker) == [1]
    stage.people = {"bob": (400, 100, 60)}  # a cut
    assert numbers(tracker) == [2]
    stage.people = {"ann": (104, 98, 62)}
    assert numbers(tracker) == [1]
    stage.people = {"carol": (250, 250, 60)}
    assert numbers(tracker) == [3]


def test_a_new_face_is_noticed_within_the_time_between_searches() -> None:
    stage = Stage()
    tracker = stage.tracker()
    stage.people = {"ann": (100, 100, 60)}
    assert numbers(tracker) == [1]
    stage.people["bob"] = (400, 100, 60)
    assert [numbers(tracker) for _ in range(SEARCH_EVERY)][-1] == [1, 2]


def test_an_empty_scene_is_searched_now_and_then_only() -> None:
    stage = Stage()
    tracker = stage.tracker()
    for _ in range(100):
        assert numbers(tracker) == []
    assert stage.searches <= SEARCH_EAGER + 100 / SEARCH_EMPTY_EVERY
    stage.people = {"ann": (100, 100, 60)}
    assert [1] in [numbers(tracker) for _ in range(SEARCH_EMPTY_EVERY)]


def test_only_the_largest_faces_of_a_crowd_are_followed() -> None:
    stage = Stage()
    stage.people = {str(n): (60 + 60 * n, 100, 20 + 4 * n) for n in range(9)}
    faces = stage.tracker(faces_max=3).track(PICTURE)
    assert [round(face.width_px) for face in faces] == [44, 48, 52]


def test_a_mesh_that_jumps_onto_a_neighbour_is_not_the_same_face() -> None:
    stage = Stage()
    tracker = stage.tracker()
    stage.people = {"ann": (100, 100, 60), "bob": (150, 100, 60)}
    assert numbers(tracker) == [1, 2]
    del stage.people["ann"]
    stage.people["bob"] = (125, 100, 60)  # between both places, so that both meshes take him
    for _ in range(3):
        assert len(numbers(tracker)) == 1


def test_a_mesh_that_answers_from_far_away_has_lost_its_face() -> None:
    stage = Stage()
    stage.people = {"ann": (100, 100, 60)}
    tracker = FaceTracker(finder=stage, mesh=lambda picture, square: stage.mesh(picture, Square(*place, 90, 0.0)))
    place = (100.0, 100.0)
    assert numbers(tracker) == [1]
    stage.people = {"bob": (400, 100, 60)}
    place = (400.0, 100.0)
    assert numbers(tracker) == [2]


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(
        st.lists(st.tuples(st.integers(0, 640), st.integers(0, 360), st.integers(10, 300)), max_size=6), max_size=30
    )
)
def test_whatever_happens_faces_are_few_and_no_number_is_given_twice(history: list[list[tuple[int, int, int]]]) -> None:
    stage = Stage()
    tracker = stage.tracker()
    for people in history:
        stage.people = {str(n): person for n, person in enumerate(people)}
        seen = numbers(tracker)
        assert len(seen) <= 4 and seen == sorted(set(seen))


def test_a_tracker_for_nobody_is_refused() -> None:
    with pytest.raises(UsageError, match="faces_max"):
        FaceTracker(faces_max=0)


def test_tiles_cover_the_picture_and_overlap() -> None:
    for width, height in ((1280, 720), (720, 1280), (640, 640), (1920, 1080), (4000, 700), (1, 1), (641, 640)):
        squares = tiles(width, height)
        covered = np.zeros((height, width), bool)
        for left, top, side in squares:
            assert 0 <= left <= width - side and 0 <= top <= height - side
            covered[top : top + side, left : left + side] = True
        assert len(squares) <= 4
        assert covered.all() or max(width, height) > 4 * min(width, height)
    assert len(tiles(1280, 720)) == 2


def test_one_face_seen_twice_is_one_and_neighbours_stay_two() -> None:
    best, same, other = Box(10, 10, 8, 8, 0, 0.9), Box(11, 10, 8, 8, 0, 0.7), Box(20, 10, 8, 8, 0, 0.6)
    assert distinct([same, other, best]) == [best, other]
    assert overlap(best, best) == 1 and overlap(best, other) == 0
    around = Box(12, 12, 20, 20, 0, 0.5)
    assert distinct([around, best]) == [best]


def test_a_detection_is_placed_where_the_net_saw_it() -> None:
    # The net answers at the anchor of row 2, column 3 of its first grid, eyes level, box 32 of 128 pixels wide.
    raw, logits = np.zeros((896, 16), np.float32), np.full((896, 1), -9.0, np.float32)
    index = (2 * 16 + 3) * 2
    raw[index, :8] = (0, 0, 32, 32, -8, 0, 8, 0)
    logits[index] = 3.0
    (box,) = FaceNet(lambda batch: [raw, logits], 128, layered_anchors())(np.zeros((640, 1280, 3), np.uint8))
    assert (box.x, box.y, box.width) == pytest.approx((35 / 160 * 1280, 25 / 160 * 1280, 320))
    assert box.angle == 0 and box.score == pytest.approx(0.9526, abs=1e-3)


def test_anchors_are_the_centres_of_cells_row_by_row() -> None:
    assert even_anchors(48).shape == (2304, 2) and layered_anchors().shape == (896, 2)
    assert even_anchors(4)[:2].tolist() == [[0.125, 0.125], [0.375, 0.125]]
    assert np.array_equal(layered_anchors()[0], layered_anchors()[1])


def test_a_square_is_cut_turned_and_scaled_about_its_centre() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[90:110, 120:140] = 255  # right of the middle
    level = cut_square(picture, Square(100, 100, 80, 0.0), 40)
    turned = cut_square(picture, Square(100, 100, 80, np.pi / 2), 40)
    assert level[20, 35].min() > 200 and level[20, 5].max() < 50
    assert turned[5, 20].min() > 200 and turned[35, 20].max() < 50  # its top edge points down, so right is up
    centre = np.argwhere(level[..., 0] > 127).mean(axis=0) + 0.5
    assert centre == pytest.approx((20, 35), abs=0.2)


def test_a_square_far_larger_than_its_target_is_averaged() -> None:
    stripes = np.zeros((960, 960, 3), np.uint8)
    stripes[:, ::2] = 255
    small = cut_square(stripes, Square(480, 480, 900, 0.0), 96)
    assert abs(float(small.mean()) - 127.5) < 3 and float(small.std()) < 40


@pytest.mark.parametrize(
    "square",
    [Square(float("nan"), 0, 10, 0), Square(-500, 20, 10, 0), Square(5, 5, 0, 0), Square(5, 5, float("inf"), 0)],
)
def test_a_square_that_lies_nowhere_is_black(square: Square) -> None:
    assert not cut_square(np.full((20, 20, 3), 255, np.uint8), square, 8).any()


@settings(max_examples=60, deadline=None)
@given(
    square=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-10, 1e4), st.floats(-7, 7)),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_any_square_of_any_picture_can_be_cut(
    square: tuple[float, float, float, float], height: int, width: int
) -> None:
    picture = np.full((height, width, 3), 9, np.uint8)
    assert cut_square(picture, Square(*square), 8).shape == (8, 8, 3)
    assert shrink_into(picture, 16)[0].shape == (16, 16, 3)


def test_the_mesh_is_placed_in_the_picture_as_its_square_was() -> None:
    corners = np.zeros((468, 3), np.float32)
    corners[1] = (192, 0, 0)
    mesh = FaceMesh(lambda batch: [corners.ravel(), np.array([[[0.0]]], np.float32)])
    landmarks, presence = mesh(np.zeros((50, 50, 3), np.uint8), Square(100, 50, 40, np.pi / 2))
    assert presence == 0.5
    assert landmarks[0] == pytest.approx((120, 30)) and landmarks[1] == pytest.approx((120, 70))


def test_a_missing_wheel_is_answered_with_the_one_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(face_models.importlib.metadata, "files", gone)
    face_models._content.cache_clear()
    with pytest.raises(InputError, match="not installed") as refused:
        face_models.load_model(face_models.MESH)
    assert refused.value.remedy == f"run: {face_models.INSTALL}" and "--no-deps" in face_models.INSTALL


def test_a_model_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    other = tmp_path / face_models.MESH
    other.write_bytes(b"another model")
    monkeypatch.setattr(face_models, "_path", lambda name: other)
    face_models._content.cache_clear()
    with pytest.raises(InputError, match="sha256"):
        face_models._content(face_models.MESH)
    face_models._content.cache_clear()


@pytest.fixture(autouse=True)
def fresh_models():
    yield
    face_models._content.cache_clear()


@needs_models
@pytest.mark.parametrize("width", [48, 64, 96, 150])
def test_real_models_find_a_small_face_in_a_large_picture(width: int) -> None:
    picture = scene((700, 300, draw_face(width)), size=(1280, 720))
    (face,) = FaceTracker().track(picture)
    assert face.width_px == pytest.approx(width, rel=0.15)
    x, y = face.landmarks.mean(axis=0)
    middle = 0.5 * width * 400 / 208
    assert abs(x - 700 - middle) < 0.2 * width and abs(y - 300 - middle) < 0.3 * width


@needs_models
def test_real_models_follow_two_faces_and_see_a_mouth_open_at_once() -> None:
    # A smoothed track would show the opening late: here it is there in its very picture, and gone in the next.
    tracker = FaceTracker()
    openings = [0.0, 0.0, 0.0, 0.8, 0.0, 0.0]
    measured = []
    for step, opening in enumerate(openings):
        picture = scene((20 + 2 * step, 60, draw_face(110, opening=opening)), (340, 60, draw_face(110)))
        faces = tracker.track(picture)
        assert [face.number for face in faces] == [1, 2]
        measured.append([float(np.linalg.norm(face.landmarks[13] - face.landmarks[14])) / 110 for face in faces])
    first = [one for one, _ in measured]
    assert first[3] > 3 * max(first[2], first[4]) and abs(first[4] - first[2]) < 0.02
    assert max(other for _, other in measured) < first[3] / 2


@needs_models
def test_real_models_say_nothing_of_a_picture_without_a_face(capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    tracker = FaceTracker()
    for picture in (noise, PICTURE, np.zeros((1, 1, 3), np.uint8), np.full((16, 900, 3), 90, np.uint8)):
        assert tracker.track(picture) == ()
    assert capfd.readouterr().err == ""
