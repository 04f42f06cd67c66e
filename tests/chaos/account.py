"""Where every record ended: counted, in quarantine, ignored, or lost in a gap that has a row.

It is computed from the stream's records and the log of transactions, without any code of the product.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from tests.streams_server import ShardState, Transaction
from tests.support.processes import Expected, Row

Wire = Mapping[str, Any]
Key = tuple[str, str]

_TRIM_HORIZON, _SHARD_END = "TRIM_HORIZON", "SHARD_END"
_SHARD_KEY = "shard#"
_GAP_KEY = "#gap"


class Gap(NamedTuple):
    """A gap row: records after `since` and before `to` (None: any) are lost. Sequence numbers, or TRIM_HORIZON."""

    since: str
    to: str | None


class Account:
    """`errors` is empty when every record ended in exactly one way, and none is lost without a gap row."""

    def __init__(
        self,
        records: Mapping[str, Sequence[Wire]],
        shards: Iterable[ShardState],
        moves: Iterable[Transaction],
        gaps: Mapping[str, Collection[Gap]],
        poison: Collection[Key],
    ) -> None:
        self.expected = Expected()
        self.poison: dict[tuple[str, str], Wire] = {}
        """By shard and sequence number: shards may use the same numbers."""
        self.ignored = 0
        self.lost = 0
        self.lost_games: defaultdict[str, list[list[Wire]]] = defaultdict(list)
        """By player, gap by gap: images of games that are lost, or were written ahead of the checkpoint (marks)."""
        self.errors: list[str] = []
        self._poison = poison
        passed = _by_shard(moves)
        for state in shards:
            name = state.shard_id
            walk = _Walk(
                state, records.get(name, ()), passed.get(name, []), {gap.since: gap for gap in gaps.get(name, ())}
            )
            for wire in walk.committed():
                self._count(name, wire)
            self.lost += walk.lost
            for wires in walk.gone:
                self._note_lost(wires)
            self.errors += walk.errors

    def ahead(self, player: str, stored: Row | None) -> bool:
        """Whether the row differs only by games that were written before they were lost: of each gap the first ones."""
        gaps = self.lost_games.get(player, [])
        for counts in product(*(range(len(games) + 1) for games in gaps)):
            possible = Expected()
            if player in self.expected.rows:
                possible.rows[player] = self.expected.rows[player]
            for games, count in zip(gaps, counts, strict=True):
                for image in games[:count]:
                    possible.count(image)
            if possible.rows.get(player) == stored:
                return True
        return False

    def _note_lost(self, wires: Sequence[Wire]) -> None:
        found: defaultdict[str, list[Wire]] = defaultdict(list)
        for wire in wires:
            image = wire["dynamodb"].get("NewImage")
            if wire["eventName"] == "INSERT" and key_of(image) not in self._poison:
                found[image["playerId"]["S"]].append(image)
        for player, images in found.items():
            self.lost_games[player].append(images)

    def _count(self, shard: str, wire: Wire) -> None:
        change = wire["dynamodb"]
        if wire["eventName"] != "INSERT":
            self.ignored += 1
        elif key_of(change["NewImage"]) in self._poison:
            self.poison[shard, change["SequenceNumber"]] = wire
        else:
            self.expected.count(change["NewImage"])


class _Walk:
    """Follows one shard's checkpoints."""

    def __init__(
        self, state: ShardState, records: Sequence[Wire], moves: Sequence[Transaction], gaps: Mapping[str, Gap]
    ) -> None:
        self.lost = 0
        self.gone: list[Sequence[Wire]] = []
        self.errors: list[str] = []
        self._state = state
        self._records = records
        self._numbers = [int(wire["dynamodb"]["SequenceNumber"]) for wire in records]
        self._moves = moves
        self._gaps = gaps
        self._unused = set(gaps)

    def committed(self) -> Iterator[Wire]:
        """The records that a checkpoint passed and that are in no gap; the others must be in a gap."""
        at, position = 0, _TRIM_HORIZON
        for move in self._moves:
            assert move.checkpoint is not None
            if move.checkpoint == _SHARD_END:
                at = self._end(at, position)
            else:
                upto = self._index(move.checkpoint)
                first = self._first(position, at, upto)
                self._lose(at, first, position)
                yield from self._records[first:upto]
                at = upto
            position = move.checkpoint
        if position != _SHARD_END and position in self._gaps:
            at = self._end(at, position)
        if at < len(self._records):
            self._add_error(f"{len(self._records) - at} records after {position} ended nowhere")
        if self._unused:
            self._add_error(f"gap rows without a checkpoint: {sorted(self._unused)}")

    def _first(self, position: str, at: int, upto: int) -> int:
        """Where the unit after `position` begins: after its gap, if it has one."""
        gap = self._gaps.get(position)
        self._unused.discard(position)
        if gap is None:
            return at
        if gap.to is None:
            self._add_error(f"{gap} is open, but a unit was committed after it")
            return at
        first = self._index(gap.to) - 1
        if not at <= first < upto:
            self._add_error(f"{gap} does not end in the unit that was committed after it")
            return at
        return first

    def _end(self, at: int, position: str) -> int:
        """The shard ends at `position`, or its checkpoint stays there: what follows is lost, if a gap row says so."""
        gap = self._gaps.get(position)
        self._unused.discard(position)
        if gap is None:
            return at
        if gap.to is not None:
            self._add_error(f"{gap} ends with {gap.to}, but no unit was committed after it")
        self._lose(at, len(self._records), position)
        return len(self._records)

    def _lose(self, at: int, upto: int, position: str) -> None:
        self.lost += upto - at
        self.gone.append(self._records[at:upto])
        if upto > max(at, self._state.trimmed):
            self._add_error(f"{upto - max(at, self._state.trimmed)} records after {position} are lost, not trimmed")

    def _index(self, number: str) -> int:
        """The index after the record with this number."""
        if int(number) not in self._numbers:
            self._add_error(f"there is no record {number}")
            return 0
        return self._numbers.index(int(number)) + 1

    def _add_error(self, what: str) -> None:
        self.errors.append(f"{self._state.shard_id}: {what}")


def read_gaps(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Gap]]:
    """The gap rows among the quarantine table's items, by shard id."""
    found: defaultdict[str, list[Gap]] = defaultdict(list)
    for row in rows:
        if row["shardId"]["S"] == _GAP_KEY:
            _, shard, checkpoint = row["sequenceNumber"]["S"].split("/")
            assert (row["shard"]["S"], row["from"]["S"]) == (shard, checkpoint), row
            found[shard].append(Gap(checkpoint, row.get("to", {}).get("S")))
    return dict(found)


def key_of(item: Mapping[str, Any]) -> Key:
    """The key of an item of the source table."""
    return item["playerId"]["S"], item["timestamp"]["S"]


def _by_shard(log: Iterable[Transaction]) -> dict[str, list[Transaction]]:
    found: defaultdict[str, list[Transaction]] = defaultdict(list)
    for transaction in log:
        moves = transaction.previous is not None and transaction.checkpoint is not None and not transaction.repeated
        if moves and transaction.lease is not None and transaction.lease.startswith(_SHARD_KEY):
            found[transaction.lease.rpartition("#")[2]].append(transaction)
    return dict(found)
