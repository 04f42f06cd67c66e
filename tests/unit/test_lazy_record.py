"""A lazy record is as good as the record itself."""

import json

from consumer.aws.streams import decoded_page
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TableNames
from consumer.domain.records import Correction, Game, Poison, Reason, Rules, unpack
from consumer.domain.replies import Done, Page
from consumer.worker.calls import Ports, execute
from consumer.worker.shard_calls import PAGE_RECORDS, Examine, Read
from tests.support.builders import lease, wire
from tests.support.fakes import FakeStreams, FakeTables

RECORDS = [wire(1, player="é\u2028"), wire(2, player="bar"), wire(3, score=None)]
BODY = json.dumps({"Records": RECORDS, "NextShardIterator": "next"}).encode()


class Served(FakeStreams):
    def __init__(self, body: bytes) -> None:
        super().__init__(lambda: 0.0, "arn")
        self._body = body

    def poll(self, iterator: str, limit: int, rules: Rules, start_time: float | None) -> Page:
        assert (iterator, limit) == ("i", PAGE_RECORDS)
        return decoded_page(self._body, rules, start_time)


class Refusing(FakeTables):
    def examine(self, game: Game | Correction) -> tuple[Reason, str] | None:
        return (Reason.TOTAL_TYPE, "the stored total is text") if game.player == "bar" else None


def ports(body: bytes = BODY) -> Ports:
    tables = Refusing(TableNames(), ())
    return Ports(Served(body), tables, tables, tables, Rules())


def test_games_of_a_page_have_their_records() -> None:
    reply = execute(Read(lease(), "i", "1", None), ports())
    assert isinstance(reply, Page)
    games = [entry for entry in reply.entries if isinstance(entry, Game)]
    assert [dict(game.wire) for game in games] == RECORDS[:2]
    assert [len(game.wire) for game in games] == [len(RECORDS[0])] * 2
    assert games[0].wire == RECORDS[0]


def test_a_game_that_turns_out_to_be_poison_is_packed_whole() -> None:
    reply = execute(Read(lease(), "i", "1", None), ports())
    assert isinstance(reply, Page)
    games = [entry for entry in reply.entries if isinstance(entry, Game)]
    verdicts = [execute(Examine(lease(), game), ports()) for game in games]
    assert verdicts[0] == Done()
    assert isinstance(verdicts[1], Poison)
    assert unpack(verdicts[1].parts) == RECORDS[1]


def test_a_skipped_part_that_cannot_be_parsed_fails_when_it_is_needed() -> None:
    """A number of so many digits is JSON, but Python does not read it."""
    record = json.dumps(wire(1)).replace("{", '{"userIdentity":' + "9" * 5_000 + ",", 1)
    reply = execute(Read(lease(), "i", "1", None), ports(f'{{"Records":[{record}]}}'.encode()))
    assert isinstance(reply, Page)
    (game,) = reply.entries
    assert isinstance(game, Game)
    verdict = execute(Examine(lease(), game, (Reason.REFUSED, "why")), ports())
    assert isinstance(verdict, CallFailed)
    assert verdict.kind is FailureKind.MALFORMED
