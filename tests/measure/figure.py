"""A measured number beside what it may be at most."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """`limit` None: told, not judged. `note` is what a reader may want to know besides."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it keeps its limit, if there is one."""
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Measurement:
    """`take` measures on the table engine at a URL; it gives each figure as soon as it has it."""

    name: str
    meaning: str
    take: Callable[[str], Iterator[Figure]]


def worst(name: str, values: Sequence[float], limit: float | None = None, unit: str = "s") -> Figure:
    """The largest is what counts; the note tells the others."""
    note = f"best {min(values):.2f}, median {median(values):.2f} of {len(values)}"
    return Figure(name, max(values), unit, limit, note)
