"""Ten thousand records are counted again, with ten kills and two replays at once: exactly once more."""

import json
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from consumer.demo.child_process import spawn
from tests.support.engines import TableEngine
from tests.support.processes import Call, Expected, Fate, Proxy, Row, guards_off
from tests.support.processes.committed_shard import CommittedShard, committed_shard
from tests.support.processes.expected import differences, read_board
from tests.support.processes.in_flight import end, kill_in_flight

RECORDS = 10_000
PLAYERS = 300
KILLS = 10
MOST_BATCHES = 8
"""How many transactions pass at most before the one with which a replay is killed."""
COMMAND = ("-m", "consumer")
COUNT = "SET #position = :last"


def is_count(call: Call) -> bool:
    return call.operation == "TransactWriteItems" and COUNT in call.body.decode()


def replay(
    committed: CommittedShard, *arguments: str, proxy: Proxy | None = None, entry: tuple[str, ...] = COMMAND
) -> subprocess.Popen[bytes]:
    return spawn(
        [sys.executable, *entry, "replay", committed.shard.shard_id, "--from", "TRIM_HORIZON", *arguments],
        env=committed.game.environment(proxy),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=240)
    return process.returncode, output.decode(), errors.decode()


def rows_of(output: str) -> dict[str, Row]:
    rows = json.loads(output, parse_float=Decimal)
    return {row["playerId"]: Row(row["gamesPlayed"], Decimal(row["totalScore"]), row["lastPlayedDate"]) for row in rows}


def plus(one: Mapping[str, Row], other: Mapping[str, Row]) -> dict[str, Row]:
    none = Row(0, Decimal(0), "")
    players = one.keys() | other.keys()
    pairs = {player: (one.get(player, none), other.get(player, none)) for player in players}
    return {
        player: Row(mine.games + more.games, mine.total + more.total, max(mine.date, more.date))
        for player, (mine, more) in pairs.items()
    }


def spoiled(item: Any) -> Any:
    return item | {"score": {"S": "12"}}


def prepare(committed: CommittedShard, records: int, seed: random.Random) -> Expected:
    """Writes records, of which some are re-driven with a repair, some discarded and some pending; what they count."""
    items = [committed.game.make(f"player-{seed.randrange(PLAYERS)}") for _ in range(records)]
    bad = set(seed.sample(range(records), records // 50))
    numbers = committed.write(*(spoiled(item) if place in bad else item for place, item in enumerate(items)))
    expected = Expected()
    for place, item in enumerate(items):
        if place not in bad:
            expected.count(item)
        elif (draw := seed.random()) < 0.4:
            score = str(seed.randrange(1000))
            committed.redrive(numbers[place], score=score)
            expected.count(item | {"score": {"N": score}})
        elif draw < 0.7:
            committed.discard(numbers[place])
    assert committed.game.board() == expected.rows
    return expected


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_ten_kills_and_twice_at_once(fresh_engine: TableEngine) -> None:
    number = secrets.randbelow(10**6)
    print(f"{fresh_engine.name}, seed {number}")
    seed = random.Random(number)
    met: Counter[str] = Counter()
    with committed_shard(fresh_engine, number) as committed, Proxy(fresh_engine.url) as proxy:
        right = prepare(committed, RECORDS, seed).rows
        prepared = time.monotonic()
        code, output, errors = ended(replay(committed, "--recount", "--dry-run", "--json"))
        assert code == 0, errors
        expected_rows = rows_of(output)
        assert not differences(expected_rows, right)

        for _ in range(KILLS):
            process = replay(committed, "--recount", "--yes", proxy=proxy)
            met[kill_in_flight(proxy, is_count, partial(end, process), seed, MOST_BATCHES)] += 1
        left = RECORDS - counted(committed)
        assert left > RECORDS // 10, "records remain"
        ends = [ended(process) for process in [replay(committed, "--recount", "--yes", proxy=proxy) for _ in range(2)]]
        wrong = differences(committed.game.board(), plus(right, right))
        assert not wrong, f"{len(wrong)} rows are wrong, such as {wrong[:5]}"
        assert {code for code, _, _ in ends} == {0, 4}, ends
        assert differences(committed.game.board(), plus(right, expected_rows)) == []
        seconds = time.monotonic() - prepared

        code, output, errors = ended(replay(committed, "--recount", "--yes"))
        assert (code, output) == (4, ""), "a counted range is not counted again"
        assert "add --again" in errors
        other = committed.game.tables["leaderboard"] + "-2"
        committed.make_board(other)
        code, _, errors = ended(replay(committed, "--into", other, "--yes"))
        assert code == 0, errors
        assert not differences(read_board(committed.game.client, other), right)
        assert not differences(committed.game.board(), plus(right, right))
    print(
        f"{RECORDS} records, {met.total()} SIGKILLs with a transaction in flight ({dict(met)}), {left} records left "
        f"for the last two: {[code for code, _, _ in ends]}; {seconds:.0f} s"
    )


def counted(committed: CommittedShard) -> int:
    """How many records are counted, by the progress row."""
    (row,) = [row for row in committed.game.rows("lease") if row["leaseKey"]["S"].startswith("replay#")]
    return committed.numbers.index(row["position"]["S"]) + 1


@pytest.mark.proof
@pytest.mark.parametrize(("guards", "exact"), [(("token",), True), (("token", "position"), False)])
def test_the_position_is_what_makes_it_exact(fresh_engine: TableEngine, guards: tuple[str, ...], exact: bool) -> None:
    """The reply to a batch is lost, and it is sent again with a fresh token."""
    lost: list[Call] = []

    def decide(call: Call) -> Fate:
        if not lost and is_count(call):
            lost.append(call)
            return Fate.DROP_REPLY
        return Fate.PASS

    with committed_shard(fresh_engine) as committed, Proxy(fresh_engine.url, decide) as proxy:
        right = prepare(committed, 200, random.Random(1)).rows
        committed.reset()  # otherwise the first attempt is refused for its dates
        code, output, errors = ended(replay(committed, "--recount", "--yes", proxy=proxy, entry=guards_off(*guards)))
        assert code == 0, errors
        assert [call.applied for call in lost] == [True]
        assert (differences(committed.game.board(), right) == []) is exact, output


@pytest.mark.proof
@pytest.mark.parametrize(("guards", "exact"), [((), True), (("same-state",), False)])
def test_a_row_counts_in_its_state_at_commit(fresh_engine: TableEngine, guards: tuple[str, ...], exact: bool) -> None:
    """A record is re-driven while a batch in flight takes it for pending."""
    with committed_shard(fresh_engine) as committed, Proxy(fresh_engine.url) as proxy:
        items = [committed.game.make("foo") for _ in range(3)]
        numbers = committed.write(items[0], spoiled(items[1]), items[2])
        held = proxy.hold(is_count, applied=False)
        process = replay(committed, "--recount", "--yes", proxy=proxy, entry=guards_off(*(guards or ("none",))))
        held.wait_caught()
        committed.redrive(numbers[1], score="12")
        held.let_go()
        code, _, errors = ended(process)
        assert code == 0, errors
        expected = Expected()
        for item in (items[0], items[1] | {"score": {"N": "12"}}, items[2]):
            expected.count(item)
        assert (differences(committed.game.board(), plus(expected.rows, expected.rows)) == []) is exact
