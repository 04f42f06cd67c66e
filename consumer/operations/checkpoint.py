"""`consumer checkpoint set`: changes how far a shard counts as committed, unless a living worker owns it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from consumer.domain import lineage
from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Circuit
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.leases import SHARD_END, LeaseRow, Ledger, Shard, rank
from consumer.domain.operator_ports import LeaseAdmin
from consumer.domain.replies import Lost
from consumer.operations.steps import Command, OperatorCall, ask, find_in_ledger

ACTION: Final = "checkpoint set"
READS: Final = 4
"""Reads of the members after the first one. They cover a TTL, in which a living worker sends four heartbeats."""
PAUSE_TTLS: Final = 0.26
"""A little over the quarter of a TTL after which the next heartbeat is due."""
_WORKER_FINDS_END: Final = (
    f"only a missing row whose children have rows can be set to {SHARD_END}: else the worker that reads the shard "
    "finds its end and its children. Nothing was changed. Next: set the last sequence number that was counted"
)


_MARKED: Final = (
    "Games that the mark of their player's row covers are not counted again. Counted again are those of players who "
    "play in two shards at once, of rows without a mark, and of rows that were deleted or restored since."
)


@dataclass(frozen=True, slots=True)
class CheckpointChange:
    """A shard's row before (None: it is missing) and after. `keyed`: of a stream whose players' rows have marks."""

    before: LeaseRow | None
    after: LeaseRow
    keyed: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What will happen, for the operator who is asked to confirm it."""
        shard, position, before = self.after.shard, self.after.checkpoint, self.before
        if position == SHARD_END:
            return (
                f"The row of shard {shard} is missing. It is written again as finished: nothing of the shard is read.",
                "Games that were not counted yet are skipped.",
            )
        if before is None and self.keyed:
            return (
                f"The row of shard {shard} is missing. It is written again, and the shard is read after {position}.",
                "Earlier games that are not counted are skipped.",
                _MARKED,
            )
        if before is None:
            return (
                f"The row of shard {shard} is missing. It is written again, and the shard is read after {position}.",
                "Games after that which are counted already are counted again; earlier ones that are not are skipped.",
            )
        said = f"The checkpoint of shard {shard} is {before.checkpoint}; the shard will be read after {position}."
        if rank(position) < rank(before.checkpoint):
            if self.keyed:
                return said, "That is a step back: the games in between are read again.", _MARKED
            return said, "That is a step back: the games in between are counted a second time."
        if rank(position) > rank(before.checkpoint):
            skipped = "That is a step forward: games in between that are not counted yet are skipped for ever."
            if self.keyed:
                return said, skipped, "A step back later does not count those of players who have played again by then."
            return said, skipped
        return said, "The checkpoint does not move: only the owner is removed and the circuit closed."


def plan(ledger: Ledger, name: str, position: str, now: float) -> CheckpointChange:
    """What `checkpoint set` would do; `now` is the server's unix seconds.

    Raises UsageFault when `position` is not a position, NotFound for an unknown shard, UnsafeRefused when the position
    would break the lineage.
    """
    try:
        rank(position)
    except ValueError as error:
        raise UsageFault(str(error)) from None
    shard, row = find_in_ledger(ledger, name)
    after = recreated_row(ledger, shard, position, now) if row is None else moved_row(row, position, now)
    start = ledger.stream_start(shard.stream_arn)
    return CheckpointChange(row, after, keyed=start is not None and start.keyed)


def recreated_row(ledger: Ledger, shard: Shard, position: str, now: float) -> LeaseRow:
    """The row of a shard that has lost it. It may have been unread for long: its oldest records may be trimmed."""
    if ledger.stream_start(shard.stream_arn) is None:
        raise UnsafeRefused(
            f"the lease table does not have the row of shard {shard}'s stream any more. Nothing was changed. Is "
            "CONSUMER_LEASE_TABLE right? If it is, restore the table from a backup; only if there is none: "
            "`consumer init --adopt`"
        )
    if shard not in ledger.missing:
        raise UnsafeRefused(f"shard {shard} has no row yet: a worker that starts writes it. Nothing was changed")
    siblings = [row for row in ledger.rows if row.shard.stream_arn == shard.stream_arn]
    parent = next((row.shard.shard_id for row in siblings if shard.shard_id in row.children), None)
    children = tuple(sorted(row.shard.shard_id for row in siblings if row.parent == shard.shard_id))
    if position == SHARD_END and not children:
        raise UnsafeRefused(_WORKER_FINDS_END)
    created = now - lineage.RETENTION_SECONDS
    lost = Circuit(had_game=True, ignored=True)
    row = LeaseRow(shard, None, int(now), position, parent, created=created, circuit=lost)
    row = row.read_as(ledger.accepted.reading_of_lost(now))
    return replace(row, children=children) if position == SHARD_END else row


def moved_row(row: LeaseRow, position: str, now: float) -> LeaseRow:
    """The row at its new position, without an owner, with a closed circuit, above all epochs that there were."""
    if row.finished:
        raise UnsafeRefused(
            f"shard {row.shard} is finished and its children are read: it is not read again. Nothing was changed. To "
            f"count a range of it again, next: `consumer replay {row.shard}`"
        )
    if position == SHARD_END:
        raise UnsafeRefused(_WORKER_FINDS_END)
    back = rank(position) < rank(row.checkpoint)
    created = now - lineage.RETENTION_SECONDS if back or row.created is None else row.created
    return replace(
        row,
        owner=None,
        epoch=max(row.epoch + 1, int(now)),
        checkpoint=position,
        created=created,
        circuit=replace(row.circuit.inherited, resumes=row.circuit.resumes + 1),
    )


def carry_out(
    change: CheckpointChange,
    lease_admin: LeaseAdmin,
    lease_ttl_seconds: float,
    agree: Callable[[tuple[str, ...]], object],
    who: Callable[[], str],
    now: Callable[[], float],
) -> Command[None]:
    """Writes the row, with its audit entry, once `agree` has not raised.

    Raises UnsafeRefused when a living worker owns the shard, or when the row has changed since it was read.
    """
    before, after = change.before, change.after
    owner = before.owner if before is not None else None
    if owner is not None and (yield from watch_heartbeat(owner, lease_admin, lease_ttl_seconds)):
        raise UnsafeRefused(
            f"worker {owner} is alive and owns shard {after.shard}. Nothing was changed. If the circuit breaker halted "
            f"the shard, next: `consumer resume {after.shard}`, which needs no stop. Else stop the worker first"
        )
    agree(change.sentences)
    detail = {"to": after.checkpoint, "leaseEpoch": str(after.epoch)}
    if before is not None:
        detail["from"] = before.checkpoint
    audit_entry = AuditEntry(who(), now(), ACTION, str(after.shard), detail)
    reply = yield from ask(OperatorCall.SET_CHECKPOINT, partial(lease_admin.place, before, after, audit_entry))
    if isinstance(reply, Lost) and reply.row != after:  # else an earlier attempt took effect
        raise UnsafeRefused(
            "changed concurrently: another operator or worker changed the row first. Nothing was changed by this "
            f"command. Next: `consumer checkpoint show {after.shard}`"
        )


def watch_heartbeat(owner: str, lease_admin: LeaseAdmin, lease_ttl_seconds: float) -> Command[bool]:
    """Whether the owner's heartbeat number grows within a TTL. An owner who is not a member is dead at once."""
    members, _ = yield from ask(OperatorCall.READ_MEMBERS, lease_admin.read_members)
    first = members.workers.get(owner)
    for _ in range(READS):
        if first is None:
            return False
        members, _ = yield from ask(OperatorCall.READ_MEMBERS, lease_admin.read_members, lease_ttl_seconds * PAUSE_TTLS)
        now = members.workers.get(owner)
        if now is None:
            return False
        if now.number != first.number:
            return True
    return False
