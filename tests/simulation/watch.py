"""What must hold of workers: who may take a lease, who may commit, and what nobody reads again."""

from collections.abc import Callable, Mapping

from consumer.domain.leases import Lease, LeaseRow, Vouch
from consumer.domain.outcomes import Done, Page
from consumer.domain.position import rank
from consumer.worker.calls import Beat, Call, Claim, Commit, EndShard, Read, Reply
from tests.fakes import FakeTables
from tests.simulation.scale import TTL_SECONDS
from tests.simulation.violation import Violation


class Watch:
    """`clock` is the world's. Beats are those that took effect; a worker vouches from the asking of one that did.

    `_away` were silent for a TTL once, or not among the members: whoever was paused since may still act on that.
    """

    def __init__(self, tables: FakeTables, clock: Callable[[], float], *, stable: bool) -> None:
        self._tables = tables
        self._clock = clock
        self._stable = stable
        self._beats: dict[str, float] = {}
        self._times: dict[str, dict[int, float]] = {}
        self._away: set[str] = set()
        self._vouched: dict[str, float] = {}
        self._claimed: set[Lease] = set()
        tables.on_beat = self._on_beat
        tables.on_claim = self._on_claim
        tables.on_release = self._on_release
        tables.on_bury = self._on_bury

    def sent(self, owner: str, call: Call) -> None:
        """A worker hands out a call."""
        if isinstance(call, Commit | EndShard):
            if self._clock() - self._vouched.get(owner, 0.0) > TTL_SECONDS + 1e-6:
                raise Violation("a silent worker commits nothing", f"{owner} has not beaten for a TTL: {call.lease}")
        elif isinstance(call, Claim) and call.lease not in self._claimed:
            self._claimed.add(call.lease)  # asked again it is the same, decided then
            self.nobody_robbed(call.row, owner)

    def told(self, owner: str, call: Call, reply: Reply, sent_at: float) -> None:
        """A reply arrives."""
        if isinstance(call, Beat) and isinstance(reply, Done):
            self._vouched[owner] = sent_at

    def read(self, call: Read, reply: Reply) -> None:
        """A page was read: whoever has the lease needs nothing again, also when it has just taken it over."""
        row = self._tables.rows.get(call.lease.shard)
        if not isinstance(reply, Page) or not reply.entries or row is None:
            return
        first = reply.entries[0].sequence_number
        if (row.owner, row.epoch) == call.lease[1:] and rank(first) <= rank(row.checkpoint):
            facts = f"{first} of {call.lease.shard}, which is committed up to {row.checkpoint}"
            raise Violation("what is committed is not read again", facts)

    def shares(self, living: Mapping[str, int]) -> str | None:
        """What is not as it should be when all is quiet, if anything: shares differ by at most one."""
        rows = [row for row in self._tables.rows.values() if not row.finished]
        strays = [row.shard.shard_id for row in rows if row.owner not in living]
        if strays:
            return f"nobody living has {strays}"
        counts = [sum(row.owner == owner for row in rows) for owner in living]
        return f"shares are {counts}" if max(counts) - min(counts) > 1 else None

    def _on_release(self, row: LeaseRow, lease: Lease) -> None:
        if row.owner is not None and (row.owner, row.epoch) != (lease.owner, lease.epoch):
            facts = (
                f"{lease.owner} gives back {row.shard.shard_id} #{lease.epoch}, which {row.owner} has as #{row.epoch}"
            )
            raise Violation("nobody living is robbed", facts)

    def _on_bury(self, owner: str) -> None:
        if self._clock() - self._beats[owner] < TTL_SECONDS - 0.1 and not self._stable:
            raise Violation("nobody living is buried", f"{owner} beat at {self._beats[owner]:.3f} s")

    def _on_beat(self, owner: str, before: Vouch | None, joining: bool) -> None:
        if before is None and not joining:
            raise Violation("who has left stays out", f"a late beat brings {owner} back")
        if before is None and owner in self._beats:
            self._away.add(owner)
        number, times = self._tables.workers[owner].beat, self._times.setdefault(owner, {})
        if times and number <= next(reversed(times)):
            self._beats[owner] = times.get(number, self._beats[owner])  # a repetition, which also hides the newest one
            return
        times[number] = self._clock()
        if self._clock() - self._beats.get(owner, self._clock()) >= TTL_SECONDS - 0.1:
            self._away.add(owner)
        self._beats[owner] = self._clock()

    def _on_claim(self, before: LeaseRow, claimed: LeaseRow) -> None:
        if claimed.epoch <= before.epoch:
            facts = f"{claimed.owner} claims {claimed.shard} with {claimed.epoch} after {before.epoch}"
            raise Violation("an epoch is never used again", facts)

    def nobody_robbed(self, row: LeaseRow, claimant: str) -> None:
        """Whoever has beaten all the time keeps what it has, unless it left or is the claimant's earlier life."""
        owner = row.owner
        if owner is None or owner == claimant or owner in self._away or owner not in self._beats:
            return
        earlier_life = self._stable and owner.rpartition("/")[0] == claimant.rpartition("/")[0]
        silent = self._clock() - self._beats[owner] >= TTL_SECONDS - 0.1
        if not earlier_life and not silent and owner in self._tables.workers:
            raise Violation("nobody living is robbed", f"{claimant} claims {row.shard.shard_id} from {owner}")
