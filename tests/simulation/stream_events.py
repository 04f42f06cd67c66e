"""Events of the stream: writes, splits, hidden and trimmed shards, stale listings, a second stream, removed shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from consumer.domain.leases import TRIM_HORIZON, Shard
from consumer.domain.replies import StreamListing
from tests.simulation.dice import PlannedEvents
from tests.simulation.keyed import PLAYER_ATTRIBUTE
from tests.simulation.scale import HIDDEN_SECONDS, LIFE_SECONDS, STALE_LISTING_SECONDS
from tests.support.fakes import FakeShard, FakeStreams

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/GameEvents/stream/"
ARN = TABLE + "2026-01-01T00:00:00.000"
SUCCESSOR_ARN = TABLE + "2026-01-02T00:00:00.000"
RECORDS = 60
MORE_RECORDS = 90
"""In a correcting run."""
SHARDS = 8
ROLL_OVERS = 6
"""In a run that begins with old shards."""
MOST_EMPTY_PAGES = 4
"""In a row, before data: fewer than a worker takes as proof that nothing is there."""
LISTINGS_KEPT = 3
"""A stale listing is one of the last few, and not too old; in a run with `ancient` listings it may be any."""


class StreamEvents(PlannedEvents):
    """Plans what happens to `streams` while faults happen. Every event draws from a source of its own."""

    def __init__(self, simulation: Simulation, streams: FakeStreams) -> None:
        super().__init__(simulation, simulation.dice.source("stream events"))
        self._plans = self.random
        self._streams = streams
        self._numbers: dict[str, int] = {}
        self._big_games = self.random.choice((0, 0, 0.2))
        self._stale = self.random.choice((0, 0, 0.3))
        self._ancient = self.random.random() < 0.1
        self._aged = self.random.random() < 0.4
        self._listings: dict[str, list[StreamListing]] = {}
        self._shown_since: dict[Shard, float] = {}
        """When a shard that was hidden became listed."""
        self._keyed = simulation.keyed
        self._changing = simulation.changing
        self._correcting = simulation.correcting
        self._corrects = simulation.verifying is None or simulation.verifying.corrects
        self._ancient &= simulation.verifying is None
        streams.listing_of = self._listing
        if simulation.keyed is not None and simulation.keyed.views.chosen:
            self._aged = False
            roots = [self.open_shard()]
        else:
            roots = [self.open_shard() for _ in range(self.random.choice((1, 2, 3, 3)))]
        for root in roots[1:]:
            if self.random.random() < 0.8:
                self._hide(root)

    def plan(self, seconds: float) -> None:
        """Plans the events of so many seconds."""
        random = self._plans
        for _ in range(RECORDS if self._correcting is None else MORE_RECORDS):
            self._at("write", 0, seconds * 0.9, self._write)
        for _ in range(random.choice((0, 1, 2, 3, 4))):
            self._at("split", 1, seconds * 0.9, self._split)
        if self._aged:
            for _ in range(ROLL_OVERS):
                self._at("roll over", 0.5, seconds * 0.3, self._roll_over)
        if random.random() < 0.35 and self._correcting is None:
            for _ in range(random.choice((1, 3))):
                self._at("trim", 5, seconds * 1.2, self._trim)
        if random.random() < 0.3:
            self._at("expiry", 5, seconds, self._streams.expire_iterators)
        if random.random() < 0.25:
            self._at("enable again", 3, seconds * 0.8, self._enable_again)
        if random.random() < 0.05 and self._correcting is None:
            self._at("gone", 3, seconds * 0.8, self._remove)
        if random.random() < 0.95:
            for _ in range(80 if self._aged else 20):
                self._at("vanish", 3, seconds * 0.9, self._vanish)

    def open_shard(self, parent: str | None = None) -> FakeShard:
        """Opens a shard. Ids are unique only within a stream."""
        number = self._numbers.get(self._streams.arn, 0)
        self._numbers[self._streams.arn] = number + 1
        shard = self._streams.add_shard(f"shardId-{number:020d}-abcdef12", parent)
        if self._keyed is not None:
            self._keyed.number(shard, sum(self._numbers.values()))
        return shard

    def remove_ancestors(self) -> None:
        """Removes the finished ancestors of removed shards: DynamoDB removes a parent before its children.

        While the ledger has their rows nothing depends on them; an adopted stream would read them again, and wait for
        children that it cannot find.
        """
        rows = self._simulation.tables.rows
        for stream in self._streams.streams.values():
            for shard in reversed(stream.shards.values()):
                parent = stream.shards.get(shard.parent or "")
                if shard.gone and parent is not None:
                    row = rows.get(Shard(stream.arn, parent.shard_id))
                    if row is None or row.finished:
                        parent.trimmed = len(parent.records)
                        parent.gone = True

    def heal(self) -> None:
        """Shows all shards, and ends stale listings."""
        self._stale = 0.0
        for stream in self._streams.streams.values():
            for shard in stream.shards.values():
                shard.hidden = False

    def _at(self, what: str, first: float, last: float, action: Callable[[], None]) -> None:
        self.plan_event(f"stream {what}", self._plans.uniform(first, last), action)

    def _note(self, what: str, sentence: str) -> None:
        self._simulation.happened[what] += 1
        self._simulation.note("stream", sentence)

    def _listing(self, arn: str, fresh: StreamListing) -> StreamListing:
        """The listing that is served: sometimes an older one with the current Date."""
        known = self._listings.setdefault(arn, [])
        known.append(fresh)
        random = self._simulation.dice.source("listings")
        if random.random() >= self._stale:
            return fresh
        self._simulation.happened["stale listing"] += 1
        young = [
            listing for listing in known[-LISTINGS_KEPT:] if fresh.served_at - listing.served_at < STALE_LISTING_SECONDS
        ]
        old = random.choice(known if self._ancient else young)
        return replace(old, served_at=fresh.served_at)

    def _open_shards(self) -> list[str]:
        return [shard.shard_id for shard in self._streams.shards.values() if not shard.closed]

    def _shown(self) -> list[str]:
        """Open shards that may end: a hidden one has just begun."""
        return [shard_id for shard_id in self._open_shards() if not self._streams.shards[shard_id].hidden]

    def _write(self) -> None:
        if self._correcting is not None:
            self._streams.empty_pages = min(MOST_EMPTY_PAGES, self._streams.empty_pages + (self.random.random() < 0.1))
            self._correcting.write()
            return
        random, image = self.random, self._game()
        if random.random() < 0.1:
            image["score"] = {"S": "many"}
        if random.random() < self._big_games:
            image["playerId"], image["score"] = {"S": "big"}, {"N": random.choice(("9e125", "5e125", "-9e125"))}
        event = "MODIFY" if random.random() < 0.1 and self._corrects else "INSERT"
        self._streams.empty_pages = min(MOST_EMPTY_PAGES, self._streams.empty_pages + (random.random() < 0.1))
        self.write(random.choice(self._open_shards()), image, event)

    def write(self, shard_id: str, image: dict[str, object], event: str = "INSERT") -> None:
        """Appends a record; in a keyed run one of a player of that shard, if it has any."""
        if self._changing is not None:
            image = self._changing.image(image)
        if self._keyed is None:
            self._streams.write(shard_id, image, event)
        elif (written := self._keyed.image(Shard(self._streams.arn, shard_id), image)) is not None:
            self._streams.write(shard_id, written, event, {PLAYER_ATTRIBUTE: written[PLAYER_ATTRIBUTE]})

    def end(self, shard_id: str, children: int) -> None:
        """The shard ends, and has so many children."""
        self._end(shard_id, children, hides=0.0)
        self._note("split", f"{shard_id} ends")

    def write_game(self, shard_id: str, player: str) -> None:
        """Appends a game of this player of the shard, in a keyed run."""
        name = {PLAYER_ATTRIBUTE: {"S": player}}
        image = self._game() | name
        if self._changing is not None:
            image = self._changing.image(image)
        self._streams.write(shard_id, image, "INSERT", name)

    def _game(self) -> dict[str, Any]:
        return {
            "playerId": {"S": f"p{self.random.randrange(4)}"},
            "score": {"N": str(self.random.randrange(-500, 1000) / 4)},
            "timestamp": {"S": f"2026-0{self.random.randrange(1, 7)}-1{self.random.randrange(10)}"},
        }

    def _split(self) -> None:
        """A shard ends. It has one or two children, and each is sometimes hidden for a while."""
        shards = self._streams.shards
        candidates = self._shown()
        if len(shards) > SHARDS - 2 or not candidates:
            return
        parent = self.random.choice(candidates)
        self._end(parent, self.random.choice((1, 2, 2)), hides=0.5)
        self._note("split", f"{parent} ends")

    def _roll_over(self) -> None:
        """A shard ends early and has one child, so that finished rows grow old and may be forgotten."""
        if candidates := self._shown():
            parent = self.random.choice(candidates)
            self._end(parent, 1, hides=0.1)
            self._note("rolled over", f"{parent} ends")

    def _end(self, parent: str, children: int, hides: float) -> None:
        self._streams.close(parent)
        for _ in range(children):
            child = self.open_shard(parent)
            if self.random.random() < hides:
                self._hide(child)

    def _hide(self, shard: FakeShard) -> None:
        name = Shard(self._streams.arn, shard.shard_id)
        self._shown_since[name] = inf

        def show() -> None:
            shard.hidden = False
            self._shown_since[name] = self._simulation.now
            self._simulation.note("stream", f"{shard.shard_id} is shown")

        shard.hidden = True
        self._simulation.at(self._simulation.now + self.random.uniform(0.5, HIDDEN_SECONDS), show)
        self._note("hidden", f"{shard.shard_id} is hidden")

    def _trim(self) -> None:
        """Trims a few records of a shard that was read in part, or old records."""
        stream = self.random.choice(list(self._streams.streams.values()))
        shard = self.random.choice(list(stream.shards.values()))
        name = Shard(stream.arn, shard.shard_id)
        row = self._simulation.tables.rows.get(name)
        most = self.random.randrange(1, 6)
        if row is None or row.checkpoint == TRIM_HORIZON:
            stream_start = self._simulation.tables.stream_starts.get(stream.arn)
            adopted = name in self._simulation.ledger_invariants.records.begins
            unseen = self._simulation.now - self._shown_since.get(name, -inf) < LIFE_SECONDS
            if self._ancient or stream_start is None or not stream_start.complete or adopted or unseen:
                return  # records trimmed before a worker can see the shard never had to count
            first = stream is next(iter(self._streams.streams.values()))
            if first and stream.clock() - (stream_start.started_at or 0.0) < LIFE_SECONDS:
                return  # nor old records trimmed before the first read; of a successor stream all records count
            dead = stream.clock() - LIFE_SECONDS
            old = [wire for wire in shard.records if wire["dynamodb"]["ApproximateCreationDateTime"] < dead]
            most = max(0, min(most, len(old) - shard.trimmed))
        stream.trim(shard.shard_id, most)
        if most:
            self._note("trim", f"{stream.arn[-5:]} {shard.shard_id} is trimmed to {shard.trimmed}")

    def _enable_again(self) -> None:
        """The stream is switched off and on again: another ARN, the same shard ids.

        Not while a table binding is missing: without it the new stream would be started as the first one.
        """
        arn, tables = self._streams.arn, self._simulation.tables
        if len(self._streams.streams) > 1 or arn not in tables.stream_starts or arn not in tables.bindings:
            return
        if self._simulation.keyed is not None and self._simulation.keyed.made_again:
            return
        if self._correcting is not None:
            # What is found late, after a later stream was begun, would be corrected before it is counted.
            shards = self._streams.shards.values()
            if any(each.parent is None and Shard(arn, each.shard_id) not in tables.rows for each in shards):
                return
            self._stale = 0.0
            for each in shards:
                each.hidden = False
        self._streams.enable(SUCCESSOR_ARN)
        for _ in range(self.random.choice((1, 2))):
            self.open_shard()
        self._note("enabled again", "is switched off and on again")

    def _remove(self) -> None:
        """A closed shard is removed with its records, before its row is finished."""
        rows = self._simulation.tables.rows
        closed = [
            shard
            for shard in self._streams.shards.values()
            if shard.closed
            and (row := rows.get(Shard(self._streams.arn, shard.shard_id))) is not None
            and row.checkpoint != TRIM_HORIZON
        ]
        if not closed:
            return
        shard = self.random.choice(closed)
        shard.trimmed = len(shard.records)
        shard.gone = True
        self._note("gone", f"{shard.shard_id} is gone")

    def _vanish(self) -> None:
        """A finished shard is removed from the stream."""
        rows = self._simulation.tables.rows
        finished = [
            shard
            for stream in self._streams.streams.values()
            for shard in stream.shards.values()
            if not shard.gone and (row := rows.get(Shard(stream.arn, shard.shard_id))) is not None and row.finished
        ]
        made_again = self._simulation.ledger_invariants.finished_once
        if made_again:  # its end must find its children
            finished = [shard for shard in finished if all(shard.parent != each.shard_id for each in made_again)]
        if finished:
            shard = self.random.choice(finished)
            shard.trimmed = len(shard.records)
            shard.gone = True
            self._note("vanished", f"{shard.shard_id} is removed")
