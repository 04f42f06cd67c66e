import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.domain.errors import TroubleKind
from consumer.domain.ports import Meters
from consumer.domain.records import Outcome
from consumer.domain.standing import Standing
from consumer.telemetry.metrics import PREFIX, PrometheusMeters


def meters() -> PrometheusMeters:
    return PrometheusMeters(version="1.2.3", worker_id="w-1", states=["reading", "halted"], operations=["commit"])


def series(of: PrometheusMeters) -> dict[tuple[str, ...], float]:
    """Name without prefix, then the label values, of every series that is ours."""
    return {
        (sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(of.render().decode())
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


def test_it_is_what_the_worker_asks_for() -> None:
    port: Meters = meters()
    port.gap()


def test_what_is_known_beforehand_begins_at_zero_and_what_is_not_known_is_no_number() -> None:
    begun = series(meters())
    assert all(begun["records_total", outcome.value] == 0 for outcome in Outcome)
    assert all(begun["retries_total", "commit", kind.value] == 0 for kind in TroubleKind)
    assert begun["gaps_total",] == begun["leases_owned",] == begun["commit_duration_seconds_count",] == 0
    assert begun["shards", "reading"] == begun["shards", "halted"] == 0
    unknown = ["lag_seconds", "retention_headroom_seconds", "quarantine_pending", "last_progress_timestamp_seconds"]
    assert all(math.isnan(begun[name,]) for name in unknown)
    assert begun["info", "1.2.3", "w-1"] == 1


def test_counters() -> None:
    of = meters()
    of.records("applied", 3)
    of.records("applied", 2)
    of.records("quarantined", 1)
    of.retry("commit", "throttled")
    of.retry("look", "network")
    of.gap()
    now = series(of)
    assert now["records_total", "applied"] == 5
    assert now["records_total", "quarantined"] == 1
    assert now["retries_total", "commit", "throttled"] == now["retries_total", "look", "network"] == 1
    assert now["gaps_total",] == 1


def test_a_commit_is_timed_and_is_progress() -> None:
    of = meters()
    of.committed(0.004, 1000.0)
    of.committed(11.0, 1002.5)
    now = series(of)
    assert now["commit_duration_seconds_bucket", "0.005"] == now["commit_duration_seconds_bucket", "10.0"] == 1
    assert now["commit_duration_seconds_count",] == 2
    assert now["commit_duration_seconds_sum",] == pytest.approx(11.004)
    assert now["last_progress_timestamp_seconds",] == 1002.5
    of.progress(1003.0)
    assert series(of)["last_progress_timestamp_seconds",] == 1003.0


def snapshot(of: PrometheusMeters, shards: dict[str, int], pending: int | None, at: float) -> None:
    of.snapshot(Standing(1.5, 86_398.5, shards, 2, ()), pending, at)


def test_a_snapshot_sets_the_gauges_and_a_state_that_vanished_goes_to_zero() -> None:
    of = meters()
    snapshot(of, {"reading": 2, "draining": 1}, 4, 1000.0)
    now = series(of)
    assert (now["lag_seconds",], now["retention_headroom_seconds",], now["leases_owned",]) == (1.5, 86_398.5, 2)
    assert (now["shards", "reading"], now["shards", "draining"], now["shards", "halted"]) == (2, 1, 0)
    snapshot(of, {"reading": 1}, None, 1001.0)
    now = series(of)
    assert (now["shards", "reading"], now["shards", "draining"]) == (1, 0)
    assert now["quarantine_pending",] == 4


def test_the_first_snapshot_starts_the_clock_of_progress() -> None:
    of = meters()
    snapshot(of, {}, 0, 1000.0)
    snapshot(of, {}, 0, 2000.0)
    assert series(of)["last_progress_timestamp_seconds",] == 1000.0


def test_every_instance_has_a_registry_of_its_own() -> None:
    one, other = meters(), meters()
    one.gap()
    assert series(other)["gaps_total",] == 0


def test_the_process_is_measured_and_no_series_is_doubled() -> None:
    text = meters().render().decode()
    assert "process_cpu_seconds_total" in text
    assert "_created" not in text
