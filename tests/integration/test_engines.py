"""Both engines start, serve tables and streams, and give a process only the variables that it needs to find them."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from consumer.demo.engine import Engine
from consumer.demo.server import ServerError
from tests.support.engines import TableEngine


def test_a_table_with_a_stream(engine: TableEngine) -> None:
    table = "engines-a-table-with-a-stream"
    with closing(engine.client("dynamodb")) as tables, closing(engine.client("dynamodbstreams")) as streams:
        tables.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "playerId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "playerId", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        assert tables.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
        assert [stream["TableName"] for stream in streams.list_streams(TableName=table)["Streams"]] == [table]


def test_a_fresh_engine_is_empty(fresh_engine: TableEngine) -> None:
    with closing(fresh_engine.client("dynamodb")) as tables:
        assert tables.list_tables()["TableNames"] == []


def test_a_process_sees_no_other_aws_variables(engine: TableEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUMER_DEMO_ENGINE", raising=False)
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("CONSUMER_SOURCE_TABLE", "production")
    print_names = "import os; print(*sorted(name for name in os.environ if name.startswith(('AWS_', 'CONSUMER_'))))"
    out = subprocess.run(
        [sys.executable, "-c", print_names], env=engine.environment(), check=True, capture_output=True, text=True
    ).stdout
    assert out.split() == sorted(engine.variables())
    assert "PATH" in engine.environment()


def test_an_engine_that_cannot_start_shows_its_log() -> None:
    server = Engine(Path(sys.executable))  # has no ministack
    with pytest.raises(ServerError, match="No module named ministack"):
        server.start()
    with pytest.raises(ServerError, match="is not running"):
        _ = server.url


def test_a_missing_interpreter_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONSUMER_DEMO_ENGINE", os.fspath(tmp_path / "python"))
    with pytest.raises(ServerError, match=r"CONSUMER_DEMO_ENGINE is .*python"):
        Engine().start()


def test_an_engine_starts_again_after_its_end() -> None:
    server = Engine()
    for _ in range(2):
        with server:
            assert server.url.startswith("http://127.0.0.1:")
        server.stop()
