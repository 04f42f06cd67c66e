"""Settling: many quarantined records in few transactions, several at a time; each of them once.

A transaction holds as many records as fit, each under the condition that it still has the state that was read. What one
of them is refused for makes the batch smaller: that one stays, and the others are settled. A record keeps its token in
every batch that it is in, so it recognises its own earlier attempt.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import MAX_ACTIONS
from consumer.domain.quarantine import AlreadyResolved, Application, OperatorAction, QuarantineEntry, Unsettled
from consumer.domain.replies import Done, Refused
from consumer.operations.steps import Command, OperatorCall, ask

T = TypeVar("T")
W = TypeVar("W", Application, OperatorAction)

MOST_TOGETHER: Final = 100
"""Records that one command reads, discards or restores; also the keys of one BatchGetItem."""
WINDOW: Final = 2_000
"""Records that are read before the first of them is counted: those of one player are then found together."""
_CONFLICT: Final = frozenset({FailureKind.CONFLICT})
"""Another transaction holds a row: a smaller batch meets it less often. A record alone is sent again for a while."""


class Together(Protocol):
    """Runs commands, several at a time, and yields each result as soon as it is there."""

    def __call__(self, commands: Iterable[Command[T]]) -> Iterator[T]:
        """See Together."""
        ...


def chunks(items: Sequence[T], most: int = MOST_TOGETHER) -> Iterator[Sequence[T]]:
    """The items in order, in parts of at most `most`."""
    return (items[at : at + most] for at in range(0, len(items), most))


def actions_of(entry: QuarantineEntry, per_part: int) -> int:
    """Actions that settle a record, besides its players': head row, audit row, its item's index row, its parts."""
    return 2 + (entry.item is not None) + entry.parts * max(per_part, int(entry.expires))


def lanes(
    records: Iterable[T], players_of: Callable[[T], Collection[str]], actions: Callable[[T], int]
) -> list[list[T]]:
    """Parts that can be counted at the same time: no player is in two of them. Each fills about one transaction."""
    found: list[list[T]] = []
    size = 0
    for players, together in _by_players(records, players_of):
        more = len(players) + sum(map(actions, together))
        if not found or size + more > MAX_ACTIONS:
            found.append([])
            size = 0
        found[-1] += together
        size += more
    return found


def _by_players(
    records: Iterable[T], players_of: Callable[[T], Collection[str]]
) -> Iterable[tuple[Collection[str], list[T]]]:
    """The records in groups that have no player in common, each with its players."""
    group_of: dict[str, int] = {}
    groups: dict[int, tuple[set[str], list[T]]] = {}
    for number, record in enumerate(records):
        players, together = set(players_of(record)), [record]
        for other in sorted({group_of[player] for player in players if player in group_of}):
            more_players, more = groups.pop(other)
            players, together = players | more_players, more + together
        groups[number] = players, together
        group_of.update(dict.fromkeys(players, number))
    return groups.values()


def settle(
    call: OperatorCall,
    write: Callable[[Sequence[W]], Done | Unsettled | Refused],
    writes: Sequence[W],
    actions: Callable[[QuarantineEntry], int],
) -> Command[list[tuple[W, Done | AlreadyResolved | Refused]]]:
    """What became of each record; Refused: it is refused alone. `actions` is how many each takes, see `actions_of`."""
    settled: list[tuple[W, Done | AlreadyResolved | Refused]] = []
    waiting = _batches(writes, actions)
    while waiting:
        batch = waiting.pop()
        alone = len(batch) == 1
        try:
            reply = yield from ask(call, partial(write, batch), answers=frozenset() if alone else _CONFLICT)
        except CallFailed as failure:
            if alone or failure.kind not in _CONFLICT:
                raise
            waiting += _smaller(batch, ())
            continue
        match reply:
            case Done():
                settled += [(each, reply) for each in batch]
            case Unsettled(replies):
                settled += [(batch[at], found) for at, found in replies.items()]
                left = [each for at, each in enumerate(batch) if at not in replies]
                waiting += [left] if left else []
            case Refused(later=later) if later:
                waiting.append([each.undated_for(later) for each in batch])
            case Refused() if alone:
                settled.append((batch[0], reply))
            case Refused(suspects=suspects):
                waiting += _smaller(batch, suspects)
    return settled


def _batches(writes: Sequence[W], actions: Callable[[QuarantineEntry], int]) -> list[list[W]]:
    """Each fits in one transaction. The first one comes last: that is where they are taken from."""
    batches: list[list[W]] = []
    players, size = set[str](), 0
    for write in writes:
        more = actions(write.entry) + len(write.players - players)
        if not batches or size + more > MAX_ACTIONS:
            batches.append([])
            players, size = set(), 0
            more = actions(write.entry) + len(write.players)
        batches[-1].append(write)
        players |= write.players
        size += more
    return batches[::-1]


def _smaller(batch: list[W], suspects: Collection[str]) -> list[list[W]]:
    """Two parts: the records of suspect players and the others, or else its halves."""
    suspected = [each for each in batch if each.players & set(suspects)]
    if 0 < len(suspected) < len(batch):
        return [suspected, [each for each in batch if each not in suspected]]
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]]
