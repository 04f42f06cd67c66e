"""Bugs that keep coming back in consumers of streams, each as a test over whole workers: leases and members."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.aws.membership import DynamoMembership
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Vouch
from consumer.worker.calls import Beat, Claim, Commit
from consumer.worker.perform import perform
from consumer.worker.state import State
from tests.builders import ME, OTHER, shard
from tests.crews import Crew, alone
from tests.talks import NO_ANSWER, TTL, kinds

THIRD = "w3/c"
PAUSE = 4 * TTL


class Client:
    """A DynamoDB client that takes down what is written."""

    def __init__(self) -> None:
        self.keys: list[Any] = []

    def update_item(self, **request: Any) -> dict[str, Any]:
        self.keys.append(request["Key"])
        return {}


def test_a_beat_that_races_a_checkpoint_touches_neither_it_nor_the_ownership() -> None:
    """Elsewhere: beats renew the lease by writing the whole row as it was read, over a commit or another's claim."""
    crew, hand = alone(0)
    hand.held = Beat
    crew.serve(TTL / 2)
    late = hand.call(Beat)
    crew.write(0)
    crew.serve(1.0)
    stored = replace(crew.row(0), owner=OTHER, epoch=crew.row(0).epoch + 1)
    crew.tables.rows[shard(0)] = stored
    crew.tables.workers.pop(ME)
    perform(late, hand.world)
    assert crew.row(0) == stored
    assert ME not in crew.tables.workers, "who was taken out comes back by joining, not by a late beat"
    client = Client()
    DynamoMembership(client, "leases").beat(ME, Vouch(1), joining=True, bump=True)
    assert client.keys == [{"leaseKey": {"S": "members"}}]


@pytest.mark.parametrize("nobody_alive", [False, True], ids=["worker alive", "nobody alive"])
def test_a_lease_row_deleted_by_hand_halts_its_shard_alone(nobody_alive: bool) -> None:
    """Elsewhere: the row is made again at the horizon or at LATEST: counted twice, or lost, and nobody is told."""
    crew, hand = alone(0, 1)
    crew.write(0, 1)
    crew.serve()
    if nobody_alive:
        crew.kill(ME)
    del crew.tables.rows[shard(0)]
    if nobody_alive:
        hand = crew.hire(OTHER)
    crew.write(0, 1)
    crew.serve(200.0, step=0.5)
    assert crew.counted() == [0, 1, 3]
    assert list(crew.tables.rows) == [shard(1)]
    assert hand.not_ready.startswith(f"shard {shard(0)} is halted: its row is missing from the lease table")


@pytest.mark.parametrize("moved_on", [False, True], ids=["claimed anew", "released"])
def test_a_claim_whose_reply_was_lost_leaves_no_shard_to_nobody(moved_on: bool) -> None:
    """Elsewhere: the row says that it is ours, we do not know, and as long as we beat nobody reads the shard."""
    crew = Crew(ME)
    crew.grow(0, 1)
    hand = crew.hands[ME]
    hand.held = Claim
    crew.serve()
    for claim in [call for call in hand.under_way if isinstance(call, Claim)]:
        perform(claim, hand.world)
        hand.under_way.remove(claim)
        hand.tell(claim, NO_ANSWER)
    hand.held = None
    assert crew.owners() == {0: ME, 1: ME}
    assert not hand.machine.shards
    if moved_on:
        crew.hire(OTHER)
    crew.write(0, 1)
    crew.serve(10.0)
    assert crew.owners() == {0: ME, 1: OTHER if moved_on else ME}
    assert crew.exact


def test_an_emptied_lease_table_halts_the_running_and_refuses_the_starting() -> None:
    """Elsewhere: an empty lease table is a first start, and 24 hours are counted a second time."""
    crew, hand = alone(0)
    crew.write(0)
    crew.serve()
    crew.tables.rows.clear()
    crew.tables.pins.clear()
    crew.tables.workers.clear()
    crew.write(0)
    crew.serve()
    assert hand.machine.shards[shard(0)].state is State.HALTED
    assert "is halted" in hand.not_ready
    with pytest.raises(UnsafeRefused):
        crew.serve(70.0)
    crew.kill(ME)
    crew.hire(OTHER)
    with pytest.raises(UnsafeRefused) as refused:
        crew.serve()
    assert refused.value.exit_code == 4
    assert crew.counted() == [0]
    assert not crew.tables.rows


def test_a_worker_that_wakes_from_a_pause_takes_nobody_for_dead() -> None:
    """Elsewhere: the machine sleeps, and whoever wakes first finds all others overdue and takes their shards."""
    crew = Crew(ME, OTHER)
    crew.grow(0, 1)
    crew.serve(10.0)
    assert crew.owners() == {0: ME, 1: OTHER}
    first, second = crew.hands.values()
    first.paused = second.paused = True
    crew.write(0, 1)
    crew.serve(PAUSE)
    first.paused = False
    crew.serve(TTL * 0.9)
    second.paused = False
    assert crew.owners() == {0: ME, 1: OTHER}
    assert crew.serve().exact
    assert list(first.machine.shards) == [shard(0)]


def test_a_worker_that_was_replaced_while_it_was_paused_is_fenced() -> None:
    """Elsewhere: a zombie's last write is counted beside that of its successor."""
    crew = Crew(ME, OTHER)
    crew.grow(0, 1)
    crew.serve(10.0)
    zombie, successor = crew.hands.values()
    zombie.held = Commit
    crew.write(0, 1)
    crew.serve(1.0)
    zombie.paused = True
    successor.held = Commit
    crew.serve(PAUSE)
    assert crew.owners() == {0: OTHER, 1: OTHER}
    zombie.paused, zombie.held = False, None
    crew.serve(0.1)
    assert crew.counted() == [1], "its commit has come too late, although its successor has not committed yet"
    assert shard(0) not in zombie.machine.shards
    assert not {"ShardRewound", "ShardHalted"} & {*kinds(zombie.told)}, "it drops the shard quietly"
    successor.held = None
    crew.serve(10.0)
    assert sorted(map(str, crew.owners().values())) == [ME, OTHER]
    crew.write(0, 1)
    assert crew.serve().exact


@pytest.mark.parametrize("dying", [ME, OTHER, THIRD])
def test_any_worker_may_die_and_the_others_take_over_within_a_ttl(dying: str) -> None:
    """Elsewhere: shards hang on a leader, or on leases that are renewed and stolen one by one, for minutes."""
    crew = Crew(ME, OTHER, THIRD)
    crew.grow(*range(6))
    crew.serve(10.0)
    assert sorted(map(str, crew.owners().values())) == sorted([ME, OTHER, THIRD] * 2)
    crew.hands[dying].held = Commit
    crew.write(*range(6))
    crew.serve(0.5)
    crew.kill(dying)
    crew.write(*range(6))
    crew.serve(TTL * 1.5)
    crew.write(*range(6))
    assert crew.serve(1.0).exact
    assert sorted(map(str, crew.owners().values())) == sorted([*crew.hands] * 3)
