"""Units with corrections: what they add, take away, and do to index rows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.breaker import Breaker, Circuit
from consumer.domain.corrections import NOT_LOOKED_UP, FoundItem, IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.cut import Corrects, cut
from consumer.domain.fold import Delta, Limits, Place, Unit, WindowSum
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Entry, Image, ItemRecord, Outcome, Poison
from consumer.domain.windows import WindowKind, calendar_of
from tests.support.builders import (
    CREATED,
    ITEM,
    NEW,
    OLD,
    OTHER_ITEM,
    correction,
    game,
    image,
    item_key,
    poison,
    sequence_number,
)

DATE: Final = "2026-01-31"
SHARD: Final = "shard-0"
RECORD: Final = RecordKey(SHARD, sequence_number(0))
NO_WINDOWS: Final = calendar_of((), "UTC")
SINGLE: Final = Place(in_transaction=False)
Index = Mapping[str, IndexRow]


def bad(seq: int, *, old: Image | None = None, item: str = ITEM, removal: bool = False) -> Poison:
    """A poison record of an item; without an old image it was inserted."""
    return poison(seq)._replace(about=ItemRecord(item, old, insertion=old is None and not removal, removal=removal))


def indexed(counted: Image | None, record: RecordKey | None = RECORD) -> Index:
    """One item's last record is in quarantine, and this is counted of it."""
    return {ITEM: IndexRow(ITEM, record, counted)}


def cut_by(
    entries: Sequence[Entry], index: Index | None = None, *, keyed: bool = True, limits: Limits | None = None
) -> Unit:
    """The next unit, where these index rows are there."""
    rows = index or {}

    def find(item: str, _: str | None) -> FoundItem | None:
        return FoundItem(rows[item], "pending", 1) if item in rows else None

    place_of = (lambda *_: SINGLE) if keyed else None
    corrects = Corrects(SHARD, NO_WINDOWS, find)
    return cut(entries, TRIM_HORIZON, limits or Limits(), CREATED, Circuit(had_game=True), place_of, corrects)


def test_a_change_adds_the_difference_and_is_a_single_write() -> None:
    unit = cut_by([correction(1)])
    assert unit.deltas == {"foo": Delta(0, Decimal(-90), DATE)}
    assert unit.newest == {"foo": (sequence_number(1), CREATED + 1)}
    assert unit.outcomes == {Outcome.APPLIED: 1}
    assert not unit.items
    assert not unit.transacted


def test_a_removal_takes_the_game_away_and_leaves_the_date() -> None:
    assert cut_by([correction(1, new=None)]).deltas == {"foo": Delta(-1, Decimal(-100), "")}


def test_games_and_corrections_of_a_player_are_one_delta() -> None:
    unit = cut_by([game(1), correction(2), correction(3, new=None, old=NEW), game(4)])
    assert unit.deltas == {"foo": Delta(1, Decimal(200), DATE)}
    assert unit.applied == {"foo": 4}


def test_a_game_moves_to_another_player_in_a_source_that_is_not_keyed() -> None:
    unit = cut_by([correction(1, new=image("bar", 100))], keyed=False)
    assert unit.deltas == {"bar": Delta(1, Decimal(100), DATE), "foo": Delta(-1, Decimal(-100), "")}


def test_an_item_whose_time_is_over_keeps_what_it_counts() -> None:
    unit = cut_by([correction(1, new=None, expired=True)])
    assert not unit.deltas
    assert unit.outcomes == {Outcome.EXPIRED: 1}
    assert unit.circuit.ignored, "the board rightly differs from the table"


def test_a_change_that_changes_nothing_of_a_game_writes_no_row() -> None:
    unit = cut_by([correction(1, new=OLD)])
    assert not unit.deltas
    assert unit.outcomes == {Outcome.APPLIED: 1}


def test_what_is_counted_of_a_broken_item_is_not_its_old_image() -> None:
    """Its last record was poison: a game of 70 is counted, whatever the old image says."""
    unit = cut_by([correction(1)], indexed(image(score=70)))
    assert unit.deltas == {"foo": Delta(0, Decimal(-60), DATE)}
    (write,) = unit.items
    assert (write.left, write.supersedes, write.kept) == (None, True, None)
    assert unit.transacted == {"foo"}


def test_a_score_that_is_added_later_counts_once() -> None:
    """The item was inserted without one: nothing is counted of it."""
    inserted = cut_by([bad(1), correction(2, new=NEW, old=None)])
    key = RecordKey(SHARD, sequence_number(1))
    assert inserted.records == 1, "the unit ends before a second record of the item"
    assert inserted.items == (ItemWrite(ITEM, None, IndexRow(ITEM, key, None), inserted=True),)
    mended = cut_by([correction(2, new=NEW, old=None)], {ITEM: IndexRow(ITEM, key, None)})
    assert mended.deltas == {"foo": Delta(1, Decimal(10), DATE)}
    assert mended.items[0].supersedes


def test_another_bad_image_moves_the_index_row_with_what_is_counted() -> None:
    (write,) = cut_by([bad(1, old=NEW)], indexed(image(score=70))).items
    assert write.left == IndexRow(ITEM, RecordKey(SHARD, sequence_number(1)), image(score=70))
    assert write.supersedes


def test_a_broken_item_that_was_right_counts_its_last_good_image() -> None:
    (write,) = cut_by([bad(1, old=OLD)]).items
    assert write.left == IndexRow(ITEM, RecordKey(SHARD, sequence_number(1)), OLD)
    assert not write.supersedes


def test_an_item_whose_time_ends_while_it_is_broken_leaves_what_is_counted_to_its_record() -> None:
    unit = cut_by([correction(1, new=None, old=None, expired=True)], indexed(OLD))
    assert unit.deltas == {"foo": Delta(0, Decimal(0), "")}, "the mark alone moves"
    (write,) = unit.items
    assert (write.left, write.supersedes, write.kept) == (None, False, KeptImage(RECORD, OLD))


def test_a_removal_that_the_row_refuses_keeps_what_is_counted() -> None:
    (write,) = cut_by([bad(1, old=NEW, removal=True)], indexed(OLD)).items
    assert write.left is None
    assert write.supersedes
    assert write.kept == KeptImage(RecordKey(SHARD, sequence_number(1)), OLD)


def test_after_a_redrive_the_next_record_takes_away_what_it_counted() -> None:
    unit = cut_by([correction(1, new=None, old=None)], indexed(NEW, record=None))
    assert unit.deltas == {"foo": Delta(-1, Decimal(-10), "")}
    (write,) = unit.items
    assert (write.left, write.supersedes, write.kept) == (None, False, None)


def test_an_old_image_that_is_no_game_goes_into_the_transaction() -> None:
    """Without an index row a worker of newer rules may have counted it."""
    assert cut_by([correction(1, old=None)]).transacted == {"foo"}
    assert not cut_by([correction(1)]).transacted


def test_a_unit_ends_before_a_second_record_of_an_item_whose_index_row_it_changes() -> None:
    index = indexed(OLD)
    assert cut_by([correction(1), correction(2, old=NEW)], index).records == 1
    assert cut_by([correction(1), bad(2, old=NEW)], index).records == 1
    assert cut_by([correction(1), correction(2, item=OTHER_ITEM)], index).records == 2
    assert cut_by([correction(1), correction(2, old=NEW)]).records == 2, "without an index row it goes on"


def test_items_that_are_not_looked_up_are_named_with_their_players() -> None:
    corrects = Corrects(SHARD, NO_WINDOWS, lambda *_: NOT_LOOKED_UP)
    entries: list[Entry] = [game(1), correction(2), bad(3, old=OLD, item=OTHER_ITEM), bad(4, item=item_key(3))]
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED, Circuit(), None, corrects)
    assert unit.not_looked_up == {ITEM: "foo", OTHER_ITEM: "foo"}, "an insertion needs no index row"


def test_a_correction_that_is_dealt_with_needs_no_index_row() -> None:
    corrects = Corrects(SHARD, NO_WINDOWS, lambda *_: NOT_LOOKED_UP)
    place = Place(int(sequence_number(5)), in_transaction=False)
    unit = cut([correction(5)], TRIM_HORIZON, Limits(), CREATED, Circuit(), lambda *_: place, corrects)
    assert unit.outcomes == {Outcome.ALREADY_SETTLED: 1}
    assert not unit.not_looked_up


def test_index_rows_and_superseded_records_count_as_actions() -> None:
    """Index row, head and part of the older record, and the player's row: four each."""
    index = {item_key(number): IndexRow(item_key(number), RECORD, None) for number in range(20)}
    entries = [correction(number + 1, image(f"p{number}"), item=item_key(number)) for number in range(20)]
    assert cut_by(entries, index, limits=Limits(actions=20)).records == 5


def test_a_row_whose_mark_alone_moves_counts_as_an_action() -> None:
    """An item that expired while it was broken: its index row, the head and the part of its record, and the mark."""
    index = {item_key(number): IndexRow(item_key(number), RECORD, None) for number in range(3)}
    entries = [
        correction(number + 1, None, image(f"p{number}"), item=item_key(number), expired=True) for number in range(3)
    ]
    assert cut_by(entries, index, limits=Limits(actions=11)).records == 2
    assert cut_by(entries, index, limits=Limits(actions=12)).records == 3


def test_an_expired_item_is_noted_also_where_its_removal_is_read_again() -> None:
    """`verify` must not take its game, which stays on the board, for a difference."""
    place = Place(int(sequence_number(2)), in_transaction=False)
    corrects = Corrects(SHARD, NO_WINDOWS, NONE)
    entries: list[Entry] = [correction(1, None, expired=True), game(2)]
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED, Circuit(), lambda *_: place, corrects)
    assert unit.outcomes == {Outcome.ALREADY_SETTLED: 2}
    assert unit.circuit.ignored


def test_a_mended_record_is_no_part_of_a_flood() -> None:
    """A game that begins without a score, a hundred times over: each poison record is made up for."""
    circuit, breaker = Circuit(had_game=True), Breaker(poison=3, window=200)
    for number in range(1, 20, 2):
        key = RecordKey(SHARD, sequence_number(number))
        limits = Limits(breaker=breaker)
        inserted = cut([bad(number)], TRIM_HORIZON, limits, CREATED, circuit, None, Corrects(SHARD, NO_WINDOWS, NONE))
        assert not breaker.stops(bad(number), circuit)
        found = FoundItem(IndexRow(ITEM, key, None), "pending", 1)
        corrects = Corrects(SHARD, NO_WINDOWS, lambda *_, found=found: found)
        circuit = cut(
            [correction(number + 1, old=None)], "1", limits, CREATED, inserted.circuit, None, corrects
        ).circuit
    assert circuit.recent == 0


def NONE(*_: object) -> None:  # noqa: N802  a value
    """No index row."""


def test_windows_of_both_images_are_decided_at_the_creation_of_the_correction() -> None:
    """The old day has expired by then: it is not touched, and the new one is."""
    calendar = calendar_of(((WindowKind.DAY, 1),), "UTC")
    old = Image("foo", Decimal(100), ("2026-01-30", CREATED - 86_400))
    unit = cut([correction(1, old=old)], TRIM_HORIZON, Limits(), CREATED, Circuit(), None, Corrects("", calendar, NONE))
    assert unit.deltas == {"foo": Delta(0, Decimal(-90), DATE, (WindowSum("day_20260131", 1, Decimal(10)),))}


def test_a_window_to_which_corrections_add_nothing_is_left_out() -> None:
    corrects = Corrects("", calendar_of(((WindowKind.DAY, 1),), "UTC"), NONE)
    entries = [correction(1, new=NEW, old=OLD), correction(2, new=OLD, old=NEW)]
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED, Circuit(), None, corrects)
    assert unit.deltas == {"foo": Delta(0, Decimal(0), DATE)}


def test_a_sum_that_no_number_can_hold_ends_the_unit_before_it() -> None:
    """Alone it goes to the table, which refuses it: then it is examined."""
    entries: list[Entry] = [game(1), correction(2, new=image(score="1E+125"), old=image(score="1E-130"))]
    assert cut_by(entries).records == 1
    (delta,) = cut_by(entries[1:]).deltas.values()
    assert delta.total == Decimal("1E+125") or delta.total > 0


@pytest.mark.parametrize("keyed", [False, True])
@given(data=st.data())
def test_units_of_any_length_count_each_item_once(data: st.DataObject, keyed: bool) -> None:
    """Items are inserted, edited, broken and removed; what is counted is each item's last good image."""
    entries, expected = _lives(data.draw(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("gggbr")), max_size=40)))
    most = data.draw(st.integers(1, 9))
    board: dict[str, Decimal] = {}
    games, index = 0, dict[str, IndexRow]()
    while entries:
        unit = cut_by(entries, index, keyed=keyed, limits=Limits(records=most))
        for player, delta in unit.deltas.items():
            board[player] = board.get(player, Decimal(0)) + delta.total
            games += delta.games
        for write in unit.items:
            assert index.get(write.item) == (write.found.row if write.found is not None else None)
            index.pop(write.item, None)
            if write.left is not None:
                index[write.item] = write.left
        entries = entries[unit.records :]
    assert games == len(expected)
    assert sum(board.values()) == sum(image.score for image in expected.values())


def _lives(changes: Sequence[tuple[int, str]]) -> tuple[list[Entry], dict[int, Image]]:
    """Records of some items (g: a good image, b: a bad one, r: removed), and what is counted of each item then."""
    entries: list[Entry] = []
    there: dict[int, Image | None] = {}
    counted: dict[int, Image] = {}
    for seq, (number, kind) in enumerate(changes, start=1):
        item, old = item_key(number), there.get(number)
        new = image(score=seq)
        if kind == "r":
            if number in there:
                entries.append(correction(seq, None, old, item=item))
                del there[number]
                counted.pop(number, None)
        elif kind == "b":
            entries.append(poison(seq)._replace(about=ItemRecord(item, old, insertion=number not in there)))
            there[number] = None
        else:
            entries.append(correction(seq, new, old, item=item) if number in there else game(seq, score=seq))
            there[number] = counted[number] = new
    return entries, counted
