"""Failed calls are never poison: the worker quarantines nothing, reports the cause, and goes on when it is fixed."""

import time
from collections.abc import Callable, Iterator

import pytest

from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, Keys
from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Proxy, WorkerProcess, is_commit, is_row_write, until
from tests.support.processes.game import Item
from tests.support.processes.poison import Matches


class Outage:
    """Decides the proxy's fates: while it lasts, every call that matches has this one."""

    def __init__(self) -> None:
        self.fate = Fate.PASS
        self._matches: Callable[[Call], bool] = is_commit

    def __call__(self, call: Call) -> Fate:
        return self.fate if self._matches(call) else Fate.PASS

    def begin(self, fate: Fate, matches: Callable[[Call], bool]) -> None:
        self._matches, self.fate = matches, fate

    def end(self) -> None:
        self.fate = Fate.PASS


@pytest.fixture
def outage() -> Outage:
    return Outage()


@pytest.fixture
def proxy(engine: TableEngine, outage: Outage) -> Iterator[Proxy]:
    with Proxy(engine.url, outage) as proxy:
        yield proxy


@pytest.fixture(params=[True, False], ids=["marks", "transactions"])
def keyed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def matches(engine: TableEngine, keyed: bool) -> Iterator[Matches]:
    with Matches(engine, keyed=keyed) as matches:
        yield matches


@pytest.fixture
def worker(matches: Matches, proxy: Proxy) -> WorkerProcess:
    """One that has counted some games, and is ready."""
    return started(matches, proxy)


def started(matches: Matches, proxy: Proxy) -> WorkerProcess:
    """The same."""
    play(matches)
    worker = matches.worker(proxy, poll_interval_seconds="0.05", lease_ttl_seconds="2")
    matches.wait_until_consumed()
    wait_until_ready(worker)
    return worker


def play(matches: Matches, *, poison: bool = False) -> None:
    """Ten games, with two poison records among them where that is wanted."""
    items = [matches.good(f"player-{number % 7}") for number in range(10)]
    if poison:
        items[3:3] = [matches.poisoned("player-1", "score of type S")]
        items.append(matches.poisoned("player-2", "30 February"))
    matches.put(items)


def writes(call: Call) -> bool:
    """Whether it commits, or writes a row."""
    return is_commit(call) or is_row_write(call)


def wait_until_ready(worker: WorkerProcess) -> None:
    until(lambda: worker.get("/readyz") == (200, "ready\n"), "ready")


def wait_until_reported(worker: WorkerProcess, since: int, operation: str, kind: str) -> None:
    """The log has a retry since then, readiness says in a sentence what fails and why, and the worker is alive."""

    def logged() -> bool:
        return any(event["reason"] == kind for event in worker.events("call.retry_scheduled")[since:])

    def sentence() -> str:
        status, text = worker.get("/readyz")
        return (
            next((line for line in text.splitlines() if operation in line and kind in line), "")
            if status == 503
            else ""
        )

    until(logged, f"a retry because of {kind}")
    assert len(until(sentence, f"a reason with {operation} and {kind}, not {worker.get('/readyz')}").split()) > 4
    assert worker.get("/livez")[0] == 200


def wait_through(seconds: float) -> None:
    """Waits while the outage lasts."""
    since = time.monotonic()
    until(lambda: time.monotonic() >= since + seconds, f"{seconds:g} s", seconds + 5)


def make_table(matches: Matches, table: str, keys: Keys, rows: list[Item] = []) -> None:  # noqa: B006 - only read
    """A new table in the place of one of the game's, with these rows."""
    name = matches.tables[table]
    matches.client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": attribute, "KeyType": role}
            for (attribute, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in keys],
    )
    matches.client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    for row in rows:
        matches.client.put_item(TableName=name, Item=row)


def remove_table(matches: Matches, table: str) -> list[Item]:
    """Deletes one of the game's tables; what was in it."""
    rows = matches.rows(table)
    name = matches.tables[table]
    matches.client.delete_table(TableName=name)
    matches.client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return rows


def assert_nothing_quarantined(matches: Matches) -> None:
    assert matches.entries() == {}


def assert_recovered(matches: Matches, worker: WorkerProcess) -> None:
    """All is consumed, by the same process, and exact; games go on."""
    play(matches, poison=True)
    matches.wait_until_consumed()
    matches.assert_exact()
    wait_until_ready(worker)
    assert worker.terminate().code == 0


def test_a_leaderboard_with_another_key(matches: Matches, worker: WorkerProcess, outage: Outage) -> None:
    swap_and_restore(matches, worker, outage, "leaderboard", (("playerId", "N"),))


@pytest.mark.parametrize("engine", ["dynamodb-local"], indirect=True)
@pytest.mark.parametrize(
    "other", [(("player", "S"),), (("playerId", "S"), ("season", "S"))], ids=["player", "season too"]
)
def test_a_leaderboard_with_a_key_of_another_name(
    matches: Matches, worker: WorkerProcess, outage: Outage, other: Keys
) -> None:
    """ministack writes items that lack their table's key, in a transaction."""
    swap_and_restore(matches, worker, outage, "leaderboard", other)


def test_a_lease_table_with_another_key(matches: Matches, worker: WorkerProcess, outage: Outage, keyed: bool) -> None:
    """It refuses every transaction, whatever is in it, and every checkpoint alone, which no record is in."""
    what = "move_checkpoint" if keyed else ANOTHER_KEY
    swap_and_restore(matches, worker, outage, "lease", (("leaseKey", "N"),), what)


ANOTHER_KEY = "now has another key"


def swap_and_restore(
    matches: Matches, worker: WorkerProcess, outage: Outage, table: str, other: Keys, what: str = ANOTHER_KEY
) -> None:
    """No transaction comes between a table's end and the rows of the one in its place: a restore has them at once."""
    right = {"leaderboard": LEADERBOARD_KEYS, "lease": LEASE_KEYS}[table]
    outage.begin(Fate.DROP_CALL, writes)
    rows = remove_table(matches, table)
    make_table(matches, table, other)
    play(matches)
    since = len(worker.events("call.retry_scheduled"))
    outage.end()
    wait_until_reported(worker, since, what, "rejected")
    assert_nothing_quarantined(matches)

    outage.begin(Fate.DROP_CALL, writes)
    remove_table(matches, table)
    make_table(matches, table, right, rows)
    outage.end()
    assert_recovered(matches, worker)


def test_no_quarantine_table(matches: Matches, worker: WorkerProcess) -> None:
    """Poison waits for it, and what comes after the poison waits too: order is kept."""
    rows = remove_table(matches, "quarantine")
    play(matches, poison=True)
    wait_until_reported(worker, 0, "commit", "missing")
    checkpoint = matches.checkpoint()
    wait_through(0.5)
    assert matches.checkpoint() == checkpoint

    make_table(matches, "quarantine", QUARANTINE_KEYS, rows)
    assert_recovered(matches, worker)


def test_a_quarantine_table_with_another_key(matches: Matches, worker: WorkerProcess) -> None:
    rows = remove_table(matches, "quarantine")
    make_table(matches, "quarantine", (("shardId", "S"),))
    play(matches, poison=True)
    wait_until_reported(worker, 0, "commit", "rejected")
    assert matches.rows("quarantine") == []

    remove_table(matches, "quarantine")
    make_table(matches, "quarantine", QUARANTINE_KEYS, rows)
    assert_recovered(matches, worker)


def test_no_permission_for_transactions(matches: Matches, worker: WorkerProcess, outage: Outage, keyed: bool) -> None:
    """Players without poison are written alone; what must be in the transaction waits, and with it the checkpoint."""
    outage.begin(Fate.DENY, lambda call: call.operation == "TransactWriteItems")
    before = matches.board(), matches.checkpoint()
    bad = [matches.poisoned("player-1", "score of type S"), matches.poisoned("player-2", "30 February")]
    matches.put(
        [*bad, *(matches.good(f"player-{number % 7}") for number in range(10))]
    )  # no unit begins without poison
    wait_until_reported(worker, 0, "commit", "denied")
    board, checkpoint = matches.board(), matches.checkpoint()
    changed = {player for player in board if board[player] != before[0][player]}
    assert changed <= ({"player-0", "player-3", "player-4", "player-5", "player-6"} if keyed else set())
    assert checkpoint == before[1]
    assert_nothing_quarantined(matches)
    outage.end()
    assert_recovered(matches, worker)


@pytest.mark.parametrize("keyed", [True], ids=["marks"], indirect=True)
@pytest.mark.parametrize(
    ("fate", "kind"), [(Fate.DENY, "denied"), (Fate.DROP_CALL, "network"), (Fate.FAIL_AFTER, "server")]
)
@pytest.mark.parametrize("operation", ["write_rows", "read_rows"])
def test_no_reply_about_rows(
    matches: Matches, worker: WorkerProcess, outage: Outage, operation: str, fate: Fate, kind: str
) -> None:
    """Rows that cannot be written, or read, hold the checkpoint; nothing counts twice."""
    outage.begin(fate, is_row_write if operation == "write_rows" else lambda call: call.operation == "BatchGetItem")
    checkpoint = matches.checkpoint()
    matches.put([matches.good(f"new-player-{number}") for number in range(10)])
    play(matches, poison=True)
    wait_until_reported(worker, 0, operation, kind)
    assert matches.checkpoint() == checkpoint
    assert_nothing_quarantined(matches)
    outage.end()
    assert_recovered(matches, worker)


def test_no_permission_for_anything(matches: Matches, worker: WorkerProcess, outage: Outage) -> None:
    """For longer than a lease TTL: no heartbeat can be written."""
    outage.begin(Fate.DENY, lambda _: True)
    before = matches.board(), matches.checkpoint()
    play(matches, poison=True)
    wait_until_reported(worker, 0, "get_records", "denied")
    until(lambda: "no heartbeat could be written" in worker.get("/readyz")[1], "not ready without a heartbeat")
    assert (matches.board(), matches.checkpoint()) == before
    assert_nothing_quarantined(matches)
    outage.end()
    assert_recovered(matches, worker)


def test_no_permission_to_read_the_leaderboard(matches: Matches, worker: WorkerProcess, outage: Outage) -> None:
    """A record is refused alone, and the worker may not find out why: it waits."""
    outage.begin(Fate.DENY, lambda call: call.operation in ("DescribeTable", "GetItem"))
    matches.store("foo", "total is a string")
    matches.put([matches.good("player-1"), matches.refused("foo", "total is a string"), matches.good("player-1")])
    wait_until_reported(worker, 0, "examine", "denied")
    assert_nothing_quarantined(matches)
    outage.end()
    assert_recovered(matches, worker)


@pytest.mark.parametrize("engine", ["ministack"], indirect=True)
@pytest.mark.parametrize(("attribute", "kind"), [("totalScore", "S"), ("lastPlayedDate", "N")])
def test_an_index_that_refuses_what_is_written(
    matches: Matches, proxy: Proxy, outage: Outage, attribute: str, kind: str
) -> None:
    """Every player's games are refused, each alone: the table is to blame, and no record.

    DynamoDB Local does not compare types with an index that was added later, ministack not in statements.
    """
    outage.begin(Fate.DENY, lambda call: call.operation == "BatchExecuteStatement")
    worker = started(matches, proxy)
    add_index(matches, attribute, kind)
    before = matches.board(), matches.checkpoint()
    matches.put([matches.good(f"player-{number % 40}") for number in range(99)])
    wait_until_reported(worker, 0, "examine", "rejected")
    assert f"Type mismatch for Index Key {attribute}" in worker.get("/readyz")[1]
    wait_through(2.0)
    assert (matches.board(), matches.checkpoint()) == before
    assert_nothing_quarantined(matches)
    matches.client.update_table(
        TableName=matches.tables["leaderboard"],
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": f"by-{attribute}"}}],
    )
    assert_recovered(matches, worker)


def add_index(matches: Matches, attribute: str, kind: str) -> None:
    """An index on an attribute of the leaderboard, whose key has another type than what the worker writes."""
    index = {
        "IndexName": f"by-{attribute}",
        "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    attributes = {"playerId": "S", attribute: kind}
    matches.client.update_table(
        TableName=matches.tables["leaderboard"],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": type_} for name, type_ in attributes.items()],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
