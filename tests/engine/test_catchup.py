"""CatchUp: what a source that falls behind is asked, and when it gets its rate back."""

from __future__ import annotations

from avsync.engine.catchup import CREEP_NS, LATENCY_MAX_NS, LESS_PCT, LOWEST_FPS, REFUSALS, UNMOVED, CatchUp
from avsync.policy import AvSyncPolicy
from avsync.types import Reason, Request, Want
from avsync.units import ms, seconds
from tests.engine.engine_driver import FRAME

POLICY = AvSyncPolicy()
S = seconds(1)
LATE = ms(50)
EVERY = frozenset(Want)


def asked(catchup: CatchUp, start: int, until: int, late: int = LATE, step: int = ms(20)) -> list[Request]:
    """Late all the time, looked at each slot; content position and time are the same here."""
    requests = []
    for now in range(start, until, step):
        request = catchup.on_late(late, now, 0, now)
        if request is not None:
            requests.append(request)
    return requests


def arrive(catchup: CatchUp, start: int, until: int, fps: int = 25, late: int = 0, size: int = 1000) -> None:
    for now in range(start, until, S // fps):
        catchup.on_arrival(now - late, size, now, now)


def test_little_late_is_nobodys_fault() -> None:
    assert asked(CatchUp(POLICY, EVERY), 0, 60 * S, late=CREEP_NS - 1) == []


def test_a_slow_drift_is_noticed_before_it_can_be_seen() -> None:
    requests = asked(CatchUp(POLICY, EVERY), 0, 6 * S, late=CREEP_NS)
    assert requests[0].at_ns == POLICY.relapse_ns and requests[0].want is Want.SKIP_TO_PTS


def test_45_ms_late_is_asked_to_skip_to_where_the_voice_will_be_when_it_can_obey() -> None:
    assert asked(CatchUp(POLICY, EVERY), S, S + 1, late=POLICY.late_video_ns) == []
    (request,) = asked(CatchUp(POLICY, EVERY), S, S + 1, late=POLICY.late_video_ns + 1)
    assert request == Request(
        Want.SKIP_TO_PTS, S + POLICY.request_latency_ns + POLICY.skip_margin_ns, S, 0, Reason.BEHIND
    )


def test_unanswered_it_is_asked_again_after_200_ms_and_not_before() -> None:
    requests = asked(CatchUp(POLICY, EVERY), 0, ms(401))
    assert [request.at_ns for request in requests] == [0, ms(200), ms(400)]


def test_what_a_skip_takes_longer_than_expected_is_learned() -> None:
    catchup = CatchUp(POLICY, EVERY)
    (first,) = asked(catchup, 0, 1)
    catchup.on_arrival(first.value, 1000, ms(300), ms(350))  # the skip has come, 150 ms behind the voice
    (second,) = asked(catchup, 10 * S, 10 * S + 1)
    assert second.value - 10 * S == first.value + ms(150)
    for n in range(11, 40):
        (more,) = asked(catchup, n * S * 10, n * S * 10 + 1)
        catchup.on_arrival(more.value, 1000, n * S * 10, more.value + S)
    assert more.value - more.at_ns <= LATENCY_MAX_NS + POLICY.skip_margin_ns, "one bad moment is not learned for ever"


def test_lateness_that_returns_within_5_s_means_too_slow_and_fewer_frames_are_asked() -> None:
    catchup = CatchUp(POLICY, EVERY)
    arrive(catchup, 0, 2 * S, fps=22)
    (skip,) = asked(catchup, 2 * S, 2 * S + 1)
    catchup.on_arrival(skip.value, 1000, 2 * S + ms(100), 2 * S)
    arrive(catchup, 2 * S + ms(140), 4 * S, fps=22)
    requests = asked(catchup, 4 * S, 4 * S + ms(21))
    assert [request.want for request in requests] == [Want.FPS, Want.SKIP_TO_PTS]
    assert requests[0].reason is Reason.SLOW and 18 <= requests[0].value <= 20, "22 are made: 90 % of it can be kept"


def test_too_slow_and_can_only_skip_is_asked_for_many_small_skips_instead_of_few_large_ones() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.SKIP_TO_PTS}))
    (first,) = asked(catchup, 0, 1)
    catchup.on_arrival(0, 1000, 0, 0)
    catchup.on_arrival(first.value, 1000, ms(150), ms(150))  # the skip
    (again,) = asked(catchup, S, S + 1, late=CREEP_NS)
    assert again.value == S + POLICY.request_latency_ns  # at once, and without a margin


def test_lateness_that_returns_later_is_a_stall_of_its_own() -> None:
    catchup = CatchUp(POLICY, EVERY)
    (skip,) = asked(catchup, 0, 1)
    catchup.on_arrival(skip.value, 1000, ms(100), 0)
    (again,) = asked(catchup, ms(100) + POLICY.relapse_ns, ms(101) + POLICY.relapse_ns)
    assert again.want is Want.SKIP_TO_PTS


def test_a_lowered_rate_is_given_back_after_5_s_clean_then_after_10_then_after_20() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.FPS}))
    now, waits = 0, []
    for _ in range(7):
        arrive(catchup, now, now + S, fps=22)
        now += S
        (slow,) = asked(catchup, now, now + 1)
        assert slow.want is Want.FPS and slow.value >= LOWEST_FPS
        clean = now = now + ms(20)
        while (back := catchup.on_time(0, now)) is None:
            now += FRAME
        assert (back.want, back.value, back.reason) == (Want.FPS, 0, Reason.RECOVERED)
        waits.append(now - clean)
        now += ms(200)
    assert waits[:4] == [5 * S, 10 * S, 20 * S, 40 * S]
    assert waits[-1] == 120 * S, "bounded"


def test_one_late_picture_starts_the_clean_time_anew() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.FPS}))
    asked(catchup, 0, 1)
    assert catchup.on_time(0, S) is None
    asked(catchup, 5 * S, 5 * S + 1)
    assert catchup.on_time(0, 6 * S) is None
    assert catchup.on_time(0, 11 * S - 1) is None
    assert catchup.on_time(0, 11 * S) is not None


def test_a_source_that_does_not_skip_is_believed_not_to_be_able_to() -> None:
    catchup = CatchUp(POLICY, EVERY)
    wants = []
    for now in range(2 * S, 20 * S, FRAME):
        catchup.on_arrival(now - S, 1000, now, now)  # a second behind, and goes on where it was
        request = catchup.on_late(S, now, 0, now)
        if request is not None:
            wants.append(request.want)
    assert wants[0] is Want.SKIP_TO_PTS and Want.FPS in wants
    assert REFUSALS <= wants.index(Want.FPS) <= 4 * REFUSALS
    assert Want.SKIP_TO_PTS not in wants[wants.index(Want.FPS) + 1 :]


def test_only_what_it_can_do_is_asked() -> None:
    for levers in (frozenset[Want](), frozenset({Want.KEYFRAME})):
        assert asked(CatchUp(POLICY, levers), 0, 30 * S) == []
    for want in (Want.SKIP_TO_PTS, Want.FPS, Want.BITRATE):
        requests = asked(CatchUp(POLICY, frozenset({want})), 0, 30 * S)
        assert {request.want for request in requests} == {want}


def test_a_bitrate_is_lowered_in_proportion_to_what_came() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.BITRATE}))
    arrive(catchup, 0, 2 * S, size=5_000)  # 1 Mbit/s
    (request,) = asked(catchup, 2 * S, 2 * S + 1)
    assert 600_000 < request.value < 800_000


def test_a_lower_rate_is_asked_for_again_only_where_it_is_clearly_lower() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.FPS}))
    values = []
    for now in range(0, 60 * S, FRAME):
        catchup.on_arrival(now, 1000, now, now)
        request = catchup.on_late(now // 20, now, 0, now)  # falls behind further and further
        if request is not None:
            values.append(request.value)
    assert values[-1] >= LOWEST_FPS and len(values) > 2
    assert all(after * 100 <= before * (100 - LESS_PCT) for before, after in zip(values, values[1:], strict=False))


def test_a_new_turn_is_not_blamed_for_the_last_one() -> None:
    catchup = CatchUp(POLICY, EVERY)
    (skip,) = asked(catchup, 0, 1)
    catchup.on_arrival(skip.value, 1000, ms(100), 0)
    catchup.reset()
    (request,) = asked(catchup, ms(200), ms(201))
    assert request.want is Want.SKIP_TO_PTS


def test_a_skip_that_comes_after_all_is_believed() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.SKIP_TO_PTS}))
    last = 0
    for now in range(2 * S, 20 * S, FRAME):
        catchup.on_arrival(now - S, 1000, now, now)
        request = catchup.on_late(S, now, 0, now)
        last = request.value if request else last
    assert asked(catchup, 20 * S, 25 * S) == [], "it has refused: no use in asking"
    catchup.on_arrival(25 * S, 1000, 25 * S, 25 * S)
    assert last < 25 * S
    assert asked(catchup, 26 * S, 27 * S) != []


def test_a_source_that_stands_still_refuses_nothing() -> None:
    catchup = CatchUp(POLICY, EVERY)
    requests = asked(catchup, 0, 10 * S)
    assert {request.want for request in requests} == {Want.SKIP_TO_PTS}
    assert requests[-1].value - requests[-1].at_ns == POLICY.request_latency_ns + POLICY.skip_margin_ns


def test_a_source_that_was_making_pictures_is_given_the_time_that_its_pictures_are_late() -> None:
    """It has skipped already, but what it makes is 300 ms under way; asked again, its target would only move."""
    catchup = CatchUp(POLICY, EVERY)
    arrive(catchup, 0, 2 * S, late=ms(300))
    first, again = asked(catchup, 2 * S, 2 * S + ms(820), late=ms(300))[:2]
    assert first.at_ns == 2 * S
    assert again.at_ns >= first.value + ms(300)


def test_one_that_has_fallen_silent_is_asked_again_so_that_it_goes_on_where_the_voice_is() -> None:
    catchup = CatchUp(POLICY, EVERY)
    arrive(catchup, 0, 2 * S, late=ms(300))
    requests = asked(catchup, 2 * S + ms(200), 2 * S + ms(1000), late=ms(300))
    assert [request.at_ns - 2 * S for request in requests] == [ms(200), ms(400), ms(600), ms(800)]


def test_a_source_whose_pictures_are_as_late_after_each_skip_is_not_asked_for_ever() -> None:
    """It obeys, at once; what it makes is 300 ms late, wherever it goes on."""
    catchup = CatchUp(POLICY, frozenset({Want.SKIP_TO_PTS}))
    requests = []
    for now in range(0, 20 * S, ms(40)):
        request = catchup.on_late(ms(300), now, 0, now)
        if request is not None:
            requests.append(request)
            catchup.on_arrival(request.value, 1000, request.value + ms(300), request.value + ms(300))
    assert len(requests) == UNMOVED
    assert catchup.unmoved() and catchup.helpless()
    catchup.on_time(0, 20 * S)
    assert not catchup.unmoved(), "one that comes in time says that something changed"


def test_a_source_that_is_less_late_after_each_skip_is_asked_again() -> None:
    catchup = CatchUp(POLICY, frozenset({Want.SKIP_TO_PTS}))
    late = [ms(800), ms(390), ms(190), ms(90)]
    for n, (before, after) in enumerate(zip(late, late[1:], strict=False)):
        request = catchup.on_late(before, n * S, 0, n * S)
        assert request is not None
        catchup.on_arrival(request.value, 1000, request.value + after, request.value + after)
    assert not catchup.unmoved()
