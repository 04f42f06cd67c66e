"""What the contract suite sees of a subject: the four ports, and means to look behind them and to meddle."""

import abc
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Limits, Unit, cut
from consumer.domain.leases import LeaseRow, Pin, Shard
from consumer.domain.operator_ports import Circuits, Quarantine
from consumer.domain.outcomes import Done
from consumer.domain.ports import Commits, Ledgers, Membership, Streams
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Entry
from tests.builders import ARN, CREATED
from tests.contract.differences import Difference

Value = Decimal | str | None
"""A stored attribute: a number, a string, or not there."""


class Score(NamedTuple):
    """A player's row as it is stored, whatever the types."""

    games: Value
    total: Value
    date: Value


class Quarantined(NamedTuple):
    """A head row with the record that its parts hold."""

    state: str
    reason: str
    detail: str
    player: str | None
    at: float
    parts: int
    record: Mapping[str, Any]


class Subject(abc.ABC):
    """The ports under test. `names`: the lease, the leaderboard and the quarantine table."""

    name: str
    names: tuple[str, str, str]
    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    ward: Quarantine
    circuits: Circuits

    def has(self, difference: Difference) -> bool:
        """Whether this subject is known to differ from AWS in this."""
        return self.name in difference.subjects

    # --- looking ---

    @abc.abstractmethod
    def board(self) -> dict[str, Score]:
        """The leaderboard by player."""

    @abc.abstractmethod
    def quarantine(self) -> dict[tuple[str, str], Quarantined]:
        """Quarantined records by shard id and sequence number."""

    @abc.abstractmethod
    def gaps(self) -> dict[tuple[Shard, str], str | None]:
        """Gap rows by shard and checkpoint: where each ends, if that is known."""

    @abc.abstractmethod
    def stream_gaps(self) -> dict[tuple[str, str], float]:
        """Gaps between streams, by the newer one's ARN and the older one's label: when each was found."""

    @abc.abstractmethod
    def audit(self) -> list[Trace]:
        """What operators did, oldest first."""

    @abc.abstractmethod
    def everything(self) -> object:
        """All that the tables hold, to be compared with an earlier or later answer."""

    # --- meddling ---

    @abc.abstractmethod
    def delete_row(self, shard: Shard) -> None:
        """Takes a shard's row out of the ledger."""

    @abc.abstractmethod
    def delete_pin(self, stream_arn: str) -> None:
        """Takes a stream's pin out of the ledger."""

    @abc.abstractmethod
    def delete_birth(self, stream_arn: str) -> None:
        """Takes a stream's birth row out of the quarantine."""

    @abc.abstractmethod
    def delete_gap(self, shard: Shard, checkpoint: str) -> None:
        """Takes a gap row away."""

    @abc.abstractmethod
    def spoil(self, player: str, attribute: str, value: Decimal | str) -> None:
        """Sets one attribute of a player's row, whatever type it should have."""

    @abc.abstractmethod
    def delete_attribute(self, player: str, attribute: str) -> None:
        """Takes one attribute out of a player's row."""

    @abc.abstractmethod
    def mark(self, shard_id: str, sequence_number: str, state: str) -> None:
        """Sets the state of a quarantined record."""

    # --- the source ---

    @abc.abstractmethod
    def make_source(self) -> Shard:
        """A source table with the key `gameId` and a stream; the stream's only shard."""

    @abc.abstractmethod
    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Puts new items (in wire form) into the source, in order."""

    @abc.abstractmethod
    def overwrite(self, item: Mapping[str, Any]) -> None:
        """Puts an item in place of one with its key."""

    @abc.abstractmethod
    def remove(self, game_id: str) -> None:
        """Deletes an item from the source."""

    @abc.abstractmethod
    def switch_off(self) -> None:
        """Switches the stream off."""

    @abc.abstractmethod
    def switch_on(self) -> Shard:
        """Switches a stream on again, a new one; its only shard."""

    # --- in terms of the ports ---

    def row(self, shard: Shard) -> LeaseRow | None:
        """A shard's row as the ledger tells it."""
        return next((row for row in self.ledgers.load().rows if row.shard == shard), None)

    def plant(self, *rows: LeaseRow) -> None:
        """Rows in a pinned stream."""
        if not self.ledgers.load().pins:
            assert self.ledgers.pin(Pin(ARN, None, (), complete=False), None, CREATED) == Done()
        assert self.ledgers.plant(ARN, rows) == Done()


def unit(*entries: Entry, previous: str = TRIM_HORIZON) -> Unit:
    """One unit of all these."""
    made = cut(entries, previous, Limits(), CREATED + 60)
    assert made.records == len(entries)
    return made
