"""A driver of shard sync, call by call, with builders of what it meets."""

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Ledger, StreamStart, TableNames
from consumer.domain.lineage import FORGET_SECONDS
from consumer.domain.records import Rules
from consumer.domain.replies import ListedShard, StreamListing
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import FindStream, ListShards, SyncCall
from consumer.worker.shard_sync import ShardSync
from consumer.worker.stream_start import DEFAULT_RULES, StreamStarter
from tests.support.builders import ARN, CREATED
from tests.support.drivers import LinearBackoff, MachineDriver

LATER = ARN.replace("2026-01-01", "2026-02-02")
TABLES = TableNames()
MISSING = CallFailed(FailureKind.MISSING, "there is none")
LONG_AGO = CREATED - FORGET_SECONDS
SINCE = CREATED - 100.0


def stream_start(*roots: int, arn: str = ARN, complete: bool = True) -> StreamStart:
    """Where a stream started, with these roots."""
    return StreamStart(arn, None, tuple(f"shard-{root}" for root in roots), complete)


def listed(*shards: tuple[int, int | None]) -> StreamListing:
    """A listing of these shards, each with its parent."""
    names = [(f"shard-{number}", None if parent is None else f"shard-{parent}") for number, parent in shards]
    return StreamListing(ARN, True, tuple(ListedShard(*name) for name in names), CREATED)


class SyncDriver(MachineDriver[SyncCall]):
    """Drives a ShardSync whose ledger has these rows and stream starts."""

    machine: ShardSync

    def __init__(
        self,
        *rows: LeaseRow,
        stream_starts: tuple[StreamStart, ...] = (stream_start(0),),
        workers: int = 1,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        super().__init__()
        self.ledger = Ledger(rows, stream_starts)
        self.workers = workers
        self.machine = ShardSync(lambda arn: StreamStarter(arn, TRIM_HORIZON, 1, TABLES, rules), LinearBackoff())

    def ready(self) -> list[SyncCall]:
        """The call that the machine names now, one at a time."""
        calls = self.machine.ready(self.now, self.ledger, self.workers)
        assert len(self.in_flight) + len(calls) < 2, "one after the other"
        return calls

    def sync(self, listing: Reply) -> "SyncDriver":
        """The next sync, up to its listing of the one stream."""
        while not self.has_call(FindStream):
            self.now = self.machine.wake_at()
        self.answer(FindStream, ARN)
        self.answer(ListShards, listing)
        return self
