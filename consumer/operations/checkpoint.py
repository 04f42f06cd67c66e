"""A shard's row, shown and placed by a person: the way on for a row that is halted, or lost.

What a placement becomes is a value (`Placement`), so that it can be told before anybody is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from consumer.domain import lineage
from consumer.domain.audit import Trace
from consumer.domain.breaker import Circuit
from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leases import LeaseRow, Shard
from consumer.domain.operator_ports import Placements
from consumer.domain.outcomes import Done, Ledger, Lost
from consumer.domain.position import SHARD_END, rank
from consumer.operations.address import find_shard
from consumer.operations.liveness import is_alive

ACT: Final = "checkpoint set"
FASTER: Final = "somebody was faster: the row is not as it was read. Nothing was changed; look at it again"


@dataclass(frozen=True, slots=True)
class Placement:
    """A shard's row before (None: it is missing) and after."""

    before: LeaseRow | None
    after: LeaseRow

    @property
    def sentences(self) -> tuple[str, ...]:
        """What will happen, for the person who is asked."""
        shard, position, before = self.after.shard, self.after.checkpoint, self.before
        if position == SHARD_END:
            return (
                f"The row of shard {shard} is missing. It is made again as finished: nothing of the shard is read.",
                "Games that were not counted yet are skipped.",
            )
        if before is None:
            return (
                f"The row of shard {shard} is missing. It is made again, to be read after {position}.",
                "Games after that which are counted already are counted again; earlier ones that are not are skipped.",
            )
        said = f"Shard {shard} stands at {before.checkpoint}; it will be read on after {position}."
        if rank(position) < rank(before.checkpoint):
            return said, "That is a step back: the games in between are counted a second time."
        if rank(position) > rank(before.checkpoint):
            return said, "That is a step forward: games in between that are not counted yet are skipped for ever."
        return said, "It does not move: its owner is taken away and its circuit is closed."


def ledger_shards(ledger: Ledger) -> set[Shard]:
    """Every shard that a row, a pin or a parent's list knows."""
    known = {row.shard for row in ledger.rows} | lineage.missing(ledger)
    return known | {Shard(pin.stream_arn, root) for pin in ledger.pins for root in pin.roots}


def find_row(ledger: Ledger, name: str) -> LeaseRow:
    """The row of the shard of that name. Raises NotFound, also for a row that is missing."""
    shard = find_shard(name, ledger_shards(ledger))
    row = next((row for row in ledger.rows if row.shard == shard), None)
    if row is None:
        raise NotFound(
            f"the row of shard {shard} is missing from the lease table, so that nobody knows how far it was counted. "
            "Its worker has logged the last position that it knew (shard.halted): "
            f"consumer checkpoint set {shard} POSITION"
        )
    return row


def plan(ledger: Ledger, name: str, position: str, now: float) -> Placement:
    """What `checkpoint set` would do; `now` is the server's unix seconds.

    Raises UsageFault for what is no position, NotFound for a shard that nobody knows, UnsafeRefused for a position that
    would break the lineage.
    """
    try:
        rank(position)
    except ValueError as error:
        raise UsageFault(str(error)) from None
    shard = find_shard(name, ledger_shards(ledger))
    row = next((row for row in ledger.rows if row.shard == shard), None)
    after = _missing(ledger, shard, position, now) if row is None else _moved(row, position, now)
    return Placement(row, after)


def refuse_alive(
    placement: Placement, placements: Placements, lease_ttl_seconds: float, wait: Callable[[float], object]
) -> None:
    """Raises UnsafeRefused while a living worker owns the shard."""
    owner = placement.before.owner if placement.before is not None else None
    if owner is not None and is_alive(owner, lambda: placements.look()[0], lease_ttl_seconds, wait):
        raise still_owned(placement)


def still_owned(placement: Placement) -> UnsafeRefused:
    """Why a shard that a living worker owns is not placed."""
    before = placement.before
    owner = before.owner if before is not None else None
    return UnsafeRefused(
        f"worker {owner} is alive and owns shard {placement.after.shard}: stop it first. (A shard that its circuit "
        "breaker halted is resumed with `consumer resume`, which needs no stop.) Nothing was changed"
    )


def carry_out(placement: Placement, placements: Placements, who: str, at: float) -> None:
    """Writes it, with its audit row. Raises UnsafeRefused when the row has changed since it was read."""
    judge(placement, placements.place(placement.before, placement.after, trace(placement, who, at)))


def trace(placement: Placement, who: str, at: float) -> Trace:
    """What the audit trail keeps of it."""
    before, after = placement.before, placement.after
    detail = {"to": after.checkpoint, "leaseEpoch": str(after.epoch)}
    if before is not None:
        detail["from"] = before.checkpoint
    return Trace(who, at, ACT, str(after.shard), detail)


def judge(placement: Placement, reply: Done | Lost) -> None:
    """Raises UnsafeRefused when the row has changed since it was read."""
    if not isinstance(reply, Done) and reply.row != placement.after:  # if it is, an earlier attempt of ours went in
        raise UnsafeRefused(FASTER)


def _missing(ledger: Ledger, shard: Shard, position: str, now: float) -> LeaseRow:
    """A new row. Nobody knows since when it was not read, so its oldest records may be trimmed already."""
    if all(pin.stream_arn != shard.stream_arn for pin in ledger.pins):
        raise UnsafeRefused(
            f"the lease table does not know the stream of shard {shard} any more: `consumer init --adopt` comes first. "
            "Nothing was changed"
        )
    siblings = [row for row in ledger.rows if row.shard.stream_arn == shard.stream_arn]
    parent = next((row.shard.shard_id for row in siblings if shard.shard_id in row.children), None)
    children = tuple(sorted(row.shard.shard_id for row in siblings if row.parent == shard.shard_id))
    if shard not in lineage.missing(ledger):
        raise UnsafeRefused(f"shard {shard} has no row yet: a worker that starts makes it. Nothing was changed")
    if position == SHARD_END and not children:
        raise UnsafeRefused(_END_IS_FOUND)
    created = now - lineage.RETENTION_SECONDS
    made = LeaseRow(shard, None, int(now), position, parent, created=created)
    return replace(made, children=children) if position == SHARD_END else made


def _moved(row: LeaseRow, position: str, now: float) -> LeaseRow:
    if row.finished:
        raise UnsafeRefused(
            f"shard {row.shard} is finished and its children have begun: it is not read again. To count a range of it "
            "anew, use `consumer replay`. Nothing was changed"
        )
    if position == SHARD_END:
        raise UnsafeRefused(_END_IS_FOUND)
    back = rank(position) < rank(row.checkpoint)
    created = now - lineage.RETENTION_SECONDS if back or row.created is None else row.created
    return replace(
        row,
        owner=None,
        epoch=max(row.epoch + 1, int(now)),
        checkpoint=position,
        created=created,
        circuit=Circuit(resumes=row.circuit.resumes + 1),
    )


_END_IS_FOUND: Final = (
    f"only a missing row whose children have begun can be set to {SHARD_END}: else the worker that reads the shard "
    "finds its end and its children. Set the last sequence number. Nothing was changed"
)
