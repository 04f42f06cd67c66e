"""What a correcting run has besides: items that are inserted, edited, broken, mended, removed and expired.

The board follows the items (`corrections` is apply). All records of an item lie in one lineage of shards. Some items
are from before the stream, and a back-fill counts them at any moment; some rows refuse updates for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from consumer.domain.leases import TRIM_HORIZON, Lease, Shard
from consumer.domain.records import Corrections, Entry, Fault, Game, Ignored, Rules, item_of
from consumer.worker.calls import Call
from tests.simulation.correction_invariants import Invariants, worth, worth_of_image
from tests.simulation.dice import PlannedEvents
from tests.simulation.item_book import Book, Worth
from tests.simulation.keyed import BIG, DISPUTED_TIMESTAMP, PLAYER_ATTRIBUTE, PLAYERS
from tests.simulation.ledger_invariants import Violation
from tests.simulation.scale import FAULT_SECONDS
from tests.support.fakes.tables import Score

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

RULES: Final = Rules(corrections=Corrections.APPLY)
NEWER_RULES: Final = replace(RULES, max_future_seconds=864_000)
"""Those of a newer release: it takes more images for games."""
BAD: Final[Sequence[dict[str, Any]]] = ({"score": {"S": "many"}}, {"score": None}, {"timestamp": {"S": "yesterday"}})
"""What makes an image no game. None: the attribute is missing."""
FUTURE: Final[dict[str, Any]] = {"timestamp": {"S": DISPUTED_TIMESTAMP}}
"""What makes an image no game for the older release."""
NO_PLAYER: Final[dict[str, Any]] = {PLAYER_ATTRIBUTE: {"N": "7"}}
TIME_TO_LIVE: Final = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
MOST_ITEMS: Final = 3
"""Of each player."""


@dataclass
class Item:
    """An item of the source table. `image` None: there is none now. `log`: its images, with when they were written."""

    key: dict[str, Any]
    player: str
    image: dict[str, Any] | None = None
    log: list[tuple[float, dict[str, Any] | None]] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)
    filled: bool = False


class Correcting(PlannedEvents):
    """The correcting flavour of a run, keyed or not."""

    def __init__(self, simulation: Simulation, invariants: Invariants) -> None:
        super().__init__(simulation, simulation.dice.source("correcting"))
        random = self._plans = self.random
        self.book = Book(self._base, invariants.states)
        self._invariants = invariants
        self._bad = random.choice((0.1, 0.25, 0.45))
        self._moves = random.choice((0.0, 0.2, 0.5)) if simulation.keyed is None else 0.0
        self._sickness = random.choice((0, 3, 10, 20))
        self._sick_ever: set[str] = set()
        self._released = random.choice((0.0, 0.7, 0.95)) if simulation.start == TRIM_HORIZON else 0.0
        self._drawn: dict[str, Rules] = {}
        players = [*random.sample(PLAYERS[:4], random.choice((2, 3, 4))), *([BIG] if random.random() < 0.3 else [])]
        names = [(player, f"i{at}") for player in players for at in range(random.randint(1, MOST_ITEMS))]
        self.items: dict[str, Item] = {}
        for player, name in names:
            key = {"itemId": {"S": name if simulation.keyed is not None else f"{player}-{name}"}}
            if simulation.keyed is not None:
                key[PLAYER_ATTRIBUTE] = {"S": player}
            self.items[f"{player}/{name}"] = Item(key, player)
        self._by_text = {item_of(each.key): each for each in self.items.values()}
        for item in self.items.values():
            if random.random() < 0.3:
                bad = random.random() < 0.3
                item.image = self._image(item, bad=bad)
                item.log.append((0.0, item.image))
        invariants.correcting = self

    def plan(self) -> None:
        """Plans back-fills, and rows that refuse updates for a while."""
        for name in self.items:
            self._at(f"back-fill of {name}", lambda name=name: self._back_fill(name))
        for _ in range(self._sickness):
            self._at("row refuses", self._refuse)
        if self._released:
            at = self._plans.uniform(3, 14)
            self._simulation.operators.plan_accept("op accept", NEWER_RULES, at)

    def _at(self, what: str, action: Any) -> None:
        self.plan_event(f"correcting {what}", self._plans.uniform(1, FAULT_SECONDS), action)

    # --- releases ---

    def rules_of(self, owner: str) -> Rules:
        """The rules by which this worker reads: after a release older and newer workers are at work together."""
        if owner not in self._drawn:
            newer = NEWER_RULES in self._simulation.tables.accepted.entries
            chance = self._simulation.dice.source(f"rules of {owner}").random()
            late = self._simulation.now >= FAULT_SECONDS
            self._drawn[owner] = NEWER_RULES if newer and (late or chance < 0.5) else RULES
            self._simulation.happened["item: a worker of the newer release"] += self._drawn[owner] is NEWER_RULES
        return self._drawn[owner]

    def acts(self, call: Call) -> None:
        """A call of a worker takes effect: what it writes was read by its rules."""
        lease = getattr(call, "lease", None)
        if isinstance(lease, Lease):
            self._invariants.records.rules = self.rules_of(lease.owner)

    def operators_rules(self) -> Rules:
        """Those that were accepted last."""
        return NEWER_RULES if NEWER_RULES in self._simulation.tables.accepted.entries else RULES

    def needs_newer(self) -> bool:
        """Whether shards may wait for a worker of the newer release, and none lives."""
        living = [each.rules for each in self._simulation.workers if each.alive]
        return NEWER_RULES in self._simulation.tables.accepted.entries and NEWER_RULES not in living

    # --- items ---

    def write(self, *, bad: bool | None = None) -> None:
        """One item is written or removed. `bad`: whether the new image is no game; None: perhaps."""
        random = self._simulation.dice.source(f"item {self._simulation.now:.6f}")
        found = [(item, home) for item in self.items.values() if (home := self._home(item)) is not None]
        if not found:
            return
        item, home = random.choice(found)
        chance, spoiled = random.random(), random.random() < self._bad if bad is None else bad
        event, new, user = "INSERT" if item.image is None else "MODIFY", None, None
        if item.image is not None and chance > 0.65 and bad is None:
            event, user = "REMOVE", TIME_TO_LIVE if chance > 0.85 else None
        elif item.image is not None and chance < 0.08 and bad is None:
            new = {**item.image, "note": {"S": f"{random.random():.4f}"}}
        else:
            self.random = random
            new = self._image(item, bad=spoiled)
        streams = self._simulation.streams
        streams.write(home, new or {}, event, item.key, old=item.image, user=user)
        item.image = new
        item.log.append((float(int(self._simulation.unix_now())), new))
        happened = self._simulation.happened
        happened[
            "item: " + ("expired" if user else {"INSERT": "inserted", "MODIFY": "edited"}.get(event, "removed"))
        ] += 1

    def _image(self, item: Item, *, bad: bool) -> dict[str, Any]:
        random = self.random
        player = item.player
        if random.random() < self._moves:
            player = random.choice([each for each in (*PLAYERS[:4], BIG) if each != BIG or player == BIG])
        score = random.choice(("9e125", "5e125", "-9e125")) if player == BIG else str(random.randrange(-500, 1000) / 4)
        date = f"2026-0{random.randrange(1, 7)}-1{random.randrange(10)}"
        image: dict[str, Any] = {PLAYER_ATTRIBUTE: {"S": player}, "score": {"N": score}, "timestamp": {"S": date}}
        if bad:
            of_kind = [FUTURE] if item.log and random.random() < self._released else BAD
            image |= random.choice(of_kind if self._simulation.keyed is not None else [*of_kind, NO_PLAYER])
        return {name: value for name, value in image.items() if value is not None}

    def _home(self, item: Item) -> str | None:
        """The open shard of the newest stream that has the item's records; None: it has none yet."""
        stream = self._simulation.streams.newest
        home = item.homes.get(stream.arn)
        while home is None or stream.shards[home].closed:
            below = [each.shard_id for each in stream.shards.values() if each.parent == home]
            fitting = [each for each in below if self._may_live(item, Shard(stream.arn, each))]
            if not fitting:
                return None
            random = self._simulation.dice.source(f"home of {item_of(item.key)} under {home}")
            home = item.homes[stream.arn] = random.choice(fitting)
        return home

    def _may_live(self, item: Item, shard: Shard) -> bool:
        keyed = self._simulation.keyed
        return keyed is None or item.player in keyed.players_of(shard)

    # --- what was there before counting began ---

    def _base(self, text: str) -> Worth | None:
        item = self._by_text[text]
        starts = self._simulation.tables.stream_starts
        start = next(iter(starts.values())).start_time if starts else None
        before = [image for at, image in item.log if at == 0.0 or (start is not None and at < start)]
        if not before or before[-1] is None:
            return None
        try:
            return worth_of_image(before[-1], self._simulation.unix_now(), RULES)
        except Fault:
            return None

    def _back_fill(self, name: str) -> None:
        """Counts what the stream does not: only after the start, and once."""
        item, tables = self.items[name], self._simulation.tables
        start = next(iter(tables.stream_starts.values()), None)
        if item.filled or start is None or (start.start_time or 0.0) > self._simulation.unix_now() - 1:
            return
        base = self._base(item_of(item.key))
        row = tables.board.get(base.player) if base is not None else None
        if base is None or base.player == BIG or (row is not None and row.uncountable):
            return
        item.filled = True
        before = row or Score(0, Decimal(0), None)
        date = max(before.date or "", base.date)
        tables.board[base.player] = replace(before, games=before.games + 1, total=before.total + base.score, date=date)
        self._simulation.happened["item: back-filled"] += 1
        self._simulation.note("outside", f"back-fills {name}")
        self.book.fill(item_of(item.key))
        if self._simulation.keyed is not None:
            self._simulation.keyed.note_rows()
        self._invariants.compare({base.player})

    # --- rows that refuse updates ---

    def _refuse(self) -> None:
        """The row of one player, whose total is no number for a while, refuses updates."""
        board = self._simulation.tables.board
        players = sorted(player for player, row in board.items() if not row.wrong)
        if len(players) < 2:
            return
        player = self.random.choice(players)
        board[player].wrong["totalScore"] = "unknown"
        self._sick_ever.add(player)
        self._simulation.happened["a row refuses updates"] += 1
        self._simulation.note("outside", f"spoils the row of {player}")
        self._simulation.at(self._simulation.now + self.random.uniform(0.2, 4), lambda: self._mend(player))

    def _mend(self, player: str) -> None:
        self._simulation.tables.board[player].wrong.clear()
        self._simulation.note("outside", f"mends the row of {player}")

    def heal(self) -> None:
        """Every row takes updates again."""
        for row in self._simulation.tables.board.values():
            row.wrong.clear()

    def check_refusal(self, entry: Entry, key: dict[str, Any]) -> None:
        """A good record is poison only if a row has refused it."""
        assert not isinstance(entry, Ignored)
        players = {entry.player} if isinstance(entry, Game) else set(getattr(entry, "players", ()))
        state = self.book.items.get(item_of(key))
        if state is not None and state.life.counted is not None:
            players.add(state.life.counted.player)
        if BIG not in players and not players & self._sick_ever:
            raise Violation("only what is refused alone is poison", f"{entry}")
        self._simulation.happened["item: refused by a row"] += 1

    # --- what the tables hold ---

    def found_rows(self) -> dict[str, tuple[int | None, Worth | None]]:
        """The index rows: number of the record (None: re-driven), what is counted."""
        return {
            row.item: (
                int(row.record.sequence_number) if row.record is not None else None,
                worth(row.counted) if row.counted is not None else None,
            )
            for row in self._simulation.tables.index_rows.values()
        }

    def found_heads(self) -> dict[int, tuple[str, Worth | None, bool]]:
        """The heads: state, what stays counted, whether that is said."""
        found = {}
        for (_, number), head in self._simulation.tables.quarantine.items():
            kept = head.kept
            counted = worth(kept.counted) if kept is not None and kept.counted is not None else None
            found[int(number)] = (head.state, counted, kept is not None)
        return found

    def heads_stored(self) -> int:
        """How many heads there are."""
        return len(self._simulation.tables.quarantine)

    def end(self) -> None:
        """All is drained: what there is is what the items say."""
        self._invariants.compare(set(self.book.sums))
        self._simulation.happened.update({f"item: {what}": count for what, count in self.book.happened.items()})
