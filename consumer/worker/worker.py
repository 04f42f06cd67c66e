"""The worker as one machine without I/O: the coordinator, shard sync and the owned shards."""

from collections.abc import Callable
from math import inf

from consumer.domain.leases import Lease, LeaseRow, Ledger, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.membership import Identity, LateShard, code_of
from consumer.domain.ports import Backoff, WorkerStatus
from consumer.domain.replies import StreamListing
from consumer.domain.stream_halt import StreamHalt
from consumer.domain.windows import Calendar
from consumer.worker import events
from consumer.worker.call_timer import TimerQueue
from consumer.worker.calls import Call, Reply
from consumer.worker.coordinator import Coordinator
from consumer.worker.known_rows import NO_CALENDAR, KnownRows
from consumer.worker.ledger_calls import CoordinatorCall, SyncCall
from consumer.worker.player_locks import PlayerLocks
from consumer.worker.reader import ReadAheadBudget
from consumer.worker.shard import ShardMachine, ShardState
from consumer.worker.shard_calls import Commit, ShardCall
from consumer.worker.shard_sync import ShardSync
from consumer.worker.status import (
    SHOWN_FAILURES,
    OthersLag,
    count_by_state,
    halted_shards,
    reasons_to_wait,
    rules_in_use,
)
from consumer.worker.stream_start import StreamStarter
from consumer.worker.tuning import Tuning


class Worker:
    """`ready` returns calls; pass the reply to each to `take`. `wake_at` says when to call `ready` without a reply."""

    def __init__(
        self,
        identity: Identity,
        stream_arn: str,
        new_starter: Callable[[str], StreamStarter],
        lease_ttl_seconds: float,
        tuning: Tuning,
        backoff: Backoff,
        calendar: Calendar = NO_CALENDAR,
        *,
        corrects: bool = False,
    ) -> None:
        """`new_starter` makes the StreamStarter of a stream: of `stream_arn`, and of its successors when found.

        `calendar` is that of the windows which the worker's rules keep; `corrects`: by them corrections count.
        """
        self.shards: dict[Shard, ShardMachine] = {}
        self.coordinator = Coordinator(
            identity, new_starter(stream_arn), lease_ttl_seconds, self.shards, backoff, tuning
        )
        self._shard_sync = ShardSync(new_starter, backoff)
        self._others_lag = OthersLag(lease_ttl_seconds)
        self._locks = PlayerLocks()
        self._budget = ReadAheadBudget(tuning.total_lookahead_bytes)
        self._known = KnownRows(tuning.remembered_rows, calendar, corrects=corrects)
        self._tuning = tuning
        self._backoff = backoff
        self._draining = False
        self._may_commit = False
        self._due_shards = TimerQueue()
        self._coordinate_at = -inf

    def ready(self, now: float) -> list[Call]:
        """The calls to start now; the caller owes a reply for each."""
        calls = self._coordinate(now) if now >= self._coordinate_at else []
        self._update_may_commit(now)
        for shard in self._due_shards.due(now):
            machine = self.shards[shard]
            for call in machine.ready(now, may_commit=self._may_commit):
                if not isinstance(call, Commit) or self._locks.acquire(call):
                    calls.append(call)
            self._schedule(machine)
        if self._may_commit:
            calls += [self._grow(commit, now) for commit in self._locks.take_granted()]
        return calls

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before (monotonic seconds)."""
        if self._locks.has_granted and self._may_commit:
            return -inf
        return min(self._due_shards.next_at, self._coordinate_at)

    def drain(self) -> None:
        """Reads no more, settles the commits in flight, releases the leases and leaves `members`; then it is `done`."""
        self._draining = True
        self._coordinate_at = -inf
        self.coordinator.drain()
        for machine in list(self.shards.values()):
            self._drain(machine)

    @property
    def done(self) -> bool:
        """Whether the worker is drained and has left `members`."""
        return self.coordinator.heartbeat.left

    def may_commit(self, now: float) -> bool:
        """Whether a heartbeat sent less than a TTL ago was written. Later others may take this worker for dead."""
        return now < self.coordinator.heartbeat.may_commit_until

    def _coordinate(self, now: float) -> list[Call]:
        """The calls of the coordinator and of shard sync. They are asked when they are due, not at every commit."""
        coordinator = self.coordinator
        if self._draining and not self.shards and coordinator.may_leave:
            coordinator.leave(now)
        calls: list[Call] = list(coordinator.ready(now))
        sync_at = inf
        if coordinator.planned and not self._draining:
            calls += self._shard_sync.ready(now, coordinator.ledger, len(coordinator.reports))
            sync_at = self._shard_sync.wake_at()
        self._coordinate_at = min(coordinator.wake_at(), sync_at)
        return calls

    def _update_may_commit(self, now: float) -> None:
        """Commits wait while no heartbeat can be written; when one is, every shard may be due."""
        may_commit = self.may_commit(now)
        if may_commit and not self._may_commit:
            self._may_commit = True
            for machine in self.shards.values():
                self._schedule(machine)
        self._may_commit = may_commit

    def take(self, call: Call, reply: Reply, now: float) -> list[events.Event]:
        """Passes the reply to the machine that named `call`. A reply of an earlier epoch is dropped."""
        if isinstance(call, ShardCall):
            machine = self.shards.get(call.lease.shard)
            if machine is None or machine.lease != call.lease:
                self._unlock(call, None, now)
                return []
            reported = machine.take(call, reply, now)
            self._unlock(call, machine, now)
            if machine.waits_for_children:
                self._shard_sync.sync_soon(now)
                self._coordinate_at = -inf
            if machine.state is ShardState.GONE or (machine.row_missing and self._draining):
                self._drop(machine)
            else:
                self._schedule(machine)
        else:
            self._coordinate_at = -inf
            if isinstance(call, SyncCall) and self._shard_sync.named(call):
                reported = self._shard_sync.take(call, reply, now)
            else:
                assert isinstance(call, CoordinatorCall)
                reported = self.coordinator.take(call, reply, now)
                if isinstance(reply, Ledger):
                    self._known.take_ledger(reply)
        for event in reported:
            self._apply(event, now)
        return reported

    def _grow(self, commit: Commit, now: float) -> Commit:
        """The commit to send now that its player locks are granted: it takes in what was read meanwhile, if it may."""
        grown = self.shards[commit.lease.shard].grow(commit, self._locks.held_by_others(commit.lease), now)
        self._locks.extend(grown)
        return grown

    def _unlock(self, call: ShardCall, machine: ShardMachine | None, now: float) -> None:
        """After a commit: its player locks are released, unless its shard sends it again at once."""
        if not isinstance(call, Commit):
            return
        again = machine.resend(call, now) if machine is not None else None
        if again is not None:
            self._locks.renew(again)
        else:
            self._locks.release(call)

    def _apply(self, event: events.Event, now: float) -> None:
        if isinstance(event, events.UnitCommitted | events.CaughtUp | events.RetryScheduled):
            return
        self._coordinate_at = -inf
        match event:
            case events.LeaseClaimed(row):
                self._own(row, now)
                unix_now = now + self._tuning.wall_offset_seconds
                self._shard_sync.shard_claimed(row, self.coordinator.ledger, now, unix_now)
            case events.HandOverDecided(shard):
                self._drain(self.shards[shard])
            case events.LeaseReleased():
                self.coordinator.announce_change(now)
            case events.ShardEnded(lease, children, rows, reading):
                for row in rows:
                    self._own(row, now)
                self.coordinator.reload_ledger(now)
                if self.coordinator.held_back:
                    self.coordinator.announce_change(now)  # the later stream may have waited for this shard
                self._shard_sync.shard_ended(lease.shard, children, rows[0].created if rows else None, now, reading)
            case events.ResumeFound(row):
                self.shards[row.shard].resume(row)
                self._schedule(self.shards[row.shard])
            case events.StreamListed(listing):
                self._on_listing(listing.stream_arn, listing, now)
            case events.StreamGone(stream_arn):
                self._on_listing(stream_arn, None, now)
            case events.ShardsAdopted():
                self.coordinator.announce_change(now)
                self.coordinator.reload_ledger(now)
            case events.LedgerChanged() | events.ShardHalted():
                self.coordinator.reload_ledger(now)
            case events.LeaseLost(lease):
                if (machine := self.shards.get(lease.shard)) and machine.lease == lease:
                    self._drop(machine)
                self.coordinator.reload_ledger(now)
            case _:
                pass

    def _on_listing(self, stream_arn: str, listing: StreamListing | None, now: float) -> None:
        """Passes a listing to the stream's shards. None: the stream is gone, and its successor answers."""
        for machine in self.shards.values():
            if machine.lease.shard.stream_arn == stream_arn:
                machine.on_listing(listing, now)
                self._schedule(machine)

    def _own(self, row: LeaseRow, now: float) -> None:
        """A lease is this worker's now: reads the shard from its checkpoint; while draining, releases it."""
        assert row.owner is not None
        known = self.shards.get(row.shard)
        if known is not None and known.lease.epoch >= row.epoch:
            return  # the row of a child, in a late reply to its parent's end: the child has been claimed since
        self._known.own(row)
        machine = ShardMachine(
            row,
            Lease(row.shard, row.owner, row.epoch),
            self.coordinator.start_time_for(row.shard),
            self._tuning,
            self._budget,
            self._known,
            self._backoff,
            keyed=self.coordinator.is_keyed(row.shard),
        )
        if known is not None:
            self._drop(known)
        self.shards[row.shard] = machine
        self._due_shards.forget(row.shard)
        if self._draining:
            machine.drain()
        self._update_may_commit(now)
        self._schedule(machine)

    def _schedule(self, machine: ShardMachine) -> None:
        self._due_shards.put(machine.lease.shard, machine.wake_at(may_commit=self._may_commit))

    def _drain(self, machine: ShardMachine) -> None:
        if machine.row_missing:
            self._drop(machine)
            return
        machine.drain()
        if self._locks.cancel(machine.lease):
            machine.not_sent()
        self._schedule(machine)

    def _drop(self, machine: ShardMachine) -> None:
        machine.close()
        self._locks.cancel(machine.lease)
        del self.shards[machine.lease.shard]
        self._due_shards.forget(machine.lease.shard)

    def status(self, now: float) -> WorkerStatus:
        """The status, with the lag of the whole stream. A shard whose lag is not known counts with its upper bound."""
        coordinator = self.coordinator
        unix_now = now + self._tuning.wall_offset_seconds
        mine = [
            LateShard(code_of(shard), machine.lag_seconds(unix_now), machine.lag_known)
            for shard, machine in self.shards.items()
        ]
        coordinator.heartbeat.describe(mine, unix_now)
        others = self._others_lag.lag_seconds(
            coordinator.ledger, coordinator.reports, self.shards.keys(), coordinator.halted, now, unix_now
        )
        unowned = self._others_lag.unowned(coordinator.halted, now)
        rules = rules_in_use(coordinator.ledger, coordinator.number, coordinator.waiting & unowned)
        halts = self._shard_sync.halts(coordinator.ledger)
        lag = max([others, *(each.lag_seconds for each in mine)]) if coordinator.planned else None
        return WorkerStatus(
            lag,
            RETENTION_SECONDS - lag if lag is not None else None,
            count_by_state(self.shards, coordinator.halted, unowned, rules, coordinator.held_back),
            len(self.shards),
            tuple(self._not_ready(now, halts)),
            halts,
            lag_known=lag is not None and self._others_lag.known and all(each.known for each in mine),
            rules=rules,
        )

    def _not_ready(self, now: float, halts: tuple[StreamHalt, ...]) -> list[str]:
        coordinator = self.coordinator
        may_commit = self.may_commit(now)
        reasons = reasons_to_wait(
            draining=self._draining,
            planned=coordinator.planned,
            may_commit=may_commit,
            foreign=coordinator.foreign,
            unaccepted=coordinator.unaccepted,
        )
        reasons += halted_shards(self.shards, coordinator.halted)
        reasons += [halt.detail for halt in halts]
        failures = coordinator.lasting_failures() | self._shard_sync.lasting_failures()
        failures.update(*(machine.lasting_failures() for machine in self.shards.values()))
        return reasons + sorted(failures)[:SHOWN_FAILURES]
