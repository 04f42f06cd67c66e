"""Checkpoints: before a shard's first record, after a sequence number, or past the shard's end."""

from typing import Final

TRIM_HORIZON: Final = "TRIM_HORIZON"
"""Checkpoint of a shard of which no record is committed yet."""
SHARD_END: Final = "SHARD_END"
"""Checkpoint of a finished shard: every record is committed and its children have their rows."""


def is_sequence_number(text: object) -> bool:
    """Whether `text` is a sequence number: 1 to 40 decimal digits.

    DynamoDB Streams promises 21 to 40; a shorter one does no harm. Source: its API reference, StreamRecord.
    """
    return isinstance(text, str) and 0 < len(text) <= 40 and text.isascii() and text.isdigit()


def rank(checkpoint: str) -> tuple[int, int]:
    """Sort key of checkpoints of ONE shard. Sequence numbers have gaps and different lengths: they compare as integers.

    ValueError when `checkpoint` is none of the three.
    """
    if checkpoint == TRIM_HORIZON:
        return (0, 0)
    if checkpoint == SHARD_END:
        return (2, 0)
    if not is_sequence_number(checkpoint):
        raise ValueError(f"{checkpoint!r} is not a checkpoint: it must be TRIM_HORIZON, a sequence number or SHARD_END")
    return (1, int(checkpoint))
