"""The row of a stream that version 0.1 started: it becomes one of this version, which version 0.1 cannot read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from consumer.aws.items import Item
from consumer.domain.leases import PROTOCOL, Adoption, Origin, StreamStart, TableBinding
from consumer.domain.replies import Done, Lost
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, finished, row

OLD = StreamStart(ARN, CREATED, ("shard-0", "shard-1"), complete=True, started_at=CREATED, protocol=1)


def stored(subject: Subject) -> StreamStart | None:
    starts = subject.ledgers.load().stream_starts
    return starts[0] if starts else None


def parsed_by_version_0_1(item: Item) -> Mapping[str, Any]:
    """A frozen copy of how version 0.1 reads the row of the stream, at its start and with every load of the ledger."""
    return {
        "stream_arn": item["streamArn"]["S"],
        "start_time": float(item["floor"]["N"]) if "floor" in item else None,
        "roots": tuple(root["S"] for root in item["rootShardIds"]["L"]),
        "complete": bool(item["pinComplete"]["BOOL"]),
        "started_at": float(item["pinnedAt"]["N"]) if "pinnedAt" in item else None,
    }


def stream_item(dynamo: DynamoSubject) -> Item:
    (item,) = [item for item in dynamo.items(dynamo.names.leases) if item["leaseKey"]["S"].startswith("stream#")]
    return item


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("start_time", [None, CREATED])
@pytest.mark.parametrize("complete", [True, False])
def test_a_row_of_version_0_1_is_upgraded_once(
    subject: Subject, start_time: float | None, *, complete: bool, keyed: bool
) -> None:
    old = replace(OLD, start_time=start_time, complete=complete)
    subject.put_old_stream_start(old)
    assert stored(subject) == old
    assert subject.ledgers.upgrade_stream(ARN, keyed=keyed) == Done()
    upgraded = replace(old, protocol=PROTOCOL, keyed=keyed)
    found = stored(subject)
    assert found == upgraded
    assert found.started_at == CREATED
    before = subject.everything()
    assert subject.ledgers.upgrade_stream(ARN, keyed=not keyed) == Lost(None), "what was recorded first stays"
    assert subject.everything() == before


def test_a_stream_without_a_row_is_not_given_one(subject: Subject) -> None:
    assert subject.ledgers.upgrade_stream(ARN, keyed=True) == Lost(None)
    assert stored(subject) is None


def test_a_row_of_this_version_is_not_upgraded(subject: Subject) -> None:
    started = StreamStart(ARN, None, (), complete=False, keyed=True)
    subject.ledgers.record_stream_start(started, None, CREATED)
    assert subject.ledgers.upgrade_stream(ARN, keyed=False) == Lost(None)
    assert stored(subject) == started


def test_the_origin_shows_which_protocol_a_row_is_of(subject: Subject) -> None:
    subject.ledgers.record_stream_start(StreamStart(ARN, None, (), complete=False), None, CREATED)
    subject.delete_stream_start(ARN)
    subject.put_old_stream_start(OLD)
    binding = TableBinding(ARN, *subject.names[:2])
    assert subject.ledgers.read_origin(ARN) == Origin(OLD, binding)
    subject.ledgers.upgrade_stream(ARN, keyed=True)
    assert subject.ledgers.read_origin(ARN) == Origin(replace(OLD, protocol=PROTOCOL, keyed=True), binding)


@pytest.mark.parametrize("upgraded", [False, True])
def test_roots_are_found_late_and_forgotten_in_either_row(subject: Subject, *, upgraded: bool) -> None:
    """The row of the stream before this one may never be upgraded."""
    subject.put_old_stream_start(OLD)
    if upgraded:
        subject.ledgers.upgrade_stream(ARN, keyed=True)
    start = stored(subject)
    assert start is not None
    assert subject.ledgers.adopt(Adoption(start, (row(2, created=CREATED),))) == Done()
    start = stored(subject)
    assert start is not None
    assert start.roots == ("shard-0", "shard-1", "shard-2")
    over = finished(3, unlisted_since=CREATED)
    assert subject.ledgers.adopt(Adoption(start, (over,))) == Done()
    start = stored(subject)
    assert start is not None
    assert subject.ledgers.forget(over, start) == Done()
    assert stored(subject) == replace(start, roots=("shard-0", "shard-1", "shard-2"))


def test_version_0_1_reads_its_own_rows_and_none_of_this_version(dynamo: DynamoSubject) -> None:
    dynamo.put_old_stream_start(OLD)
    assert parsed_by_version_0_1(stream_item(dynamo))["roots"] == OLD.roots
    dynamo.ledgers.upgrade_stream(ARN, keyed=False)
    with pytest.raises(KeyError, match="rootShardIds"):
        parsed_by_version_0_1(stream_item(dynamo))


def test_version_0_1_cannot_read_a_stream_that_this_version_started(dynamo: DynamoSubject) -> None:
    dynamo.ledgers.record_stream_start(StreamStart(ARN, None, ("shard-0",), complete=True), None, CREATED)
    with pytest.raises(KeyError, match="rootShardIds"):
        parsed_by_version_0_1(stream_item(dynamo))


def test_an_upgraded_row_is_that_of_a_new_stream(dynamo: DynamoSubject) -> None:
    dynamo.put_old_stream_start(OLD)
    dynamo.ledgers.upgrade_stream(ARN, keyed=True)
    assert stream_item(dynamo) == {
        "leaseKey": {"S": "stream#2026-01-01T00:00:00.000"},
        "streamArn": {"S": ARN},
        "floor": {"N": "1769860800"},
        "rootShards": {"L": [{"S": "shard-0"}, {"S": "shard-1"}]},
        "keyed": {"BOOL": True},
        "protocol": {"N": "2"},
        "pinComplete": {"BOOL": True},
        "pinnedAt": {"N": "1769860800"},
    }
