"""A worker's status: the lag of the shards that other workers own or none does, shard states, and readiness."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from consumer.domain.breaker import Circuit
from consumer.domain.leases import Ledger, Shard
from consumer.domain.lineage import lag_bound, uncommitted_since
from consumer.domain.membership import HeartbeatReport
from consumer.domain.ports import RulesInUse
from consumer.worker.shard import ShardMachine, ShardState

UNOWNED_TTLS: Final = 3
"""A shard that no worker has owned for longer than this counts as behind; a hand-over takes less."""


class OthersLag:
    """The lag of the shards that this worker does not own: living owners report theirs, no worker reports the rest.

    Remembers until when each shard is known to be committed (unix seconds), since when it is without an owner, and
    since when each owner's heartbeat number has not grown. `known`: whether the last result is the lag; else it is an
    upper bound: 24 hours if nothing is known of some shard.
    """

    def __init__(self, lease_ttl_seconds: float) -> None:
        self.known = True
        self._unowned_after_seconds = UNOWNED_TTLS * lease_ttl_seconds
        self._committed_until: dict[Shard, float] = {}
        self._without_owner_since: dict[Shard, float] = {}
        self._heard: dict[str, tuple[int, float]] = {}

    def lag_seconds(
        self,
        ledger: Ledger,
        reports: Mapping[str, HeartbeatReport],
        mine: Collection[Shard],
        halted: Collection[Shard],
        now: float,
        unix_now: float,
    ) -> float:
        """The longest lag of these shards. `reports` are those of the living members, by owner."""
        others = [row for row in ledger.rows if not row.finished and row.shard not in mine]
        start_times = {start.stream_arn: start.start_time for start in ledger.stream_starts}
        longest = 0.0
        without_owner = set(halted)
        unheard = set[Shard]()
        self.known = True
        silent = self._silent(reports, now)
        for row in others:
            report = reports.get(row.owner) if row.owner is not None else None
            self._note_committed(row.shard, uncommitted_since(row, start_times.get(row.shard.stream_arn)))
            if report is None:
                without_owner.add(row.shard)
            elif report.as_of:
                late = report.lag_of(row.shard)
                self._note_committed(row.shard, report.as_of - late.lag_seconds)
                longest = max(longest, late.lag_seconds)
                self.known &= late.known
                if row.owner in silent:
                    unheard.add(row.shard)
        self._without_owner_since = {shard: self._without_owner_since.get(shard, now) for shard in without_owner}
        unheard.update(
            shard for shard, since in self._without_owner_since.items() if now - since >= self._unowned_after_seconds
        )
        for shard in unheard:
            longest = max(longest, lag_bound(self._committed_until.get(shard), unix_now))
            self.known = False
        known = without_owner.union(row.shard for row in others)
        self._committed_until = {shard: until for shard, until in self._committed_until.items() if shard in known}
        return longest

    def _silent(self, reports: Mapping[str, HeartbeatReport], now: float) -> set[str]:
        """Living owners whose last report is old: while the members cannot be read, none is heard to be dead either."""
        self._heard = {
            owner: seen if (seen := self._heard.get(owner)) and seen[0] == report.number else (report.number, now)
            for owner, report in reports.items()
        }
        return {owner for owner, (_, since) in self._heard.items() if now - since >= self._unowned_after_seconds}

    def unowned(self, halted: Collection[Shard], now: float) -> set[Shard]:
        """The shards that no worker has owned for longer than a hand-over takes, without those that are halted."""
        return {
            shard
            for shard, since in self._without_owner_since.items()
            if shard not in halted and now - since >= self._unowned_after_seconds
        }

    def _note_committed(self, shard: Shard, until: float | None) -> None:
        if until:
            self._committed_until[shard] = max(until, self._committed_until.get(shard, 0.0))


SHOWN_FAILURES: Final = 10
"""How many failed calls readiness names; a thousand shards may have as many."""
UNOWNED: Final = "unowned"
"""The state, beside those of the worker's own shards, of shards that no worker owns, though some worker may."""
AWAITING_RULES: Final = "awaiting_rules"
"""The state of shards that no living worker may own: they are read by newer rules."""


AWAITING_STREAM: Final = "awaiting_stream"
"""The state of shards that no worker owns until an older stream is read to its end."""


def count_by_state(
    shards: Mapping[Shard, ShardMachine],
    missing: Collection[Shard],
    unowned: Collection[Shard],
    rules: RulesInUse,
    held_back: Collection[Shard] = (),
) -> dict[str, int]:
    """How many shards are in which state. `missing`: shards without a row, owned by this worker or not."""
    states = Counter(machine.state.value for machine in shards.values())
    states[ShardState.HALTED.value] += len(set(missing) - shards.keys())
    free = set(unowned) - set(rules.waiting)
    return {
        **states,
        UNOWNED: len(free - set(held_back)),
        AWAITING_RULES: len(rules.waiting),
        AWAITING_STREAM: len(free & set(held_back)),
    }


def rules_in_use(ledger: Ledger, number: int, waiting: Collection[Shard]) -> RulesInUse:
    """Of a worker with this number; no living worker may own the shards `waiting`."""
    rows = [row for row in ledger.rows if row.shard in waiting]
    return RulesInUse(
        number,
        len(ledger.accepted.entries),
        tuple(sorted(row.shard for row in rows)),
        min((row.rules for row in rows), default=0),
    )


def reasons_to_wait(
    *, draining: bool, planned: bool, may_commit: bool, foreign: Collection[str], unaccepted: bool
) -> list[str]:
    """Why the worker as a whole commits nothing now."""
    reasons = []
    if draining:
        reasons.append("draining: the worker is stopping")
    if foreign:
        reasons.append(
            f"workers of another version count with another protocol ({', '.join(foreign)}): this one claims nothing "
            "until they have stopped"
        )
    elif not planned:
        reasons.append("starting: the ledger has not been read and planned yet")
    if unaccepted:
        reasons.append(
            "the rules of this worker are not in the list of accepted ones any more: it claims nothing. Was the lease "
            "table restored? Next: start this worker again, which shows the difference"
        )
    if not may_commit:
        reasons.append("no heartbeat could be written for a lease TTL: nothing is committed until one can")
    return reasons


def halted_shards(shards: Mapping[Shard, ShardMachine], missing: Collection[Shard]) -> list[str]:
    """Which shards are halted, why, and the command that comes next."""
    halted = {shard: machine for shard, machine in shards.items() if machine.state is ShardState.HALTED}
    lost = {*missing, *(shard for shard, machine in halted.items() if machine.row_missing)}
    return [
        *(
            f"shard {shard} is halted: its row is missing from the lease table; "
            f"next: `consumer checkpoint set {shard} POSITION`"
            for shard in sorted(lost)
        ),
        *(
            f"shard {shard} is halted: {_next_step(shard, halted[shard].circuit)}"
            for shard in sorted(halted.keys() - lost)
        ),
    ]


def _next_step(shard: Shard, circuit: Circuit) -> str:
    """Why the circuit is open, and what comes next."""
    first = (
        "fix the producer or the settings" if circuit.unknown_mark is None else "if no worker will ever read that shard"
    )
    return f"{circuit.cause}; {first}, next: `consumer resume {shard}{circuit.resume_options}`"
