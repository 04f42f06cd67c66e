"""A page of rows is read in a short way where all are as workers write them, with the same result as one by one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.aws.board import read_rows, stored_row
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.marks import ABSENT, Mark, StoredRow

PLAIN = {
    "appliedShard": {"S": "label/shard-0"},
    "appliedTo": {"S": "7"},
    "appliedAt": {"N": "1.5"},
    "lastPlayedDate": {"S": "2026-01-31"},
}
ODD = {"appliedShard": {"N": "1"}, "appliedTo": {"S": "x"}, "appliedAt": {"S": "1"}, "lastPlayedDate": {"S": "soon"}}
ROWS = st.lists(
    st.lists(st.sampled_from(sorted(PLAIN)), unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: st.sampled_from([PLAIN[name], ODD[name]]) for name in names})
    )
    | st.just(PLAIN),
    max_size=4,
)


class Client:
    """Replies to BatchGetItem with `rows`, and has not read the players of `unread`."""

    def __init__(self, rows: dict[str, Any], unread: tuple[str, ...] = ()) -> None:
        responses = {"board": [{"playerId": {"S": player}, **row} for player, row in rows.items()]}
        left = {"board": {"Keys": [{"playerId": {"S": player}} for player in unread]}} if unread else {}
        self.reply = {"Body": json.dumps({"Responses": responses, "UnprocessedKeys": left}).encode()}

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        return self.reply


@given(ROWS)
def test_rows_are_read_as_one_by_one(found: list[dict[str, Any]]) -> None:
    rows = {f"player-{number}": row for number, row in enumerate(found)}
    expected = {player: stored_row({"playerId": {"S": player}, **row}) for player, row in rows.items()}
    assert read_rows(Client(rows), "board", [*rows, "absent"]) == {**expected, "absent": ABSENT}


def test_a_plain_row() -> None:
    row = StoredRow(mark=Mark("label/shard-0", "7", 1.5), date="2026-01-31")
    assert read_rows(Client({"foo": PLAIN}), "board", ["foo"]) == {"foo": row}


def test_what_was_not_read_is_missing() -> None:
    assert list(read_rows(Client({"foo": PLAIN}, ("bar",)), "board", ["foo", "bar", "baz"])) == ["foo", "baz"]
    with pytest.raises(CallFailed) as failed:
        read_rows(Client({}, ("bar",)), "board", ["bar"])
    assert failed.value.kind is FailureKind.THROTTLED


@pytest.mark.parametrize("at", ["", "many"])
def test_a_number_that_is_none_is_a_reply_of_another_shape(at: str) -> None:
    with pytest.raises(CallFailed) as failed:
        read_rows(Client({"foo": PLAIN | {"appliedAt": {"N": at}}}), "board", ["foo"])
    assert failed.value.kind is FailureKind.MALFORMED
