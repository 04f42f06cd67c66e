"""The worker as one machine: the coordinator and the shards it works, without I/O. A pool or a simulation runs it."""

from collections.abc import Callable
from math import inf

from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import StreamListing
from consumer.domain.ports import Backoff
from consumer.domain.standing import Standing
from consumer.worker import events
from consumer.worker.agenda import Agenda
from consumer.worker.calls import Call, Commit, CoordinatorCall, Reply, ShardCall, SurveyCall
from consumer.worker.common import Common
from consumer.worker.coordinator import Coordinator
from consumer.worker.identity import Identity
from consumer.worker.outlook import Outlook
from consumer.worker.pinning import Pinning
from consumer.worker.shard import ShardMachine
from consumer.worker.standing import SHOWN_TROUBLES, by_state, halts, waits
from consumer.worker.state import State
from consumer.worker.survey import Surveyor
from consumer.worker.tuning import Tuning
from consumer.worker.turns import Turns


class Worker:
    """`ready` hands out calls, each to be answered through `take`; `wake_at` says when to ask without an answer."""

    def __init__(
        self,
        identity: Identity,
        stream_arn: str,
        begin: Callable[[str], Pinning],
        lease_ttl_seconds: float,
        tuning: Tuning,
        backoff: Backoff,
    ) -> None:
        """`begin` makes the pinning of a stream, of `stream_arn` first and of its successors as they are found."""
        self.shards: dict[Shard, ShardMachine] = {}
        self.coordinator = Coordinator(identity, begin(stream_arn), lease_ttl_seconds, self.shards, backoff)
        self._surveyor = Surveyor(begin, backoff)
        self._outlook = Outlook(lease_ttl_seconds)
        self._turns = Turns()
        self._common = Common(tuning.total_lookahead_bytes)
        self._tuning = tuning
        self._backoff = backoff
        self._draining = False
        self._vouched = False
        self._agenda = Agenda()

    def ready(self, now: float) -> list[Call]:
        """The calls to start now; the caller owes a reply for each."""
        if self._draining and not self.shards and self.coordinator.settled:
            self.coordinator.leave(now)
        coordinator = self.coordinator
        calls: list[Call] = list(coordinator.ready(now))
        if self._surveys:
            calls += self._surveyor.ready(now, coordinator.ledger, len(coordinator.vouches))
        self._vouch(now)
        for shard in self._agenda.due(now):
            machine = self.shards[shard]
            for call in machine.ready(now, vouched=self._vouched):
                if not isinstance(call, Commit) or self._turns.enter(call):
                    calls.append(call)
            self._schedule(machine)
        if self._vouched:
            calls += [self._grown(commit, now) for commit in self._turns.called()]
        return calls

    def _grown(self, commit: Commit, now: float) -> Commit:
        """What is sent when a unit's turn comes: it is cut anew, unless an earlier attempt may yet take effect."""
        grown = self.shards[commit.lease.shard].its_turn(commit, self._turns.busy(commit.lease), now)
        self._turns.widen(grown)
        return grown

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before (monotonic seconds)."""
        if self._turns.calls and self._vouched:
            return -inf
        surveys = self._surveyor.wake_at() if self._surveys else inf
        return min(self._agenda.next_at, self.coordinator.wake_at(), surveys)

    def drain(self) -> None:
        """Polls no more, settles the commits under way, releases the leases, leaves `members`; then `done`."""
        self._draining = True
        self.coordinator.drain()
        for machine in list(self.shards.values()):
            self._drain(machine)

    @property
    def done(self) -> bool:
        """Drained, and gone from `members`."""
        return self.coordinator.pulse.left

    @property
    def _surveys(self) -> bool:
        return self.coordinator.planned and not self._draining

    def _vouch(self, now: float) -> None:
        """Commits wait while our beat cannot be written; when it can again, every shard is asked."""
        vouched = self.coordinator.pulse.may_commit(now)
        if vouched and not self._vouched:
            self._vouched = True
            for machine in self.shards.values():
                self._schedule(machine)
        self._vouched = vouched

    def _schedule(self, machine: ShardMachine) -> None:
        self._agenda.put(machine.lease.shard, machine.wake_at(vouched=self._vouched))

    def _drain(self, machine: ShardMachine) -> None:
        if machine.row_missing:
            self._drop(machine)
            return
        machine.drain()
        if self._turns.withdraw(machine.lease):
            machine.recall()
        self._schedule(machine)

    def _drop(self, machine: ShardMachine) -> None:
        machine.close()
        self._turns.withdraw(machine.lease)
        del self.shards[machine.lease.shard]
        self._agenda.forget(machine.lease.shard)

    def take(self, call: Call, reply: Reply, now: float) -> list[events.Event]:
        """Tells the machine that named `call`. A reply to an earlier epoch's call finds no machine and is dropped."""
        if isinstance(call, ShardCall):
            machine = self.shards.get(call.lease.shard)
            if machine is None or machine.lease != call.lease:
                self._answered(call, None, now)
                return []
            told = machine.take(call, reply, now)
            self._answered(call, machine, now)
            if machine.hides_children:
                self._surveyor.soon(now)
            if machine.state is State.GONE or (machine.row_missing and self._draining):
                self._drop(machine)
            else:
                self._schedule(machine)
        elif isinstance(call, SurveyCall) and self._surveyor.asked(call):
            told = self._surveyor.take(call, reply, now)
        else:
            assert isinstance(call, CoordinatorCall)
            told = self.coordinator.take(call, reply, now)
        for event in told:
            self._follow(event, now)
        return told

    def _answered(self, call: ShardCall, machine: ShardMachine | None, now: float) -> None:
        """Whose turn it is after a commit: its own once more, or that of those who waited for its players."""
        if not isinstance(call, Commit):
            return
        again = machine.again(call, now) if machine is not None else None
        if again is not None:
            self._turns.keep(again)
        else:
            self._turns.leave(call)

    def _follow(self, event: events.Event, now: float) -> None:
        match event:
            case events.LeaseClaimed(row):
                self._work(row, now)
                unix_now = now + self._tuning.wall_offset_seconds
                self._surveyor.claimed(row, self.coordinator.ledger, now, unix_now)
            case events.HandOverDecided(shard):
                self._drain(self.shards[shard])
            case events.LeaseReleased():
                self.coordinator.announce(now)
            case events.ShardEnded(lease, children, rows):
                for row in rows:
                    self._work(row, now)
                self.coordinator.rescan(now)
                self._surveyor.ended(lease.shard, children, rows[0].created if rows else None, now)
            case events.ResumeFound(row):
                self.shards[row.shard].resume(row)
                self._schedule(self.shards[row.shard])
            case events.StreamListed(listing):
                self._hear(listing.stream_arn, listing, now)
            case events.StreamGone(stream_arn):
                self._hear(stream_arn, None, now)
            case events.ShardsAdopted():
                self.coordinator.announce(now)
                self.coordinator.rescan(now)
            case events.LedgerSurprised() | events.ShardHalted():
                self.coordinator.rescan(now)
            case events.LeaseLost(lease):
                if (machine := self.shards.get(lease.shard)) and machine.lease == lease:
                    self._drop(machine)
                self.coordinator.rescan(now)
            case _:
                pass

    def _hear(self, stream_arn: str, listing: StreamListing | None, now: float) -> None:
        """What a listing shows; None: the stream is gone, and a later one answers in its place."""
        for machine in self.shards.values():
            if machine.lease.shard.stream_arn == stream_arn:
                machine.hear(listing, now)
                self._schedule(machine)

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
            self._common,
            self._backoff,
        )
        if known is not None:
            self._drop(known)
        self.shards[row.shard] = machine
        self._agenda.forget(row.shard)
        if self._draining:
            machine.drain()
        self._vouch(now)
        self._schedule(machine)

    def standing(self, now: float) -> Standing:
        """How things stand, with the lag of the whole stream. A shard whose lag is not known yet is not behind."""
        coordinator = self.coordinator
        unix_now = now + self._tuning.wall_offset_seconds
        lags = [lag for machine in self.shards.values() if (lag := machine.lag_seconds(unix_now)) is not None]
        mine = max(lags, default=0.0)
        coordinator.pulse.tell(len(self.shards), sum(lag > 0 for lag in lags), mine, unix_now)
        others = self._outlook.lag_seconds(
            coordinator.ledger, coordinator.vouches, self.shards.keys(), coordinator.halted, now, unix_now
        )
        states = by_state(self.shards, coordinator.halted, self._outlook.unowned(coordinator.halted, now))
        return Standing(
            lag := max(mine, others), RETENTION_SECONDS - lag, states, len(self.shards), tuple(self._not_ready(now))
        )

    def _not_ready(self, now: float) -> list[str]:
        coordinator = self.coordinator
        vouched = coordinator.pulse.may_commit(now)
        reasons = waits(draining=self._draining, planned=coordinator.planned, vouched=vouched)
        reasons += halts(self.shards, coordinator.halted)
        side = coordinator.troubles() | self._surveyor.troubles()
        troubles = side.union(*(machine.troubles() for machine in self.shards.values()))
        return reasons + sorted(troubles)[:SHOWN_TROUBLES]
