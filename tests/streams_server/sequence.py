"""Sequence numbers as the service gives them: they grow with gaps, within a shard only."""

from random import Random

FEWEST_DIGITS = 21
MOST_DIGITS = 40
_WIDEST_GAP = 1_000


class SequenceNumbers:
    """A shard's. The first few have a digit less than the rest, so whoever compares text goes wrong."""

    def __init__(self, random: Random) -> None:
        self._random = random
        digits = random.randint(FEWEST_DIGITS, MOST_DIGITS - 1)
        self.first: int = 10**digits - random.randint(1, 5 * _WIDEST_GAP)
        self._last: int = self.first

    def take(self) -> int:
        """The next one."""
        self._last += self._random.randint(1, _WIDEST_GAP)
        return self._last
