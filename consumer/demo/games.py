"""The games of a demonstration: made up from a seed, the same for the same arguments, some of them poison."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import accumulate
from typing import Final, NamedTuple

from consumer.demo.poison import Image, Kind, kinds
from consumer.domain.records import Reason

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
    """One item of the source table, and what must become of it: a score that counts, or a reason for quarantine."""

    image: Image
    outcome: Score | Reason

    @property
    def game_id(self) -> str:
        """The item's key."""
        game_id: str = self.image["gameId"]["S"]
        return game_id


def poison_of(games: int) -> int:
    """How many poison records a season of so many good games has besides: a few per mille, at least one."""
    return max(1, round(games * POISON_SHARE))


def season(games: int, players: int, now: datetime, seed: int = 7) -> Iterator[Record]:
    """`games` good ones by up to `players` players and `poison_of(games)` poison ones among them, in one order."""
    source = random.Random(seed)
    names = source.sample([_name(number) for number in range(players)], players)
    popularity = list(accumulate(1 / (rank + 5) ** 0.6 for rank in range(players)))  # some play far more than others
    faults = kinds(now)
    total = games + poison_of(games)
    spoilt = {
        place: faults[turn % len(faults)] for turn, place in enumerate(source.sample(range(total), total - games))
    }
    for place in range(total):
        player = source.choices(names, cum_weights=popularity)[0]
        yield _record(place, player, now, source, spoilt.get(place))


def _record(place: int, player: str, now: datetime, source: random.Random, fault: Kind | None) -> Record:
    score = _score(source)
    played = _played(now, source)
    image = {
        "gameId": {"S": f"game-{place:07}"},
        "playerId": {"S": player},
        "score": {"N": f"{score.normalize():f}"},  # as DynamoDB writes numbers
        "timestamp": {"S": _written(played, source)},
    }
    if fault is not None:
        return Record(fault.spoil(image), fault.reason)
    return Record(image, Score(player, score, f"{played:%Y-%m-%d}"))


def _name(number: int) -> str:
    turn, animal = divmod(number // len(ADJECTIVES), len(ANIMALS))
    name = f"{ADJECTIVES[number % len(ADJECTIVES)]}-{ANIMALS[animal]}"
    return f"{name}-{turn + 1}" if turn else name


def _score(source: random.Random) -> Decimal:
    """Whole numbers cents, and fractions whose sums no float can hold; here and there a penalty."""
    draw = source.random()
    if draw < 0.6:
        return Decimal(source.randrange(10_000))
    if draw < 0.9:
        return Decimal(source.randrange(1_000_000)).scaleb(-2)
    if draw < 0.98:
        return Decimal(source.randrange(10**13)).scaleb(-9)
    return -Decimal(source.randrange(100_000)).scaleb(-2)


def _played(now: datetime, source: random.Random) -> datetime:
    """Mostly this month, in any order; some come years late, some from devices whose clocks are ahead."""
    draw = source.random()
    if draw < 0.8:
        return now - timedelta(seconds=source.randrange(30 * 86_400))
    if draw < 0.95:
        return now - timedelta(seconds=source.randrange(10 * 365 * 86_400))
    return now + timedelta(seconds=source.randrange(20 * 3_600))


def _written(played: datetime, source: random.Random) -> str:
    """The moment in one of the forms that games write it in; all mean the same UTC date."""
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
