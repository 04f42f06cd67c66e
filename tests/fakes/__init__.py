"""In-memory fakes of the ports, held to the real engines by the contract suite."""

from tests.fakes.streams import FakeShard, FakeStreams
from tests.fakes.tables import FakeTables, Names

__all__ = ["FakeShard", "FakeStreams", "FakeTables", "Names"]
