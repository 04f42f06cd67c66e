"""How counts are written in sentences."""

from collections.abc import Mapping


def many(count: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def breakdown(counts: Mapping[str, int]) -> str:
    """`score_missing 1, score_type 1,000`."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
