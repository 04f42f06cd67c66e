"""Who asks for an ended shard's children once more: also whoever took one over from a worker that is gone."""

import pytest

from consumer.domain.leases import LeaseRow, Pin
from consumer.domain.outcomes import Children, Done, Ledger
from consumer.domain.position import TRIM_HORIZON
from consumer.worker.calls import Adopt, FindLate, FindStream, ListShards, Probe
from consumer.worker.pinning import Pinning
from consumer.worker.survey import RECHECK_SECONDS, YOUNG_SECONDS, Surveyor
from tests.builders import ARN, CREATED, build_shards, finished, row
from tests.talks import Steady

LEDGER = Ledger((finished(0, 1, 2), row(1, parent=0), row(2, parent=0)), (Pin(ARN, None, ("shard-0",), complete=True),))


def surveyed() -> Surveyor:
    """Its first survey is over, at 1000 s."""
    surveyor = Surveyor(lambda arn: Pinning(arn, TRIM_HORIZON, 1, ("leases", "board")), Steady())
    (call,) = surveyor.ready(1000.0, LEDGER, 1)
    assert isinstance(call, FindStream)
    surveyor.take(call, ARN, 1000.0)
    (call,) = surveyor.ready(1000.0, LEDGER, 1)
    assert isinstance(call, ListShards)
    surveyor.take(call, build_shards(3, {0: [1, 2]}), 1000.0)
    assert surveyor.ready(1000.0, LEDGER, 1) == []
    return surveyor


def born(seconds_ago: float) -> LeaseRow:
    return row(1, parent=0, epoch=int(CREATED - seconds_ago) + 1)


def test_whoever_takes_a_young_shard_over_looks_after_its_parent() -> None:
    surveyor = surveyed()
    for number in (1, 2):
        surveyor.claimed(row(number, parent=0, epoch=int(CREATED)), LEDGER, 1000.0, CREATED + 5)
    for delay in RECHECK_SECONDS[:2]:
        assert surveyor.wake_at() == 1000.0 + delay
        (call,) = surveyor.ready(1000.0 + delay, LEDGER, 1)
        assert call == FindLate(LEDGER.rows[0]), "once for both children"
        surveyor.take(call, Children(("shard-1", "shard-2"), leaf=False, served_at=CREATED), 1000.0 + delay)
        assert surveyor.ready(1000.0 + delay, LEDGER, 1) == []


@pytest.mark.parametrize(
    ("taken", "ledger"),
    [
        (born(YOUNG_SECONDS + 2), LEDGER),
        (row(0, epoch=int(CREATED)), LEDGER),
        (born(0), Ledger(LEDGER.rows[1:], LEDGER.pins)),
        (born(0), Ledger((row(0), *LEDGER.rows[1:]), LEDGER.pins)),
    ],
    ids=["old", "a root", "parent forgotten", "parent not finished"],
)
def test_others_are_left_to_the_survey(taken: LeaseRow, ledger: Ledger) -> None:
    surveyor = surveyed()
    surveyor.claimed(taken, ledger, 1000.0, CREATED)
    assert surveyor.wake_at() == 1060.0


@pytest.mark.parametrize("shown", [(), ("shard-1",)])
def test_an_answer_that_leaves_out_known_children_calls_for_a_listing(shown: tuple[str, ...]) -> None:
    """Not every engine serves the filter."""
    surveyor = surveyed()
    surveyor.claimed(born(0), LEDGER, 1000.0, CREATED)
    (call,) = surveyor.ready(1003.0, LEDGER, 1)
    surveyor.take(call, Children(shown, leaf=False, served_at=CREATED), 1003.0)
    assert isinstance(surveyor.ready(1003.0, LEDGER, 1)[0], FindStream)


def test_a_shard_that_ends_twice_at_one_moment_is_asked_for_like_any_other() -> None:
    """Its end, answered late, and a row that says so."""
    surveyor = surveyed()
    surveyor.ended(LEDGER.rows[0].shard, ("shard-1",), CREATED, 1000.0)
    surveyor.ended(LEDGER.rows[0].shard, ("shard-1",), None, 1000.0)
    assert surveyor.wake_at() == 1000.0 + RECHECK_SECONDS[0]


def test_a_root_that_is_not_there_does_not_hold_up_one_that_is() -> None:
    """An old listing shows one that is long forgotten beside one that was hidden at first sight."""
    surveyor = surveyed()
    now, asked = 1060.0, list[object]()
    for _ in range(2):
        while calls := surveyor.ready(now, LEDGER, 1):
            (call,) = calls
            asked.append(call)
            match call:
                case FindStream():
                    surveyor.take(call, ARN, now)
                case ListShards():
                    surveyor.take(call, build_shards(5, {0: [1, 2]}), now)
                case Probe(root):
                    surveyor.take(call, root.shard_id == "shard-3", now)
                case _:
                    surveyor.take(call, Done(), now)
        now = surveyor.wake_at()
    adopted = [row.shard.shard_id for call in asked if isinstance(call, Adopt) for row in call.adoption.rows]
    assert adopted == ["shard-3"]
