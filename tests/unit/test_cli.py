"""The command line: settings, exit codes, errors and help."""

import io
import json
import logging
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from consumer import __version__
from consumer.cli.app import main
from consumer.domain.errors import UnsafeRefused
from consumer.settings import OPTIONS, Settings, flag, variable
from consumer.telemetry.logs import configure


def end(*arguments: str) -> Any:
    """The exit code of a command, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in [name for name in os.environ if name.startswith("CONSUMER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONSUMER_LOG_FORMAT", "pretty")


class FakeWiring:
    """Stands in for consumer.wiring: remembers the settings it was given, and returns or raises `result`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: list[Settings] = []
        self.result: Any = 0
        module = SimpleNamespace(run=self.take, init=self.take)
        for name in ("worker", "operators"):
            monkeypatch.setitem(sys.modules, f"consumer.wiring.{name}", module)
        monkeypatch.setattr("consumer.telemetry.logs.configure", lambda *_: None)

    def take(self, settings: Settings) -> Any:
        self.settings.append(settings)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> FakeWiring:
    return FakeWiring(monkeypatch)


def test_run_is_given_the_settings_and_ends_with_its_exit_code(
    wiring: FakeWiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER_HTTP_PORT", "1000")
    monkeypatch.setenv("CONSUMER_POOL_SIZE", "2")
    wiring.result = 7
    assert end("run", "--source-table", "GameEvents", "--pool-size", "3") == 7
    (settings,) = wiring.settings
    assert (settings.source_table, settings.http_port, settings.pool_size) == ("GameEvents", 1000, 3)


def test_init_prints_one_line_per_table(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    wiring.result = [
        SimpleNamespace(name="Leaderboards", created=False, note=None),
        SimpleNamespace(name="consumer-leases", created=True, note="no point-in-time recovery here"),
    ]
    assert end("init") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "exists   Leaderboards",
        "created  consumer-leases  (no point-in-time recovery here)",
    ]
    assert printed.err == ""


def test_init_asks_for_no_stream(wiring: FakeWiring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_STREAM_ARN", "nonsense")
    wiring.result = []
    assert end("init") == 0


def test_what_only_accepting_rules_uses_is_checked_then_alone(
    wiring: FakeWiring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUMER_WINDOWS", "day")
    wiring.result = []
    assert end("init") == 0
    assert end("init", "--accept-rules") == 2
    assert "CONSUMER_WINDOWS (--windows) is 'day': it must be like day:2" in capsys.readouterr().err
    assert end("init", "--windows", "day:2") == 2
    assert "--windows says nothing here without --accept-rules" in capsys.readouterr().err
    assert end("init", "--adopt", "--accept-rules", "--windows", "day:2") == 2
    assert "two acts" in capsys.readouterr().err


def test_demo_passes_its_flags_on(monkeypatch: pytest.MonkeyPatch) -> None:
    games: list[dict[str, int]] = []

    def play(**flags: int) -> int:
        games.append(flags)
        return len(games) - 1

    monkeypatch.setitem(sys.modules, "consumer.demo", SimpleNamespace(play=play))
    assert end("demo") == 0
    assert end("demo", "--games", "10", "--players", "3", "--keep") == 1
    quick, kept = {"games": 20_000, "players": 500, "keep": False}, {"games": 10, "players": 3, "keep": True}
    assert games == [quick, kept]


def test_all_wrong_settings_are_reported_together(wiring: FakeWiring, capsys: pytest.CaptureFixture[str]) -> None:
    assert end("run", "--http-port", "x", "--log-level", "LOUD") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(" ")[0] for line in printed.err.splitlines()] == [
        "CONSUMER_HTTP_PORT",
        "CONSUMER_LOG_LEVEL",
        "CONSUMER_SOURCE_TABLE",
    ]
    assert wiring.settings == []


def test_an_expected_error_ends_with_its_sentence_and_exit_code(
    wiring: FakeWiring, capsys: pytest.CaptureFixture[str]
) -> None:
    wiring.result = UnsafeRefused("the lease table is empty")
    assert end("run", "--source-table", "GameEvents") == 4
    assert capsys.readouterr() == ("", "the lease table is empty\n")


def test_ctrl_c(wiring: FakeWiring) -> None:
    wiring.result = KeyboardInterrupt()
    assert end("run", "--source-table", "GameEvents") == 130


def test_ctrl_c_before_the_command_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consumer.cli.app.app.main", interrupted)
    assert end("run") == 130


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("DEBUG", None)])
def test_an_unexpected_error_is_one_line_and_a_traceback_only_at_debug(
    wiring: FakeWiring,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    lines: int | None,
) -> None:
    structlog.reset_defaults()
    monkeypatch.setenv("CONSUMER_LOG_LEVEL", level)
    wiring.result = LookupError("a defect")
    assert end("run", "--source-table", "GameEvents") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[0] == "consumer: unexpected LookupError: a defect"
    assert ("Traceback" in printed.err) is (lines is None)
    assert lines is None or len(printed.err.splitlines()) == lines


@pytest.mark.parametrize(("level", "count"), [("INFO", 1), ("DEBUG", 2)])
def test_an_unexpected_error_goes_to_the_log_once_there_is_one(
    wiring: FakeWiring, monkeypatch: pytest.MonkeyPatch, level: str, count: int
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr("consumer.telemetry.logs.configure", partial(configure, stream=stream))
    wiring.result = LookupError("a defect")
    try:
        assert end("run", "--source-table", "GameEvents", "--log-level", level, "--log-format", "json") == 1
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["consumer.unexpected", "consumer.traceback"][:count]
    assert events[0]["error"] == "a defect"
    assert ["Traceback" in event.get("exception", "") for event in events] == [False, True][:count]


@pytest.mark.parametrize("arguments", [["--frob"], ["frob"], ["run", "--frob"], []])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert end(*arguments) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
    assert "Usage: consumer" in printed.err + printed.out


def test_a_flag_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert end("run", "--http-port") == 2
    assert "'--http-port' requires an argument" in capsys.readouterr().err


def test_help_of_run_lists_every_setting_with_its_variable_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert end("run", "--help") == 0
    text = capsys.readouterr().out
    for name, field in OPTIONS.items():
        default = field.default_text
        assert f"{flag(name)} " in text
        assert (f"{variable(name)}={default}\n" if default else variable(name)) in text
    assert "--http-port 0..65535" in text
    assert "--log-format auto|json|pretty" in text
    assert "consumer run --source-table GameEvents" in text


@pytest.mark.parametrize("command", ["init", "demo", "top", "status", "checkpoint show", "checkpoint set"])
def test_every_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(*command.split(), "--help") == 0
    text = capsys.readouterr().out
    assert f"Example:\n    consumer {command} " in text
    assert "--http-port" not in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert end("--version") == 0
    assert capsys.readouterr().out == f"consumer {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run"]])
def test_what_does_no_work_imports_no_heavy_library(arguments: list[str]) -> None:
    """`python -m consumer`, for real: what it imported is on its stderr."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "consumer", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == (0 if "--help" in arguments else 2)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line}
    assert "consumer.settings" in imported
    assert imported.isdisjoint({"boto3", "botocore", "prometheus_client", "structlog", "tenacity", "rich.console"})


def test_a_refusal_of_a_worker_is_an_event_where_its_log_is_json(
    wiring: FakeWiring, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a command it stays a sentence, and of a worker whose log is pretty. The last flag decides, as elsewhere."""
    monkeypatch.setattr("consumer.telemetry.logs.configure", configure)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    sentence = "`worker` is no setting"
    wiring.result = UnsafeRefused(sentence)
    shown = []
    try:
        for format_ in (["--log-format", "json"], ["--log-format=auto"], ["--log-format=json", "--log-format=pretty"]):
            assert end("run", "--source-table", "GameEvents", *format_) == 4
            shown.append(capsys.readouterr().err)
        assert end("init", "--log-format", "json") == 4
        shown.append(capsys.readouterr().err)
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
    for line in shown[:2]:
        event = json.loads(line)
        assert (event["event"], event["level"]) == ("consumer.refused", "critical")
        assert (event["exit_code"], event["detail"]) == (4, sentence)
    assert shown[2:] == [sentence + "\n"] * 2
