"""What the shards of a worker have in common: the room for reading ahead, and what the board is known to have."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from consumer.domain.leaderboard import Delta

KNOWN_DATES: Final = 20_000
"""Players whose stored date is remembered; of a forgotten one a late game costs a second transaction."""


class Allowance:
    """What all shards of a worker have read and not committed, in bytes of the answers."""

    def __init__(self, total_bytes: int) -> None:
        self._left_bytes = total_bytes

    def take(self, size_bytes: int) -> None:
        """So much was read; a negative size gives back."""
        self._left_bytes -= size_bytes

    @property
    def spent(self) -> bool:
        """Whether to read no more than is needed to get on."""
        return self._left_bytes <= 0


class Dates:
    """The latest `lastPlayedDate` that is known to be stored. It can only grow, so an older one need not be sent."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, str] = OrderedDict()

    def learn(self, dates: Mapping[str, str]) -> None:
        """These are stored."""
        stored = self._stored
        for player, date in dates.items():
            if date > stored.get(player, ""):
                stored[player] = date
                stored.move_to_end(player)
        while len(self._stored) > KNOWN_DATES:
            self._stored.popitem(last=False)

    def later(self, deltas: Mapping[str, Delta]) -> frozenset[str]:
        """The players whose stored date is later than what these deltas would write."""
        stored = self._stored
        return frozenset(player for player, delta in deltas.items() if stored.get(player, "") > delta.date)


class Common:
    """One for all shards of a worker."""

    def __init__(self, total_lookahead_bytes: int) -> None:
        self.allowance = Allowance(total_lookahead_bytes)
        self.dates = Dates()
