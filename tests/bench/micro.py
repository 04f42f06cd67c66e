"""`python -m tests.bench.micro`: decode, fold and encode alone, as multiples of `json.loads` of the same page.

All steps take turns in every round and the least of each counts: a machine that does other things as well is only ever
slower. No network, no threads.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, Final

from consumer.aws import notation
from consumer.aws.commit import DynamoCommits
from consumer.aws.records import decoded_page
from consumer.domain.leaderboard import Limits, Unit, cut
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Entry, Rules
from tests.builders import CREATED, lease, sequence_number
from tests.measure.figure import Figure
from tests.measure.table import show

RECORDS: Final = 1_000
PLAYERS: Final = 1_000
ROUNDS: Final = 60


class Unsent:
    """Stands in for boto3's client: a transaction's body is written, and that is all."""

    def transact_write_items(self, **request: Any) -> None:
        notation.write(request)


def page(seed: int) -> bytes:
    """An answer of GetRecords: games of 1,000 players by Zipf's law with exponent 1."""
    random = Random(seed)
    weights = [1 / rank for rank in range(1, PLAYERS + 1)]
    players = random.choices([f"player-{number:06}" for number in range(PLAYERS)], weights, k=RECORDS)
    return json.dumps({"Records": [record(number, each, random) for number, each in enumerate(players)]}).encode()


def record(number: int, player: str, random: Random) -> dict[str, Any]:
    """As the service sends it, with as little in its image as there can be: more would raise the floor alone."""
    moment = f"2026-01-31T{number % 12:02}:{random.randrange(60):02}:{random.randrange(60):02}.{number:03}Z"
    keys = {"playerId": {"S": player}, "timestamp": {"S": moment}}
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


def decoded(body: bytes, rules: Rules = Rules()) -> list[Entry]:  # noqa: B008  it is frozen
    """Poll's second half, and decode."""
    return list(decoded_page(body, rules, None).entries)


def folded(entries: list[Entry], limits: Limits = Limits()) -> list[Unit]:  # noqa: B008  it is frozen
    """All units of a page."""
    units, previous = [], TRIM_HORIZON
    while entries:
        units.append(cut(entries, previous, limits, CREATED + 60))
        previous, entries = units[-1].last, entries[units[-1].records :]
    return units


def encoded(units: list[Unit]) -> None:
    """Commit's first half: the bodies of the transactions."""
    commits = DynamoCommits(Unsent(), "consumer-leases", "Leaderboards", "consumer-quarantine")
    for unit in units:
        commits.commit(lease(), unit, frozenset(), fills_gap=False)


def least_seconds(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Processor time of each."""
    least = dict.fromkeys(steps, inf)
    for _ in range(rounds):
        for name, step in steps.items():
            gc.collect()
            began = time.thread_time()
            step()
            least[name] = min(least[name], time.thread_time() - began)
    return least


def micro(seed: int = 1, rounds: int = ROUNDS) -> list[Figure]:
    """Ratios to the floor, and the floor itself."""
    body = page(seed)
    units = len(folded(decoded(body)))
    least = least_seconds(
        {
            "floor": lambda: json.loads(body),
            "decode": lambda: decoded(body),
            "fold": lambda: folded(decoded(body)),
            "encode": lambda: encoded(folded(decoded(body))),
        },
        rounds,
    )
    floor = least["floor"]
    return [
        Figure("the floor: json.loads of the page", floor / RECORDS * 1e6, "µs a record"),
        Figure("parse and decode", least["decode"] / floor, "floors"),
        Figure("parse, decode and fold", least["fold"] / floor, "floors", 2.0, f"{RECORDS} records, {units} units"),
        Figure("parse, decode, fold and encode", least["encode"] / floor, "floors", 3.0),
    ]


def main() -> int:
    """The exit code: 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.micro", description="The hot path beside its floor.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    figures = micro(asked.seed, asked.rounds)
    show({"micro": figures})
    return int(not all(figure.ok for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
