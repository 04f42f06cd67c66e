"""What is kept of a game is as good as the record itself."""

import json

from consumer.aws.records import decoded_page
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Done, Page
from consumer.domain.parcel import unpack
from consumer.domain.records import Game, Poison, Reason, Rules
from consumer.worker.calls import PAGE_RECORDS, Examine, Read
from consumer.worker.perform import World, perform
from tests.builders import lease, wire
from tests.fakes import FakeStreams, FakeTables, Names

RECORDS = [wire(1, player="é\u2028"), wire(2, player="bar"), wire(3, score=None)]
BODY = json.dumps({"Records": RECORDS, "NextShardIterator": "next"}).encode()


class Served(FakeStreams):
    def __init__(self, body: bytes) -> None:
        super().__init__(lambda: 0.0, "arn")
        self._body = body

    def poll(self, iterator: str, limit: int, rules: Rules, floor: float | None) -> Page:
        assert (iterator, limit) == ("i", PAGE_RECORDS)
        return decoded_page(self._body, rules, floor)


class Refusing(FakeTables):
    def examine(self, game: Game) -> tuple[Reason, str] | None:
        return (Reason.TOTAL_TYPE, "the stored total is text") if game.player == "bar" else None


def world(body: bytes = BODY) -> World:
    tables = Refusing(Names(), ())
    return World(Served(body), tables, tables, tables, Rules())


def test_games_of_a_page_keep_their_records() -> None:
    reply = perform(Read(lease(), "i", "1", None), world())
    assert isinstance(reply, Page)
    games = [entry for entry in reply.entries if isinstance(entry, Game)]
    assert [dict(game.wire) for game in games] == RECORDS[:2]
    assert [len(game.wire) for game in games] == [len(RECORDS[0])] * 2
    assert games[0].wire == RECORDS[0]


def test_a_game_that_turns_out_to_be_poison_is_packed_whole() -> None:
    reply = perform(Read(lease(), "i", "1", None), world())
    assert isinstance(reply, Page)
    games = [entry for entry in reply.entries if isinstance(entry, Game)]
    verdicts = [perform(Examine(lease(), game, "", final=False), world()) for game in games]
    assert verdicts[0] == Done()
    assert isinstance(verdicts[1], Poison)
    assert unpack(verdicts[1].parts) == RECORDS[1]


def test_what_was_skipped_and_cannot_be_parsed_is_trouble_when_it_is_asked_for() -> None:
    """A number of so many digits is JSON, but Python does not read it."""
    record = json.dumps(wire(1)).replace("{", '{"userIdentity":' + "9" * 5_000 + ",", 1)
    reply = perform(Read(lease(), "i", "1", None), world(f'{{"Records":[{record}]}}'.encode()))
    assert isinstance(reply, Page)
    (game,) = reply.entries
    assert isinstance(game, Game)
    verdict = perform(Examine(lease(), game, "why", final=True), world())
    assert isinstance(verdict, Trouble)
    assert verdict.kind is TroubleKind.MALFORMED
