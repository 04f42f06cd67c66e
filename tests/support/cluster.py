"""Clusters: whole workers over one stream and one set of tables in memory, on one clock that a test moves."""

from consumer.domain.leases import TRIM_HORIZON, LeaseRow
from consumer.worker import events
from consumer.worker.calls import Call, Reply
from consumer.worker.stream_start import StartPosition, StreamStarter
from tests.support.builders import ARN, CREATED, ME, shard
from tests.support.drivers import WorkerDriver
from tests.support.fakes import FakeStreams, FakeTables

BEGAN_AT = 1000.0
MOST_CALLS = 5_000
"""How many replies a worker may take between two steps of the clock."""
LATER = ARN.replace("2026-01-01", "2026-02-02")
"""The stream after it was switched off and on."""


class ClusterWorker(WorkerDriver):
    """One worker of a cluster. `hold`: calls of this kind stay in flight; `paused`: it does nothing at all."""

    def __init__(self, cluster: "Cluster", owner: str) -> None:
        self._start_position = cluster.start_position
        super().__init__(owner, cluster.tables, cluster.streams)
        self.hold: type[Call] | None = None
        self.paused = False
        self.answered = 0

    def deliver(self, call: Call, reply: Reply) -> list[events.Event]:
        """A reply arrives."""
        self.answered += 1
        assert self.answered < MOST_CALLS, f"it makes calls without a pause: {call}"
        return super().deliver(call, reply)

    def new_starter(self, stream_arn: str) -> StreamStarter:
        """A StreamStarter of the stream."""
        return StreamStarter(stream_arn, self._start_position, 1, self.tables.names)

    @property
    def not_ready(self) -> str:
        """The reasons of readiness."""
        return "\n".join(self.machine.status(self.now).not_ready)


class Cluster:
    """Workers on one clock; the servers' clock is `server_clock_ahead` seconds ahead. Record number n scores 2 ** n."""

    def __init__(
        self,
        *owners: str,
        streams: type[FakeStreams] = FakeStreams,
        start_position: StartPosition = TRIM_HORIZON,
    ) -> None:
        self.now = BEGAN_AT
        self.server_clock_ahead = 0.0
        self.start_position = start_position
        self.streams = streams(lambda: CREATED + self.now - BEGAN_AT + self.server_clock_ahead, ARN)
        self.tables = FakeTables()
        self.workers: dict[str, ClusterWorker] = {}
        self.written = 0
        for owner in owners:
            self.start_worker(owner)

    def start_worker(self, owner: str) -> ClusterWorker:
        """A worker starts."""
        self.workers[owner] = worker = ClusterWorker(self, owner)
        worker.now = self.now
        return worker

    def kill(self, owner: str) -> ClusterWorker:
        """A worker dies; its calls in flight take no effect."""
        return self.workers.pop(owner)

    def serve(self, seconds: float = 2.0, step: float = 0.1) -> "Cluster":
        """Time passes; calls take effect and are answered at once, but those that a worker holds."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            for worker in self.workers.values():
                worker.answered = 0
                if not worker.paused:
                    worker.now = max(worker.now, self.now - step)
                    worker.serve(self.now - worker.now, hold=worker.hold)
        return self

    def open_shards(self, *numbers: int, parent: int | None = None) -> None:
        """Shards open."""
        for number in numbers:
            self.streams.add_shard(f"shard-{number}", None if parent is None else f"shard-{parent}")

    def split(self, parent: int, *children: int) -> None:
        """A shard ends, and its children open."""
        self.streams.close(f"shard-{parent}")
        self.open_shards(*children, parent=parent)

    def write(self, *numbers: int) -> None:
        """Writes one record to each of these shards."""
        for number in numbers:
            score = {"N": str(2**self.written)}
            image = {"playerId": {"S": "foo"}, "score": score, "timestamp": {"S": "2026-01-31"}}
            self.streams.write(f"shard-{number}", image)
            self.written += 1

    def counted(self) -> list[int]:
        """The numbers of the records on the board. None may be there twice."""
        score = self.tables.board.get("foo")
        if score is None:
            return []
        total = int(score.total)
        assert score.games == total.bit_count(), f"{score.games} games, and their points are {total:b}"
        return [number for number in range(total.bit_length()) if total >> number & 1]

    @property
    def exact(self) -> bool:
        """Whether every record is on the board, once."""
        return self.counted() == [*range(self.written)]

    def row(self, number: int, arn: str = ARN) -> LeaseRow:
        """A shard's row of the ledger."""
        return self.tables.rows[shard(number)._replace(stream_arn=arn)]

    def owners(self) -> dict[int, str | None]:
        """The owners of the unfinished shards of the first stream."""
        rows = [row for row in self.tables.rows.values() if not row.finished and row.shard.stream_arn == ARN]
        return {int(row.shard.shard_id.removeprefix("shard-")): row.owner for row in rows}


def single_worker(*shards: int, streams: type[FakeStreams] = FakeStreams) -> tuple[Cluster, ClusterWorker]:
    """A cluster of one worker, which reads these shards; they have no parents."""
    cluster = Cluster(streams=streams)
    cluster.open_shards(*shards)
    worker = cluster.start_worker(ME)
    cluster.serve()
    assert len(worker.machine.shards) == len(shards)
    return cluster, worker
