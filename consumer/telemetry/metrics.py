"""Metrics for Prometheus. No label grows without bound: none names a shard."""

from collections.abc import Callable, Iterable, Iterator
from math import nan
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from consumer.domain.errors import FailureKind
from consumer.domain.leases import OwnTable
from consumer.domain.ports import WorkerStatus
from consumer.domain.records import Outcome
from consumer.domain.stream_halt import StreamHaltReason

PREFIX: Final = "leaderboard_consumer"
COMMIT_BUCKETS: Final = (0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: from a transaction on the same machine to one that was retried for a while."""

# A second series per counter, which no query uses; the library has no finer switch.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Where PROMETHEUS_MULTIPROC_DIR is set, the library would keep every value in a file of that folder. This worker is one
# process and writes no files.
values.ValueClass = values.MutexValue


class _DroppedLogLines(Collector):
    """A counter that the log keeps: a line is dropped where nothing else may be waited for."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See prometheus_client's Collector."""
        meaning = "Log lines that were lost: what reads the log was too slow, or is gone."
        yield CounterMetricFamily(f"{PREFIX}_log_lines_dropped", meaning, value=self._dropped())


class PrometheusMeters:
    """The worker's Meters and UnitMeter, in a registry of their own.

    Series of known labels begin at 0. What is measured and not known yet is NaN, so that no alert fires at the start:
    lag, headroom, pending quarantine rows, last progress, numbers of rules.
    """

    def __init__(
        self,
        *,
        version: str,
        worker_id: str,
        states: Iterable[str] = (),
        operations: Iterable[str] = (),
        dropped_log_lines: Callable[[], int] = lambda: 0,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`states` of shards and retried `operations` are the label values whose series exist from the start."""
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_DroppedLogLines(dropped_log_lines))
        Info(PREFIX, "What runs.", registry=self.registry).info({"version": version, "worker_id": worker_id})
        self._records = self._counter("records", "Records of the stream, by outcome.", "outcome")
        self._retries = self._counter("retries", "Calls that were retried.", "operation", "reason")
        self._gaps = self._counter("gaps", "Times that data may have been lost to the 24-hour trim.")
        self._credential_failures = self._counter(
            "credential_failures", "Times that new credentials were needed and could not be had."
        )
        self._write_units = self._counter("write_units", "Write units that AWS bills, by table.", "table")
        self._read_units = self._counter("read_units", "Read units that AWS bills, by table.", "table")
        self._commits = Histogram(
            f"{PREFIX}_commit_duration_seconds",
            "From a unit's first attempt to its known outcome.",
            buckets=COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._lag = self._gauge("lag_seconds", "Age of the oldest record of the stream that is not committed.")
        self._lag_unknown = self._gauge("lag_unknown", "1 while the lag is not known: lag_seconds is its upper bound.")
        self._headroom = self._gauge("retention_headroom_seconds", "Time until data is lost to the trim.")
        self._pending = self._gauge("quarantine_pending", "Quarantined records that wait for the operator.")
        self._progress = self._gauge(
            "last_progress_timestamp_seconds", "When the worker last made progress, in unix seconds."
        )
        self._leases = self._gauge("leases_owned", "Shards that this worker owns.")
        self._shards = self._gauge("shards", "Shards of the stream, by state.", "state")
        self._rules = self._gauge("rules_number", "Number of the rules by which this worker reads.")
        self._newest_rules = self._gauge("rules_newest", "Number of the rules that were accepted last.")
        self._halted = self._gauge("stream_halted", "1: a stream is not read until an operator acts.", "reason")
        self._states = set(states)
        self._has_progress = False
        unknown = (self._lag, self._lag_unknown, self._headroom, self._pending, self._progress)
        for gauge in (*unknown, self._rules, self._newest_rules):
            gauge.set(nan)
        self._begin_at_zero(operations)

    def _begin_at_zero(self, operations: Iterable[str]) -> None:
        for outcome in Outcome:
            self._records.labels(outcome.value)
        for table in OwnTable:
            self._write_units.labels(table.value)
            self._read_units.labels(table.value)
        for operation in operations:
            for reason in FailureKind:
                self._retries.labels(operation, reason.value)
        for state in self._states:
            self._shards.labels(state)
        for halt_reason in StreamHaltReason:
            self._halted.labels(halt_reason.value)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)

    def records(self, outcome: str, count: int) -> None:
        """Records that ended in `outcome`."""
        self._records.labels(outcome).inc(count)

    def committed(self, seconds: float, at: float) -> None:
        """A commit succeeded after `seconds`; `at` in unix seconds."""
        self._commits.observe(seconds)
        self.progress(at)

    def retry(self, operation: str, reason: str) -> None:
        """A call will be retried."""
        self._retries.labels(operation, reason).inc()

    def gap(self) -> None:
        """Data may have been lost to the 24-hour trim."""
        self._gaps.inc()

    def credential_failure(self) -> None:
        """New credentials were needed and could not be had."""
        self._credential_failures.inc()

    def write_units(self, table: OwnTable, units: float) -> None:
        """See UnitMeter."""
        self._write_units.labels(table.value).inc(units)

    def read_units(self, table: OwnTable, units: float) -> None:
        """See UnitMeter."""
        self._read_units.labels(table.value).inc(units)

    def progress(self, at: float) -> None:
        """The worker made progress, at unix seconds."""
        self._has_progress = True
        self._progress.set(at)

    def snapshot(self, status: WorkerStatus, pending: int | None, at: float) -> None:
        """The current status. `pending` None: not counted this time, the last number stays. A state that vanished is 0.

        The first one also counts as progress: else a worker that never makes any would look like no worker at all.
        """
        if not self._has_progress:
            self.progress(at)
        self._lag.set(nan if status.lag_seconds is None else status.lag_seconds)
        self._lag_unknown.set(not status.lag_known)
        self._headroom.set(nan if status.headroom_seconds is None else status.headroom_seconds)
        self._leases.set(status.leases_owned)
        self._rules.set(status.rules.own or nan)
        self._newest_rules.set(status.rules.newest or nan)
        halted = {halt.reason for halt in status.stream_halts}
        for reason in StreamHaltReason:
            self._halted.labels(reason.value).set(reason in halted)
        if pending is not None:
            self._pending.set(pending)
        self._states.update(status.shards)
        for state in self._states:
            self._shards.labels(state).set(status.shards.get(state, 0))
