"""Calls, replies and events as short lines of a trace, the same in every process, whatever it hashes."""

from collections.abc import Collection

from consumer.domain.errors import CallFailed
from consumer.domain.fold import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Ledger, Origin, Shard, StreamStart
from consumer.domain.marks import Lineage, Mark, Route, RowWrite, StoredRow
from consumer.domain.membership import Members
from consumer.domain.replies import Children, Committed, Done, Lost, Page, Refused, RowRefused, StreamListing
from consumer.worker import events
from consumer.worker.ledger_calls import Claim, SendHeartbeat, UpgradeStream
from consumer.worker.shard_calls import (
    Commit,
    EndShard,
    LookUpShard,
    MoveCheckpoint,
    Open,
    Read,
    ReadRows,
    RecordGap,
    WriteRows,
)


def describe(what: object) -> str:
    """One line for a call, a reply, an event or a sentence."""
    match what:
        case str() | bool() | Exception():
            return str(what)
        case Commit(lease, unit, rows, fills_gap):
            later = [write.player for write in rows if not write.dated]
            later_dates = f", later dates of {_names(later)}" if later else ""
            marked = "".join(f", {_row_write(write)}" for write in rows if write.route is not Route.PLAIN)
            return f"Commit {_lease(lease)}: {_unit(unit)}{later_dates}{marked}{', fills the gap' if fills_gap else ''}"
        case EndShard(lease, previous, children, rows):
            created = _names(row.shard.shard_id for row in rows)
            return f"EndShard {_lease(lease)} after {_at(previous)}: children {_names(children)}, rows {created}"
        case Open(lease, after):
            return f"Open {_lease(lease)} after {_at(after)}"
        case Read(lease, _, after):
            return f"Read {_lease(lease)} after {_at(after)}"
        case RecordGap(lease, checkpoint):
            return f"RecordGap {_lease(lease)} after {_at(checkpoint)}"
        case Claim(row, lease):
            return f"Claim {_lease(lease)}, owned by {row.owner} as #{row.epoch}"
        case SendHeartbeat(_, report, joining, bump):
            return f"Heartbeat {report.number}{', joining' if joining else ''}{', a change' if bump else ''}"
        case Page(entries, next_iterator, _):
            run = f"{_at(entries[0].sequence_number)}..{_at(entries[-1].sequence_number)}" if entries else "empty"
            return f"Page {run}{'' if next_iterator else ', the last'}"
        case Refused(later, conflict, invalid, suspects, existing):
            found = [("conflict", conflict), (invalid or "", invalid), ("later dates", later)]
            parts = [name for name, given in found if given]
            parts += [f"{player} has {_stored_row(row)}" for player, row in sorted(what.rows.items())]
            return f"Refused: {', '.join(parts)} {_names(suspects)} {_names(existing)}"
        case WriteRows(lease, writes):
            return f"WriteRows {_lease(lease)}: {'; '.join(map(_row_write, writes))}"
        case MoveCheckpoint(lease, unit):
            return f"MoveCheckpoint {_lease(lease)}: {_at(unit.previous)} -> {_at(unit.last)}"
        case ReadRows(lease, players):
            return f"ReadRows {_lease(lease)}: {' '.join(players)}"
        case LookUpShard(lease, shard):
            return f"LookUpShard {_lease(lease)}: {_marked_shard(shard)}"
        case UpgradeStream(arn, keyed):
            return f"UpgradeStream {arn[-23:]}{', keyed' if keyed else ''}"
        case [Done() | RowRefused() | Refused() | CallFailed(), *_]:
            return "; ".join(map(describe, what))
        case RowRefused(row):
            return f"RowRefused: {_stored_row(row)}"
        case dict() if all(isinstance(row, StoredRow) for row in what.values()):
            return "; ".join(f"{player}: {_stored_row(row)}" for player, row in sorted(what.items()))
        case Lineage(parents, finished, gone):
            names = " ".join(map(_marked_shard, sorted(gone)))
            return f"Lineage of {len(parents)}, {len(finished)} finished, gone: {names}"
        case Lost(row):
            return f"Lost: {_row(row) if row else 'no row'}"
        case LeaseRow():
            return _row(what)
        case Members(changes, workers):
            heartbeats = ", ".join(f"{owner}:{report.number}" for owner, report in sorted(workers.items()))
            return f"Members #{changes}: {heartbeats}"
        case Ledger(rows, stream_starts):
            return f"Ledger of {len(stream_starts)} streams: {'; '.join(sorted(map(_row, rows)))}"
        case Children(shard_ids, leaf):
            return f"Children {_names(shard_ids)}{', a leaf' if leaf else ''}"
        case StreamListing(_, enabled, shards):
            return f"Listing {_names(shard.shard_id for shard in shards)}{'' if enabled else ', disabled'}"
        case Origin(stream_start, binding, others):
            return f"Origin: {_stream_start(stream_start)}, {'a' if binding else 'no'} binding, {len(others)} others"
        case Done() | Committed():
            return type(what).__name__
        case events.UnitCommitted(lease, unit, _, settled):
            return f". {_lease(lease)} committed up to {_at(unit.last)}{', found in the row' if settled else ''}"
        case events.RetryScheduled(operation, kind, _, attempt, delay):
            return f". {operation} is retried in {delay:.2f} s: {kind} ({attempt})"
        case _:
            return _fields(what)


def _fields(what: object) -> str:
    """Of any other value: its class and its fields."""
    names: tuple[str, ...] = getattr(what, "__slots__", ())
    return f"{type(what).__name__} {', '.join(_field(getattr(what, name)) for name in names)}".rstrip()


def _field(value: object) -> str:
    match value:
        case Shard():
            return _shard(value)
        case Lease():
            return _lease(value)
        case LeaseRow():
            return _row(value)
        case StreamStart():
            return _stream_start(value)
        case Adoption(into, rows):
            joins = _stream_start(into) if isinstance(into, StreamStart) else _row(into)
            return f"{_names(row.shard.shard_id for row in rows)} into {joins}"
        case frozenset() | tuple():
            return _names(map(_field, value))
    return describe(value) if isinstance(value, StreamListing) else str(value)


def _shard(shard: Shard) -> str:
    return f"{shard.stream_arn[-14:-13]}/{_short(shard.shard_id)}"


def _lease(lease: Lease) -> str:
    return f"{_shard(lease.shard)} #{lease.epoch} of {lease.owner}"


def _row(row: LeaseRow) -> str:
    children = f" children {_names(row.children)}" if row.children else ""
    return f"{_shard(row.shard)} #{row.epoch} of {row.owner} at {_at(row.checkpoint)}{children}"


def _stream_start(start: StreamStart | None) -> str:
    if start is None:
        return "no stream start"
    return f"stream start with {_names(start.roots)}{'' if start.complete else ', incomplete'}"


def _unit(unit: Unit) -> str:
    poison = f", {len(unit.poison)} poison" if unit.poison else ""
    return f"{_at(unit.previous)} -> {_at(unit.last)}, {unit.records} records of {_names(unit.deltas)}{poison}"


def _row_write(write: RowWrite) -> str:
    games = f"{write.delta.games} games of {write.player}"
    return f"{write.route} {games}, {_mark(write.found)} -> {_mark(write.mark)}{'' if write.dated else ', no date'}"


def _stored_row(row: StoredRow) -> str:
    return f"{_mark(row.mark)} {row.date}" if row.exists else "no row"


def _mark(mark: Mark | None) -> str:
    return f"{_marked_shard(mark.shard)}:{_at(mark.to)}" if mark is not None else "no mark"


def _marked_shard(name: str) -> str:
    label, _, shard_id = name.partition("/")
    return f"{label[-14:-13]}/{_short(shard_id)}"


def _at(position: str) -> str:
    return position[-4:] if position.isdigit() else position


def _short(shard_id: str) -> str:
    return shard_id.split("-")[1].lstrip("0") or "0" if shard_id.startswith("shardId-") else shard_id


def _names(names: object) -> str:
    assert isinstance(names, Collection) or hasattr(names, "__iter__")
    return f"[{' '.join(sorted(_short(str(name)) for name in names))}]"
