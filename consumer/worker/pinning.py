"""First sight of a stream: pin the floor and the first roots, plant the roots' rows, mark the pin complete.

Each step is idempotent and conditional, so a crash anywhere, or two workers at once, end in the same pin.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Literal

from consumer.domain import lineage
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import LeaseRow, Origin, Pin, Shard, label_of
from consumer.domain.outcomes import Done, Lost, Refused, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import CompletePin, FindOrigin, ListShards, PinCall, PinStream, Plant, Probe, Reply

StartPosition = Literal["TRIM_HORIZON", "LATEST"] | datetime

PLANTED_AT_ONCE: Final = 50
"""Rows a planting transaction puts; it may hold 100 actions."""


class Stage(Enum):
    """What the next call is for."""

    ORIGIN = "origin"
    LISTING = "listing"
    PROBING = "probing"
    PINNING = "pinning"
    PLANTING = "planting"


class Pinning:
    """What is still to do until the stream's pin is complete; `pin` tells the floor from then on."""

    def __init__(self, stream_arn: str, start: StartPosition, resolution_seconds: int, tables: tuple[str, str]) -> None:
        self.pin: Pin | None = None
        self._stream_arn = stream_arn
        self._start = start
        self._resolution_seconds = resolution_seconds
        self._lease_table, self._leaderboard_table = tables
        self._stage = Stage.ORIGIN
        self._asked = False
        self._draft: Pin | None = None
        self._predecessor: Pin | None = None
        self._listed_at = 0.0
        self._listing: StreamListing | None = None
        self._unprobed: list[Shard] = []
        self._hidden: set[str] = set()
        self._unplanted: list[str] = []

    @property
    def asked(self) -> bool:
        """Whether lease table and quarantine table have been seen to belong together."""
        return self._asked or self.pin is not None

    @property
    def complete(self) -> bool:
        """Whether shards can be claimed."""
        return self.pin is not None and self.pin.complete

    def next_call(self) -> PinCall:
        """What to ask next; only while not complete."""
        match self._stage:
            case Stage.ORIGIN:
                return FindOrigin(self._stream_arn)
            case Stage.LISTING:
                return ListShards(self._stream_arn)
            case Stage.PROBING:
                return Probe(self._unprobed[0])
            case Stage.PINNING:
                assert self._draft is not None
                before = self._predecessor
                return PinStream(self._draft, before.stream_arn if before is not None else None, self._listed_at)
            case Stage.PLANTING if self._unplanted:
                return Plant(self._stream_arn, tuple(map(self._row, self._unplanted[:PLANTED_AT_ONCE])))
            case Stage.PLANTING:
                return CompletePin(self._stream_arn)

    def take(self, call: PinCall, reply: Reply) -> list[events.Event]:
        """Learns an answer. Raises UnsafeRefused when birth row and lease table do not belong together."""
        match call, reply:
            case FindOrigin(), Origin():
                self._refuse_mismatch(reply)
                self._asked = True
                self.pin = reply.pin
                self._predecessor = _latest_before(self._stream_arn, reply)
                self._stage = Stage.LISTING
            case ListShards(), StreamListing():
                self._listed_at = reply.served_at
                if self.pin is None:
                    self._begin(reply)
                else:
                    self._start_planting(self.pin)
            case Probe(shard), bool():
                self._unprobed.remove(shard)
                if reply:
                    self._hidden.add(shard.shard_id)
                self._draw()
            case PinStream(pin, predecessor), Done():
                self._start_planting(pin)
                return [events.StreamPinned(pin.stream_arn, pin.floor, pin.roots, predecessor)]
            case ((PinStream() | Plant()), Lost()):
                self._stage = Stage.ORIGIN  # another worker is ahead of us: look again
            case Plant(_, rows), Done():
                self._planted({row.shard.shard_id for row in rows})
            case Plant(), Refused():
                self._planted(reply.existing)
            case CompletePin(), Done():
                assert self.pin is not None
                self.pin = replace(self.pin, complete=True)
            case _:
                raise AssertionError(f"{type(reply).__name__} is no answer to {type(call).__name__}")
        return []

    def _begin(self, listing: StreamListing) -> None:
        """A listing may leave out what can still be read: a parent that it does not show is asked for."""
        self._listing = listing
        self._hidden.clear()
        unlisted = lineage.unlisted_parents(listing) if self._start != "LATEST" or self._predecessor else ()
        self._unprobed = [Shard(self._stream_arn, parent) for parent in unlisted]
        self._draw()

    def _draw(self) -> None:
        """The pin, once all is known: a hidden parent is a root in its children's place."""
        assert self._listing is not None
        self._stage = Stage.PROBING if self._unprobed else Stage.PINNING
        if not self._unprobed:
            roots = lineage.roots(self._listing, self._hidden)
            listed_at = self._listing.served_at
            self._draft = Pin(self._stream_arn, self._floor(self._listing), roots, complete=False, pinned_at=listed_at)

    def _start_planting(self, pin: Pin) -> None:
        self.pin = pin
        self._unplanted = list(pin.roots)
        self._stage = Stage.PLANTING

    def _planted(self, roots: Collection[str]) -> None:
        self._unplanted = [root for root in self._unplanted if root not in roots]

    def _row(self, root: str) -> LeaseRow:
        """What is in a stream at first sight and trimmed then is before the beginning, unless a start position reaches
        back further; a successor began by itself.

        That sight may have been another worker's, long ago.
        """
        assert self.pin is not None
        created = self.pin.pinned_at if self.pin.pinned_at is not None else self._listed_at
        if self._predecessor is not None:
            created = min(created, _enabled_at(self._stream_arn) or created)
        elif self.pin.floor is not None:
            created = min(created, self.pin.floor)
        return LeaseRow(Shard(self._stream_arn, root), None, int(self._listed_at), TRIM_HORIZON, created=created)

    def _floor(self, listing: StreamListing) -> float | None:
        """The start position in unix seconds, rounded down to what the engine tells creation times in.

        It is that of the table's first stream: a successor is read from its horizon.
        """
        if self._predecessor is not None:
            return self._predecessor.floor
        if self._start == "TRIM_HORIZON":
            return None
        moment = listing.served_at if self._start == "LATEST" else self._start.timestamp()
        return float(moment // self._resolution_seconds * self._resolution_seconds)

    def _refuse_mismatch(self, origin: Origin) -> None:
        """A pin without its birth row, or the reverse, means that one of the two tables is not the one it was."""
        births = [origin.birth] if origin.birth else [birth for birth, _ in origin.others]
        for birth in births:
            if (birth.lease_table, birth.leaderboard_table) != (self._lease_table, self._leaderboard_table):
                raise UnsafeRefused(
                    f"the quarantine table belongs to lease table {birth.lease_table} and leaderboard "
                    f"{birth.leaderboard_table}, not to {self._lease_table} and {self._leaderboard_table}. Going on "
                    "would count up to 24 hours of games a second time. Check CONSUMER_LEASE_TABLE, "
                    "CONSUMER_LEADERBOARD_TABLE and CONSUMER_QUARANTINE_TABLE."
                )
        if origin.birth is not None and origin.pin is None:
            raise UnsafeRefused(self._lost_ledger(origin.birth.stream_arn))
        if origin.birth is None and origin.pin is not None:
            raise UnsafeRefused(
                f"lease table {self._lease_table} knows the stream {self._stream_arn}, but the quarantine table has no "
                "birth row for it: it is another table, or was emptied, and quarantined records may be missing. "
                "Check CONSUMER_QUARANTINE_TABLE, or restore the table from a backup."
            )
        for birth, pin in origin.others:
            if pin is None:
                raise UnsafeRefused(self._lost_ledger(birth.stream_arn))

    def _lost_ledger(self, stream_arn: str) -> str:
        return (
            f"leaderboard {self._leaderboard_table} has been counted from the stream {stream_arn}, but lease table "
            f"{self._lease_table} does not know how far: it is another table, or was emptied. Going on would count up "
            "to 24 hours of games a second time. Check CONSUMER_LEASE_TABLE, or restore the table from a backup; a "
            "leaderboard that is to be counted anew needs new, empty leaderboard, lease and quarantine tables."
        )


def _latest_before(stream_arn: str, origin: Origin) -> Pin | None:
    """The pin of the same table's stream before this one; labels are times, so they sort."""
    table = stream_arn.rpartition("/")[0]
    pins = [pin for _, pin in origin.others if pin is not None and pin.stream_arn.rpartition("/")[0] == table]
    return max(pins, key=lambda pin: (pin.stream_arn < stream_arn, pin.stream_arn), default=None)


def _enabled_at(stream_arn: str) -> float | None:
    """When a stream was switched on, in unix seconds: its label is that moment in UTC. None: the label says nothing."""
    try:
        return datetime.fromisoformat(label_of(stream_arn)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
