"""What people's commands need of the world, as `ports` tells what the worker does. Every method may raise Trouble."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from consumer.domain.audit import Trace
from consumer.domain.board import BoardRow
from consumer.domain.leases import Amendment, Birth, LeaseRow, Members, Shard
from consumer.domain.outcomes import Committed, Done, Lost, Refused
from consumer.domain.overview import Gap, LeaseTable
from consumer.domain.quarantine import Act, Application, Head, Taken
from consumer.domain.replay import Batch, Changed, Overtaken, Progress


class Boards(Protocol):
    """The leaderboard, read for a person."""

    def rows(self) -> Iterator[BoardRow]:
        """The whole board, in no order, each page as it is when it is read."""
        ...

    def about(self) -> int:
        """About how many rows it has: the table's own count, which may be hours old."""
        ...


class Quarantine(Protocol):
    """The quarantine, read and dealt with by a person. An act is one transaction and leaves a trace."""

    def heads(self, shard_id: str | None = None) -> Iterator[Head]:
        """The heads of all quarantined records, or of one shard id's, in no order."""
        ...

    def head(self, shard_id: str, sequence_number: str) -> Head | None:
        """One record's head."""
        ...

    def record(self, head: Head) -> Mapping[str, Any]:
        """The whole record in wire form. ValueError when a part of it is missing or damaged."""
        ...

    def apply(self, application: Application) -> Done | Taken | Refused:
        """Counts the record and marks it applied, while it is pending; Done also when this very act did so before."""
        ...

    def discard(self, act: Act, why: str) -> Done | Taken:
        """Marks the record discarded, while it is pending; Done also when this very act did so before."""
        ...


class Circuits(Protocol):
    """The circuits of halted shards."""

    def resume(self, row: LeaseRow, free_to: str | None, token: str, trace: Trace) -> Done | Lost:
        """Closes the circuit if it is open and was not closed since `row` was read, and lets all up to `free_to` pass.

        Done also when this very act (`token`) did so before. Raises the members' counter, so that the owner looks.
        """
        ...


class Overviews(Protocol):
    """Lease and quarantine table, read for a person. No call is made per shard."""

    def lease_table(self) -> LeaseTable:
        """Every row of the lease table, each read consistently."""
        ...

    def gaps(self) -> tuple[Gap, ...]:
        """Every gap row."""
        ...

    def births(self) -> tuple[Birth, ...]:
        """Every birth row."""
        ...

    def pending(self) -> int:
        """How many quarantine rows are pending. Costs a scan."""
        ...


class Placements(Protocol):
    """A person's hand in the ledger: where a shard stands."""

    def look(self) -> tuple[Members, float]:
        """The `members` item, read consistently, and the server's time in unix seconds."""
        ...

    def place(self, before: LeaseRow | None, after: LeaseRow, trace: Trace) -> Done | Lost:
        """Makes `before` (None: no row) into `after`, writes the trace and bumps the members' counter, all or nothing.

        Lost when owner, epoch or checkpoint are not those of `before` any more; without `before` when a row exists, or
        the stream is not pinned. `after` has no owner.
        """
        ...


class Births(Protocol):
    """A person's hand in what belongs together: birth rows and pins."""

    def births(self) -> tuple[Birth, ...]:
        """Every birth row."""
        ...

    def amend(self, amendment: Amendment, trace: Trace) -> Done | Lost:
        """Does it and writes the trace, all or nothing. Lost when birth row or pin are not as they were read."""
        ...


class Replays(Protocol):
    """A replay's progress row, and the transactions that count. A row's runner and position are its version."""

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """The row, read consistently."""
        ...

    def put(self, before: Progress | None, after: Progress, trace: Trace) -> Done | Overtaken:
        """Makes `before` (None: no row) into `after` and writes the trace, all or nothing.

        Overtaken when the row is another by now; Done also when this very write was made before.
        """
        ...

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """Moves the row on to the batch's last record and adds its deltas, all or nothing.

        Only while the quarantine rows have the batch's states. Players in `later` keep their stored date.
        """
        ...
