"""Reading goes on while a unit commits, and a backlog is folded into as few units as a transaction's size allows."""

from consumer.domain.fold import MAX_ACTIONS
from consumer.domain.replies import Committed, Lost
from consumer.worker.shard_calls import Commit, Read
from consumer.worker.tuning import Tuning
from tests.support.builders import OTHER, game, games, ignored, page, row, sequence_number
from tests.support.drivers import opened_shard

MOST_PLAYERS = MAX_ACTIONS - 2  # besides the lease's row and a gap's


def test_what_was_read_while_a_unit_committed_is_one_unit_over_all_its_pages() -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1), then="p2"))
    first = driver.call(Commit)
    for seq in (2, 4, 6):
        driver.answer(Read, page(*games(seq, seq + 1), then=f"p{seq}"))
        assert not driver.has_call(Commit), "one unit at a time"
    driver.deliver(first, Committed())
    second = driver.call(Commit).unit
    assert (second.previous, second.first, second.last) == tuple(map(sequence_number, (1, 2, 7)))
    assert second.deltas["foo"].games == 6, "a hot player costs one write per unit, however many pages there are"


def test_a_backlog_is_cut_only_where_a_transaction_is_full() -> None:
    driver = opened_shard()
    driver.answer(Read, page(game(1), then="p1"))
    first = driver.call(Commit)
    for at in range(2, 302, 10):
        driver.answer(Read, page(*(game(seq, f"player-{seq}") for seq in range(at, at + 10)), then=f"p{at}"))
    driver.deliver(first, Committed())
    sizes = []
    while driver.has_call(Commit):
        commit = driver.call(Commit)
        sizes.append(len(commit.unit.deltas))
        driver.deliver(commit, Committed())
    assert sizes == [MOST_PLAYERS, MOST_PLAYERS, MOST_PLAYERS, 300 - 3 * MOST_PLAYERS]


def test_a_lost_lease_drops_what_was_read_ahead_and_gives_its_bytes_back() -> None:
    driver = opened_shard(Tuning(total_lookahead_bytes=1000))
    driver.answer(Read, page(game(1), then="p1", size_bytes=600))
    commit = driver.call(Commit)
    driver.answer(Read, page(game(2), then="p2", size_bytes=600))
    assert driver.budget.spent
    driver.deliver(commit, Lost(row(owner=OTHER, epoch=8)))
    assert not driver.wait(100).start_due(), "nothing more is read or committed"
    driver.machine.close()
    assert not driver.budget.spent


def test_no_more_pages_are_read_while_there_is_plenty_to_commit() -> None:
    """A page would only wait in the buffer, and an empty one costs as much to request as a full one."""
    driver = opened_shard(Tuning(lookahead_records=5))
    driver.answer(Read, page(*games(1, 4), then="p1"))
    commit = driver.call(Commit)
    driver.answer(Read, page(*games(5, 6), then="p2"))
    assert not driver.wait(100).has_call(Read)
    driver.deliver(commit, Committed())
    assert driver.has_call(Read), "four records are committed"


def test_ignored_records_do_not_stop_the_reading() -> None:
    driver = opened_shard(Tuning(lookahead_records=2, ignored_window_seconds=5.0))
    for seq in range(1, 5):
        driver.answer(Read, page(ignored(seq), then=f"p{seq}"))
    assert driver.wait(0.2).has_call(Read)
    assert not driver.has_call(Commit)
