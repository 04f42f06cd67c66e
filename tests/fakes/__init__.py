"""In-memory fakes of the ports, held to the real engines by the contract suite."""

from tests.fakes.ledgers import Names
from tests.fakes.operators import FakeOperators
from tests.fakes.replays import FakeReplays
from tests.fakes.stream import FakeShard, FakeStream
from tests.fakes.streams import FakeStreams, decoded
from tests.fakes.tables import FakeTables

__all__ = ["FakeOperators", "FakeReplays", "FakeShard", "FakeStream", "FakeStreams", "FakeTables", "Names", "decoded"]
