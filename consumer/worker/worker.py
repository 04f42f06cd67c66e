"""The worker as one machine: the coordinator and the shards it works, without I/O. A pool or a simulation runs it."""

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import count
from math import inf

from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.ports import Backoff
from consumer.worker import events
from consumer.worker.calls import (
    Call,
    Reply,
    ShardCall,
)
from consumer.worker.coordinator import Coordinator, Identity
from consumer.worker.pinning import Pinning
from consumer.worker.shard import ShardMachine, State, Tuning

RETENTION_SECONDS = 24 * 3600
"""How long a stream keeps a record. Source: Developer Guide, "Change data capture for DynamoDB Streams"."""

SHOWN_TROUBLES = 10
"""Troubles that readiness names; a thousand shards would have as many."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand: what metrics and readiness show. `not_ready`: why not, a sentence each."""

    lag_seconds: float
    headroom_seconds: float
    shards: dict[str, int]
    leases_owned: int
    not_ready: tuple[str, ...]


class Worker:
    """`ready` hands out calls, each to be answered through `take`; `wake_at` says when to ask without an answer."""

    def __init__(
        self, identity: Identity, pinning: Pinning, lease_ttl_seconds: float, tuning: Tuning, backoff: Backoff
    ) -> None:
        self.shards: dict[Shard, ShardMachine] = {}
        self.coordinator = Coordinator(identity, pinning, lease_ttl_seconds, self.shards, backoff)
        self._tuning = tuning
        self._backoff = backoff
        self._draining = False
        self._vouched = False
        self._agenda: list[tuple[float, int, Shard]] = []
        self._due: dict[Shard, float] = {}
        self._tie = count()

    # --- what to do next ---

    def ready(self, now: float) -> list[Call]:
        """The calls to start now; the caller owes a reply for each."""
        if self._draining and not self.shards and self.coordinator.settled:
            self.coordinator.leave(now)
        calls: list[Call] = list(self.coordinator.ready(now))
        self._vouch(now)
        while self._agenda and self._agenda[0][0] <= now:
            at, _, shard = heapq.heappop(self._agenda)
            if self._due.get(shard) == at and (machine := self.shards.get(shard)):
                calls += machine.ready(now, vouched=self._vouched)
                self._schedule(machine)
        return calls

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before (monotonic seconds)."""
        return min(self._agenda[0][0] if self._agenda else inf, self.coordinator.wake_at())

    def drain(self) -> None:
        """Polls no more, settles the commits under way, releases the leases, leaves `members`; then `done`."""
        self._draining = True
        self.coordinator.drain()
        for machine in list(self.shards.values()):
            self._drain(machine)

    @property
    def done(self) -> bool:
        """Drained, and gone from `members`."""
        return self.coordinator.left

    def _vouch(self, now: float) -> None:
        """Commits wait while our beat cannot be written; when it can again, every shard is asked."""
        vouched = self.coordinator.may_commit(now)
        if vouched and not self._vouched:
            self._vouched = True
            for machine in self.shards.values():
                self._schedule(machine)
        self._vouched = vouched

    def _schedule(self, machine: ShardMachine) -> None:
        """The machine's place in the agenda; an older entry of it is left to be skipped."""
        shard, at = machine.lease.shard, machine.wake_at(vouched=self._vouched)
        if at == self._due.get(shard, inf):
            return
        self._due[shard] = at
        if at < inf:
            heapq.heappush(self._agenda, (at, next(self._tie), shard))

    def _drain(self, machine: ShardMachine) -> None:
        if machine.state is State.HALTED:
            self._drop(machine)
            return
        machine.drain()
        self._schedule(machine)

    def _drop(self, machine: ShardMachine) -> None:
        del self.shards[machine.lease.shard]
        self._due.pop(machine.lease.shard, None)

    # --- what an answer means ---

    def take(self, call: Call, reply: Reply, now: float) -> list[events.Event]:
        """Tells the machine that named `call`. A reply to an earlier epoch's call finds no machine and is dropped."""
        if isinstance(call, ShardCall):
            machine = self.shards.get(call.lease.shard)
            if machine is None or machine.lease != call.lease:
                return []
            told = machine.take(call, reply, now)
            if machine.state is State.GONE or (machine.state is State.HALTED and self._draining):
                self._drop(machine)
            else:
                self._schedule(machine)
        else:
            told = self.coordinator.take(call, reply, now)
        for event in told:
            self._follow(event, now)
        return told

    def _follow(self, event: events.Event, now: float) -> None:
        match event:
            case events.LeaseClaimed(row):
                self._work(row, now)
            case events.HandOverDecided(shard):
                self._drain(self.shards[shard])
            case events.LeaseReleased():
                self.coordinator.announce(now)
            case events.ShardEnded(_, _, rows):
                for row in rows:
                    self._work(row, now)
                self.coordinator.rescan(now)
            case events.LeaseLost(lease):
                if (machine := self.shards.get(lease.shard)) and machine.lease == lease:
                    self._drop(machine)
                self.coordinator.rescan(now)
            case events.ShardHalted():
                self.coordinator.rescan(now)
            case _:
                pass

    def _work(self, row: LeaseRow, now: float) -> None:
        """A lease is ours: work the shard from where its row says, or give it back when we are on our way out."""
        assert row.owner is not None
        known = self.shards.get(row.shard)
        if known is not None and known.lease.epoch >= row.epoch:
            return  # a child's row, told late by its parent's end: it has been claimed anew since
        machine = ShardMachine(
            row,
            Lease(row.shard, row.owner, row.epoch),
            self.coordinator.floor_of(row.shard),
            self._tuning,
            self._backoff,
        )
        self.shards[row.shard] = machine
        self._due.pop(row.shard, None)
        if self._draining:
            machine.drain()
        self._vouch(now)
        self._schedule(machine)

    # --- what others may see ---

    def standing(self, now: float) -> Standing:
        """How things stand. A shard whose lag is not known yet counts as not behind."""
        unix_now = now + self._tuning.wall_offset_seconds
        lags = [lag for machine in self.shards.values() if (lag := machine.lag_seconds(unix_now)) is not None]
        lag = max(lags, default=0.0)
        states = Counter(machine.state.value for machine in self.shards.values())
        states[State.HALTED.value] += len(self.coordinator.halted - self.shards.keys())
        self.coordinator.tell(len(self.shards), lag, unix_now)
        return Standing(lag, RETENTION_SECONDS - lag, dict(states), len(self.shards), tuple(self._not_ready(now)))

    def _not_ready(self, now: float) -> list[str]:
        reasons = []
        if self._draining:
            reasons.append("draining: the worker is on its way out")
        if not self.coordinator.planned:
            reasons.append("starting: the ledger has not been read and planned yet")
        if not self.coordinator.may_commit(now):
            reasons.append("no beat could be written for a lease TTL: nothing is committed until one can")
        halted = self.coordinator.halted | {
            shard for shard, machine in self.shards.items() if machine.state is State.HALTED
        }
        reasons += [f"shard {shard} is halted: its row is missing from the lease table" for shard in sorted(halted)]
        troubles = self.coordinator.troubles().union(*(machine.troubles() for machine in self.shards.values()))
        return reasons + sorted(troubles)[:SHOWN_TROUBLES]
