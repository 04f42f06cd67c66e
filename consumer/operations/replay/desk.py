"""What a person's replay needs: plans from the tables, and the machines, ready to be driven."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from consumer.domain.errors import NotFound, UsageFault
from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Birth
from consumer.domain.outcomes import Ledger
from consumer.domain.ports import Backoff
from consumer.domain.quarantine import Head
from consumer.domain.replay import Progress
from consumer.operations.replay import plan
from consumer.operations.replay.calls import Ask, FindRows, Machine, Rows, drive
from consumer.operations.replay.claim import Claim
from consumer.operations.replay.foresight import Foresight
from consumer.operations.replay.leftovers import Leftovers, pending_of
from consumer.operations.replay.plan import CountedAlready, Order, Wish, descendants
from consumer.operations.replay.reader import Reader
from consumer.operations.replay.recount import Recount
from consumer.operations.ward import Ward

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Planned:
    """A replay that can begin: the progress row as it was found, and as it is to be."""

    order: Order
    before: Progress | None
    progress: Progress

    @property
    def resumes(self) -> bool:
        """Whether it goes on with one that was interrupted."""
        return self.before is not None and self.before.act == self.progress.act


class Plans(NamedTuple):
    """What is to be done, and the shards whose range was counted by this very replay, or another one, already."""

    planned: list[Planned]
    left: list[Order]


@dataclass(frozen=True)
class Desk:
    """`ward` is the quarantine; `birth` tells a stream's birth row, by its ARN; `wait` takes seconds, and ends early
    when the person has enough.
    """

    ward: Ward
    ask: Ask
    wait: Callable[[float], object]
    ledger: Callable[[], Ledger]
    birth: Callable[[str], Birth | None]
    backoff: Backoff

    def plan(self, wish: Wish, *, children: bool = False, acting: bool = True) -> Plans:
        """What is to be done, shard by shard. Raises ConsumerError for what cannot be, `acting` also while another one
        is at it.
        """
        wish.check()
        ledger, ward = self.ledger(), self.ward
        orders = [plan.order(ledger, each) for each in ([wish, *descendants(ledger, wish)] if children else [wish])]
        plan.refuse_strange(orders[0], self.birth(orders[0].shard.stream_arn))
        found = [self._found(order, acting=acting) for order in orders]
        same = (row.act for order, row in zip(orders, found, strict=True) if row is not None and order.same(row))
        act = next(same, None) or ward.token()
        planned, left, refusal = [], [], None
        for order, row in zip(orders, found, strict=True):
            if row is not None and row.act == act and not row.running:
                left.append(order)
                continue
            try:
                progress = plan.progress_of(order, row, act, ward.token(), ward.who(), ward.now())
            except CountedAlready as error:
                refusal = refusal or error
                left.append(order)
                continue
            planned.append(Planned(order, row, progress))
        if refusal is not None and not planned:
            raise refusal
        return Plans(planned, left)

    def _found(self, order: Order, *, acting: bool) -> Progress | None:
        claim = Claim(order.shard, order.wish.target, patient=acting)
        for _ in self.steps(claim):
            pass
        claim.refuse_busy()
        return claim.found

    def scout(self, planned: Planned) -> Reader:
        """A reader that knows what the range begins with. Raises UsageFault for a number that is none of the shard's,
        NotFound when nothing of the range is in the stream any more.
        """
        progress = planned.progress
        reader = Reader(progress.shard, progress.range, progress.position, self.backoff)
        for _ in self.steps(reader):
            pass
        if reader.strange is not None:
            raise UsageFault(
                f"the stream takes --from {progress.range.first} for no sequence number of shard {progress.shard}: "
                f"{reader.strange}"
            )
        if reader.trimmed and not reader.wires:
            raise NotFound(
                f"nothing of shard {progress.shard} from {progress.range.first} to {progress.range.last} is in the "
                "stream any more: a record stays for 24 hours"
            )
        return reader

    def recount(self, planned: Planned, reader: Reader) -> Recount:
        """The machine."""
        ward = self.ward
        return Recount(
            planned.before,
            planned.progress,
            reader,
            ward.rules,
            planned.order.floor,
            self.backoff,
            ward.who(),
            ward.now,
        )

    def foresee(self, planned: Planned, reader: Reader, deltas: dict[str, Delta]) -> Foresight:
        """The machine that only reads, and adds to `deltas`."""
        return Foresight(planned.order.shard, reader, self.ward.rules, planned.order.floor, deltas)

    def begin(self, machine: Recount | Leftovers) -> None:
        """Writes the progress row, and no more."""
        while not machine.begun and (due := machine.due()) is not None:
            machine.take(self.ask(due.call))

    def pending(self, planned: Planned) -> list[Head]:
        """The range's pending quarantine rows."""
        rows = self.ask(FindRows(planned.order.shard))
        assert isinstance(rows, Rows)
        return pending_of(rows.heads.values(), planned.progress.range)

    def leftovers(self, planned: Planned, heads: list[Head]) -> Leftovers:
        """The machine that counts them."""
        ward = self.ward
        return Leftovers(planned.before, planned.progress, heads, ward.rules, ward.who(), ward.now, ward.token)

    def steps(self, machine: Machine[T]) -> Iterator[T]:
        """Runs it, and hands on what comes of it. Raises Trouble."""
        return drive(machine, self.ask, self.wait)
