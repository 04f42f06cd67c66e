"""How a worker stands: what metrics and readiness show."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from consumer.domain.leases import Shard
from consumer.worker.shard import ShardMachine
from consumer.worker.state import State

SHOWN_TROUBLES: Final = 10
"""Troubles that readiness names; a thousand shards would have as many."""
UNOWNED: Final = "unowned"
"""Beside the states of a worker's own shards: those that nobody works."""


def by_state(shards: Mapping[Shard, ShardMachine], missing: Collection[Shard], unowned: int) -> dict[str, int]:
    """How many shards are in which state; `missing` are those whose row is gone, worked or not."""
    states = Counter(machine.state.value for machine in shards.values())
    states[State.HALTED.value] += len(set(missing) - shards.keys())
    return {**states, UNOWNED: unowned}


def waits(*, draining: bool, planned: bool, vouched: bool) -> list[str]:
    """Why the worker as a whole does not commit now."""
    reasons = []
    if draining:
        reasons.append("draining: the worker is on its way out")
    if not planned:
        reasons.append("starting: the ledger has not been read and planned yet")
    if not vouched:
        reasons.append("no beat could be written for a lease TTL: nothing is committed until one can")
    return reasons


def halts(shards: Mapping[Shard, ShardMachine], missing: Collection[Shard]) -> list[str]:
    """What is halted, and what can be done about it."""
    halted = {shard: machine for shard, machine in shards.items() if machine.state is State.HALTED}
    lost = {*missing, *(shard for shard, machine in halted.items() if machine.row_missing)}
    return [
        *(
            f"shard {shard} is halted: its row is missing from the lease table. The way on: consumer checkpoint set"
            for shard in sorted(lost)
        ),
        *(
            f"shard {shard} is halted: most of its last records are poison. Mend the producer, then: consumer resume"
            for shard in sorted(halted.keys() - lost)
        ),
    ]
