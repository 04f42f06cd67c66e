"""What a worker remembers of rows and of shards: within a bound, and never less than the newest that it saw."""

import pytest

from consumer.domain.leases import Ledger
from consumer.domain.marks import ABSENT, Lineage, Mark, StoredRow
from consumer.worker import known_rows
from consumer.worker.known_rows import KnownRows
from tests.support.builders import CREATED, finished, row, shard

ROW = StoredRow(mark=Mark("me", "5", CREATED), date="2026-01-31")
ME, CHILD, OTHER = str(shard(0)), str(shard(1)), str(shard(7))


def test_it_does_not_grow_beyond_its_bound() -> None:
    known = KnownRows(1_000)
    for player in range(10_000):
        known.learn({f"player-{player}": ROW})
        assert len(known) <= 1_000
    known.learn({f"many-{player}": ROW for player in range(5_000)})
    assert len(known) == 1_000


def test_the_longest_unused_row_is_forgotten() -> None:
    known = KnownRows(3)
    for player in "abc":
        known.learn({player: ROW})
    assert known.get("a") == ROW
    known.learn({"b": ABSENT})
    known.learn({"d": ROW})
    assert (known.get("a"), known.get("b"), known.get("c"), known.get("d")) == (ROW, ABSENT, None, ROW)


def test_a_forgotten_row_is_not_known() -> None:
    known = KnownRows(3)
    known.learn({"a": ROW})
    known.forget("a")
    known.forget("b")
    assert known.get("a") is None


def test_a_date_only_grows() -> None:
    known = KnownRows(3)
    known.learn({"a": ROW})
    known.learn_date("a", "2026-01-30")
    assert known.get("a") == ROW
    known.learn_date("a", "2026-02-01")
    assert known.get("a") == ROW._replace(date="2026-02-01")
    known.learn_date("b", "2026-02-01")
    assert known.get("b") == StoredRow(date="2026-02-01")


def test_a_new_shard_is_known_until_the_ledger_shows_it() -> None:
    known = KnownRows(3)
    known.take_ledger(Ledger((row(0),), ()))
    known.own(row(1, parent=0))
    assert known.lineage.descends(CHILD, ME)
    known.take_ledger(Ledger((row(0),), ()))
    assert known.lineage.descends(CHILD, ME), "the ledger was read before the child's row was there"
    known.take_ledger(Ledger((finished(0, 1), row(1, parent=0)), ()))
    assert known.lineage.descends(CHILD, ME)
    known.take_ledger(Ledger((row(0),), ()))
    assert not known.lineage.knows(CHILD), "the ledger had shown it: now it is the ledger's word alone"


def test_a_look_up_that_was_older_than_a_new_shard_does_not_forget_it() -> None:
    known = KnownRows(3)
    known.take_ledger(Ledger((row(0),), ()))
    known.own(row(1, parent=0))
    known.looked_up(OTHER, Lineage({ME: None}))
    assert known.lineage.descends(CHILD, ME)
    assert known.lineage.gone == {OTHER}


def test_a_gone_shard_is_known_on_when_the_ledger_is_read() -> None:
    """It is not looked up again every half minute. What only a listing showed is: it may not show it any more."""
    known = KnownRows(3)
    known.looked_up(OTHER, Lineage({ME: None, OTHER: "its parent"}))
    known.looked_up("gone", Lineage({ME: None, OTHER: "its parent"}))
    known.take_ledger(Ledger((row(0),), ()))
    assert not known.lineage.knows(OTHER)
    assert known.lineage.gone == {"gone"}


def test_only_what_was_looked_up_is_gone() -> None:
    known = KnownRows(3)
    known.looked_up(OTHER, Lineage({OTHER: None}))
    assert not known.lineage.gone


def test_few_gone_shards_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_rows, "MOST_GONE_SHARDS", 3)
    known = KnownRows(3)
    for number in range(4):
        known.looked_up(f"gone-{number}", Lineage())
    assert known.lineage.gone == {"gone-3"}


def test_with_a_row_that_is_to_be_read_again_its_shard_is_looked_up_again() -> None:
    known = KnownRows(3)
    known.looked_up("me", Lineage())
    known.looked_up(OTHER, Lineage())
    known.learn({"a": ROW})
    known.forget("a")
    assert known.lineage.gone == {OTHER}
