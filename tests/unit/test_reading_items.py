"""Index rows are read with the head rows of their records; what was not read of either is left out."""

import json
from typing import Any

import pytest

from consumer.aws.corrections import index_item, read_items
from consumer.aws.items import quarantine_key
from consumer.domain.corrections import FoundItem, IndexRow, RecordKey
from consumer.domain.errors import CallFailed, FailureKind

A, B, C, D = (f'{{"id":{{"S":"{name}"}}}}' for name in "abcd")


def index(item: str, seq: int | None) -> IndexRow:
    return IndexRow(item, None if seq is None else RecordKey("shard-0", str(seq)), None)


def head(seq: int, state: str = "pending", parts: int = 2) -> dict[str, Any]:
    return {**quarantine_key("shard-0", str(seq)), "state": {"S": state}, "parts": {"N": str(parts)}}


class Client:
    """A quarantine table with these items; of the first read it leaves out what has these keys."""

    def __init__(self, *items: dict[str, Any], unread: tuple[dict[str, Any], ...] = ()) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self._items = items
        self._unread = [self._key(item) for item in unread]

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        ((table, wanted),) = RequestItems.items()
        assert wanted["ConsistentRead"], "what an earlier transaction wrote must be seen"
        keys = wanted["Keys"]
        self.calls.append(keys)
        assert len({str(key) for key in keys}) == len(keys), "DynamoDB refuses a key that is given twice"
        left = [key for key in keys if key in self._unread]
        found = [item for item in self._items if self._key(item) in keys and self._key(item) not in left]
        unread = {table: {"Keys": left}} if left else {}
        return {"Body": json.dumps({"Responses": {table: found}, "UnprocessedKeys": unread}).encode()}

    @staticmethod
    def _key(item: dict[str, Any]) -> dict[str, Any]:
        return {name: item[name] for name in ("shardId", "sequenceNumber")}


def test_without_an_index_row_one_call_is_enough() -> None:
    client = Client(index_item(index(C, None)))
    assert read_items(client, "quarantine", [A, B, C]) == {A: None, B: None, C: FoundItem(index(C, None))}
    assert [len(keys) for keys in client.calls] == [3]


def test_heads_are_read_after_their_index_rows() -> None:
    """So an operator who changes both between the reads changes the row's record too: the transaction finds that."""
    rows = [index_item(index(item, seq)) for item, seq in ((A, 1), (B, 2), (C, 3))]
    client = Client(*rows, head(1), head(2, "discarded", 1))
    assert read_items(client, "quarantine", [A, B, C, D]) == {
        A: FoundItem(index(A, 1), "pending", 2),
        B: FoundItem(index(B, 2), "discarded", 1),
        C: FoundItem(index(C, 3)),
        D: None,
    }
    assert [len(keys) for keys in client.calls] == [4, 3]


def test_items_of_which_something_was_not_read_are_left_out() -> None:
    first, second = (index_item(index(item, seq)) for item, seq in ((A, 1), (B, 2)))
    assert read_items(Client(first, second, head(1), head(2), unread=(first,)), "quarantine", [A, B, C]) == {
        B: FoundItem(index(B, 2), "pending", 2),
        C: None,
    }
    assert read_items(Client(first, second, head(1), head(2), unread=(head(2),)), "quarantine", [A, B, C]) == {
        A: FoundItem(index(A, 1), "pending", 2),
        C: None,
    }


def test_when_nothing_was_read_the_call_has_failed() -> None:
    row = index_item(index(A, 1))
    for unread in (row, head(1)):
        with pytest.raises(CallFailed) as failed:
            read_items(Client(row, head(1), unread=(unread,)), "quarantine", [A])
        assert failed.value.kind is FailureKind.THROTTLED


@pytest.mark.parametrize(
    "damage",
    [
        {"itemKey": {"S": "a"}},
        {"itemKey": {"M": {"id": {"S": "another"}}}},
        {"counted": {"M": {"playerId": {"S": "foo"}}}},
        {"recordSequenceNumber": {"N": "1"}},
    ],
)
def test_a_damaged_index_row_is_a_failed_call(damage: dict[str, Any]) -> None:
    """No record is to blame, and nothing is guessed."""
    with pytest.raises(CallFailed):
        read_items(Client({**index_item(index(A, 1)), **damage}), "quarantine", [A])
