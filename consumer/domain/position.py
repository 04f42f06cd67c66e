"""Where a shard's reader stands: before its first record, after a sequence number, or past its end."""

from collections.abc import Sequence
from typing import Final

TRIM_HORIZON: Final = "TRIM_HORIZON"
"""Checkpoint of a shard from which nothing has been committed yet."""
SHARD_END: Final = "SHARD_END"
"""Checkpoint of a shard whose every record is committed and whose children have their rows."""


def is_sequence_number(text: object) -> bool:
    """Whether `text` is what DynamoDB Streams calls a sequence number: 21 to 40 decimal digits (we allow 1 to 40)."""
    return isinstance(text, str) and 0 < len(text) <= 40 and text.isascii() and text.isdigit()


def are_sequence_numbers(texts: Sequence[str]) -> bool:
    """Whether each of them is one; a page's are looked at all at once. TypeError for what is no text."""
    digits = "".join(texts)
    return not texts or (digits.isascii() and digits.isdigit() and all(0 < len(text) <= 40 for text in texts))


def rank(checkpoint: str) -> tuple[int, int]:
    """Sort key of checkpoints of ONE shard. Sequence numbers have gaps and different lengths: they compare as integers.

    Raises ValueError for what is no checkpoint.
    """
    if checkpoint == TRIM_HORIZON:
        return (0, 0)
    if checkpoint == SHARD_END:
        return (2, 0)
    if not is_sequence_number(checkpoint):
        raise ValueError(f"{checkpoint!r} is no checkpoint: TRIM_HORIZON, a sequence number or SHARD_END is")
    return (1, int(checkpoint))
