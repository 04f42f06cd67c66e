"""The coordinator machine: it reads members and the ledger, plans, claims shards, and evicts dead members."""

from collections.abc import Mapping
from math import inf
from typing import Final

from consumer.domain.errors import CallFailed
from consumer.domain.leases import PROTOCOL, Ledger, Shard
from consumer.domain.membership import FailureDetector, HeartbeatReport, Identity, Members
from consumer.domain.ports import Backoff
from consumer.worker import events
from consumer.worker.call_timer import CallTimer
from consumer.worker.calls import Reply
from consumer.worker.heartbeat import Heartbeat
from consumer.worker.lease_assignment import Claims, LeaseAssignment, OwnedShard
from consumer.worker.ledger_calls import (
    Claim,
    CoordinatorCall,
    EvictMember,
    Leave,
    Load,
    ReadMembers,
    SendHeartbeat,
    StreamStartCall,
)
from consumer.worker.stream_start import StreamStarter
from consumer.worker.tuning import Tuning

LOAD_INTERVAL_SECONDS: Final = 30.0
"""The ledger is read again this often even when nothing seems to have changed."""

DEFAULT_TUNING: Final = Tuning()


class Coordinator:
    """Names the calls about members, the ledger, claims and the first start of the stream. It reads no shard.

    `owned` is the worker's own map of the shards it owns now; the coordinator only reads it. `plan_after`: a plan needs
    members that were read after this time, which is that of the ledger. A worker joins before its first claim, so then
    every owner that the ledger names is among the members. `foreign`: living members of another protocol; beside them
    this worker claims nothing.
    """

    def __init__(
        self,
        identity: Identity,
        starter: StreamStarter,
        lease_ttl_seconds: float,
        owned: Mapping[Shard, OwnedShard],
        backoff: Backoff,
        tuning: Tuning = DEFAULT_TUNING,
    ) -> None:
        self.identity = identity
        self.starter = starter
        self.heartbeat = Heartbeat(identity.owner, lease_ttl_seconds, backoff)
        self.plan_after = inf
        self._ttl = lease_ttl_seconds
        self._claims = Claims(backoff)
        self._assignment = LeaseAssignment(identity.owner, identity.is_earlier_life, owned, self._claims)
        self._backoff = backoff
        self._tuning = tuning
        self._failure_detector = FailureDetector(lease_ttl_seconds)
        self.foreign: tuple[str, ...] = ()
        self._members_timer, self._ledger_timer = CallTimer(at=inf), CallTimer()
        self._draining = False
        self._changes_seen: int | None = None
        self._changes_before_load: int | None = None
        self._changes_planned: int | None = None
        self._dead_planned: frozenset[str] = frozenset()
        self._evictions: list[EvictMember] = []
        if starter.tables_checked:
            self.heartbeat.send_soon(0.0)

    def ready(self, now: float) -> list[CoordinatorCall]:
        """The calls to start now; the caller owes a reply for each."""
        if self.heartbeat.left:
            return []
        calls: list[CoordinatorCall] = [*self.heartbeat.ready(now)]
        if self.heartbeat.joined and self._members_timer.ready(now):
            self._members_timer.send(now)
            calls.append(ReadMembers())
        if self._reads_ledger and self._ledger_timer.ready(now):
            self._ledger_timer.send(now)
            self._ledger_timer.at = inf  # unless reload_ledger is called before the reply
            self._changes_before_load = self._changes_seen
            calls.append(Load() if self.starter.complete else self.starter.next_call())
        calls += self._evictions
        self._evictions.clear()
        return calls + self._claims.ready(now)

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        if self.heartbeat.left:
            return inf
        if self._evictions:
            return -inf
        ledger = self._ledger_timer.wake_at if self._reads_ledger else inf
        members = self._members_timer.wake_at if self.heartbeat.joined else inf
        return min(self.heartbeat.wake_at(), self._claims.wake_at(), ledger, members)

    @property
    def _reads_ledger(self) -> bool:
        """Whether calls of the stream start and loads may be sent.

        The tables are checked before joining: a lease table that belongs to others gets no row of this worker.
        """
        if self._draining:
            return self.planned
        return self.heartbeat.joined or not self.starter.tables_checked

    @property
    def may_leave(self) -> bool:
        """Whether no claim is pending, and while draining: whether the last load has been read."""
        loads = self._draining and self.planned and (self._ledger_timer.in_flight or self._ledger_timer.at < inf)
        return not self._claims.pending and not loads

    @property
    def planned(self) -> bool:
        """Whether the ledger has been read and planned once."""
        return self._assignment.planned

    @property
    def number(self) -> int:
        """The number of the accepted rules by which this worker reads; 0: they are not known yet."""
        return self._assignment.number

    @property
    def unaccepted(self) -> bool:
        """Whether there are accepted rules and this worker's are not among them any more."""
        return bool(self.ledger.accepted.entries) and not self.number

    @property
    def waiting(self) -> frozenset[Shard]:
        """Shards that no living worker may claim: they wait for a worker of newer rules."""
        return self._assignment.waiting

    @property
    def held_back(self) -> frozenset[Shard]:
        """Shards that wait until an older stream is read to its end; see Ledger."""
        return self._assignment.held_back

    @property
    def halted(self) -> frozenset[Shard]:
        """Shards whose row is missing."""
        return self._assignment.halted

    @property
    def ledger(self) -> Ledger:
        """The rows as last read."""
        return self._assignment.ledger

    @property
    def reports(self) -> Mapping[str, HeartbeatReport]:
        """The last reports of the living members, by owner."""
        dead = self._failure_detector.dead()
        return {owner: report for owner, report in self._failure_detector.members.items() if owner not in dead}

    def start_time_for(self, shard: Shard) -> float | None:
        """The start time of the shard's stream, in unix seconds; None: its trim horizon."""
        start = self.ledger.stream_start(shard.stream_arn) or self.starter.stream_start
        assert start is not None
        return start.start_time

    def is_keyed(self, shard: Shard) -> bool:
        """Whether the shard's source is keyed by the player."""
        start = self.ledger.stream_start(shard.stream_arn) or self.starter.stream_start
        return start is not None and start.keyed

    def lasting_failures(self) -> set[str]:
        """The failures of calls that have failed for a while."""
        mine = {timer.failure for timer in (self._members_timer, self._ledger_timer) if timer.failure}
        return mine | self.heartbeat.lasting_failures() | self._claims.lasting_failures()

    def announce_change(self, now: float) -> None:
        """A lease was released, or rows were added: raises the counter of changes at once, for the other workers."""
        self.heartbeat.bump()
        self.heartbeat.send_soon(now)

    def reload_ledger(self, at: float) -> None:
        """Reads the ledger at this time at the latest: it may not be as it was last read."""
        self._ledger_timer.at = min(self._ledger_timer.at, at)

    def drain(self) -> None:
        """Plans no more; loads the ledger once more, for leases of this worker that it does not know of."""
        self._draining = True
        self._ledger_timer.at = 0.0

    def leave(self, now: float) -> None:
        """Leaves `members`. Call it when all leases are released."""
        self._members_timer.at = inf
        self.heartbeat.leave(now)

    def take(self, call: CoordinatorCall, reply: Reply, now: float) -> list[events.Event]:
        """Takes the reply to a call. Raises UnsafeRefused when the tables do not belong together."""
        match call:
            case SendHeartbeat() | Leave():
                reported = self.heartbeat.take(call, reply, now)
                if any(isinstance(event, events.Joined) for event in reported):
                    self._members_timer.at = self._ledger_timer.at = now
                return reported
            case ReadMembers():
                return self._take_members(reply, now)
            case Load():
                return self._take_ledger(call, reply, now)
            case Claim():
                return self._take_claim(call, reply, now)
            case EvictMember():
                self._assignment.eviction_answered(call)
                return [] if isinstance(reply, CallFailed) else [events.MemberEvicted(call.owner)]
            case _:
                return self._take_stream_start(call, reply, now)

    def _take_members(self, reply: Reply, now: float) -> list[events.Event]:
        timer = self._members_timer
        timer.answered()
        if isinstance(reply, CallFailed):
            retry = timer.retry(ReadMembers(), reply, self._backoff, now)
            timer.at = min(timer.at, now + self._ttl / 8)
            return [retry]
        assert isinstance(reply, Members)
        timer.succeed(timer.sent_at + self._ttl / 8)
        self._changes_seen = reply.changes
        self._failure_detector.observe(reply, timer.sent_at, now)
        if self._draining:
            return []
        dead = self._failure_detector.dead()
        living = {owner: report for owner, report in reply.workers.items() if owner not in dead}
        self.foreign = tuple(sorted(owner for owner, report in living.items() if report.protocol != PROTOCOL))
        may_plan = timer.sent_at >= self.plan_after and not self.foreign
        reported = self._plan(dead, now) if may_plan else []
        changed = reply.changes != self._changes_planned or dead != self._dead_planned
        if changed and not self.foreign and self.starter.complete and not self._ledger_timer.in_flight:
            self.reload_ledger(now)
        return reported

    def _plan(self, dead: frozenset[str], now: float) -> list[events.Event]:
        self.plan_after = inf
        self._changes_planned = self._changes_before_load  # the ledger as it was read may not have later ones
        self._dead_planned = dead
        reported, evictions = self._assignment.apply_plan(
            self._failure_detector.members, dead, now + self._tuning.wall_offset_seconds
        )
        self._evictions += evictions
        if self._assignment.must_plan_again(dead):
            self.reload_ledger(now + self._ttl / 2)
        return reported

    def _take_ledger(self, call: Load, reply: Reply, now: float) -> list[events.Event]:
        timer = self._ledger_timer
        timer.answered()
        if isinstance(reply, CallFailed):
            return [timer.retry(call, reply, self._backoff, now)]
        assert isinstance(reply, Ledger)
        timer.succeed(min(timer.at, inf if self._draining else now + LOAD_INTERVAL_SECONDS))
        self.plan_after = now
        self._members_timer.at = min(self._members_timer.at, now)
        reported, read_again = self._assignment.take_ledger(reply)
        if reply.accepted.entries:
            self._renumber(reply.accepted.number_of(self.starter.rules), now)
        if self._draining:
            self._assignment.claim_own_rows(now + self._tuning.wall_offset_seconds)
        elif read_again:
            self.reload_ledger(now)
        return reported

    def _take_stream_start(self, call: StreamStartCall, reply: Reply, now: float) -> list[events.Event]:
        timer = self._ledger_timer
        timer.answered()
        if isinstance(reply, CallFailed):
            return [timer.retry(call, reply, self._backoff, now)]
        timer.succeed(now)
        tables_checked = self.starter.tables_checked
        reported = self.starter.take(call, reply)
        self._renumber(self.starter.number, now)
        if self.starter.tables_checked and not tables_checked:
            self.heartbeat.send_soon(now)
        return reported

    def _renumber(self, number: int, now: float) -> None:
        """It rises when an operator accepts these rules again. The others plan with it, so they learn it at once."""
        if number != self.number:
            self._assignment.number = self.heartbeat.rules = number
            if self.heartbeat.joined:
                self.announce_change(now)

    def _take_claim(self, call: Claim, reply: Reply, now: float) -> list[events.Event]:
        claimed = self._claims.take(call, reply, now)
        if isinstance(claimed, events.RetryScheduled):
            return [claimed]
        if claimed is None:
            self.reload_ledger(now)
            return []
        if call.row.owner is not None:
            self.heartbeat.bump()
        return [events.LeaseClaimed(claimed, call.row.owner)]
