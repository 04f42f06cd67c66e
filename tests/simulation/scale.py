"""The simulation's times: what takes a worker minutes or days is scaled down to half a minute.

The relations are the product's: a listing is older than FORGET_SECONDS only in rare runs with `ancient` listings, an
existing shard is not reported missing for GONE_SECONDS, clocks differ by less than the reserve before the trim.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from consumer.domain import lineage, marks, verification
from consumer.worker import coordinator, reader, shard_sync
from consumer.worker.shard_calls import PAGE_RECORDS

EPOCH_SECONDS: Final = 1_800_000_000.0
"""Unix seconds when a simulation begins."""
GROWING_SECONDS: Final = 20.0
"""The stream has its events in this time."""
FAULT_SECONDS: Final = 32.0
"""Then faults stop."""
HEALING_SECONDS: Final = 400.0
"""Within this time after that everything must drain."""
TTL_SECONDS: Final = 2.0
SKEW_SECONDS: Final = 2.0
"""How far a wall clock may be off, also after a jump."""
STALE_AFTER_SECONDS: Final = 5.0
LIFE_SECONDS: Final = 16.0
"""A record of an unread shard lives at least this long, which is longer than STALE_AFTER_SECONDS, skew and hiding."""
HIDDEN_SECONDS: Final = 8.0
STALE_LISTING_SECONDS: Final = 8.0
"""With skew and STALE_AFTER_SECONDS it is less than LIFE_SECONDS, which count from when a hidden shard is shown."""
REFUSED_SECONDS: Final = 3.0
"""An existing shard may be reported missing for this long after the first such report."""
LATEST_SECONDS: Final = 15.0
"""A late request takes effect within this time."""
LATEST_NEW_ROW_SECONDS: Final = 7.0
"""The same for a request that creates a row: less than it takes to forget the shard, or the row would stay."""
LATEST_AGAIN_SECONDS: Final = 1.0
"""The same in runs where finished rows are made again, and for the note since when a shard is unlisted: well before the
row is forgotten again, as a quarter of an hour is before two days.
"""

_SCALED: Final[tuple[tuple[ModuleType, str, object], ...]] = (
    (lineage, "GONE_SECONDS", 8.0),
    (coordinator, "LOAD_INTERVAL_SECONDS", 10.0),
    (lineage, "FORGET_SECONDS", 8.0),
    (marks, "FORGOTTEN_SECONDS", 1.0),
    (verification, "SETTLING_SECONDS", HIDDEN_SECONDS + STALE_LISTING_SECONDS + 1),
    (verification, "MARGIN_SECONDS", 2.0),
    (shard_sync, "FINDINGS_VALID_SECONDS", 7.0),
    (shard_sync, "SYNC_INTERVAL_SECONDS", 4.0),
    (shard_sync, "RECHECK_DELAYS_SECONDS", (1.0, 4.0, 12.0)),
)


@contextmanager
def scaled(page_records: int = PAGE_RECORDS) -> Iterator[None]:
    """The product's long times are short inside this context. `page_records`: what it takes for a full page."""
    pages = (reader, "PAGE_RECORDS", page_records)
    before = [getattr(module, name) for module, name, _ in (*_SCALED, pages)]
    for module, name, value in (*_SCALED, pages):
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip((*_SCALED, pages), before, strict=True):
            setattr(module, name, value)
