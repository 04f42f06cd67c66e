"""A full stream, drained by the worker and by the handler, on an engine or on the streams server; and the floor."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from http.client import HTTPConnection
from itertools import islice
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from tests.performance.bench.runs import (
    HANDLER,
    WORKER,
    HandlerProcess,
    Run,
    committed_at,
    first_page,
    fresh_engine,
    sizes_of,
    worker_run,
)
from tests.performance.bench.write_units import TRANSACTIONAL, units
from tests.performance.measure.cluster import MeasuredCluster
from tests.performance.usage import Sampler
from tests.streams_server import shard_id
from tests.streams_server.remote import undrained
from tests.streams_server.shard import Item
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, differences, until

_FLOOR_SECONDS = 0.25
_LEAST_ROUNDS = 20
_DRAIN_SECONDS = 180.0
_POLL_SECONDS = 0.03
_SERVED_DRAIN_SECONDS = 400.0
_SERVED_POLL_SECONDS = 0.25
_CHUNK = 5_000
_SERVICE = "DynamoDBStreams_20120810"


class Floor(Background):
    """What `json.loads` alone takes for a page of the run. Use it in a `with`.

    It parses the page from time to time during the run, so that what slows the run slows it too.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self._page = page
        self._micros: list[float] = []

    @property
    def micros(self) -> float:
        """Microseconds of processor time per record: the median of all rounds; a short run gets some more."""
        more = _LEAST_ROUNDS - len(self._micros)
        return median([*self._micros, *(parse_micros(self._page) for _ in range(more))])

    def run(self) -> None:
        while not self.stop.wait(_FLOOR_SECONDS):
            self._micros.append(parse_micros(self._page))


def parse_micros(page: bytes) -> float:
    """Microseconds of processor time per record of one parse."""
    began = time.thread_time()
    response = json.loads(page)
    took = time.thread_time() - began
    return took / len(response["Records"]) * 1e6


def drained_by_worker(engine: str, players: Iterable[str], records: int) -> Run:
    """Two runs: through a proxy that counts calls and units, and directly on the engine, which is timed."""
    drawn = list(islice(players, records))
    counted, page = _counted(engine, drawn)
    return replace(_timed(engine, drawn, page), write_calls=counted.write_calls, write_units=counted.write_units)


def _counted(engine: str, players: Sequence[str]) -> tuple[Run, bytes]:
    """Calls and units, which do not depend on the machine's speed; and the first page."""
    with fresh_engine(engine) as tables, _filled(tables, players) as game, Proxy(tables.url) as proxy:
        last = game.played()[-1].sequence_number
        worker = game.worker(proxy, log_level="INFO")
        with Sampler(worker.pid) as sampler:
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _DRAIN_SECONDS)
        worker.terminate()
        page = first_page(proxy)
        assert page is not None
        assert page.answer is not None
        return worker_run(game, proxy, sampler, page.entered_at, ended), page.answer


def _timed(engine: str, players: Sequence[str], page: bytes) -> Run:
    """Timed from the claim, after which the first page is read, to the last commit. `page`: see Floor."""
    with fresh_engine(engine) as tables, _filled(tables, players) as game:
        last = game.played()[-1].sequence_number
        worker = game.worker(log_level="INFO")
        with Sampler(worker.pid) as sampler, Floor(page) as floor:
            began, ended = (_time_of(game, *found) for found in (("leaseOwner", None), ("checkpoint", last)))
        worker.terminate()
        assert not differences(game.board(), game.expected.rows), "the board is wrong"
        cpu = sampler.cpu_seconds(began, ended)
        return Run(WORKER, engine, len(players), ended - began, cpu, 0, 0, sampler.peak_mib, floor.micros)


def _time_of(game: Game, attribute: str, value: str | None) -> float:
    """When the shard's row had this value of an attribute (unix seconds); None: any value."""
    pause = threading.Event()

    def found_at() -> float:
        pause.wait(_POLL_SECONDS)
        now, found = time.time(), (game.lease() or {}).get(attribute, {}).get("S")
        return now if found is not None and value in (None, found) else 0.0

    return until(found_at, f"{attribute} {value or 'any'}", _DRAIN_SECONDS)


def drained_by_handler(engine: str, players: Iterable[str], records: int, floor: float) -> Run:
    """Directly on the engine: a proxy would slow each of its many calls."""
    with fresh_engine(engine) as tables, _filled(tables, list(islice(players, records))) as game:
        with (
            HandlerProcess(tables.environment(), game.stream_arn, game.tables["leaderboard"], records) as handler,
            Sampler(handler.pid) as sampler,
        ):
            began, ended = (handler.wait_for(event, _DRAIN_SECONDS) for event in ("began", "ended"))
        assert sum(row.games for row in game.board().values()) == records
        size = max(sizes_of(game).values())
        cpu = sampler.cpu_seconds(began, ended)
        write_units = records * units(size)
        return Run(HANDLER, engine, records, ended - began, cpu, records, write_units, sampler.peak_mib, floor)


@contextmanager
def _filled(tables: TableEngine, players: Sequence[str]) -> Iterator[Game]:
    with Game(tables) as game:
        game.count(*map(game.make, players))
        yield game


# --- from the streams server: many shards, or many records ---


def served_to_worker(engine: str, shards: int, players: Iterable[str], records: int, variant: str) -> Run:
    """The worker on the streams server. Each player's games are in one shard, as if it were the source's key."""
    with fresh_engine(engine) as tables, MeasuredCluster(tables.url, shards) as cluster:
        _fill(cluster, shards, players, records)
        page = _page(cluster, 0)
        before = len(cluster.remote.deliveries())
        worker = cluster.start()
        pause = threading.Event()

        def left() -> bool:
            pause.wait(_SERVED_POLL_SECONDS)
            return bool(undrained(cluster.remote.shards(), cluster.game.rows("lease"), cluster.arn))

        with Sampler(worker.pid) as sampler, Floor(page) as floor:
            until(lambda: not left(), "everything is drained", _SERVED_DRAIN_SECONDS)
        worker.terminate()
        assert not differences(cluster.game.board(), cluster.game.expected.rows), "the board is wrong"
        commits = cluster.commits()
        began, ended = cluster.remote.deliveries(before)[0].at, commits[-1].at
        return Run(
            WORKER,
            engine,
            records,
            ended - began,
            sampler.cpu_seconds(began, ended),
            len(commits),
            TRANSACTIONAL * _item_units(cluster) * sum(commit.actions for commit in commits),
            sampler.peak_mib,
            floor.micros,
            variant,
        )


def served_to_handler(engine: str, shards: int, players: Iterable[str], records: int, variant: str) -> Run:
    """The handler on the same stream of the same server."""
    with fresh_engine(engine) as tables, MeasuredCluster(tables.url, shards) as cluster:
        _fill(cluster, shards, players, records)
        environment = cluster.game.environment() | cluster.variables()
        board = cluster.game.tables["leaderboard"]
        with HandlerProcess(environment, cluster.arn, board, records) as handler, Sampler(handler.pid) as sampler:
            began, ended = (handler.wait_for(event, _SERVED_DRAIN_SECONDS) for event in ("began", "ended"))
        cpu, write_units = sampler.cpu_seconds(began, ended), records * _item_units(cluster)
        return Run(
            HANDLER, engine, records, ended - began, cpu, records, write_units, sampler.peak_mib, variant=variant
        )


def _fill(cluster: MeasuredCluster, shards: int, players: Iterable[str], records: int) -> None:
    drawn = iter(players)
    for done in range(0, records, _CHUNK):
        images: dict[str | int, list[Item]] = {}
        for player in islice(drawn, min(_CHUNK, records - done)):
            item = cluster.game.make(player)
            cluster.game.expected.count(item)
            images.setdefault(shard_id(_shard_of(player, shards)), []).append(item)
        cluster.remote.append(images)


def _shard_of(player: str, shards: int) -> int:
    return int.from_bytes(blake2b(player.encode(), digest_size=8).digest(), "big") % shards


def _item_units(cluster: MeasuredCluster) -> int:
    """The units of a write of the largest item; all items are about as large."""
    return units(max(sizes_of(cluster.game).values()))


def _page(cluster: MeasuredCluster, shard: int) -> bytes:
    """A shard's first page as it comes over the wire."""
    where = {"StreamArn": cluster.arn, "ShardId": shard_id(shard), "ShardIteratorType": "TRIM_HORIZON"}
    iterator = json.loads(_call(cluster, "GetShardIterator", where))["ShardIterator"]
    return _call(cluster, "GetRecords", {"ShardIterator": iterator, "Limit": 1_000})


def _call(cluster: MeasuredCluster, operation: str, document: dict[str, Any]) -> bytes:
    address = urlsplit(cluster.game.engine.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("POST", address.path, json.dumps(document), {"X-Amz-Target": f"{_SERVICE}.{operation}"})
        return connection.getresponse().read()
    finally:
        connection.close()
