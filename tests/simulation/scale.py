"""Times in a simulated world: what takes minutes and days of a worker's life is made to fit into half a minute.

The relations are the product's: a listing is never older than FORGET_SECONDS but in the rare worlds that say so, a
shard that is there is not refused for GONE_SECONDS, clocks differ by less than what is kept in hand before the trim.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from consumer.domain import lineage
from consumer.worker import absence, coordinator, survey

GROWING_SECONDS: Final = 20.0
TROUBLED_SECONDS: Final = 32.0
HEALING_SECONDS: Final = 400.0
TTL_SECONDS: Final = 2.0
SKEW_SECONDS: Final = 2.0
"""How far a wall clock may be off, also after it has jumped."""
STALE_AFTER_SECONDS: Final = 5.0
LIFE_SECONDS: Final = 16.0
"""A record of a shard that nobody has read yet lives at least this long: with skew and hiding longer than the above."""
HIDDEN_SECONDS: Final = 8.0
STALE_LISTING_SECONDS: Final = 8.0
"""With skew and STALE_AFTER_SECONDS within LIFE_SECONDS, which count from when a hidden shard is shown."""
REFUSED_SECONDS: Final = 3.0
"""A shard that is there may be refused, as if it were not, for this long after the first time."""
LATEST_SECONDS: Final = 15.0
"""By then a request that comes late has come."""
LATEST_NEW_ROW_SECONDS: Final = 7.0
"""The same of one that puts a row: less than it takes to forget the shard, else it would live for days."""

_SCALED: Final[tuple[tuple[ModuleType, str, object], ...]] = (
    (absence, "GONE_SECONDS", 8.0),
    (coordinator, "LOAD_INTERVAL_SECONDS", 10.0),
    (lineage, "FORGET_SECONDS", 8.0),
    (survey, "OLD_SECONDS", 7.0),
    (survey, "SURVEY_SECONDS", 4.0),
    (survey, "RECHECK_SECONDS", (1.0, 4.0, 12.0)),
)


@contextmanager
def scaled() -> Iterator[None]:
    """The product's long times are short in here."""
    before = [getattr(module, name) for module, name, _ in _SCALED]
    for module, name, value in _SCALED:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(_SCALED, before, strict=True):
            setattr(module, name, value)
