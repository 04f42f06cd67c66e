"""The server's commands for a test, over HTTP: the same for a thread of this process and for a process of its own."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.streams_server.faults import Rule
from tests.streams_server.operations import Delivery
from tests.streams_server.shard import Item
from tests.streams_server.stream import VIEW, ShardName, Tree, build_shards, shard_id
from tests.streams_server.transactions import Transaction

_REPLY_SECONDS = 60
_ONE_SHARD = build_shards(1)


class CommandRefused(Exception):
    """The server cannot execute the command; the sentence says why."""


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


class CallCounts(NamedTuple):
    """What was requested since the counts were cleared.

    Calls by operation, in all and in the busiest second; written items by table and operation; read units by table;
    faults by `operation/fault`; `conflicts` are writes that were refused because of other transactions.
    """

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

        `keys` are the table's key attributes; None: those that the engine names.
        """
        filled = {shard_id(name): list(items) for name, items in (images or {}).items()}
        rest = {"tree": tree, "images": filled, "view": view, "label": label, "keys": keys}
        return str(self._run("create_stream", table=table, **rest))

    def disable(self, stream: str | None = None) -> None:
        """Switches it off: every open shard ends without children."""
        self._run("disable", stream=stream)

    def remove_stream(self, stream: str) -> None:
        """24 hours after it was switched off."""
        self._run("remove_stream", stream=stream)

    def streams(self) -> list[str]:
        """The ARNs, oldest first."""
        return list(self._run("streams"))

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
        return dict(self._run("append", images=by_id, stream=stream, event=event, created=created))

    def split(self, shard: ShardName, children: int = 2, *, stream: str | None = None) -> list[str]:
        """Ends a shard; the ids of its children, which take over its keys. One is a roll-over, none a leaf."""
        return list(self._run("split", shard=shard_id(shard), children=children, stream=stream))

    def add_root(self, *, stream: str | None = None) -> str:
        """A shard without a parent; no key of the table leads to it."""
        return str(self._run("add_root", stream=stream))

    def trim(self, shard: ShardName, before: int | None = None, *, stream: str | None = None) -> int:
        """Trims the first `before` records ever written (None: all); how many were trimmed now."""
        return int(self._run("trim", shard=shard_id(shard), before=before, stream=stream))

    def remove(self, shard: ShardName, *, stream: str | None = None) -> None:
        """Removes the shard with all its records."""
        self._run("remove", shard=shard_id(shard), stream=stream)

    def hide(self, shards: Iterable[ShardName], seconds: float, *, stream: str | None = None) -> None:
        """Listings do not show them for that long; they can be read."""
        self._run("hide", shards=[shard_id(shard) for shard in shards], seconds=seconds, stream=stream)

    def show_open(self, shards: Iterable[ShardName], seconds: float, *, stream: str | None = None) -> None:
        """Listings show them as open for that long."""
        self._run("show_open", shards=[shard_id(shard) for shard in shards], seconds=seconds, stream=stream)

    def shards(self, stream: str | None = None) -> list[ShardState]:
        """All shards of the stream, removed ones too."""
        return [ShardState(**state) for state in self._run("shards", stream=stream)]

    def records(self, stream: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """All records ever written, in wire form, by shard id."""
        return dict(self._run("records", stream=stream))

    # --- behaviour ---

    def expire_iterators(self) -> None:
        """All iterators issued so far are expired."""
        self._run("expire_iterators")

    def set_options(self, **values: object) -> dict[str, Any]:
        """Changes some of Options; returns all."""
        return dict(self._run("set_options", **values))

    def set_faults(self, *rules: Rule) -> None:
        """Replaces all rules; none: no faults."""
        self._run("set_faults", rules=[asdict(rule) for rule in rules])

    # --- what happened ---

    def counts(self) -> CallCounts:
        """Since the start, or `clear_counts`."""
        return CallCounts(**self._run("counts"))

    def clear_counts(self) -> None:
        """Starts counting again, also the shards' reads and pauses, but not the logs."""
        self._run("clear_counts")

    def transactions(self, since: int = 0) -> list[Transaction]:
        """The transactions that passed, without the first `since`."""
        return [Transaction(*fields) for fields in self._run("transactions", since=since)]

    def deliveries(self, since: int = 0) -> list[Delivery]:
        """The pages with records that were sent, without the first `since`."""
        return [Delivery(*fields) for fields in self._run("deliveries", since=since)]

    def _run(self, command: str, **arguments: object) -> Any:
        connection = HTTPConnection(*self._address, timeout=_REPLY_SECONDS)
        try:
            connection.request("POST", f"/control/{command}", json.dumps(arguments))
            response = connection.getresponse()
            result = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise CommandRefused(f"{command}: {result['error']}")
        return result


_SHARD_END = "SHARD_END"


def undrained(shards: Iterable[ShardState], rows: Iterable[Mapping[str, Any]], stream_arn: str) -> list[str]:
    """The shards of a stream that are not committed to their end, by their rows in the lease table (wire form)."""
    checkpoints = {
        row["shardId"]["S"]: row["checkpoint"]["S"]
        for row in rows
        if row.get("streamArn", {}).get("S") == stream_arn and "checkpoint" in row
    }
    return [
        f"{shard.shard_id} at {checkpoints.get(shard.shard_id)}"
        for shard in shards
        if not _is_drained(shard, checkpoints.get(shard.shard_id))
    ]


def _is_drained(shard: ShardState, checkpoint: str | None) -> bool:
    if shard.closed:
        return checkpoint == _SHARD_END
    return checkpoint is not None and (shard.records == shard.trimmed or checkpoint == shard.last)
