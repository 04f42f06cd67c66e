"""The commands of a test to the server: each public method is one, with plain JSON as arguments and result."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.streams_server.counts import Counts
from tests.streams_server.faults import SPLIT, Faults, Rule
from tests.streams_server.operations import Operations
from tests.streams_server.options import Options
from tests.streams_server.shard import Item, Shard
from tests.streams_server.stream import ONE_SHARD, VIEW, Stream, Streams
from tests.streams_server.tables import Tables

Images = Mapping[str, Sequence[Item]]
"""Items by shard id."""


class Control:
    """`stream` is an ARN, a label or a table; None is the stream that was switched on last. See Remote for the rest."""

    def __init__(
        self,
        streams: Streams,
        options: Options,
        operations: Operations,
        tables: Tables,
        faults: Faults,
        counts: Counts,
    ) -> None:
        self._streams = streams
        self._options = options
        self._operations = operations
        self._tables = tables
        self._faults = faults
        self._counts = counts

    async def run(self, name: str, arguments: dict[str, Any]) -> Any:
        """Runs a command by its name. LookupError, TypeError, ValueError or Refusal when it cannot be done."""
        command = getattr(self, name, None)
        if name.startswith("_") or name == "run" or command is None:
            raise LookupError(f"no command {name}")
        result = command(**arguments)
        return await result if inspect.isawaitable(result) else result

    def ready(self) -> bool:
        return True

    # --- streams ---

    async def create_stream(
        self,
        table: str,
        tree: Sequence[tuple[str, str | None]] = ONE_SHARD,
        images: Images | None = None,
        view: str = VIEW,
        label: str | None = None,
        keys: Sequence[str] | None = None,
    ) -> str:
        keys = keys if keys is not None else await self._tables.keys(table)
        stream = self._streams.add(table, keys, tuple((shard, parent) for shard, parent in tree), view, label)
        self.append(images or {}, stream.arn)
        stream.close_parents()
        return stream.arn

    def disable(self, stream: str | None = None) -> None:
        self._streams.by_name(stream).disable()

    def remove_stream(self, stream: str) -> None:
        self._streams.remove(self._streams.by_name(stream))

    def streams(self) -> list[str]:
        return [stream.arn for stream in self._streams.all]

    # --- shards ---

    def append(
        self, images: Images, stream: str | None = None, event: str = "INSERT", created: float | None = None
    ) -> dict[str, list[str]]:
        into = self._streams.by_name(stream)
        written: dict[str, list[str]] = {}
        for name, items in images.items():
            shard = into.find(name)
            written[name] = [
                into.append(
                    shard, event, item if event != "REMOVE" else None, item if event != "INSERT" else None, created
                )
                for item in items
            ]
        return written

    def split(self, shard: str, children: int = 2, stream: str | None = None) -> list[str]:
        of = self._streams.by_name(stream)
        added = of.split(of.find(shard), children)
        for child in added:
            if drawn := self._faults.draw(SPLIT):
                child.hidden_until = self._streams.clock() + drawn.seconds
        return [child.shard_id for child in added]

    def add_root(self, stream: str | None = None) -> str:
        return self._streams.by_name(stream).add_root().shard_id

    def trim(self, shard: str, before: int | None = None, stream: str | None = None) -> int:
        found = self._streams.by_name(stream).find(shard)
        return found.trim(len(found.records) if before is None else before)

    def remove(self, shard: str, stream: str | None = None) -> None:
        found = self._streams.by_name(stream).find(shard)
        found.trim(len(found.records))
        found.removed = self._streams.clock()

    def hide(self, shards: Sequence[str], seconds: float, stream: str | None = None) -> None:
        for shard in self._found(shards, stream):
            shard.hidden_until = self._streams.clock() + seconds

    def show_open(self, shards: Sequence[str], seconds: float, stream: str | None = None) -> None:
        for shard in self._found(shards, stream):
            shard.shown_open_until = self._streams.clock() + seconds

    def shards(self, stream: str | None = None) -> list[dict[str, Any]]:
        return [_state(shard) for shard in self._streams.by_name(stream).shards.values()]

    def records(self, stream: str | None = None) -> dict[str, list[dict[str, Any]]]:
        of = self._streams.by_name(stream)
        return {shard.shard_id: [json.loads(record.wire) for record in shard.records] for shard in of.shards.values()}

    # --- behaviour ---

    def expire_iterators(self) -> None:
        self._operations.iterators.expire()

    def set_options(self, **values: object) -> dict[str, Any]:
        self._options.set(**values)
        return asdict(self._options)

    def set_faults(self, rules: Sequence[dict[str, Any]]) -> None:
        self._faults.set([Rule.of(rule) for rule in rules])

    # --- what happened ---

    def counts(self) -> dict[str, Any]:
        return {
            "calls": self._counts.calls,
            "busiest": self._counts.busiest,
            "writes": self._counts.writes,
            "read_units": self._counts.read_units,
            "faults": self._faults.counts,
            "conflicts": self._tables.locks.cancelled,
        }

    def clear_counts(self) -> None:
        """Clears also each shard's reads and pauses, but not the logs."""
        self._counts.clear()
        self._faults.counts.clear()
        self._tables.locks.cancelled = 0
        for stream in self._streams.all:
            for shard in stream.shards.values():
                shard.reads, shard.last_read, shard.longest_pause = 0, None, 0.0

    def transactions(self, since: int = 0) -> list[tuple[Any, ...]]:
        return [tuple(transaction) for transaction in self._tables.log.transactions[since:]]

    def deliveries(self, since: int = 0) -> list[tuple[Any, ...]]:
        return [tuple(delivery) for delivery in self._operations.deliveries[since:]]

    def _found(self, names: Sequence[str], stream: str | None) -> list[Shard]:
        of: Stream = self._streams.by_name(stream)
        return [of.find(name) for name in names]


def _state(shard: Shard) -> dict[str, Any]:
    return {
        "shard_id": shard.shard_id,
        "parent": shard.parent,
        "children": shard.children,
        "closed": shard.closed is not None,
        "removed": shard.removed != float("inf"),
        "records": len(shard.records),
        "trimmed": shard.trimmed,
        "last": str(shard.records[-1].number) if shard.records else None,
        "reads": shard.reads,
        "longest_pause": shard.longest_pause,
    }
