"""What the worker needs of the world; what people's commands need is in `operator_ports`.

`consumer.aws` is the real thing; tests hold in-memory fakes to the same suite.

Every method may raise Trouble, which leaves open whether a write took effect.
"""

from typing import Protocol

from consumer.domain.leaderboard import Unit
from consumer.domain.leases import Adoption, Lease, LeaseRow, Members, Origin, Pin, Shard, Vouch
from consumer.domain.outcomes import (
    Children,
    CommitReply,
    Done,
    Ledger,
    Lost,
    Page,
    RawPage,
    Refused,
    Removed,
    StreamListing,
)
from consumer.domain.records import Game, Rules, Verdict
from consumer.domain.standing import Standing


class Streams(Protocol):
    """DynamoDB Streams, and which stream the source table has now."""

    def find_stream(self) -> str:
        """The ARN of the stream to read: the one that was chosen, or the source table's newest one."""
        ...

    def list_shards(self, stream_arn: str) -> StreamListing:
        """All shards that the stream shows now, over all pages."""
        ...

    def open(self, shard: Shard, after: str) -> str:
        """A shard iterator that begins after the checkpoint `after`. Raises DataTrimmed."""
        ...

    def open_at(self, shard: Shard, first: str) -> str:
        """A shard iterator that begins with the record `first`. Raises DataTrimmed."""
        ...

    def read(self, iterator: str, limit: int) -> RawPage:
        """The next page in wire form. Raises IteratorExpired, DataTrimmed."""
        ...

    def poll(self, iterator: str, limit: int, rules: Rules, floor: float | None) -> Page:
        """The next page, each record decoded (see records.decode). Raises IteratorExpired, DataTrimmed."""
        ...

    def find_children(self, shard: Shard) -> Children:
        """The children of a shard that has ended, as far as they are visible now."""
        ...


class Ledgers(Protocol):
    """The lease table: streams' pins and shards' rows. Every write is conditional."""

    def origin(self, stream_arn: str) -> Origin:
        """The stream's pin and birth row, read at one moment."""
        ...

    def pin(self, pin: Pin, predecessor: str | None, found_at: float) -> Done | Lost:
        """Writes pin and birth row in one transaction; Lost when one of them exists.

        After a `predecessor` (ARN) also a gap row: what was written between the two streams is in neither.
        """
        ...

    def plant(self, stream_arn: str, rows: tuple[LeaseRow, ...]) -> Done | Lost | Refused:
        """Puts root rows while the pin is incomplete (else Lost); Refused names those that exist and puts none."""
        ...

    def complete_pin(self, stream_arn: str) -> Done:
        """From now on a root without a row is a lost row."""
        ...

    def adopt(self, adoption: Adoption) -> Done | Lost:
        """The list and the new rows in one transaction; Lost when the list has changed or a row exists."""
        ...

    def mark(self, row: LeaseRow, unlisted_since: float | None) -> Done:
        """Notes since when listings have not shown a finished shard; None: they show it. Nothing if it is noted."""
        ...

    def forget(self, row: LeaseRow, pin: Pin | None) -> Done | Lost:
        """Deletes a finished row whose note is still that of `row`, and takes it out of the roots of `pin`."""
        ...

    def load(self) -> Ledger:
        """Every row, each read consistently."""
        ...

    def claim(self, row: LeaseRow, lease: Lease) -> LeaseRow | Lost:
        """Makes `lease` the holder, if the row's owner and epoch are still those of `row`; the row as it is then."""
        ...

    def release(self, lease: Lease) -> Done:
        """Gives the lease back; nothing happens when it is somebody else's already."""
        ...


class Membership(Protocol):
    """The `members` item of the lease table."""

    def beat(self, owner: str, vouch: Vouch, *, joining: bool, bump: bool) -> Done | Removed:
        """Writes the owner's beat; only a joining one may put an owner in. `bump` raises the counter of changes."""
        ...

    def look(self) -> Members:
        """One consistent read."""
        ...

    def leave(self, owner: str) -> Done:
        """Takes the owner out and bumps the counter."""
        ...

    def bury(self, owner: str, beat: int) -> Done:
        """Takes a dead owner out, unless it has beaten since `beat`."""
        ...


class Commits(Protocol):
    """The transactions that make it exactly once."""

    def commit(self, lease: Lease, unit: Unit, later: frozenset[str], *, fills_gap: bool) -> CommitReply:
        """Writes a unit: checkpoint, deltas, quarantine rows. Players in `later` keep their stored date."""
        ...

    def halt(self, lease: Lease, previous: str, resumes: int, halted_at: float) -> Done | Lost:
        """Opens the shard's circuit, unless it has been closed by a person more than `resumes` times."""
        ...

    def end(self, lease: Lease, previous: str, children: tuple[str, ...], rows: tuple[LeaseRow, ...]) -> CommitReply:
        """Finishes a shard: its row to SHARD_END with `children`, and the children's new rows."""
        ...

    def record_gap(self, shard: Shard, checkpoint: str, found_at: float, lease: Lease | None = None) -> bool | Lost:
        """A durable row that says data after `checkpoint` may be lost; True when it is new.

        Lost, and nothing is written, when `lease` does not hold the shard there any more: what is behind the checkpoint
        is for its holder to miss. None: nobody works the shard.
        """
        ...

    def examine(self, game: Game) -> Verdict | None:
        """Why `game`, refused alone, can never be applied; None when nothing speaks against it.

        Trouble when the leaderboard cannot be asked or is another table by now: then no record is to blame.
        """
        ...

    def pending(self) -> int:
        """How many quarantine rows are pending. Costs a scan: ask rarely."""
        ...


class Backoff(Protocol):
    """How long to wait before the next attempt."""

    def delay(self, attempt: int) -> float:
        """Seconds, jittered, before attempt number `attempt` + 1; the first failure is attempt 1."""
        ...


class Meters(Protocol):
    """What the worker measures. Times `at` are unix seconds."""

    def records(self, outcome: str, count: int) -> None:
        """Records that ended in `outcome`."""
        ...

    def committed(self, seconds: float, at: float) -> None:
        """A transaction went through after `seconds`."""
        ...

    def retry(self, operation: str, reason: str) -> None:
        """A call will be tried again."""
        ...

    def gap(self) -> None:
        """Data may have been lost to the 24-hour trim."""
        ...

    def progress(self, at: float) -> None:
        """Something moved: a commit, or an empty page of a shard that is caught up."""
        ...

    def snapshot(self, standing: Standing, pending: int | None, at: float) -> None:
        """How things stand now; `pending` quarantine rows, None: not counted."""
        ...
