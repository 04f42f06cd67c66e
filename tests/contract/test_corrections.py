"""Index rows: each changes with the unit that changes it, as it was read, or nothing is written at all."""

import hashlib
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.aws.corrections import item_actions
from consumer.domain.corrections import FoundItem, IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.errors import CallFailed
from consumer.domain.fold import Delta, Unit, WindowSum
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.operator_ports import LifeOver
from consumer.domain.records import Correction, Image, ItemRecord, Poison, Reason, item_of
from consumer.domain.replies import CommitReply, Committed, Done, Lost, Refused
from tests.contract.differences import NAMES_NO_SUSPECT
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Score, Subject, unit
from tests.contract.test_quarantine import big
from tests.contract.test_tables import in_index
from tests.support.builders import CREATED, ME, OTHER, game, lease, poison, row, sequence_number, shard, wire

ITEM = item_of({"playerId": {"S": "foo"}, "timestamp": {"S": "2026-01-31T11:59:00Z"}})
OTHER_ITEM = item_of({"playerId": {"S": "foo"}, "timestamp": {"S": "2026-01-31"}})
GOOD = Image("foo", Decimal("12.5"), ("2026-01-31", CREATED - 60))
BARE = Image("foo", Decimal(0), ("2026-01-31", None))
NOTHING = Delta(0, Decimal(0), "")
DAY = 86_400


def key(seq: int) -> RecordKey:
    return RecordKey(shard().shard_id, sequence_number(seq))


def bad(seq: int, item: str = ITEM, *, removal: bool = False) -> Poison:
    return poison(seq)._replace(about=ItemRecord(item, removal=removal))


def index(seq: int | None, counted: Image | None = GOOD, item: str = ITEM) -> IndexRow:
    return IndexRow(item, None if seq is None else key(seq), counted)


def found(seq: int | None, counted: Image | None = GOOD, state: str | None = "pending", parts: int = 1) -> FoundItem:
    return FoundItem(index(seq, counted), None if seq is None else state, 0 if seq is None or state is None else parts)


def mended(before: FoundItem) -> ItemWrite:
    """A correction of the item counts."""
    return ItemWrite(ITEM, before, None, supersedes=before.row.record is not None)


def made(seq: int, counted: Image | None = None) -> ItemWrite:
    """A record of the item is poison, and there was no index row."""
    return ItemWrite(ITEM, None, index(seq, counted))


class Shard:
    """The shard, which goes on from where its last unit ended."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.at = TRIM_HORIZON
        subject.create_root_rows(row(owner=ME))

    def send(self, made: Unit, *items: ItemWrite, rows: tuple[RowWrite, ...] = ()) -> CommitReply:
        reply = self.subject.commits.commit(lease(), replace(made, items=items), rows, fills_gap=False)
        if reply == Committed():
            self.at = made.last
        return reply

    def quarantine(self, record: Poison, *items: ItemWrite) -> None:
        assert self.send(unit(record, previous=self.at), *items) == Committed()

    def mend(self, seq: int, write: ItemWrite, delta: Delta = NOTHING) -> CommitReply:
        """A unit of one correction."""
        rows = (RowWrite("foo", delta),) if delta.adds else ()
        return self.send(unit(game(seq), previous=self.at), write, rows=rows)


def states(subject: Subject) -> dict[str, str]:
    """By sequence number."""
    return {number: row.state for (_, number), row in subject.quarantine_rows().items()}


def kept(subject: Subject) -> dict[str, KeptImage | None]:
    return {number: row.kept for (_, number), row in subject.quarantine_rows().items()}


# --- what a unit does ---


@pytest.mark.parametrize("counted", [None, GOOD, BARE, Image("日本語", Decimal("-1E-130"), ("0001-01-01", 0.0))])
def test_a_bad_record_makes_an_index_row_and_its_head_names_the_item(subject: Subject, counted: Image | None) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, counted))
    assert subject.index_rows() == {ITEM: index(1, counted)}
    (head,) = subject.quarantine_rows().values()
    assert (head.state, head.item, head.kept) == ("pending", ITEM, None)
    assert subject.commits.read_items([ITEM, OTHER_ITEM]) == {ITEM: found(1, counted), OTHER_ITEM: None}


def test_without_corrections_a_head_names_no_item(subject: Subject) -> None:
    Shard(subject).quarantine(poison(1))
    (head,) = subject.quarantine_rows().values()
    assert (head.item, head.kept) == (None, None)
    assert subject.index_rows() == {}


def test_another_bad_record_supersedes_the_first_and_what_is_counted_stays(subject: Subject) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    worker.quarantine(bad(2), ItemWrite(ITEM, found(1), index(2), supersedes=True))
    assert subject.index_rows() == {ITEM: index(2)}
    assert states(subject) == {sequence_number(1): "superseded", sequence_number(2): "pending"}
    assert subject.pending_records.count() == 1
    assert subject.commits.read_items([ITEM]) == {ITEM: found(2)}


@pytest.mark.parametrize("state", ["pending", "discarded"])
def test_a_mended_item_has_no_index_row_and_its_record_is_superseded(subject: Subject, state: str) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1))
    subject.mark(*key(1), state)
    assert subject.commits.read_items([ITEM]) == {ITEM: found(1, None, state)}
    assert worker.mend(2, mended(found(1, None, state)), Delta(1, Decimal(7), "2026-01-31")) == Committed()
    assert subject.index_rows() == {}
    assert states(subject) == {sequence_number(1): "superseded"}
    assert subject.pending_records.count() == 0
    assert subject.board() == {"foo": Score(Decimal(1), Decimal(7), "2026-01-31")}


@pytest.mark.parametrize("counted", [None, GOOD])
def test_an_item_that_expires_while_broken_leaves_what_is_counted_in_the_head(
    subject: Subject, counted: Image | None
) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, counted))
    assert worker.mend(2, ItemWrite(ITEM, found(1, counted), None, kept=KeptImage(key(1), counted))) == Committed()
    assert subject.index_rows() == {}
    assert states(subject) == {sequence_number(1): "pending"}, "an operator may still count it"
    assert kept(subject) == {sequence_number(1): KeptImage(key(1), counted)}
    assert subject.pending_records.count() == 1


@pytest.mark.parametrize("counted", [None, GOOD])
def test_a_refused_removal_keeps_what_is_counted_in_its_own_head(subject: Subject, counted: Image | None) -> None:
    """The item's life is over, so it has no index row; the record before it is superseded."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, counted))
    removal = ItemWrite(ITEM, found(1, counted), None, supersedes=True, kept=KeptImage(key(2), counted))
    worker.quarantine(bad(2, removal=True), removal)
    assert subject.index_rows() == {}
    assert states(subject) == {sequence_number(1): "superseded", sequence_number(2): "pending"}
    assert kept(subject) == {sequence_number(1): None, sequence_number(2): KeptImage(key(2), counted)}


def test_a_refused_removal_of_an_item_without_an_index_row(subject: Subject) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1, removal=True), ItemWrite(ITEM, None, None, kept=KeptImage(key(1), GOOD)))
    assert subject.index_rows() == {}
    assert kept(subject) == {sequence_number(1): KeptImage(key(1), GOOD)}


def test_an_index_row_of_a_redriven_record_goes(subject: Subject) -> None:
    worker = Shard(subject)
    subject.put_index_row(index(None, GOOD))
    assert subject.commits.read_items([ITEM]) == {ITEM: found(None)}
    assert worker.mend(1, mended(found(None)), Delta(0, Decimal(-5), "")) == Committed()
    assert subject.index_rows() == {}


def test_an_index_row_outlives_the_head_of_its_record(subject: Subject) -> None:
    """A discarded record expires; the item is mended after that."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    subject.delete_head(*key(1))
    assert subject.commits.read_items([ITEM]) == {ITEM: found(1, state=None)}
    assert worker.mend(2, mended(found(1, state=None))) == Committed()
    assert subject.index_rows() == {}
    assert states(subject) == {}, "no head is made for it"


def test_items_of_one_unit_change_together(subject: Subject) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1))
    both = unit(game(2), bad(3, OTHER_ITEM), previous=worker.at)
    other = ItemWrite(OTHER_ITEM, None, index(3, GOOD, OTHER_ITEM))
    assert worker.send(both, mended(found(1, None)), other) == Committed()
    assert subject.index_rows() == {OTHER_ITEM: index(3, GOOD, OTHER_ITEM)}
    assert states(subject) == {sequence_number(1): "superseded", sequence_number(3): "pending"}


def test_a_record_that_is_read_again_does_not_supersede_itself(subject: Subject) -> None:
    """After a step back of the checkpoint. One transaction cannot change a row twice."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    subject.delete_row(shard())
    again = Shard(subject)
    again.quarantine(bad(1), ItemWrite(ITEM, found(1), index(1), supersedes=True))
    assert subject.index_rows() == {ITEM: index(1)}
    assert states(subject) == {sequence_number(1): "pending"}


# --- as it was found ---


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, found(1)),
        (None, found(None)),
        (index(1), None),
        (index(None), None),
        (index(1), found(None)),
        (index(None), found(1)),
        (index(2), found(1)),
        (index(1)._replace(record=RecordKey("shard-9", sequence_number(1))), found(1)),
    ],
)
@pytest.mark.parametrize("left", [None, 4])
def test_an_index_row_that_is_not_as_it_was_found(
    subject: Subject, stored: IndexRow | None, expected: FoundItem | None, left: int | None
) -> None:
    """Whether it was to go or to change: nothing is written, and the reply says why."""
    worker = Shard(subject)
    worker.quarantine(bad(1), ItemWrite(OTHER_ITEM, None, index(1, None, OTHER_ITEM)))
    worker.quarantine(bad(2), ItemWrite("{}", None, index(2, None, "{}")))
    if stored is not None:
        subject.put_index_row(stored)
    before = subject.everything()
    write = ItemWrite(ITEM, expected, index(left or 4) if left or expected is None else None)
    both = unit(game(3), bad(4), previous=worker.at)
    assert worker.send(both, write, rows=(RowWrite("foo", Delta(1, Decimal(1), "2026-01-31")),)) == Refused(items=True)
    assert subject.everything() == before


def test_an_index_row_of_a_life_whose_end_was_lost_gives_way_to_a_new_one(subject: Subject) -> None:
    """Its removal was in a gap; the item was inserted again. A condition would refuse the unit for ever."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    worker.quarantine(bad(9), made(9, None)._replace(inserted=True))
    assert subject.index_rows() == {ITEM: index(9, None)}
    assert states(subject) == {sequence_number(1): "pending", sequence_number(9): "pending"}


def test_where_no_index_row_was_found_and_none_is_left_none_is_looked_for(subject: Subject) -> None:
    """As of a refused removal: what it keeps is in its own head."""
    worker = Shard(subject)
    subject.put_index_row(index(9))
    worker.quarantine(bad(1, removal=True), ItemWrite(ITEM, None, None, kept=KeptImage(key(1), None)))
    assert subject.index_rows() == {ITEM: index(9)}


@pytest.mark.parametrize(
    "write",
    [
        made(2),
        ItemWrite(ITEM, None, None, kept=KeptImage(key(2), None)),
        ItemWrite(ITEM, found(1, parts=3), index(2), supersedes=True),
        ItemWrite(ITEM, found(1, parts=3), None, kept=KeptImage(key(1), None)),
        ItemWrite(ITEM, found(1, state=None), None, supersedes=True),
        mended(found(1, parts=3)),
        mended(found(None)),
    ],
)
def test_a_unit_knows_how_many_actions_it_needs(write: ItemWrite) -> None:
    """Else a transaction could have more than it may."""
    for retention_days in (None, 30):
        assert len(item_actions("quarantine", write, CREATED, retention_days)) <= write.actions
    if write.kept is None:
        assert len(item_actions("quarantine", write, CREATED, 30)) == write.actions


@pytest.mark.parametrize("read", ["pending", "discarded"])
@pytest.mark.parametrize("now", ["pending", "discarded", "applied", None])
@pytest.mark.parametrize("expires", [False, True])
def test_a_head_that_has_another_state_than_was_read(
    subject: Subject, read: str, now: str | None, expires: bool
) -> None:
    """An operator was faster, or it has expired."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    if now is None:
        subject.delete_head(*key(1))
    else:
        subject.mark(*key(1), now)
    before = subject.everything()
    seen = found(1, state=read)
    write = ItemWrite(ITEM, seen, None, kept=KeptImage(key(1), GOOD)) if expires else mended(seen)
    reply = worker.mend(2, write)
    if now == read:
        assert reply == Committed()
    else:
        assert reply == Refused(items=True)
        assert subject.everything() == before


def test_a_lost_lease_comes_before_an_index_row(subject: Subject) -> None:
    worker = Shard(subject)
    subject.put_index_row(index(9))
    before = subject.everything()
    mine = replace(unit(bad(1)), items=(made(1),))
    assert isinstance(subject.commits.commit(lease(owner=OTHER), mine, (), fills_gap=False), Lost)
    assert worker.send(unit(bad(1)), made(1)) == Refused(items=True)
    assert subject.everything() == before


def test_a_row_and_an_index_row_are_refused_together(subject: Subject) -> None:
    worker = Shard(subject)
    subject.put_index_row(index(9))
    subject.put_player("foo", Score(Decimal(1), Decimal(1), "2026-03-01"), Mark("l/s", sequence_number(7), CREATED))
    wrong = Mark("l/s", sequence_number(6), CREATED)
    rows = (RowWrite("foo", NOTHING, Route.MARKED, wrong, wrong),)
    reply = worker.send(unit(bad(1)), made(1), rows=rows)
    assert isinstance(reply, Refused)
    assert reply.items
    assert list(reply.rows) == ["foo"]


def test_of_two_workers_that_change_an_index_row_one_does(subject: Subject) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    assert worker.mend(2, mended(found(1))) == Committed()
    assert worker.mend(3, mended(found(1))) == Refused(items=True)


# --- reading ---


def test_a_hundred_items_are_read_at_once(subject: Subject) -> None:
    items = [item_of({"playerId": {"S": f"player-{number}"}}) for number in range(100)]
    for number in range(0, 100, 9):
        subject.put_index_row(IndexRow(items[number], key(number) if number % 2 else None, GOOD))
    rows = subject.index_rows()
    assert subject.commits.read_items(items) == {
        item: FoundItem(rows[item]) if item in rows else None for item in items
    }


@pytest.mark.parametrize(
    "keys",
    [
        {"playerId": {"S": '日本語 " \\ \u2028 😀'}, "at": {"N": "-12345678901234567890.5"}},
        {"id": {"B": "AP8="}, "at": {"B": "/w=="}},
        {"id": {"S": "x" * 2_048}, "at": {"S": "y" * 1_024}},
        {"id": {"N": "1E+2"}},
    ],
)
def test_whatever_an_items_key_is(subject: Subject, keys: dict[str, dict[str, str]]) -> None:
    worker, item = Shard(subject), item_of(keys)
    worker.quarantine(bad(1, item), ItemWrite(item, None, index(1, GOOD, item)))
    assert subject.commits.read_items([item]) == {item: FoundItem(index(1, GOOD, item), "pending", 1)}
    ((name, stored),) = subject.index_rows().items()
    assert stored == index(1, GOOD, name)
    (head,) = subject.quarantine_rows().values()
    if "N" not in str(keys):
        assert {name, head.item} == {item}, "an engine may write a number otherwise"


def test_a_row_of_another_item_under_the_same_key_is_a_failed_call(dynamo: DynamoSubject) -> None:
    """Only a hand can have written it. No record is to blame."""
    dynamo.put_index_row(index(1))
    (stored,) = (item for item in dynamo.items(dynamo.names.quarantine) if item["shardId"]["S"].startswith("#item#"))
    dynamo.clients.dynamodb.put_item(
        TableName=dynamo.names.quarantine, Item={**stored, "itemKey": {"M": {"playerId": {"S": "bar"}}}}
    )
    with pytest.raises(CallFailed, match=r"the index row of item .* has the key .*bar"):
        dynamo.commits.read_items([ITEM])


# --- rows of players ---


def test_a_removal_takes_away_and_the_date_stays(subject: Subject) -> None:
    worker = Shard(subject)
    subject.put_player("foo", Score(Decimal(2), Decimal(20), "2026-01-31"))
    assert worker.mend(1, ItemWrite(ITEM, None, None), Delta(-1, Decimal("-12.5"), "")) == Committed()
    assert subject.board() == {"foo": Score(Decimal(1), Decimal("7.5"), "2026-01-31")}


def test_a_removal_of_a_game_from_before_the_start_leaves_a_row_below_zero(subject: Subject) -> None:
    worker = Shard(subject)
    assert worker.mend(1, ItemWrite(ITEM, None, None), Delta(-1, Decimal(-12), "")) == Committed()
    assert subject.board() == {"foo": Score(Decimal(-1), Decimal(-12), None)}


@pytest.mark.parametrize("date", ["", "2026-02-01"])
def test_a_changed_score_adds_no_game(subject: Subject, date: str) -> None:
    worker = Shard(subject)
    subject.put_player("foo", Score(Decimal(2), Decimal(20), "2026-01-31"))
    assert worker.mend(1, ItemWrite(ITEM, None, None), Delta(0, Decimal("0.5"), date)) == Committed()
    assert subject.board() == {"foo": Score(Decimal(2), Decimal("20.5"), date or "2026-01-31")}


@pytest.mark.parametrize(
    "delta", [Delta(-1, Decimal(-5), ""), Delta(0, Decimal(3), ""), Delta(0, Decimal(0), "2026-02-02")]
)
@pytest.mark.parametrize("route", [Route.INSERT, Route.FOLLOW])
def test_a_correction_alone_is_a_single_write(subject: Subject, route: Route, delta: Delta) -> None:
    before, after = Mark("l/s", sequence_number(1), CREATED), Mark("l/s", sequence_number(2), CREATED)
    stored = (
        Score(Decimal(1), Decimal(5), "2026-01-31") if route is Route.FOLLOW else Score(Decimal(0), Decimal(0), None)
    )
    if route is Route.FOLLOW:
        subject.put_player("foo", stored, before)
    write = RowWrite("foo", delta, route, before if route is Route.FOLLOW else None, after)
    assert subject.write_row(write) == Done()
    assert isinstance(stored.games, Decimal)
    assert isinstance(stored.total, Decimal)
    assert subject.board() == {
        "foo": Score(stored.games + delta.games, stored.total + delta.total, delta.date or stored.date)
    }
    assert subject.marks() == {"foo": after}
    assert not isinstance(subject.write_row(write), Done), "once"


def test_windows_follow_a_correction(subject: Subject) -> None:
    """A game moves from one day to another."""
    worker = Shard(subject)
    subject.put_player("foo", Score(Decimal(1), Decimal(5), "2026-01-31"))
    subject.put_windows("foo", {"day_20260131": (1, Decimal(5))})
    moved = (WindowSum("day_20260130", 1, Decimal(6)), WindowSum("day_20260131", -1, Decimal(-5)))
    assert (
        worker.mend(1, ItemWrite(ITEM, None, None), Delta(0, Decimal(1), "2026-01-30", moved)._replace(date=""))
        == Committed()
    )
    assert subject.windows("foo") == {
        "day_20260130": (Decimal(1), Decimal(6)),
        "day_20260131": (Decimal(0), Decimal(0)),
    }


# --- why a correction is refused ---


def correction(new: Image | None, old: Image | None) -> Correction:
    return Correction(sequence_number(1), CREATED, "foo", ITEM, new, old, expired=False, wire=wire())


def verdict(subject: Subject, new: Image | None, old: Image | None) -> Reason | None:
    found = subject.commits.examine(correction(new, old))
    return found[0] if found else None


def image(player: str, score: object) -> Image:
    return Image(player, Decimal(str(score)), ("2026-01-31", None))


def test_a_correction_is_examined_per_player_and_by_what_it_adds(subject: Subject) -> None:
    subject.put_player("full", Score(Decimal(1), Decimal("9.9e125"), "2026-01-31"))
    subject.put_player("bad", Score(Decimal(1), Decimal(1), "2026-01-31"))
    subject.spoil("bad", "totalScore", "many")
    subject.put_player("other", Score(Decimal(1), Decimal(1), "2026-01-31"))
    large = "9e124"
    assert verdict(subject, image("full", large), None) is Reason.TOTAL_OVERFLOW
    assert verdict(subject, None, image("full", large)) is None, "it is taken away"
    assert verdict(subject, image("full", large), image("full", large)) is None, "the row keeps its sum"
    assert verdict(subject, image("full", large), image("other", 1)) is Reason.TOTAL_OVERFLOW
    assert verdict(subject, image("other", 1), image("bad", 1)) is Reason.TOTAL_TYPE
    assert verdict(subject, None, image("bad", 1)) is Reason.TOTAL_TYPE
    assert verdict(subject, image("new", 1), image("other", 1)) is None
    subject.spoil("other", "lastPlayedDate", "someday")
    assert verdict(subject, image("new", 1), image("other", 1)) is Reason.DATE_TYPE


def test_a_window_of_a_row_may_refuse_a_correction(subject: Subject) -> None:
    subject.put_player("foo", Score(Decimal(1), Decimal(1), "2026-01-31"))
    subject.put_windows("foo", {"day_20260131": (1, Decimal(1))})
    subject.put_player("other", Score(Decimal(1), Decimal(1), "2026-01-31"))
    assert verdict(subject, image("foo", 2), image("foo", 1)) is None
    subject.spoil("foo", "day_20260131_score", "many")
    assert verdict(subject, image("foo", 2), image("foo", 1)) is Reason.TOTAL_TYPE


def test_a_row_that_refuses_a_correction_leaves_the_index_row(subject: Subject) -> None:
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    subject.put_player("foo", Score(Decimal(1), Decimal(1), "2026-01-31"))
    subject.spoil("foo", "totalScore", "many")
    before = subject.everything()
    reply = worker.mend(2, mended(found(1)), Delta(0, Decimal(1), ""))
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert not reply.items
    assert reply.suspects == (frozenset() if subject.has(NAMES_NO_SUSPECT) else frozenset({"foo"}))
    assert subject.everything() == before


# --- what the tables hold ---


def superseded(dynamo: DynamoSubject, retention_days: int | None) -> None:
    worker = Shard(dynamo)
    dynamo.commits = dynamo.commits_port(retention_days)
    record = big(1)._replace(about=ItemRecord(ITEM))
    worker.quarantine(record, made(1))
    worker.quarantine(bad(2, OTHER_ITEM), ItemWrite(OTHER_ITEM, None, index(2, None, OTHER_ITEM)))
    assert in_index(dynamo) == 2
    assert worker.mend(3, mended(found(1, None, parts=len(record.parts)))) == Committed()
    assert in_index(dynamo) == 1


def test_a_superseded_record_expires_with_its_parts_and_index_rows_never_do(dynamo: DynamoSubject) -> None:
    superseded(dynamo, 30)
    items = {item["sequenceNumber"]["S"]: item for item in dynamo.items(dynamo.names.quarantine)}
    expiring = {number: item["expiresAt"]["N"] for number, item in items.items() if "expiresAt" in item}
    parts = len(big(1).parts)
    assert parts > 1
    numbers = [sequence_number(1), *(f"{sequence_number(1)}#{part}" for part in range(1, parts + 1))]
    assert expiring == dict.fromkeys(numbers, str(int(CREATED) + 60 + 30 * DAY))
    assert items[sequence_number(1)]["supersededAt"] == {"S": "2026-01-31T12:01:00.000Z"}


def test_by_default_a_superseded_record_stays(dynamo: DynamoSubject) -> None:
    superseded(dynamo, None)
    assert not [item for item in dynamo.items(dynamo.names.quarantine) if "expiresAt" in item]


def test_an_index_row_and_a_head_as_items(dynamo: DynamoSubject) -> None:
    worker = Shard(dynamo)
    worker.quarantine(bad(1), made(1, GOOD))
    counted = {
        "playerId": {"S": "foo"},
        "score": {"N": "12.5"},
        "date": {"S": "2026-01-31"},
        "playedAt": {"N": "1769860740"},
    }
    item = {"M": {"playerId": {"S": "foo"}, "timestamp": {"S": "2026-01-31T11:59:00Z"}}}
    digest = hashlib.sha256(
        b'{"playerId":{"S":"foo"},"timestamp":{"S":"2026-01-31T11:59:00Z"}}',
    ).hexdigest()
    rows = {row["shardId"]["S"]: row for row in dynamo.items(dynamo.names.quarantine) if "parts" not in row}
    (name,) = (name for name in rows if name.startswith("#item#"))
    assert rows[name] == {
        "shardId": {"S": name},
        "sequenceNumber": {"S": "item"},
        "itemKey": item,
        "recordShardId": {"S": "shard-0"},
        "recordSequenceNumber": {"S": sequence_number(1)},
        "counted": {"M": counted},
    }
    assert name == f"#item#{digest}"
    assert worker.mend(2, ItemWrite(ITEM, found(1), None, kept=KeptImage(key(1), BARE))) == Committed()
    (head,) = (row for row in dynamo.items(dynamo.names.quarantine) if "parts" in row)
    assert head["itemKey"] == item
    assert head["kept"] == {"M": {"playerId": {"S": "foo"}, "score": {"N": "0"}, "date": {"S": "2026-01-31"}}}


def test_what_verify_reads_of_items(subject: Subject) -> None:
    """Index rows, and heads of records whose items are gone, with the action that changed them last."""
    worker = Shard(subject)
    worker.quarantine(bad(1), made(1, GOOD))
    worker.quarantine(bad(2, OTHER_ITEM), made(2, None)._replace(item=OTHER_ITEM, left=index(2, None, OTHER_ITEM)))
    worker.quarantine(bad(3, "{}", removal=True), ItemWrite("{}", None, None, kept=KeptImage(key(3), BARE)))
    worker.quarantine(big(4))
    subject.put_index_row(index(None, GOOD, OTHER_ITEM))
    page = subject.scans.counted_items(None)
    assert page.after is None
    assert sorted(page.rows, key=str) == sorted(
        [index(1), index(None, GOOD, OTHER_ITEM), LifeOver(key(3), "{}", "pending", None, BARE, 1)], key=str
    )
    assert subject.commits.read_items([ITEM]) == {ITEM: found(1)}
