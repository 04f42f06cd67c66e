"""A stream: a tree of shards that grows, rolls over, splits, ends, hides and is trimmed."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from random import Random
from typing import Any

from tests.streams_server.refusal import not_found
from tests.streams_server.sequence import SequenceNumbers
from tests.streams_server.shard import SPACE, Item, Record, Shard, wire_form
from tests.streams_server.tree import Tree, build_shards, shard_id

REGION = "eu-west-1"
ACCOUNT = "000000000000"


class Stream:
    """`clock` tells the server's unix seconds. `keys` names the table's key attributes, partition key first."""

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
        self.born = clock()
        self.shards: dict[str, Shard] = {}
        """All there ever were, also removed ones."""
        self._clock = clock
        self._random = random
        self._numbers = count()

    # --- growing ---

    def grow(self, tree: Tree) -> None:
        """Shards with their families; parents are open until `close_parents`, so that they can be filled."""
        roots = [each for each, parent in tree if parent is None]
        for at, root in enumerate(roots):
            self._add(root, None, SPACE * at // len(roots), SPACE * (at + 1) // len(roots))
        families: dict[str, list[str]] = {}
        for each, parent in tree:
            if parent is not None:
                families.setdefault(parent, []).append(each)
        for parent, born in families.items():
            self._bear(self.find(parent), born)
        for shard in self.shards.values():
            shard.born = self.born

    def close_parents(self) -> None:
        """A shard with children is closed."""
        for shard in self.shards.values():
            if shard.children:
                shard.close(self._clock())

    def split(self, shard: Shard, children: int = 2) -> list[Shard]:
        """Ends it; its children (one: a roll-over; none: a leaf) take over its keys."""
        if shard.closed is not None:
            raise ValueError(f"shard {shard.shard_id} is closed")
        shard.close(self._clock())
        return self._bear(shard, [self._fresh_id() for _ in range(children)])

    def add_root(self) -> Shard:
        """A shard without a parent that no key of the table leads to."""
        return self._add(self._fresh_id(), None, 0, 0)

    def disable(self) -> None:
        """Every open shard ends without children."""
        self.enabled = False
        for shard in self.shards.values():
            shard.close(self._clock())

    # --- writing ---

    def append(
        self, shard: Shard, event: str, new: Item | None, old: Item | None = None, created: float | None = None
    ) -> str:
        """Writes a record; its sequence number. `created` in unix seconds, None: now."""
        image = new if new is not None else old
        assert image is not None
        keys = {name: image[name] for name in self.keys if name in image}
        images = {name: image for name, image in (("NewImage", new), ("OldImage", old)) if image is not None}
        moment = float(int(self._clock() if created is None else created))
        number = shard.numbers.take()
        event_id = blake2b(f"{self.arn} {shard.shard_id} {number}".encode(), digest_size=16).hexdigest()
        wire = wire_form(event_id, number, event, moment, keys, images, self.view, REGION)
        shard.append(Record(number, moment, wire))
        return str(number)

    def route(self, item: Item) -> Shard:
        """The open shard that the item's key hashes to. ValueError when there is none."""
        key = json.dumps([item.get(name) for name in self.keys[:1]], sort_keys=True).encode()
        at = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
        for shard in self.shards.values():
            if shard.closed is None and shard.low <= at < shard.high:
                return shard
        raise ValueError(f"no open shard of {self.arn} takes the key {key.decode()}")

    # --- looking ---

    def find(self, name: int | str) -> Shard:
        """A shard that is there. Raises Refusal."""
        shard = self.shards.get(shard_id(name))
        if shard is None or shard.removed <= self._clock():
            raise not_found(f"Requested resource not found: Shard does not exist: {name}")
        return shard

    def listed(self, as_of: float) -> list[Shard]:
        """What a listing shows, in the order of the ids."""
        now = self._clock()
        shown = [shard for shard in self.shards.values() if shard.is_listed(as_of, now)]
        return sorted(shown, key=lambda shard: shard.shard_id)

    def description(self, shards: Iterable[dict[str, Any]], *, enabling: bool) -> dict[str, Any]:
        """As DescribeStream tells it."""
        status = "DISABLED" if not self.enabled else "ENABLING" if enabling else "ENABLED"
        roles = ("HASH", "RANGE")
        return {
            "StreamArn": self.arn,
            "StreamLabel": self.label,
            "StreamStatus": status,
            "StreamViewType": self.view,
            "CreationRequestDateTime": self.born,
            "TableName": self.table,
            "KeySchema": [{"AttributeName": key, "KeyType": role} for key, role in zip(self.keys, roles, strict=False)],
            "Shards": list(shards),
        }

    def _add(self, name: str, parent: str | None, low: int, high: int) -> Shard:
        if name in self.shards:
            raise ValueError(f"shard {name} exists")
        self.shards[name] = Shard(name, parent, self._clock(), SequenceNumbers(self._random), low, high)
        return self.shards[name]

    def _bear(self, parent: Shard, names: list[str]) -> list[Shard]:
        width = parent.high - parent.low
        bounds = [parent.low + width * at // max(1, len(names)) for at in range(len(names) + 1)]
        born = [
            self._add(name, parent.shard_id, low, high)
            for name, low, high in zip(names, bounds[:-1], bounds[1:], strict=True)
        ]
        parent.children += names
        return born

    def _fresh_id(self) -> str:
        return next(name for name in map(shard_id, self._numbers) if name not in self.shards)


def fresh_label(unix: float) -> str:
    """A stream's label, as AWS makes them: the moment it was switched on."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "")


ONE_SHARD: Tree = build_shards(1)
