"""Operators where corrections count: what they may do, and what a re-drive makes of what is counted of an item."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Context, Decimal
from typing import Any

import pytest

from consumer.domain.corrections import FoundItem, IndexRow, KeptImage, RecordKey
from consumer.domain.errors import UnsafeRefused
from consumer.domain.fold import Delta, WindowSum
from consumer.domain.quarantine import EntryState, QuarantineEntry, Resolution
from consumer.domain.records import (
    Correction,
    Corrections,
    Image,
    ItemRecord,
    Reason,
    Rules,
    item_of,
    poison,
)
from consumer.domain.replay import Mode
from consumer.domain.windows import WindowKind
from consumer.operations.corrections import NOT_LAST, deltas_of
from consumer.operations.quarantine import (
    IGNORED,
    NO_REPAIR,
    Applied,
    ChangedConcurrently,
    Countable,
    QuarantineService,
    Repair,
    StillPoison,
    require_state,
)
from consumer.operations.settling import lanes
from consumer.operations.steps import OperatorCall
from tests.support.builders import ARN, CREATED, sequence_number, wire
from tests.support.commands import CommandDriver, finish
from tests.support.fakes import FakeQuarantine, FakeTables
from tests.support.fakes.tables import Quarantined
from tests.support.replay_fixture import ReplayFixture, request

APPLY = Rules(corrections=Corrections.APPLY)
SEEN = ("2026-01-31", CREATED - 60)
NOW = CREATED + 60


def image(score: object = 150, player: str = "foo", played: tuple[str, float | None] = SEEN) -> Image:
    return Image(player, Decimal(str(score)), played)


def change(new: Image | None, old: Image | None, created: float = CREATED) -> Correction:
    return Correction(sequence_number(1), created, "foo", "item", new, old, expired=False, wire={})


class Items:
    """Quarantined records of items `g1`, `g2`, ..., one each, with index rows; nothing is counted of them yet."""

    def __init__(self, items: int = 1, reason: Reason = Reason.REFUSED, **made: Any) -> None:
        self.tables = FakeTables()
        self.quarantine = FakeQuarantine(self.tables)
        for number in range(1, items + 1):
            record = wire(number, **made)
            record["dynamodb"]["Keys"] = {"gameId": {"S": f"g{number}"}}
            kept = poison(record, reason, "refused", APPLY)
            key = RecordKey("shard-0", kept.sequence_number)
            self.tables.quarantine[key] = Quarantined(kept, "pending", CREATED, ARN)
            self.tables.index_rows[self.item(number)] = IndexRow(self.item(number), key, None)

    @staticmethod
    def item(number: int) -> str:
        return item_of({"gameId": {"S": f"g{number}"}})

    def service(self, rules: Rules = APPLY) -> QuarantineService:
        tokens = iter(map(str, range(1000)))
        return QuarantineService(
            self.quarantine, self.tables, tuple, lambda: "me", lambda: NOW, lambda: next(tokens), rules, "board"
        )

    @property
    def entries(self) -> list[QuarantineEntry]:
        return sorted(self.quarantine.entries(), key=lambda entry: entry.order)


@pytest.mark.parametrize("repair", [Repair({"score": "1"}, only_wrong=True), Repair({}, True, frozenset({"score"}))])
def test_a_redrive_takes_no_repairs_where_corrections_count(repair: Repair) -> None:
    service = Items().service()
    with pytest.raises(
        UnsafeRefused, match=r"takes no --set and no --convert. Nothing was changed. Next: mend the item"
    ):
        service.refuse_repairs(repair)
    service.refuse_repairs(NO_REPAIR)
    replace(service, rules=Rules()).refuse_repairs(repair)


@pytest.mark.parametrize("into_other_table", [False, True], ids=["recount", "into"])
def test_a_range_is_not_counted_again_where_corrections_count(*, into_other_table: bool) -> None:
    fixture = ReplayFixture()
    fixture.rules = APPLY
    wanted = replace(request(), into_other_table=into_other_table)
    assert wanted.mode is Mode.RECOUNT
    with pytest.raises(UnsafeRefused, match=r"cannot be counted again: .* Next: rebuild instead"):
        fixture.run(fixture.service.plan(wanted))
    assert fixture.calls == []


def test_what_is_pending_in_a_range_counts_like_a_redrive() -> None:
    fixture = ReplayFixture()
    fixture.rules = APPLY
    (number,) = fixture.write({"playerId": {"S": "foo"}, "score": {"N": "5"}, "timestamp": {"S": "2026-01-31"}})
    refused = poison(fixture.streams.shards["shard-0"].records[0], Reason.REFUSED, "refused", APPLY)
    refused = refused._replace(about=ItemRecord("item"))
    key = RecordKey("shard-0", number)
    fixture.tables.quarantine[key] = Quarantined(refused, "pending", CREATED, ARN)
    fixture.tables.index_rows["item"] = IndexRow("item", key, None)
    results: list[object] = []
    fixture.run(fixture.begin_pending().run(results.append))
    assert [type(each) for each in results] == [Applied]
    assert fixture.board["foo"][:2] == (1, Decimal(5))
    assert fixture.tables.index_rows["item"].record is None


def test_index_rows_that_were_left_out_are_read_again() -> None:
    items = Items(3)

    class Throttled(FakeTables):
        """It reads one row per call."""

        def read_items(self, items: Sequence[str]) -> Mapping[str, FoundItem | None]:
            return super().read_items(items[:1])

    items.tables.__class__ = Throttled
    driver = CommandDriver(items.service().decode(items.entries, NO_REPAIR))
    calls = []
    while driver.due is not None:
        calls.append(driver.due)
        driver.answer()
    assert calls == [OperatorCall.READ_RECORD, *[OperatorCall.READ_ITEMS] * 3]
    assert [type(each) for each in driver.result or ()] == [Countable] * 3


def test_an_entry_that_was_read_before_its_life_ended_counts_by_its_head_row() -> None:
    items = Items()
    (seen,) = items.entries
    items.tables.index_rows.clear()
    items.tables.quarantine[RecordKey("shard-0", seen.sequence_number)].kept = KeptImage(RecordKey("", ""), image())
    (countable,) = finish(items.service().decode([seen], NO_REPAIR))
    assert isinstance(countable, Countable)
    assert (countable.deltas, countable.item) == ({}, None), "its own image, which is counted already"


def test_an_index_row_of_another_record_holds_it_back() -> None:
    items = Items()
    item = items.item(1)
    items.tables.index_rows[item] = IndexRow(item, RecordKey("shard-0", sequence_number(9)), None)
    (held,) = finish(items.service().decode(items.entries, NO_REPAIR))
    assert isinstance(held, StillPoison)
    assert (held.reason, "mend the item" in held.detail) == (NOT_LAST, True)
    next(iter(items.tables.quarantine.values())).state = EntryState.SUPERSEDED
    (changed,) = finish(items.service().decode([held.entry], NO_REPAIR))
    assert isinstance(changed, ChangedConcurrently)


def test_what_is_still_poison_says_how_to_mend_it() -> None:
    items = Items(score={"S": "12"})
    (held,) = finish(items.service().decode(items.entries, NO_REPAIR))
    assert isinstance(held, StillPoison)
    assert held.reason == "score_type"
    assert "mend the item: write it again as it should be" in held.detail


def test_a_removal_by_time_to_live_takes_nothing_away() -> None:
    items = Items(event="REMOVE")
    row = next(iter(items.tables.quarantine.values()))
    expired = wire(1, event="REMOVE") | {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
    expired["dynamodb"] |= {"Keys": {"gameId": {"S": "g1"}}, "OldImage": expired["dynamodb"]["NewImage"]}
    row.poison = poison(expired, Reason.REFUSED, "refused", APPLY)
    (held,) = finish(items.service().decode(items.entries, NO_REPAIR))
    assert isinstance(held, StillPoison)
    assert held.reason == IGNORED


def test_a_dry_run_examines_both_players_of_what_dynamodb_refused() -> None:
    items = Items()
    (item,) = items.tables.index_rows
    items.tables.index_rows[item] = items.tables.index_rows[item]._replace(counted=image(7, "bar"))
    driver = CommandDriver(items.service().dry_run(items.entries, NO_REPAIR)).answer_until(OperatorCall.EXAMINE)
    driver.answer(None)
    assert driver.result is not None
    (found,) = driver.result
    assert isinstance(found, Countable)
    assert isinstance(found.change, Correction)
    assert found.change.players == {"foo", "bar"}
    assert {player: delta[:3] for player, delta in found.deltas.items()} == {
        "foo": (1, Decimal(150), "2026-01-31"),
        "bar": (-1, Decimal(-7), ""),
    }
    assert items.tables.board == {}


def test_players_of_one_record_are_in_one_transaction() -> None:
    records = [("a", "b"), ("c",), ("d", "e"), ("b", "d"), ("f",), ()]
    found = lanes(records, lambda each: each, lambda _: 60)
    homes = [{player for record in lane for player in record} for lane in found]
    assert sum(map(len, homes)) == 6, "no player is in two"
    assert {"a", "b", "d", "e"} in homes
    assert sorted(record for lane in found for record in lane) == sorted(records)


def test_a_difference_keeps_every_digit_and_the_date_never_goes_back() -> None:
    long = Decimal("9.9999999999999999999999999999999999999")
    (delta,) = deltas_of(change(image("1E+30"), image(long)), APPLY, NOW).values()
    assert delta == Delta(0, Context(prec=400).subtract(Decimal("1E+30"), long), "2026-01-31")
    (gone,) = deltas_of(change(None, image()), APPLY, NOW).values()
    assert gone == Delta(-1, Decimal(-150), "")


def test_equal_images_change_nothing_and_another_day_moves_the_windows() -> None:
    rules = replace(APPLY, windows=((WindowKind.DAY, 2), (WindowKind.MONTH, 2)))
    assert deltas_of(change(image(), image()), rules, NOW) == {}
    earlier = image(played=("2026-01-30", CREATED - 86_400))
    (delta,) = deltas_of(change(image(), earlier), rules, NOW).values()
    assert delta == Delta(
        0,
        Decimal(0),
        "2026-01-31",
        (WindowSum("day_20260130", -1, Decimal(-150)), WindowSum("day_20260131", 1, Decimal(150))),
    )


def test_a_superseded_record_says_why_nothing_can_be_done() -> None:
    entry = QuarantineEntry("shard-0", "1", "score_type", "superseded", "foo", 1, resolution=Resolution("", "then"))
    with pytest.raises(UnsafeRefused, match=r"is superseded, a later record of its item counts instead: no$"):
        require_state(entry, "no")
