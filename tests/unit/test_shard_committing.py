import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Committed, Done, Lost, Refused
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.attempt import UNLIMITED_RECORDS
from consumer.worker.calls import Commit, FindChildren, Open, Read
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from tests.builders import ME, OTHER, game, games, ignored, page, row, sequence_number
from tests.talks import Talk, kinds


def reading(tuning: Tuning | None = None) -> Talk:
    talk = Talk(row(owner=ME), tuning)
    talk.answer(Open, "first")
    return talk


def holding(last: int, tuning: Tuning | None = None) -> Talk:
    """A talk whose shard has games 1 to `last` buffered, and the next read under way."""
    talk = reading(tuning)
    talk.answer(Read, page(*games(1, last), then="second"))
    assert talk.wait(talk.tuning.poll_interval_seconds).asks(Read)
    return talk


def test_a_unit_is_committed_and_the_next_begins_where_it_ended() -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    assert (commit.unit.previous, commit.unit.last, commit.later, commit.fills_gap) == (
        TRIM_HORIZON,
        sequence_number(2),
        frozenset(),
        False,
    )
    talk.answer(Read, page(*games(3, 4)))
    assert not talk.asks(Commit), "one commit at a time"
    talk.wait(0.5)
    assert talk.tell(commit, Committed()) == [events.UnitCommitted(talk.lease, commit.unit, 0.5, settled=False)]
    assert talk.machine.checkpoint == sequence_number(2)
    following = talk.call(Commit).unit
    assert (following.previous, following.first, following.last) == tuple(map(sequence_number, (2, 3, 4)))


def test_the_time_of_a_unit_is_the_wall_clocks() -> None:
    talk = holding(1, Tuning(wall_offset_seconds=1e9))
    assert talk.call(Commit).unit.cut_at == talk.now + 1e9


def test_an_open_answer_is_asked_again_with_the_very_same_unit() -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    for attempt in (1, 2, 3):
        told = talk.tell(commit, Trouble(TroubleKind.NETWORK, "no answer"))
        assert told == [
            events.RetryScheduled("Commit", TroubleKind.NETWORK, "no answer", attempt, float(attempt), talk.lease)
        ]
        if attempt == 1:
            talk.answer(Read, page(*games(3, 9)))
        assert not talk.wait(attempt - 0.1).asks(Commit)
        again = talk.wait(0.1).call(Commit)
        assert again == commit
        assert again.unit is commit.unit, "not cut anew, whatever was read in the meantime"
    assert talk.tell(commit, Committed()) == [events.UnitCommitted(talk.lease, commit.unit, 6.0, settled=False)]


def test_our_own_earlier_attempt_that_went_through_settles_the_unit() -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    talk.tell(commit, Trouble(TroubleKind.NETWORK, "no answer"))
    told = talk.wait(1).answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(2))))
    assert told == [events.UnitCommitted(talk.lease, commit.unit, 1.0, settled=True)]
    assert talk.machine.checkpoint == sequence_number(2)
    assert talk.machine.state is State.RUNNING


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(1), sequence_number(9)])
def test_our_row_elsewhere_rewinds(checkpoint: str) -> None:
    talk = holding(2)
    told = talk.answer(Commit, Lost(row(owner=ME, checkpoint=checkpoint)))
    assert told == [events.ShardRewound(talk.lease, checkpoint)]
    talk.answer(Read, page(*games(3, 4)))
    assert talk.call(Open).after == checkpoint
    assert not talk.under_way, "the buffer is thrown away, the late page with it"
    talk.tell(Open(talk.lease, checkpoint), "fresh")
    talk.answer(Read, page(game(50)))
    assert talk.call(Commit).unit.previous == checkpoint


@pytest.mark.parametrize(
    ("owner", "epoch"),
    [(OTHER, 8), (None, 7), (ME, 8), (OTHER, 7)],
    ids=["taken", "released", "later me", "same epoch"],
)
def test_somebody_elses_row_drops_the_shard_quietly(owner: str | None, epoch: int) -> None:
    talk = holding(2)
    commit = talk.call(Commit)
    told = talk.tell(commit, Lost(row(owner=owner, epoch=epoch, checkpoint=commit.unit.last)))
    assert told == [events.LeaseLost(talk.lease, owner)]
    assert talk.machine.state is State.GONE
    assert talk.answer(Read, page(game(3))) == []
    assert talk.wait(1000).look() == []


def test_no_row_halts() -> None:
    talk = holding(2)
    talk.answer(Commit, Committed())
    talk.answer(Read, page(game(3)))
    read = talk.call(Read)
    assert talk.answer(Commit, Lost(None)) == [events.ShardHalted(talk.lease.shard, sequence_number(2))]
    assert talk.machine.state is State.HALTED
    assert talk.tell(read, page(game(4))) == []
    assert talk.wait(1000).look() == []
    talk.machine.drain()
    assert talk.machine.state is State.HALTED


def test_later_dates_are_left_out_of_the_same_unit() -> None:
    talk = holding(1)
    talk.machine._writer.checkpoint = TRIM_HORIZON
    first = talk.call(Commit)
    assert talk.tell(first, Refused(later={"foo": "2026-12-31"})) == []
    second = talk.call(Commit)
    assert second.unit is first.unit
    assert second.later == {"foo"}
    talk.tell(second, Refused(later={"bar": "2026-12-31"}))
    third = talk.call(Commit)
    assert third.later == {"foo", "bar"}
    talk.tell(third, Committed())
    talk.answer(Read, page(game(2), game(3, "new"), game(4, "bar", date="2027-01-01")))
    assert talk.call(Commit).later == {"foo"}, "a later date is stored, and can only grow"


def test_a_date_that_was_written_need_not_be_asked_for_again() -> None:
    talk = reading()
    talk.answer(Read, page(game(1, date="2026-02-02")))
    talk.answer(Commit, Committed())
    for seq, date, later in ((2, "2026-02-01", {"foo"}), (3, "2026-02-02", set()), (4, "2026-02-03", set())):
        talk.answer(Read, page(game(seq, date=date)))
        commit = talk.call(Commit)
        assert commit.later == later
        talk.tell(commit, Committed())


def test_a_date_of_another_shard_of_this_worker_is_known_too() -> None:
    talk = reading()
    talk.common.dates.learn({"foo": "2026-12-31"})
    talk.answer(Read, page(game(1)))
    assert talk.call(Commit).later == {"foo"}


def conflict(talk: Talk) -> int:
    """A conflict; how many records the next attempt has."""
    (told,) = talk.answer(Commit, Refused(conflict=True))
    assert isinstance(told, events.RetryScheduled)
    assert told.kind is TroubleKind.CONFLICT
    assert not talk.asks(Commit)
    talk.wait(told.delay_seconds)
    commit = talk.call(Commit)
    talk.under_way.append(commit)
    assert (commit.unit.previous, commit.unit.first) == (TRIM_HORIZON, sequence_number(1))
    return commit.unit.records


def test_repeated_conflicts_halve_the_unit_from_its_end() -> None:
    talk = holding(9)
    assert [conflict(talk) for _ in range(11)] == [9, 9, 4, 4, 4, 2, 2, 2, 1, 1, 1]


def test_a_halved_unit_grows_again_with_each_success() -> None:
    talk = holding(16)
    assert [conflict(talk) for _ in range(9)][-1] == 2
    sizes = []
    for _ in range(4):
        commit = talk.call(Commit)
        sizes.append(commit.unit.records)
        talk.tell(commit, Committed())
    assert sizes == [2, 4, 8, 2], "the last two are the rest"


def test_a_unit_that_has_grown_back_is_not_limited_any_more() -> None:
    talk = reading()
    talk.answer(Read, page(*games(1, 2 * UNLIMITED_RECORDS - 2)))
    for _ in range(3):
        conflict(talk)
    sizes = []
    for batch in range(3):
        commit = talk.call(Commit)
        sizes.append(commit.unit.records)
        talk.answer(Read, page(*games((batch + 2) * 100_000, (batch + 2) * 100_000 + 20_000)))
        talk.tell(commit, Committed())
    assert sizes[0] == UNLIMITED_RECORDS - 1
    assert talk.call(Commit).unit.records > UNLIMITED_RECORDS


def test_a_conflict_counts_in_a_row_only() -> None:
    talk = holding(4)
    conflict(talk)
    conflict(talk)
    talk.answer(Commit, Committed())
    talk.answer(Read, page(*games(5, 8)))
    talk.answer(Commit, Refused(conflict=True))
    assert talk.wait(5).call(Commit).unit.records == 4


def test_records_wait_for_the_batch_window() -> None:
    talk = holding(1, Tuning(batch_window_seconds=2.0))
    talk.wait(1.3).answer(Read, page(game(2)))
    assert not talk.wait(0.4).asks(Commit)
    assert talk.wait(0.1).call(Commit).unit.records == 2, "counted from the oldest"


@pytest.mark.parametrize("why", ["lookahead", "end"])
def test_the_batch_window_is_cut_short(why: str) -> None:
    talk = reading(Tuning(batch_window_seconds=60.0, lookahead_bytes=1000))
    talk.answer(Read, page(game(1), size_bytes=1000) if why == "lookahead" else page(game(1), then=None))
    assert talk.asks(Commit)


def test_ignored_records_alone_move_the_checkpoint_but_not_once_a_page() -> None:
    talk = reading(Tuning(ignored_window_seconds=5.0))
    for seq in range(1, 11):
        talk.answer(Read, page(ignored(seq)))
        assert not talk.wait(0.25).asks(Commit)
    unit = talk.wait(2.5).call(Commit).unit
    assert (unit.records, unit.last) == (10, sequence_number(10))


def test_a_game_among_ignored_records_ends_their_waiting() -> None:
    talk = reading(Tuning(ignored_window_seconds=5.0))
    talk.answer(Read, page(ignored(1)))
    assert not talk.asks(Commit)
    talk.answer(Read, page(ignored(2), game(3)))
    assert talk.call(Commit).unit.records == 3


def test_nothing_is_committed_or_ended_while_no_beat_vouches() -> None:
    talk = reading()
    talk.vouched = False
    talk.answer(Read, page(game(1)))
    assert kinds(talk.wait(1).look()) == ["Read"]
    assert talk.machine.wake_at(vouched=False) == float("inf")
    talk.vouched = True
    talk.answer(Commit, Committed())
    talk.vouched = False
    talk.answer(Read, page(then=None))
    assert not talk.asks(FindChildren)
    talk.vouched = True
    assert talk.asks(FindChildren)


def test_an_answer_that_is_none_is_a_defect() -> None:
    talk = holding(1)
    with pytest.raises(AssertionError, match="Done is no answer to Commit"):
        talk.answer(Commit, Done())
