"""Where corrections count, a quarantined record counts in place of what is counted of its item, and only while it is
the last record of that life of the item (design: 7).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from consumer.domain.corrections import IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.fold import Unit
from consumer.domain.quarantine import EntryState, QuarantineEntry
from consumer.domain.records import Corrections, Image, Reason, Rules, item_of, poison
from consumer.domain.replies import Committed
from consumer.domain.windows import WindowKind
from consumer.operations.corrections import NOT_LAST
from consumer.operations.quarantine import (
    NO_REPAIR,
    Applied,
    ChangedConcurrently,
    Discarded,
    QuarantineService,
    Restored,
    StillPoison,
)
from consumer.operations.steps import OperatorCall, Step
from tests.contract.subject import Score, Subject, unit
from tests.support.builders import CREATED, ME, lease, row, sequence_number, wire
from tests.support.commands import finish, make, make_twice

RULES = Rules(corrections=Corrections.APPLY)
PLAYED = "2026-01-31T11:59:00Z"
SEEN = ("2026-01-31", CREATED - 60)
ITEM = item_of({"gameId": {"S": "g1"}})
Make = Callable[[Step], object]


def image(score: int = 150, player: str = "foo") -> Image:
    return Image(player, Decimal(score), SEEN)


def record(number: int, new: Image | None, old: Image | None, item: str = "g1") -> dict[str, Any]:
    """A change of an item, or its removal; without an old image the insert of one."""
    event = "REMOVE" if new is None else "MODIFY" if old is not None else "INSERT"
    made = wire(number, event=event)
    change = made["dynamodb"]
    del change["NewImage"]
    change["Keys"] = {"gameId": {"S": item}}
    for name, each in (("NewImage", new), ("OldImage", old)):
        if each is not None:
            fields = {"playerId": {"S": each.player}, "score": {"N": str(each.score)}, "timestamp": {"S": PLAYED}}
            change[name] = {"gameId": {"S": item}, **fields}
    return made


def commit(subject: Subject, *wires: dict[str, Any], items: tuple[ItemWrite, ...] = (), at: int = 0) -> None:
    """The worker quarantines these records, as if the database had refused them, and changes index rows."""
    subject.create_root_rows(row(at, owner=ME))
    cut = unit(*(poison(each, Reason.REFUSED, "refused", RULES) for each in wires))
    values = {name: getattr(cut, name) for name in Unit.__dataclass_fields__} | {"items": items}
    assert subject.commits.commit(lease(at), Unit(**values), (), fills_gap=False) == Committed()


def key(number: int, at: int = 0) -> RecordKey:
    return RecordKey(f"shard-{at}", sequence_number(number))


def broken(subject: Subject, new: Image | None, counted: Image | None, number: int = 1) -> QuarantineEntry:
    """An item whose last record, of which `new` is the image, is in quarantine while `counted` is counted of it."""
    write = ItemWrite(ITEM, None, IndexRow(ITEM, key(number), counted))
    commit(subject, record(number, new, counted), items=(write,))
    return entry_of(subject, number)


def over(subject: Subject, new: Image | None, counted: Image | None, number: int = 1) -> QuarantineEntry:
    """The same when the life of the item is over."""
    write = ItemWrite(ITEM, None, None, kept=KeptImage(key(number), counted))
    commit(subject, record(number, new, counted or image()), items=(write,))
    return entry_of(subject, number)


def entry_of(subject: Subject, number: int = 1) -> QuarantineEntry:
    found = subject.quarantine.entry("shard-0", sequence_number(number))
    assert found is not None
    return found


def index_row(subject: Subject) -> IndexRow | None:
    found = subject.commits.read_items([ITEM])[ITEM]
    return found.row if found is not None else None


def service(
    subject: Subject, token: str = "mine", rules: Rules = RULES, now: float = CREATED + 60
) -> QuarantineService:
    tokens = iter(f"{token}-{number}" for number in range(100))
    return QuarantineService(
        subject.quarantine, subject.commits, tuple, lambda: "me", lambda: now, lambda: next(tokens), rules, "board"
    )


def redrive(subject: Subject, entry: QuarantineEntry, make: Make = make, **given: Any) -> object:
    return finish(service(subject, **given).redrive(entry, NO_REPAIR), make)


def score(total: int, games: int = 1) -> Score:
    return Score(Decimal(games), Decimal(total), "2026-01-31")


def test_an_entry_says_its_item_and_what_stays_counted(subject: Subject) -> None:
    assert (broken(subject, image(100), image()).item, entry_of(subject).kept) == (ITEM, None)
    later = ItemWrite(ITEM, subject.commits.read_items([ITEM])[ITEM], None, kept=KeptImage(key(1), image()))
    commit(subject, record(5, image(7), None, "other"), items=(later,), at=1)
    (entry,) = subject.quarantine.entries("shard-0")
    assert (entry.item, entry.kept, entry.state) == (ITEM, KeptImage(key(1), image()), EntryState.PENDING)


@pytest.mark.parametrize("lost", [make, make_twice], ids=["once", "reply lost"])
def test_it_counts_in_place_of_what_is_counted_and_moves_the_index_row(subject: Subject, lost: Make) -> None:
    subject.put_player("foo", score(150))
    entry = broken(subject, image(100), image())
    assert isinstance(redrive(subject, entry, lost), Applied)
    assert subject.board() == {"foo": score(100)}
    assert index_row(subject) == IndexRow(ITEM, None, image(100)), "moved, not removed"
    assert entry_of(subject).state == EntryState.APPLIED
    assert subject.pending_records.count() == 0
    (audit,) = subject.audit()
    assert (audit.detail["player"], audit.detail["outcome"]) == ("foo", "applied")
    assert isinstance(redrive(subject, entry, token="again"), ChangedConcurrently)
    assert subject.board() == {"foo": score(100)}


def test_where_nothing_is_counted_it_is_a_game_more(subject: Subject) -> None:
    assert isinstance(redrive(subject, broken(subject, image(100), None)), Applied)
    assert subject.board() == {"foo": score(100)}


def test_a_game_that_moves_to_another_player_changes_both_rows(subject: Subject) -> None:
    subject.put_player("foo", score(200, games=2))
    assert isinstance(redrive(subject, broken(subject, image(100, "bar"), image())), Applied)
    assert subject.board() == {"foo": score(50), "bar": score(100)}


def test_a_life_that_is_over_counts_by_its_head_row(subject: Subject) -> None:
    subject.put_player("foo", score(150))
    assert isinstance(redrive(subject, over(subject, image(100), image())), Applied)
    assert subject.board() == {"foo": score(100)}
    assert index_row(subject) is None


def test_a_refused_removal_takes_the_game_away_and_the_date_stays(subject: Subject) -> None:
    subject.put_player("foo", score(200, games=2))
    assert isinstance(redrive(subject, over(subject, None, image())), Applied)
    assert subject.board() == {"foo": score(50)}


def test_a_removal_whose_item_has_an_index_row_leaves_nothing_counted(subject: Subject) -> None:
    subject.put_player("foo", score(150))
    assert isinstance(redrive(subject, broken(subject, None, image())), Applied)
    assert subject.board() == {"foo": Score(Decimal(0), Decimal(0), "2026-01-31")}
    assert index_row(subject) == IndexRow(ITEM, None, None)


def test_an_image_that_is_counted_already_writes_no_row_of_the_board(subject: Subject) -> None:
    assert isinstance(redrive(subject, broken(subject, image(), image())), Applied)
    assert subject.board() == {}
    assert entry_of(subject).state == EntryState.APPLIED


def test_windows_follow_and_a_long_expired_one_is_left_alone(subject: Subject) -> None:
    rules = Rules(corrections=Corrections.APPLY, windows=((WindowKind.DAY, 2), (WindowKind.MONTH, 2)))
    subject.put_player("foo", score(150))
    subject.put_windows("foo", {"month_202601": (1, Decimal(150))})
    entry = broken(subject, image(100), image())
    assert isinstance(redrive(subject, entry, rules=rules, now=CREATED + 10 * 86_400), Applied)
    assert subject.windows("foo") == {"month_202601": (Decimal(1), Decimal(100))}


@pytest.mark.parametrize("state", [EntryState.PENDING, EntryState.DISCARDED])
def test_a_superseded_record_neither_counts_nor_comes_back(subject: Subject, state: EntryState) -> None:
    """A later record of the item has mended it since the entry was read."""
    subject.put_player("foo", score(150))
    entry = broken(subject, image(100), image())
    act = service(subject)
    if state is EntryState.DISCARDED:
        assert finish(act.discard([entry], "why")) == [Discarded(entry)]
        entry = entry_of(subject)
    mended = ItemWrite(ITEM, subject.commits.read_items([ITEM])[ITEM], None, supersedes=True)
    commit(subject, record(5, image(7), None, "other"), items=(mended,), at=1)
    before = subject.everything()
    result = redrive(subject, entry) if state is EntryState.PENDING else finish(act.restore([entry]))[0]
    assert isinstance(result, ChangedConcurrently)
    assert result.now is not None
    assert result.now.state == EntryState.SUPERSEDED
    assert subject.everything() == before


@pytest.mark.parametrize("act", ["redrive", "restore"])
def test_the_index_row_must_still_be_as_it_was_read(subject: Subject, act: str) -> None:
    """The item's life ends while the command is in flight: its head row stays as it was, but the index row is gone."""
    subject.put_player("foo", score(150))
    entry = broken(subject, image(100), image())
    if act == "restore":
        assert finish(service(subject).discard([entry], "why")) == [Discarded(entry)]
        entry = entry_of(subject)
    found = subject.commits.read_items([ITEM])[ITEM]
    after: list[object] = []

    def overtaken(step: Step) -> object:
        if step.call in (OperatorCall.APPLY, OperatorCall.RESTORE):
            over = ItemWrite(ITEM, found, None, kept=KeptImage(key(1), image()))
            commit(subject, record(5, image(7), None, "other"), items=(over,), at=1)
            after.append(subject.everything())
        return step.effect()

    if act == "redrive":
        assert redrive(subject, entry, overtaken) == ChangedConcurrently(entry, entry)
    else:
        assert finish(service(subject, "late").restore([entry]), overtaken) == [ChangedConcurrently(entry, entry)]
    assert subject.everything() == after[0]
    result = redrive(subject, entry) if act == "redrive" else finish(service(subject, "then").restore([entry]))[0]
    assert isinstance(result, Applied | Restored), "now by what its head row says"


def test_a_discard_and_its_restore_leave_the_index_row(subject: Subject) -> None:
    entry = broken(subject, image(100), image())
    assert finish(service(subject).discard([entry], "why")) == [Discarded(entry)]
    (restored,) = finish(service(subject, "back").restore([entry_of(subject)]))
    assert isinstance(restored, Restored)
    assert index_row(subject) == IndexRow(ITEM, key(1), image())
    assert entry_of(subject) == entry


@pytest.mark.parametrize("item", [True, False], ids=["no index row", "no key"])
def test_a_record_of_which_nothing_is_known_does_not_count_and_can_be_restored(subject: Subject, *, item: bool) -> None:
    made = record(1, image(100), None)
    if not item:
        del made["dynamodb"]["Keys"]
    commit(subject, made)
    result = redrive(subject, entry_of(subject))
    assert isinstance(result, StillPoison)
    assert result.reason == NOT_LAST
    assert ("key of its item" in result.detail) is not item
    assert subject.board() == {}
    (discarded,) = finish(service(subject).discard([entry_of(subject)], "why"))
    assert isinstance(discarded, Discarded)
    (restored,) = finish(service(subject, "back").restore([entry_of(subject)]))
    assert isinstance(restored, StillPoison if item else Restored)


def test_records_of_many_items_are_one_transaction(subject: Subject) -> None:
    names = [f"g{number}" for number in range(1, 8)]
    keys = [item_of({"gameId": {"S": name}}) for name in names]
    writes = tuple(ItemWrite(each, None, IndexRow(each, key(at), None)) for at, each in enumerate(keys, 1))
    commit(subject, *(record(at, image(at), None, name) for at, name in enumerate(names, 1)), items=writes)
    calls: list[OperatorCall] = []

    def noted(step: Step) -> object:
        calls.append(step.call)
        return step.effect()

    act = service(subject)
    entries = sorted(subject.quarantine.entries("shard-0"), key=lambda entry: entry.order)
    decoded = finish(act.decode(entries, NO_REPAIR), noted)
    results = finish(
        act.count([each for each in decoded if not isinstance(each, StillPoison | ChangedConcurrently)]), noted
    )
    assert [type(each) for each in results] == [Applied] * 7
    assert calls == [OperatorCall.READ_RECORD, OperatorCall.READ_ITEMS, OperatorCall.APPLY]
    assert subject.board() == {"foo": score(sum(range(1, 8)), games=7)}
    assert {found.row.record for found in subject.commits.read_items(keys).values() if found} == {None}
