"""The end of a shard: its children, as far as they are visible, and the transaction that makes their rows."""

from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.outcomes import Children, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker.calls import EndShard, FindChildren


class Ending:
    """`children` None: nobody has shown any yet, and it is not known that there are none."""

    def __init__(self, shard: Shard) -> None:
        self.children: Children | None = None
        self._shard = shard
        self._existing: frozenset[str] = frozenset()

    def next_call(self, lease: Lease, checkpoint: str, created: float | None) -> FindChildren | EndShard:
        """`created`: the children's records were created after it (unix seconds)."""
        children = self.children
        if children is None:
            return FindChildren(lease)
        missing = (child for child in children.shard_ids if child not in self._existing)
        rows = tuple(new_row(lease, child, children.served_at, created) for child in missing)
        return EndShard(lease, checkpoint, children.shard_ids, rows)

    def hear(self, listing: StreamListing) -> bool:
        """Whether a listing shows children that nobody has shown before."""
        if self.children is not None:
            return False
        mine = tuple(sorted(each.shard_id for each in listing.shards if each.parent == self._shard.shard_id))
        if mine:
            self.children = Children(mine, leaf=False, served_at=listing.served_at)
        return bool(mine)

    def take(self, children: Children, *, gone: bool) -> bool:
        """Whether it is known by now which they are. A shard that is gone has those that can be seen."""
        if self.children is None and (children.shard_ids or children.leaf or gone):
            self.children = children
        return self.children is not None

    def leave_out(self, existing: frozenset[str]) -> None:
        """These have their rows already."""
        self._existing |= existing


def new_row(lease: Lease, child: str, served_at: float, created: float | None) -> LeaseRow:
    """A child's, kept by the same worker. Its epoch starts at the seconds since 1970: above all before it, if any."""
    shard = lease.shard
    name = Shard(shard.stream_arn, child)
    return LeaseRow(name, lease.owner, int(served_at), TRIM_HORIZON, shard.shard_id, created=created)
