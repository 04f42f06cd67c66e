"""Options that a test may set while the server runs."""

from dataclasses import dataclass
from enum import StrEnum


class ShardFilter(StrEnum):
    """How DescribeStream treats a ShardFilter."""

    SERVED = "served"
    IGNORED = "ignored"
    """The whole list, as DynamoDB Local does."""
    EMPTY = "empty"
    """No shards, as ministack does."""


class LastPage(StrEnum):
    """Which reply of a closed shard has no NextShardIterator."""

    TOGETHER = "together"
    """The reply with the last records."""
    APART = "apart"
    """An empty reply of its own."""
    EITHER = "either"


@dataclass
class Options:
    """The service's own limits are the defaults. `hold_seconds` None: transactions do not conflict."""

    page_records: int = 1_000
    page_bytes: int = 1_048_576
    page_shards: int = 100
    iterator_seconds: float = 900.0
    enabling_seconds: float = 0.0
    """How long a stream is ENABLING after it was switched on, and lists no shards."""
    shard_filter: ShardFilter = ShardFilter.SERVED
    at_timestamp: bool = True
    last_page: LastPage = LastPage.EITHER
    hold_seconds: float | None = None
    """How long a transaction locks its items before it takes effect."""
    linger_seconds: float = 0.0
    """How long it locks them after that."""
    trim_unread: bool = True
    """The fault TRIM affects also shards without a commit. In DynamoDB a record lives for a day, within which a worker
    either commits or finds that the shard's row is old."""
    hide_tokens: bool = False
    """The engine sees no ClientRequestToken: tokens hide missing guards for ten minutes."""
    capture: bool = True
    """Writes to a table with a stream become records."""
    deletes_expire: bool = False
    """Removals look as if the item's time to live was over."""

    def set(self, **values: object) -> None:
        """Changes some. ValueError for an unknown option or value."""
        for name, value in values.items():
            if name not in self.__dataclass_fields__:
                raise ValueError(f"no option {name}")
            kind = {"shard_filter": ShardFilter, "last_page": LastPage}.get(name)
            setattr(self, name, kind(str(value)) if kind else value)
