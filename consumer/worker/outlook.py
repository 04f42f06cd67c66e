"""How far behind the shards are that this worker does not work: others vouch for theirs, nobody for the rest."""

from collections.abc import Collection, Mapping
from typing import Final

from consumer.domain.leases import Shard, Vouch
from consumer.domain.outcomes import Ledger

ALONE_TTLS: Final = 3
"""A shard that nobody works for longer than this counts as behind; a hand-over takes less."""


class Outlook:
    """Remembers of each shard until when all is known to be committed (unix seconds), and since when it is alone."""

    def __init__(self, lease_ttl_seconds: float) -> None:
        self._patience_seconds = ALONE_TTLS * lease_ttl_seconds
        self._since: dict[Shard, float] = {}
        self._alone: dict[Shard, float] = {}

    def lag_seconds(
        self,
        ledger: Ledger,
        vouches: Mapping[str, Vouch],
        mine: Collection[Shard],
        halted: Collection[Shard],
        now: float,
        unix_now: float,
    ) -> float:
        """The worst lag of the others' shards and of those that are nobody's. `vouches` are those of the living."""
        others = [row for row in ledger.rows if not row.finished and row.shard not in mine]
        worst = 0.0
        alone = set(halted)
        for row in others:
            vouch = vouches.get(row.owner) if row.owner is not None else None
            self._note(row.shard, row.created)
            if vouch is None:
                alone.add(row.shard)
            elif vouch.as_of:
                self._note(row.shard, vouch.as_of - vouch.lag_seconds)
                worst = max(worst, vouch.lag_seconds)
        self._alone = {shard: self._alone.get(shard, now) for shard in alone}
        for shard, alone_since in self._alone.items():
            if now - alone_since >= self._patience_seconds and (since := self._since.get(shard)):
                worst = max(worst, unix_now - since)
        known = alone.union(row.shard for row in others)
        self._since = {shard: since for shard, since in self._since.items() if shard in known}
        return worst

    def unowned(self, halted: Collection[Shard], now: float) -> int:
        """Shards that nobody has worked for longer than a hand-over takes. A halted one has a reason of its own."""
        return sum(now - since >= self._patience_seconds for shard, since in self._alone.items() if shard not in halted)

    def _note(self, shard: Shard, since: float | None) -> None:
        if since:
            self._since[shard] = max(since, self._since.get(shard, 0.0))
