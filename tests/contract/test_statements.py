"""Single writes of many rows in one call: each has the reply, and the effect, of a call of its own."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.statements import WRITES_PER_CALL
from consumer.domain.fold import Delta
from consumer.domain.marks import ABSENT, RowWrite, StoredRow
from consumer.domain.replies import Done, Refused, RowRefused
from tests.contract.differences import ROUNDS_SUMS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.row_writes import DATE, DELTA, STORED, every_fate, follow, insert, mark
from tests.contract.subject import Score, Subject

DONE = Score(Decimal(3), Decimal("380.5"), DATE)
CALL, UPDATE = "BatchExecuteStatement", "UpdateItem"


def use_statements(subject: Subject) -> None:
    """From now on calls of several writes are made of statements: both engines take them."""
    assert subject.commits.probe_statements() is None


def test_every_fate_in_one_call(subject: Subject) -> None:
    writes = every_fate(subject)
    use_statements(subject)
    replies = dict(zip([write.player for write in writes], subject.commits.write_rows(writes), strict=True))
    for player, attribute in (("no text date", "lastPlayedDate"), ("total is text", "totalScore")):
        refused = replies.pop(player)
        assert isinstance(refused, Refused), attribute
        assert refused.invalid, attribute
    marked = StoredRow(mark=mark(5), date="2026-01-30")
    assert replies == {
        "made": Done(),
        "there": RowRefused(marked),
        "follows": Done(),
        "moved": RowRefused(marked._replace(mark=mark(6))),
        "no date": Done(),
        "later date": RowRefused(marked._replace(date="2026-02-01")),
        "no mark": RowRefused(marked._replace(mark=None)),
        "undated": Done(),
        "gone": RowRefused(ABSENT),
    }
    board = subject.board()
    assert board["undated"] == DONE._replace(date="2026-01-30")
    assert [board[player] for player in ("made", "follows", "no date")] == [
        Score(Decimal(2), DELTA.total, DATE),
        DONE,
        DONE,
    ]
    assert board["later date"] == STORED._replace(date="2026-02-01")
    assert board["there"] == board["moved"] == board["no mark"] == STORED
    assert "gone" not in board


def test_a_repeated_call_changes_nothing(subject: Subject) -> None:
    subject.put_player("follows", STORED, mark(5))
    use_statements(subject)
    writes = [insert("made"), follow("follows")]
    assert subject.commits.write_rows(writes) == [Done(), Done()]
    before = subject.everything()
    for _ in range(2):
        assert subject.commits.write_rows(writes) == [RowRefused(StoredRow(mark=mark(9), date=DATE))] * 2
    assert subject.everything() == before


def test_corrections_of_many_rows_in_one_call(subject: Subject) -> None:
    """Games are taken away, or only their scores change; where no game was added the date stays."""
    deltas = {
        "fewer": Delta(-1, Decimal("-0.5"), ""),
        "same": Delta(0, Decimal(7), ""),
        "later": Delta(0, Decimal(0), DATE),
        "new": Delta(-1, Decimal(-5), ""),
    }
    for player in ("fewer", "same", "later"):
        subject.put_player(player, STORED, mark(5))
    use_statements(subject)
    writes = [
        (insert(player) if player == "new" else follow(player))._replace(delta=delta)
        for player, delta in deltas.items()
    ]
    assert subject.commits.write_rows(writes) == [Done()] * 4
    assert isinstance(STORED.games, Decimal)
    assert isinstance(STORED.total, Decimal)
    assert subject.board() == {
        "fewer": Score(STORED.games - 1, STORED.total - Decimal("0.5"), STORED.date),
        "same": Score(STORED.games, STORED.total + 7, STORED.date),
        "later": Score(STORED.games, STORED.total, DATE),
        "new": Score(Decimal(-1), Decimal(-5), None),
    }
    before = subject.everything()
    assert all(isinstance(reply, RowRefused) for reply in subject.commits.write_rows(writes))
    assert subject.everything() == before


# --- which calls are made ---


def test_as_many_rows_as_a_call_takes(dynamo: DynamoSubject) -> None:
    """Rows that are there, and new ones, in one call and nothing else."""
    players = [f"player-{number}" for number in range(WRITES_PER_CALL)]
    for player in players[::2]:
        dynamo.put_player(player, STORED, mark(5))
    writes = [insert(player) if number % 2 else follow(player) for number, player in enumerate(players)]
    use_statements(dynamo)
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(writes) == [Done()] * WRITES_PER_CALL
    assert made == [CALL]
    assert set(dynamo.marks().values()) == {mark(9)}


def test_more_rows_than_a_call_takes(dynamo: DynamoSubject) -> None:
    """The worker never sends so many: the engine refuses the call, and each is written alone."""
    writes = [insert(f"player-{number}") for number in range(WRITES_PER_CALL + 1)]
    use_statements(dynamo)
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(writes) == [Done()] * len(writes)
    assert made == [CALL, *[UPDATE] * len(writes)]


def a_duplicate(dynamo: DynamoSubject) -> RowWrite:
    dynamo.put_player("foo", STORED, mark(5))
    return insert("foo")


def a_row_that_is_gone(_: DynamoSubject) -> RowWrite:
    return follow("foo")


def a_row_without_a_date(dynamo: DynamoSubject) -> RowWrite:
    dynamo.put_player("foo", STORED._replace(date=None), mark(5))
    return follow("foo")


def a_row_without_numbers(dynamo: DynamoSubject) -> RowWrite:
    """As the mark alone of a player whose records were all poison, with what an operator took out."""
    dynamo.put_player("foo", STORED, mark(5))
    for attribute in ("gamesPlayed", "totalScore"):
        dynamo.delete_attribute("foo", attribute)
    return follow("foo")


@pytest.mark.parametrize(
    ("make", "calls", "reply"),
    [
        (a_duplicate, [UPDATE], RowRefused(StoredRow(mark=mark(5), date="2026-01-30"))),
        (a_row_that_is_gone, [UPDATE, "GetItem"], RowRefused(ABSENT)),
        (a_row_without_a_date, [UPDATE], Done()),
        (a_row_without_numbers, [UPDATE], Done()),
    ],
)
def test_what_a_statement_cannot_say_an_update_does(
    dynamo: DynamoSubject, make: Callable[[DynamoSubject], RowWrite], calls: list[str], reply: object
) -> None:
    """The other writes of the call are done by it."""
    write = make(dynamo)
    dynamo.put_player("other", STORED, mark(5))
    use_statements(dynamo)
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows([write, follow("other"), insert("new")]) == [reply, Done(), Done()]
    assert made == [CALL, *calls]
    assert dynamo.board()["other"] == DONE
    if reply == Done():
        assert dynamo.marks()["foo"] == mark(9)
        assert dynamo.board()["foo"].date == DATE


def test_a_number_that_is_none_does_not_stop_the_others(dynamo: DynamoSubject) -> None:
    """DynamoDB Local refuses the whole call for it."""
    for player in ("foo", "other"):
        dynamo.put_player(player, STORED, mark(5))
    use_statements(dynamo)
    wrong = follow("foo", Delta(1, Decimal("1" * 39), DATE))
    reply, *others = dynamo.commits.write_rows([wrong, follow("other"), insert("new")])
    if not dynamo.has(ROUNDS_SUMS):
        assert isinstance(reply, Refused)
        assert reply.invalid
        assert dynamo.board()["foo"] == STORED
    assert others == [Done(), Done()]
    assert dynamo.board()["other"] == DONE


@pytest.mark.parametrize("total", ["9" * 38, "-0." + "0" * 100 + "1", "9.9E+125", "-1E-130", "0", "100"])
def test_numbers_of_every_size_are_added_as_they_are(dynamo: DynamoSubject, total: str) -> None:
    none = STORED._replace(games=Decimal(0), total=Decimal(0))
    for player in ("a", "b"):
        dynamo.put_player(player, none, mark(5))
    use_statements(dynamo)
    delta = Delta(1, Decimal(total), DATE)
    writes = [follow("a", delta), follow("b", delta), insert("c")._replace(delta=delta)]
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(writes) == [Done()] * 3
    assert made == [CALL]
    rounded = dynamo.has(ROUNDS_SUMS) and len(Decimal(total).as_tuple().digits) > 28
    assert (set(dynamo.board().values()) == {Score(Decimal(1), Decimal(total), DATE)}) is not rounded


NAMES = ["O'Neil", '"', "''", '?"; DELETE FROM "x"', "日本語", "🎲", "\x00", "\\", " ", "x" * 2048]


def test_a_players_name_is_no_part_of_the_statement(dynamo: DynamoSubject) -> None:
    use_statements(dynamo)
    assert dynamo.commits.write_rows([insert(name) for name in NAMES]) == [Done()] * len(NAMES)
    rows = [follow(name)._replace(found=mark(9), mark=mark(10)) for name in NAMES]
    with dynamo.calls() as made:
        assert dynamo.commits.write_rows(rows) == [Done()] * len(NAMES)
    assert made == [CALL]
    assert dynamo.marks() == {name: mark(10) for name in NAMES}


def test_the_row_is_the_same_as_by_an_update(dynamo: DynamoSubject) -> None:
    """Attribute by attribute, on a new row and on one that is followed."""

    def row_of(player: str) -> dict[str, Any]:
        (item,) = (item for item in dynamo.items(dynamo.names.leaderboard) if item["playerId"]["S"] == player)
        return {**item, "playerId": None}

    use_statements(dynamo)
    for write in (insert, follow):
        for player in ("a", "b", "c"):
            if write is follow:
                dynamo.put_player(player, STORED, mark(5))
        dynamo.commits.write_rows([write("a"), write("b")])
        dynamo.write_row(write("c"))
        assert row_of("a") == row_of("b") == row_of("c")
        assert row_of("a")["appliedAt"] == {"N": "1769860809"}
