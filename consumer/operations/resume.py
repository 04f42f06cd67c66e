"""`consumer resume`: closes a halted shard's circuit, and may let everything pass that the shard holds now."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import DataTrimmed, IteratorExpired, UnsafeRefused
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, Shard
from consumer.domain.operator_ports import Circuits
from consumer.domain.ports import Streams
from consumer.domain.replies import Lost
from consumer.operations.steps import Command, OperatorCall, ask, find_in_ledger

PAGE_RECORDS: Final = 1000
EMPTY_PAGES: Final = 2
"""Consecutive empty pages after which the shard holds no more records: one empty page may come before records."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The shard goes on after `checkpoint`. `read` records pass, the newest of them is `free_to`; None: no record."""

    shard: Shard
    checkpoint: str
    read: int = 0
    free_to: str | None = None


def find_halted(ledger: Ledger, name: str) -> LeaseRow:
    """The row of a halted shard. Raises NotFound for an unknown shard, UnsafeRefused for one that is not halted."""
    shard, row = find_in_ledger(ledger, name)
    if row is None:
        raise UnsafeRefused(
            f"shard {shard} has no row in the lease table: `resume` is for a shard that its circuit breaker halted. If "
            f"the row was lost, next: `consumer checkpoint set {shard} POSITION`, which writes it again"
        )
    if row.circuit.halted_at is None:
        raise UnsafeRefused(f"shard {shard} is {'finished' if row.finished else 'not halted'}: nothing to resume")
    return row


def resume(
    row: LeaseRow,
    circuits: Circuits,
    streams: Streams,
    who: str,
    at: float,
    token: str,
    report: Callable[[int], object] = lambda _: None,
    *,
    quarantine_all: bool,
) -> Command[Resumed | Lost]:
    """Closes the circuit. Lost: another operator or worker changed the row first.

    `quarantine_all`: everything passes that the shard holds now; `report` gets the number of records of each page.
    """
    resumed = Resumed(row.shard, row.checkpoint)
    if quarantine_all:
        resumed = yield from _find_newest(resumed, streams, report)
    detail = {"outcome": "resumed", "checkpoint": row.checkpoint}
    if resumed.free_to is not None:
        detail["freeTo"] = resumed.free_to
    audit_entry = AuditEntry(who, at, "resume", str(row.shard), detail)
    reply = yield from ask(OperatorCall.RESUME, partial(circuits.resume, row, resumed.free_to, token, audit_entry))
    return reply if isinstance(reply, Lost) else resumed


def _find_newest(resumed: Resumed, streams: Streams, report: Callable[[int], object]) -> Command[Resumed]:
    """Reads the shard from its checkpoint. Records that are created after the first call do not belong to "now"."""
    shard, after, iterator, empty_pages = resumed.shard, resumed.checkpoint, None, 0
    listing = yield from ask(OperatorCall.READ_CLOCK, partial(streams.list_shards, shard.stream_arn))
    while empty_pages < EMPTY_PAGES:
        try:
            if iterator is None:
                iterator = yield from ask(OperatorCall.GET_SHARD_ITERATOR, partial(streams.open, shard, after))
            page = yield from ask(OperatorCall.GET_RECORDS, partial(streams.read, iterator, PAGE_RECORDS))
        except IteratorExpired:
            iterator = None
            continue
        except DataTrimmed:
            after, iterator = TRIM_HORIZON, None
            continue
        for record in page.records:
            created = record["dynamodb"].get("ApproximateCreationDateTime")
            if isinstance(created, int | float) and created > listing.served_at:
                return resumed  # a busy shard never ends
            after = record["dynamodb"]["SequenceNumber"]
            resumed = replace(resumed, read=resumed.read + 1, free_to=after)
        report(len(page.records))
        empty_pages = 0 if page.records else empty_pages + 1
        iterator = page.next_iterator
        if iterator is None:
            break
    return resumed


def changed_concurrently(shard: Shard, lost: Lost) -> UnsafeRefused:
    """Why the circuit was not closed."""
    row = lost.row
    now = "its row is gone" if row is None else f"it was resumed {row.circuit.resumes} times by now"
    return UnsafeRefused(
        f"changed concurrently: another operator or worker changed shard {shard} first, {now}. Nothing was changed by "
        "this command. Next: `consumer status`"
    )
