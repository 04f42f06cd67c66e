"""A quarantine filled as a worker fills it, without one: for tests of what people do with it."""

from collections.abc import Iterable, Mapping
from typing import Any

from consumer.aws.commit import DynamoCommits
from consumer.aws.items import lease_item
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.leases import Lease, LeaseRow, Shard
from consumer.domain.outcomes import Committed
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Rules, decode
from tests import builders
from tests.processes.game import Game

OWNER = "nobody/0"


def fill(game: Game, wires: Iterable[Mapping[str, Any]], shard: Shard | None = None) -> None:
    """Commits these records for a shard that has no row yet."""
    lease = Lease(shard or builders.shard(), OWNER, 7)
    names = (game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
    row = LeaseRow(lease.shard, lease.owner, lease.epoch, TRIM_HORIZON)
    game.client.put_item(TableName=names[0], Item=lease_item(row))
    commits = DynamoCommits(game.client, *names)
    waiting = [decode(wire, Rules(), None) for wire in wires]
    checkpoint = TRIM_HORIZON
    while waiting:
        unit = cut(waiting, checkpoint, Limits(actions=40), builders.CREATED)
        assert commits.commit(lease, unit, frozenset(), fills_gap=False) == Committed()
        del waiting[: unit.records]
        checkpoint = unit.last
