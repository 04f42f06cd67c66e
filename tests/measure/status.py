"""How long `consumer status` takes for a thousand shards, and what it reads for that."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from consumer.aws.items import lease_item, pin_item
from consumer.domain.leases import LeaseRow, Pin, Shard
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from tests.engines import TableEngine
from tests.measure.figure import Figure, worst
from tests.processes import Game, consumer
from tests.streams_server import StreamsServer, build_shards, shard_id

SHARDS = 1_000
_KEYS = ("playerId", "timestamp")
_ROUNDS = 5
_BATCH = 25  # items a BatchWriteItem takes
_OTHER_CALLS = 8
"""Three tables are described; two scans, two queries, one listing of a page more than there may be."""


@dataclass(frozen=True)
class Crowd:
    """A stream with many shards, half of them finished with the other half as children, in a ledger without workers."""

    server: StreamsServer
    game: Game

    def status(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The command; what it asks is counted."""
        return consumer("status", *arguments, environment=self.game.environment() | self.server.variables())

    def calls(self) -> dict[str, int]:
        """What was asked since the last time."""
        calls = self.server.remote.counts().calls
        self.server.remote.clear_counts()
        return calls


@contextmanager
def crowd(engine_url: str, shards: int = SHARDS) -> Iterator[Crowd]:
    """Gone after it."""
    half = shards // 2
    with StreamsServer(engine_url) as server:
        game = Game(TableEngine("ministack", server.calm_url))
        tree = build_shards(shards, {parent: parent + half for parent in range(half)})
        arn = server.remote.create_stream(game.tables["source"], tree, keys=_KEYS)
        with game:
            now = time.time()
            born = {shard_id(number): shard_id(number + half) for number in range(half)}
            rows = [LeaseRow(Shard(arn, each), None, 7, SHARD_END, None, (child,), now) for each, child in born.items()]
            rows += [LeaseRow(Shard(arn, child), None, 7, TRIM_HORIZON, each, (), now) for each, child in born.items()]
            pin = Pin(arn, None, tuple(born), complete=True)
            items = [pin_item(pin), *map(lease_item, rows)]
            for at in range(0, len(items), _BATCH):
                puts = [{"PutRequest": {"Item": item}} for item in items[at : at + _BATCH]]
                game.client.batch_write_item(RequestItems={game.tables["lease"]: puts})
            server.remote.clear_counts()
            yield Crowd(server, game)


def status(engine_url: str) -> Iterator[Figure]:
    """As a process, from its start to its end."""
    took: list[float] = []
    calls: dict[str, int] = {}
    with crowd(engine_url) as stage:
        before = os.times()
        for _ in range(_ROUNDS):
            at = time.monotonic()
            ended = stage.status("--json")
            took.append(time.monotonic() - at)
            calls = stage.calls()
            assert len(json.loads(ended.stdout)["shards"]) == SHARDS, ended.stderr
        after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    yield worst("consumer status --json, 1,000 shards", took, 3.0)
    yield Figure("its processor time", processor / _ROUNDS, "s")
    note = ", ".join(f"{name} {count}" for name, count in sorted(calls.items()))
    yield Figure("its calls", sum(calls.values()), "calls", SHARDS / 100 + _OTHER_CALLS, note)
