"""The tables: made, matched with what belongs to them, and the board read."""

import threading
import time
from collections.abc import Callable

from consumer.aws.births import DynamoBirths
from consumer.aws.board import DynamoBoard
from consumer.aws.clients import connect
from consumer.aws.identity import caller
from consumer.aws.overview import DynamoOverviews
from consumer.aws.tables import DynamoTables, TableReport
from consumer.bootstrap.common import TABLES, check_tables, own_tables, refused
from consumer.domain.board import BoardRow
from consumer.operations import adopt as adoption
from consumer.operations import top as board
from consumer.settings import Settings


def init(settings: Settings) -> list[TableReport]:
    """Makes the leaderboard, lease and quarantine tables, or finds them as they should be."""
    clients = connect(settings.pool_size)
    tables = DynamoTables(clients.dynamodb, clients.streams, threading.Event())
    return [tables.ensure(*table) for table in own_tables(settings)]


def adopt(settings: Settings, agree: Callable[[tuple[str, ...]], None]) -> list[str]:
    """Makes birth rows match the lease table, once `agree` has not raised; the ARNs of their streams."""
    clients, stop = connect(settings.pool_size), threading.Event()
    check_tables(clients, stop, settings, *TABLES)
    names = (settings.lease_table, settings.quarantine_table, stop)
    births, tables = DynamoBirths(clients.dynamodb, *names), (settings.lease_table, settings.leaderboard_table)
    with refused():
        pins = DynamoOverviews(clients.dynamodb, *names).lease_table().ledger.pins
        planned = adoption.amendments(births.births(), pins, tables)
        if planned:
            agree(tuple(adoption.sentence(amendment, tables) for amendment in planned))
            adoption.carry_out(births, planned, caller(clients.dynamodb), time.time())
    return [amendment.stream_arn for amendment in planned]


def top(settings: Settings, by: board.By, limit: int, watch: board.Watch) -> list[BoardRow]:
    """The best of the leaderboard. Raises StartRefused for what a person must mend."""
    stop = threading.Event()
    clients = connect(settings.pool_size)
    check_tables(clients, stop, settings, "leaderboard_table")
    with refused():
        return board.top(DynamoBoard(clients.dynamodb, settings.leaderboard_table, stop), by, limit, watch)
