"""`consumer status` on a thousand shards: its time and its calls."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from consumer.aws.items import lease_item, stream_start_item
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, LeaseRow, Shard, StreamStart
from tests.performance.figures import Figure, worst
from tests.streams_server import StreamsServer, build_shards, shard_id
from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer

SHARDS = 1_000
_KEYS = ("playerId", "timestamp")
_ROUNDS = 5
_BATCH = 25
"""The most items of a BatchWriteItem."""
_OTHER_CALLS = 8
"""Three descriptions of tables, two scans, two queries, and one more page of the listing."""


@dataclass(frozen=True)
class ManyShards:
    """A stream with many shards, half of them finished with the other half as children, in a ledger without workers."""

    server: StreamsServer
    game: Game

    @property
    def environment(self) -> dict[str, str]:
        """Of the command."""
        return self.game.environment() | self.server.variables()

    def status(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs the command; its calls are counted."""
        return consumer("status", *arguments, environment=self.environment)

    def calls(self) -> dict[str, int]:
        """The calls since the last time."""
        calls = self.server.remote.counts().calls
        self.server.remote.clear_counts()
        return calls


@contextmanager
def many_shards(engine_url: str, shards: int = SHARDS) -> Iterator[ManyShards]:
    """Use it in a `with`: the server ends with it."""
    half = shards // 2
    with StreamsServer(engine_url) as server:
        game = Game(TableEngine("ministack", server.faultless_url))
        tree = build_shards(shards, {parent: parent + half for parent in range(half)})
        arn = server.remote.create_stream(game.tables["source"], tree, keys=_KEYS)
        with game:
            now = time.time()
            children = {shard_id(number): shard_id(number + half) for number in range(half)}
            rows = []
            for parent, child in children.items():
                rows.append(LeaseRow(Shard(arn, parent), None, 7, SHARD_END, None, (child,), now))
                rows.append(LeaseRow(Shard(arn, child), None, 7, TRIM_HORIZON, parent, (), now))
            start = StreamStart(arn, None, tuple(children), complete=True)
            items = [stream_start_item(start), *map(lease_item, rows)]
            for at in range(0, len(items), _BATCH):
                puts = [{"PutRequest": {"Item": item}} for item in items[at : at + _BATCH]]
                game.client.batch_write_item(RequestItems={game.tables["lease"]: puts})
            server.remote.clear_counts()
            yield ManyShards(server, game)


def status(engine_url: str) -> Iterator[Figure]:
    """The command as a process, from its start to its end."""
    took: list[float] = []
    calls: dict[str, int] = {}
    with many_shards(engine_url) as cluster:
        before = os.times()
        for _ in range(_ROUNDS):
            at = time.monotonic()
            ended = cluster.status("--json")
            took.append(time.monotonic() - at)
            calls = cluster.calls()
            assert len(json.loads(ended.stdout)["shards"]) == SHARDS, ended.stderr
        after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    yield worst("consumer status --json, 1,000 shards", took, 3.0)
    yield Figure("its processor time", processor / _ROUNDS, "s")
    note = ", ".join(f"{name} {count}" for name, count in sorted(calls.items()))
    yield Figure("its calls", sum(calls.values()), "calls", SHARDS / 100 + _OTHER_CALLS, note)
