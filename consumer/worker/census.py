"""The census: what a listing of a stream shows that the ledger does not know, and what it does not show any more."""

from collections.abc import Iterable, Iterator
from typing import Final

from consumer.domain import lineage
from consumer.domain.leases import Adoption, LeaseRow, Pin, Shard
from consumer.domain.outcomes import Ledger, StreamListing
from consumer.worker.absence import Absence
from consumer.worker.calls import Adopt, Forget, Mark, Probe, RecordLoss

MOST_NOTES: Final = 200
"""Rows that one listing marks or forgets."""

Step = RecordLoss | Adopt | Probe | Mark | Forget


class Census:
    """Remembers between listings what only several of them prove. A listing alone never proves absence."""

    def __init__(self) -> None:
        self._listed_at: dict[str, float] = {}
        self._absences: dict[Shard, Absence] = {}
        self._there: set[Shard] = set()
        self._unseen: dict[str, dict[str, float]] = {}

    def compare(self, listing: StreamListing, ledger: Ledger, now: float) -> list[Step]:
        """What is to be done about the differences, in order."""
        gone = self._gone(listing, now)
        late = lineage.latecomers(listing, ledger, self._remember(listing, ledger), gone)
        steps: list[Step] = []
        for adoption in late.adoptions:
            steps += self._adopt(adoption, listing, gone)
        for parent in late.orphans:
            self._absences.setdefault(Shard(listing.stream_arn, parent), Absence())
            steps.append(Probe(Shard(listing.stream_arn, parent)))
        steps += (Mark(row, since) for row, since in lineage.marks(listing, ledger)[:MOST_NOTES])
        steps += (Forget(row, None) for row in lineage.forgettable(listing, ledger)[:MOST_NOTES])
        return steps

    def probed(self, shard: Shard, *, there: bool) -> None:
        """Whether a shard that was asked for can be read."""
        if absence := self._absences.get(shard):
            (absence.found if there else absence.refused)()
        if there:
            self._there.add(shard)

    def adopted(self, rows: Iterable[LeaseRow]) -> None:
        """The ledger knows them now."""
        self._there.difference_update(row.shard for row in rows)

    def _gone(self, listing: StreamListing, now: float) -> list[str]:
        """Shards without a row that are proven gone; a shard that the listing shows is not looked for any more."""
        arn = listing.stream_arn
        for listed in listing.shards:
            self._absences.pop(Shard(arn, listed.shard_id), None)
        absences = {shard.shard_id: absence for shard, absence in self._absences.items() if shard.stream_arn == arn}
        for absence in absences.values():
            absence.stream_answered(now)
        return [shard_id for shard_id, absence in absences.items() if absence.proven]

    def _remember(self, listing: StreamListing, ledger: Ledger) -> dict[str, float]:
        """By unknown shard, the last listing that did not show it: it may wait for a probe, or for its parent."""
        arn = listing.stream_arn
        known = {row.shard.shard_id for row in ledger.rows if row.shard.stream_arn == arn}
        before = self._listed_at.get(arn, listing.served_at - lineage.RETENTION_SECONDS)
        shown = self._unseen.get(arn, {})
        ids = {each.shard_id for each in listing.shards} | shown.keys()
        self._unseen[arn] = {shard_id: shown.get(shard_id, before) for shard_id in ids - known}
        self._listed_at[arn] = listing.served_at
        return self._unseen[arn]

    def _adopt(self, adoption: Adoption, listing: StreamListing, gone: list[str]) -> Iterator[Step]:
        """A shard that would be a root is asked for first: an old listing may show what has long been forgotten."""
        if not isinstance(adoption.into, Pin):
            yield Adopt(adoption)
            return
        rows = tuple(row for row in adoption.rows if row.shard in self._there)
        ids = {row.shard.shard_id for row in rows}
        lost = {each.parent for each in listing.shards if each.shard_id in ids and each.parent in gone}
        for parent in sorted(filter(None, lost)):
            yield RecordLoss(Shard(listing.stream_arn, parent), listing.served_at)
        if rows:
            yield Adopt(Adoption(adoption.into, rows))
        for row in adoption.rows:
            if row.shard not in self._there:
                yield Probe(row.shard)
