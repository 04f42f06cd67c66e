"""Workers read the ledger at different moments; their plans together must leave no shard to nobody."""

from consumer.domain.assignment import plan
from tests.builders import ME, OTHER, row


def test_plans_from_different_views_leave_no_shard_to_nobody() -> None:
    """The later one sees the earlier one's claim; nothing makes the earlier one look again."""
    early = plan([row(0), row(1), row(2)], {ME, OTHER}, OTHER, ())
    seen = [row(number, OTHER if row(number) in early.claim else None) for number in range(3)]
    late = plan(seen, {ME, OTHER}, ME, ())
    assert len(early.claim) + len(late.claim) == 3
