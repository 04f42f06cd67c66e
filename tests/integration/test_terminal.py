"""Commands on a terminal: they ask, show a bar while they work, and Ctrl-C leaves nothing half done."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.support.builders import wire
from tests.support.engines import TableEngine
from tests.support.processes import CTRL_C, CTRL_D, Call, Game, Proxy, Row, Terminal, consumer
from tests.support.processes.committed_shard import commit_wires

RECORDS = 20
REDRIVE = ("quarantine", "redrive", "--set", "score=12")
QUESTION = "Count 20 records of 1 shard (score_type 20) in "


@pytest.fixture
def game(ministack_url: str) -> Iterator[Game]:
    """With records in quarantine, and an empty board."""
    with Game(TableEngine("ministack", ministack_url)) as game:
        commit_wires(game, [wire(number, score={"S": "12"}) for number in range(1, RECORDS + 1)])
        yield game


def is_write(call: Call) -> bool:
    return call.operation == "TransactWriteItems"


@pytest.mark.parametrize("answer", ["n\n", "\n", CTRL_D, CTRL_C + "\n"], ids=["no", "nothing", "Ctrl-D", "Ctrl-C"])
def test_without_a_yes_nothing_is_changed(game: Game, answer: str) -> None:
    """A Ctrl-C that comes just before Python begins to read is noticed with the next key: so one follows."""
    before = game.rows("quarantine")
    with Terminal(*REDRIVE, environment=game.environment()) as terminal:
        terminal.read_until(QUESTION)
        terminal.read_until("[y/N]: ")
        terminal.type(answer)
        assert terminal.wait() == 4, terminal.shown
    assert terminal.shown.endswith("\nnot confirmed: nothing was changed\r\n")
    assert (game.rows("quarantine"), game.board()) == (before, {})


def test_a_wrong_answer_is_asked_again_and_yes_counts(game: Game) -> None:
    with Terminal(*REDRIVE, environment=game.environment()) as terminal:
        terminal.read_until("[y/N]: ")
        terminal.type("perhaps\n")
        terminal.read_until("invalid input")
        terminal.type("y\n")
        assert terminal.wait() == 0, terminal.shown
    assert "reading " in terminal.shown
    assert "redriving" in terminal.shown
    assert "━" in terminal.shown, "a bar"
    assert terminal.shown.endswith("20 records counted\r\n")
    assert game.board() == {"foo": Row(RECORDS, Decimal(12 * RECORDS), "2026-01-31")}


def test_ctrl_c_under_the_bar_reports_progress_and_nothing_is_half_done(game: Game) -> None:
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(is_write, applied=True, skip=5)
        with Terminal(*REDRIVE, "--yes", environment=game.environment(proxy)) as terminal:
            held.wait_caught()
            terminal.type(CTRL_C)
            assert terminal.wait() == 130, terminal.shown
        held.let_go()
    assert "Stopped: 5 counted, 15 of 20 records not tried; run it again for the rest." in terminal.shown
    assert "Traceback" not in terminal.shown
    assert game.board() == {"foo": Row(6, Decimal(72), "2026-01-31")}, "the sixth was in flight, whole"
    ended = consumer(*REDRIVE, "--yes", environment=game.environment())
    assert (ended.returncode, ended.stdout) == (0, "14 records counted\n")
    assert game.board() == {"foo": Row(RECORDS, Decimal(12 * RECORDS), "2026-01-31")}
