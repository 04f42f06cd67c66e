import pytest

from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind
from consumer.domain.outcomes import Children, Committed, Lost
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import PAGE_RECORDS, Commit, EndShard, FindChildren, Open, Read, Reply
from consumer.worker.reader import SCANT_RECORDS, SURE_PAGES
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from tests.builders import CREATED, ME, game, games, page, row, sequence_number
from tests.talks import Talk, opened


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_it_opens_at_the_checkpoint_and_reads_from_there(checkpoint: str) -> None:
    talk = Talk(row(owner=ME, checkpoint=checkpoint))
    assert talk.call(Open) == Open(talk.lease, checkpoint)
    assert not talk.asks(Open), "one read at a time"
    talk.tell(Open(talk.lease, checkpoint), "first")
    assert talk.call(Read) == Read(talk.lease, "first", checkpoint, None)
    assert not talk.asks(Commit)


def test_a_shard_is_read_at_most_once_a_poll_interval_counted_from_read_to_read() -> None:
    talk = opened(Tuning(poll_interval_seconds=0.25))
    read = talk.call(Read)
    talk.wait(0.125).tell(read, page(game(1), then="second"))
    assert not talk.asks(Read)
    assert talk.wait(0.125).call(Read) == Read(talk.lease, "second", sequence_number(1), None)
    told = talk.wait(0.5).tell(Read(talk.lease, "second", sequence_number(1), None), page(then="third"))
    assert told == [events.CaughtUp(talk.lease)]
    assert talk.call(Read).iterator == "third", "the answer took longer than the interval"


def test_a_shard_that_has_been_idle_for_long_is_polled_rarely_until_its_first_record() -> None:
    talk = opened(Tuning(poll_interval_seconds=0.25, idle_poll_interval_seconds=1.0, idle_after_seconds=30.0))
    for _ in range(121):  # 30 s after the first empty page
        talk.answer(Read, page())
    assert not talk.wait(0.75).asks(Read)
    talk.wait(0.25)
    talk.answer(Read, page())
    talk.wait(1.0)
    talk.answer(Read, page(game(1)))
    assert talk.wait(0.25).asks(Read), "fast again"
    talk.answer(Read, page())
    assert talk.wait(0.25).asks(Read), "idle is counted anew"


def test_an_empty_page_tells_of_the_moment_it_was_asked_for_not_of_when_it_came() -> None:
    """Meanwhile records may have come, which the children of this shard are told to be younger than."""
    talk = opened(Tuning(poll_interval_seconds=1.0, idle_after_seconds=0.0, wall_offset_seconds=CREATED))
    asked_at = talk.now
    read = talk.call(Read)
    talk.wait(20.0).tell(read, page())
    for _ in range(SURE_PAGES - 1):
        talk.answer(Read, page())
        talk.wait(1.0)
    talk.answer(Read, page(then=None))
    talk.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in talk.call(EndShard).rows] == [CREATED + asked_at]


def test_after_many_empty_pages_the_newest_tell_nothing_yet() -> None:
    """Records may have come before them, and pages be empty all the same."""
    talk = opened(Tuning(poll_interval_seconds=1.0, idle_after_seconds=0.0, wall_offset_seconds=CREATED))
    asked_at = talk.now
    for _ in range(SURE_PAGES + 3):
        talk.answer(Read, page())
        talk.wait(1.0)
    talk.answer(Read, page(then=None))
    talk.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in talk.call(EndShard).rows] == [CREATED + asked_at + 3.0]


def test_a_few_empty_pages_tell_nothing_of_what_may_have_come_before_them() -> None:
    """The shard may be closed for long, its last records behind them, and its children's older than the pages."""
    talk = opened(Tuning(poll_interval_seconds=1.0, idle_after_seconds=0.0, wall_offset_seconds=CREATED))
    for _ in range(SURE_PAGES - 1):
        talk.answer(Read, page())
        talk.wait(1.0)
    talk.answer(Read, page(then=None))
    talk.answer(FindChildren, Children(("shard-2",), leaf=False, served_at=CREATED))
    assert [child.created for child in talk.call(EndShard).rows] == [None]


def test_an_idle_poll_interval_that_is_shorter_than_the_ordinary_one_changes_nothing() -> None:
    talk = opened(Tuning(poll_interval_seconds=2.0, idle_poll_interval_seconds=1.0, idle_after_seconds=0.0))
    talk.answer(Read, page())
    assert not talk.wait(1.9).asks(Read)


def test_shards_share_the_room_for_reading_ahead() -> None:
    talk = opened(Tuning(lookahead_bytes=1000, total_lookahead_bytes=500))
    talk.answer(Read, page(game(1), size_bytes=200))
    assert talk.call(Read).limit == PAGE_RECORDS
    talk.common.allowance.take(600)  # by others
    talk.tell(Read(talk.lease, "next", sequence_number(1), None), page(game(2), size_bytes=100))
    for _ in range(2):
        assert not talk.wait(1).asks(Read), "this shard has something to commit"
        talk.answer(Commit, Committed())
    assert talk.call(Read).limit == SCANT_RECORDS, "with nothing read it may go on, in small pages"


def test_it_reads_ahead_while_a_commit_is_under_way_up_to_a_bound_in_bytes() -> None:
    talk = opened(Tuning(lookahead_bytes=250))
    for seq in (1, 2, 3):
        talk.answer(Read, page(game(seq), then=f"after {seq}", size_bytes=100))
    commit = talk.call(Commit)
    assert not talk.asks(Read), "300 bytes are not committed"
    assert not talk.wait(1000).asks(Read)
    talk.tell(commit, Committed())
    assert talk.asks(Read), "the first page is gone from the buffer"


def test_an_expired_iterator_is_opened_anew_behind_what_is_buffered() -> None:
    talk = opened()
    talk.answer(Read, page(*games(1, 3)))
    assert talk.answer(Read, IteratorExpired()) == []
    assert talk.answer(Open, "fresh") == []
    assert talk.call(Read) == Read(talk.lease, "fresh", sequence_number(3), None)
    assert talk.call(Commit).unit.records == 3, "nothing was thrown away"


def test_an_iterator_that_expires_on_empty_pages_is_opened_where_it_was() -> None:
    talk = opened(checkpoint=sequence_number(7))
    talk.answer(Read, page())
    talk.wait(1).answer(Read, IteratorExpired())
    assert talk.call(Open).after == sequence_number(7)


def test_trouble_is_asked_again_after_the_back_off_and_forgotten_after_a_success() -> None:
    talk = opened()
    read = talk.call(Read)
    for attempt in (1, 2, 3):
        told = talk.tell(read, Trouble(TroubleKind.THROTTLED, "busy"))
        assert told == [
            events.RetryScheduled("Read", TroubleKind.THROTTLED, "busy", attempt, float(attempt), talk.lease)
        ]
        assert not talk.wait(attempt - 0.1).asks(Read)
        assert talk.wait(0.1).call(Read) == read, "the same question"
    talk.tell(read, page(then="second"))
    talk.wait(1)
    assert talk.answer(Read, Trouble(TroubleKind.NETWORK, "down")) == [
        events.RetryScheduled("Read", TroubleKind.NETWORK, "down", 1, 1.0, talk.lease)
    ]


LATE: list[Reply] = [page(*games(2, 3)), DataTrimmed(), IteratorExpired(), page(then=None)]


@pytest.mark.parametrize("late", LATE, ids=["page", "trimmed", "expired", "end"])
def test_a_late_answer_to_a_read_of_before_a_rewind_is_dropped(late: Reply) -> None:
    talk = opened()
    talk.answer(Read, page(game(1), then="second"))
    old = talk.call(Read)
    talk.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert not talk.asks(Open), "one read at a time"
    assert talk.tell(old, late) == []
    assert talk.call(Open).after == sequence_number(40)
    assert not talk.under_way, "nothing of it is in the buffer"


@pytest.mark.parametrize("late", ["iterator", DataTrimmed()], ids=["iterator", "trimmed"])
def test_a_late_answer_to_an_open_of_before_a_rewind_is_dropped(late: Reply) -> None:
    talk = opened()
    talk.answer(Read, page(game(1), then="second"))
    talk.answer(Read, IteratorExpired())
    old = talk.call(Open)
    talk.answer(Commit, Lost(row(owner=ME, checkpoint=sequence_number(40))))
    assert talk.tell(old, late) == []
    assert talk.call(Open).after == sequence_number(40)


def test_the_last_page_may_hold_records() -> None:
    talk = opened()
    talk.answer(Read, page(*games(1, 2), then=None))
    commit = talk.call(Commit)
    assert not talk.wait(100).asks(Read), "the shard has no more"
    assert not talk.asks(FindChildren), "its records come first"
    talk.tell(commit, Committed())
    assert talk.asks(FindChildren)
    assert talk.machine.state is State.ENDING


@pytest.mark.parametrize(
    ("call", "reply"),
    [(Open, page()), (Read, "iterator"), (Read, True), (Open, Committed()), (Read, Lost(None))],
)
def test_an_answer_that_is_none_is_a_defect(call: type[Open | Read], reply: Reply) -> None:
    talk = opened() if call is Read else Talk()
    with pytest.raises(AssertionError, match="is no answer to"):
        talk.answer(call, reply)


def test_the_lag_is_the_age_of_the_oldest_record_known_and_not_committed() -> None:
    talk = Talk(row(owner=ME))
    assert talk.machine.lag_seconds(1e10) is None, "not known yet"
    talk = Talk(row(owner=ME, created=CREATED - 100.0))
    assert talk.machine.lag_seconds(CREATED) == 100.0
    talk.answer(Open, "first")
    talk.answer(Read, page(*games(1, 2)))
    oldest = game(1).created
    assert talk.machine.lag_seconds(oldest + 50.0) == 50.0
    assert talk.machine.lag_seconds(oldest - 1.0) == 0.0
    talk.answer(Commit, Committed())
    assert talk.machine.lag_seconds(oldest + 51.0) == 50.0, "what is after the last one is not known"
    talk.answer(Read, page())
    assert talk.machine.lag_seconds(oldest + 51.0) == 50.0, "one empty page proves little"
    talk.wait(1).answer(Read, page())
    assert talk.machine.lag_seconds(oldest + 51.0) == 0.0


def test_after_a_rewind_the_shard_is_not_taken_for_caught_up() -> None:
    talk = opened()
    talk.answer(Read, page(game(1)))
    commit = talk.call(Commit)
    for _ in range(2):
        talk.answer(Read, page())
        talk.wait(1)
    talk.tell(commit, Lost(row(owner=ME, checkpoint=sequence_number(0), created=1e9)))
    assert talk.machine.lag_seconds(2e9) == 1e9
