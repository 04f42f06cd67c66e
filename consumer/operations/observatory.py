"""Where `status` looks from: one scan of the lease table, gaps, a count, and the listings of the streams in use."""

import time
from collections.abc import Callable

from consumer.domain.errors import StartRefused, Trouble, TroubleKind
from consumer.domain.operator_ports import Overviews
from consumer.domain.outcomes import StreamListing
from consumer.domain.ports import Streams
from consumer.operations.standing import Status
from consumer.operations.status import status


class Observatory:
    """`newest` finds the stream to read, and raises StartRefused when there is none."""

    def __init__(
        self, overviews: Overviews, streams: Streams, newest: Callable[[], str], lease_ttl_seconds: float
    ) -> None:
        self._overviews = overviews
        self._streams = streams
        self._newest = newest
        self._ttl = lease_ttl_seconds

    def look(self) -> Status:
        """How things stand. The stream may be off by now: what the tables know of it is told. Raises Trouble."""
        table, births = self._overviews.lease_table(), self._overviews.births()
        in_use = {row.shard.stream_arn for row in table.ledger.rows if not row.finished}
        try:
            in_use.add(self._newest())
        except StartRefused:
            if not table.ledger.pins and not births:
                raise
        listings = [listing for arn in sorted(in_use) if (listing := self._listing(arn)) is not None]
        now = max((listing.served_at for listing in listings), default=time.time())
        gaps, pending = self._overviews.gaps(), self._overviews.pending()
        return status(table, listings, gaps, pending, now, self._ttl, births)

    def _listing(self, stream_arn: str) -> StreamListing | None:
        """None for a stream that is gone, or that has no shards yet."""
        try:
            return self._streams.list_shards(stream_arn)
        except Trouble as trouble:
            if trouble.kind is TroubleKind.MISSING:
                return None
            raise
