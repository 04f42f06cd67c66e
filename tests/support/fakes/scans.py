"""The source table of FakeStreams' records and the board of FakeTables, page by page as `verify` reads them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from zlib import crc32

from consumer.domain.corrections import IndexRow, RecordKey
from consumer.domain.leases import Ledger, enabled_at, table_of
from consumer.domain.operator_ports import BoardPage, BoardState, CountedPage, ItemPage, LifeOver, TableFacts
from tests.support.fakes.streams import FakeStreams
from tests.support.fakes.tables import FakeTables, Score

ITEM_ID = "itemId"
"""The attribute that makes an item's key its own: the number of the record of its insertion."""
Item = Mapping[str, Any]


class FakeScans:
    """The Scans port. `date` is the server's clock as a reply says it.

    A change or a removal is of the newest item of its shard. `tampered`: what is added to a player's games and score
    wherever the board is read.
    """

    def __init__(
        self, streams: FakeStreams, tables: FakeTables, date: Callable[[], float], page_items: int = 1000
    ) -> None:
        self.tampered: dict[str, tuple[int, int]] = {}
        self.token_of: Callable[[tuple[str, str]], str | None] = lambda _: None
        """That of the action that changed a head row of the quarantine last."""
        self._streams, self._tables, self._date, self._page_items = streams, tables, date, page_items

    def source(self) -> TableFacts:
        """See operator_ports.Scans."""
        streams, key = self._streams, self._streams.partition_key
        first = next(iter(streams.streams))
        keys = (ITEM_ID,) if key is None else (key, ITEM_ID)
        arn = streams.arn if streams.newest.enabled else None
        return TableFacts(table_of(first), keys, created_at=enabled_at(first), stream_arn=arn)

    def board(self) -> TableFacts:
        """See operator_ports.Scans."""
        return TableFacts(self._tables.names.leaderboard, ("playerId",))

    def ledger(self) -> tuple[Ledger, float]:
        """See operator_ports.Scans."""
        return self._tables.load(), self._date()

    def items(self, after: Item | None) -> ItemPage:
        """See operator_ports.Scans."""
        return self._page(sorted(self.all_items(), key=_place), after)

    def items_of(self, player: str, after: Item | None) -> ItemPage:
        """See operator_ports.Scans."""
        name = {"S": player}
        return self._page(sorted((each for each in self.all_items() if each["playerId"] == name), key=_place), after)

    def counted_items(self, after: Item | None) -> CountedPage:
        """See operator_ports.Scans. All of it is in one page."""
        assert after is None
        rows: list[IndexRow | LifeOver] = list(self._tables.index_rows.values())
        for (shard_id, number), head in self._tables.quarantine.items():
            about = head.poison.about
            if head.kept is not None and about is not None:
                token, counted = self.token_of((shard_id, number)), head.kept.counted
                parts = len(head.poison.parts)
                rows.append(LifeOver(RecordKey(shard_id, number), about.item, head.state, token, counted, parts))
        return CountedPage(rows, None, 0)

    def board_rows(self, after: Item | None) -> BoardPage:
        """See operator_ports.Scans."""
        found = [player for player in sorted(self._rows()) if after is None or player > after["playerId"]]
        page = found[: self._page_items]
        return BoardPage(list(map(self._state, page)), {"playerId": page[-1]} if len(page) < len(found) else None, 0)

    def rows_of(self, players: Sequence[str]) -> BoardPage:
        """See operator_ports.Scans."""
        return BoardPage([self._state(player) for player in players if player in self._rows()], None, 0)

    def _page(self, found: list[Item], after: Item | None) -> ItemPage:
        left = [item for item in found if after is None or _place(item) > _place(after)]
        page = left[: self._page_items]
        return ItemPage(page, page[-1] if len(page) < len(left) else None, 0, self._date())

    def all_items(self, *, corrected: bool = True) -> Iterator[Item]:
        """The items that there are now; not `corrected`: as they were inserted."""
        for stream in self._streams.streams.values():
            for shard in stream.shards.values():
                items: dict[str, Item] = {}
                for record in shard.records:
                    change = record["dynamodb"]
                    if record["eventName"] == "INSERT":
                        items[change["SequenceNumber"]] = {**change["NewImage"], ITEM_ID: change["Keys"][ITEM_ID]}
                    elif items and corrected:
                        last = next(reversed(items))
                        gone = items.pop(last)
                        if record["eventName"] == "MODIFY":
                            items[last] = {**gone, "score": {"N": "12345"}}
                yield from items.values()

    def _rows(self) -> set[str]:
        return {*self._tables.board, *self.tampered}

    def _state(self, player: str) -> BoardState:
        score = self._tables.board.get(player, Score(0, Decimal(0), None))
        games, points = self.tampered.get(player, (0, 0))
        shown = (score.games + games, str(score.total), points, score.date, score.mark, sorted(score.windows.items()))
        digest = blake2b(repr(shown).encode(), digest_size=16).digest()
        windows: dict[str, tuple[Decimal | None, Decimal | None]] = {
            name: (Decimal(count), total) for name, (count, total) in score.windows.items()
        }
        total = score.total + points if points else score.total
        return BoardState(player, Decimal(score.games + games), total, score.date, windows, digest)


def _place(item: Item) -> tuple[int, str]:
    """Where an item is in the order of the hash."""
    number = str(item[ITEM_ID]["S"])
    return crc32(number.encode()), number
