"""The demo's games, each with what must become of it; and every fault for which a game must be quarantined."""

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import accumulate, cycle
from typing import Any, Final, NamedTuple

from consumer.domain.records import Reason

Image = Mapping[str, Any]


class Fault(NamedTuple):
    """A fault of a game: `attribute` has `value` (in wire form) or, for None, is missing."""

    reason: Reason
    attribute: str
    value: Mapping[str, Any] | None

    def applied_to(self, image: Image) -> Image:
        """A good game's image with this fault."""
        others = {name: value for name, value in image.items() if name != self.attribute}
        return others if self.value is None else {**others, self.attribute: self.value}


def faults(now: datetime) -> tuple[Fault, ...]:
    """The faults that a table keyed by player accepts and the worker must not; what is after `now` is in the future."""
    two_days_on = (now + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        Fault(Reason.SCORE_MISSING, "score", None),
        Fault(Reason.SCORE_TYPE, "score", {"S": "100"}),
        Fault(Reason.SCORE_TYPE, "score", {"BOOL": True}),
        Fault(Reason.SCORE_TYPE, "score", {"NULL": True}),
        Fault(Reason.TIMESTAMP_MISSING, "timestamp", None),
        Fault(Reason.TIMESTAMP_TYPE, "timestamp", {"N": "1767225600"}),
        Fault(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "yesterday"}),
        Fault(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-02-30"}),
        Fault(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-W05-1"}),
        Fault(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-01-31T24:00:00Z"}),
        Fault(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "0001-01-01T00:30:00+02:00"}),
        Fault(Reason.TIMESTAMP_IN_FUTURE, "timestamp", {"S": two_days_on}),
    )


POISON_SHARE: Final = 0.004
# fmt: off
ADJECTIVES: Final = (
    "amber", "bold", "brave", "calm", "clever", "crimson", "daring", "deft", "fierce", "gentle", "golden", "jolly",
    "keen", "lucky", "mellow", "nimble", "proud", "quick", "quiet", "royal", "silver", "sly", "sunny", "swift",
    "witty",
)
ANIMALS: Final = (
    "badger", "bear", "crane", "eagle", "falcon", "ferret", "fox", "gecko", "heron", "ibex", "lynx", "magpie",
    "marten", "mole", "otter", "owl", "panda", "raven", "seal", "wolf",
)
# fmt: on
ZONES: Final = (timedelta(hours=-8), timedelta(hours=-3, minutes=-30), timedelta(hours=2), timedelta(hours=9))


class Score(NamedTuple):
    """What a good game must add to its player's row; `date` is the UTC date on which it was played."""

    player: str
    score: Decimal
    date: str


class Record(NamedTuple):
    """One item of the source table, with its outcome: a score that counts, or a reason for quarantine."""

    image: Image
    outcome: Score | Reason

    @property
    def game_id(self) -> str:
        """The item's sort key: unique among all items, whosever they are."""
        game_id: str = self.image["gameId"]["S"]
        return game_id


def poison_of(games: int) -> int:
    """How many poison records a season of so many good games has in addition: a few per mille, at least one."""
    return max(1, round(games * POISON_SHARE))


def season(games: int, players: int, now: datetime, seed: int = 7) -> Iterator[Record]:
    """`games` good games of up to `players` players, with `poison_of(games)` poison ones among them."""
    source = random.Random(seed)
    names = source.sample([_name(number) for number in range(players)], players)
    popularity = list(
        accumulate(1 / (rank + 5) ** 0.6 for rank in range(players))
    )  # some players play far more than others
    every_fault = cycle(faults(now))
    total = games + poison_of(games)
    poison = dict(zip(source.sample(range(total), total - games), every_fault, strict=False))
    for place in range(total):
        player = source.choices(names, cum_weights=popularity)[0]
        yield _record(place, player, now, source, poison.get(place))


def _record(place: int, player: str, now: datetime, source: random.Random, fault: Fault | None) -> Record:
    score = _score(source)
    played = _played(now, source)
    image = {
        "gameId": {"S": f"game-{place:07}"},
        "playerId": {"S": player},
        "score": {"N": f"{score.normalize():f}"},  # as DynamoDB writes numbers
        "timestamp": {"S": _written(played, source)},
    }
    if fault is not None:
        return Record(fault.applied_to(image), fault.reason)
    return Record(image, Score(player, score, f"{played:%Y-%m-%d}"))


def _name(number: int) -> str:
    series, animal = divmod(number // len(ADJECTIVES), len(ANIMALS))
    name = f"{ADJECTIVES[number % len(ADJECTIVES)]}-{ANIMALS[animal]}"
    return f"{name}-{series + 1}" if series else name


def _score(source: random.Random) -> Decimal:
    """Whole numbers, cents, and fractions whose sums no float can hold; here and there a penalty."""
    draw = source.random()
    if draw < 0.6:
        return Decimal(source.randrange(10_000))
    if draw < 0.9:
        return Decimal(source.randrange(1_000_000)).scaleb(-2)
    if draw < 0.98:
        return Decimal(source.randrange(10**13)).scaleb(-9)
    return -Decimal(source.randrange(100_000)).scaleb(-2)


def _played(now: datetime, source: random.Random) -> datetime:
    """Mostly this month, in any order; some arrive years late, some from devices whose clocks are ahead."""
    draw = source.random()
    if draw < 0.8:
        return now - timedelta(seconds=source.randrange(30 * 86_400))
    if draw < 0.95:
        return now - timedelta(seconds=source.randrange(10 * 365 * 86_400))
    return now + timedelta(seconds=source.randrange(20 * 3_600))


def _written(played: datetime, source: random.Random) -> str:
    """The time in one of the formats that games use; all mean the same UTC date."""
    form = source.randrange(5)
    if form == 0:
        return f"{played:%Y-%m-%d}"
    if form == 1:
        return f"{played:%Y-%m-%d %H:%M}"
    if form == 2:
        return f"{played:%Y-%m-%dT%H:%M:%S}.{source.randrange(1000):03}Z"
    if form == 3:
        return f"{played.astimezone(timezone(source.choice(ZONES))).isoformat(timespec='seconds')}"
    return f"{played.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
