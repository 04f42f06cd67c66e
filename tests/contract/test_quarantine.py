"""The quarantine holds poison whole, and what an operator did with it is never undone (design: G2)."""

import random
from decimal import Decimal
from typing import Any

import pytest

from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import PART_BYTES, Poison, Reason, pack
from consumer.domain.replies import Committed
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Quarantined, Score, Subject, unit
from tests.support.builders import (
    CREATED,
    ME,
    commit_plain,
    game,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
    wire,
)


def big(seq: int) -> Poison:
    """Both images at their limit of 400 KB, and no way to pack them."""
    noise = random.Random(seq)
    record: dict[str, Any] = wire(seq, score=None)
    for image in ("NewImage", "OldImage"):
        record["dynamodb"][image] = {
            "text": {"S": "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(130_000))}
        }
    return poison(seq, parts=pack(record))


def test_poison_is_stored_whole_and_its_neighbours_count(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    without_player = poison(3)._replace(player=None, reason=Reason.PLAYER_MISSING, detail="the record has no playerId")
    games = unit(game(1), poison(2), without_player, game(4))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    at = CREATED + 60
    assert subject.quarantine_rows() == {
        ("shard-0", sequence_number(2)): Quarantined(
            "pending", "score_type", "score is wrong", "foo", at, 1, wire(2, score=None)
        ),
        ("shard-0", sequence_number(3)): Quarantined(
            "pending", "player_missing", "the record has no playerId", None, at, 1, wire(3, score=None)
        ),
    }
    assert subject.board() == {"foo": Score(Decimal(2), Decimal(300), "2026-01-31")}
    assert subject.pending_records.count() == 2


def test_a_record_larger_than_an_item_is_stored_in_parts(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    large = big(1)
    assert len(large.parts) > 1
    assert max(map(len, large.parts)) == PART_BYTES
    assert commit_plain(subject.commits, lease(), unit(game(0), large)) == Committed()
    ((key, found),) = subject.quarantine_rows().items()
    assert key == ("shard-0", sequence_number(1))
    assert found.parts == len(large.parts)
    assert pack(found.record) == large.parts
    assert subject.pending_records.count() == 1


def test_as_much_poison_as_a_unit_may_hold(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    games = unit(*(big(seq) for seq in range(3)))
    assert sum(len(part) for entry in games.poison for part in entry.parts) > 1_500_000
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    many = unit(*(poison(seq) for seq in range(10, 59)), previous=games.last)
    assert subject.commits.commit(lease(), many, plain_rows(many), fills_gap=False) == Committed()
    assert subject.pending_records.count() == 52


@pytest.mark.parametrize("state", ["applied", "discarded", "pending"])
def test_an_existing_row_is_never_reset(subject: Subject, state: str) -> None:
    """A shard that is read again from an earlier checkpoint meets its poison again."""
    subject.create_root_rows(row(owner=ME), row(1, owner=ME))
    assert commit_plain(subject.commits, lease(), unit(poison(1))) == Committed()
    subject.mark("shard-0", sequence_number(1), state)
    before = subject.quarantine_rows()
    subject.delete_row(shard())
    subject.create_root_rows(row(owner=ME))
    judged_otherwise = poison(1)._replace(reason=Reason.TIMESTAMP_INVALID, detail="another detail this time")
    again = unit(judged_otherwise, poison(2))
    assert again.cut_at == before["shard-0", sequence_number(1)].at
    assert subject.commits.commit(lease(), again, plain_rows(again), fills_gap=False) == Committed()
    after = subject.quarantine_rows()
    assert after["shard-0", sequence_number(1)] == before["shard-0", sequence_number(1)]
    assert after["shard-0", sequence_number(2)].state == "pending"
    assert subject.pending_records.count() == (2 if state == "pending" else 1)


def test_shards_do_not_share_rows(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME), row(1, owner=ME))
    for number in range(2):
        assert commit_plain(subject.commits, lease(number), unit(poison(1))) == Committed()
    assert sorted(subject.quarantine_rows()) == [("shard-0", sequence_number(1)), ("shard-1", sequence_number(1))]


def test_pending_counts_over_pages(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    previous = TRIM_HORIZON
    for seq in range(4):
        games = unit(big(seq), previous=previous)
        assert dynamo.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
        previous = games.last
    first = dynamo.clients.dynamodb.scan(TableName=dynamo.names.quarantine)
    assert first.get("LastEvaluatedKey"), "one page holds it all: this test shows nothing"
    assert dynamo.pending_records.count() == 4
    assert len(list(dynamo.pending_records.scan())) > 1
    dynamo.mark("shard-0", sequence_number(2), "discarded")
    assert dynamo.pending_records.count() == sum(dynamo.pending_records.scan()) == 3
