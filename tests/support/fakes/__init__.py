"""In-memory fakes of the ports, held to the real engines by the contract suite."""

from tests.support.fakes.quarantine import FakeQuarantine
from tests.support.fakes.replays import FakeReplays
from tests.support.fakes.streams import FakeShard, FakeStream, FakeStreams, decoded
from tests.support.fakes.tables import FakePending, FakeTables

__all__ = [
    "FakePending",
    "FakeQuarantine",
    "FakeReplays",
    "FakeShard",
    "FakeStream",
    "FakeStreams",
    "FakeTables",
    "decoded",
]
