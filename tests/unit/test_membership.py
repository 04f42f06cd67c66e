import pytest

from consumer.domain.membership import FailureDetector, HeartbeatReport, Members

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
