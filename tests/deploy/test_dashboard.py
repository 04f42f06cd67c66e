"""The dashboard: Grafana's own models know its fields, it answers an operator's questions, and names no shard."""

import json
import re
from collections.abc import Iterator

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from consumer.telemetry.metrics import PREFIX, PrometheusMeters
from tests.deploy.monitoring import dashboard, panels, queries, variables

pytestmark = pytest.mark.deploy

QUESTIONS = [
    "Is it behind?",
    "Will it lose data?",
    "Is anything poison?",
    "Who owns what?",
    "What does it cost?",
]
OTHERS = {"up", "ALERTS", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}


def lost(ours: object, known: object, where: str = "") -> Iterator[str]:
    """What is missing or different after Grafana's models have read it."""
    if isinstance(ours, dict) and isinstance(known, dict):
        for key, value in ours.items():
            yield from lost(value, known[key], f"{where}.{key}") if key in known else [f"{where}.{key}"]
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for position, (value, other) in enumerate(zip(ours, known, strict=True)):
            yield from lost(value, other, f"{where}[{position}]")
    elif ours != known:
        yield f"{where}: {ours!r} is {known!r}"


def test_grafana_knows_every_field() -> None:
    plugins.register_default_plugins()
    known = json.loads(json.dumps(Dashboard.from_json(dashboard()), cls=JSONEncoder))
    assert list(lost(dashboard(), known)) == []
    wrong = dashboard()
    wrong["panels"][1]["fieldConfig"]["defaults"]["treshold"] = 1
    again = json.loads(json.dumps(Dashboard.from_json(wrong), cls=JSONEncoder))
    assert list(lost(wrong, again)) == [".panels[1].fieldConfig.defaults.treshold"]


def test_it_answers_the_operators_questions_in_order() -> None:
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == QUESTIONS
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in panels()}) == len(titles)


def test_no_panels_overlap() -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert cells.setdefault((x, y), panel["title"]) == panel["title"]
    heights = [panel["gridPos"]["y"] for panel in panels()]
    assert heights == sorted(heights)


def test_source_job_and_worker_can_be_selected() -> None:
    assert list(variables()) == ["datasource", "job", "instance", "write_price", "read_price"]
    sources = set(re.findall(r'"uid": "([^"]+)"', json.dumps(dashboard())))
    assert sources == {"leaderboard-consumer", "${datasource}"}, "its own id, and the selected source"
    for query in queries():
        assert 'job=~"$job"' in query.expression, query


def test_it_queries_only_exported_metrics_and_no_shard() -> None:
    text = PrometheusMeters(version="1", worker_id="w").render().decode()
    exported = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line[0] != "#"}
    for query in queries():
        bare = re.sub(r"\$\w+|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|and) *\([^)]*\)", "", query.expression)
        queried = set(re.findall(r"\b([a-zA-Z_]+)\b(?! *\()", bare)) - {"or", "le"}
        assert queried <= exported | OTHERS | {f"{PREFIX}_retries_total", f"{PREFIX}_shards"}, query
        assert "shard_id" not in query.expression
