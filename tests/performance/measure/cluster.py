"""The cluster of a measurement: a streams server, a game with its tables, workers, and a writer of games."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from math import inf
from typing import NamedTuple, Self

from consumer.domain.leases import SHARD_END
from tests.streams_server import StreamsServer, Transaction, build_shards
from tests.streams_server.shard import Item
from tests.streams_server.stream import ShardName
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until

DEFAULT_TTL_SECONDS = 5.0

_KEYS = ("playerId", "timestamp")
_SHARE_SECONDS = 120.0


class MeasuredCluster:
    """Use it in a `with`: workers, clients of the tables and the server end with it.

    The game's own clients use the faultless URL, so that what the measurement itself reads is not counted.
    """

    def __init__(self, engine_url: str, shards: int, ttl_seconds: float = DEFAULT_TTL_SECONDS) -> None:
        self.ttl_seconds = ttl_seconds
        self._shards = shards
        self._server = StreamsServer(engine_url)
        self._started = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._server)
            self.remote = self._server.remote
            self.game = Game(TableEngine("ministack", self._server.faultless_url))
            self.arn = self.remote.create_stream(self.game.tables["source"], build_shards(self._shards), keys=_KEYS)
            stack.enter_context(self.game)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def heartbeat_seconds(self) -> float:
        """The time between two heartbeats of a worker."""
        return self.ttl_seconds / 4

    # --- workers ---

    def start(self, **settings: str) -> WorkerProcess:
        """Starts another worker with a new worker id."""
        self._started += 1
        chosen = {"worker_id": f"w{self._started}", "log_level": "INFO", "lease_ttl_seconds": f"{self.ttl_seconds:g}"}
        environment = self.game.environment(None, **{**chosen, **settings}) | self._server.variables()
        return self._stack.enter_context(WorkerProcess(environment))

    def variables(self) -> dict[str, str]:
        """The environment variables with which a process uses the server."""
        return self._server.variables()

    def shares(self) -> dict[str | None, set[str]]:
        """Unfinished shards by the owner in their rows; None: no owner."""
        shares = defaultdict(set)
        for row in self.game.rows("lease"):
            if row["leaseKey"]["S"].startswith("shard#") and row["checkpoint"]["S"] != SHARD_END:
                shares[row.get("leaseOwner", {}).get("S")].add(row["shardId"]["S"])
        return dict(shares)

    def is_shared(self, workers: int) -> bool:
        """Whether every shard has an owner, and the shares of so many workers differ by at most one."""
        shares = self.shares()
        sizes = [len(shards) for owner, shards in shares.items() if owner is not None]
        return None not in shares and len(sizes) == workers and sum(sizes) > 0 and max(sizes) - min(sizes) <= 1

    def wait_until_shared(self, workers: int, seconds: float = _SHARE_SECONDS) -> None:
        """Waits until so many workers have fair shares of all shards."""
        until(lambda: self.is_shared(workers), f"{workers} fair shares", seconds)

    # --- commits ---

    def commits(self, since: int = 0) -> list[Transaction]:
        """The transactions that moved a checkpoint, without the first `since` transactions of the log."""
        log = self.remote.transactions(since)
        return [entry for entry in log if entry.checkpoint is not None and not entry.repeated]


def owner_of(worker: WorkerProcess) -> str:
    """The owner in the worker's leases, once it has joined."""
    return str(worker.wait_for_event("worker.joined")["owner"])


def shard_of(commit: Transaction) -> str:
    """The id of the shard whose checkpoint moved."""
    assert commit.lease is not None
    return commit.lease.rpartition("#")[2]


def number_of(commit: Transaction) -> float:
    """The sequence number up to which it committed; infinite at a shard's end."""
    assert commit.checkpoint is not None
    return inf if commit.checkpoint == SHARD_END else int(commit.checkpoint)


class Written(NamedTuple):
    """A record of the stream; `at` in unix seconds, just before it was written."""

    at: float
    shard_id: str
    number: int


class Writer(Background):
    """Writes a record for each of some shards, again and again. Use it in a `with`; the game counts what is expected.

    `player` None: each shard has a player of its own, so that no two units change the same row.
    """

    def __init__(
        self, cluster: MeasuredCluster, shards: Sequence[str], interval_seconds: float = 0.1, player: str | None = None
    ) -> None:
        super().__init__()
        self.written: list[Written] = []
        self._stage = cluster
        self._shards = shards
        self._interval_seconds = interval_seconds
        self._player = player

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        while not self.stop.wait(self._interval_seconds):
            self.written += write(self._stage, self._shards, self._player)


def write(cluster: MeasuredCluster, shards: Iterable[str], player: str | None = None) -> list[Written]:
    """Writes a game into each shard, and counts it as expected."""
    game = cluster.game
    images: dict[ShardName, list[Item]] = {shard: [game.make(player or f"player-of-{shard}")] for shard in shards}
    at = time.time()
    numbers = cluster.remote.append(images)
    for (item,) in images.values():
        game.expected.count(item)
    return [Written(at, shard, int(number)) for shard, (number,) in numbers.items()]


def waits(written: Iterable[Written], commits: Iterable[Transaction], until: float) -> dict[Written, float]:
    """How long each record waited for the commit that covers it; an uncommitted record waits until `until`.

    `commits` must be complete and in order.
    """
    moves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for commit in commits:
        moves[shard_of(commit)].append((commit.at, number_of(commit)))
    waited: dict[Written, float] = {}
    next_move: dict[str, int] = defaultdict(int)
    for record in sorted(written, key=lambda record: record.number):
        of_shard, index = moves[record.shard_id], next_move[record.shard_id]
        while index < len(of_shard) and of_shard[index][1] < record.number:
            index += 1
        next_move[record.shard_id] = index
        waited[record] = (of_shard[index][0] if index < len(of_shard) else until) - record.at
    return waited
