"""A real Prometheus, and two real workers that it scrapes."""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from consumer.demo.server import Server
from tests.deploy.checkers import program
from tests.deploy.monitoring import rules_text
from tests.streams_server import StreamsServer
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until
from tests.support.processes.waiting import http_get

JOB = "leaderboard-consumer"


class Sample(NamedTuple):
    """A series' labels (its name is `__name__`) and its current value."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Server):
    """Scrapes and evaluates once per second; what it stores is in `folder`. `rules` is the text of a rules file."""

    name = "prometheus"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, rules: str, targets: Sequence[str]) -> None:
        super().__init__()
        self._folder = folder
        (folder / "rules.yml").write_text(rules)
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration))

    def command(self, port: int) -> list[str]:
        return [
            program("prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]

    def environment(self, port: int) -> dict[str, str]:  # noqa: ARG002  the port is on the command line
        return {"PATH": os.environ["PATH"]}

    def start(self) -> None:
        """Returns once it answers queries; before that it reports that it is not ready."""
        super().start()
        try:
            until(lambda: self._get_text("/-/ready")[0] == 200, "Prometheus is ready")
        except BaseException:
            self.stop()
            raise

    def query(self, expression: str) -> list[Sample]:
        """The current value of an expression; AssertionError when Prometheus does not understand it."""
        reply = self._get("query", query=expression)
        assert reply["resultType"] == "vector", expression
        return [Sample(series["metric"], float(series["value"][1])) for series in reply["result"]]

    def value(self, expression: str) -> float | None:
        """The value of the only series; None while there is none."""
        samples = self.query(expression)
        assert len(samples) <= 1, samples
        return samples[0].value if samples else None

    def rules(self) -> list[dict[str, Any]]:
        """The rules as Prometheus has read and evaluated them."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def label_values(self, name: str, series: str) -> list[str]:
        """The values of a label, as Grafana's `label_values` queries them."""
        return list(self._get(f"label/{name}/values", **{"match[]": series}))

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire: name and instance, if it has one."""
        return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in self._firing()}

    def summaries(self) -> set[str]:
        """The summary of each alert that fires."""
        return {alert["annotations"]["summary"] for alert in self._firing()}

    def _firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"]

    def _get(self, path: str, **parameters: str) -> Any:
        status, text = self._get_text(f"/api/v1/{path}?{urlencode(parameters)}")
        assert status == 200, text
        return json.loads(text)["data"]

    def _get_text(self, path: str) -> tuple[int, str]:
        return http_get(urlsplit(self.url).netloc, path, 10)


def shortened(rules: str) -> str:
    """The rules with a sixtieth of each duration: minutes become seconds, hours minutes, a day 24 minutes."""

    def shorten(match: re.Match[str]) -> str:
        before, number, unit = match.groups()
        return before + {"m": f"{number}s", "h": f"{number}m", "d": f"{24 * int(number)}m"}[unit]

    return re.sub(r"(for: |\[)(\d+)([mhd])\b", shorten, rules)


_PLAY_EVERY_SECONDS = 0.1
_GAMES = 5
_PLAYERS = 40


class MonitoredCluster:
    """Two workers by name, a game that a thread plays, and Prometheus. `poison`: the share of poison games."""

    def __init__(self, game: Game, prometheus: Prometheus, workers: dict[str, WorkerProcess]) -> None:
        self.game = game
        self.prometheus = prometheus
        self.workers = workers
        self.poison = 0.0

    def instance(self, name: str) -> str:
        """A worker's `instance` in Prometheus."""
        return f"127.0.0.1:{self.workers[name].port}"

    def restart(self, name: str) -> None:
        """Starts a worker that has ended, on its old port."""
        self.workers[name] = start(self.game, name, str(self.workers[name].port))

    def wait_for(self, *alerts: tuple[str, str], seconds: float = 40.0) -> None:
        """Waits until these alerts fire, and no others."""
        until(lambda: self.prometheus.firing() == set(alerts), f"{alerts}, not {self.prometheus.firing()}", seconds)


def start(game: Game, name: str, port: str = "0") -> WorkerProcess:
    """Starts a worker that takes over and polls quickly."""
    return game.worker(
        worker_id=name, http_port=port, log_level="INFO", poll_interval_seconds="0.1", lease_ttl_seconds="1"
    )


@contextmanager
def monitored_cluster(engine_url: str, folder: Path) -> Iterator[MonitoredCluster]:
    """Both workers own a shard before Prometheus starts; its rules have a sixtieth of the real durations."""
    with ExitStack() as stack:
        server = stack.enter_context(StreamsServer(engine_url))
        game = stack.enter_context(Game(replace(TableEngine("ministack", engine_url), url=server.url)))
        server.remote.split(0)
        workers = {name: start(game, name) for name in ("w1", "w2")}
        for worker in workers.values():
            until(lambda worker=worker: owns(worker) == 1, "one shard per worker")  # type: ignore[misc]
        targets = [f"127.0.0.1:{worker.port}" for worker in workers.values()]
        prometheus = stack.enter_context(Prometheus(folder, shortened(rules_text()), targets))
        cluster = MonitoredCluster(game, prometheus, workers)
        stack.enter_context(playing(cluster))
        yield cluster


def owns(worker: WorkerProcess) -> int:
    """How many shards a worker owns, by its own metrics."""
    lines = worker.get("/metrics")[1].splitlines()
    name = "leaderboard_consumer_leases_owned "
    return int(next(float(line.removeprefix(name)) for line in lines if line.startswith(name)))


@contextmanager
def playing(cluster: MonitoredCluster) -> Iterator[None]:
    """Plays a few games at a time, until the end."""
    over = threading.Event()

    def play() -> None:
        while not over.wait(_PLAY_EVERY_SECONDS):
            cluster.game.play(_GAMES, _PLAYERS, cluster.poison)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
