"""The items that transactions hold while they are under way, as AWS holds them and no emulator does."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.streams_server.refusal import Refusal, cancelled

_ONGOING = "Transaction is ongoing for the item"
_CONFLICT = "TransactionConflict"

Key = tuple[str, str]
"""A table, and a key of it in one spelling."""


class Holds:
    """Who holds what."""

    def __init__(self) -> None:
        self.cancelled = 0
        self._held: Counter[Key] = Counter()
        self._tokens: Counter[str] = Counter()

    def take(self, keys: Sequence[Key], token: str | None) -> None:
        """Holds them all, or raises Refusal: the same request is under way, or another holds some of them."""
        if token is not None and self._tokens[token]:
            raise Refusal(
                "TransactionInProgressException", "The transaction with the given request token is already in progress."
            )
        self.refuse_held(keys)
        self._held.update(keys)
        if token is not None:
            self._tokens[token] += 1

    def release(self, keys: Iterable[Key], token: str | None) -> None:
        """The transaction is over."""
        for key in keys:
            self._held[key] -= 1
            if self._held[key] <= 0:
                del self._held[key]
        if token is not None:
            self._tokens[token] -= 1
            if self._tokens[token] <= 0:
                del self._tokens[token]

    def refuse_held(self, keys: Sequence[Key]) -> None:
        """For a transaction: raises Refusal with a reason an action."""
        codes = [_CONFLICT if key in self._held else "None" for key in keys]
        if _CONFLICT in codes:
            self.cancelled += 1
            raise conflict(codes)

    def refuse_write(self, key: Key) -> None:
        """For a write of one item: raises Refusal when a transaction holds it."""
        if key in self._held:
            self.cancelled += 1
            raise write_conflict()


def conflict(codes: list[str]) -> Refusal:
    """A transaction was cancelled because of others."""
    return cancelled(codes, {_CONFLICT: _ONGOING, "ThrottlingError": _THROTTLING})


def write_conflict() -> Refusal:
    """A write was refused because of a transaction."""
    return Refusal("TransactionConflictException", _ONGOING)


def key_of(table: str, key: Mapping[str, Any]) -> Key:
    """In one spelling."""
    return table, json.dumps(key, sort_keys=True)


_THROTTLING = (
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or "
    "index so please try again shortly."
)
