"""The transactions that passed, and what must hold of them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Transaction(NamedTuple):
    """A TransactWriteItems that the engine did. `at` in unix seconds; what a transaction has not is None.

    `lease` to `checkpoint` are of a shard's row that moved on. `repeated`: the engine had done it before and did
    nothing again (same client token).
    """

    at: float
    lease: str | None
    owner: str | None
    epoch: int | None
    previous: str | None
    checkpoint: str | None
    players: int
    actions: int
    repeated: bool

    @classmethod
    def of(cls, at: float, actions: Iterable[Mapping[str, Any]], *, repeated: bool) -> "Transaction":
        """From a request's actions: the row that moves on is the first."""
        all_of = [next(iter(action.values())) for action in actions]
        first = all_of[0] if all_of else {}
        lease = first.get("Key", {}).get("leaseKey", {}).get("S")
        values = first.get("ExpressionAttributeValues", {}) if lease else {}
        epoch = values.get(":epoch", {}).get("N")
        return cls(
            at=at,
            lease=lease,
            owner=values.get(":me", {}).get("S"),
            epoch=int(epoch) if epoch is not None else None,
            previous=values.get(":previous", {}).get("S"),
            checkpoint=values.get(":last", {}).get("S"),
            players=sum("playerId" in each.get("Key", {}) for each in all_of),
            actions=len(all_of),
            repeated=repeated,
        )


class Journal:
    """In the order in which the engine answered."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._tokens: set[str] = set()
        self._moved: set[str] = set()

    def has_moved(self, label: str, shard_id: str) -> bool:
        """Whether something of the shard was committed."""
        return f"shard#{label}#{shard_id}" in self._moved

    def note(self, at: float, request: Mapping[str, Any]) -> None:
        """A transaction passed."""
        token = request.get("ClientRequestToken")
        repeated = token is not None and token in self._tokens
        if token is not None:
            self._tokens.add(token)
        transaction = Transaction.of(at, request["TransactItems"], repeated=repeated)
        self.transactions.append(transaction)
        if transaction.lease is not None:
            self._moved.add(transaction.lease)


def dump(log: Iterable[Transaction], path: Path) -> None:
    """Writes JSON lines."""
    with path.open("w") as lines:
        lines.writelines(json.dumps(each._asdict()) + "\n" for each in log)


def load(path: Path) -> list[Transaction]:
    """Reads what `dump` wrote."""
    return [Transaction(**json.loads(line)) for line in path.read_text().splitlines()]


def assert_one_committer(log: Iterable[Transaction]) -> int:
    """An epoch of a shard has one owner and epochs only grow; checkpoints follow on one another and only grow.

    How many moves there were. AssertionError tells both transactions.
    """
    last: dict[str, Transaction] = {}
    moves = 0
    for now in log:
        if now.repeated or now.lease is None or now.previous is None or now.checkpoint is None:
            continue
        moves += 1
        before = last.get(now.lease)
        last[now.lease] = now
        both = f"\n{before}\n{now}"
        assert now.owner is not None, both
        assert now.epoch is not None, both
        assert _rank(now.checkpoint) > _rank(now.previous), f"a checkpoint went back, or stood still: {both}"
        if before is None:
            continue
        assert before.epoch is not None
        assert now.previous == before.checkpoint, f"does not begin where the one before ended: {both}"
        assert now.epoch >= before.epoch, f"a committer of an older epoch: {both}"
        assert now.epoch > before.epoch or now.owner == before.owner, f"two committers in an epoch: {both}"
    return moves


def _rank(checkpoint: str) -> tuple[int, int]:
    match checkpoint:
        case "TRIM_HORIZON":
            return 0, 0
        case "SHARD_END":
            return 2, 0
    return 1, int(checkpoint)
