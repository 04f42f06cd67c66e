"""Rules of order in the machines, taken away one at a time, from outside: the product knows nothing of it.

The rules that are clauses of the tables' conditions are taken away by `FakeTables(off=...)`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Mutation = Callable[[], Iterator[None]]
MUTATIONS: dict[str, Mutation] = {}


def mutation(takes_away: Mutation) -> Mutation:
    """A generator that takes the rule of its name away until it is resumed."""
    MUTATIONS[takes_away.__name__] = takes_away
    return takes_away


@contextmanager
def taken_away(names: Iterable[str]) -> Iterator[None]:
    """These rules do not hold in here."""
    running = [MUTATIONS[name]() for name in names]
    for each in running:
        next(each)
    try:
        yield
    finally:
        for each in reversed(running):
            next(each, None)
