"""Poison: every kind that a stream can hold or a leaderboard can refuse, in a game whose source accepts any record."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from tests.support.engines import TableEngine
from tests.support.processes.expected import Row, differences
from tests.support.processes.game import Game, Item
from tests.support.processes.proxy import Proxy

BIG_BYTES = 390 * 1024
"""An item is at most 400 KB."""


class Kind(NamedTuple):
    """Why a record is poison by itself: its reason, and the attributes that make it so (None: missing)."""

    reason: str
    changes: Mapping[str, Item | None]


class Stored(NamedTuple):
    """Why a record is poison to the database: what is stored for its player, and the scores that count and do not."""

    reason: str
    row: Item
    good: str | None
    bad: str


def _timestamp(text: str) -> Mapping[str, Item | None]:
    return {"timestamp": {"S": text}}


KINDS = {
    "no player": Kind("player_missing", {"playerId": None}),
    "empty player": Kind("player_empty", {"playerId": {"S": ""}}),
    "player of type N": Kind("player_type", {"playerId": {"N": "7"}}),
    "player of 2,049 bytes": Kind("player_too_long", {"playerId": {"S": "é" * 1024 + "x"}}),
    "no score": Kind("score_missing", {"score": None}),
    "score of type S": Kind("score_type", {"score": {"S": "150"}}),
    "score of type BOOL": Kind("score_type", {"score": {"BOOL": True}}),
    "score of type NULL": Kind("score_type", {"score": {"NULL": True}}),
    "no timestamp": Kind("timestamp_missing", {"timestamp": None}),
    "timestamp of type N": Kind("timestamp_type", {"timestamp": {"N": "1769860800"}}),
    "not a date": Kind("timestamp_invalid", _timestamp("yesterday")),
    "30 February": Kind("timestamp_invalid", _timestamp("2026-02-30T12:00:00Z")),
    "week date": Kind("timestamp_invalid", _timestamp("2026-W05-1")),
    "hour 24": Kind("timestamp_invalid", _timestamp("2026-01-31T24:00:00Z")),
    "an offset that leaves year 1": Kind("timestamp_invalid", _timestamp("0001-01-01T00:30:00+01:00")),
    "two days in the future": Kind("timestamp_in_future", {}),
}

NINES = "9" * 38
STORED = {
    "total is a string": Stored("total_type", {"totalScore": {"S": "many"}}, None, "1"),
    "date is a number": Stored("date_type", {"lastPlayedDate": {"N": "20260101"}}, None, "1"),
    "past 38 digits": Stored("total_overflow", {"totalScore": {"N": NINES}}, "-1", "0.0001"),
    "past the number range": Stored("total_overflow", {"totalScore": {"N": "9" + "0" * 125}}, "1E+123", "9E+125"),
}
"""`bad` scores are such that no sum of some of them, and of `good` ones, would be accepted in their place."""

OVERFLOWS = ("past 38 digits", "past the number range")
"""Not on ministack: it rounds sums at 28 digits and has no largest number."""


def kinds_of(engine: TableEngine) -> list[str]:
    """The kinds of `STORED` that the engine refuses."""
    return [kind for kind in STORED if engine.name != "ministack" or kind not in OVERFLOWS]


class Matches(Game):
    """A game whose source is keyed by match, so that a player, a score or a timestamp may be anything, or missing.

    `keyed`: by player and match; then the player is always one.
    """

    def __init__(self, engine: TableEngine, seed: int = 0, *, keyed: bool = False) -> None:
        super().__init__(engine, seed)
        self._keys = {"playerId": "HASH", "matchId": "RANGE"} if keyed else {"matchId": "HASH"}
        self.reasons: dict[str, str] = {}
        self.untouchable: dict[str, Item] = {}
        self.matches = 0

    # --- playing ---

    def make(self, player: str, score: str | None = None, timestamp: str | None = None) -> Item:
        """A game's item that is like no other; not written yet."""
        self.matches += 1
        return super().make(player, score, timestamp) | {"matchId": {"S": f"match-{self.matches:06}"}}

    def good(self, player: str, score: str | None = None, timestamp: str | None = None) -> Item:
        """A game that counts: it is expected on the board, and must be written."""
        item = self.make(player, score, timestamp)
        self.expected.count(item)
        return item

    def poisoned(self, player: str, kind: str) -> Item:
        """A record that can never count as it is, of one of the KINDS; it must be written."""
        reason, changes = KINDS[kind]
        item = self.make(player)
        if kind == "two days in the future":
            changes = _timestamp((datetime.now(UTC) + timedelta(days=2)).isoformat())
        for name, value in changes.items():
            item.pop(name)
            if value is not None:
                item[name] = value
        return self.condemned(item, reason)

    def condemned(self, item: Item, reason: str) -> Item:
        """`item`, which is to be quarantined for this reason."""
        self.reasons[item["matchId"]["S"]] = reason
        return item

    def store(self, player: str, kind: str) -> None:
        """Puts the row into the leaderboard that makes some or all games of this player poison."""
        row = {"gamesPlayed": {"N": "1"}, "totalScore": {"N": "7"}, "lastPlayedDate": {"S": "2026-01-01"}}
        row |= STORED[kind].row
        self.client.put_item(TableName=self.tables["leaderboard"], Item={"playerId": {"S": player}, **row})
        if STORED[kind].good is None:
            self.untouchable[player] = {"playerId": {"S": player}, **row}
        else:
            self.expected.rows[player] = Row(1, Decimal(row["totalScore"]["N"]), row["lastPlayedDate"]["S"])

    def refused(self, player: str, kind: str) -> Item:
        """A game that the database refuses, of a player with a row that was stored for that."""
        return self.condemned(self.make(player, STORED[kind].bad), STORED[kind].reason)

    # --- reading ---

    def assert_exact(self, right: Mapping[str, Row] | None = None) -> None:
        """The board is as expected; poison is in quarantine with its reason and as it came, and nothing else is.

        What came is what GetRecords returns to a reader that is not the product's.
        """
        items = {row["playerId"]["S"]: _without_mark(row) for row in self.rows("leaderboard")}
        assert {player: items.pop(player, None) for player in self.untouchable} == self.untouchable
        stored = {
            player: Row(int(row["gamesPlayed"]["N"]), Decimal(row["totalScore"]["N"]), row["lastPlayedDate"]["S"])
            for player, row in items.items()
            if int(row["gamesPlayed"]["N"])
        }
        wrong = differences(stored, self.expected.rows if right is None else right)
        assert not wrong, f"{len(wrong)} rows are wrong, such as {wrong[:5]}"

        came = wire_records(self)
        right_reasons = {
            number: self.reasons[match]
            for number, record in came.items()
            if (match := record["dynamodb"]["NewImage"]["matchId"]["S"]) in self.reasons
        }
        assert len(right_reasons) == len(self.reasons), "not every poison record is in the stream"
        entries = self.entries()
        assert {number: entry["reason"]["S"] for number, entry in entries.items()} == right_reasons
        assert {entry["state"]["S"] for entry in entries.values()} <= {"pending"}
        for number, record in self.quarantined().items():
            assert_same(record, came[number], number)

    def entries(self) -> dict[str, Item]:
        """The head rows of the quarantine, by sequence number."""
        return {
            row["sequenceNumber"]["S"]: row
            for row in self.rows("quarantine")
            if row["shardId"]["S"][0] != "#" and "#" not in row["sequenceNumber"]["S"]
        }


def _without_mark(row: Item) -> Item:
    return {name: value for name, value in row.items() if not name.startswith("applied")}


def assert_same(kept: Mapping[str, Any], came: Mapping[str, Any], where: str) -> None:
    """Field by field, so that a difference is named and not shown in 500 KB."""
    assert kept.keys() == came.keys(), where
    for name, value in came.items():
        if isinstance(value, dict):
            assert_same(kept[name], value, f"{where}.{name}")
        else:
            assert kept[name] == value, f"{where}.{name}"


def wire_records(game: Game) -> dict[str, dict[str, Any]]:
    """Every record of the stream as GetRecords sends it, unparsed by any SDK, by sequence number."""
    with overheard(game) as proxy:
        game.played()
        return {
            record["dynamodb"]["SequenceNumber"]: record
            for page in proxy.of("GetRecords")
            for record in page.reply["Records"]
        }


@contextmanager
def overheard(game: Game) -> Iterator[Proxy]:
    """A proxy between the game's own reader and the engine."""
    direct = game.streams
    with (
        Proxy(game.engine.url) as proxy,
        closing(replace(game.engine, url=proxy.url).client("dynamodbstreams")) as client,
    ):
        game.streams = client
        try:
            yield proxy
        finally:
            game.streams = direct


def incompressible(size_bytes: int = BIG_BYTES) -> dict[str, bytes]:
    """A binary attribute that no compression makes smaller."""
    return {"B": secrets.token_bytes(size_bytes)}
