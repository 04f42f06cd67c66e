"""Builders of domain values, with defaults that no test depends on."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from consumer.domain.breaker import Circuit, Symptom
from consumer.domain.fold import Unit
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Lease, LeaseRow, Shard
from consumer.domain.marks import RowWrite
from consumer.domain.ports import Commits
from consumer.domain.records import Correction, Entry, Game, Ignored, Image, Outcome, Poison, Reason, item_of, pack
from consumer.domain.replies import CommitReply, ListedShard, Page, StreamListing
from consumer.worker.shard_calls import Commit

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/GameEvents/stream/2026-01-01T00:00:00.000"
ME = "w1/a"
OTHER = "w2/b"
CREATED = 1_769_860_800.0
"""2026-01-31T12:00:00Z."""


def sequence_number(position: int) -> str:
    """The sequence number of the record at `position`; 999 has one digit less than 1000."""
    return str(10**24 - 1000 + position)


def wire(
    seq: int = 1,
    *,
    player: object = "foo",
    score: object = "150",
    timestamp: object = "2026-01-31T11:59:00Z",
    event: object = "INSERT",
    created: object = CREATED,
    image: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """A record in wire form. Text becomes an attribute of its type, None leaves it out, other values stay."""
    given = {"playerId": ("S", player), "score": ("N", score), "timestamp": ("S", timestamp)}
    if image is None:
        image = {
            name: {tag: value} if isinstance(value, str) else value
            for name, (tag, value) in given.items()
            if value is not None
        }
    change = {"SequenceNumber": sequence_number(seq), "ApproximateCreationDateTime": created, "NewImage": image}
    return {"eventID": f"event-{seq}", "eventName": event, "dynamodb": change}


def game(seq: int = 1, player: str = "foo", score: object = 150, date: str = "2026-01-31") -> Game:
    """A record that counts."""
    return Game(sequence_number(seq), CREATED + seq, player, Decimal(str(score)), date, wire(seq, player=player))


def poison(seq: int = 1, parts: tuple[bytes, ...] | None = None, reason: Reason = Reason.SCORE_TYPE) -> Poison:
    """A record for the quarantine."""
    parts = pack(wire(seq, score=None)) if parts is None else parts
    return Poison(sequence_number(seq), CREATED + seq, "foo", reason, "score is wrong", parts)


SYMPTOM = Symptom(Reason.SCORE_TYPE, "score is wrong", sequence_number(1))
"""Why a shard halts."""


HAD_GAME = Circuit(had_game=True)
"""The circuit of a shard that has had a good record."""


def ignored(seq: int = 1, outcome: Outcome = Outcome.MODIFIED) -> Ignored:
    """A record that the rules leave out."""
    return Ignored(sequence_number(seq), CREATED + seq, outcome)


def item_key(number: int) -> str:
    """The key of an item of the source table."""
    return item_of({"gameId": {"S": f"game-{number}"}})


ITEM, OTHER_ITEM = item_key(1), item_key(2)
PLAYED = "2026-01-31", 1_769_860_740.0
"""When a game was played: 2026-01-31T11:59:00Z."""


def image(player: str = "foo", score: object = 150) -> Image:
    """A game as an item says it."""
    return Image(player, Decimal(str(score)), PLAYED)


OLD, NEW = image(score=100), image(score=10)


def correction(
    seq: int = 1, new: Image | None = NEW, old: Image | None = OLD, *, item: str = ITEM, expired: bool = False
) -> Correction:
    """A change of an item, or its removal without a new image."""
    named = new or old
    player = named.player if named is not None else "foo"
    return Correction(sequence_number(seq), CREATED + seq, player, item, new, old, expired, wire(seq, event="MODIFY"))


def games(first: int, last: int, player: str = "foo") -> list[Entry]:
    """Games `first` to `last` of one player."""
    return [game(seq, player) for seq in range(first, last + 1)]


def page(*entries: Entry, then: str | None = "next", size_bytes: int = 100) -> Page:
    """A decoded reply of GetRecords."""
    return Page(entries, then, size_bytes)


def shard(number: int = 0) -> Shard:
    """A shard of the one stream."""
    return Shard(ARN, f"shard-{number}")


def row(
    number: int = 0,
    owner: str | None = None,
    epoch: int = 7,
    checkpoint: str = TRIM_HORIZON,
    children: tuple[str, ...] = (),
    created: float | None = None,
    parent: int | None = None,
    unlisted_since: float | None = None,
    *,
    had_game: bool = False,
    rules: int = 0,
    ignored: bool = False,
) -> LeaseRow:
    """A shard's row of the ledger."""
    parent_id = None if parent is None else f"shard-{parent}"
    circuit = Circuit(had_game=had_game, ignored=ignored)
    return LeaseRow(
        shard(number), owner, epoch, checkpoint, parent_id, children, created, unlisted_since, circuit, rules
    )


def finished(number: int, *children: int, parent: int | None = None, unlisted_since: float | None = None) -> LeaseRow:
    """The row of a finished shard."""
    ids = tuple(f"shard-{child}" for child in children)
    return row(number, checkpoint=SHARD_END, children=ids, parent=parent, unlisted_since=unlisted_since)


def lease(number: int = 0, owner: str = ME, epoch: int = 7) -> Lease:
    """The right to commit for a shard."""
    return Lease(shard(number), owner, epoch)


def build_shards(size: int, children: Mapping[int, int | Sequence[int]], served_at: float = CREATED) -> StreamListing:
    """A listing of shards 0 to `size` - 1: `build_shards(6, {0: 1, 1: [2, 3]})`."""
    parents: dict[int, int] = {}
    for parent, born in children.items():
        for child in [born] if isinstance(born, int) else born:
            parents[child] = parent
    listed = tuple(
        ListedShard(f"shard-{number}", f"shard-{parents[number]}" if number in parents else None)
        for number in range(size)
    )
    return StreamListing(ARN, True, listed, served_at)


def plain_rows(unit: Unit, later: Collection[str] = ()) -> tuple[RowWrite, ...]:
    """The writes of all rows of a unit without marks. Players in `later` keep their stored date."""
    return tuple(RowWrite(player, delta, dated=player not in later) for player, delta in unit.deltas.items())


def later_of(commit: Commit) -> set[str]:
    """The players who keep their stored date."""
    return {write.player for write in commit.rows if not write.dated}


def commit_plain(
    commits: Commits, lease: Lease, unit: Unit, later: Collection[str] = (), *, fills_gap: bool = False
) -> CommitReply:
    """Commits a unit without marks."""
    return commits.commit(lease, unit, plain_rows(unit, later), fills_gap=fills_gap)
