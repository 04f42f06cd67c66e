"""The account finds errors: a record that was left out silently, a gap that covers records that were there."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from tests.chaos.account import Account, Gap
from tests.streams_server import ShardState, Transaction

HORIZON, END = "TRIM_HORIZON", "SHARD_END"


def account(moves: Sequence[str], gaps: Collection[Gap] = (), *, trimmed: int = 0) -> Account:
    """The account of a shard with the records 1 to 6, the second one poison, whose checkpoint made these moves."""
    state = ShardState(
        "s", None, [], closed=True, removed=False, records=6, trimmed=trimmed, last="6", reads=0, longest_pause=0
    )
    log = [
        Transaction(0.0, "shard#label#s", "w1/1", 1, previous, checkpoint, 1, 2, repeated=False)
        for previous, checkpoint in zip([HORIZON, *moves], moves, strict=False)
    ]
    return Account({"s": [wire(number) for number in range(1, 7)]}, [state], log, {"s": list(gaps)}, {("ada", "2")})


def wire(number: int) -> dict[str, Any]:
    item = {"playerId": {"S": "ada"}, "timestamp": {"S": str(number)}, "score": {"N": "1"}}
    if number != 2:
        item["timestamp"] = {"S": f"2026-01-0{number}"}
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": item}}


@pytest.mark.parametrize(
    ("moves", "gaps", "trimmed", "games", "lost"),
    [
        (["3", "6", END], [], 0, 5, 0),
        (["3", "6", END], [], 4, 5, 0),
        (["1", "6", END], [Gap("1", "4")], 3, 4, 2),
        (["1", "6", END], [Gap("1", "2")], 1, 5, 0),
        (["4", END], [Gap("4", None)], 6, 3, 2),
        (["4"], [Gap("4", None)], 6, 3, 2),
        ([END], [Gap(HORIZON, None)], 6, 0, 6),
    ],
    ids=["all", "trimmed after commit", "a gap", "no loss", "a gap to the end", "an open gap", "all lost"],
)
def test_a_correct_account_has_no_errors(
    moves: list[str], gaps: list[Gap], trimmed: int, games: int, lost: int
) -> None:
    found = account(moves, gaps, trimmed=trimmed)
    assert not found.errors
    assert (found.expected.games, found.lost) == (games, lost)


def test_two_shards_may_use_the_same_sequence_numbers() -> None:
    states = [
        ShardState(name, None, [], closed=True, removed=False, records=6, trimmed=0, last="6", reads=0, longest_pause=0)
        for name in "st"
    ]
    log = [
        Transaction(0.0, f"shard#label#{name}", "w1/1", 1, previous, checkpoint, 1, 2, repeated=False)
        for name in "st"
        for previous, checkpoint in ((HORIZON, "6"), ("6", END))
    ]
    found = Account({name: [wire(number) for number in range(1, 7)] for name in "st"}, states, log, {}, {("ada", "2")})
    assert not found.errors
    assert (found.expected.games, sorted(found.poison)) == (10, [("s", "2"), ("t", "2")])


@pytest.mark.parametrize(
    ("moves", "gaps", "trimmed", "error"),
    [
        (["3", END], [], 6, "ended nowhere"),
        (["3"], [], 0, "ended nowhere"),
        (["1", "6", END], [Gap("1", "4")], 2, "not trimmed"),
        (["3", "6", END], [Gap("1", "2")], 6, "gap rows without a checkpoint"),
        (["1", "6", END], [Gap("1", None)], 3, "is open"),
        (["1", "2", "6", END], [Gap("1", "4")], 6, "does not end in the unit"),
        (["5", "7", END], [], 0, "there is no record 7"),
    ],
)
def test_an_error_is_found(moves: list[str], gaps: list[Gap], trimmed: int, error: str) -> None:
    assert any(error in found for found in account(moves, gaps, trimmed=trimmed).errors)
