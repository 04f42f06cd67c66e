"""Settings from flags and environment: defaults, faults, and that all faults are reported at once."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.windows import Kept, WindowKind
from consumer.settings import OPTIONS, PREFIX, SettingsError, load, variable

ARN = "arn:aws:dynamodb:ddblocal:000000000000:table/GameEvents/stream/2026-01-31T12:00:00.000"
NAMES = sorted(OPTIONS)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment holds these CONSUMER_ variables and no others."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    with patch.dict(os.environ, {**others, **variables}, clear=True):
        yield


def faults(
    variables: Mapping[str, str], flags: Mapping[str, str] = MappingProxyType({}), *, needs: str = "stream"
) -> tuple[str, ...]:
    with environment(variables), pytest.raises(SettingsError) as raised:
        load(flags, needs={needs})
    assert raised.value.exit_code == 2
    assert str(raised.value).splitlines() == list(raised.value.faults)
    return raised.value.faults


def test_defaults() -> None:
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents"}):
        made = load({}, needs={"stream"})
    assert asdict(made) == {
        "given": {"source_table"},
        "source_table": "GameEvents",
        "stream_arn": None,
        "leaderboard_table": "Leaderboards",
        "lease_table": "consumer-leases",
        "quarantine_table": "consumer-quarantine",
        "worker_id": None,
        "start_position": "TRIM_HORIZON",
        "player_attribute": "playerId",
        "score_attribute": "score",
        "timestamp_attribute": "timestamp",
        "timestamp_format": "iso",
        "corrections": "ignore",
        "windows": (),
        "time_zone": "UTC",
        "max_future_seconds": 86_400,
        "poll_interval_seconds": 0.2,
        "idle_poll_interval_seconds": 1.0,
        "idle_after_seconds": 30.0,
        "batch_window_seconds": 0.0,
        "checkpoint_interval_seconds": 1.0,
        "remembered_rows": 50_000,
        "breaker_window": 200,
        "breaker_share": 0.5,
        "quarantine_retention_days": None,
        "lease_ttl_seconds": 5.0,
        "pool_size": 16,
        "http_host": "127.0.0.1",
        "http_port": 9464,
        "log_level": "INFO",
        "log_format": "auto",
    }
    with pytest.raises(FrozenInstanceError):
        made.http_port = 1  # type: ignore[misc]


def test_a_flag_wins_over_the_environment() -> None:
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_HTTP_PORT": "1000"}):
        made = load({"source_table": "Others", "pool_size": "3"}, needs={"stream"})
    assert (made.source_table, made.http_port, made.pool_size) == ("Others", 1000, 3)


def test_a_command_that_needs_the_stream_requires_its_setting() -> None:
    (fault,) = faults({})
    assert fault.startswith("CONSUMER_SOURCE_TABLE (--source-table) or CONSUMER_STREAM_ARN (--stream-arn) is not set")


def test_a_command_that_needs_no_stream_ignores_its_settings() -> None:
    with environment(
        {"CONSUMER_STREAM_ARN": "nonsense", "CONSUMER_SOURCE_TABLE": "?", "CONSUMER_START_POSITION": "soon"}
    ):
        made = load({}, needs=())
    assert (made.source_table, made.stream_arn, made.start_position) == (None, None, "TRIM_HORIZON")


def test_settings_that_a_command_does_not_use_are_ignored() -> None:
    with environment({"CONSUMER_HTTP_PORT": "x", "CONSUMER_LEADERBOARD_TABLE": "consumer-leases"}):
        made = load({}, needs=(), uses=("leaderboard_table",))
    assert (made.leaderboard_table, made.http_port) == ("consumer-leases", 9464)
    with environment({"CONSUMER_LEADERBOARD_TABLE": "?"}), pytest.raises(SettingsError, match="LEADERBOARD_TABLE"):
        load({}, needs=(), uses=("leaderboard_table",))


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("SOURCE_TABLE", "ab", "3 to 255 characters"),
        ("LEADERBOARD_TABLE", "x" * 256, "3 to 255 characters"),
        ("LEASE_TABLE", "con sumer", "A-Z a-z 0-9 _ . -"),
        ("QUARANTINE_TABLE", "", "3 to 255 characters"),
        ("STREAM_ARN", "arn:aws:kinesis:eu-west-1:123456789012:stream/x", "it must look like arn:aws:dynamodb:"),
        ("STREAM_ARN", ARN.rpartition("/stream/")[0], "it must look like arn:aws:dynamodb:"),
        ("STREAM_ARN", ARN + "\n", "it must look like arn:aws:dynamodb:"),
        ("WORKER_ID", "", "1 to 128 characters"),
        ("WORKER_ID", "a/b", "1 to 128 characters"),
        ("WORKER_ID", "a" * 129, "1 to 128 characters"),
        ("START_POSITION", "horizon", "it must be TRIM_HORIZON, LATEST or"),
        ("START_POSITION", "2026-01-31T12:00:00", "it has no zone"),
        ("START_POSITION", "2026-01-31", "it has no zone"),
        ("START_POSITION", "2026-02-30T12:00:00Z", "it must be TRIM_HORIZON, LATEST or"),
        ("START_POSITION", "9998-01-01T00:00:00Z", "it lies in the future"),
        ("START_POSITION", "0001-01-01T00:00:00+01:00", "it leaves the years 1 to 9999"),
        ("PLAYER_ATTRIBUTE", "", "the name of an attribute"),
        ("TIMESTAMP_FORMAT", "unix", "one of iso, epoch_seconds, epoch_milliseconds"),
        ("WINDOWS", "daily:2", "it must be like day:2,week:2,month:2, each kind at most once and from 1 to 31"),
        ("WINDOWS", "day", "it must be like day:2"),
        ("WINDOWS", "day:2;week:2", "it must be like day:2"),
        ("WINDOWS", "day:2,", "it must be like day:2"),
        ("WINDOWS", "day:-1", "it must be like day:2"),
        ("WINDOWS", "day:²", "it must be like day:2"),
        ("WINDOWS", "day:0", "it keeps 0 of day; it must be like"),
        ("WINDOWS", "week:32", "it keeps 32 of week; it must be like"),
        ("WINDOWS", "month:" + "9" * 5000, "from 1 to 31"),
        ("WINDOWS", "day:2,day:3", "it names day twice"),
        ("TIME_ZONE", "", "the IANA name of a time zone, like Europe/Berlin or UTC"),
        ("TIME_ZONE", "Europe", "the IANA name of a time zone"),
        ("TIME_ZONE", "Europe/Atlantis", "the IANA name of a time zone"),
        ("TIME_ZONE", "+01:00", "the IANA name of a time zone"),
        ("TIME_ZONE", "../../etc/passwd", "the IANA name of a time zone"),
        ("TIME_ZONE", "right/Europe/Berlin", "the IANA name of a time zone"),
        ("TIME_ZONE", "localtime", "the IANA name of a time zone"),
        ("MAX_FUTURE_SECONDS", "-1", "a whole number from 0 to"),
        ("POLL_INTERVAL_SECONDS", "0.04", "a number of seconds from 0.05 to 60"),
        ("POLL_INTERVAL_SECONDS", "often", "a number of seconds from 0.05 to 60"),
        ("BATCH_WINDOW_SECONDS", "nan", "a number of seconds from 0 to 60"),
        ("LEASE_TTL_SECONDS", "inf", "a number of seconds from 1 to 300"),
        ("POOL_SIZE", "0", "a whole number from 1 to 256"),
        ("POOL_SIZE", "1.5", "a whole number from 1 to 256"),
        ("HTTP_HOST", "", "an address or a host name"),
        ("HTTP_PORT", "65536", "a whole number from 0 to 65535"),
        ("HTTP_PORT", "9" * 5000, "a whole number from 0 to 65535"),
        ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR"),
        ("LOG_FORMAT", "xml", "one of auto, json, pretty"),
    ],
)
def test_a_wrong_value_is_reported_with_what_would_be_right(name: str, value: str, right: str) -> None:
    given_stream = {} if name == "STREAM_ARN" else {"CONSUMER_SOURCE_TABLE": "GameEvents"}
    (fault,) = faults({**given_stream, PREFIX + name: value})
    flag = "--" + name.lower().replace("_", "-")
    assert fault.startswith(f"{PREFIX}{name} ({flag}) is {value[:250]!r}"[:250])
    assert right in fault


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("LATEST", "LATEST"),
        ("2026-01-31T13:00:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_start_positions(text: str, position: object) -> None:
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_START_POSITION": text}):
        assert load({}, needs={"stream"}).start_position == position


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ()),
        (" ", ()),
        ("day:2,week:2,month:2", ((WindowKind.DAY, 2), (WindowKind.WEEK, 2), (WindowKind.MONTH, 2))),
        ("month:31, day:1", ((WindowKind.DAY, 1), (WindowKind.MONTH, 31))),
    ],
)
def test_windows_are_in_one_order_however_they_are_given(text: str, kept: Kept) -> None:
    """So that two workers have the same rules."""
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_WINDOWS": text}):
        assert load({}, needs={"stream"}).windows == kept


def test_with_windows_no_game_may_be_dated_more_than_a_day_ahead() -> None:
    given = {"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_MAX_FUTURE_SECONDS": "86401"}
    with environment(given):
        load({}, needs={"stream"})
    (fault,) = faults(given | {"CONSUMER_WINDOWS": "day:2"})
    assert fault == (
        "CONSUMER_WINDOWS (--windows) is 'day:2' and CONSUMER_MAX_FUTURE_SECONDS (--max-future-seconds) is '86401': "
        "with windows a game may be dated 86400 seconds ahead at most, or rows would grow"
    )


def test_a_start_just_passed_is_right_and_one_to_come_is_not() -> None:
    now = datetime.now(UTC)
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents"}):
        load({"start_position": now.isoformat()}, needs={"stream"})
    (fault,) = faults({}, {"source_table": "GameEvents", "start_position": (now + timedelta(minutes=1)).isoformat()})
    assert "it lies in the future" in fault


@pytest.mark.parametrize("partition_and_region", ["aws:eu-west-1", "aws-us-gov:us-gov-west-1", "aws:ddblocal"])
def test_streams_of_every_region(partition_and_region: str) -> None:
    arn = ARN.replace("aws:dynamodb:ddblocal", partition_and_region.replace(":", ":dynamodb:"))
    with environment({"CONSUMER_STREAM_ARN": arn, "CONSUMER_SOURCE_TABLE": "GameEvents"}):
        assert load({}, needs={"stream"}).stream_arn == arn


def test_stream_and_table_that_contradict_each_other() -> None:
    (fault,) = faults({"CONSUMER_STREAM_ARN": ARN, "CONSUMER_SOURCE_TABLE": "Others"})
    assert fault.startswith(f"CONSUMER_STREAM_ARN (--stream-arn) is {ARN!r} and CONSUMER_SOURCE_TABLE (--source-table)")
    assert "'GameEvents'" in fault


@pytest.mark.parametrize(
    "variables",
    [
        {"CONSUMER_SOURCE_TABLE": "Leaderboards"},
        {"CONSUMER_STREAM_ARN": ARN, "CONSUMER_QUARANTINE_TABLE": "GameEvents"},
        {"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_LEASE_TABLE": "consumer-quarantine"},
    ],
)
def test_one_table_for_two_roles(variables: dict[str, str]) -> None:
    (fault,) = faults(variables)
    assert fault.endswith("they name one table; each must be a table of its own")
    assert fault.count(" is ") == 2
    assert list(variables)[-1] in fault


def test_one_attribute_for_two_meanings() -> None:
    (fault,) = faults({"CONSUMER_SOURCE_TABLE": "GameEvents", "CONSUMER_SCORE_ATTRIBUTE": "playerId"})
    assert "CONSUMER_PLAYER_ATTRIBUTE" in fault
    assert "CONSUMER_SCORE_ATTRIBUTE" in fault


def test_all_faults_are_reported_at_once() -> None:
    reported = faults(
        {
            "CONSUMER_LEASE_TABLE": "Leaderboards",
            "CONSUMER_LOG_LEVEL": "LOUD",
            "CONSUMER_START_POSITION": "soon",
            "CONSUMER_POOL_SIZE": "0",
            "CONSUMER_HTTP_PORT": "80",
            "CONSUMER_SOURCE": "GameEvents",
        },
        {"http_port": "x"},
    )
    texts = ("START_POSITION", "POOL_SIZE", "HTTP_PORT", "LOG_LEVEL", "SOURCE_TABLE", "LEADERBOARD_TABLE", "'CONSUMER")
    assert len(reported) == len(texts)
    assert all(text in fault.partition(" ")[0] for text, fault in zip(texts, reported, strict=True))


@pytest.mark.parametrize("name", ["CONSUMER_HTTP_PROT", "consumer_http_port", "Consumer_Http_Port"])
def test_an_unknown_variable_is_reported_with_the_nearest_name_and_without_its_value(name: str) -> None:
    (fault,) = faults({name: "77"}, needs="")
    assert fault == f"{name!r} is no setting: the nearest one is CONSUMER_HTTP_PORT"


def test_the_demo_has_variables_of_its_own() -> None:
    with environment({"CONSUMER_DEMO_ANYTHING": "1"}):
        load({}, needs=())


variable_names = st.sampled_from([variable(name) for name in NAMES]) | st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abc", max_size=20
).map(PREFIX.__add__)
values = st.one_of(
    st.sampled_from([ARN, "GameEvents", "LATEST", "0001-01-01T00:00:00+14:00", "1e999", "-0", "{}", "null"]),
    st.binary(max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(str),
)


@settings(deadline=None)
@given(st.dictionaries(variable_names, values), st.dictionaries(st.sampled_from(NAMES), values), st.booleans())
def test_no_environment_gives_a_traceback(variables: dict[str, str], flags: dict[str, str], stream: bool) -> None:
    reported: tuple[str, ...] = ()
    with environment(variables):
        try:
            load(flags, needs={"stream"} if stream else ())
        except SettingsError as error:
            reported = error.faults or ("no fault was reported",)
    assert "no fault was reported" not in reported
    assert all(fault.isprintable() and len(fault) < 2000 for fault in reported)


INJECTED = {
    "CONSUMER_PORT": "tcp://10.0.0.1:80",
    "CONSUMER_HTTP_PORT": "tcp://10.0.0.2:9464",
    "CONSUMER_SERVICE_HOST": "10.0.0.1",
    "CONSUMER_SERVICE_PORT": "80",
    "CONSUMER_SERVICE_PORT_METRICS": "80",
    "CONSUMER_PORT_9464_TCP": "tcp://10.0.0.1:9464",
    "CONSUMER_PORT_9464_TCP_ADDR": "10.0.0.1",
    "CONSUMER_PORT_9464_TCP_PORT": "9464",
    "CONSUMER_PORT_53_UDP_PROTO": "udp",
    "CONSUMER_METRICS_SERVICE_HOST": "10.0.0.1",
    "CONSUMER_METRICS_PORT": "tcp://10.0.0.1:9464",
}
"""What service discovery injects for services named `consumer`, `consumer-http` and `consumer-metrics`."""


def test_what_service_discovery_injects_is_no_setting() -> None:
    with environment({"CONSUMER_SOURCE_TABLE": "GameEvents", **INJECTED}):
        assert load({}, needs={"stream"}).http_port == 9464


@pytest.mark.parametrize("name", ["CONSUMER_PORT", "CONSUMER_HOST", "CONSUMER_METRICS_PORT"])
def test_what_looks_like_it_and_is_not_is_reported(name: str) -> None:
    (fault,) = faults({name: "9464"}, needs="")
    assert fault.startswith(f"{name!r} is no setting")
