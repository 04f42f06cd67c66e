"""What this worker owns, claims and hands over, according to the ledger as last read and the planner."""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Protocol

from consumer.domain.breaker import Circuit
from consumer.domain.errors import CallFailed
from consumer.domain.leases import Lease, LeaseRow, Ledger, Shard
from consumer.domain.membership import HeartbeatReport
from consumer.domain.planner import plan, waiting
from consumer.domain.ports import Backoff
from consumer.domain.replies import Lost
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.events import RetryScheduled
from consumer.worker.ledger_calls import Claim, EvictMember


class Claims:
    """This worker's claims, from the decision to the reply.

    A claim with unknown outcome is retried unchanged: then a first attempt that arrives late takes no effect.
    """

    def __init__(self, backoff: Backoff) -> None:
        self.pending: dict[Shard, tuple[Claim, CallTimer]] = {}
        self._backoff = backoff

    def add(self, claim: Claim) -> None:
        """The claim is due at once."""
        self.pending[claim.row.shard] = (claim, CallTimer())

    def ready(self, now: float) -> list[Claim]:
        """The claims to send now; the caller owes a reply for each."""
        due = [(claim, timer) for claim, timer in self.pending.values() if timer.ready(now)]
        for _, timer in due:
            timer.send(now)
        return [claim for claim, _ in due]

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        return min((timer.wake_at for _, timer in self.pending.values()), default=inf)

    def lasting_failures(self) -> set[str]:
        """The failures of claims that have failed for a while."""
        return {timer.failure for _, timer in self.pending.values() if timer.failure}

    def take(self, call: Claim, reply: Reply, now: float) -> LeaseRow | RetryScheduled | None:
        """The row that this worker owns now; None when it does not: then read the ledger."""
        _, timer = self.pending[call.row.shard]
        timer.answered()
        if isinstance(reply, CallFailed):
            return timer.retry(call, reply, self._backoff, now, call.lease)
        del self.pending[call.row.shard]
        assert isinstance(reply, LeaseRow | Lost)
        row = reply.row if isinstance(reply, Lost) else reply
        if row is None or row.finished or (row.owner, row.epoch) != (call.lease.owner, call.lease.epoch):
            return None
        return row


class OwnedShard(Protocol):
    """What the assignment needs to know of a shard that this worker owns."""

    lease: Lease

    @property
    def checkpoint(self) -> str:
        """All records up to it are committed, as far as this worker knows."""
        ...

    @property
    def circuit(self) -> Circuit:
        """The breaker's state, as this worker knows it."""
        ...

    @property
    def releasing(self) -> bool:
        """Whether the lease is being released."""
        ...


class LeaseAssignment:
    """The ledger as last read, and what the planner makes of it.

    `owned` is the worker's own map of the shards it owns now; the assignment only reads it. `is_earlier_life` says
    whether an owner was this worker before a restart. `number`: of the accepted rules by which this worker reads.
    `held_back`: see Ledger.
    """

    def __init__(
        self, me: str, is_earlier_life: Callable[[str], bool], owned: Mapping[Shard, OwnedShard], claims: Claims
    ) -> None:
        self.ledger = Ledger((), ())
        self.halted: frozenset[Shard] = frozenset()
        self.held_back: frozenset[Shard] = frozenset()
        self.planned = False
        self.number = 0
        self._me = me
        self._is_earlier_life = is_earlier_life
        self._owned = owned
        self._claims = claims
        self._evictions: set[str] = set()
        self._earlier_lives: dict[str, int] = {}
        self._missing: frozenset[Shard] = frozenset()
        self._last_checkpoints: dict[Shard, str | None] = {}
        self._release_later: frozenset[Shard] = frozenset()
        self._numbers: dict[str, int] = {}

    def take_ledger(self, ledger: Ledger) -> tuple[list[events.Event], bool]:
        """Takes the rows as read; True when they must be read again soon to be sure which are missing."""
        missing = ledger.missing
        last = {row.shard: row.checkpoint for row in self.ledger.rows}
        self._last_checkpoints = {shard: self._last_checkpoints.get(shard) or last.get(shard) for shard in missing}
        self.ledger, self.held_back = ledger.in_order, ledger.held_back
        reported = self._lost_leases() + self._resumed_shards() + self._halt(missing & self._missing)
        read_again = bool(missing - self._missing)
        self._missing = missing
        return reported, read_again

    def apply_plan(
        self, members: Mapping[str, HeartbeatReport], dead: frozenset[str], unix_now: float
    ) -> tuple[list[events.Event], list[EvictMember]]:
        """Makes the plan and adds its claims; returns its hand-overs, and evictions of the dead that own nothing."""
        if not self.planned:
            self._earlier_lives = {
                owner: report.number for owner, report in members.items() if self._is_earlier_life(owner)
            }
        self.planned = True
        gone = dead | {  # an earlier life of this worker is gone unless it sends heartbeats
            owner
            for owner, number in self._earlier_lives.items()
            if owner in members and members[owner].number == number
        }
        rows = [row for row in self.ledger.rows if row.shard not in self.halted]
        owned = self._owned
        self._numbers = {owner: report.rules for owner, report in members.items() if owner not in gone}
        self._numbers[self._me] = self.number
        decided = plan(rows, self._numbers, self._me, owned.keys() | self._claims.pending.keys(), self.held_back)
        self._claim(decided.claim, unix_now)
        calls: list[EvictMember] = []
        owners = {row.owner for row in rows if not row.finished}
        for owner in sorted(gone - owners - self._evictions):
            self._evictions.add(owner)
            calls.append(EvictMember(owner, members[owner].number))
        self._release_later = frozenset(decided.release) - owned.keys()
        released = [shard for shard in decided.release if shard in owned and not owned[shard].releasing]
        return [events.HandOverDecided(shard) for shard in released], calls

    @property
    def waiting(self) -> frozenset[Shard]:
        """Shards that no worker that was alive at the last plan may claim."""
        return frozenset(row.shard for row in waiting(self.ledger.rows, self._numbers.values()))

    def must_plan_again(self, dead: frozenset[str]) -> bool:
        """Whether the plan left work over.

        Either another worker should claim a shard that no living worker owns, or this worker should release one whose
        claim is still in flight. A shard that no living worker may claim waits, until one joins; one that is held back
        waits for an older stream.
        """
        waits = self.waiting | self.held_back
        return bool(self._release_later) or any(
            (row.owner is None or row.owner in dead) and not row.finished and row.shard not in self._claims.pending
            for row in self.ledger.rows
            if row.shard not in self.halted and row.shard not in waits
        )

    def claim_own_rows(self, unix_now: float) -> None:
        """While draining: claims, to release them, the shards that only the ledger knows to be this worker's."""
        mine = (row for row in self.ledger.rows if row.owner == self._me and not row.finished)
        self._claim((row for row in mine if row.rules <= self.number), unix_now)

    def eviction_answered(self, call: EvictMember) -> None:
        """The eviction is not in flight any more; if it failed, a later plan names it again."""
        self._evictions.discard(call.owner)

    def _claim(self, rows: Iterable[LeaseRow], unix_now: float) -> None:
        for row in rows:
            if row.shard not in self._owned and row.shard not in self._claims.pending:
                reading = self.ledger.accepted.claimed(row.reading, self.number, unix_now)
                self._claims.add(Claim(row, Lease(row.shard, self._me, row.epoch + 1), reading))

    def _lost_leases(self) -> list[events.Event]:
        """Leases that another worker has claimed since: a shard without records would never learn it by a commit."""
        rows = {row.shard: row for row in self.ledger.rows}
        return [
            events.LeaseLost(owned.lease, rows[shard].owner)
            for shard, owned in self._owned.items()
            if shard in rows and rows[shard].epoch > owned.lease.epoch
        ]

    def _resumed_shards(self) -> list[events.Event]:
        """Shards whose circuit an operator has closed. The ledger may be older than the halt, so the resumes count."""
        return [
            events.ResumeFound(row)
            for row in self.ledger.rows
            if row.circuit.resumes
            and (owned := self._owned.get(row.shard)) is not None
            and row.epoch == owned.lease.epoch
            and row.circuit.resumes > owned.circuit.resumes
        ]

    def _halt(self, missing: frozenset[Shard]) -> list[events.Event]:
        """The rows are not read at one time: a row is missing when two loads in succession do not show it.

        The owner knows a later position than the last load that had the row, and an operator will set what is logged.
        """
        new = missing - self.halted
        self.halted = missing
        known = self._last_checkpoints | {shard: self._owned[shard].checkpoint for shard in new & self._owned.keys()}
        return [events.ShardHalted(shard, known[shard]) for shard in sorted(new)]
