"""What verdicts of `verify` stand on, and the seeds that have a wrong one without it. Its margins are in unit tests."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from consumer.domain.operator_ports import BoardState
from consumer.domain.verification import corrections_ignored, passed, quiet
from consumer.operations.sums import Sums
from tests.simulation.proving import Guard
from tests.simulation.switches import switch

WRONG: Final = "verify calls no right board wrong"


@switch(passed)
def verify_waits_for_shards(_original: Any, *_: Any) -> bool:
    """Every shard counts as settled at once."""
    return True


@switch(Sums.rows_after)
def verify_reads_rows_twice(original: Any, self: Sums, rows: Iterable[BoardState]) -> Any:
    """A row is compared whether it has changed meanwhile or not."""
    read = list(rows)
    self.rows_before(read)
    return original(self, read)


@switch(corrections_ignored)
def verify_knows_ignored_corrections(_original: Any, *_: Any) -> None:
    """It is forgotten that a correction was ignored."""


@switch(quiet)
def verify_asks_often_enough(_original: Any, asked: Sequence[float], _: float) -> bool:
    """One empty page shows that nothing is behind a checkpoint."""
    return bool(asked)


VERIFY_GUARDS: Final = (
    Guard(
        "verify asks often enough",
        "domain/verification.py quiet: SURE_PAGES, a minute after the moment",
        "empty pages come before a record, and a record is shown some time after it was written",
        WRONG,
        60,
        switches=(verify_asks_often_enough,),
        keyed=True,
        verifying=True,
    ),
    Guard(
        "verify waits for shards",
        "domain/verification.py passed: finished, or a record that is younger by the margin",
        "games that are on their way are no difference",
        WRONG,
        0,
        switches=(verify_waits_for_shards,),
        verifying=True,
    ),
    Guard(
        "verify reads rows twice",
        "operations/sums.py Sums.judgeable: before IS after",
        "a game that came after the games were read is no difference",
        WRONG,
        0,
        switches=(verify_reads_rows_twice,),
        verifying=True,
    ),
    Guard(
        "verify knows ignored corrections",
        "domain/verification.py corrections_ignored: the rows' ignoredCorrections",
        "an item that was changed rightly differs from what was counted",
        WRONG,
        2,
        switches=(verify_knows_ignored_corrections,),
        verifying=True,
    ),
)
