"""Ten thousand records counted again, killed ten times, begun twice at once: once more, by the word of each row."""

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

from consumer.demo.lifeline import spawn
from tests.engines import TableEngine
from tests.processes import Call, Fate, Proxy, Row, Tally, guards_off
from tests.processes.absorbed import Absorbed, absorbed
from tests.processes.board import differences, read_board
from tests.processes.in_flight import end, kill_in_flight

RECORDS = 10_000
PLAYERS = 300
KILLS = 10
MOST_BATCHES = 8
"""Transactions of a life, counted from where it is to end, before it is killed."""
COMMAND = ("-m", "consumer")
COUNT = "SET #position = :last"


def is_count(call: Call) -> bool:
    return call.operation == "TransactWriteItems" and COUNT in call.body.decode()


def replay(
    stage: Absorbed, *arguments: str, proxy: Proxy | None = None, entry: tuple[str, ...] = COMMAND
) -> subprocess.Popen[bytes]:
    return spawn(
        [sys.executable, *entry, "replay", stage.shard.shard_id, "--from", "TRIM_HORIZON", *arguments],
        env=stage.game.environment(proxy),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=240)
    return process.returncode, said.decode(), complained.decode()


def rows_of(said: str) -> dict[str, Row]:
    told = json.loads(said, parse_float=Decimal)
    return {row["playerId"]: Row(row["gamesPlayed"], Decimal(row["totalScore"]), row["lastPlayedDate"]) for row in told}


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


def prepare(stage: Absorbed, records: int, seed: random.Random) -> Tally:
    """Records of which some are redriven with a repair, some discarded and some pending; what they count for."""
    items = [stage.game.make(f"player-{seed.randrange(PLAYERS)}") for _ in range(records)]
    bad = set(seed.sample(range(records), records // 50))
    numbers = stage.write(*(spoiled(item) if place in bad else item for place, item in enumerate(items)))
    tally = Tally()
    for place, item in enumerate(items):
        if place not in bad:
            tally.count(item)
        elif (draw := seed.random()) < 0.4:
            score = str(seed.randrange(1000))
            stage.redrive(numbers[place], score=score)
            tally.count(item | {"score": {"N": score}})
        elif draw < 0.7:
            stage.discard(numbers[place])
    assert stage.game.board() == tally.rows
    return tally


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_ten_kills_and_twice_at_once(fresh_engine: TableEngine) -> None:
    number = secrets.randbelow(10**6)
    print(f"{fresh_engine.name}, seed {number}")
    seed = random.Random(number)
    met: Counter[str] = Counter()
    with absorbed(fresh_engine, number) as stage, Proxy(fresh_engine.url) as proxy:
        right = prepare(stage, RECORDS, seed).rows
        prepared = time.monotonic()
        code, said, complained = ended(replay(stage, "--recount", "--dry-run", "--json"))
        assert code == 0, complained
        foreseen = rows_of(said)
        assert not differences(foreseen, right)

        for _ in range(KILLS):
            process = replay(stage, "--recount", "--yes", proxy=proxy)
            met[kill_in_flight(proxy, is_count, partial(end, process), seed, MOST_BATCHES)] += 1
        left = RECORDS - counted(stage)
        assert left > RECORDS // 10, "records remain"
        ends = [ended(process) for process in [replay(stage, "--recount", "--yes", proxy=proxy) for _ in range(2)]]
        wrong = differences(stage.game.board(), plus(right, right))
        assert not wrong, f"{len(wrong)} rows are wrong, such as {wrong[:5]}"
        assert {code for code, _, _ in ends} == {0, 4}, ends
        assert differences(stage.game.board(), plus(right, foreseen)) == []
        seconds = time.monotonic() - prepared

        code, said, complained = ended(replay(stage, "--recount", "--yes"))
        assert (code, said) == (4, ""), "what was counted is not counted again"
        assert "add --again" in complained
        other = stage.game.tables["leaderboard"] + "-2"
        stage.make_board(other)
        code, _, complained = ended(replay(stage, "--into", other, "--yes"))
        assert code == 0, complained
        assert not differences(read_board(stage.game.client, other), right)
        assert not differences(stage.game.board(), plus(right, right))
    print(
        f"{RECORDS} records, {met.total()} SIGKILLs with a transaction in flight ({dict(met)}), {left} records left "
        f"for the last two: {[code for code, _, _ in ends]}; {seconds:.0f} s"
    )


def counted(stage: Absorbed) -> int:
    """How many records the progress row says are counted."""
    (row,) = [row for row in stage.game.rows("lease") if row["leaseKey"]["S"].startswith("replay#")]
    return stage.numbers.index(row["position"]["S"]) + 1


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

    with absorbed(fresh_engine) as stage, Proxy(fresh_engine.url, decide) as proxy:
        right = prepare(stage, 200, random.Random(1)).rows
        stage.reset()  # else the first attempt is refused for its dates
        code, said, complained = ended(replay(stage, "--recount", "--yes", proxy=proxy, entry=guards_off(*guards)))
        assert code == 0, complained
        assert [call.applied for call in lost] == [True]
        assert (differences(stage.game.board(), right) == []) is exact, said


@pytest.mark.proof
@pytest.mark.parametrize(("guards", "exact"), [((), True), (("same-state",), False)])
def test_the_rows_word_is_that_of_the_moment_it_counts(
    fresh_engine: TableEngine, guards: tuple[str, ...], exact: bool
) -> None:
    """A record is redriven while a batch that takes it for pending is on its way."""
    with absorbed(fresh_engine) as stage, Proxy(fresh_engine.url) as proxy:
        items = [stage.game.make("foo") for _ in range(3)]
        numbers = stage.write(items[0], spoiled(items[1]), items[2])
        held = proxy.hold(is_count, applied=False)
        process = replay(stage, "--recount", "--yes", proxy=proxy, entry=guards_off(*(guards or ("none",))))
        held.wait_caught()
        stage.redrive(numbers[1], score="12")
        held.let_go()
        code, _, complained = ended(process)
        assert code == 0, complained
        tally = Tally()
        for item in (items[0], items[1] | {"score": {"N": "12"}}, items[2]):
            tally.count(item)
        assert (differences(stage.game.board(), plus(tally.rows, tally.rows)) == []) is exact
