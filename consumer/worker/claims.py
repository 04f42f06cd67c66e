"""This worker's claims, from the decision to the answer. One whose answer is open is asked again: it may be ours."""

from collections.abc import KeysView
from math import inf

from consumer.domain.errors import Trouble
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.outcomes import Lost
from consumer.domain.ports import Backoff
from consumer.worker.calls import Claim, Reply
from consumer.worker.errand import Errand
from consumer.worker.events import RetryScheduled


class Claims:
    """A claim asked again is the same one, so that a first attempt that arrives late takes no effect any more."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._open: dict[Shard, Claim] = {}
        self._errands: dict[Shard, Errand] = {}

    @property
    def shards(self) -> KeysView[Shard]:
        """What is being claimed."""
        return self._open.keys()

    def add(self, claim: Claim) -> None:
        """It is due at once."""
        self._open[claim.row.shard] = claim
        self._errands[claim.row.shard] = Errand()

    def ready(self, now: float) -> list[Claim]:
        """The claims to send now; the caller owes a reply for each."""
        due = [shard for shard, errand in self._errands.items() if errand.ready(now)]
        for shard in due:
            self._errands[shard].send(now)
        return [self._open[shard] for shard in due]

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        return min((errand.wake_at for errand in self._errands.values()), default=inf)

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {errand.trouble for errand in self._errands.values() if errand.trouble}

    def take(self, call: Claim, reply: Reply, now: float) -> LeaseRow | RetryScheduled | None:
        """The row that is ours now; None when it is not: then the ledger tells."""
        shard = call.row.shard
        errand = self._errands[shard]
        errand.land()
        if isinstance(reply, Trouble):
            return errand.retry(call, reply, self._backoff, now, call.lease)
        del self._open[shard], self._errands[shard]
        assert isinstance(reply, LeaseRow | Lost)
        row = reply.row if isinstance(reply, Lost) else reply
        if row is None or row.finished or (row.owner, row.epoch) != (call.lease.owner, call.lease.epoch):
            return None
        return row
