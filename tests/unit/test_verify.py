"""`consumer verify` on the fakes, beside a real worker on a virtual clock: what changes while it reads."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.errors import CallFailed, FailureKind, UnsafeRefused
from consumer.domain.leases import TableBinding
from consumer.domain.operator_ports import BoardPage, ItemPage
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Rules
from consumer.domain.verification import Assumption, CaveatCode, Verdict
from consumer.operations.game_fold import GameLine
from consumer.operations.quarantine import QuarantineService, Repair
from consumer.operations.steps import OperatorCall, Step
from consumer.operations.sums import Sums, Uncertain
from consumer.operations.verify import Findings, Request, Verification
from tests.support.builders import ARN, CREATED
from tests.support.cluster import single_worker
from tests.support.commands import finish
from tests.support.fakes import FakeQuarantine
from tests.support.fakes.operators import FakeTableReader
from tests.support.fakes.scans import FakeScans

BEGAN_AT = 1000.0


class Board:
    """A worker that reads one shard, what was played, and a verification of it all."""

    def __init__(self, page_items: int = 1000) -> None:
        self.cluster, self.worker = single_worker(0)
        self.tables, self.streams = self.cluster.tables, self.cluster.streams
        self.quarantine = FakeQuarantine(self.tables)
        self.scans = FakeScans(self.streams, self.tables, lambda: float(int(self.now())), page_items)
        self.sums = Sums()
        self.assumed = {Assumption.EMPTY_START}
        self.calls: list[OperatorCall] = []
        self.lines: list[GameLine] | None = None
        self.before: dict[tuple[OperatorCall, int], Callable[[], object]] = {}
        """What happens before the nth call of a kind."""

    def now(self) -> float:
        return CREATED + self.cluster.now - BEGAN_AT

    def play(self, player: str = "foo", score: object = "5", timestamp: str = "2026-01-31", **more: object) -> None:
        image = {"playerId": {"S": player}, "score": {"N": score}, "timestamp": {"S": timestamp}, **more}
        self.streams.write("shard-0", image)

    def settle(self) -> "Board":
        """The worker has read and committed all."""
        self.cluster.serve(3)
        return self

    def redrive(self, player: str = "foo") -> None:
        """An operator repairs the player's pending records."""
        token = f"token {self.now()} {len(self.quarantine.audit)}"
        service = QuarantineService(
            self.quarantine, self.tables, self.tables.rows.keys, lambda: "me", self.now, partial(str, token)
        )
        for entry in list(self.quarantine.entries()):
            if entry.player == player and entry.state == EntryState.PENDING:
                finish(service.redrive(entry, Repair({"score": "7"}, only_wrong=True)))

    def verify(self, timeout_seconds: float = 300.0, **more: Any) -> Findings:
        """Runs it; the clock goes on meanwhile."""
        command = Verification(
            self.scans,
            FakeTableReader(self.tables),
            self.quarantine,
            lambda _: self.streams,
            self.sums,
            Request(self.tables.names, Rules(), timeout_seconds, assumed=frozenset(self.assumed)),
        )
        preview = self.drive(command.prepare())
        self.calls.clear()
        found: Findings = self.drive(command.run(preview, **more))
        self.lines = command.lines
        return found

    def drive(self, command: Any) -> Any:
        reply: object = None
        while True:
            try:
                step: Step = command.throw(reply) if isinstance(reply, Exception) else command.send(reply)
            except StopIteration as end:
                return end.value
            self.cluster.serve(step.after_seconds + 0.05)
            self.calls.append(step.call)
            self.before.get((step.call, self.calls.count(step.call)), lambda: None)()
            try:
                reply = step.effect()
            except CallFailed as failure:
                reply = failure

    def differing(self) -> dict[str, list[str]]:
        return {player: [field.name for field in fields] for player, fields in self.sums.differences()}


@pytest.fixture
def board() -> Board:
    board = Board()
    for player in ("foo", "foo", "bar", "baz"):
        board.play(player)
    return board.settle()


def counts(found: Findings) -> tuple[Verdict, int, int, int]:
    return found.verdict, found.players, found.different, found.undecided


def test_all_are_equal_when_nothing_comes_any_more(board: Board) -> None:
    """The stream itself shows that nothing is unread, a minute after the games were read."""
    began = board.now()
    found = board.verify()
    assert counts(found) == (Verdict.EQUAL, 3, 0, 0)
    assert 60 <= board.now() - began < 80
    assert found.items == 4


def test_a_newer_record_shows_it_at_once(board: Board) -> None:
    """The stream is old, and no shard has ended lately: no listing has to be waited for."""
    start = board.tables.stream_starts[ARN]
    board.tables.stream_starts[ARN] = replace(start, started_at=CREATED - 3_600)
    began = board.now()
    for number in range(1, 12):
        board.before[OperatorCall.LOAD_LEDGER, number] = partial(board.play, "new")
    found = board.verify(only=["foo", "bar"])
    assert counts(found)[0] is Verdict.EQUAL
    assert board.now() - began < 15


def test_players_that_differ_are_listed(board: Board) -> None:
    board.scans.tampered["bar"] = (0, 1)
    board.scans.tampered["ghost"] = (1, 5)
    board.tables.board.pop("baz")
    found = board.verify()
    assert counts(found) == (Verdict.DIFFERENT, 4, 3, 0)
    assert board.differing() == {
        "bar": ["totalScore"],
        "baz": ["gamesPlayed", "totalScore", "lastPlayedDate"],
        "ghost": ["gamesPlayed", "totalScore"],
    }


def play_and_settle(board: Board) -> None:
    board.play("foo")
    board.settle()


@pytest.mark.parametrize("call", [OperatorCall.READ_GAMES, OperatorCall.READ_BOARD])
def test_a_row_that_changes_meanwhile_is_judged_in_the_next_attempt(board: Board, call: OperatorCall) -> None:
    """Once before the games are read, once before the rows are read again."""
    board.before[call, 1 if call is OperatorCall.READ_GAMES else 2] = partial(play_and_settle, board)
    found = board.verify()
    assert (counts(found), found.attempts) == ((Verdict.EQUAL, 3, 0, 0), 2)


def test_games_that_come_behind_the_page_are_not_missed(board: Board) -> None:
    board = Board(page_items=1)
    for number in range(12):
        board.play(f"p{number}")
    board.settle()
    for number in range(1, 12):
        board.before[OperatorCall.READ_GAMES, number] = partial(board.play, f"p{number}")
    found = board.verify(timeout_seconds=600)
    assert counts(found) == (Verdict.EQUAL, 12, 0, 0)


def test_a_worker_that_stands_still_leaves_all_undecided(board: Board) -> None:
    board.cluster.kill(next(iter(board.cluster.workers)))
    board.play("foo")
    found = board.verify(timeout_seconds=100)
    assert found.verdict is Verdict.UNDECIDED
    assert found.at is None
    assert any("is not known to be settled" in why for why in found.why)


def test_a_missing_row_is_named(board: Board) -> None:
    board.cluster.kill(next(iter(board.cluster.workers)))
    board.tables.rows.clear()
    found = board.verify(timeout_seconds=10)
    assert (found.verdict, found.why) == (Verdict.UNDECIDED, (f"the row of shard {ARN[-23:]}/shard-0 is missing",))


def test_what_an_operator_repairs_counts_as_repaired(board: Board) -> None:
    board.play("foo", score=7)  # not a text: poison
    board.play("bar", timestamp="yesterday")
    board.settle()
    assert counts(board.verify()) == (Verdict.EQUAL, 3, 0, 0)
    board.redrive("foo")
    board.sums = Sums()
    assert counts(board.verify()) == (Verdict.EQUAL, 3, 0, 0)


@pytest.mark.parametrize(("call", "number"), [(OperatorCall.READ_BOARD, 1), (OperatorCall.READ_NOTES, 2)])
def test_an_operator_may_act_while_it_reads(board: Board, call: OperatorCall, number: int) -> None:
    """Between the quarantine and the rows nothing else shows it: the row is the same before and after."""
    board.play("foo", score=7)
    board.settle()
    board.before[call, number] = board.redrive
    found = board.verify()
    assert (counts(found), found.attempts) == ((Verdict.EQUAL, 3, 0, 0), 2)


def test_a_poison_item_that_no_row_explains_leaves_its_player_undecided(board: Board) -> None:
    """Its row may have expired: it is not known what was made of it."""
    board.play("foo", score=7)
    board.settle()
    board.tables.quarantine.clear()
    found = board.verify()
    assert counts(found) == (Verdict.UNDECIDED, 3, 0, 1)
    assert found.attempts == 1, "another attempt would not know more"
    assert found.why == ("1 player: an item is poison, and no row of the quarantine says what became of it",)


def test_an_item_that_the_rules_before_read_differently_leaves_its_player_undecided(board: Board) -> None:
    board.play("foo", points={"N": "3"})
    board.settle()
    board.tables.accepted = AcceptedRules((Rules(score_attribute="points"), Rules()))
    found = board.verify()
    assert found.undecided == 3
    assert found.caveats[-1].code is CaveatCode.RULES_CHANGED
    assert found.why == ("3 players: an item reads differently by other rules that records were counted by",)


def test_an_ignored_correction_blocks_the_verdict_and_is_still_shown(board: Board) -> None:
    board.streams.write(
        "shard-0", {"playerId": {"S": "baz"}, "score": {"N": "9"}, "timestamp": {"S": "2026"}}, "MODIFY"
    )
    board.cluster.serve(10)
    found = board.verify()
    assert counts(found) == (Verdict.UNDECIDED, 3, 1, 3)
    assert [caveat.code for caveat in found.caveats if caveat.blocks] == [CaveatCode.CORRECTIONS_IGNORED]
    assert list(board.differing()) == ["baz"]


def test_only_one_player_game_by_game(board: Board) -> None:
    board.play("foo", score=7)
    board.settle()
    found = board.verify(only=["foo"], explain=True)
    assert counts(found) == (Verdict.EQUAL, 1, 0, 0)
    board.scans.tampered["bar"] = (0, 1)
    board.sums = Sums()
    assert counts(board.verify(only=["foo"]))[0] is Verdict.EQUAL
    board.sums = Sums()
    assert counts(board.verify(only=["bar"]))[0] is Verdict.DIFFERENT


def test_a_table_that_does_not_answer_leaves_the_rest_undecided(board: Board) -> None:
    def refuse(*_: object) -> ItemPage:
        raise CallFailed(FailureKind.THROTTLED, "too fast")

    board.scans.items = refuse  # type: ignore[method-assign,assignment]
    found = board.verify()
    assert found.verdict is Verdict.UNDECIDED
    assert "AWS did not answer in time (too fast)" in found.why[0]

    def deny(*_: object) -> BoardPage:
        raise CallFailed(FailureKind.DENIED, "no")

    board.scans.board_rows = deny  # type: ignore[method-assign,assignment]
    with pytest.raises(CallFailed, match="no"):
        board.verify()


def test_tables_that_do_not_belong_together(board: Board) -> None:
    board.tables.bindings[ARN] = TableBinding(ARN, board.tables.names.leases, "another")
    with pytest.raises(UnsafeRefused, match="do not belong together"):
        board.verify()
    board.tables.bindings.clear()
    with pytest.raises(UnsafeRefused, match="says nothing of it"):
        board.verify()
    board.tables.stream_starts.clear()
    with pytest.raises(UnsafeRefused, match="no worker has run with it"):
        board.verify()


def test_reads_are_paced(board: Board) -> None:
    command = Verification(
        board.scans,
        FakeTableReader(board.tables),
        board.quarantine,
        lambda _: board.streams,
        board.sums,
        Request(board.tables.names, Rules(), max_read_units=10),
    )
    command._pace.read(25)
    assert (command._pace.pause(), command._pace.pause()) == (2.5, 0)


def test_what_is_uncertain_has_a_sentence() -> None:
    with_sentence = Sums()
    with_sentence.await_some(["foo"])
    for why in Uncertain:
        with_sentence.begin()
        with_sentence.mark_uncertain(["foo"], why)
        assert with_sentence.reasons()[0].startswith("1 player: ")
