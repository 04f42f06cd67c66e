"""Invariants of workers: which worker may claim a lease, which may commit, and what no worker reads again."""

from collections.abc import Callable, Mapping, Sequence

from consumer.domain.leases import Lease, LeaseRow, rank
from consumer.domain.membership import HeartbeatReport
from consumer.domain.replies import Done, Page
from consumer.worker.calls import Call, Reply
from consumer.worker.events import Event, GapFound, ShardRewound, UnitCommitted
from consumer.worker.ledger_calls import Claim, SendHeartbeat
from consumer.worker.shard_calls import Commit, EndShard, Halt, MoveCheckpoint, Read, RecordGap, Release, WriteRows
from tests.simulation.ledger_invariants import Violation
from tests.simulation.scale import TTL_SECONDS
from tests.support.fakes import FakeTables


class WorkerInvariants:
    """Follows heartbeats, claims, releases and evictions. `clock` is the simulation's.

    A heartbeat counts from when it took effect; its sender may commit for a TTL from when it was sent. `_away`: workers
    that were silent for a TTL once, or no members; a worker that was paused since may still act on that. `_settled`:
    up to where a lease's owner has reported units; `_open_gaps`: where a gap begins that it has found, and not filled.
    """

    def __init__(self, tables: FakeTables, clock: Callable[[], float], *, stable: bool) -> None:
        self._tables = tables
        self._clock = clock
        self._stable = stable
        self._last_heartbeats: dict[str, float] = {}
        self._heartbeat_times: dict[str, dict[int, float]] = {}
        self._away: set[str] = set()
        self._may_commit: dict[str, float] = {}
        self._claimed: set[Lease] = set()
        self._settled: dict[Lease, str] = {}
        self._open_gaps: dict[Lease, str] = {}
        tables.on_heartbeat = self._on_heartbeat
        tables.on_claim = self._on_claim
        tables.on_release = self._on_release
        tables.on_evict = self._on_evict

    def sent(self, owner: str, call: Call) -> None:
        """A worker sends a call."""
        if isinstance(call, Release | EndShard | Halt | RecordGap):
            self._check_saved(call)
        if isinstance(call, Commit | MoveCheckpoint):
            self._check_gap_filled(call)
        if isinstance(call, Commit | MoveCheckpoint | WriteRows | EndShard):
            if self._clock() - self._may_commit.get(owner, 0.0) > TTL_SECONDS + 1e-6:
                raise Violation("a silent worker commits nothing", f"{owner} sent no heartbeat for a TTL: {call.lease}")
        elif isinstance(call, Claim) and call.lease not in self._claimed:
            self._claimed.add(call.lease)  # a retry is the same claim, decided before
            self.check_no_lease_stolen(call.row, owner)

    def reported(self, call: Call, reported: Sequence[Event]) -> None:
        """A worker has reported these events when the reply to its call came."""
        for event in reported:
            match event:
                case UnitCommitted(lease, unit):
                    self._settled[lease] = unit.last
                    if isinstance(call, Commit):
                        self._open_gaps.pop(lease, None)
                case ShardRewound(lease):
                    self._settled.pop(lease, None)
                    self._open_gaps.pop(lease, None)
                case GapFound(_, checkpoint) if isinstance(call, RecordGap):
                    self._open_gaps[call.lease] = checkpoint

    def _check_saved(self, call: Release | EndShard | Halt | RecordGap) -> None:
        """What the owner has settled is saved before it releases or ends the shard, halts, or records a gap."""
        lease, row = call.lease, self._tables.rows.get(call.lease.shard)
        settled = self._settled.get(lease)
        if settled is None or row is None or (row.owner, row.epoch) != lease[1:]:
            return
        if rank(row.checkpoint) < rank(settled):
            facts = f"{type(call).__name__} of {lease}: settled up to {settled}, saved up to {row.checkpoint}"
            raise Violation("what is settled is saved first", facts)

    def _check_gap_filled(self, call: Commit | MoveCheckpoint) -> None:
        """The first unit after a gap fills it, and the checkpoint does not pass it alone."""
        gap = self._open_gaps.get(call.lease)
        if gap is not None and not (isinstance(call, Commit) and call.fills_gap):
            facts = f"{type(call).__name__} of {call.lease} up to {call.unit.last}, after the gap at {gap}"
            raise Violation("the first unit after a gap fills it", facts)

    def answered(self, owner: str, call: Call, reply: Reply, sent_at: float) -> None:
        """A reply arrives."""
        if isinstance(call, SendHeartbeat) and isinstance(reply, Done):
            self._may_commit[owner] = sent_at

    def read(self, call: Read, reply: Reply) -> None:
        """A page was read: the owner of the lease reads no committed record, not even right after its claim."""
        row = self._tables.rows.get(call.lease.shard)
        if not isinstance(reply, Page) or not reply.entries or row is None:
            return
        first = reply.entries[0].sequence_number
        if (row.owner, row.epoch) == call.lease[1:] and rank(first) <= rank(row.checkpoint):
            facts = f"{first} of {call.lease.shard}, which is committed up to {row.checkpoint}"
            raise Violation("what is committed is not read again", facts)

    def shares(self, living: Mapping[str, int]) -> str | None:
        """What is wrong with the shares of the living workers after faults, if anything: they differ by at most one.

        `living` have these numbers of rules. What a worker has more than another, that one may not work; a shard whose
        number is higher than theirs is worked by none.
        """
        ledger = self._tables.load().in_order
        rows = [row for row in ledger.rows if not row.finished and row.shard not in ledger.held_back]
        waiting = [row for row in rows if row.rules > max(living.values())]
        if worked := [row.shard.shard_id for row in waiting if row.owner in living]:
            return f"{worked} wait for newer rules, and are worked"
        strays = [row.shard.shard_id for row in rows if row.owner not in living and row not in waiting]
        if strays:
            return f"no living worker has {strays}"
        shares = {owner: [row for row in rows if row.owner == owner] for owner in living}
        for more in shares.values():
            for owner, fewer in shares.items():
                if len(more) > len(fewer) + 1 and any(row.rules <= living[owner] for row in more):
                    return f"shares are {list(map(len, shares.values()))}"
        return None

    def _on_release(self, row: LeaseRow, lease: Lease) -> None:
        if row.owner is not None and (row.owner, row.epoch) != (lease.owner, lease.epoch):
            facts = f"{lease.owner} releases {row.shard.shard_id} #{lease.epoch}; {row.owner} has it as #{row.epoch}"
            raise Violation("no living worker loses a lease", facts)

    def _on_evict(self, owner: str) -> None:
        if self._clock() - self._last_heartbeats[owner] < TTL_SECONDS - 0.1 and not self._stable:
            facts = f"{owner} sent a heartbeat at {self._last_heartbeats[owner]:.3f} s"
            raise Violation("no living worker is evicted", facts)

    def _on_heartbeat(self, owner: str, before: HeartbeatReport | None, joining: bool) -> None:
        if before is None and not joining:
            raise Violation("a worker that left stays out", f"a late heartbeat brings {owner} back")
        if before is None and owner in self._last_heartbeats:
            self._away.add(owner)
        number, times = self._tables.workers[owner].number, self._heartbeat_times.setdefault(owner, {})
        if times and number <= next(reversed(times)):
            # A late repetition hides the newest heartbeat.
            self._last_heartbeats[owner] = times.get(number, self._last_heartbeats[owner])
            return
        times[number] = self._clock()
        if self._clock() - self._last_heartbeats.get(owner, self._clock()) >= TTL_SECONDS - 0.1:
            self._away.add(owner)
        self._last_heartbeats[owner] = self._clock()

    def _on_claim(self, before: LeaseRow, claimed: LeaseRow) -> None:
        if claimed.epoch <= before.epoch:
            facts = f"{claimed.owner} claims {claimed.shard} with {claimed.epoch} after {before.epoch}"
            raise Violation("an epoch is never used again", facts)

    def check_no_lease_stolen(self, row: LeaseRow, claimant: str) -> None:
        """A worker with steady heartbeats keeps its leases, unless it left or is the claimant's earlier start."""
        owner = row.owner
        if owner is None or owner == claimant or owner in self._away or owner not in self._last_heartbeats:
            return
        earlier_start = self._stable and owner.rpartition("/")[0] == claimant.rpartition("/")[0]
        silent = self._clock() - self._last_heartbeats[owner] >= TTL_SECONDS - 0.1
        if not earlier_start and not silent and owner in self._tables.workers:
            raise Violation("no living worker loses a lease", f"{claimant} claims {row.shard.shard_id} from {owner}")
