"""`consumer quarantine` and `replay` as processes, where corrections count: what they show, refuse and count."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.commits import DynamoCommits
from consumer.aws.items import SOURCE_KEY, lease_item, lease_key, stream_start_item
from consumer.aws.rule_items import RULES_NAME, rules_list
from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.cut import Corrects, cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, StreamStart, TableNames
from consumer.domain.records import Corrections, Poison, Reason, Rules, decode, item_of, poison
from consumer.domain.replies import Committed
from consumer.domain.windows import calendar_of
from tests.support.builders import ARN, CREATED, lease, plain_rows, sequence_number, wire
from tests.support.engines import TableEngine
from tests.support.processes import Game, Row, consumer
from tests.support.processes.committed_shard import bind

APPLY = Rules(corrections=Corrections.APPLY)
DAY = "2026-01-31"


def change(number: int, item: str, event: str, score: object, old: str | None = None, player: str = "foo") -> Any:
    """A record of an item; `old` is the score before it."""
    made = wire(number, event=event, score=score, player=player)
    made["dynamodb"]["Keys"] = {"gameId": {"S": item}}
    if old is not None:
        made["dynamodb"]["OldImage"] = wire(score=old)["dynamodb"]["NewImage"]
    if event == "REMOVE":
        del made["dynamodb"]["NewImage"]
    return made


@pytest.fixture(scope="module")
def game(ministack_url: str) -> Iterator[Game]:
    """Three games: `g1` was edited and `g3` removed, which the database refused then; `g2` was inserted broken."""
    wires = [
        change(1, "g1", "INSERT", "150"),
        change(2, "g3", "INSERT", "5"),
        change(3, "g1", "MODIFY", "100", "150", player="bar"),
        change(4, "g2", "INSERT", {"S": "many"}),
        change(5, "g3", "REMOVE", None, "5"),
    ]
    with Game(TableEngine("ministack", ministack_url)) as game:
        entries = [decode(each, APPLY, None) for each in wires]
        for at in (2, 4):
            entries[at] = poison(wires[at], Reason.REFUSED, "refused", APPLY)
        assert isinstance(entries[3], Poison)
        names = TableNames(game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
        row = LeaseRow(lease().shard, lease().owner, lease().epoch, TRIM_HORIZON)
        rules = {RULES_NAME["#rules"]: rules_list(AcceptedRules((APPLY,)))}
        for item in (
            lease_item(row),
            stream_start_item(StreamStart(ARN, None, ("shard-0",), complete=True)),
            lease_key(SOURCE_KEY) | rules,
        ):
            game.client.put_item(TableName=names.leases, Item=item)
        bind(game, ARN)
        checkpoint, corrects = TRIM_HORIZON, Corrects("shard-0", calendar_of((), "UTC"), lambda *_: None)
        while entries:
            unit = cut(entries, checkpoint, Limits(), CREATED, corrects=corrects)
            reply = DynamoCommits(game.client, names).commit(lease(), unit, plain_rows(unit), fills_gap=False)
            assert reply == Committed()
            del entries[: unit.records]
            checkpoint = unit.last
        yield game


def ended(game: Game, *arguments: str) -> tuple[int, str, str]:
    done = consumer(*arguments, environment=game.environment())
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def listed(game: Game, state: str = "all") -> dict[str, dict[str, Any]]:
    rows = json.loads(ended(game, "quarantine", "list", "--json", "--state", state)[1])
    return {row["itemKey"]["gameId"]["S"]: row for row in rows}


def test_what_operators_see_and_do(game: Game) -> None:
    """In one piece: each step goes on from the board that the one before has left."""
    before = {"foo": Row(2, Decimal(155), DAY)}
    assert game.board() == before
    rows = listed(game, "pending")
    assert {name: row["kept"] for name, row in rows.items()} == {
        "g1": None,
        "g2": None,
        "g3": {"playerId": "foo", "score": 5, "date": DAY, "playedAt": CREATED - 60},
    }
    shown = {number: ended(game, "quarantine", "show", "shard-0", sequence_number(number))[1] for number in (3, 4, 5)}
    assert "\nitem         " + item_of({"gameId": {"S": "g1"}}) + "\n" in shown[3]
    assert "\ncounted      150 of foo, played 2026-01-31, until the item is mended or removed\n" in shown[3]
    assert "\ncounted      nothing of the item, until the item is mended or removed\n" in shown[4]
    assert "\ncounted      5 of foo, played 2026-01-31; the item's life is over\n" in shown[5]

    for more in (("--set", "score=1"), ("--convert", "score")):
        code, out, err = ended(game, "quarantine", "redrive", "--all", "--yes", *more)
        assert (code, out) == (4, "")
        assert "takes no --set and no --convert. Nothing was changed. Next: mend the item" in err
    code, out, err = ended(game, "replay", "shard-0", "--from", TRIM_HORIZON, "--yes", "--recount")
    assert (code, out) == (4, "")
    assert "Next: rebuild instead" in err
    assert game.board() == before

    code, out, err = ended(game, "quarantine", "redrive", "--all", "--dry-run")
    assert code == 4
    assert [line.split() for line in out.splitlines()[1:]] == [["bar", "+1", "+100", DAY], ["foo", "-2", "-155", "-"]]
    assert "2 records would be counted; 1 would stay (score_type 1)" in err

    code, out, err = ended(game, "replay", "shard-0", "--from", sequence_number(3), "--to", sequence_number(3), "--yes")
    assert (code, out) == (0, f"1 game of shard {lease().shard} counted in {game.tables['leaderboard']}\n")
    assert game.board() == {"foo": Row(1, Decimal(5), DAY), "bar": Row(1, Decimal(100), DAY)}
    assert ended(game, "quarantine", "discard", "shard-0", sequence_number(5), "--because", "x", "--yes")[0] == 0
    assert ended(game, "quarantine", "restore", "--all", "--yes")[:2] == (0, "1 record restored\n")
    code, out, err = ended(game, "quarantine", "redrive", "--all", "--yes")
    assert (code, out) == (4, "1 record counted; 1 still poison (score_type 1)\n")
    assert "mend the item: write it again as it should be, and that counts" in err
    assert game.board() == {"bar": Row(1, Decimal(100), DAY)}, "a row without games is left out"
    assert {name: row["state"] for name, row in listed(game).items()} == {
        "g1": "applied",
        "g2": "pending",
        "g3": "applied",
    }
