"""The alert rules: valid, each with a test in which it fires and one in which it does not, each with its runbook."""

import json
import re
from pathlib import Path

import pytest

from tests.deploy.checkers import FOLDER, ROOT, promtool
from tests.deploy.monitoring import alerts, all_with_expression

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


def test_the_rules_pass_their_tests() -> None:
    checked = promtool("test", "rules", FOLDER / "rules_test.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def wrong(tmp_path: Path, expression: str) -> list[tuple[set[str], set[str]]]:
    """Where expected and firing alerts of the rules' tests differ if all rules have this expression."""
    (tmp_path / "rules.yml").write_text(all_with_expression(expression))
    (tmp_path / "rules_test.yml").write_text((FOLDER / "rules_test.yml").read_text())
    checked = promtool("test", "rules", tmp_path / "rules_test.yml")
    assert checked.returncode != 0
    pairs = re.findall(r"exp: (.*)\n\s+got: (.*)", checked.stdout + checked.stderr)
    assert pairs, checked.stdout + checked.stderr
    name = re.compile(r'alertname="(\w+)"')
    return [(set(name.findall(expected)), set(name.findall(fired))) for expected, fired in pairs]


def test_the_rules_tests_find_an_alert_that_never_or_always_fires(tmp_path: Path) -> None:
    names = {alert.name for alert in alerts()}
    assert set[str]().union(*(expected - fired for expected, fired in wrong(tmp_path, NEVER))) == names
    assert set[str]().union(*(fired - expected for expected, fired in wrong(tmp_path, ALWAYS))) == names


def test_each_alert_has_a_severity_and_a_runbook() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "deploy" / "RUNBOOK.md").read_text(), re.MULTILINE)
    for alert in alerts():
        assert alert.labels in ({"severity": "critical"}, {"severity": "warning"}), alert.name
        assert alert.annotations.keys() == {"summary", "description", "runbook_url"}, alert.name
        assert alert.annotations["runbook_url"] == f"deploy/RUNBOOK.md#{alert.name.lower()}"
    assert [heading for heading in headings if " " not in heading] == [alert.name for alert in alerts()], (
        "in this order"
    )


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
