"""Windows over four months, in three zones, over a turn of the year and a change to summer time, with workers killed.

The streams server says when records were created. After each stretch of days the windows that are kept then are
compared with a fold of the player's games that knows nothing of the product's code.
"""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Self

import pytest

from tests.performance.bench.units import item_bytes
from tests.streams_server import StreamsServer, build_shards
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, consumer, until
from tests.support.processes.expected_windows import ExpectedWindows, windows_of

FIRST, LAST = datetime(2025, 12, 10, tzinfo=UTC), datetime(2026, 4, 7, tzinfo=UTC)
"""A turn of the year, in the middle of a week; summer time begins in Los Angeles and Berlin, and ends on Lord Howe."""
STRETCHES = 12
RECORDS = 5_000
PLAYERS = 40
KEPT = 2
LARGEST_ROW = 1_024
"""Bytes of one write unit: so windows cost none."""
ZONES = ["America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe"]


class Season:
    """A game on a stream of two shards, two workers, and records that were created one after the other."""

    def __init__(self, engine: TableEngine, zone: str, seed: int, *, keyed: bool) -> None:
        self.keyed, self.zone = keyed, zone
        self.random = random.Random(seed)
        self.expected = ExpectedWindows(zone, KEPT)
        self.kills = 0
        self._engine = engine
        self._workers: list[WorkerProcess] = []
        self.most_bytes = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = stack.enter_context(StreamsServer(self._engine.url))
            tables = TableEngine(self._engine.name, self.server.faultless_url)
            self.game = Game(tables, keyed=self.keyed)
            keys = ("playerId", "timestamp") if self.keyed else ("matchId",)
            self.remote = self.server.remote
            self.arn = self.remote.create_stream(self.game.tables["source"], build_shards(2), keys=keys)
            stack.enter_context(self.game)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def environment(self) -> dict[str, str]:
        settings = {"lease_ttl_seconds": "2", "windows": f"day:{KEPT},week:{KEPT},month:{KEPT}", "time_zone": self.zone}
        return self.game.environment(None, **settings) | self.server.variables()

    def start(self) -> None:
        """Starts a worker."""
        environment = self.environment() | {"CONSUMER_WORKER_ID": f"w{self.kills}-{len(self._workers)}"}
        self._workers.append(self._stack.enter_context(WorkerProcess(environment)))

    def kill(self) -> None:
        """Kills a worker after its next commits, and starts another one."""
        worker = self._workers.pop(self.random.randrange(len(self._workers)))
        committed = len(worker.events("unit.committed"))
        until(lambda: len(worker.events("unit.committed")) > committed or not self.undrained(), "a commit")
        worker.kill()
        self.kills += 1
        self.start()

    def undrained(self) -> list[str]:
        return undrained(self.remote.shards(), self.game.rows("lease"), self.arn)

    def play(self, created: float, player: str, timestamp: str) -> None:
        """One game, whose record was created then."""
        item = self.game.make(player, timestamp=timestamp)
        self.game.expected.count(item)
        self.expected.count(item)
        shard = sum(player.encode()) % 2 if self.keyed else self.random.randrange(2)
        self.remote.append({shard: [item]}, created=created)

    def timestamp(self, created: float) -> str:
        """Mostly just before; some are late, some ahead by up to a day, some bare dates."""
        draw, rng = self.random.random(), self.random
        if draw < 0.2:
            date = datetime.fromtimestamp(created, UTC).date() - timedelta(rng.choice((0, 0, 0, 1, 2)))
            return date.isoformat()
        early = -rng.uniform(0, 86_400) if draw < 0.3 else rng.uniform(0, (40 if draw < 0.35 else 3) * 86_400)
        seconds = created - (early if draw < 0.45 else rng.uniform(0, 3_600))
        ahead = timedelta(hours=rng.choice((0, 0, -8, 1, 11)))
        return (datetime.fromtimestamp(seconds, UTC) + ahead).replace(tzinfo=None).isoformat() + _offset(ahead)

    def compare(self, at: float) -> int:
        """Compares the kept windows of every row; how many. Rows stay smaller than a write unit."""
        until(lambda: not self.undrained(), "everything is drained", 120)
        self.game.assert_exact()
        right, oldest, compared = self.expected.kept_at(at), self.expected.oldest(at), 0
        for row in self.game.rows("leaderboard"):
            self.most_bytes = max(self.most_bytes, item_bytes(row))
            stored = {name: sums for name, sums in windows_of(row).items() if name >= oldest[name.partition("_")[0]]}
            assert stored == right[row["playerId"]["S"]], f"{row['playerId']['S']} at {at}"
            compared += len(stored)
        assert self.most_bytes < LARGEST_ROW
        return compared


def _offset(ahead: timedelta) -> str:
    hours = int(ahead.total_seconds() // 3_600)
    return f"{'-' if hours < 0 else '+'}{abs(hours):02}:00"


@pytest.fixture(params=[True, False], ids=["keyed", "not keyed"])
def keyed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=ZONES)
def season(request: pytest.FixtureRequest, fresh_engine: TableEngine, *, keyed: bool) -> Iterator[Season]:
    with Season(fresh_engine, request.param, seed=20_261_127, keyed=keyed) as season:
        yield season


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("fresh_engine", "season", "keyed"),
    [
        ("ministack" if (at + keyed) % 2 else "dynamodb-local", zone, keyed)
        for at, zone in enumerate(ZONES)
        for keyed in (True, False)
    ],
    indirect=True,
)
def test_four_months_of_windows_with_workers_killed(season: Season) -> None:
    began = time.monotonic()
    span = (LAST - FIRST).total_seconds()
    created = [FIRST.timestamp() + span * at / RECORDS for at in range(RECORDS)]
    season.start()
    season.start()
    compared = 0
    for stretch in range(STRETCHES):
        for at in created[stretch * RECORDS // STRETCHES : (stretch + 1) * RECORDS // STRETCHES]:
            season.play(at, f"p{season.random.randrange(PLAYERS):02}", season.timestamp(at))
        season.kill()
        compared += season.compare(created[(stretch + 1) * RECORDS // STRETCHES - 1])
    closing = LAST.timestamp() + 86_400
    for number in range(PLAYERS):
        season.play(closing, f"p{number:02}", datetime.fromtimestamp(closing, UTC).isoformat())
    season.compare(closing)
    right = season.expected.kept_at(closing)
    for row in season.game.rows("leaderboard"):
        assert windows_of(row) == right[row["playerId"]["S"]], "what has expired is gone after the next write"
    print(
        f"{season.game.engine.name}, {season.zone}, {'keyed' if season.keyed else 'not keyed'}: {RECORDS:,} games of "
        f"{PLAYERS} players over {(LAST - FIRST).days} days, {season.kills} workers killed, {compared:,} windows "
        f"exact, the largest row has {season.most_bytes} bytes, {time.monotonic() - began:.0f} s"
    )


@pytest.mark.proof
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("fresh_engine", "season", "keyed"),
    [("ministack", "Europe/Berlin", True), ("dynamodb-local", "Europe/Berlin", False)],
    indirect=True,
)
def test_a_replay_into_another_board_counts_the_windows_that_are_kept_now(season: Season) -> None:
    """The records were created in the last three days: an operator's command judges by its own clock."""
    now = time.time()
    season.start()
    for at in range(300):
        created = now - 3 * 86_400 + at * 3 * 86_400 / 300
        season.play(created, f"p{at % 7}", season.timestamp(created))
    season.compare(now)
    other = f"{season.game.tables['leaderboard']}-other"
    season.game.tables["leaderboard"], before = other, season.game.tables["leaderboard"]
    season.game.make_tables()
    season.game.tables["leaderboard"] = before
    for shard in season.remote.shards():
        arguments = ("replay", shard.shard_id, "--from", "TRIM_HORIZON", "--recount", "--into", other, "--yes")
        done = consumer(*arguments, environment=season.environment())
        assert done.returncode == 0, done.stderr
    oldest, right = season.expected.oldest(now), season.expected.kept_at(now)
    season.game.tables["leaderboard"] = other
    for row in season.game.rows("leaderboard"):
        stored = {name: sums for name, sums in windows_of(row).items() if name >= oldest[name.partition("_")[0]]}
        assert stored == right[row["playerId"]["S"]]
    season.game.assert_exact()
