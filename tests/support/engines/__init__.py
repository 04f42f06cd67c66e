"""The table engines that tests run against, each a process of its own that dies with the test run."""

from tests.support.engines.table_engine import TableEngine, make_old_quarantine_table

__all__ = ["TableEngine", "make_old_quarantine_table"]
