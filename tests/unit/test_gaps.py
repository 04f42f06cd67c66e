"""`consumer gaps`: what an operator acknowledges, and what is refused."""

from dataclasses import replace

import pytest

from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.operator_ports import Acknowledgement, Gap
from consumer.operations import gaps
from tests.support.builders import ARN, CREATED, shard
from tests.support.commands import finish, make_twice
from tests.support.fakes import FakeTables
from tests.support.fakes.operators import FakeGaps, FakeTableReader

GAP = Gap(ARN, "shard-0", "7", None, "possible", "")


def recorded() -> tuple[FakeTables, FakeGaps, Gap]:
    tables = FakeTables()
    tables.record_gap(shard(), "7", CREATED)
    (gap,) = FakeTableReader(tables).gaps()
    return tables, FakeGaps(tables), gap


def test_a_gap_is_found_by_the_name_that_the_list_shows() -> None:
    assert gaps.find([GAP], "2026-01-01T00:00:00.000/shard-0/7") is GAP
    with pytest.raises(NotFound, match="consumer gaps list"):
        gaps.find([GAP], "shard-0/7")


def test_an_acknowledged_gap_is_refused_with_the_operator_who_did() -> None:
    done = replace(GAP, acknowledged=Acknowledgement("ada", "2026-01-31T12:00:00.000Z", "no game then"))
    with pytest.raises(UnsafeRefused, match=r"ada .* no game then"):
        gaps.find([done], done.name)


def test_one_action_writes_one_audit_entry_also_when_its_reply_is_lost() -> None:
    tables, port, gap = recorded()
    finish(gaps.acknowledge(gap, port, "no game then", "ada", CREATED, "token"), make_twice)
    ((entry),) = port.trail
    assert (entry.who, entry.action, entry.target) == ("ada", "gaps acknowledge", gap.name)
    assert entry.detail == {"why": "no game then", "loss": "possible"}
    (now,) = FakeTableReader(tables).gaps()
    assert now.acknowledged is not None


def test_the_second_of_two_operators_is_refused() -> None:
    _, port, gap = recorded()
    finish(gaps.acknowledge(gap, port, "no game then", "ada", CREATED, "first"))
    with pytest.raises(UnsafeRefused, match="ada"):
        finish(gaps.acknowledge(gap, port, "I too", "eve", CREATED, "second"))
    assert len(port.trail) == 1


def test_a_gap_that_is_gone_is_refused() -> None:
    tables, port, gap = recorded()
    tables.gaps.clear()
    with pytest.raises(UnsafeRefused, match="is gone"):
        finish(gaps.acknowledge(gap, port, "why", "ada", CREATED, "token"))
