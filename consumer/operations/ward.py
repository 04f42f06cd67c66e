"""What a person asks of the quarantine: pick records, look at one, redrive or discard them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final

from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Shard
from consumer.domain.operator_ports import Quarantine
from consumer.domain.position import is_sequence_number
from consumer.domain.quarantine import Choice, Head, State
from consumer.domain.records import Game, Reason, Rules
from consumer.operations.acts import Ask, Examine, Examined, Fetch, Fetched, drive
from consumer.operations.address import find_shard
from consumer.operations.discard import Discard, Discarded
from consumer.operations.redrive import Faster, Redrive, Repair, Result, Stayed, judge

Watch = Callable[[Iterator[Head], int], Iterable[Head]]
"""Hands the heads through, and may show how far they are; the number is 0: not known."""

_BY_DATABASE: Final = (Reason.TOTAL_TYPE, Reason.TOTAL_OVERFLOW, Reason.DATE_TYPE, Reason.REFUSED)
_WIDE: Final = Context(prec=400)


@dataclass(frozen=True)
class Ward:
    """The quarantine with all that an act needs. `shards`: those that the lease table knows; asked rarely.

    `who` acts, `now` in unix seconds, `token` makes one that is like no other. Everything may raise Trouble.
    """

    quarantine: Quarantine
    ask: Ask
    shards: Callable[[], Collection[Shard]]
    who: Callable[[], str]
    now: Callable[[], float]
    token: Callable[[], str]
    rules: Rules = Rules()  # noqa: RUF009  it is frozen

    def pick(self, choice: Choice, watch: Watch) -> list[Head]:
        """What is chosen, by shard and sequence number. Raises NotFound for a shard that nobody knows."""
        known = False
        picked = []
        for head in watch(self.quarantine.heads(choice.shard_id), 0):
            known = known or choice.names_shard(head)
            if choice.takes(head):
                picked.append(head)
        if choice.shard is not None and not known:
            self._require_shard(choice.shard)
        return sorted(picked, key=lambda head: head.order)

    def find(self, shard: str, sequence_number: str) -> Head:
        """One record's head. Raises NotFound, with the nearest there is."""
        head = self.quarantine.head(shard.rpartition("/")[2], sequence_number)
        if head is not None and is_sequence_number(sequence_number) and Choice(shard).names_shard(head):
            return head
        of_shard = [each for each in self.quarantine.heads(shard.rpartition("/")[2]) if Choice(shard).names_shard(each)]
        if not of_shard:
            self._require_shard(shard)
            raise NotFound(f"no record of shard {shard!r} is in quarantine")
        nearest = min(of_shard, key=lambda each: abs(int(each.sequence_number) - int(sequence_number)))
        raise NotFound(
            f"record {sequence_number} of shard {shard!r} is not in quarantine: of the {len(of_shard)} that are, the "
            f"nearest one is {nearest.sequence_number}"
        )

    def record(self, head: Head) -> Mapping[str, Any] | None:
        """The whole record in wire form, None when its parts are damaged."""
        reply = self.ask(Fetch(head))
        assert isinstance(reply, Fetched)
        return reply.wire

    def redrive(self, head: Head, repair: Repair) -> Result:
        """Counts one record, or says why not."""
        machine = Redrive(head, repair, self.rules, self.who(), self.now(), self.token())
        drive(machine, self.ask)
        assert machine.result is not None
        return machine.result

    def foresee(self, head: Head, repair: Repair) -> Game | Stayed:
        """What a redrive would count, or why it would not; nothing is written."""
        reply = self.ask(Fetch(head))
        assert isinstance(reply, Fetched)
        judged = judge(head, reply.wire, reply.fault, repair, self.rules)
        if isinstance(judged, Stayed):
            return judged
        game, _ = judged
        if head.reason in _BY_DATABASE:
            examined = self.ask(Examine(game))
            if isinstance(examined, Examined) and examined.verdict is not None:
                reason, detail = examined.verdict
                return Stayed(head, reason.value, detail)
        return game

    def discard(self, head: Head, why: str) -> Discarded | Faster:
        """Puts one record aside for ever."""
        machine = Discard(head, why, self.who(), self.now(), self.token())
        drive(machine, self.ask)
        assert machine.result is not None
        return machine.result

    def _require_shard(self, name: str) -> None:
        known = {head.shard for head in self.quarantine.heads()} | set(self.shards())
        find_shard(name, known)


def require_pending(head: Head | None, what: str) -> None:
    """Raises UnsafeRefused, which tells what has become of the record, unless it is pending."""
    if head is None:
        raise UnsafeRefused(f"{what}: its row is gone")
    if head.state == State.PENDING:
        return
    by = f" by {head.settled.by} at {head.settled.at}" if head.settled and head.settled.by else ""
    raise UnsafeRefused(f"record {head} is {head.state} already{by}: {what}")


def folded(games: Iterable[Game]) -> dict[str, Delta]:
    """What each player would get, by player; exact."""
    deltas: dict[str, Delta] = {}
    for game in games:
        fold_in(deltas, game)
    return dict(sorted(deltas.items()))


def fold_in(deltas: dict[str, Delta], game: Game) -> None:
    """Adds one game; exact."""
    games, total, date = deltas.get(game.player, Delta(0, Decimal(0), game.date))
    deltas[game.player] = Delta(games + 1, _WIDE.add(total, game.score), max(date, game.date))
