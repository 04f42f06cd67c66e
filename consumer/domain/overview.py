"""What an operator's look at the tables finds, beside the ledger itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.domain.leases import Members
from consumer.domain.outcomes import Ledger


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """One scan of the lease table. `replays` are progress rows: their attributes as text, the key among them.

    Rows, members and replays are each read consistently, though not all at one moment.
    """

    ledger: Ledger
    members: Members
    replays: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Where data may be lost: of a shard after the checkpoint `start`, or (no shard id) between two streams' labels.

    `end` is the first record that was read after it, None while there is none. `found_at` is an ISO time.
    """

    stream_arn: str
    shard_id: str | None
    start: str
    end: str | None
    loss: str
    found_at: str
