"""What every command needs: its tables, its questions asked with patience, trouble as a sentence."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from consumer.aws.clients import Clients
from consumer.aws.errors import may_pass, refusal_of
from consumer.aws.pages import ANSWER_SECONDS
from consumer.aws.tables import (
    LEADERBOARD_KEYS,
    LEASE_KEYS,
    QUARANTINE_KEYS,
    DynamoTables,
    Keys,
)
from consumer.domain.errors import Trouble
from consumer.domain.records import Rules
from consumer.retries import persist
from consumer.settings import Settings, variable

TABLES: Final = ("leaderboard_table", "lease_table", "quarantine_table")
"""Settings that name the tables that `init` makes."""

C = TypeVar("C")
R = TypeVar("R")


def own_tables(settings: Settings) -> list[tuple[str, Keys, str]]:
    """Name, key and variable of the tables that `init` makes."""
    return [
        (settings.leaderboard_table, LEADERBOARD_KEYS, variable("leaderboard_table")),
        (settings.lease_table, LEASE_KEYS, variable("lease_table")),
        (settings.quarantine_table, QUARANTINE_KEYS, variable("quarantine_table")),
    ]


def check_tables(clients: Clients, stop: threading.Event, settings: Settings, *names: str) -> None:
    """Those of our own tables that these settings name are there, with their keys. Raises StartRefused."""
    tables = DynamoTables(clients.dynamodb, clients.streams, stop)
    for table, keys, told in own_tables(settings):
        if told in map(variable, names):
            tables.check(table, keys, told)


@contextmanager
def refused() -> Iterator[None]:
    """Trouble ends a person's command with a sentence."""
    try:
        yield
    except Trouble as trouble:
        raise refusal_of(trouble) from trouble


def asking(perform: Callable[[C], R], stop: threading.Event, seconds: float = ANSWER_SECONDS) -> Callable[[C], R]:
    """Asks until it is answered: the same call again after trouble that may pass, for some seconds."""
    return lambda call: persist(partial(perform, call), seconds=seconds, stop=stop, retry_on=may_pass)


def rules_of(settings: Settings) -> Rules:
    """What a game looks like."""
    return Rules(
        settings.player_attribute, settings.score_attribute, settings.timestamp_attribute, settings.max_future_seconds
    )
