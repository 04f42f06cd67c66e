"""Invariants of rules and their numbers: a number means one set of rules, and never goes down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.leases import Adoption, Lease, LeaseRow, Shard
from consumer.domain.records import Rules
from tests.simulation.ledger_invariants import LedgerInvariants, Violation
from tests.support.fakes import FakeTables

if TYPE_CHECKING:
    from tests.simulation.operators import Operators

PLAYER: Rules = Rules()


class RuleInvariants:
    """Follows the numbers in the rows of shards, and by which rules each record is read.

    `writer`: the lease under which the call was sent that takes effect now. `rules_of`: those of a worker. What one
    writes that lost its lease, and does not know it, may be read by older rules than records before it.
    """

    def __init__(
        self, ledger: LedgerInvariants, tables: FakeTables, rules_of: Callable[[str], Rules], operators: Operators
    ) -> None:
        self.writer: Lease | None = None
        self.by_zombies = self.claims = self.rises = 0
        self._ledger = ledger
        self._tables = tables
        self._rules_of = rules_of
        self._highest: dict[Shard, int] = {}
        self.read_by: dict[int, Rules] = {}
        self._numbers: dict[tuple[Shard, str], int] = {}
        ledger.on_ended = self._on_ended
        self._before_claim, self._before_end, self._before_adopt = tables.on_claim, tables.on_end, tables.on_adopt
        tables.on_claim = self._on_claim
        tables.on_end = self._on_end
        tables.on_adopt = self._on_adopt
        self._before_roots = tables.on_create_root_rows
        tables.on_create_root_rows = self._on_create_root_rows
        operators.rule_list.on_accept = self._on_accept
        self._before_place = operators.lease_admin.on_place
        operators.lease_admin.on_place = self._on_place

    def _on_claim(self, before: LeaseRow, claimed: LeaseRow) -> None:
        self._before_claim(before, claimed)
        self.claims += 1
        self.rises += before.rules < claimed.rules
        self._rise(claimed)
        assert claimed.owner is not None
        self._check_meaning(claimed)

    def _check_meaning(self, row: LeaseRow) -> None:
        entries = self._tables.accepted.entries
        assert row.owner is not None
        if not entries:
            return
        if not 0 < row.rules <= len(entries) or entries[row.rules - 1] != self._rules_of(row.owner):
            facts = f"{row.owner} claims {row.shard} as number {row.rules} of {len(entries)}"
            raise Violation("a number means one set of rules", facts)

    def _on_accept(self, before: AcceptedRules, after: AcceptedRules) -> None:
        """The list of accepted rules only grows, by one at a time."""
        if after.entries[:-1] != before.entries:
            facts = f"{len(before.entries)} were accepted, and are not the first of {len(after.entries)}"
            raise Violation("accepted rules stay", facts)

    def _on_create_root_rows(self, rows: tuple[LeaseRow, ...]) -> None:
        self._before_roots(rows)
        self._created(None, rows)

    def _on_end(self, lease: Lease, rows: tuple[LeaseRow, ...]) -> None:
        self._before_end(lease, rows)
        self._created(lease.shard, rows)

    def _on_adopt(self, adoption: Adoption) -> None:
        self._before_adopt(adoption)
        self._created(adoption.into.shard if isinstance(adoption.into, LeaseRow) else None, adoption.rows)

    def _created(self, parent: Shard | None, rows: Sequence[LeaseRow]) -> None:
        for row in rows:
            if parent is not None and row.rules < self._highest.get(parent, 0):
                facts = f"{row.shard} begins with {row.rules}, and {parent} had {self._highest[parent]}"
                raise Violation("a number never goes down", facts)
            self._rise(row)

    def _rise(self, row: LeaseRow) -> None:
        if row.rules < self._highest.get(row.shard, 0):
            facts = f"{row.shard}: {self._highest[row.shard]} -> {row.rules}"
            raise Violation("a number never goes down", facts)
        self._highest[row.shard] = row.rules

    def _on_place(self, seen: LeaseRow | None, before: LeaseRow | None, after: LeaseRow) -> None:
        """A row that is made again keeps its shard from workers of rules that are older than those it was read by."""
        self._before_place(seen, before, after)
        self._rise(after)

    def _on_ended(self, shard: Shard, number: int) -> None:
        """A record was counted, or quarantined: by rules that are not older than those of the player's earlier ones."""
        lease = self.writer
        assert lease is not None
        self.read_by[number] = self._rules_of(lease.owner)
        row = self._tables.rows.get(lease.shard)
        if row is None or (row.owner, row.epoch) != lease[1:]:
            self.by_zombies += 1
            return
        self._check_meaning(row)
        player = str(self._ledger.records.wire(shard, str(number))["dynamodb"].get("Keys"))
        above: Shard | None = shard
        while above is not None:
            if row.rules < self._numbers.get((above, player), 0):
                facts = f"{number} of {shard} by {row.rules}, earlier ones by {self._numbers[above, player]}"
                raise Violation("a player's numbers never go down", facts)
            parent = self._ledger.records.shard(above).parent
            above = Shard(shard.stream_arn, parent) if parent else None
        self._numbers[shard, player] = row.rules


def number_of(accepted: AcceptedRules, rules: Rules) -> int:
    """The number of these rules: their last place in the list; 0: they are not in it."""
    return max((number for number, each in enumerate(accepted.entries, 1) if each == rules), default=0)
