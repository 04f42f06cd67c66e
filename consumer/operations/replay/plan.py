"""What a replay is to do, from what a person asks and what the tables say: values, and refusals as sentences."""

from dataclasses import dataclass, replace
from typing import Final

from consumer.domain.audit import Trace
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.leases import Birth, LeaseRow, Shard
from consumer.domain.outcomes import Ledger
from consumer.domain.position import TRIM_HORIZON, is_sequence_number, rank
from consumer.domain.replay import LATEST, Mode, Overtaken, Progress, Range, merged
from consumer.operations.checkpoint import find_row

ACT: Final = "replay"
FEWEST_DIGITS: Final = 21
"""Of a sequence number. Source: API reference of DynamoDB Streams, StreamRecord."""


class CountedAlready(UnsafeRefused):
    """The range, or a part of it, was counted again before."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks. `target` is the leaderboard table, `elsewhere`: another one than the worker's; `again`: also
    what was counted again already.
    """

    shard: str
    first: str
    last: str
    mode: Mode
    target: str
    again: bool = False
    elsewhere: bool = False

    def check(self) -> None:
        """Raises UsageFault, with every fault, for what could never be right."""
        faults = [
            f"{name} is {text[:80]!r}: it must be {word} or a sequence number, which has {FEWEST_DIGITS} to 40 decimal "
            "digits"
            for name, text, word in (("--from", self.first, TRIM_HORIZON), ("--to", self.last, LATEST))
            if text != word and not (is_sequence_number(text) and len(text) >= FEWEST_DIGITS)
        ]
        if not faults and self.last != LATEST and rank(self.first) > rank(self.last):
            faults.append(f"--from {self.first} is after --to {self.last}: there is nothing between them")
        if faults:
            raise UsageFault("\n".join(faults))


@dataclass(frozen=True, slots=True)
class Order:
    """A wish as the ledger allows it. `row` is the shard's; `capped`: --to lies past the checkpoint, the end now."""

    wish: Wish
    row: LeaseRow
    range: Range
    floor: float | None
    capped: bool

    @property
    def shard(self) -> Shard:
        """Whose records."""
        return self.row.shard

    def same(self, found: Progress) -> bool:
        """Whether `found` is a replay of just this, which was asked for before."""
        asked = self.wish.last in (found.asked, found.range.last)
        return found.running and found.mode is self.wish.mode and found.range.first == self.range.first and asked


def order(ledger: Ledger, wish: Wish) -> Order:
    """What `wish` comes to. Raises UsageFault, NotFound, and UnsafeRefused for what the worker has not counted yet."""
    wish.check()
    row = find_row(ledger, wish.shard)
    if row.checkpoint == TRIM_HORIZON:
        raise UnsafeRefused(f"nothing of shard {row.shard} is counted yet: there is nothing to replay")
    if rank(wish.first) > rank(row.checkpoint):
        raise UnsafeRefused(
            f"shard {row.shard} is counted up to {row.checkpoint}, and --from {wish.first} lies past that checkpoint: "
            "the worker will come to it"
        )
    capped = wish.last != LATEST and rank(wish.last) > rank(row.checkpoint)
    last = row.checkpoint if wish.last == LATEST or capped else wish.last
    pin = next((pin for pin in ledger.pins if pin.stream_arn == row.shard.stream_arn), None)
    if pin is None and wish.mode is Mode.RECOUNT:
        raise UnsafeRefused(
            f"the row of shard {row.shard}'s stream is gone from the lease table, and with it the start position "
            "before which nothing counts. The way on: consumer init --adopt"
        )
    return Order(wish, row, Range(wish.first, last), pin.floor if pin is not None else None, capped)


def refuse_strange(order: Order, birth: Birth | None) -> None:
    """Raises UnsafeRefused when the stream is not counted into the board that the settings name, or is into TABLE."""
    if birth is None:
        return
    own, target = birth.leaderboard_table, order.wish.target
    if order.wish.elsewhere and target == own:
        raise UnsafeRefused(
            f"--into {target} is the board that shard {order.shard} is counted into, though another one is configured: "
            "correct CONSUMER_LEADERBOARD_TABLE"
        )
    if not order.wish.elsewhere and target != own:
        raise UnsafeRefused(
            f"shard {order.shard} is counted into {own}, and the configured leaderboard is {target}: correct "
            "CONSUMER_LEADERBOARD_TABLE, or say --into"
        )


def descendants(ledger: Ledger, wish: Wish) -> list[Wish]:
    """The same of its children, and of theirs, from their beginning: of those that are counted in part at least."""
    rows = {row.shard: row for row in ledger.rows}
    generation, found = [find_row(ledger, wish.shard)], list[Wish]()
    while generation:
        children = [Shard(row.shard.stream_arn, child) for row in generation for child in row.children]
        generation = [rows[child] for child in children if child in rows]
        begun = (row for row in generation if row.checkpoint != TRIM_HORIZON)
        found += [replace(wish, shard=str(row.shard), first=TRIM_HORIZON, last=LATEST) for row in begun]
    return found


def progress_of(order: Order, found: Progress | None, act: str, runner: str, who: str, at: float) -> Progress:
    """The progress row to begin or to go on with. Raises UnsafeRefused for what could be counted twice."""
    wish, history = order.wish, found.history if found is not None else ()
    if found is not None and order.same(found):
        return replace(found, runner=runner)
    if found is not None and found.running and found.mode is Mode.RECOUNT and not wish.again:
        raise UnsafeRefused(
            f"a replay of shard {order.shard} into {wish.target}, from {found.range.first} to {found.range.last}, was "
            f"interrupted behind {found.position}. The same command goes on there: --from {found.range.first} --to "
            f"{found.asked}. Or give it up, and what it has counted stays counted, with --again"
        )
    overlapping = next((each for each in history if each.overlaps(order.range)), None)
    if wish.mode is Mode.RECOUNT and overlapping is not None and not wish.again:
        raise CountedAlready(
            f"shard {order.shard} was counted again into {wish.target} from {overlapping.first} to {overlapping.last} "
            f"already: that overlaps, and would count it once more. If {wish.target} was reset since, add --again"
        )
    return Progress(
        shard=order.shard,
        target=wish.target,
        mode=wish.mode,
        range=order.range,
        asked=wish.last,
        position=TRIM_HORIZON,
        act=act,
        runner=runner,
        who=who,
        started_at=at,
        done=merged(history),
    )


def trace_of(progress: Progress, outcome: str, who: str, at: float) -> Trace:
    """The audit row of a replay's beginning or end."""
    detail = {
        "outcome": outcome,
        "mode": progress.mode.value,
        "from": progress.range.first,
        "to": progress.range.last,
        "leaderboardTable": progress.target,
        "position": progress.position,
        "games": str(progress.games),
        "skipped": str(progress.skipped),
    }
    return Trace(who, at, ACT, str(progress.shard), detail)


def refuse_overtaken(overtaken: Overtaken) -> None:
    """Raises UnsafeRefused: another one has the progress row."""
    row = overtaken.row
    now = "its progress row is gone" if row is None else f"{row.who} has it now, and it stands behind {row.position}"
    raise UnsafeRefused(f"somebody was faster: another replay took this one over; {now}")
