"""`python -m tests.performance.bench.micro`: decode, fold and encode alone, in multiples of `json.loads` of a page.

Every round runs all steps, and the least time of each step counts: other work of the machine only makes them slower.
No network, no threads.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from consumer.aws import wire
from consumer.aws.commits import DynamoCommits
from consumer.aws.statements import WRITES_PER_CALL, Statements
from consumer.aws.streams import decoded_page
from consumer.domain.cut import cut
from consumer.domain.fold import Limits, Unit
from consumer.domain.leases import TRIM_HORIZON, TableNames
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.records import Entry, Rules
from consumer.domain.windows import WindowKind
from tests.performance.figures import Figure, show
from tests.support.builders import CREATED, lease, plain_rows, sequence_number

RECORDS: Final = 1_000
PLAYERS: Final = 1_000
ROUNDS: Final = 60
WINDOWS: Final = tuple((kind, 2) for kind in WindowKind)
ZONE: Final = "Europe/Berlin"


class Unsent:
    """In place of boto3's client: it encodes bodies and sends nothing. Every statement succeeds."""

    meta = SimpleNamespace(
        events=SimpleNamespace(register_first=lambda *_, **__: None),
        service_model=SimpleNamespace(service_id=SimpleNamespace(hyphenize=lambda: "dynamodb")),
    )

    def transact_write_items(self, **request: Any) -> None:
        wire.encode_json(request)

    def batch_execute_statement(self, **request: Any) -> dict[str, Any]:
        wire.encode_json(request)
        replies = [{"TableName": "Leaderboards"}] * len(request["Statements"])
        return {"Body": wire.encode_json({"Responses": replies})}


def page(seed: int) -> bytes:
    """A GetRecords response: games of 1,000 players by Zipf's law with exponent 1."""
    random = Random(seed)
    weights = [1 / rank for rank in range(1, PLAYERS + 1)]
    players = random.choices([f"player-{number:06}" for number in range(PLAYERS)], weights, k=RECORDS)
    return json.dumps({"Records": [record(number, player, random) for number, player in enumerate(players)]}).encode()


def record(number: int, player: str, random: Random) -> dict[str, Any]:
    """A record as the service sends it, with the smallest image: a larger one would only raise the floor."""
    timestamp = f"2026-01-31T{number % 12:02}:{random.randrange(60):02}:{random.randrange(60):02}.{number:03}Z"
    keys = {"playerId": {"S": player}, "timestamp": {"S": timestamp}}
    return {
        "eventID": f"{random.getrandbits(128):032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": CREATED,
            "Keys": keys,
            "NewImage": {**keys, "score": {"N": str(random.randrange(10_000) / 100)}},
            "SequenceNumber": sequence_number(number),
            "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE",
        },
    }


def decoded(body: bytes, rules: Rules = Rules()) -> list[Entry]:  # noqa: B008 - it is frozen
    """The second half of a poll, and decode."""
    return list(decoded_page(body, rules, None).entries)


def folded(entries: list[Entry], limits: Limits = Limits()) -> list[Unit]:  # noqa: B008 - it is frozen
    """All units of a page."""
    units, previous = [], TRIM_HORIZON
    while entries:
        units.append(cut(entries, previous, limits, CREATED + 60))
        previous, entries = units[-1].last, entries[units[-1].records :]
    return units


def encoded(units: list[Unit]) -> None:
    """The first half of a commit: the bodies of the transactions."""
    commits = DynamoCommits(Unsent(), TableNames())
    for unit in units:
        commits.commit(lease(), unit, plain_rows(unit), fills_gap=False)


def encoded_statements(units: list[Unit]) -> None:
    """The same for rows with marks: the bodies of the calls that write them, and their replies.

    Rows have the windows that are added to.
    """
    statements = Statements(Unsent(), "Leaderboards")
    statements.usable = statements.windows_usable = True
    found = Mark("label/shard", sequence_number(0), CREATED)
    for unit in units:
        mark = Mark("label/shard", unit.last, unit.created)
        writes = [
            RowWrite(player, delta, Route.FOLLOW, found, mark, had=frozenset(each.window for each in delta.windows))
            for player, delta in unit.deltas.items()
        ]
        for first in range(0, len(writes), WRITES_PER_CALL):
            statements.write(writes[first : first + WRITES_PER_CALL])


def least_seconds(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least processor time of each step."""
    least = dict.fromkeys(steps, inf)
    for _ in range(rounds):
        for name, step in steps.items():
            gc.collect()
            began = time.thread_time()
            step()
            least[name] = min(least[name], time.thread_time() - began)
    return least


def micro(seed: int = 1, rounds: int = ROUNDS) -> list[Figure]:
    """The floor, and the steps as multiples of it."""
    body, windows = page(seed), Rules(windows=WINDOWS, time_zone=ZONE)
    units = len(folded(decoded(body)))
    least = least_seconds(
        {
            "floor": lambda: json.loads(body),
            "decode": lambda: decoded(body),
            "fold": lambda: folded(decoded(body)),
            "encode": lambda: encoded(folded(decoded(body))),
            "statements": lambda: encoded_statements(folded(decoded(body))),
            "windows": lambda: encoded_statements(folded(decoded(body, windows))),
        },
        rounds,
    )
    floor = least["floor"]
    return [
        Figure("the floor: json.loads of the page", floor / RECORDS * 1e6, "µs per record"),
        Figure("parse and decode", least["decode"] / floor, "floors"),
        Figure("parse, decode and fold", least["fold"] / floor, "floors", 2.0, f"{RECORDS} records, {units} units"),
        Figure("parse, decode, fold and encode", least["encode"] / floor, "floors", 3.0),
        Figure("the same as statements", least["statements"] / floor, "floors", 3.0),
        Figure("the same with windows", least["windows"] / floor, "floors", note=f"day:2,week:2,month:2 in {ZONE}"),
    ]


def main() -> int:
    """Exit code 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.bench.micro", description="The hot path beside its floor."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    figures = micro(given.seed, given.rounds)
    show({"micro": figures})
    return int(not all(figure.ok for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
