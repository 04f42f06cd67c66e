"""What a refused write of a row with a mark means: written already, to be cut again, poison, or a halt."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.breaker import HaltReason
from consumer.domain.fold import Delta
from consumer.domain.leases import Ledger
from consumer.domain.marks import ABSENT, Lineage, Route, StoredRow
from consumer.domain.records import Correction, Game, Outcome, Poison, Reason, Rules, poison
from consumer.domain.replies import Committed, Done, Lost, Refused, RowRefused
from consumer.worker import events
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Examine, Halt, LookUpShard, MoveCheckpoint, Read
from tests.support.builders import ME, game, games, page, row, sequence_number, shard
from tests.support.builders import poison as poison_at_decode
from tests.support.drivers import NO_ANSWER, WorkerDriver, kinds, stream
from tests.support.fakes.tables import Score
from tests.support.marked import ONE_BY_ONE, MarkedShard, mark, marked

OTHER = str(shard(7))
INVALID = Refused(invalid="one digit too many")


def outcomes(driver: MarkedShard) -> dict[Outcome, int]:
    """What became of all records."""
    units = [event.unit for event in driver.reported if isinstance(event, events.UnitCommitted)]
    counted: dict[Outcome, int] = {}
    for unit in units:
        for outcome, count in unit.outcomes.items():
            counted[outcome] = counted.get(outcome, 0) + count
    return counted


def found_poison(suspect: Game | Correction) -> Poison:
    return poison(suspect.wire, Reason.TOTAL_TYPE, "the stored totalScore is of type S", Rules())


# --- the row shows the write ---


@pytest.mark.parametrize("to", [3, 9])
def test_a_refusal_that_shows_the_writes_own_mark_means_that_it_is_written(to: int) -> None:
    """By an earlier attempt whose reply was lost; or by the shard's next owner, which is further."""
    driver = MarkedShard(*games(1, 3, "a"), game(4, "b")).knows({"a": marked(0), "b": marked(0)})
    driver.reply_rows(a=NO_ANSWER)
    driver.reply_rows(b=Done())
    driver.wait(1)
    driver.reply_rows(a=RowRefused(marked(to)))
    assert not driver.writes()
    assert outcomes(driver) == {Outcome.APPLIED: 4}


def test_what_an_earlier_attempt_wrote_counts_as_applied_when_the_unit_is_cut_again() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": marked(0), "b": marked(0)})
    driver.reply_rows(a=NO_ANSWER)
    driver.wait(1)
    driver.reply_rows(a=RowRefused(marked(1)))
    driver.reply_rows(b=RowRefused(ABSENT))
    assert driver.routes() == {"b": Route.INSERT}
    driver.write_all()
    assert outcomes(driver) == {Outcome.APPLIED: 2}


# --- cut again ---


def test_another_mark_cuts_the_unit_again() -> None:
    driver = MarkedShard(*games(1, 3, "a"), game(4, "b"), *games(5, 6, "a")).knows({"a": marked(0), "b": marked(0)})
    driver.reply_rows(a=RowRefused(marked(3)))
    assert set(driver.writes()) == {"b"}, "the other write gets its reply first"
    driver.reply_rows(b=Done())
    again = driver.writes()
    assert list(again) == ["a"]
    assert (again["a"].found, again["a"].mark, again["a"].delta.games) == (mark(3), mark(6), 2)
    driver.write_all()
    assert outcomes(driver) == {Outcome.APPLIED: 3, Outcome.ALREADY_SETTLED: 3}, "three were written by another owner"


def test_writes_that_waited_are_not_sent_before_the_unit_is_cut_again() -> None:
    driver = MarkedShard(*(game(seq, f"player-{seq}") for seq in range(1, 31))).knows({})
    writes = driver.writes()
    driver.reply_rows(**{"player-1": RowRefused(marked(0, OTHER))})
    assert len(driver.writes()) == len(writes) - 1, "none follows"
    for player in list(writes)[1:]:
        driver.reply_rows(**{player: Done()})
    look_up = driver.call(LookUpShard)
    driver.reply(look_up, Lineage({OTHER: None}))
    driver.write_all()
    commit = driver.call(Commit)
    assert [(write.player, write.route) for write in commit.rows] == [("player-1", Route.SHARED)]
    assert commit.unit.records == 30
    driver.deliver(commit, Committed())
    assert outcomes(driver) == {Outcome.APPLIED: 30}


def test_a_later_date_is_left_alone() -> None:
    driver = MarkedShard(game(1, "a")).knows({"a": marked(0)})
    driver.reply_rows(a=RowRefused(marked(0, date="2026-02-01")))
    write = driver.writes()["a"]
    assert (write.found, write.dated) == (mark(0), False)


@pytest.mark.parametrize(
    ("known", "shown", "route"),
    [
        pytest.param(marked(0), ABSENT, Route.INSERT, id="deleted"),
        pytest.param(ABSENT, StoredRow(), None, id="made by a re-drive"),
        pytest.param(ABSENT, marked(0), Route.FOLLOW, id="made by the owner before"),
    ],
)
def test_a_row_that_is_not_as_it_was_known(known: StoredRow, shown: StoredRow, route: Route | None) -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": known})
    driver.reply_rows(b=Done())
    driver.reply_rows(a=RowRefused(shown))
    if route is None:
        assert not driver.writes()
        assert [write.route for write in driver.call(Commit).rows] == [Route.FRESH]
    else:
        assert driver.routes() == {"a": route}


def test_a_unit_does_not_grow_when_it_is_cut_again() -> None:
    """What it has written ahead stays within what a crash makes it read again."""
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": marked(0)})
    driver.answer(Read, page(game(3, "c")))
    driver.reply_rows(a=RowRefused(marked(0, date="2026-03-01")))
    driver.reply_rows(b=Done())
    assert set(driver.writes()) == {"a"}
    driver.reply_rows(a=Done())
    assert outcomes(driver) == {Outcome.APPLIED: 2}


def test_a_transaction_refused_for_a_mark_is_cut_again() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c")).knows({"a": StoredRow(), "b": StoredRow()})
    driver.write_all()
    commit = driver.call(Commit)
    assert {write.player: write.route for write in commit.rows} == {"a": Route.FRESH, "b": Route.FRESH}
    assert not driver.deliver(commit, Refused(rows={"a": marked(0)}))
    assert driver.routes() == {"a": Route.FOLLOW}
    assert not driver.has_call(Commit), "the single write comes first"
    driver.write_all()
    commit = driver.call(Commit)
    assert [(write.player, write.route) for write in commit.rows] == [("b", Route.FRESH)]
    driver.deliver(commit, Committed())
    assert outcomes(driver) == {Outcome.APPLIED: 3}


def test_a_transaction_refused_for_a_date_and_a_mark_at_once() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": StoredRow(), "b": StoredRow()})
    driver.answer(Commit, Refused(later={"b": "2026-03-01"}, rows={"a": marked(1)}))
    (write,) = driver.call(Commit).rows
    assert (write.player, write.dated) == ("b", False)


def test_the_worker_does_not_send_a_refused_unit_again_as_it_was() -> None:
    """Units of one process that share rows take turns; a refusal for a mark ends the turn."""
    driver = WorkerDriver(streams=stream())
    driver.streams.partition_key = "playerId"
    driver.tables.board["a"] = Score(1, Decimal(1), "2026-01-01")
    driver.serve(2.0)
    image = {"score": {"N": "5"}, "timestamp": {"S": "2026-01-31"}}
    first = driver.streams.write("shard-0", {**image, "playerId": {"S": "a"}})
    driver.serve(1.0, hold=Commit)
    refused = driver.call(Commit)
    assert [write.route for write in refused.rows] == [Route.FRESH]
    stored = mark(0, str(shard()))._replace(to=str(int(first) - 1))
    driver.tables.board["a"].mark = stored
    driver.deliver(refused, Refused(rows={"a": StoredRow(mark=stored)}))
    assert not driver.has_call(Commit), "the row is written first"
    driver.serve(1.0)
    assert driver.tables.board["a"].games == 2
    assert driver.machine.shards[shard()].checkpoint == first


def test_a_unit_with_an_unknown_outcome_that_is_then_refused() -> None:
    """The first attempt may yet take effect: then the row stands at the unit's end, and nothing is written twice."""
    driver = MarkedShard(game(1, "a"), game(2, "b")).knows({"a": StoredRow(), "b": marked(0)})
    driver.write_all()
    first = driver.call(Commit)
    driver.deliver(first, NO_ANSWER)
    driver.wait(1)
    driver.answer(Commit, Refused(rows={"a": marked(0)}))
    driver.write_all()
    again = driver.call(Commit)
    assert again.unit.last == first.unit.last
    stored = row(owner=ME, checkpoint=sequence_number(2))
    (settled,) = driver.deliver(again, Lost(stored))
    assert isinstance(settled, events.UnitCommitted)
    assert settled.settled
    assert driver.machine.checkpoint == sequence_number(2)


# --- refused for good ---


def test_a_write_that_is_refused_for_good_is_examined_alone_and_delays_no_neighbour() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "bad"), game(3, "b"), game(4, "bad"), game(5, "c")).knows({})
    for player in ("a", "b", "c"):
        driver.reply_rows(**{player: Done()})
    driver.reply_rows(bad=INVALID)
    quarantined = []
    committed = []
    for _ in range(20):
        assert not driver.writes().keys() - {"bad"}, "no neighbour is written again"
        if driver.has_call(Examine):
            examine = driver.call(Examine)
            driver.deliver(examine, found_poison(examine.game))
            continue
        if not driver.has_call(Commit):
            break
        commit = driver.call(Commit)
        committed.append((commit.unit.records, [write.route for write in commit.rows]))
        quarantined += [each.sequence_number for each in commit.unit.poison]
        games_of_bad = any(write.player == "bad" and write.delta.games for write in commit.rows)
        driver.deliver(commit, INVALID if games_of_bad else Committed())
    assert quarantined == [sequence_number(2), sequence_number(4)]
    assert outcomes(driver) == {Outcome.APPLIED: 3, Outcome.QUARANTINED: 2}
    assert driver.machine.checkpoint == sequence_number(5)
    assert committed == [
        (1, []),
        (1, [Route.FRESH]),
        (2, [Route.FRESH]),
        (1, [Route.MARKED]),
        (2, [Route.MARKED]),
    ], "the second game is alone at once: its player is known to be refused"


def test_a_player_with_a_wrong_total_stays_apart() -> None:
    """A unit with the player's poison shows nothing about the next game: it is not tried among neighbours again."""
    driver = MarkedShard(game(1, "bad")).knows({})
    driver.reply_rows(bad=INVALID)
    driver.answer(Commit, INVALID)
    examine = driver.call(Examine)
    driver.deliver(examine, found_poison(examine.game))
    driver.answer(Commit, Committed())
    driver.answer(Read, page(game(2, "a"), game(3, "bad"), game(4, "b")))
    driver.knows({})
    assert set(driver.writes()) == {"a"}
    driver.write_all()
    assert driver.call(Commit).unit.records == 1


def test_a_player_whose_game_was_taken_is_apart_no_more() -> None:
    driver = MarkedShard(game(1, "a")).knows({})
    driver.reply_rows(a=INVALID)
    driver.answer(Commit, Committed())
    driver.answer(Read, page(game(2, "b"), game(3, "a"), game(4, "c")))
    driver.knows({})
    assert set(driver.writes()) == {"a", "b", "c"}


def test_of_two_refused_writes_both_are_kept_apart() -> None:
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c")).knows({})
    driver.reply_rows(a=INVALID)
    driver.reply_rows(b=INVALID)
    driver.reply_rows(c=Done())
    sizes = []
    while driver.has_call(Commit):
        commit = driver.call(Commit)
        sizes.append((commit.unit.records, list(commit.players)))
        driver.deliver(commit, Committed())
    assert sizes == [(1, ["a"]), (1, ["b"]), (1, [])]
    assert outcomes(driver) == {Outcome.APPLIED: 3}


def test_a_row_that_is_too_large_for_a_mark_keeps_the_one_it_has() -> None:
    """Poison of its player goes to quarantine all the same, under the mark as it was read."""
    driver = MarkedShard(poison_at_decode(1)).knows({"foo": marked(0)})
    commit = driver.call(Commit)
    assert [(write.route, write.mark) for write in commit.rows] == [(Route.MARKED, mark(1))]
    driver.deliver(commit, INVALID)
    commit = driver.call(Commit)
    assert [(write.route, write.found, write.mark) for write in commit.rows] == [(Route.CHECKED, mark(0), None)]
    driver.deliver(commit, Committed())
    assert outcomes(driver) == {Outcome.QUARANTINED: 1}
    driver.answer(Read, page(poison_at_decode(2)))
    assert [write.route for write in driver.call(Commit).rows] == [Route.MARKED], "the next one is tried as any other"
    assert driver.known.get("foo") == marked(0)


def test_a_row_that_is_too_large_for_a_game() -> None:
    """A game of a full row: refused alone, examined, and quarantined without a mark."""
    driver = MarkedShard(game(1, "full")).knows({"full": marked(0)})
    driver.reply_rows(full=INVALID)
    driver.answer(Commit, INVALID)
    examine = driver.call(Examine)
    driver.deliver(examine, found_poison(examine.game))
    driver.answer(Commit, INVALID)
    commit = driver.call(Commit)
    assert [(write.route, write.delta) for write in commit.rows] == [(Route.CHECKED, Delta(0, Decimal(0), ""))]
    driver.deliver(commit, Committed())
    assert driver.machine.checkpoint == sequence_number(1)


def test_poison_of_a_row_that_takes_no_mark_is_cut_off_from_its_neighbours() -> None:
    """DynamoDB names the row, and poison is not committed apart as games are."""
    driver = MarkedShard(poison_at_decode(1)._replace(player="a"), poison_at_decode(2), poison_at_decode(3))
    driver.knows({"a": marked(0), "foo": marked(0)})
    too_large, sizes = Refused(invalid="too large", suspects=frozenset({"foo"})), []
    for reply in (too_large, too_large, Committed()):
        commit = driver.call(Commit)
        sizes.append(commit.unit.records)
        driver.deliver(commit, reply)
    assert sizes == [3, 3, 1]
    assert driver.machine.checkpoint == sequence_number(1)


def test_poison_beside_a_shared_row_is_only_checked_anyway() -> None:
    """Without it there is nothing left to leave out: it is retried as long as it takes."""
    driver = MarkedShard(poison_at_decode(1))
    driver.known.take_ledger(Ledger((row(7),), ()))
    driver.knows({"foo": marked(0, OTHER)})
    for kinds_reported in ([], ["RetryScheduled"]):
        commit = driver.call(Commit)
        assert [(write.route, write.mark) for write in commit.rows] == [(Route.SHARED, None)]
        assert kinds(driver.deliver(commit, INVALID)) == kinds_reported


# --- a halt ---


def halting() -> MarkedShard:
    """The shard cannot go on before record 2: its row has a mark that nothing explains."""
    driver = MarkedShard(game(1, "a"), game(2, "b"), game(3, "c")).knows({"b": marked(0, OTHER)})
    driver.answer(LookUpShard, Lineage())
    driver.knows({"b": marked(0, OTHER)})
    assert set(driver.writes()) == {"a"}, "what is before it is written"
    driver.write_all()
    driver.knows({"b": marked(0, OTHER)})
    assert not driver.has_call(Halt), "it halts where the checkpoint stands"
    driver.answer(MoveCheckpoint, Committed())
    return driver


def test_a_mark_that_nothing_explains_halts_the_shard_before_its_record() -> None:
    driver = halting()
    halt = driver.call(Halt)
    assert halt.previous == sequence_number(1)
    assert halt.symptom.reason is HaltReason.MARK_UNKNOWN
    assert halt.symptom.sequence_number == sequence_number(2)
    for part in ("player b", OTHER, mark(0).to):
        assert part in halt.symptom.detail
    (halted,) = driver.deliver(halt, Done())
    assert isinstance(halted, events.ShardHalted)
    assert driver.machine.state is ShardState.HALTED
    assert not driver.start_due()
    assert driver.machine.circuit.cause == halt.symptom.detail


def test_the_first_record_of_all_may_halt_it() -> None:
    driver = MarkedShard(poison_at_decode(1), game(2, "c")).knows({"foo": marked(0, OTHER)})
    driver.answer(LookUpShard, Lineage())
    driver.knows({"foo": marked(0, OTHER)})
    assert driver.call(Halt).symptom.sequence_number == sequence_number(1)
    assert not driver.writes()


def test_after_a_resume_row_and_shard_are_looked_up_again() -> None:
    """The operator may have mended either; and a listing may have been late."""
    driver = halting()
    driver.answer(Halt, Done())
    driver.machine.resume(row(owner=ME))
    (read,) = driver.reads()
    assert read.players == ("b",)
    driver.reply(read, {"b": marked(0, OTHER)})
    driver.answer(LookUpShard, Lineage({OTHER: None}, frozenset([OTHER])))
    driver.write_all()
    commit = driver.call(Commit)
    assert [(write.player, write.route) for write in commit.rows] == [("b", Route.TAKE_OVER)]


def test_a_resume_that_changed_nothing_halts_again() -> None:
    driver = halting()
    driver.answer(Halt, Done())
    driver.machine.resume(row(owner=ME))
    driver.knows({"b": marked(0, OTHER)})
    driver.answer(LookUpShard, Lineage())
    driver.knows({"b": marked(0, OTHER)})
    assert driver.call(Halt).symptom.reason is HaltReason.MARK_UNKNOWN


def test_a_halted_row_that_was_mended() -> None:
    driver = halting()
    driver.answer(Halt, Done())
    driver.machine.resume(row(owner=ME))
    driver.knows({"b": StoredRow()})
    assert set(driver.writes()) == {"c"}
    driver.write_all()
    assert [(write.player, write.route) for write in driver.call(Commit).rows] == [("b", Route.FRESH)]


def test_a_halt_is_found_although_the_row_is_not_remembered() -> None:
    driver = MarkedShard(game(1, "b"), game(2, "c"), tuning=replace(ONE_BY_ONE, remembered_rows=1)).knows(
        {"b": marked(0, OTHER)}
    )
    assert driver.known.get("b") is None, "the rows of the unit are more than are remembered"
    driver.answer(LookUpShard, Lineage())
    driver.knows({"b": marked(0, OTHER)})
    assert driver.call(Halt).symptom.reason is HaltReason.MARK_UNKNOWN
