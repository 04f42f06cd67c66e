"""Empty pages before data, as a real worker process meets them: that nothing came is no proof that nothing is there."""

import json
import re
from dataclasses import replace

import pytest

from tests.streams_server import Fault, Rule, StreamsServer
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, consumer, until

EMPTY_PAGES = 100


def start(game: Game) -> WorkerProcess:
    """A worker that would poll rarely as soon as it takes the shard for idle."""
    return game.worker(poll_interval_seconds="0.05", idle_after_seconds="1", idle_poll_interval_seconds="30")


def metric(text: str, name: str) -> float:
    found = re.search(rf"^leaderboard_consumer_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def empty_pages(server: StreamsServer) -> int:
    return server.remote.counts().faults.get("GetRecords/empty", 0)


@pytest.mark.timeout(90)
def test_absence_is_not_taken_for_caught_up(engine: TableEngine) -> None:
    """Many empty pages before 2,000 games: until the first game the lag is unknown, and polling is not slowed."""
    with StreamsServer(engine.url) as server, Game(replace(engine, url=server.url)) as game:
        game.play(2_000, 60)
        server.remote.set_faults(Rule(Fault.EMPTY))
        worker = start(game)
        until(lambda: empty_pages(server) >= EMPTY_PAGES, "half of them")
        until(lambda: "lag unknown, at most" in worker.get("/readyz")[1], "readiness says it")
        metrics = worker.get("/metrics")[1]
        assert metric(metrics, "lag_unknown") == 1.0
        assert metric(metrics, "lag_seconds") > 1.0, "an upper bound, which grows"
        done = consumer("status", "--json", environment=game.environment())
        assert json.loads(done.stdout)["lagSeconds"] is None, "status says so too"

        seen = empty_pages(server)
        until(lambda: empty_pages(server) >= seen + EMPTY_PAGES, "at full pace", 20)
        server.remote.set_faults()
        game.wait_until_consumed()
        until(lambda: metric(worker.get("/metrics")[1], "lag_unknown") == 0.0, "the newest game is recent")
        until(lambda: metric(worker.get("/metrics")[1], "lag_seconds") == 0.0, "caught up")
        until(lambda: worker.get("/readyz") == (200, "ready\n"), "readiness has nothing to add")
        game.assert_exact()
        assert worker.terminate().code == 0


@pytest.mark.proof
@pytest.mark.timeout(150)
def test_an_idle_stream_is_caught_up_with_within_a_minute_or_so(engine: TableEngine) -> None:
    """After a restart nothing comes: the worker is ready at once, knows its lag after a while, then polls rarely."""
    with StreamsServer(engine.url) as server, Game(replace(engine, url=server.url)) as game:
        game.play(10, 3)
        first = start(game)
        game.wait_until_consumed()
        assert first.terminate().code == 0
        worker = start(game)
        until(lambda: worker.get("/readyz")[0] == 200, "ready")
        until(lambda: metric(worker.get("/metrics")[1], "lag_unknown") == 1.0, "unknown")
        until(lambda: metric(worker.get("/metrics")[1], "lag_unknown") == 0.0, "known", 75)
        assert metric(worker.get("/metrics")[1], "lag_seconds") == 0.0
        reads = server.remote.counts().calls["GetRecords"]
        until(lambda: worker.get("/readyz") == (200, "ready\n"), "readiness has nothing to add")
        assert server.remote.counts().calls["GetRecords"] - reads < 10
        assert worker.terminate().code == 0
