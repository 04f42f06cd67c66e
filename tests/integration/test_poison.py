"""Poison through `consumer run`: in quarantine with its reason and as it came; its neighbours counted."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from consumer.aws.commits import DynamoCommits
from consumer.aws.items import lease_item
from consumer.aws.quarantine import DynamoQuarantine
from consumer.domain.cut import cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, TableNames
from consumer.domain.records import Reason, Rules, poison
from consumer.domain.replies import Committed
from tests.support import builders
from tests.support.builders import plain_rows
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, is_commit
from tests.support.processes.game import Item
from tests.support.processes.poison import KINDS, STORED, Matches, assert_same, incompressible, kinds_of

HEAD_BYTES = 1024
"""What a head row may take, so that a listing of thousands is cheap."""


@pytest.fixture
def matches(engine: TableEngine) -> Iterator[Matches]:
    with Matches(engine) as matches:
        yield matches


def consume(game: Game, *, window_seconds: float = 0.5) -> None:
    """One worker's life, in which what is there now is one unit at first."""
    worker = game.worker(batch_window_seconds=str(window_seconds))
    game.wait_until_consumed()
    assert worker.terminate().code == 0


def test_every_kind_of_wrong_record(matches: Matches) -> None:
    longest = "é" * 1024
    items = [matches.good(longest)]
    for kind in KINDS:
        items += [matches.good("neighbour"), matches.poisoned("neighbour", kind), matches.good(f"next to {kind}")]
    big = matches.condemned(matches.make("neighbour", timestamp="yesterday"), "timestamp_invalid")
    big["replay"] = incompressible()
    matches.put([*items, big, matches.good("neighbour"), matches.good(longest)])
    consume(matches)
    matches.assert_exact()

    entries = matches.entries()
    parts = sorted(int(entry["parts"]["N"]) for entry in entries.values())
    assert parts == [1] * len(KINDS) + [2]
    assert max(len(str(entry)) for entry in entries.values()) < HEAD_BYTES
    named = [entry["playerId"]["S"] for entry in entries.values() if "playerId" in entry]
    assert named == ["neighbour"] * len([kind for kind in KINDS if "playerId" not in KINDS[kind].changes] + [big])


def test_every_record_that_the_database_refuses(matches: Matches) -> None:
    """Twice: in the second batch these players are known to have been refused, or good again."""
    kinds = kinds_of(matches.engine)
    for kind in kinds:
        matches.store(kind, kind)
    worker = matches.worker(batch_window_seconds="0.5")
    for _ in range(2):
        items: list[Item] = []
        for kind in kinds:
            items += [matches.good("neighbour"), matches.good(f"next to {kind}")]
            if score := STORED[kind].good:
                items += [matches.good(kind, score), matches.refused(kind, kind), matches.good(kind, score)]
            else:
                items += [
                    matches.refused(kind, kind),
                    matches.refused(kind, kind) | {"replay": incompressible(200_000)},
                ]
        big = matches.refused(kinds[0], kinds[0]) | {"replay": incompressible()}
        matches.put([*items, big, matches.good("neighbour"), matches.poisoned("neighbour", "no score")])
        matches.wait_until_consumed()
    assert worker.terminate().code == 0
    matches.assert_exact()


def test_a_record_of_twice_390_kilobytes(engine: TableEngine) -> None:
    """A poison record has one image in life; were there one with both, it would be kept whole too."""
    with Game(engine) as game:
        names = (game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
        lease = builders.lease()
        row = LeaseRow(lease.shard, lease.owner, lease.epoch, TRIM_HORIZON)
        game.client.put_item(TableName=names[0], Item=lease_item(row))
        came = [_wire_with_both_images(position) for position in range(1, 6)]
        waiting = [poison(wire, Reason.SCORE_TYPE, "score is wrong", Rules()) for wire in came]
        limits = Limits(size_bytes=2_500_000) if engine.name == "ministack" else Limits()  # there base64 counts
        checkpoint, units = TRIM_HORIZON, 0
        while waiting:
            unit = cut(waiting, checkpoint, limits, builders.CREATED)
            assert (
                DynamoCommits(game.client, TableNames(*names)).commit(lease, unit, plain_rows(unit), fills_gap=False)
                == Committed()
            )
            del waiting[: unit.records]
            checkpoint, units = unit.last, units + 1
        assert units > 1, "together they are larger than a transaction may be"

        quarantine = DynamoQuarantine(game.client, TableNames(quarantine=game.tables["quarantine"]), Event())
        kept = {entry.sequence_number: quarantine.record(entry) for entry in quarantine.entries()}
        assert kept.keys() == {wire["dynamodb"]["SequenceNumber"] for wire in came}
        for wire in came:
            number = wire["dynamodb"]["SequenceNumber"]
            assert_same(kept[number], wire, number)
        (first, *_) = quarantine.entries()
        assert first.parts > 2


def _wire_with_both_images(position: int) -> Item:
    """As it comes over the wire: a binary attribute is base64 there."""
    wire = builders.wire(position)
    for image in ("NewImage", "OldImage"):
        replay = b64encode(incompressible()["B"]).decode()
        wire["dynamodb"][image] = {"playerId": {"S": "foo"}, "score": {"S": "many"}, "replay": {"B": replay}}
    return wire


def test_a_late_game_never_moves_the_date_back(matches: Matches) -> None:
    """Dates are in UTC, whatever zone a game's time is in, in whatever order games arrive."""
    worker = matches.worker(poll_interval_seconds="0.05")
    steps = [
        (["2026-03-09T12:00:00Z"], "2026-03-09"),
        (["2026-03-10T23:30:00-01:00"], "2026-03-11"),
        (["2026-03-10T23:59:59Z", "2026-01-01"], "2026-03-11"),
        (["2026-03-12T00:30:00+01:00"], "2026-03-11"),
        (["2026-03-11", "2026-03-12 00:00"], "2026-03-12"),
        (["2025-12-31T23:59:59.999999999-23:59"], "2026-03-12"),
        (["2026-03-13T00:00:00+00:01", "2026-03-12T12:00", "2026-03-13T00:00Z"], "2026-03-13"),
    ]
    for timestamps, date in steps:
        matches.put([matches.good("foo", timestamp=timestamp) for timestamp in timestamps])
        matches.wait_until_consumed()
        assert matches.board()["foo"].date == date, timestamps
    matches.assert_exact()
    assert worker.terminate().code == 0


# --- a kill wherever the unit is cut ---


@contextmanager
def six_games(url: str, overflow_at: int = 4) -> Iterator[tuple[Matches, Proxy]]:
    """Five good games and an overflow of one player, which will be one unit. ministack never refuses a sum."""
    kind = "past 38 digits"
    score = STORED[kind].good
    with Matches(TableEngine("dynamodb-local", url)) as matches, Proxy(url) as proxy:
        matches.store("foo", kind)
        matches.put(
            [
                matches.refused("foo", kind) if position == overflow_at else matches.good("foo", score)
                for position in range(6)
            ]
        )
        yield matches, proxy


@pytest.mark.proof
def test_five_good_games_and_an_overflow(dynamodb_local_url: str) -> None:
    """A worker is killed at each transaction of the narrowing, which arrives after its death.

    What never arrives leaves the same behind as a kill at the transaction before.
    """
    with six_games(dynamodb_local_url) as (matches, proxy):
        matches.worker(proxy)
        matches.wait_until_consumed()
        matches.assert_exact()
        commits = proxy.matching(is_commit)
    applied = [call.applied for call in commits]
    print(f"{len(commits)} transactions, {sum(applied)} of them applied: {applied}")
    assert not applied[0], "all six were one unit"
    assert sum(applied) >= 3
    for number in range(len(commits)):
        with six_games(dynamodb_local_url) as (matches, proxy):
            held = proxy.hold(is_commit, skip=number)
            first = matches.worker(proxy)
            held.wait_caught()
            first.kill()
            held.let_go()
            assert matches.checkpoint() is not None
            matches.worker(proxy)
            matches.wait_until_consumed()
            matches.assert_exact()
