"""Chaos: real workers that are killed, stopped and told to end, over a stream that splits, behind every fault."""

from tests.chaos.plan import Plan
from tests.chaos.run import Chaotic, run
from tests.chaos.summary import Summary

__all__ = ["Chaotic", "Plan", "Summary", "run"]
