"""A real Prometheus scrapes two real workers: rules and panels get data, and the right alerts fire.

Its durations are a sixtieth of the real ones. The tests run in the order of the file; the last one causes failures.
"""

import math
import re
import signal
from collections.abc import Iterator

import pytest

from consumer.domain.leases import OwnTable
from consumer.domain.records import Outcome
from tests.deploy.checkers import program, promtool
from tests.deploy.monitoring import Alert, Query, alerts, dashboard, filled, queries, variables
from tests.deploy.prometheus import JOB, MonitoredCluster, Sample, monitored_cluster
from tests.support.processes import consumer, until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(110)]

QUIET_SECONDS = 15
"""As long as the longest `for` of the rules other than a day, in the durations of the test."""
SCRAPES = QUIET_SECONDS + 5
"""Some more: at first nothing has been scraped."""
CHOSEN = {"job": "leaderboard-consumer.*", "instance": ".+", "__rate_interval": "5s"}
CHOSEN |= {"write_price": "0.625", "read_price": "0.125"}
NO_DATA = {"Alerts": "no alert fires yet; the last test covers it"}


@pytest.fixture(scope="module")
def cluster(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredCluster]:
    program("prometheus")
    with monitored_cluster(ministack_url, tmp_path_factory.mktemp("prometheus")) as cluster:
        until(
            lambda: (cluster.prometheus.value(f'min(count_over_time(up{{job="{JOB}"}}[1m]))') or 0) >= SCRAPES,
            "it has scraped for a while",
            60,
        )
        yield cluster


def test_what_workers_export_is_clean(cluster: MonitoredCluster) -> None:
    checked = promtool("check", "metrics", stdin=cluster.workers["w1"].get("/metrics")[1])
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_all_rules_are_read_and_evaluated(cluster: MonitoredCluster) -> None:
    rules = cluster.prometheus.rules()
    assert [rule["name"] for rule in rules] == [alert.name for alert in alerts()]
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_each_rule_compares_something(cluster: MonitoredCluster, alert: Alert) -> None:
    """With `bool` a comparison that does not hold has the value 0 instead of no value."""
    comparison = re.sub(r" (>|<|==) ", r" \1 bool ", alert.expression)
    assert comparison != alert.expression
    samples = cluster.prometheus.query(comparison)
    assert samples
    assert {sample.value for sample in samples} == {0.0}


def test_no_alert_fires_without_failures(cluster: MonitoredCluster) -> None:
    fired = cluster.prometheus.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{QUIET_SECONDS}s])')
    assert fired == []


def test_panels_and_variables_have_data(cluster: MonitoredCluster) -> None:
    until(lambda: not empty(cluster), f"data for {empty(cluster)}")
    for query in queries():
        values = [sample.value for sample in shown(cluster, query.panel)]
        assert not all(math.isnan(value) for value in values), query
    for variable in variables().values():
        if variable["type"] == "query":
            matched = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert matched is not None
            found = cluster.prometheus.label_values(matched[2], filled(matched[1], CHOSEN))
            instances = sorted(cluster.instance(name) for name in cluster.workers)
            assert sorted(found) == {"job": [JOB], "instance": instances}[variable["name"]]


def empty(cluster: MonitoredCluster) -> list[str]:
    """Panels and annotations with a query without data, other than NO_DATA."""
    return [
        title
        for title, expression in [*queries(), *annotations()]
        if title not in NO_DATA and not cluster.prometheus.query(filled(expression, CHOSEN))
    ]


def annotations() -> list[Query]:
    """The dashboard's annotations."""
    return [Query(annotation["name"], annotation["expr"]) for annotation in dashboard()["annotations"]["list"]]


def shown(cluster: MonitoredCluster, panel: str) -> list[Sample]:
    """The current data of a panel."""
    found = [query.expression for query in queries() if query.panel == panel]
    assert found, panel
    return [sample for expression in found for sample in cluster.prometheus.query(filled(expression, CHOSEN))]


def values(cluster: MonitoredCluster, panel: str, label: str = "") -> dict[str, float]:
    """The current data of a panel by one label."""
    return {sample.labels.get(label, ""): sample.value for sample in shown(cluster, panel)}


def test_the_dashboard_shows_what_the_workers_do(cluster: MonitoredCluster) -> None:
    (lag,) = values(cluster, "Lag").values()
    (headroom,) = values(cluster, "Time until data loss").values()
    assert 0 <= lag < 30
    assert 86_400 - 30 < headroom <= 86_400
    outcomes = values(cluster, "Records per second, by outcome", "outcome")
    assert outcomes.keys() == {outcome.value for outcome in Outcome}
    assert outcomes["applied"] > 0
    assert values(cluster, "Pending records in quarantine") == {"": 0.0}
    assert 0 < values(cluster, "Write units per game", "table")[OwnTable.LEADERBOARD] < 3
    dollars = values(cluster, "Dollars per million games", "table")
    assert dollars.keys() == set(OwnTable)
    assert 0 < dollars[OwnTable.LEADERBOARD] < 3
    assert all(0 < seconds <= 10 for seconds in values(cluster, "Commit latency").values())
    assert values(cluster, "Shards by worker", "instance") == {cluster.instance(name): 1.0 for name in cluster.workers}
    assert values(cluster, "Workers that answer") == {"": 2.0}
    ids = [sample.labels["worker_id"] for sample in shown(cluster, "Workers")]
    assert sorted(ids) == ["w1", "w2"]


def test_the_right_alerts_fire(cluster: MonitoredCluster) -> None:
    second = ("LeaderboardWorkerDown", cluster.instance("w2"))
    cluster.workers["w2"].kill()
    cluster.wait_for(second)
    cluster.restart("w2")
    cluster.wait_for()

    halted = halt(cluster)
    cluster.wait_for(("LeaderboardShardHalted", ""))
    done = consumer("checkpoint", "set", *halted, "--yes", environment=cluster.game.environment(lease_ttl_seconds="1"))
    assert done.returncode == 0, done.stderr
    cluster.wait_for()

    cluster.poison = 0.2
    cluster.wait_for(("LeaderboardQuarantineGrowing", ""))
    cluster.poison = 0.0

    for worker in cluster.workers.values():
        worker.send(signal.SIGTERM)
    first = ("LeaderboardWorkerDown", cluster.instance("w1"))
    cluster.wait_for(("LeaderboardNoWorker", ""), first, second)
    assert f"{cluster.instance('w1')} of {JOB} does not answer" in cluster.prometheus.summaries()
    assert all(cluster.prometheus.query(filled(each.expression, CHOSEN)) for each in annotations())


def halt(cluster: MonitoredCluster) -> tuple[str, str]:
    """Deletes a shard's row, as by mistake; returns the shard and the last position that its worker knew."""
    rows = [row for row in cluster.game.rows("lease") if row["leaseKey"]["S"].startswith("shard#")]
    row = next(row for row in rows if row["checkpoint"]["S"] != "SHARD_END")
    cluster.game.client.delete_item(TableName=cluster.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    halted = until(
        lambda: [event for worker in cluster.workers.values() for event in worker.events("shard.halted")], "it halts"
    )[0]
    return halted["shard_id"], halted["checkpoint"]
