"""The first start of a stream: record its start time and roots, create the root rows, mark the start complete.

Each step is idempotent and conditional, so a crash anywhere, or two workers at once, end with the same rows.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Final, Literal

from consumer.domain import lineage
from consumer.domain.accepted_rules import AcceptedRules, Reading, refuse_unaccepted
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import (
    PROTOCOL,
    TRIM_HORIZON,
    LeaseRow,
    Origin,
    Shard,
    StreamStart,
    TableNames,
    enabled_at,
    refuse_foreign_source,
    table_arn_of,
)
from consumer.domain.records import Rules
from consumer.domain.replies import Done, Lost, Refused, StreamListing
from consumer.domain.stream_halt import missing_images
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import (
    CompleteStreamStart,
    CreateRootRows,
    ListShards,
    Probe,
    ReadOrigin,
    RecordStreamStart,
    StreamStartCall,
    UpgradeStream,
)

StartPosition = Literal["TRIM_HORIZON", "LATEST"] | datetime

COARSEST_RESOLUTION_SECONDS: Final = 60
LATEST_SECONDS: Final = 300
"""LATEST names a start that is no older: another worker that was started with this one may have recorded it."""
ROOTS_AT_ONCE: Final = 50
"""Rows that one CreateRootRows puts; a transaction may hold 100 actions."""


DEFAULT_RULES: Final = Rules()


class StartStep(Enum):
    """What the next call of a stream start is for."""

    ORIGIN = "origin"
    LISTING = "listing"
    PROBING = "probing"
    RECORDING = "recording"
    CREATING_ROOTS = "creating_roots"
    UPGRADING = "upgrading"


class StreamStarter:
    """Names the calls that start stream `stream_arn`, one at a time. `stream_start` is its row once it is known.

    `rules`: by which this worker reads. `accepted`: those of the ledger, as far as they are known.
    """

    def __init__(
        self,
        stream_arn: str,
        start_position: StartPosition,
        resolution_seconds: int,
        tables: TableNames,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        self.stream_start: StreamStart | None = None
        self.rules = rules
        self.accepted = AcceptedRules()
        self.stream_arn = stream_arn
        self._start_position = start_position
        self._resolution_seconds = resolution_seconds
        self._tables = tables
        self._readings: tuple[Reading, ...] = ()
        self._step = StartStep.ORIGIN
        self._tables_checked = False
        self._draft: StreamStart | None = None
        self._predecessor: StreamStart | None = None
        self._listed_at = 0.0
        self._listing: StreamListing | None = None
        self._unprobed: list[Shard] = []
        self._hidden: set[str] = set()
        self._missing_roots: list[str] = []

    @property
    def tables_checked(self) -> bool:
        """Whether lease table and quarantine table have been seen to belong together."""
        return self._tables_checked or self.stream_start is not None

    @property
    def number(self) -> int:
        """The number of this worker's rules: the first one where none are accepted yet, as it will record its own."""
        return self.accepted.number_of(self.rules) if self.accepted.entries else int(self.tables_checked)

    @property
    def complete(self) -> bool:
        """Whether every root has its row, so that shards can be claimed."""
        start = self.stream_start
        return start is not None and start.complete and not self._is_older(start)

    def _is_older(self, start: StreamStart) -> bool:
        """Whether version 0.1 wrote the row, or began the ledger: it has no rules yet."""
        return start.protocol < PROTOCOL or not self.accepted.entries

    def next_call(self) -> StreamStartCall:
        """The next call; only while not complete."""
        match self._step:
            case StartStep.ORIGIN:
                return ReadOrigin(self.stream_arn)
            case StartStep.LISTING:
                return ListShards(self.stream_arn)
            case StartStep.PROBING:
                return Probe(self._unprobed[0])
            case StartStep.RECORDING:
                assert self._draft is not None
                before = self._predecessor
                rules = None if self.accepted.entries else self.rules
                return RecordStreamStart(self._draft, before.stream_arn if before else None, self._listed_at, rules)
            case StartStep.CREATING_ROOTS if self._missing_roots:
                return CreateRootRows(self.stream_arn, tuple(map(self.root_row, self._missing_roots[:ROOTS_AT_ONCE])))
            case StartStep.CREATING_ROOTS:
                return CompleteStreamStart(self.stream_arn)
            case StartStep.UPGRADING:
                assert self._listing is not None
                assert self.stream_start is not None
                keyed = None if self.stream_start.protocol == PROTOCOL else self._keyed(self._listing)
                return UpgradeStream(self.stream_arn, keyed, None if self.accepted.entries else self.rules)

    def take(self, call: StreamStartCall, reply: Reply) -> list[events.Event]:
        """Takes the reply to the call.

        Raises UnsafeRefused when the tables do not belong together or the rules are not accepted, StreamUnusable for a
        stream that lacks images: nothing of it is recorded.
        """
        match call, reply:
            case ReadOrigin(), Origin():
                self._take_origin(reply)
            case ListShards(), StreamListing():
                self._listed_at = reply.served_at
                if self.stream_start is None:
                    unusable = missing_images(reply.view, self.rules.corrections, self.stream_arn)
                    if unusable is not None:
                        raise unusable
                    self._take_first_listing(reply)
                elif self._is_older(self.stream_start):
                    self._listing = reply
                    self._step = StartStep.UPGRADING
                else:
                    self._create_roots_of(self.stream_start)
            case Probe(shard), bool():
                self._unprobed.remove(shard)
                if reply:
                    self._hidden.add(shard.shard_id)
                self._probe_or_record()
            case RecordStreamStart(start, predecessor, _, rules), Done():
                if rules is not None:
                    self.accepted = AcceptedRules((rules,))
                self._create_roots_of(start)
                return [events.StreamStarted(start.stream_arn, start.start_time, start.roots, predecessor)]
            case ((RecordStreamStart() | CreateRootRows()), Lost()) | (UpgradeStream(), Done() | Lost()):
                self._step = StartStep.ORIGIN  # read what is recorded: another worker may have been first
            case CreateRootRows(_, rows), Done():
                self._roots_created({row.shard.shard_id for row in rows})
            case CreateRootRows(), Refused():
                self._roots_created(reply.existing)
            case CompleteStreamStart(), Done():
                assert self.stream_start is not None
                self.stream_start = replace(self.stream_start, complete=True)
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        return []

    def _take_origin(self, origin: Origin) -> None:
        """What is known of the stream."""
        refuse_foreign_tables(origin, self.stream_arn, self._tables)
        refuse_unaccepted(origin.accepted, self.rules, self._tables.leases)
        self._tables_checked = True
        self._readings, self.accepted = origin.readings, origin.accepted
        self.stream_start = origin.stream_start
        self._predecessor = _latest_before(self.stream_arn, origin)
        self._step = StartStep.LISTING

    def _take_first_listing(self, listing: StreamListing) -> None:
        """A listing may leave out shards that can still be read, so unlisted parents are probed."""
        self._listing = listing
        self._hidden.clear()
        unlisted = lineage.unlisted_parents(listing) if self._start_position != "LATEST" or self._predecessor else ()
        self._unprobed = [Shard(self.stream_arn, parent) for parent in unlisted]
        self._probe_or_record()

    def _probe_or_record(self) -> None:
        """Once all parents are probed, the start is drafted: a hidden parent is a root in its children's place."""
        listing = self._listing
        assert listing is not None
        if self._unprobed:
            self._step = StartStep.PROBING
            return
        self._step = StartStep.RECORDING
        roots = lineage.roots(listing, self._hidden)
        start_time = self._start_time(listing)
        self._draft = StreamStart(
            self.stream_arn,
            start_time,
            roots,
            complete=False,
            started_at=listing.served_at,
            keyed=self._keyed(listing),
        )

    def _keyed(self, listing: StreamListing) -> bool:
        """Whether each item of the source belongs to the player that is its partition key."""
        return listing.partition_key == self.rules.player_attribute

    def _create_roots_of(self, start: StreamStart) -> None:
        self.stream_start = start
        self._missing_roots = list(start.roots)
        self._step = StartStep.CREATING_ROOTS

    def _roots_created(self, roots: Collection[str]) -> None:
        self._missing_roots = [root for root in self._missing_roots if root not in roots]

    def root_row(self, root: str) -> LeaseRow:
        """The new row of a root, with the time since when its records count.

        Records trimmed before the stream was first listed (perhaps long ago, by another worker) lie before the
        beginning. Only a start position may reach back further, and a successor counts from when it was switched on.
        """
        assert self.stream_start is not None
        created = self.stream_start.started_at if self.stream_start.started_at is not None else self._listed_at
        if self._predecessor is not None:
            created = min(created, enabled_at(self.stream_arn) or created)
        elif self.stream_start.start_time is not None:
            created = min(created, self.stream_start.start_time)
        row = LeaseRow(Shard(self.stream_arn, root), None, int(self._listed_at), TRIM_HORIZON, created=created)
        return row.read_as(self.accepted.reading_of_root(self._readings, self._listed_at))

    def _start_time(self, listing: StreamListing) -> float | None:
        """The start position in unix seconds, rounded down to the resolution of the engine's creation times.

        A successor keeps the start time of the stream before it: it is read from its trim horizon.
        """
        if self._predecessor is not None:
            return self._predecessor.start_time
        if self._start_position == "TRIM_HORIZON":
            return None
        at = listing.served_at if self._start_position == "LATEST" else self._start_position.timestamp()
        return float(at // self._resolution_seconds * self._resolution_seconds)


def is_unused(position: StartPosition, start: StreamStart, unix_now: float) -> bool:
    """Whether the stream's start, which is recorded, is another one than `position` names."""
    if position == "TRIM_HORIZON" or start.start_time is None:
        return position != "TRIM_HORIZON" or start.start_time is not None
    if position == "LATEST":
        return unix_now - start.start_time > LATEST_SECONDS
    return not 0 <= position.timestamp() - start.start_time < COARSEST_RESOLUTION_SECONDS


def position_text(position: StartPosition) -> str:
    """As an operator gives it; a time in UTC."""
    return position.isoformat().replace("+00:00", "Z") if isinstance(position, datetime) else position


def refuse_foreign_tables(origin: Origin, stream_arn: str, tables: TableNames) -> None:
    """Raises UnsafeRefused when a stream's row is without its table binding, or the reverse, or names other tables.

    Then one of the two tables is not the one it was, or the stream is of another source than those that they know.
    """
    refuse_foreign_source(origin.sources, stream_arn)
    bindings = [origin.binding] if origin.binding else [binding for binding, _ in origin.others]
    for binding in bindings:
        if (binding.lease_table, binding.leaderboard_table) != (tables.leases, tables.leaderboard):
            raise UnsafeRefused(
                f"the quarantine table belongs to lease table {binding.lease_table} and leaderboard "
                f"{binding.leaderboard_table}, not to {tables.leases} and {tables.leaderboard}. Check "
                "CONSUMER_LEASE_TABLE, CONSUMER_LEADERBOARD_TABLE and CONSUMER_QUARANTINE_TABLE. Starting with these "
                "tables would count up to 24 hours of games a second time."
            )
    if origin.binding is None and origin.stream_start is not None:
        raise UnsafeRefused(
            f"lease table {tables.leases} knows the stream {stream_arn}, but the quarantine table has no table binding "
            "for it: it is another table, or it was emptied, and quarantined records may be missing. Check "
            "CONSUMER_QUARANTINE_TABLE; if it is right, restore the table from a backup."
        )
    unknown = [binding for binding, stream_start in origin.others if stream_start is None]
    if origin.binding is not None and origin.stream_start is None:
        unknown.insert(0, origin.binding)
    if unknown:
        raise UnsafeRefused(
            f"leaderboard {tables.leaderboard} has been counted from the stream {unknown[0].stream_arn}, but lease "
            f"table {tables.leases} does not know how far: it is another table, or it was emptied. Check "
            "CONSUMER_LEASE_TABLE; if it is right, restore the table from a backup. Starting with this table would "
            "count up to 24 hours of games a second time. A leaderboard that is to be counted again from nothing needs "
            "new, empty leaderboard, lease and quarantine tables."
        )


def _latest_before(stream_arn: str, origin: Origin) -> StreamStart | None:
    """The start of the same table's stream before this one; labels are times, so they sort."""
    table = table_arn_of(stream_arn)
    starts = [start for _, start in origin.others if start is not None and table_arn_of(start.stream_arn) == table]
    return max(starts, key=lambda start: (start.stream_arn < stream_arn, start.stream_arn), default=None)
