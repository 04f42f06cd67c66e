"""What an operator mistypes, may not do, or does too late: a sentence, an exit code, and nothing is changed.

`quarantine` has more of it in test_quarantine, `checkpoint set` in test_checkpoint, what is wrong with settings and AWS
in test_bad_input.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from consumer.aws.items import shard_key
from consumer.cli.app import main
from consumer.demo.child_process import spawn
from consumer.domain.leases import Shard
from tests.support.builders import ARN, sequence_number, shard, wire
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, consumer
from tests.support.processes.committed_shard import bind, commit_wires

SUCCESSOR = ARN.replace("2026-01-01", "2026-01-02")
TWINS = (Shard(ARN, "shard-7"), Shard(SUCCESSOR, "shard-7"))
ONE = sequence_number(1)
TABLES = ("leaderboard", "lease", "quarantine")


@pytest.fixture(scope="module")
def game(ministack_url: str) -> Iterator[Game]:
    """Shard 0 with records in quarantine, shard 1 that is halted, and one id that two streams have."""
    with Game(TableEngine("ministack", ministack_url)) as game:
        commit_wires(game, [wire(number, score={"S": "12"}) for number in range(1, 8)], bound=False)
        for each in (shard(1), *TWINS):
            commit_wires(game, [wire(9)], each, bound=False)
        game.client.update_item(
            TableName=game.tables["lease"],
            Key={"leaseKey": {"S": shard_key(shard(1))}},
            UpdateExpression="SET haltedAt = :now",
            ExpressionAttributeValues={":now": {"N": "1769860800"}},
        )
        yield game


def ended(game: Game, *arguments: str, proxy: Proxy | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, where stdin is no terminal."""
    done = consumer(*arguments, environment=game.environment(proxy, lease_ttl_seconds="1"))
    assert "Traceback" not in done.stderr
    assert "consumer: unexpected" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def rows(game: Game) -> list[list[str]]:
    return [sorted(map(repr, game.rows(table))) for table in TABLES]


@pytest.mark.parametrize(
    ("code", "arguments", "text"),
    [
        (2, ["status", "--every", "0"], "--every"),
        (2, ["status", "--behind-seconds", "-1"], "--behind-seconds"),
        (2, ["status", "--headroom-seconds", "soon"], "--headroom-seconds"),
        (3, ["status", "--source-table", "nowhere"], "nowhere (CONSUMER_SOURCE_TABLE) does not exist"),
        (3, ["status", "--lease-table", "nowhere"], "nowhere (CONSUMER_LEASE_TABLE) does not exist"),
        (3, ["status", "--quarantine-table", "nowhere"], "nowhere (CONSUMER_QUARANTINE_TABLE) does not exist"),
        (2, ["audit-log", "--limit", "0"], "--limit"),
        (2, ["audit-log", "today"], "extra argument"),
        (2, ["gaps", "acknowledge", "g", "--because", " ", "--yes"], "--because is empty: say what you found out"),
        (5, ["gaps", "acknowledge", "g", "--because", "why", "--yes"], "there is no gap 'g'"),
        (2, ["resume"], "name the halted shards, as `consumer status` shows them, or add --all"),
        (2, ["resume", "shard-1", "--all"], "leave out the names, or --all"),
        (2, ["resume", "--all", "--accept-mark", "ada"], "--accept-mark is for the one shard"),
        (5, ["resume", "shrd-0", "--yes"], "there is no shard 'shrd-0': the nearest ones are shard-"),
        (5, ["resume", "", "--yes"], "there is no shard ''"),
        (5, ["resume", "shard-7", "--yes"], f"is a shard of 2 streams: name {TWINS[0]} or {TWINS[1]}"),
        (4, ["resume", "shard-0", "--yes"], "is not halted: nothing to resume"),
        (4, ["resume", "shard-1"], "this cannot be asked: add --yes to do it"),
        (3, ["resume", "shard-1", "--yes", "--lease-table", "nowhere"], "nowhere (CONSUMER_LEASE_TABLE)"),
        (2, ["checkpoint", "show"], "Missing argument 'SHARD'"),
        (5, ["checkpoint", "show", "shrd-0"], "there is no shard 'shrd-0': the nearest ones are shard-"),
        (5, ["checkpoint", "show", "other/shard-0"], "there is no shard 'other/shard-0': the nearest ones are"),
        (5, ["checkpoint", "show", "shard-7"], f"is a shard of 2 streams: name {TWINS[0]} or {TWINS[1]}"),
        (3, ["checkpoint", "show", "shard-0", "--lease-table", "nowhere"], "nowhere (CONSUMER_LEASE_TABLE)"),
        (5, ["checkpoint", "set", "shard-7", ONE, "--yes"], "is a shard of 2 streams: name"),
        (2, ["checkpoint", "set", "shard-0", "12x", "--yes"], "'12x' is not a checkpoint"),
        (2, ["checkpoint", "set", "shard-0", "LATEST", "--yes"], "'LATEST' is not a checkpoint"),
        (4, ["checkpoint", "set", "shard-0", ONE], "add --yes"),
        (5, ["replay", "shrd-0", "--from", "TRIM_HORIZON"], "there is no shard 'shrd-0': the nearest ones are shard-"),
        (2, ["replay", "shard-0", "--from", "12x"], "12x"),
        (2, ["replay", "shard-0", "--from", "1" * 41], "1" * 41),
        (2, ["replay", "shard-0", "--from", sequence_number(3), "--to", ONE], ONE),
        (2, ["quarantine", "redrive", "shard-0", "1" * 41, "--yes"], "it has up to 40 decimal digits"),
        (5, ["quarantine", "discard", "shard-0", "1", "--because", "x", "--yes"], f"the nearest one is {ONE}"),
        (2, ["quarantine", "discard", "shard-0", ONE, "--because", "x" * 1001, "--yes"], "more than 1,000 characters"),
    ],
)
def test_bad_input(game: Game, code: int, arguments: list[str], text: str) -> None:
    before = rows(game)
    result = ended(game, *arguments)
    assert result[:2] == (code, ""), result
    assert text in result[2]
    assert rows(game) == before


def denying(operation: str) -> Callable[[Call], Fate]:
    return lambda call: Fate.DENY if call.operation == operation else Fate.PASS


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (["status"], "Query"),
        (["audit-log"], "Query"),
        (["checkpoint", "show", "shard-0"], "Scan"),
        (["checkpoint", "set", "shard-0", ONE, "--yes"], "TransactWriteItems"),
        (["resume", "shard-1", "--yes"], "TransactWriteItems"),
        (["quarantine", "show", "shard-0", ONE], "GetItem"),
        (["quarantine", "discard", "shard-0", ONE, "--because", "x", "--yes"], "TransactWriteItems"),
    ],
)
def test_no_permission_in_the_middle(game: Game, arguments: list[str], operation: str) -> None:
    before = rows(game)
    with Proxy(game.engine.url, denying(operation)) as proxy:
        code, out, err = ended(game, *arguments, proxy=proxy)
    assert (code, out) == (3, "")
    assert f"AWS denies access: check the credentials and the permissions of this role ({operation}: " in err
    assert rows(game) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["quarantine", "redrive", "shard-0", sequence_number(2), "--set", "score=1", "--yes"],
            "is applied already by",
        ),
        (
            ["quarantine", "discard", "shard-0", sequence_number(3), "--because", "x", "--yes"],
            "is discarded already by",
        ),
        (
            ["checkpoint", "set", "shard-0", sequence_number(7), "--yes"],
            "changed concurrently: another operator or worker changed the row first",
        ),
        (["resume", "shard-1", "--yes"], "it was resumed 1 times by now. Nothing was changed"),
    ],
)
def test_another_operator_is_faster(
    game: Game, arguments: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two operators; the write of the slower one arrives after that of the faster one.

    The faster one is in this process: a call that is held for more than some seconds is given up and made again.
    """
    bind(game, ARN)
    monkeypatch.setattr("consumer.telemetry.logs.configure", lambda *_: None)
    for name, value in game.environment(lease_ttl_seconds="1").items():
        monkeypatch.setenv(name, value)
    with Proxy(game.engine.url) as proxy:
        held = proxy.hold(lambda call: call.operation == "TransactWriteItems", applied=False, skip=0)
        slow = spawn(
            [sys.executable, "-m", "consumer", *arguments],
            env=game.environment(proxy, lease_ttl_seconds="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        held.wait_caught()
        with pytest.raises(SystemExit) as faster:
            main([sequence_number(6) if each == sequence_number(7) else each for each in arguments])
        assert faster.value.code == 0
        after = rows(game)
        held.let_go()
        out, err = slow.communicate(timeout=60)
    assert (slow.returncode, out) == (4, b""), err
    assert text in err.decode()
    assert rows(game) == after, "once, with one audit row"
