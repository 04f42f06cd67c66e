"""Settings: environment variables `CONSUMER_...`, mirrored by command-line flags. All faults are reported at once."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from consumer.domain.errors import UsageFault
from consumer.domain.windows import DAY_SECONDS, Kept, WindowKind, kept_text

PREFIX: Final = "CONSUMER_"
DEMO_PREFIX: Final = PREFIX + "DEMO_"
STREAM_SETTINGS: Final = ("source_table", "stream_arn", "start_position")

TABLE_PATTERN: Final = "^[A-Za-z0-9_.-]{3,255}$"
ARN_PATTERN: Final = (
    "^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/([A-Za-z0-9_.-]{3,255})/stream/[A-Za-z0-9:.+_-]+$"
)
WORKER_PATTERN: Final = "^[A-Za-z0-9._-]{1,128}$"
TABLE: Final = "it must be 3 to 255 characters of A-Z a-z 0-9 _ . -"
ARN: Final = "it must look like arn:aws:dynamodb:eu-west-1:123456789012:table/GameEvents/stream/2026-01-31T12:00:00.000"
WORKER: Final = "it must be 1 to 128 characters of A-Z a-z 0-9 . _ -"
ATTRIBUTE: Final = "it must be the name of an attribute, not empty"
HOST: Final = "it must be an address or a host name, without blanks"
MOST_WINDOWS: Final = 31
WINDOWS: Final = f"it must be like day:2,week:2,month:2, each kind at most once and from 1 to {MOST_WINDOWS}"
ZONE: Final = "it must be the IANA name of a time zone, like Europe/Berlin or UTC"
MACHINES_OWN: Final = re.compile(r"(?:right|posix)/|(?:localtime|posixrules)$")
"""Zones that only some machines know, or that each knows differently."""
START: Final = "it must be TRIM_HORIZON, LATEST or a past time with a zone, like 2026-01-31T12:00:00Z"

INJECTED: Final = re.compile(
    r".+_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_[A-Z]+(?:_(?:ADDR|PORT|PROTO))?)=.*|.+_PORT=[a-z]+://.*",
    re.DOTALL,
)
"""`NAME=value` as service discovery injects it: Kubernetes for each service, Docker for links. It is no setting."""

StartPosition = Literal["TRIM_HORIZON", "LATEST"] | datetime
"""Where the first stream is read from; a time is in UTC and not in the future."""


class SettingsError(UsageFault):
    """What is wrong with the settings: one line per fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Option(NamedTuple):
    """A setting as `Settings` declares it.

    `convert` takes a text and raises ValueError with what would be right. `kind` says that in one word; None: text.
    """

    convert: Callable[[str], object]
    default: object
    meaning: str
    kind: str | None = None

    @property
    def default_text(self) -> str:
        """As an operator gives it; empty: none."""
        if isinstance(self.default, tuple):
            return kept_text(self.default)
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return "" if self.default is None else str(self.default)


def _option(convert: Callable[[str], object], default: object, meaning: str, kind: str | None = None) -> Any:
    return field(default=default, metadata={"option": Option(convert, default, meaning, kind)})


def _text(default: str | None, meaning: str, right: str, pattern: str = "^.+$") -> Any:
    def convert(text: str) -> str:
        if re.fullmatch(pattern.removesuffix("$"), text, re.DOTALL) is None:
            raise ValueError(right)
        return text

    return _option(convert, default, meaning)


def _number(type_: type[int | float], default: float | None, meaning: str, low: float, high: float, right: str) -> Any:
    def convert(text: str) -> float:
        try:
            if low <= (number := type_(text)) <= high:
                return number
        except ValueError:  # no number
            pass
        raise ValueError(f"it must be {right} from {low:.15g} to {high:.15g}")

    return _option(convert, default, meaning, f"{low:.15g}..{high:.15g}")


def _choice(default: str, meaning: str, *choices: str) -> Any:
    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        return text

    return _option(convert, default, meaning, "|".join(choices))


_whole = partial(_number, int, right="a whole number")
_seconds = partial(_number, float, right="a number of seconds")
_share = partial(_number, float, low=0.001, high=1.0, right="a number")


def _start_position(text: str) -> object:
    if text == "TRIM_HORIZON" or text == "LATEST":
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(START) from None
    if moment.utcoffset() is None:
        raise ValueError(f"it has no zone; {START}")
    if moment > datetime.now(UTC):
        raise ValueError(f"it lies in the future; {START}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"it leaves the years 1 to 9999; {START}") from None


def _windows(text: str) -> Kept:
    kept: dict[WindowKind, int] = {}
    for part in text.split(",") if text.strip() else ():
        kind, _, number = part.strip().partition(":")
        if kind not in list(WindowKind) or not number.isascii() or not number.isdigit():
            raise ValueError(WINDOWS)
        if kind in kept:
            raise ValueError(f"it names {kind} twice; {WINDOWS}")
        if not 1 <= int(number[:9]) <= MOST_WINDOWS:
            raise ValueError(f"it keeps {number[:9]} of {kind}; {WINDOWS}")
        kept[WindowKind(kind)] = int(number)
    return tuple((kind, kept[kind]) for kind in WindowKind if kind in kept)


def _time_zone(text: str) -> str:
    if MACHINES_OWN.match(text):
        raise ValueError(ZONE)
    try:
        ZoneInfo(text)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError(ZONE) from None
    return text


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Settings:
    """What an operator can configure. Made by `load`, which also checks that the values fit together.

    `given`: the names of those that a flag or a variable sets.
    """

    given: frozenset[str] = frozenset()

    source_table: str | None = _text(None, "Table whose stream is read: its newest stream.", TABLE, TABLE_PATTERN)
    stream_arn: str | None = _text(None, "The stream itself, instead of the table's newest one.", ARN, ARN_PATTERN)
    leaderboard_table: str = _text("Leaderboards", "Table that holds the leaderboard.", TABLE, TABLE_PATTERN)
    lease_table: str = _text("consumer-leases", "Table of leases and checkpoints.", TABLE, TABLE_PATTERN)
    quarantine_table: str = _text("consumer-quarantine", "Table of poison records and gaps.", TABLE, TABLE_PATTERN)
    worker_id: str | None = _text(None, "Name of this worker; none: generated at start.", WORKER, WORKER_PATTERN)
    start_position: StartPosition = _option(  # noqa: RUF009 - a field
        _start_position,
        "TRIM_HORIZON",
        "Where the first stream is read from: TRIM_HORIZON, LATEST or an ISO time with a zone.",
    )
    player_attribute: str = _text("playerId", "Attribute that names the player.", ATTRIBUTE)
    score_attribute: str = _text("score", "Attribute that holds the score.", ATTRIBUTE)
    timestamp_attribute: str = _text("timestamp", "Attribute that says when it was played.", ATTRIBUTE)
    timestamp_format: Literal["iso", "epoch_seconds", "epoch_milliseconds"] = _choice(
        "iso", "How it says that.", "iso", "epoch_seconds", "epoch_milliseconds"
    )
    corrections: Literal["ignore", "apply"] = _choice(
        "ignore", "What becomes of changes and removals of items.", "ignore", "apply"
    )
    windows: Kept = _option(_windows, (), "Windows beside all time, like day:2,week:2,month:2; none by default.")  # noqa: RUF009 - a field
    time_zone: str = _option(_time_zone, "UTC", "IANA name of the zone whose days, weeks and months these are.")
    max_future_seconds: int = _whole(86_400, "A game later than its record by more is poison.", 0, 315_360_000)
    poll_interval_seconds: float = _seconds(0.2, "A shard is read at most once in this time.", 0.05, 60)
    idle_poll_interval_seconds: float = _seconds(1.0, "The same for a shard that is idle.", 0.05, 60)
    idle_after_seconds: float = _seconds(30.0, "Time without a record after which a shard is idle.", 0, 3600)
    batch_window_seconds: float = _seconds(0.0, "How long records wait for others to share a transaction.", 0, 60)
    checkpoint_interval_seconds: float = _seconds(1.0, "Time between two writes of a shard's checkpoint alone.", 0, 60)
    breaker_window: int = _whole(200, "Last records of a shard that the circuit breaker counts.", 10, 1000)
    breaker_share: float = _share(0.5, "Share of them that must be poison for the shard to halt.")
    quarantine_retention_days: int | None = _whole(
        None, "Days after which settled quarantine records expire; none: never.", 2, 3650
    )
    remembered_rows: int = _whole(50_000, "Players whose rows a worker remembers: 600 bytes each.", 1000, 10_000_000)
    lease_ttl_seconds: float = _seconds(5.0, "Silence after which a worker counts as dead.", 1, 300)
    pool_size: int = _whole(16, "Concurrent calls to DynamoDB.", 1, 256)
    http_host: str = _text("127.0.0.1", "Address of /metrics, /livez and /readyz.", HOST, r"^\S{1,255}$")
    http_port: int = _whole(9464, "Port of /metrics, /livez and /readyz; 0: any free one.", 0, 65_535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _choice(
        "INFO", "Lowest level that is logged.", "DEBUG", "INFO", "WARNING", "ERROR"
    )
    log_format: Literal["auto", "json", "pretty"] = _choice(
        "auto", "auto: pretty on a terminal, else json.", "auto", "json", "pretty"
    )


OPTIONS: Final[Mapping[str, Option]] = {
    declared.name: declared.metadata["option"] for declared in fields(Settings) if declared.metadata
}
"""Every setting, by its name."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def load(overrides: Mapping[str, str], *, needs: Collection[str], uses: Collection[str] | None = None) -> Settings:
    """The settings: `overrides` (flags, by the setting's name), else the environment, else the defaults.

    `uses` names the settings that the command uses; None: all, but those of the stream only when `needs` says "stream".
    Settings that it does not use are neither required nor checked, and keep their defaults. Raises SettingsError with
    every fault.
    """
    if uses is None:
        uses = [name for name in OPTIONS if "stream" in needs or name not in STREAM_SETTINGS]
    chosen = {name: option.default for name, option in OPTIONS.items()}
    wrong: dict[str, str] = {}
    environment = {name: text for name, text in os.environ.items() if not _injected(name, text)}
    texts = {name: overrides.get(name, environment.get(variable(name))) for name in OPTIONS if name in uses}
    given = {name: text for name, text in texts.items() if text is not None}
    for name, text in given.items():
        try:
            chosen[name] = OPTIONS[name].convert(text)
        except ValueError as error:
            wrong[name] = f"{_shown(name, text)}: {error}"
    sound = {name: value for name, value in chosen.items() if name in uses and name not in wrong}
    faults = [*wrong.values(), *_missing(sound, needs), *_contradictions(sound), *_unknown(environment)]
    if faults:
        raise SettingsError(faults)
    made: Any = chosen  # each value is of its field's type
    return Settings(given=frozenset(given), **made)


def _injected(name: str, value: str) -> bool:
    return INJECTED.fullmatch(f"{name}={value}") is not None


def _shown(name: str, value: object) -> str:
    text = str(value)
    return f"{variable(name)} ({flag(name)}) is {text if len(text) <= 300 else text[:297] + '...'!r}"


def _missing(chosen: Mapping[str, object], needs: Collection[str]) -> Iterator[str]:
    if "stream" in needs and all(chosen.get(name, "wrong") is None for name in ("source_table", "stream_arn")):
        ways = " or ".join(f"{variable(name)} ({flag(name)})" for name in ("source_table", "stream_arn"))
        yield f"{ways} is not set: name the table whose stream is to be read, or the stream's ARN"


def _contradictions(chosen: Mapping[str, object]) -> Iterator[str]:
    """Values that are valid alone and wrong together."""
    source, arn = chosen.get("source_table"), chosen.get("stream_arn")
    match = re.match(ARN_PATTERN, str(arn))
    streamed = match[1] if match else None
    if source and streamed and source != streamed:
        both = f"{_shown('stream_arn', arn)} and {_shown('source_table', source)}"
        yield f"{both}: the stream is of another table ({streamed!r}); set one of the two"
    tables = {"source_table": source, "stream_arn": None if source else streamed}
    tables |= {name: chosen.get(name) for name in ("leaderboard_table", "lease_table", "quarantine_table")}
    yield from _shared(chosen, tables, "they name one table; each must be a table of its own")
    attributes = {name: chosen.get(name) for name in ("player_attribute", "score_attribute", "timestamp_attribute")}
    yield from _shared(chosen, attributes, "they name one attribute; these must be different ones")
    windows, ahead = chosen.get("windows"), chosen.get("max_future_seconds")
    if isinstance(windows, tuple) and windows and isinstance(ahead, int) and ahead > DAY_SECONDS:
        both = f"{_shown('windows', kept_text(windows))} and {_shown('max_future_seconds', ahead)}"
        yield f"{both}: with windows a game may be dated {DAY_SECONDS} seconds ahead at most, or rows would grow"


def _shared(chosen: Mapping[str, object], values: Mapping[str, object], sentence: str) -> Iterator[str]:
    for value in dict.fromkeys(value for value in values.values() if value is not None):
        names = [name for name, other in values.items() if other == value]
        if len(names) > 1:
            yield f"{' and '.join(_shown(name, chosen[name]) for name in names)}: {sentence}"


def _unknown(environment: Iterable[str]) -> Iterator[str]:
    """Variables with our prefix that are no setting. Their values are not shown: they may be secret."""
    known = [variable(name) for name in OPTIONS]
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and not name.startswith(DEMO_PREFIX) and name not in known:
            from difflib import get_close_matches  # an import only where something is wrong

            nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
            yield f"{name[:120]!r} is no setting: the nearest one is {nearest}"
