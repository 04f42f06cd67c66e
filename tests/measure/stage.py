"""Where a measurement plays: a streams server of its own, a game with tables of its own, and workers."""

from collections import defaultdict
from contextlib import ExitStack
from math import inf
from typing import Self

from consumer.domain.position import SHARD_END
from tests.engines import TableEngine
from tests.processes import Game, WorkerProcess, until
from tests.streams_server import StreamsServer, Transaction, build_shards

DEFAULT_TTL_SECONDS = 5.0

_KEYS = ("playerId", "timestamp")
_SETTLE_SECONDS = 120.0


class Stage:
    """Use it in a `with`: workers, tables' clients and the server are gone after it.

    The game's own clients take the server's calm way: what the stage itself looks up is not counted.
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
            self.game = Game(TableEngine("ministack", self._server.calm_url))
            self.arn = self.remote.create_stream(self.game.tables["source"], build_shards(self._shards), keys=_KEYS)
            stack.enter_context(self.game)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def beat_seconds(self) -> float:
        """How often a worker beats."""
        return self.ttl_seconds / 4

    # --- workers ---

    def start(self, **settings: str) -> WorkerProcess:
        """Another worker, with a name of its own."""
        self._started += 1
        chosen = {"worker_id": f"w{self._started}", "log_level": "INFO", "lease_ttl_seconds": f"{self.ttl_seconds:g}"}
        environment = self.game.environment(None, **chosen, **settings) | self._server.variables()
        return self._stack.enter_context(WorkerProcess(environment))

    def variables(self) -> dict[str, str]:
        """The variables that lead a process to the server."""
        return self._server.variables()

    def shares(self) -> dict[str | None, set[str]]:
        """Unfinished shards by their rows' owners; None: of nobody."""
        shares = defaultdict(set)
        for row in self.game.rows("lease"):
            if row["leaseKey"]["S"].startswith("shard#") and row["checkpoint"]["S"] != SHARD_END:
                shares[row.get("leaseOwner", {}).get("S")].add(row["shardId"]["S"])
        return dict(shares)

    def is_shared(self, workers: int) -> bool:
        """Whether every shard is owned, and so many workers' shares differ by at most one."""
        shares = self.shares()
        sizes = [len(shards) for owner, shards in shares.items() if owner is not None]
        return None not in shares and len(sizes) == workers and sum(sizes) > 0 and max(sizes) - min(sizes) <= 1

    def wait_until_shared(self, workers: int, seconds: float = _SETTLE_SECONDS) -> None:
        """Until so many workers have fair shares of all shards."""
        until(lambda: self.is_shared(workers), f"{workers} fair shares", seconds)

    # --- commits ---

    def commits(self, since: int = 0) -> list[Transaction]:
        """The moves of checkpoints among the transactions that passed, without the first `since` transactions."""
        return [each for each in self.remote.transactions(since) if each.checkpoint is not None and not each.repeated]


def owner_of(worker: WorkerProcess) -> str:
    """The name that its leases carry, once it has joined."""
    return str(worker.wait_for_event("worker.joined")["owner"])


def shard_of(commit: Transaction) -> str:
    """The id of the shard whose checkpoint moved."""
    assert commit.lease is not None
    return commit.lease.rpartition("#")[2]


def number_of(commit: Transaction) -> float:
    """The sequence number up to which it committed; infinite at a shard's end."""
    assert commit.checkpoint is not None
    return inf if commit.checkpoint == SHARD_END else int(commit.checkpoint)
