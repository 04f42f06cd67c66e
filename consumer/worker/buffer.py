"""What a shard has read and not yet committed: decoded entries in order, bounded in bytes."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from consumer.domain.outcomes import Page
from consumer.domain.records import Entry, Ignored, Poison


class Buffer:
    """Entries of consecutive pages. `tail` is the position of the last one taken in: the next page must follow it."""

    def __init__(self, position: str) -> None:
        self.tail = position
        self._entries: deque[Entry] = deque()
        self._pages: deque[_PageLeft] = deque()
        self._size_bytes = 0
        self._ignored = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of the answers whose records are not all committed."""
        return self._size_bytes

    @property
    def idle(self) -> bool:
        """Whether it holds ignored records alone."""
        return self._ignored == len(self._entries)

    @property
    def since(self) -> float:
        """When the oldest entry arrived (monotonic seconds)."""
        return self._pages[0].arrived_at

    @property
    def oldest_created(self) -> float | None:
        """Creation of the oldest entry, in unix seconds."""
        return self._entries[0].created if self._entries else None

    def extend(self, page: Page, now: float) -> None:
        """Takes a page that follows `tail`."""
        if not page.entries:
            return
        self._entries.extend(page.entries)
        self._ignored += _ignored(page.entries)
        self._pages.append(_PageLeft(len(page.entries), page.size_bytes, now))
        self._size_bytes += page.size_bytes
        self.tail = page.entries[-1].sequence_number

    def head(self) -> Entry:
        """The oldest entry."""
        return self._entries[0]

    def condemn(self, poison: Poison) -> None:
        """The oldest entry turned out to be poison."""
        self._entries[0] = poison

    def drop(self, records: int) -> None:
        """Forgets the first `records` entries: they are committed."""
        if self._ignored:
            self._ignored -= _ignored(islice(self._entries, records))
        for _ in range(records):
            self._entries.popleft()
        while records:
            page = self._pages[0]
            taken = min(records, page.records)
            page.records -= taken
            records -= taken
            if not page.records:
                self._pages.popleft()
                self._size_bytes -= page.size_bytes


class _PageLeft:
    """What is left of one page."""

    __slots__ = ("arrived_at", "records", "size_bytes")

    def __init__(self, records: int, size_bytes: int, arrived_at: float) -> None:
        self.records = records
        self.size_bytes = size_bytes
        self.arrived_at = arrived_at


def _ignored(entries: Iterable[Entry]) -> int:
    return sum(1 for entry in entries if type(entry) is Ignored)
