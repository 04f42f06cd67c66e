"""Poison lies in the quarantine, whole, and what a person did with it is never undone (design: G2)."""

import random
from decimal import Decimal
from typing import Any

import pytest

from consumer.domain.outcomes import Committed
from consumer.domain.parcel import PART_BYTES, pack
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Poison, Reason
from tests.builders import CREATED, ME, game, lease, poison, row, sequence_number, shard, wire
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Quarantined, Score, Subject, unit

NOBODY: frozenset[str] = frozenset()


def big(seq: int) -> Poison:
    """Both images at their limit of 400 KB, and no way to pack them."""
    noise = random.Random(seq)
    record: dict[str, Any] = wire(seq, score=None)
    for image in ("NewImage", "OldImage"):
        record["dynamodb"][image] = {
            "text": {"S": "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(130_000))}
        }
    return poison(seq, parts=pack(record))


def test_poison_lies_there_whole_and_its_neighbours_count(subject: Subject) -> None:
    subject.plant(row(owner=ME))
    nobody = poison(3)._replace(player=None, reason=Reason.PLAYER_MISSING, detail="the record has no playerId")
    games = unit(game(1), poison(2), nobody, game(4))
    assert subject.commits.commit(lease(), games, NOBODY, fills_gap=False) == Committed()
    at = CREATED + 60
    assert subject.quarantine() == {
        ("shard-0", sequence_number(2)): Quarantined(
            "pending", "score_type", "score is wrong", "foo", at, 1, wire(2, score=None)
        ),
        ("shard-0", sequence_number(3)): Quarantined(
            "pending", "player_missing", "the record has no playerId", None, at, 1, wire(3, score=None)
        ),
    }
    assert subject.board() == {"foo": Score(Decimal(2), Decimal(300), "2026-01-31")}
    assert subject.commits.pending() == 2


def test_a_record_larger_than_an_item_lies_there_in_parts(subject: Subject) -> None:
    subject.plant(row(owner=ME))
    large = big(1)
    assert len(large.parts) > 1
    assert max(map(len, large.parts)) == PART_BYTES
    assert subject.commits.commit(lease(), unit(game(0), large), NOBODY, fills_gap=False) == Committed()
    ((key, found),) = subject.quarantine().items()
    assert key == ("shard-0", sequence_number(1))
    assert found.parts == len(large.parts)
    assert pack(found.record) == large.parts
    assert subject.commits.pending() == 1


def test_as_much_poison_as_a_unit_may_hold(subject: Subject) -> None:
    subject.plant(row(owner=ME))
    games = unit(*(big(seq) for seq in range(3)))
    assert sum(len(part) for each in games.poison for part in each.parts) > 1_500_000
    assert subject.commits.commit(lease(), games, NOBODY, fills_gap=False) == Committed()
    many = unit(*(poison(seq) for seq in range(10, 59)), previous=games.last)
    assert subject.commits.commit(lease(), many, NOBODY, fills_gap=False) == Committed()
    assert subject.commits.pending() == 52


@pytest.mark.parametrize("state", ["applied", "discarded", "pending"])
def test_an_existing_row_is_never_reset(subject: Subject, state: str) -> None:
    """A shard that is read again from an earlier checkpoint meets its poison again."""
    subject.plant(row(owner=ME), row(1, owner=ME))
    assert subject.commits.commit(lease(), unit(poison(1)), NOBODY, fills_gap=False) == Committed()
    subject.mark("shard-0", sequence_number(1), state)
    before = subject.quarantine()
    subject.delete_row(shard())
    subject.plant(row(owner=ME))
    told_otherwise = poison(1)._replace(reason=Reason.TIMESTAMP_INVALID, detail="judged otherwise this time")
    again = unit(told_otherwise, poison(2))
    assert again.cut_at == before["shard-0", sequence_number(1)].at
    assert subject.commits.commit(lease(), again, NOBODY, fills_gap=False) == Committed()
    after = subject.quarantine()
    assert after["shard-0", sequence_number(1)] == before["shard-0", sequence_number(1)]
    assert after["shard-0", sequence_number(2)].state == "pending"
    assert subject.commits.pending() == (2 if state == "pending" else 1)


def test_shards_do_not_share_rows(subject: Subject) -> None:
    subject.plant(row(owner=ME), row(1, owner=ME))
    for number in range(2):
        assert subject.commits.commit(lease(number), unit(poison(1)), NOBODY, fills_gap=False) == Committed()
    assert sorted(subject.quarantine()) == [("shard-0", sequence_number(1)), ("shard-1", sequence_number(1))]


def test_pending_counts_over_pages(dynamo: DynamoSubject) -> None:
    dynamo.plant(row(owner=ME))
    previous = TRIM_HORIZON
    for seq in range(4):
        games = unit(big(seq), previous=previous)
        assert dynamo.commits.commit(lease(), games, NOBODY, fills_gap=False) == Committed()
        previous = games.last
    first = dynamo.clients.dynamodb.scan(TableName=dynamo.quarantined)
    assert first.get("LastEvaluatedKey"), "one page holds it all: this test shows nothing"
    assert dynamo.commits.pending() == 4
    dynamo.mark("shard-0", sequence_number(2), "discarded")
    assert dynamo.commits.pending() == 3
