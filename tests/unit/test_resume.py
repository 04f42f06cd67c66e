"""Resume: what waits in a shard, up to its newest record, and which shards it is for."""

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.breaker import Circuit, HaltReason, Symptom
from consumer.domain.errors import CallFailed, ConsumerError, FailureKind, IteratorExpired, NotFound, UnsafeRefused
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, Shard, StreamStart, TableBinding
from consumer.domain.marks import ABSENT, Mark, StoredRow
from consumer.domain.operator_ports import AcceptedMark
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import Lost, RowRefused
from consumer.operations.resume import (
    Resumed,
    changed_concurrently,
    choose_halted,
    find_halted,
    mark_to_accept,
    refuse_other_board,
    require_unknown_mark,
    resume,
    row_changed,
    sentences_on,
)
from consumer.operations.steps import Command, OperatorCall, Step
from consumer.operations.waiting import Waiting
from tests.support.builders import ARN, CREATED, SYMPTOM, finished, row, sequence_number, shard, wire
from tests.support.commands import finish, make_twice
from tests.support.fakes import FakeQuarantine, FakeStreams, FakeTables
from tests.support.fakes.tables import Score

IMAGE = {"score": {"S": "12"}}


class HaltedShard:
    """A halted shard of a stream on fakes."""

    def __init__(self, *off: str) -> None:
        self.now = CREATED
        self.streams = FakeStreams(lambda: self.now, ARN, page_records=3)
        self.streams.add_shard("shard-0")
        self.tables = FakeTables(off=off)
        self.quarantine = FakeQuarantine(self.tables)
        self.calls: list[OperatorCall] = []

    def halt(self, checkpoint: str) -> LeaseRow:
        self.row = replace(row(checkpoint=checkpoint), circuit=Circuit(recent=7, halted_at=CREATED))
        self.tables.rows[self.row.shard] = self.row
        return self.row

    def resume(self, free_to: str | None = None) -> Command[Resumed | Lost | RowRefused]:
        return resume(self.row, self.quarantine, "me", CREATED, "mine", free_to=free_to)

    def wait(self) -> Waiting:
        return Waiting(self.row, Rules())

    def make(self, step: Step) -> object:
        self.calls.append(step.call)
        return step.effect()

    def read(self, make: Callable[[Step], object] | None = None) -> Waiting:
        """What waits in it, read to the end."""
        waiting = self.wait()
        finish(waiting.read_on(self.streams), make or self.make)
        return waiting

    @property
    def circuit(self) -> Circuit:
        return self.tables.rows[self.row.shard].circuit


@pytest.fixture
def halted() -> HaltedShard:
    return HaltedShard()


def test_everything_that_the_shard_holds_passes(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(8)]
    halted.halt(numbers[1])
    waiting = halted.read()
    assert (waiting.read, waiting.newest, waiting.whole) == (6, numbers[-1], True)
    done = finish(halted.resume(waiting.newest), halted.make)
    assert done == Resumed(halted.row.shard, numbers[1], numbers[-1])
    assert halted.circuit == Circuit(free_to=numbers[-1], resumes=1)
    (audit_entry,) = halted.quarantine.audit
    assert audit_entry.detail == {"outcome": "resumed", "checkpoint": numbers[1], "freeTo": numbers[-1]}
    assert halted.tables.changes == 1


@pytest.mark.parametrize(("corrections", "good"), [(Corrections.IGNORE, 1), (Corrections.APPLY, 2)])
def test_a_change_of_an_item_is_good_where_corrections_count(
    halted: HaltedShard, corrections: Corrections, good: int
) -> None:
    image = wire()["dynamodb"]["NewImage"]
    for event in ("INSERT", "MODIFY"):
        halted.streams.write("shard-0", image, event)
    records = halted.streams.shards["shard-0"].records
    change = {**records[-1]["dynamodb"], "Keys": {"gameId": {"S": "g1"}}, "OldImage": image}
    records[-1] = {**records[-1], "dynamodb": change}
    waiting = Waiting(halted.halt(TRIM_HORIZON), Rules(corrections=corrections))
    finish(waiting.read_on(halted.streams))
    assert (waiting.good, waiting.poison.total()) == (good, 0)


def test_records_created_later_do_not_pass(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(4)]
    halted.halt(TRIM_HORIZON)

    def make(step: Step) -> object:
        reply = halted.make(step)
        if len(halted.calls) == 1:
            halted.now += 2
        halted.streams.write("shard-0", IMAGE)
        return reply

    waiting = halted.read(make)
    assert waiting.whole
    assert waiting.newest is not None
    assert int(numbers[-1]) <= int(waiting.newest) <= int(numbers[-1]) + 1


def test_it_reads_to_the_end_of_a_closed_shard(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(3)]
    halted.streams.close("shard-0")
    halted.halt(TRIM_HORIZON)
    assert halted.read().newest == numbers[-1]
    assert halted.calls.count(OperatorCall.GET_RECORDS) == 1


def test_a_shard_without_new_records(halted: HaltedShard) -> None:
    last = halted.streams.write("shard-0", IMAGE)
    halted.halt(last)
    waiting = halted.read()
    assert (waiting.read, waiting.newest, waiting.whole) == (0, None, True)
    assert finish(halted.resume(waiting.newest)) == Resumed(halted.row.shard, last)
    assert halted.circuit == Circuit(resumes=1)


def test_a_trimmed_checkpoint_and_an_old_iterator(halted: HaltedShard) -> None:
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(9)]
    halted.streams.trim("shard-0", 4)
    halted.halt(numbers[0])

    def make(step: Step) -> object:
        reply = halted.make(step)
        if step.call is OperatorCall.GET_RECORDS and halted.calls.count(OperatorCall.GET_RECORDS) == 1:
            raise IteratorExpired
        return reply

    waiting = halted.read(make)
    assert (waiting.newest, waiting.read, waiting.trimmed) == (numbers[-1], 5, True)
    assert halted.calls.count(OperatorCall.GET_SHARD_ITERATOR) == 3, "at the checkpoint, the horizon, and again"


def test_what_waits_is_counted_by_reason_with_the_first_of_each_as_an_example(halted: HaltedShard) -> None:
    good = {"playerId": {"S": "ada"}, "score": {"N": "1"}, "timestamp": {"S": "2026-01-31"}}
    images = [
        good,
        good | {"score": {"S": "12.5"}},
        good | {"score": {"S": "many"}},
        {name: value for name, value in good.items() if name != "score"},
        good | {"timestamp": {"S": "x" * 99}},
    ]
    numbers = [halted.streams.write("shard-0", image) for image in images]
    halted.streams.write("shard-0", good, event="MODIFY")
    halted.halt(TRIM_HORIZON)
    waiting = halted.read()
    assert (waiting.read, waiting.good, waiting.ignored) == (6, 1, 1)
    assert waiting.poison == {"score_type": 2, "score_missing": 1, "timestamp_invalid": 1}
    assert waiting.examples["score_type"] == (numbers[1], 'score is {"S": "12.5"}')
    assert waiting.examples["score_missing"][1].startswith("the record has no score: it has playerId, timestamp")
    assert waiting.examples["timestamp_invalid"][1] == 'timestamp is {"S": "' + "x" * 50 + "..."


def test_a_preview_is_bounded_and_the_rest_is_read_later(halted: HaltedShard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is created after the preview began belongs to neither."""
    monkeypatch.setattr("consumer.operations.waiting.PREVIEW_RECORDS", 4)
    numbers = [halted.streams.write("shard-0", IMAGE) for _ in range(9)]
    halted.halt(TRIM_HORIZON)
    waiting, pages = halted.wait(), list[int]()
    finish(waiting.preview(halted.streams, pages.append, must_read=True), halted.make)
    assert (waiting.read, waiting.whole, waiting.newest, pages) == (6, False, numbers[5], [3, 3])
    halted.now += 2
    halted.streams.write("shard-0", IMAGE)
    finish(waiting.read_on(halted.streams), halted.make)
    assert (waiting.read, waiting.whole, waiting.newest) == (9, True, numbers[-1])
    assert halted.calls.count(OperatorCall.READ_CLOCK) == 1
    finish(waiting.read_on(halted.streams), halted.make)
    assert waiting.read == 9


def test_a_stream_that_cannot_be_read_is_unknown_and_refuses_only_to_let_all_pass(halted: HaltedShard) -> None:
    halted.halt(TRIM_HORIZON)

    def make(_step: Step) -> object:
        raise CallFailed(FailureKind.MISSING, "the stream is gone")

    waiting = halted.wait()
    finish(waiting.preview(halted.streams, print, must_read=False), make)
    assert waiting.unknown == "the stream is gone"
    assert not waiting.whole
    with pytest.raises(CallFailed):
        finish(halted.wait().preview(halted.streams, print, must_read=True), make)


def test_after_an_unknown_outcome_the_same_call_is_made(halted: HaltedShard) -> None:
    halted.halt(TRIM_HORIZON)
    done = finish(halted.resume(), make_twice)
    assert isinstance(done, Resumed)
    assert halted.circuit.resumes == 1


def test_a_later_halt_stays(halted: HaltedShard) -> None:
    halted.halt(TRIM_HORIZON)
    again = Circuit(halted_at=CREATED + 9, resumes=1)
    halted.tables.rows[halted.row.shard] = replace(halted.row, circuit=again)
    lost = finish(halted.resume())
    assert isinstance(lost, Lost)
    assert re.search("changed concurrently: .* it was resumed 1 times by now", str(changed_concurrently(shard(), lost)))
    assert halted.circuit == again


def test_without_the_guard_of_resumes_it_would_be_closed() -> None:
    halted = HaltedShard("resume_unresumed", "resume_halted")
    halted.halt(TRIM_HORIZON)
    halted.tables.rows[halted.row.shard] = replace(halted.row, circuit=Circuit(halted_at=CREATED + 9, resumes=1))
    finish(halted.resume())
    assert halted.circuit.halted_at is None


# --- which shard ---

HALTED = replace(row(2), circuit=Circuit(halted_at=CREATED))
LEDGER = Ledger((row(1), HALTED, finished(3, 4)), (StreamStart(ARN, None, ("shard-1", "shard-5"), complete=True),))


def test_a_halted_shard_by_id_or_with_its_label() -> None:
    assert find_halted(LEDGER, "shard-2") is HALTED
    assert find_halted(LEDGER, str(HALTED.shard)) is HALTED


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shard-1", "is not halted: nothing to resume"),
        ("shard-3", "is finished: nothing to resume"),
        ("shard-4", "has no row in the lease table"),
        ("shard-5", "next: `consumer checkpoint set .*/shard-5 POSITION`"),
    ],
)
def test_a_shard_that_is_not_halted(name: str, sentence: str) -> None:
    with pytest.raises(UnsafeRefused, match=sentence):
        find_halted(LEDGER, name)


def test_an_unknown_shard() -> None:
    with pytest.raises(NotFound, match="there is no shard 'shard-9': the nearest ones are shard-"):
        find_halted(LEDGER, "shard-9")
    with pytest.raises(NotFound, match="no worker has run with it"):
        find_halted(Ledger((), ()), "shard-9")
    two = Ledger((HALTED, replace(HALTED, shard=Shard(ARN + "9", "shard-2"))), ())
    with pytest.raises(NotFound, match="'shard-2' is a shard of 2 streams: name "):
        find_halted(two, "shard-2")


def test_several_shards_by_name_each_once() -> None:
    other = replace(row(6), circuit=Circuit(halted_at=CREATED))
    ledger = replace(LEDGER, rows=(*LEDGER.rows, other))
    names = ("shard-6", str(HALTED.shard), "shard-2")
    assert choose_halted(ledger, names, quarantine_all=True) == ([other, HALTED], [])
    with pytest.raises(UnsafeRefused, match="is not halted"):
        choose_halted(ledger, ("shard-2", "shard-1"), quarantine_all=False)


def test_all_shards_that_are_halted_and_what_is_left_alone() -> None:
    ledger = replace(LEDGER, rows=(FOR_A_MARK, row(1), replace(HALTED, shard=shard(6))))
    chosen, left = choose_halted(ledger, (), quarantine_all=False)
    assert [each.shard for each in chosen] == [shard(2), shard(6)]
    assert left == [
        f"Shard {shard(5)} is left alone: its row is missing. Next: `consumer checkpoint set {shard(5)} POSITION`"
    ]
    chosen, left = choose_halted(ledger, (), quarantine_all=True)
    assert [each.shard for each in chosen] == [shard(6)], "it would halt again, and poison would pass"
    assert left[0].endswith(f"Next: `consumer resume {shard(2)} --accept-mark 'a b'`")
    assert choose_halted(Ledger((row(1),), ()), (), quarantine_all=True) == ([], [])


# --- with a mark that is not known ---

MARK = Mark("2025-01-01T00:00:00.000/shard-9", sequence_number(50), CREATED)
ACCEPTED = AcceptedMark("a b", MARK)
UNKNOWN_MARK = Symptom(HaltReason.MARK_UNKNOWN, "the row has a mark", sequence_number(101), "a b")
FOR_A_MARK = replace(row(2, checkpoint="7"), circuit=Circuit(halted_at=CREATED, symptom=UNKNOWN_MARK))
AGAIN = f"Nothing was changed. Next: `consumer resume {FOR_A_MARK.shard}`, which reads the row again"


def test_the_mark_of_the_row_is_what_is_accepted() -> None:
    require_unknown_mark(FOR_A_MARK, "a b")
    assert mark_to_accept(FOR_A_MARK, "a b", StoredRow(mark=MARK), LEDGER, "board") == ACCEPTED
    assert " ".join(sentences_on(ACCEPTED, FOR_A_MARK, "board")) == (
        f"The row of player 'a b' in board has a mark: all games of the shard {MARK.shard} up to {MARK.to} (created "
        "2026-01-31T12:00:00Z) are in it. Neither the lease table nor the stream knows that shard. "
        f"If the mark is accepted, it is removed, and the row's numbers stay. Shard {FOR_A_MARK.shard} goes on behind "
        "7: the games of this player that follow there are added. "
        f"If a worker reads the shard {MARK.shard} after all, or if games that follow in {FOR_A_MARK.shard} are in the "
        "row already, they are counted twice."
    )


@pytest.mark.parametrize(
    ("circuit", "sentence"),
    [
        (
            Circuit(halted_at=CREATED, had_game=True, symptom=SYMPTOM),
            "is not halted for a mark: most of its last records are poison, .*. --accept-mark does not help",
        ),
        (Circuit(halted_at=CREATED), "is not halted for a mark: it has had no good record yet"),
        (
            replace(FOR_A_MARK.circuit, symptom=UNKNOWN_MARK._replace(player="a c")),
            "is not halted for the row of player 'a b': the row has a mark.* --accept-mark 'a c'`",
        ),
    ],
)
def test_a_shard_that_is_halted_for_something_else(circuit: Circuit, sentence: str) -> None:
    with pytest.raises(UnsafeRefused, match=sentence):
        require_unknown_mark(replace(FOR_A_MARK, circuit=circuit), "a b")


@pytest.mark.parametrize(
    ("stored", "error", "sentence"),
    [
        (ABSENT, NotFound, "leaderboard board has no row of player 'a b'. "),
        (StoredRow(), UnsafeRefused, "the row of player 'a b' has no mark any more. "),
        *(
            (
                StoredRow(mark=MARK._replace(shard=str(shard(number)))),
                UnsafeRefused,
                f"the row of player 'a b' now has a mark of the shard {shard(number)} (up to {MARK.to}), which the",
            )
            for number in (1, 2, 3)
        ),
    ],
)
def test_a_row_that_needs_no_operator(stored: StoredRow, error: type[ConsumerError], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)) as refusal:
        mark_to_accept(FOR_A_MARK, "a b", stored, LEDGER, "board")
    assert str(refusal.value).endswith(AGAIN)


def test_another_board_than_the_one_into_which_the_shard_is_counted() -> None:
    refuse_other_board(FOR_A_MARK, "board", TableBinding(ARN, "leases", "board"))
    refuse_other_board(FOR_A_MARK, "board", None)
    with pytest.raises(UnsafeRefused, match=r"is counted into other, .* Next: correct CONSUMER_LEADERBOARD_TABLE"):
        refuse_other_board(FOR_A_MARK, "board", TableBinding(ARN, "leases", "other"))


def test_the_mark_goes_away_with_the_halt(halted: HaltedShard) -> None:
    halted.row = replace(halted.halt("7"), circuit=FOR_A_MARK.circuit)
    halted.tables.rows[halted.row.shard] = halted.row
    halted.tables.board["a b"] = Score(3, Decimal(1), None, mark=MARK)
    command = resume(
        halted.row,
        halted.quarantine,
        "me",
        CREATED,
        "mine",
        accepted=ACCEPTED,
        board="board",
    )
    assert finish(command, make_twice) == Resumed(halted.row.shard, "7", accepted=ACCEPTED)
    assert halted.tables.board == {"a b": Score(3, Decimal(1), None)}
    (audit_entry,) = halted.quarantine.audit
    assert audit_entry.detail == {
        "outcome": "resumed",
        "checkpoint": "7",
        "player": "a b",
        "markShard": MARK.shard,
        "markTo": MARK.to,
        "leaderboardTable": "board",
    }


@pytest.mark.parametrize(
    ("found", "now"),
    [(StoredRow(mark=MARK), rf"a mark of the shard {MARK.shard} \(up to {MARK.to}\)"), (ABSENT, "no mark")],
)
def test_a_row_that_changed_meanwhile(found: StoredRow, now: str) -> None:
    refusal = str(row_changed(ACCEPTED, RowRefused(found)))
    assert re.match(f"changed concurrently: the row of player 'a b' has {now} by now. Nothing was changed", refusal)
