"""Chaos: real workers get SIGKILL, SIGSTOP and SIGTERM at random, over a stream that splits, with every fault."""

from tests.chaos.plan import Plan
from tests.chaos.run import ChaosFailed, run
from tests.chaos.verdict import Summary

__all__ = ["ChaosFailed", "Plan", "Summary", "run"]
