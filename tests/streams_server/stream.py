"""Streams: trees of shards as data, a stream whose shards split, end and hide, and all streams of a server."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from random import Random
from typing import Any

from tests.streams_server.refusal import not_found
from tests.streams_server.shard import SPACE, Item, Record, SequenceNumbers, Shard, wire_form

Tree = tuple[tuple[str, str | None], ...]
"""Shard ids with their parents' ids, parents first."""

ShardName = int | str
"""A shard's id, or its number in `shard_id`."""


def shard_id(name: ShardName) -> str:
    """The id of a shard of this number, in the form of AWS; an id is returned as it is."""
    if isinstance(name, str):
        return name
    return f"shardId-{name:020d}-{blake2b(str(name).encode(), digest_size=4).hexdigest()}"


def build_shards(size: int, children: Mapping[int, int | Sequence[int]] | None = None) -> Tree:
    """Shards 0 to `size` - 1: with `{0: 1, 1: [2, 3]}` 0 has rolled over to 1, and 1 was split; the others are roots.

    ValueError when it is no tree.
    """
    parents: dict[int, int] = {}
    for parent, numbers in (children or {}).items():
        for child in [numbers] if isinstance(numbers, int) else numbers:
            if child in parents or not (0 <= child < size and 0 <= parent < size):
                raise ValueError(f"{child} cannot be a child of {parent}: unknown, or it has a parent already")
            parents[child] = parent
    order: list[int] = []
    waiting = list(range(size))
    while waiting:
        ready = [number for number in waiting if parents.get(number) in (None, *order)]
        if not ready:
            raise ValueError(f"{waiting} descend from one another")
        order += ready
        waiting = [number for number in waiting if number not in ready]
    return tuple((shard_id(number), shard_id(parents[number]) if number in parents else None) for number in order)


REGION = "eu-west-1"
ACCOUNT = "000000000000"


class Stream:
    """A stream. `clock`: the server's unix seconds; `keys`: the table's key attributes, partition key first."""

    def __init__(
        self,
        table: str,
        label: str,
        keys: Sequence[str],
        view: str,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self.table = table
        self.label = label
        self.arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/{label}"
        self.keys = tuple(keys)
        self.view = view
        self.enabled = True
        self.enabled_at = clock()
        self.shards: dict[str, Shard] = {}
        """All shards, removed ones too."""
        self._clock = clock
        self._random = random
        self._numbers = count()

    # --- shards ---

    def add_tree(self, tree: Tree) -> None:
        """Adds shards with their children; parents stay open until `close_parents`, so that they can be filled."""
        roots = [shard for shard, parent in tree if parent is None]
        for at, root in enumerate(roots):
            self._add(root, None, SPACE * at // len(roots), SPACE * (at + 1) // len(roots))
        children: dict[str, list[str]] = {}
        for shard_id_, parent in tree:
            if parent is not None:
                children.setdefault(parent, []).append(shard_id_)
        for parent, ids in children.items():
            self._add_children(self.find(parent), ids)
        for shard in self.shards.values():
            shard.opened_at = self.enabled_at

    def close_parents(self) -> None:
        """Closes every shard that has children."""
        for shard in self.shards.values():
            if shard.children:
                shard.close(self._clock())

    def split(self, shard: Shard, children: int = 2) -> list[Shard]:
        """Ends a shard; its children (one: a roll-over; none: a leaf) take over its keys."""
        if shard.closed is not None:
            raise ValueError(f"shard {shard.shard_id} is closed")
        shard.close(self._clock())
        return self._add_children(shard, [self._fresh_id() for _ in range(children)])

    def add_root(self) -> Shard:
        """A shard without a parent; no key of the table is hashed to it."""
        return self._add(self._fresh_id(), None, 0, 0)

    def disable(self) -> None:
        """Switches the stream off: every open shard ends without children."""
        self.enabled = False
        for shard in self.shards.values():
            shard.close(self._clock())

    # --- writing ---

    def append(
        self,
        shard: Shard,
        event: str,
        new: Item | None,
        old: Item | None = None,
        created: float | None = None,
        *,
        expired: bool = False,
    ) -> str:
        """Writes a record; its sequence number. `created` in unix seconds, None: now. `expired`: see wire_form."""
        image = new if new is not None else old
        assert image is not None
        keys = {name: image[name] for name in self.keys if name in image}
        images = {name: image for name, image in (("NewImage", new), ("OldImage", old)) if image is not None}
        created_at = float(int(self._clock() if created is None else created))
        number = shard.numbers.take()
        event_id = blake2b(f"{self.arn} {shard.shard_id} {number}".encode(), digest_size=16).hexdigest()
        wire = wire_form(event_id, number, event, created_at, keys, images, self.view, REGION, expired=expired)
        shard.append(Record(number, created_at, wire))
        return str(number)

    def route(self, item: Item) -> Shard:
        """The open shard to which the item's key is hashed. ValueError when there is none."""
        key = json.dumps([item.get(name) for name in self.keys[:1]], sort_keys=True).encode()
        at = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
        for shard in self.shards.values():
            if shard.closed is None and shard.low <= at < shard.high:
                return shard
        raise ValueError(f"no open shard of {self.arn} takes the key {key.decode()}")

    # --- reading ---

    def find(self, name: int | str) -> Shard:
        """An existing shard. Raises Refusal when there is none."""
        shard = self.shards.get(shard_id(name))
        if shard is None or shard.removed <= self._clock():
            raise not_found(f"Requested resource not found: Shard does not exist: {name}")
        return shard

    def listed(self, as_of: float) -> list[Shard]:
        """The shards of a listing, in the order of their ids."""
        now = self._clock()
        shown = [shard for shard in self.shards.values() if shard.is_listed(as_of, now)]
        return sorted(shown, key=lambda shard: shard.shard_id)

    def description(self, shards: Iterable[dict[str, Any]], *, enabling: bool) -> dict[str, Any]:
        """The stream as DescribeStream shows it."""
        status = "DISABLED" if not self.enabled else "ENABLING" if enabling else "ENABLED"
        roles = ("HASH", "RANGE")
        return {
            "StreamArn": self.arn,
            "StreamLabel": self.label,
            "StreamStatus": status,
            "StreamViewType": self.view,
            "CreationRequestDateTime": self.enabled_at,
            "TableName": self.table,
            "KeySchema": [{"AttributeName": key, "KeyType": role} for key, role in zip(self.keys, roles, strict=False)],
            "Shards": list(shards),
        }

    def _add(self, name: str, parent: str | None, low: int, high: int) -> Shard:
        if name in self.shards:
            raise ValueError(f"shard {name} exists")
        self.shards[name] = Shard(name, parent, self._clock(), SequenceNumbers(self._random), low, high)
        return self.shards[name]

    def _add_children(self, parent: Shard, names: list[str]) -> list[Shard]:
        width = parent.high - parent.low
        bounds = [parent.low + width * at // max(1, len(names)) for at in range(len(names) + 1)]
        children = [
            self._add(name, parent.shard_id, low, high)
            for name, low, high in zip(names, bounds[:-1], bounds[1:], strict=True)
        ]
        parent.children += names
        return children

    def _fresh_id(self) -> str:
        return next(name for name in map(shard_id, self._numbers) if name not in self.shards)


def fresh_label(unix: float) -> str:
    """A stream's label as AWS makes it: the time when it was switched on."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "")


ONE_SHARD: Tree = build_shards(1)


VIEW = "NEW_AND_OLD_IMAGES"


class Streams:
    """All streams of all tables, in the order in which they were switched on."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self.all: list[Stream] = []
        self.clock = clock
        self._random = random

    def add(
        self, table: str, keys: Sequence[str], tree: Tree = ONE_SHARD, view: str = VIEW, label: str | None = None
    ) -> Stream:
        """Switches a stream on; its parents stay open. ValueError when the table's latest one is on."""
        before = self.latest(table)
        if before is not None and before.enabled:
            raise ValueError(f"the stream of {table} is on: {before.arn}")
        at = self.clock()
        while label is None or self._has(table, label):
            label = fresh_label(at)
            at += 0.001
        stream = Stream(table, label, keys, view, self.clock, self._random)
        stream.add_tree(tree)
        self.all.append(stream)
        return stream

    def remove(self, stream: Stream) -> None:
        """Removes a stream, as DynamoDB does 24 hours after it was switched off."""
        self.all.remove(stream)

    def latest(self, table: str) -> Stream | None:
        """The table's newest stream."""
        return next((stream for stream in reversed(self.all) if stream.table == table), None)

    def by_arn(self, arn: object) -> Stream:
        """The stream of this ARN. Raises Refusal."""
        found = next((stream for stream in self.all if stream.arn == arn), None)
        if found is None:
            raise not_found(f"Requested resource not found: Stream: {arn} not found")
        return found

    def by_name(self, name: str | None) -> Stream:
        """By ARN, by label, by table (its newest one); None: the newest of all. Raises Refusal."""
        for stream in reversed(self.all):
            if name is None or name in (stream.arn, stream.label, stream.table):
                return stream
        raise not_found(f"no stream {name}")

    def _has(self, table: str, label: str) -> bool:
        return any((stream.table, stream.label) == (table, label) for stream in self.all)
