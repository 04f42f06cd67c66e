"""Keyed runs in which owners of a shard see the ledger as it was: rows are not read at one time, and leases move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from consumer.domain.leases import LeaseRow, Ledger, Shard
from consumer.worker.calls import Call, Reply
from consumer.worker.ledger_calls import Load
from consumer.worker.shard_calls import LookUpShard
from tests.simulation.dice import PlannedEvents
from tests.simulation.scale import FAULT_SECONDS
from tests.support.fakes import FakeShard

if TYPE_CHECKING:
    from tests.simulation.keyed import Keyed
    from tests.simulation.simulation import Simulation

SHARE: Final = 0.15
"""Of the keyed runs."""
LONGEST_LOAD_SECONDS: Final = 6.0
SLOW_FROM_SECONDS: Final = 5.0
"""Before that all loads are fast, so that the run gets going."""
BEGINNINGS: Final = 2
ENDS: Final = 10
MOST_SHARDS: Final = 24
GAMES_AFTER_END: Final = 4


class OldViews(PlannedEvents):
    """`chosen`: whether the run is one of these. In it few calls fail, but some workers' loads of the ledger take long.

    Siblings share most players. When one of them ends, others have games of its players soon. When a single write gets
    no reply, its shard's lease is often taken soon.
    """

    def __init__(self, simulation: Simulation, keyed: Keyed) -> None:
        super().__init__(simulation, simulation.dice.source("old views"))
        self._keyed = keyed
        self._plans = self.random
        self.chosen = self._plans.random() < SHARE and not simulation.corrects
        self._slow: dict[str, bool] = {}

    # --- the ledger is read ---

    def seconds_more(self, owner: str, call: Call) -> float:
        """How much longer a worker's call takes."""
        if not self.chosen or not isinstance(call, Load | LookUpShard):
            return 0.0
        if not SLOW_FROM_SECONDS < self._simulation.now < FAULT_SECONDS:
            return 0.0
        random = self._simulation.dice.source(f"loads of {owner}")
        if owner not in self._slow:
            self._slow[owner] = random.random() < 0.5
        if not self._slow[owner] or random.random() < 0.3:
            return 0.0
        seconds = random.uniform(0, LONGEST_LOAD_SECONDS)
        return seconds if self._simulation.dice.takes_place(f"{owner} load of {seconds:.3f} s") else 0.0

    def as_scanned(self, call: Call, reply: Reply) -> Reply:
        """The reply that a worker gets: a scan ends later than it begins, which is when the ledger was as given.

        Rows up to some key are as they were when it began, the others as they are now.
        """
        if not self.chosen or not isinstance(call, Load) or not isinstance(reply, Ledger):
            return reply
        now, cut = self._simulation.tables.load(), self._simulation.dice.source("scans").random()
        begun = [row for row in reply.rows if _place(row) < cut]
        self._simulation.happened["rows change during a load"] += reply.rows != now.rows
        rows = (*begun, *(row for row in now.rows if _place(row) >= cut))
        return Ledger(rows, now.stream_starts, (reply if cut > 0.5 else now).accepted)

    # --- what happens meanwhile ---

    def plan(self) -> None:
        """Plans where shards with several players are split, and where such siblings end."""
        if not self.chosen:
            return
        for _ in range(BEGINNINGS):
            self.plan_event("old views: siblings", self._plans.uniform(0.5, 3), self._begin_siblings)
        for _ in range(ENDS):
            self.plan_event("old views: end", self._plans.uniform(5, 18), self._end_sibling)

    def ended(self, shard: Shard) -> None:
        """A worker has ended a shard: games of its players follow in others."""
        if self.chosen and self._simulation.now < FAULT_SECONDS:
            random = self._simulation.dice.source(f"games after {shard}")
            for _ in range(GAMES_AFTER_END):
                at = self._simulation.now + random.uniform(0, 0.8)
                self.plan_event(f"old views: game after {shard}", at, lambda: self._write_after(shard))

    def no_reply(self, shard: Shard) -> None:
        """A single write of the shard gets no reply: often its sender has lost the lease when it notices."""
        random = self._simulation.dice.source("thefts without a reply")
        if self.chosen and self._simulation.now < FAULT_SECONDS and random.random() < 0.7:
            self._simulation.interventions.plan_theft(shard, self._simulation.now + random.uniform(0.02, 0.9))

    def _begin_siblings(self) -> None:
        many = [each for each in self._open() if len(self._players_of(each)) > 1]
        if many:
            self._simulation.happened["siblings begin"] += 1
            self._simulation.stream_events.end(self.random.choice(many).shard_id, 2)

    def _end_sibling(self) -> None:
        """A shard ends that has set a player's mark, and the lease of one with the same players is taken soon."""
        simulation, random = self._simulation, self.random
        marked = {score.mark.shard for score in simulation.tables.board.values() if score.mark is not None}
        opened = self._open()
        ending = [
            (each, sharing)
            for each in opened
            if str(self._name(each)) in marked
            and (sharing := [other for other in opened if other is not each and self._share_players(each, other)])
        ]
        if ending and len(simulation.streams.shards) <= MOST_SHARDS - 2:
            simulation.happened["a sibling ends"] += 1
            shard, sharing = random.choice(ending)
            beside, at = self._name(random.choice(sharing)), simulation.now + random.uniform(0, 1.2)
            name = self._name(shard)
            self.plan_event(
                f"old views: game beside {name}",
                simulation.now + random.uniform(0, 1.2),
                lambda: self._write_after(name),
            )
            simulation.interventions.plan_theft(beside, at)
            simulation.stream_events.end(shard.shard_id, random.choice((1, 2)))

    def _share_players(self, one: FakeShard, other: FakeShard) -> bool:
        return bool(self._players_of(one) & self._players_of(other))

    def _write_after(self, ended: Shard) -> None:
        """A game of a player whose mark names the shard that has ended, in one that does not descend from it."""
        board = self._simulation.tables.board
        marked = {name for name, score in board.items() if score.mark is not None and score.mark.shard == str(ended)}
        found = [
            (each.shard_id, player)
            for each in self._open()
            if not self._descends(each, ended)
            for player in sorted(self._players_of(each) & marked)
        ]
        if found:
            self._simulation.happened["game after a sibling's end"] += 1
            self._simulation.stream_events.write_game(*self.random.choice(found))

    def _open(self) -> list[FakeShard]:
        """Shards of the newest stream that have not ended, and are listed."""
        return [each for each in self._simulation.streams.shards.values() if not each.closed and not each.hidden]

    def _name(self, shard: FakeShard) -> Shard:
        return Shard(self._simulation.streams.arn, shard.shard_id)

    def _players_of(self, shard: FakeShard) -> set[str]:
        """Those with ordinary games."""
        return set(self._keyed.ordinary_players_of(self._name(shard)))

    def _descends(self, shard: FakeShard, ancestor: Shard) -> bool:
        shards = self._simulation.streams.shards
        above: FakeShard | None = shard
        while above is not None and self._name(above) != ancestor:
            above = shards.get(above.parent or "")
        return above is not None


def _place(row: LeaseRow) -> float:
    """Where a scan meets the row: from 0 to 1."""
    return crc32(str(row.shard).encode()) / 2**32
