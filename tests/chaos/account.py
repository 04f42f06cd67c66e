"""Where every record ended: counted, in quarantine, ignored, or lost in a gap that a row tells of; from the stream's
own truth and the log of transactions, with nothing of the product in it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.processes import Tally
from tests.streams_server import ShardState, Transaction

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
    """`complaints` is empty when every record ended in exactly one way, and none is lost without a row."""

    def __init__(
        self,
        records: Mapping[str, Sequence[Wire]],
        shards: Iterable[ShardState],
        moves: Iterable[Transaction],
        gaps: Mapping[str, Collection[Gap]],
        poison: Collection[Key],
    ) -> None:
        self.tally = Tally()
        self.poison: dict[tuple[str, str], Wire] = {}
        """By shard and sequence number: numbers are a shard's own."""
        self.ignored = 0
        self.lost = 0
        self.complaints: list[str] = []
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
            self.complaints += walk.complaints

    def _count(self, shard: str, wire: Wire) -> None:
        change = wire["dynamodb"]
        if wire["eventName"] != "INSERT":
            self.ignored += 1
        elif key_of(change["NewImage"]) in self._poison:
            self.poison[shard, change["SequenceNumber"]] = wire
        else:
            self.tally.count(change["NewImage"])


class _Walk:
    """Along a shard's checkpoints."""

    def __init__(
        self, state: ShardState, records: Sequence[Wire], moves: Sequence[Transaction], gaps: Mapping[str, Gap]
    ) -> None:
        self.lost = 0
        self.complaints: list[str] = []
        self._state = state
        self._records = records
        self._numbers = [int(wire["dynamodb"]["SequenceNumber"]) for wire in records]
        self._moves = moves
        self._gaps = gaps
        self._unseen = set(gaps)

    def committed(self) -> Iterator[Wire]:
        """Records that a checkpoint passed and no gap swallowed; complains of the rest."""
        at, position = 0, _TRIM_HORIZON
        for move in self._moves:
            assert move.checkpoint is not None
            if move.checkpoint == _SHARD_END:
                at = self._ends(at, position)
            else:
                upto = self._index(move.checkpoint)
                first = self._first(position, at, upto)
                self._lose(at, first, position)
                yield from self._records[first:upto]
                at = upto
            position = move.checkpoint
        if position != _SHARD_END and position in self._gaps:
            at = self._ends(at, position)
        if at < len(self._records):
            self._complain(f"{len(self._records) - at} records behind {position} ended nowhere")
        if self._unseen:
            self._complain(f"gap rows of no checkpoint: {sorted(self._unseen)}")

    def _first(self, position: str, at: int, upto: int) -> int:
        """Where the unit after `position` begins: behind a gap, if there is one."""
        gap = self._gaps.get(position)
        self._unseen.discard(position)
        if gap is None:
            return at
        if gap.to is None:
            self._complain(f"{gap} is open, but a unit was committed after it")
            return at
        first = self._index(gap.to) - 1
        if not at <= first < upto:
            self._complain(f"{gap} does not end in the unit that was committed after it")
            return at
        return first

    def _ends(self, at: int, position: str) -> int:
        """The shard stands or ends at `position`: what follows is lost, if a row says so."""
        gap = self._gaps.get(position)
        self._unseen.discard(position)
        if gap is None:
            return at
        if gap.to is not None:
            self._complain(f"{gap} ends with {gap.to}, but no unit was committed after it")
        self._lose(at, len(self._records), position)
        return len(self._records)

    def _lose(self, at: int, upto: int, position: str) -> None:
        self.lost += upto - at
        if upto > max(at, self._state.trimmed):
            self._complain(f"{upto - max(at, self._state.trimmed)} records behind {position} are lost, not trimmed")

    def _index(self, number: str) -> int:
        """Of the record behind this one."""
        if int(number) not in self._numbers:
            self._complain(f"there is no record {number}")
            return 0
        return self._numbers.index(int(number)) + 1

    def _complain(self, what: str) -> None:
        self.complaints.append(f"{self._state.shard_id}: {what}")


def read_gaps(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Gap]]:
    """From the quarantine table's items, by shard id."""
    found: defaultdict[str, list[Gap]] = defaultdict(list)
    for row in rows:
        if row["shardId"]["S"] == _GAP_KEY:
            _, shard, checkpoint = row["sequenceNumber"]["S"].split("/")
            assert (row["shard"]["S"], row["from"]["S"]) == (shard, checkpoint), row
            found[shard].append(Gap(checkpoint, row.get("to", {}).get("S")))
    return dict(found)


def key_of(item: Mapping[str, Any]) -> Key:
    """Which item of the source table it is."""
    return item["playerId"]["S"], item["timestamp"]["S"]


def _by_shard(log: Iterable[Transaction]) -> dict[str, list[Transaction]]:
    found: defaultdict[str, list[Transaction]] = defaultdict(list)
    for each in log:
        moves = each.previous is not None and each.checkpoint is not None and not each.repeated
        if moves and each.lease is not None and each.lease.startswith(_SHARD_KEY):
            found[each.lease.rpartition("#")[2]].append(each)
    return dict(found)
