"""DynamoDB Streams for tests: the real wire protocol over trees of shards in memory, in front of a table engine."""

from tests.streams_server.faults import Fault, Rule, all_faults
from tests.streams_server.options import LastPage, ShardFilter
from tests.streams_server.remote import CallCounts, CommandRefused, Remote, ShardState
from tests.streams_server.server import StreamsServer, StreamsThread
from tests.streams_server.stream import build_shards, shard_id
from tests.streams_server.transactions import Transaction, assert_one_committer, dump, load

__all__ = [
    "CallCounts",
    "CommandRefused",
    "Fault",
    "LastPage",
    "Remote",
    "Rule",
    "ShardFilter",
    "ShardState",
    "StreamsServer",
    "StreamsThread",
    "Transaction",
    "all_faults",
    "assert_one_committer",
    "build_shards",
    "dump",
    "load",
    "shard_id",
]
