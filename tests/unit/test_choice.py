"""Which quarantined records a person means."""

from dataclasses import replace

import pytest

from consumer.domain.quarantine import Choice, Head, State
from tests.builders import ARN, sequence_number

AT = "2026-01-31T12:00:00.000Z"
NOON = 1_769_860_800.0
HEAD = Head("shard-0", sequence_number(1), "score_type", State.PENDING, "foo", 1, quarantined_at=AT, stream_arn=ARN)


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (Choice(since=NOON), True),
        (Choice(since=NOON + 1), False),
        (Choice(until=NOON), True),
        (Choice(until=NOON - 1), False),
        (Choice(player="bar"), False),
        (Choice(reason="score_missing"), False),
        (Choice(state=State.APPLIED), False),
        (Choice(shard="shard-1"), False),
        (Choice(shard="shard-0", player="foo", reason="score_type"), True),
    ],
)
def test_a_record_is_meant_by_all_that_is_said(choice: Choice, meant: bool) -> None:
    assert choice.takes(HEAD) is meant


def test_a_row_whose_time_a_hand_has_spoiled_is_not_meant_by_any_time() -> None:
    spoiled = replace(HEAD, quarantined_at="yesterday")
    assert Choice().takes(spoiled)
    assert not Choice(since=0.0).takes(spoiled)
