"""A full stream, drained by the worker and by the handler, on an engine or on the streams server; and the floor."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http.client import HTTPConnection
from itertools import count, islice
from statistics import median
from typing import Any, NamedTuple
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
from tests.performance.bench.units import TRANSACTIONAL, Units, units
from tests.performance.measure.cluster import MeasuredCluster
from tests.performance.usage import Sampler
from tests.streams_server import shard_id
from tests.streams_server.remote import CallCounts, undrained
from tests.streams_server.shard import Item
from tests.support.background import Background
from tests.support.processes import Game, Proxy, differences, until

_FLOOR_SECONDS = 0.25
_LEAST_ROUNDS = 20
_DRAIN_SECONDS = 180.0
_POLL_SECONDS = 0.03
_SERVED_DRAIN_SECONDS = 400.0
_SERVED_POLL_SECONDS = 0.25
_CHUNK = 5_000
_PAUSE = threading.Event()
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


class Filling(NamedTuple):
    """Games of these players, which fill the stream before a worker starts. `now`: they are played now."""

    variant: str
    players: Sequence[str]
    now: bool = False


def drained_by_worker(engine: str, *fillings: Filling, keyed: bool = True, **settings: str) -> list[Run]:
    """Each filling is drained by a worker of its own, on the board that the one before has left.

    Twice: through a proxy that counts calls and units, and directly on the engine, which is timed. `settings` are the
    worker's.
    """
    with game_of(engine, keyed=keyed) as game:
        counted = [_counted(game, filling, settings) for filling in fillings]
    with game_of(engine, keyed=keyed) as game:
        timed = [_timed(game, filling, page, settings) for filling, (_, page) in zip(fillings, counted, strict=True)]
    return [
        replace(time, write_calls=count.write_calls, units=count.units)
        for time, (count, _) in zip(timed, counted, strict=True)
    ]


def _counted(game: Game, filling: Filling, settings: Mapping[str, Any]) -> tuple[Run, bytes]:
    """Calls and units, which do not depend on the machine's speed; and the first page."""
    last = fill_stream(game, filling.players, now=filling.now)
    with Proxy(game.engine.url) as proxy:
        worker = game.worker(proxy, log_level="INFO", **settings)
        with Sampler(worker.pid) as sampler:
            ended = until(lambda: committed_at(proxy.calls, last), f"a commit of {last}", _DRAIN_SECONDS)
        worker.terminate()
        page = first_page(proxy)
        assert page is not None
        return worker_run(game, proxy, sampler, len(filling.players), page.entered_at, ended), page.answer


def _timed(game: Game, filling: Filling, page: bytes, settings: Mapping[str, Any]) -> Run:
    """From the claim, after which the first page is read, to the last unit, by the worker's log. `page`: see Floor."""
    last = fill_stream(game, filling.players, now=filling.now)
    worker = game.worker(log_level="DEBUG", **settings)

    def last_unit() -> str:
        _PAUSE.wait(_POLL_SECONDS)
        units = worker.events("unit.committed")
        return str(units[-1]["timestamp"]) if units and units[-1]["checkpoint"] == last else ""

    with Sampler(worker.pid) as sampler, Floor(page) as floor:
        ended = _unix(until(last_unit, f"the unit that ends with {last}", _DRAIN_SECONDS))
    began = _unix(str(worker.wait_for_event("lease.claimed")["timestamp"]))
    worker.terminate()
    assert not differences(game.board(), game.expected.rows), "the board is wrong"
    cpu, records = sampler.cpu_seconds(began, ended), len(filling.players)
    return Run(
        WORKER,
        game.engine.name,
        records,
        ended - began,
        cpu,
        0,
        Units(0.0),
        sampler.peak_mib,
        floor.micros,
        filling.variant,
    )


def _unix(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def drained_by_handler(engine: str, players: Iterable[str], records: int, floor: float, client: str = HANDLER) -> Run:
    """Directly on the engine: a proxy would slow each of its many calls."""
    with game_of(engine) as game:
        fill_stream(game, list(islice(players, records)))
        environment, board = game.engine.environment(), game.tables["leaderboard"]
        with (
            HandlerProcess(environment, game.stream_arn, board, records, client) as handler,
            Sampler(handler.pid) as sampler,
        ):
            began, ended, writes = (handler.wait_for(event, _DRAIN_SECONDS) for event in ("began", "ended", "writes"))
        assert sum(row.games for row in game.board().values()) == records
        cpu, seconds = sampler.cpu_seconds(began, ended), ended - began
        used = Units(seconds, board_writes=writes * units(max(sizes_of(game).values())))
        return Run(client, engine, records, seconds, cpu, writes, used, sampler.peak_mib, floor)


@contextmanager
def game_of(engine: str, *, keyed: bool = True) -> Iterator[Game]:
    """A game on an engine of its own."""
    with fresh_engine(engine) as tables, Game(tables, keyed=keyed) as game:
        yield game


def fill_stream(game: Game, players: Sequence[str], *, now: bool = False) -> str:
    """Puts a game of each; the last sequence number. `now`: they are played now, each after the one before."""
    began = datetime.now(UTC)
    times = ((began + timedelta(microseconds=at)).isoformat(timespec="microseconds") for at in count())
    game.count(*(game.make(player, timestamp=next(times) if now else None) for player in players))
    return game.played()[-1].sequence_number


# --- from the streams server: many shards, or many records ---


def served_to_worker(engine: str, shards: int, players: Iterable[str], records: int, variant: str) -> Run:
    """The worker on the streams server. Each player's games are in one shard, as if it were the source's key."""
    with fresh_engine(engine) as tables, MeasuredCluster(tables.url, shards) as cluster:
        _fill(cluster, shards, players, records)
        page = _page(cluster, 0)
        before = len(cluster.remote.deliveries())
        worker = cluster.start(log_level="DEBUG")

        def left() -> bool:
            _PAUSE.wait(_SERVED_POLL_SECONDS)
            return bool(undrained(cluster.remote.shards(), cluster.game.rows("lease"), cluster.arn))

        with Sampler(worker.pid) as sampler, Floor(page) as floor:
            until(lambda: not left(), "everything is drained", _SERVED_DRAIN_SECONDS)
        worker.terminate()
        assert not differences(cluster.game.board(), cluster.game.expected.rows), "the board is wrong"
        counts = cluster.remote.counts()
        updates = counts.writes.get(cluster.game.tables["leaderboard"], {}).get("UpdateItem", 0)
        began = cluster.remote.deliveries(before)[0].at
        ended = max(_unix(str(unit["timestamp"])) for unit in worker.events("unit.committed"))
        return Run(
            WORKER,
            engine,
            records,
            ended - began,
            sampler.cpu_seconds(began, ended),
            counts.calls.get("BatchExecuteStatement", 0) + counts.calls.get("TransactWriteItems", 0) + updates,
            _units(cluster, counts, ended - began),
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
        cpu, used = sampler.cpu_seconds(began, ended), _units(cluster, cluster.remote.counts(), ended - began)
        return Run(HANDLER, engine, records, ended - began, cpu, records, used, sampler.peak_mib, variant=variant)


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


def _units(cluster: MeasuredCluster, counts: CallCounts, seconds: float) -> Units:
    """What the server counted since the worker's start. All items are smaller than a unit."""
    board, lease = cluster.game.tables["leaderboard"], cluster.game.tables["lease"]
    writes = {
        table: sum(number * (TRANSACTIONAL if name == "TransactWriteItems" else 1) for name, number in by_name.items())
        for table, by_name in counts.writes.items()
    }
    reads, polls = counts.read_units, counts.calls["GetRecords"]
    return Units(
        seconds, writes.get(board, 0), reads.get(board, 0.0), writes.get(lease, 0), reads.get(lease, 0.0), polls
    )


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
