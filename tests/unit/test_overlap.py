"""Reading goes on while a unit commits, and a backlog is folded into as few units as a transaction's size allows."""

from consumer.domain.leaderboard import MAX_ACTIONS
from consumer.domain.outcomes import Committed, Lost
from consumer.worker.calls import Commit, Read
from consumer.worker.tuning import Tuning
from tests.builders import OTHER, game, games, ignored, page, row, sequence_number
from tests.talks import opened

MOST_PLAYERS = MAX_ACTIONS - 2  # besides the lease's row and a gap's


def test_what_was_read_while_a_unit_committed_is_one_unit_over_all_its_pages() -> None:
    talk = opened()
    talk.answer(Read, page(game(1), then="p2"))
    first = talk.call(Commit)
    for seq in (2, 4, 6):
        talk.answer(Read, page(*games(seq, seq + 1), then=f"p{seq}"))
        assert not talk.asks(Commit), "one unit at a time"
    talk.tell(first, Committed())
    second = talk.call(Commit).unit
    assert (second.previous, second.first, second.last) == tuple(map(sequence_number, (1, 2, 7)))
    assert second.deltas["foo"].games == 6, "a hot player costs one write a unit, however many pages there are"


def test_a_backlog_is_cut_only_where_a_transaction_is_full() -> None:
    talk = opened()
    talk.answer(Read, page(game(1), then="p1"))
    first = talk.call(Commit)
    for at in range(2, 302, 10):
        talk.answer(Read, page(*(game(seq, f"player-{seq}") for seq in range(at, at + 10)), then=f"p{at}"))
    talk.tell(first, Committed())
    sizes = []
    while talk.asks(Commit):
        commit = talk.call(Commit)
        sizes.append(len(commit.unit.deltas))
        talk.tell(commit, Committed())
    assert sizes == [MOST_PLAYERS, MOST_PLAYERS, MOST_PLAYERS, 300 - 3 * MOST_PLAYERS]


def test_a_lost_lease_throws_the_look_ahead_away_and_gives_its_room_back() -> None:
    talk = opened(Tuning(total_lookahead_bytes=1000))
    talk.answer(Read, page(game(1), then="p1", size_bytes=600))
    commit = talk.call(Commit)
    talk.answer(Read, page(game(2), then="p2", size_bytes=600))
    assert talk.common.allowance.spent
    talk.tell(commit, Lost(row(owner=OTHER, epoch=8)))
    assert not talk.wait(100).look(), "nothing more is read or committed"
    talk.machine.close()
    assert not talk.common.allowance.spent


def test_no_page_more_is_read_while_there_is_plenty_to_commit() -> None:
    """It would only lie about, and an empty one costs as much to ask for as a full one."""
    talk = opened(Tuning(lookahead_records=5))
    talk.answer(Read, page(*games(1, 4), then="p1"))
    commit = talk.call(Commit)
    talk.answer(Read, page(*games(5, 6), then="p2"))
    assert not talk.wait(100).asks(Read)
    talk.tell(commit, Committed())
    assert talk.asks(Read), "four are gone"


def test_ignored_records_are_read_on_as_long_as_there_is_room() -> None:
    talk = opened(Tuning(lookahead_records=2, ignored_window_seconds=5.0))
    for seq in range(1, 5):
        talk.answer(Read, page(ignored(seq), then=f"p{seq}"))
    assert talk.wait(0.2).asks(Read)
    assert not talk.asks(Commit)
