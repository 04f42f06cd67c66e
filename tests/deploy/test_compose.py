"""`docker compose up` as far as possible without Docker: each of our services as a process, as the file has it."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from consumer.settings import OPTIONS, variable
from tests.deploy import environment_file
from tests.deploy.checkers import ROOT, promtool, read_yaml, schema_faults
from tests.support.command_line import subcommands
from tests.support.engines import TableEngine
from tests.support.processes import WorkerProcess, read_board, until

pytestmark = pytest.mark.deploy

FILE = "deploy/compose.yaml"
HERE = ROOT / "deploy"
SERVICES: dict[str, Any] = read_yaml(FILE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "leaderboard-consumer"}
ENGINE = "http://dynamodb:8000"
GAMES = 300


def mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Our files in a service, by their path in the container."""
    pairs = [volume.split(":") for volume in service.get("volumes", [])]
    assert all(mode == "ro" for *_, mode in pairs)
    return {inside: (HERE / ours).resolve() for ours, inside, _ in pairs}


def as_process(service: dict[str, Any]) -> list[str]:
    """A service's command line outside of a container."""
    entry = service.get("entrypoint", ["/app/bin/python", "-m", "consumer"])
    places = mounts(service) | {"/app/bin/python": Path(sys.executable)}
    return [str(places.get(word, word)) for word in [*entry, *service["command"]]]


def test_it_follows_the_schema() -> None:
    assert schema_faults("vendor.compose-spec", FILE) == ""


def test_its_files_settings_and_commands_exist() -> None:
    commands = subcommands()
    known = {variable(name) for name in OPTIONS} | set(TableEngine("", "").variables())
    for service in SERVICES.values():
        assert [path for path in mounts(service).values() if not path.is_file()] == []
        assert set(service.get("depends_on", [])) <= set(SERVICES)
    for name, service in OURS.items():
        assert set(service["environment"]) <= known, name
        assert "entrypoint" in service or service["command"][0] in commands, name
        assert (service["init"], service["read_only"], service["cap_drop"]) == (True, True, ["ALL"]), name
        assert (HERE / service["build"]).resolve() == ROOT
        assert [HERE / path for path in service["env_file"]] == [environment_file.FILE], name
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_images_of_others_have_a_version_and_ports_stay_on_this_machine() -> None:
    for name, service in SERVICES.items():
        assert name in OURS or service["image"].rpartition(":")[2][:1] in "v0123456789", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_its_services_keep_a_board(dynamodb_local_url: str) -> None:
    engine = TableEngine("dynamodb-local", dynamodb_local_url)
    plain = {name: value for name, value in engine.environment().items() if not name.startswith("AWS_")}

    def environment(name: str) -> dict[str, str]:
        said = environment_file.parsed(environment_file.FILE.read_text())
        said |= {key: value.replace(ENGINE, engine.url) for key, value in OURS[name]["environment"].items()}
        return plain | said | {"CONSUMER_HTTP_PORT": "0", "CONSUMER_HTTP_HOST": "127.0.0.1"}

    def run(name: str, *more: str) -> None:
        command = [*as_process(OURS[name]), *more]
        done = subprocess.run(command, check=False, env=environment(name), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{name}: {done.stderr}"

    run("source")
    run("source")  # as `docker compose up` does the second time
    run("tables")
    with ExitStack() as left:
        workers = [
            left.enter_context(WorkerProcess(environment("worker"), command=as_process(OURS["worker"])))
            for _ in range(OURS["worker"]["deploy"]["replicas"])
        ]
        run("games", "--games", str(GAMES), "--per-second", "2000")
        client = engine.client("dynamodb")
        left.callback(client.close)

        def counted() -> int:
            board = read_board(client, str(OPTIONS["leaderboard_table"].default))
            pages = client.get_paginator("scan").paginate(TableName=OPTIONS["quarantine_table"].default)
            quarantined = [item for page in pages for item in page["Items"] if "state" in item]
            return sum(row.games for row in board.values()) + len(quarantined)

        until(lambda: counted() == GAMES, "every game on the board or in quarantine")
        assert [worker.terminate().code for worker in workers] == [0, 0]


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    for inside, path in mounts(SERVICES["prometheus"]).items():
        shutil.copy(path, tmp_path / Path(inside).name)
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (datasource,) = read_yaml("deploy/compose/grafana-datasource.yml")["datasources"]
    host, port = datasource["url"].removeprefix("http://").split(":")
    assert any(published.endswith(f":{port}") for published in SERVICES[host]["ports"])
    (provider,) = read_yaml("deploy/compose/grafana-dashboards.yml")["providers"]
    dashboard = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(dashboard).parent == Path(provider["options"]["path"])
    assert dashboard in mounts(SERVICES["grafana"])
