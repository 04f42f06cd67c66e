"""The demonstration: real games, the real worker, a real kill, and a verdict that nobody can talk his way out of."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

from consumer.aws.board import DynamoBoard
from consumer.aws.clients import connect
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.source import DynamoSource
from consumer.bootstrap.tables import init
from consumer.demo.engine import Engine
from consumer.demo.games import poison_of, season
from consumer.demo.show import Pulse, Scene, Show, many
from consumer.demo.surroundings import pointed_at
from consumer.demo.tally import Kept, compare_board, compare_quarantine
from consumer.demo.worker import Worker
from consumer.demo.writer import Writer
from consumer.domain.board import BoardRow
from consumer.domain.errors import ConsumerError
from consumer.settings import load

SOURCE_TABLE: Final = "GameEvents"
LOOK_SECONDS: Final = 0.2
RATE_SECONDS: Final = 1.0
STALL_SECONDS: Final = 30.0
"""When nothing is written or done for so long, it never will be."""


class DemoFailed(ConsumerError):
    """The demonstration could not be brought to its end."""


class Stage:
    """One demonstration; everything that it starts is gone when its `with` ends."""

    def __init__(self, show: Show, games: int, players: int) -> None:
        self._show = show
        self._games = games
        self._players = players
        self._total = games + poison_of(games)
        self._stop = threading.Event()
        self._left = ExitStack()
        self._board: list[BoardRow] = []
        self._done: deque[tuple[float, int]] = deque()
        self._moved_at = 0.0
        self._pid = 0
        self._pulse = Pulse.STARTING
        self._left_at_kill = 0

    def __enter__(self) -> "Stage":
        with ExitStack() as started:
            engine = started.enter_context(Engine())
            self._show.tell("engine", f"ministack (DynamoDB with streams) at {engine.url}")
            started.enter_context(pointed_at(engine.url))
            self._make_tables()
            self._worker = Worker(SOURCE_TABLE)
            started.callback(self._worker.close)
            started.callback(self._writer.close)
            started.callback(self._stop.set)
            self._left = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def play(self) -> list[str]:
        """What is not as it must be at the end, one sentence each; raises DemoFailed when there is no end."""
        who, poison = many(self._players, "player"), many(poison_of(self._games), "poison record")
        self._show.tell("games", f"{self._games:,} by {who}, {poison} among them")
        self._moved_at = time.monotonic()
        self._writer.start()
        self._start_worker("started")
        self._watch_until(lambda scene: scene.done >= 0.45 * self._total)
        self._writer.go_on()
        self._let_it_fall_behind()
        self._kill_worker()
        self._start_worker("started again")
        self._watch_until(
            lambda scene: self._writer.finished and scene.done >= self._total and scene.pulse is Pulse.WORKING
        )
        self._stop_worker()
        return self._compare()

    def summary(self) -> list[str]:
        """What was compared, once nothing differed."""
        tally = self._writer.tally
        return [
            f"{many(tally.games, 'game')} of {many(len(tally.board), 'player')}, each counted once, to the last digit;",
            f"{many(len(tally.poison), 'poison record')} in quarantine, each whole and with its reason;",
            f"all of it with a worker that was killed with {many(self._left_at_kill, 'record')} to go.",
        ]

    def _make_tables(self) -> None:
        settings = load({}, needs=())
        client = connect(settings.pool_size).dynamodb
        source = DynamoSource(client, SOURCE_TABLE, self._stop)
        source.create()
        names = [report.name for report in init(settings)]
        self._show.tell("tables", f"{SOURCE_TABLE}, {', '.join(names)}")
        self._leaderboard = DynamoBoard(client, settings.leaderboard_table, self._stop)
        self._quarantine = DynamoQuarantine(client, settings.quarantine_table, self._stop)
        records = season(self._games, self._players, datetime.now(UTC))
        self._writer = Writer(source, records, (self._total + 1) // 2, self._stop)

    def _start_worker(self, word: str) -> None:
        self._pid = self._worker.start()
        self._pulse = Pulse.STARTING
        self._show.tell("worker", f"{word}: consumer run, process {self._pid}")

    def _let_it_fall_behind(self) -> None:
        """Until records wait for the worker: soon, for the second half is being written as fast as it goes."""
        done, behind = self._done[-1][1], min(500, max(1, self._total // 40))
        while self._writer.written < done + behind and not self._writer.finished:
            self._stop.wait(0.002)

    def _kill_worker(self) -> None:
        self._worker.kill()
        self._pulse = Pulse.KILLED
        written = self._writer.written
        scene = self._look()
        self._show.update(scene)
        self._left_at_kill = self._total - scene.done
        waiting = max(0, written - scene.done)
        self._show.tell(
            "kill", f"SIGKILL to process {self._pid}: {scene.done:,} done, {waiting:,} waiting in the stream"
        )

    def _stop_worker(self) -> None:
        status = self._worker.stop()
        self._pulse = Pulse.STOPPED
        self._show.update(self._look())
        if status != 0:
            raise DemoFailed(self._with_log(f"the worker ended with status {status} after SIGTERM"))
        self._show.tell("worker", "SIGTERM: lease released, exit code 0")

    def _watch_until(self, enough: Callable[[Scene], bool]) -> None:
        while True:
            looked_at = time.monotonic()
            scene = self._look()
            self._show.update(scene)
            self._check()
            if enough(scene):
                return
            self._stop.wait(max(LOOK_SECONDS, 3 * (time.monotonic() - looked_at)))  # a large board costs the engine

    def _check(self) -> None:
        if self._writer.failure is not None:
            raise DemoFailed(f"the games could not be written: {self._writer.failure}") from self._writer.failure
        if (status := self._worker.status()) is not None:
            raise DemoFailed(self._with_log(f"the worker ended by itself with status {status}"))
        if time.monotonic() - self._moved_at > STALL_SECONDS:
            raise DemoFailed(self._with_log(f"nothing moved for {STALL_SECONDS:.0f} s"))

    def _with_log(self, sentence: str) -> str:
        return f"{sentence}; its log ends with\n{self._worker.last_words()}"

    def _look(self) -> Scene:
        """How things stand, by what is in the tables."""
        written = self._writer.written
        self._board = list(self._leaderboard.rows())
        quarantined = sum(1 for _ in self._quarantine.heads())
        done = int(sum(row.games or 0 for row in self._board)) + quarantined
        now = time.monotonic()
        if not self._done or done != self._done[-1][1]:
            self._moved_at = now
        self._done.append((now, done))
        while len(self._done) > 2 and self._done[1][0] <= now - RATE_SECONDS:
            self._done.popleft()
        since, before = self._done[0]
        lag_seconds = self._worker.lag_seconds()
        if self._pulse is Pulse.STARTING and lag_seconds is not None:
            self._pulse = Pulse.WORKING
        return Scene(
            pulse=self._pulse,
            pid=self._pid,
            written=written,
            total=self._total,
            done=done,
            quarantined=quarantined,
            per_second=(done - before) / (now - since) if now > since else 0.0,
            lag_seconds=lag_seconds,
            board=self._board,
        )

    def _compare(self) -> list[str]:
        tally = self._writer.tally
        kept = (Kept(head.reason, head.state, self._quarantine.record(head)) for head in self._quarantine.heads())
        return compare_board(tally, self._leaderboard.rows()) + compare_quarantine(tally, kept)
