"""How counts and names are written in sentences."""

import shlex
from collections.abc import Mapping


def many(count: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def breakdown(counts: Mapping[str, int]) -> str:
    """`score_missing 1, score_type 1,000`."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def quoted(name: str) -> str:
    """A name that any player may choose, as one word for a shell. What a terminal would not show is escaped."""
    if name.isprintable():
        return shlex.quote(name)
    return "$'" + "".join(_escaped(char) for char in name) + "'"


def _escaped(char: str) -> str:
    if char in "'\\":
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
