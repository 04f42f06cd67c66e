"""What a person is told of a replay."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from consumer.cli.text import many
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.domain.replay import Mode, Progress

if TYPE_CHECKING:
    from consumer.operations.replay.desk import Planned
    from consumer.operations.replay.reader import Reader


def before(planned: "Planned") -> Iterator[str]:
    """What it will do."""
    progress, order = planned.progress, planned.order
    end = "its end" if progress.range.last == SHARD_END else progress.range.last
    start = "its oldest record" if progress.range.first == TRIM_HORIZON else progress.range.first
    yield f"Shard {progress.shard}, from {start} to {end}."
    if order.capped:
        yield f"--to {order.wish.last} lies past the checkpoint: it ends with {order.row.checkpoint}."
    if planned.resumes:
        yield f"It goes on with what {progress.who} began, behind {progress.position}."
    if progress.mode is Mode.PENDING:
        yield "What the worker has counted is left alone; --recount would count it again."


def reading(planned: "Planned", reader: "Reader") -> Iterator[str]:
    """What must be known of the stream."""
    if reader.trimmed:
        yield (
            f"Part of the range is trimmed: {reader.first_found} is the oldest record that the stream still has, and "
            "what came before is not counted."
        )
    elif planned.progress.range.first == TRIM_HORIZON and reader.first_found is not None:
        yield f"{reader.first_found} is the oldest record that the stream still has."
    yield "It is one more reader of the shard, and DynamoDB Streams serves two: it slows down when it is throttled."
    if planned.progress.mode is Mode.RECOUNT:
        yield (
            f"All that counts is counted once more in {planned.progress.target}: that must be reset to zero, restored "
            "from a backup taken with all workers stopped, or new."
        )


def gauge(progress: Progress, first: str | None) -> float | None:
    """How far it is, by sequence numbers, 0 to 1; None: not known."""
    if first is None or progress.position == TRIM_HORIZON or SHARD_END in (progress.range.last, progress.position):
        return None
    whole = int(progress.range.last) - int(first)
    return (int(progress.position) - int(first)) / whole if whole > 0 else 1.0


def summary(progress: Progress) -> str:
    """Beside the bar."""
    return f"{many(progress.games, 'game')} counted"


def spread(missed: Counter[str]) -> str:
    """How many were not counted, and why."""
    if not missed:
        return ""
    return (
        f"; {missed.total():,} not counted ({', '.join(f'{code} {count:,}' for code, count in sorted(missed.items()))})"
    )
