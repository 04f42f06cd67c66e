"""Heads of quarantined records as they are shown: keys as in the table."""

from decimal import Decimal

from consumer.domain.quarantine import Head, State


def fields(head: Head) -> dict[str, object]:
    """For `--json`: every key always; null where the row has none."""
    applied = head.settled if head.state == State.APPLIED else None
    discarded = head.settled if head.state == State.DISCARDED else None
    return {
        "shardId": head.shard_id,
        "sequenceNumber": head.sequence_number,
        "reason": head.reason,
        "detail": head.detail,
        "state": head.state,
        "playerId": head.player,
        "quarantinedAt": head.quarantined_at,
        "createdAt": Decimal(f"{head.created:.3f}").normalize() if head.created is not None else None,
        "streamArn": head.stream_arn,
        "parts": head.parts,
        "appliedAt": applied.at if applied else None,
        "appliedBy": applied.by if applied else None,
        "repairs": dict(applied.repairs) if applied else None,
        "discardedAt": discarded.at if discarded else None,
        "discardedBy": discarded.by if discarded else None,
        "discardReason": discarded.why if discarded else None,
    }


def told(head: Head) -> str:
    """The state, and who made it so."""
    settled = head.settled
    if settled is None:
        return head.state
    words = f"{head.state} by {settled.by} at {settled.at}"
    if settled.repairs:
        words += " with " + ", ".join(f"{field}={value}" for field, value in settled.repairs.items())
    return f"{words}: {settled.why}" if settled.why else words
