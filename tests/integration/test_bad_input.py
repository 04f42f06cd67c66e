"""Whatever is wrong at start ends in one clear sentence and its exit code: the command as a process, on ministack.

The sentences name the setting, and what to do about it. A traceback is never among them, not even at DEBUG.
An endpoint where nothing listens, and tables that were counted and then mistyped or emptied, are in
test_start_refusals.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, consumer

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/GameEvents/stream/2026-01-31T12:00:00.000"
OUR_VARIABLES = "CONSUMER_"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    sentences: str

    def assert_says(self, code: int, *parts: str) -> None:
        """It ended with this code, and its sentence has these parts."""
        assert self.code == code, self.sentences
        for part in parts:
            assert part in self.sentences


@pytest.fixture(scope="module")
def game(ministack_url: str) -> Iterator[Game]:
    with Game(TableEngine("ministack", ministack_url)) as game:
        yield game


def run(game: Game, **settings: str) -> Ended:
    """`consumer run` with the game's settings and these."""
    return ended("run", environment=game.environment(None, **settings))


def ended(*arguments: str, environment: Mapping[str, str]) -> Ended:
    done = consumer(*arguments, environment=environment, seconds=40)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "consumer.unexpected" not in done.stderr
    assert done.stderr.strip()
    return Ended(done.returncode, done.stderr)


def without(game: Game, *prefixes: str, **more: str) -> dict[str, str]:
    """The game's environment less the variables that begin so."""
    left = {name: value for name, value in game.environment().items() if not name.startswith(prefixes)}
    return left | more


def table(game: Game, *keys: tuple[str, str], name: str, **more: Any) -> str:
    """A new table of the game's engine."""
    name = f"{game.tables['source']}-{name}"
    game.client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": key, "KeyType": role} for (key, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        **more,
    )
    return name


def stream(view: str) -> dict[str, Any]:
    return {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}}


# --- settings: exit code 2, before anything of AWS is even imported ---


def test_no_settings_at_all(game: Game) -> None:
    result = ended("run", environment=without(game, OUR_VARIABLES, "AWS_"))
    result.assert_says(
        2, "CONSUMER_SOURCE_TABLE (--source-table) or CONSUMER_STREAM_ARN (--stream-arn) is not set: name"
    )
    assert len(result.sentences.splitlines()) == 1


@pytest.mark.parametrize(
    ("setting", "value", "right"),
    [
        ("log_level", "LOUD", "it must be one of DEBUG, INFO, WARNING, ERROR"),
        ("log_format", "xml", "it must be one of auto, json, pretty"),
        ("http_port", "many", "it must be a whole number from 0 to 65535"),
        ("http_port", "65536", "it must be a whole number from 0 to 65535"),
        ("max_future_seconds", "-1", "it must be a whole number from 0 to"),
        ("lease_ttl_seconds", "0.5", "it must be a number of seconds from 1 to 300"),
        ("poll_interval_seconds", "nan", "it must be a number of seconds from 0.05 to 60"),
        ("http_host", "", "it must be an address or a host name"),
        ("worker_id", "a/b", "it must be 1 to 128 characters"),
        ("start_position", "2999-01-01T00:00:00Z", "it lies in the future"),
        ("start_position", "2026-01-31T12:00:00", "it has no zone"),
        ("start_position", "soon", "it must be TRIM_HORIZON, LATEST or a past time with a zone"),
        ("source_table", "Game Events", "it must be 3 to 255 characters of A-Z a-z 0-9 _ . -"),
        ("leaderboard_table", "", "it must be 3 to 255 characters of A-Z a-z 0-9 _ . -"),
        ("stream_arn", "GameEvents", "it must look like arn:aws:dynamodb:"),
        ("stream_arn", ARN.partition("/stream/")[0], "it must look like arn:aws:dynamodb:"),
    ],
)
def test_a_wrong_value(game: Game, setting: str, value: str, right: str) -> None:
    variable, flag = OUR_VARIABLES + setting.upper(), "--" + setting.replace("_", "-")
    result = run(game, **{setting: value})
    result.assert_says(2, f"{variable} ({flag}) is {value!r}: {right}" if "lies" not in right else right)
    assert len(result.sentences.splitlines()) == 1


def test_a_wrong_flag_is_reported_like_a_wrong_variable(game: Game) -> None:
    result = ended("run", "--http-port", "-1", environment=game.environment())
    result.assert_says(2, "CONSUMER_HTTP_PORT (--http-port) is '-1': it must be a whole number from 0 to 65535")


def test_what_service_discovery_injects_is_no_fault(game: Game) -> None:
    injected = {"CONSUMER_PORT": "tcp://10.0.0.1:80", "CONSUMER_SERVICE_HOST": "10.0.0.1"}
    injected |= {"CONSUMER_HTTP_PORT": "tcp://10.0.0.2:80", "CONSUMER_PORT_9464_TCP_ADDR": "10.0.0.1"}
    ended("audit-log", environment=game.environment() | injected).assert_says(0, "No operator has changed anything yet")


def test_stream_and_source_table_that_contradict_each_other(game: Game) -> None:
    result = run(game, stream_arn=ARN)
    result.assert_says(2, "CONSUMER_STREAM_ARN", "CONSUMER_SOURCE_TABLE", "of another table ('GameEvents'); set one of")


@pytest.mark.parametrize("role", ["leaderboard", "lease", "quarantine"])
def test_one_table_for_two_roles(game: Game, role: str) -> None:
    result = run(game, **{f"{role}_table": game.tables["source"]})
    result.assert_says(2, "CONSUMER_SOURCE_TABLE", f"CONSUMER_{role.upper()}_TABLE", "each must be a table of its own")


def test_all_faults_are_reported_at_once(game: Game) -> None:
    result = run(game, http_port="x", pool_size="0", log_level="LOUD", http_prot="1")
    result.assert_says(2, "_HTTP_PORT (", "_POOL_SIZE (", "_LOG_LEVEL (", "'CONSUMER_HTTP_PROT' is no setting")
    assert len(json.loads(result.sentences)["detail"].splitlines()) == 4


def test_a_port_that_is_taken(game: Game) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run(game, http_port=port).assert_says(2, "CONSUMER_HTTP_PORT (--http-port) is " + port, "a free port")


# --- what must be there: exit code 3 ---


def test_no_source_table(game: Game) -> None:
    run(game, source_table="nowhere").assert_says(3, "source table nowhere (CONSUMER_SOURCE_TABLE) does not exist")


def test_a_stream_that_is_off(game: Game) -> None:
    off = table(game, ("id", "S"), name="off")
    run(game, source_table=off).assert_says(3, f"the stream of table {off} is off: switch it on", "CONSUMER_STREAM_ARN")


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE"])
def test_a_stream_without_new_images(game: Game, view: str) -> None:
    source = table(game, ("id", "S"), name=view, **stream(view))
    parts = (f"has the view type {view}", "NEW_IMAGE or NEW_AND_OLD_IMAGES is needed", "switch the stream off and on")
    run(game, source_table=source).assert_says(3, source, *parts)
    arn = game.client.describe_table(TableName=source)["Table"]["LatestStreamArn"]
    ended("run", environment=without(game, "CONSUMER_SOURCE", CONSUMER_STREAM_ARN=arn)).assert_says(3, arn, *parts)


def test_no_such_stream(game: Game) -> None:
    result = ended("run", environment=without(game, "CONSUMER_SOURCE", CONSUMER_STREAM_ARN=ARN))
    result.assert_says(3, f"stream {ARN} (CONSUMER_STREAM_ARN) does not exist, or is older than 24 hours")


@pytest.mark.parametrize("role", ["leaderboard", "lease", "quarantine"])
def test_a_table_that_is_missing_or_has_another_key(game: Game, role: str) -> None:
    variable = f"CONSUMER_{role.upper()}_TABLE"
    result = run(game, **{f"{role}_table": "nowhere"})
    result.assert_says(
        3,
        f"table nowhere ({variable}) does not exist: check its name and the region",
    )

    other = table(game, ("id", "S"), ("when", "N"), name=role)
    result = run(game, **{f"{role}_table": other})
    result.assert_says(3, f"table {other} ({variable}) has the key id (S) + when (N)", f"Correct {variable}, or create")

    result = ended("init", environment=game.environment() | {variable: other})
    result.assert_says(4, f"table {other} ({variable}) exists with the key id (S) + when (N)", "use another name")


COMMANDS = ("run", "init", "top", "status")


@pytest.fixture
def no_credentials(game: Game, tmp_path: Path) -> dict[str, str]:
    """An environment where the SDK finds no credentials, no region and no profile."""
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    return without(game, "AWS_ACCESS", "AWS_SECRET", "AWS_REGION", **files)


KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
REGION = {"AWS_REGION": "eu-west-1"}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_credentials(no_credentials: dict[str, str], command: str) -> None:
    result = ended(command, environment=no_credentials | REGION)
    result.assert_says(
        3, "no AWS credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_no_region(no_credentials: dict[str, str], command: str) -> None:
    ended(command, environment=no_credentials | KEYS).assert_says(3, "no AWS region is set: set AWS_REGION")


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"AWS_PROFILE": "no-such"}, ("AWS_PROFILE: ", "(no-such)")),
        ({"AWS_ACCESS_KEY_ID": "test"}, ("AWS_SECRET_ACCESS_KEY",)),
        ({"AWS_REGION": "eu west 1"}, ("AWS_REGION", "eu west 1")),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "localhost:8000"}, ("AWS_ENDPOINT_URL", "localhost:8000")),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://[::1"}, ("AWS_ENDPOINT_URL",)),
        ({"AWS_DEFAULTS_MODE": "fast"}, ("defaults mode", "the other AWS_ variables")),
    ],
)
def test_an_sdk_that_cannot_be_set_up(
    no_credentials: dict[str, str], variables: dict[str, str], parts: tuple[str]
) -> None:
    some = {} if "AWS_ACCESS_KEY_ID" in variables else KEYS
    ended("run", environment=no_credentials | REGION | some | variables).assert_says(3, *parts)


def test_a_broken_configuration_file(no_credentials: dict[str, str]) -> None:
    Path(no_credentials["AWS_CONFIG_FILE"]).write_text("[profile\nregion")
    ended("run", environment=no_credentials | REGION | KEYS).assert_says(3, no_credentials["AWS_CONFIG_FILE"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b'{"Table": {"TableStatus": "ACTIVE"}}'])
def test_an_endpoint_of_another_service(no_credentials: dict[str, str], command: str, body: bytes) -> None:
    class OtherService(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), OtherService) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        url = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
        ours = {name: value for name, value in no_credentials.items() if not name.startswith("AWS_ENDPOINT")}
        result = ended(command, environment=ours | REGION | KEYS | url)
        server.shutdown()
    result.assert_says(3, "the reply does not come from DynamoDB: check the AWS_ENDPOINT_URL variables")


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        ("run", "DescribeTable"),
        ("run", "DescribeStream"),
        ("init", "DescribeTable"),
        ("init", "CreateTable"),
        ("init", "UpdateContinuousBackups"),
    ],
)
def test_no_permission(game: Game, command: str, operation: str) -> None:
    environment: dict[str, str] = {}
    if operation == "CreateTable":
        environment["CONSUMER_LEASE_TABLE"] = f"{game.tables['lease']}-new"
    if operation == "DescribeStream":
        arn = game.client.describe_table(TableName=game.tables["source"])["Table"]["LatestStreamArn"]
        environment["CONSUMER_STREAM_ARN"] = arn
    with Proxy(game.engine.url, denying(lambda call: call.operation == operation)) as proxy:
        result = ended(command, environment=game.environment(proxy) | environment)
    result.assert_says(3, "AWS denies access: check the credentials and the permissions of this role", operation)


def denying(matches: Callable[[Call], bool]) -> Callable[[Call], Fate]:
    return lambda call: Fate.DENY if matches(call) else Fate.PASS


# --- refused for safety: exit code 4 ---


def test_tables_that_belong_to_another_leaderboard(ministack_url: str) -> None:
    engine = TableEngine("ministack", ministack_url)
    with Game(engine) as one, Game(engine) as other:
        for game in (one, other):
            game.play(3, 2)
            worker = game.worker()
            game.wait_until_consumed()
            assert worker.terminate().code == 0
        mine, others = one.tables, other.tables
        result = run(one, leaderboard_table=others["leaderboard"])
        result.assert_says(4, mine["leaderboard"], others["leaderboard"], "CONSUMER_LEADERBOARD_TABLE", "a second time")
        result = run(one, lease_table=others["lease"])
        result.assert_says(4, mine["lease"], others["lease"], "CONSUMER_LEASE_TABLE")
        result = run(one, quarantine_table=others["quarantine"])
        result.assert_says(4, mine["lease"], "CONSUMER_QUARANTINE_TABLE")
        one.assert_exact()
