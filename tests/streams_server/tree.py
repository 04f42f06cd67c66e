"""Trees of shards as data."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

Tree = tuple[tuple[str, str | None], ...]
"""Shard ids with their parents' ids, parents first."""

ShardName = int | str
"""A shard's id, or its number in `shard_id`."""


def shard_id(name: ShardName) -> str:
    """The id of a shard of this number, in the shape that AWS gives them; an id is left alone."""
    if isinstance(name, str):
        return name
    return f"shardId-{name:020d}-{blake2b(str(name).encode(), digest_size=4).hexdigest()}"


def build_shards(size: int, children: Mapping[int, int | Sequence[int]] | None = None) -> Tree:
    """Shards 0 to `size` - 1: with `{0: 1, 1: [2, 3]}` 0 has rolled over to 1, and 1 was split; the others are roots.

    ValueError for what is no tree.
    """
    parents: dict[int, int] = {}
    for parent, born in (children or {}).items():
        for child in [born] if isinstance(born, int) else born:
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
