"""A real Prometheus scrapes two real workers: rules and panels get data, the calm is quiet, the right alerts ring.

Its durations are a sixtieth of ours. The tests run in the order of the file; the last one disturbs.
"""

import math
import re
import signal
from collections.abc import Iterator

import pytest

from tests.deploy.alerts import Alert, alerts
from tests.deploy.dashboard import Query, dashboard, filled, queries, variables
from tests.deploy.prometheus import JOB, Sample
from tests.deploy.promtool import program, promtool
from tests.deploy.watched import Watched, watched
from tests.processes import consumer, until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(110)]

CALM_SECONDS = 15
"""As long as the longest `for` of the rules but a day, by the durations of the test."""
LOOKS = CALM_SECONDS + 5
"""Before the first ones, nothing has been scraped yet."""
CHOSEN = {"job": "leaderboard-consumer.*", "instance": ".+", "__rate_interval": "5s"}
NO_DATA = {"Alerts": "no alert fires in the calm; the last test asks again"}


@pytest.fixture(scope="module")
def scene(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    program("prometheus")
    with watched(ministack_url, tmp_path_factory.mktemp("prometheus")) as scene:
        until(
            lambda: (scene.prometheus.value(f'min(count_over_time(up{{job="{JOB}"}}[1m]))') or 0) >= LOOKS,
            "it has looked for a while",
            60,
        )
        yield scene


def test_what_workers_export_is_clean(scene: Watched) -> None:
    checked = promtool("check", "metrics", stdin=scene.workers["w1"].get("/metrics")[1])
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_all_rules_are_read_and_evaluated(scene: Watched) -> None:
    rules = scene.prometheus.rules()
    assert [rule["name"] for rule in rules] == [alert.name for alert in alerts()]
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_each_rule_compares_something(scene: Watched, alert: Alert) -> None:
    """With `bool`, a comparison that is not met answers 0 instead of nothing."""
    asked = re.sub(r" (>|<|==) ", r" \1 bool ", alert.expression)
    assert asked != alert.expression
    answer = scene.prometheus.query(asked)
    assert answer
    assert {sample.value for sample in answer} == {0.0}


def test_the_calm_is_quiet(scene: Watched) -> None:
    fired = scene.prometheus.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{CALM_SECONDS}s])')
    assert fired == []


def test_panels_and_variables_have_data(scene: Watched) -> None:
    until(lambda: not empty(scene), f"data for {empty(scene)}")
    for query in queries():
        values = [sample.value for sample in asked(scene, query.panel)]
        assert not all(math.isnan(value) for value in values), query
    for variable in variables().values():
        if variable["type"] == "query":
            matched = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert matched is not None
            found = scene.prometheus.label_values(matched[2], filled(matched[1], CHOSEN))
            instances = sorted(scene.instance(name) for name in scene.workers)
            assert sorted(found) == {"job": [JOB], "instance": instances}[variable["name"]]


def empty(scene: Watched) -> list[str]:
    """Panels one of whose queries has no answer, and annotations likewise, but those that may have none."""
    return [
        title
        for title, expression in [*queries(), *annotations()]
        if title not in NO_DATA and not scene.prometheus.query(filled(expression, CHOSEN))
    ]


def annotations() -> list[Query]:
    """What the dashboard draws over all panels."""
    return [Query(each["name"], each["expr"]) for each in dashboard()["annotations"]["list"]]


def asked(scene: Watched, panel: str) -> list[Sample]:
    """What a panel shows now."""
    found = [query.expression for query in queries() if query.panel == panel]
    assert found, panel
    return [sample for expression in found for sample in scene.prometheus.query(filled(expression, CHOSEN))]


def values(scene: Watched, panel: str, label: str = "") -> dict[str, float]:
    """By one label."""
    return {sample.labels.get(label, ""): sample.value for sample in asked(scene, panel)}


def test_the_dashboard_tells_what_the_workers_do(scene: Watched) -> None:
    (lag,) = values(scene, "Lag").values()
    (headroom,) = values(scene, "Time until data loss").values()
    assert 0 <= lag < 30
    assert 86_400 - 30 < headroom <= 86_400
    outcomes = values(scene, "Records a second, by outcome", "outcome")
    assert outcomes.keys() == {"applied", "quarantined", "ignored", "before_start"}
    assert outcomes["applied"] > 0
    assert values(scene, "Quarantined records that wait") == {"": 0.0}
    assert all(0 < seconds <= 10 for seconds in values(scene, "Commit latency").values())
    assert values(scene, "Shards by worker", "instance") == {scene.instance(name): 1.0 for name in scene.workers}
    assert values(scene, "Workers that answer") == {"": 2.0}
    ids = [sample.labels["worker_id"] for sample in asked(scene, "Workers")]
    assert sorted(ids) == ["w1", "w2"]


def test_the_right_alerts_ring(scene: Watched) -> None:
    second = ("LeaderboardWorkerDown", scene.instance("w2"))
    scene.workers["w2"].kill()
    scene.wait_for(second)
    scene.start_again("w2")
    scene.wait_for()

    halted = halt(scene)
    scene.wait_for(("LeaderboardShardHalted", ""))
    done = consumer("checkpoint", "set", *halted, "--yes", environment=scene.game.environment(lease_ttl_seconds="1"))
    assert done.returncode == 0, done.stderr
    scene.wait_for()

    scene.poison = 0.2
    scene.wait_for(("LeaderboardQuarantineGrowing", ""))
    scene.poison = 0.0

    for worker in scene.workers.values():
        worker.send(signal.SIGTERM)
    first = ("LeaderboardWorkerDown", scene.instance("w1"))
    scene.wait_for(("LeaderboardNoWorker", ""), first, second)
    assert f"{scene.instance('w1')} of {JOB} does not answer" in scene.prometheus.summaries()
    assert all(scene.prometheus.query(filled(each.expression, CHOSEN)) for each in annotations())


def halt(scene: Watched) -> tuple[str, str]:
    """Takes a shard's row away, as a person by mistake; the shard and the last position that its worker knew."""
    rows = [row for row in scene.game.rows("lease") if row["leaseKey"]["S"].startswith("shard#")]
    row = next(row for row in rows if row["checkpoint"]["S"] != "SHARD_END")
    scene.game.client.delete_item(TableName=scene.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    told = until(
        lambda: [event for worker in scene.workers.values() for event in worker.events("shard.halted")], "it halts"
    )[0]
    return told["shard_id"], told["checkpoint"]
