"""Which shards wait for a worker of newer rules, as a worker sees it: states, readiness, and its own number."""

from dataclasses import replace

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import Ledger
from consumer.domain.ports import RulesInUse, WorkerStatus
from consumer.domain.records import Rules
from consumer.worker.status import count_by_state, rules_in_use
from tests.support.builders import row, shard

ACCEPTED = AcceptedRules((Rules(), Rules("points"), Rules()))


def test_the_lowest_number_that_would_do_is_named() -> None:
    rows = tuple(replace(row(number), rules=rules) for number, rules in ((0, 1), (1, 2), (2, 3)))
    ledger = Ledger(rows, (), ACCEPTED)
    assert rules_in_use(ledger, 1, {shard(1), shard(2)}) == RulesInUse(1, 3, (shard(1), shard(2)), 2)
    assert rules_in_use(ledger, 2, {shard(2)}) == RulesInUse(2, 3, (shard(2),), 3)
    assert rules_in_use(ledger, 3, ()) == RulesInUse(3, 3)
    assert rules_in_use(Ledger((), ()), 0, ()) == RulesInUse()


def test_a_waiting_shard_is_not_counted_as_unowned_too() -> None:
    rules = RulesInUse(1, 2, (shard(1),), 2)
    assert count_by_state({}, (), {shard(0), shard(1)}, rules) == {
        "halted": 0,
        "unowned": 1,
        "awaiting_rules": 1,
        "awaiting_stream": 0,
    }


def test_readiness_notes_the_waiting_shards_and_what_they_wait_for() -> None:
    """A note, and no refusal: a worker of older rules is as ready as it can be."""
    status = WorkerStatus(1.0, 86_399.0, {}, 2, (), rules=RulesInUse(1, 2, (shard(0), shard(1)), 2))
    assert status.notes == (
        "rules: 2 shards must wait for a worker of rules 2 or newer, and this one reads by 1; next: `consumer status`",
    )
    assert replace(status, rules=RulesInUse(1, 2)).notes == ()
