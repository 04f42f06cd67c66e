"""Commands on a terminal: they ask, show a bar while they work, and Ctrl-C leaves nothing half done."""

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest

from consumer.domain.leases import Shard
from tests.support.builders import sequence_number, wire
from tests.support.engines import TableEngine
from tests.support.processes import CTRL_C, CTRL_D, Call, Game, Proxy, Row, Terminal, consumer
from tests.support.processes.committed_shard import commit_wires

RECORDS = 20
REDRIVE = ("quarantine", "redrive", "--all", "--set", "score=12")
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
    assert re.search("counted .*20/20", terminal.shown)
    assert "━" in terminal.shown, "a bar"
    assert terminal.shown.endswith("20 records counted\r\n")
    assert game.board() == {"foo": Row(RECORDS, Decimal(12 * RECORDS), "2026-01-31")}


def test_ctrl_c_under_the_bar_reports_progress_and_nothing_is_half_done(game: Game) -> None:
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(is_write, applied=True, skip=0)
        with Terminal(*REDRIVE, "--yes", environment=game.environment(proxy)) as terminal:
            held.wait_caught()
            terminal.type(CTRL_C)
            assert terminal.wait() == 130, terminal.shown
        held.let_go()
    assert (
        "Stopped: 0 counted; of the other 20 of 20 records those in flight may be too. Run it again" in terminal.shown
    )
    assert "Traceback" not in terminal.shown
    assert game.board() == {"foo": Row(RECORDS, Decimal(12 * RECORDS), "2026-01-31")}, "it was in flight, whole"
    ended = consumer(*REDRIVE, "--yes", environment=game.environment())
    assert (ended.returncode, ended.stdout) == (0, "0 records counted\n")
    assert game.board() == {"foo": Row(RECORDS, Decimal(12 * RECORDS), "2026-01-31")}


def test_a_line_per_record_at_80_columns_with_ids_to_copy(ministack_url: str) -> None:
    """Ids as long as those of AWS; one player has an id that fits nowhere."""
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/GameEvents/stream/2026-01-31T12:00:00.000"
    shard = Shard(arn, "shardId-00000001769860800000-0a1b2c3d")
    with Game(TableEngine("ministack", ministack_url)) as game:
        wires = []
        for number in range(1, 13):
            player = f"player-{number}" if number < 12 else "x" * 300
            record = wire(number, player=player, score={"S": "7" * 37 if number == 3 else str(number)})
            change = record["dynamodb"]
            long = f"4000000000000000000{number:06}"
            keys = {name: change["NewImage"][name] for name in ("playerId", "timestamp")}
            wires.append({**record, "dynamodb": {**change, "SequenceNumber": long, "Keys": keys}})
        commit_wires(game, wires, shard)
        for command in (("list",), ("redrive", "--all", "--convert", "score", "--dry-run")):
            with Terminal("quarantine", *command, environment=game.environment(), columns=80) as terminal:
                terminal.wait()
            lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown.rpartition("\x1b[2K")[2]).split("\r\n")
            table = [line for line in lines if re.match(r"4\d{24} ", line)]
            assert len(table) == 12, terminal.shown
            assert f"shard {shard}" in lines
            for number, line in enumerate(table, 1):
                assert len(line) <= 80
                assert line.startswith(f"4000000000000000000{number:06} ")
                assert (f" player-{number} " in line) is (number < 12)
            assert "…" in table[2], "a long value is cut"
            assert "xxx" not in table[11], "an id is whole or left out"
            assert "--json has them." in terminal.shown
            if command == ("list",):
                assert all(line.rstrip().endswith("2026-01-31T11:59:00Z") for line in table), table


def test_the_audit_log_has_a_line_per_act_at_80_columns(game: Game) -> None:
    """A target that does not fit is left out; who it was, and why, are cut."""
    one = ("quarantine", "discard", "shard-0", sequence_number(1), "--because", "it is of a load test " * 9, "--yes")
    for command in (one, ("quarantine", "discard", "--all", "--because", "the same", "--yes")):
        done = consumer(*command, environment=game.environment())
        assert done.returncode == 0, done.stderr
    with Terminal("audit-log", environment=game.environment(), columns=80) as terminal:
        assert terminal.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown).split("\r\n")
    acts = [line for line in lines if re.match(r"\d{4}-\d\d-\d\dT", line)]
    assert [line.split()[1:3] for line in acts] == [["discard", "19"], ["discard", "…"]], terminal.shown
    assert [line for line in lines if len(line) > 80] == []
    assert "--json has them." in terminal.shown
