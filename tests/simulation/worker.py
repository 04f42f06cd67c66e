"""A worker in the simulation: the real machine, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from consumer.domain.errors import UnsafeRefused
from consumer.domain.membership import Identity
from consumer.domain.windows import calendar_of
from consumer.retries import JitteredBackoff
from consumer.worker.calls import Call, Reply
from consumer.worker.shard_calls import Read
from consumer.worker.stream_start import StreamStarter
from consumer.worker.tuning import Tuning
from consumer.worker.worker import Worker
from tests.simulation.scale import EPOCH_SECONDS, SKEW_SECONDS, STALE_AFTER_SECONDS, TTL_SECONDS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class SimulatedWorker:
    """`offset`: its clock less the simulation's. `refused`: it ended because running was not safe (exit code 4)."""

    def __init__(self, simulation: Simulation, name: str, start: int) -> None:
        self.owner = f"{name}/{start}"
        self.name = name
        self.random = random = simulation.dice.source(self.owner)
        self.offset = random.uniform(0, 1000)
        self.alive = True
        self.refused = False
        self.paused_until = 0.0
        self._simulation = simulation
        self._wake_at = inf
        self._status_at = 0.0
        self._tuning = Tuning(
            poll_interval_seconds=0.7,
            idle_poll_interval_seconds=4.0,
            idle_after_seconds=5.0,
            recent_seconds=5.0,
            caught_up_after_seconds=5.0,
            ignored_window_seconds=1.0,
            lookahead_bytes=random.choice((400, 1500, 100_000)),
            total_lookahead_bytes=random.choice((800, 200_000)),
            stale_after_seconds=STALE_AFTER_SECONDS,
            breaker=simulation.operators.breaker,
        )
        self.ports = simulation.ports
        if simulation.keyed is not None:
            self.ports, remembered_rows = simulation.keyed.equip(self.owner, self.ports)
            self._tuning = simulation.keyed.tune(self.owner, replace(self._tuning, remembered_rows=remembered_rows))
        self.rules = simulation.rules
        if simulation.changing is not None:
            self.rules = simulation.changing.rules_of(self.owner)
            self.ports = replace(self.ports, rules=self.rules)
        if simulation.correcting is not None:
            self.rules = simulation.correcting.rules_of(self.owner)
            self.ports = replace(self.ports, rules=self.rules)
        self._skew = 0.0
        self.set_clock()
        backoff = JitteredBackoff(random, first_seconds=0.05, most_seconds=2.0)
        identity = Identity(self.owner, stable=simulation.stable)
        arn = simulation.streams.arn
        calendar = calendar_of(self.rules.windows, self.rules.time_zone)
        self.worker = Worker(
            identity,
            arn,
            self._new_starter,
            TTL_SECONDS,
            self._tuning,
            backoff,
            calendar,
            corrects=simulation.corrects,
        )

    def set_clock(self) -> None:
        """Its wall clock jumps. Workers use it for notes, and to decide which unread shards may have lost records."""
        self._skew = self.random.uniform(-SKEW_SECONDS, SKEW_SECONDS)
        self.jump()

    def jump(self) -> None:
        """Its wall clock follows the server's, as exactly as it did."""
        simulation = self._simulation
        jumped = simulation.changing.jumped if simulation.changing is not None else 0.0
        object.__setattr__(self._tuning, "wall_offset_seconds", EPOCH_SECONDS + jumped - self.offset + self._skew)

    def run_due(self) -> None:
        """Sends the calls that are due, and plans the next wake-up."""
        if not self.alive or self._is_paused(self.run_due):
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
        if simulation.now >= self._status_at:
            self.worker.status(now)
            self._status_at = simulation.now + 1.0
        wake_at = max(simulation.now, min(self.worker.wake_at() - self.offset + 1e-6, simulation.now + 5.0))
        if wake_at < self._wake_at or self._wake_at <= simulation.now:
            self._wake_at = wake_at
            simulation.at(wake_at, self._wake)

    def take(self, call: Call, reply: Reply) -> None:
        """A reply arrives."""
        if not self.alive or self._is_paused(lambda: self.take(call, reply)):
            return
        simulation = self._simulation
        if isinstance(call, Read) and (machine := self.worker.shards.get(call.lease.shard)) is not None:
            simulation.happened["late page of an earlier epoch"] += machine.lease != call.lease
        try:
            reported = self.worker.take(call, reply, simulation.now + self.offset)
        except UnsafeRefused as refusal:
            self.alive = False
            self.refused = True
            simulation.note(self.owner, f"refuses: {refusal}")
            if simulation.changing is not None:
                simulation.changing.refused(self)
            return
        simulation.worker_invariants.reported(call, reported)
        for event in reported:
            simulation.note(self.owner, event)
        self.run_due()

    def _wake(self) -> None:
        """Nothing, if an earlier wake-up has replaced this one."""
        if self._wake_at <= self._simulation.now:
            self.run_due()

    def _new_starter(self, stream_arn: str) -> StreamStarter:
        names = self._simulation.tables.names
        return StreamStarter(stream_arn, self._simulation.start, 1, names, self.rules)

    def _is_paused(self, then: Callable[[], None]) -> bool:
        """Whether the process is paused. Then `then` happens at the end of the pause."""
        if self.paused_until > self._simulation.now:
            self._simulation.at(self.paused_until, then)
            return True
        return False
