"""DynamoDB Streams for tests: the real wire protocol over trees of shards in memory, in front of a table engine."""

from tests.streams_server.fault import Fault
from tests.streams_server.faults import Rule, everything
from tests.streams_server.journal import Transaction, assert_one_committer, dump, load
from tests.streams_server.options import LastPage, ShardFilter
from tests.streams_server.remote import CommandRefused, Remote, ShardState, Tallied
from tests.streams_server.server import StreamsServer, StreamsThread
from tests.streams_server.tree import build_shards, shard_id

__all__ = [
    "CommandRefused",
    "Fault",
    "LastPage",
    "Remote",
    "Rule",
    "ShardFilter",
    "ShardState",
    "StreamsServer",
    "StreamsThread",
    "Tallied",
    "Transaction",
    "assert_one_committer",
    "build_shards",
    "dump",
    "everything",
    "load",
    "shard_id",
]
