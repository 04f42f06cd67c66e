"""`consumer verify` where changes and removals of items count: what the quarantine says of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from consumer.cli.verify import before_reading
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.corrections import IndexRow, KeptImage, RecordKey
from consumer.domain.operator_ports import ItemPage, TableFacts
from consumer.domain.records import Corrections, Image, Poison, Rules, decode, item_of, pack
from consumer.domain.verification import Assumption, CaveatCode, Verdict
from consumer.domain.windows import WindowKind
from consumer.operations.steps import OperatorCall
from consumer.operations.sums import Sums
from consumer.operations.verify import Preview
from tests.support.builders import CREATED, sequence_number
from tests.support.fakes.scans import ITEM_ID
from tests.support.fakes.tables import Quarantined, Score
from tests.unit.test_verify import Board, counts

RULES = Rules(corrections=Corrections.APPLY)
RECORD = RecordKey("shard-0", sequence_number(1))
OTHER = RecordKey("shard-0", sequence_number(2))
Item = dict[str, Any]


def item(number: int, player: str = "foo", score: str | None = "5", timestamp: str = "2026-01-31T12:00:00Z") -> Item:
    """An item of the source table; `score` None: it is poison."""
    there = {"playerId": {"S": player}, "timestamp": {"S": timestamp}, ITEM_ID: {"S": str(number)}}
    return there if score is None else {**there, "score": {"N": score}}


def image(player: str = "foo", score: str = "5") -> Image:
    return Image(player, Decimal(score), ("2026-01-31", CREATED))


class Corrected(Board):
    """A board whose items and rows are as the test puts them; its worker has nothing to do."""

    def __init__(self, *, keyed: bool = False, rules: Rules = RULES) -> None:
        super().__init__()
        self.settle()
        self.rules, self.keyed = rules, keyed
        self.tables.accepted = AcceptedRules((rules,))
        if keyed:
            self.streams.partition_key = "playerId"
            starts = self.tables.stream_starts
            starts.update({arn: replace(start, keyed=True) for arn, start in starts.items()})
        self.items: list[Item] = []
        self.scans.all_items = self._all_items  # type: ignore[method-assign]

    def _all_items(self, *, corrected: bool = True) -> Iterator[Item]:
        assert corrected
        return iter(list(self.items))

    def key(self, number: int, player: str = "foo") -> str:
        names = {"playerId": {"S": player}} if self.keyed else {}
        return item_of({**names, ITEM_ID: {"S": str(number)}})

    def row(self, player: str = "foo", games: int = 1, total: str = "5", date: str = "2026-01-31") -> None:
        self.tables.board[player] = Score(games, Decimal(total), date)

    def index(self, number: int, record: RecordKey | None = RECORD, counted: Image | None = None) -> None:
        """The index row of an item."""
        key = self.key(number)
        self.tables.index_rows[key] = IndexRow(key, record, counted)

    def head(self, state: str, kept: Image | None, event: str = "REMOVE", new: Item | None = None) -> None:
        """The head row of a record whose item is gone."""
        change: Item = {
            "SequenceNumber": RECORD.sequence_number,
            "ApproximateCreationDateTime": CREATED,
            "Keys": {ITEM_ID: {"S": "1"}},
            "OldImage": item(1),
        }
        change |= {} if new is None else {"NewImage": new}
        wire = {"eventName": event, "dynamodb": change}
        found = decode({"eventName": "MODIFY", "dynamodb": {**change, "NewImage": {}}}, self.rules, None)
        assert isinstance(found, Poison)
        self.tables.quarantine[RECORD] = Quarantined(found._replace(parts=pack(wire)), state, CREATED)
        self.tables.quarantine[RECORD].kept = KeptImage(RECORD, kept)

    def judge(self, **more: Any) -> tuple[Verdict, int]:
        """The verdict, and after how many attempts."""
        found = self.verify(600, **more)
        return found.verdict, found.attempts


def test_what_counted_before_an_item_was_broken_counts() -> None:
    """Its row of the quarantine says what that was; the item itself is no game, or another one."""
    board = Corrected()
    board.items = [item(1, score=None), item(2, "bar", "7"), item(3, "baz", score=None)]
    board.row(total="3")
    board.row("bar", total="7")
    board.index(1, counted=image(score="3"))
    board.index(3)
    assert board.judge() == (Verdict.EQUAL, 1)
    board.row(total="4")
    board.sums = Sums()
    assert counts(board.verify(600)) == (Verdict.DIFFERENT, 2, 1, 0)
    assert board.differing() == {"foo": ["totalScore"]}


def test_what_an_operator_re_drove_counts() -> None:
    """The item may read as another game by now, or by these rules as none."""
    board = Corrected()
    board.items = [item(1, score=None)]
    board.row(total="8")
    board.index(1, None, image(score="8"))
    assert board.judge() == (Verdict.EQUAL, 1)


def test_a_game_that_the_row_of_its_player_refused_counts_nothing() -> None:
    board = Corrected()
    board.items = [item(1)]
    board.index(1)
    assert board.judge() == (Verdict.EQUAL, 1)


def test_a_broken_item_that_nothing_explains_leaves_its_player_undecided() -> None:
    board = Corrected()
    board.items = [item(1, score=None)]
    board.row()
    found = board.verify(600)
    assert (counts(found), found.attempts) == ((Verdict.UNDECIDED, 1, 0, 1), 1)
    assert found.why == ("1 player: an item is poison, and no row of the quarantine says what became of it",)


@pytest.mark.parametrize(
    ("state", "event", "new", "total"),
    [
        ("pending", "REMOVE", None, "5"),
        ("discarded", "REMOVE", None, "5"),
        ("applied", "REMOVE", None, None),
        ("applied", "MODIFY", item(1, score="9"), "9"),
        ("applied", "INSERT", item(1, score="9"), "9"),
    ],
)
def test_what_counts_of_an_item_that_is_gone(state: str, event: str, new: Item | None, total: str | None) -> None:
    """A removal that the player's row refused takes nothing away until an operator re-drives it."""
    board = Corrected()
    if total is not None:
        board.row(total=total)
    board.head(state, image(), event, new)
    assert board.judge() == (Verdict.EQUAL, 1)
    board.row(total="6")
    board.sums = Sums()
    assert board.judge()[0] is Verdict.DIFFERENT


def test_an_item_that_is_gone_is_shown_with_what_counts_of_it() -> None:
    board = Corrected()
    board.items = [item(2, score=None)]
    board.row(total="5")
    board.head("pending", image())
    board.index(2, OTHER)
    assert board.judge(only=["foo"], explain=True) == (Verdict.EQUAL, 1)
    found = [(line.item, line.state, line.counts and line.counts.total) for line in board.lines or ()]
    assert found == [({ITEM_ID: {"S": "1"}}, "kept", Decimal(5)), (board.items[0], "quarantined", None)]


def change_to(board: Corrected, row: IndexRow | None) -> None:
    key = board.key(1)
    if row is None:
        board.tables.index_rows.pop(key)
    else:
        board.tables.index_rows[key] = row._replace(item=key)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, IndexRow("", RECORD, image())),
        (IndexRow("", RECORD, image()), IndexRow("", OTHER, image())),
        (IndexRow("", RECORD, image()), None),
    ],
    ids=["made", "moved", "gone"],
)
def test_an_index_row_that_changes_meanwhile_leaves_its_player_to_the_next_attempt(
    before: IndexRow | None, after: IndexRow | None
) -> None:
    """The player's row is the same before and after: an edit that breaks an item changes no row."""
    board = Corrected()
    board.items = [item(1, score="5" if after is None else None)]
    board.row()
    if before is not None:
        change_to(board, before)
    board.before[OperatorCall.READ_NOTES, 2] = partial(change_to, board, after)
    assert board.judge() == (Verdict.EQUAL, 2)


def test_an_operator_may_act_on_the_record_of_an_item_that_is_gone() -> None:
    board = Corrected()
    board.head("pending", image())
    board.row()

    def discard() -> None:
        board.tables.quarantine[RECORD].state = "discarded"

    board.before[OperatorCall.READ_NOTES, 2] = discard
    assert board.judge() == (Verdict.EQUAL, 2)


def seen_once(board: Corrected, seen: list[Item]) -> Callable[[], None]:
    """These items are there while the games are read next, and not any more later."""
    items = board.scans.items

    def read(after: Item | None) -> ItemPage:
        board.scans.items = items  # type: ignore[method-assign]
        page = items(after)
        return page._replace(items=[*page.items, *seen])

    def begin() -> None:
        board.scans.items = read  # type: ignore[method-assign,assignment]

    return begin


def test_an_item_that_comes_and_goes_while_the_games_are_read_makes_no_difference() -> None:
    """In a source that is not keyed by player the row is the same before and after, without any trace."""
    board = Corrected()
    board.items = [item(1)]
    board.row()
    seen_once(board, [item(2)])()
    assert board.judge() == (Verdict.EQUAL, 2)


@pytest.mark.parametrize(("keyed", "attempts"), [(False, 2), (True, 1)])
def test_a_difference_is_looked_at_twice_where_rows_have_no_mark(*, keyed: bool, attempts: int) -> None:
    """A mark grows with each change."""
    board = Corrected(keyed=keyed)
    board.items = [item(1)]
    board.row(total="6")
    assert board.judge() == (Verdict.DIFFERENT, attempts)


def test_a_difference_that_is_not_confirmed_in_time_is_none() -> None:
    board = Corrected()
    board.items = [item(1)]
    board.row(total="6")
    board.before[OperatorCall.READ_BOARD, 2] = partial(board.cluster.serve, 100)
    found = board.verify(timeout_seconds=100)
    assert found.verdict is Verdict.UNDECIDED
    assert found.why == ("1 player: the row differed, and no second look has confirmed it",)


def test_the_last_date_may_be_that_of_a_game_which_is_gone() -> None:
    board = Corrected()
    board.items = [item(1)]
    board.row(date="2026-02-01")
    board.row("gone", 0, "0", "2026-01-31")
    assert board.judge() == (Verdict.EQUAL, 1)
    board.row(date="2026-01-30")
    board.sums = Sums()
    assert board.judge()[0] is Verdict.DIFFERENT
    assert board.differing() == {"foo": ["lastPlayedDate"]}


def test_a_counted_image_counts_in_its_windows() -> None:
    rules = replace(RULES, windows=((WindowKind.MONTH, 2),))
    board = Corrected(rules=rules)
    board.items = [item(1, score=None)]
    board.index(1, counted=image())
    board.row()
    found = board.verify(600)
    assert found.verdict is Verdict.EQUAL, "no window is compared: none is complete"
    board.tables.board["foo"].windows["month_202601"] = (1, Decimal(5))
    assert board.judge()[0] is Verdict.EQUAL


@pytest.mark.parametrize("assumed", [set(), {Assumption.NO_CORRECTIONS}])
def test_expired_items_block_the_verdict(assumed: set[Assumption]) -> None:
    """Their games rightly stay on the board. That something expired is no guess: nothing is to be assumed."""
    board = Corrected()
    board.items = [item(1)]
    board.row()
    board.assumed |= assumed
    rows = board.tables.rows
    rows.update({shard: replace(row, circuit=replace(row.circuit, ignored=True)) for shard, row in rows.items()})
    found = board.verify(600)
    assert found.verdict is Verdict.UNDECIDED
    assert [(caveat.code, caveat.blocks) for caveat in found.caveats] == [(CaveatCode.ITEMS_EXPIRED, True)]


@pytest.mark.parametrize(
    ("rules", "said"), [(RULES, "every game, change and removal"), (Rules(), "nothing was corrected")]
)
def test_what_can_be_proven_is_said_first(rules: Rules, said: str) -> None:
    facts = TableFacts("games", ("playerId",))
    first, *_ = before_reading(Preview(facts, facts, (), keyed=True, rules=(rules,), at=0.0))
    assert said in first
