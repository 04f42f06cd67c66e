"""The server's commands for a test, over HTTP: the same for a server in this process and for one of its own."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.streams_server.faults import Rule
from tests.streams_server.journal import Transaction
from tests.streams_server.operations import Delivery
from tests.streams_server.shard import Item
from tests.streams_server.streams import VIEW
from tests.streams_server.tree import ShardName, Tree, build_shards, shard_id

_ANSWER_SECONDS = 60
_ONE_SHARD = build_shards(1)


class CommandRefused(Exception):
    """The server cannot do it; the sentence says why."""


class ShardState(NamedTuple):
    """A shard as it is. `longest_pause`: seconds between two GetRecords; `last`: its last sequence number."""

    shard_id: str
    parent: str | None
    children: list[str]
    closed: bool
    removed: bool
    records: int
    trimmed: int
    last: str | None
    reads: int
    longest_pause: float


class Tallied(NamedTuple):
    """Calls by operation, in all and in the busiest second; written items by table and operation; read units by table;
    faults by `operation/fault`; transactions and writes refused because of others' transactions."""

    calls: dict[str, int]
    busiest: dict[str, int]
    writes: dict[str, dict[str, int]]
    read_units: dict[str, float]
    faults: dict[str, int]
    conflicts: int


class Remote:
    """`stream` is an ARN, a label or a table; None is the stream that was switched on last. Raises CommandRefused.

    A shard is named by its id, or by its number in `shard_id`.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port)

    # --- streams ---

    def create_stream(
        self,
        table: str,
        tree: Tree = _ONE_SHARD,
        images: Mapping[ShardName, Sequence[Item]] | None = None,
        *,
        view: str = VIEW,
        label: str | None = None,
        keys: Sequence[str] | None = None,
    ) -> str:
        """Switches a stream on; its ARN. `images` are INSERTs from before the parents were closed.

        `keys` are the table's key attributes, None: as the engine tells them.
        """
        filled = {shard_id(name): list(items) for name, items in (images or {}).items()}
        told = {"tree": tree, "images": filled, "view": view, "label": label, "keys": keys}
        return str(self._ask("create_stream", table=table, **told))

    def disable(self, stream: str | None = None) -> None:
        """Switches it off: every open shard ends without children."""
        self._ask("disable", stream=stream)

    def remove_stream(self, stream: str) -> None:
        """24 hours after it was switched off."""
        self._ask("remove_stream", stream=stream)

    def streams(self) -> list[str]:
        """The ARNs, oldest first."""
        return list(self._ask("streams"))

    # --- shards ---

    def append(
        self,
        images: Mapping[ShardName, Sequence[Item]],
        *,
        stream: str | None = None,
        event: str = "INSERT",
        created: float | None = None,
    ) -> dict[str, list[str]]:
        """Writes records of these items (wire form), shard by shard; their sequence numbers by shard id."""
        by_id = {shard_id(name): list(items) for name, items in images.items()}
        return dict(self._ask("append", images=by_id, stream=stream, event=event, created=created))

    def split(self, shard: ShardName, children: int = 2, *, stream: str | None = None) -> list[str]:
        """Ends it; the ids of its children, which take over its keys. One is a roll-over, none a leaf."""
        return list(self._ask("split", shard=shard_id(shard), children=children, stream=stream))

    def add_root(self, *, stream: str | None = None) -> str:
        """A shard without a parent; no key of the table leads to it."""
        return str(self._ask("add_root", stream=stream))

    def trim(self, shard: ShardName, before: int | None = None, *, stream: str | None = None) -> int:
        """The first `before` records that there ever were (None: all) are gone; how many went now."""
        return int(self._ask("trim", shard=shard_id(shard), before=before, stream=stream))

    def remove(self, shard: ShardName, *, stream: str | None = None) -> None:
        """The shard itself is gone, with all its records."""
        self._ask("remove", shard=shard_id(shard), stream=stream)

    def hide(self, shards: Iterable[ShardName], seconds: float, *, stream: str | None = None) -> None:
        """No listing shows them for that long; they can be read."""
        self._ask("hide", shards=[shard_id(shard) for shard in shards], seconds=seconds, stream=stream)

    def show_open(self, shards: Iterable[ShardName], seconds: float, *, stream: str | None = None) -> None:
        """Listings show them as open for that long."""
        self._ask("show_open", shards=[shard_id(shard) for shard in shards], seconds=seconds, stream=stream)

    def shards(self, stream: str | None = None) -> list[ShardState]:
        """All there ever were."""
        return [ShardState(**each) for each in self._ask("shards", stream=stream)]

    def records(self, stream: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """All there ever were, in wire form, by shard id."""
        return dict(self._ask("records", stream=stream))

    # --- behaviour ---

    def expire_iterators(self) -> None:
        """All that were made so far are too old."""
        self._ask("expire_iterators")

    def set_options(self, **values: object) -> dict[str, Any]:
        """Changes some of Options; all as they are now."""
        return dict(self._ask("set_options", **values))

    def set_faults(self, *rules: Rule) -> None:
        """These and no others from now on; none: calm."""
        self._ask("set_faults", rules=[asdict(rule) for rule in rules])

    # --- what happened ---

    def counts(self) -> Tallied:
        """Since the start, or `clear_counts`."""
        return Tallied(**self._ask("counts"))

    def clear_counts(self) -> None:
        """Counts anew, also the shards' reads and pauses; not the logs."""
        self._ask("clear_counts")

    def transactions(self, since: int = 0) -> list[Transaction]:
        """The transactions that passed, without the first `since`; see journal."""
        return [Transaction(*each) for each in self._ask("transactions", since=since)]

    def deliveries(self, since: int = 0) -> list[Delivery]:
        """The pages with records that were answered, without the first `since`."""
        return [Delivery(*each) for each in self._ask("deliveries", since=since)]

    def _ask(self, command: str, **arguments: object) -> Any:
        connection = HTTPConnection(*self._address, timeout=_ANSWER_SECONDS)
        try:
            connection.request("POST", f"/control/{command}", json.dumps(arguments))
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise CommandRefused(f"{command}: {told['error']}")
        return told
