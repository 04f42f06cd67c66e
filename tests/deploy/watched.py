"""Two real workers on a stream of two shards, played on all the time, and a real Prometheus that looks at them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.deploy.alerts import rules_text
from tests.deploy.prometheus import Prometheus, sooner
from tests.engines import TableEngine
from tests.processes import Game, WorkerProcess, until
from tests.streams_server import StreamsServer

_PLAY_EVERY_SECONDS = 0.1
_GAMES = 5
_PLAYERS = 40


class Watched:
    """`workers` by name. The game is played by a thread of its own; `poison` is the part of it that cannot count."""

    def __init__(self, game: Game, prometheus: Prometheus, workers: dict[str, WorkerProcess]) -> None:
        self.game = game
        self.prometheus = prometheus
        self.workers = workers
        self.poison = 0.0

    def instance(self, name: str) -> str:
        """What Prometheus calls a worker."""
        return f"127.0.0.1:{self.workers[name].port}"

    def start_again(self, name: str) -> None:
        """A worker that has ended, at its old port."""
        self.workers[name] = start(self.game, name, str(self.workers[name].port))

    def wait_for(self, *alerts: tuple[str, str], seconds: float = 40.0) -> None:
        """Until these fire, and no other."""
        until(lambda: self.prometheus.firing() == set(alerts), f"{alerts}, not {self.prometheus.firing()}", seconds)


def start(game: Game, name: str, port: str = "0") -> WorkerProcess:
    """A worker that is quick to take over and to look for news."""
    return game.worker(
        worker_id=name, http_port=port, log_level="INFO", poll_interval_seconds="0.1", lease_ttl_seconds="1"
    )


@contextmanager
def watched(engine_url: str, folder: Path) -> Iterator[Watched]:
    """Both workers own a shard before Prometheus begins; its rules' durations are a sixtieth of ours."""
    with ExitStack() as stack:
        server = stack.enter_context(StreamsServer(engine_url))
        game = stack.enter_context(Game(replace(TableEngine("ministack", engine_url), url=server.url)))
        server.remote.split(0)
        workers = {name: start(game, name) for name in ("w1", "w2")}
        for worker in workers.values():
            until(lambda worker=worker: owns(worker) == 1, "a shard each")  # type: ignore[misc]
        targets = [f"127.0.0.1:{worker.port}" for worker in workers.values()]
        prometheus = stack.enter_context(Prometheus(folder, sooner(rules_text()), targets))
        scene = Watched(game, prometheus, workers)
        stack.enter_context(played(scene))
        yield scene


def owns(worker: WorkerProcess) -> int:
    """How many shards, by its own metrics."""
    lines = worker.get("/metrics")[1].splitlines()
    name = "leaderboard_consumer_leases_owned "
    return int(next(float(line.removeprefix(name)) for line in lines if line.startswith(name)))


@contextmanager
def played(scene: Watched) -> Iterator[None]:
    """A few games at a time, until the end."""
    over = threading.Event()

    def play() -> None:
        while not over.wait(_PLAY_EVERY_SECONDS):
            scene.game.play(_GAMES, _PLAYERS, scene.poison)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
