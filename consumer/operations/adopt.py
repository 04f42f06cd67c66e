"""`consumer init --adopt`: makes table bindings and lease table match, without which `run` refuses to start."""

from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import BindingChange, StreamStart, TableBinding, TableNames
from consumer.domain.operator_ports import TableBindings
from consumer.domain.replies import Lost
from consumer.operations.steps import Command, OperatorCall, ask

ACTION: Final = "init --adopt"


def binding_changes(
    bindings: Collection[TableBinding], stream_starts: Collection[StreamStart], tables: TableNames
) -> list[BindingChange]:
    """What must be written so that the bindings match these tables and the streams that the lease table knows."""
    bound = {binding.stream_arn: binding for binding in bindings}
    started = {start.stream_arn for start in stream_starts}
    changes = []
    for stream_arn in sorted(bound.keys() | started):
        before = bound.get(stream_arn)
        after = TableBinding(stream_arn, tables.leases, tables.leaderboard) if stream_arn in started else None
        if before != after:
            changes.append(BindingChange(stream_arn, before, after, stream_arn in started))
    return changes


def sentence(change: BindingChange, tables: TableNames) -> str:
    """What is wrong, and what happens when it is adopted."""
    lease_table, leaderboard = tables.leases, tables.leaderboard
    marks = (
        f" Where the source table is keyed by the player, games that the mark of their player's row in {leaderboard} "
        "covers are not counted again."
    )
    stream, before = change.stream_arn, change.before
    if change.after is None:
        assert before is not None
        return (
            f"Stream {stream} was counted into leaderboard {before.leaderboard_table} by lease table "
            f"{before.lease_table}. Lease table {lease_table} does not know how far. If this is adopted, the next "
            f"`run` starts the stream again and counts into {leaderboard}: everything that the stream still has, up to "
            "24 hours of games, is counted a second time. With CONSUMER_START_POSITION=LATEST (or a time) it starts "
            f"there instead, and earlier games that were not counted yet are skipped.{marks}"
        )
    if before is None:
        return (
            f"Lease table {lease_table} knows stream {stream}; the quarantine table does not. If this is adopted, the "
            "worker goes on from its checkpoints and nothing is counted twice; records that were quarantined before "
            "may be missing from this table."
        )
    return (
        f"Stream {stream} was counted into leaderboard {before.leaderboard_table} by lease table {before.lease_table}. "
        f"If this is adopted, lease table {lease_table} goes on from its checkpoints and counts into {leaderboard}: "
        f"games that another table has counted are missing there, or are counted a second time.{marks}"
    )


def carry_out(bindings: TableBindings, changes: Iterable[BindingChange], who: str, at: float) -> Command[None]:
    """Makes the changes, one transaction each.

    Raises UnsafeRefused when something is not as it was read; the changes before it are made.
    """
    for change in changes:
        detail = {"birth": "removed" if change.after is None else "written"}
        if change.before is not None:
            detail |= {"leaseTable": change.before.lease_table, "leaderboardTable": change.before.leaderboard_table}
        audit_entry = AuditEntry(who, at, ACTION, change.stream_arn, detail)
        reply = yield from ask(OperatorCall.CHANGE_BINDING, partial(bindings.change_binding, change, audit_entry))
        if isinstance(reply, Lost):
            raise UnsafeRefused(
                f"changed concurrently: the tables of stream {change.stream_arn} are not as they were read. Next: "
                "`consumer init --adopt` again, which shows what is left to adopt"
            )
