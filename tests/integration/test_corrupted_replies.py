"""A damaged reply is never believed: the call is made again, the board stays exact, and a metric counts it."""

import random

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, consumer, is_row_write


class Damage:
    """Damages the first reply to each operation that has something to damage, and then every fourth.

    The probe of statements and those that write rows are two operations here.
    """

    def __init__(self) -> None:
        self._random = random.Random(5)
        self.operations: set[tuple[str, bool]] = set()

    def __call__(self, call: Call) -> Fate:
        operation = call.operation, is_row_write(call)
        first = operation not in self.operations
        self.operations.add(operation)
        return Fate.CORRUPT if first or self._random.random() < 0.25 else Fate.PASS


def test_a_damaged_reply_is_a_failed_call(engine: TableEngine) -> None:
    with Game(engine) as game, Proxy(engine.url, Damage()) as proxy:
        game.play(300, 20, poison=0.02)
        worker = game.worker(proxy, poll_interval_seconds="0.05")
        game.wait_until_consumed()
        game.play(300, 20)
        game.wait_until_consumed()
        game.assert_exact()
        status, metrics = worker.get("/metrics")
        assert status == 200
        damaged = [call for call in proxy.of("GetRecords") if call.fate is Fate.CORRUPT and b'"N"' in call.answer]
        assert damaged, "no page with records was damaged"
        assert corrupted(metrics, "get_records") >= len(damaged)
        statements = [call for call in proxy.of("BatchExecuteStatement") if call.fate is Fate.CORRUPT]
        assert sum(map(is_row_write, statements)) >= 1, "rows were written, and no reply said so"
        assert corrupted(metrics, "write_rows") >= 1
        assert worker.terminate().code == 0
        assert not worker.events("worker.stalled")


def corrupted(metrics: str, operation: str) -> float:
    """How many calls were made again for such a reply."""
    wanted = f'operation="{operation}",reason="corrupted"'
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if wanted in line)


def test_a_command_asks_again_after_a_damaged_reply(engine: TableEngine) -> None:
    with Game(engine) as game, Proxy(engine.url) as proxy:
        row = {"playerId": {"S": "foo"}, "gamesPlayed": {"N": "1"}, "totalScore": {"N": "7"}}
        game.client.put_item(TableName=game.tables["leaderboard"], Item=row)
        proxy.decide = Damage()
        top = consumer("top", "--json", environment=game.environment(proxy))
    assert top.returncode == 0, top.stderr
    assert '"totalScore": 7' in top.stdout
    assert proxy.fates(proxy.of("Scan")) == {"damage the reply": 1, "pass": 1}
