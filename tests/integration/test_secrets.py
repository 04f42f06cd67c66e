"""What a whole run at DEBUG, with poison and failed calls, never logs: credentials; and at INFO no players' data."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Call, Fate, Game, Proxy, WorkerProcess, consumer, is_commit, is_row_write
from tests.support.processes.game import Item
from tests.support.processes.poison import KINDS, Matches, kinds_of

KEY_ID = "AKIAQ7LOOKFORTHISKEY"
SECRET = "lookForThisSecret/+abcdefghijklmnopqrstu"
TOKEN = "lookForThisToken//////////wEaCXVzLWVhc3QtMQ=="
SIGNED = ("Signature", "Authorization", "AWS4-HMAC", "Credential=", "Security-Token")

PLAYER = "private-"
SCORE = "4242424242"
DAY = "2017-"

GAMES = 400
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
COMMANDS = (
    "init",
    "status --json",
    "top",
    "quarantine list",
    "quarantine redrive --all --set score=1 --yes",
    "quarantine discard --since 2020-01-01T00:00:00Z --because none --yes",
    "audit-log --json",
)


@pytest.fixture
def matches(engine: TableEngine) -> Iterator[Matches]:
    with Matches(engine) as matches:
        yield matches


class RandomFaults:
    """Every tenth commit, single write, poll or heartbeat fails in some way."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def __call__(self, call: Call) -> Fate:
        wanted = is_commit(call) or is_row_write(call) or call.operation in ("GetRecords", "UpdateItem")
        if not wanted or self._random.random() > 0.1:
            return Fate.PASS
        return self._random.choice([Fate.DROP_REPLY, Fate.FAIL_AFTER, Fate.DENY, Fate.DROP_CALL])


def records(matches: Matches) -> list[Item]:
    """Games whose every private value begins with a mark, poison of all kinds among them."""
    kinds = kinds_of(matches.engine)
    for kind in kinds:
        matches.store(f"{PLAYER}{kind}", kind)
    items = [
        matches.good(f"{PLAYER}{number % 50}", f"{SCORE}{number:05}", f"{DAY}01-02T03:04:05.{number:06}Z")
        for number in range(GAMES)
    ]
    items += [mark(matches.poisoned(f"{PLAYER}{kind}", kind), kind) for kind in KINDS]
    items += [mark(matches.refused(f"{PLAYER}{kind}", kind), kind) for kind in kinds]
    random.Random(3).shuffle(items)
    return items


def mark(item: Item, kind: str) -> Item:
    """Puts the mark into a score, where the score can be another one."""
    if "N" in item.get("score", {}) and not kind.startswith("past"):
        item["score"] = {"N": f"{SCORE}{len(kind)}"}
    elif "S" in item.get("score", {}):
        item["score"] = {"S": f"{SCORE}, or so"}
    return item


def test_logs_keep_secrets(matches: Matches) -> None:
    matches.put(records(matches))
    with Proxy(matches.engine.url, RandomFaults()) as proxy:
        environment = matches.environment(proxy, poll_interval_seconds="0.05") | CREDENTIALS
        with WorkerProcess(environment) as worker:
            matches.wait_until_consumed()
            worker.get("/readyz")
            ended = worker.terminate()
    assert ended.code == 0
    matches.assert_exact()

    lines = ended.stderr.splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    names = [event["event"] for event in events]
    assert names.count("record.quarantined") == len(matches.reasons)
    for name in ("unit.committed", "call.retry_scheduled", "http.answered", "worker.summary"):
        assert name in names

    for line in lines:
        assert not leaked(line), line

    totals = {f"{row.total:f}" for row in matches.expected.rows.values()}
    private = (PLAYER, SCORE, DAY, "match-", *totals)
    for line, event in zip(lines, events, strict=True):
        if event["level"] != "debug":
            assert not [part for part in private if part in line], line


@pytest.mark.deploy
def test_commands_keep_secrets(ministack_url: str) -> None:
    with Game(TableEngine("ministack", ministack_url)) as game, Proxy(ministack_url) as proxy:
        environment = game.environment(proxy) | CREDENTIALS
        game.play(50, 5, poison=0.3)
        with WorkerProcess(environment) as worker:
            game.wait_until_consumed()
            worker.terminate()
        for fate, codes in ((Fate.PASS, {0, 4, 10}), (Fate.DENY, {3})):  # some stay poison; no worker
            proxy.decide = lambda _, fate=fate: fate  # type: ignore[misc]
            for command in COMMANDS:
                done = consumer(*command.split(), environment=environment)
                assert done.returncode in codes, (command, fate, done.stderr)
                assert not leaked(done.stdout + done.stderr), command


def leaked(text: str) -> list[str]:
    """The parts of the credentials that are in a text."""
    return [part for part in (KEY_ID, SECRET, TOKEN, *SIGNED) if part in text]
