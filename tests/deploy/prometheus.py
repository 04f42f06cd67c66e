"""A real Prometheus: its process, its questions and answers."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from consumer.demo.server import Server
from tests.deploy.promtool import program
from tests.processes import until
from tests.processes.asking import ask

JOB = "leaderboard-consumer"


class Sample(NamedTuple):
    """A series' labels (its name among them as `__name__`) and its value now."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Server):
    """Scrapes and evaluates once a second; what it stores is in `folder`. `rules` is the text of a rules file."""

    name = "prometheus"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, rules: str, targets: Sequence[str]) -> None:
        super().__init__()
        self._folder = folder
        (folder / "rules.yml").write_text(rules)
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration))

    def command(self, port: int) -> list[str]:
        return [
            program("prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]

    def environment(self, port: int) -> dict[str, str]:  # noqa: ARG002  the port is on the command line
        return {"PATH": os.environ["PATH"]}

    def start(self) -> None:
        """Returns once it answers questions; until then it says that it is not ready."""
        super().start()
        try:
            until(lambda: self._ask("/-/ready")[0] == 200, "Prometheus is ready")
        except BaseException:
            self.stop()
            raise

    def query(self, expression: str) -> list[Sample]:
        """What an expression is now; AssertionError when Prometheus does not understand it."""
        answer = self._get("query", query=expression)
        assert answer["resultType"] == "vector", expression
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def value(self, expression: str) -> float | None:
        """The only series' value; None while there is none."""
        samples = self.query(expression)
        assert len(samples) <= 1, samples
        return samples[0].value if samples else None

    def rules(self) -> list[dict[str, Any]]:
        """The rules as it has read and evaluated them."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def label_values(self, name: str, series: str) -> list[str]:
        """As Grafana's `label_values` asks."""
        return list(self._get(f"label/{name}/values", **{"match[]": series}))

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire: name and instance, if it has one."""
        return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in self._firing()}

    def summaries(self) -> set[str]:
        """What a person reads first of each alert that fires."""
        return {alert["annotations"]["summary"] for alert in self._firing()}

    def _firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"]

    def _get(self, path: str, **parameters: str) -> Any:
        status, said = self._ask(f"/api/v1/{path}?{urlencode(parameters)}")
        assert status == 200, said
        return json.loads(said)["data"]

    def _ask(self, path: str) -> tuple[int, str]:
        return ask(urlsplit(self.url).netloc, path, 10)


def sooner(rules: str) -> str:
    """The rules with each duration a sixtieth: minutes become seconds, hours minutes, a day 24 of them."""

    def shorten(match: re.Match[str]) -> str:
        before, number, unit = match.groups()
        return before + {"m": f"{number}s", "h": f"{number}m", "d": f"{24 * int(number)}m"}[unit]

    return re.sub(r"(for: |\[)(\d+)([mhd])\b", shorten, rules)
