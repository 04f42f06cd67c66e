"""A game whose items are edited, broken, mended and removed, and what the board must be then: the fold of the items."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.support.engines import TableEngine
from tests.support.processes.expected import Expected, Row, differences
from tests.support.processes.game import FIRST_GAME, Game, Item
from tests.support.processes.proxy import Proxy

MATCH = "matchId"
AT_ONCE = 25
"""Writes of different items in one BatchWriteItem."""


class Items(Game):
    """Its workers apply corrections. `keyed`: by player and match, else by match, and a match may change its player.

    `items` are those that there are now, by match. `counted` is what counts of each: it as it was last, when it was a
    game. `kept` are games that count although their items are gone.
    """

    def __init__(self, engine: TableEngine, seed: int = 0, *, keyed: bool = True) -> None:
        super().__init__(engine, seed)
        self.keyed = keyed
        self._keys = {"playerId": "HASH", MATCH: "RANGE"} if keyed else {MATCH: "HASH"}
        self._dates = Expected()
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self.items: dict[str, Item] = {}
        self.counted: dict[str, Item] = {}
        self.kept: list[Item] = []
        self.happened: Counter[str] = Counter()

    def environment(self, proxy: Proxy | None = None, **settings: str) -> dict[str, str]:
        """See Game."""
        return super().environment(proxy, **{"corrections": "apply", **settings})

    # --- writing ---

    def write(self, match: str, player: str, score: str | None, day: int = 0) -> None:
        """An item as it is from now on; `day`: of January 2026, from 0. `score` None: it is broken."""
        item: Item = {
            MATCH: {"S": match},
            "playerId": {"S": player},
            "timestamp": {"S": (FIRST_GAME + timedelta(days=day)).isoformat()},
        }
        if score is not None:
            item["score"] = {"N": score}
            self.counted[match] = item
            self._dates.count(item)
        self.items[match] = item
        self._later(match, {"PutRequest": {"Item": item}})

    def remove(self, match: str, *, expires: bool = False) -> None:
        """It is gone, and counts no more. `expires`: what counted stays; the server says why it is gone."""
        item, counted = self.items.pop(match), self.counted.pop(match, None)
        if expires and counted is not None:
            self.kept.append(counted)
        self._later(match, {"DeleteRequest": {"Key": {name: item[name] for name in self._keys}}})

    def flush(self) -> None:
        """Sends what waits: writes of different items go together."""
        source, requests = self.tables["source"], list(self._waiting.values())
        while requests:
            left = self.client.batch_write_item(RequestItems={source: requests})["UnprocessedItems"]
            requests = left.get(source, [])
        self._waiting.clear()

    def _later(self, match: str, request: Mapping[str, Any]) -> None:
        if match in self._waiting or len(self._waiting) == AT_ONCE:
            self.flush()
        self._waiting[match] = request

    def change(self, changes: int, matches: int, players: int) -> None:
        """Random inserts, edits, breaks, repairs and removals. In a keyed source a match is always one player's."""
        some = self._random
        for _ in range(changes):
            number = some.randrange(matches)
            match = f"match-{number:05}"
            item = self.items.get(match)
            is_good = item is not None and "score" in item
            player = number % players if self.keyed else some.randrange(players)
            if item is not None and some.random() < 0.2:
                self.happened["removed" if is_good else "removed while broken"] += 1
                self.remove(match)
                continue
            score = None if some.random() < (0.15 if is_good else 0.1) else str(some.randint(-(10**6), 10**12))
            kind = "inserted" if item is None else "edited" if is_good else "mended"
            self.happened[kind if score is not None else f"{kind}, broken"] += 1
            self.write(match, f"player-{player:05}", score, some.randrange(30))
        self.flush()

    # --- reading ---

    def right(self) -> dict[str, Row]:
        """The fold of the items. A last date stays, also that of a game which is gone."""
        expected = Expected()
        for item in (*self.counted.values(), *self.kept):
            expected.count(item)
        return {player: row._replace(date=self._dates.rows[player].date) for player, row in expected.rows.items()}

    def assert_exact(self, right: Mapping[str, Row] | None = None) -> None:
        """The board is the fold of the items, and the quarantine has an index row of each item that is broken now.

        All other quarantined records are superseded.
        """
        wrong = differences(self.board(), self.right() if right is None else right)
        assert not wrong, f"{len(wrong)} rows are wrong, such as {wrong[:5]}"
        rows = self.rows("quarantine")
        index = {row["itemKey"]["M"][MATCH]["S"]: row for row in rows if row["shardId"]["S"].startswith("#item#")}
        broken = {match for match, item in self.items.items() if "score" not in item}
        assert index.keys() == broken
        for match, row in index.items():
            counted = row["counted"]["M"]["score"]["N"] if "counted" in row else None
            assert counted == (self.counted[match]["score"]["N"] if match in self.counted else None), match
        heads = {(row["shardId"]["S"], row["sequenceNumber"]["S"]): row for row in rows if "state" in row}
        waiting = {name for name, head in heads.items() if head["state"]["S"] == "pending" and "kept" not in head}
        assert waiting == {(row["recordShardId"]["S"], row["recordSequenceNumber"]["S"]) for row in index.values()}
        assert {head["state"]["S"] for head in heads.values()} <= {"pending", "superseded"}
