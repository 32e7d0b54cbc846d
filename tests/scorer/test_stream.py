"""The stream: however sound and pictures come in, the same blocks and windows come out, in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.scorer.backends.heuristic import HeuristicBackend
from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.features.cells import CELL_SAMPLES
from avsync.scorer.matching.gathering import Gathering, LagWindow
from avsync.scorer.matching.lag_search import search_offsets
from avsync.scorer.matching.media_features import sound_features
from avsync.scorer.matching.segment import CONTEXT_MS
from avsync.scorer.matching.stream_buffers import StreamCounts, StreamSound
from avsync.scorer.scorer import LipSyncScorer
from avsync.scorer.signal import LipSyncSignal
from avsync.scorer.stream import LipSyncStream, ScoredSegment
from avsync.units import ms, seconds
from tests.scorer.talking_story import FakeBackend, Talk

LAG_MS = 200
NS_PER_SAMPLE = 62_500


def stream(backend: Any = None, **options: Any) -> LipSyncStream:
    # Its own bias, whatever the calibration says: the stories below count pictures and samples.
    chosen = HeuristicBackend(bias_ms=0.0) if backend is None else backend
    return LipSyncStream(lambda given: chosen, search_offsets(), **options)


def at_once(talk: Talk, backend: Any = None, **options: Any) -> list[ScoredSegment]:
    one = stream(backend, **options)
    out = one.push_audio(talk.pcm, talk.pcm_pts_ns) + one.push_video(talk.rois, talk.pts_ns, 0, talk.landmarks)
    return out + one.flush()


def signals(scored: list[ScoredSegment], kind: str = "") -> list[LipSyncSignal]:
    return [each.signal for each in scored if kind in ("", each.kind)]


def in_pieces(
    talk: Talk, cuts: list[int], picture_cuts: list[int], order: list[bool], one: LipSyncStream
) -> list[ScoredSegment]:
    """Sound cut at samples, pictures at numbers, interleaved as `order` says (then the rest)."""
    edges, picture_edges = sorted({0, *cuts, len(talk.pcm)}), sorted({0, *picture_cuts, len(talk.pts_ns)})
    sound, pictures = list(pairwise(edges)), list(pairwise(picture_edges))
    out: list[ScoredSegment] = []
    for first in [*order, *[True] * len(sound), *[False] * len(pictures)]:
        if first and sound:
            a, b = sound.pop(0)
            out += one.push_audio(talk.pcm[a:b], talk.pcm_pts_ns + a * NS_PER_SAMPLE)
        elif not first and pictures:
            a, b = pictures.pop(0)
            out += one.push_video(talk.rois[a:b], talk.pts_ns[a:b], 0, talk.landmarks[a:b])
    return out + one.flush()


TALK = Talk(3.3, fps=30, ahead_ms=60)
WHOLE = {method: at_once(TALK, backend) for method, backend in (("fake", FakeBackend(7.0)), ("heuristic", None))}
WINDOWS_ALONE = at_once(TALK, block_ms=None)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, len(TALK.pcm) - 1), max_size=30),
    st.lists(st.integers(1, len(TALK.pts_ns) - 1), max_size=30),
    st.lists(st.booleans(), max_size=60),
    st.sampled_from(["fake", "heuristic", "windows alone"]),
)
def test_any_chunks_in_any_interleaving_give_the_same_results(
    cuts: list[int], picture_cuts: list[int], order: list[bool], which: str
) -> None:
    one = stream(FakeBackend(7.0) if which == "fake" else None, block_ms=None if which == "windows alone" else 400)
    wanted = WINDOWS_ALONE if which == "windows alone" else WHOLE[which]
    assert signals(in_pieces(TALK, cuts, picture_cuts, order, one)) == signals(wanted)


def test_windows_without_blocks_are_the_windows_beside_them() -> None:
    """Up to rounding: what is computed together differs."""
    beside = [each for each in WHOLE["heuristic"] if each.kind == "window"]
    assert {each.kind for each in WINDOWS_ALONE} == {"window"} and len(WINDOWS_ALONE) == len(beside)
    for alone, other in zip(WINDOWS_ALONE, beside, strict=True):
        assert (alone.signal.pts_ns, alone.signal.offset_ms) == (other.signal.pts_ns, other.signal.offset_ms)
        assert alone.scores is not None and other.scores is not None
        np.testing.assert_allclose(alone.scores.rho, other.scores.rho, atol=1e-5)


def test_a_stream_longer_than_its_statistics_depends_on_no_chunks_either() -> None:
    talk = Talk(9.4, fps=25)
    cuts, picture_cuts = list(range(0, len(talk.pcm), 1600)), list(range(0, len(talk.pts_ns), 3))
    one = stream(FakeBackend())
    pieces = in_pieces(talk, cuts[1:], picture_cuts[1:], [True, False] * 80, one)
    assert signals(pieces) == signals(at_once(talk, FakeBackend()))
    pictures_first = stream(FakeBackend())
    assert pictures_first.push_video(talk.rois, talk.pts_ns) == []
    out = pictures_first.push_audio(talk.pcm, talk.pcm_pts_ns) + pictures_first.flush()
    assert signals(out) == signals(pieces), "all at one push, with nothing forgotten between"


def test_with_the_real_networks_too() -> None:
    pytest.importorskip("torch")
    from avsync.errors import InputError
    from avsync.scorer.backends.load import load_backend

    try:
        nets = load_backend("fused")
    except InputError as missing:
        pytest.skip(str(missing))
    rng = np.random.default_rng(5)
    whole = at_once(TALK, nets)
    assert {each.signal.method for each in whole} == {"fused"}
    for _ in range(3):
        cuts, picture_cuts = rng.integers(1, len(TALK.pcm), 20).tolist(), rng.integers(1, 99, 20).tolist()
        assert signals(in_pieces(TALK, cuts, picture_cuts, (rng.random(40) < 0.5).tolist(), stream(nets))) == signals(
            whole
        )


def test_blocks_and_windows_lie_in_a_row() -> None:
    blocks, windows = signals(WHOLE["heuristic"], "block"), signals(WHOLE["heuristic"], "window")
    assert [each.pts_ns for each in blocks] == [ms(400) * n for n in range(len(blocks))]
    assert [each.duration_ns for each in blocks[:-1]] == [ms(400)] * (len(blocks) - 1)
    assert [(each.pts_ns, each.duration_ns) for each in windows] == [
        (0, seconds(1)),
        (seconds(1), seconds(1)),
        (seconds(2), seconds(1)),
        (ms(2300), seconds(1)),
    ]


def test_the_stream_finds_what_the_window_finds() -> None:
    talk = Talk(4.0, ahead_ms=80)
    for each in signals(at_once(talk), "window"):
        assert each.offset_ms is not None and abs(each.offset_ms - 80) <= 20
    alone = LipSyncScorer(HeuristicBackend(bias_ms=0.0)).score_window(
        talk.pcm, talk.rois[:25], fps=25, pcm_start_ms=-500, landmarks=talk.landmarks[:25]
    )
    first = signals(at_once(talk, gather_s=0.0), "window")[0]
    assert alone.offset_ms == first.offset_ms
    assert alone.score_best == pytest.approx(first.score_best, abs=0.05)


# ---- when


def test_a_block_comes_out_with_the_push_that_brings_the_last_of_its_sound() -> None:
    talk, one, step = Talk(3.0, before_ms=1000), stream(), 80
    assert one.push_video(talk.rois, talk.pts_ns) == [], "pictures alone say nothing"
    ready: dict[tuple[int, int], int] = {}
    for a in range(0, len(talk.pcm), step):
        end_ns = talk.pcm_pts_ns + (a + step) * NS_PER_SAMPLE
        for each in signals(one.push_audio(talk.pcm[a : a + step], talk.pcm_pts_ns + a * NS_PER_SAMPLE)):
            ready[each.pts_ns, each.duration_ns] = end_ns
    assert len(ready) >= 9
    for (pts_ns, duration_ns), at_ns in ready.items():
        assert at_ns == pts_ns + duration_ns + ms(LAG_MS + CONTEXT_MS), "not a sample earlier, not one later"


def test_pictures_that_come_late_hold_the_block_back() -> None:
    talk, one = Talk(2.0), stream()
    assert one.push_audio(talk.pcm, talk.pcm_pts_ns) == []
    out = [signals(one.push_video(talk.rois[n : n + 1], talk.pts_ns[n])) for n in range(30)]
    assert [n for n, each in enumerate(out) if each] == [14, 24, 29], "the first picture 160 ms past each end"


def test_flush_brings_the_rest_and_ends_the_stream() -> None:
    talk, one = Talk(2.0), stream()
    early = one.push_audio(talk.pcm, talk.pcm_pts_ns) + one.push_video(talk.rois, talk.pts_ns)
    rest = one.flush()
    assert early and rest and one.flush() == []
    assert max(each.pts_ns + each.duration_ns for each in signals(early + rest)) == seconds(2)
    again = one.push_audio(talk.pcm, talk.pcm_pts_ns) + one.push_video(talk.rois, talk.pts_ns)
    assert signals(again + one.flush()) == signals(early + rest), "as new; PTS may begin anywhere, and any epoch"


def test_flush_with_nothing_and_twice_and_before_the_first_sound_or_picture() -> None:
    one, talk = stream(), Talk(1.0)
    assert one.flush() == one.flush() == []
    one.push_audio(talk.pcm, talk.pcm_pts_ns)
    assert one.flush() == [], "sound alone has no blocks"
    one.push_video(talk.rois, talk.pts_ns)
    assert {each.label for each in signals(one.flush())} == {"silence"}, "pictures alone have no sound"
    one.push_audio(talk.pcm[:0], 0)
    assert one.push_video(talk.rois[:0], []) == one.flush() == []


def test_less_than_a_window_gives_blocks_and_a_window_from_800_ms_on() -> None:
    def kinds(seconds_: float) -> list[tuple[str, int]]:
        return [(each.kind, each.signal.duration_ns // ms(1)) for each in at_once(Talk(seconds_))]

    assert kinds(0.12) == [], "too short for anything"
    assert kinds(0.24) == [("block", 240)]
    assert kinds(0.72) == [("block", 400), ("block", 320)]
    assert kinds(0.88) == [("block", 400), ("block", 400), ("window", 880)]


# ---- gaps, duplicates, late data


def test_what_comes_twice_is_counted_and_changes_nothing() -> None:
    one, out = stream(), []
    half = len(TALK.pcm) // 2
    for a in (0, half):
        out += one.push_audio(TALK.pcm[a : a + half], TALK.pcm_pts_ns + a * NS_PER_SAMPLE)
        out += one.push_audio(0 * TALK.pcm[a : a + half], TALK.pcm_pts_ns + a * NS_PER_SAMPLE)
    for n, at_ns in enumerate(TALK.pts_ns):
        out += one.push_video(TALK.rois[n : n + 1], at_ns, 0, TALK.landmarks[n : n + 1])
        out += one.push_video(255 - TALK.rois[n : n + 1], at_ns + 1000, 0, TALK.landmarks[n : n + 1])
    assert signals(out + one.flush()) == signals(WHOLE["heuristic"])
    assert one.counts.samples_duplicate == 2 * half and one.counts.pictures_duplicate == len(TALK.pts_ns)


def test_chunks_of_sound_in_the_wrong_order_are_put_in_order() -> None:
    one, third = stream(), len(TALK.pcm) // 3
    for a in (third, 0, 2 * third):
        one.push_audio(TALK.pcm[a : a + third if a < 2 * third else None], TALK.pcm_pts_ns + a * NS_PER_SAMPLE)
    out = one.push_video(TALK.rois, TALK.pts_ns, 0, TALK.landmarks)
    assert signals(out + one.flush()) == signals(WHOLE["heuristic"])


def test_a_time_stamp_off_by_less_than_a_millisecond_is_jitter_not_a_gap() -> None:
    one, out = stream(), []
    for number, a in enumerate(range(0, len(TALK.pcm), 320)):
        jitter = ms(0.5) if number % 2 else -ms(0.5)
        out += one.push_audio(TALK.pcm[a : a + 320], TALK.pcm_pts_ns + a * NS_PER_SAMPLE + (jitter if a else 0))
    out += one.push_video(TALK.rois, TALK.pts_ns, 0, TALK.landmarks)
    assert signals(out + one.flush()) == signals(WHOLE["heuristic"])


def test_missing_sound_is_silence_and_is_counted() -> None:
    talk, one = Talk(4.0), stream()
    gap = slice(int(16_000 * 1.5), int(16_000 * 3.5))  # from 1 s to 3 s of the pictures
    one.push_audio(talk.pcm[: gap.start], talk.pcm_pts_ns)
    one.push_audio(talk.pcm[gap.stop :], talk.pcm_pts_ns + gap.stop * NS_PER_SAMPLE)
    found = signals(one.push_video(talk.rois, talk.pts_ns) + one.flush())
    inside = [each for each in found if each.pts_ns >= seconds(1) and each.pts_ns + each.duration_ns <= seconds(3)]
    assert {each.label for each in inside} == {"silence"} and len(inside) >= 5
    assert all(each.score is None and each.confidence == 0 for each in inside)
    assert one.counts.samples_missing == gap.stop - gap.start


def test_a_short_gap_of_pictures_is_no_face_and_a_long_one_ends_the_run() -> None:
    talk = Talk(8.0)
    kept = [n for n in range(200) if not (50 <= n < 70 or 110 <= n < 150)]  # 0.8 s and 1.6 s without pictures
    one = stream()
    one.push_audio(talk.pcm, talk.pcm_pts_ns)
    found = signals(one.push_video(talk.rois[kept], [talk.pts_ns[n] for n in kept]) + one.flush(), "block")
    assert [each.label for each in found if each.score is None] == ["no_face", "no_face"]
    assert [each.pts_ns for each in found if each.label == "no_face"] == [seconds(2), ms(2400)]
    assert not [each for each in found if ms(4400) < each.pts_ns < seconds(6)], "nothing is said of the gap"
    second = [each for each in found if each.pts_ns >= seconds(6)]
    assert second[0].pts_ns == talk.pts_ns[150], "the new run begins with its own first picture"


def test_a_cut_to_another_face_costs_the_window_that_holds_it() -> None:
    """Larger, elsewhere, of other proportions, and another picture: for 6 s statistics know both."""
    talk, cut = Talk(9.0, fps=25, ahead_ms=80), 112
    talk.rois[cut:] = 255 - talk.rois[cut:]
    middle = talk.landmarks.mean(axis=(0, 1))
    talk.landmarks[cut:] = (talk.landmarks[cut:] - middle) * (1.2, 1.5) + middle + (40, -25)
    windows = signals(at_once(talk, gather_s=0.0), "window")
    assert [each.label for each in windows] == ["voice_ahead"] * 4 + ["occluded"] + ["voice_ahead"] * 4
    assert {each.offset_ms for each in windows if not each.occluded} == {80.0}


def test_slides_and_less_than_5_fps_are_never_sure() -> None:
    talk, one = Talk(6.0), stream()
    one.push_audio(talk.pcm, talk.pcm_pts_ns)
    found = signals(one.push_video(talk.rois[::7], talk.pts_ns[::7]) + one.flush())  # 3.6 fps
    assert {each.label for each in found} <= {"no_face", "uncertain"} and all(each.occluded for each in found)
    assert max(each.confidence for each in found) < 0.5


def test_pictures_before_the_last_one_are_dropped_and_counted() -> None:
    one = stream()
    one.push_audio(TALK.pcm, TALK.pcm_pts_ns)
    out = one.push_video(TALK.rois[:40], TALK.pts_ns[:40], 0, TALK.landmarks[:40])
    out += one.push_video(TALK.rois[10:50], TALK.pts_ns[10:50], 0, TALK.landmarks[10:50])
    out += one.push_video(TALK.rois[50:], TALK.pts_ns[50:], 0, TALK.landmarks[50:])
    assert signals(out + one.flush()) == signals(WHOLE["heuristic"])
    assert one.counts.pictures_late == 29 and one.counts.pictures_duplicate == 1


def test_sound_for_what_was_scored_is_late_and_counted() -> None:
    talk, one = Talk(3.0), stream()
    one.push_video(talk.rois, talk.pts_ns)
    one.push_audio(talk.pcm[:16_000], talk.pcm_pts_ns)
    one.push_audio(talk.pcm[32_000:], talk.pcm_pts_ns + seconds(2))
    before = one.counts.samples_late
    one.push_audio(talk.pcm[16_000:32_000], talk.pcm_pts_ns + seconds(1))
    assert before == 0 and one.counts.samples_late == 16_000


def test_after_ten_seconds_what_is_missing_counts_as_not_coming() -> None:
    talk, one = Talk(14.0), stream()
    one.push_audio(talk.pcm[: 16_000 * 2], talk.pcm_pts_ns)
    out = signals(one.push_video(talk.rois, talk.pts_ns), "block")
    assert [each.pts_ns for each in out] == [ms(400) * n for n in range(8)], "up to 10 s before the newest picture"
    assert [each.label for each in out[4:]] == ["silence"] * 4


def test_a_stall_of_pictures_ends_the_run_once_the_sound_is_ten_seconds_on() -> None:
    talk, one, out = Talk(2.0, before_ms=500), stream(), []
    one.push_video(talk.rois, talk.pts_ns)
    quiet = np.zeros(16_000, np.int16)
    for n in range(13):
        out.append(len(one.push_audio(quiet, seconds(n))))
    assert out == [1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0], "the last block and window waited for pictures to come"


# ---- epochs


def test_a_new_epoch_forgets_the_old_one_and_nothing_stale_comes_out() -> None:
    old, new, one = Talk(3.0, seed=8), Talk(3.0, ahead_ms=80, seed=9), stream()
    one.push_audio(old.pcm, old.pcm_pts_ns, 4)
    assert one.push_video(old.rois[:70], old.pts_ns[:70], 4)
    out = one.push_audio(new.pcm, new.pcm_pts_ns, 5)
    assert one.push_video(old.rois[70:], old.pts_ns[70:], 4) == [] and one.counts.stale == 1
    out += one.push_video(new.rois, new.pts_ns, 5)
    out += one.flush()
    assert {each.signal.epoch for each in out} == {5}
    alone = stream()
    alone.push_audio(new.pcm, new.pcm_pts_ns, 5)
    assert signals(out) == signals(alone.push_video(new.rois, new.pts_ns, 5) + alone.flush())


def test_within_an_epoch_pictures_come_as_they_began() -> None:
    talk, one = Talk(2.0), stream()
    one.push_video(talk.rois[:10], talk.pts_ns[:10], 0, talk.landmarks[:10])
    with pytest.raises(UsageError, match="rois came with the first pictures"):
        one.push_video(None, talk.pts_ns[10], 0, talk.landmarks[10:11])
    one.push_video(talk.rois[10:], talk.pts_ns[10:])  # the tracker lost the face
    found = signals(one.push_audio(talk.pcm, talk.pcm_pts_ns) + one.flush(), "block")
    assert [each.label for each in found[1:]] == ["no_face"] * 4 and all(each.occluded for each in found[1:])


# ---- memory


def held(one: LipSyncStream) -> int:
    """Bytes of samples, features and pictures."""
    total = one._sound._samples.nbytes
    if one._sound._features is not None:
        total += sum(each.nbytes for each in one._sound._features[1:])
    if one._face is not None:
        pictures = one._face.pictures
        total += sum(roi.nbytes for _, roi, _ in pictures._waiting if roi is not None)
        if pictures._features is not None:
            total += sum(each.nbytes for each in pictures._features if each is not None)
    return total


@pytest.mark.parametrize("what", ["both", "both, windows alone", "sound", "pictures"])
def test_a_minute_needs_no_more_memory_than_twenty_seconds(what: str) -> None:
    talk, sizes = Talk(1.0, fps=25), []
    one = stream(gather_s=4.0, block_ms=None if what.endswith("alone") else 400)
    for second in range(60):
        if what != "pictures":
            one.push_audio(talk.pcm[8000:24_000], seconds(second))
        if what != "sound":
            one.push_video(talk.rois, [seconds(second) + at_ns for at_ns in talk.pts_ns])
        sizes.append(held(one))
    assert max(sizes[30:]) <= max(sizes[:30]) and max(sizes) < 8 << 20


def test_leaps_of_time_and_absurd_rates_cost_no_memory() -> None:
    talk, one = Talk(1.0), stream()
    for leap in range(5):
        at_ns = seconds(86_400 * 50 * leap)
        one.push_audio(talk.pcm[8000:24_000], at_ns)
        one.push_video(talk.rois, [at_ns + each for each in talk.pts_ns])
    assert held(one) < 4 << 20
    one.push_video(np.repeat(talk.rois[:1], 2000, axis=0), [seconds(86_400 * 300) + n for n in range(2000)])
    assert held(one) < 4 << 20 and one.counts.pictures_duplicate == 1999


@pytest.mark.parametrize("order", ["svsv", "vsvs", "vvss"])
def test_leaps_of_both_streams_lose_nothing_before_them(order: str) -> None:
    talk, one = Talk(3.0), stream()
    out: list[ScoredSegment] = []
    leaps_ns = {"s": [0, seconds(3600)], "v": [0, seconds(3600)]}
    for which in order:
        at_ns = leaps_ns[which].pop(0)
        if which == "s":
            out += one.push_audio(talk.pcm, talk.pcm_pts_ns + at_ns)
        else:
            out += one.push_video(talk.rois, [at_ns + each for each in talk.pts_ns])
    plain = stream()
    plain.push_audio(talk.pcm, talk.pcm_pts_ns)
    once = [(each.pts_ns, each.offset_ms) for each in signals(plain.push_video(talk.rois, talk.pts_ns) + plain.flush())]
    found = [(each.pts_ns, each.offset_ms) for each in signals(out + one.flush())]
    assert found[: len(once)] == once
    assert [pts_ns - seconds(3600) for pts_ns, _ in found[len(once) :]] == [pts_ns for pts_ns, _ in once]


def test_pictures_seconds_apart_do_not_pile_up_while_no_sound_comes() -> None:
    talk, one = Talk(1.0), stream()
    one.push_video(talk.rois, talk.pts_ns)
    for n in range(500):
        one.push_video(talk.rois[:1], seconds(3 + 2 * n))
    assert len(one._runs) <= 70 and held(one) < 4 << 20


def test_sound_that_goes_on_after_the_pictures_ended_costs_no_memory() -> None:
    talk, one, sizes = Talk(2.0), stream(), []
    one.push_video(talk.rois, talk.pts_ns)
    for second in range(90):
        one.push_audio(talk.pcm[8000:24_000], seconds(second))
        sizes.append(held(one))
    assert max(sizes[45:]) <= max(sizes[:45]) and max(sizes) < 4 << 20


# ---- tracks


def test_sound_described_in_portions_is_the_sound_described_at_once() -> None:
    talk = Talk(2.0)
    whole, track = sound_features(0, talk.pcm), StreamSound(StreamCounts())
    track.push(talk.pcm, 0)
    for end_cell in (7, 8, 30, 31, 90, 140):
        parts = track.features_until(0, end_cell)
        track.forget(0)
        assert parts.end_cell == end_cell
        np.testing.assert_allclose(parts.mel, whole.mel[: 2 * end_cell], atol=1e-5)
        np.testing.assert_array_equal(parts.mean_square, whole.mean_square[:end_cell])


def test_a_cell_counts_from_its_first_sample_to_its_last() -> None:
    track = StreamSound(StreamCounts())
    track.push(np.full(1000, 0.1, np.float32), 50 * NS_PER_SAMPLE)  # samples 50 to 1050, cells 0.16 to 3.3
    found = track.features_until(-5, 99)
    assert (found.first_cell, found.end_cell) == (1, 3)


# ---- gathering


def test_windows_gather_seconds_of_speech_and_count_none_twice() -> None:
    by_seconds = ConfidenceCurve(
        "geometry", weights=(0.0, 0.0, 0.0, 1.0, 0.0, 0.0), most=1.0
    )  # confidence = s / (1 + s)
    windows = [each for each in at_once(Talk(2.4, seed=5), curve=by_seconds) if each.kind == "window"]
    a, b, c = (each.speech_s for each in windows)
    assert windows[2].signal.pts_ns == ms(1400), "the last window lies over the one before it by 0.6 s"
    gathered = [each.signal.confidence / (1 - each.signal.confidence) for each in windows]
    assert gathered == pytest.approx([a, a + b, a + b + 0.4 * c])


def test_confidence_grows_with_evidence() -> None:
    found = signals(at_once(Talk(6.0, ahead_ms=40, seed=5)), "window")
    one_by_one = signals(at_once(Talk(6.0, ahead_ms=40, seed=5), gather_s=0.0), "window")
    assert sum(each.confidence for each in found) >= sum(each.confidence for each in one_by_one)
    assert found[0] == one_by_one[0]
    curve = ConfidenceCurve("geometry", weights=(-3.0, 5.0, 2.0, 1.0, 2.0, 1.0), most=1.0)
    gathering, offsets_ms = Gathering(search_offsets(), seconds(4), curve), search_offsets()
    rng, last = np.random.default_rng(0), 0.0
    for n in range(4):
        rho = 0.5 * np.exp(-(((offsets_ms - 80) / 50) ** 2)) + rng.normal(0, 0.05, len(offsets_ms))
        gathered = gathering.add(LagWindow(seconds(n + 1), rho, 0.8))
        now = curve(0.3, 0.5, gathered.speech_s)
        assert now > last
        last = now


def bump(at_ms: float, height: float = 0.4) -> np.ndarray[Any, Any]:
    return height * np.exp(-(((search_offsets() - at_ms) / 40) ** 2))


def test_windows_that_contradict_take_over() -> None:
    unsure = ConfidenceCurve("heuristic")
    gathering = Gathering(search_offsets(), seconds(4), unsure)
    for n in range(3):
        gathering.add(LagWindow(seconds(n + 1), bump(0), 1.0))
    once = gathering.add(LagWindow(seconds(4), bump(120, 0.5), 1.0))
    assert search_offsets()[once.rho.argmax()] == 0, "one window that is unsure may be wrong"
    twice = gathering.add(LagWindow(seconds(5), bump(120), 1.0))
    assert search_offsets()[twice.rho.argmax()] == 120 and twice.speech_s == 2.0
    sure = Gathering(search_offsets(), seconds(4), ConfidenceCurve("fused", weights=(9.0, 0, 0, 0, 0, 0), most=1.0))
    for n in range(3):
        sure.add(LagWindow(seconds(n + 1), bump(0), 1.0))
    assert sure.add(LagWindow(seconds(4), bump(120), 1.0)).speech_s == 1.0, "one that is sure by itself takes over"


def test_old_windows_and_unscored_lags_are_left_out_of_the_mean() -> None:
    gathering = Gathering(search_offsets(), seconds(4), ConfidenceCurve("heuristic"))
    gathering.add(LagWindow(seconds(1), bump(0), 1.0))
    half = bump(20)
    half[:3] = np.nan
    both = gathering.add(LagWindow(seconds(2), half, 3.0))
    assert both.rho[0] == pytest.approx(bump(0)[0]), "a lag that one window could not score is the other's"
    assert both.rho[10] == pytest.approx((bump(0)[10] + 3 * half[10]) / 4)
    assert gathering.add(LagWindow(seconds(9), bump(0), 1.0)).speech_s == 1.0


def test_the_scorers_own_stream_gives_signals() -> None:
    scorer = LipSyncScorer(HeuristicBackend(bias_ms=0.0))
    found = scorer.push_audio(TALK.pcm, TALK.pcm_pts_ns)
    found += scorer.push_video(TALK.rois, TALK.pts_ns, 0, TALK.landmarks) + scorer.flush()
    assert found == signals(WHOLE["heuristic"]) and scorer.counts.samples_missing == 0
    assert len(TALK.pcm) // CELL_SAMPLES > 150
