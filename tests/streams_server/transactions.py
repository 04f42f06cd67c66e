"""Transactions: the items that they lock while they run, and the log of those that passed."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.streams_server.refusal import Refusal, cancelled

_ONGOING = "Transaction is ongoing for the item"
_CONFLICT = "TransactionConflict"

Key = tuple[str, str]
"""A table, and a key of it as text."""


class ItemLocks:
    """The items that transactions lock while they run, as DynamoDB does and no emulator."""

    def __init__(self) -> None:
        self.cancelled = 0
        self._locked: Counter[Key] = Counter()
        self._tokens: Counter[str] = Counter()

    def take(self, keys: Sequence[Key], token: str | None) -> None:
        """Locks all keys, or raises Refusal: the same request runs already, or another one has locked some of them."""
        if token is not None and self._tokens[token]:
            raise Refusal(
                "TransactionInProgressException", "The transaction with the given request token is already in progress."
            )
        self.refuse_locked(keys)
        self._locked.update(keys)
        if token is not None:
            self._tokens[token] += 1

    def release(self, keys: Iterable[Key], token: str | None) -> None:
        """Ends the locks of a transaction."""
        for key in keys:
            self._locked[key] -= 1
            if self._locked[key] <= 0:
                del self._locked[key]
        if token is not None:
            self._tokens[token] -= 1
            if self._tokens[token] <= 0:
                del self._tokens[token]

    def refuse_locked(self, keys: Sequence[Key]) -> None:
        """For a transaction: raises Refusal with one reason per action when an item is locked."""
        codes = [_CONFLICT if key in self._locked else "None" for key in keys]
        if _CONFLICT in codes:
            self.cancelled += 1
            raise conflict(codes)

    def holds(self, key: Key) -> bool:
        """For a write of one item: whether a transaction has locked it."""
        self.cancelled += key in self._locked
        return key in self._locked

    def refuse_write(self, key: Key) -> None:
        """Raises Refusal when a transaction has locked the item."""
        if self.holds(key):
            raise write_conflict()


def conflict(codes: list[str]) -> Refusal:
    """A transaction was cancelled because of other transactions."""
    return cancelled(codes, {_CONFLICT: _ONGOING, "ThrottlingError": _THROTTLING})


def write_conflict() -> Refusal:
    """A write of one item was refused because of a transaction."""
    return Refusal("TransactionConflictException", _ONGOING)


def item_key(table: str, key: Mapping[str, Any]) -> Key:
    """The key of an item as text that can be compared."""
    return table, json.dumps(key, sort_keys=True)


_THROTTLING = (
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or "
    "index so please try again shortly."
)


class Transaction(NamedTuple):
    """A TransactWriteItems, or an UpdateItem that moves a checkpoint, that the engine executed.

    `at` in unix seconds; None for what it does not have.

    `lease` to `checkpoint` are of the shard's row that moved. `repeated`: the engine had executed it before, with the
    same token, and did nothing.
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
        """From a request's actions; the row that moves is the first."""
        parts = [next(iter(action.values())) for action in actions]
        first = parts[0] if parts else {}
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
            players=sum("playerId" in part.get("Key", {}) for part in parts),
            actions=len(parts),
            repeated=repeated,
        )


class TransactionLog:
    """The transactions that passed, in the order in which the engine replied."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._tokens: set[str] = set()
        self._moved: set[str] = set()

    def has_moved(self, label: str, shard_id: str) -> bool:
        """Whether a record of the shard was committed."""
        return f"shard#{label}#{shard_id}" in self._moved

    def note(self, at: float, request: Mapping[str, Any]) -> None:
        """Adds a transaction that passed."""
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
        lines.writelines(json.dumps(transaction._asdict()) + "\n" for transaction in log)


def load(path: Path) -> list[Transaction]:
    """Reads what `dump` wrote."""
    return [Transaction(**json.loads(line)) for line in path.read_text().splitlines()]


def assert_one_committer(log: Iterable[Transaction]) -> int:
    """Per shard: an epoch has one owner, epochs only grow, and each checkpoint follows the one before and only grows.

    Returns the number of moves. AssertionError shows both transactions.
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
        assert _rank(now.checkpoint) > _rank(now.previous), f"a checkpoint went back, or did not move: {both}"
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
