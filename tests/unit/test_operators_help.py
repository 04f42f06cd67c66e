"""The help of operators' commands, and that printing it imports no heavy library."""

import subprocess
import sys

import pytest

from consumer.cli.app import main

COMMANDS = [
    "quarantine list",
    "quarantine show",
    "quarantine redrive",
    "quarantine discard",
    "resume",
    "audit-log",
    "replay",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"Example:\n    consumer {command} " in text
    assert "--quarantine-table" in text
    assert "--http-port" not in text


@pytest.mark.parametrize("arguments", [("redrive", "--help"), ("redrive", "--set", "score=x")])
def test_what_does_no_work_imports_no_heavy_library(arguments: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "consumer", "quarantine", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (0 if "--help" in arguments else 2)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line}
    heavy = {"boto3", "botocore", "prometheus_client", "tenacity"}
    assert imported.isdisjoint(heavy | ({"structlog", "rich.console"} if "--help" in arguments else set()))
