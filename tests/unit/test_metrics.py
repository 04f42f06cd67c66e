"""The worker's meters as Prometheus reads them."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.domain.errors import FailureKind
from consumer.domain.leases import OwnTable
from consumer.domain.ports import Meters, RulesInUse, WorkerStatus
from consumer.domain.records import Outcome
from consumer.telemetry.metrics import PREFIX, PrometheusMeters
from consumer.worker.calls import Operation
from consumer.worker.shard import ShardState

RUNNING, DRAINING, HALTED = ShardState.RUNNING, ShardState.DRAINING, ShardState.HALTED
UNKNOWN: Final = (
    "lag_seconds",
    "lag_unknown",
    "retention_headroom_seconds",
    "quarantine_pending",
    "last_progress_timestamp_seconds",
    "rules_number",
    "rules_newest",
)


def make_meters() -> PrometheusMeters:
    return PrometheusMeters(version="1.2.3", worker_id="w-1", states=[RUNNING, HALTED], operations=[Operation.COMMIT])


def series(meters: PrometheusMeters) -> dict[tuple[str, ...], float]:
    """Name without prefix, then the label values, of every series that is ours."""
    return {
        (sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(meters.render().decode())
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


def snapshot(meters: Meters, shards: Mapping[str, int], pending: int | None, at: float) -> None:
    meters.snapshot(WorkerStatus(1.5, 86_398.5, shards, 2, ()), pending, at)


def test_what_is_known_from_the_start_begins_at_zero_and_what_is_not_is_no_number() -> None:
    now = series(make_meters())
    assert all(now["records_total", outcome.value] == 0 for outcome in Outcome)
    assert all(now["retries_total", "commit", kind.value] == 0 for kind in FailureKind)
    assert all(now[name, table.value] == 0 for name in ("write_units_total", "read_units_total") for table in OwnTable)
    assert now["gaps_total",] == now["leases_owned",] == now["commit_duration_seconds_count",] == 0
    assert now["shards", "running"] == now["shards", "halted"] == 0
    assert all(math.isnan(now[name,]) for name in UNKNOWN)
    assert now["info", "1.2.3", "w-1"] == 1


def test_counters() -> None:
    meters = make_meters()
    meters.records(Outcome.APPLIED, 3)
    meters.records(Outcome.APPLIED, 2)
    meters.records(Outcome.QUARANTINED, 1)
    meters.retry(Operation.COMMIT, FailureKind.THROTTLED)
    meters.retry(Operation.READ_MEMBERS, FailureKind.NETWORK)
    meters.gap()
    meters.write_units(OwnTable.LEASE, 2)
    meters.write_units(OwnTable.LEASE, 1.0)
    meters.read_units(OwnTable.LEADERBOARD, 0.5)
    now = series(meters)
    assert now["records_total", "applied"] == 5
    assert now["records_total", "quarantined"] == 1
    assert now["retries_total", "commit", "throttled"] == now["retries_total", "read_members", "network"] == 1
    assert now["gaps_total",] == 1
    assert (now["write_units_total", "lease"], now["read_units_total", "leaderboard"]) == (3, 0.5)


def test_a_commit_is_timed_and_is_progress() -> None:
    meters = make_meters()
    meters.committed(0.004, 1000.0)
    meters.committed(11.0, 1002.5)
    now = series(meters)
    assert now["commit_duration_seconds_bucket", "0.005"] == now["commit_duration_seconds_bucket", "10.0"] == 1
    assert now["commit_duration_seconds_count",] == 2
    assert now["commit_duration_seconds_sum",] == pytest.approx(11.004)
    assert now["last_progress_timestamp_seconds",] == 1002.5
    meters.progress(1003.0)
    assert series(meters)["last_progress_timestamp_seconds",] == 1003.0


def test_a_snapshot_sets_the_gauges_and_a_state_that_vanished_goes_to_zero() -> None:
    meters = make_meters()
    snapshot(meters, {RUNNING: 2, DRAINING: 1}, 4, 1000.0)
    now = series(meters)
    assert (now["lag_seconds",], now["retention_headroom_seconds",], now["leases_owned",]) == (1.5, 86_398.5, 2)
    assert (now["shards", "running"], now["shards", "draining"], now["shards", "halted"]) == (2, 1, 0)
    snapshot(meters, {RUNNING: 1}, None, 1001.0)
    now = series(meters)
    assert (now["shards", "running"], now["shards", "draining"]) == (1, 0)
    assert now["quarantine_pending",] == 4, "not counted this time"


def test_numbers_of_rules_are_exported_once_they_are_known() -> None:
    meters = make_meters()
    for rules, right in ((RulesInUse(), (None, None)), (RulesInUse(0, 2), (None, 2)), (RulesInUse(1, 2), (1, 2))):
        meters.snapshot(WorkerStatus(1.5, 86_398.5, {}, 2, (), rules=rules), 0, 1000.0)
        now = series(meters)
        shown = [None if math.isnan(now[name,]) else now[name,] for name in ("rules_number", "rules_newest")]
        assert tuple(shown) == right


def test_the_first_snapshot_counts_as_progress_and_later_ones_do_not() -> None:
    meters = make_meters()
    snapshot(meters, {}, 0, 1000.0)
    snapshot(meters, {}, 0, 2000.0)
    assert series(meters)["last_progress_timestamp_seconds",] == 1000.0


def test_every_instance_has_a_registry_of_its_own() -> None:
    one, other = make_meters(), make_meters()
    one.gap()
    assert series(one)["gaps_total",] == 1
    assert series(other)["gaps_total",] == 0


def test_the_process_is_measured_and_no_series_is_doubled() -> None:
    text = make_meters().render().decode()
    assert "process_cpu_seconds_total" in text
    assert "_created" not in text


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_for_many_processes_does_not_matter(variable: str, exists: bool, tmp_path: Path) -> None:
    """The library reads it when it is imported, so this is a process of its own."""
    folder = tmp_path / "metrics"
    if exists:
        folder.mkdir()
    code = (
        "from consumer.telemetry.metrics import PrometheusMeters\n"
        "meters = PrometheusMeters(version='1', worker_id='w'); meters.gap(); print(meters.render().decode())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {variable: str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nleaderboard_consumer_gaps_total 1.0\n" in shown.stdout
    assert [path.name for path in tmp_path.rglob("*")] == (["metrics"] if exists else [])


def test_dropped_log_lines_are_counted_where_they_are_dropped() -> None:
    dropped = iter([3, 5])
    meters = PrometheusMeters(version="1", worker_id="w", dropped_log_lines=lambda: next(dropped))
    for count in ("3.0", "5.0"):
        assert f"\nleaderboard_consumer_log_lines_dropped_total {count}\n" in meters.render().decode()
