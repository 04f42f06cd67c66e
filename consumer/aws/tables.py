"""The tables: made by `init`, looked at before a run. A wrong one is named, with what was found and what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from consumer import retries
from consumer.aws.errors import code_of, may_pass, refusal_of, translated
from consumer.domain.errors import StartRefused, Trouble, TroubleKind, UnsafeRefused

Keys = tuple[tuple[str, str], ...]

LEADERBOARD_KEYS: Final[Keys] = (("playerId", "S"),)
LEASE_KEYS: Final[Keys] = (("leaseKey", "S"),)
QUARANTINE_KEYS: Final[Keys] = (("shardId", "S"), ("sequenceNumber", "S"))

READABLE_VIEWS: Final = ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
USABLE: Final = ("ACTIVE", "UPDATING")
"""Statuses of a table that can be read and written."""
ACTIVE_SECONDS: Final = 120.0
START_SECONDS: Final = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableReport:
    """What `init` did for one table."""

    name: str
    created: bool
    note: str | None


class DynamoTables:
    """Tables and streams by name. Waits on `stop`; every complaint is a ConsumerError."""

    def __init__(self, client: Any, streams: Any, stop: Event) -> None:
        self._client = client
        self._streams = streams
        self._stop = stop

    def ensure(self, name: str, keys: Keys, variable: str | None = None) -> TableReport:
        """Makes the table if it is not there (on demand, with point-in-time recovery) and waits until it is active.

        Raises UnsafeRefused, which names `variable`, for a table of that name with another key, StartRefused when AWS
        refuses.
        """
        created = self._describe(name) is None and self._create(name, keys)
        found = self._active(name).keys
        if found != keys:
            named = f"{name} ({variable})" if variable else name
            raise UnsafeRefused(
                f"table {named} exists with the key {_show(found)}; {_show(keys)} is needed. It is another table: "
                "name a new one, or delete it if nobody needs it."
            )
        return TableReport(name, created, self._recoverable(name))

    def check(self, name: str, keys: Keys, variable: str, made_by: str = "consumer init") -> None:
        """Raises StartRefused unless the table is there, active, and has this key. `made_by`: what would make it."""
        table = self._describe(name)
        if table is None:
            raise StartRefused(f"table {name} ({variable}) does not exist: make it with `{made_by}`")
        if table.keys != keys:
            raise StartRefused(
                f"table {name} ({variable}) has the key {_show(table.keys)}; {_show(keys)} is needed. "
                f"Correct {variable}, or make the right table with `{made_by}`."
            )
        if table.status not in USABLE:
            raise StartRefused(f"table {name} ({variable}) is {table.status}: wait until it is ACTIVE")

    def find_stream(self, source_table: str) -> str:
        """The ARN of the table's stream. Raises StartRefused when it has none that carries new images."""
        table = self._describe(source_table)
        if table is None:
            raise StartRefused(f"source table {source_table} (CONSUMER_SOURCE_TABLE) does not exist")
        if table.stream_arn is None:
            raise StartRefused(
                f"the stream of table {source_table} is off: switch it on with the view type NEW_IMAGE "
                "(or name an older stream with CONSUMER_STREAM_ARN)"
            )
        _require_view(table.view, source_table)
        return table.stream_arn

    def check_stream(self, stream_arn: str) -> None:
        """Raises StartRefused unless the stream is there and carries new images."""

        def view() -> str:
            description = self._streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]
            return str(description.get("StreamViewType"))

        found = self._ask(view, missing_is_none=True)
        if found is None:
            raise StartRefused(f"stream {stream_arn} (CONSUMER_STREAM_ARN) does not exist, or is older than 24 hours")
        _require_view(found, stream_arn)

    def _create(self, name: str, keys: Keys) -> bool:
        """False when somebody else made it in the meantime."""
        roles = ("HASH", "RANGE")
        try:
            self._ask(
                lambda: self._client.create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    KeySchema=[
                        {"AttributeName": key, "KeyType": role} for (key, _), role in zip(keys, roles, strict=False)
                    ],
                    AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
                )
            )
        except _InUse:
            return False
        return True

    def _active(self, name: str) -> "_Table":
        def look() -> _Table:
            table = self._describe(name)
            if table is None or table.status not in USABLE:
                raise _NotYet
            return table

        try:
            return retries.persist(
                look, seconds=ACTIVE_SECONDS, stop=self._stop, retry_on=lambda error: isinstance(error, _NotYet)
            )
        except _NotYet:
            raise StartRefused(f"table {name} is not active after {ACTIVE_SECONDS:.0f} s; run init again") from None

    def _recoverable(self, name: str) -> str | None:
        """Switches point-in-time recovery on; a note where the engine has none."""
        try:
            self._ask(
                lambda: self._client.update_continuous_backups(
                    TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
                )
            )
        except _Unknown:
            return "this engine has no point-in-time recovery"
        return None

    def _describe(self, name: str) -> "_Table | None":
        return self._ask(lambda: _table(self._client.describe_table(TableName=name)["Table"]), missing_is_none=True)

    def _ask(self, call: Callable[[], T], *, missing_is_none: bool = False) -> T | None:
        """What `call` makes of an answer; None for what does not exist.

        Trouble that may pass is asked again for some seconds; what stays is why the command cannot start.
        """

        def attempt() -> T:
            with translated():
                try:
                    return call()
                except ClientError as error:
                    match code_of(error):
                        case "ResourceInUseException":
                            raise _InUse from error
                        case "UnknownOperationException":
                            raise _Unknown from error
                    raise

        try:
            return retries.persist(attempt, seconds=START_SECONDS, stop=self._stop, retry_on=may_pass)
        except Trouble as trouble:
            if missing_is_none and trouble.kind is TroubleKind.MISSING:
                return None
            raise refusal_of(trouble) from trouble


class _Table(NamedTuple):
    """What is looked at of a table. No stream: it is off."""

    status: str
    keys: Keys
    stream_arn: str | None
    view: str | None


def _table(description: Mapping[str, Any]) -> _Table:
    stream = description.get("StreamSpecification", {})
    return _Table(
        str(description["TableStatus"]),
        keys_of(description),
        description.get("LatestStreamArn") if stream.get("StreamEnabled") else None,
        stream.get("StreamViewType"),
    )


def keys_of(description: Mapping[str, Any]) -> Keys:
    """A table's key as (name, type) pairs, partition key first."""
    kinds = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    names = sorted(description["KeySchema"], key=lambda each: str(each["KeyType"]))
    return tuple((each["AttributeName"], kinds[each["AttributeName"]]) for each in names)


def _require_view(view: str | None, where: str) -> None:
    if view not in READABLE_VIEWS:
        raise StartRefused(
            f"the stream of {where} has the view type {view}, which does not carry new images; NEW_IMAGE or "
            "NEW_AND_OLD_IMAGES is needed. A view type cannot be changed: switch the stream off and on again with it."
        )


def _show(keys: Keys) -> str:
    return " + ".join(f"{name} ({kind})" for name, kind in keys)


class _NotYet(Exception):
    """The table is not active yet."""


class _InUse(Exception):
    """A table of that name exists."""


class _Unknown(Exception):
    """The engine does not know the operation."""
