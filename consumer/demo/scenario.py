"""The demo's story: games are written, the worker is killed half-way and started again, the board is compared."""

import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from consumer.aws.clients import connect
from consumer.aws.leases import DynamoLeases
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.tables import DynamoBoard
from consumer.aws.wire import call_with_retries
from consumer.demo.engine import Engine
from consumer.demo.expected import Quarantined, compare_board, compare_quarantine
from consumer.demo.games import poison_of, season
from consumer.demo.server import ServerError
from consumer.demo.show import Show, Snapshot, open_show
from consumer.demo.worker_process import Activity, WorkerProcess
from consumer.demo.writer import KEYS, Writer
from consumer.domain.errors import CallFailed, ConsumerError
from consumer.domain.marks import writes_of
from consumer.domain.text import many
from consumer.settings import DEMO_PREFIX, load
from consumer.wiring.operators import init, table_names

REGION: Final = "eu-west-1"
SOURCE_TABLE: Final = "GameEvents"
WORKER_ID: Final = "demo"
UPDATE_SECONDS: Final = 0.2
RATE_SECONDS: Final = 1.0
STALL_SECONDS: Final = 30.0
"""When nothing is written or done for so long, it never will be."""
KEEP_SECONDS: Final = 0.2
SHOWN_DIFFERENCES: Final = 5
NEXT: Final = (
    ("consumer demo --keep", "the same, and it goes on, to play with"),
    ("consumer run --help", "every setting and its default"),
    ("consumer init", "the tables, in your own AWS account"),
    ("consumer run --source-table NAME", "a leaderboard of your table's stream"),
)
PLAY: Final = (
    ("consumer status --watch", "the worker, its shard, its lag"),
    ("consumer top --limit 5", "the board"),
    ("consumer quarantine list --limit 5", "what could not be counted, and why"),
    ("consumer quarantine redrive --reason score_missing --set score=5 --dry-run", ""),
    ("consumer quarantine redrive --reason score_missing --set score=5 --yes", ""),
    ("consumer audit-log", "who changed what"),
)
GAME: Final = """\
aws dynamodb put-item --table-name GameEvents --item '{
    "playerId": {"S": "ada"}, "gameId": {"S": "mine"},
    "score": {"N": "12.5"}, "timestamp": {"S": "2026-01-31T20:15:00Z"}}'"""


class DemoFailed(ConsumerError):
    """The demo could not be run to its end."""


def play(games: int, players: int, *, keep: bool = False) -> int:
    """See consumer.demo.play."""
    parent_pid = os.getppid()
    with open_show() as show:
        try:
            with Engine() as engine, environment(engine.url), closing(Scenario(show, games, players)) as scenario:
                show.say("engine", f"ministack (DynamoDB with streams) at {engine.url}")
                differences = scenario.play()
                if keep:
                    scenario.start_again()
                if differences:
                    more = len(differences) - SHOWN_DIFFERENCES
                    lines = [many(len(differences), "difference"), *differences[:SHOWN_DIFFERENCES]]
                    show.end("NOT EXACT", [*lines, f"... and {more:,} more"] if more > 0 else lines, good=False)
                else:
                    show.end("EXACT", scenario.summary(), good=True)
                if keep:
                    scenario.keep(engine.url, parent_pid)
        except ServerError as error:
            raise DemoFailed(f"the embedded engine cannot be had: {error}") from error
        except CallFailed as failure:
            raise DemoFailed(f"the embedded engine does not do what it should: {failure.detail}") from failure
        except KeyboardInterrupt:
            show.say("stop", "interrupted; nothing is left running")
            raise
        if keep:
            show.say("stop", "nothing is left running")
        elif not differences:
            show.advise("What to try next", [*_path(), *NEXT])
    return 1 if differences else 0


def _path() -> list[tuple[str, str]]:
    """What makes `consumer` this program in the operator's shell; nothing where it is."""
    folder = Path(sys.executable).parent
    if shutil.which("consumer") == os.fspath(folder / "consumer"):
        return []
    inside = folder.is_relative_to(Path.cwd())
    return [(f'export PATH="{Path("$PWD", folder.relative_to(Path.cwd())) if inside else folder}:$PATH"', "")]


@contextmanager
def environment(engine_url: str) -> Iterator[None]:
    """This process, and those that it starts, see the engine as their AWS and no settings but the defaults.

    Whatever this machine's own AWS account, settings, configuration files and proxies are: they are out of reach.
    """
    before = dict(os.environ)
    for name in before:
        if name.upper().startswith(("AWS_", "CONSUMER_")) and not name.startswith(DEMO_PREFIX):
            del os.environ[name]
    os.environ.update(
        {
            "AWS_ENDPOINT_URL_DYNAMODB": engine_url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": engine_url,
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Scenario:
    """One run of the demo, in an environment. Close it: nothing that it started is left then."""

    def __init__(self, show: Show, games: int, players: int) -> None:
        self._show = show
        self._games, self._players = games, players
        self._total = games + poison_of(games)
        self._stop = threading.Event()
        self._settings = load({}, needs=())
        client, names = connect(self._settings.pool_size).dynamodb, table_names(self._settings)
        self._leaderboard = DynamoBoard(client, names, self._stop)
        self._quarantine = DynamoQuarantine(client, names, self._stop)
        self._ledger = DynamoLeases(client, names)
        self._writer = Writer(client, SOURCE_TABLE, season(games, players, datetime.now(UTC)), self._stop)
        self._worker: WorkerProcess | None = None
        self._done: deque[tuple[float, int]] = deque()
        self._moved_at = 0.0
        self._left_at_kill = 0

    def close(self) -> None:
        """Ends the writer and the worker."""
        self._writer.close()
        if self._worker is not None:
            self._worker.close()

    def play(self) -> list[str]:
        """The differences at the end, one sentence each. Raises DemoFailed when the demo comes to no end."""
        self._writer.create_table()
        tables = [SOURCE_TABLE, *(report.name for report in init(self._settings))]
        self._show.say("tables", ", ".join(tables))
        players, poison = many(self._players, "player"), many(poison_of(self._games), "poison record")
        self._show.say("games", f"{self._games:,} by {players}, and {poison}")
        self._moved_at = time.monotonic()
        self._writer.write((self._total + 1) // 2)
        worker = self._start_worker("started")
        self._watch_until(worker, lambda snapshot: snapshot.done > 0)
        (stream_start,) = call_with_retries(self._ledger.load, self._stop).stream_starts
        self._show.say("writes", str(writes_of(stream_start, KEYS[0][0])))
        self._watch_until(worker, lambda snapshot: snapshot.done >= 0.45 * self._total)
        self._writer.write()
        self._let_it_fall_behind()
        self._kill(worker)
        worker = self._start_worker("started again")
        self._watch_until(
            worker,
            lambda snapshot: (
                self._writer.finished and snapshot.done >= self._total and snapshot.activity is Activity.WORKING
            ),
        )
        self._stop_gracefully(worker)
        return self._differences()

    def start_again(self) -> None:
        """Starts a worker on what the demo leaves, and waits until it works."""
        worker = self._start_worker("started again")
        self._watch_until(worker, lambda snapshot: snapshot.activity is Activity.WORKING)

    def keep(self, engine_url: str, parent_pid: int) -> None:
        """Shows commands to play with; returns after Ctrl-C, or when the process that started this one is gone."""
        assert self._worker is not None
        worker = self._worker
        exports = [
            f"export AWS_ENDPOINT_URL={engine_url} AWS_REGION={REGION}",
            "export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo",
            f"export CONSUMER_SOURCE_TABLE={SOURCE_TABLE} NO_PROXY=127.0.0.1",
        ]
        self._show.advise("It goes on. In another terminal, in this folder", [(line, "") for line in exports])
        self._show.advise(
            "Then", [*_path(), *PLAY, (f"kill -9 {worker.pid}", "the worker"), ("consumer run", "another")]
        )
        self._show.advise("A game, with the AWS command line", [(GAME, "")])
        self._show.say("keep", f"Ctrl-C ends it all; metrics: {worker.url}/metrics")
        alive = True
        with suppress(KeyboardInterrupt):
            while os.getppid() == parent_pid:
                if alive and (exit_code := worker.exit_code()) is not None:
                    alive = False
                    self._show.say("worker", f"process {worker.pid} has ended with status {exit_code}")
                time.sleep(KEEP_SECONDS)
        if worker.exit_code() is None:
            worker.stop()

    def summary(self) -> list[str]:
        """What was compared, once nothing differed."""
        expected = self._writer.expected
        games, players = many(expected.games, "game"), many(len(expected.board), "player")
        return [
            f"{games} of {players}, each counted once, to the last digit;",
            f"{many(len(expected.poison), 'poison record')} in quarantine, each whole and with its reason;",
            f"all of it with a worker that was killed with {many(self._left_at_kill, 'record')} to go.",
        ]

    def _start_worker(self, verb: str) -> WorkerProcess:
        worker = self._worker = WorkerProcess(SOURCE_TABLE, WORKER_ID)
        self._show.say("worker", f"{verb}: consumer run, process {worker.pid}")
        return worker

    def _let_it_fall_behind(self) -> None:
        """Waits until records wait for the worker: soon, for the second half is written as fast as possible."""
        done, behind = self._done[-1][1], min(500, max(1, self._total // 40))
        while self._writer.written < done + behind and not self._writer.finished:
            self._stop.wait(0.002)

    def _kill(self, worker: WorkerProcess) -> None:
        worker.close()
        written = self._writer.written
        snapshot = self._update(worker)
        self._left_at_kill = self._total - snapshot.done
        waiting = max(0, written - snapshot.done)
        self._show.say(
            "kill", f"SIGKILL to process {worker.pid}: {snapshot.done:,} done, {waiting:,} waiting in the stream"
        )

    def _stop_gracefully(self, worker: WorkerProcess) -> None:
        exit_code = worker.stop()
        self._update(worker)
        if exit_code != 0:
            raise DemoFailed(f"the worker ended with status {exit_code} after SIGTERM{_log_of(worker)}")
        self._show.say("worker", "SIGTERM: lease released, exit code 0")

    def _watch_until(self, worker: WorkerProcess, enough: Callable[[Snapshot], bool]) -> None:
        while True:
            began = time.monotonic()
            snapshot = self._update(worker)
            if (failure := self._writer.failure) is not None:
                raise DemoFailed(f"the games could not be written: {failure}") from failure
            if (exit_code := worker.exit_code()) is not None:
                raise DemoFailed(f"the worker ended by itself with status {exit_code}{_log_of(worker)}")
            if time.monotonic() - self._moved_at > STALL_SECONDS:
                raise DemoFailed(f"nothing moved for {STALL_SECONDS:.0f} s{_log_of(worker)}")
            if enough(snapshot):
                return
            self._stop.wait(max(UPDATE_SECONDS, 3 * (time.monotonic() - began)))  # reading a large board is expensive

    def _update(self, worker: WorkerProcess) -> Snapshot:
        """Shows what is in the tables now."""
        written = self._writer.written
        board = list(self._leaderboard.rows())
        quarantined = sum(1 for _ in self._quarantine.entries())
        done = int(sum(row.games or 0 for row in board)) + quarantined
        lag = worker.lag()
        snapshot = Snapshot(
            pid=worker.pid,
            activity=worker.activity,
            lag=lag,
            written=written,
            total=self._total,
            done=done,
            quarantined=quarantined,
            per_second=self._rate(done),
            board=board,
        )
        self._show.update(snapshot)
        return snapshot

    def _rate(self, done: int) -> float:
        """Records per second over the last RATE_SECONDS."""
        now = time.monotonic()
        if not self._done or done != self._done[-1][1]:
            self._moved_at = now
        self._done.append((now, done))
        while len(self._done) > 2 and self._done[1][0] <= now - RATE_SECONDS:
            self._done.popleft()
        since, before = self._done[0]
        return (done - before) / (now - since) if now > since else 0.0

    def _differences(self) -> list[str]:
        expected = self._writer.expected
        found = (
            Quarantined(entry.reason, entry.state, self._quarantine.record(entry))
            for entry in self._quarantine.entries()
        )
        return compare_board(expected, self._leaderboard.rows()) + compare_quarantine(expected, found)


def _log_of(worker: WorkerProcess) -> str:
    return f"; its log ends with\n{worker.log_tail()}"
