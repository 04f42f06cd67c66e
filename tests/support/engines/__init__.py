"""The table engines that tests run against, each a process of its own that dies with the test run."""

from tests.support.engines.table_engine import TableEngine

__all__ = ["TableEngine"]
