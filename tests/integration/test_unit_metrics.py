"""The units that a worker exports are those that a proxy counts: every call of it, refused ones too."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from math import isclose
from typing import Final

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, until

PLAYERS: Final = 150
GAMES_PER_SECOND: Final = 300
SERIES: Final = re.compile(r'leaderboard_consumer_(write|read)_units_total\{table="(\w+)"\} (\S+)')
REFUSED: Final = ("ConditionalCheckFailed", "DuplicateItem")


def billed(calls: Iterable[Call], *, indexes: bool) -> dict[tuple[str, str], float]:
    """Units by kind and table name, by DynamoDB's published rules. All items are below 1 KB.

    `indexes`: whether the engine says what each action of a transaction writes to an index. DynamoDB Local says what
    one of them costs: that is more than the actions alone where there is one poison record.
    """
    units: defaultdict[tuple[str, str], float] = defaultdict(float)
    for call in [call for call in calls if call.status is not None]:
        for kind, table, count in _units_of(call, indexes):
            units[kind, table] += count
    return units


def _units_of(call: Call, indexes: bool) -> Iterator[tuple[str, str, float]]:
    request, reply = call.request, call.reply
    refused = str(reply.get("__type", "")).rpartition("#")[2]
    match call.operation:
        case "UpdateItem" if refused in ("", "ConditionalCheckFailedException"):
            yield "write", request["TableName"], 1
        case "BatchExecuteStatement" if not refused:
            for answer in reply["Responses"]:
                if answer.get("Error", {}).get("Code", REFUSED[0]) in REFUSED:
                    yield "write", re.split('"', request["Statements"][0]["Statement"])[1], 1
        case "TransactWriteItems" if refused in ("", "TransactionCanceledException"):
            writes = [write for action in request["TransactItems"] for write in action.values()]
            heads = [write for write in writes if "pendingShardId" in write.get("UpdateExpression", "")]
            for write in writes:
                yield "write", write["TableName"], 2
            if heads and not refused and (indexes or len(heads) == 1):
                yield "write", heads[0]["TableName"], len(heads) if indexes else 2  # new entries of the index
        case "GetItem" | "Query" | "Scan" if not refused:
            yield "read", request["TableName"], 1 if request.get("ConsistentRead") else 0.5
        case "BatchGetItem" if not refused:
            for table, wanted in request["RequestItems"].items():
                yield "read", table, len(wanted["Keys"]) * (1 if wanted.get("ConsistentRead") else 0.5)
        case "TransactGetItems" if not refused:
            for action in request["TransactItems"]:
                yield "read", action["Get"]["TableName"], 2


def exported(metrics: str) -> dict[tuple[str, str], float]:
    """By kind and table."""
    return {(kind, table): float(value) for kind, table, value in SERIES.findall(metrics)}


def every_second_statement_twice() -> Callable[[Call], Fate]:
    """They take effect before their call does, which is refused then."""
    fates = cycle((Fate.PASS, Fate.TWICE))
    return lambda call: next(fates) if call.operation == "BatchExecuteStatement" else Fate.PASS


@pytest.mark.timeout(60)
def test_the_units_of_a_worker_are_those_that_a_proxy_counts(engine: TableEngine) -> None:
    """Live games of new and of known players; poison; refused statements."""
    with Game(engine) as game, Proxy(engine.url, every_second_statement_twice()) as proxy:
        worker = game.worker(proxy)
        for _ in range(2):
            for first in range(0, PLAYERS, 25):
                game.count(*(game.make(f"player-{number:05}") for number in range(first, first + 25)))
                time.sleep(25 / GAMES_PER_SECOND)
        for poison in (1, 9):
            game.play(poison, PLAYERS, poison=1)
            game.play(40, PLAYERS)
            game.wait_until_consumed()

        def compared() -> dict[tuple[str, str], tuple[float, float]]:
            """What is exported, and what the proxy has counted; calls go on meanwhile."""
            names = {name: table for table, name in game.tables.items()}
            ours = exported(worker.get("/metrics")[1])
            right = {
                (kind, names[name]): count
                for (kind, name), count in billed(proxy.calls, indexes=engine.name == "ministack").items()
            }
            return {key: (ours.get(key, 0.0), right.get(key, 0.0)) for key in ours | right}

        found: dict[tuple[str, str], tuple[float, float]] = {}

        def they_agree() -> bool:
            """Keeps what it compared: a call between the two looks of a later comparison is no difference."""
            found.update(compared())
            return all(isclose(*pair, rel_tol=0.01) for pair in found.values())

        with suppress(AssertionError):
            until(they_agree, "they agree", 5)
        calls = proxy.calls
        game.assert_exact()
    for (kind, table), (ours, right) in sorted(found.items()):
        print(f"{engine.name}: {kind} units of {table}: {ours:g} exported, {right:g} counted by the proxy")
    assert all(isclose(*pair, rel_tol=0.01) for pair in found.values()), found
    assert all(right > 0 for _, right in found.values()), found
    assert any(b'"Error"' in call.answer for call in calls if call.fate is Fate.TWICE), "nothing was refused"
