"""The alert rules: valid, each with a story in which it fires and one in which it does not, each with its runbook."""

import json
import re
from pathlib import Path

import pytest

from tests.deploy.alerts import alerts, all_saying
from tests.deploy.promtool import FOLDER, ROOT, promtool

pytestmark = pytest.mark.deploy

NEVER, ALWAYS = "vector(0) > 1", "vector(1)"
ECS_TARGETS = """
- targets: ["10.0.1.7:9464"]
  labels:
    job: leaderboard-consumer-eu
    __metrics_path__: /metrics
    __meta_ecs_cluster_name: games
    __meta_ecs_service_name: leaderboard
    __meta_ecs_task_launch_type: FARGATE
- targets: ["10.0.1.8:8080"]
  labels:
    job: another-service
    __meta_ecs_cluster_name: games
"""


@pytest.mark.parametrize("name", ["prometheus.yml", "ecs.yml"])
def test_configuration_and_rules_are_valid(name: str) -> None:
    checked = promtool("check", "config", FOLDER / name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(alerts())} rules found" in checked.stdout


def test_the_stories_come_true() -> None:
    told = promtool("test", "rules", FOLDER / "rules_test.yml")
    assert told.returncode == 0, told.stdout + told.stderr


def wrong(tmp_path: Path, expression: str) -> list[tuple[set[str], set[str]]]:
    """The alerts that the stories expect and those that fire, where they differ, if all rules said this."""
    (tmp_path / "rules.yml").write_text(all_saying(expression))
    (tmp_path / "rules_test.yml").write_text((FOLDER / "rules_test.yml").read_text())
    told = promtool("test", "rules", tmp_path / "rules_test.yml")
    assert told.returncode != 0
    pairs = re.findall(r"exp: (.*)\n\s+got: (.*)", told.stdout + told.stderr)
    assert pairs, told.stdout + told.stderr
    name = re.compile(r'alertname="(\w+)"')
    return [(set(name.findall(expected)), set(name.findall(fired))) for expected, fired in pairs]


def test_the_stories_would_notice_an_alert_that_never_fires_and_one_that_always_does(tmp_path: Path) -> None:
    names = {alert.name for alert in alerts()}
    assert set[str]().union(*(expected - fired for expected, fired in wrong(tmp_path, NEVER))) == names
    assert set[str]().union(*(fired - expected for expected, fired in wrong(tmp_path, ALWAYS))) == names


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "deploy" / "RUNBOOK.md").read_text(), re.MULTILINE)
    for alert in alerts():
        assert alert.labels in ({"severity": "critical"}, {"severity": "warning"}), alert.name
        assert alert.annotations.keys() == {"summary", "description", "runbook_url"}, alert.name
        assert alert.annotations["runbook_url"] == f"deploy/RUNBOOK.md#{alert.name.lower()}"
    assert headings == [alert.name for alert in alerts()], "a heading an alert, in the same order"


def test_tasks_on_ecs_are_found_by_file(tmp_path: Path) -> None:
    (tmp_path / "targets.yml").write_text(ECS_TARGETS)
    text = (FOLDER / "ecs.yml").read_text()
    (tmp_path / "ecs.yml").write_text(text.replace("/etc/prometheus/ecs/*.yml", f"{tmp_path}/targets.yml"))
    found = promtool("check", "service-discovery", "--timeout=1s", tmp_path / "ecs.yml", "leaderboard-consumer")
    assert found.returncode == 0, found.stdout + found.stderr
    kept = [target["labels"] for target in json.loads(found.stdout) if target["labels"]]
    shown = [{name: value for name, value in labels.items() if name[0] != "_"} for labels in kept]
    assert shown == [
        {"job": "leaderboard-consumer-eu", "instance": "10.0.1.7:9464", "cluster": "games", "service": "leaderboard"}
    ]
