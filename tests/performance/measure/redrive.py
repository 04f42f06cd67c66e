"""A bulk re-drive: ten thousand quarantined records, each counted with its own score, by one command."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.performance.bench.runs import LOCAL, fresh_engine, missing, title
from tests.performance.figures import Figure
from tests.support.builders import wire
from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer
from tests.support.processes.committed_shard import commit_wires

RECORDS = 10_000
LIMIT_SECONDS = 180.0


def redrive(engine_url: str, records: int = RECORDS) -> Iterator[Figure]:
    """From the command's start to its end, on DynamoDB Local where it can run; for few players, and for many."""
    for players in (500, records):
        with ExitStack() as stack:
            engine = TableEngine("ministack", engine_url)
            if missing(LOCAL) is None:
                engine = stack.enter_context(fresh_engine(LOCAL))
            game = stack.enter_context(Game(engine))
            scores = ({"S": f"{number}.5"} for number in range(records))
            commit_wires(
                game, [wire(number, player=f"p{number % players}", score=score) for number, score in enumerate(scores)]
            )
            began = time.monotonic()
            command = ("quarantine", "redrive", "--all", "--convert", "score", "--yes")
            ended = consumer(*command, environment=game.environment(), seconds=3 * LIMIT_SECONDS)
            took = time.monotonic() - began
            assert ended.stdout == f"{records:,} records counted\n", (ended.stdout, ended.stderr)
            assert sum(row.games for row in game.board().values()) == records
        note = f"{records / took:,.0f} records/s on {title(engine.name)}"
        yield Figure(f"{records:,} records of {players:,} players", took, "s", LIMIT_SECONDS, note)
