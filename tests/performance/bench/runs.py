"""A run of a client: the engine, the players, the handler's process, and the figures of what the worker did."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Self

from consumer.demo.child_process import spawn
from consumer.demo.engine import ENGINE_VERSION, Engine
from tests.performance.bench.units import Sizes, Units, item_bytes, key_text, units_of, written_units
from tests.performance.usage import Sampler
from tests.support.engines import TableEngine
from tests.support.engines.dynamodb_local import DynamoDBLocal, jar_folder, what_is_missing
from tests.support.processes import Call, Game, Proxy, is_commit

MINISTACK = "ministack"
LOCAL = "dynamodb-local"
ENGINES = (LOCAL, MINISTACK)
WORKER = "worker"
HANDLER = "handler"
FOLDING = "folding handler"
_KEYS = {"leaderboard": ("playerId",), "lease": ("leaseKey",), "quarantine": ("shardId", "sequenceNumber")}
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a client. `cpu_seconds` and `resident_mib` are those of its process alone.

    `write_calls` are those that write the leaderboard. `units` may be of another run of the same, which a proxy
    counted. `floor_micros`: what `json.loads` takes per record of the same pages; 0: not measured. `waits`: seconds
    from put to leaderboard.
    """

    client: str
    engine: str
    records: int
    seconds: float
    cpu_seconds: float
    write_calls: float
    units: Units
    resident_mib: float
    floor_micros: float = 0.0
    variant: str = ""
    waits: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Microseconds of processor time per record."""
        return self.cpu_seconds / self.records * 1e6

    @property
    def floors(self) -> float:
        """Processor time as a multiple of the floor."""
        return self.cpu_micros / self.floor_micros

    @property
    def calls_per_record(self) -> float:
        """Calls that write, per record."""
        return self.write_calls / self.records

    @property
    def writes_per_record(self) -> float:
        """Write units of the leaderboard per record."""
        return self.units.board_writes / self.records

    @property
    def reads_per_record(self) -> float:
        """Read units of the leaderboard per record."""
        return self.units.board_reads / self.records

    @property
    def lease_writes_per_second(self) -> float:
        """Write units of the lease table."""
        return self.units.lease_writes / self.units.seconds

    @property
    def lease_reads_per_second(self) -> float:
        """Read units of the lease table."""
        return self.units.lease_reads / self.units.seconds


# --- engines and players ---


@contextmanager
def fresh_engine(name: str) -> Iterator[TableEngine]:
    """An empty engine in a process of its own, so that no earlier run slows it; it ends with the `with`."""
    with Engine() if name == MINISTACK else DynamoDBLocal() as server:
        yield TableEngine(name, server.url)


def missing(name: str) -> str | None:
    """Why an engine cannot be used here, or None."""
    return what_is_missing() if name == LOCAL else None


def title(name: str) -> str:
    """An engine's name in documents."""
    return {LOCAL: "DynamoDB Local"}.get(name, name)


def version(name: str) -> str:
    """An engine's name and version."""
    jars = [path.stem.partition("-")[2] for path in jar_folder().glob("DynamoDBLocal-*.jar")]
    return f"{title(name)} {ENGINE_VERSION if name == MINISTACK else ' '.join(jars)}"


def zipf(players: int, exponent: float, seed: int) -> Iterator[str]:
    """Players without end; the k-th plays in proportion to k to the power of -`exponent`."""
    random = Random(seed)
    names = [f"player-{number:06}" for number in range(players)]
    weights = list(accumulate((number + 1) ** -exponent for number in range(players)))
    while True:
        yield from random.choices(names, cum_weights=weights, k=1_000)


def different(players: int, seed: int) -> list[str]:
    """So many players, each of them once, in any order."""
    names = [f"player-{number:06}" for number in range(players)]
    Random(seed).shuffle(names)
    return names


# --- the handler ---


class HandlerProcess:
    """The handler as a process. Use it in a `with`; it is killed at the end."""

    def __init__(
        self,
        environment: Mapping[str, str],
        stream_arn: str,
        leaderboard: str,
        records: int,
        client: str = HANDLER,
    ) -> None:
        fold = ["--fold"] if client == FOLDING else []
        self._process = spawn(
            [sys.executable, "-m", "tests.performance.bench.handler", stream_arn, leaderboard, str(records), *fold],
            env={**environment, "PYTHONPATH": os.fspath(ROOT)},
            stdout=subprocess.PIPE,
        )
        self._times: dict[str, float] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, event: str, seconds: float) -> float:
        """When it `began` or `ended`, in unix seconds, or its `writes`. AssertionError when it does not say that."""
        with self._changed:
            self._changed.wait_for(lambda: event in self._times or self._ended, seconds)
            assert event in self._times, f"the handler has not said {event} after {seconds:g} s"
            return self._times[event]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                event, at = line.decode().split()
                with self._changed:
                    self._times[event] = float(at)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


# --- the worker behind a proxy ---


def worker_run(
    game: Game,
    proxy: Proxy,
    sampler: Sampler,
    records: int,
    began: float,
    ended: float,
    *,
    settled: float | None = None,
    variant: str = "",
    waits: Sequence[float] = (),
) -> Run:
    """The run of a worker between two times (unix seconds). Units are counted until the checkpoint has moved too."""
    until_settled = settled or ended
    calls = [call for call in list(proxy.calls) if began <= call.entered_at <= until_settled]
    sizes, board = sizes_of(game), game.tables["leaderboard"]
    return Run(
        WORKER,
        game.engine.name,
        records,
        ended - began,
        sampler.cpu_seconds(began, ended),
        sum(written_units(call, sizes)[board] > 0 for call in calls),
        units_of(calls, game.tables, sizes, until_settled - began),
        sampler.peak_mib,
        variant=variant,
        waits=waits,
    )


def first_page(proxy: Proxy) -> Call | None:
    """The first GetRecords that returned records."""
    pages = (call for call in list(proxy.calls) if call.operation == "GetRecords" and call.sequence_numbers)
    return next(pages, None)


def committed_at(calls: Iterable[Call], last: str) -> float:
    """When the engine had moved a checkpoint to a sequence number, in unix seconds; 0: not yet."""
    mark = f'"{last}"'.encode()
    for call in list(calls):
        if is_commit(call) and call.applied and mark in call.body:
            return call.answered_at or 0.0
    return 0.0


def sizes_of(game: Game) -> Sizes:
    """The current sizes of all items that a worker writes: none of them shrinks."""
    return {
        (game.tables[table], key_text({name: row[name] for name in keys})): item_bytes(row)
        for table, keys in _KEYS.items()
        for row in game.rows(table)
    }
