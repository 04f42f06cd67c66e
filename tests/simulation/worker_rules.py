"""Rules between workers, and of what the ledger knows, taken away; see mutations."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from consumer.domain import lineage
from consumer.domain.leases import LeaseRow, Members
from consumer.domain.membership import Observer
from consumer.domain.outcomes import Ledger, StreamListing
from consumer.domain.position import SHARD_END
from consumer.worker import ending
from consumer.worker.calls import Adopt, Claim, ShardCall
from consumer.worker.census import Census
from consumer.worker.claims import Claims
from consumer.worker.coordinator import Coordinator
from consumer.worker.events import RetryScheduled
from consumer.worker.holdings import Holdings
from consumer.worker.pinning import Pinning
from consumer.worker.pulse import Pulse
from consumer.worker.worker import Worker
from tests.simulation.mutations import mutation


@mutation
def answer_of_this_epoch() -> Iterator[None]:
    """An answer to an earlier epoch's question is taken for one to ours."""
    original = Worker.take

    def take(self: Worker, call: Any, reply: Any, now: float) -> Any:
        machine = self.shards.get(call.lease.shard) if isinstance(call, ShardCall) else None
        return original(self, replace(call, lease=machine.lease) if machine else call, reply, now)

    with patch.object(Worker, "take", take):
        yield


@mutation
def parent_first() -> Iterator[None]:
    """A child gets its row while its parent is read (adopting it must be allowed by the table, too)."""
    original = lineage.latecomers

    def latecomers(listing: StreamListing, ledger: Ledger, *given: Any) -> Any:
        rows = tuple(replace(row, checkpoint=SHARD_END) for row in ledger.rows)
        return original(listing, Ledger(rows, ledger.pins), *given)

    with patch.object(lineage, "latecomers", latecomers):
        yield


@mutation
def commit_only_vouched() -> Iterator[None]:
    """A worker whose beat cannot be written commits on."""
    with patch.object(Pulse, "may_commit", lambda *_: True):
        yield


@mutation
def claim_raises_epoch() -> Iterator[None]:
    """A claim keeps the epoch that it finds."""
    original = Claims.add

    def add(self: Claims, claim: Claim) -> None:
        original(self, replace(claim, lease=claim.lease._replace(epoch=claim.row.epoch)))

    with patch.object(Claims, "add", add):
        yield


@mutation
def epoch_starts_at_seconds() -> Iterator[None]:
    """A new row begins with epoch 0."""
    born, row, new = ending.new_row, Pinning._row, lineage.new_row

    def first(found: LeaseRow) -> LeaseRow:
        return replace(found, epoch=0)

    with (
        patch.object(ending, "new_row", lambda *given: first(born(*given))),
        patch.object(Pinning, "_row", lambda *given: first(row(*given))),
        patch.object(lineage, "new_row", lambda *given: first(new(*given))),
    ):
        yield


@mutation
def plan_after_load() -> Iterator[None]:
    """A plan is made from a look of before the ledger was read."""
    original = Coordinator._take_step

    def take_step(self: Coordinator, call: Any, reply: Any, now: float) -> Any:
        told = original(self, call, reply, now)
        if isinstance(reply, Ledger):
            self._plan_after = -1.0
        return told

    with patch.object(Coordinator, "_take_step", take_step):
        yield


@mutation
def silence_of_a_ttl() -> Iterator[None]:
    """Whoever has not beaten for a while is dead."""

    def dead(self: Observer) -> frozenset[str]:
        now = self._asked_at or 0.0
        return frozenset(owner for owner, watch in self._watches.items() if now - watch.since >= self._ttl / 8)

    with patch.object(Observer, "dead", dead):
        yield


@mutation
def observes_anew_after_hole() -> Iterator[None]:
    """What was seen before a pause counts on."""
    original = Observer.see

    def see(self: Observer, members: Members, asked_at: float, answered_at: float) -> None:
        self._asked_at = None
        original(self, members, asked_at, answered_at)

    with patch.object(Observer, "see", see):
        yield


@mutation
def probe_before_adoption() -> Iterator[None]:
    """A listing alone is enough to take up a root."""
    with patch.object(Census, "_adopt", lambda _, adoption, *__: [Adopt(adoption)]):
        yield


@mutation
def tables_belong_together() -> Iterator[None]:
    """Nobody compares pin and birth row."""
    with patch.object(Pinning, "_refuse_mismatch", lambda *_: None):
        yield


@mutation
def begins_as_claimed() -> Iterator[None]:
    """A shard is begun where it was when the ledger was read."""
    original = Claims.take

    def take(self: Claims, call: Claim, *given: Any) -> Any:
        taken = original(self, call, *given)
        return replace(taken, checkpoint=call.row.checkpoint) if isinstance(taken, LeaseRow) else taken

    with patch.object(Claims, "take", take):
        yield


@mutation
def claim_asked_again() -> Iterator[None]:
    """A claim without an answer is forgotten."""
    original = Claims.take

    def take(self: Claims, call: Claim, *given: Any) -> Any:
        taken = original(self, call, *given)
        if isinstance(taken, RetryScheduled):
            del self._open[call.row.shard]
            return None
        return taken

    with patch.object(Claims, "take", take):
        yield


@mutation
def accounts_for_its_name() -> Iterator[None]:
    """A worker leaves without a last look at what is in its name."""
    with patch.object(Holdings, "account", lambda _: None):
        yield


@mutation
def floor_in_every_shard() -> Iterator[None]:
    """Records of before the start position count."""
    with patch.object(Coordinator, "floor_of", lambda *_: None):
        yield
