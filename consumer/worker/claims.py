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
        self._open: dict[Shard, tuple[Claim, Errand]] = {}

    @property
    def shards(self) -> KeysView[Shard]:
        """What is being claimed."""
        return self._open.keys()

    def add(self, claim: Claim) -> None:
        """It is due at once."""
        self._open[claim.row.shard] = (claim, Errand())

    def ready(self, now: float) -> list[Claim]:
        """The claims to send now; the caller owes a reply for each."""
        due = [(claim, errand) for claim, errand in self._open.values() if errand.ready(now)]
        for _, errand in due:
            errand.send(now)
        return [claim for claim, _ in due]

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        return min((errand.wake_at for _, errand in self._open.values()), default=inf)

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        return {errand.trouble for _, errand in self._open.values() if errand.trouble}

    def take(self, call: Claim, reply: Reply, now: float) -> LeaseRow | RetryScheduled | None:
        """The row that is ours now; None when it is not: then the ledger tells."""
        _, errand = self._open[call.row.shard]
        errand.land()
        if isinstance(reply, Trouble):
            return errand.retry(call, reply, self._backoff, now, call.lease)
        del self._open[call.row.shard]
        assert isinstance(reply, LeaseRow | Lost)
        row = reply.row if isinstance(reply, Lost) else reply
        if row is None or row.finished or (row.owner, row.epoch) != (call.lease.owner, call.lease.epoch):
            return None
        return row
