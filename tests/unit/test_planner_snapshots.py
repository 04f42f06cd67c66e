"""Workers plan from snapshots of the ledger taken at different times; together they must leave no shard unowned."""

from consumer.domain.planner import plan
from tests.support.builders import ME, OTHER, row


def test_plans_from_different_snapshots_leave_no_shard_unowned() -> None:
    """The later worker sees the earlier one's claim; nothing makes the earlier one read again."""
    early = plan([row(0), row(1), row(2)], dict.fromkeys((ME, OTHER), 0), OTHER, ())
    seen = [row(number, OTHER if row(number) in early.claim else None) for number in range(3)]
    late = plan(seen, dict.fromkeys((ME, OTHER), 0), ME, ())
    assert len(early.claim) + len(late.claim) == 3
