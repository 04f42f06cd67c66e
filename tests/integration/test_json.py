"""What `--json` prints has the shape that docs/json.md promises: each key, of the promised type, and no other."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consumer.aws.commits import DynamoCommits
from consumer.domain.leases import Shard, TableNames
from tests.support.command_line import commands
from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer, until

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"
Shape = Mapping[str, str]
"""The types of the keys, by their path in the document."""


def documented() -> dict[str, Shape]:
    """By command."""
    sections = re.split(r"^## `consumer (.*)`\n", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    shapes: dict[str, Shape] = {
        command: dict(re.findall(r"^\| `(.*?)` \| (.*?) \|", text, re.MULTILINE))
        for command, text in zip(sections[::2], sections[1::2], strict=True)
    }
    shapes["quarantine show"] = {**shapes["quarantine list"], **shapes["quarantine show"]}
    for preview in ("quarantine redrive --dry-run", "replay --dry-run"):
        assert f"`consumer {preview}`" in DOCUMENT.read_text()
        shapes[preview] = shapes["top"]
    return shapes


def is_of(kind: str, value: object) -> bool:
    """Whether the value is of the documented type."""
    match value:
        case None:
            return kind.endswith(" or null")
        case bool():
            return kind == "boolean"
        case str():
            return kind.startswith("string")
        case Decimal():
            return kind.startswith("number")
        case list():
            inner = str if kind == "array of strings" else dict
            several = kind.removesuffix(" or null") in ("array of strings", "array of objects")
            return several and all(isinstance(each, inner) for each in value)
        case dict():
            of = {"object of strings": str, "object of numbers": Decimal}.get(kind.removesuffix(" or null"), object)
            return kind.startswith("object") and all(isinstance(each, of) for each in value.values())
    return False


def faults(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """What is not as it is documented."""
    for each in value if isinstance(value, list) else [value]:
        right = {key for key in shape if re.fullmatch(re.escape(path) + r"[^.\[]+", key)}
        free = path + "*" in right
        for key in right - {path + "*"} - {path + name for name in each}:
            yield f"{key} is missing"
        for name, inner in each.items():
            key = path + name if path + name in right or not free else path + "*"
            if key not in right:
                yield f"{path + name} is not documented"
            elif not is_of(shape[key], inner):
                yield f"{path + name} is {inner!r}, which is no {shape[key]}"
            elif shape[key].startswith("array of objects") and inner is not None:
                yield from faults(shape, inner, f"{path}{name}[].")


def test_every_command_that_has_it_is_documented() -> None:
    has_json = {
        name for name, command in commands().items() if any("--json" in option.opts for option in command.params)
    }
    assert has_json == {name for name in documented() if "--" not in name}


def test_a_wrong_shape_is_detected() -> None:
    shape = {"a": "string", "b": "array of objects", "b[].c": "number or null", "b[].*": "string"}
    right = {"a": "", "b": [{"c": Decimal(1), "d": ""}, {"c": None}]}
    assert list(faults(shape, right)) == []
    wrong = {"a": None, "b": [{"d": Decimal(1)}], "e": ""}
    assert list(faults(shape, wrong)) == [
        "a is None, which is no string",
        "b[].c is missing",
        "b[].d is Decimal('1'), which is no string",
        "e is not documented",
    ]


@pytest.fixture(scope="module")
def game(ministack_url: str) -> Iterator[Game]:
    """A worker has counted it, and was killed."""
    with Game(TableEngine("ministack", ministack_url)) as game:
        game.play(60, 5)
        worker = game.worker(windows="day:2,week:2,month:2")
        game.count(*(game.make("p", "12") for _ in range(3)))
        game.put([game.make("p") | {"score": {"S": "12"}} for _ in range(3)])
        game.wait_until_consumed()
        until(lambda: len(game.quarantined()) == 3, "all poison is in quarantine")
        worker.kill()
        yield game


def document(game: Game, *arguments: str, code: int | None = None) -> Any:
    """The document; numbers are Decimals."""
    ended = consumer(*arguments, "--json", environment=game.environment(lease_ttl_seconds="1"))
    assert ended.returncode in ((0, 12) if code is None else (code,)), ended.stderr
    return json.loads(ended.stdout, parse_float=Decimal, parse_int=Decimal)


def change(game: Game, key: Mapping[str, str], name: str, value: Mapping[str, str]) -> None:
    """Sets an attribute of a row of the lease table."""
    game.client.update_item(
        TableName=game.tables["lease"],
        Key={"leaseKey": key},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )


@pytest.mark.timeout(120)
def test_every_document_has_its_shape(game: Game) -> None:
    lease = game.lease()
    assert lease is not None
    shard = lease["shardId"]["S"]
    names = (game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
    whole = Shard(lease["streamArn"]["S"], shard)
    DynamoCommits(game.client, TableNames(*names)).record_gap(whole, "7", 1_769_860_800.0)
    change(game, lease["leaseKey"], "haltedAt", {"N": "1769860800.5"})
    first, second, _ = numbers = sorted(game.quarantined(), key=int)
    redrive = ("quarantine", "redrive", shard, first, "--set", "score=12")
    discard = ("quarantine", "discard", shard, second, "--because", "why not", "--yes")
    replay = ("replay", shard, "--from", numbers[0], "--recount")
    documents = {
        "quarantine redrive --dry-run": document(game, *redrive, "--dry-run"),
        "quarantine redrive": document(game, *redrive, "--yes"),
        "quarantine discard": document(game, *discard),
        "quarantine restore": document(game, "quarantine", "restore", shard, second, "--yes"),
        "quarantine list": document(game, "quarantine", "list", "--state", "all"),
        "quarantine show": document(game, "quarantine", "show", shard, first),
        "replay --dry-run": document(game, *replay, "--dry-run"),
        "replay": document(game, *replay, "--yes"),
    }
    (progress,) = (row["leaseKey"] for row in game.rows("lease") if row["leaseKey"]["S"].startswith("replay#"))
    change(game, progress, "state", {"S": "running"})  # as when it was interrupted
    documents |= {
        "checkpoint show": document(game, "checkpoint", "show", shard),
        "status": document(game, "status"),
        "resume": document(game, "resume", shard, "--quarantine-all", "--yes"),
        "audit-log": document(game, "audit-log"),
        "top": document(game, "top"),
        "verify": document(game, "verify", "--player", "player-00001", "--timeout", "1", code=9),
        "gaps list": document(game, "gaps", "list"),
    }
    shapes = documented()
    assert documents.keys() == shapes.keys()
    assert [fault for name, value in documents.items() for fault in faults(shapes[name], value)] == []
    assert [name for name, value in documents["status"].items() if value == []] == [
        "haltedStreams",
        "unreadStreams",
        "strangeStreams",
        "unboundStreams",
    ]
    assert all(documents.values()), "none is empty: each key was seen"
    assert len(documents["quarantine list"]) == len(numbers)
    assert {row["act"] for row in documents["audit-log"]} == {"redrive", "discard", "restore", "replay", "resume"}
