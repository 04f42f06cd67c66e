"""Who plays: the hot and the wide."""

from collections.abc import Iterator
from itertools import accumulate
from random import Random


def zipf(players: int, exponent: float, seed: int) -> Iterator[str]:
    """Players without end; the k-th plays in proportion to k to the power of -`exponent`."""
    random = Random(seed)
    names = [f"player-{number:06}" for number in range(players)]
    weights = list(accumulate((number + 1) ** -exponent for number in range(players)))
    while True:
        yield from random.choices(names, cum_weights=weights, k=1_000)


def uniform(players: int, seed: int) -> Iterator[str]:
    """Players without end, each as often as the others."""
    return zipf(players, 0.0, seed)
