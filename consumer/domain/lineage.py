"""Which shards the ledger must know: the pins' roots, and the children of finished shards."""

from consumer.domain.leases import Shard
from consumer.domain.outcomes import Ledger, StreamListing


def roots(listing: StreamListing) -> tuple[str, ...]:
    """The shards to begin a stream with: all listed ones without a listed parent.

    Parents that are not listed at first sight lie before the beginning: no gap.
    """
    listed = {shard.shard_id for shard in listing.shards}
    return tuple(sorted(shard.shard_id for shard in listing.shards if shard.parent not in listed))


def missing(ledger: Ledger) -> frozenset[Shard]:
    """Shards that must have a row and have none: somebody deleted it, and nobody knows its position (design: G5)."""
    stored = {row.shard for row in ledger.rows}
    expected = {Shard(pin.stream_arn, root) for pin in ledger.pins if pin.complete for root in pin.roots}
    expected.update(Shard(row.shard.stream_arn, child) for row in ledger.rows for child in row.children)
    return frozenset(expected - stored)
