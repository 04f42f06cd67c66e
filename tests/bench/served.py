"""A full stream of many shards, or of many records, on the streams server, drained by the worker and the handler."""

import json
import threading
from collections.abc import Iterable
from hashlib import blake2b
from http.client import HTTPConnection
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from tests.bench.engine import fresh
from tests.bench.floor import Floor
from tests.bench.handler_process import HandlerProcess
from tests.bench.run import HANDLER, WORKER, Run
from tests.bench.seen import sizes_of
from tests.bench.units import TRANSACTIONAL, units
from tests.bench.watch import Watch
from tests.measure.stage import Stage
from tests.processes import differences, until
from tests.streams_server import shard_id
from tests.streams_server.drain import undrained
from tests.streams_server.shard import Item

_CHUNK = 5_000
_LOOK_SECONDS = 0.25
_DRAIN_SECONDS = 400.0
_SERVICE = "DynamoDBStreams_20120810"


def served_to_worker(engine: str, shards: int, players: Iterable[str], records: int, how: str) -> Run:
    """A player's games are all in one shard, as with a source table whose key is the player."""
    with fresh(engine) as tables, Stage(tables.url, shards) as stage:
        _fill(stage, shards, players, records)
        page = _page(stage, 0)
        before = len(stage.remote.deliveries())
        worker = stage.start()
        pause = threading.Event()

        def left() -> bool:
            pause.wait(_LOOK_SECONDS)
            return bool(undrained(stage.remote.shards(), stage.game.rows("lease"), stage.arn))

        with Watch(worker.pid) as watch, Floor(lambda: page) as floor:
            until(lambda: not left(), "all is drained", _DRAIN_SECONDS)
        worker.terminate()
        assert not differences(stage.game.board(), stage.game.tally.rows), "the board is wrong"
        commits = stage.commits()
        began, ended = stage.remote.deliveries(before)[0].at, commits[-1].at
        return Run(
            WORKER,
            engine,
            records,
            ended - began,
            watch.cpu_seconds(began, ended),
            len(commits),
            TRANSACTIONAL * _item_units(stage) * sum(commit.actions for commit in commits),
            watch.peak_mib,
            floor.micros,
            how,
        )


def served_to_handler(engine: str, shards: int, players: Iterable[str], records: int, how: str) -> Run:
    """The same stream, through the same server."""
    with fresh(engine) as tables, Stage(tables.url, shards) as stage:
        _fill(stage, shards, players, records)
        environment = stage.game.environment() | stage.variables()
        board = stage.game.tables["leaderboard"]
        with HandlerProcess(environment, stage.arn, board, records) as handler, Watch(handler.pid) as watch:
            began, ended = (handler.moment(word, _DRAIN_SECONDS) for word in ("began", "ended"))
        cpu, write_units = watch.cpu_seconds(began, ended), records * _item_units(stage)
        return Run(HANDLER, engine, records, ended - began, cpu, records, write_units, watch.peak_mib, how=how)


def _fill(stage: Stage, shards: int, players: Iterable[str], records: int) -> None:
    waiting = iter(players)
    for done in range(0, records, _CHUNK):
        images: dict[str | int, list[Item]] = {}
        for player in islice(waiting, min(_CHUNK, records - done)):
            item = stage.game.make(player)
            stage.game.tally.count(item)
            images.setdefault(shard_id(_shard_of(player, shards)), []).append(item)
        stage.remote.append(images)


def _shard_of(player: str, shards: int) -> int:
    return int.from_bytes(blake2b(player.encode(), digest_size=8).digest(), "big") % shards


def _item_units(stage: Stage) -> int:
    """Of a write of the largest item; all of ours are alike."""
    return units(max(sizes_of(stage.game).values()))


def _page(stage: Stage, shard: int) -> bytes:
    """A shard's first page as it comes over the wire."""
    where = {"StreamArn": stage.arn, "ShardId": shard_id(shard), "ShardIteratorType": "TRIM_HORIZON"}
    iterator = json.loads(_ask(stage, "GetShardIterator", where))["ShardIterator"]
    return _ask(stage, "GetRecords", {"ShardIterator": iterator, "Limit": 1_000})


def _ask(stage: Stage, operation: str, document: dict[str, Any]) -> bytes:
    address = urlsplit(stage.game.engine.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("POST", address.path, json.dumps(document), {"X-Amz-Target": f"{_SERVICE}.{operation}"})
        return connection.getresponse().read()
    finally:
        connection.close()
