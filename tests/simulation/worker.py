"""A worker's life in the simulation: the real machine, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from consumer.domain.errors import UnsafeRefused
from consumer.retries import JitteredBackoff
from consumer.worker.calls import Call, Read, Reply
from consumer.worker.identity import Identity
from consumer.worker.pinning import Pinning
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker
from tests.simulation.scale import SKEW_SECONDS, STALE_AFTER_SECONDS, TTL_SECONDS

if TYPE_CHECKING:
    from tests.simulation.world import Simulation

UNIX = 1_800_000_000.0


class SimulatedWorker:
    """`offset` is how far its clock is from the world's. `refused`: it ended because going on would not be safe."""

    def __init__(self, simulation: Simulation, name: str, life: int) -> None:
        self.owner = f"{name}/{life}"
        self.name = name
        self.random = random = simulation.dice.source(self.owner)
        self.offset = random.uniform(0, 1000)
        self.alive = True
        self.refused = False
        self.paused_until = 0.0
        self._simulation = simulation
        self._wake_at = inf
        self._stand_at = 0.0
        self._tuning = Tuning(
            poll_interval_seconds=0.7,
            idle_poll_interval_seconds=4.0,
            idle_after_seconds=5.0,
            ignored_window_seconds=1.0,
            lookahead_bytes=random.choice((400, 1500, 100_000)),
            total_lookahead_bytes=random.choice((800, 200_000)),
            stale_after_seconds=STALE_AFTER_SECONDS,
            breaker=simulation.operators.breaker,
        )
        self.set_clock()
        backoff = JitteredBackoff(random, first_seconds=0.05, most_seconds=2.0)
        identity = Identity(self.owner, stable=simulation.stable)
        arn = simulation.streams.arn
        self.worker = Worker(identity, arn, self._begin, TTL_SECONDS, self._tuning, backoff)

    def set_clock(self) -> None:
        """Its wall clock jumps. It is for annotations, and tells which shards may have lost records unseen."""
        skew = self.random.uniform(-SKEW_SECONDS, SKEW_SECONDS)
        object.__setattr__(self._tuning, "wall_offset_seconds", UNIX - self.offset + skew)

    def turn(self) -> None:
        """Starts what is due, and asks to be woken."""
        if not self.alive or self._asleep(self.turn):
            return
        simulation = self._simulation
        now = simulation.now + self.offset
        for call in self.worker.ready(now):
            simulation.send(self, call)
        if self.worker.done:
            self.alive = False
            simulation.note(self.owner, "left")
            simulation.has_left(self)
            return
        if simulation.now >= self._stand_at:
            self.worker.standing(now)
            self._stand_at = simulation.now + 1.0
        wake_at = max(simulation.now, min(self.worker.wake_at() - self.offset + 1e-6, simulation.now + 5.0))
        if wake_at < self._wake_at or self._wake_at <= simulation.now:
            self._wake_at = wake_at
            simulation.at(wake_at, self._wake)

    def take(self, call: Call, reply: Reply) -> None:
        """A reply arrives."""
        if not self.alive or self._asleep(lambda: self.take(call, reply)):
            return
        simulation = self._simulation
        if isinstance(call, Read) and (machine := self.worker.shards.get(call.lease.shard)) is not None:
            simulation.happened["late page of an earlier epoch"] += machine.lease != call.lease
        try:
            told = self.worker.take(call, reply, simulation.now + self.offset)
        except UnsafeRefused as refusal:
            self.alive = False
            self.refused = True
            simulation.note(self.owner, f"refuses: {refusal}")
            return
        for event in told:
            simulation.note(self.owner, event)
        self.turn()

    def _wake(self) -> None:
        """A wish to be woken that an earlier one has overtaken is void."""
        if self._wake_at <= self._simulation.now:
            self.turn()

    def _begin(self, stream_arn: str) -> Pinning:
        names = self._simulation.tables.names
        return Pinning(stream_arn, self._simulation.start, 1, (names.leases, names.leaderboard))

    def _asleep(self, then: Callable[[], None]) -> bool:
        """A paused process does nothing; all that waited for it happens when it wakes."""
        if self.paused_until > self._simulation.now:
            self._simulation.at(self.paused_until, then)
            return True
        return False
