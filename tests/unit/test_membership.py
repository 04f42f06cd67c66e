import pytest

from consumer.domain.membership import (
    MOST_NAMED,
    FailureDetector,
    HeartbeatReport,
    LateShard,
    Members,
    code_of,
    latest,
)
from tests.support.builders import shard

TTL = 4.0


def members(**numbers: int) -> Members:
    return Members(0, {owner: HeartbeatReport(number) for owner, number in numbers.items()})


def read(detector: FailureDetector, at: float, took: float = 0.0, **numbers: int) -> frozenset[str]:
    detector.observe(members(**numbers), at, at + took)
    return detector.dead()


def test_no_member_is_dead_before_the_first_read() -> None:
    assert FailureDetector(TTL).dead() == frozenset()


def test_a_member_whose_number_stays_the_same_for_a_ttl_is_dead() -> None:
    detector = FailureDetector(TTL)
    verdicts = [read(detector, at, a=1, b=round(at)) for at in (0.0, 1.0, 2.0, 3.0, 3.9, 4.0, 5.0)]
    assert verdicts == [frozenset()] * 5 + [frozenset({"a"})] * 2


def test_a_heartbeat_starts_the_count_again() -> None:
    detector = FailureDetector(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        read(detector, at, a=1)
    assert not read(detector, 3.9, a=2)
    verdicts = [read(detector, at, a=2) for at in (5.5, 7.0, 7.8, 7.9)]
    assert verdicts == [frozenset(), frozenset(), frozenset(), {"a"}]


def test_a_number_that_goes_back_is_a_heartbeat_too() -> None:
    detector = FailureDetector(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        read(detector, at, a=5)
    assert not read(detector, 4.0, a=1)


def test_time_counts_from_the_first_reply_to_the_last_request() -> None:
    detector = FailureDetector(TTL)
    read(detector, 0.0, took=1.0, a=1)
    for at in (1.5, 3.0, 4.5):
        assert not read(detector, at, a=1), "the heartbeat may have been written while the first read was in flight"
    assert read(detector, 5.0, a=1) == {"a"}


@pytest.mark.parametrize(("hole", "dead"), [(2.0, True), (2.1, False), (60.0, False)])
def test_a_detector_that_was_paused_starts_again(hole: float, dead: bool) -> None:
    detector = FailureDetector(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        read(detector, at, a=1)
    assert read(detector, 3.0 + hole, a=1) == ({"a"} if dead else frozenset())


def test_a_pause_while_a_read_is_in_flight_is_a_hole_too() -> None:
    detector = FailureDetector(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        read(detector, at, a=1)
    assert not read(detector, 4.0, took=30.0, a=1)
    assert not read(detector, 34.0, a=1)


def test_after_a_pause_a_whole_ttl_is_needed_again() -> None:
    detector = FailureDetector(TTL)
    read(detector, 0.0, a=1)
    verdicts = [read(detector, at, a=1) for at in (100.0, 101.5, 103.0, 103.9, 104.0)]
    assert verdicts == [frozenset()] * 4 + [{"a"}]


def test_a_member_that_left_is_not_dead_and_one_that_comes_back_is_new() -> None:
    detector = FailureDetector(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        read(detector, at, a=1)
    assert not read(detector, 4.0, b=1)
    assert not read(detector, 5.0, a=1, b=2)
    assert set(detector.members) == {"a", "b"}


# --- what a heartbeat says of each shard ---


def report_on(*lags: float, unknown: int = 0) -> HeartbeatReport:
    """Of shards 0, 1, ... with these lags; the last `unknown` of them are upper bounds."""
    known = len(lags) - unknown
    late = [LateShard(code_of(shard(at)), lag, at < known) for at, lag in enumerate(lags) if lag or at >= known]
    return HeartbeatReport(
        1, len(lags), sum(lag > 0 for lag in lags), max(lags, default=0.0), 1.0, unknown, late=latest(late)
    )


def lag_in(report: HeartbeatReport, number: int) -> tuple[float, bool]:
    found = report.lag_of(shard(number))
    return (found.lag_seconds, found.known)


def test_a_heartbeat_names_the_shards_that_lag_and_the_others_are_caught_up() -> None:
    report = report_on(0.0, 90.0, 0.0, 7.0, 30.0, unknown=1)
    assert [lag_in(report, number) for number in range(5)] == [
        (0.0, True),
        (90.0, True),
        (0.0, True),
        (7.0, True),
        (30.0, False),
    ]


def test_when_more_lag_than_are_named_the_others_lag_less_than_these() -> None:
    report = report_on(*(float(lag) for lag in range(10, 10 + MOST_NAMED + 2)))
    assert len(report.late) == MOST_NAMED
    assert lag_in(report, MOST_NAMED + 1) == (10.0 + MOST_NAMED + 1, True)
    assert lag_in(report, 0) == lag_in(report, 77) == (12.0, False)


def test_a_heartbeat_that_names_no_shard_says_only_the_worst() -> None:
    """An older version's."""
    report = HeartbeatReport(1, 3, 1, 90.0, 1.0)
    assert lag_in(report, 0) == (90.0, False)
    assert lag_in(HeartbeatReport(1, 3, 0, 0.0, 1.0), 0) == (0.0, True)


def test_two_streams_may_have_shards_of_one_id() -> None:
    assert code_of(shard(1)) != code_of(shard(1)._replace(stream_arn=f"{shard(1).stream_arn}1"))
